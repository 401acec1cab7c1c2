"""Settings of one `[[grid]]`: the ladders of an instrument and everything its decisions need.

The names and meanings follow sections 5 and 14 of the design. Invariants: an arithmetic ladder stays above a
price of zero; the quantity of a ladder's last rung stays within a million times (or a millionth of) the first.
"""

# ruff: noqa: RUF009  # the declaring functions of `fields` return attrs fields, not values

from collections.abc import Iterator
from decimal import Decimal
from typing import Literal

import attrs

from hedgegrid.config.fields import (
    Problem,
    Section,
    choice,
    count,
    number,
    optional_number,
    required,
    section,
    switch,
    text,
)
from hedgegrid.config.values import instrument_fault, plain

Timeframe = Literal["1s", "5s", "15s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d"]
Spacing = Literal["bps", "atr"]
StopScope = Literal["rung", "leg"]
PolicyName = Literal["both", "throttled-counter", "core-and-scalp"]
Bias = Literal["trend", "contrarian"]
FundingMode = Literal["scale", "halt", "warn"]
OnMissing = Literal["pause", "ignore"]

_BPS = 10_000
_SCALE_MAX = Decimal(1_000_000)


def _one_quantity(ladder: "LadderConfig") -> Iterator[Problem]:
    """A rung's quantity is given once: in base or in quote units."""
    if (ladder.base_qty is None) == (ladder.base_quote is None):
        given = "neither" if ladder.base_qty is None else "both"
        yield Problem(path="base_qty", message=f"give exactly one of base_qty and base_quote; {given} is given")


def _above_zero(ladder: "LadderConfig") -> Iterator[Problem]:
    """The lowest rung of an arithmetic ladder has a price above zero."""
    if not ladder.geometric and ladder.levels_long * ladder.step_bps >= _BPS:
        reach = plain(ladder.levels_long * ladder.step_bps)
        yield Problem(
            path="levels_long",
            message=f"levels_long x step_bps reaches {reach} bps under the center, a price of zero or less",
        )


def _bounded_scale(ladder: "LadderConfig") -> Iterator[Problem]:
    """Compounded quantities stay within what integers hold and a trader could mean."""
    levels = max(ladder.levels_long, ladder.levels_short)
    last = ladder.qty_scale ** (levels - 1)
    if not 1 / _SCALE_MAX <= last <= _SCALE_MAX:
        yield Problem(
            path="qty_scale",
            message=f"compounded over {levels} levels the last rung would be more than "
            f"{plain(_SCALE_MAX)} times the first, or less than that part of it",
        )


@attrs.frozen(kw_only=True)
class LadderConfig(Section):
    """Where the rungs are and how large they are."""

    RULES = (_one_quantity, _above_zero, _bounded_scale)

    spacing: Spacing = choice("how far rungs stand apart: step_bps, or ATR where that is wider", default="bps")
    step_bps: Decimal = number(
        "distance of neighbouring rungs from each other, of the center price", unit="bps", default=12, open_low=True
    )
    atr_multiple: Decimal = number('step in ATRs, for spacing = "atr"', unit="multiple", default=1, open_low=True)
    geometric: bool = switch("multiply the price from rung to rung instead of adding to it", default=False)
    levels_long: int = count("rungs under the center", unit="rungs", default=8, low=1, high=200)
    levels_short: int = count("rungs above the center", unit="rungs", default=8, low=1, high=200)
    base_qty: Decimal | None = optional_number(
        "quantity of the first rung; give this or base_quote", unit="base", open_low=True
    )
    base_quote: Decimal | None = optional_number(
        "amount of the first rung; give this or base_qty", unit="quote", open_low=True
    )
    qty_scale: Decimal = number(
        "quantity of a rung in terms of the one before it", unit="multiple", default=1, high=10, open_low=True
    )
    recenter_trigger_bps: Decimal = number(
        "the center moves when the price is further from it than this", unit="bps", default=60, open_low=True
    )
    max_inventory_quote: Decimal = number(
        "largest position and working entries of a leg, at the mid", unit="quote", default=20_000, open_low=True
    )
    vol_target: Decimal | None = optional_number(
        "annualised volatility above which quantities shrink; absent = off", unit="ratio", high=100, open_low=True
    )
    vol_lambda: Decimal = number(
        "decay of the volatility estimate, for vol_target",
        unit="ratio",
        default="0.97",
        open_low=True,
        open_high=True,
    )


@attrs.frozen(kw_only=True)
class ExitConfig(Section):
    """Take-profits and stops of the lots."""

    tp_steps: Decimal = number("take-profit distance from a fill", unit="steps", default=1, open_low=True)
    sl_steps: Decimal = number("stop distance from a fill", unit="steps", default=12, open_low=True)
    stop_scope: StopScope = choice("a stop for each lot, or one at the leg's average entry", default="rung")
    max_stop_orders: int = count(
        "stop orders of a leg, neighbours merge; the venue's limit bounds it", unit="orders", default=4, low=1, high=200
    )
    backstop_steps: Decimal = number(
        "distance of the leg's last stop beyond the deepest one its ladder could need",
        unit="steps",
        default=4,
        open_low=True,
    )


def _fast_before_slow(regime: "RegimeConfig") -> Iterator[Problem]:
    """The fast average is the shorter one."""
    if regime.ema_fast >= regime.ema_slow:
        yield Problem(
            path="ema_fast", message=f"must be below ema_slow, got {regime.ema_fast} against {regime.ema_slow}"
        )


@attrs.frozen(kw_only=True)
class RegimeConfig(Section):
    """How a trend is told from a sideways market."""

    RULES = (_fast_before_slow,)

    ema_fast: int = count("length of the fast average", unit="bars", default=20, low=2, high=5_000)
    ema_slow: int = count("length of the slow average", unit="bars", default=60, low=2, high=5_000)
    adx_len: int = count("length of the ADX", unit="bars", default=14, low=2, high=5_000)
    atr_len: int = count("length of the ATR", unit="bars", default=14, low=1, high=5_000)
    adx_threshold: Decimal = number("an ADX below this is a sideways market", unit="points", default=25)
    hysteresis_bps: Decimal = number("averages nearer than this keep the regime as it is", unit="bps", default=3)


@attrs.frozen(kw_only=True)
class PolicyConfig(Section):
    """What a trend does to the ladders."""

    name: PolicyName = choice("what the leg against the trend may still do", default="throttled-counter")
    bias: Bias = choice("trend holds the counter-trend leg back, contrarian the other", default="trend")
    counter_levels: int = count("nearest rungs the held-back leg keeps", unit="rungs", default=4, high=200)
    counter_qty_scale: Decimal = number(
        "quantity of the held-back leg's rungs, for throttled-counter", unit="ratio", default="0.5", open_low=True
    )
    core_levels: int = count("outer rungs that are core, for core-and-scalp", unit="rungs", default=4, high=200)
    core_tp_multiple: Decimal = number(
        "take-profit of core rungs in terms of tp_steps", unit="multiple", default="2.5", open_low=True
    )


@attrs.frozen(kw_only=True)
class FundingConfig(Section):
    """What an expensive funding settlement does to the leg that pays it."""

    mode: FundingMode = choice("shrink the paying ladder, empty it, or only warn", default="scale")
    max_cost_bps_8h: Decimal = number("cost over which the guard acts, for 8 hours", unit="bps", default=3)
    window_minutes: int = count(
        "how long before a settlement the guard acts", unit="minutes", default=30, low=1, high=1440 * 7
    )
    on_missing: OnMissing = choice("what a missing or expired rate does", default="pause")


@attrs.frozen(kw_only=True)
class ExecutionConfig(Section):
    """How entries are sent and when a working order is near enough to the desired one."""

    post_only: bool = switch("no entry ever takes", default=True)
    retry_attempts: int = count("retries of a rejected post-only entry", unit="attempts", default=3, high=20)
    retry_delay_ms: int = count("wait before each retry", unit="ms", default=500, high=60_000)
    retry_max_price_deviation_bps: Decimal = number("farthest a retry may stand from its rung", unit="bps", default=5)
    price_tolerance_bps: Decimal = number(
        "a working order this near to the desired price stays", unit="bps", default="0.5"
    )
    qty_tolerance_ratio: Decimal = number(
        "a working order this near to the desired quantity stays", unit="ratio", default="0.01"
    )


@attrs.frozen(kw_only=True)
class GridConfig(Section):
    """One instrument and its grid."""

    instrument: str = text("BASE/QUOTE:SETTLE of a linear perpetual", check=instrument_fault)
    timeframe: Timeframe = choice("length of the bars decisions are taken on", default="1m")
    max_position_qty: Decimal = number("largest position of a leg", unit="base", open_low=True)
    ladder: LadderConfig = required("where the rungs are and how large")
    exit: ExitConfig = section(ExitConfig, "take-profits and stops")
    regime: RegimeConfig = section(RegimeConfig, "trend or sideways")
    policy: PolicyConfig = section(PolicyConfig, "what a trend does to the ladders")
    funding: FundingConfig = section(FundingConfig, "the guard against expensive funding")
    execution: ExecutionConfig = section(ExecutionConfig, "how entries are sent")
