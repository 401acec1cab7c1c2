"""Equity by UTC day and month, and what was left at the end.

Invariants: the first value is the initial wallet, the last the equity at the end of the run; a day without a decision
keeps the value of the day before; the months' changes add up to the change over the run.
"""

from datetime import UTC, datetime

import attrs
import numpy as np

from hedgegrid.backtest.exact import take, total
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.core.codes import ENTRY, LONG, SHORT
from hedgegrid.units import NS_PER_DAY, NS_PER_S
from hedgegrid.venues.simulated.arrays import IntArray


@attrs.frozen(kw_only=True)
class Held:
    """A leg at the end: quantity in lots, its cost, and its profit at the last decision's mark, in quote x 1e8."""

    instrument: int
    leg: int
    qty_lots: int
    cost_e8: int
    unrealised_e8: int


@attrs.frozen(kw_only=True)
class Month:
    """A UTC month: equity at its begin and end in quote x 1e8; ``growth`` is None where it began at or under zero."""

    year: int
    month: int
    first_e8: int
    last_e8: int

    @property
    def change_e8(self) -> int:
        """What the month made."""
        return self.last_e8 - self.first_e8

    @property
    def growth(self) -> float | None:
        """(last - first) / first."""
        return self.change_e8 / self.first_e8 if self.first_e8 > 0 else None


@attrs.frozen(kw_only=True, eq=False)
class DailyEquity:
    """Equity in quote x 1e8 at the ends of successive UTC days; ``end_ns[0]`` is the start of the run."""

    end_ns: IntArray
    equity_e8: IntArray


def final_wallet_e8(result: BacktestResult) -> int:
    """Give the wallet at the end: initial + realised - fees - funding over all rows, in quote x 1e8."""
    fills, funding = result.fills, result.funding
    paid = total(funding["long_e8"]) + total(funding["short_e8"])
    return result.initial_wallet_e8 + total(fills["realised_e8"]) - total(fills["fee_e8"]) - paid


def held_at_end(result: BacktestResult) -> tuple[Held, ...]:
    """Give each leg's position at the end, two a instrument, from its fills, valued at the last decision's mark.

    Cost is what entries cost less what exits released; an exit releases its notional less (LONG) or plus (SHORT) its
    realised profit, so this is the venue's own average cost to the last unit.
    """
    return tuple(_held(result, index, leg) for index in range(len(result.instruments)) for leg in (LONG, SHORT))


def _held(result: BacktestResult, index: int, leg: int) -> Held:
    fills = take(result.fills, (result.fills["instrument"] == index) & (result.fills["leg"] == leg))
    unit = result.instruments[index].unit_e8
    notional = fills["price_ticks"] * fills["qty_lots"] * unit
    is_entry = fills["purpose"] == ENTRY
    sign = 1 if leg == LONG else -1
    cost = total(notional[is_entry]) - total(notional[~is_entry]) + sign * total(fills["realised_e8"])
    qty = total(fills["qty_lots"][is_entry]) - total(fills["qty_lots"][~is_entry])
    mark = int(result.holdings["mark_ticks"][-1, index]) if len(result.holdings) else 0
    return Held(
        instrument=index,
        leg=leg,
        qty_lots=qty,
        cost_e8=cost,
        unrealised_e8=sign * (qty * mark * unit - cost) if qty else 0,
    )


def daily_equity(result: BacktestResult, held: tuple[Held, ...]) -> DailyEquity:
    """Give the equity at the start, then at the end of every UTC day of the run; the last day ends with the run."""
    first_day, last_day = result.start_ns // NS_PER_DAY, max(result.start_ns, result.end_ns - 1) // NS_PER_DAY
    ends = (np.arange(first_day, last_day + 1, dtype=np.int64) + 1) * NS_PER_DAY
    ends[-1] = max(result.start_ns, result.end_ns)
    values = np.empty(len(ends) + 1, np.int64)
    values[0] = result.initial_wallet_e8
    equity = result.equity
    index = np.searchsorted(equity["ts_ns"], ends[:-1], side="left") - 1
    rows = take(equity, np.maximum(index, 0)) if len(equity) else np.zeros(len(index), equity.dtype)
    values[1:-1] = np.where(index >= 0, rows["wallet_e8"] + rows["unrealised_e8"], result.initial_wallet_e8)
    values[-1] = final_wallet_e8(result) + sum(leg.unrealised_e8 for leg in held)
    return DailyEquity(end_ns=np.concatenate(([result.start_ns], ends)), equity_e8=values)


def months(daily: DailyEquity) -> tuple[Month, ...]:
    """Give the months of a run, oldest first, each from where the one before ended."""
    found: list[Month] = []
    first_e8 = int(daily.equity_e8[0])
    keys = [_month(int(end_ns)) for end_ns in daily.end_ns[1:]]
    for i, (year, month) in enumerate(keys):
        if i + 1 == len(keys) or keys[i + 1] != (year, month):
            last_e8 = int(daily.equity_e8[i + 1])
            found.append(Month(year=year, month=month, first_e8=first_e8, last_e8=last_e8))
            first_e8 = last_e8
    return tuple(found)


def _month(end_ns: int) -> tuple[int, int]:
    """Give the month of the day that ends at ``end_ns``."""
    at = datetime.fromtimestamp((end_ns - 1) // NS_PER_S, UTC)
    return at.year, at.month
