"""Each limit of the gate beside what it would be compared with now: for people, and never for a decision.

A limit over several legs, orders or instruments is shown beside the worst of them. What has no number of its own
(permission, duplicates, self-cross, the proof of a reduction) has no line here.

Invariants: figures are the gate's own integers, with their unit; a figure that is not known is None, never zero.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum

import attrs

from hedgegrid.core import risk, worst_case
from hedgegrid.core.codes import ENTRY, FREE
from hedgegrid.core.fixed import ceil_div
from hedgegrid.core.gate_records import AccountRisk, Booked, Exposure, InstrumentRisk, RiskLimits
from hedgegrid.units import PPM

ACCOUNT = -1
"""The place of what is about the whole account."""


class Unit(StrEnum):
    """What a figure counts."""

    CASH_E8 = "cash_e8"
    LOTS = "lots"
    NS = "ns"
    PPM = "ppm"
    """Of a price."""
    RATIO = "ratio"
    """Of the account, in ppm too."""
    ORDERS = "orders"
    ERRORS = "errors"


@attrs.frozen(kw_only=True)
class LimitFigure:
    """A limit and its present value, both in ``unit``.

    ``instrument`` is its place, ``ACCOUNT`` for the account; None: not known, or nothing stands that it is about.
    ``unreachable``: it is known that nothing brings it there, so that it has no value.
    """

    code: int
    instrument: int
    unit: Unit
    limit: int
    value: int | None
    unreachable: bool = False


def figures(
    limits: RiskLimits,
    account: AccountRisk,
    rules: Sequence[InstrumentRisk],
    exposures: Sequence[Exposure],
    booked: Sequence[Booked],
    *,
    now_ns: int,
) -> tuple[LimitFigure, ...]:
    """Give every limit of ``risk.check`` that has a number; the records are as it would be given them."""
    entries = [order for order in booked if order.state != FREE and order.purpose == ENTRY]
    return (
        *_ages(limits, rules, now_ns, account.balance_ns),
        *_orders(limits, rules, entries),
        *_positions(rules, exposures),
        *_notionals(limits, account),
        *_ratios(limits, account),
        LimitFigure(
            code=risk.MAX_OPEN_ORDERS,
            instrument=ACCOUNT,
            unit=Unit.ORDERS,
            limit=limits.max_open_orders_per_leg,
            value=max(one.open_orders for one in exposures),
        ),
        LimitFigure(
            code=risk.ORDERS_PER_MINUTE,
            instrument=ACCOUNT,
            unit=Unit.ORDERS,
            limit=limits.max_orders_per_minute,
            value=account.orders_in_minute,
        ),
    )


def _ages(limits: RiskLimits, rules: Sequence[InstrumentRisk], now_ns: int, balance_ns: int) -> Iterator[LimitFigure]:
    """Give the ages of quote, mark and balance; no limit is under two beats of its source."""
    for place, rule in enumerate(rules):
        for code, limit_ns, at_ns in (
            (risk.QUOTE_AGE, limits.max_quote_age_ns, rule.quote_ns),
            (risk.MARK_AGE, limits.max_mark_age_ns, rule.mark_ns),
        ):
            yield LimitFigure(
                code=code,
                instrument=place,
                unit=Unit.NS,
                limit=max(limit_ns, 2 * rule.cadence_ns),
                value=_age_ns(at_ns, now_ns),
            )
    floor_ns = 2 * max(rule.cadence_ns for rule in rules)
    yield LimitFigure(
        code=risk.BALANCE_AGE,
        instrument=ACCOUNT,
        unit=Unit.NS,
        limit=max(limits.max_balance_age_ns, floor_ns),
        value=_age_ns(balance_ns, now_ns),
    )


def _age_ns(at_ns: int, now_ns: int) -> int | None:
    return None if at_ns == 0 else max(0, now_ns - at_ns)


def _orders(limits: RiskLimits, rules: Sequence[InstrumentRisk], entries: Sequence[Booked]) -> Iterator[LimitFigure]:
    """Give what is asked of one order beside the worst entry that rests or is on its way."""
    away = [_away_ppm(rules[order.instrument], order) for order in entries]
    yield LimitFigure(
        code=risk.PRICE_COLLAR,
        instrument=ACCOUNT,
        unit=Unit.PPM,
        limit=limits.price_collar_ppm,
        value=max((ppm for ppm in away if ppm is not None), default=None),
    )
    yield LimitFigure(
        code=risk.MAX_ORDER_NOTIONAL,
        instrument=ACCOUNT,
        unit=Unit.CASH_E8,
        limit=limits.max_order_notional_e8,
        value=max((_notional_e8(rules, order) for order in entries), default=None),
    )
    for place, rule in enumerate(rules):
        mine = [order for order in entries if order.instrument == place]
        yield LimitFigure(
            code=risk.MAX_ORDER_QTY,
            instrument=place,
            unit=Unit.LOTS,
            limit=rule.max_qty_lots,
            value=max((order.qty_lots for order in mine), default=None),
        )
        yield LimitFigure(
            code=risk.MIN_NOTIONAL,
            instrument=place,
            unit=Unit.CASH_E8,
            limit=rule.min_notional_e8,
            value=min((_notional_e8(rules, order) for order in mine), default=None),
        )


def _away_ppm(rule: InstrumentRisk, order: Booked) -> int | None:
    """Give how far an entry is from the mark, rounded up; None without a mark."""
    if rule.mark_ticks == 0:
        return None
    return -(-abs(order.price_ticks - rule.mark_ticks) * PPM // rule.mark_ticks)


def _notional_e8(rules: Sequence[InstrumentRisk], order: Booked) -> int:
    return order.price_ticks * order.qty_lots * rules[order.instrument].unit_e8


def _positions(rules: Sequence[InstrumentRisk], exposures: Sequence[Exposure]) -> Iterator[LimitFigure]:
    """Give each instrument's larger leg: what it holds, and could come to hold."""
    for place, rule in enumerate(rules):
        legs = exposures[2 * place : 2 * place + 2]
        yield LimitFigure(
            code=risk.MAX_POSITION,
            instrument=place,
            unit=Unit.LOTS,
            limit=rule.max_position_lots,
            value=max(leg.position_lots + leg.foreign_lots + leg.entry_lots for leg in legs),
        )


def _notionals(limits: RiskLimits, account: AccountRisk) -> Iterator[LimitFigure]:
    """Give what all instruments come to at the worst: the larger leg, both, and the net of one without the other."""
    for code, limit_e8, value_e8 in (
        (risk.MAX_LEG_NOTIONAL, limits.max_leg_notional_e8, max(account.worst_long_e8, account.worst_short_e8)),
        (risk.MAX_GROSS_NOTIONAL, limits.max_gross_notional_e8, worst_case.gross_e8(account, 0, 0)),
        (risk.MAX_NET_NOTIONAL, limits.max_net_notional_e8, worst_case.net_e8(account, 0, 0)),
    ):
        # What is held is worth what nobody has told yet.
        value = None if account.unmarked else value_e8
        yield LimitFigure(code=code, instrument=ACCOUNT, unit=Unit.CASH_E8, limit=limit_e8, value=value)


def _ratios(limits: RiskLimits, account: AccountRisk) -> Iterator[LimitFigure]:
    """Give what the worst case comes to beside the equity; nothing is a ratio of an equity of zero or less."""
    gross = worst_case.gross_e8(account, 0, 0)
    measured = account.unmeasured == 0
    for code, limit_ppm, part_e8 in (
        (risk.MAX_LEVERAGE, limits.max_leverage_ppm, gross),
        (risk.MAX_POSITION_RATIO, limits.max_position_ppm, worst_case.initial_margin_e8(gross, limits.leverage)),
        (risk.MAX_MARGIN_RATIO, limits.max_margin_ppm, account.margin_e8),
        (risk.LIQUIDATION_DISTANCE, limits.min_distance_ppm, None),
        (risk.VAR, limits.max_var_ppm, account.var_e8 if measured else None),
    ):
        away = code == risk.LIQUIDATION_DISTANCE
        value = _distance_ppm(account) if away else _of_equity_ppm(account, part_e8)
        never = away and value is None and has_equity(account)
        yield LimitFigure(
            code=code, instrument=ACCOUNT, unit=Unit.RATIO, limit=limit_ppm, value=value, unreachable=never
        )


def has_equity(account: AccountRisk) -> bool:
    """Tell whether the account's equity is known."""
    return account.balance_ns > 0 and account.unmarked == 0


def _of_equity_ppm(account: AccountRisk, part_e8: int | None) -> int | None:
    """Give a part of equity, rounded up."""
    if part_e8 is None or not has_equity(account) or account.equity_e8 <= 0:
        return None
    return ceil_div(part_e8 * PPM, account.equity_e8)


def _distance_ppm(account: AccountRisk) -> int | None:
    """Give the distance to the liquidation price after the worst case; None where no move liquidates."""
    if not has_equity(account):
        return None
    distance = worst_case.liquidation_distance_ppm(
        account.equity_e8,
        account.far_margin_e8,
        worst_case.falling_net_e8(account, 0),
        worst_case.rising_net_e8(account, 0),
    )
    return None if distance == worst_case.NO_LIQUIDATION else distance
