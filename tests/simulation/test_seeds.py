"""The same seed is the same run, in every process; faults strike as drawn; a bad config is one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hedgegrid.cli import commands
from hedgegrid.simulation.run import Plan, Simulation
from hedgegrid.simulation.weather import Fault, Weather
from tests.simulation.storm import account, storm

ONE_RUN = """
import sys
from pathlib import Path
from hedgegrid.simulation.weather import Fault
from tests.simulation.storm import storm
print(storm(Path(sys.argv[1]), 7, *Fault, hours=2.0, force=2.0).trace)
"""


def test_a_seed_is_one_run_whatever_the_process(tmp_path: Path) -> None:
    """Every fault on, twice here, and in two processes whose hash seeds differ: one trace; another seed is another."""
    here = [storm(tmp_path / name, 7, *Fault, hours=2.0, force=2.0).trace for name in ("a", "b")]
    for number in (1, 2):
        there = subprocess.run(
            [sys.executable, "-c", ONE_RUN, str(tmp_path / f"c{number}")],
            env={**os.environ, "PYTHONHASHSEED": str(number)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        here.append(there.stdout.strip())
    assert len(set(here)) == 1, here
    assert storm(tmp_path / "d", 8, *Fault, hours=0.75, force=2.0).trace != here[0]


@pytest.mark.parametrize("seed", [3, 11, 19])
def test_bad_weather_breaks_no_law(seed: int, tmp_path: Path) -> None:
    """A storm of every kind, three times as strong as usual: the account is whole afterwards."""
    result = storm(tmp_path, seed, *Fault, hours=1.5, force=3.0)
    assert result.violations == ()
    assert result.strikes


GROUPS: tuple[tuple[float, tuple[str, ...]], ...] = (
    (6, ("request_lost", "answer_lost", "arrives_late", "busy", "busy_unknown", "throttled", "margin_refused")),
    (6, ("read_fails", "read_stale", "read_slow", "event_lost", "event_late", "event_twice", "stream_breaks")),
    (6, ("market_silent", "market_outlier", "history_fails", "actor_fails", "operator", "crash", "torn_write")),
    (8, ("answer_torn", "reduce_refused", "post_only_refused", "batch_in_part", "rules_changed")),
    (25, ("mode_refused", "maintenance", "clock_refused", "listen_key_expired")),
    (25, ("banned", "key_refused")),
    (20, ("stream_half_open", "bar_lost", "book_frozen", "book_crossed", "rate_missing", "rate_flipped", "flood")),
    (9, ("funding_late",)),
    (30, ("reduce_only",)),
    (20, ("disk_full", "disk_fails", "disk_busy")),
    (12, ("crash_at_write", "crash_at_send", "crash_at_answer")),
    (12, ("clock_jumps", "suspended", "loop_blocked")),
    (8, ("partial_fill", "stop_fails", "order_by_hand", "trade_by_hand", "deleveraged", "countdown_late")),
    (30, ("liquidated",)),
    (12, ("actor_hangs", "cancel_swallowed", "restart_storm", "second_instance", "stopped")),
)
"""Kinds that leave each other occasions, and how often they have to strike to be seen in an hour."""


@pytest.mark.parametrize(("force", "names"), GROUPS, ids=[names[0] for _, names in GROUPS])
def test_every_kind_of_fault_strikes(force: float, names: tuple[str, ...], tmp_path: Path) -> None:
    """None of them is a name alone, and none breaks a law."""
    missing = {Fault(name) for name in names}
    for seed in range(1, 7):
        result = storm(tmp_path / str(seed), seed, *(Fault(name) for name in names), hours=1.0, force=force)
        assert result.violations == ()
        missing -= {one.fault for one in result.strikes}
        if not missing:
            break
    assert missing == set()


def test_every_kind_is_in_a_group() -> None:
    """No kind is left out of the test above."""
    assert sorted(Fault) == sorted(name for _, group in GROUPS for name in group)


def test_leaving_one_strike_out_moves_no_other() -> None:
    """A strike has its own place: without it the others come when they came."""
    whole, parted = (Weather(5, calm_ns=10**9, without=without, only=frozenset(Fault)) for without in ((), ("busy:1",)))
    for weather in (whole, parted):
        for ts_ns in range(2_000):
            for fault in (Fault.BUSY, Fault.EVENT_LATE):
                weather.strikes_now(fault, ts_ns, "")
    assert [one.name for one in whole.strikes if one.name != "busy:1"] == [one.name for one in parted.strikes]
    assert "busy:1" in [one.name for one in whole.strikes]


def test_nothing_strikes_in_the_calm() -> None:
    """The end is quiet."""
    weather = Weather(5, calm_ns=100, only=frozenset(Fault), force_ppm=10**12)
    assert weather.strikes_now(Fault.BUSY, 99, "")
    assert not weather.strikes_now(Fault.BUSY, 100, "")


def test_too_short_a_run_is_refused(tmp_path: Path) -> None:
    """There must be something before the calm."""
    with pytest.raises(ValueError, match="hours: give"):
        Simulation(account(), Plan(seed=1, hours=0.1), tmp_path)


def test_the_command_says_what_came_of_it() -> None:
    """Figures as JSON, one run a seed, exit code 0 where no law was broken."""
    config = str(Path(__file__).parents[2] / "configs" / "replay.toml")
    answer = CliRunner().invoke(
        commands, ["simulate", "--config", config, "--seeds", "2..3", "--hours", "0.5", "--json", "--force", "2"]
    )
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout)
    assert [one["seed"] for one in told["runs"]] == [2, 3]
    assert told["broken"] == {}


def test_a_config_is_tortured_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is spoken to, so neither keys nor tokens need be at hand."""
    for name in ("HEDGEGRID_CONTROL_TOKEN", "BINANCE_KEY", "BINANCE_SECRET"):
        monkeypatch.delenv(name, raising=False)
    config = str(Path(__file__).parents[2] / "configs" / "binance-testnet.toml")
    answer = CliRunner().invoke(commands, ["simulate", "--config", config, "--seeds", "1", "--hours", "0.5"])
    assert answer.exit_code == 0, answer.output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--seeds", "9..1"], "smaller seed first"),
        (["--seeds", "x"], "no seed"),
        (["--only", "bad_luck"], "no such fault"),
        (["--hours", "0.1"], "hours"),
    ],
)
def test_what_cannot_be_run_is_one_line(words: list[str], why: str) -> None:
    """Bad input is exit code 2 and says what to do."""
    config = str(Path(__file__).parents[2] / "configs" / "replay.toml")
    answer = CliRunner().invoke(commands, ["simulate", "--config", config, *words])
    assert answer.exit_code == 2
    assert why in answer.output
