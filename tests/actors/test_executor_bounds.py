"""The executor's outbox at its bounds: jobs with little in them, approvals at their last moment, answers that fail.

Invariant: outcomes are what the venue was asked for, what it still holds ready, and what risk was told.
"""

from collections import deque
from pathlib import Path

import attrs
import pytest

from hedgegrid.errors import Rejected, Transient
from hedgegrid.messages.events import EndReason, ExchangeErred
from hedgegrid.messages.events import OrderEventKind as K
from hedgegrid.model.order import Leg, OrderRequest, Purpose
from tests.actors.desk import REAL, SECOND, Desk, desk
from tests.actors.fake_venue import HANG, LOSE, NOT_TAKEN, told
from tests.actors.test_executor_pause import placed
from tests.actors.test_executor_proof import at_market, refused, waits
from tests.actors.test_executor_sending import limited
from tests.journal.life import BTC

SLOW_S = 4
"""What a request that hangs is given: an outbox comes to the next job at this very moment."""


async def resting_stop(at: Desk, leg: Leg = Leg.LONG) -> str:
    """Give a stop that rests."""
    stop = at.request(Purpose.STOP, leg=leg)
    await at.resting(stop)
    return stop.client_id


# --- retiring -------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_stops_that_nothing_replaces_are_retired(tmp_path: Path) -> None:
    """Protects a leg that was closed from its old stops: a batch may have nothing else in it."""
    async with desk(tmp_path) as at:
        stop = await resting_stop(at)
        at.approve(retires=(stop,))
        await at.rest()
        assert at.venue.called("place")[-1] == (BTC, (), (stop,))
        asked = len(at.venue.called("place"))
        at.venue.end(stop)
        await at.wait(30)
        assert at.state(stop) == "cancelled"
        at.approve(retires=(stop,))
        await at.rest()
        assert len(at.venue.called("place")) == asked, "what has ended is not asked to end"


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", [Transient("busy"), Rejected("no"), NOT_TAKEN], ids=["busy", "refused", "lost"])
async def test_a_retirement_that_is_not_taken_is_looked_up_or_told(fault: str | Exception, tmp_path: Path) -> None:
    """The stop rests on: risk hears of a refusal at once, and what nobody knows is found by a look, in time."""
    async with desk(tmp_path) as at:
        stop = await resting_stop(at)
        at.venue.faults["place"] = deque([fault])
        at.approve(retires=(stop,))
        await at.wait(20)
        assert stop in at.venue.called("cancel")[-1][1] or (K.CANCEL_FAILED, EndReason.REFUSED) in refused(at, stop)  # type: ignore[index]


@pytest.mark.asyncio
@pytest.mark.parametrize("retires", [True, False], ids=["retired", "cancelled"])
async def test_a_cancel_whose_answer_is_lost_is_looked_at_at_once(retires: bool, tmp_path: Path) -> None:
    """However long the stream may be silent: what nobody knows is asked of the exchange, and its end is found."""
    patient = attrs.evolve(REAL, answer_wait_ns=600 * SECOND, poll_ns=600 * SECOND)
    async with desk(tmp_path, patient) as at:
        stop = await resting_stop(at)
        at.venue.faults["place" if retires else "cancel"] = deque([LOSE])
        at.approve(cancels=() if retires else (stop,), retires=(stop,) if retires else ())
        await at.wait(30)
        assert at.state(stop) == "cancelled"


@pytest.mark.asyncio
async def test_a_retirement_of_which_the_stream_does_not_speak_is_looked_up(tmp_path: Path) -> None:
    """As after an order: where the word does not come in its time, the exchange is asked."""
    async with desk(tmp_path, attrs.evolve(REAL, poll_ns=600 * SECOND)) as at:
        stop = await resting_stop(at)
        await at.wait(60)
        at.approve(retires=(stop,))
        await at.wait(30)
        assert at.state(stop) == "cancelled"


@pytest.mark.asyncio
async def test_only_a_market_reduction_of_its_leg_that_is_kept_back_keeps_a_stop(tmp_path: Path) -> None:
    """A take-profit takes no stop's place, and one leg's reduction not the other leg's stops: those are retired."""
    async with desk(tmp_path) as at:
        await at.held(10)
        short_entry = at.request(leg=Leg.SHORT)
        await at.resting(short_entry)
        at.report(told(at.venue.fill(short_entry.client_id, 10), 0))
        long, short = await resting_stop(at), await resting_stop(at, Leg.SHORT)
        profit = at.request(Purpose.TAKE_PROFIT, qty_lots=11)
        await waits(at, profit, retires=(long,))
        await at.wait(SLOW_S)
        assert profit.client_id not in placed(at)
        assert at.venue.called("place")[-1] == (BTC, (), (long,))
        market = at_market(at, 11)
        await waits(at, market, retires=(short,))
        await at.wait(SLOW_S)
        assert market.client_id not in placed(at)
        assert at.venue.called("place")[-1] == (BTC, (), (short,))


@pytest.mark.asyncio
@pytest.mark.parametrize(("cancel_s", "place_s"), [(60, 30), (30, 60)])
async def test_of_two_limits_met_at_once_the_longer_counts(cancel_s: int, place_s: int, tmp_path: Path) -> None:
    """A batch's cancel and its order are both kept back: the pause lasts until the last of them may go."""
    async with desk(tmp_path) as at:
        old = at.request(level=3)
        await at.resting(old)
        now_ns = at.clock.now_ns()
        at.venue.faults["cancel"] = deque([limited(now_ns + cancel_s * SECOND)])
        at.venue.faults["place"] = deque([limited(now_ns + place_s * SECOND)])
        at.approve(at.request(), cancels=(old.client_id,))
        await at.wait(59)
        assert at.reasons("rate_limited") == ["raised"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "errors"), [(Transient("busy"), 1), (LOSE, 1), ("limit", 0)], ids=["busy", "lost", "limited"]
)
async def test_a_cancel_that_fails_is_an_error_of_the_exchange_but_for_its_limits(
    fault: str | Exception, errors: int, tmp_path: Path
) -> None:
    """For the circuit breaker: what was refused or lost counts once, what a limit kept back does not."""
    async with desk(tmp_path) as at:
        old = at.request(level=3)
        await at.resting(old)
        until_ns = at.clock.now_ns() + 60 * SECOND
        at.venue.faults["cancel"] = deque([limited(until_ns) if fault == "limit" else fault])
        at.approve(cancels=(old.client_id,))
        await at.rest()
        assert sum(one.errors for one in at.heard(ExchangeErred)) == errors


@pytest.mark.asyncio
async def test_an_amendment_that_meets_a_limit_pauses(tmp_path: Path) -> None:
    """It is a request as any other: what the exchange takes none of is not asked for again and again."""
    async with desk(tmp_path) as at:
        entry = at.request()
        await at.resting(entry)
        at.venue.faults["amend"] = deque([limited(at.clock.now_ns() + 60 * SECOND)])
        at.approve(amends=(attrs.evolve(entry, qty_lots=20),))
        await at.wait(59)
        assert at.reasons("rate_limited") == ["raised"]
        await at.wait(2)
        assert at.reasons("rate_limited") == ["raised", "gone"]


# --- the last moment ------------------------------------------------------------------------------------------------


def aged(one: OrderRequest, by_ns: int) -> OrderRequest:
    """The same, decided earlier."""
    return attrs.evolve(one, decided_ns=one.decided_ns - by_ns)


@pytest.mark.asyncio
async def test_an_approval_holds_to_its_very_last_moment(tmp_path: Path) -> None:
    """As at the gate: what leaves just when its approval ends is in time, a nanosecond later it is not."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([HANG])
        at.approve(at.request())
        late, in_time = aged(at.request(level=2), 1), at.request(level=3)
        at.approve(late, in_time, ttl_s=SLOW_S)
        await at.wait(SLOW_S + 1)
        assert placed(at)[1:] == [in_time.client_id]
        assert refused(at, late.client_id) == [(K.REJECTED, EndReason.EXPIRED_APPROVAL)]


@pytest.mark.asyncio
async def test_an_amendment_keeps_the_times_of_an_entry(tmp_path: Path) -> None:
    """It is asked for to the last moment of its approval and not after it, and never of an order that has ended."""
    async with desk(tmp_path) as at:
        orders = [at.request(level=level) for level in (1, 2, 3)]
        await at.resting(*orders)
        late, in_time, gone = (attrs.evolve(one, qty_lots=20, decided_ns=at.clock.now_ns()) for one in orders)
        at.venue.faults["place"] = deque([HANG])
        at.approve(at.request(level=4))
        at.approve(amends=(aged(late, 1), in_time, gone), ttl_s=SLOW_S)
        await at.rest()
        at.report(told(at.venue.fill(gone.client_id, 10), 0))
        await at.wait(SLOW_S + 1)
        assert at.venue.called("amend") == [(BTC, (in_time,))]


@pytest.mark.asyncio
async def test_a_pause_that_comes_while_a_cancel_leaves_stops_the_amendment_beside_it(tmp_path: Path) -> None:
    """Another quantity is a new risk: it hears the word of the very moment, as an entry does."""
    async with desk(tmp_path) as at:
        entry, old = at.request(), at.request(level=3)
        await at.resting(entry, old)
        at.venue.hooks["cancel"] = lambda: at.permit(may_add=False)
        at.approve(amends=(attrs.evolve(entry, qty_lots=20),), cancels=(old.client_id,))
        await at.rest()
        assert (len(at.venue.called("cancel")), at.venue.called("amend")) == (1, [])


# --- what was made ready --------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_was_made_ready_and_is_kept_back_is_let_go_of(tmp_path: Path) -> None:
    """A pause comes while a batch is made durable: none of it leaves, and no connection is held for it any more."""
    async with desk(tmp_path) as at:
        entry = at.request()
        at.venue.hooks["cancel"] = lambda: at.permit(may_add=False)
        old = at.request(level=3)
        await at.resting(old)
        at.approve(entry, cancels=(old.client_id,))
        await at.rest()
        assert entry.client_id not in placed(at)
        assert not any(at.venue.ready.values())
        assert at.executor._sender.queued == set(), "nor is it among what waits"


@pytest.mark.asyncio
async def test_an_executor_that_ends_lets_go_of_what_it_had_made_ready(tmp_path: Path) -> None:
    """Its successor reads the exchange first: until then no connection is held for what will not be sent."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([HANG])
        at.approve(at.request())
        await at.rest()
        at.venue.prepare(BTC, [at.request(level=2)], [])
        at.task.cancel()
        await at.rest()
        assert not any(at.venue.ready.values())
