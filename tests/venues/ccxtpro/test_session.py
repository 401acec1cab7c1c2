"""Calls over REST against a server on loopback: each failure means what it proves, and no more."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from aiohttp import web

from hedgegrid.errors import Fatal, HedgegridError, OutcomeUnknown, Rejected, Transient
from hedgegrid.messages.events import EndReason
from hedgegrid.runtime.clock import WallClock
from hedgegrid.runtime.fence import Fence
from hedgegrid.units import NS_PER_MS, NS_PER_S
from hedgegrid.venues.ccxtpro.budget import Budget, CallKind
from hedgegrid.venues.ccxtpro.endpoints import endpoints
from hedgegrid.venues.ccxtpro.session import Refused, Session, Throttled
from hedgegrid.venues.ccxtpro.wire import TradingWire
from tests.venues.ccxtpro.loopback import Loopback, loopback, until

KEY, SECRET = "the-api-key-of-a-test", "the-secret-of-a-test"
ORDER = {"symbol": "BTCUSDT", "side": "BUY", "newClientOrderId": "hg-1", "price": "100.1"}
PLACE = "POST /fapi/v1/order"
READ = "GET /fapi/v1/openOrders"


@attrs.frozen(kw_only=True)
class Desk:
    """A session and the exchange that it speaks to."""

    venue: Loopback
    session: Session

    async def place(self, **options: Any) -> Any:
        """Send an entry."""
        return await self.session.call("fapiPrivatePostOrder", ORDER, kind=CallKind.ENTRY, orders=1, **options)

    async def read(self, **options: Any) -> Any:
        """Read the open orders."""
        return await self.session.call("fapiPrivateGetOpenOrders", {}, **options)


@asynccontextmanager
async def desk(recv_window_ms: int = 2_000) -> AsyncIterator[Desk]:
    """Open a session to an exchange of its own."""
    async with loopback() as venue:
        wire = TradingWire(endpoints=venue.endpoints, api_key=KEY, api_secret=SECRET, recv_window_ms=recv_window_ms)
        session = Session(wire=wire, budget=Budget(share_ppm=200_000), clock=WallClock(), recv_window_ms=recv_window_ms)
        try:
            yield Desk(venue=venue, session=session)
        finally:
            await session.close()


def error_body(code: int, words: str = "words") -> dict[str, Any]:
    """Make the body of a refusal."""
    return {"code": code, "msg": words}


async def aborted(request: web.Request) -> web.Response:
    """Drop the connection after the request was taken."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def cut_short(request: web.Request) -> web.StreamResponse:
    """Send less than was announced."""
    answer = web.StreamResponse(headers={"Content-Length": "100", "Content-Type": "application/json"})
    await answer.prepare(request)
    await answer.write(b'{"orderId": 12')
    assert request.transport is not None
    request.transport.close()
    return answer


@pytest.mark.asyncio
async def test_an_answer_comes_back_with_its_figures_as_they_were_sent() -> None:
    """Protects exact money: a fraction stays text, whatever type JSON gives it."""
    async with desk() as one:
        one.venue.answer(PLACE, b'{"orderId": 12, "price": 0.10, "avg": "1.50", "ok": true}')
        assert await one.place() == {"orderId": 12, "price": "0.10", "avg": "1.50", "ok": True}
        assert one.session.counts.answered == 1


@pytest.mark.parametrize(
    ("status", "body", "for_order", "for_read"),
    [
        (503, b'{"code": -1008, "msg": "Server is currently overloaded"}', Transient, Transient),
        (503, b'{"code": -1001, "msg": "Internal error; unable to process your request."}', OutcomeUnknown, Transient),
        (503, b"Unknown error, please check your request or try again later.", OutcomeUnknown, Transient),
        (503, b"Service Unavailable.", Transient, Transient),
        (503, b"<html>503 Service Temporarily Unavailable</html>", OutcomeUnknown, Transient),
        (503, b"", OutcomeUnknown, Transient),
        (502, b"<html>bad gateway</html>", OutcomeUnknown, Transient),
        (504, b"", OutcomeUnknown, Transient),
        (
            408,
            b'{"code": -1007, "msg": "Timeout waiting for response from backend server."}',
            OutcomeUnknown,
            Transient,
        ),
        (400, b'{"code": -1006, "msg": "An unexpected response was received"}', OutcomeUnknown, Transient),
        (400, b'{"code": -2019, "msg": "Margin is insufficient."}', Rejected, Rejected),
        (
            400,
            b'{"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}',
            Transient,
            Transient,
        ),
        (401, b'{"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}', Fatal, Fatal),
        (200, b'{"code": -2011, "msg": "Unknown order sent."}', Rejected, Rejected),
        (200, b"not JSON at all", OutcomeUnknown, Transient),
        (200, b"", OutcomeUnknown, Transient),
    ],
)
@pytest.mark.asyncio
async def test_a_failure_means_what_it_proves(
    status: int, body: bytes, for_order: type[HedgegridError], for_read: type[HedgegridError]
) -> None:
    """Protects law 4: each 503 and its kin is told apart, and nothing unproven counts as refused."""
    async with desk() as one:
        one.venue.answer(PLACE, body, status=status)
        one.venue.answer(READ, body, status=status)
        with pytest.raises(for_order):
            await one.place()
        with pytest.raises(for_read):
            await one.read()
        assert len(one.venue.requests) == 2


@pytest.mark.parametrize("fault", [aborted, cut_short])
@pytest.mark.asyncio
async def test_an_answer_that_is_lost_or_cut_is_unknown_for_an_order(fault: Any) -> None:
    """Protects law 4: the order may stand, and it is not sent again; a read may be."""
    async with desk() as one:
        one.venue.answers = {PLACE: fault, READ: fault, "DELETE /fapi/v1/order": fault}
        with pytest.raises(OutcomeUnknown):
            await one.place()
        assert len(one.venue.asked("/fapi/v1/order")) == 1
        with pytest.raises(OutcomeUnknown):
            await one.session.call("fapiPrivateDeleteOrder", {"symbol": "BTCUSDT"}, kind=CallKind.CANCEL)
        with pytest.raises(Transient):
            await one.read()
        assert one.session.counts.unknown == 2


@pytest.mark.asyncio
async def test_a_call_ends_by_its_own_timeout() -> None:
    """Protects the sender from an exchange that takes a request and never answers."""
    gone = asyncio.Event()

    async def silent(_request: web.Request) -> web.Response:
        await gone.wait()
        return web.Response()

    async with desk(recv_window_ms=1) as one:
        one.session.timeout_s = 0.05
        one.venue.answers = {PLACE: silent, READ: silent}
        with pytest.raises(OutcomeUnknown, match="no answer"):
            await one.place()
        with pytest.raises(Transient, match="no answer"):
            await one.read()
        gone.set()


@pytest.mark.asyncio
async def test_the_timeout_lies_below_the_receive_window_and_a_second() -> None:
    """Protects the fence: after it the exchange can no longer accept what was given up."""
    async with desk(recv_window_ms=2_000) as one:
        assert 2.0 < one.session.timeout_s < 3.0


@pytest.mark.asyncio
async def test_what_never_left_is_transient_for_an_order_too() -> None:
    """Protects against blocked rungs: where no connection came about nothing is unknown."""
    nobody = endpoints("testnet", rest_url="http://127.0.0.1:9", ws_url="ws://127.0.0.1:9")
    wire = TradingWire(endpoints=nobody, api_key=KEY, api_secret=SECRET, recv_window_ms=2_000)
    session = Session(wire=wire, budget=Budget(share_ppm=0), clock=WallClock(), recv_window_ms=2_000)
    with pytest.raises(Transient, match="no connection"):
        await session.call("fapiPrivatePostOrder", ORDER, kind=CallKind.ENTRY, orders=1)
    await session.close()


@pytest.mark.asyncio
async def test_a_cancelled_call_stays_cancelled() -> None:
    """Protects structured concurrency: a cancellation is never turned into an answer or an error."""
    taken = asyncio.Event()

    async def slow(_request: web.Request) -> web.Response:
        taken.set()
        await asyncio.sleep(3_600)
        return web.Response()

    async with desk() as one:
        one.venue.answers = {PLACE: slow}
        task = asyncio.create_task(one.place())
        await taken.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.asyncio
async def test_a_refusal_carries_its_meaning() -> None:
    """Protects what follows a refusal: the code and its reason travel with the error."""
    async with desk() as one:
        one.venue.answer(PLACE, error_body(-5022, "Post Only order will be rejected."), status=400)
        with pytest.raises(Refused) as refused:
            await one.place()
        assert refused.value.verdict.code == -5022
        assert refused.value.verdict.reason is EndReason.POST_ONLY


@pytest.mark.asyncio
async def test_headers_reach_the_budget_on_every_answer() -> None:
    """Protects the rate budget: refusals count as much as answers."""
    async with desk() as one:
        one.venue.answer(READ, [], X_MBX_USED_WEIGHT_1M="321")
        one.venue.answer(PLACE, error_body(-2019), status=400, X_MBX_ORDER_COUNT_10S="123", X_MBX_ORDER_COUNT_1M="456")
        await one.read()
        with pytest.raises(Rejected):
            await one.place()
        used = {name: count for name, (count, _) in one.session.budget.used(WallClock().now_ns()).items()}
        assert used["X-MBX-USED-WEIGHT-1M"] >= 321
        assert (used["X-MBX-ORDER-COUNT-10S"], used["X-MBX-ORDER-COUNT-1M"]) == (123, 456)


@pytest.mark.parametrize(
    ("status", "body", "headers", "pause_s"),
    [
        (429, error_body(-1003, "Too many requests"), {"Retry_After": "7"}, 7),
        (429, error_body(-1003, "Too many requests"), {}, 60),
        (418, error_body(-1003, "Way too many requests; IP(1.2.3.4) banned until 4102444800000."), {}, 0),
        (418, error_body(-1003, "Way too much"), {"Retry_After": "300"}, 300),
        (418, b"", {}, 120),
    ],
)
@pytest.mark.asyncio
async def test_after_429_and_418_nothing_leaves_before_the_pause_ends(
    status: int, body: Any, headers: dict[str, str], pause_s: int
) -> None:
    """Protects against a ban and a longer one: entries, cancels and reads wait as long as the exchange asks."""
    async with desk() as one:
        one.venue.answer(READ, body, status=status, **headers)
        before_ns = WallClock().now_ns()
        with pytest.raises(Throttled) as throttled:
            await one.read()
        if pause_s:
            assert throttled.value.until_ns - before_ns >= pause_s * NS_PER_S
            assert throttled.value.until_ns - WallClock().now_ns() <= pause_s * NS_PER_S
        else:
            assert throttled.value.until_ns == 4_102_444_800_000 * NS_PER_MS
        for kind in CallKind:
            with pytest.raises(Throttled) as again:
                await one.session.call("fapiPrivateGetOpenOrders", {}, kind=kind)
            assert again.value.until_ns == throttled.value.until_ns
        assert len(one.venue.requests) == 1


@pytest.mark.asyncio
async def test_too_many_orders_leaves_cancels_and_reads_alone() -> None:
    """Protects the way out: a refusal that speaks of orders stops orders."""
    async with desk() as one:
        one.venue.answer(PLACE, error_body(-1015, "Too many new orders"), status=429)
        one.venue.answer(READ, [])
        with pytest.raises(Throttled):
            await one.place()
        with pytest.raises(Throttled):
            await one.place()
        assert await one.read() == []
        assert await one.read(kind=CallKind.CANCEL) == []
        assert len(one.venue.asked("/fapi/v1/order")) == 1


@pytest.mark.asyncio
async def test_a_used_up_budget_is_told_and_nothing_is_sent() -> None:
    """Protects the order's age: an entry does not wait for the budget, a read waits for a while."""
    async with desk() as one:
        one.venue.answer(READ, [], X_MBX_USED_WEIGHT_1M="2399")
        await one.read()
        with pytest.raises(Throttled, match="used up"):
            await one.place()
        with pytest.raises(Throttled, match="used up"):
            await one.read(patience_ms=10)
        assert len(one.venue.requests) == 1
        assert await one.read(kind=CallKind.CANCEL) == []


@pytest.mark.asyncio
async def test_a_read_waits_for_a_short_pause() -> None:
    """Protects hydration: a pause within the patience is waited out, not reported."""
    async with desk() as one:
        one.venue.answer(READ, [])
        one.session.budget.pause(WallClock().now_ns() + 30 * NS_PER_MS, orders_only=False)
        assert await one.read() == []


@pytest.mark.asyncio
async def test_the_exchanges_clock_is_the_median_of_several_looks() -> None:
    """Protects timestamps: one slow or wrong answer does not move the clock."""

    def tells(offset_ms: int) -> Any:
        async def time(_request: web.Request) -> web.Response:
            return web.json_response({"serverTime": WallClock().now_ns() // NS_PER_MS + offset_ms})

        return time

    async with desk() as one:
        assert one.session.skew_ms is None
        looks = [tells(offset) for offset in (5_000, 5_000, 99_000, -99_000, 5_000)]
        one.venue.answers = {"GET /fapi/v1/time": deque(looks)}
        await one.session.start()
        assert one.session.skew_ms is not None
        assert abs(one.session.skew_ms - 5_000) < 1_000
        one.venue.answer(PLACE, {})
        await one.place()
        stamp = int(dict(pair.split("=") for pair in one.venue.asked("/fapi/v1/order")[0].body.split("&"))["timestamp"])
        assert abs(stamp - 5_000 - WallClock().now_ns() // NS_PER_MS) < 2_000


@pytest.mark.asyncio
async def test_a_refusal_for_the_time_measures_the_clock_again() -> None:
    """Protects against a clock that has moved: -1021 leads to a new measure, not to a minute of refusals."""

    async def time(_request: web.Request) -> web.Response:
        return web.json_response({"serverTime": WallClock().now_ns() // NS_PER_MS})

    async with desk() as one:
        one.venue.answers = {"GET /fapi/v1/time": time}
        await one.session.start()
        looks = len(one.venue.asked("/fapi/v1/time"))
        one.venue.answer(PLACE, error_body(-1021), status=400)
        with pytest.raises(Transient):
            await one.place()
        await until(lambda: len(one.venue.asked("/fapi/v1/time")) >= 2 * looks)


@pytest.mark.parametrize("fault", [aborted, cut_short, None])
@pytest.mark.asyncio
async def test_no_error_tells_a_secret(fault: Any) -> None:
    """Protects keys: whatever fails, the error names neither address, signature nor key, nor does what caused it."""
    async with desk() as one:
        if fault is None:
            body = error_body(-1022, f"bad signature {'a' * 64} for {KEY} at {one.venue.endpoints.rest}/x?signature=1")
            one.venue.answer(READ, body, status=400)
        else:
            one.venue.answers = {READ: fault}
        with pytest.raises(HedgegridError) as failed:
            await one.read()
    error: BaseException | None = failed.value
    while error is not None:
        assert not any(word in repr(error) for word in (SECRET, "signature=", "a" * 64, "http://", "timestamp"))
        error = error.__cause__


@pytest.mark.asyncio
async def test_rows_of_a_batch_come_back_as_they_are() -> None:
    """Protects batches: a refused row is a row at its place, not an exception that hides the others."""
    rows = [{"orderId": 1}, {"code": -2019, "msg": "Margin is insufficient."}]
    async with desk() as one:
        one.venue.answer("POST /fapi/v1/batchOrders", rows)
        answer = await one.session.call(
            "fapiPrivatePostBatchOrders", {"batchOrders": [ORDER, ORDER]}, kind=CallKind.ENTRY, weight=5, orders=2
        )
        assert answer == rows
        one.venue.answer("POST /fapi/v1/batchOrders", rows[1:])
        assert await one.session.call("fapiPrivatePostBatchOrders", {"batchOrders": [ORDER]}) == rows[1:]


@pytest.mark.asyncio
async def test_no_entry_passes_the_fence() -> None:
    """Behind the watchdog's fence nothing that adds leaves, however far it has come; cancels, exits and reads do."""
    async with desk() as one:
        fence = Fence()
        one.session.keep_behind(fence)
        fence.put_up("the executor is silent")
        with pytest.raises(Transient, match="not sent: the executor is silent"):
            await one.place()
        for kind in (CallKind.CANCEL, CallKind.REDUCE):
            await one.session.admitted(kind, 1, 1, 0)
        with pytest.raises(Transient):
            await one.session.admitted(CallKind.ENTRY, 1, 1, 0)
        fence.take_down()
        await one.session.admitted(CallKind.ENTRY, 1, 1, 0)
