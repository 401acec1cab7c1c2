"""A whole trading side against a small exchange on loopback, which answers what a test tells it to."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
from aiohttp import web

from hedgegrid.messages.events import OrderEvent, StreamGap
from hedgegrid.ports import PrivateEvent, VenueBatch
from hedgegrid.runtime.clock import WallClock
from hedgegrid.venues.ccxtpro.budget import Budget
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.trading import CcxtTrading, TradingSettings
from hedgegrid.venues.ccxtpro.wire import TradingWire
from hedgegrid.venues.ccxtpro.ws_api import OrderSocket
from tests.venues.ccxtpro.loopback import Answer, Loopback, listed, loopback

ORDER = "POST /fapi/v1/order"
BATCH = "POST /fapi/v1/batchOrders"
ALGO = "POST /fapi/v1/algoOrder"
CANCEL = "DELETE /fapi/v1/order"
CANCELS = "DELETE /fapi/v1/batchOrders"
CANCEL_ALGO = "DELETE /fapi/v1/algoOrder"
RECV_WINDOW_MS = 2_000
LISTEN_KEY = "k" * 64


@attrs.define(kw_only=True)
class House:
    """A trading side, its exchange, and what was told."""

    venue: Loopback
    session: Session
    trading: CcxtTrading
    told: list[PrivateEvent]
    reports: list[tuple[str, Mapping[str, str]]]

    @property
    def orders(self) -> list[OrderEvent]:
        """Every order event that was told, in order."""
        return [event for batch in self.told if isinstance(batch, VenueBatch) for event in batch.events]

    @property
    def gaps(self) -> list[str]:
        """Why events may have been lost."""
        return [event.why for event in self.told if isinstance(event, StreamGap)]

    def sent(self, route: str) -> list[dict[str, str]]:
        """Give the parameters of the requests of a route, wherever they stood."""
        method, _, path = route.partition(" ")
        found = []
        for got in self.venue.requests:
            if (got.method, got.path) == (method, path):
                body = dict(pair.split("=", 1) for pair in got.body.split("&") if "=" in pair)
                found.append({**got.query, **body})
        return found


def taken(request: web.Request, body: str) -> dict[str, Any]:
    """Acknowledge an order by its own id."""
    fields = {**request.query, **dict(pair.split("=", 1) for pair in body.split("&") if "=" in pair)}
    return {"orderId": 1_000, "symbol": "BTCUSDT", "clientOrderId": fields.get("newClientOrderId", ""), "status": "NEW"}


def acknowledging() -> Answer:
    """Take every order."""

    async def reply(request: web.Request) -> web.Response:
        return web.json_response(taken(request, (await request.read()).decode()))

    return reply


def cut_off(payload: object) -> Answer:
    """Answer with half of a body, and close: the exchange has done it, and nobody can read the answer."""

    async def reply(request: web.Request) -> web.StreamResponse:
        text = json.dumps(payload)
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(text))})
        await response.prepare(request)
        await response.write(text[: len(text) // 2].encode())
        assert request.transport is not None
        request.transport.close()
        return response

    return reply


def lost() -> Answer:
    """Take the request and break the connection without an answer."""

    async def reply(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    return reply


@asynccontextmanager
async def house(
    *,
    rules: tuple[ListedInstrument, ...] = (),
    settings: TradingSettings | None = None,
    by_socket: bool = False,
    started: bool = True,
) -> AsyncIterator[House]:
    """Open a trading side; ``started``: with its private stream up."""
    async with loopback() as venue:
        venue.answer("POST /fapi/v1/listenKey", {"listenKey": LISTEN_KEY})
        venue.answer(
            "GET /fapi/v1/commissionRate",
            {"symbol": "BTCUSDT", "makerCommissionRate": "0.0002", "takerCommissionRate": "0.0005"},
        )
        venue.answers[ORDER] = acknowledging()
        clock = WallClock()
        wire = TradingWire(endpoints=venue.endpoints, api_key="k", api_secret="s", recv_window_ms=RECV_WINDOW_MS)
        session = Session(wire=wire, budget=Budget(share_ppm=300_000), clock=clock, recv_window_ms=RECV_WINDOW_MS)
        told: list[PrivateEvent] = []
        reports: list[tuple[str, Mapping[str, str]]] = []
        socket = OrderSocket(wire=wire, session=session, clock=clock) if by_socket else None
        trading = CcxtTrading(
            session=session,
            endpoints=venue.endpoints,
            clock=clock,
            listed=rules or (listed(),),
            socket=socket,
            mark_of=lambda _: None,
            report=lambda text, figures: reports.append((text, figures)),
            settings=settings or TradingSettings(),
        )
        trading.subscribe(told.append)
        try:
            if started:
                await trading.start()
            yield House(venue=venue, session=session, trading=trading, told=told, reports=reports)
        finally:
            await trading.stop()
            await session.close()
