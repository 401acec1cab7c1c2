"""One instrument's market as it runs: price, best quotes, trades, open bars, book, funding.

Invariants: the price is the path's; every bend of the path since the last beat is a trade that reaches the exchange
before anything is streamed about it; a bar is closed before anything of the next one is streamed.
"""

import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import attrs

from hedgegrid.units import NS_PER_MS, TIMEFRAMES_NS
from tools.standin.exchange import Exchange
from tools.standin.hub import Hub, Note
from tools.standin.made_book import MadeBook
from tools.standin.price_path import Move, PricePath, Span
from tools.standin.rules import InstrumentSpec
from tools.standin.stream_faults import StreamFaults
from tools.standin.stream_texts import Print, agg_trade, book_ticker, kline, kline_row, trade

PRINTS_KEPT = 1000
QUOTE_LOTS_QUOTE = 20_000
"""What stands at a best price, on average, in quote currency."""


@attrs.define(kw_only=True)
class Candle:
    """A bar that is open, for the kline stream."""

    interval: str
    length_ns: int
    open_ns: int
    span: Span

    def take(self, move: Move) -> None:
        """Add a move to the bar."""
        span = self.span
        self.span = Span(
            open_ticks=span.open_ticks,
            high_ticks=max(span.high_ticks, move.ticks),
            low_ticks=min(span.low_ticks, move.ticks),
            close_ticks=move.ticks,
            volume_lots=span.volume_lots + move.qty_lots,
        )


class Lane:
    """One instrument; ``rate_e8`` and ``next_funding_ms`` are what its mark stream announces."""

    def __init__(
        self,
        *,
        symbol: str,
        exchange: Exchange,
        hub: Hub,
        faults: StreamFaults,
        path: PricePath,
        now_ns: int,
        seed: int,
        spread_ticks: int,
    ) -> None:
        self.symbol = symbol
        self.path = path
        self.rate_e8 = 0
        self.next_funding_ms = 0
        self.prints: deque[Print] = deque(maxlen=PRINTS_KEPT)
        self.candles: dict[str, Candle] = {}
        self.now_ns = now_ns
        self._exchange = exchange
        self._hub = hub
        self._faults = faults
        self._spread = spread_ticks
        self._random = random.Random(f"{seed} {symbol}")  # noqa: S311 - a seeded market has to be repeatable
        self._stream = symbol.lower()
        self.ticks = path.ticks_at(now_ns)
        self._rises = True
        spec = self.spec
        self.usual_lots = max(1, int(QUOTE_LOTS_QUOTE * 10**8 // max(1, self.ticks * spec.unit_e8)))
        self.book = MadeBook(
            price_text=spec.price_text,
            qty_text=spec.qty_text,
            seed=seed,
            usual_lots=self.usual_lots,
        )
        self._last_id = now_ns // NS_PER_MS
        self._update_id = now_ns // NS_PER_MS
        self._tell(Move(ts_ns=now_ns, ticks=self.ticks, qty_lots=1))

    @property
    def spec(self) -> InstrumentSpec:
        """The instrument's rules as they are now."""
        return self._exchange.specs[self.symbol]

    @property
    def bid_ticks(self) -> int:
        """The best bid: the last price after a fall, one spread below it after a rise."""
        return max(1, self.ticks - self._spread) if self._rises else self.ticks

    @property
    def ask_ticks(self) -> int:
        """The best ask."""
        return max(self.ticks, self.bid_ticks + 1) if self._rises else self.ticks + self._spread

    def advance(self, now_ns: int) -> None:
        """Walk the path up to a time: trades to the exchange, bars closed where they end."""
        while self.now_ns < now_ns:
            ends = [candle.open_ns + candle.length_ns for candle in self.candles.values()]
            until = min([now_ns, *ends])
            for move in self.path.moves(self.now_ns, until):
                self._meet(move)
            self.now_ns = max(until, self.now_ns)
            for candle in [each for each in self.candles.values() if each.open_ns + each.length_ns <= until]:
                self._close(candle)

    def open_candle(self, interval: str) -> None:
        """Begin to keep the open bar of an interval; one that is not known is ignored."""
        length_ns = TIMEFRAMES_NS.get(interval)
        if length_ns is None or interval in self.candles:
            return
        open_ns = self.now_ns // length_ns * length_ns
        here = self.ticks
        past = self.path.span(open_ns, self.now_ns) if self.now_ns > open_ns else None
        span = past or Span(open_ticks=here, high_ticks=here, low_ticks=here, close_ticks=here, volume_lots=0)
        candle = Candle(interval=interval, length_ns=length_ns, open_ns=open_ns, span=span)
        candle.take(Move(ts_ns=self.now_ns, ticks=here, qty_lots=0))
        self.candles[interval] = candle

    def publish_candles(self) -> None:
        """Stream the open bars that somebody hears."""
        for candle in self.candles.values():
            self._publish(candle, closed=False)

    def publish_quotes(self, count: int) -> None:
        """Stream best quotes with ever new quantities."""
        stream = f"{self._stream}@bookTicker"
        if count <= 0 or not (self._hub.wanted(stream) or self._hub.wanted("!bookTicker")):
            return
        now_ms = self.now_ns // NS_PER_MS
        price, qty, usual = self.spec.price_text, self.spec.qty_text, self.usual_lots
        bid_ticks, ask_ticks = self.bid_ticks, self.ask_ticks
        for _ in range(count):
            shown = self._faults.quote(self.symbol, bid_ticks, ask_ticks)
            if shown is None:
                continue
            bid, ask = shown
            self._update_id += 1
            lots = self._random.randrange(1, 2 * usual + 1)
            text = book_ticker(
                self.symbol,
                self._update_id,
                now_ms,
                (price(bid), qty(lots)),
                (price(ask), qty(2 * usual + 1 - lots)),
            )
            self._hub.publish(stream, text)
            self._hub.publish("!bookTicker", text)

    def _meet(self, move: Move) -> None:
        """Take one move of the path: a trade where the price changes or anything was traded."""
        if move.ticks != self.ticks:
            self._rises = move.ticks > self.ticks
        elif not move.qty_lots:
            return
        self.ticks = move.ticks
        for candle in self.candles.values():
            candle.take(move)
        self._tell(move)
        self._print(move)

    def _tell(self, move: Move) -> None:
        """Let the exchange see the move: its orders fill and trigger."""
        self._exchange.move(
            self.symbol,
            self.bid_ticks,
            self.ask_ticks,
            move.ticks,
            max(1, move.qty_lots),
            move.ticks,
            move.ts_ns // NS_PER_MS,
            bid_qty_lots=self.usual_lots,
            ask_qty_lots=self.usual_lots,
        )

    def _print(self, move: Move) -> None:
        """Remember and stream the trade."""
        self._last_id += 1
        now_ms = self.now_ns // NS_PER_MS
        one = Print(
            trade_id=self._last_id,
            price=self.spec.price_text(move.ticks),
            qty=self.spec.qty_text(max(1, move.qty_lots)),
            ts_ms=move.ts_ns // NS_PER_MS,
            seller_hit=not self._rises,
        )
        self.prints.append(one)
        for channel, text in (("aggTrade", agg_trade), ("trade", trade)):
            stream = f"{self._stream}@{channel}"
            if self._hub.wanted(stream):
                self._hub.publish(stream, text(self.symbol, one, max(now_ms, one.ts_ms)))

    def _close(self, candle: Candle) -> None:
        """Stream a bar as closed and begin the next one; its first price is the path's at its opening."""
        end_ns = candle.open_ns + candle.length_ns
        whole = self.path.span(candle.open_ns, end_ns)
        candle.span = whole or candle.span
        self._publish(candle, closed=True)
        here = self.path.ticks_at(end_ns)
        candle.open_ns = end_ns
        candle.span = Span(open_ticks=here, high_ticks=here, low_ticks=here, close_ticks=here, volume_lots=0)

    def _publish(self, candle: Candle, *, closed: bool) -> None:
        stream = f"{self._stream}@kline_{candle.interval}"
        if not self._hub.wanted(stream):
            return
        row = kline_row(self.spec, candle.span, candle.open_ns, candle.length_ns)
        text = kline(self.spec, candle.interval, row, self.now_ns // NS_PER_MS, closed=closed)
        if not closed:
            self._hub.publish(stream, text)
            return
        facts = {"symbol": self.symbol, "interval": candle.interval, "open_ms": row[0], "close": row[4]}
        self._faults.closed_bar(self.symbol, stream, text, Note(stream, "kline closed", facts))

    def kline_rows(self, interval: str, opens: Iterator[int], end_ns: int) -> list[list[Any]]:
        """Give the bars that open at the given times as REST rows; the open one is cut at ``end_ns``."""
        length_ns = TIMEFRAMES_NS[interval]
        rows: list[list[Any]] = []
        for open_ns in opens:
            span = self.path.span(open_ns, min(open_ns + length_ns, end_ns))
            if span is not None:
                rows.append(kline_row(self.spec, span, open_ns, length_ns))
        return rows
