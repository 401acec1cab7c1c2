"""The order socket against a server on loopback: raw parameters, signed; every lost answer means what it proves."""

import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from aiohttp import web

from hedgegrid.errors import OutcomeUnknown, Rejected, Transient
from hedgegrid.runtime.clock import WallClock
from hedgegrid.units import NS_PER_S
from hedgegrid.venues.ccxtpro import sockets
from hedgegrid.venues.ccxtpro.budget import Budget, CallKind
from hedgegrid.venues.ccxtpro.session import Session, Throttled
from hedgegrid.venues.ccxtpro.wire import TradingWire
from hedgegrid.venues.ccxtpro.ws_api import OrderSocket
from tests.venues.ccxtpro.loopback import Loopback, loopback, until

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "0.001", "newClientOrderId": "hg-1"}
SECRET = "s3cret"


@attrs.frozen(kw_only=True)
class Desk:
    """An order socket and the exchange that it speaks to."""

    venue: Loopback
    session: Session
    socket: OrderSocket

    async def place(self) -> Any:
        """Send an entry."""
        return await self.socket.call("order.place", ORDER, kind=CallKind.ENTRY, orders=1)

    def answers(self, **answer: Any) -> None:
        """Answer every question so."""

        async def hear(socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
            await socket.send_json({"id": message["id"], **answer})

        self.venue.on_message = hear


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    """Open an order socket to an exchange of its own."""
    async with loopback() as venue:
        wire = TradingWire(endpoints=venue.endpoints, api_key="the-key", api_secret=SECRET, recv_window_ms=2_000)
        clock = WallClock()
        session = Session(wire=wire, budget=Budget(share_ppm=0), clock=clock, recv_window_ms=2_000)
        socket = OrderSocket(wire=wire, session=session, clock=clock)
        socket.start()
        try:
            await until(lambda: socket.connected)
            yield Desk(venue=venue, session=session, socket=socket)
        finally:
            await socket.stop()
            await session.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dial again at once."""
    monkeypatch.setattr(sockets, "BACKOFF_MIN_NS", 1_000_000)


@pytest.mark.asyncio
async def test_a_question_holds_what_was_given_and_the_signature_alone() -> None:
    """Protects against leaked parameters: the exchange refuses, or worse takes, what it was not meant to see."""
    async with desk() as one:
        one.answers(status=200, result={"orderId": 1})
        assert await one.place() == {"orderId": 1}
        assert await one.place() == {"orderId": 1}
        first, second = one.venue.messages
        assert set(first) == {"id", "method", "params"}
        assert (first["method"], first["id"], second["id"]) == ("order.place", "1", "2")
        params = dict(first["params"])
        signature = params.pop("signature")
        assert set(params) == {*ORDER, "apiKey", "timestamp", "recvWindow"}
        text = "&".join(f"{name}={params[name]}" for name in sorted(params))
        assert signature == hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
        assert set(ORDER) == {"symbol", "side", "quantity", "newClientOrderId"}
        assert not one.socket._waiting


@pytest.mark.parametrize(
    ("status", "error", "kind", "expected"),
    [
        (400, {"code": -2019, "msg": "Margin is insufficient."}, CallKind.ENTRY, Rejected),
        (400, {"code": -2011, "msg": "Unknown order sent."}, CallKind.CANCEL, Rejected),
        (
            408,
            {"code": -1007, "msg": "Timeout waiting for response from backend server."},
            CallKind.ENTRY,
            OutcomeUnknown,
        ),
        (503, {"code": -1008, "msg": "Server is currently overloaded"}, CallKind.ENTRY, Transient),
        (500, None, CallKind.CANCEL, OutcomeUnknown),
        (500, None, CallKind.READ, Transient),
        (200, None, CallKind.ENTRY, OutcomeUnknown),
        ("odd", "odd", CallKind.ENTRY, OutcomeUnknown),
    ],
)
@pytest.mark.asyncio
async def test_an_error_is_judged_as_over_rest(status: Any, error: Any, kind: CallKind, expected: Any) -> None:
    """Protects law 4 on this road too: the code decides, and what proves nothing is unknown."""
    async with desk() as one:
        one.answers(status=status, **({} if error is None else {"error": error}))
        with pytest.raises(expected):
            await one.socket.call("order.place", ORDER, kind=kind)


@pytest.mark.asyncio
async def test_a_lost_socket_makes_open_questions_unknown_and_comes_back() -> None:
    """Protects law 4: the order may stand; the next one goes over a new connection."""

    async def drop(socket: web.WebSocketResponse, _message: dict[str, Any]) -> None:
        await socket.close()

    async with desk() as one:
        one.venue.on_message = drop
        with pytest.raises(OutcomeUnknown, match="lost"):
            await one.place()
        await until(lambda: len(one.venue.sockets) == 2 and one.socket.connected)
        with pytest.raises(Transient):
            await one.socket.call("order.status", ORDER, kind=CallKind.READ)
        await until(lambda: len(one.venue.sockets) == 3 and one.socket.connected)
        one.answers(status=200, result={"orderId": 2})
        assert await one.place() == {"orderId": 2}


@pytest.mark.asyncio
async def test_a_question_that_is_not_answered_in_time_is_unknown() -> None:
    """Protects the sender: an answer that comes later is nobody's, and harms nothing."""
    async with desk() as one:
        one.session.timeout_s = 0.02
        with pytest.raises(OutcomeUnknown, match="no answer"):
            await one.place()
        await one.venue.say({"id": "1", "status": 200, "result": {}})
        one.session.timeout_s = 20.0
        one.answers(status=200, result={"orderId": 2})
        assert await one.place() == {"orderId": 2}


@pytest.mark.asyncio
async def test_without_a_connection_nothing_is_sent_or_unknown() -> None:
    """Protects against blocked rungs: what cannot leave is transient at once."""
    async with desk() as one:
        await one.socket.stop()
        with pytest.raises(Transient, match="not connected"):
            await one.place()
        assert one.venue.messages == []


@pytest.mark.asyncio
async def test_its_counts_reach_the_budget() -> None:
    """Protects the rate budget: orders over the socket count with those over REST, and a pause holds for both."""
    limits = [
        {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 300, "count": 299},
        {"rateLimitType": "ORDERS", "interval": "FORTNIGHT", "intervalNum": "x", "count": None},
        "odd",
    ]
    async with desk() as one:
        one.answers(status=200, result={}, rateLimits=limits)
        await one.place()
        assert one.session.budget.used(WallClock().now_ns())["X-MBX-ORDER-COUNT-10S"][0] == 299
        await one.place()
        with pytest.raises(Throttled):
            await one.place()
        one.session.budget.pause(WallClock().now_ns() + 60 * NS_PER_S, orders_only=False)
        with pytest.raises(Throttled):
            await one.socket.call("order.cancel", ORDER, kind=CallKind.CANCEL)
        assert len(one.venue.messages) == 2
