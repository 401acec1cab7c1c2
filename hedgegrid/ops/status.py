"""How an account stands, for the person who is woken at night: what ``/api/v1/status`` and ``/api/v1/risk`` answer.

Invariants: money in quote currency, quantities in base units, ages in seconds; what is not known is None, never zero:
there is no equity without the wallet, nor without the mark of what is held.
"""

import attrs

from hedgegrid.model.order import Leg, Purpose
from hedgegrid.ops.control import ControlReading, FlattenState
from hedgegrid.ops.health import PauseReason, reasons_of
from hedgegrid.ops.readings import (
    RuntimeReading,
    age_s,
    average_entry,
    leg_notional,
    price,
    projected_funding,
    qty,
    quote,
    ratio,
)
from hedgegrid.ops.view import AccountView, InstrumentView
from hedgegrid.units import CASH_SCALE, NS_PER_S, PPM


@attrs.frozen(kw_only=True)
class Covered:
    """How much of a leg acknowledged stops cover; ``bare`` is what they leave."""

    stops: float
    bare: float


@attrs.frozen(kw_only=True)
class LegStatus:
    """One leg; ``foreign`` is what others hold of it, ``next_funding`` what the next settlement costs it."""

    leg: str
    qty: float | None
    average_entry: float | None
    notional: float | None
    covered: Covered | None
    foreign: float | None
    entries: int | None
    exits: int | None
    next_funding: float | None


@attrs.frozen(kw_only=True)
class FundingStatus:
    """The next settlement: its rate, for one interval, and in how many seconds it comes."""

    rate: float
    in_s: float
    interval_s: float


@attrs.frozen(kw_only=True)
class InstrumentStatus:
    """One instrument: prices in quote currency with their ages, its legs, how many of our orders are open."""

    instrument: str
    mark: float | None
    mark_age_s: float | None
    quote_age_s: float | None
    bar_age_s: float | None
    open_orders: int | None
    funding: FundingStatus | None
    legs: tuple[LegStatus, ...]


@attrs.frozen(kw_only=True)
class FillStatus:
    """A fill: what it was for, its price in quote currency and its quantity in base units."""

    instrument: str
    leg: str
    purpose: str
    price: float
    qty: float
    age_s: float


@attrs.frozen(kw_only=True)
class Status:
    """The account as it is known now; fees and funding are costs since it began, ``drawdown`` and ``margin`` ratios.

    ``gross``, ``leverage`` (gross / equity), ``liquidation_distance`` (of all marks; None also where no move does it)
    and ``value_at_risk`` are of what is held, without any order that rests.
    """

    account: str
    mode: str | None
    mode_since_s: float | None
    reasons: tuple[PauseReason, ...]
    wallet: float | None
    wallet_age_s: float | None
    equity: float | None
    unrealised: float | None
    peak: float | None
    drawdown: float | None
    margin: float | None
    gross: float | None
    leverage: float | None
    liquidation_distance: float | None
    value_at_risk: float | None
    realised: float | None
    fees: float | None
    funding: float | None
    throttle: float
    fills: int
    last_fill: FillStatus | None
    unknown_orders: int
    foreign_orders: int | None
    flatten: FlattenState
    instruments: tuple[InstrumentStatus, ...]


@attrs.frozen(kw_only=True)
class RiskStatus:
    """Every control beside its present value, and the reasons that stand."""

    mode: str | None
    mode_since_s: float | None
    reasons: tuple[PauseReason, ...]
    controls: tuple[ControlReading, ...]


def status_of(view: AccountView, reading: RuntimeReading, flatten: FlattenState, now_ns: int) -> Status:
    """Give the account as ``view`` and the gate's books know it."""
    money = None if reading.account is None else reading.account.money
    worth = None if reading.account is None else reading.account.worth
    held = None if reading.account is None else reading.account.at_risk
    return Status(
        account=view.account,
        mode=view.mode,
        mode_since_s=age_s(view.mode_since_ns, now_ns),
        reasons=reasons_of(view, now_ns),
        wallet=None if money is None else quote(money.wallet_e8),
        wallet_age_s=None if money is None else age_s(money.at_ns, now_ns),
        equity=None if worth is None else quote(worth.equity_e8),
        unrealised=None if worth is None else quote(worth.unrealised_e8),
        peak=None if worth is None else quote(worth.peak_e8),
        drawdown=None if worth is None else ratio(worth.drawdown_ppm),
        margin=None if worth is None else ratio(worth.margin_ppm),
        gross=None if held is None else quote(held.gross_e8),
        leverage=None if held is None else ratio(held.leverage_ppm),
        liquidation_distance=None if held is None else ratio(held.distance_ppm),
        value_at_risk=None if held is None else quote(held.var_e8),
        realised=None if money is None else quote(money.realised_e8),
        fees=None if money is None else quote(money.fees_e8),
        funding=None if money is None else quote(money.funding_e8),
        throttle=view.throttle_ppm / PPM,
        fills=view.fills_total(),
        last_fill=_last_fill(view, now_ns),
        unknown_orders=view.orders.unknown,
        foreign_orders=view.foreign_orders,
        flatten=flatten,
        instruments=tuple(_instrument(view, name, one, now_ns) for name, one in view.instruments.items()),
    )


def _last_fill(view: AccountView, now_ns: int) -> FillStatus | None:
    last = view.last_fill
    if last is None:
        return None
    fill = last.fill
    rules = view.instruments[fill.instrument].rules
    return FillStatus(
        instrument=fill.instrument,
        leg=fill.leg.name.lower(),
        purpose=fill.purpose.name.lower(),
        price=float(rules.tick * fill.price_ticks),
        qty=float(rules.lot * fill.qty_lots),
        age_s=max(0, now_ns - last.at_ns) / NS_PER_S,
    )


def _instrument(view: AccountView, name: str, one: InstrumentView, now_ns: int) -> InstrumentStatus:
    return InstrumentStatus(
        instrument=name,
        mark=price(one.rules, one.mark_ticks),
        mark_age_s=age_s(one.mark_ns, now_ns),
        quote_age_s=age_s(one.quote_ns, now_ns),
        bar_age_s=age_s(one.bar_ns, now_ns),
        open_orders=None if one.orders_ns is None else view.orders.total(name),
        funding=_funding(one, now_ns),
        legs=tuple(_leg(view, name, one, leg) for leg in Leg),
    )


def _funding(one: InstrumentView, now_ns: int) -> FundingStatus | None:
    if one.rate_e8 is None or one.next_funding_ns is None or one.funding_interval_ns is None:
        return None
    return FundingStatus(
        rate=one.rate_e8 / CASH_SCALE,
        in_s=(one.next_funding_ns - now_ns) / NS_PER_S,
        interval_s=one.funding_interval_ns / NS_PER_S,
    )


def _leg(view: AccountView, name: str, one: InstrumentView, leg: Leg) -> LegStatus:
    held, known = one.legs[leg], one.orders_ns is not None
    average = average_entry(one.rules, held)
    bare_lots = view.unprotected_lots(name, leg) if known else None
    covered = None
    if bare_lots is not None:
        stops = float(one.rules.lot * view.orders.stop_lots(name, leg))
        covered = Covered(stops=stops, bare=float(one.rules.lot * bare_lots))
    entries = view.orders.count(name, leg, Purpose.ENTRY)
    every = sum(view.orders.count(name, leg, purpose) for purpose in Purpose)
    return LegStatus(
        leg=leg.name.lower(),
        qty=qty(one.rules, held.qty_lots),
        average_entry=None if average is None else float(average),
        notional=quote(leg_notional(one, leg)),
        covered=covered,
        foreign=None if one.foreign_ns is None else float(one.rules.lot * one.foreign_lots[leg]),
        entries=entries if known else None,
        exits=every - entries if known else None,
        next_funding=quote(projected_funding(one, leg)),
    )
