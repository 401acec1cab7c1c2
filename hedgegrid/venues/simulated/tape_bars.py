"""A market of recorded bars: every bar is four points, of which only the first is a jump.

Invariants: step ``4 x i + phase`` is point ``phase`` of bar time ``i``, so any step can be reached at once;
instruments with a bar at that time have a point each, in the order of the instruments, the others have none; a bar is
listed in the step of its last point and never earlier. Points lie at the bar's start plus 0, 1/4, 1/2 and 3/4 of its
nominal length.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

import numpy as np

from hedgegrid.model.market import Bar, Point, Settlement, Step
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, IntArray, content_hash
from hedgegrid.venues.simulated.settlements import BY_STEP, Settlements, grouped

POINTS = 4
_CHUNK_BARS = 1024

IndexedBar = tuple[int, Bar]


def path_of(bar: Bar) -> tuple[int, int, int, int]:
    """Give the four prices of a bar in the order in which they are met: the far end first."""
    if bar.close_ticks >= bar.open_ticks:
        return bar.open_ticks, bar.low_ticks, bar.high_ticks, bar.close_ticks
    return bar.open_ticks, bar.high_ticks, bar.low_ticks, bar.close_ticks


def point_offsets(bar_length_ns: int) -> tuple[int, int, int, int]:
    """Give the times of a bar's four points after its opening."""
    return 0, bar_length_ns // 4, bar_length_ns // 2, 3 * bar_length_ns // 4


def bars_between(arrays: BarArrays, bar_length_ns: int, start: int, stop: int) -> list[Bar]:
    """Give the rows ``start`` to ``stop`` (excluded) as bars."""
    opens = arrays.open_ns[start:stop].tolist()
    columns = [column[start:stop].tolist() for column in arrays.columns()]
    return [
        Bar(
            open_ns=open_ns,
            length_ns=bar_length_ns,
            open_ticks=first,
            high_ticks=high,
            low_ticks=low,
            close_ticks=close,
            volume_lots=volume,
        )
        for open_ns, first, high, low, close, volume in zip(opens, *columns, strict=True)
    ]


def steps_of_bar(
    number: int,
    open_ns: int,
    offsets: tuple[int, int, int, int],
    bars: tuple[IndexedBar, ...],
    settlements: BY_STEP,
) -> list[Step]:
    """Give the four steps of one bar time; ``number`` is that of the first."""
    paths = [(index, path_of(bar), bar.low_ticks, bar.high_ticks) for index, bar in bars]
    steps = []
    for phase in range(POINTS):
        points = []
        for index, path, low, high in paths:
            price = path[phase]
            points.append(
                Point(
                    instrument_index=index,
                    price_ticks=price,
                    jump=phase == 0,
                    qty_lots=0,
                    bid_ticks=price,
                    ask_ticks=price,
                    bid_qty_lots=0,
                    ask_qty_lots=0,
                    mark_ticks=price,
                    bar_low_ticks=low,
                    bar_high_ticks=high,
                )
            )
        steps.append(
            Step(
                number=number + phase,
                ts_ns=open_ns + offsets[phase],
                points=tuple(points),
                settlements=settlements.get(number + phase, ()),
                bars=bars if phase == POINTS - 1 else (),
            )
        )
    return steps


def place_on_bars(
    opens: Sequence[int],
    offsets: tuple[int, int, int, int],
    number: int,
    settlements: Sequence[Settlement],
) -> BY_STEP:
    """Give each settlement its step among the bars that open at ``opens``, the first step of which is ``number``.

    One from before the first step rides in it, one from after the last step in none.
    """
    placed: list[tuple[int, Settlement]] = []
    for settlement in settlements:
        row = bisect_left(opens, settlement.ts_ns - offsets[-1])
        if row == len(opens):
            continue
        phase = bisect_left(offsets, settlement.ts_ns - opens[row])
        placed.append((number + POINTS * row + phase, settlement))
    return grouped(placed)


class BarTape:
    """A Tape over the bars of one or many instruments of one timeframe. A gap is one jump.

    A settlement from before the first step happens in none of them. ``notes`` are the loaders' remarks, for people.
    """

    def __init__(
        self,
        *,
        instruments: Sequence[str],
        bars: Sequence[BarArrays],
        funding: Sequence[FundingArrays],
        bar_length_ns: int,
    ) -> None:
        if not instruments or not len(instruments) == len(bars) == len(funding):
            raise ValueError("a tape of bars needs bars and funding for each of its instruments")
        if any(np.any(np.diff(arrays.open_ns) <= 0) for arrays in bars):
            raise ValueError("the bars of an instrument must be in growing order of time")
        self.instruments = tuple(instruments)
        self.bar_length_ns = bar_length_ns
        self.notes = tuple(note for arrays in bars for note in arrays.notes)
        self._bars = tuple(bars)
        self._offsets = point_offsets(bar_length_ns)
        self._opens = np.unique(np.concatenate([arrays.open_ns for arrays in bars]))
        if not len(self._opens):
            raise ValueError("a tape of bars needs at least one bar")
        if np.any(self._opens % bar_length_ns):
            raise ValueError("every bar of a tape opens on a whole multiple of its length")
        self._rows = tuple(_rows(self._opens, arrays.open_ns) for arrays in bars)
        self._funding = Settlements(funding)
        opens = self._opens.tolist()
        self._settled = place_on_bars(opens, self._offsets, 0, self._funding.from_(opens[0]))
        self.identity = content_hash(
            ["bars", str(bar_length_ns), *self.instruments]
            + [column for arrays in bars for column in (arrays.open_ns, *arrays.columns())]
            + [column for series in funding for column in (series.ts_ns, series.rate_e8)]
        )

    def steps(self, first: int) -> Iterator[Step]:
        """Walk the tape from step ``first`` on; ValueError where that is negative."""
        if first < 0:
            raise ValueError(f"steps are counted from 0, not from {first}")
        row, phase = divmod(first, POINTS)
        for start in range(row, len(self._opens), _CHUNK_BARS):
            number = POINTS * start
            opens = self._opens[start : start + _CHUNK_BARS].tolist()
            for open_ns, bars in zip(opens, self._indexed_bars(start, len(opens)), strict=True):
                steps = steps_of_bar(number, open_ns, self._offsets, bars, self._settled)
                yield from steps[phase:]
                phase = 0
                number += POINTS

    def history(self, instrument_index: int, before_ns: int, count: int) -> tuple[Bar, ...]:
        """Give up to ``count`` bars that ended at or before ``before_ns``: none from before the first bar."""
        arrays = self._bars[instrument_index]
        stop = int(np.searchsorted(arrays.open_ns, before_ns - self.bar_length_ns, side="right"))
        return tuple(bars_between(arrays, self.bar_length_ns, max(stop - count, 0), stop))

    def last_rate(self, instrument_index: int, ts_ns: int) -> Settlement | None:
        """Give the last settlement at or before ``ts_ns``, from before the tape's start too."""
        return self._funding.last(instrument_index, ts_ns)

    def total_steps(self) -> int:
        """Give four times the number of bar times."""
        return POINTS * len(self._opens)

    def _indexed_bars(self, start: int, count: int) -> list[tuple[IndexedBar, ...]]:
        """Give the bars of each of ``count`` bar times, each with its instrument's index."""
        chunks: list[list[IndexedBar]] = [[] for _ in range(count)]
        for index, (arrays, rows) in enumerate(zip(self._bars, self._rows, strict=True)):
            places = np.flatnonzero(rows[start : start + count] >= 0)
            if not len(places):
                continue
            first = int(rows[start + places[0]])
            bars = bars_between(arrays, self.bar_length_ns, first, first + len(places))
            for place, bar in zip(places.tolist(), bars, strict=True):
                chunks[place].append((index, bar))
        return [tuple(chunk) for chunk in chunks]


def _rows(opens: IntArray, open_ns: IntArray) -> IntArray:
    """Give for each bar time the row of an instrument's bar, or -1 where it has none."""
    rows = np.full(len(opens), -1, np.int64)
    rows[np.searchsorted(opens, open_ns)] = np.arange(len(open_ns))
    return rows
