"""How far the price went against a round trip and with it: MAE and MFE.

Invariants: an excursion is never negative, and reaches at least to the trip's own exits; the prices that count are the
path's points after the entry's fill and before the last exit's (a fill carries the time of the point where its move
ends), so on bars the figure is the model's own, and on trades, whose path inside a bar the bars do not tell, it is
true to a quarter of a bar. Nothing is walked bar by bar in Python: ranges are answered for all trips at once.
"""

import attrs
import numpy as np

from hedgegrid.backtest.result import BacktestResult, Rows
from hedgegrid.core.codes import LONG
from hedgegrid.venues.simulated.arrays import BarArrays, FloatArray, IntArray

_POINTS = 4
"""Points of a bar."""


@attrs.frozen(kw_only=True, eq=False)
class Excursions:
    """By trip, in ticks from the entry: ``adverse_ticks`` (MAE) and ``favourable_ticks`` (MFE), with what they mean.

    ``*_bps`` are relative to the entry's price; ``*_e8`` are of the whole lot, in quote x 1e8.
    """

    adverse_ticks: IntArray
    favourable_ticks: IntArray
    adverse_bps: FloatArray
    favourable_bps: FloatArray
    adverse_e8: IntArray
    favourable_e8: IntArray


def excursions(result: BacktestResult, trips: Rows) -> Excursions:
    """Give the excursions of all trips, in their order."""
    lowest = np.minimum(trips["entry_ticks"], trips["exit_low_ticks"])
    highest = np.maximum(trips["entry_ticks"], trips["exit_high_ticks"])
    for index, bars in enumerate(result.bars):
        mine = np.flatnonzero(trips["instrument"] == index)
        if not len(mine) or not len(bars.open_ns):
            continue
        low, high = _path_range(bars, result.bar_length_ns, trips["opened_ns"][mine], trips["closed_ns"][mine])
        lowest[mine] = np.minimum(lowest[mine], low)
        highest[mine] = np.maximum(highest[mine], high)
    below, above = trips["entry_ticks"] - lowest, highest - trips["entry_ticks"]
    is_long = trips["leg"] == LONG
    adverse, favourable = np.where(is_long, below, above), np.where(is_long, above, below)
    units = np.array([one.unit_e8 for one in result.instruments], np.int64)[trips["instrument"]]
    return Excursions(
        adverse_ticks=adverse,
        favourable_ticks=favourable,
        adverse_bps=adverse * 1e4 / trips["entry_ticks"],
        favourable_bps=favourable * 1e4 / trips["entry_ticks"],
        adverse_e8=adverse * trips["qty_lots"] * units,
        favourable_e8=favourable * trips["qty_lots"] * units,
    )


def _path_range(bars: BarArrays, length_ns: int, opened_ns: IntArray, closed_ns: IntArray) -> tuple[IntArray, IntArray]:
    """Give the lowest and highest point from the entry's point up to the one before the last exit's."""
    first = _point_at(bars, length_ns, opened_ns)
    last = np.maximum(first, _point_at(bars, length_ns, closed_ns) - 1)
    low, high = _point_price(bars, first), _point_price(bars, first)
    for step in range(1, _POINTS):
        # The rest of the entry's bar, and what came of the exit's (whose open lies between its low and its high).
        for point in (np.minimum(first + step, last), np.maximum(last - step + 1, first)):
            price = _point_price(bars, point)
            low, high = np.minimum(low, price), np.maximum(high, price)
    begin, end = first // _POINTS + 1, last // _POINTS
    whole = np.flatnonzero(begin < end)
    if len(whole):
        low[whole] = np.minimum(low[whole], range_least(bars.low_ticks, begin[whole], end[whole]))
        high[whole] = np.maximum(high[whole], -range_least(-bars.high_ticks, begin[whole], end[whole]))
    return low, high


def _point_at(bars: BarArrays, length_ns: int, ts_ns: IntArray) -> IntArray:
    """Give the number of the last point at or before a time; points are counted through all bars."""
    bar = np.maximum(np.searchsorted(bars.open_ns, ts_ns, side="right") - 1, 0)
    quarter = np.clip((ts_ns - bars.open_ns[bar]) // max(1, length_ns // _POINTS), 0, _POINTS - 1)
    points: IntArray = bar * _POINTS + quarter
    return points


def _point_price(bars: BarArrays, point: IntArray) -> IntArray:
    """Give the prices of points: O-L-H-C where the close is at or above the open, else O-H-L-C."""
    bar, quarter = point // _POINTS, point % _POINTS
    rising = bars.close_ticks[bar] >= bars.open_ticks[bar]
    low, high = bars.low_ticks[bar], bars.high_ticks[bar]
    prices: IntArray = np.choose(
        quarter, (bars.open_ticks[bar], np.where(rising, low, high), np.where(rising, high, low), bars.close_ticks[bar])
    )
    return prices


def range_least(values: IntArray, begin: IntArray, end: IntArray) -> IntArray:
    """Give the least of ``values[begin:end]`` for many ranges (each at least one long), in O(n log n + ranges).

    A range of length m is two overlapping ones of 2^k, the largest power within m. Only the level at work is kept, so
    memory stays at one column.
    """
    found = np.empty(len(begin), np.int64)
    level_of = np.frexp((end - begin).astype(np.float64))[1] - 1
    level, width = values, 1
    for k in range(int(level_of.max(initial=-1)) + 1):
        mine = np.flatnonzero(level_of == k)
        found[mine] = np.minimum(level[begin[mine]], level[end[mine] - width])
        if len(level) > width:
            level = np.minimum(level[:-width], level[width:])
        width *= 2
    return found
