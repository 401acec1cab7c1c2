"""A small exchange on loopback for the tests of the wire: it answers what a test tells it to, and keeps what it got."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import attrs
from aiohttp import WSMsgType, web

from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_HOUR
from hedgegrid.venues.ccxtpro.endpoints import Endpoints, endpoints
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument

PATIENCE_S = 20.0
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@attrs.frozen(kw_only=True)
class Got:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    body: str
    headers: dict[str, str]


@attrs.define(kw_only=True)
class Loopback:
    """What the exchange does and has seen; a test changes it at any time."""

    port: int = 0
    answers: dict[str, deque[Answer] | Answer] = attrs.field(factory=dict)
    """By "METHOD /path": one answer for all, or one after the other."""
    requests: list[Got] = attrs.field(factory=list)
    sockets: list[web.WebSocketResponse] = attrs.field(factory=list)
    paths: list[str] = attrs.field(factory=list)
    """The path of each socket that was opened, in order."""
    messages: list[dict[str, Any]] = attrs.field(factory=list)
    answers_pings: bool = True
    subscribe_error: dict[str, Any] | None = None
    acknowledges: bool = True
    refuses_sockets: bool = False
    pongs: list[bytes] = attrs.field(factory=list)
    transports: list[asyncio.Transport] = attrs.field(factory=list)
    on_message: Callable[[web.WebSocketResponse, dict[str, Any]], Awaitable[None]] | None = None

    @property
    def endpoints(self) -> Endpoints:
        """Where it is."""
        origin = f"127.0.0.1:{self.port}"
        return endpoints("testnet", rest_url=f"http://{origin}", ws_url=f"ws://{origin}")

    def answer(self, route: str, payload: object, status: int = 200, **headers: str) -> None:
        """Answer a route with JSON, or with bytes as they are."""

        async def reply(_request: web.Request) -> web.Response:
            raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return web.Response(body=raw, status=status, headers=named, content_type="application/json")

        self.answers[route] = reply

    async def say(self, message: object, place: int = -1) -> None:
        """Send a message, or text as it is, on one of the sockets."""
        await self.sockets[place].send_str(message if isinstance(message, str) else json.dumps(message))

    def asked(self, path: str) -> list[Got]:
        """Give the requests of a path."""
        return [one for one in self.requests if one.path == path]

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(
            Got(
                method=request.method,
                path=request.path,
                query=dict(request.query),
                body=(await request.read()).decode(),
                headers=dict(request.headers),
            )
        )
        known = self.answers.get(f"{request.method} {request.path}")
        if isinstance(known, deque):
            known = known.popleft() if len(known) > 1 else known[0]
        return (
            web.json_response({"code": -5000, "msg": "no such path"}, status=404)
            if known is None
            else await known(request)
        )

    async def _socket(self, request: web.Request) -> web.StreamResponse:
        if self.refuses_sockets:
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoping=self.answers_pings)
        await socket.prepare(request)
        assert request.transport is not None
        self.transports.append(request.transport)
        self.sockets.append(socket)
        self.paths.append(request.path_qs)
        async for frame in socket:
            if frame.type is WSMsgType.TEXT:
                await self._hear(socket, json.loads(frame.data))
            elif frame.type is WSMsgType.PONG:
                self.pongs.append(bytes(frame.data))
        return socket

    async def _hear(self, socket: web.WebSocketResponse, message: dict[str, Any]) -> None:
        self.messages.append(message)
        if message.get("method") != "SUBSCRIBE":
            if self.on_message is not None:
                await self.on_message(socket, message)
        elif self.subscribe_error is not None:
            await socket.send_json({"error": self.subscribe_error, "id": message["id"]})
        elif self.acknowledges:
            await socket.send_json({"result": None, "id": message["id"]})


@asynccontextmanager
async def loopback() -> AsyncIterator[Loopback]:
    """Run an exchange while the context lasts."""
    venue = Loopback()
    app = web.Application()
    for path in ("/public/ws", "/market/ws", "/private/ws", "/ws-fapi/v1"):
        app.router.add_get(path, venue._socket)
    app.router.add_route("*", "/{rest:.*}", venue._rest)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    venue.port = runner.addresses[0][1]
    try:
        yield venue
    finally:
        await runner.cleanup()


async def until(true: Callable[[], bool]) -> None:
    """Wait for something to come true. TimeoutError where it never does."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - a test looks at many kinds of things, few of which have an event
            await asyncio.sleep(0.002)


def listed(symbol: str = "BTCUSDT", **changes: Any) -> ListedInstrument:
    """Make an instrument with ticks of 0.1 and lots of 0.001."""
    instrument = Instrument(
        name=f"{symbol[:-4]}/USDT:USDT",
        tick=Decimal("0.1"),
        lot=Decimal("0.001"),
        min_qty_lots=1,
        max_qty_lots=1_000_000,
        min_notional_e8=0,
        tiers=(),
        liquidation_fee_ppm=0,
        funding_interval_ns=8 * NS_PER_HOUR,
    )
    rules: dict[str, Any] = {
        "symbol": symbol,
        "status": "TRADING",
        "instrument": instrument,
        "market_min_lots": 1,
        "market_max_lots": 1_000_000,
        "min_price_ticks": 10,
        "max_price_ticks": 10_000_000,
        "price_up_ppm": 1_050_000,
        "price_down_ppm": 950_000,
        "max_orders": 200,
        "max_algo_orders": 10,
        "trigger_protect_ppm": 50_000,
        "market_take_bound_ppm": 50_000,
        "order_types": frozenset(),
        "times_in_force": frozenset(),
    }
    return ListedInstrument(**{**rules, **changes})
