"""What an account comes to as it is held, from the gate's own book: for people, and never for a decision.

Invariants: figures are the core's own integers, worked out by the functions that decide; one that is not known is
None, never zero; each group keeps the time of the oldest word that it rests on.
"""

from collections.abc import Sequence

import attrs

from hedgegrid.core import ledger, session_figures, var, worst_case
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.core.fixed import ceil_div
from hedgegrid.core.gate_records import UNMEASURED, InstrumentRisk
from hedgegrid.core.records import LegAccount
from hedgegrid.model.account import SessionMemory
from hedgegrid.units import PPM


@attrs.frozen(kw_only=True)
class LegHeld:
    """One leg of the instrument at place ``instrument``, what is not ours (``foreign_lots``) beside it.

    Quantities in lots, cost (price x quantity), worth at the mark and unrealised profit of our own in quote x 1e8.
    """

    instrument: int
    leg: int
    qty_lots: int
    foreign_lots: int
    cost_e8: int
    notional_e8: int | None
    unrealised_e8: int | None
    mark_ns: int
    """When the mark was told, 0 for never."""


@attrs.frozen(kw_only=True)
class Money:
    """The wallet, and what was realised, charged and paid since the account began, in quote x 1e8."""

    wallet_e8: int
    realised_e8: int
    fees_e8: int
    funding_e8: int
    at_ns: int


@attrs.frozen(kw_only=True)
class Worth:
    """The account at the marks, in quote x 1e8; ratios in ppm, None where there is no peak or no equity.

    ``margin_ppm`` is maintenance / equity. ``day_loss_e8`` is what was lost since midnight (UTC), ``session_loss_e8``
    since the operator's last reset; negative where it was won. ``at_ns``: the older of the wallet's word and the marks
    of what is held.
    """

    equity_e8: int
    unrealised_e8: int
    maintenance_e8: int
    margin_ppm: int | None
    peak_e8: int
    drawdown_ppm: int | None
    day_loss_e8: int
    session_loss_e8: int
    at_ns: int


@attrs.frozen(kw_only=True)
class AtRisk:
    """What the legs are exposed to as they are held, others' part in them too, without any order that rests.

    In quote x 1e8: both legs of all instruments (``gross_e8``), each instrument's one less the other (``net_e8``, added
    as they are), and what they could lose by ``core.var`` (``var_e8``, None while a volatility is not known).
    ``leverage_ppm`` is gross / equity, rounded up, None where there is no equity; ``distance_ppm`` by how much all
    marks may move against the account before it is liquidated, None where no move does it. ``at_ns`` as of ``Worth``.
    """

    gross_e8: int
    net_e8: int
    leverage_ppm: int | None
    distance_ppm: int | None
    var_e8: int | None
    at_ns: int


@attrs.frozen(kw_only=True)
class AccountFigures:
    """An account: each group is None while it is not known."""

    money: Money | None
    worth: Worth | None
    legs: tuple[LegHeld, ...]
    at_risk: AtRisk | None = None


def legs_held(
    rules: Sequence[InstrumentRisk], accounts: Sequence[LegAccount], foreign: Sequence[LegAccount]
) -> tuple[LegHeld, ...]:
    """Give both legs of every instrument; ``accounts`` and ``foreign`` hold two an instrument (LONG, SHORT)."""
    return tuple(
        _leg(place, leg, rule, accounts[2 * place + leg], foreign[2 * place + leg])
        for place, rule in enumerate(rules)
        for leg in (LONG, SHORT)
    )


def _leg(place: int, leg: int, rule: InstrumentRisk, held: LegAccount, foreign: LegAccount) -> LegHeld:
    known = rule.mark_ticks > 0 or held.qty_lots == 0
    return LegHeld(
        instrument=place,
        leg=leg,
        qty_lots=held.qty_lots,
        foreign_lots=foreign.qty_lots,
        cost_e8=held.cost_e8,
        notional_e8=ledger.notional_e8(rule.mark_ticks, held.qty_lots, rule.unit_e8) if known else None,
        unrealised_e8=ledger.unrealised_e8(held, leg, rule.mark_ticks, rule.unit_e8) if known else None,
        mark_ns=rule.mark_ns,
    )


def worth_of(
    *,
    equity_e8: int,
    unrealised_e8: int,
    maintenance_e8: int,
    since: SessionMemory,
    balance_ns: int,
    legs: Sequence[LegHeld],
) -> Worth:
    """Give what an account with this equity is worth beside its margin and what it is measured from (``since``)."""
    marks_ns = [leg.mark_ns for leg in legs if leg.qty_lots or leg.foreign_lots]
    return Worth(
        equity_e8=equity_e8,
        unrealised_e8=unrealised_e8,
        maintenance_e8=maintenance_e8,
        margin_ppm=session_figures.margin_ppm(maintenance_e8, equity_e8),
        peak_e8=since.peak_e8,
        drawdown_ppm=session_figures.drawdown_ppm(since.peak_e8, equity_e8),
        day_loss_e8=since.day_base_e8 - equity_e8,
        session_loss_e8=since.session_base_e8 - equity_e8,
        at_ns=min([balance_ns, *marks_ns]),
    )


def at_risk_of(worth: Worth, rules: Sequence[InstrumentRisk], legs: Sequence[LegHeld]) -> AtRisk:
    """Give what an account of this worth is exposed to; ``legs`` are two an instrument, in the order of ``rules``."""
    held = [
        ledger.notional_e8(rule.mark_ticks, leg.qty_lots + leg.foreign_lots, rule.unit_e8)
        for place, rule in enumerate(rules)
        for leg in legs[2 * place : 2 * place + 2]
    ]
    longs, shorts = held[LONG::2], held[SHORT::2]
    nets = [abs(long - short) for long, short in zip(longs, shorts, strict=True)]
    gross, long, short = sum(held), sum(longs), sum(shorts)
    distance = worst_case.liquidation_distance_ppm(worth.equity_e8, worth.maintenance_e8, long - short, short - long)
    known = all(rule.var_ppm != UNMEASURED for rule, net in zip(rules, nets, strict=True) if net)
    parts = (var.part_e8(net, rule.var_ppm) for rule, net in zip(rules, nets, strict=True) if net)
    return AtRisk(
        gross_e8=gross,
        net_e8=sum(nets),
        leverage_ppm=ceil_div(gross * PPM, worth.equity_e8) if worth.equity_e8 > 0 else None,
        distance_ppm=None if distance == worst_case.NO_LIQUIDATION else distance,
        var_e8=sum(parts) if known else None,
        at_ns=worth.at_ns,
    )
