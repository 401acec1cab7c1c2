"""The executor and what reduces: an exit leaves only while its leg holds what it would close.

Invariant: outcomes are what the venue was asked for, and what risk was told.
"""

from collections import deque
from pathlib import Path

import pytest

from hedgegrid.messages.events import EndReason
from hedgegrid.messages.events import OrderEventKind as K
from hedgegrid.model.order import Kind, Leg, OrderRequest, Purpose
from tests.actors.desk import Desk, desk
from tests.actors.fake_venue import HANG, told
from tests.actors.test_executor_pause import placed
from tests.journal.life import ETH

SLOW_S = 5


async def waits(at: Desk, *approved: OrderRequest, retires: tuple[str, ...] = ()) -> None:
    """Approve orders that have to wait in the outbox behind a request that hangs."""
    at.venue.faults["place"] = deque([HANG])
    at.approve(at.request(level=7))
    await at.rest()
    at.approve(*approved, retires=retires)
    await at.rest()


def refused(at: Desk, name: str) -> list[tuple[K, EndReason]]:
    """What risk was told of the end of an order that never left."""
    return [(one.kind, one.reason) for one in at.events() if one.client_id == name]


def at_market(at: Desk, lots: int, purpose: Purpose = Purpose.FLATTEN) -> OrderRequest:
    """A market reduction."""
    return at.request(purpose, kind=Kind.MARKET, price_ticks=0, qty_lots=lots, level=-1)


@pytest.mark.asyncio
async def test_an_exit_that_waited_is_not_sent_for_what_has_been_closed(tmp_path: Path) -> None:
    """Approved for ten lots, and by its turn four are held: it stays, and its strategy hears it as a gate's no."""
    async with desk(tmp_path) as at:
        await at.held(10)
        profit, stop = at.request(Purpose.TAKE_PROFIT), at.request(Purpose.STOP)
        flatten = at_market(at, 6)
        await at.resting(flatten)
        await waits(at, profit, stop)
        at.report(told(at.venue.fill(flatten.client_id, 6), 0))
        await at.wait(SLOW_S)
        assert stop.client_id in placed(at), "what guards a lot is never kept back"
        assert profit.client_id not in placed(at)
        assert refused(at, profit.client_id) == [(K.REJECTED, EndReason.NOT_SENT)]
        assert at.state(profit.client_id) == "rejected"
        again = at.request(Purpose.TAKE_PROFIT, qty_lots=4)
        at.approve(again)
        await at.rest()
        assert placed(at)[-1] == again.client_id, "what the leg holds can be closed"


@pytest.mark.asyncio
@pytest.mark.parametrize("purpose", [Purpose.FLATTEN, Purpose.STOP], ids=lambda one: one.name)
async def test_a_market_reduction_that_is_kept_back_takes_no_stop_with_it(purpose: Purpose, tmp_path: Path) -> None:
    """It was to take the stops' place: what is left of the leg keeps them."""
    async with desk(tmp_path) as at:
        await at.held(10)
        profit, stop = at.request(Purpose.TAKE_PROFIT, qty_lots=3), at.request(Purpose.STOP)
        await at.resting(profit, stop)
        market = at_market(at, 10, purpose)
        await waits(at, market, retires=(stop.client_id,))
        at.report(told(at.venue.fill(profit.client_id, 3), 0))
        await at.wait(SLOW_S)
        assert market.client_id not in placed(at)
        assert refused(at, market.client_id) == [(K.REJECTED, EndReason.NOT_SENT)]
        assert stop.client_id in at.venue.orders
        assert refused(at, stop.client_id)[-1] == (K.CANCEL_FAILED, EndReason.NOT_SENT)
        assert at.state(stop.client_id) == "working"
        assert at.incidents() == [], "all of it is in the order of things"


@pytest.mark.asyncio
async def test_what_is_out_counts_and_what_waits_does_not(tmp_path: Path) -> None:
    """Of two that wait for the same lots the first goes and the second stays; what was kept back is no obstacle."""
    async with desk(tmp_path) as at:
        await at.held(10)
        first, second = (at.request(Purpose.TAKE_PROFIT, qty_lots=lots) for lots in (10, 4))
        too_much, fits = at_market(at, 11), at_market(at, 10)
        await waits(at, first, second, too_much, fits)
        await at.wait(SLOW_S)
        assert placed(at)[-2:] == [first.client_id, fits.client_id]
        later = at_market(at, 1)
        at.approve(later)
        await at.rest()
        assert later.client_id not in placed(at), "the reduction that is out takes all there is"


@pytest.mark.asyncio
async def test_another_leg_or_instrument_proves_nothing(tmp_path: Path) -> None:
    """What one leg holds is no reason to close another."""
    async with desk(tmp_path) as at:
        await at.held(10)
        strange = at.request(Purpose.TAKE_PROFIT, instrument=ETH)
        at.approve(strange)
        at.approve(at.request(Purpose.TAKE_PROFIT, leg=Leg.SHORT))
        await at.rest()
        assert len(placed(at)) == 1, "the entry alone"
