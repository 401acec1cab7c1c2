# mypy: disable-error-code="import-not-found, import-untyped"
# ruff: noqa: PLR0913, PLR0917 - compiled functions of scalars and arrays, called by place
"""The grid in vectorbt: an order function, compiled by numba, on bars.

It is vectorbt's quickest way to rest several orders in one bar (``Portfolio.from_order_func`` with ``flexible``); the
columns are the legs and share their cash. vectorbt keeps accounts and matches nothing, so the order function itself
finds what fills: along open, first extreme, second extreme, close; a limit where the price went through it, a stop
where it was touched, an exit never in the move that filled its entry. A bar out of reach of every order costs two
comparisons.

Invariant: everything that a run changes is laid out anew by ``prepare``.
"""

import numpy as np
import vectorbt as vbt
from vectorbt.portfolio import nb as portfolio_nb
from vectorbt.portfolio.enums import FlexOrderContext, Order

from tools.bench.peers.measuring import MICRO, Case, Fills, IntArray, compiled, main

LONG, SHORT = 0, 1
ENTRY, TAKE_PROFIT, STOP = 0, 1, 2
LOTS_MAX = 4096
PENDING_MAX = 3 * LOTS_MAX
FAR = 1 << 60

# Slots of ``grid``: the scalars that a run changes.
CENTER, STEP, GENERATION, LOTS, PENDING, ABOVE, BELOW, LAST = range(8)
# Columns of ``lots``.
LEG, LEVEL, BORN, TARGET, TRIGGER = range(5)
# States of a rung.
ABSENT, RESTING, BUSY, FREED = range(4)


@compiled
def emit(grid: IntArray, pending: IntArray, leg: int, purpose: int, price_ticks: int) -> None:
    """Note an order that fills in this bar; vectorbt is given them one by one."""
    slot = grid[PENDING]
    pending[slot, 0] = leg
    pending[slot, 1] = purpose
    pending[slot, 2] = price_ticks
    grid[PENDING] = slot + 1


@compiled
def worsened(price_ticks: int, leg: int, slippage_ppm: int) -> int:
    """Give what a stop gets at a price."""
    slip = price_ticks * slippage_ppm
    return price_ticks - (slip + MICRO - 1) // MICRO if leg == LONG else price_ticks + (slip + MICRO - 1) // MICRO


@compiled
def exit_of(lot: IntArray, start: int, end: int, jump: bool, slippage_ppm: int) -> tuple[int, int]:  # noqa: FBT001
    """Give purpose and price of the exit that a move fills; the purpose is ENTRY where it fills none."""
    leg, target, trigger = lot[LEG], lot[TARGET], lot[TRIGGER]
    if (end > target) if leg == LONG else (end < target):
        return TAKE_PROFIT, target
    if (start <= trigger) if leg == LONG else (start >= trigger):
        return STOP, worsened(start, leg, slippage_ppm)
    if (end <= trigger) if leg == LONG else (end >= trigger):
        return STOP, worsened(end if jump else trigger, leg, slippage_ppm)
    return ENTRY, 0


@compiled
def move(
    grid: IntArray,
    rungs: IntArray,
    prices: IntArray,
    lots: IntArray,
    pending: IntArray,
    scalars: IntArray,
    start: int,
    end: int,
    jump: bool,  # noqa: FBT001
) -> None:
    """Fill what a move meets: the exits of the lots that it finds, then the rungs, which become lots."""
    levels, _, _, tp_steps, sl_steps, slippage_ppm, _ = scalars
    for k in range(grid[LOTS] - 1, -1, -1):
        purpose, price = exit_of(lots[k], start, end, jump, slippage_ppm)
        if purpose != ENTRY:
            emit(grid, pending, lots[k, LEG], purpose, price)
            if lots[k, BORN] == grid[GENERATION]:
                rungs[lots[k, LEG], lots[k, LEVEL]] = FREED
            grid[LOTS] -= 1
            lots[k] = lots[grid[LOTS]]
    for leg in range(2):
        for level in range(levels):
            price = prices[leg, level]
            if rungs[leg, level] == RESTING and ((end < price) if leg == LONG else (end > price)):
                emit(grid, pending, leg, ENTRY, price)
                rungs[leg, level] = BUSY
                sign = 1 if leg == LONG else -1
                lot = lots[grid[LOTS]]
                lot[LEG], lot[LEVEL], lot[BORN] = leg, level, grid[GENERATION]
                # Away from the spread, and toward the earlier trigger: both round up for LONG, down for SHORT.
                lot[TARGET] = price + sign * ((tp_steps * grid[STEP] + MICRO - 1) // MICRO)
                lot[TRIGGER] = price - sign * (sl_steps * grid[STEP] // MICRO)
                grid[LOTS] += 1


@compiled
def decide(grid: IntArray, rungs: IntArray, prices: IntArray, scalars: IntArray, close: int) -> bool:
    """Recenter where the close left the center, and rest every rung that is free; say whether anything changed."""
    levels, step_ppm, recenter_ppm = scalars[0], scalars[1], scalars[2]
    center = grid[CENTER]
    changed = False
    if center == 0 or abs(close - center) * MICRO > center * recenter_ppm:
        step = max(MICRO, close * step_ppm)
        grid[CENTER], grid[STEP] = close, step
        grid[GENERATION] += 1
        for level in range(levels):
            far = (level + 1) * step
            prices[LONG, level] = (close * MICRO - far) // MICRO
            prices[SHORT, level] = (close * MICRO + far + MICRO - 1) // MICRO
        rungs[:, :] = ABSENT
        changed = True
    for leg in range(2):
        for level in range(levels):
            price = prices[leg, level]
            if rungs[leg, level] in (ABSENT, FREED) and ((price < close) if leg == LONG else (price > close)):
                rungs[leg, level] = RESTING
                changed = True
    return changed


@compiled
def reach(grid: IntArray, rungs: IntArray, prices: IntArray, lots: IntArray, levels: int) -> None:
    """Note between which prices nothing can fill."""
    above, below = FAR, -FAR
    for level in range(levels):
        if rungs[LONG, level] == RESTING:
            below = max(below, prices[LONG, level])
        if rungs[SHORT, level] == RESTING:
            above = min(above, prices[SHORT, level])
    for k in range(grid[LOTS]):
        if lots[k, LEG] == LONG:
            above, below = min(above, lots[k, TARGET]), max(below, lots[k, TRIGGER])
        else:
            above, below = min(above, lots[k, TRIGGER]), max(below, lots[k, TARGET])
    grid[ABOVE], grid[BELOW] = above, below


@compiled
def walk(
    grid: IntArray,
    rungs: IntArray,
    prices: IntArray,
    lots: IntArray,
    pending: IntArray,
    scalars: IntArray,
    bars: IntArray,
    i: int,
) -> None:
    """Walk one bar and decide at its close."""
    first, high, low, close = bars[i]
    grid[PENDING] = 0
    if high >= grid[ABOVE] or low <= grid[BELOW]:
        near, far = (low, high) if close >= first else (high, low)
        last = grid[LAST]
        for start, end, jump in ((last, first, True), (first, near, False), (near, far, False), (far, close, False)):
            if start != end:
                move(grid, rungs, prices, lots, pending, scalars, start, end, jump)
    grid[LAST] = close
    changed = i >= scalars[6] and decide(grid, rungs, prices, scalars, close)
    if changed or grid[PENDING] > 0:
        reach(grid, rungs, prices, lots, scalars[0])


@compiled
def next_order(
    context: FlexOrderContext,
    grid: IntArray,
    rungs: IntArray,
    prices: IntArray,
    lots: IntArray,
    pending: IntArray,
    counts: IntArray,
    scalars: IntArray,
    bars: IntArray,
    tick: float,
    qty: float,
    maker: float,
    taker: float,
) -> tuple[int, Order]:
    """Give vectorbt the bar's next order, and no column where there is none left."""
    if context.call_idx == 0:
        walk(grid, rungs, prices, lots, pending, scalars, bars, context.i)
    if context.call_idx >= grid[PENDING]:
        return -1, portfolio_nb.order_nothing_nb()
    leg, purpose, price_ticks = pending[context.call_idx]
    counts[purpose] += 1
    size = qty if (leg == LONG) == (purpose == ENTRY) else -qty
    return leg, portfolio_nb.order_nb(size=size, price=price_ticks * tick, fees=taker if purpose == STOP else maker)


class VectorbtGrid:
    """vectorbt on the case's bars."""

    name = "vectorbt"
    packages: tuple[str, ...] = ("vectorbt", "numba", "numpy", "pandas")
    notes: tuple[str, ...] = (
        "the order function finds the fills along O-L-H-C or O-H-L-C; vectorbt books them",
        "no funding, margin, liquidation, limits or pauses; accounts are marked once a bar, at the close",
        "timed: Portfolio.from_order_func alone, without any figure of the portfolio",
    )

    def __init__(self, case: Case) -> None:
        setup, columns = case.setup, case.columns
        self.setup = setup
        self.bars = np.stack(
            [columns[name] for name in ("open_ticks", "high_ticks", "low_ticks", "close_ticks")], axis=1
        )
        close = columns["close_ticks"] * float(setup.tick)
        self.close = np.stack([close, close], axis=1)
        self.state: tuple[IntArray, ...] = ()

    def prepare(self) -> None:
        """Lay out an empty grid."""
        legs = (2, self.setup.levels)
        grid = np.zeros(8, np.int64)
        grid[ABOVE], grid[BELOW], grid[LAST] = FAR, -FAR, self.bars[0, 0]
        self.state = (
            grid,
            np.zeros(legs, np.int64),
            np.zeros(legs, np.int64),
            np.zeros((LOTS_MAX, 5), np.int64),
            np.zeros((PENDING_MAX, 3), np.int64),
            np.zeros(3, np.int64),
        )

    def run(self) -> Fills:
        """Trade all bars."""
        setup = self.setup
        vbt.Portfolio.from_order_func(
            self.close,
            next_order,
            *self.state,
            setup.scalars(),
            self.bars,
            float(setup.tick),
            setup.qty_lots * float(setup.lot),
            setup.maker_ppm / MICRO,
            setup.taker_ppm / MICRO,
            flexible=True,
            group_by=True,
            cash_sharing=True,
            init_cash=float(setup.wallet_quote),
            update_value=False,
            fill_pos_record=False,
            max_logs=1,
        )
        entries, take_profits, stops = (int(count) for count in self.state[5])
        return Fills(entries=entries, take_profits=take_profits, stops=stops)


if __name__ == "__main__":
    main(VectorbtGrid)
