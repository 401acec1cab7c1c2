"""The decision core and the simulated venue against a second telling of the design, fill by fill.

Invariant: both sides see the same bars and the same settlements and share no code but the settings' own classes; a
difference is shown with the first event that differs and the state of both sides before it.
"""

from pathlib import Path
from random import Random
from typing import Any

import pytest

from hedgegrid.config.load import loads
from hedgegrid.config.params import grid_params, instrument_of, venue_rules
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core import funding, ledger, margin, venue_tables
from hedgegrid.core.records import MarginTier
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, cash_e8
from hedgegrid.venues.simulated.recorded_bars import load_bars
from hedgegrid.venues.simulated.recorded_funding import load_funding
from tests.core.desk import PLAIN as CORE
from tests.core.desk import Desk
from tests.reference.simulator import Simulator
from tests.reference.state import Bar, Row

BAR_NS = NS_PER_MINUTE
START_NS = 1_735_689_600 * 10**9
JULY_NS = 1_751_846_400 * 10**9
"""2025-07-07 00:00 UTC."""
CRASH_NS = 1_738_533_600 * 10**9
"""2025-02-02 22:00 UTC."""

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
"""Parts of a config's text by where they stand in it."""

HOURLY = "min_notional = 5\nfunding_interval_hours = 1"

LADDER_TIGHT = "step_bps = 4\nlevels_long = 15\nlevels_short = 14\nrecenter_trigger_bps = 25"
CORE_SCALP = 'name = "core-and-scalp"\ncounter_levels = 2\ncore_levels = 3\ncore_tp_multiple = 2.777777'

CASES: dict[str, Case] = {
    "plain": {},
    "long regime": {"regime": "", "sim": "latency_ms = 100\nmaker_bps = -0.5"},
    "atr geometric quote": {
        "ladder": """spacing = "atr"
            atr_multiple = 0.777777
            geometric = true
            step_bps = 5
            levels_long = 10
            levels_short = 6
            qty_scale = 1.15
            recenter_trigger_bps = 40""",
        "qty": "base_quote = 600",
        "exit": "tp_steps = 1.5\nsl_steps = 7.5\nmax_stop_orders = 3",
        "policy": 'name = "both"',
    },
    "latency of a point": {"sim": "latency_ms = 15000\nslippage_bps = 3", "exit": "sl_steps = 5\nmax_stop_orders = 2"},
    "latency of three points": {"sim": 'latency_ms = 40000\nfill = "touch"', "execution": "qty_tolerance_ratio = 0"},
    "latency of a bar": {
        "sim": "latency_ms = 60000",
        "ladder": "step_bps = 6\nvol_target = 0.5",
        "execution": "qty_tolerance_ratio = 0",
    },
    "pessimistic": {"sim": "pessimistic = true", "exit": "tp_steps = 2\nsl_steps = 2"},
    "pessimistic touch": {
        "sim": 'pessimistic = true\nfill = "touch"\nlatency_ms = 100',
        "exit": "tp_steps = 1\nsl_steps = 1.5",
    },
    "core and scalp": {"policy": CORE_SCALP, "exit": "tp_steps = 0.9\nsl_steps = 9"},
    "contrarian core": {"policy": CORE_SCALP + '\nbias = "contrarian"', "sim": "latency_ms = 15001"},
    "contrarian": {
        "policy": 'bias = "contrarian"\ncounter_levels = 3\ncounter_qty_scale = 0.35',
        "qty": "base_quote = 777",
    },
    "leg stop": {"exit": 'stop_scope = "leg"\nsl_steps = 6\ntp_steps = 1.3'},
    "leg stop later": {"exit": 'stop_scope = "leg"\nsl_steps = 4\ntp_steps = 2', "sim": "latency_ms = 16000"},
    "inventory": {"ladder": "step_bps = 8\nmax_inventory_quote = 3500\nqty_scale = 1.3"},
    "inventory later": {
        "ladder": "step_bps = 8\nmax_inventory_quote = 3500\nqty_scale = 0.8\nlevels_long = 12",
        "sim": "latency_ms = 31000",
    },
    "volatility and minima": {
        "ladder": "vol_target = 0.4\nvol_lambda = 0.9\nstep_bps = 9",
        "execution": "qty_tolerance_ratio = 0.05",
        "rules": "min_notional = 300\nmin_qty = 0.003",
    },
    "takers": {"execution": "post_only = false", "sim": "slippage_bps = 5\nlatency_ms = 17000", "ladder": LADDER_TIGHT},
    "retries": {
        "ladder": "step_bps = 3",
        "execution": "retry_attempts = 5\nretry_delay_ms = 20000\nprice_tolerance_bps = 0",
        "sim": "latency_ms = 15000",
        "rules": "tick = 1",
    },
    "merged to one": {"ladder": LADDER_TIGHT, "exit": "sl_steps = 3\nmax_stop_orders = 1"},
    "equal prices": {
        "ladder": "step_bps = 10\nlevels_long = 12\nlevels_short = 12\nrecenter_trigger_bps = 200",
        "exit": "tp_steps = 2\nsl_steps = 3",
        "policy": 'name = "both"',
        "sim": "latency_ms = 100",
    },
    "liquidation": {
        "wallet": "300",
        "ladder": "step_bps = 5\nlevels_long = 15\nlevels_short = 15\nrecenter_trigger_bps = 20",
        "exit": "sl_steps = 200",
        "rules": """liquidation_fee_bps = 50
            tiers = [
                { max_notional_quote = 500, maintenance_margin_ratio = 0.01 },
                { max_notional_quote = 2000, maintenance_margin_ratio = 0.03 },
                { max_notional_quote = 9000, maintenance_margin_ratio = 0.1 },
            ]""",
    },
    "funding scale": {"funding": "max_cost_bps_8h = 3\nwindow_minutes = 30", "rules": HOURLY},
    "funding halt": {
        "funding": 'mode = "halt"\nmax_cost_bps_8h = 1\nwindow_minutes = 25\non_missing = "ignore"',
        "rules": HOURLY,
        "sim": "latency_ms = 16000",
    },
    "funding warn": {"funding": 'mode = "warn"\nmax_cost_bps_8h = 1\nwindow_minutes = 25', "rules": HOURLY},
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
        super().__init__(
            CORE, list, grid_params(config.grid[0], instrument, config.risk), venue_rules(config, instrument)
        )
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
            margin.settle_funding(self.market, self.venue_accounts, self.rules, rate)
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
        gross = margin.gross_notional_e8(self.market, self.venue_accounts, self.rules)
        paid = sum(a.realised_e8 - a.fees_e8 - a.funding_e8 for a in self.venue_accounts)
        equity = self.wallet_e8 + paid + margin.unrealised_e8(self.market, self.venue_accounts, self.rules)
        if gross and equity < ledger.maintenance_e8(gross, self.tiers):
            self.liquidated = True
            a = self.market, self.orders, self.links, self.venue_accounts, self.rules, self.events, self.said
            margin.liquidate(*a)
            for event in self.events[: self.said.n]:
                if event.kind == venue_tables.FILLED:
                    row = (event.leg, event.purpose, event.level, event.generation, event.price_ticks, event.qty_lots)
                    self.fills.append((ts_ns, *row, event.fee_e8, event.realised_e8, event.maker))

    def walk(self, number: int, bar: Bar) -> None:
        """Walk a bar's four points, then decide."""
        open_ns, first, high, low, close = bar
        path = (first, low, high, close) if close >= first else (first, high, low, close)
        for phase, price in enumerate(path):
            self.point(open_ns + phase * BAR_NS // 4, price, jump=phase == 0, bar_no=number, low=low, high=high)
            if self.liquidated:
                return
        self.bar(open_ns + 3 * BAR_NS // 4, high, low, close)


def both(case: Case, start_ns: int, paid: list[tuple[int, int]]) -> tuple[Simulator, Venue]:
    """Make both sides of a case."""
    config = settings(case)
    grid, instrument = config.grid[0], instrument_of(config, config.grid[0].instrument)
    reference = Simulator(grid, config.sim, instrument, cash_e8(config.account.wallet_quote), BAR_NS)
    venue = Venue(config, instrument)
    reference.pay(paid, start_ns)
    for stamp, rate in paid:
        if stamp < start_ns:
            venue.know(stamp, rate)
    venue.due_settlements = [each for each in paid if each[0] >= start_ns]
    return reference, venue


def compare(case: Case, bars: list[Bar], paid: list[tuple[int, int]]) -> Simulator:
    """Demand the same fills, the same money and the same count of ambiguous bars from both."""
    reference, venue = both(case, bars[0][0], paid)
    same = 0
    for number, bar in enumerate(bars):
        reference.walk(number, bar)
        venue.walk(number, bar)
        if reference.rows[same:] != venue.fills[same:]:
            pytest.fail(difference(reference.rows, venue.fills, same) + before(case, bars, paid, number), pytrace=False)
        same = len(reference.rows)
        if reference.liquidated:
            break
    paid_out = sum(a.realised_e8 - a.fees_e8 - a.funding_e8 for a in venue.venue_accounts)
    assert reference.wallet == venue.wallet_e8 + paid_out
    assert reference.position == [a.qty_lots for a in venue.venue_accounts]
    assert reference.cost == [a.cost_e8 for a in venue.venue_accounts]
    assert reference.liquidated == venue.liquidated
    assert venue.state.overflowed == 0
    assert len(reference.ambiguous) == venue.market.ambiguous_bars
    return reference


def before(case: Case, bars: list[Bar], paid: list[tuple[int, int]], number: int) -> str:
    """Walk a case again up to a bar and tell the states of both sides."""
    reference, venue = both(case, bars[0][0], paid)
    for earlier, bar in enumerate(bars[:number]):
        reference.walk(earlier, bar)
        venue.walk(earlier, bar)
    return f"\nbar {number}: {bars[number]}; before it:{told(reference)}{core_told(venue)}"


def difference(wanted: list[Row], got: list[Any], first: int) -> str:
    """Tell the first fill that differs from ``first`` on, with the three before it."""
    for i in range(first, max(len(wanted), len(got))):
        mine = wanted[i] if i < len(wanted) else None
        its = got[i] if i < len(got) else None
        if mine != its:
            agreed = "".join(f"\n  both      {row}" for row in wanted[max(0, i - 3) : i])
            return f"fill {i}:{agreed}\n  reference {mine}\n  core      {its}"
    return "no fill differs"


def told(reference: Simulator) -> str:
    """Tell the reference's position, grid and orders."""
    grid = (reference.regime, reference.center, reference.step, reference.generation)
    lines = [
        (o.leg, o.purpose, *o.rung[1:], o.price, o.qty or sum(lot.qty for lot in o.lots), o.where, o.cancelling)
        for o in sorted(reference.orders, key=lambda o: (o.leg, o.purpose, o.price))
    ]
    return f"\n reference {reference.position} {grid}" + "".join(f"\n  {line}" for line in lines)


def core_told(venue: Venue) -> str:
    """Tell the core's position, grid, orders and entries."""
    state = venue.state
    position = [account.qty_lots for account in venue.venue_accounts]
    grid = (state.regime, state.center_ticks, state.step_micro, state.generation)
    orders = sorted(
        (o.leg, o.purpose, o.level, o.generation, o.price_ticks, o.qty_lots, o.state) for o in venue.orders if o.state
    )
    waits = [
        (e.leg, e.level, e.generation, e.price_ticks, e.qty_lots, e.state, "waits", e.wait_qty_lots)
        for e in venue.entries
        if e.state > 1
    ]
    return f"\n core {position} {grid}" + "".join(f"\n  {line}" for line in [*orders, *waits])


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


def recorded(shared_dir: Path, file: str, instrument: Instrument, start_ns: int, count: int) -> list[Bar]:
    """Read ``count`` bars of the recorded market from a time on."""
    arrays = load_bars(shared_dir / "data/um_1m" / file, instrument, BAR_NS, allow_gaps=True)
    first = arrays.open_ns.tolist().index(start_ns)
    columns = (arrays.open_ns, arrays.open_ticks, arrays.high_ticks, arrays.low_ticks, arrays.close_ticks)
    return list(zip(*(column[first : first + count].tolist() for column in columns), strict=True))


def settlements(seed: int, bars: list[Bar]) -> list[tuple[int, int]]:
    """Make settlements, one before the bars, and about every fourth hour without one."""
    random, first = Random(seed), bars[0][0]
    hours = range(-1, len(bars) * BAR_NS // NS_PER_HOUR + 1)
    rates = (60_000, 30_000, 10_000, 5_000, -8_000, -30_000, -60_000)
    return [(first + hour * NS_PER_HOUR, random.choice(rates)) for hour in hours if random.random() < 0.75]


@pytest.mark.parametrize("name", CASES)
def test_every_setting_on_an_invented_market(name: str) -> None:
    """Every setting of the grid and of the simulated venue means in the core what the design says, to the last fill."""
    seed = 1_000 + list(CASES).index(name)
    bars = lively(seed, 600, 20_000 if "tick = 1" in CASES[name].get("rules", "") else 1_000_000)
    reference = compare(CASES[name], bars, settlements(seed, bars))
    assert len(reference.rows) > (5 if name == "liquidation" else 90)
    assert reference.liquidated == (name == "liquidation")


@pytest.mark.parametrize("name", ["plain", "atr geometric quote", "latency of three points"])
def test_quiet_recorded_days(name: str, shared_dir: Path) -> None:
    """Two days of BTC in July 2025 with their funding give the same fills in the core as by the design."""
    instrument = instrument_of(settings({}), "BTC/USDT:USDT")
    bars = recorded(shared_dir, "2025-07-06_2025-07-17/BTCUSDT-1m.feather", instrument, JULY_NS, 3_000)
    assert len(compare(CASES[name], bars, recorded_funding(shared_dir, "BTCUSDT", bars)).rows) > 50


@pytest.mark.parametrize("name", ["plain", "pessimistic", "leg stop later", "takers", "equal prices"])
def test_a_recorded_crash(name: str, shared_dir: Path) -> None:
    """The hours around ETH's fall of 2025-02-03 give the same fills in the core as by the design."""
    case = {"qty": "base_qty = 0.3", **CASES[name], "instrument": "ETH/USDT:USDT"}
    instrument = instrument_of(settings(case), "ETH/USDT:USDT")
    bars = recorded(shared_dir, "2025-01-27_2025-02-26/ETHUSDT-1m.feather", instrument, CRASH_NS, 400)
    assert min(bar[3] for bar in bars) < 0.9 * bars[0][1]
    assert len(compare(case, bars, recorded_funding(shared_dir, "ETHUSDT", bars)).rows) > 200


def recorded_funding(shared_dir: Path, symbol: str, bars: list[Bar]) -> list[tuple[int, int]]:
    """Read the settlements of the bars' time, and the last one before it."""
    series = load_funding(shared_dir / f"data/funding/long/{symbol}-funding_2023-12_2025-11.feather")
    first, last = bars[0][0] - series_gap(series.ts_ns.tolist()), bars[-1][0]
    pairs = zip(series.ts_ns.tolist(), series.rate_e8.tolist(), strict=True)
    return [(stamp, rate) for stamp, rate in pairs if first < stamp <= last]


def series_gap(stamps: list[int]) -> int:
    """Give the time between settlements."""
    return stamps[-1] - stamps[-2]
