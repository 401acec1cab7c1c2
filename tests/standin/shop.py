"""A whole stand-in for tests of its REST half: an exchange, its gateway, simple keys and a made past, on loopback."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
from aiohttp import web

from tools.standin.exchange import Exchange
from tools.standin.gateway import Gateway, RateLimits
from tools.standin.rest import add_rest, ws_api
from tools.standin.rules import default_spec
from tools.standin.switches import Switches
from tools.standin.wire import Answer, Call

KEY = "k" * 64
SECRET = "s" * 64
START_MS = 1_760_000_000_000
USDT = 100_000_000
BTC = "BTCUSDT"
ETH = "ETHUSDT"


class OneKey:
    """A listen key that lives until it is closed."""

    def __init__(self) -> None:
        self.live = False

    def open(self, now_ms: int) -> str:
        """Give the key."""
        self.live = now_ms > 0
        return "listen-key"

    def renew(self, now_ms: int) -> str | None:
        """Give the key while it lives."""
        return "listen-key" if self.live and now_ms > 0 else None

    def close(self, now_ms: int) -> bool:
        """End it."""
        was, self.live = self.live, now_ms < 0
        return was


class MadePast:
    """A past of a few flat bars, one trade and one settlement."""

    def klines(
        self, symbol: str, interval: str, start_ms: int | None, end_ms: int | None, limit: int, *, mark: bool = False
    ) -> list[list[Any]]:
        """Give up to three bars."""
        del symbol, interval, mark, end_ms
        first = (start_ms or START_MS) // 60_000 * 60_000
        row = ["43000.00", "43010.00", "42990.00", "43000.00", "1.000"]
        opens = [first + 60_000 * n for n in range(min(3, limit))]
        return [[at, *row, at + 59_999, "43000.00", 1, "0.500", "21500.00", "0"] for at in opens]

    def agg_trades(
        self, symbol: str, start_ms: int | None, end_ms: int | None, from_id: int | None, limit: int
    ) -> list[dict[str, Any]]:
        """Give one trade."""
        del symbol, start_ms, end_ms, from_id, limit
        return [{"a": 1, "p": "43000.00", "q": "0.001", "nq": "0.001", "f": 1, "l": 1, "T": START_MS, "m": True}]

    def depth(self, symbol: str, limit: int) -> dict[str, Any]:
        """Give a book of one level."""
        del symbol, limit
        sides = {"bids": [["43000.00", "1.000"]], "asks": [["43000.10", "1.000"]]}
        return {"lastUpdateId": 7, "E": START_MS, "T": START_MS, **sides}

    def funding_rates(
        self, symbol: str | None, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[dict[str, Any]]:
        """Give one settlement."""
        del start_ms, end_ms, limit
        row = {"fundingTime": START_MS, "fundingRate": "0.00010000", "markPrice": "43000.00000000"}
        return [{"symbol": symbol or BTC, **row}]


class NoFaults:
    """Nothing goes wrong; ``hold`` answers in the exchange's place, ``change`` what it answered."""

    def __init__(self) -> None:
        self.hold: Answer | None = None
        self.change: Answer | None = None

    async def before(self, call: Call) -> Answer | None:
        """Let the request through, or hold it."""
        del call
        return self.hold

    async def after(self, call: Call, answer: Answer) -> Answer:
        """Send the answer, or another."""
        del call
        return self.change or answer


@attrs.define(kw_only=True)
class Stand:
    """The exchange with everything around it; ``now_ms`` is its clock."""

    exchange: Exchange
    gateway: Gateway
    faults: NoFaults
    events: list[dict[str, Any]]
    seen: list[tuple[Call, Answer | None]]
    url: str = ""

    def kinds(self) -> list[str]:
        """The user events so far, by type, with the order's execution and state or the conditional's state."""
        return [told(event) for event in self.events]

    async def frame(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """Answer a frame of the websocket API."""
        return await ws_api(self.gateway, self.faults, self.observe, request, 0)

    def observe(self, call: Call, answer: Answer | None) -> None:
        """Keep what was asked and answered."""
        self.seen.append((call, answer))


def told(event: dict[str, Any]) -> str:
    """Name an event in a word or three."""
    if event["e"] == "ORDER_TRADE_UPDATE":
        return f"{event['o']['x']} {event['o']['X']}"
    if event["e"] == "ALGO_UPDATE":
        return f"ALGO {event['o']['X']}"
    return str(event["e"])


class Clock:
    """A clock that tests set."""

    def __init__(self, now_ms: int = START_MS) -> None:
        self.now_ms = now_ms

    def __call__(self) -> int:
        """Give the time."""
        return self.now_ms


def made_exchange(
    *, wallet: int = 10_000, switches: Switches | None = None, hedge: bool = True, **rules: Any
) -> tuple[Exchange, list[dict[str, Any]]]:
    """Make an exchange of BTC at 43,000.0/43,000.1 and ETH at 2,500.00/2,500.01; give it and its events."""
    events: list[dict[str, Any]] = []
    specs = [default_spec(BTC, **rules), default_spec(ETH)]
    exchange = Exchange(specs, wallet_e8=wallet * USDT, switches=switches, emit=events.append, hedge=hedge)
    quote(exchange, BTC, 430_000, START_MS)
    quote(exchange, ETH, 250_000, START_MS)
    return exchange, events


def quote(exchange: Exchange, symbol: str, ticks: int, now_ms: int = START_MS, *, lots: int = 1) -> None:
    """Trade a symbol at a price: best bid, last and mark there, best ask one tick above."""
    exchange.move(symbol, ticks, ticks + 1, ticks, lots, ticks, now_ms, bid_qty_lots=1_000, ask_qty_lots=1_000)


def made_stand(exchange: Exchange, events: list[dict[str, Any]], clock: Any, limits: RateLimits | None = None) -> Stand:
    """Put a gateway before an exchange."""
    gateway = Gateway(
        exchange, clock_ms=clock, keys={KEY: SECRET}, listen_keys=OneKey(), market=MadePast(), limits=limits
    )
    return Stand(exchange=exchange, gateway=gateway, faults=NoFaults(), events=events, seen=[])


@asynccontextmanager
async def served(stand: Stand) -> AsyncIterator[Stand]:
    """Serve a stand's REST half on a free port of loopback."""
    app = web.Application()
    add_rest(app, stand.gateway, stand.faults, stand.observe)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        stand.url = f"http://{host}:{port}"
        yield stand
    finally:
        await runner.cleanup()
