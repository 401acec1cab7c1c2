"""The grid in hedgegrid: the compiled driver on the same columns, with everything on that a backtest has.

Indicators, policy, funding guard, inventory, the risk gate with all its limits, session controls, margin, liquidation
and equity at every point are computed on the way; none of them is set so tight that it would change the grid that the
peers trade (``same_grid.toml``).

Invariant: each run has tables of its own, laid out outside the clock; machine code is kept where XDG_CACHE_HOME says.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hedgegrid.backtest import columns, driver
from hedgegrid.backtesting import account_setup, cache_folder
from hedgegrid.config.load import loads
from hedgegrid.config.params import instrument_of
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core.codes import ENTRY, STOP, TAKE_PROFIT
from hedgegrid.venues.simulated.arrays import BarArrays, IntArray, TickArrays, no_funding
from tools.bench.peers.measuring import Case, Fills, Setup, main

CONFIG = Path(__file__).with_name("same_grid.toml")
SETTINGS = {
    "step_bps = 12\n": "step_bps = {step_bps}\n",
    "recenter_trigger_bps = 60\n": "recenter_trigger_bps = {trigger_bps}\n",
    "tp_steps = 1\n": "tp_steps = {tp_steps}\n",
    "sl_steps = 12\n": "sl_steps = {sl_steps}\n",
}


def config_of(setup: Setup) -> AccountConfig:
    """Give the race's config with the setup's grid. Raises Fatal where the two cannot be brought together."""
    text = CONFIG.read_text()
    values = {
        "step_bps": setup.step_ppm / 100,
        "trigger_bps": setup.recenter_ppm / 100,
        "tp_steps": setup.tp_steps,
        "sl_steps": setup.sl_steps,
    }
    for line, template in SETTINGS.items():
        text = text.replace(line, template.format(**values))
    return loads(text, CONFIG.name)


def market_of(stored: Mapping[str, IntArray], bar_ns: int) -> columns.Market:
    """Give the case's columns as the driver walks them."""
    rest: dict[str, Any] = {name: column for name, column in stored.items() if name != "ts_ns"}
    if "open_ticks" in stored:
        return columns.bars_market([BarArrays(open_ns=stored["ts_ns"], **rest)], [no_funding()], bar_ns)
    trades = TickArrays(ts_ns=stored["ts_ns"], funding=no_funding(), **rest)
    return columns.trades_market([trades], [no_funding()], bar_ns)


class HedgegridGrid:
    """hedgegrid on the case's bars or trades."""

    name = "hedgegrid"
    packages: tuple[str, ...] = ("hedgegrid", "numba", "numpy")
    notes: tuple[str, ...] = (
        "indicators, risk gate, session controls, margin, liquidation and equity at every point are on",
        "timed: the driver's walk and its tables of fills, orders and equity, without figures and report",
    )

    def __init__(self, case: Case) -> None:
        config = config_of(case.setup)
        instrument = instrument_of(config, config.grid[0].instrument)
        self.market = market_of(case.columns, case.setup.bar_ns)
        self.setup = account_setup(config, (instrument,))
        self.start_ns = int(case.columns["ts_ns"][0])
        self.execution = driver.compiled(cache_folder())
        self.under_way: driver.Run | None = None

    def prepare(self) -> None:
        """Lay out the tables of one run."""
        self.under_way = driver.Run(self.setup, self.execution, start_ns=self.start_ns, known_rates=[None])

    def run(self) -> Fills:
        """Walk the whole market."""
        assert self.under_way is not None, "prepare comes first"
        self.under_way.walk(self.market)
        result = self.under_way.result(
            bars=self.market.closed,
            is_ticks=self.market.bars is None,
            end_ns=self.market.last_step_ns,
            notes=(),
            identity="",
        )
        assert not result.liquidated_ns, "a run that ends early is no measurement"
        purposes = np.bincount(result.fills["purpose"], minlength=8)
        return Fills(entries=int(purposes[ENTRY]), take_profits=int(purposes[TAKE_PROFIT]), stops=int(purposes[STOP]))


if __name__ == "__main__":
    main(HedgegridGrid)
