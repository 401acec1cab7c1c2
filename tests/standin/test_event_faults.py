"""Faults of what is streamed: each fires, and what it does is seen on the socket."""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from tests.standin.clients import Wire, private, rest, wire
from tools.standin.fault_kinds import KINDS, Moment
from tools.standin.serving import running_standin

QUOTES = {"book-crossed", "book-zero", "book-outlier", "book-frozen", "book-silent"}
MARKS = {"mark-silent", "funding-missing", "funding-flipped"}
EVENTS = {"event-dup", "event-drop", "event-delay", "event-reorder"}
BARS = {"kline-drop", "kline-late"}


def test_every_fault_of_the_streams_has_a_test() -> None:
    """A fault that nobody has seen fire is a promise, not a fault."""
    wanted = {name for name, kind in KINDS.items() if kind.moment in {Moment.EVENT, Moment.STREAM}}
    assert wanted == QUOTES | MARKS | EVENTS | BARS | {"depth-gap"}


def executions(frames: Sequence[Any]) -> list[str]:
    """The executions of the order reports among frames."""
    return [frame["o"]["x"] for frame in frames if frame["e"] == "ORDER_TRADE_UPDATE"]


async def seen(stream: Wire, count: int) -> list[str]:
    """Read until so many order reports have come."""
    async with asyncio.timeout(10):
        while len(executions(stream.frames)) < count:
            await stream.until(lambda frame: frame["e"] == "ORDER_TRADE_UPDATE")
    return executions(stream.frames)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("event-dup:1:x=NEW", ["NEW", "NEW", "CANCELED"]),
        ("event-drop:1:x=NEW", ["CANCELED"]),
        ("event-delay:1:x=NEW:ms=1500", ["CANCELED", "NEW"]),
        ("event-reorder:1:x=NEW", ["CANCELED", "NEW"]),
    ],
)
async def test_events_of_the_account_get_lost_doubled_late_or_mixed(fault: str, told: list[str]) -> None:
    """The life of one order, placed and cancelled, as the private stream tells it under each fault."""
    async with running_standin(still=True) as standin, rest(standin) as client, private(client) as stream:
        standin.faults.arm(fault)
        await client.place(newClientOrderId="mine")
        await client.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="mine")
        assert await seen(stream, len(told)) == told
        assert executions(await stream.silence(0.1)) == []
        assert standin.faults.fired == {fault.partition(":")[0]: 1}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", sorted(QUOTES - {"book-silent"}))
async def test_best_quotes_lie(name: str) -> None:
    """Crossed, zero, three times the market, or frozen while the market moves; the truth comes back after it."""
    async with running_standin(still=True, book_rate=100) as standin, wire(standin, "/public/ws") as socket:
        await socket.ask("SUBSCRIBE", ["btcusdt@bookTicker"])
        standin.faults.arm(f"{name}:always:ms=60000")
        await socket.until(lambda _: standin.faults.fired.get(name, 0) > 0)
        standin.market.move_by_bps("BTCUSDT", 50)
        before = len(socket.frames)
        await socket.until(lambda _: len(socket.frames) > before + 20)
        bid, ask = float(socket.frames[-1]["b"]), float(socket.frames[-1]["a"])
        true_bid = standin.exchange.quote("BTCUSDT").bid_ticks / 10
        assert {
            "book-crossed": bid > ask,
            "book-zero": (bid, ask) == (0, 0),
            "book-outlier": bid > 2 * true_bid,
            "book-frozen": bid < true_bid < ask * 1.01,
        }[name]
        assert standin.faults.disarm(name) == 1
        await socket.until(lambda frame: float(frame["b"]) == true_bid)


@pytest.mark.asyncio
async def test_best_quotes_stop() -> None:
    """A silent book sends nothing while its socket lives."""
    async with running_standin(still=True, book_rate=100) as standin, wire(standin, "/public/ws") as socket:
        await socket.ask("SUBSCRIBE", ["btcusdt@bookTicker"])
        standin.faults.arm("book-silent:always:ms=60000")
        await socket.silence(0.1)
        assert await socket.silence(0.3) == []
        standin.faults.disarm()
        await socket.until(lambda frame: frame["e"] == "bookTicker")


@pytest.mark.asyncio
@pytest.mark.parametrize("name", sorted(MARKS))
async def test_funding_is_missing_or_flipped_and_marks_stop(name: str) -> None:
    """The mark stream without a rate, with the wrong sign, or not at all."""
    async with running_standin(still=True) as standin, wire(standin, "/market/ws") as socket:
        standin.faults.arm(f"{name}:always:ms=60000")
        await socket.ask("SUBSCRIBE", ["btcusdt@markPrice@1s"])
        rate_e8 = standin.market.lanes["BTCUSDT"].rate_e8
        if name == "mark-silent":
            assert await socket.silence(1.2) == []
            return
        frame = await socket.until(lambda each: each.get("e") == "markPriceUpdate")
        if name == "funding-missing":
            assert (frame["r"], frame["T"]) == ("", 0)
        else:
            assert float(frame["r"]) == -rate_e8 / 1e8 != 0


@pytest.mark.asyncio
@pytest.mark.parametrize("name", sorted(BARS))
async def test_closed_bars_get_lost_or_late(name: str) -> None:
    """The bar that was not streamed can be read by REST; a late one comes after the next."""
    async with running_standin(speed=10) as standin, wire(standin, "/market/ws") as socket:

        async def closed_ms() -> int:
            frame = await socket.until(lambda each: each.get("k", {}).get("x") is True)
            return int(frame["k"]["t"])

        await socket.ask("SUBSCRIBE", ["btcusdt@kline_1s"])
        first_ms = await closed_ms()
        standin.faults.arm(f"{name}:1:ms=1500")
        after = [(await closed_ms() - first_ms) // 1000 for _ in range(2)]
        assert after == ([2, 3] if name == "kline-drop" else [2, 1])
        lost_ms = first_ms + 1000
        assert lost_ms in [row[0] for row in standin.market.klines("BTCUSDT", "1s", lost_ms, None, 5)]


@pytest.mark.asyncio
async def test_the_depth_stream_has_a_gap() -> None:
    """A change is missing: pu no longer equals the u before, which tells a client to build its book anew."""
    async with running_standin(speed=60, book_rate=50) as standin, wire(standin, "/public/ws") as socket:
        await socket.ask("SUBSCRIBE", ["btcusdt@depth@100ms"])

        async def joined() -> bool:
            one = await socket.until(lambda each: each.get("e") == "depthUpdate")
            two = await socket.until(lambda each: each.get("e") == "depthUpdate")
            return bool(two["pu"] == one["u"])

        assert await joined()
        standin.faults.arm("depth-gap")
        before = len(socket.frames)
        await socket.until(lambda _: standin.faults.fired.get("depth-gap") == 1 and len(socket.frames) > before + 3)
        rows = [frame for frame in socket.frames if frame.get("e") == "depthUpdate"]
        assert sum(b["pu"] != a["u"] for a, b in itertools.pairwise(rows)) == 1
