"""The process is killed at any moment and started again on its files; signals end it well.

Invariants: real processes, a real kill; what is judged is what lies on disk afterwards.
"""

import random
import signal
import time
from pathlib import Path

from hedgegrid.journal.tape import decode
from hedgegrid.messages.events import AccountHydrated, ApprovedBatch
from tests.command import ANY_PORT, assert_files_agree, complaint, invoke, lines_until, rows, started

ACCOUNT = """\
[account]
name = "killed"
mode = "sim"
wallet_quote = 10000
on_stop = "keep"
[sim]
seed = 3
latency_ms = 100
[sim.synthetic]
annual_volatility = 2
[[grid]]
instrument = "BTC/USDT:USDT"
timeframe = "1s"
max_position_qty = 2
[grid.ladder]
step_bps = 3
base_qty = 0.01
recenter_trigger_bps = 20
[grid.exit]
tp_steps = 2
sl_steps = 20
[risk]
max_orders_per_minute = 10000
[supervisor]
crash_boots_max = 100
[journal]
path = "killed.db"
synchronous = "normal"
"""
UP = "metrics at http://127.0.0.1:"


def config(folder: Path) -> Path:
    """The account's file."""
    path = folder / "killed.toml"
    path.write_text(ACCOUNT)
    return path


def test_killed_at_any_moment_it_goes_on(tmp_path: Path) -> None:
    """No order twice, none before hydration, one account on both sides, however often it is killed."""
    path, journal = config(tmp_path), tmp_path / "killed.db"
    for _ in range(4):
        with started(tmp_path, "run", "--config", path, "--speed", "100", *ANY_PORT) as running:
            lines_until(running, UP)
            time.sleep(random.uniform(0.0, 1.6))
            running.send_signal(signal.SIGKILL)
            _, err = running.communicate()
            assert running.returncode == -signal.SIGKILL, err
    last = invoke("run", "--config", path, "--journal", journal, "--speed", "max", "--duration", "60s", *ANY_PORT)
    assert last.exit_code == 0, last.output
    assert_files_agree(path, journal)
    assert [clean for (clean,) in rows(journal, "SELECT clean_end FROM boots ORDER BY epoch")] == [0, 0, 0, 0, 1]
    tape = [decode(*row) for row in rows(journal, "SELECT kind, payload FROM tape ORDER BY row")]
    sent = [approved.request.client_id for one in tape if isinstance(one, ApprovedBatch) for approved in one.approved]
    assert len(sent) == len(set(sent)) > 50
    starts = [before for (before,) in rows(journal, "SELECT rows_before FROM boots ORDER BY epoch")]
    for first, end in zip(starts, [*starts[1:], len(tape)], strict=True):
        kinds = [type(one) for one in tape[first:end]]
        if ApprovedBatch in kinds:
            assert AccountHydrated in kinds[: kinds.index(ApprovedBatch)]
    assert invoke("journal", "verify", journal).exit_code == 0


def test_signals_end_it_cleanly_and_a_second_start_goes_on(tmp_path: Path) -> None:
    """SIGINT and SIGTERM: exit 0, the summary, a clean boot; and meanwhile nobody else may use the account."""
    path, journal = config(tmp_path), tmp_path / "killed.db"
    for number, name in enumerate((signal.SIGINT, signal.SIGTERM)):
        with started(tmp_path, "run", "--config", path, "--speed", "50", *ANY_PORT) as running:
            said = lines_until(running, UP)
            assert ("going on with the kept simulated exchange" in said) == (number == 1)
            second = invoke("run", "--config", path, "--journal", journal, "--duration", "1s", *ANY_PORT)
            assert "trades this account already" in complaint(second)
            lines_until(running, "! ")
            running.send_signal(name)
            out, err = running.communicate()
        assert running.returncode == 0, err
        assert f"ended: stopped by {name.name}" in out
        assert "\nfills: " in out
        assert "Traceback" not in err
    assert rows(journal, "SELECT clean_end, end_reason FROM boots ORDER BY epoch") == [
        (1, "stopped by SIGINT"),
        (1, "stopped by SIGTERM"),
    ]
    assert_files_agree(path, journal)
    assert invoke("journal", "verify", journal).exit_code == 0
