"""The commands end to end: run, check, init, and the journal's proof and export, on small markets of every kind.

Invariant: what a command prints is compared with what lies on disk, or with another command's word.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from hedgegrid.config.load import load, loads
from hedgegrid.config.render import config_hash
from tests.command import (
    ANY_PORT,
    ROOT,
    assert_files_agree,
    cut_feather,
    invoke,
    lines_until,
    rows,
    started,
    write_feather,
)
from tests.core.made import walk

HOUR = ("--speed", "max", *ANY_PORT)
WARM = """\
[grid.regime]
ema_fast = 2
ema_slow = 4
adx_len = 2
atr_len = 2
"""


def summary(*arguments: str | Path) -> dict[str, Any]:
    """Run with --json and give what was printed."""
    result = invoke("run", "--json", *HOUR, *arguments)
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def proven(journal: Path) -> None:
    """The journal verifies, by the command."""
    report = invoke("journal", "verify", journal)
    assert report.exit_code == 0, report.output
    assert report.stdout.rstrip().splitlines()[-1].startswith("OK: ")


def test_demo_needs_nothing_and_fills(tmp_path: Path) -> None:
    """Without a config the demo runs in the present folder, says where it can be watched, and fills within seconds."""
    with started(tmp_path, "run", "--duration", "8s", *ANY_PORT) as running:
        lines_until(running, "metrics at http://127.0.0.1:")
        out, err = running.communicate()
    assert running.returncode == 0, err
    fills = next(line for line in out.splitlines() if line.startswith("fills: "))
    assert int(fills.split()[1]) > 0
    assert "ended: duration reached" in out
    assert rows(tmp_path / "state" / "demo.db", "SELECT count(*) FROM fills") == [(int(fills.split()[1]),)]
    proven(tmp_path / "state" / "demo.db")


def test_json_summary_is_the_journals(tmp_path: Path) -> None:
    """--json prints one JSON document whose figures are the journal's, and the lines say the same."""
    journal = tmp_path / "demo.db"
    told = summary("--journal", journal, "--duration", "2m", "--seed", "11")
    count, fees, realised = rows(journal, "SELECT count(*), sum(fee_e8), sum(realised_e8) FROM fills")[0]
    assert told["fills"] == count > 50
    assert round(float(told["fees_quote"]) * 10**8) == fees
    assert round(float(told["realised_quote"]) * 10**8) == realised
    assert told["journal"] == str(journal)
    assert told["bars"] == 120
    lines = invoke("run", "--journal", tmp_path / "again.db", "--duration", "2m", "--seed", "11", *HOUR).stdout
    assert f"fills: {count} " in lines
    proven(journal)


def test_seed_and_hash_are_the_runs_alone(tmp_path: Path) -> None:
    """Equal seeds end in equal journal hashes in other processes, folders and hash seeds; another seed in another."""
    running = []
    for number, seed in enumerate(("5", "5", "6")):
        folder = tmp_path / str(number)
        folder.mkdir()
        command = [sys.executable, "-m", "hedgegrid", "run", "--json", *HOUR, "--duration", "90s", "--seed", seed]
        environment = {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": str(number), "PYTHONDONTWRITEBYTECODE": "1"}
        running.append(
            subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        )
    hashes = [json.loads(one.communicate()[0])["journal_hash"] for one in running]
    assert [one.returncode for one in running] == [0, 0, 0]
    assert hashes[0] == hashes[1] != hashes[2]


def test_check_prints_what_it_accepts(tmp_path: Path) -> None:
    """The settings that check prints load again as the same settings, for every config of the package."""
    for path in sorted((ROOT / "configs").glob("*.toml")):
        result = invoke("check", "--config", path)
        assert result.exit_code == 0, result.output
        assert config_hash(loads(result.stdout, "printed")) == config_hash(load(path))
    assert list(tmp_path.iterdir()) == []


def test_init_writes_what_check_accepts_and_run_runs(tmp_path: Path) -> None:
    """A newcomer's path: answer the questions, check, run."""
    path = tmp_path / "mine" / "account.toml"
    made = invoke("init", path, answers="\n" * 40)
    assert made.exit_code == 0, made.output
    assert invoke("check", "--config", path).exit_code == 0
    assert invoke("init", path).exit_code == 2, "it would have overwritten the file"
    told = summary("--config", path, "--journal", tmp_path / "x.db", "--duration", "2s")
    assert told["ended"] == "duration reached"
    proven(tmp_path / "x.db")


def test_journal_export(tmp_path: Path) -> None:
    """Fills as CSV and Parquet with as many rows as the journal has; existing files are not overwritten unasked."""
    journal, out = tmp_path / "demo.db", tmp_path / "out"
    told = summary("--journal", journal, "--duration", "1m")
    first = invoke("journal", "export", journal, "--out", out)
    assert first.exit_code == 0, first.output
    assert parquet.read_table(out / "fills.parquet").num_rows == told["fills"]
    assert len((out / "fills.csv").read_text().splitlines()) == told["fills"] + 1
    again = invoke("journal", "export", journal, "--out", out)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert invoke("journal", "export", journal, "--out", out, "--force").exit_code == 0


def test_journal_commands_name_what_is_missing(tmp_path: Path) -> None:
    """A journal that is not there is one line for both commands."""
    for command in (("verify",), ("export", "--out", tmp_path / "out")):
        result = invoke("journal", command[0], tmp_path / "none.db", *command[1:])
        assert result.exit_code == 2
        assert "none.db" in result.stderr
        assert "Traceback" not in result.output


def test_verify_sees_a_changed_figure(tmp_path: Path) -> None:
    """A journal whose tables were changed fails the proof with exit 1."""
    import sqlite3

    journal = tmp_path / "demo.db"
    summary("--journal", journal, "--duration", "1m")
    with sqlite3.connect(journal) as db:
        db.execute("UPDATE fills SET fee_e8 = fee_e8 + 1 WHERE trade_id = 3")
    db.close()
    report = invoke("journal", "verify", journal)
    assert report.exit_code == 1
    assert "FAILED" in report.stdout


# --- recorded markets -------------------------------------------------------------------------------------------------


def recorded(folder: Path, name: str, grids: str, head: str = "") -> Path:
    """Write the config of an account on recorded markets."""
    path = folder / f"{name}.toml"
    account = f'[account]\nname = "{name}"\nwallet_quote = 50000\n'
    path.write_text(f'{account}[sim]\nmarket = "recorded"\n{head}\n{grids}\n[journal]\npath = "{folder}/{name}.db"\n')
    return path


def grid(instrument: str, timeframe: str, quote: int, *, step: int) -> str:
    """A grid's tables, without a wish for funding rates."""
    ladder = f"[grid.ladder]\nstep_bps = {step}\nbase_quote = {quote}\nrecenter_trigger_bps = {8 * step}\n"
    head = f'[[grid]]\ninstrument = "{instrument}"\ntimeframe = "{timeframe}"\nmax_position_qty = 100000\n'
    return f'{head}{ladder}{WARM}[grid.funding]\non_missing = "ignore"\n'


def test_market_end_is_a_new_account_next_time(tmp_path: Path) -> None:
    """A recorded market that has ended cannot go on: the next run begins anew, equal in hash, and keeps the old."""
    market = write_feather(tmp_path / "BTCUSDT-1m.feather", walk(2, 80))
    head = '[sim.instrument."BTC/USDT:USDT"]\nmin_notional = 0'
    config = recorded(tmp_path, "ended", grid("BTC/USDT:USDT", "1m", 20, step=25), head)
    first = summary("--config", config, "--data", market)
    second = summary("--config", config, "--data", market)
    assert first["ended"] == second["ended"] == "market ended"
    assert first["journal_hash"] == second["journal_hash"]
    assert first["fills"] == second["fills"] > 10
    proven(tmp_path / "ended.1.db")
    proven(tmp_path / "ended.db")
    assert_files_agree(config, tmp_path / "ended.db")


@pytest.mark.parametrize("timeframe", ["1s", "5s"])
def test_queue_fills_on_a_capture(timeframe: str, shared_dir: Path, tmp_path: Path) -> None:
    """Real trades of a raw websocket capture drive queue fills, partial ones too, through the whole bot."""
    capture = shared_dir / "data" / "ticks_raw_ws" / "usdm_ethusdt_20240718.gz"
    config = recorded(tmp_path, "queue", grid("ETH/USDT:USDT", timeframe, 200, step=2), 'fill = "queue"')
    told = summary("--config", config, "--data", capture, "--duration", "15m")
    assert told["fills"] > 0
    assert told["incidents"] == 0
    proven(tmp_path / "queue.db")
    assert_files_agree(config, tmp_path / "queue.db")


def test_archive_csv(shared_dir: Path, tmp_path: Path) -> None:
    """The exchange's own archive files, gzipped, are a market too."""
    archive = min((shared_dir / "data" / "um_1m_archive_csv").glob("AVAX*.csv.gz"))
    head = '[sim.instrument."AVAX/USDT:USDT"]\ntick = 0.001\nlot = 1\nmaintenance_margin_ratio = 0.02'
    config = recorded(tmp_path, "avax", grid("AVAX/USDT:USDT", "1m", 200, step=20), head)
    told = summary("--config", config, "--data", archive, "--duration", "10h")
    assert told["fills"] > 5
    proven(tmp_path / "avax.db")
    assert_files_agree(config, tmp_path / "avax.db")


def test_three_instruments_across_the_outage(shared_dir: Path, tmp_path: Path) -> None:
    """Three real markets in one account, over the hours in which the exchange was away, with one wallet."""
    folder = shared_dir / "data" / "um_1m" / "2025-01-27_2025-02-26"
    market = tmp_path / "market"
    market.mkdir()
    for name in ("BTC", "ETH", "SOL"):
        cut_feather(folder / f"{name}USDT-1m.feather", market / f"{name}USDT-1m.feather", 0, 900)
    config = ROOT / "configs" / "replay-three.toml"
    told = summary("--config", config, "--data", market, "--allow-gaps", "--journal", tmp_path / "three.db")
    assert {p["instrument"] for p in told["positions"]} == {f"{n}/USDT:USDT" for n in ("BTC", "ETH", "SOL")}
    traded = rows(tmp_path / "three.db", "SELECT DISTINCT instrument FROM fills ORDER BY 1")
    assert [name for (name,) in traded] == ["BTC/USDT:USDT", "ETH/USDT:USDT", "SOL/USDT:USDT"]
    proven(tmp_path / "three.db")
    assert_files_agree(config, tmp_path / "three.db")


def test_a_new_peak_goes_with_a_resume(tmp_path: Path) -> None:
    """--new-peak alone means nothing and says what it belongs to; with --resume both reach the run."""
    refused = invoke("run", "--new-peak", "--journal", tmp_path / "x.db", *HOUR)
    assert refused.exit_code == 2
    assert refused.stderr.strip() == "hedgegrid: --new-peak goes with --resume: it lifts a latched drawdown"
    assert list(tmp_path.iterdir()) == []
    summary("--resume", "--new-peak", "--journal", tmp_path / "x.db", "--duration", "1s")
    words = rows(tmp_path / "x.db", "SELECT payload FROM tape WHERE kind = 'Resume'")
    assert [json.loads(payload)["new_peak"] for (payload,) in words] == [True]
