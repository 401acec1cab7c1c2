"""The best bid and ask and the mark of each instrument, as updates that can be relied on.

Invariants:
- Quotes conflate: however many come, one of an instrument waits, the latest, and it goes out within ``PACE_NS``.
- A quote that is crossed, off the exchange's bounds, older than the last one or unreadable is dropped and counted.
- A mark goes out with a best bid and ask beside it; before the first quote it waits for one.
- A quote that is told again beside a mark is as young as the mark only while a silent book can be believed: its socket
  stands, and it was silent for no longer than ``quote_silence_ns``. After that it shows its own age.
- What was not told is None, never 0.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from hedgegrid.model.market import MarketUpdate
from hedgegrid.runtime.clock import Clock, TimerHandle
from hedgegrid.units import NS_PER_MS, NS_PER_S, PPM
from hedgegrid.venues.ccxtpro.parse_market import BestQuote, MarkSeen, parse_public
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError, Scales
from hedgegrid.venues.ccxtpro.sockets import Report, is_told

PACE_NS: Final = 5 * NS_PER_MS
"""Time between two hand-overs of quotes; the first after a pause goes at once."""
SAME_NS: Final = 250 * NS_PER_MS
"""A quote whose prices have not changed is told again after this time, so that its age shows."""
BAND_AGE_NS: Final = 10 * NS_PER_S
"""A mark older than this no longer bounds quotes."""


@attrs.define(kw_only=True)
class _Seen:
    """What was last heard and told of one instrument; times of our clock but for ``ts_ns``."""

    quote: BestQuote | None = None
    quote_heard_ns: int = 0
    good_ns: int = 0
    told_ns: int = 0
    told_text: tuple[object, object] = (None, None)
    mark: MarkSeen | None = None
    mark_heard_ns: int = 0


class QuoteBoard:
    """The latest quote and mark of each instrument."""

    def __init__(
        self,
        *,
        clock: Clock,
        rules: Mapping[str, ListedInstrument],
        scales: Scales,
        emit: Callable[[tuple[MarketUpdate, ...]], None],
        report: Report,
        quote_silence_ns: int,
        quotes_stand: Callable[[], bool],
    ) -> None:
        """Watch the symbols of ``rules``; updates go to ``emit``; ``quotes_stand`` tells whether their socket does."""
        self._clock, self._rules, self._scales = clock, rules, scales
        self._emit, self._report = emit, report
        self._quote_silence_ns, self._quotes_stand = quote_silence_ns, quotes_stand
        self._seen = {symbol: _Seen() for symbol in rules}
        self._waiting: dict[str, dict[str, Any]] = {}
        self._timer: TimerHandle | None = None
        self._flushed_ns = 0
        self._intervals_ns = {symbol: one.instrument.funding_interval_ns for symbol, one in rules.items()}
        self.dropped: Counter[str] = Counter()
        """Quotes and marks that were not passed on, by reason."""

    def quote(self, symbol: str, event: dict[str, Any]) -> None:
        """Take a bookTicker event; the one that waits is replaced."""
        self._waiting[symbol] = event
        if self._timer is None:
            self._timer = self._clock.call_at(self._flushed_ns + PACE_NS, self.flush)

    def flush(self) -> None:
        """Hand the waiting quotes over; the next ones have their pace from here on."""
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting, self._timer = self._waiting, {}, None
        now_ns = self._flushed_ns = self._clock.now_ns()
        updates: list[MarketUpdate] = []
        for symbol, event in waiting.items():
            seen = self._seen[symbol]
            seen.quote_heard_ns = now_ns
            text = (event.get("b"), event.get("a"))
            if text == seen.told_text and now_ns - seen.told_ns < SAME_NS:
                seen.good_ns = now_ns
                continue
            quote = self._read(symbol, event, seen, now_ns)
            if quote is None:
                continue
            first = seen.quote is None
            seen.quote, seen.told_ns, seen.told_text = quote, now_ns, text
            seen.good_ns = now_ns
            updates.append(self._update(symbol, quote, seen.mark if first else None))
        if updates:
            self._emit(tuple(updates))

    def mark(self, symbol: str, mark: MarkSeen) -> None:
        """Take a mark price; it goes out at once, with the waiting quotes before it."""
        seen = self._seen[symbol]
        if seen.mark is not None and mark.ts_ns < seen.mark.ts_ns:
            self._drop(symbol, "mark: older than the last")
            return
        if self._waiting:
            self.flush()
        seen.mark, seen.mark_heard_ns = mark, self._clock.now_ns()
        if seen.quote is not None:
            self._emit((self._update(symbol, seen.quote, mark),))

    def set_interval(self, symbol: str, interval_ns: int) -> None:
        """Take the time between settlements that holds from here on; the next mark tells it."""
        self._intervals_ns[symbol] = interval_ns

    def best(self, symbol: str) -> BestQuote | None:
        """Give the last quote that was passed on."""
        return self._seen[symbol].quote

    def last_mark(self, symbol: str) -> MarkSeen | None:
        """Give the last mark."""
        return self._seen[symbol].mark

    def quote_heard_ns(self, symbol: str) -> int:
        """Say when a quote last came, good or bad; 0 where none has."""
        return self._seen[symbol].quote_heard_ns

    def mark_heard_ns(self, symbol: str) -> int:
        """Say when a mark last came; 0 where none has."""
        return self._seen[symbol].mark_heard_ns

    def _read(self, symbol: str, event: dict[str, Any], seen: _Seen, now_ns: int) -> BestQuote | None:
        """Read a quote; None, counted, for one that cannot be relied on."""
        try:
            quote = parse_public(event, self._scales)
        except BadPayloadError as error:
            self._drop(symbol, f"quote: {error}")
            return None
        if not isinstance(quote, BestQuote):
            self._drop(symbol, "quote: not one")
            return None
        fault = self._fault(symbol, quote, seen, now_ns)
        if fault:
            self._drop(symbol, f"quote: {fault}")
            return None
        return quote

    def _fault(self, symbol: str, quote: BestQuote, seen: _Seen, now_ns: int) -> str:
        """Say why a quote cannot be relied on; empty where it can."""
        rules = self._rules[symbol]
        if quote.bid_ticks >= quote.ask_ticks:
            return "crossed"
        if seen.quote is not None and quote.ts_ns < seen.quote.ts_ns:
            return "older than the last"
        if quote.ask_ticks > rules.max_price_ticks > 0 or quote.bid_ticks < rules.min_price_ticks:
            return "off the exchange's bounds"
        if seen.mark is None or now_ns - seen.mark_heard_ns > BAND_AGE_NS:
            return ""
        mark_ticks = seen.mark.mark_ticks
        if quote.bid_ticks * PPM > mark_ticks * rules.price_up_ppm > 0:
            return "far above the mark"
        return "far below the mark" if quote.ask_ticks * PPM < mark_ticks * rules.price_down_ppm else ""

    def _update(self, symbol: str, quote: BestQuote, mark: MarkSeen | None) -> MarketUpdate:
        """Make an update of a quote, or of a mark with the quote beside it."""
        instrument = self._rules[symbol].instrument
        silent_ns = self._clock.now_ns() - self._seen[symbol].good_ns
        believed = self._quotes_stand() and silent_ns <= self._quote_silence_ns
        return MarketUpdate(
            instrument=instrument.name,
            ts_venue_ns=quote.ts_ns if mark is None else max(mark.ts_ns, quote.ts_ns),
            quote_ts_ns=None if mark is None or believed else quote.ts_ns,
            bid_ticks=quote.bid_ticks,
            ask_ticks=quote.ask_ticks,
            mark_ticks=None if mark is None else mark.mark_ticks,
            rate_e8=None if mark is None else mark.rate_e8,
            next_funding_ns=None if mark is None else mark.next_funding_ns,
            funding_interval_ns=self._intervals_ns[symbol],
            bar=None,
        )

    def _drop(self, symbol: str, why: str) -> None:
        self.dropped[why] += 1
        if is_told(self.dropped[why]):
            self._report("a price was dropped", {"symbol": symbol, "why": why, "count": str(self.dropped[why])})
