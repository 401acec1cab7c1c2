"""The two sides that reconciliation compares, and the plan that it makes of them.

Invariants: every value is frozen; quantities are lots of a leg, never signed by side; a plan says everything that
changes, with the evidence in words, and changes nothing itself.
"""

from collections.abc import Iterable
from enum import StrEnum

import attrs

from hedgegrid.core.order_state import LifeEvent, OrderRecord
from hedgegrid.model.account import Position
from hedgegrid.model.order import Fill, Leg, OpenOrder

FillKey = tuple[str, int, str]
"""Instrument, trade id and client id: our own legs can match each other, so a trade id alone is not one fill."""


def fill_key(fill: Fill) -> FillKey:
    """Give what makes a fill unique."""
    return (fill.instrument, fill.trade_id, fill.client_id)


@attrs.frozen(kw_only=True)
class LegLots:
    """What is held of one leg, in lots; a leg that is not listed holds nothing."""

    instrument: str
    leg: Leg
    qty_lots: int


def held(positions: Iterable[Position]) -> tuple[LegLots, ...]:
    """Give the quantities of positions."""
    return tuple(LegLots(instrument=one.instrument, leg=one.leg, qty_lots=one.qty_lots) for one in positions)


@attrs.frozen(kw_only=True)
class EvidenceRule:
    """When an order that no source shows is dead.

    Not before ``validity_ns`` after its last change (recv window and clock skew: a request may still arrive), and then
    only after ``absences_min`` reads that lie ``interval_ns`` or more apart, all in the exchange's time.
    ``needs_look``: a read counts only where the exchange, asked for that order by its id, does not know it either.
    """

    validity_ns: int
    absences_min: int
    interval_ns: int
    needs_look: bool = False


@attrs.frozen(kw_only=True)
class Absence:
    """An order that reads of the exchange did not show: how many that count, and when the last of them was."""

    client_id: str
    reads: int
    last_ns: int


class Found(StrEnum):
    """What the exchange said of one order that it was asked for by our id. UNKNOWN_ID: it does not know the id."""

    OPEN = "open"
    ENDED = "ended"
    UNKNOWN_ID = "unknown_id"


@attrs.frozen(kw_only=True)
class Looked:
    """The answer to one question for one order, by the exchange's clock; ``filled_lots`` in all its life."""

    client_id: str
    found: Found
    read_ns: int
    filled_lots: int = 0
    end: str = ""


@attrs.frozen(kw_only=True)
class LocalView:
    """What we believe, from the journal.

    ``orders``: all that may still change, and the ended ones that late fills may reach. ``applied``: the fills since
    the cursor that are in ``positions`` already. ``positions`` are ours, ``foreign`` what else the account held at the
    last reconciliation; None at the first boot of an account, when whatever is not ours is foreign. ``open_lot_ids``
    are the lots that are open, None where the caller does not know them.
    """

    account: str
    orders: tuple[OrderRecord, ...] = ()
    applied: frozenset[FillKey] = frozenset()
    positions: tuple[LegLots, ...] = ()
    foreign: tuple[LegLots, ...] | None = ()
    absences: tuple[Absence, ...] = ()
    open_lot_ids: frozenset[int] | None = None


@attrs.frozen(kw_only=True)
class VenueView:
    """What the exchange says: both open-order lists, fills since the cursor, positions; ``read_ns`` by its clock.

    ``read_ns`` is when the reading began: what changed since may be in it or not. ``looks``: single orders asked for.
    """

    read_ns: int
    limit_orders: tuple[OpenOrder, ...] = ()
    stop_orders: tuple[OpenOrder, ...] = ()
    fills: tuple[Fill, ...] = ()
    positions: tuple[LegLots, ...] = ()
    looks: tuple[Looked, ...] = ()


@attrs.frozen(kw_only=True)
class PlannedFill:
    """A fill of ours that was not applied yet. ``event`` is None where no order can take it: it still moves the leg."""

    fill: Fill
    event: LifeEvent | None


@attrs.frozen(kw_only=True)
class Mark:
    """An event of an order's life that the readings prove."""

    client_id: str
    event: LifeEvent


class CancelWhy(StrEnum):
    """Why a live order has to go."""

    DUPLICATE = "duplicate"
    ORPHAN = "orphan"
    ENDED = "ended"


@attrs.frozen(kw_only=True)
class PlannedCancel:
    """An order of ours that must be cancelled: a second entry on a rung, an exit of nothing, one that ended here."""

    client_id: str
    instrument: str
    why: CancelWhy


class DifferenceKind(StrEnum):
    """How the two sides disagree."""

    POSITION = "position"
    NEGATIVE = "negative"
    FILLED = "filled"
    OVERFILLED = "overfilled"
    ENDED_BUT_OPEN = "ended_but_open"


@attrs.frozen(kw_only=True)
class Difference:
    """A disagreement, in lots: a leg's position (``client_id`` empty), or an order's filled quantity.

    NEGATIVE: fills say that more was reduced than we, or others, had (``local_lots`` below zero).
    """

    kind: DifferenceKind
    instrument: str
    leg: Leg
    client_id: str
    local_lots: int
    venue_lots: int


@attrs.frozen(kw_only=True)
class Plan:
    """What to do, in this order: adopt, apply the fills, mark; then cancel. Foreign orders are reported, never touched.

    ``unresolved`` are orders of ours that neither lived nor died in this read: read again. ``foreign`` and ``absences``
    belong into the next ``LocalView``.
    """

    adopted: tuple[OrderRecord, ...]
    fills: tuple[PlannedFill, ...]
    marks: tuple[Mark, ...]
    cancels: tuple[PlannedCancel, ...]
    foreign_orders: tuple[OpenOrder, ...]
    foreign_fills: tuple[Fill, ...]
    foreign: tuple[LegLots, ...]
    absences: tuple[Absence, ...]
    unresolved: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def agreed(self) -> bool:
        """Whether both sides say the same once the plan is applied."""
        return not self.differences

    @property
    def is_empty(self) -> bool:
        """Whether both sides say the same as they are, and nothing waits for another reading."""
        nothing = (self.adopted, self.fills, self.marks, self.cancels, self.absences, self.unresolved, self.differences)
        return not any((*nothing, self.foreign_fills))
