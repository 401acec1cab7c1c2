"""What a backtest leaves behind: plain columns, from which every figure, file and picture is made.

Invariants: money is in quote x 1e8, prices in ticks, quantities in lots, times in ns, all int64 (codes and counts of
orders are narrower); rows stand in the
order in which things happened; a table says what happened and nothing is derived here (``figures`` derives).
"""

from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from hedgegrid.backtest.rows import PlacedRow
from hedgegrid.core.records import dtype_of
from hedgegrid.model.instrument import Instrument
from hedgegrid.venues.simulated.arrays import BarArrays

Rows = NDArray[np.void]


def _layout(names: str) -> np.dtype[np.void]:
    """Give the dtype of a table whose columns are all int64."""
    return np.dtype([(name, "i8") for name in names.split()])


FILL: Final = _layout(
    "ts_ns instrument leg purpose level generation price_ticks qty_lots fee_e8 maker realised_e8 no trade_id"
)
"""A fill. ``instrument`` is an index; ``leg`` and ``purpose`` are codes of ``core.codes``; ``level`` and
``generation`` are -1 for an exit of several lots; ``realised_e8`` is 0 for entries; ``no`` is the order's number, 0 at
a liquidation; an entry's ``trade_id`` is the id of the lot that it opened."""

CUT: Final = _layout("fill lot_id instrument qty_lots")
"""The part of a lot that an exit closed: ``fill`` is the row of the exit's fill."""

ORDER: Final = dtype_of(PlacedRow)
"""An order that was decided. ``ended_ns`` is 0 and ``outcome`` OPEN while it rests at the end; ``control`` is the
gate's code (``core.risk.CONTROL_NAMES``) where it was refused, else 0."""

EQUITY: Final = _layout("ts_ns wallet_e8 unrealised_e8 realised_e8 fees_e8 funding_e8")
"""The account at a decision: equity = wallet + unrealised; the sums are since the start."""

HOLDING: Final = _layout("mark_ticks long_lots long_cost_e8 short_lots short_cost_e8")
"""What one instrument held at a decision; the table is (decisions, instruments)."""

FUNDING: Final = _layout("ts_ns instrument rate_e8 mark_ticks long_e8 short_e8")
"""A settlement: what it cost each leg (negative: received)."""

GRID: Final = _layout("ts_ns instrument regime center_ticks step_micro generation")
"""A grid's center, step (millionths of a tick) or regime changed."""

PAUSE: Final = _layout("ts_ns reason instrument change value limit")
"""A pause came or went. ``reason`` is a code of ``core.standing``; ``instrument`` is -1 for the account; ``change`` is
RAISED, RECOVERING, CLEARED, FLATTEN_STARTED or FLATTEN_DONE; ``value`` and ``limit`` are the figures of a session
control in its own unit (quote x 1e8 or ppm), else 0."""

OPEN: Final = 0
FILLED: Final = 1
CANCELLED: Final = 2
REJECTED: Final = 3
"""Post-only, and it would have taken."""
ENDED_BY_EXIT: Final = 4
"""The lot's other exit filled."""
LIQUIDATED: Final = 5
REFUSED: Final = 6
"""By the risk gate: it was never sent."""
NOTHING_LEFT: Final = 7
"""A close-everything stop, or a reduction, that found nothing to close."""
OUTCOME_NAMES: Final = (
    "open",
    "filled",
    "cancelled",
    "rejected",
    "ended_by_exit",
    "liquidated",
    "refused",
    "nothing_left",
)


@attrs.frozen(kw_only=True, eq=False)
class Extremes:
    """Equity at every point (not only at decisions), in quote x 1e8: the deepest fall and the longest.

    ``drawdown_ppm`` is the largest (peak - trough) / peak, found between ``peak_ns`` and ``trough_ns``;
    ``longest_ns`` the longest time from a peak to its recovery, or to the end.
    """

    peak_e8: int
    peak_ns: int
    trough_e8: int
    trough_ns: int
    drawdown_ppm: int
    longest_ns: int
    least_equity_e8: int


@attrs.frozen(kw_only=True, eq=False)
class BacktestResult:
    """One run. Tables are indexed by the dtypes above.

    ``bars`` are the market's bars by instrument (built from trades on a tape of trades), for pictures and for what
    needs the prices between two fills. ``bar_length_ns`` is the decision's timeframe. ``points`` counts what the driver
    walked (four a bar, one a trade). ``liquidated_ns`` is 0 where the account survived. ``below_minimum`` counts rungs
    that were dropped since the exchange would not take them. ``notes`` are what a person should know of the data.
    """

    instruments: tuple[Instrument, ...]
    initial_wallet_e8: int
    start_ns: int
    end_ns: int
    bar_length_ns: int
    is_ticks: bool
    points: int
    fills: Rows
    cuts: Rows
    orders: Rows
    equity: Rows
    holdings: Rows
    funding: Rows
    grids: Rows
    pauses: Rows
    extremes: Extremes
    ambiguous_bars: int
    below_minimum: int
    liquidated_ns: int
    liquidation_equity_e8: int
    liquidation_needed_e8: int
    bars: tuple[BarArrays, ...]
    notes: tuple[str, ...]
    data_identity: str
