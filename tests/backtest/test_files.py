"""The output folder: whole or absent, exact, and the same in CSV and Parquet."""

import csv
import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np
import pyarrow.parquet as pq
import pytest

from hedgegrid.backtest import folder
from hedgegrid.backtest.files import read_summary, write_folder
from hedgegrid.backtest.measure import measure
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.backtest.summary_json import RunFacts
from hedgegrid.backtest.tables import CSV_TABLES, TABLES
from hedgegrid.core.codes import BACKSTOP
from hedgegrid.errors import Fatal
from tests.backtest.made_result import TAKERS_PPM, made_liquidation, made_result

FACTS = RunFacts(settings='[grid]\nlevels = 3\nname = "ä"\n', code_version="0.9+test")
FILL_COLUMNS = "ts_ns,instrument,leg,side,purpose,level,generation,price_ticks,qty_lots,fee_e8,maker,realised_e8"
ROOT = Path(__file__).parents[2]
DYING = """
import os, signal, sys
from pathlib import Path
from hedgegrid.backtest.files import write_folder
from hedgegrid.backtest.measure import measure
from tests.backtest.made_result import TAKERS_PPM, made_result
from tests.backtest.test_files import FACTS
result = made_result(bars=60)
def die(path):
    path.write_text("half")
    {how}
write_folder(result, measure(result, takers_ppm=TAKERS_PPM), FACTS, Path(sys.argv[1]), further={{"report.html": die}})
"""


def write(result: BacktestResult, target: Path, **more: object) -> tuple[str, ...]:
    """Write the output of a result."""
    return write_folder(result, measure(result, takers_ppm=TAKERS_PPM), FACTS, target, **more)  # type: ignore[arg-type]


def sheet(path: Path) -> list[dict[str, str]]:
    """Read a CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def die(how: str, target: Path) -> subprocess.CompletedProcess[str]:
    """Run a writer of its own that comes to its end in mid-write."""
    return subprocess.run(
        [sys.executable, "-c", DYING.format(how=how), str(target)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_fills_are_as_the_design_says(tmp_path: Path) -> None:
    """Other programs read fills.csv by these columns, in this order, with these words."""
    result = made_result(bars=300)
    write(result, tmp_path / "out")
    lines = (tmp_path / "out" / "fills.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == FILL_COLUMNS
    assert lines[1] == "1704072600000000000,BTC/USDT:USDT,LONG,BUY,entry,1,1,417852,10,8357040,1,0"
    assert len(lines) == len(result.fills) + 1
    for row in sheet(tmp_path / "out" / "fills.csv"):
        assert (row["side"] == "BUY") == ((row["leg"] == "LONG") == (row["purpose"] == "entry"))


def test_a_backstop_keeps_its_name(tmp_path: Path) -> None:
    """A backstop that filled means that no stop of a lot covered it: nobody may read it as a stop."""
    result = made_result(bars=100)
    fills = result.fills.copy()
    fills["purpose"][fills["purpose"] == 2] = BACKSTOP
    write(attrs.evolve(result, fills=fills), tmp_path / "out")
    purposes = {row["purpose"] for row in sheet(tmp_path / "out" / "fills.csv")}
    assert "backstop" in purposes
    assert "stop" not in purposes


def test_csv_and_parquet_say_the_same(tmp_path: Path) -> None:
    """Every table of both kinds holds the same rows, to the last digit."""
    written = write(made_result(bars=300), tmp_path / "out")
    assert set(written) == {path.name for path in (tmp_path / "out").iterdir()}
    assert set(written) == {"summary.json", *(f"{n}.parquet" for n in TABLES), *(f"{n}.csv" for n in CSV_TABLES)}
    for name in CSV_TABLES:
        rows = pq.read_table(tmp_path / "out" / f"{name}.parquet").to_pylist()
        texts = [{key: "" if value is None else str(value) for key, value in row.items()} for row in rows]
        found = sheet(tmp_path / "out" / f"{name}.csv")
        assert len(found) == len(texts) > 0, name
        for ours, theirs in zip(found, texts, strict=True):
            assert all(ours[key] == theirs[key] or float(ours[key]) == float(theirs[key]) for key in theirs)


def test_equity_holds_every_decision(tmp_path: Path) -> None:
    """Equity and what each instrument held come back as they were."""
    result = made_result(bars=120)
    write(result, tmp_path / "out")
    table = pq.read_table(tmp_path / "out" / "equity.parquet")
    equity = result.equity["wallet_e8"] + result.equity["unrealised_e8"]
    assert table["equity_e8"].to_pylist() == equity.tolist()
    for index, instrument in enumerate(result.instruments):
        for name in result.holdings.dtype.names or ():
            assert table[f"{instrument.name}.{name}"].to_pylist() == result.holdings[name][:, index].tolist()


def test_fills_give_the_wallet_back(tmp_path: Path) -> None:
    """Fills and funding as files add up to the wallet that the summary tells."""
    write(made_liquidation(), tmp_path / "out")
    fills, funding = sheet(tmp_path / "out" / "fills.csv"), sheet(tmp_path / "out" / "funding.csv")
    summary = read_summary(tmp_path / "out")
    made = sum(int(row["realised_e8"]) - int(row["fee_e8"]) for row in fills)
    paid = sum(int(row["long_e8"]) + int(row["short_e8"]) for row in funding)
    assert summary["run"]["initial_wallet_e8"] + made - paid == summary["figures"]["final_e8"]
    assert summary["ended"]["state"] == "LIQUIDATED"
    assert summary["ended"]["equity_e8"] < summary["ended"]["maintenance_e8"]


def test_summary_says_what_is_absent_and_why(tmp_path: Path) -> None:
    """JSON has no infinity: what cannot be said is null, with its reason beside it."""
    result = made_result(bars=1)
    write(result, tmp_path / "out")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text(encoding="utf-8"))
    nulls = {name for name, value in summary["figures"].items() if value is None}
    assert nulls == set(summary["absent"])
    assert "win_rate" in nulls
    assert summary["schema_version"] == 1
    assert summary["run"]["settings"] == FACTS.settings
    assert summary["run"]["data_identity"] == result.data_identity
    assert summary["run"]["notes"] == list(result.notes)


def test_words_with_commas_survive(tmp_path: Path) -> None:
    """An instrument may be called what its venue likes."""
    made = made_result(bars=60)
    odd = attrs.evolve(made.instruments[0], name='A,"B"')
    write(attrs.evolve(made, instruments=(odd, made.instruments[1])), tmp_path / "out")
    assert {row["instrument"] for row in sheet(tmp_path / "out" / "fills.csv")} == {'A,"B"', "ETH/USDT:USDT"}


def test_empty_tables_keep_their_columns(tmp_path: Path) -> None:
    """A run without a fill writes files that say so, with their headers."""
    made = made_result(bars=1)
    write(attrs.evolve(made, funding=made.funding[:0], pauses=made.pauses[:0]), tmp_path / "out")
    assert (tmp_path / "out" / "fills.csv").read_text(encoding="utf-8") == FILL_COLUMNS + "\n"
    assert sheet(tmp_path / "out" / "pauses.csv") == []


def test_an_occupied_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    """Nobody's files are overwritten by accident; an empty folder is no obstacle."""
    target = tmp_path / "out"
    target.mkdir()
    result = made_result(bars=20)
    write(result, target)
    before = sorted(path.name for path in target.iterdir())
    with pytest.raises(Fatal, match="is not empty") as refused:
        write(result, target)
    assert "\n" not in str(refused.value)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(Fatal, match="is a file"):
        write(result, tmp_path / "file", force=True)
    assert sorted(path.name for path in target.iterdir()) == before


def test_force_replaces_the_whole_folder(tmp_path: Path) -> None:
    """Nothing of the old run stays among the new files."""
    target = tmp_path / "out"
    target.mkdir()
    (target / "old.html").write_text("old")
    with pytest.raises(Fatal, match="is no output of a backtest"):
        write(made_result(bars=20), target, force=True)
    assert (target / "old.html").read_text() == "old", "what somebody else put there is never replaced"
    (target / "summary.json").write_text("{}")
    write(made_result(bars=20), target, force=True)
    assert not (target / "old.html").exists()
    assert (target / "summary.json").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_further_files_appear_with_the_rest(tmp_path: Path) -> None:
    """The report is part of the whole folder, under its own name only."""
    target = tmp_path / "out"
    written = write(made_result(bars=20), target, further={"report.html": lambda path: path.write_text("<p>")})
    assert written[-1] == "report.html"
    assert (target / "report.html").read_text() == "<p>"
    for name in ("fills.csv", "../x", "a/b"):
        with pytest.raises(Fatal, match="further file"):
            write(made_result(bars=20), tmp_path / "b", further={name: lambda path: path.write_text("")})
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_all_is_on_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut after the rename must not leave empty files under good names."""
    target, seen = tmp_path / "out", []
    fsync = os.fsync

    def note(handle: int) -> None:
        seen.append((os.fstat(handle).st_ino, target.exists()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", note)
    written = write(made_result(bars=20), target)
    before = {inode for inode, is_there in seen if not is_there}
    assert before == {target.stat().st_ino, *((target / name).stat().st_ino for name in written)}
    assert seen[-1] == (tmp_path.stat().st_ino, True)


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    """A writer that fails takes the folder with it, and the old one stays."""
    target = tmp_path / "out"
    write(made_result(bars=20), target)
    before = (target / "fills.csv").read_bytes()

    def fail(_path: Path) -> None:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        write(made_result(bars=30), target, force=True, further={"report.html": fail})
    assert (target / "fills.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("step", ["_sync", "_replace"])
def test_a_full_disk_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Where the disk refuses late, the run fails in one line and what was there is there."""
    target = tmp_path / "out"
    write(made_result(bars=20), target)
    before = (target / "fills.csv").read_bytes()

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(folder, step, refuse)
    with pytest.raises(Fatal, match="No space left on device"):
        write(made_result(bars=30), target, force=True)
    assert (target / "fills.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_failed_swap_puts_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two renames of a replacement lies the one moment at which the old folder has no name."""
    target = tmp_path / "out"
    write(made_result(bars=20), target)
    before = (target / "fills.csv").read_bytes()
    rename = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if ".part-" in self.name and not self.name.endswith("-old") and not target.exists():
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(Fatal, match="Input/output error"):
        write(made_result(bars=30), target, force=True)
    assert (target / "fills.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_limit_on_file_sizes_leaves_nothing(tmp_path: Path) -> None:
    """The disk's own refusal, out of pyarrow's writer: one line, and no file anywhere."""
    limit = "import resource; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)"
    limit += "; resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)); path.write_bytes(bytes(1_000))"
    ended = die(limit, tmp_path / "out")
    assert "hedgegrid.errors.Fatal: cannot write" in ended.stderr
    assert "File too large" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_no_folder_and_the_next_one_cleans(tmp_path: Path) -> None:
    """After a kill the name is free, and what lay beside it goes with the next run; a living writer's part stays."""
    target = tmp_path / "out"
    ended = die("os.kill(os.getpid(), signal.SIGKILL)", target)
    assert ended.returncode == -signal.SIGKILL
    assert not target.exists()
    left = list(tmp_path.iterdir())
    assert len(left) == 1
    assert left[0].name.startswith(".out.part-")
    with folder.whole_folder(tmp_path / "out") as part:
        assert not left[0].exists()
        (part / "mine").write_text("x")
        folder._sweep(target)
        assert (part / "mine").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_something_else_is_no_output(tmp_path: Path) -> None:
    """One line says what is wrong with a folder that is to be read."""
    with pytest.raises(Fatal, match="no output folder"):
        read_summary(tmp_path)
    for text, wrong in (("{", "not JSON"), ("[]", "not the summary"), ("{}", "not the summary"), ("\x80", "not JSON")):
        (tmp_path / "summary.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(Fatal, match=wrong):
            read_summary(tmp_path)


def test_figures_survive_json(tmp_path: Path) -> None:
    """Whole money stays whole and floats stay themselves on their way through the file."""
    result = made_result(bars=500)
    write(result, tmp_path / "out")
    figures = measure(result, takers_ppm=TAKERS_PPM).figures
    assert read_summary(tmp_path / "out")["figures"] == attrs.asdict(figures)
    assert not any(isinstance(value, np.generic) for value in attrs.astuple(figures))
