"""The columns of a market that the driver walks: arrays compiled, lists interpreted.

Invariant: ``columns`` makes them, and their points, times and order are those of the tapes that ``run`` walks.
"""

from typing import Final, NamedTuple

POINTS: Final = 4


class Settlements(NamedTuple):
    """The settlements of a market in order: the step in which each happens, its instrument, its stamp and rate."""

    step: list[int]
    instrument: list[int]
    ts_ns: list[int]
    rate_e8: list[int]


class Bars(NamedTuple):
    """Bars as points: ``points[4 x (instrument x rows + row) + phase]`` in ticks, 0 where the instrument has no bar."""

    open_ns: list[int]
    points: list[int]
    rows: int
    length_ns: int


class Trades(NamedTuple):
    """Trades of all instruments in one order, each with the book and the mark known before it."""

    ts_ns: list[int]
    instrument: list[int]
    price_ticks: list[int]
    qty_lots: list[int]
    bid_ticks: list[int]
    ask_ticks: list[int]
    bid_qty_lots: list[int]
    ask_qty_lots: list[int]
    mark_ticks: list[int]


class BarEnds(NamedTuple):
    """The times at which bars end between trades: ``before[e]`` is the trade that comes next.

    ``high_ticks[instrument x count + e]`` and so on are 0 where that instrument has no bar that ends then.
    """

    before: list[int]
    ts_ns: list[int]
    high_ticks: list[int]
    low_ticks: list[int]
    close_ticks: list[int]
    times: int
