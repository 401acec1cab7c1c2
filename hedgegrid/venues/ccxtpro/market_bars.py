"""Closed bars without gaps: from the stream as they close, and from REST where the stream did not tell.

Invariants: bars of an instrument go out once each and in order; a bar goes out only when it has closed by the
exchange's clock; what had closed before the start is history, not news.
"""

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from hedgegrid.errors import HedgegridError, Transient
from hedgegrid.model.market import Bar
from hedgegrid.runtime.clock import Clock
from hedgegrid.units import NS_PER_MS, NS_PER_S, TIMEFRAMES_NS
from hedgegrid.venues.ccxtpro.parse_market import klines
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.sockets import Report

PAGE_BARS: Final = 1_500
GRACE_NS: Final = 1_500 * NS_PER_MS
"""How long after its end the stream may take to tell of a closed bar before REST is asked."""
_ASKED_AGAIN_NS: Final = NS_PER_S
_ASKED_MAX: Final = 5
_READ_MAX: Final = 3
_WEIGHTS: Final = ((100, 1), (500, 2), (1_001, 5))
_LENGTH_NAMES: Final = {length_ns: name for name, length_ns in TIMEFRAMES_NS.items()}


@attrs.frozen(kw_only=True)
class Traded:
    """An instrument as it is watched: its rules, and the length of its bars."""

    listed: ListedInstrument
    length_ns: int

    @property
    def length_name(self) -> str:
        """The length as the exchange writes it."""
        return _LENGTH_NAMES[self.length_ns]


class BarLine:
    """The closed bars of every instrument, in order."""

    def __init__(
        self,
        *,
        session: Session,
        clock: Clock,
        traded: Mapping[str, Traded],
        emit: Callable[[Traded, Bar], None],
        report: Report,
    ) -> None:
        """Hold the instruments ``traded``, by symbol; bars go to ``emit``."""
        self._session, self._clock, self._traded = session, clock, traded
        self._emit, self._report = emit, report
        self._last_ns: dict[str, int] = {}

    def begin(self) -> None:
        """What has closed by now is history."""
        for symbol, one in self._traded.items():
            self._last_ns[symbol] = self._newest_ns(one)

    def closed(self, symbol: str, bar: Bar) -> None:
        """Take a closed bar; one that went out already, or has no successor's place any more, is left."""
        if bar.open_ns > self._last_ns[symbol]:
            self._last_ns[symbol] = bar.open_ns
            self._emit(self._traded[symbol], bar)

    async def keep(self) -> None:
        """For ever: after each bar's end, read what the stream did not tell."""
        step_ns = min(one.length_ns for one in self._traded.values())
        while True:
            venue_ns = self._session.venue_ns()
            # The last end whose time of grace is still to come.
            due_ns = (venue_ns - GRACE_NS) // step_ns * step_ns + step_ns + GRACE_NS
            await self._clock.sleep(due_ns - venue_ns)
            for _ in range(_ASKED_MAX):
                if await self.catch_up():
                    break
                await self._clock.sleep(_ASKED_AGAIN_NS)

    async def catch_up(self) -> bool:
        """Read and tell the bars that have closed and were not told; whether none is missing now."""
        whole = True
        for symbol, one in self._traded.items():
            missing = (self._newest_ns(one) - self._last_ns[symbol]) // one.length_ns
            if missing <= 0:
                continue
            try:
                bars = await self._page(one, min(missing, PAGE_BARS), self._open_ns(one))
            except (HedgegridError, BadPayloadError) as error:
                self._report("closed bars could not be read", {"symbol": symbol, "why": str(error)})
                bars = ()
            for bar in bars:
                self.closed(symbol, bar)
            whole = whole and self._last_ns[symbol] >= self._newest_ns(one)
        return whole

    async def history(self, symbol: str, count: int) -> tuple[Bar, ...]:
        """Read up to ``count`` closed bars, oldest first. Raises Transient."""
        one = self._traded[symbol]
        found: tuple[Bar, ...] = ()
        while len(found) < count:
            wanted = min(count - len(found), PAGE_BARS)
            older = await self._read(one, wanted, found[0].open_ns if found else self._open_ns(one))
            found = older + found
            if len(older) < wanted:
                break
        return found

    async def _read(self, one: Traded, count: int, before_ns: int) -> tuple[Bar, ...]:
        """Read a page, asking again where it cannot be had. Raises Transient."""
        for attempt in range(1, _READ_MAX + 1):
            try:
                return await self._page(one, count, before_ns)
            except (Transient, BadPayloadError) as error:
                if attempt == _READ_MAX:
                    raise Transient(f"klines of {one.listed.symbol}: {error}") from None
                await self._clock.sleep(attempt * _ASKED_AGAIN_NS)
        raise AssertionError("the last attempt returned or raised")

    async def _page(self, one: Traded, count: int, before_ns: int) -> tuple[Bar, ...]:
        """Read up to ``count`` closed bars, the last that open before ``before_ns``."""
        asked = {
            "symbol": one.listed.symbol,
            "interval": one.length_name,
            "endTime": before_ns // NS_PER_MS - 1,
            "limit": count,
        }
        answer = await self._session.call("fapiPublicGetKlines", asked, weight=_weight(count))
        return klines(answer, one.listed.scale, one.length_ns, closed_by_ns=self._session.venue_ns())

    def _open_ns(self, one: Traded) -> int:
        """The opening time of the bar that is not closed yet."""
        return self._session.venue_ns() // one.length_ns * one.length_ns

    def _newest_ns(self, one: Traded) -> int:
        """The opening time of the last bar that has closed."""
        return self._open_ns(one) - one.length_ns


def _weight(limit: int) -> int:
    """What a klines request costs."""
    return next((weight for below, weight in _WEIGHTS if limit < below), 10)
