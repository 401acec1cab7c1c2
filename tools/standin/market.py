"""The market that runs: it moves the exchange, feeds the streams, and answers what REST asks of the past.

The clock is the exchange's own (the machine's plus a skew), because signatures carry it. Bars keep their labels and
their real length. What ``speed`` changes is how much market happens in them: at speed n a second of the exchange walks
n seconds of the tape, so a 1m bar of the stream holds n minutes of the tape, in the past as well. Bars of 1s, 5s and
15s, which the real exchange does not have, are served too, for those who cannot wait for a minute.

Invariants: time never goes back here, even where the clock does; a move reaches the exchange before the streams; bars,
live or past, are one function of time.
"""

import asyncio
from typing import Any, Final

import attrs

from hedgegrid.model.market import Tape
from hedgegrid.units import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS, NS_PER_S, TIMEFRAMES_NS
from tools.standin.exchange import Exchange
from tools.standin.exchange_clock import ExchangeClock
from tools.standin.hub import Hub
from tools.standin.lane import Lane
from tools.standin.price_path import PricePath, Span, TapeBars
from tools.standin.request_log import RequestLog
from tools.standin.stream_faults import StreamFaults
from tools.standin.stream_texts import (
    Shown,
    depth_update,
    json_text,
    mark_price,
    rate_text,
    ticker,
)

USUAL_RATE_E8: Final = 10_000
_TICK_NS: Final = 50 * NS_PER_MS
_DEPTH_NS: Final = 100 * NS_PER_MS
_KLINE_NS: Final = 250 * NS_PER_MS
_PAUSE_MIN_S: Final = 0.002
_PAUSE_MAX_S: Final = 0.05
_BURST_MAX: Final = 20_000
_KLINES_MAX: Final = 1500
_MARK_EVERY: Final = 3


@attrs.define(kw_only=True)
class MarketSettings:
    """How busy the market is.

    ``speed``: tape seconds in a second; ``book_rate``: best quotes a second of each instrument; ``funding_in_s``: the
    first settlement comes that many seconds after the start instead of at its usual hour.
    """

    speed: int = 1
    book_rate: float = 10.0
    spread_ticks: int = 1
    funding_in_s: float | None = None
    funding_late_ms: int = 0
    seed: int = 0


@attrs.define
class _Due:
    """When each kind of work is due next, in ns of the exchange."""

    tick_ns: int = 0
    depth_ns: int = 0
    kline_ns: int = 0
    second_ns: int = 0


class Market:
    """The market of all instruments; gateway.MarketSource to the REST half."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        clock: ExchangeClock,
        hub: Hub,
        faults: StreamFaults,
        log: RequestLog,
        tape: Tape,
        first_open_ns: int,
        settings: MarketSettings,
    ) -> None:
        self.settings = settings
        self._exchange = exchange
        self._clock = clock
        self._hub = hub
        self._faults = faults
        self._log = log
        self._tape = tape
        self._now_ns = clock.now_ns()
        self._quotes_owed = 0.0
        self._quoted_ns = self._now_ns
        self._due = _Due()
        self._marks = 0
        self._rates: dict[str, list[dict[str, Any]]] = {symbol: [] for symbol in exchange.symbols}
        self._days: dict[str, tuple[int, Span]] = {}
        start_ns = self._now_ns // NS_PER_MINUTE * NS_PER_MINUTE
        self.lanes: dict[str, Lane] = {}
        for index, symbol in enumerate(exchange.symbols):
            path = PricePath(TapeBars(tape, index, first_open_ns), start_ns=start_ns, speed=settings.speed)
            self.lanes[symbol] = Lane(
                symbol=symbol,
                exchange=exchange,
                hub=hub,
                faults=faults,
                path=path,
                now_ns=self._now_ns,
                seed=settings.seed,
                spread_ticks=settings.spread_ticks,
            )
            self._announce(index, symbol, first=True)
        hub.on_subscribe = self._subscribed

    async def run(self) -> None:
        """Let the market run until cancelled."""
        while True:
            self.beat()
            rate = max(1.0, self.settings.book_rate)
            await asyncio.sleep(min(_PAUSE_MAX_S, max(_PAUSE_MIN_S, 1 / rate)))

    def beat(self) -> None:
        """Bring everything up to the exchange's present."""
        self._now_ns = max(self._now_ns, self._clock.now_ns())
        for lane in self.lanes.values():
            lane.advance(self._now_ns)
        self._quote()
        due = self._due
        if self._now_ns >= due.tick_ns:
            due.tick_ns = self._now_ns + _TICK_NS
            self._exchange.tick(self._now_ns // NS_PER_MS)
        if self._now_ns >= due.depth_ns:
            due.depth_ns = self._now_ns + _DEPTH_NS
            self._stream_depth()
        if self._now_ns >= due.kline_ns:
            due.kline_ns = self._now_ns + _KLINE_NS
            for lane in self.lanes.values():
                lane.publish_candles()
        if self._now_ns >= due.second_ns:
            due.second_ns = (self._now_ns // NS_PER_S + 1) * NS_PER_S
            self._each_second()

    def burst(self, count: int) -> None:
        """Stream that many best quotes of each instrument at once."""
        for lane in self.lanes.values():
            lane.publish_quotes(min(count, _BURST_MAX))

    def move_by_bps(self, symbol: str, bps: int) -> None:
        """Move an instrument's price, from now on. KeyError for a symbol that is not traded here."""
        self.beat()
        lane = self.lanes[symbol]
        now_ns = self._now_ns + 1
        lane.path.shift(now_ns, lane.ticks * bps // 10_000)
        self._now_ns = now_ns
        lane.advance(now_ns)
        lane.publish_quotes(1)
        self._log.note("market", "price", symbol=symbol, bps=bps, ticks=lane.ticks)

    def settle(self, symbol: str, rate_e8: int | None = None) -> None:
        """Settle an instrument's funding now, at the announced rate or another."""
        lane = self.lanes[symbol]
        now_ms = self._now_ns // NS_PER_MS
        rate = lane.rate_e8 if rate_e8 is None else rate_e8
        self._exchange.settle_funding(symbol, rate, now_ms)
        mark = lane.spec.price_text(lane.ticks)
        row = {"symbol": symbol, "fundingTime": now_ms, "fundingRate": rate_text(rate), "markPrice": mark}
        self._rates[symbol].append(row)
        self._log.note("market", "funding", symbol=symbol, rate_e8=rate)

    def announce(self, symbol: str) -> None:
        """Announce an instrument's next settlement anew, by the interval that its rules have now."""
        self._announce(self._exchange.symbols.index(symbol), symbol)

    # --- what REST asks ---------------------------------------------------------------------------------------------

    def klines(
        self,
        symbol: str,
        interval: str,
        start_ms: int | None,
        end_ms: int | None,
        limit: int,
        *,
        mark: bool = False,
    ) -> list[list[Any]]:
        """Give bars as REST rows, the open one last. KeyError for an interval that nobody knows."""
        length_ns = TIMEFRAMES_NS[interval]
        lane, limit = self.lanes[symbol], max(1, min(limit, _KLINES_MAX))
        now_ns = max(self._now_ns, lane.now_ns)
        last = min(now_ns if end_ms is None else end_ms * NS_PER_MS, now_ns) // length_ns
        first = last - limit + 1 if start_ms is None else -(-start_ms * NS_PER_MS // length_ns)
        first = max(first, -(-lane.path.begins_ns(first * length_ns) // length_ns))
        opens = (number * length_ns for number in range(first, min(last, first + limit - 1) + 1))
        rows = lane.kline_rows(interval, opens, now_ns + 1)
        if mark:
            for row in rows:
                row[5] = row[7] = row[9] = row[10] = "0"
        return rows

    def agg_trades(
        self, symbol: str, start_ms: int | None, end_ms: int | None, from_id: int | None, limit: int
    ) -> list[dict[str, Any]]:
        """Give the trades that are remembered."""
        prints = [
            one
            for one in self.lanes[symbol].prints
            if (start_ms is None or one.ts_ms >= start_ms)
            and (end_ms is None or one.ts_ms <= end_ms)
            and (from_id is None or one.trade_id >= from_id)
        ]
        chosen = prints[-limit:] if start_ms is None and from_id is None else prints[:limit]
        return [
            {
                "a": one.trade_id,
                "p": one.price,
                "q": one.qty,
                "f": one.trade_id,
                "l": one.trade_id,
                "T": one.ts_ms,
                "m": one.seller_hit,
            }
            for one in chosen
        ]

    def depth(self, symbol: str, limit: int) -> dict[str, Any]:
        """Give the book; it is the state to which the streamed changes lead."""
        lane = self.lanes[symbol]
        if not self._depth_wanted(symbol):
            lane.book.refresh(lane.bid_ticks, lane.ask_ticks)
        return lane.book.snapshot(limit, self._now_ns // NS_PER_MS)

    def funding_rates(
        self, symbol: str | None, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[dict[str, Any]]:
        """Give settlements: those from before the start as the tape knows them, then those that were charged here."""
        rows = [
            row
            for name in ([symbol] if symbol else self._exchange.symbols)
            for row in self._past_rates(name) + self._rates.get(name, [])
            if (start_ms is None or row["fundingTime"] >= start_ms) and (end_ms is None or row["fundingTime"] <= end_ms)
        ]
        rows.sort(key=lambda row: row["fundingTime"])
        return rows[-limit:] if start_ms is None else rows[:limit]

    # --- each beat --------------------------------------------------------------------------------------------------

    def _quote(self) -> None:
        """Stream the best quotes that are due."""
        passed_s = (self._now_ns - self._quoted_ns) / NS_PER_S
        self._quoted_ns = self._now_ns
        self._quotes_owed = min(self._quotes_owed + passed_s * self.settings.book_rate, self.settings.book_rate)
        count = int(self._quotes_owed)
        if count:
            self._quotes_owed -= count
            for lane in self.lanes.values():
                lane.publish_quotes(count)

    def _depth_wanted(self, symbol: str) -> bool:
        head = f"{symbol.lower()}@depth"
        return any(stream.startswith(head) for stream in self._hub.streams())

    def _stream_depth(self) -> None:
        """Stream what changed in the books, and the books' best levels where those are asked for."""
        now_ms = self._now_ns // NS_PER_MS
        streams = [stream for stream in self._hub.streams() if "@depth" in stream]
        for symbol in {stream.partition("@")[0].upper() for stream in streams}:
            lane = self.lanes.get(symbol)
            if lane is None:
                continue
            change = lane.book.refresh(lane.bid_ticks, lane.ask_ticks)
            if change is None or not self._faults.depth_passes(symbol):
                continue
            text = depth_update(symbol, change.ids, now_ms, change.sides)
            for stream in streams:
                name, _, channel = stream.partition("@")
                if name != symbol.lower():
                    continue
                levels = channel.removeprefix("depth").partition("@")[0]
                if levels.isdigit():
                    book = lane.book.snapshot(int(levels), now_ms)
                    sides = (dict(book["bids"]), dict(book["asks"]))
                    self._hub.publish(stream, depth_update(symbol, change.ids, now_ms, sides))
                else:
                    self._hub.publish(stream, text)

    def _each_second(self) -> None:
        """Funding that is due, mark prices, tickers."""
        now_ms = self._now_ns // NS_PER_MS
        self._marks += 1
        texts: list[str] = []
        for index, (symbol, lane) in enumerate(self.lanes.items()):
            if now_ms >= lane.next_funding_ms + self.settings.funding_late_ms:
                self.settle(symbol)
                self._announce(index, symbol)
            mark = lane.spec.mark_text(lane.ticks)
            usual = Shown(mark=mark, index=mark, rate=rate_text(lane.rate_e8), next_ms=lane.next_funding_ms)
            shown = self._faults.shown(symbol, usual, lane.rate_e8)
            if shown is None:
                continue
            text = mark_price(symbol, shown, now_ms)
            texts.append(text)
            self._hub.publish(f"{symbol.lower()}@markPrice@1s", text)
            if self._marks % _MARK_EVERY == 0:
                self._hub.publish(f"{symbol.lower()}@markPrice", text)
        for stream in ("!markPrice@arr", "!markPrice@arr@1s"):
            if texts and self._hub.wanted(stream):
                self._hub.publish(stream, f"[{','.join(texts)}]")
        self._stream_tickers(now_ms)

    def _stream_tickers(self, now_ms: int) -> None:
        """Stream the last 24 hours where anybody wants them."""
        for channel, whole in (("miniTicker", False), ("ticker", True)):
            everything = f"!{channel}@arr"
            for symbol, lane in self.lanes.items():
                stream = f"{symbol.lower()}@{channel}"
                if not (self._hub.wanted(stream) or self._hub.wanted(everything)):
                    continue
                text = json_text(ticker(lane.spec, self._day(symbol), now_ms, whole=whole))
                self._hub.publish(stream, text)
                self._hub.publish(everything, f"[{text}]")

    def _day(self, symbol: str) -> Span:
        """Give the last 24 hours, as of the last whole minute, with the present price."""
        lane = self.lanes[symbol]
        minute_ns = self._now_ns // NS_PER_MINUTE * NS_PER_MINUTE
        known = self._days.get(symbol)
        if known is None or known[0] != minute_ns:
            begin_ns = lane.path.begins_ns(minute_ns - NS_PER_DAY)
            now = lane.ticks
            here = Span(open_ticks=now, high_ticks=now, low_ticks=now, close_ticks=now, volume_lots=1)
            known = self._days[symbol] = (minute_ns, lane.path.span(begin_ns, minute_ns) or here)
        day = known[1]
        return attrs.evolve(
            day,
            high_ticks=max(day.high_ticks, lane.ticks),
            low_ticks=min(day.low_ticks, lane.ticks),
            close_ticks=lane.ticks,
        )

    def _announce(self, index: int, symbol: str, *, first: bool = False) -> None:
        """Set the next settlement and its rate, which the tape knows by its own time."""
        lane = self.lanes[symbol]
        interval_ns = lane.spec.funding_interval_h * NS_PER_HOUR
        next_ns = (self._now_ns // interval_ns + 1) * interval_ns
        if first and self.settings.funding_in_s is not None:
            next_ns = self._now_ns + int(self.settings.funding_in_s * NS_PER_S)
        lane.next_funding_ms = next_ns // NS_PER_MS
        lane.rate_e8 = self._rate_e8(index, lane, self._now_ns)
        self._exchange.set_funding(symbol, lane.rate_e8, lane.next_funding_ms)

    def _rate_e8(self, index: int, lane: Lane, ts_ns: int) -> int:
        settled = self._tape.last_rate(index, lane.path.tape_ns(ts_ns))
        return USUAL_RATE_E8 if settled is None else settled.rate_e8

    def _past_rates(self, symbol: str) -> list[dict[str, Any]]:
        """Give the settlements of the ten intervals before the start."""
        index, lane = self._exchange.symbols.index(symbol), self.lanes[symbol]
        interval_ns = lane.spec.funding_interval_h * NS_PER_HOUR
        last = self._now_ns // interval_ns * interval_ns
        rows: list[dict[str, Any]] = []
        for stamp in range(last - 10 * interval_ns, last + 1, interval_ns):
            ts_ms = stamp // NS_PER_MS
            if lane.path.begins_ns(stamp) > stamp or any(row["fundingTime"] >= ts_ms for row in self._rates[symbol]):
                continue
            price = lane.spec.price_text(lane.path.ticks_at(stamp))
            rate = rate_text(self._rate_e8(index, lane, stamp))
            rows.append({"symbol": symbol, "fundingTime": ts_ms, "fundingRate": rate, "markPrice": price})
        return rows

    def _subscribed(self, stream: str) -> None:
        """Begin to keep the open bar that somebody wants to hear of."""
        symbol, _, channel = stream.partition("@")
        lane = self.lanes.get(symbol.upper())
        if lane is not None and channel.startswith("kline_"):
            lane.open_candle(channel.removeprefix("kline_"))
