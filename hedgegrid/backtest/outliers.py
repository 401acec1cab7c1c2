"""Prices that stand alone: the one rule by which a print counts as implausible.

The rule: a price is an outlier where it lies further from the median of the ``WINDOW`` prices around it (itself in the
middle; the first and last price of a series stand in beyond its ends) than both ``LEAST_DEVIATION`` of that median and
``SPREADS`` times the median absolute deviation of the same prices. It is a Hampel filter with a floor: a market that
falls and stays is not an outlier, since its neighbours fall too; a print that nobody else confirms is.

Invariant: the outcome does not depend on how the series is cut into pieces.
"""

from typing import Final

import attrs
import numpy as np

from hedgegrid.venues.simulated.arrays import FloatArray, IntArray

HALF: Final = 5
WINDOW: Final = 2 * HALF + 1
LEAST_DEVIATION: Final = 0.05
SPREADS: Final = 25.0


@attrs.define(eq=False)
class OutlierScan:
    """Walks one series of prices in pieces; ``take`` and ``rest`` give the outliers' places."""

    _tail: FloatArray = attrs.field(init=False, factory=lambda: np.empty(0))
    _judged: int = attrs.field(init=False, default=0)

    def take(self, prices: IntArray) -> IntArray:
        """Take the next prices; judges all whose neighbours are known by now."""
        column = prices.astype(np.float64)
        if not len(column):
            return np.empty(0, np.int64)
        if not self._judged and not len(self._tail):
            self._tail = np.full(HALF, column[0])
        return self._judge(np.concatenate((self._tail, column)))

    def rest(self) -> IntArray:
        """Judge the last prices, at the end of the series."""
        if not len(self._tail):
            return np.empty(0, np.int64)
        return self._judge(np.concatenate((self._tail, np.full(HALF, self._tail[-1]))))

    def _judge(self, known: FloatArray) -> IntArray:
        count = len(known) - 2 * HALF
        if count <= 0:
            self._tail = known
            return np.empty(0, np.int64)
        places = _suspects(known, count)
        if len(places):
            windows = np.lib.stride_tricks.sliding_window_view(known, WINDOW)[places]
            middle = np.median(windows, axis=1)
            spread = np.median(np.abs(windows - middle[:, None]), axis=1)
            away = np.abs(known[places + HALF] - middle)
            places = places[(away > LEAST_DEVIATION * middle) & (away > SPREADS * spread)]
        found = places + self._judged
        self._judged += count
        self._tail = known[-2 * HALF :]
        return found.astype(np.int64)


def _suspects(known: FloatArray, count: int) -> IntArray:
    """Give the windows that hold a step large enough for an outlier at all; the others need no median.

    A price that lies ``LEAST_DEVIATION`` from one of its ``HALF`` neighbours on a side has, on the way there, a step of
    at least a ``HALF``-th of it; the margin covers that the base of the ratio moves along.
    """
    steps = np.abs(np.diff(known)) > LEAST_DEVIATION / HALF / 2 * np.minimum(known[1:], known[:-1])
    reached = np.concatenate(([0], np.cumsum(steps)))
    return np.flatnonzero(reached[WINDOW - 1 :][:count] > reached[:count])
