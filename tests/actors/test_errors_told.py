"""What the executor tells risk of the exchange's errors: each once, and nothing that is none.

Invariant: what is compared is the venue's conduct, and what risk was told.
"""

from collections import deque
from pathlib import Path

import attrs
import pytest

from hedgegrid.actors.post import EXECUTOR
from hedgegrid.errors import OutcomeUnknown, Rejected, Transient
from hedgegrid.messages.events import EndReason, ExchangeErred, OrderEvent, OrderEventKind, StreamGap
from tests.actors.desk import REAL, SECOND, Desk, desk
from tests.actors.fake_venue import said

K = OrderEventKind


def limited(until_ns: int) -> Transient:
    """A limit of the exchange."""
    error = Transient("429")
    error.until_ns = until_ns
    return error


def errors(at: Desk) -> list[tuple[str, int]]:
    """The errors that risk was told of: of which instrument, how many."""
    return [(one.instrument, one.errors) for one in at.heard(ExchangeErred)]


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [Transient("busy"), Rejected("-4000"), OutcomeUnknown("no answer")])
async def test_a_request_that_fails_counts_for_each_order_in_it(error: Exception, tmp_path: Path) -> None:
    """Two orders in a request that is refused, or lost: two errors; the stream's late word adds none."""
    async with desk(tmp_path) as at:
        first, second = at.request(), at.request(level=2)
        at.venue.faults["place"] = deque([error])
        at.approve(first, second)
        await at.rest()
        assert errors(at) == [(first.instrument, 2)]
        if not isinstance(error, OutcomeUnknown):
            at.report(said(K.REJECTED, first.client_id))
            await at.rest()
            assert len(errors(at)) == 1


@pytest.mark.asyncio
async def test_one_refusal_of_a_batch_counts_once(tmp_path: Path) -> None:
    """By the answer or by the stream; a post-only rejection is none."""
    async with desk(tmp_path) as at:
        poor, crossing, later = at.request(), at.request(level=2), at.request(level=3)
        for request, reason in ((poor, EndReason.MARGIN), (crossing, EndReason.POST_ONLY)):
            at.venue.answers[request.client_id] = OrderEvent(
                kind=K.REJECTED, client_id=request.client_id, reason=reason, detail="-2019"
            )
        at.approve(poor, crossing, later)
        await at.rest()
        assert errors(at) == [(poor.instrument, 1)]
        refusal = OrderEvent(kind=K.REJECTED, client_id=later.client_id, reason=EndReason.REFUSED)
        at.report(refusal)
        at.report(refusal)
        await at.rest()
        assert errors(at) == [(poor.instrument, 1), (later.instrument, 1)]


@pytest.mark.asyncio
async def test_cancels_and_readings_that_fail_count(tmp_path: Path) -> None:
    """A cancel that is not taken and a reading that fails are one error each; a limit that keeps them back is none."""
    async with desk(tmp_path) as at:
        request = at.request()
        await at.resting(request)
        at.venue.faults["cancel"] = deque([Transient("busy")])
        at.approve(cancels=[request.client_id])
        await at.rest()
        assert errors(at) == [(request.instrument, 1)]
        at.venue.faults["positions"] = deque([Transient("busy"), limited(at.clock.now_ns() + 5 * SECOND)])
        at.post.send(StreamGap(**at.post.head(), why="reconnected"), EXECUTOR)
        await at.wait(4)
        assert errors(at)[1:] == [("", 1)]
        other = at.request(level=2)
        at.venue.faults["place"] = deque([limited(at.clock.now_ns() + 5 * SECOND)])
        at.approve(other)
        await at.rest()
        assert len(errors(at)) == 2


@pytest.mark.asyncio
async def test_a_limit_stands_until_the_time_that_was_named(tmp_path: Path) -> None:
    """Neither for ten seconds after a limit of two, nor for ten only where the ban lasts two minutes."""
    async with desk(tmp_path) as at:
        for seconds in (2, 120):
            request = at.request(level=seconds)
            until_ns = at.clock.now_ns() + seconds * SECOND
            at.venue.answers[request.client_id] = OrderEvent(
                kind=K.REJECTED, client_id=request.client_id, reason=EndReason.RATE_LIMITED, until_ns=until_ns
            )
            at.approve(request)
            await at.wait(seconds - 1)
            assert at.reasons("rate_limited")[-1] == "raised"
            await at.wait(1.5)
            assert at.reasons("rate_limited")[-1] == "gone"


@pytest.mark.asyncio
async def test_cancels_that_nobody_takes_are_asked_for_less_and_less_often(tmp_path: Path) -> None:
    """An exchange that is down for minutes is not asked once a second; when it is back the order goes soon."""
    async with desk(tmp_path, attrs.evolve(REAL, poll_ns=600 * SECOND)) as at:
        request = at.request()
        await at.resting(request)
        at.venue.faults["cancel"] = deque([Transient("503")] * 1_000)
        at.approve(cancels=[request.client_id])
        await at.wait(120)
        assert 10 < len(at.venue.called("cancel")) < 25
        at.venue.faults.clear()
        await at.wait(10)
        assert request.client_id not in at.venue.orders
