"""The decision core and the simulated venue against a second telling of the design, fill by fill.

Invariant: both sides see the same bars and the same settlements and share no code but the settings' own classes; a
difference is shown with the first event that differs and the state of both sides before it.
"""

from collections.abc import Iterable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from hedgegrid.config.load import loads
from hedgegrid.config.params import grid_params, instrument_of, venue_rules
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core import diff, exits, funding, ledger, matching, pipeline
from hedgegrid.core.records import MarginTier
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, cash_e8
from hedgegrid.venues.simulated.recorded_bars import load_bars
from hedgegrid.venues.simulated.recorded_funding import load_funding
from tests.core.desk import Desk
from tests.reference.simulator import Bar, Row, Simulator

CORE = SimpleNamespace(diff=diff, exits=exits, funding=funding, matching=matching, pipeline=pipeline)
BAR_NS = NS_PER_MINUTE
START_NS = 1_735_689_600 * 10**9

LIVELY = """
[grid.regime]
ema_fast = 5
ema_slow = 12
adx_len = 5
atr_len = 5
hysteresis_bps = 2
adx_threshold = 20
"""

Case = dict[str, str]

CASES: dict[str, Case] = {
    "plain": {},
    "all defaults but funding": {"regime": ""},
}


def settings(case: Case) -> AccountConfig:
    """Give the account of a case: its parts of the TOML text over common ones."""
    return loads(
        f"""
[account]
name = "reference"
wallet_quote = {case.get("wallet", "10000")}
[sim]
{case.get("sim", "latency_ms = 0")}
[sim.instrument."{case.get("instrument", "BTC/USDT:USDT")}"]
{case.get("rules", "min_notional = 5")}
[[grid]]
instrument = "{case.get("instrument", "BTC/USDT:USDT")}"
timeframe = "1m"
max_position_qty = 1000
[grid.ladder]
{case.get("ladder", "step_bps = 12")}
{case.get("qty", "base_qty = 0.01")}
[grid.exit]
{case.get("exit", "")}
{case.get("regime", LIVELY)}
[grid.policy]
{case.get("policy", "")}
[grid.funding]
{case.get("funding", 'on_missing = "ignore"')}
[grid.execution]
{case.get("execution", "")}
""",
        "a case",
    )


class Venue(Desk):
    """The desk with funding and liquidation, which its account needs a wallet and tiers for."""

    def __init__(self, config: AccountConfig, instrument: Instrument) -> None:
        """Take the settings."""
        super().__init__(CORE, list, grid_params(config.grid[0], instrument), venue_rules(config, instrument))
        self.instrument, self.wallet_e8 = instrument, cash_e8(config.account.wallet_quote)
        self.tiers = [
            MarginTier(max_notional_e8=tier.max_notional_e8, maintenance_ppm=tier.maintenance_ppm)
            for tier in instrument.tiers
        ]
        self.due_settlements: list[tuple[int, int]] = []
        self.liquidated = False

    def due(self, ts_ns: int) -> None:
        """Settle funding and check the margin before anything else falls due."""
        while self.due_settlements and self.due_settlements[0][0] <= ts_ns:
            stamp, rate = self.due_settlements.pop(0)
            matching.settle_funding(self.market, self.venue_accounts, self.rules, rate)
            self.know(stamp, rate)
        if not self.liquidated:
            self._check_margin(ts_ns)
        if not self.liquidated:
            super().due(ts_ns)

    def know(self, stamp: int, rate: int) -> None:
        """Let the guard know a settlement that has happened."""
        interval = self.instrument.funding_interval_ns
        funding.remember_rate(self.state, rate, stamp + interval, interval)

    def _check_margin(self, ts_ns: int) -> None:
        gross = matching.gross_notional_e8(self.market, self.venue_accounts, self.rules)
        paid = sum(a.realised_e8 - a.fees_e8 - a.funding_e8 for a in self.venue_accounts)
        equity = self.wallet_e8 + paid + matching.unrealised_e8(self.market, self.venue_accounts, self.rules)
        if gross and equity < ledger.maintenance_e8(gross, self.tiers):
            self.liquidated = True
            a = self.market, self.orders, self.links, self.venue_accounts, self.rules, self.events, self.said
            matching.liquidate(*a)
            for event in self.events[: self.said.n]:
                if event.kind == matching.FILLED:
                    row = (event.leg, event.purpose, event.level, event.generation, event.price_ticks, event.qty_lots)
                    self.fills.append((ts_ns, *row, event.fee_e8, event.realised_e8, event.maker))


def core_rows(config: AccountConfig, instrument: Instrument, bars: Iterable[Bar], paid: list[tuple[int, int]]) -> Venue:
    """Run the core over bars."""
    venue = Venue(config, instrument)
    for number, (open_ns, first, high, low, close) in enumerate(bars):
        if number == 0:
            for stamp, rate in paid:
                if stamp < open_ns:
                    venue.know(stamp, rate)
            venue.due_settlements = [each for each in paid if each[0] >= open_ns]
        path = (first, low, high, close) if close >= first else (first, high, low, close)
        for phase, price in enumerate(path):
            venue.point(
                open_ns + phase * BAR_NS // 4, price, jump=phase == 0, bar_no=number, low=low, high=high
            )
            if venue.liquidated:
                return venue
        venue.bar(open_ns + 3 * BAR_NS // 4, high, low, close)
    return venue


def compare(case: Case, bars: list[Bar], paid: list[tuple[int, int]] | None = None) -> Simulator:
    """Demand the same fills, the same wallet and the same count of ambiguous bars from both."""
    config = settings(case)
    grid, instrument = config.grid[0], instrument_of(config, config.grid[0].instrument)
    reference = Simulator(grid, config.sim, instrument, cash_e8(config.account.wallet_quote), BAR_NS)
    wanted = reference.run(bars, paid or [])
    venue = core_rows(config, instrument, bars, paid or [])
    told = difference(wanted, venue.fills)
    assert told is None, told
    for leg in (0, 1):
        assert reference.position[leg] == venue.venue_accounts[leg].qty_lots
        assert reference.cost[leg] == venue.venue_accounts[leg].cost_e8
    paid_out = sum(a.realised_e8 - a.fees_e8 - a.funding_e8 for a in venue.venue_accounts)
    assert reference.wallet == venue.wallet_e8 + paid_out
    assert len(reference.ambiguous) == venue.market.ambiguous_bars
    return reference


def difference(wanted: list[Row], got: list[Any]) -> str | None:
    """Tell the first fill that differs, with the three before it."""
    for i in range(max(len(wanted), len(got))):
        mine = wanted[i] if i < len(wanted) else None
        its = tuple(got[i]) if i < len(got) else None
        if mine != its:
            before = "".join(f"\n  both      {row}" for row in wanted[max(0, i - 3) : i])
            return f"fill {i} of {len(wanted)}/{len(got)}:{before}\n  reference {mine}\n  core      {its}"
    return None


def lively(seed: int, count: int, start: int = 1_000_000) -> list[Bar]:
    """Make bars with trends, gaps, spikes, flat stretches and closes on the extremes."""
    random, bars, price, drift, noise = Random(seed), [], start, 0.0, 0.001
    for number in range(count):
        if number % 60 == 0:
            drift, noise = random.gauss(0, 0.0006), random.choice([0.0002, 0.001, 0.003])
        if random.random() < 0.03:
            price = int(price * (1 + random.gauss(0, 0.004)))
        close = int(price * (1 + drift + random.gauss(0, noise)))
        high = max(price, close) + int(price * abs(random.gauss(0, noise / 2)))
        low = min(price, close) - int(price * abs(random.gauss(0, noise / 2)))
        if random.random() < 0.03:
            price = high = low = close
        bars.append((START_NS + number * BAR_NS, price, high, low, close))
        price = close + random.choice([0, 0, 0, 1, -1, 40, -40])
    return bars


def recorded(shared_dir: Path, file: str, instrument: Instrument, first: int, count: int) -> list[Bar]:
    """Read bars of the recorded market."""
    arrays = load_bars(shared_dir / "data" / file, instrument, BAR_NS, allow_gaps=True)
    columns = (arrays.open_ns, arrays.open_ticks, arrays.high_ticks, arrays.low_ticks, arrays.close_ticks)
    return list(zip(*(column[first : first + count].tolist() for column in columns), strict=True))
