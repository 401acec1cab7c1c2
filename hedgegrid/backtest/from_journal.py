"""The market that a run saw, as its journal recorded it, in the columns that the driver walks.

What makes the market:

- ``bars``: the closed bars, which a journal always holds. A run on recorded bars walked nothing else, so its fills come
  out the same. A bar that had not closed when the run ended (a liquidation, a stop) is its points at which orders
  changed; between those nothing filled.
- ``quotes``: the best bids and asks and the marks, where ``journal.record_quotes`` kept them, each a jump. A quote has
  no trade in it: the price moves only as far as bid and ask push it, and what traded, and how much, is not known.
  Where the oldest quotes are gone by rotation, closed bars stand in for them.
- ``auto``: ``bars`` where the run walked bars or nothing else was kept, else ``quotes``.

Invariant: quotes stream; at any time only one stretch of them is held.
"""

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

import attrs
import numpy as np

from hedgegrid.backtest import columns
from hedgegrid.backtest.recorded_run import QUOTE_CELLS, RecordedRun, bar_arrays, quote_points
from hedgegrid.backtest.stretches import ROWS_AT_ONCE, joined_bars
from hedgegrid.backtest.tape_columns import POINTS as POINTS_OF_BAR
from hedgegrid.errors import Fatal
from hedgegrid.model.market import Bar
from hedgegrid.venues.simulated.arrays import BarArrays, TickArrays, content_hash, no_funding

AUTO: Final = "auto"
BARS: Final = "bars"
QUOTES: Final = "quotes"
POINTS: Final = (AUTO, BARS, QUOTES)
"""What the points of the market are made of."""


@attrs.frozen(kw_only=True, eq=False)
class JournalMarket:
    """The market of a recorded run, to be walked as often as asked.

    ``history`` are bars from before the run that its indicators had (none where not known). ``points`` is ``bars`` or
    ``quotes``, never ``auto``.
    """

    run: RecordedRun
    points: str
    history: tuple[BarArrays, ...] = ()
    rows_at_once: int = ROWS_AT_ONCE

    @property
    def is_ticks(self) -> bool:
        """Whether the market is walked point by point."""
        return self.points == QUOTES

    @property
    def decide_from_ns(self) -> int:
        """Where decisions begin: history only warms up, also the bar of it that ends as the run begins."""
        begins_with_quotes = self.is_ticks and not any(len(one.open_ns) for one in self._before_quotes())
        return self.run.start_ns + (1 if begins_with_quotes else 0)

    @property
    def rows(self) -> int:
        """About how many rows will be walked."""
        return self.run.quotes if self.is_ticks else max(len(one.open_ns) for one in self.run.bars)

    @property
    def identity(self) -> str:
        """A hash over the tape that all of this is read from."""
        return content_hash(["journal", self.run.chain, self.points, *(one.name for one in self.run.instruments)])

    def notes(self) -> Iterator[str]:
        """Say in a line what the points are, and what is lost by that."""
        run = self.run
        if self.points == QUOTES:
            yield "points: recorded quotes and marks; what traded between them, and how much, is lost"
            if run.first_quote_ns >= run.start_ns + run.length_ns:
                yield "the oldest quotes are gone by rotation: closed bars stand in for them"
            if run.walked_bars:
                yield "the run walked bars: as points every move is a jump and a bar decides a quarter later"
        elif run.walked_bars:
            yield "points: closed bars, which is what the run walked: nothing is lost"
        else:
            yield (
                "points: closed bars alone; the path of the price inside a bar, the spread, the mark and the time of "
                "each move are lost (journal.record_quotes keeps the quotes)"
            )

    def stretches(self) -> Iterator[columns.Market]:
        """Walk the market. Fatal where the journal has gone bad since it was opened."""
        if self.points == BARS:
            yield self._of_bars(self.run.bars, self.run.last_points)
            return
        before = self._before_quotes()
        after_ns = -1
        if any(len(one.open_ns) for one in before):
            market = self._of_bars(before, ())
            after_ns = market.last_step_ns
            # Only the first stretch's bars are kept for pictures: they are all bars.
            yield attrs.evolve(market, closed=self._whole())
        yield from self._of_quotes(after_ns)

    def _whole(self) -> tuple[BarArrays, ...]:
        """Give history and bars."""
        if not self.history:
            return self.run.bars
        return tuple(joined_bars(pair) for pair in zip(self.history, self.run.bars, strict=True))

    def _before_quotes(self) -> tuple[BarArrays, ...]:
        """Give the bars that had ended when the first kept quote came."""
        found = []
        for one in self.run.bars:
            count = int(np.searchsorted(one.open_ns, self.run.first_quote_ns - self.run.length_ns, side="right"))
            found.append(joined_bars([_rows_of(one, count)]))
        return tuple(found)

    def _of_bars(self, bars: Sequence[BarArrays], last_points: Sequence[tuple[int, int, int]]) -> columns.Market:
        """Lay bars out, after history and before what is known of the bar that did not close."""
        run = self.run
        history = self.history or tuple(joined_bars([]) for _ in bars)
        whole = [joined_bars(pair) for pair in zip(history, bars, strict=True)]
        opened_ns = max(int(one.open_ns[-1]) for one in bars if len(one.open_ns)) + run.length_ns
        path = _unfinished(whole, last_points, opened_ns, run.length_ns)
        if path is None:
            market = columns.bars_market(whole, run.funding, run.length_ns)
        else:
            flat = [joined_bars([one, _flat(opened_ns, prices[0])]) for one, prices in zip(whole, path, strict=True)]
            market = columns.bars_market(flat, run.funding, run.length_ns)
            assert market.bars is not None
            np.asarray(market.bars.points).reshape(len(whole), -1, len(path[0]))[:, -1, :] = path
        return attrs.evolve(market, closed=tuple(whole))

    def _of_quotes(self, after_ns: int) -> Iterator[columns.Market]:
        """Lay quotes out in stretches that end with a bar, so that each end of a bar has its place in one of them."""
        run, length_ns = self.run, self.run.length_ns
        begin = 0 if after_ns < 0 else run.first_quote_ns // length_ns * length_ns + 1
        cells, bar_no = array("q"), -1
        for point in quote_points(run):
            if len(cells) >= self.rows_at_once * QUOTE_CELLS and point[0] // length_ns != bar_no:
                end = (bar_no + 1) * length_ns
                market = self._stretch(cells, (begin, end), after_ns)
                begin, after_ns, cells = end, market.last_step_ns, array("q")
                yield market
            cells.extend(point)
            bar_no = point[0] // length_ns
        if cells:
            yield self._stretch(cells, (begin, run.last_ns + 1), after_ns)

    def _stretch(self, cells: "array[int]", span_ns: tuple[int, int], after_ns: int) -> columns.Market:
        table = np.frombuffer(cells, np.int64).reshape(-1, QUOTE_CELLS)
        ticks = [_ticks(table[table[:, 1] == index]) for index in range(len(self.run.instruments))]
        return columns.trades_stretch(ticks, self._whole(), self.run.funding, self.run.length_ns, span_ns, after_ns)


def market_of(run: RecordedRun, points: str, history: tuple[BarArrays, ...] = ()) -> JournalMarket:
    """Choose the points. Fatal where quotes are asked for and none were kept."""
    if points == QUOTES and run.quotes == 0:
        raise Fatal(f"{run.path} holds no quotes: a run keeps them with journal.record_quotes = true; or --points bars")
    if points == AUTO:
        points = BARS if run.walked_bars or run.quotes == 0 else QUOTES
    return JournalMarket(run=run, points=points, history=history)


def _ticks(table: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> TickArrays:
    """Give points as trades of no known quantity, in a book of no known size."""
    none = np.zeros(len(table), np.int64)
    return TickArrays(
        ts_ns=table[:, 0].copy(),
        price_ticks=table[:, 2].copy(),
        qty_lots=none,
        bid_ticks=table[:, 3].copy(),
        ask_ticks=table[:, 4].copy(),
        bid_qty_lots=none,
        ask_qty_lots=none,
        mark_ticks=table[:, 5].copy(),
        funding=no_funding(),
    )


def _rows_of(bars: BarArrays, count: int) -> BarArrays:
    """Give the first bars."""
    names = [field.name for field in attrs.fields(BarArrays) if field.name != "notes"]
    return BarArrays(**{name: getattr(bars, name)[:count] for name in names})


def _flat(open_ns: int, price: int) -> BarArrays:
    """Give one bar that does not move."""
    return bar_arrays(
        [
            Bar(
                open_ns=open_ns,
                length_ns=0,
                open_ticks=price,
                high_ticks=price,
                low_ticks=price,
                close_ticks=price,
                volume_lots=0,
            )
        ]
    )


def _unfinished(
    bars: Sequence[BarArrays], last_points: Sequence[tuple[int, int, int]], opened_ns: int, length_ns: int
) -> list[list[int]] | None:
    """Give each instrument's four prices of the bar that did not close, carried where not known; None without any."""
    known = {
        (index, (ts_ns - opened_ns) * POINTS_OF_BAR // length_ns): mark
        for index, ts_ns, mark in last_points
        if opened_ns <= ts_ns < opened_ns + length_ns
    }
    if not known:
        return None
    path = []
    for index, one in enumerate(bars):
        price = int(one.close_ticks[-1])
        prices = []
        for phase in range(POINTS_OF_BAR):
            price = known.get((index, phase), price)
            prices.append(price)
        path.append(prices)
    return path
