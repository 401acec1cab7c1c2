"""The market against a server on loopback: bars without gaps, prices after every reconnection, nothing silent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
from aiohttp import web

from hedgegrid.errors import Transient
from hedgegrid.model.market import Bar, MarketUpdate
from hedgegrid.runtime.clock import WallClock
from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS
from hedgegrid.venues.ccxtpro import market_bars, public, sockets
from hedgegrid.venues.ccxtpro.budget import Budget
from hedgegrid.venues.ccxtpro.parse_market import TradeSeen
from hedgegrid.venues.ccxtpro.public import CcxtMarket
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.wire import PublicWire
from tests.venues.ccxtpro.loopback import Loopback, listed, loopback, until

BTC = "BTC/USDT:USDT"
MINUTE_MS = 60_000
KLINES = "GET /fapi/v1/klines"
BASE_MS = 1_700_000_040_000


class SteppedClock(WallClock):
    """A wall clock that a test can put forward."""

    def __init__(self, start_ms: int) -> None:
        super().__init__()
        self._shift_ns = start_ms * NS_PER_MS - super().now_ns()

    def now_ns(self) -> int:
        """Give the time, put forward."""
        return super().now_ns() + self._shift_ns

    def put_forward(self, ms: int) -> None:
        """Let time pass at once; timers that were set before do not notice."""
        self._shift_ns += ms * NS_PER_MS


@attrs.define(kw_only=True)
class Watch:
    """A market, its exchange, and what it told."""

    venue: Loopback
    clock: SteppedClock
    session: Session
    market: CcxtMarket
    told: list[MarketUpdate] = attrs.field(factory=list)
    reports: list[str] = attrs.field(factory=list)
    trades: list[TradeSeen] = attrs.field(factory=list)

    def bars(self) -> list[int]:
        """Give the openings of the bars that were told, in minutes after the start."""
        found = [update.bar.open_ns for update in self.told if update.bar is not None]
        return [(open_ns // NS_PER_MS - BASE_MS) // MINUTE_MS for open_ns in found]

    def place(self, path: str) -> int:
        """Give the newest socket of a path."""
        return max(number for number, one in enumerate(self.venue.paths) if one == path)

    async def say(self, path: str, message: object) -> None:
        """Send on the newest socket of a path."""
        await self.venue.say(message, self.place(path))

    async def up(self) -> None:
        """Wait until both sockets stand."""
        await until(lambda: all(one.connected for one in self.market.sockets()))


def row(open_ms: int, close: str = "100.0") -> list[Any]:
    """Make a row of a klines answer."""
    return [open_ms, "100.0", "101.0", "99.0", close, "5.000", open_ms + MINUTE_MS - 1, "500", 9, "2", "200", "0"]


def serve_klines(venue: Loopback, clock: SteppedClock, *, lag_ms: int = 0, first_ms: int = 0) -> None:
    """Answer klines as the exchange does: the newest up to an end, the open one last."""

    async def answer(request: web.Request) -> web.Response:
        now_ms = clock.now_ns() // NS_PER_MS - lag_ms
        last = min(int(request.query.get("endTime", now_ms)), now_ms) // MINUTE_MS * MINUTE_MS
        count = int(request.query["limit"])
        rows = [row(last - back * MINUTE_MS) for back in range(count - 1, -1, -1)]
        return web.json_response([one for one in rows if one[0] >= first_ms])

    venue.answers[KLINES] = answer


def kline(open_ms: int, *, closed: bool, interval: str = "1m", symbol: str = "BTCUSDT") -> dict[str, Any]:
    """Make a kline event."""
    bar = {"t": open_ms, "T": open_ms + MINUTE_MS - 1, "s": symbol, "i": interval, "o": "100.0", "c": "100.0"}
    return {
        "e": "kline",
        "E": open_ms + MINUTE_MS,
        "s": symbol,
        "k": {**bar, "h": "101.0", "l": "99.0", "v": "5", "x": closed},
    }


def mark(price: str, ts_ms: int = BASE_MS) -> dict[str, Any]:
    """Make a mark price event."""
    return {"e": "markPriceUpdate", "E": ts_ms, "s": "BTCUSDT", "p": price, "r": "0.00010000", "T": ts_ms + 999}


def ticker(bid: str, ask: str, ts_ms: int = BASE_MS) -> dict[str, Any]:
    """Make a bookTicker event."""
    return {"e": "bookTicker", "u": 9, "E": ts_ms, "T": ts_ms, "s": "BTCUSDT", "b": bid, "B": "1", "a": ask, "A": "1"}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dial and ask again at once."""
    monkeypatch.setattr(sockets, "BACKOFF_MIN_NS", 1_000_000)
    monkeypatch.setattr(market_bars, "_ASKED_AGAIN_NS", 1_000_000)


@asynccontextmanager
async def watch(
    *, start: bool = True, trades: bool = False, into_minute_ms: int = 20_000, **parts: Any
) -> AsyncIterator[Watch]:
    """Watch one instrument from some seconds into a minute on."""
    async with loopback() as venue:
        clock = SteppedClock(BASE_MS + into_minute_ms)
        serve_klines(venue, clock)
        session = Session(
            wire=PublicWire(endpoints=venue.endpoints), budget=Budget(share_ppm=0), clock=clock, recv_window_ms=2_000
        )
        watched: list[Watch] = []
        market = CcxtMarket(
            session=session,
            endpoints=venue.endpoints,
            clock=clock,
            instruments=[listed()],
            bar_length_ns={BTC: NS_PER_MINUTE},
            report=lambda text, figures: watched[0].reports.append(f"{text}: {figures['why']}"),
            **{"quote_silence_ms": 30_000, **parts},
        )
        one = Watch(venue=venue, clock=clock, session=session, market=market)
        watched.append(one)
        market.subscribe(one.told.extend)
        if trades:
            market.subscribe_trades(one.trades.append)
        if start:
            market.start()
            await one.up()
        try:
            yield one
        finally:
            await market.stop()
            await session.close()


@pytest.mark.asyncio
async def test_each_stream_is_asked_for_on_the_path_that_serves_it() -> None:
    """Protects against silence: one socket a path, and trades only where somebody wants them."""
    async with watch() as one:
        assert sorted(one.venue.paths) == ["/market/ws", "/public/ws"]
        asked = sorted(message["params"] for message in one.venue.messages)
        assert asked == [["btcusdt@bookTicker"], ["btcusdt@kline_1m", "btcusdt@markPrice@1s"]]
    async with watch(trades=True) as one:
        assert ["btcusdt@kline_1m", "btcusdt@markPrice@1s", "btcusdt@aggTrade"] in [
            message["params"] for message in one.venue.messages
        ]


@pytest.mark.asyncio
async def test_quotes_marks_bars_and_trades_come_as_they_are() -> None:
    """Protects the figures: ticks, rate, next settlement and the bar are those of the wire."""
    async with watch(trades=True) as one:
        await one.say("/public/ws", ticker("100.0", "100.1"))
        await until(lambda: one.market.bid_ask(BTC) == (1_000, 1_001))
        await one.say("/market/ws", mark("100.04"))
        await one.say("/market/ws", kline(BASE_MS, closed=False))
        await one.say("/market/ws", kline(BASE_MS, closed=True))
        trade = {
            "e": "aggTrade",
            "E": BASE_MS,
            "T": BASE_MS,
            "s": "BTCUSDT",
            "a": 5,
            "p": "100.1",
            "q": "0.002",
            "m": True,
        }
        await one.say("/market/ws", trade)
        await until(lambda: one.trades != [])
        marked = next(update for update in one.told if update.mark_ticks is not None)
        assert (marked.bid_ticks, marked.ask_ticks, marked.mark_ticks) == (1_000, 1_001, 1_000)
        assert (marked.rate_e8, marked.next_funding_ns) == (10_000, (BASE_MS + 999) * NS_PER_MS)
        closed = one.told[-1].bar
        assert closed == Bar(
            open_ns=BASE_MS * NS_PER_MS,
            length_ns=NS_PER_MINUTE,
            open_ticks=1_000,
            high_ticks=1_010,
            low_ticks=990,
            close_ticks=1_000,
            volume_lots=5_000,
        )
        assert (one.trades[0].price_ticks, one.trades[0].qty_lots) == (1_001, 2)
        assert one.market.mark_ticks(BTC) == 1_000


@pytest.mark.asyncio
async def test_after_a_connection_the_present_prices_are_read() -> None:
    """Protects a quiet market: prices are known at once, though no stream says anything."""
    async with watch(start=False) as one:
        book = {
            "symbol": "BTCUSDT",
            "bidPrice": "100.0",
            "bidQty": "1",
            "askPrice": "100.1",
            "askQty": "1",
            "time": BASE_MS,
        }
        index = {
            "symbol": "BTCUSDT",
            "markPrice": "100.2",
            "lastFundingRate": "0.0001",
            "nextFundingTime": BASE_MS,
            "time": BASE_MS,
        }
        one.venue.answer("GET /fapi/v1/ticker/bookTicker", book)
        one.venue.answer("GET /fapi/v1/premiumIndex", index)
        one.market.start()
        await until(lambda: one.market.bid_ask(BTC) == (1_000, 1_001) and one.market.mark_ticks(BTC) == 1_002)
        await until(lambda: any(update.mark_ticks == 1_002 for update in one.told))


@pytest.mark.asyncio
async def test_a_market_whose_prices_cannot_be_read_over_rest_still_streams() -> None:
    """Protects the streams from REST: a refused snapshot is told, and the socket stays."""
    async with watch() as one:
        await until(lambda: len(one.reports) >= 2)
        await one.say("/public/ws", ticker("100.0", "100.1"))
        await until(lambda: one.market.bid_ask(BTC) is not None)
        assert [health.rebuilds for health in one.market.sockets()] == [0, 0]


@pytest.mark.asyncio
async def test_bars_missed_while_disconnected_are_told_after_the_reconnection() -> None:
    """Protects gap-free bars: what closed while nobody listened comes from REST, in order, and once."""
    async with watch() as one:
        await one.say("/market/ws", kline(BASE_MS, closed=True))
        await until(lambda: one.bars() == [0])
        one.clock.put_forward(3 * MINUTE_MS)
        await one.venue.sockets[one.place("/market/ws")].close()
        await until(lambda: len(one.bars()) == 3)
        assert one.bars() == [0, 1, 2]
        await one.up()
        await one.say("/market/ws", kline(BASE_MS + MINUTE_MS, closed=True))
        await one.say("/market/ws", kline(BASE_MS + 2 * MINUTE_MS, closed=True))
        await one.say("/market/ws", kline(BASE_MS + 3 * MINUTE_MS, closed=True))
        await until(lambda: len(one.bars()) == 4)
        assert one.bars() == [0, 1, 2, 3]


@pytest.mark.asyncio
async def test_a_bar_that_the_stream_does_not_tell_is_read_soon_after_its_end() -> None:
    """Protects the decision: each bar comes, even where the stream is silent, and REST lags at first."""
    async with watch(start=False, into_minute_ms=MINUTE_MS - 100) as one:
        late: list[int] = []

        async def answer(request: web.Request) -> web.Response:
            late.append(1)
            rows = [row(BASE_MS - MINUTE_MS), row(BASE_MS)] if len(late) > 2 else [row(BASE_MS - MINUTE_MS)]
            return web.json_response(rows[-int(request.query["limit"]) :])

        one.venue.answers[KLINES] = answer
        one.market.start()
        await until(lambda: one.bars() == [0])
        assert len(late) == 3


@pytest.mark.asyncio
async def test_what_closed_before_the_start_is_history() -> None:
    """Protects the first decision: the bars before the start are not told as news."""
    async with watch() as one:
        await one.say("/market/ws", kline(BASE_MS - MINUTE_MS, closed=True))
        await one.say("/market/ws", kline(BASE_MS, closed=True, interval="5m"))
        await one.say("/market/ws", kline(BASE_MS, closed=True, symbol="ETHUSDT"))
        await one.say("/market/ws", kline(BASE_MS, closed=True))
        await until(lambda: one.bars() != [])
        assert one.bars() == [0]


@pytest.mark.parametrize("count", [1, 7, 1_500, 3_100])
@pytest.mark.asyncio
async def test_history_is_paged_closed_and_in_order(count: int) -> None:
    """Protects the warm-up: exactly the last closed bars, oldest first, over as many pages as it takes."""
    async with watch(start=False) as one:
        bars = await one.market.history(BTC, count)
        opens = [bar.open_ns // NS_PER_MS for bar in bars]
        assert opens == list(range(BASE_MS - count * MINUTE_MS, BASE_MS, MINUTE_MS))
        assert all(int(asked.query["limit"]) <= 1_500 for asked in one.venue.asked("/fapi/v1/klines"))


@pytest.mark.asyncio
async def test_history_ends_where_the_instrument_began() -> None:
    """Protects a young instrument: fewer bars than asked for are an answer, not an endless search."""
    async with watch(start=False) as one:
        serve_klines(one.venue, one.clock, first_ms=BASE_MS - 2_000 * MINUTE_MS)
        assert len(await one.market.history(BTC, 5_000)) == 2_000


@pytest.mark.parametrize("payload", [b"[[1, 2", [[1, 2]], {"code": -1000}, [row(BASE_MS), row(BASE_MS)]])
@pytest.mark.asyncio
async def test_history_that_cannot_be_had_is_transient(payload: Any) -> None:
    """Protects the warm-up: an unreadable answer is asked for again, a few times, and never half taken."""
    async with watch(start=False) as one:
        one.venue.answer(KLINES, payload)
        with pytest.raises(Transient, match="BTCUSDT"):
            await one.market.history(BTC, 10)
        assert len(one.venue.asked("/fapi/v1/klines")) == 3


@pytest.mark.asyncio
async def test_unreadable_frames_of_every_kind_change_nothing() -> None:
    """Protects state: what cannot be read is counted, and the next good frame finds everything as it was."""
    bad = [
        {"e": "kline", "s": "BTCUSDT", "k": {"x": True}},
        {"e": "kline", "s": "BTCUSDT", "k": 7},
        {"e": "markPriceUpdate", "s": "BTCUSDT", "p": "0"},
        {"e": "markPriceUpdate", "s": 5},
        {"e": 5},
        {"error": {"code": 2, "msg": "x"}},
    ]
    async with watch() as one:
        for message in bad:
            await one.say("/market/ws", message)
        await one.say("/market/ws", kline(BASE_MS, closed=True))
        await until(lambda: one.bars() == [0])
        assert one.market.sockets()[1].bad_frames == len(bad)
        assert one.market.mark_ticks(BTC) is None
        await one.say("/public/ws", {"e": "bookTicker", "s": "ETHUSDT"})
        await one.say("/public/ws", {"e": "depthUpdate"})
        await until(lambda: one.market.strays == 2)


@pytest.mark.asyncio
async def test_an_instrument_that_falls_silent_has_its_socket_rebuilt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects against a lost subscription: pings are answered, and still no quote or mark comes."""
    monkeypatch.setattr(public, "_LOOK_NS", 5 * NS_PER_MS)
    async with watch(quote_silence_ms=60_000) as one:
        await asyncio.sleep(0.05)
        assert len(one.venue.paths) == 2
        one.clock.put_forward(11_000)
        await until(lambda: one.venue.paths.count("/market/ws") == 2)
        assert one.venue.paths.count("/public/ws") == 1
        one.clock.put_forward(61_000)
        await until(lambda: one.venue.paths.count("/public/ws") == 2)
        assert any("no best bid and ask of BTCUSDT" in text for text in one.reports)
        assert any("no mark of BTCUSDT" in text for text in one.reports)


@pytest.mark.asyncio
async def test_several_instruments_share_the_sockets() -> None:
    """Protects the limits of connections: ten instruments are two sockets, and each gets its own bars."""
    symbols = [f"A{number}USDT" for number in range(10)]
    async with loopback() as venue:
        clock = SteppedClock(BASE_MS + 20_000)
        serve_klines(venue, clock)
        session = Session(
            wire=PublicWire(endpoints=venue.endpoints), budget=Budget(share_ppm=0), clock=clock, recv_window_ms=2_000
        )
        instruments = [listed(symbol) for symbol in symbols]
        told: list[MarketUpdate] = []
        market = CcxtMarket(
            session=session,
            endpoints=venue.endpoints,
            clock=clock,
            instruments=instruments,
            bar_length_ns={one.instrument.name: NS_PER_MINUTE for one in instruments},
            quote_silence_ms=30_000,
        )
        market.subscribe(told.extend)
        market.start()
        await until(lambda: all(one.connected for one in market.sockets()))
        place = venue.paths.index("/market/ws")
        for symbol in symbols:
            await venue.say(kline(BASE_MS, closed=True, symbol=symbol), place)
        await until(lambda: len(told) == 10)
        assert [update.instrument for update in told] == [one.instrument.name for one in instruments]
        assert len(venue.paths) == 2
        await market.stop()
        await session.close()
