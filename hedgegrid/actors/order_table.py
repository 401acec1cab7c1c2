"""The executor's table of orders: what each was sent with, how far its life has come, and which fills are in it.

Invariants: an order changes only by ``core.order_state``; a fill is applied once, by (instrument, trade id, client id);
ended orders stay for late fills, the newest of them, and older ones are asked of the journal.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from typing import Final

import attrs

from hedgegrid.core import reduction_proof
from hedgegrid.core.client_id import parse_client_id
from hedgegrid.core.fill_origin import explained
from hedgegrid.core.order_state import (
    IllegalTransition,
    LifeEvent,
    LifeEventKind,
    OrderRecord,
    OrderState,
    advance,
    is_live,
    is_terminal,
    life_event,
)
from hedgegrid.core.reconcile_views import FillKey, fill_key
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Fill, Kind, OpenOrder, OrderRequest, Purpose
from hedgegrid.ports import Memory

APPLIED_KEPT: Final = 512
"""Fills of this life that are known here; of older ones the journal is asked."""
ENDED_KEPT: Final = 256
"""Ended orders kept for late fills; older ones are in the journal."""

_RESTING: Final = (OrderState.WORKING, OrderState.PARTIAL)
_ACKNOWLEDGED: Final = (OrderState.WORKING, OrderState.PARTIAL, OrderState.CANCELLING)


class OrderTable:
    """All orders of one account that the executor knows."""

    def __init__(self, account: str, memory: Memory) -> None:
        """Start empty; ``memory`` answers for the orders and fills of earlier lives."""
        self._account = account
        self._memory = memory
        self._requests: dict[str, OrderRequest] = {}
        self._applied: OrderedDict[FillKey, None] = OrderedDict()
        self._old: dict[str, int] = {}
        """By instrument, a trade id that no applied fill lies above but those that are known here."""
        self._asked: dict[str, int] = {}
        """Entries that are being amended, and the whole quantity that each is to have."""
        self._doubted: set[str] = set()
        """Those of which nobody knows whether they have it."""
        self._ended = 0
        self.records: OrderedDict[str, OrderRecord] = OrderedDict()
        self.live: dict[str, OrderRecord] = {}
        """Those of the records that have not ended, in the same order."""
        self.version = 0
        """Grows with every change of a record: what was worked out at a version stands while it is the same."""
        self.fills = 0
        """Fills that were applied in this life."""

    def is_applied(self, key: FillKey) -> bool:
        """Tell whether a fill was applied, in this life or in one before it."""
        instrument, trade_id, _ = key
        return key in self._applied or (trade_id <= self._old.get(instrument, -1) and self._memory.has_fill(key))

    def note_old(self, trade_ids: Mapping[str, int]) -> None:
        """Take note of the newest trade ids of earlier lives: what is not above them may be in the journal."""
        self._old = dict(trade_ids)

    def remember(self, record: OrderRecord, request: OrderRequest) -> None:
        """Take an order."""
        self._put(record)
        self._requests[record.client_id] = request

    def _put(self, record: OrderRecord) -> None:
        self.version += 1
        self.records[record.client_id] = record
        if is_terminal(record.state):
            self.live.pop(record.client_id, None)
        else:
            self.live[record.client_id] = record

    def is_ours(self, client_id: str) -> bool:
        """Tell whether an order is this account's own, by the table or by its id."""
        parts = parse_client_id(client_id)
        return client_id in self.records or (parts is not None and parts.account == self._account)

    def is_ours_or_forced(self, fill: Fill) -> bool:
        """Tell whether a fill moves our own position: of our order, or of one that the exchange forces on us."""
        return fill.purpose is Purpose.LIQUIDATION or self.is_ours(fill.client_id)

    def is_foreign(self, event: OrderEvent) -> bool:
        """Tell whether an event is of an order that is not ours; what bears no name is the exchange's own."""
        fill = event.fill
        ours = event.client_id == "" or (fill is not None and self.is_ours_or_forced(fill))
        return not (ours or self.is_ours(event.client_id))

    def may_live(self, client_id: str) -> bool:
        """Tell whether an order is known and has not ended."""
        record = self.records.get(client_id)
        return record is not None and not is_terminal(record.state)

    def state(self, client_id: str) -> OrderState | None:
        """Give an order's state; None where it is not known."""
        record = self.records.get(client_id)
        return None if record is None else record.state

    def mark(self, client_ids: Iterable[str], kind: LifeEventKind, ts_ns: int) -> None:
        """Take note of what is being sent about orders that have not ended."""
        for client_id in client_ids:
            record = self.records.get(client_id)
            if record is not None and not is_terminal(record.state):
                after = advance(record, LifeEvent(kind=kind, ts_ns=ts_ns, cause=kind.value))
                if isinstance(after, OrderRecord) and after is not record:
                    self._put(after)

    # --- what the exchange says -------------------------------------------------------------------------------------

    def fresh(self, event: OrderEvent) -> OrderEvent | None:
        """Give an event with its fill explained, and take note of the fill; None for one that was applied already."""
        fill = event.fill
        if fill is None:
            return event
        key = fill_key(fill)
        if self.is_applied(key):
            return None
        self._applied[key] = None
        self.fills += 1
        if len(self._applied) > APPLIED_KEPT:
            (instrument, trade_id, _), _ = self._applied.popitem(last=False)
            self._old[instrument] = max(trade_id, self._old.get(instrument, -1))
        full = self._explained(fill)
        return event if full is fill else attrs.evolve(event, fill=full)

    def know(self, client_id: str) -> None:
        """Take an order of ours that left the table, or was never in it, from the journal."""
        if client_id not in self.records and self.is_ours(client_id):
            old = self._memory.order(client_id)
            if old is not None:
                self.remember(old.record, old.request)
                self._ended += is_terminal(old.record.state)

    def _explained(self, fill: Fill) -> Fill:
        self.know(fill.client_id)
        record = self.records.get(fill.client_id)
        return explained(fill, self._requests.get(fill.client_id), 0 if record is None else record.filled_lots)

    def advance(self, event: OrderEvent, ts_ns: int) -> OrderRecord | IllegalTransition | None:
        """Apply an event to its order: give the order after it, or why it cannot be; None for an order not known."""
        record = self.records.get(event.client_id)
        if record is None:
            return None
        after = advance(record, life_event(record, event, ts_ns))
        if isinstance(after, IllegalTransition):
            return after
        if is_terminal(after.state) and not is_terminal(record.state):
            self._ended += 1
        if is_terminal(after.state) or event.kind is OrderEventKind.AMENDED:
            self._asked.pop(event.client_id, None)
            self._doubted.discard(event.client_id)
        if after is not record:
            self._put(after)
        return after

    # --- amendments -------------------------------------------------------------------------------------------------

    def ask(self, request: OrderRequest) -> None:
        """Take note that an entry is to have another quantity: until that is settled it counts with the larger."""
        if self.may_live(request.client_id):
            self._asked[request.client_id] = request.qty_lots

    def answered(self, answer: OrderEvent) -> OrderEvent | None:
        """Give what an answer to an amendment says of the order; None where that is settled, or the order has ended.

        An order that the exchange does not know any more has ended in a way that is still to be told: UNKNOWN.
        """
        record, asked_lots = self.records.get(answer.client_id), self._asked.get(answer.client_id)
        if record is None or asked_lots is None:
            return None
        if answer.kind is OrderEventKind.UNKNOWN or answer.reason is EndReason.NOT_FOUND:
            self._doubted.add(answer.client_id)
            return OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=answer.client_id, detail=answer.detail)
        if answer.kind is OrderEventKind.ACCEPTED:
            left_lots = asked_lots - record.filled_lots
            # One that has filled as much as it was to have ends at the exchange, which tells it.
            amended = OrderEvent(kind=OrderEventKind.AMENDED, client_id=answer.client_id, qty_lots=left_lots)
            return amended if left_lots > 0 else None
        return _as_it_stands(record, answer.reason or EndReason.REFUSED, answer.detail)

    def settled(self) -> dict[str, list[OrderEvent]]:
        """Give, by instrument, the orders of lost amendments that a look has shown to rest as they did."""
        found: dict[str, list[OrderEvent]] = {}
        for client_id in sorted(self._doubted):
            record = self.records[client_id]
            if record.state in _RESTING:
                found.setdefault(record.instrument, []).append(_as_it_stands(record, EndReason.FOUND, ""))
        return found

    def left_after(self, fill: Fill) -> int:
        """Give what is left of an order after a fill that a read of the exchange told."""
        record = self.records.get(fill.client_id)
        return 0 if record is None else max(0, record.remaining_lots - fill.qty_lots)

    def drop_oldest_ended(self) -> None:
        """Keep the table bounded: forget the oldest of the orders that ended."""
        if self._ended <= 2 * ENDED_KEPT:
            return
        ended = [client_id for client_id, record in self.records.items() if is_terminal(record.state)]
        self.version += 1
        for client_id in ended[:-ENDED_KEPT]:
            del self.records[client_id]
            del self._requests[client_id]
        self._ended = min(len(ended), ENDED_KEPT)

    # --- reading ----------------------------------------------------------------------------------------------------

    def sent_records(self, queued: Collection[str]) -> tuple[OrderRecord, ...]:
        """Give the orders that the exchange may know: all but those that still wait in an outbox."""
        return tuple(record for client_id, record in self.records.items() if client_id not in queued)

    def missing(self, shown: Collection[str], queued: Collection[str]) -> tuple[OrderRecord, ...]:
        """Give the orders that may live, were sent, and are not among those that the exchange shows; oldest first."""
        return tuple(
            record for client_id, record in self.live.items() if client_id not in shown and client_id not in queued
        )

    def reduces(self, request: OrderRequest, queued: Collection[str]) -> bool:
        """Tell whether an order can be sent without closing more than its leg holds by now: an entry always can."""
        if not reduction_proof.needs_proof(request):
            return True
        held_lots = self._memory.held_lots(request.instrument, request.leg)
        return reduction_proof.is_proven(request, held_lots, self.missing((), queued))

    def open_orders(self, instrument: str) -> list[OpenOrder]:
        """Give our live orders of an instrument, with what only we know about them.

        One that is being amended has the larger of both quantities.
        """
        return [
            _open_order(record, self._requests[record.client_id], self._asked.get(record.client_id, 0))
            for record in self.live.values()
            if record.instrument == instrument and is_live(record.state)
        ]


def conditional(record: OrderRecord) -> bool:
    """Tell whether an order waits for its trigger in the exchange's own list of stops."""
    return record.purpose is Purpose.BACKSTOP or (record.purpose is Purpose.STOP and record.price_ticks > 0)


def _as_it_stands(record: OrderRecord, reason: EndReason, detail: str) -> OrderEvent:
    """Give the word that an order rests with the quantity that it had."""
    kind = OrderEventKind.AMENDED
    return OrderEvent(
        kind=kind, client_id=record.client_id, qty_lots=record.remaining_lots, reason=reason, detail=detail
    )


def _open_order(record: OrderRecord, request: OrderRequest, asked_lots: int) -> OpenOrder:
    return OpenOrder(
        client_id=record.client_id,
        instrument=record.instrument,
        leg=record.leg,
        purpose=record.purpose,
        kind=request.kind,
        price_ticks=record.price_ticks,
        qty_lots=max(record.qty_lots, asked_lots),
        filled_lots=record.filled_lots,
        close_all=record.close_all,
        created_ns=record.created_ns,
        acknowledged=record.state in _ACKNOWLEDGED,
        level=record.level,
        generation=record.generation,
        covers=request.covers,
        tp_micro=request.tp_micro,
        step_micro=request.step_micro,
        surplus_lots=max(0, asked_lots - record.qty_lots),
    )


def request_of(record: OrderRecord) -> OrderRequest:
    """Give the request of an order that was found under our id and is not in the journal.

    What it covers is not known.
    """
    return OrderRequest(
        client_id=record.client_id,
        instrument=record.instrument,
        leg=record.leg,
        purpose=record.purpose,
        kind=Kind.LIMIT if record.purpose.value <= 1 else Kind.STOP_MARKET,
        price_ticks=record.price_ticks,
        qty_lots=record.qty_lots,
        post_only=False,
        close_all=record.close_all,
        level=record.level,
        generation=record.generation,
        decided_ns=record.created_ns,
    )
