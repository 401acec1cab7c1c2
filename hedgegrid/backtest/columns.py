"""A market as the columns that the driver walks, made of what the loaders give, without a Python object per row.

Invariants: the points, their times, their order and the step of every settlement are those of the tapes in
``venues.simulated`` (a test compares them), so that a backtest walks what ``run`` walks.
"""

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

from hedgegrid.backtest.tape_columns import POINTS, BarEnds, Bars, Settlements, Trades
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, IntArray, TickArrays
from hedgegrid.venues.simulated.tape_ticks import bars_from_ticks


@attrs.frozen(kw_only=True, eq=False)
class Market:
    """A stretch of a market: bars, or trades with the bars that they make; ``due`` are its settlements.

    ``closed`` are the bars of each instrument, for pictures and figures.
    """

    bars: Bars | None
    trades: Trades | None
    ends: BarEnds | None
    due: Settlements
    closed: tuple[BarArrays, ...]
    last_step_ns: int

    @property
    def rows(self) -> int:
        """The number of bar times, or of trades."""
        if self.bars is not None:
            return self.bars.rows
        assert self.trades is not None
        return len(self.trades.ts_ns)


def _settlements(funding: Sequence[FundingArrays], step_ns: IntArray, after_ns: int) -> Settlements:
    """Place every settlement after ``after_ns`` in the first step at or after it; those after the last are left out."""
    ts_ns = np.concatenate([series.ts_ns for series in funding])
    rate = np.concatenate([series.rate_e8 for series in funding])
    owner = np.repeat(np.arange(len(funding)), [len(series.ts_ns) for series in funding])
    order = np.lexsort((owner, ts_ns))
    ts_ns, rate, owner = ts_ns[order], rate[order], owner[order]
    step = np.searchsorted(step_ns, ts_ns)
    kept = (ts_ns > after_ns) & (step < len(step_ns))
    return Settlements(step=step[kept], instrument=owner[kept], ts_ns=ts_ns[kept], rate_e8=rate[kept])  # type: ignore[arg-type]


def bar_times(bars: Sequence[BarArrays]) -> IntArray:
    """Give the opening times at which any instrument has a bar."""
    opens = bars[0].open_ns
    if any(not np.array_equal(arrays.open_ns, opens) for arrays in bars):
        opens = np.unique(np.concatenate([arrays.open_ns for arrays in bars]))
    return opens


def bars_market(
    bars: Sequence[BarArrays], funding: Sequence[FundingArrays], length_ns: int, after_ns: int = -1
) -> Market:
    """Make a stretch of bars; settlements up to ``after_ns`` belong to an earlier stretch."""
    opens = bar_times(bars)
    points = np.zeros((len(bars), len(opens), POINTS), np.int64)
    for index, arrays in enumerate(bars):
        every = len(arrays.open_ns) == len(opens)
        rows = slice(None) if every else np.searchsorted(opens, arrays.open_ns)
        rises = arrays.close_ticks >= arrays.open_ticks
        points[index, rows, 0] = arrays.open_ticks
        points[index, rows, 1] = np.where(rises, arrays.low_ticks, arrays.high_ticks)
        points[index, rows, 2] = np.where(rises, arrays.high_ticks, arrays.low_ticks)
        points[index, rows, 3] = arrays.close_ticks
    offsets = np.arange(POINTS, dtype=np.int64) * length_ns // POINTS
    step_ns = (opens[:, None] + offsets).reshape(-1)
    first_ns = int(opens[0]) - 1 if after_ns < 0 else after_ns
    return Market(
        bars=Bars(open_ns=opens, points=points.reshape(-1), rows=len(opens), length_ns=length_ns),  # type: ignore[arg-type]
        trades=None,
        ends=None,
        due=_settlements(funding, step_ns, first_ns),
        closed=tuple(bars),
        last_step_ns=int(step_ns[-1]),
    )


def trades_market(ticks: Sequence[TickArrays], funding: Sequence[FundingArrays], length_ns: int) -> Market:
    """Make a whole market of trades, with the bars that end between them."""
    last_ns = max(int(arrays.ts_ns[-1]) for arrays in ticks)
    closed = tuple(bars_from_ticks(arrays, length_ns, last_ns) for arrays in ticks)
    series = [known if len(known.ts_ns) else arrays.funding for known, arrays in zip(funding, ticks, strict=True)]
    return trades_stretch(ticks, closed, series, length_ns, (0, last_ns + 1))


def trades_stretch(
    ticks: Sequence[TickArrays],
    closed: tuple[BarArrays, ...],
    funding: Sequence[FundingArrays],
    length_ns: int,
    span_ns: tuple[int, int],
    after_ns: int = -1,
) -> Market:
    """Make a stretch of trades, merged by time, then instrument, then trade, with the bars that end within it.

    ``closed`` are all bars of each instrument; settlements up to ``after_ns`` belong to an earlier stretch.
    """
    trade_ns = np.concatenate([arrays.ts_ns for arrays in ticks])
    owner = np.repeat(np.arange(len(ticks)), [len(arrays.ts_ns) for arrays in ticks])
    order = np.lexsort((owner, trade_ns))
    trade_ns = trade_ns[order]
    merged = [np.concatenate(parts)[order] for parts in zip(*(one.columns() for one in ticks), strict=True)]
    end_ns = np.unique(np.concatenate([bars.open_ns for bars in closed])) + length_ns
    end_ns = end_ns[(end_ns >= span_ns[0]) & (end_ns < span_ns[1])]
    before = np.searchsorted(trade_ns, end_ns)
    steps = np.empty(len(trade_ns) + len(end_ns), np.int64)
    is_trade = np.ones(len(steps), np.bool_)
    is_trade[before + np.arange(len(end_ns))] = False
    steps[is_trade] = trade_ns
    steps[~is_trade] = end_ns
    return Market(
        bars=None,
        trades=Trades(trade_ns, owner[order], *merged),  # type: ignore[arg-type]
        ends=_ends(closed, end_ns, before, length_ns),
        due=_settlements(funding, steps, int(steps[0]) - 1 if after_ns < 0 else after_ns),
        closed=closed,
        last_step_ns=int(steps[-1]),
    )


def _ends(closed: Sequence[BarArrays], end_ns: IntArray, before: IntArray, length_ns: int) -> BarEnds:
    """Lay out the bars that end at each of these times."""
    high, low, close = (np.zeros((len(closed), len(end_ns)), np.int64) for _ in range(3))
    for index, bars in enumerate(closed):
        ends = bars.open_ns + length_ns
        rows = np.flatnonzero(np.isin(ends, end_ns))
        places = np.searchsorted(end_ns, ends[rows])
        high[index, places] = bars.high_ticks[rows]
        low[index, places] = bars.low_ticks[rows]
        close[index, places] = bars.close_ticks[rows]
    flat = (high.reshape(-1), low.reshape(-1), close.reshape(-1))
    return BarEnds(before, end_ns, *flat, len(end_ns))  # type: ignore[arg-type]


def as_lists(columns: Any) -> Any:  # noqa: ANN401 - any of the columns' kinds, and the same comes back
    """Give columns for the interpreted execution: plain Python numbers in lists."""
    if columns is None:
        return None
    return type(columns)(*(part.tolist() if isinstance(part, np.ndarray) else part for part in columns))
