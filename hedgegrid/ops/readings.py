"""What the displays read of the runtime, and how whole numbers become figures for people.

Invariant: floats are made here, at the last moment, by one correctly rounded division each.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal

import attrs

from hedgegrid.core import ledger
from hedgegrid.core.account_figures import AccountFigures
from hedgegrid.core.health import VenueProbe
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.ops.alerting import AlertCounts
from hedgegrid.ops.view import InstrumentView, LegView
from hedgegrid.runtime.mailbox import MailboxStatistics
from hedgegrid.runtime.router import RouterStatistics
from hedgegrid.runtime.specs import ChildStatus
from hedgegrid.units import CASH_SCALE, NS_PER_S, PPM


class Pace:
    """How long things have stood still, in wall time: market time stands still with what should move it."""

    def __init__(self) -> None:
        """Nothing was looked at yet."""
        self._wall_ns = 0
        self._moved_ns: Mapping[str, int] = {}
        self._market_ns: int | None = None
        self._market_moved_ns = 0

    def note(self, wall_ns: int, moved_ns: Mapping[str, int], market_ns: int) -> None:
        """Take a look in: the wall's time, when each actor last moved by it, and the market's time."""
        self._wall_ns = wall_ns
        self._moved_ns = dict(moved_ns)
        if market_ns != self._market_ns:
            self._market_ns, self._market_moved_ns = market_ns, wall_ns

    def still_ns(self, actor: str) -> int | None:
        """Give how long an actor has not moved; None where it was not seen."""
        moved_ns = self._moved_ns.get(actor)
        return None if moved_ns is None else self._wall_ns - moved_ns

    def market_still_ns(self) -> int | None:
        """Give how long the market's time has stood; None before the first look."""
        return None if self._market_ns is None else self._wall_ns - self._market_moved_ns


@attrs.frozen(kw_only=True)
class RuntimeReading:
    """What can be read of a running house at one moment; what a run does not have is absent."""

    mailboxes: Sequence[MailboxStatistics] = ()
    router: RouterStatistics | None = None
    children: Sequence[ChildStatus] = ()
    journal_rows: int | None = None
    """Messages in the journal."""
    account: AccountFigures | None = None
    """The account as the gate counts it; None before there is a gate."""
    probe: VenueProbe = attrs.field(factory=VenueProbe)
    """What was measured beside the messages."""
    sent: Callable[[str, Leg, Purpose], int] | None = None
    """How many orders of an instrument, leg and purpose were sent in this run."""
    pace: Pace = attrs.field(factory=Pace)
    alerts: AlertCounts | None = None
    """What became of alerts; None where nobody is told."""


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


def ratio(ppm: int | None) -> float | None:
    """Give a ratio: 1 is the whole."""
    return None if ppm is None else ppm / PPM


def oldest(*told_ns: int | None) -> int | None:
    """Give the oldest of several times, as old as what is made of all of them; None where one is missing."""
    known = [one for one in told_ns if one is not None]
    return min(known) if len(known) == len(told_ns) else None


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


def leg_notional(one: InstrumentView, leg: Leg) -> int | None:
    """Give a leg's worth at the mark in quote x 1e8; None where position or mark is not known."""
    qty_lots = one.legs[leg].qty_lots
    if qty_lots is None or one.mark_ticks is None:
        return None
    return ledger.notional_e8(one.mark_ticks, qty_lots, one.unit_e8)


def projected_funding(one: InstrumentView, leg: Leg) -> int | None:
    """Give what the next settlement costs a leg in quote x 1e8 (negative: it receives), at this rate and mark."""
    notional_e8 = leg_notional(one, leg)
    if notional_e8 is None or one.rate_e8 is None:
        return None
    return ledger.funding_charge_e8(int(leg), notional_e8, one.rate_e8)
