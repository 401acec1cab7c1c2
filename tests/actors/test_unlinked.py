"""The whole bot on an exchange that links no exits: what races leave behind is put right in virtual time.

Invariant: nothing of the bot is replaced; the exchange alone is another, and its account is the judge.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.config.params import venue_rules
from hedgegrid.messages.events import ActorRestarted, Incident, LotProtected
from hedgegrid.venues.simulated.opening import open_simulation
from hedgegrid.worlds import simulated
from tests.actors.house import (
    STRATEGY,
    Boot,
    Script,
    assert_agrees,
    assert_exits_complete,
    assert_one_order_a_rung,
    boot,
    fills,
    last_mode,
    market,
    messages,
    settings,
)
from tests.actors.test_crashes import CRASHES

TRADERS = [case for case in CRASHES if case[1] in (STRATEGY, "executor", "risk")]
CASES = [(*case, latency) for case, latency in zip(TRADERS, [0, 100, 16_000] * len(TRADERS), strict=False)]
PATIENT = {"max_unprotected_ms": 120_000, "stop_overlap_ms": 120_000, "exit_excess_ms": 120_000}
"""Limits for a market whose points are 15 s apart: nothing is acknowledged sooner."""


async def race(path: Path, script: Script | None = None, *, refuse: bool = True, seed: int = 1, **changes: Any) -> Boot:
    """A life on an exchange without links, which refuses a reduction above the position, or fills what there is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulated, "open_simulation", partial(open_simulation, linked_exits=False))
        patch.setattr(
            simulated,
            "venue_rules",
            lambda config, one: attrs.evolve(venue_rules(config, one), refuse_over=int(refuse)),
        )
        return await boot(settings(path, **changes), market(seed=seed, count=150), script)


@pytest.mark.asyncio
@pytest.mark.parametrize("refuse", [True, False], ids=["refuses", "caps"])
@pytest.mark.parametrize("latency_ms", [0, 100, 16_000], ids=["at once", "a point", "two points"])
@pytest.mark.parametrize("seed", [1, 4])
async def test_lots_and_exits_are_right_without_links(seed: int, latency_ms: int, refuse: bool, tmp_path: Path) -> None:
    """Exits that race each other leave books that agree, and every lot with its exits and no more."""
    one = await race(tmp_path, refuse=refuse, seed=seed, sim={"latency_ms": latency_ms}, risk=PATIENT)
    assert one.outcome.exit_code == 0
    assert len(fills(one.path)) > 20
    assert_agrees(one)
    assert_one_order_a_rung(one)
    assert_exits_complete(one)
    assert messages(one.path, LotProtected)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "actor", "script", "latency_ms"), CASES, ids=[f"{name}, {latency} ms" for name, *_, latency in CASES]
)
async def test_crashed_actor_goes_on_without_links(
    name: str, actor: str, script: Callable[[], Script], latency_ms: int, tmp_path: Path
) -> None:
    """Wherever an actor fails while exits race: one order a rung, the account agrees, every lot has its exits."""
    assert name
    one = await race(tmp_path, script(), seed=2, sim={"latency_ms": latency_ms}, risk=PATIENT)
    assert one.outcome.exit_code == 0, one.outcome.failure
    assert [(word.actor, word.error) for word in messages(one.path, ActorRestarted)] == [(actor, "CrashError")]
    assert last_mode(one) == "active"
    assert_one_order_a_rung(one)
    assert_agrees(one)
    assert_exits_complete(one)


LIMITS = [
    ("max_unprotected_ms", "stood without a confirmed stop"),
    ("exit_excess_ms", "not answered in its time"),
    ("stop_overlap_ms", "not answered in its time"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "words"), LIMITS, ids=[name for name, _ in LIMITS])
async def test_each_limit_of_a_race_acts(name: str, words: str, tmp_path: Path) -> None:
    """An exchange that answers after 30 s: within the limit nothing is said, beyond it something is done."""
    said = []
    for limit_ms in (120_000, 1_000):
        path = tmp_path / str(limit_ms)
        path.mkdir()
        one = await race(path, sim={"latency_ms": 30_000}, risk={**PATIENT, name: limit_ms})
        said.append(sum(words in incident.text for incident in messages(one.path, Incident)))
        assert_agrees(one)
    assert said[0] == 0 < said[1]
