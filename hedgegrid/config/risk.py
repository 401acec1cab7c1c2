"""Settings of `[risk]`: the limits of the gate and the session controls (sections 6 and 15 of the design).

Invariant: nothing here is a limit that applies silently in live mode; the loader demands every key of it there.
"""

# ruff: noqa: RUF009  # the declaring functions of `fields` return attrs fields, not values

from decimal import Decimal
from typing import Literal

import attrs

from hedgegrid.config.fields import Section, choice, count, number, section, switch

ControlAction = Literal["pause", "cancel_entries", "flatten"]
KillAction = Literal["cancel_entries", "flatten"]

_DAY_MS = 86_400_000
_WEEK_S = 604_800
_ACTION = "what it does when it trips"
_ENABLED = "whether it is judged at all"


@attrs.frozen(kw_only=True)
class VarConfig(Section):
    """Cap on parametric value at risk."""

    confidence: Decimal = number(
        "one-sided confidence", unit="ratio", default="0.99", low="0.5", open_low=True, open_high=True
    )
    horizon_hours: int = count("horizon", unit="hours", default=24, low=1, high=720)
    max_ratio: Decimal = number("largest value at risk, of equity", unit="ratio", default="0.15", open_low=True)
    lambda_: Decimal = number(
        "decay of the volatility estimate", unit="ratio", default="0.97", open_low=True, open_high=True
    )


@attrs.frozen(kw_only=True)
class DrawdownConfig(Section):
    """Loss from the peak of equity."""

    enabled: bool = switch(_ENABLED, default=True)
    max_ratio: Decimal = number("drawdown at which it trips, of the peak", unit="ratio", default="0.10", open_low=True)
    action: ControlAction = choice(_ACTION, default="flatten")


@attrs.frozen(kw_only=True)
class DailyLossConfig(Section):
    """Loss since the start of the UTC day."""

    enabled: bool = switch(_ENABLED, default=True)
    max_quote: Decimal = number("loss at which it trips", unit="quote", default=300, open_low=True)
    action: ControlAction = choice(_ACTION, default="flatten")


@attrs.frozen(kw_only=True)
class SessionLossConfig(Section):
    """Loss since the operator's last reset."""

    enabled: bool = switch(_ENABLED, default=True)
    max_quote: Decimal = number("loss at which it trips", unit="quote", default=500, open_low=True)
    action: ControlAction = choice(_ACTION, default="flatten")


@attrs.frozen(kw_only=True)
class CircuitBreakerConfig(Section):
    """Too many errors in a short time."""

    enabled: bool = switch(_ENABLED, default=True)
    max_errors: int = count("errors in the window; one more trips it", unit="errors", default=10, low=1, high=10_000)
    window_s: int = count("length of the window", unit="s", default=60, low=1, high=_WEEK_S)
    cooldown_s: int = count("quiet time before it clears", unit="s", default=300, low=1, high=_WEEK_S)
    action: ControlAction = choice(_ACTION, default="pause")


@attrs.frozen(kw_only=True)
class VolatilityHaltConfig(Section):
    """Realised volatility that no grid should trade in."""

    enabled: bool = switch(_ENABLED, default=True)
    max_annualised: Decimal = number(
        "annualised volatility at which it trips (3 = 300 %)", unit="multiple", default=3, open_low=True
    )
    action: ControlAction = choice(_ACTION, default="cancel_entries")


@attrs.frozen(kw_only=True)
class FundingKillConfig(Section):
    """Funding that costs more than the grid can earn."""

    enabled: bool = switch(_ENABLED, default=True)
    max_cost_bps_8h: Decimal = number("cost at which it trips, for 8 hours", unit="bps", default=20, open_low=True)
    action: ControlAction = choice(_ACTION, default="cancel_entries")


@attrs.frozen(kw_only=True)
class MarginKillConfig(Section):
    """Maintenance margin that comes near to equity."""

    enabled: bool = switch(_ENABLED, default=True)
    max_ratio: Decimal = number(
        "maintenance margin / equity at which it trips", unit="ratio", default="0.8", open_low=True
    )
    action: ControlAction = choice(_ACTION, default="flatten")


@attrs.frozen(kw_only=True)
class KillSwitchConfig(Section):
    """The switch that a person throws: `hedgegrid kill`, or the kill file beside the journal.

    It always takes the entries away: a kill that leaves them to fill would be none.
    """

    enabled: bool = switch("whether it may be thrown at all", default=True)
    action: KillAction = choice("what it does when it is thrown", default="flatten")


@attrs.frozen(kw_only=True)
class RiskConfig(Section):
    """What the gate refuses and which controls stop trading."""

    max_order_notional_quote: Decimal = number("largest entry", unit="quote", default=5_000, open_low=True)
    max_notional_per_leg_quote: Decimal = number(
        "largest leg over all instruments, open and UNKNOWN entries at worst case",
        unit="quote",
        default=20_000,
        open_low=True,
    )
    max_gross_notional_quote: Decimal = number(
        "largest sum of both legs over all instruments", unit="quote", default=40_000, open_low=True
    )
    max_net_notional_quote: Decimal = number(
        "largest difference of the legs over all instruments", unit="quote", default=20_000, open_low=True
    )
    max_leverage: Decimal = number(
        "gross notional / equity after worst case", unit="multiple", default=4, high=125, open_low=True
    )
    max_position_ratio: Decimal = number("initial margin / equity", unit="ratio", default="0.95", open_low=True)
    max_margin_ratio: Decimal = number(
        "maintenance margin / equity after worst case", unit="ratio", default="0.6", open_low=True
    )
    min_liquidation_distance_ratio: Decimal = number(
        "least distance from mark to liquidation after worst case",
        unit="ratio",
        default="0.1",
        open_low=True,
        open_high=True,
    )
    max_open_orders_per_leg: int = count("working entries of a leg", unit="orders", default=40, low=1, high=1_000)
    max_orders_per_minute: int = count("orders sent in a minute", unit="orders", default=120, low=1, high=10_000)
    price_collar_bps: Decimal = number(
        "farthest an order may be priced from mark and last quote", unit="bps", default=500, open_low=True
    )
    max_quote_age_ms: int = count("oldest quote to decide on", unit="ms", default=2_000, low=1, high=_DAY_MS)
    max_mark_age_ms: int = count("oldest mark price to decide on", unit="ms", default=5_000, low=1, high=_DAY_MS)
    max_balance_age_ms: int = count("oldest balance to decide on", unit="ms", default=60_000, low=1, high=_DAY_MS)
    approval_ttl_ms: int = count("life of an approval", unit="ms", default=2_000, low=1, high=_DAY_MS)
    max_unprotected_ms: int = count(
        "longest a position may stand without its stop", unit="ms", default=2_000, low=1, high=_DAY_MS
    )
    stop_overlap_ms: int = count(
        "longest that stops may exceed a position during a replacement", unit="ms", default=2_000, low=1, high=_DAY_MS
    )
    exit_excess_ms: int = count(
        "time to cancel exits that a fill left beyond the position", unit="ms", default=1_000, low=1, high=_DAY_MS
    )
    cancel_budget_ratio: Decimal = number(
        "share of the message budget kept for cancels and reductions",
        unit="ratio",
        default="0.3",
        open_low=True,
        open_high=True,
    )
    flatten_slice_quote: Decimal = number(
        "largest market reduction of a flatten at once", unit="quote", default=5_000, open_low=True
    )
    var: VarConfig = section(VarConfig, "cap on value at risk")
    drawdown: DrawdownConfig = section(DrawdownConfig, "loss from the peak of equity")
    daily_loss: DailyLossConfig = section(DailyLossConfig, "loss of the UTC day")
    session_loss: SessionLossConfig = section(SessionLossConfig, "loss since the operator's last reset")
    circuit_breaker: CircuitBreakerConfig = section(CircuitBreakerConfig, "too many errors")
    volatility_halt: VolatilityHaltConfig = section(VolatilityHaltConfig, "too wild a market")
    funding_kill: FundingKillConfig = section(FundingKillConfig, "too expensive funding")
    margin_kill: MarginKillConfig = section(MarginKillConfig, "too little margin")
    kill_switch: KillSwitchConfig = section(KillSwitchConfig, "the switch that a person throws")
