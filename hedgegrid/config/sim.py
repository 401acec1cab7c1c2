"""Settings of `[sim]`: the exchange inside the process and its market (sections 8, 9 and 14 of the design).

They also say how paper mode and backtests fill. Invariants: margin tiers ascend in notional and in ratio; an
instrument has one source of maintenance margin.
"""

# ruff: noqa: RUF009  # the declaring functions of `fields` return attrs fields, not values

from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import pairwise
from typing import Literal

import attrs

from hedgegrid.config.fields import (
    Problem,
    Section,
    choice,
    count,
    number,
    optional_count,
    optional_number,
    rows,
    section,
    switch,
    table,
)
from hedgegrid.config.values import instrument_fault

Market = Literal["synthetic", "recorded"]
FillModel = Literal["through", "touch", "queue"]

_START_PRICES: Mapping[str, Decimal] = {
    "BTC/USDT:USDT": Decimal(60_000),
    "ETH/USDT:USDT": Decimal(3_000),
    "SOL/USDT:USDT": Decimal(150),
}
_PRICE_MAX = Decimal(10**10)
_DAY_HOURS = (1, 2, 4, 8, 12, 24)


def _ascending(tiers: "tuple[MarginTier, ...]") -> str | None:
    """Why the tiers are no ladder of notionals and ratios."""
    for lower, upper in pairwise(tiers):
        if lower.max_notional_quote >= upper.max_notional_quote:
            return "tiers must ascend in max_notional_quote"
        if lower.maintenance_margin_ratio > upper.maintenance_margin_ratio:
            return "tiers must not descend in maintenance_margin_ratio"
    return None


def _instrument_keys(entries: Mapping[str, object]) -> str | None:
    """Why a table's keys are not all instruments."""
    faults = {instrument_fault(key) for key in entries} - {None}
    return f"keys: {faults.pop()}" if faults else None


def _prices_fault(prices: Mapping[str, Decimal]) -> str | None:
    """Why a table is not one of instruments and their prices."""
    wrong = [key for key, price in prices.items() if not 0 < price <= _PRICE_MAX]
    if wrong:
        return f"the price of {wrong[0]} must be above 0 and at most {_PRICE_MAX}"
    return _instrument_keys(prices)


@attrs.frozen(kw_only=True)
class MarginTier(Section):
    """Maintenance margin of positions up to a notional; beyond the last tier its ratio holds on."""

    max_notional_quote: Decimal = number("upper end of the tier", unit="quote", open_low=True)
    maintenance_margin_ratio: Decimal = number("maintenance margin / notional", unit="ratio", open_low=True)


def _one_margin(rules: "SimInstrumentConfig") -> Iterator[Problem]:
    """Maintenance margin is one ratio or tiers."""
    if rules.maintenance_margin_ratio is not None and rules.tiers:
        yield Problem(path="tiers", message="give maintenance_margin_ratio or tiers, not both")


def _ordered_quantities(rules: "SimInstrumentConfig") -> Iterator[Problem]:
    """The largest order is not smaller than the smallest."""
    if rules.min_qty is not None and rules.max_qty is not None and rules.min_qty > rules.max_qty:
        yield Problem(path="max_qty", message="must not be below min_qty")


def _hours_of_a_day(rules: "SimInstrumentConfig") -> Iterator[Problem]:
    """Settlements fall on the same hours every day."""
    hours = rules.funding_interval_hours
    if hours is not None and hours not in _DAY_HOURS:
        yield Problem(path="funding_interval_hours", message=f"must be one of {_DAY_HOURS} hours, got {hours}")


@attrs.frozen(kw_only=True)
class SimInstrumentConfig(Section):
    """Rules of one simulated instrument; what is absent is taken from the stored rules."""

    RULES = (_one_margin, _ordered_quantities, _hours_of_a_day)

    tick: Decimal | None = optional_number("price step", unit="price", open_low=True)
    lot: Decimal | None = optional_number("quantity step", unit="base", open_low=True)
    min_qty: Decimal | None = optional_number("smallest order", unit="base")
    max_qty: Decimal | None = optional_number("largest order", unit="base", open_low=True)
    min_notional: Decimal | None = optional_number("smallest entry", unit="quote")
    maintenance_margin_ratio: Decimal | None = optional_number(
        "maintenance margin / notional at any size; give this or tiers", unit="ratio", open_low=True
    )
    tiers: tuple[MarginTier, ...] = rows("maintenance margin by notional, ascending", check=_ascending)
    liquidation_fee_bps: Decimal | None = optional_number("fee of a liquidation in place of taker_bps", unit="bps")
    funding_interval_hours: int | None = optional_count(
        "time between settlements; absent and not stored means 8", unit="hours", low=1, high=24
    )


@attrs.frozen(kw_only=True)
class SyntheticConfig(Section):
    """The invented market: a seeded random walk with regimes, volatility clusters and jumps."""

    prices: Mapping[str, Decimal] = table(
        "start price of each instrument", unit="price", default=_START_PRICES, check=_prices_fault
    )
    annual_volatility: Decimal = number(
        "annualised volatility (0.8 = 80 %)", unit="ratio", default="0.8", high=20, open_low=True
    )
    jumps_per_day: Decimal = number("mean number of jumps", unit="jumps", default=4)
    jump_bps: Decimal = number("mean size of a jump, up or down", unit="bps", default=40)
    regime_minutes: int = count("mean length of a regime", unit="minutes", default=60, low=1, high=1440 * 7)


@attrs.frozen(kw_only=True)
class SimConfig(Section):
    """The simulated exchange: sim mode, and the fills of paper and backtest."""

    market: Market = choice("an invented market, or recorded bars and trades", default="synthetic")
    seed: int = count("seed of the invented market and of every random draw", unit="seed", default=1, high=2**63 - 1)
    fill: FillModel = choice(
        "a resting order fills when the price passes it, touches it, or has used up the queue", default="through"
    )
    latency_ms: int = count("time from a decision to a live order", unit="ms", default=0, high=60_000)
    slippage_bps: Decimal = number("worsening of market orders and stops", unit="bps", default=1, high=1_000)
    maker_bps: Decimal = number("fee of a resting fill, negative = rebate", unit="bps", default=2, low=-100, high=1_000)
    taker_bps: Decimal = number("fee of a taking fill, negative = rebate", unit="bps", default=5, low=-100, high=1_000)
    pessimistic: bool = switch("in ambiguous bars the worse outcome comes first", default=False)
    persist: bool = switch("keep the simulated exchange beside the journal, for the next start", default=True)
    synthetic: SyntheticConfig = section(SyntheticConfig, "the invented market")
    instrument: Mapping[str, SimInstrumentConfig] = table(
        "overrides of an instrument's stored rules", default={}, check=_instrument_keys
    )
