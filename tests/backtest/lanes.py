"""One market, three executions: the actors in virtual time, the driver interpreted, the driver compiled.

Invariants: all three get the same arrays and the same settings; what is compared is what each wrote down itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from hedgegrid import backtesting, markets
from hedgegrid.backtest import columns, driver
from hedgegrid.backtest.result import FILL, BacktestResult
from hedgegrid.config.params import instrument_of
from hedgegrid.config.schema import AccountConfig
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, TickArrays, no_funding
from hedgegrid.venues.simulated.tape_bars import BarTape
from hedgegrid.venues.simulated.tape_ticks import TickTape
from tests.actors.house import FIRST_BAR, query
from tests.core.made import Ohlc, walk

FILL_COLUMNS = (
    "ts_ns",
    "instrument",
    "leg",
    "purpose",
    "level",
    "generation",
    "price_ticks",
    "qty_lots",
    "fee_e8",
    "realised_e8",
    "maker",
)
Row = tuple[Any, ...]


@attrs.frozen(kw_only=True, eq=False)
class Lane:
    """A market as arrays, and how it is walked by each execution."""

    bars: tuple[BarArrays, ...] = ()
    ticks: tuple[TickArrays, ...] = ()
    funding: tuple[FundingArrays, ...]
    length_ns: int = NS_PER_MINUTE
    decide_from_ns: int = 0

    def tape(self, names: Sequence[str]) -> BarTape | TickTape:
        """The tape that the actors walk."""
        if self.ticks:
            return TickTape(instruments=names, ticks=self.ticks, funding=self.funding, bar_length_ns=self.length_ns)
        return BarTape(instruments=names, bars=self.bars, funding=self.funding, bar_length_ns=self.length_ns)

    def columns(self) -> columns.Market:
        """The columns that the driver walks."""
        if self.ticks:
            return columns.trades_market(self.ticks, self.funding, self.length_ns)
        return columns.bars_market(self.bars, self.funding, self.length_ns)

    def start_ns(self) -> int:
        """The time of the first step."""
        firsts = [arrays.ts_ns[0] for arrays in self.ticks] or [arrays.open_ns[0] for arrays in self.bars]
        return int(min(firsts))


def made_bars(rows: Sequence[Ohlc], numbers: Sequence[int] | None = None) -> BarArrays:
    """Made bars; ``numbers`` count them from the first bar of the tests, holes allowed."""
    table = np.array(rows, np.int64).T
    places = np.arange(len(rows)) if numbers is None else np.array(numbers, np.int64)
    return BarArrays(
        open_ns=(FIRST_BAR + places) * NS_PER_MINUTE,
        open_ticks=table[0].copy(),
        high_ticks=table[1].copy(),
        low_ticks=table[2].copy(),
        close_ticks=table[3].copy(),
        volume_lots=np.ones(len(rows), np.int64),
    )


def made_funding(rows: Sequence[tuple[int, int]]) -> FundingArrays:
    """Settlements of (bar number, rate x 1e8)."""
    if not rows:
        return no_funding()
    stamps = np.array([(FIRST_BAR + number) * NS_PER_MINUTE for number, _ in rows], np.int64)
    return FundingArrays(ts_ns=stamps, rate_e8=np.array([rate for _, rate in rows], np.int64))


def made_lane(
    seed: int = 4,
    count: int = 150,
    *,
    funding: Sequence[tuple[int, int]] = (),
    numbers: Sequence[int] | None = None,
) -> Lane:
    """One instrument's made market."""
    rows = walk(seed, count if numbers is None else len(numbers))
    return Lane(bars=(made_bars(rows, numbers),), funding=(made_funding(funding),))


def made_ticks(seed: int, count: int, *, start: int = 10_000, spread: int = 2) -> TickArrays:
    """Made trades with a book: a few a second, several at one time, quantities that bound fills, marks of their own."""
    dice = np.random.default_rng(seed)
    price = start + np.cumsum(dice.integers(-4, 5, count))
    ts_ns = FIRST_BAR * NS_PER_MINUTE + np.cumsum(dice.integers(0, 3, count)) * 300_000_000
    side = dice.integers(0, 2, count)
    bid = price - side * spread
    return TickArrays(
        ts_ns=ts_ns,
        price_ticks=price,
        qty_lots=dice.integers(1, 15, count),
        bid_ticks=bid,
        ask_ticks=bid + spread,
        bid_qty_lots=dice.integers(1, 20, count),
        ask_qty_lots=dice.integers(1, 20, count),
        mark_ticks=price + dice.integers(-1, 2, count),
        funding=no_funding(),
    )


def backtest(config: AccountConfig, lane: Lane, execution: driver.Execution) -> BacktestResult:
    """Walk a lane with the driver."""
    instruments: tuple[Instrument, ...] = tuple(instrument_of(config, grid.instrument) for grid in config.grid)
    start_ns = lane.start_ns()
    known = [markets.rate_at(series, start_ns) for series in lane.funding]
    run = driver.Run(backtesting.account_setup(config, instruments), execution, start_ns=start_ns, known_rates=known)
    market = lane.columns()
    run.walk(market, decide_from_ns=lane.decide_from_ns)
    return run.result(bars=market.closed, is_ticks=bool(lane.ticks), end_ns=market.last_step_ns, notes=(), identity="")


def driver_fills(result: BacktestResult) -> list[Row]:
    """The driver's fills."""
    assert result.fills.dtype == FILL
    return [tuple(row) for row in result.fills[list(FILL_COLUMNS)].tolist()]


def actor_fills(path: Path, names: Sequence[str]) -> list[Row]:
    """The journal's fills, in the driver's columns."""
    listed = ", ".join(FILL_COLUMNS)
    rows = query(path, f"SELECT {listed} FROM fills ORDER BY trade_id")  # noqa: S608 - columns of this module alone
    return [(ts_ns, names.index(instrument), *rest) for ts_ns, instrument, *rest in rows]


def first_difference(actors: Sequence[Row], ours: Sequence[Row], result: BacktestResult) -> str:
    """Say where two lists of fills part, with what each side held then; "" where they do not."""
    for number, (theirs, own) in enumerate(zip(actors, ours, strict=False)):
        if theirs != own:
            return _parting(number, theirs, own, actors, ours, result)
    if len(actors) != len(ours):
        number = min(len(actors), len(ours))
        more, fewer = actors[number : number + 1], ours[number : number + 1]
        return _parting(number, more[0] if more else None, fewer[0] if fewer else None, actors, ours, result)
    return ""


def _parting(
    number: int, theirs: Row | None, own: Row | None, actors: Sequence[Row], ours: Sequence[Row], result: BacktestResult
) -> str:
    ts_ns = min(row[0] for row in (theirs, own) if row is not None)
    lines = [f"fill {number} differs ({', '.join(FILL_COLUMNS)})", f"  actors: {theirs}", f"  driver: {own}"]
    for name, rows in (("actors", actors), ("driver", ours)):
        held: dict[tuple[Any, Any], int] = {}
        for row in rows[:number]:
            key = (row[1], row[2])
            held[key] = held.get(key, 0) + (row[7] if row[3] == 0 else -row[7])
        lines.append(f"  {name} held by (instrument, leg): {held}")
    grids = result.grids[result.grids["ts_ns"] <= ts_ns]
    pauses = result.pauses[result.pauses["ts_ns"] <= ts_ns]
    lines.append(f"  driver's grid: {grids[-1:].tolist()}; last pauses: {pauses[-3:].tolist()}")
    return "\n".join(lines)
