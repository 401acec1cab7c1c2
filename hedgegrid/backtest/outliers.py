"""Prices that stand alone: the one rule by which a print counts as implausible.

The rule: a price is an outlier where it lies further from the median of the ``WINDOW`` prices around it (itself in the
middle; near an end of the series, the ``WINDOW`` prices at that end) than both ``LEAST_DEVIATION`` of that median and
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
    """Walks one series of prices in pieces; ``take`` and ``rest`` give outliers' places, counted from its start."""

    _tail: FloatArray = attrs.field(init=False, factory=lambda: np.empty(0))
    _start: int = attrs.field(init=False, default=0)
    _judged: int = attrs.field(init=False, default=0)

    def take(self, prices: IntArray) -> IntArray:
        """Take the next prices; judges all whose neighbours are known by now."""
        known = np.concatenate((self._tail, prices.astype(np.float64)))
        total = self._start + len(known)
        found = [np.empty(0, np.int64)]
        if total >= WINDOW:
            if not self._judged:
                found.append(_standing_alone(known[None, :WINDOW].repeat(HALF, axis=0), known[:HALF]))
                self._judged = HALF
            first = self._judged - self._start
            found.append(self._judged + _in_the_middle(known[first - HALF :], total - HALF - self._judged))
            self._judged = total - HALF
        self._tail = known[-WINDOW:]
        self._start = total - len(self._tail)
        return np.concatenate(found)

    def rest(self) -> IntArray:
        """Judge the last prices, at the end of the series; of a series shorter than a window, all."""
        left = self._tail[self._judged - self._start :]
        found = _standing_alone(self._tail[None, :].repeat(len(left), axis=0), left)
        return self._judged + found


def _in_the_middle(known: FloatArray, count: int) -> IntArray:
    """Judge ``count`` prices that have ``HALF`` neighbours on both sides; gives the outliers' places among them."""
    places = _suspects(known, count)
    if not len(places):
        return places
    windows = np.lib.stride_tricks.sliding_window_view(known, WINDOW)[places]
    return places[_standing_alone(windows, known[places + HALF])]


def _standing_alone(windows: FloatArray, prices: FloatArray) -> IntArray:
    """Give the places of the prices that are outliers in their windows."""
    if not len(prices):
        return np.empty(0, np.int64)
    middle = np.median(windows, axis=1)
    spread = np.median(np.abs(windows - middle[:, None]), axis=1)
    away = np.abs(prices - middle)
    return np.flatnonzero((away > LEAST_DEVIATION * middle) & (away > SPREADS * spread))


def _suspects(known: FloatArray, count: int) -> IntArray:
    """Give the windows that hold a step large enough for an outlier at all; the others need no median.

    A price that lies ``LEAST_DEVIATION`` from one of its ``HALF`` neighbours on a side has, on the way there, a step of
    at least a ``HALF``-th of it; the margin covers that the base of the ratio moves along.
    """
    steps = np.abs(np.diff(known)) > LEAST_DEVIATION / HALF / 2 * np.minimum(known[1:], known[:-1])
    reached = np.concatenate(([0], np.cumsum(steps)))
    return np.flatnonzero(reached[WINDOW - 1 :][:count] > reached[:count])
