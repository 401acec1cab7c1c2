"""FLAT is said by two whole readings, both later than the asking and than the exchange's last word (law 8).

Invariants: the executor is real, the exchange is the test's; what is compared is what risk was told.
"""

from collections import deque
from pathlib import Path

import attrs
import pytest

from hedgegrid.actors.post import EXECUTOR
from hedgegrid.errors import Transient
from hedgegrid.messages.commands import ConfirmFlat
from hedgegrid.messages.events import FlatConfirmed, OrderEventKind, StillHeld
from hedgegrid.model.account import Position
from hedgegrid.model.order import Kind, Leg, Purpose, Side
from hedgegrid.runtime.clock import VirtualClock
from tests.actors.desk import SECOND, Desk, desk
from tests.actors.fake_venue import HANG, LOSE, NOT_TAKEN, FakeTrading, open_order, said, told
from tests.journal.life import BTC, ETH, START_NS

K = OrderEventKind
BOTH = (Leg.LONG, Leg.SHORT)
MANUAL = "web_1"


@attrs.define(eq=False)
class SlowVenue(FakeTrading):
    """An exchange that takes its time to show the legs."""

    takes_s: int = 0

    async def positions(self) -> tuple[Position, ...]:
        """Show them in the end."""
        await self.clock.sleep(self.takes_s * SECOND)
        return await super().positions()


def ask(at: Desk, *legs: Leg) -> None:
    """Risk asks whether legs are flat."""
    at.post.send(ConfirmFlat(**at.post.head(), legs=legs or BOTH), EXECUTOR)


def answers(at: Desk) -> list[FlatConfirmed | StillHeld]:
    """What risk was answered, in order."""
    return [one for one in at.risk.heard if isinstance(one, FlatConfirmed | StillHeld)]


def left(at: Desk) -> list[tuple[str, ...]]:
    """What was left, answer by answer; () where it was FLAT."""
    return [one.left if isinstance(one, StillHeld) else () for one in answers(at)]


async def hold(at: Desk, leg: Leg = Leg.LONG, lots: int = 10) -> None:
    """A position of ours, heard of by the stream."""
    request = at.request(qty_lots=lots, leg=leg)
    await at.resting(request)
    at.report(told(at.venue.fill(request.client_id, lots), 0))
    await at.rest()


@pytest.mark.asyncio
async def test_flat_is_two_readings_later_than_the_asking(tmp_path: Path) -> None:
    """Nothing held, nothing open: said after two whole readings, once, and not for a reading that was on its way."""
    async with desk(tmp_path) as at:
        before = len(at.venue.called("positions"))
        ask(at)
        await at.wait(1)
        assert [type(one) for one in answers(at)] == [FlatConfirmed]
        assert len(at.venue.called("positions")) - before == 2
        await at.wait(60)
        assert len(answers(at)) == 1


@pytest.mark.asyncio
async def test_reading_under_way_does_not_count(tmp_path: Path) -> None:
    """A reading that began before the asking may show the lists of before: two whole ones follow it."""
    venue = SlowVenue(VirtualClock(START_NS))
    async with desk(tmp_path, venue=venue) as at:
        venue.takes_s = 2
        await at.wait(20.5)
        before = len(at.venue.called("open_orders"))
        ask(at)
        await at.rest()
        assert len(at.venue.called("open_orders")) == before, "the reading that is under way has its lists"
        await at.wait(8)
        assert [type(one) for one in answers(at)] == [FlatConfirmed]
        assert len(at.venue.called("open_orders")) - before == 2


@pytest.mark.asyncio
async def test_word_of_the_exchange_between_readings_starts_anew(tmp_path: Path) -> None:
    """Between two readings the stream speaks of an order: two more are read before FLAT is said."""
    async with desk(tmp_path) as at:
        order = at.request(leg=Leg.SHORT)
        await at.resting(order)
        asked = 0

        def hook() -> None:
            nonlocal asked
            asked += 1
            if asked == 2:
                at.venue.end(order.client_id)
                at.report(said(K.CANCELLED, order.client_id))

        ask(at, Leg.LONG)
        before = len(at.venue.called("open_stops"))
        at.venue.hooks["open_stops"] = hook
        await at.wait(2)
        assert [type(one) for one in answers(at)] == [FlatConfirmed]
        assert len(at.venue.called("open_stops")) - before == 4, "the second was disturbed, and the first with it"


@pytest.mark.asyncio
async def test_what_is_held_is_told_with_its_figures(tmp_path: Path) -> None:
    """A position and an open order: each by name, on the legs that were asked for, and nothing of the others."""
    async with desk(tmp_path) as at:
        await hold(at)
        await hold(at, Leg.SHORT, 7)
        stop = at.request(Purpose.STOP)
        await at.resting(stop)
        ask(at, Leg.LONG)
        await at.wait(1)
        (told_left,) = left(at)
        assert told_left[0] == f"{BTC} LONG 10 lots"
        assert f"{BTC} LONG order {stop.client_id} open" in told_left
        assert not any("SHORT" in one for one in told_left)


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", [LOSE, NOT_TAKEN])
async def test_never_while_an_outcome_is_unknown(fault: str, tmp_path: Path) -> None:
    """An order whose answer was lost keeps FLAT unsaid, taken or not, until the exchange's evidence ends it."""
    async with desk(tmp_path) as at:
        order = at.request()
        at.venue.faults["place"] = deque([fault])
        at.venue.hidden.add(order.client_id)
        at.approve(order)
        await at.rest()
        ask(at)
        await at.wait(0.5)
        ((words,),) = left(at)
        assert words.startswith(f"{BTC} LONG order {order.client_id} ")
        at.venue.end(order.client_id)
        await at.wait(30)
        ask(at)
        await at.wait(1)
        assert left(at)[1:] == [()]


@pytest.mark.asyncio
async def test_never_while_something_waits_to_be_sent(tmp_path: Path) -> None:
    """What stands in an outbox is on its way: both readings show nothing, and FLAT is not said."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([HANG])
        at.approve(at.request(instrument=ETH, leg=Leg.SHORT))
        at.approve(at.request(instrument=ETH, leg=Leg.SHORT))
        await at.rest()
        ask(at, Leg.LONG)
        await at.wait(0.5)
        assert left(at) == [("requests wait to be sent",)]


@pytest.mark.asyncio
async def test_failed_readings_do_not_count(tmp_path: Path) -> None:
    """A reading that broke off says nothing: two whole ones are needed, however many fail between."""
    async with desk(tmp_path) as at:
        at.venue.faults["positions"] = deque([Transient("busy"), None, Transient("busy"), None])
        ask(at)
        await at.wait(10)
        assert [type(one) for one in answers(at)] == [FlatConfirmed]
        assert len(at.venue.called("positions")) - 1 == 4


@pytest.mark.asyncio
async def test_what_is_not_ours_is_named_and_does_not_count(tmp_path: Path) -> None:
    """A stranger's position and order on the leg: FLAT, with both named."""
    async with desk(tmp_path) as at:
        at.venue.trade(Leg.LONG, Side.BUY, 5, MANUAL)
        manual = open_order(at.request(kind=Kind.LIMIT))
        at.venue.orders["web_2"] = attrs.evolve(manual, client_id="web_2")
        await at.wait(25)
        ask(at)
        await at.wait(1)
        (answer,) = answers(at)
        assert isinstance(answer, FlatConfirmed)
        assert answer.foreign == (f"{BTC} LONG 5 lots", f"{BTC} LONG order web_2")
        assert list(at.venue.orders) == ["web_2"]


@pytest.mark.asyncio
async def test_asking_again_does_not_begin_anew(tmp_path: Path) -> None:
    """Risk asks every five seconds: an exchange whose readings take that long is still believed after two."""
    venue = SlowVenue(VirtualClock(START_NS))
    async with desk(tmp_path, venue=venue) as at:
        venue.takes_s = 3
        for _ in range(4):
            ask(at)
            await at.wait(2)
        assert [type(one) for one in answers(at)] == [FlatConfirmed]


@pytest.mark.asyncio
async def test_an_exchange_that_is_down_is_not_asked_four_times_a_second(tmp_path: Path) -> None:
    """Whoever waits for FLAT waits longer between readings that fail, and hears of it soon after one does not."""
    async with desk(tmp_path) as at:
        at.venue.faults["fills_since"] = deque([Transient("503")] * 1_000)
        before = len(at.venue.called("fills_since"))
        ask(at)
        await at.wait(60)
        assert answers(at) == []
        assert 10 < len(at.venue.called("fills_since")) - before < 40
        at.venue.faults.clear()
        await at.wait(4)
        assert [type(one) for one in answers(at)] == [FlatConfirmed]
