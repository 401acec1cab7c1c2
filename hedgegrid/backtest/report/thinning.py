"""Fewer points that tell the same story: what a picture keeps of rows by the hundred thousand.

Invariants: an extreme is never lost (every bucket keeps its lowest, highest and last row); no value is made up, and a
mean is told apart by its name; what is left out is counted, so that the page can say so.
"""

from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from hedgegrid.units import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE
from hedgegrid.venues.simulated.arrays import BarArrays

Ints = NDArray[np.int64]

READABLE_NS: Final = (
    *(minutes * NS_PER_MINUTE for minutes in (1, 2, 3, 5, 10, 15, 30)),
    *(hours * NS_PER_HOUR for hours in (1, 2, 3, 4, 6, 8, 12)),
    *(days * NS_PER_DAY for days in (1, 2, 7, 14, 28)),
)
"""Lengths that people think in."""


@attrs.frozen(kw_only=True, eq=False)
class Candles:
    """Bars of one length: when each begins (ns), and open, high, low and close in ticks."""

    length_ns: int
    ts_ns: Ints
    open_ticks: Ints
    high_ticks: Ints
    low_ticks: Ints
    close_ticks: Ints


def bucket_length_ns(span_ns: int, shortest_ns: int, most: int) -> int:
    """Give the shortest readable length, not below ``shortest_ns``, of which at most ``most`` cover ``span_ns``."""
    needed_ns = -(-span_ns // most)
    if needed_ns <= shortest_ns:
        return shortest_ns
    for length_ns in READABLE_NS:
        if length_ns >= needed_ns and length_ns % shortest_ns == 0:
            return length_ns
    return -(-needed_ns // shortest_ns) * shortest_ns


def candles(bars: BarArrays, bar_ns: int, most: int) -> Candles:
    """Join bars to at most about ``most``, aligned to the clock; the extremes of each are those of its bars."""
    if len(bars.open_ns) == 0:
        empty = np.zeros(0, np.int64)
        return Candles(
            length_ns=bar_ns, ts_ns=empty, open_ticks=empty, high_ticks=empty, low_ticks=empty, close_ticks=empty
        )
    span_ns = int(bars.open_ns[-1] - bars.open_ns[0]) + bar_ns
    length_ns = bucket_length_ns(span_ns, bar_ns, most)
    bucket = bars.open_ns // length_ns
    first = np.concatenate(([0], np.flatnonzero(np.diff(bucket)) + 1))
    last = np.concatenate((first[1:] - 1, [len(bucket) - 1]))
    return Candles(
        length_ns=length_ns,
        ts_ns=bucket[first] * length_ns,
        open_ticks=bars.open_ticks[first],
        high_ticks=np.maximum.reduceat(bars.high_ticks, first),
        low_ticks=np.minimum.reduceat(bars.low_ticks, first),
        close_ticks=bars.close_ticks[last],
    )


def envelope(values: Ints, most_buckets: int) -> Ints:
    """Give the rows that a line keeps: the first, and each bucket's lowest, highest and last, ascending."""
    rows = len(values)
    if rows <= 3 * most_buckets:
        return np.arange(rows, dtype=np.int64)
    width = -(-rows // most_buckets)
    whole = rows // width
    block = values[: whole * width].reshape(whole, width)
    begin = np.arange(whole, dtype=np.int64) * width
    is_kept = np.zeros(rows, np.bool_)
    is_kept[0] = is_kept[-1] = True
    for kept in (begin + block.argmin(axis=1), begin + block.argmax(axis=1), begin + width - 1):
        is_kept[kept] = True
    if whole * width < rows:
        tail = values[whole * width :]
        is_kept[whole * width + int(tail.argmin())] = is_kept[whole * width + int(tail.argmax())] = True
    return np.flatnonzero(is_kept)


def steps(values: Ints) -> Ints:
    """Give the rows at which a staircase changes, each with the row before it, and both ends."""
    is_kept = np.zeros(len(values), np.bool_)
    changed = values[1:] != values[:-1]
    is_kept[1:] = changed
    is_kept[:-1] |= changed
    is_kept[:1] = is_kept[-1:] = True
    return np.flatnonzero(is_kept)


@attrs.frozen(kw_only=True, eq=False)
class Stretches:
    """Equal stretches of a staircase: the row at which each begins, its lowest, highest and (rounded) mean value."""

    first: Ints
    low: Ints
    high: Ints
    mean: Ints


def stretches(values: Ints, most: int) -> Stretches:
    """Divide rows, of which there is one at least, into at most ``most`` stretches of as many rows each."""
    width = -(-len(values) // most)
    first = np.arange(0, len(values), width, dtype=np.int64)
    rows = np.diff(np.append(first, len(values)))
    mean = np.rint(np.add.reduceat(values.astype(np.float64), first) / rows).astype(np.int64)
    return Stretches(
        first=first, low=np.minimum.reduceat(values, first), high=np.maximum.reduceat(values, first), mean=mean
    )


def spread(count: int, most: int) -> Ints:
    """Give at most ``most`` of ``count`` rows, evenly, with the first and the last."""
    if count <= most:
        return np.arange(count, dtype=np.int64)
    return np.unique(np.linspace(0, count - 1, most).astype(np.int64))


def keep_rare(is_rare: NDArray[np.bool_], most: int) -> Ints:
    """Give at most ``most`` rows: the rare ones first (evenly where even they are too many), then the others evenly."""
    rare, usual = np.flatnonzero(is_rare), np.flatnonzero(~is_rare)
    rare = rare[spread(len(rare), most)]
    room = most - len(rare)
    usual = usual[spread(len(usual), room)] if room > 0 else usual[:0]
    return np.sort(np.concatenate((rare, usual)))
