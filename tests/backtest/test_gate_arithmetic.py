"""The gate in a backtest of the recorded crash, judged again from the tables that it left, with plain arithmetic.

Invariant: nothing of the gate is used: positions come from the fills, working entries from the orders, equity from the
samples, volatility from the bars, and every sum is worked out anew for every order.
"""

from decimal import Decimal
from math import ceil
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from hedgegrid.backtest import driver
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.core import risk
from hedgegrid.core.codes import ENTRY, LONG, SHORT
from hedgegrid.units import PPM
from hedgegrid.venues.simulated.arrays import BarArrays, no_funding
from tests.actors.house import BTC, checked, document
from tests.backtest.lanes import Lane, backtest
from tests.core.test_var import MINUTES_A_DAY, NAMES, Z99, crash, ewma

LEVERAGE: Final = 5
RATIO: Final = 5_000
"""Maintenance margin of every instrument, in ppm."""
LIMITS: dict[str, tuple[int, str]] = {
    "max_leverage": (risk.MAX_LEVERAGE, "1.1"),
    "max_position_ratio": (risk.MAX_POSITION_RATIO, "0.22"),
    "max_margin_ratio": (risk.MAX_MARGIN_RATIO, "0.0055"),
    "min_liquidation_distance_ratio": (risk.LIQUIDATION_DISTANCE, "0.999"),
    "var": (risk.VAR, "0.04"),
}


def two(tmp_path: Path, name: str, limit: str) -> Any:
    """BTC and ETH in one account of 10,000, with one limit that both meet together."""
    value: Any = {"max_ratio": Decimal(limit)} if name == "var" else Decimal(limit)
    text = document(tmp_path, risk={name: value, "drawdown": {"enabled": False}, "daily_loss": {"enabled": False}})
    first = text["grid"][0]
    ladder = {**first["ladder"], "base_quote": 1_500, "step_bps": 40}
    del ladder["base_qty"]
    text["grid"] = [{**first, "ladder": ladder, "instrument": one} for one in NAMES[:2]]
    text["venue"]["leverage"] = LEVERAGE
    # So that no cancel of a decision is through before the decision's orders have been judged.
    text["sim"]["latency_ms"] = 100
    text["sim"]["instrument"] = {one: {"maintenance_margin_ratio": Decimal(RATIO) / PPM} for one in NAMES[:2]}
    return checked(text)


def before(table: Any, column: str, ts_ns: int) -> Any:
    """The rows of a table up to a time."""
    return table[table[column] <= ts_ns]


class Judge:
    """What the tables say of the account when the order of one row was asked for."""

    def __init__(self, result: BacktestResult, bars: tuple[BarArrays, ...], at: int) -> None:
        """Look at the order ``at``."""
        self.order = result.orders[at]
        self.ts_ns = int(self.order["placed_ns"])
        self.units = [one.unit_e8 for one in result.instruments]
        done = [int(np.searchsorted(one.open_ns, self.ts_ns)) for one in bars]
        self.closes = [one.close_ticks[:count] for one, count in zip(bars, done, strict=True)]
        sample = before(result.equity, "ts_ns", self.ts_ns)[-1]
        self.equity = int(sample["wallet_e8"] + sample["unrealised_e8"])
        self.held, self.full = self._legs(result, at)

    def _legs(self, result: BacktestResult, at: int) -> tuple[list[list[int]], list[list[int]]]:
        """Both legs of both instruments as held, and with all entries that work by then and the order."""
        lots = [[0, 0], [0, 0]]
        for fill in before(result.fills, "ts_ns", self.ts_ns):
            lots[fill["instrument"]][fill["leg"]] += int(fill["qty_lots"]) * (1 if fill["purpose"] == ENTRY else -1)
        held = [[lots[i][leg] * int(self.closes[i][-1]) * self.units[i] for leg in (LONG, SHORT)] for i in (0, 1)]
        full = [list(legs) for legs in held]
        rows = result.orders[: at + 1]
        ended = (rows["ended_ns"] > 0) & (rows["ended_ns"] <= self.ts_ns)
        working = (rows["purpose"] == ENTRY) & ~ended & (rows["control"] == 0)
        for row in [*rows[:at][working[:at]], self.order]:
            i = int(row["instrument"])
            worst = max(int(row["price_ticks"]), int(self.closes[i][-1]))
            full[i][row["leg"]] += worst * int(row["qty_lots"]) * self.units[i]
        return held, full

    def figure(self, name: str) -> float:
        """What the control compares: a part of equity, or for the distance what is missing to it (1 + the limit)."""
        gross = sum(map(sum, self.full))
        if name == "max_leverage":
            return gross / self.equity
        if name == "max_position_ratio":
            return gross / LEVERAGE / self.equity
        margin = sum(ceil(sum(legs) * RATIO / PPM) for legs in self.full)
        if name == "max_margin_ratio":
            return margin / self.equity
        if name == "var":
            return sum(self._at_risk(i) for i in (0, 1)) / self.equity
        fall = sum(full[LONG] - held[SHORT] for full, held in zip(self.full, self.held, strict=True)) - margin
        rise = sum(full[SHORT] - held[LONG] for full, held in zip(self.full, self.held, strict=True)) + margin
        room = self.equity - margin
        return -min(room / one if one > 0 else 9.0 for one in (fall, rise))

    def _at_risk(self, i: int) -> float:
        """The loss of a day at 99 %, of the larger net of an instrument."""
        full, held = self.full[i], self.held[i]
        net = max(abs(full[LONG] - held[SHORT]), abs(full[SHORT] - held[LONG]))
        sigma = np.sqrt(ewma(self.closes[i].astype(np.float64), 0.97))
        return float(net * Z99 * sigma * np.sqrt(MINUTES_A_DAY))


@pytest.mark.parametrize("name", LIMITS)
def test_every_verdict_of_the_crash_is_that_of_the_tables(shared_dir: Path, tmp_path: Path, name: str) -> None:
    """Each entry that was refused is over the limit with the order, each that was let pass is not: account-wide."""
    code, limit = LIMITS[name]
    bars = tuple(crash(shared_dir, tmp_path, one, 240) for one in NAMES[:2])
    lane = Lane(bars=bars, funding=(no_funding(), no_funding()))
    result = backtest(two(tmp_path, name, limit), lane, driver.interpreted())
    decided = set(result.equity["ts_ns"].tolist())
    most = -float(limit) if code == risk.LIQUIDATION_DISTANCE else float(limit)
    verdicts = {code: 0, risk.PASS: 0}
    for at, row in enumerate(result.orders):
        if row["purpose"] == ENTRY and int(row["placed_ns"]) in decided and int(row["control"]) in verdicts:
            figure = Judge(result, bars, at).figure(name)
            verdicts[int(row["control"])] += 1
            if abs(figure - most) > 3e-6:
                assert (figure > most) == (row["control"] == code), (at, figure)
    assert min(verdicts.values()) > 10, verdicts
    assert set(result.orders["control"].tolist()) <= {risk.PASS, code, risk.SELF_CROSS}
    assert len({int(row["instrument"]) for row in result.orders if row["control"] == code}) == len(NAMES[:2])
    assert BTC in NAMES
