"""The operator's throttle: it outlives actors and processes, like a pause, until the operator says another one.

Invariant: the quantities are those of the orders that reached the exchange.
"""

from pathlib import Path
from typing import Any

import pytest

from hedgegrid.app import House
from hedgegrid.journal.verify import verify
from hedgegrid.messages.events import BarClosed
from hedgegrid.runtime.actor import Actor
from tests.actors.house import Boot, Script, boot, entries_placed, market, query, settings

FULL_LOTS = 10
"""base_qty, in lots."""
HALF, WHOLE = 500_000, 1_000_000
LIFE_S = 3_000
"""Fifty of the tape's minutes."""


def quantities(one: Boot, after_row: int = 0) -> list[int]:
    """The quantities of the entries that reached the exchange in a life, in order; of those after a row of the tape."""
    rows = query(one.path, f"SELECT client_id, qty_lots FROM orders WHERE row > {after_row}")  # noqa: S608 - a number
    qty_lots = dict(rows)
    return [qty_lots[client_id] for client_id in entries_placed(one) if client_id in qty_lots]


def throttling(factor_ppm: int, at_bar: int) -> Script:
    """A life in which the operator throttles at a bar."""
    bars: list[BarClosed] = []

    def hook(house: House, actor: Actor[Any], message: Any) -> None:
        if actor.name == "feed":
            return
        if isinstance(message, BarClosed) and actor.name == "journal":
            bars.append(message)
            if len(bars) == at_bar:
                house.operator.throttle(factor_ppm)

    return Script(before_handle=hook)


@pytest.mark.asyncio
async def test_a_throttle_stands_over_restarts_until_another_is_said(tmp_path: Path) -> None:
    """The next life begins with it, says so, and the one after a `throttle 1` does not."""
    config, tape = settings(tmp_path), market(seed=1, count=150)
    first = await boot(config, tape, throttling(HALF, 20), duration_s=LIFE_S)
    assert (quantities(first)[0], quantities(first)[-1]) == (FULL_LOTS, FULL_LOTS // 2)
    second = await boot(config, tape, throttling(WHOLE, 20), duration_s=LIFE_S)
    assert (quantities(second)[0], quantities(second)[-1]) == (FULL_LOTS // 2, FULL_LOTS)
    assert any("throttle 0.5" in said and "throttle 1" in said for said in second.told)
    assert second.house.view.throttle_ppm == WHOLE
    third = await boot(config, tape)
    assert set(quantities(third)) == {FULL_LOTS}
    assert not any("throttle" in said for said in third.told)
    report = verify(third.path)
    assert report.ok, report.text()


@pytest.mark.parametrize("fails", ["strategy", "risk"])
@pytest.mark.asyncio
async def test_an_actor_that_starts_anew_is_told_of_it(tmp_path: Path, fails: str) -> None:
    """What an actor knew dies with it: the throttle must come from who remembers."""
    script = throttling(HALF, 20)
    throttled, bars, failed_at = script.before_handle, [0], [0]
    assert throttled is not None

    def hook(house: House, actor: Actor[Any], message: Any) -> None:
        throttled(house, actor, message)
        if isinstance(message, BarClosed) and actor.name.startswith(fails):
            bars[0] += 1
            if bars[0] == 40:
                failed_at[0] = house.journal.counts()["rows"]
                raise RuntimeError("planted")

    one = await boot(settings(tmp_path), market(seed=1, count=150), Script(before_handle=hook))
    assert sum(one.house.view.restarts.values()) >= 1
    assert set(quantities(one, failed_at[0])) == {FULL_LOTS // 2}
