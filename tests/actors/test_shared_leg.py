"""A leg of which others hold a part: what an order of ours, or the exchange, takes beyond ours was theirs.

Invariants: outcomes are the journal's legs, what risk was told, and what the exchange holds; a start on the same
journal agrees with it.
"""

from pathlib import Path

import pytest

from hedgegrid.messages.events import ForeignSeen
from hedgegrid.model.order import Leg, Purpose, Side
from tests.actors.desk import Desk, desk
from tests.actors.fake_venue import FakeTrading, told
from tests.journal.life import BTC

MANUAL = "web_1"
LONG = (BTC, Leg.LONG)


def ours(at: Desk) -> int:
    """What the journal holds of the leg."""
    return at.journal.held_lots(*LONG)


def theirs(at: Desk) -> int:
    """What risk was told last of the others' part."""
    said = at.heard(ForeignSeen)
    return sum(one.qty_lots for one in said[-1].positions) if said else 0


async def agrees_after_a_start(path: Path, venue: FakeTrading) -> None:
    """A second life reads the exchange, agrees, and finds nothing new."""
    async with desk(path, venue=venue) as again:
        await again.wait(25)
        assert again.reasons("stream_gap") == []
        assert ours(again) + sum(one.qty_lots for one in again.journal.foreign()[BTC].positions) == venue.held[LONG]


@pytest.mark.asyncio
@pytest.mark.parametrize("lagging", [False, True], ids=["at once", "positions lag behind the fills"])
@pytest.mark.parametrize("known", [False, True], ids=["others come with it", "others were seen before"])
async def test_a_stop_that_took_of_theirs_is_booked_as_that(*, known: bool, lagging: bool, tmp_path: Path) -> None:
    """Four are ours, two another's; a stop of five fills: nothing of ours is left, and one of theirs."""
    async with desk(tmp_path) as at:
        await at.held(4)
        stop = at.request(Purpose.STOP, qty_lots=5)
        await at.resting(stop)
        at.venue.trade(Leg.LONG, Side.BUY, 2, MANUAL)
        if known:
            await at.wait(25)
            assert (ours(at), theirs(at)) == (4, 2)
        fill = at.venue.fill(stop.client_id, 5)
        at.venue.off_lots[LONG] = 5 if lagging else 0
        at.report(told(fill, 0))
        await at.wait(1)
        at.venue.off_lots.clear()
        await at.wait(10)
        assert (ours(at), theirs(at), at.venue.held[LONG]) == (0, 1, 1)
        assert at.state(stop.client_id) == "filled"
    await agrees_after_a_start(tmp_path, at.venue)


@pytest.mark.asyncio
async def test_a_forced_close_of_all_leaves_nothing_of_either(tmp_path: Path) -> None:
    """A liquidation takes both parts, told by the stream: the books are empty, and stay so over a start."""
    async with desk(tmp_path) as at:
        await at.held(4)
        at.venue.trade(Leg.LONG, Side.BUY, 2, MANUAL)
        await at.wait(25)
        at.report(told(at.venue.trade(Leg.LONG, Side.SELL, 6, "autoclose-1", purpose=Purpose.LIQUIDATION), 0))
        await at.wait(10)
        assert (ours(at), theirs(at), at.venue.held[LONG]) == (0, 0, 0)
    await agrees_after_a_start(tmp_path, at.venue)


@pytest.mark.asyncio
async def test_others_of_whom_nothing_is_left_are_remembered(tmp_path: Path) -> None:
    """They came, and our stop took all of theirs before any reading: their trade is not counted a second time."""
    async with desk(tmp_path) as at:
        await at.held(4)
        stop = at.request(Purpose.STOP, qty_lots=5)
        await at.resting(stop)
        at.venue.trade(Leg.LONG, Side.BUY, 1, MANUAL)
        at.report(told(at.venue.fill(stop.client_id, 5), 0))
        await at.wait(25)
        assert (ours(at), theirs(at), at.venue.held[LONG]) == (0, 0, 0)
        assert at.reasons("stream_gap") == []
    await agrees_after_a_start(tmp_path, at.venue)
