"""The executor and what nobody knows: an order without a word is looked up, and only evidence ends it.

Invariants: what is compared is what reached the venue, what the actors were told, and what the journal holds.
"""

from collections import deque
from pathlib import Path

import attrs
import pytest

from hedgegrid.actors.post import EXECUTOR
from hedgegrid.core.order_state import OrderState
from hedgegrid.errors import OutcomeUnknown, Rejected, Transient
from hedgegrid.messages.commands import Rehydrate
from hedgegrid.messages.events import EndReason, Hydrated, OrderEventKind
from hedgegrid.model.order import Purpose
from hedgegrid.ports import LookUp
from tests.actors.desk import EVIDENCE, REAL, SECOND, Desk, desk
from tests.actors.fake_venue import HANG, LOSE, NOT_TAKEN, TAKEN_HANG, Fault, open_order, said, told
from tests.journal.life import BTC

K = OrderEventKind

NO_WORD: dict[str, Fault] = {
    "request lost": NOT_TAKEN,
    "answer lost": LOSE,
    "hangs before": HANG,
    "hangs after": TAKEN_HANG,
}


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", NO_WORD.values(), ids=NO_WORD)
async def test_an_unknown_order_ends_by_the_exchange_s_evidence_alone(fault: Fault, tmp_path: Path) -> None:
    """A timeout is no failure: never sent again; alive as soon as it is shown, dead only after time and three reads."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([fault])
        request = at.request()
        at.approve(request)
        await at.wait(4.5)
        # What hangs for long is found before its request is given up: that is no doubt any more.
        assert at.kinds(request.client_id)[:1] == ["accepted" if fault == TAKEN_HANG else "unknown"]
        alive = fault in (LOSE, TAKEN_HANG)
        if not alive:
            assert at.state(request.client_id) == "unknown", "not before its request can no longer arrive"
        await at.wait(20)
        assert at.state(request.client_id) == ("working" if alive else "cancelled")
        assert len(at.venue.called("place")) == 1
        looked = [asked for asked in at.venue.called("look_up") if asked[1] == request.client_id]  # type: ignore[index]
        assert alive or len(looked) >= 3


@pytest.mark.asyncio
async def test_a_lagging_source_kills_nothing(tmp_path: Path) -> None:
    """Lists that do not show an order, and a look-up that does: it lives. Nobody but the rule ends it."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([LOSE])
        request = at.request()
        at.venue.hidden.add(request.client_id)
        at.approve(request)
        await at.wait(15)
        assert at.state(request.client_id) == "working"


@pytest.mark.asyncio
async def test_silence_to_a_question_is_no_evidence(tmp_path: Path) -> None:
    """A reading in which the exchange did not answer for an order says nothing of it, however often it comes."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([NOT_TAKEN])
        at.venue.faults["look_up"] = deque([Transient("busy")] * 50)
        request = at.request()
        at.approve(request)
        await at.wait(60)
        assert at.state(request.client_id) == "unknown"
        at.venue.faults["look_up"].clear()
        await at.wait(60)
        assert at.state(request.client_id) == "cancelled"


@pytest.mark.asyncio
async def test_an_end_counts_only_with_all_its_fills(tmp_path: Path) -> None:
    """The exchange says it ended filled, its list of fills lags: the order stays in doubt until the fills are here."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([LOSE])
        request = at.request()
        at.approve(request)
        await at.rest()
        fill = at.venue.fill(request.client_id, 10)
        at.venue.hidden_fills.add(fill.trade_id)
        await at.wait(8)
        assert at.state(request.client_id) == "unknown"
        assert [one for one in at.events() if one.fill is not None] == []
        at.venue.hidden_fills.clear()
        await at.wait(10)
        assert at.state(request.client_id) == "filled"
        (event,) = [one for one in at.events() if one.fill is not None]
        assert event.fill is not None
        assert (event.fill.level, event.fill.generation) == (1, 4)


@pytest.mark.asyncio
async def test_the_stream_ends_a_doubt_at_once(tmp_path: Path) -> None:
    """What the stream says of an UNKNOWN order is the exchange's word: no look is needed."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([LOSE])
        request = at.request()
        at.approve(request)
        await at.rest()
        at.report(told(at.venue.fill(request.client_id, 10), 0))
        await at.rest()
        assert at.kinds(request.client_id) == ["unknown", "filled"]
        await at.wait(15)
        assert at.kinds(request.client_id) == ["unknown", "filled"]
        assert at.reasons("unknown_order") == []


@pytest.mark.asyncio
async def test_each_doubt_pauses_by_its_own_clock(tmp_path: Path) -> None:
    """Younger than the limit pauses nothing; an older one pauses its instrument alone, until it is resolved."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([NOT_TAKEN])
        at.venue.faults["look_up"] = deque([Transient("busy")] * 12)
        request = at.request()
        at.approve(request)
        await at.wait(9.9)
        assert at.reasons("unknown_order") == []
        await at.wait(0.2)
        assert at.reasons("unknown_order") == ["raised"]
        (raised,) = [one for one in at.risk.heard if getattr(one, "reason", "") == "unknown_order"]
        assert raised.scope == BTC  # type: ignore[attr-defined]
        await at.wait(120)
        assert at.reasons("unknown_order") == ["raised", "gone"]


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", [NOT_TAKEN, HANG, Transient("busy"), Rejected("no")], ids=str)
async def test_a_cancel_that_did_not_take_is_asked_for_again(fault: Fault, tmp_path: Path) -> None:
    """An order that should go goes: it stays CANCELLING, is looked up, and its cancel is repeated while it lives."""
    async with desk(tmp_path) as at:
        request = at.request()
        await at.resting(request)
        at.venue.faults["cancel"] = deque([fault])
        at.approve(cancels=[request.client_id])
        await at.wait(30)
        assert request.client_id not in at.venue.orders
        assert len(at.venue.called("cancel")) == 2
        assert at.kinds(request.client_id)[-1] == "cancelled"
        assert "cancel_failed" not in at.kinds(request.client_id)


@pytest.mark.asyncio
async def test_a_cancel_whose_word_never_comes_is_looked_up(tmp_path: Path) -> None:
    """The exchange took the cancel, its stream lost the word: the order is found ended, once the wait is over."""
    async with desk(tmp_path) as at:
        request = at.request()
        await at.resting(request)
        at.approve(cancels=[request.client_id])
        await at.wait(2.5)
        assert at.kinds(request.client_id) == ["accepted"]
        await at.wait(2)
        assert at.kinds(request.client_id) == ["accepted", "cancelled"]


@pytest.mark.asyncio
async def test_a_cancel_that_found_no_order_is_a_doubt_not_an_end(tmp_path: Path) -> None:
    """-2011 may mean filled: nobody is told that the rung is free before the exchange has shown the fill."""
    async with desk(tmp_path) as at:
        request = at.request()
        await at.resting(request)
        fill = at.venue.fill(request.client_id, 10)
        at.report(said(K.CANCEL_FAILED, request.client_id, EndReason.NOT_FOUND))
        await at.rest()
        assert at.kinds(request.client_id) == ["accepted"]
        await at.wait(3)
        found = [one for one in at.events() if one.client_id == request.client_id][1:]
        assert [one.kind for one in found] == [K.FILLED]
        assert found[0].fill is not None
        assert found[0].fill.trade_id == fill.trade_id


@pytest.mark.asyncio
async def test_a_stop_whose_replacement_failed_is_told_to_stand(tmp_path: Path) -> None:
    """The strategy has to know that the old stop is still there; its own cancels the executor sees to itself."""
    async with desk(tmp_path) as at:
        stop = at.request(Purpose.STOP)
        await at.resting(stop)
        at.venue.faults["place"] = deque([Transient("busy")])
        at.approve(at.request(Purpose.STOP), retires=[stop.client_id])
        await at.rest()
        assert at.kinds(stop.client_id) == ["accepted", "cancel_failed"]
        assert at.state(stop.client_id) == OrderState.WORKING


@pytest.mark.asyncio
async def test_sources_that_contradict_each_other_change_nothing(tmp_path: Path) -> None:
    """A list that still shows what the stream ended, an answer that knows nothing of what the list shows: no harm."""
    async with desk(tmp_path) as at:
        gone, here = at.request(), at.request(level=2)
        await at.resting(gone, here)
        at.venue.end(gone.client_id)
        at.venue.shown.append(open_order(gone))
        at.report(said(K.CANCELLED, gone.client_id))
        at.venue.looks[here.client_id] = LookUp.ABSENT
        at.report(said(K.UNKNOWN, here.client_id))
        await at.wait(2.5)
        assert at.kinds(gone.client_id) == ["accepted", "cancelled"]
        assert at.venue.called("cancel") == [], "a list that lags is not answered with a cancel"
        assert at.state(here.client_id) == "working", "what a list shows is not dead"


async def _unknown(at: Desk, error: Exception) -> str:
    at.venue.faults["place"] = deque([error])
    request = at.request()
    at.approve(request)
    await at.rest()
    return request.client_id


@pytest.mark.asyncio
async def test_a_restart_looks_for_what_the_last_life_sent(tmp_path: Path) -> None:
    """Intents that a killed process may have sent are UNKNOWN: told with their rungs, and resolved by evidence."""
    async with desk(tmp_path) as at:
        alive = await _unknown(at, OutcomeUnknown("lost"))
        at.venue.orders[alive] = open_order(at.request(client_id=alive))
        dead = await _unknown(at, OutcomeUnknown("lost"))
        venue = at.venue
    async with desk(tmp_path, venue=venue) as again:
        again.post.send(Rehydrate(**again.post.head(), instrument=BTC, why="test"), EXECUTOR)
        await again.rest()
        (word,) = [one for one in again.strategy.heard if isinstance(one, Hydrated)]
        assert {order.client_id for order in word.orders} == {alive, dead}, "an unknown order keeps its rung"
        assert again.state(alive) == "working"
        await again.wait(20)
        assert again.state(dead) == "cancelled"
        assert len(venue.called("place")) == 2


@pytest.mark.asyncio
async def test_a_restart_doubts_what_the_last_life_had_in_hand(tmp_path: Path) -> None:
    """Killed with a request on the wire and one behind it: neither rung is free before the exchange has shown it."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([HANG])
        names = [at.request().client_id, at.request(level=2).client_id]
        for level, name in enumerate(names, 1):
            at.approve(at.request(client_id=name, level=level))
        await at.rest()
        venue = at.venue
    async with desk(tmp_path, venue=venue) as again:
        again.post.send(Rehydrate(**again.post.head(), instrument=BTC, why="test"), EXECUTOR)
        await again.rest()
        (word,) = [one for one in again.strategy.heard if isinstance(one, Hydrated)]
        assert [order.client_id for order in word.orders] == names
        assert [again.state(name) for name in names] == ["unknown", "unknown"]
        await again.wait(20)
        assert [again.state(name) for name in names] == ["cancelled", "cancelled"]


@pytest.mark.asyncio
@pytest.mark.parametrize("looks", [True, False], ids=["single orders asked for", "lists alone"])
async def test_what_waits_in_the_outbox_is_not_missed_at_the_exchange(looks: bool, tmp_path: Path) -> None:
    """Readings come and go while a request hangs: what stands behind it was never sent, so nobody buries it."""
    evidence = attrs.evolve(EVIDENCE, needs_look=looks)
    async with desk(tmp_path, attrs.evolve(REAL, request_limit_ns=100 * SECOND, evidence=evidence)) as at:
        at.venue.faults["place"] = deque([HANG])
        at.approve(at.request())
        waiting = at.request(level=2)
        at.approve(waiting, ttl_s=1_000)
        await at.wait(95)
        assert at.kinds(waiting.client_id) == []
        await at.wait(6)
        assert waiting.client_id in at.venue.orders


@pytest.mark.asyncio
async def test_an_order_on_its_way_is_not_asked_for(tmp_path: Path) -> None:
    """A reading that falls between a request and its arrival costs no question, and proves nothing."""
    async with desk(tmp_path) as at:
        await at.wait(19.9)
        request = at.request()
        at.venue.hidden.add(request.client_id)
        at.approve(request)
        await at.wait(0.2)
        assert at.venue.called("look_up") == []
        assert at.kinds(request.client_id) == []
