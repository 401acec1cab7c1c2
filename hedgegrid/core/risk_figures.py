"""Each limit of the gate beside what it would be compared with now: for people, and never for a decision.

A limit over several legs, orders or instruments is shown beside the worst of them. What has no number of its own
(permission, duplicates, self-cross, the proof of a reduction) has no line here.

Invariants: figures are the gate's own integers, with their unit; a figure that is not known is None, never zero.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum

import attrs

from hedgegrid.core import risk
from hedgegrid.core.codes import ENTRY, FREE, LONG, SHORT
from hedgegrid.core.gate_records import Booked, Exposure, InstrumentRisk, RiskLimits
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
    """

    code: int
    instrument: int
    unit: Unit
    limit: int
    value: int | None


def figures(
    limits: RiskLimits,
    rules: Sequence[InstrumentRisk],
    exposures: Sequence[Exposure],
    booked: Sequence[Booked],
    *,
    now_ns: int,
    balance_ns: int,
) -> tuple[LimitFigure, ...]:
    """Give every limit of ``risk.check`` that has a number; ``exposures`` are as ``risk.recount`` left them."""
    entries = [order for order in booked if order.state != FREE and order.purpose == ENTRY]
    return (
        *_ages(limits, rules, now_ns, balance_ns),
        *_orders(limits, rules, entries),
        *_positions(rules, exposures),
        *_notionals(limits, rules, exposures),
        LimitFigure(
            code=risk.MAX_OPEN_ORDERS,
            instrument=ACCOUNT,
            unit=Unit.ORDERS,
            limit=limits.max_open_orders_per_leg,
            value=max(one.open_orders for one in exposures),
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


def _notionals(
    limits: RiskLimits, rules: Sequence[InstrumentRisk], exposures: Sequence[Exposure]
) -> Iterator[LimitFigure]:
    """Give what all instruments come to at the worst: the larger leg, both, and the net of one without the other."""
    held = [0, 0]
    worst = [0, 0]
    for place, rule in enumerate(rules):
        for leg in (LONG, SHORT):
            one = exposures[2 * place + leg]
            if rule.mark_ticks == 0 and one.position_lots + one.foreign_lots > 0:
                # What is held is worth what nobody has told yet.
                held = [-1, -1]
            if held[leg] >= 0:
                held[leg] += (one.position_lots + one.foreign_lots) * rule.unit_e8 * rule.mark_ticks
            worst[leg] += one.entry_worst_e8
    known = min(held) >= 0
    full = [held[leg] + worst[leg] for leg in (LONG, SHORT)]
    net_e8 = max(abs(full[LONG] - held[SHORT]), abs(full[SHORT] - held[LONG]))
    for code, limit_e8, value_e8 in (
        (risk.MAX_LEG_NOTIONAL, limits.max_leg_notional_e8, max(full)),
        (risk.MAX_GROSS_NOTIONAL, limits.max_gross_notional_e8, sum(full)),
        (risk.MAX_NET_NOTIONAL, limits.max_net_notional_e8, net_e8),
    ):
        value = value_e8 if known else None
        yield LimitFigure(code=code, instrument=ACCOUNT, unit=Unit.CASH_E8, limit=limit_e8, value=value)
