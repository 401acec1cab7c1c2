"""The exchange's REST interface on loopback: its shapes, a little market, and whatever can go wrong on the way."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import attrs

from tests.backtest.store.samples import START_MS
from tests.backtest.store.test_rules import BRACKETS, INFO

MINUTE_MS = 60_000
EIGHT_HOURS_MS = 480 * MINUTE_MS
TRADE_MS = 7_000
"""An aggregate every seven seconds, number 1000 at the start."""

Fault = Callable[[BaseHTTPRequestHandler], None]
"""What happens in place of an answer."""


@attrs.define
class Exchange:
    """A market from ``START_MS`` to ``now_ms``; ``faults`` befall the next requests in turn; ``asked`` is what came."""

    now_ms: int = START_MS + 10 * 1440 * MINUTE_MS
    faults: list[Fault] = attrs.field(factory=list)
    asked: list[tuple[str, dict[str, str]]] = attrs.field(factory=list)
    url: str = ""

    def answer(self, path: str, query: dict[str, str]) -> Any:  # noqa: PLR0911 - one return an endpoint
        """Give the answer of an endpoint."""
        start, end = int(query.get("startTime", 0)), int(query.get("endTime", self.now_ms))
        limit = int(query.get("limit", 500))
        match path.removeprefix("/fapi/v1/"):
            case "time":
                return {"serverTime": self.now_ms}
            case "exchangeInfo":
                return {**INFO, "serverTime": self.now_ms}
            case "fundingInfo":
                return [{"symbol": "OTHERUSDT", "fundingIntervalHours": 4}]
            case "leverageBracket":
                return BRACKETS
            case "commissionRate":
                return {"symbol": "BTCUSDT", "makerCommissionRate": "0.000180", "takerCommissionRate": "0.000450"}
            case "klines" | "markPriceKlines" as which:
                first = max(start, START_MS)
                opens = range(-(-first // MINUTE_MS) * MINUTE_MS, min(end, self.now_ms) + 1, MINUTE_MS)
                return [kline(opened, mark=which != "klines") for opened in opens[:limit]]
            case "fundingRate":
                times = [at + 3 for at in range(START_MS, min(end, self.now_ms) + 1, EIGHT_HOURS_MS)]
                told = {"symbol": "BTCUSDT", "fundingRate": "0.00010000"}
                return [{**told, "fundingTime": at} for at in times if at >= start][:limit]
            case "aggTrades":
                last = 1000 + (self.now_ms - START_MS) // TRADE_MS
                first = int(query["fromId"]) if "fromId" in query else 1000 + max(0, -(-(start - START_MS) // TRADE_MS))
                trades = [trade(number) for number in range(first, min(last, first + limit - 1) + 1)]
                return [one for one in trades if "fromId" in query or one["T"] <= end]
        return {"code": -1121, "msg": "Invalid symbol."}


def kline(opened_ms: int, *, mark: bool) -> list[Any]:
    """One bar in the exchange's shape."""
    minute = (opened_ms - START_MS) // MINUTE_MS
    figures = [f"{100 + minute % 7}.50", f"{102 + minute % 7}.00", f"{99 + minute % 7}.10", f"{101 + minute % 7}.30"]
    volume = "0" if mark else f"{minute}.250"
    return [opened_ms, *figures, volume, opened_ms + MINUTE_MS - 1, "0", 60, "0", "0", "0"]


def trade(number: int) -> dict[str, Any]:
    """One aggregate in the exchange's shape."""
    at = START_MS + (number - 1000) * TRADE_MS
    return {
        "a": number,
        "p": f"{100 + number % 5}.10",
        "q": "0.015",
        "f": number,
        "l": number,
        "T": at,
        "m": number % 2 == 0,
    }


def refuse(status: int, code: int = -1003, headers: dict[str, str] | None = None) -> Fault:
    """Answer with a status and one of the exchange's codes."""

    def act(handler: BaseHTTPRequestHandler) -> None:
        send(handler, status, json.dumps({"code": code, "msg": "planted"}).encode(), headers or {})

    return act


def cut(handler: BaseHTTPRequestHandler) -> None:
    """Promise a long answer and close the connection in its middle."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'[[1738368000000,"1')
    handler.close_connection = True


def short(handler: BaseHTTPRequestHandler) -> None:
    """Send half of an answer as if it were all."""
    send(handler, 200, b'[[1738368000000,"1', {})


def hang_up(handler: BaseHTTPRequestHandler) -> None:
    """Close the connection without a word."""
    handler.close_connection = True
    handler.connection.close()


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    """Send one answer."""
    handler.send_response(status)
    for name, value in {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serving() -> Iterator[Exchange]:
    """Serve an exchange on a free port of this machine."""
    exchange = Exchange()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = dict(parse_qsl(parts.query))
            exchange.asked.append((parts.path, query))
            if exchange.faults:
                exchange.faults.pop(0)(self)
                return
            answer = exchange.answer(parts.path, query)
            failed = isinstance(answer, dict) and "code" in answer
            send(self, 400 if failed else 200, json.dumps(answer).encode(), {})

        def log_message(self, *_: Any) -> None:
            """Keep quiet."""

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionError, ValueError):
                self.close_connection = True

        def finish(self) -> None:
            try:
                super().finish()
            except (ConnectionError, ValueError):
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    exchange.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield exchange
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
