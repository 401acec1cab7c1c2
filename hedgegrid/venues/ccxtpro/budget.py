"""How many requests may still be sent: the exchange's limits, counted here before anything leaves.

Pure: integers, and the time that the caller tells.

Invariants:
- In no window of a limit is more admitted than the limit, wherever the exchange's own window begins: what is admitted
  counts for the window and a twentieth more.
- Entries and reads leave ``share_ppm`` of each limit to cancels and reductions.
- What the exchange says that it counted only ever adds to what is counted here.
- Nothing is admitted before a pause that the exchange asked for has ended (429), or a ban (418).
"""

from collections import deque
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

import attrs

from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S, PPM
from hedgegrid.venues.ccxtpro.parse_rules import RateLimit

WEIGHT: Final = "REQUEST_WEIGHT"
ORDERS: Final = "ORDERS"
BAN_NS: Final = 2 * NS_PER_MINUTE
"""The exchange's shortest ban, where it does not say how long this one lasts."""

# The limits of every account before exchangeInfo is read, as the exchange's documentation has them.
DEFAULT_LIMITS: Final = (
    RateLimit(kind=WEIGHT, interval_ns=NS_PER_MINUTE, limit=2_400),
    RateLimit(kind=ORDERS, interval_ns=NS_PER_MINUTE, limit=1_200),
    RateLimit(kind=ORDERS, interval_ns=10 * NS_PER_S, limit=300),
)
_PARTS: Final = 20
_HEADERS: Final = {WEIGHT: "X-MBX-USED-WEIGHT-", ORDERS: "X-MBX-ORDER-COUNT-"}
_UNITS: Final = ((NS_PER_HOUR * 24, "D"), (NS_PER_HOUR, "H"), (NS_PER_MINUTE, "M"), (NS_PER_S, "S"))
_DIGITS_MAX: Final = 9


class CallKind(StrEnum):
    """What a request is for, which decides what it may use and what a lost answer means."""

    READ = "read"
    """May be repeated: reads, and settings that are the same twice."""
    ENTRY = "entry"
    CANCEL = "cancel"
    REDUCE = "reduce"


@attrs.frozen(kw_only=True)
class Admitted:
    """It may be sent, and is counted already."""


@attrs.frozen(kw_only=True)
class Wait:
    """It may not be sent before ``until_ns``; ask again then."""

    until_ns: int
    why: str


_ADMITTED: Final = Admitted()


class _Window:
    """What counts towards one limit now."""

    def __init__(self, limit: RateLimit) -> None:
        self.kind = limit.kind
        self.limit = limit.limit
        self.length_ns = limit.interval_ns
        self.header = _HEADERS[limit.kind] + _interval_text(limit.interval_ns)
        self._part_ns = max(1, limit.interval_ns // _PARTS)
        self._parts: deque[tuple[int, int]] = deque()
        self._used = 0

    def used(self, now_ns: int) -> int:
        """What was admitted or told of in the last window and a part."""
        while self._parts and self._parts[0][0] + self._life_ns <= now_ns:
            self._used -= self._parts.popleft()[1]
        return self._used

    @property
    def _life_ns(self) -> int:
        return self.length_ns + 2 * self._part_ns

    def add(self, count: int, now_ns: int) -> None:
        """Count from now on."""
        start_ns = now_ns - now_ns % self._part_ns
        self._used += count
        if self._parts and self._parts[-1][0] >= start_ns:
            start_ns, counted = self._parts.pop()
            count += counted
        self._parts.append((start_ns, count))

    def raise_to(self, told: int, now_ns: int) -> None:
        """Take the exchange's own count where it is larger."""
        missing = told - self.used(now_ns)
        if missing > 0:
            self.add(missing, now_ns)

    def free_ns(self, count: int, usable: int, now_ns: int) -> int:
        """Say when ``count`` will fit into ``usable``: now, later, or a whole window later where it never does."""
        excess = self.used(now_ns) + count - usable
        if excess <= 0:
            return now_ns
        for start_ns, counted in self._parts:
            excess -= counted
            if excess <= 0:
                return start_ns + self._life_ns
        return now_ns + self._life_ns


class Budget:
    """The account's requests against the exchange's limits."""

    def __init__(self, *, limits: Sequence[RateLimit] = DEFAULT_LIMITS, share_ppm: int) -> None:
        """Begin with nothing used; ``share_ppm`` of each limit is for cancels and reductions alone."""
        self._share_ppm = share_ppm
        self._windows: tuple[_Window, ...] = ()
        self._orders_paused_ns = 0
        self._paused_ns = 0
        self.set_limits(limits)

    def set_limits(self, limits: Sequence[RateLimit]) -> None:
        """Take the limits that exchangeInfo tells; a window that stays keeps what is counted in it."""
        known = {(window.kind, window.length_ns): window for window in self._windows}
        windows = []
        for limit in limits:
            if limit.kind in _HEADERS:
                window = known.get((limit.kind, limit.interval_ns)) or _Window(limit)
                window.limit = limit.limit
                windows.append(window)
        self._windows = tuple(windows)

    def admit(self, kind: CallKind, *, weight: int, orders: int, now_ns: int) -> Admitted | Wait:
        """Count a request that costs ``weight`` and places ``orders`` orders, or say when it may be asked for again."""
        paused_ns = self.paused_until_ns(kind, now_ns)
        if paused_ns is not None:
            return Wait(until_ns=paused_ns, why="the exchange asked for a pause")
        free_ns, full = now_ns, ""
        for window in self._windows:
            count = weight if window.kind == WEIGHT else orders
            until_ns = window.free_ns(count, self._usable(window, kind), now_ns) if count else now_ns
            if until_ns > free_ns:
                free_ns, full = until_ns, window.header
        if full:
            return Wait(until_ns=free_ns, why=f"{full} is used up")
        for window in self._windows:
            count = weight if window.kind == WEIGHT else orders
            if count:
                window.add(count, now_ns)
        return _ADMITTED

    def _usable(self, window: _Window, kind: CallKind) -> int:
        """How much of a limit a kind of request may use."""
        if kind in {CallKind.CANCEL, CallKind.REDUCE}:
            return window.limit
        return window.limit - -(-window.limit * self._share_ppm // PPM)

    def heard(self, headers: Mapping[str, str], now_ns: int) -> None:
        """Take the counts that an answer's headers tell; names are compared as HTTP does, by ``headers`` itself."""
        for window in self._windows:
            told = headers.get(window.header, "")
            if told.isascii() and told.isdigit() and len(told) <= _DIGITS_MAX:
                window.raise_to(int(told), now_ns)

    def heard_count(self, kind: str, interval_ns: int, count: int, now_ns: int) -> None:
        """Take one count that an answer of the order socket tells."""
        for window in self._windows:
            if (window.kind, window.length_ns) == (kind, interval_ns):
                window.raise_to(count, now_ns)

    def pause(self, until_ns: int, *, orders_only: bool) -> None:
        """Send nothing before ``until_ns``, or no orders; a longer pause stands."""
        if orders_only:
            self._orders_paused_ns = max(self._orders_paused_ns, until_ns)
        else:
            self._paused_ns = max(self._paused_ns, until_ns)

    def paused_until_ns(self, kind: CallKind, now_ns: int) -> int | None:
        """When a pause that the exchange asked for ends, None where none stands."""
        until_ns = self._paused_ns
        if kind in {CallKind.ENTRY, CallKind.REDUCE}:
            until_ns = max(until_ns, self._orders_paused_ns)
        return until_ns if until_ns > now_ns else None

    def used(self, now_ns: int) -> Mapping[str, tuple[int, int]]:
        """What is used of each limit, and the limit, by the exchange's name for it."""
        return {window.header: (window.used(now_ns), window.limit) for window in self._windows}


def _interval_text(interval_ns: int) -> str:
    """Write a window's length as the headers' names do: 10S, 1M, 1D."""
    for unit_ns, letter in _UNITS:
        if interval_ns % unit_ns == 0:
            return f"{interval_ns // unit_ns}{letter}"
    return f"{interval_ns}NS"
