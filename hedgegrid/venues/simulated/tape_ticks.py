"""A market of recorded trades: every trade is a step of its own and a jump to its price.

Invariants: steps never go back in time, but several may share a ``ts_ns`` (trades of one millisecond): their
``number`` is their order. A change of the book or of the mark makes no step; it rides on the next trade's point. A
bar, built from the trades, is listed in a step without points at the bar's end, before any trade at or after that
end. The bar in which an instrument's trades begin counts only if the first trade lies on its opening; a bar without
trades carries the close at volume 0; the bar in which the tape ends is not closed and never listed.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from hedgegrid.model.market import Bar, Point, Settlement, Step
from hedgegrid.venues.simulated.arrays import (
    BarArrays,
    FundingArrays,
    IntArray,
    TickArrays,
    content_hash,
)
from hedgegrid.venues.simulated.settlements import Settlements, grouped
from hedgegrid.venues.simulated.tape_bars import IndexedBar, bars_between

_CHUNK_STEPS = 4096


def bars_from_ticks(ticks: TickArrays, bar_length_ns: int, until_ns: int) -> BarArrays:
    """Build the bars that end at or before ``until_ns`` from an instrument's trades, of which there is at least one."""
    first = -(-int(ticks.ts_ns[0]) // bar_length_ns)
    count = max(until_ns // bar_length_ns - first, 0)
    edges = (first + np.arange(count + 1, dtype=np.int64)) * bar_length_ns
    places = np.searchsorted(ticks.ts_ns, edges)
    starts, ends = places[:-1], places[1:]
    empty = starts == ends
    price = np.append(ticks.price_ticks, ticks.price_ticks[-1])
    close = price[ends - 1]
    return BarArrays(
        open_ns=edges[:-1],
        open_ticks=np.where(empty, close, price[starts]),
        high_ticks=np.where(empty, close, np.maximum.reduceat(price, places)[:-1]),
        low_ticks=np.where(empty, close, np.minimum.reduceat(price, places)[:-1]),
        close_ticks=close,
        volume_lots=np.where(empty, 0, np.add.reduceat(np.append(ticks.qty_lots, 0), places)[:-1]),
    )


class TickTape:
    """A Tape over the trades of one or many instruments, merged by time, then instrument, then trade.

    Settlements come from ``funding`` where it knows any, else from what the capture itself saw. ``notes`` are the
    loaders' remarks, for people.
    """

    def __init__(
        self,
        *,
        instruments: Sequence[str],
        ticks: Sequence[TickArrays],
        funding: Sequence[FundingArrays],
        bar_length_ns: int,
    ) -> None:
        if not instruments or not len(instruments) == len(ticks) == len(funding):
            raise ValueError("a tape of trades needs trades and funding for each instrument")
        if not all(len(arrays.ts_ns) for arrays in ticks):
            raise ValueError("a tape of trades needs at least one trade of each instrument")
        if any(np.any(np.diff(arrays.ts_ns) < 0) for arrays in ticks):
            raise ValueError("the trades of an instrument must not go back in time")
        self.instruments = tuple(instruments)
        self.bar_length_ns = bar_length_ns
        self.notes = tuple(note for arrays in ticks for note in arrays.notes)
        settled = [
            series if len(series.ts_ns) else arrays.funding for series, arrays in zip(funding, ticks, strict=True)
        ]
        self._merge(ticks)
        last_ns = int(self._trade_ns[-1])
        self._bars = [bars_from_ticks(arrays, bar_length_ns, last_ns) for arrays in ticks]
        self._number_steps()
        self._funding = Settlements(settled)
        due = self._funding.from_(int(self._step_ns[0]))
        numbers = np.searchsorted(self._step_ns, [row.ts_ns for row in due]).tolist()
        placed = zip(numbers, due, strict=True)
        self._settled = grouped(pair for pair in placed if pair[0] < len(self._step_ns))
        self.identity = content_hash(
            ["ticks", str(bar_length_ns), *self.instruments]
            + [column for arrays in ticks for column in (arrays.ts_ns, *arrays.columns())]
            + [column for series in settled for column in (series.ts_ns, series.rate_e8)]
        )

    def steps(self, first: int) -> Iterator[Step]:
        """Walk the tape from step ``first`` on; ValueError where that is negative."""
        if first < 0:
            raise ValueError(f"steps are counted from 0, not from {first}")
        for start in range(first, len(self._step_ns), _CHUNK_STEPS):
            stop = start + _CHUNK_STEPS
            sources = self._source[start:stop]
            points = iter(self._points(sources[sources >= 0]))
            times = self._step_ns[start:stop].tolist()
            for number, (ts_ns, source) in enumerate(zip(times, sources.tolist(), strict=True), start):
                yield Step(
                    number=number,
                    ts_ns=ts_ns,
                    points=(next(points),) if source >= 0 else (),
                    settlements=self._settled.get(number, ()),
                    bars=() if source >= 0 else self._bars_at(ts_ns),
                )

    def history(self, instrument_index: int, before_ns: int, count: int) -> tuple[Bar, ...]:
        """Give up to ``count`` bars that ended at or before ``before_ns``: none from before the first trade."""
        arrays = self._bars[instrument_index]
        stop = int(np.searchsorted(arrays.open_ns, before_ns - self.bar_length_ns, side="right"))
        return tuple(bars_between(arrays, self.bar_length_ns, max(stop - count, 0), stop))

    def last_rate(self, instrument_index: int, ts_ns: int) -> Settlement | None:
        """Give the last settlement at or before ``ts_ns``, or None where none is known."""
        return self._funding.last(instrument_index, ts_ns)

    def total_steps(self) -> int:
        """Give the number of trades and of times at which a bar ends."""
        return len(self._step_ns)

    def _merge(self, ticks: Sequence[TickArrays]) -> None:
        """Put all trades into one order."""
        trade_ns = np.concatenate([arrays.ts_ns for arrays in ticks])
        owner = np.repeat(np.arange(len(ticks)), [len(arrays.ts_ns) for arrays in ticks])
        order = np.lexsort((owner, trade_ns))
        self._trade_ns: IntArray = trade_ns[order]
        merged = [np.concatenate(columns) for columns in zip(*(t.columns() for t in ticks), strict=True)]
        self._columns: list[IntArray] = [column[order] for column in (owner, *merged)]

    def _number_steps(self) -> None:
        """Number trades and ends of bars: ``_source`` is a trade's row, or -1 for an end."""
        opens = np.unique(np.concatenate([bars.open_ns for bars in self._bars]))
        ends = opens + self.bar_length_ns
        numbers = np.searchsorted(self._trade_ns, ends) + np.arange(len(ends))
        total = len(self._trade_ns) + len(ends)
        is_trade = np.ones(total, np.bool_)
        is_trade[numbers] = False
        self._source: IntArray = np.full(total, -1, np.int64)
        self._source[is_trade] = np.arange(len(self._trade_ns))
        self._step_ns: IntArray = np.empty(total, np.int64)
        self._step_ns[is_trade] = self._trade_ns
        self._step_ns[numbers] = ends

    def _points(self, rows: IntArray) -> list[Point]:
        """Give the trades in ``rows`` as points."""
        columns = [column[rows].tolist() for column in self._columns]
        return [
            Point(
                instrument_index=index,
                price_ticks=price,
                jump=True,
                qty_lots=qty,
                bid_ticks=bid,
                ask_ticks=ask,
                bid_qty_lots=bid_qty,
                ask_qty_lots=ask_qty,
                mark_ticks=mark,
                bar_low_ticks=0,
                bar_high_ticks=0,
            )
            for index, price, qty, bid, ask, bid_qty, ask_qty, mark in zip(*columns, strict=True)
        ]

    def _bars_at(self, end_ns: int) -> tuple[IndexedBar, ...]:
        """Give the bars that end at ``end_ns``, by instrument."""
        open_ns = end_ns - self.bar_length_ns
        found: list[IndexedBar] = []
        for index, arrays in enumerate(self._bars):
            row = int(np.searchsorted(arrays.open_ns, open_ns))
            if row < len(arrays.open_ns) and int(arrays.open_ns[row]) == open_ns:
                found.append((index, bars_between(arrays, self.bar_length_ns, row, row + 1)[0]))
        return tuple(found)
