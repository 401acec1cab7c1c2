"""The market's side of the exchange behind the ``MarketData`` port: quotes, marks, closed bars, trades where wanted.

One socket for each path of the exchange: "public" carries best bid and ask, "market" klines, marks and aggregates.

Invariants:
- Nothing here has keys or asks for any.
- After every (re)connection the present quotes and marks are read over REST and the bars that were missed are told.
- An instrument whose quotes or marks have been silent for longer than they may has its socket rebuilt, however alive
  the socket seems: a subscription can be lost alone.
- A frame that cannot be read is counted and changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from hedgegrid.errors import HedgegridError
from hedgegrid.model.market import Bar, MarketUpdate
from hedgegrid.runtime.clock import Clock
from hedgegrid.units import NS_PER_MS, NS_PER_S
from hedgegrid.venues.ccxtpro.endpoints import Endpoints
from hedgegrid.venues.ccxtpro.interval_watch import IntervalWatch
from hedgegrid.venues.ccxtpro.market_bars import BarLine, Traded
from hedgegrid.venues.ccxtpro.market_quotes import QuoteBoard
from hedgegrid.venues.ccxtpro.parse_market import BarSeen, MarkSeen, TradeSeen, parse_public, premium_index
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.sockets import KeptSocket, Report, SocketHealth, quiet

MARK_SILENCE_NS: Final = 10 * NS_PER_S
"""Marks come each second."""
_LOOK_NS: Final = NS_PER_S


class CcxtMarket:
    """The market of some instruments. Start it once, stop it once."""

    def __init__(
        self,
        *,
        session: Session,
        endpoints: Endpoints,
        clock: Clock,
        instruments: Sequence[ListedInstrument],
        bar_length_ns: Mapping[str, int],
        quote_silence_ms: int,
        ping_ms: int = 2_000,
        report: Report = quiet,
    ) -> None:
        """Prepare; nothing is sent yet.

        ``bar_length_ns`` is by our names; a best bid and ask may be silent for ``quote_silence_ms`` before it counts as
        old and its socket is rebuilt.
        """
        self._session, self._clock, self._report = session, clock, report
        self._traded = {
            one.symbol: Traded(listed=one, length_ns=bar_length_ns[one.instrument.name]) for one in instruments
        }
        self._symbols = {one.instrument.name: one.symbol for one in instruments}
        self._scales = {one.symbol: one.scale for one in instruments}
        self._quote_silence_ns = quote_silence_ms * NS_PER_MS
        self._sink: Callable[[tuple[MarketUpdate, ...]], None] | None = None
        self._trade_sink: Callable[[TradeSeen], None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.strays = 0
        """Events of other instruments, and of kinds that nobody here reads."""
        rules = {one.symbol: one for one in instruments}
        self.board = QuoteBoard(
            clock=clock,
            rules=rules,
            scales=self._scales,
            emit=self._tell,
            report=report,
            quote_silence_ns=self._quote_silence_ns,
            quotes_stand=lambda: self._public.health().connected,
        )
        self._intervals = IntervalWatch(
            session=session,
            clock=clock,
            intervals_ns={one.symbol: one.instrument.funding_interval_ns for one in instruments},
            changed=self.board.set_interval,
            report=report,
        )
        self._bars = BarLine(session=session, clock=clock, traded=self._traded, emit=self._tell_bar, report=report)
        self._public = self._socket("public", endpoints.public(), self._on_quote, self._read_quotes, ping_ms)
        self._market = self._socket("market", endpoints.market(), self._on_market, self._read_market, ping_ms)

    def _socket(
        self,
        name: str,
        url: str,
        on_event: Callable[[dict[str, Any]], None],
        on_up: Callable[[], Awaitable[None]],
        ping_ms: int,
    ) -> KeptSocket:
        async def here() -> str:
            return url

        return KeptSocket(
            name=name,
            wire=self._session.wire,
            clock=self._clock,
            url=here,
            on_event=on_event,
            on_up=on_up,
            streams=lambda: self._streams(name),
            ping_ms=ping_ms,
            report=self._report,
        )

    def subscribe(self, sink: Callable[[tuple[MarketUpdate, ...]], None]) -> None:
        """Hand every update to ``sink``."""
        self._sink = sink

    def subscribe_trades(self, sink: Callable[[TradeSeen], None]) -> None:
        """Hand every aggregate of trades to ``sink`` too; before ``start``, or they are not asked for."""
        self._trade_sink = sink

    def start(self) -> None:
        """Begin to listen; the running loop carries it. What has closed by now is history."""
        self._bars.begin()
        self._public.start()
        self._market.start()
        self._intervals.start()
        self._tasks = [
            asyncio.create_task(self._bars.keep(), name="closed bars"),
            asyncio.create_task(self._watch_silence(), name="market silence"),
        ]

    async def stop(self) -> None:
        """Close the sockets."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._intervals.stop()
        await self._public.stop()
        await self._market.stop()

    async def history(self, instrument: str, count: int) -> tuple[Bar, ...]:
        """Give up to ``count`` closed bars up to now, oldest first. Raises Transient."""
        return await self._bars.history(self._symbols[instrument], count)

    def sockets(self) -> tuple[SocketHealth, ...]:
        """Tell how the sockets are."""
        return self._public.health(), self._market.health()

    def bid_ask(self, instrument: str) -> tuple[int, int] | None:
        """Give the best bid and ask in ticks, None where none is known."""
        quote = self.board.best(self._symbols[instrument])
        return None if quote is None else (quote.bid_ticks, quote.ask_ticks)

    def mark_ticks(self, instrument: str) -> int | None:
        """Give the mark in ticks, None where none is known."""
        mark = self.board.last_mark(self._symbols[instrument])
        return None if mark is None else mark.mark_ticks

    def _streams(self, socket: str) -> tuple[str, ...]:
        """Give the streams of a socket."""
        lower = [(symbol.lower(), one) for symbol, one in self._traded.items()]
        if socket == "public":
            return tuple(f"{symbol}@bookTicker" for symbol, _ in lower)
        kinds = [f"{symbol}@kline_{one.length_name}" for symbol, one in lower]
        kinds += [f"{symbol}@markPrice@1s" for symbol, _ in lower]
        if self._trade_sink is not None:
            kinds += [f"{symbol}@aggTrade" for symbol, _ in lower]
        return tuple(kinds)

    def _tell(self, updates: tuple[MarketUpdate, ...]) -> None:
        if self._sink is not None:
            self._sink(updates)

    def _tell_bar(self, one: Traded, bar: Bar) -> None:
        """Tell a closed bar, after the quotes that came before it."""
        self.board.flush()
        instrument = one.listed.instrument
        closed = MarketUpdate(
            instrument=instrument.name,
            ts_venue_ns=self._session.venue_ns(),
            bid_ticks=bar.close_ticks,
            ask_ticks=bar.close_ticks,
            mark_ticks=None,
            rate_e8=None,
            next_funding_ns=None,
            funding_interval_ns=instrument.funding_interval_ns,
            bar=bar,
        )
        self._tell((closed,))

    def _on_quote(self, event: dict[str, Any]) -> None:
        """Take an event of the public socket: best bids and asks, read when they go out."""
        symbol = event.get("s")
        if event.get("e") == "bookTicker" and type(symbol) is str and symbol in self._traded:
            self.board.quote(symbol, event)
        else:
            self.strays += 1

    def _on_market(self, event: dict[str, Any]) -> None:
        """Take an event of the market socket. Raises BadPayloadError, on which nothing has changed."""
        kline = event.get("k")
        if type(kline) is dict and kline.get("x") is False:
            return
        seen = parse_public(event, self._scales)
        match seen:
            case MarkSeen():
                self._intervals.seen(self._symbols[seen.instrument], seen.next_funding_ns)
                self.board.mark(self._symbols[seen.instrument], seen)
            case BarSeen() if seen.bar.length_ns == self._traded[self._symbols[seen.instrument]].length_ns:
                self._bars.closed(self._symbols[seen.instrument], seen.bar)
            case TradeSeen() if self._trade_sink is not None:
                self._trade_sink(seen)
            case _:
                self.strays += 1

    async def _read_quotes(self) -> None:
        """Read the present best bids and asks: a quiet book says nothing for long after a subscription."""
        try:
            answer = await self._session.call("fapiPublicGetTickerBookTicker", self._asked(), weight=5)
        except HedgegridError as error:
            self._report("best bids and asks could not be read", {"why": str(error)})
            return
        for row in answer if isinstance(answer, list) else [answer]:
            symbol = row.get("symbol") if isinstance(row, dict) else None
            if symbol in self._traded:
                self.board.quote(symbol, _as_event(row))

    async def _read_market(self) -> None:
        """Read the present marks, and the bars that were missed."""
        try:
            answer = await self._session.call("fapiPublicGetPremiumIndex", self._asked(), weight=10)
            for mark in premium_index(answer, self._scales):
                self.board.mark(self._symbols[mark.instrument], mark)
        except (HedgegridError, BadPayloadError) as error:
            self._report("marks could not be read", {"why": str(error)})
        await self._bars.catch_up()

    def _asked(self) -> dict[str, object]:
        """Ask for one symbol where there is one, for all where there are more."""
        return {"symbol": next(iter(self._traded))} if len(self._traded) == 1 else {}

    async def _watch_silence(self) -> None:
        """For ever: rebuild a socket on which an instrument has fallen silent."""
        board = self.board
        while True:
            await self._clock.sleep(_LOOK_NS)
            self._rebuild_silent(self._public, board.quote_heard_ns, self._quote_silence_ns, "best bid and ask")
            self._rebuild_silent(self._market, board.mark_heard_ns, MARK_SILENCE_NS, "mark")

    def _rebuild_silent(self, socket: KeptSocket, heard_ns: Callable[[str], int], silence_ns: int, what: str) -> None:
        opened_ns, now_ns = socket.health().opened_ns, self._clock.now_ns()
        if opened_ns is None:
            return
        for symbol in self._traded:
            if now_ns - max(opened_ns, heard_ns(symbol)) > silence_ns:
                socket.rebuild(f"silent: no {what} of {symbol} for {silence_ns // NS_PER_S} s")
                return


def _as_event(row: Mapping[str, Any]) -> dict[str, Any]:
    """Write a row of REST's best bids and asks as the stream's event."""
    return {
        "e": "bookTicker",
        "u": row.get("lastUpdateId", 1),
        "s": row.get("symbol"),
        "b": row.get("bidPrice"),
        "B": row.get("bidQty"),
        "a": row.get("askPrice"),
        "A": row.get("askQty"),
        "T": row.get("time"),
    }
