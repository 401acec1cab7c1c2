"""What was known before each of a series of moments, from a stream of later and later rows.

Invariants: a moment sees only rows strictly before it, so that what a trade itself caused is never taken for what was
known when it happened; rows older than the limit count as not known; one block of rows is in memory at a time.
"""

from collections.abc import Iterator

import attrs
import numpy as np
from numpy.typing import NDArray

from hedgegrid.venues.simulated.arrays import IntArray

UNKNOWN = -1
"""What stands where no row was known."""

Block = tuple[IntArray, NDArray[np.int64]]
"""Ascending times, and one row of figures for each column of those times."""


@attrs.define(kw_only=True, eq=False)
class AsOf:
    """Walks blocks of rows once, in step with moments that ascend from call to call. Ages are in ns."""

    blocks: Iterator[Block]
    width: int
    age_max_ns: int
    _times: IntArray = attrs.field(init=False, factory=lambda: np.empty(0, np.int64))
    _figures: NDArray[np.int64] = attrs.field(init=False)
    _ended: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._figures = np.empty((self.width, 0), np.int64)

    def before(self, moments: IntArray) -> NDArray[np.int64]:
        """Give for each moment the figures of the last row before it, ``UNKNOWN`` where there is none young enough."""
        known = np.full((self.width, len(moments)), UNKNOWN, np.int64)
        start = 0
        while start < len(moments):
            stop = len(moments)
            if not self._ended:
                last = self._times[-1] if len(self._times) else np.iinfo(np.int64).min
                stop = int(np.searchsorted(moments, last, side="right"))
            if stop > start:
                self._fill(known, moments, start, stop)
                start = stop
            if start < len(moments):
                self._advance()
        return known

    def _fill(self, known: NDArray[np.int64], moments: IntArray, start: int, stop: int) -> None:
        asked = moments[start:stop]
        place = np.searchsorted(self._times, asked, side="left") - 1
        found = place >= 0
        if found.all() and (asked - self._times[place] <= self.age_max_ns).all():
            known[:, start:stop] = self._figures.take(place, axis=1)
            return
        rows = place[found]
        young = asked[found] - self._times[rows] <= self.age_max_ns
        targets = start + np.flatnonzero(found)[young]
        known[:, targets] = self._figures[:, rows[young]]

    def _advance(self) -> None:
        """Take the next block, keeping the last row: the next moment may still see it."""
        block = next(self.blocks, None)
        if block is None:
            self._ended = True
            return
        times, figures = block
        self._times = np.concatenate((self._times[-1:], times))
        self._figures = np.concatenate((self._figures[:, -1:], figures), axis=1)
