"""The life of an order as one table, from which ``python -m tools.diagrams`` draws the diagram in ARCHITECTURE.md.

Invariants:
- what ``TRANSITIONS`` does not list is illegal, and an illegal event changes nothing;
- a terminal state is left for another terminal one at most, and only by a late fill;
- ``filled_lots`` never shrinks and never exceeds ``qty_lots`` (a ``close_all`` order has no quantity to exceed);
- PARTIAL is WORKING with fills: a row that ends in WORKING means PARTIAL for an order that has any;
- an acknowledgement does not end UNKNOWN, because it may be older than the cancel whose answer was lost: only a look at
  the exchange does (``found_working``, ``found_dead``), or a final word from it;
- a REJECTED order has no fills: a fill proves that it was accepted, and makes it CANCELLED.

Fills are made unique by (instrument, trade id, order id) before they come here.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import attrs

from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Leg, OrderRequest, Purpose, Side, side_of


class OrderState(StrEnum):
    """Where an order stands. CANCELLING: a cancel is in flight and the order may still fill."""

    INTENT = "intent"
    SENT = "sent"
    WORKING = "working"
    PARTIAL = "partial"
    CANCELLING = "cancelling"
    UNKNOWN = "unknown"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"


class LifeEventKind(StrEnum):
    """What happened in an order's life.

    ``rejected`` before ``sent`` is our own refusal to send; ``found_working`` and ``found_dead`` are the result of
    looking (open lists, order by client id, fills); ``cancel_rejected`` says that the order lives on.
    """

    SENT = "sent"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCEL_SENT = "cancel_sent"
    CANCEL_REJECTED = "cancel_rejected"
    AMENDED = "amended"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    OUTCOME_UNKNOWN = "outcome_unknown"
    FOUND_WORKING = "found_working"
    FOUND_DEAD = "found_dead"


_SAID: Final[Mapping[OrderEventKind, LifeEventKind]] = {
    OrderEventKind.ACCEPTED: LifeEventKind.ACCEPTED,
    OrderEventKind.CANCELLED: LifeEventKind.CANCELLED,
    OrderEventKind.REJECTED: LifeEventKind.REJECTED,
    OrderEventKind.EXPIRED: LifeEventKind.EXPIRED,
    OrderEventKind.CANCEL_FAILED: LifeEventKind.CANCEL_REJECTED,
    OrderEventKind.AMENDED: LifeEventKind.AMENDED,
    OrderEventKind.UNKNOWN: LifeEventKind.OUTCOME_UNKNOWN,
}
_FILL_KINDS: Final = (LifeEventKind.PARTIALLY_FILLED, LifeEventKind.FILLED)
_TERMINAL: Final = (OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED, OrderState.EXPIRED)


def _table() -> dict[tuple[OrderState, LifeEventKind], OrderState]:
    s, e = OrderState, LifeEventKind
    rows: dict[OrderState, dict[LifeEventKind, OrderState]] = {
        # A crash may keep the sending out of the journal: whatever the exchange says of an intent proves it sent.
        s.INTENT: {e.SENT: s.SENT, e.REJECTED: s.REJECTED, e.ACCEPTED: s.WORKING, e.AMENDED: s.SENT},
        s.SENT: {e.ACCEPTED: s.WORKING, e.REJECTED: s.REJECTED, e.CANCEL_SENT: s.CANCELLING, e.AMENDED: s.SENT},
        # Rejected after acceptance: a conditional order whose trigger was refused.
        s.WORKING: {
            e.ACCEPTED: s.WORKING,
            e.REJECTED: s.REJECTED,
            e.CANCEL_SENT: s.CANCELLING,
            e.AMENDED: s.WORKING,
        },
        s.PARTIAL: {
            e.ACCEPTED: s.PARTIAL,
            e.CANCEL_SENT: s.CANCELLING,
            e.AMENDED: s.PARTIAL,
            e.FOUND_WORKING: s.PARTIAL,
        },
        s.CANCELLING: {
            e.ACCEPTED: s.CANCELLING,
            e.REJECTED: s.REJECTED,
            e.CANCEL_SENT: s.CANCELLING,
            e.CANCEL_REJECTED: s.WORKING,
            e.AMENDED: s.CANCELLING,
            e.PARTIALLY_FILLED: s.CANCELLING,
            e.FOUND_WORKING: s.CANCELLING,
        },
        s.UNKNOWN: {
            e.ACCEPTED: s.UNKNOWN,
            e.REJECTED: s.REJECTED,
            e.CANCEL_SENT: s.UNKNOWN,
            e.CANCEL_REJECTED: s.UNKNOWN,
            e.AMENDED: s.UNKNOWN,
            e.PARTIALLY_FILLED: s.UNKNOWN,
        },
        s.FILLED: {},
        # Filled after the end, whole or in part, happens: the cancel and the fill crossed on the way.
        s.CANCELLED: {e.CANCELLED: s.CANCELLED, e.PARTIALLY_FILLED: s.CANCELLED, e.FILLED: s.FILLED},
        s.REJECTED: {e.REJECTED: s.REJECTED, e.PARTIALLY_FILLED: s.CANCELLED, e.FILLED: s.FILLED},
        s.EXPIRED: {e.EXPIRED: s.EXPIRED, e.PARTIALLY_FILLED: s.EXPIRED, e.FILLED: s.FILLED},
    }
    live = {
        e.PARTIALLY_FILLED: s.PARTIAL,
        e.FILLED: s.FILLED,
        e.CANCELLED: s.CANCELLED,
        e.EXPIRED: s.EXPIRED,
        e.OUTCOME_UNKNOWN: s.UNKNOWN,
        e.FOUND_WORKING: s.WORKING,
        e.FOUND_DEAD: s.CANCELLED,
    }
    # Late news of an order that has ended: an acknowledgement after its fill, a cancel that found nothing, a timeout.
    late = (e.ACCEPTED, e.CANCEL_REJECTED, e.OUTCOME_UNKNOWN, e.FOUND_DEAD)
    for state, row in rows.items():
        shared = dict.fromkeys(late, state) if state in _TERMINAL else live
        rows[state] = {**shared, **row}
    return {(state, kind): target for state, row in rows.items() for kind, target in row.items()}


TRANSITIONS: Final[Mapping[tuple[OrderState, LifeEventKind], OrderState]] = _table()
"""Every legal (state, event) and where it leads."""


@attrs.frozen(kw_only=True)
class LifeEvent:
    """An event of one order: when, and why (text for the journal).

    ``qty_lots`` is the quantity of a fill, the quantity left after an amendment, and otherwise 0.
    """

    kind: LifeEventKind
    ts_ns: int
    cause: str = ""
    qty_lots: int = 0


@attrs.frozen(kw_only=True)
class OrderRecord:
    """An order as the order table knows it.

    ``price_ticks`` is the limit or the trigger (0 for a market order); ``close_all`` orders close what the leg holds
    and have ``qty_lots`` 0; level and generation are -1 where the order stands for no single rung; ``lot_ids`` are the
    lots that an exit covers; ``ts_ns`` and ``cause`` tell of the last change.
    """

    client_id: str
    instrument: str
    leg: Leg
    purpose: Purpose
    level: int
    generation: int
    price_ticks: int
    qty_lots: int
    close_all: bool = False
    lot_ids: tuple[int, ...] = ()
    filled_lots: int = 0
    state: OrderState = OrderState.INTENT
    created_ns: int
    ts_ns: int
    cause: str = ""

    @property
    def side(self) -> Side:
        """The side, which follows from leg and purpose."""
        return side_of(self.leg, self.purpose)

    @property
    def remaining_lots(self) -> int:
        """Lots that are not filled yet; 0 for a ``close_all`` order, whose quantity is the leg's."""
        return 0 if self.close_all else self.qty_lots - self.filled_lots


@attrs.frozen(kw_only=True)
class IllegalTransition:
    """An event that the order's life does not have; ``record`` stands as it was."""

    record: OrderRecord
    event: LifeEvent
    why: str


def intent_of(request: OrderRequest, ts_ns: int, cause: str) -> OrderRecord:
    """Give the record of an order that is about to be sent."""
    return OrderRecord(
        client_id=request.client_id,
        instrument=request.instrument,
        leg=request.leg,
        purpose=request.purpose,
        level=request.level,
        generation=request.generation,
        price_ticks=request.price_ticks,
        qty_lots=request.qty_lots,
        close_all=request.close_all,
        lot_ids=tuple(cover.lot_id for cover in request.covers),
        created_ns=request.decided_ns,
        ts_ns=ts_ns,
        cause=cause,
    )


def advance(record: OrderRecord, event: LifeEvent) -> OrderRecord | IllegalTransition:
    """Give the order after ``event``: the same record where nothing changes, IllegalTransition where it cannot be."""
    target = TRANSITIONS.get((record.state, event.kind))
    if target is None:
        return IllegalTransition(record=record, event=event, why=f"{event.kind} in state {record.state}")
    why = _contradiction(record, event)
    if why:
        return IllegalTransition(record=record, event=event, why=why)
    fill = event.kind in _FILL_KINDS
    filled_lots = record.filled_lots + (event.qty_lots if fill else 0)
    amended = event.kind is LifeEventKind.AMENDED
    qty_lots = filled_lots + event.qty_lots if amended else record.qty_lots
    if target is OrderState.WORKING and filled_lots > 0:
        target = OrderState.PARTIAL
    if target is record.state and not fill and qty_lots == record.qty_lots:
        return record
    return OrderRecord(  # by name: ``attrs.evolve`` looks up what fields there are at every call
        client_id=record.client_id,
        instrument=record.instrument,
        leg=record.leg,
        purpose=record.purpose,
        level=record.level,
        generation=record.generation,
        price_ticks=record.price_ticks,
        qty_lots=qty_lots,
        close_all=record.close_all,
        lot_ids=record.lot_ids,
        filled_lots=filled_lots,
        state=target,
        created_ns=record.created_ns,
        ts_ns=max(record.ts_ns, event.ts_ns),
        cause=event.cause,
    )


def fill_event(record: OrderRecord, qty_lots: int, ts_ns: int, cause: str, *, last: bool = False) -> LifeEvent:
    """Give the event of a fill of ``qty_lots``: the last one when it completes the quantity.

    ``last`` says so for a ``close_all`` order, whose end only the venue knows.
    """
    completes = last if record.close_all else record.filled_lots + qty_lots == record.qty_lots
    kind = LifeEventKind.FILLED if completes else LifeEventKind.PARTIALLY_FILLED
    return LifeEvent(kind=kind, ts_ns=ts_ns, cause=cause, qty_lots=qty_lots)


def life_event(record: OrderRecord, said: OrderEvent, ts_ns: int) -> LifeEvent:
    """Give what the exchange said about this order as an event of its life.

    A cancel that found no order proves nothing: the order may have been filled. A ``close_all`` order has ended with
    its fill unless the exchange says that quantity is left. AssertionError for a fill without its figures.
    """
    cause = said.reason.value or said.kind.value
    if said.kind is OrderEventKind.FILLED:
        assert said.fill is not None, "a fill has its figures"
        cause = f"trade {said.fill.trade_id}"
        return fill_event(record, said.fill.qty_lots, ts_ns, cause, last=said.qty_lots == 0)
    kind = _SAID[said.kind]
    if kind is LifeEventKind.ACCEPTED and said.reason is EndReason.FOUND:
        kind = LifeEventKind.FOUND_WORKING
    if kind is LifeEventKind.CANCEL_REJECTED and said.reason is EndReason.NOT_FOUND:
        kind = LifeEventKind.OUTCOME_UNKNOWN
    return LifeEvent(
        kind=kind, ts_ns=ts_ns, cause=cause, qty_lots=said.qty_lots if kind is LifeEventKind.AMENDED else 0
    )


def is_terminal(state: OrderState) -> bool:
    """Whether the order has ended; a late fill may still be applied to it."""
    return state in _TERMINAL


def is_live(state: OrderState) -> bool:
    """Whether the venue may hold the order, so that it may still fill; an order not yet sent is not live."""
    return state is not OrderState.INTENT and state not in _TERMINAL


def blocks_slot(state: OrderState) -> bool:
    """Whether the order's rung is taken: an intent reserves it, and an UNKNOWN order keeps it."""
    return state not in _TERMINAL


def _contradiction(record: OrderRecord, event: LifeEvent) -> str:
    """Say how the event contradicts the order's quantities; empty where it does not."""
    if event.kind in _FILL_KINDS:
        return _wrong_fill(record, event)
    if event.kind is LifeEventKind.AMENDED:
        return "" if event.qty_lots > 0 and not record.close_all else f"amended to {event.qty_lots} lots left"
    if event.qty_lots != 0:
        return f"{event.kind} carries {event.qty_lots} lots"
    if event.kind is LifeEventKind.REJECTED and record.filled_lots > 0:
        return f"rejected after {record.filled_lots} lots were filled"
    return ""


def _wrong_fill(record: OrderRecord, event: LifeEvent) -> str:
    filled_lots = record.filled_lots + event.qty_lots
    if event.qty_lots <= 0:
        return f"a fill of {event.qty_lots} lots"
    if record.close_all:
        return ""
    if filled_lots > record.qty_lots:
        return f"overfilled: {filled_lots} of {record.qty_lots} lots"
    if (filled_lots == record.qty_lots) != (event.kind is LifeEventKind.FILLED):
        return f"{event.kind} at {filled_lots} of {record.qty_lots} lots"
    return ""
