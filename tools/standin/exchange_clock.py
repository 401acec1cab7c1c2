"""The stand-in's own time: the machine's clock and a skew that a fault may change.

Invariant: everything that the exchange says of time (server time, events, labels of bars, settlements, the judgement of
a request's timestamp) is read here, so that a skewed exchange is skewed as one.
"""

import time
from collections.abc import Callable

from hedgegrid.units import NS_PER_MS


class ExchangeClock:
    """Wall time plus ``skew_ms``; a jump changes the skew at once, backwards too."""

    def __init__(self, *, skew_ms: int = 0, wall_ns: Callable[[], int] = time.time_ns) -> None:
        self.skew_ms = skew_ms
        self._wall_ns = wall_ns

    def now_ns(self) -> int:
        """Give the exchange's time in ns since the epoch."""
        return self._wall_ns() + self.skew_ms * NS_PER_MS

    def now_ms(self) -> int:
        """Give the exchange's time in ms since the epoch."""
        return self.now_ns() // NS_PER_MS
