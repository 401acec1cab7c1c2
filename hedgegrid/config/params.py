"""Settings and rules as the core reads them: integers with units, made once at the start.

Invariants: every conversion is exact or refused (the schema has refused finer figures already); what the arithmetic
of the core could not hold in 64 bits is refused here, in one line.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from importlib.resources import files
from statistics import NormalDist

import attrs
import tomli

from hedgegrid.config.grid import GridConfig
from hedgegrid.config.risk import RiskConfig, VarConfig
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core import codes, session
from hedgegrid.core.breaker import BreakerLimits
from hedgegrid.core.gate_records import InstrumentRisk, RiskLimits, SessionLimits
from hedgegrid.core.health import HealthLimits
from hedgegrid.core.pause import ControlAction
from hedgegrid.core.protection import ProtectionLimits
from hedgegrid.core.records import GridParams, VenueRules
from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.units import (
    NS_PER_DAY,
    NS_PER_HOUR,
    NS_PER_MINUTE,
    NS_PER_S,
    TIMEFRAMES_NS,
    cash_e8,
    lots_ceiling,
    lots_floor,
    micro_lots_floor,
    ns_from_ms,
    ppm_from_bps,
    ppm_from_ratio,
    ticks_nearest,
)

_POLICIES = {
    "both": codes.POLICY_BOTH,
    "throttled-counter": codes.POLICY_THROTTLED,
    "core-and-scalp": codes.POLICY_CORE,
}
_FUNDING_MODES = {"scale": codes.FUNDING_SCALE, "halt": codes.FUNDING_HALT, "warn": codes.FUNDING_WARN}
_FILLS = {"through": codes.FILL_THROUGH, "touch": codes.FILL_TOUCH, "queue": codes.FILL_QUEUE}
_ACTIONS = {"pause": session.PAUSE, "cancel_entries": session.CANCEL_ENTRIES, "flatten": session.FLATTEN}
_DEFAULT_MAX_QTY = Decimal(10) ** 9
_DEFAULT_LIQUIDATION_FEE_BPS = Decimal(125)
_DEFAULT_FUNDING_HOURS = 8
_LOT_NOTIONAL_MAX_E8 = 9 * 10**12
_POSITION_LOTS_MAX = 2_000_000_000
"""A leg's lots: their square must fit into 64 bits where a cost is shared out."""


def stored_rules() -> dict[str, dict[str, object]]:
    """Give the snapshot of instrument rules that the package carries, by instrument."""
    text = files("hedgegrid.config").joinpath("rules.toml").read_text(encoding="utf-8")
    rules: dict[str, dict[str, object]] = tomli.loads(text, parse_float=Decimal)["instrument"]
    return rules


def snapshot_day() -> str:
    """Give the day on which the package's snapshot of rules was taken."""
    text = files("hedgegrid.config").joinpath("rules.toml").read_text(encoding="utf-8")
    return str(tomli.loads(text)["taken"])


def instrument_of(config: AccountConfig, name: str, stored: Mapping[str, object] | None = None) -> Instrument:
    """Give an instrument's rules: the config's, else the stored ones. Raises Fatal where neither knows enough.

    ``stored`` are those kept with recorded data, in the words of the package's snapshot, and go before it.
    """
    given = config.sim.instrument.get(name)
    stored = stored_rules().get(name, {}) if stored is None else stored
    merged: dict[str, object] = dict(stored)
    if given is not None:
        said = attrs.asdict(given, recurse=False)
        merged.update({key: value for key, value in said.items() if value is not None and value != ()})
        if given.maintenance_margin_ratio is not None:
            merged.pop("tiers", None)
    missing = [key for key in ("tick", "lot") if key not in merged]
    if "tiers" not in merged and "maintenance_margin_ratio" not in merged:
        missing.append("maintenance_margin_ratio")
    if missing:
        raise Fatal(
            f'no stored rules for {name}: give {", ".join(missing)} under [sim.instrument."{name}"] in the config'
        )
    return _instrument(name, merged)


def _decimal(value: object) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _instrument(name: str, rules: dict[str, object]) -> Instrument:
    tick, lot = _decimal(rules["tick"]), _decimal(rules["lot"])
    hours = int(str(rules.get("funding_interval_hours", _DEFAULT_FUNDING_HOURS)))
    instrument = Instrument(
        name=name,
        tick=tick,
        lot=lot,
        min_qty_lots=max(1, lots_ceiling(_decimal(rules.get("min_qty", lot)), lot)),
        max_qty_lots=lots_floor(_decimal(rules.get("max_qty", _DEFAULT_MAX_QTY)), lot),
        min_notional_e8=cash_e8(_decimal(rules.get("min_notional", 0))),
        tiers=_tiers(rules),
        liquidation_fee_ppm=ppm_from_bps(_decimal(rules.get("liquidation_fee_bps", _DEFAULT_LIQUIDATION_FEE_BPS))),
        funding_interval_ns=hours * NS_PER_HOUR,
    )
    try:
        unit = instrument.unit_e8
    except ValueError as error:
        raise Fatal(f"{name}: one tick on one lot is worth less than 1e-8 quote: {error}") from error
    if unit < 1:
        raise Fatal(f"{name}: one tick on one lot is worth less than 1e-8 quote; such an instrument cannot be counted")
    return instrument


def _tiers(rules: dict[str, object]) -> tuple[Tier, ...]:
    """Give the margin tiers, from a table of the snapshot or of the config, or the one ratio for any size."""
    rows = rules.get("tiers")
    if not isinstance(rows, list | tuple):
        ratio = _decimal(rules["maintenance_margin_ratio"])
        return (Tier(max_notional_e8=10**18, maintenance_ppm=ppm_from_ratio(ratio)),)
    tiers: list[Tier] = []
    for row in rows:
        entry = row if isinstance(row, dict) else attrs.asdict(row)
        tiers.append(
            Tier(
                max_notional_e8=cash_e8(_decimal(entry["max_notional_quote"])),
                maintenance_ppm=ppm_from_ratio(_decimal(entry["maintenance_margin_ratio"])),
            )
        )
    return tuple(tiers)


def bar_length_ns(grid: GridConfig) -> int:
    """Give the length of a grid's bars."""
    return TIMEFRAMES_NS[grid.timeframe]


def bars_per_year(grid: GridConfig) -> float:
    """Give how many of a grid's bars make a year of 365 days."""
    return 365 * NS_PER_DAY / bar_length_ns(grid)


def grid_params(grid: GridConfig, instrument: Instrument, risk: RiskConfig) -> GridParams:
    """Give one grid's settings for the core, with how ``risk`` has a flatten sliced.

    Raises Fatal where a figure leaves what 64 bits hold.
    """
    ladder, leave, regime, execution = grid.ladder, grid.exit, grid.regime, grid.execution
    if lots_floor(grid.max_position_qty, instrument.lot) > _POSITION_LOTS_MAX:
        raise Fatal(
            f"{instrument.name}: max_position_qty is more than {_POSITION_LOTS_MAX:,} lots of {instrument.lot:f}, "
            "which the arithmetic cannot hold; lower it"
        )
    if ladder.base_qty is not None and lots_floor(ladder.base_qty, instrument.lot) < instrument.min_qty_lots:
        raise Fatal(
            f"{instrument.name}: base_qty {ladder.base_qty} is under the smallest order of "
            f"{instrument.qty_text(instrument.min_qty_lots)}; raise it"
        )
    params = GridParams(
        unit_e8=instrument.unit_e8,
        min_qty_lots=instrument.min_qty_lots,
        min_notional_e8=instrument.min_notional_e8,
        atr_spacing=int(ladder.spacing == "atr"),
        step_ppm=ppm_from_bps(ladder.step_bps),
        atr_multiple_ppm=ppm_from_ratio(ladder.atr_multiple),
        geometric=int(ladder.geometric),
        levels_long=ladder.levels_long,
        levels_short=ladder.levels_short,
        base_micro_lots=0 if ladder.base_qty is None else micro_lots_floor(ladder.base_qty, instrument.lot),
        base_quote_e8=0 if ladder.base_quote is None else cash_e8(ladder.base_quote),
        qty_scale_ppm=ppm_from_ratio(ladder.qty_scale),
        recenter_ppm=ppm_from_bps(ladder.recenter_trigger_bps),
        max_inventory_e8=cash_e8(ladder.max_inventory_quote),
        vol_target_ppm=0 if ladder.vol_target is None else ppm_from_ratio(ladder.vol_target),
        vol_lambda=float(ladder.vol_lambda),
        bars_per_year=bars_per_year(grid),
        tp_ppm=ppm_from_ratio(leave.tp_steps),
        sl_ppm=ppm_from_ratio(leave.sl_steps),
        leg_stop=int(leave.stop_scope == "leg"),
        max_stop_orders=leave.max_stop_orders,
        backstop_ppm=ppm_from_ratio(leave.backstop_steps),
        flatten_slice_e8=cash_e8(risk.flatten_slice_quote),
        ema_fast=regime.ema_fast,
        ema_slow=regime.ema_slow,
        adx_len=regime.adx_len,
        atr_len=regime.atr_len,
        adx_threshold=float(regime.adx_threshold),
        hysteresis_bps=float(regime.hysteresis_bps),
        post_only=int(execution.post_only),
        retry_attempts=execution.retry_attempts,
        retry_delay_ns=ns_from_ms(execution.retry_delay_ms),
        retry_deviation_ppm=ppm_from_bps(execution.retry_max_price_deviation_bps),
        price_tolerance_ppm=ppm_from_bps(execution.price_tolerance_bps),
        qty_tolerance_ppm=ppm_from_ratio(execution.qty_tolerance_ratio),
    )
    _add_policy(params, grid)
    return params


def adopting_params(config: AccountConfig, instruments: Sequence[Instrument]) -> dict[str, GridParams]:
    """Give what the exits of a foreign position are made of, by instrument; nothing where it is left alone."""
    if not config.account.adopt_foreign:
        return {}
    return {one.name: grid_params(grid, one, config.risk) for grid, one in zip(config.grid, instruments, strict=True)}


def _add_policy(params: GridParams, grid: GridConfig) -> None:
    """Fill in policy and funding guard."""
    policy, funding = grid.policy, grid.funding
    params.policy = _POLICIES[policy.name]
    params.contrarian = int(policy.bias == "contrarian")
    params.counter_levels = policy.counter_levels
    params.counter_qty_ppm = ppm_from_ratio(policy.counter_qty_scale)
    params.core_levels = policy.core_levels
    params.core_tp_ppm = ppm_from_ratio(policy.core_tp_multiple)
    params.funding_mode = _FUNDING_MODES[funding.mode]
    params.funding_max_e8 = _funding_e8(funding.max_cost_bps_8h)
    params.funding_window_ns = funding.window_minutes * NS_PER_MINUTE
    params.funding_pause_missing = int(funding.on_missing == "pause")


def check_bounds(instrument: Instrument, price: Decimal) -> None:
    """Refuse an instrument whose figures at ``price`` the core's 64-bit arithmetic could not hold. Raises Fatal."""
    notional = ticks_nearest(price, instrument.tick) * instrument.unit_e8
    if notional > _LOT_NOTIONAL_MAX_E8:
        raise Fatal(f"{instrument.name}: one lot is worth more than 90,000 quote at {price}; give a smaller lot")


def venue_rules(config: AccountConfig, instrument: Instrument) -> VenueRules:
    """Give how the simulated venue fills an instrument."""
    sim = config.sim
    return VenueRules(
        unit_e8=instrument.unit_e8,
        fill_model=_FILLS[sim.fill],
        latency_ns=ns_from_ms(sim.latency_ms),
        slippage_ppm=ppm_from_bps(sim.slippage_bps),
        maker_ppm=ppm_from_bps(sim.maker_bps),
        taker_ppm=ppm_from_bps(sim.taker_bps),
        pessimistic=int(sim.pessimistic),
        liquidation_fee_ppm=instrument.liquidation_fee_ppm,
    )


def risk_limits(config: AccountConfig) -> RiskLimits:
    """Give the gate's limits."""
    limits = config.risk
    return RiskLimits(
        max_order_notional_e8=cash_e8(limits.max_order_notional_quote),
        max_leg_notional_e8=cash_e8(limits.max_notional_per_leg_quote),
        max_gross_notional_e8=cash_e8(limits.max_gross_notional_quote),
        max_net_notional_e8=cash_e8(limits.max_net_notional_quote),
        max_leverage_ppm=ppm_from_ratio(limits.max_leverage),
        max_position_ppm=ppm_from_ratio(limits.max_position_ratio),
        leverage=config.venue.leverage,
        max_margin_ppm=ppm_from_ratio(limits.max_margin_ratio),
        min_distance_ppm=ppm_from_ratio(limits.min_liquidation_distance_ratio),
        max_var_ppm=ppm_from_ratio(limits.var.max_ratio),
        max_open_orders_per_leg=limits.max_open_orders_per_leg,
        max_orders_per_minute=limits.max_orders_per_minute,
        price_collar_ppm=ppm_from_bps(limits.price_collar_bps),
        max_quote_age_ns=ns_from_ms(limits.max_quote_age_ms),
        max_mark_age_ns=ns_from_ms(limits.max_mark_age_ms),
        max_balance_age_ns=ns_from_ms(limits.max_balance_age_ms),
        approval_ttl_ns=ns_from_ms(limits.approval_ttl_ms),
    )


def session_limits(config: AccountConfig) -> SessionLimits:
    """Give the session controls."""
    limits = config.risk
    return SessionLimits(
        drawdown_on=int(limits.drawdown.enabled),
        drawdown_ppm=ppm_from_ratio(limits.drawdown.max_ratio),
        drawdown_action=_ACTIONS[limits.drawdown.action],
        daily_on=int(limits.daily_loss.enabled),
        daily_e8=cash_e8(limits.daily_loss.max_quote),
        daily_action=_ACTIONS[limits.daily_loss.action],
        session_on=int(limits.session_loss.enabled),
        session_e8=cash_e8(limits.session_loss.max_quote),
        session_action=_ACTIONS[limits.session_loss.action],
        margin_on=int(limits.margin_kill.enabled),
        margin_ppm=ppm_from_ratio(limits.margin_kill.max_ratio),
        margin_action=_ACTIONS[limits.margin_kill.action],
        volatility_on=int(limits.volatility_halt.enabled),
        volatility_ppm=ppm_from_ratio(limits.volatility_halt.max_annualised),
        volatility_action=_ACTIONS[limits.volatility_halt.action],
        volatility_lambda=float(limits.var.lambda_),
        funding_on=int(limits.funding_kill.enabled),
        funding_max_e8=_funding_e8(limits.funding_kill.max_cost_bps_8h),
        funding_action=_ACTIONS[limits.funding_kill.action],
    )


def race_limits(config: AccountConfig, validity_ns: int) -> ProtectionLimits:
    """Give how long exits may race; ``validity_ns``: after this a request cannot reach the exchange any more."""
    limits = config.risk
    return ProtectionLimits(
        max_unprotected_ns=ns_from_ms(limits.max_unprotected_ms),
        stop_overlap_ns=ns_from_ms(limits.stop_overlap_ms),
        exit_excess_ns=ns_from_ms(limits.exit_excess_ms),
        validity_ns=validity_ns,
    )


def breaker_limits(config: AccountConfig) -> BreakerLimits:
    """Give the circuit breaker."""
    breaker = config.risk.circuit_breaker
    return BreakerLimits(
        enabled=breaker.enabled,
        max_errors=breaker.max_errors,
        window_ns=breaker.window_s * NS_PER_S,
        cooldown_ns=breaker.cooldown_s * NS_PER_S,
        action=ControlAction(breaker.action),
    )


def health_limits(config: AccountConfig) -> HealthLimits:
    """Give the watchdog's limits."""
    watchdog = config.watchdog
    return HealthLimits(
        feed_stale_ns=ns_from_ms(watchdog.feed_stale_ms),
        quote_silence_ns=ns_from_ms(watchdog.quote_silence_ms),
        heartbeat_ns=ns_from_ms(watchdog.heartbeat_ms),
        heartbeat_missed=watchdog.heartbeat_missed,
        max_loop_lag_ns=ns_from_ms(watchdog.max_loop_lag_ms),
        max_clock_skew_ns=ns_from_ms(watchdog.max_clock_skew_ms),
        unknown_pause_ns=ns_from_ms(watchdog.unknown_pause_ms),
    )


def _funding_e8(cost_bps: Decimal) -> int:
    """Give a funding cost in bps as a rate x 1e8."""
    return ppm_from_bps(cost_bps) * 100


def limits_version(config: AccountConfig) -> str:
    """Give a short name of the limits in force: equal limits, equal name, wherever the journal lies."""
    grids = tuple((grid.instrument, grid.timeframe, grid.max_position_qty) for grid in config.grid)
    limits = (config.risk, config.venue.leverage, grids)
    return hashlib.sha256(repr(limits).encode()).hexdigest()[:12]


def instrument_risks(config: AccountConfig, instruments: Sequence[Instrument]) -> list[InstrumentRisk]:
    """Give every instrument's own part of the gate, in the order of the grids."""
    return [_instrument_risk(grid, config.risk, one) for grid, one in zip(config.grid, instruments, strict=True)]


def _instrument_risk(grid: GridConfig, limits: RiskConfig, instrument: Instrument) -> InstrumentRisk:
    return InstrumentRisk(
        unit_e8=instrument.unit_e8,
        min_qty_lots=instrument.min_qty_lots,
        max_qty_lots=instrument.max_qty_lots,
        min_notional_e8=instrument.min_notional_e8,
        max_position_lots=lots_floor(grid.max_position_qty, instrument.lot),
        cadence_ns=bar_length_ns(grid),
        var_scale=var_scale(limits.var, bar_length_ns(grid)),
    )


def var_scale(limits: VarConfig, length_ns: int) -> float:
    """Give z x sqrt(horizon / bar): what turns a bar's volatility into a loss over the horizon at the confidence."""
    z = NormalDist().inv_cdf(float(limits.confidence))
    return z * math.sqrt(limits.horizon_hours * NS_PER_HOUR / length_ns)
