"""The standard seeds: runs that break no law, among them those that once did, and that reach every rare state."""

from collections import Counter
from pathlib import Path

import pytest

from hedgegrid.config.load import load
from hedgegrid.simulation.rare import Rare
from hedgegrid.simulation.weather import Fault
from tests.simulation.storm import account, storm

Run = tuple[int, float, float, tuple[Fault, ...]]

CRASHES = (
    Fault.OPERATOR,
    Fault.CRASH,
    Fault.CRASH_AT_WRITE,
    Fault.CRASH_AT_SEND,
    Fault.CRASH_AT_ANSWER,
    Fault.PARTIAL_FILL,
    Fault.TORN_WRITE,
    Fault.STOPPED,
)
DOUBTS = (Fault.ANSWER_TORN, Fault.ANSWER_LOST, Fault.STREAM_HALF_OPEN, Fault.STREAM_BREAKS, Fault.READ_FAILS)
DISK = (Fault.DISK_FULL, Fault.DISK_FAILS, Fault.DISK_BUSY, Fault.PARTIAL_FILL, Fault.ANSWER_LOST)
FORCED = (Fault.FLOOD, Fault.LIQUIDATED, Fault.DELEVERAGED)
SWARM: tuple[Run, ...] = tuple((seed, 1.5, 2.0, ()) for seed in range(1, 13))
STANDARD: tuple[Run, ...] = (
    *SWARM,
    *((seed, 1.5, 12.0, CRASHES) for seed in (1, 2, 3)),
    *((seed, 1.0, 25.0, DOUBTS) for seed in (2, 3, 11)),
    (1, 1.5, 12.0, DISK),
    *((seed, 1.0, 40.0, FORCED) for seed in (1, 2)),
)
"""Seed, hours, how often faults strike, and which (none named: the seed's own half of all)."""
FOUND: tuple[Run, ...] = (
    (4, 1.5, 1.0, ()),
    (5, 2.0, 2.0, tuple(Fault)),
    (1, 1.0, 25.0, (Fault.MODE_REFUSED, Fault.MAINTENANCE, Fault.CLOCK_REFUSED, Fault.REDUCE_ONLY)),
    (2, 1.0, 25.0, (Fault.BANNED, Fault.KEY_REFUSED)),
    (124, 2.0, 1.5, ()),
    (1110, 1.5, 1.0, ()),
    (4161, 1.5, 4.0, ()),
    (4034, 1.5, 1.0, ()),
    (4708, 1.5, 1.0, ()),
    (4883, 1.5, 1.0, ()),
    (4637, 1.5, 1.0, ()),
    *((seed, 2.0, 1.5, ()) for seed in (115, 119, 134, 141, 159, 169, 251, 252)),
)
"""Runs by which a bug was found once: CHANGELOG names them."""
REPLAY: tuple[tuple[int, float], ...] = (
    (65, 1.3),
    (71, 4.6),
    (158, 4.5),
    (178, 1.7),
    (184, 0.7),
    (252, 1.5),
    (308, 1.7),
    (363, 0.9),
    (450, 1.4),
    (543, 0.9),
    (589, 0.5),
)
"""Seeds of ``configs/replay.toml`` by which a bug was found, and the hours in which they showed it."""
SILENT = tuple((seed, 1.0, 6.0, (Fault.MARKET_SILENT, Fault.HISTORY_FAILS)) for seed in (1, 2, 3, 4))


def test_the_standard_seeds_break_no_law_and_reach_every_rare_state(tmp_path: Path) -> None:
    """A simulation that never gets into a state proves nothing about it."""
    reached: Counter[str] = Counter()
    for number, (seed, hours, force, faults) in enumerate(STANDARD):
        result = storm(tmp_path / str(number), seed, *faults, hours=hours, force=force)
        assert result.violations == (), (seed, faults)
        reached.update(result.rare)
    assert [one.name for one in Rare if not reached[one.name]] == []


@pytest.mark.parametrize(("seed", "hours", "force", "faults"), [*FOUND, *SILENT])
def test_what_once_found_a_bug_finds_none(
    seed: int, hours: float, force: float, faults: tuple[Fault, ...], tmp_path: Path
) -> None:
    """A seed that broke a law stays where it is."""
    assert storm(tmp_path, seed, *faults, hours=hours, force=force).violations == ()


def test_several_instruments_pause_each_for_itself(tmp_path: Path) -> None:
    """What holds one instrument is no reason to condemn an entry of another."""
    config = load(Path(__file__).parents[2] / "configs" / "replay-three.toml")
    assert storm(tmp_path, 4, hours=1.0, force=2.0, config=config).violations == ()


def test_what_is_adopted_is_ours(tmp_path: Path) -> None:
    """Positions of others that the settings make ours are exited, judged and added up as ours."""
    changed = {"name": "storm", "mode": "sim", "wallet_quote": 10_000, "adopt_foreign": True}
    assert storm(tmp_path, 1, hours=1.5, force=3.0, config=account(account=changed)).violations == ()


@pytest.mark.parametrize(("seed", "hours"), REPLAY)
def test_what_once_found_a_bug_in_a_config_finds_none(seed: int, hours: float, tmp_path: Path) -> None:
    """The config that replays recorded data, as the command tortures it."""
    config = load(Path(__file__).parents[2] / "configs" / "replay.toml")
    assert storm(tmp_path, seed, hours=hours, config=config).violations == ()
