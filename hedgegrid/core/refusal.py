"""A refusal of the gate in words: the limit, the value that was compared with it, and what would help.

Plain Python beside ``core.risk``: it tells what ``check`` compared, by the same functions on the same records.

Invariants: the value is the one that met the limit, for the account where the limit is the account's; a figure that
nobody has told is told as missing, never as a number.
"""

from collections.abc import Sequence

import attrs

from hedgegrid.core import risk, var, worst_case
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.core.gate_records import UNMEASURED, AccountRisk, Booked, Exposure, InstrumentRisk, RiskLimits
from hedgegrid.core.ledger import maintenance_e8
from hedgegrid.core.records import MarginTier
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_MS, PPM, quote_text

Words = tuple[str, str, str]
"""Limit, value, remedy."""

PPM_PER_BPS = 100
_WAIT = "wait for exits to free room"


@attrs.frozen(kw_only=True)
class Case:
    """A refused order with all that ``check`` was given; ``standing`` is the permission in words.

    ``booked`` is missing: a duplicate is told by its rung alone.
    """

    limits: RiskLimits
    account: AccountRisk
    rules: Sequence[InstrumentRisk]
    exposures: Sequence[Exposure]
    tiers: list[MarginTier]
    order: Booked
    has_price: int
    instruments: Sequence[Instrument]
    decided_ns: int
    now_ns: int
    standing: str

    @property
    def rule(self) -> InstrumentRisk:
        """The order's instrument as the gate sees it."""
        return self.rules[self.order.instrument]

    @property
    def instrument(self) -> Instrument:
        """The order's instrument."""
        return self.instruments[self.order.instrument]

    @property
    def leg(self) -> Exposure:
        """The order's leg."""
        return self.exposures[2 * self.order.instrument + self.order.leg]

    @property
    def rival(self) -> Exposure:
        """The other leg of its instrument."""
        return self.exposures[2 * self.order.instrument + 1 - self.order.leg]

    @property
    def notional_e8(self) -> int:
        """The order at its own price."""
        return self.order.price_ticks * self.order.qty_lots * self.rule.unit_e8

    @property
    def added(self) -> tuple[int, int]:
        """What the order brings to the LONG and the SHORT leg at its worst."""
        return risk.added_e8(self.rule, self.order, LONG), risk.added_e8(self.rule, self.order, SHORT)

    @property
    def own_gross_e8(self) -> int:
        """Both legs of the order's instrument at their worst, with it."""
        return self.leg.worst_e8 + self.rival.worst_e8 + sum(self.added)


def explain(code: int, case: Case) -> Words:
    """Give the limit, the value that met it and what would help. KeyError for a code that is no refusal."""
    return _EXPLAINED[code](case)


# --- the order by itself ----------------------------------------------------------------------------------------------


def _permission(case: Case) -> Words:
    return "active", case.standing, "nothing that adds risk is sent until the reasons of the pause are gone"


def _expired(case: Case) -> Words:
    limit = _ms(case.limits.approval_ttl_ns)
    remedy = "the machine is too slow or was suspended: give it less to do, or raise risk.approval_ttl_ms"
    return limit, _ms(case.now_ns - case.decided_ns), remedy


def _age(case: Case, limit_ns: int, at_ns: int, what: str, remedy: str) -> Words:
    """Tell an age, or that nothing ever came."""
    value = f"no {what} yet" if at_ns == 0 else _ms(case.now_ns - at_ns)
    return _ms(max(limit_ns, 2 * case.rule.cadence_ns)), value, remedy


def _quote_age(case: Case) -> Words:
    remedy = "the feed is silent; orders go out again with its next quote"
    return _age(case, case.limits.max_quote_age_ns, case.rule.quote_ns, "quote", remedy)


def _mark_age(case: Case) -> Words:
    remedy = "the feed is silent; orders go out again with its next mark"
    told = _age(case, case.limits.max_mark_age_ns, case.rule.mark_ns, "mark", remedy)
    stale = case.now_ns - case.rule.mark_ns > max(case.limits.max_mark_age_ns, 2 * case.rule.cadence_ns)
    if case.rule.mark_ns == 0 or stale:
        return told
    return told[0], f"no mark yet of {_named(case, 'unmarked')}", f"{remedy}: the account's limits need it"


def _balance_age(case: Case) -> Words:
    remedy = "the account stream is silent; it is polled every watchdog.account_poll_ms"
    return _age(case, case.limits.max_balance_age_ns, case.account.balance_ns, "balance", remedy)


def _collar(case: Case) -> Words:
    rule, price = case.rule, case.order.price_ticks
    quote = rule.bid_ticks if case.order.leg == LONG else rule.ask_ticks
    # The reference from which it is farther away, in terms of that reference.
    away, at, name = max(
        (abs(price - one) / max(1, one), one, name) for one, name in ((rule.mark_ticks, "mark"), (quote, "quote"))
    )
    text = case.instrument.price_text
    value = f"{away * PPM / PPM_PER_BPS:,.2f} bps: {text(price)} against the {name} of {text(at)}"
    limit = f"{case.limits.price_collar_ppm / PPM_PER_BPS:,g} bps"
    return limit, value, "narrow the ladder, or raise risk.price_collar_bps"


def _order_notional(case: Case) -> Words:
    limit, value = quote_text(case.limits.max_order_notional_e8), quote_text(case.notional_e8)
    return limit, value, "lower the base quantity or qty_scale, or raise risk.max_order_notional_quote"


def _order_qty(case: Case) -> Words:
    text = case.instrument.qty_text
    return text(case.rule.max_qty_lots), text(case.order.qty_lots), "the exchange's maximum: lower the base quantity"


def _minimum(case: Case) -> Words:
    text = case.instrument.qty_text
    if case.notional_e8 < case.rule.min_notional_e8:
        limit, value = quote_text(case.rule.min_notional_e8), quote_text(case.notional_e8)
    else:
        limit, value = text(case.rule.min_qty_lots), text(case.order.qty_lots)
    return limit, value, "the exchange's minimum: raise the base quantity"


def _position(case: Case) -> Words:
    text, leg = case.instrument.qty_text, case.leg
    lots = leg.position_lots + leg.foreign_lots + leg.entry_lots + case.order.qty_lots
    return text(case.rule.max_position_lots), text(lots), f"{_WAIT}, or raise max_position_qty to {text(lots)}"


# --- the account's notional -------------------------------------------------------------------------------------------


def _at_most(limit_e8: int, value_e8: int, setting: str) -> Words:
    """Tell an amount over its limit, and to what the limit would have to be raised."""
    value = quote_text(value_e8)
    return quote_text(limit_e8), value, f"{_WAIT}, or raise risk.{setting} to {value}"


def _leg_notional(case: Case) -> Words:
    long, short = case.added
    account = case.account
    total = account.worst_long_e8 + long if case.order.leg == LONG else account.worst_short_e8 + short
    return _at_most(case.limits.max_leg_notional_e8, total, "max_notional_per_leg_quote")


def _gross(case: Case) -> Words:
    gross = worst_case.gross_e8(case.account, *case.added)
    return _at_most(case.limits.max_gross_notional_e8, gross, "max_gross_notional_quote")


def _net(case: Case) -> Words:
    return _at_most(
        case.limits.max_net_notional_e8, worst_case.net_e8(case.account, *case.added), "max_net_notional_quote"
    )


# --- the account's equity ---------------------------------------------------------------------------------------------


def _of_equity(case: Case, limit_ppm: int, part_e8: int, setting: str, *, multiple: bool = False) -> Words:
    """Tell a part of equity over its limit: as a ratio, with both amounts."""
    equity_e8 = case.account.equity_e8
    told = _times if multiple else _percent
    amounts = f"{quote_text(part_e8)} of {quote_text(equity_e8)} equity"
    limit = f"{told(limit_ppm / PPM)} of equity"
    if equity_e8 <= 0:
        return limit, amounts, "without equity nothing is added: move money into the wallet"
    ratio = part_e8 / equity_e8
    room = quote_text(worst_case.share_e8(equity_e8, limit_ppm))
    remedy = f"{_WAIT} (at this equity the limit is {room}), or raise risk.{setting} above {ratio:.4g}"
    return limit, f"{told(ratio)}: {amounts}", remedy


def _leverage(case: Case) -> Words:
    gross = worst_case.gross_e8(case.account, *case.added)
    return _of_equity(case, case.limits.max_leverage_ppm, gross, "max_leverage", multiple=True)


def _position_ratio(case: Case) -> Words:
    initial = worst_case.initial_margin_e8(worst_case.gross_e8(case.account, *case.added), case.limits.leverage)
    return _of_equity(case, case.limits.max_position_ppm, initial, "max_position_ratio")


def _margin_ratio(case: Case) -> Words:
    own = maintenance_e8(case.own_gross_e8, case.tiers)
    margin = case.account.margin_e8 - case.rule.margin_e8 + own
    return _of_equity(case, case.limits.max_margin_ppm, margin, "max_margin_ratio")


def _liquidation(case: Case) -> Words:
    limits, account, (long, short) = case.limits, case.account, case.added
    own = worst_case.far_margin_e8(case.own_gross_e8, limits.min_distance_ppm, case.tiers)
    margin = account.far_margin_e8 - case.rule.far_margin_e8 + own
    nets = worst_case.falling_net_e8(account, long), worst_case.rising_net_e8(account, short)
    distance = worst_case.liquidation_distance_ppm(account.equity_e8, margin, *nets) / PPM
    value = f"{_percent(distance)}: equity {quote_text(account.equity_e8)}, maintenance {quote_text(margin)}"
    remedy = f"{_WAIT}, or lower risk.min_liquidation_distance_ratio below {distance:.4g}"
    return f"{_percent(limits.min_distance_ppm / PPM)} to the liquidation price", value, remedy


def _value_at_risk(case: Case) -> Words:
    account, rule, limits = case.account, case.rule, case.limits
    if account.unmeasured > 0 or rule.var_ppm == UNMEASURED:
        names = _named(case, "unmeasured") if account.unmeasured else case.instrument.name
        limit = f"{_percent(limits.max_var_ppm / PPM)} of equity"
        return limit, f"no volatility yet of {names}", "two closed bars make it known"
    order = case.order.instrument
    legs = case.exposures[2 * order + LONG], case.exposures[2 * order + SHORT]
    part = var.part_e8(worst_case.instrument_net_e8(*legs, *case.added), rule.var_ppm)
    return _of_equity(case, limits.max_var_ppm, account.var_e8 - rule.var_e8 + part, "var.max_ratio")


# --- the book ---------------------------------------------------------------------------------------------------------


def _orders_per_minute(case: Case) -> Words:
    limit, value = case.limits.max_orders_per_minute, case.account.orders_in_minute + 1
    return f"{limit}", f"{value}", "the next decision tries again; fewer levels, or a higher risk.max_orders_per_minute"


def _open_orders(case: Case) -> Words:
    limit, value = case.limits.max_open_orders_per_leg, case.leg.open_orders + 1
    return f"{limit}", f"{value}", f"use fewer levels, or raise risk.max_open_orders_per_leg to {value}"


def _duplicate(case: Case) -> Words:
    order = case.order
    value = f"level {order.level} of generation {order.generation} has one"
    return "one live order a rung", value, "none: the live order stands"


def _self_cross(case: Case) -> Words:
    text, side = case.instrument.price_text, "sell" if case.order.leg == LONG else "buy"
    limit = f"our own resting {side} at {text(case.rival.best_own_ticks)}"
    return limit, text(case.order.price_ticks), "none: the resting order stands"


def _proof(case: Case) -> Words:
    order, text = case.order, case.instrument.qty_text
    room = risk.reducible_lots(case.leg, order.purpose, case.has_price)
    limit = f"{text(max(0, room))} of {text(case.leg.position_lots)} held is not covered by an order of its kind"
    return limit, text(order.qty_lots), "none: an exit never exceeds what is held"


_EXPLAINED = {
    risk.PERMISSION: _permission,
    risk.EXPIRED_APPROVAL: _expired,
    risk.QUOTE_AGE: _quote_age,
    risk.MARK_AGE: _mark_age,
    risk.BALANCE_AGE: _balance_age,
    risk.PRICE_COLLAR: _collar,
    risk.MAX_ORDER_NOTIONAL: _order_notional,
    risk.MAX_ORDER_QTY: _order_qty,
    risk.MIN_NOTIONAL: _minimum,
    risk.MAX_POSITION: _position,
    risk.MAX_LEG_NOTIONAL: _leg_notional,
    risk.MAX_GROSS_NOTIONAL: _gross,
    risk.MAX_NET_NOTIONAL: _net,
    risk.MAX_LEVERAGE: _leverage,
    risk.MAX_POSITION_RATIO: _position_ratio,
    risk.MAX_MARGIN_RATIO: _margin_ratio,
    risk.LIQUIDATION_DISTANCE: _liquidation,
    risk.VAR: _value_at_risk,
    risk.MAX_OPEN_ORDERS: _open_orders,
    risk.ORDERS_PER_MINUTE: _orders_per_minute,
    risk.DUPLICATE: _duplicate,
    risk.SELF_CROSS: _self_cross,
    risk.REDUCE_PROOF: _proof,
}


# --- figures for people -----------------------------------------------------------------------------------------------


def _named(case: Case, missing: str) -> str:
    """Name the instruments of which something is missing."""
    return ", ".join(one.name for one, rule in zip(case.instruments, case.rules, strict=True) if getattr(rule, missing))


def _ms(age_ns: int) -> str:
    return f"{age_ns / NS_PER_MS:,.0f} ms"


def _percent(ratio: float) -> str:
    return f"{ratio * 100:,.2f} %"


def _times(ratio: float) -> str:
    return f"{ratio:,.2f} x"
