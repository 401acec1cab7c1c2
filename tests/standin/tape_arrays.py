"""Recorded bars for tests, from a few rows."""

from collections.abc import Sequence

import numpy as np

from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.venues.simulated.arrays import BarArrays, IntArray


def bars_of(rows: Sequence[tuple[int, int, int, int, int]]) -> BarArrays:
    """Make bars from rows of minute, open, high, low, close; each trades 7 lots."""

    def column(place: int) -> IntArray:
        return np.array([row[place] for row in rows], np.int64)

    return BarArrays(
        open_ns=column(0) * NS_PER_MINUTE,
        open_ticks=column(1),
        high_ticks=column(2),
        low_ticks=column(3),
        close_ticks=column(4),
        volume_lots=np.full(len(rows), 7, np.int64),
    )
