"""A backtest from settings and a market to a result: it lays the tables out, walks, and collects what was written.

Both executions are reached through here: ``interpreted`` runs the sources as they stand, ``compiled`` their twins.

Invariant: the two give equal tables, to the last bit.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np

from hedgegrid.backtest import columns, valuing, walk_bars, walk_trades
from hedgegrid.backtest.desk import (
    ENTRIES,
    LOG_SPARE,
    TIERS,
    Account,
    Desk,
    Floor,
    Pulse,
    as_array,
    with_tables,
)
from hedgegrid.backtest.growing import GrowingTable
from hedgegrid.backtest.result import (
    CUT,
    EQUITY,
    FILL,
    FUNDING,
    GRID,
    HOLDING,
    ORDER,
    PAUSE,
    BacktestResult,
    Extremes,
    Rows,
)
from hedgegrid.backtest.rows import EndedRow
from hedgegrid.core import gate_records as g
from hedgegrid.core import records as r
from hedgegrid.core import session
from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import PPM
from hedgegrid.venues.simulated.arrays import IntArray

ORDER_NO_STRIDE: Final = 64
LEAST_SHARE: Final = 1e-3
INTERPRETED_LOG_ROWS: Final = 3 * LOG_SPARE
_TABLES: Final = {
    "fills": FILL,
    "cuts": CUT,
    "placed": ORDER,
    "ended": r.dtype_of(EndedRow),
    "equity": EQUITY,
    "holdings": HOLDING,
    "funding": FUNDING,
    "grids": GRID,
    "changes": PAUSE,
}


@attrs.frozen(kw_only=True)
class GridSetup:
    """One instrument's part of a backtest, in the integers of the core. ``stale_ns``: the age of stale data."""

    instrument: Instrument
    params: r.GridParams
    rules: r.VenueRules
    gate: g.InstrumentRisk
    pause_missing: bool
    stale_ns: int


@attrs.frozen(kw_only=True)
class AccountSetup:
    """An account's part of a backtest: its wallet (quote x 1e8), its limits and controls, how pauses end."""

    wallet_e8: int
    limits: g.RiskLimits
    session_limits: g.SessionLimits
    resume_after_ns: int
    heartbeat_ns: int
    bar_length_ns: int
    grids: tuple[GridSetup, ...]


@attrs.frozen(kw_only=True)
class Execution:
    """How the driver is run: its functions, and how its tables and columns are contained."""

    walk_bars: Callable[..., int]
    walk_trades: Callable[..., int]
    close_episode: Callable[..., int | None]
    contain: Callable[[list[Any]], Any]
    columns: Callable[[Any], Any]


def interpreted() -> Execution:
    """The sources as they stand: slow, and open to a debugger."""
    return Execution(
        walk_bars=walk_bars.walk_bars,
        walk_trades=walk_trades.walk_trades,
        close_episode=valuing.close_episode,
        contain=lambda shapes: [with_tables(shape, INTERPRETED_LOG_ROWS) for shape in shapes],
        columns=columns.as_lists,
    )


def is_compiled(cache_dir: Path, *, trades: bool) -> bool:
    """Tell whether the machine code for bars, or for trades, is kept below ``cache_dir``."""
    from hedgegrid.backtest import machine_code  # noqa: PLC0415 - as below

    return machine_code.is_kept(cache_dir, "walk_trades" if trades else "walk_bars")


def compiled(cache_dir: Path | None) -> Execution:
    """Their compiled twins; machine code is kept below ``cache_dir``."""
    from hedgegrid.backtest import machine_code  # noqa: PLC0415 - the interpreted run needs no machine code

    return Execution(
        walk_bars=machine_code.entry(cache_dir, "walk_bars"),
        walk_trades=machine_code.entry(cache_dir, "walk_trades"),
        close_episode=machine_code.entry(cache_dir, "close_episode"),
        contain=as_array,
        columns=lambda part: part,
    )


def _desk(setup: GridSetup, index: int) -> Desk:
    """Lay out one instrument."""
    params = setup.params
    rungs = params.levels_long + params.levels_short
    room = 3 * rungs + 8
    if room > ENTRIES or len(setup.instrument.tiers) > TIERS:
        raise Fatal(f"{setup.instrument.name}: more rungs or margin tiers than a backtest holds; use fewer")
    desk = Desk(params=params, rules=setup.rules, rungs_used=rungs)
    desk.state.may_add = 1
    desk.state.next_order_no = index + ORDER_NO_STRIDE
    desk.state.order_no_stride = ORDER_NO_STRIDE
    desk.tiers = [r.MarginTier(tier.max_notional_e8, tier.maintenance_ppm) for tier in setup.instrument.tiers]
    desk.pulse = Pulse(
        stale_ns=setup.stale_ns,
        funding_interval_ns=setup.instrument.funding_interval_ns,
        pause_missing=int(setup.pause_missing),
        entry_room=room,
        tier_count=len(setup.instrument.tiers),
        bars_per_year=params.bars_per_year,
    )
    return desk


def _bound_ppm(setup: AccountSetup) -> int:
    """Give the share of the gross notional above which equity is far from its margin control and from liquidation."""
    heaviest = max(tier.maintenance_ppm for grid in setup.grids for tier in grid.instrument.tiers)
    limits = setup.session_limits
    return heaviest if limits.margin_on == 0 else max(heaviest, -(-heaviest * PPM // max(1, limits.margin_ppm)))


def _floor(setup: AccountSetup, start_ns: int) -> Floor:
    """Lay out what the instruments share."""
    wallet = setup.wallet_e8
    floor = Floor(limits=setup.limits, session_limits=setup.session_limits)
    floor.account = Account(
        instruments=len(setup.grids),
        initial_e8=wallet,
        wallet_e8=wallet,
        fixed_e8=wallet,
        equity_e8=wallet,
        bound_ppm=_bound_ppm(setup),
        since_ns=start_ns,
        heartbeat_ns=setup.heartbeat_ns,
        look_ns=start_ns + min(grid.stale_ns for grid in setup.grids) + 1,
        high_e8=wallet,
        high_ns=start_ns,
        low_e8=wallet,
        low_ns=start_ns,
        least_e8=wallet,
        worst_peak_e8=wallet,
        worst_peak_ns=start_ns,
        worst_trough_e8=wallet,
        worst_trough_ns=start_ns,
    )
    floor.account.next_timer_ns = floor.account.look_ns
    floor.standing.resume_after_ns = setup.resume_after_ns
    floor.rules = [attrs.evolve(grid.gate) for grid in setup.grids]
    session.begin(floor.session_limits, floor.session, wallet, start_ns)
    return floor


class Run:
    """One backtest under way: it can be walked stretch by stretch, and its result read at the end."""

    def __init__(
        self,
        setup: AccountSetup,
        execution: Execution,
        *,
        start_ns: int,
        known_rates: Sequence[tuple[int, int] | None],
        on_progress: Callable[[int], None] | None = None,
    ) -> None:
        """Lay everything out. ``known_rates``: each instrument's newest settlement (ts_ns, rate_e8) by then, or None.

        ``on_progress`` is told how many rows (bar times or trades) have been walked since it was last told.
        """
        self.setup = setup
        self._execution = execution
        self._start_ns = start_ns
        desks = [_desk(grid, index) for index, grid in enumerate(setup.grids)]
        for desk, known in zip(desks, known_rates, strict=True):
            if known is not None:
                desk.pulse.settled_ns, desk.pulse.settled_rate_e8 = known
        self._desks = execution.contain(desks)
        self._floors = execution.contain([_floor(setup, start_ns)])
        self._floor = self._floors[0]
        self._tables = {name: GrowingTable(np.empty(0, layout)) for name, layout in _TABLES.items()}
        self._on_progress = on_progress or (lambda _: None)
        self.is_over = False

    @property
    def _account(self) -> Any:  # noqa: ANN401 - a record of either container
        return self._floor.account

    def walk(self, market: columns.Market, *, decide_from_ns: int = 0, rows_at_once: int = 1 << 20) -> None:
        """Walk a stretch of the market. Raises Fatal where a table was too small for it."""
        self._account.next_settlement = 0
        self._account.next_end = 0
        execution = self._execution
        contain = execution.columns
        due = contain(market.due)
        bars, trades, ends = contain(market.bars), contain(market.trades), contain(market.ends)
        row = 0
        while row < market.rows and not self.is_over:
            end = min(row + rows_at_once, market.rows)
            if bars is not None:
                reached = execution.walk_bars(self._desks, self._floor, bars, due, row, end, decide_from_ns, LOG_SPARE)
            else:
                reached = execution.walk_trades(
                    self._desks, self._floor, trades, ends, due, row, end, decide_from_ns, LOG_SPARE
                )
            self._collect(int(reached) / market.rows)
            self._on_progress(int(reached) - row)
            row = int(reached)
            self._check()

    def _check(self) -> None:
        """Tell a fault of the driver from the end of the account."""
        account = self._account
        if account.fault:
            raise Fatal(
                f"the backtest stopped at {int(account.ts_ns)} ns: more orders, lots or cancels at once than its "
                f"tables hold (fault {int(account.fault)}); use fewer levels or a smaller max_inventory_quote"
            )
        self.is_over = bool(account.liquidated_ns)

    def _collect(self, share: float) -> None:
        """Empty the logs; ``share`` is the part of the stretch that has been walked."""
        floor = self._floor
        for name, table in self._tables.items():
            used = int(getattr(floor, f"{name}_used"))
            if used == 0:
                continue
            rows = getattr(floor, name)[:used]
            table.add(r.pack(rows) if isinstance(rows, list) else rows, max(share, LEAST_SHARE))
            setattr(floor, f"{name}_used", 0)

    def _table(self, name: str) -> Rows:
        return self._tables[name].rows()

    def result(
        self, *, bars: Sequence[Any], is_ticks: bool, end_ns: int, notes: Iterable[str], identity: str
    ) -> BacktestResult:
        """Give what has been written down so far."""
        account = self._account
        grids = self.setup.grids
        holdings = self._table("holdings")
        return BacktestResult(
            instruments=tuple(grid.instrument for grid in grids),
            initial_wallet_e8=self.setup.wallet_e8,
            start_ns=self._start_ns,
            end_ns=end_ns,
            bar_length_ns=self.setup.bar_length_ns,
            is_ticks=is_ticks,
            points=int(account.points),
            fills=self._table("fills"),
            cuts=self._table("cuts"),
            orders=orders_of(self._table("placed"), self._table("ended"), self._table("fills")),
            equity=self._table("equity"),
            holdings=holdings.reshape(-1, len(grids)),
            funding=self._table("funding"),
            grids=self._table("grids"),
            pauses=self._table("changes"),
            extremes=self._extremes(),
            ambiguous_bars=sum(int(self._market_of(k).ambiguous_bars) for k in range(len(grids))),
            below_minimum=int(account.below_minimum),
            liquidated_ns=int(account.liquidated_ns),
            liquidation_equity_e8=int(account.liquidation_equity_e8),
            liquidation_needed_e8=int(account.liquidation_needed_e8),
            bars=tuple(bars),
            notes=tuple(notes),
            data_identity=identity,
        )

    def _market_of(self, index: int) -> Any:  # noqa: ANN401 - as above
        return self._desks[index].market

    def _extremes(self) -> Extremes:
        """Give the falls of equity, the present one included."""
        account = self._account
        self._execution.close_episode(account, int(account.ts_ns))
        return Extremes(
            peak_e8=int(account.worst_peak_e8),
            peak_ns=int(account.worst_peak_ns),
            trough_e8=int(account.worst_trough_e8),
            trough_ns=int(account.worst_trough_ns),
            drawdown_ppm=int(account.worst_ppm),
            longest_ns=int(account.longest_ns),
            least_equity_e8=int(account.least_e8),
        )


def orders_of(orders: Rows, ended: Rows, fills: Rows) -> Rows:
    """Write into the orders how they ended and what had filled; an order of a liquidation has no row."""
    if not len(orders):
        return orders
    width = int(orders["instrument"].max()) + 1
    row_of = np.zeros((int(orders["no"].max()) // ORDER_NO_STRIDE + 1) * width, np.int64)
    row_of[_place_of(orders["no"], width)] = np.arange(len(orders))
    ends = row_of[_place_of(ended["no"], width)]
    orders["ended_ns"][ends] = ended["ended_ns"]
    orders["outcome"][ends] = ended["outcome"]
    known = fills["no"] > 0
    filled = row_of[_place_of(fills["no"][known], width)]
    orders["filled_lots"] = np.bincount(filled, fills["qty_lots"][known], len(orders))
    return orders


def _place_of(numbers: IntArray, width: int) -> IntArray:
    """Give each order number's place in a table of all: ``width`` instruments count in strides of their own."""
    places: IntArray = numbers // ORDER_NO_STRIDE * width + numbers % ORDER_NO_STRIDE
    return places
