"""What the displays read of the runtime, and how whole numbers become figures for people.

Invariant: floats are made here, at the last moment, by one correctly rounded division each.
"""

from collections.abc import Iterator, Sequence
from decimal import Decimal

import attrs

from hedgegrid.model.instrument import Instrument
from hedgegrid.ops.view import LegView
from hedgegrid.runtime.mailbox import MailboxStatistics
from hedgegrid.runtime.router import RouterStatistics
from hedgegrid.runtime.specs import ChildStatus
from hedgegrid.units import CASH_SCALE, NS_PER_S


@attrs.frozen(kw_only=True)
class RuntimeReading:
    """The runtime's statistics at one moment; what a run does not have is absent."""

    mailboxes: Sequence[MailboxStatistics] = ()
    router: RouterStatistics | None = None
    children: Sequence[ChildStatus] = ()
    journal_rows: int | None = None
    """Messages in the journal."""


def every_child(children: Sequence[ChildStatus]) -> Iterator[ChildStatus]:
    """Walk actors and supervisors, parents first."""
    for child in children:
        yield child
        yield from every_child(child.children)


def quote(amount_e8: int | None) -> float | None:
    """Give money in quote currency."""
    return None if amount_e8 is None else amount_e8 / CASH_SCALE


def seconds(ns: int | None) -> float | None:
    """Give a time or a duration in seconds."""
    return None if ns is None else ns / NS_PER_S


def age_s(at_ns: int | None, now_ns: int) -> float | None:
    """Give how long ago something was told, in seconds; never less than zero."""
    return None if at_ns is None else max(0, now_ns - at_ns) / NS_PER_S


def price(rules: Instrument, price_ticks: int | None) -> float | None:
    """Give a price in quote currency."""
    return None if price_ticks is None else float(rules.tick * price_ticks)


def qty(rules: Instrument, qty_lots: int | None) -> float | None:
    """Give a quantity in base units."""
    return None if qty_lots is None else float(rules.lot * qty_lots)


def average_entry(rules: Instrument, leg: LegView) -> Decimal | None:
    """Give a leg's average entry price in quote currency; None where the leg is flat or not known."""
    if not leg.qty_lots or leg.cost_e8 is None:
        return None
    return Decimal(leg.cost_e8) / (rules.lot * leg.qty_lots * CASH_SCALE)
