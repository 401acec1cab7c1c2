"""The executor and the network: nothing it asks for holds up what it is told, and what nobody knows is looked up.

Invariants: what is compared is what reached the venue, what risk was told, and what the journal holds.
"""

import sqlite3
from collections import deque
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.actors.outbox import OUTBOX_MAX
from hedgegrid.actors.post import EXECUTOR
from hedgegrid.errors import Fatal, Rejected, Transient
from hedgegrid.messages.commands import Rehydrate
from hedgegrid.messages.events import EndReason, Hydrated, OrderEvent, OrderEventKind
from hedgegrid.model.order import Purpose
from tests.actors.desk import REAL, SECOND, Desk, desk
from tests.actors.fake_venue import HANG, TAKEN_HANG, Fault, said
from tests.journal.life import BTC, ETH

K = OrderEventKind


def placed(at: Desk) -> list[str]:
    """Every order that the venue was asked for."""
    return [name for asked in at.venue.called("place") for name in asked[1]]  # type: ignore[index]


@pytest.mark.asyncio
async def test_a_hanging_request_holds_up_nothing_else(tmp_path: Path) -> None:
    """While one instrument's request hangs: the stream is heard, the other instrument trades, progress is seen."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([HANG])
        stuck, next_one = at.request(), at.request(level=2)
        other = attrs.evolve(at.request(), instrument=ETH)
        at.approve(stuck)
        at.approve(next_one)
        await at.rest()
        before = at.executor.reading().progress
        at.approve(other)
        await at.rest()
        assert list(at.venue.orders) == [other.client_id]
        at.report(said(K.ACCEPTED, other.client_id))
        await at.rest()
        assert at.kinds(other.client_id) == ["accepted"]
        reading = at.executor.reading()
        assert reading.progress > before
        assert reading.busy_since_ns is None
        assert reading.depth == 0, "a request within its limit is no sign of trouble"
        assert at.kinds(stuck.client_id) == []
        await at.wait(5)
        assert at.kinds(stuck.client_id)[:1] == ["unknown"], "a request ends at its limit"
        assert next_one.client_id in at.venue.orders, "first in, first out"


@pytest.mark.asyncio
async def test_work_that_is_stuck_for_good_is_seen_by_the_guard(tmp_path: Path) -> None:
    """Without a limit a request that hangs is work without progress: whoever looks must see it."""
    async with desk(tmp_path, attrs.evolve(REAL, request_limit_ns=None, poll_ns=None)) as at:
        at.venue.faults["place"] = deque([HANG])
        at.approve(at.request())
        await at.rest()
        seen = [at.executor.reading() for _ in range(2)]
        assert [one.depth for one in seen] == [1, 1]
        assert seen[0].progress == seen[1].progress


@pytest.mark.asyncio
async def test_a_request_is_on_disk_before_it_is_sent(tmp_path: Path) -> None:
    """Law 4: the venue never gets an order that the journal's file does not hold."""
    async with desk(tmp_path) as at:
        request = at.request()
        rows: list[int] = []

        def look() -> None:
            with closing(sqlite3.connect(tmp_path / "desk.db")) as file:
                rows.append(file.execute("SELECT count(*) FROM orders").fetchone()[0])

        at.venue.hooks["place"] = look
        at.approve(request)
        await at.rest()
        assert rows == [1]


@pytest.mark.asyncio
async def test_what_waited_behind_a_request_has_a_commit_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The commit that was begun ahead is the first job's: the next is on disk before it is sent, too."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([HANG])
        commits: list[int] = []
        commit = at.journal.commit

        def counted() -> Any:
            commits.append(len(placed(at)))
            return commit()

        monkeypatch.setattr(at.journal, "commit", counted)
        one, two = at.request(), at.request(level=2)
        at.approve(one)
        await at.rest()
        at.approve(two)
        await at.rest()
        before = len(commits)
        await at.wait(5)
        assert placed(at) == [one.client_id, two.client_id]
        assert 1 in commits[before:], "a commit between the two"


@pytest.mark.asyncio
async def test_an_entry_that_waited_too_long_is_not_sent(tmp_path: Path) -> None:
    """An approval expires in the outbox too; what reduces is never too old."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([HANG])
        at.approve(at.request())
        late, exit_ = at.request(level=2), at.request(Purpose.STOP)
        at.approve(late, exit_, ttl_s=1)
        await at.wait(6)
        assert placed(at)[1:] == [exit_.client_id]
        (event,) = [one for one in at.events() if one.client_id == late.client_id]
        assert (event.kind, event.reason) == (K.REJECTED, EndReason.EXPIRED_APPROVAL)


@pytest.mark.asyncio
async def test_a_full_outbox_refuses_entries_and_never_reductions(tmp_path: Path) -> None:
    """Overflow pauses, says so, and is gone when there is room again; stops get in whatever waits."""
    async with desk(tmp_path, attrs.evolve(REAL, request_limit_ns=100 * SECOND)) as at:
        at.venue.faults["place"] = deque([HANG])
        entries = [at.request(level=level % 900) for level in range(1, OUTBOX_MAX + 3)]
        for one in entries:
            at.approve(one, ttl_s=1_000)
        stop = at.request(Purpose.STOP)
        at.approve(stop)
        await at.rest()
        refused = [one.client_id for one in at.events() if one.kind is K.REJECTED]
        assert refused == [one.client_id for one in entries[OUTBOX_MAX:]]
        assert at.reasons("overflow") == ["raised"]
        await at.wait(101)
        assert stop.client_id in placed(at)
        assert not set(refused) & set(placed(at))
        assert at.reasons("overflow") == ["raised", "gone"]


@pytest.mark.asyncio
async def test_where_things_stand_is_told_after_what_was_asked_before(tmp_path: Path) -> None:
    """A strategy that starts anew must not be told of a state without the orders that are being sent for it."""
    async with desk(tmp_path) as at:
        at.venue.faults["place"] = deque([TAKEN_HANG])
        request = at.request()
        at.approve(request)
        at.post.send(Rehydrate(**at.post.head(), instrument=BTC, why="test"), EXECUTOR)
        await at.rest()
        assert not [one for one in at.strategy.heard if isinstance(one, Hydrated)]
        await at.wait(6)
        (word,) = [one for one in at.strategy.heard if isinstance(one, Hydrated)]
        (order,) = word.orders
        assert (order.client_id, order.level, order.generation) == (request.client_id, 1, 4)


# --- refusals -------------------------------------------------------------------------------------------------------


def limited(until_ns: int) -> Transient:
    """A refusal by a rate limit whose end is known."""
    error = Transient("-1003 too many requests")
    error.until_ns = until_ns
    return error


@pytest.mark.asyncio
@pytest.mark.parametrize("call", ["place", "cancel", "positions"])
async def test_a_ban_pauses_until_it_ends(call: str, tmp_path: Path) -> None:
    """429 and 418, on whatever request: the pause says until when, and is gone then, not before."""
    async with desk(tmp_path) as at:
        request = at.request()
        await at.resting(request)
        at.venue.faults[call] = deque([limited(at.clock.now_ns() + 60 * SECOND)] * 3)
        if call == "place":
            at.approve(at.request(level=2))
        elif call == "cancel":
            at.approve(cancels=[request.client_id])
        await at.wait(59)
        assert at.reasons("rate_limited") == ["raised"]
        await at.wait(62)
        assert at.reasons("rate_limited")[:2] == ["raised", "gone"]


@pytest.mark.asyncio
async def test_a_ban_stops_the_readings_too(tmp_path: Path) -> None:
    """Nothing is read before a ban has ended, so that it does not grow."""
    async with desk(tmp_path) as at:
        at.venue.faults["fills_since"] = deque([limited(at.clock.now_ns() + 200 * SECOND)])
        await at.wait(21)
        before = len(at.venue.called("fills_since"))
        await at.wait(170)
        assert len(at.venue.called("fills_since")) == before
        await at.wait(40)
        assert len(at.venue.called("fills_since")) > before


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("answer", "reason"),
    [(Transient("busy"), EndReason.REFUSED), (Rejected("-2019 margin"), EndReason.REFUSED), (None, EndReason.MARGIN)],
    ids=["transient", "rejected", "answered"],
)
async def test_a_refusal_ends_the_order_with_its_reason(
    answer: Fault | None, reason: EndReason, tmp_path: Path
) -> None:
    """What is proven not to be accepted has ended, and its words are kept; it is never sent again."""
    async with desk(tmp_path) as at:
        request = at.request()
        at.venue.faults["place"] = deque([answer])
        if answer is None:
            refusal = OrderEvent(kind=K.REJECTED, client_id=request.client_id, reason=reason, detail="-2019")
            at.venue.answers[request.client_id] = refusal
        at.approve(request)
        await at.wait(30)
        (event,) = [one for one in at.events() if one.client_id == request.client_id]
        assert (event.kind, event.reason) == (K.REJECTED, reason)
        assert event.detail
        assert at.state(request.client_id) == "rejected"
        assert len(at.venue.called("place")) == 1


@pytest.mark.asyncio
async def test_a_cancel_that_was_refused_does_not_wait_for_the_stream(tmp_path: Path) -> None:
    """What is known not to have taken is looked at at once, however long the stream may be silent."""
    async with desk(tmp_path, attrs.evolve(REAL, answer_wait_ns=600 * SECOND, poll_ns=600 * SECOND)) as at:
        request = at.request()
        await at.resting(request)
        at.venue.faults["cancel"] = deque([Transient("busy")])
        at.approve(cancels=[request.client_id])
        await at.wait(15)
        assert request.client_id not in at.venue.orders


@pytest.mark.asyncio
async def test_a_refused_key_comes_out_as_itself(tmp_path: Path) -> None:
    """Fatal out of a request ends the executor as Fatal, not in a group: whoever ends the run looks for its kind."""
    async with desk(tmp_path) as at:
        first, second = at.request(), at.request(level=2)
        await at.resting(first)
        at.venue.faults["place"] = deque([Fatal("the key is refused")])
        at.approve(second, cancels=(first.client_id,))
        with pytest.raises(Fatal, match="the key is refused"):
            await at.task
