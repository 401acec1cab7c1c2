"""Bad input gets one clear line and a non-zero exit, and nothing is lost by it.

Invariants: the line begins with the program's name and says what to do; no traceback; a file that existed before is the
same afterwards.
"""

import hashlib
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.command import ANY_PORT, ROOT, assert_files_agree, complaint, invoke, rows, write_feather
from tests.core.made import walk

ACCOUNT = """\
[account]
name = "bad"
[sim]
market = "recorded"
[sim.instrument."BTC/USDT:USDT"]
min_notional = 0
[[grid]]
instrument = "BTC/USDT:USDT"
max_position_qty = 5
[grid.ladder]
step_bps = 25
base_qty = 0.01
recenter_trigger_bps = 150
[grid.regime]
ema_fast = 2
ema_slow = 4
adx_len = 2
atr_len = 2
[grid.funding]
on_missing = "ignore"
[journal]
path = "JOURNAL"
synchronous = "normal"
"""


def account(folder: Path, **replaced: str) -> Path:
    """Write the account's file, with texts replaced in it."""
    text = ACCOUNT.replace("JOURNAL", str(folder / "bad.db"))
    for old, new in replaced.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "bad.toml"
    path.write_text(text)
    return path


def bars(folder: Path, count: int = 60, **options: object) -> Path:
    """Write recorded bars."""
    return write_feather(folder / "BTCUSDT-1m.feather", walk(2, count), **options)  # type: ignore[arg-type]


def run(config: Path, *more: str | Path) -> tuple[str | Path, ...]:
    """The arguments of a run in virtual time."""
    return ("run", "--config", config, "--speed", "max", *ANY_PORT, *more)


def digest(folder: Path) -> dict[str, str]:
    """What lies in a folder, but for the files that hold no account."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.suffix in {".db", ".feather", ".toml"}
    }


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('name = "bad"', 'name = "bad', ["bad.toml:2:", "not valid TOML"]),
        ("step_bps = 25", "steps_bps = 25", ["grid[0].ladder.steps_bps", "step_bps"]),
        ("max_position_qty = 5", "max_position_qty = -5", ["grid[0].max_position_qty"]),
        ('name = "bad"', 'name = "bad"\nmode = "live"', ["live"]),
        ('name = "bad"', 'name = "bad"\nmode = "paper"', ["paper"]),
        ('"BTC/USDT:USDT"\nmax', '"BAD/USDT:USDT"\nmax', ["BAD/USDT:USDT", "tick"]),
    ],
)
def test_config_that_cannot_be_used(old: str, new: str, words: list[str], tmp_path: Path) -> None:
    """Broken TOML, unknown keys (with the nearest), values out of range and other modes are named, before any file."""
    result = invoke(*run(account(tmp_path, **{old: new}), "--data", bars(tmp_path)))
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert any(line.startswith("hedgegrid: ") for line in result.stderr.splitlines())
    for word in words:
        assert word in result.stderr
    assert not (tmp_path / "bad.db").exists()


def test_missing_config(tmp_path: Path) -> None:
    """A config that is not there is said so."""
    assert "nothing.toml: cannot be read: No such file or directory" in complaint(
        invoke(*run(tmp_path / "nothing.toml"))
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        (b"", ""),
        (b"not a feather file at all" * 50, ""),
        (b"ARROW1\0\0" + b"\xff" * 500, ""),
    ],
    ids=["missing", "empty", "text", "broken"],
)
def test_market_that_cannot_be_read(content: bytes | None, words: str, tmp_path: Path) -> None:
    """A missing or unreadable market file is named in the line, and no journal is begun for it."""
    market = tmp_path / "BTCUSDT-1m.feather"
    if content is not None:
        market.write_bytes(content)
    line = complaint(invoke(*run(account(tmp_path), "--data", market)))
    assert "BTCUSDT-1m.feather" in line
    assert words.lower() in line.lower()
    assert not (tmp_path / "bad.db").exists()


def test_torn_market_file(tmp_path: Path) -> None:
    """A feather file whose end is missing is refused."""
    market = bars(tmp_path)
    market.write_bytes(market.read_bytes()[:-200])
    assert "BTCUSDT-1m.feather" in complaint(invoke(*run(account(tmp_path), "--data", market)))


def test_recorded_market_without_files(tmp_path: Path) -> None:
    """A config that wants recorded bars says how to give them."""
    assert "--data FILE" in complaint(invoke(*run(account(tmp_path))))


def test_gap_in_the_market(tmp_path: Path) -> None:
    """A gap is refused with its place; with --allow-gaps it is replayed as one jump and told."""
    market, config = bars(tmp_path, skip=(30, 31)), account(tmp_path)
    line = complaint(invoke(*run(config, "--data", market)))
    assert "BTCUSDT-1m.feather" in line
    assert "gap" in line
    assert "--allow-gaps" in line
    allowed = invoke(*run(config, "--data", market, "--allow-gaps"))
    assert allowed.exit_code == 0, allowed.output
    assert "gap" in allowed.stderr
    assert "ended: market ended" in allowed.stdout


def lived(folder: Path) -> tuple[Path, Path]:
    """An account that has run for half an hour of its market."""
    market, config = bars(folder), account(folder)
    result = invoke(*run(config, "--data", market, "--duration", "30m"))
    assert result.exit_code == 0, result.output
    return config, market


def newer(journal: Path) -> None:
    """As a later version would have left it."""
    with closing(sqlite3.connect(journal)) as db:
        db.execute("PRAGMA user_version = 99")


def tampered(journal: Path) -> None:
    """With a changed figure in the tape."""
    with closing(sqlite3.connect(journal)) as db:
        db.execute("UPDATE tape SET payload = CAST(replace(payload, '1', '2') AS BLOB) WHERE row = 20")
        db.commit()


def torn(journal: Path) -> None:
    """With garbage in its middle."""
    content = bytearray(journal.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 4096] = b"\xa5" * 4096
    journal.write_bytes(content)


def replaced(journal: Path) -> None:
    """Not a journal at all."""
    journal.write_bytes(b"something else" * 1_000)


@pytest.mark.parametrize("spoil", [newer, tampered, torn, replaced])
def test_journal_that_cannot_be_trusted(spoil: object, tmp_path: Path) -> None:
    """Trading does not start on a journal that is newer, changed, torn or none; no file is touched."""
    config, market = lived(tmp_path)
    spoil(tmp_path / "bad.db")  # type: ignore[operator]
    before = digest(tmp_path)
    line = complaint(invoke(*run(config, "--data", market)))
    assert "bad.db" in line
    assert digest(tmp_path) == before
    if spoil is newer:
        assert "version 99" in line
    verified = invoke("journal", "verify", tmp_path / "bad.db")
    assert verified.exit_code in (1, 2)
    assert "Traceback" not in verified.output
    assert digest(tmp_path) == before


def test_exchange_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A broken file of the kept exchange stops the start; neither it nor the journal is touched."""
    config, market = lived(tmp_path)
    replaced(tmp_path / "bad.venue.db")
    before = digest(tmp_path)
    assert "bad.venue.db" in complaint(invoke(*run(config, "--data", market)))
    assert digest(tmp_path) == before


def test_journal_of_another_account(tmp_path: Path) -> None:
    """One account's journal is never written by another's run."""
    _, market = lived(tmp_path)
    before = rows(tmp_path / "bad.db", "SELECT count(*) FROM tape")
    other = account(tmp_path, **{'name = "bad"': 'name = "other"'})
    assert "belongs to account 'bad'" in complaint(invoke(*run(other, "--data", market)))
    assert rows(tmp_path / "bad.db", "SELECT count(*) FROM tape") == before


def test_port_in_use(tmp_path: Path) -> None:
    """A port that somebody listens on stops the start before a market step, and the account can start later."""
    config, market = account(tmp_path), bars(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        arguments = ("run", "--config", config, "--data", market, "--speed", "max", "--listen", f"127.0.0.1:{port}")
        assert str(port) in complaint(invoke(*arguments))
    after = invoke(*run(config, "--data", market))
    assert after.exit_code == 0, after.output
    assert_files_agree(config, tmp_path / "bad.db")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--speed", "fast"),
        ("--speed", "0"),
        ("--speed", "-1"),
        ("--speed", "nan"),
        ("--duration", "soon"),
        ("--duration", "0s"),
        ("--duration", "-5s"),
        ("--listen", "8080"),
        ("--listen", "127.0.0.1:99999"),
        ("--seed", "-1"),
    ],
)
def test_option_that_means_nothing(option: str, value: str, tmp_path: Path) -> None:
    """A wrong option is named with what would be right."""
    result = invoke("run", "--journal", tmp_path / "x.db", option, value)
    assert result.exit_code == 2
    assert option in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("blocks", [120, 400])
def test_full_disk(blocks: int, tmp_path: Path) -> None:
    """A disk that takes no more ends the run in one line; what was written is whole and the account goes on later."""
    config, market = account(tmp_path), bars(tmp_path, 500)
    command = [sys.executable, "-m", "hedgegrid", *(str(one) for one in run(config, "--data", market))]
    limited = subprocess.run(
        ["/bin/sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh", *command],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert limited.returncode in (1, 2), limited.stderr
    assert "Traceback" not in limited.stderr
    complaints = [line for line in limited.stderr.splitlines() if line.startswith("hedgegrid: ")]
    assert len(complaints) == 1, limited.stderr
    assert "bad." in complaints[0]
    after = invoke(*run(config, "--data", market))
    assert after.exit_code == 0, after.output
    assert_files_agree(config, tmp_path / "bad.db")
    assert invoke("journal", "verify", tmp_path / "bad.db").exit_code == 0
