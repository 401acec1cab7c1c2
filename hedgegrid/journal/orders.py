"""The orders of the journal: from the durable intent to the end, as the tape tells it.

Invariants: a client id is taken once, a second approval of it is noted and changes nothing; an event that an order's
life does not have is noted and changes nothing; ended orders stay in memory until they are on disk, then only the
newest of them.
"""

from collections.abc import Iterable
from typing import Final

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.core.order_state import (
    TRANSITIONS,
    IllegalTransition,
    LifeEvent,
    advance,
    intent_of,
    is_terminal,
    life_event,
)
from hedgegrid.journal.changes import Archive, Changes, Moment, Notes
from hedgegrid.journal.entries import OrderEntry
from hedgegrid.journal.schema import ORDERS
from hedgegrid.messages.events import OrderEvent, OrderEventKind
from hedgegrid.model.order import OrderRequest

ENDED_KEPT: Final = 512
"""Ended orders that stay in memory for late news; older ones are read from disk."""
NO_SEQUENCE: Final = -1
"""The sequence of a client id that is not of our making."""


class Orders:
    """All orders: those that live, the newest ended ones, and how many there were."""

    def __init__(self, changes: Changes, notes: Notes, archive: Archive) -> None:
        """Start empty; ``archive`` answers for what left memory."""
        self._changes = changes
        self._notes = notes
        self._archive = archive
        self._ended: dict[str, OrderEntry] = {}
        self._greatest: dict[str, int] = {}
        self._epoch = 0
        self.live: dict[str, OrderEntry] = {}
        self.count = 0
        self.max_sequence = 0

    def boot(self, epoch: int) -> None:
        """Begin a boot: its client ids carry ``epoch``."""
        self._epoch = epoch
        self._greatest.clear()

    def approve(self, at: Moment, requests: Iterable[OrderRequest], cause: str) -> None:
        """Take approved orders as intents."""
        # The orders of a batch come nearest first, not by their numbers: each is held against the batches before.
        greatest = dict(self._greatest)
        for request in requests:
            parts = parse_client_id(request.client_id)
            sequence = NO_SEQUENCE if parts is None else parts.sequence
            of_boot = parts is not None and parts.epoch == self._epoch
            newest = of_boot and sequence > greatest.get(request.instrument, NO_SEQUENCE)
            if self._is_taken(request.client_id, newest=newest):
                self._notes.count("approved_twice")
                self._notes.incident(at, "a client id was approved twice", figures={"client_id": request.client_id})
                continue
            if of_boot:
                self._greatest[request.instrument] = max(sequence, self._greatest.get(request.instrument, 0))
            self.max_sequence = max(self.max_sequence, sequence)
            self.count += 1
            record = intent_of(request, at.ts_ns, cause)
            entry = OrderEntry.of(self.count, record, request, sequence, at.row)
            self.live[request.client_id] = entry
            self._changes.put(ORDERS, entry.no, entry)

    def note_cancels(self, at: Moment, client_ids: Iterable[str]) -> None:
        """Note that cancels were approved; only the exchange's answer changes a state."""
        for client_id in client_ids:
            entry = self.live.get(client_id)
            if entry is not None:
                entry.cancel_ns = at.ts_ns
                self._store(at, entry)

    def say(self, at: Moment, said: OrderEvent) -> OrderEntry | None:
        """Apply what the exchange said of an order, and give the order (None where it is not known)."""
        entry = self.find(said.client_id)
        if entry is None:
            if said.client_id:
                figures = {"client_id": said.client_id, "event": said.kind.value}
                self._notes.incident(at, "the exchange speaks of an order that was not approved", figures=figures)
            return None
        event = life_event(entry.record, said, at.ts_ns)
        if said.kind is OrderEventKind.CANCEL_FAILED:
            entry.cancel_ns = 0
            self._store(at, entry)
            # A cancel leaves no mark on the state here, so its failure has none to take back.
            if (entry.record.state, event.kind) not in TRANSITIONS:
                return entry
        self._advance(at, entry, event)
        return entry

    def restore(self, live: Iterable[OrderEntry], *, count: int, max_sequence: int) -> None:
        """Take over what a file holds."""
        self.live = {entry.record.client_id: entry for entry in live}
        self.count = count
        self.max_sequence = max_sequence

    def trim(self, committed_row: int) -> None:
        """Forget the oldest ended orders, as far as they are on disk."""
        excess = len(self._ended) - ENDED_KEPT
        for _ in range(excess):
            client_id, entry = next(iter(self._ended.items()))
            if entry.changed_row > committed_row:
                return
            del self._ended[client_id]

    def _advance(self, at: Moment, entry: OrderEntry, event: LifeEvent) -> None:
        after = advance(entry.record, event)
        if isinstance(after, IllegalTransition):
            self._notes.count("illegal_transitions")
            figures = {"client_id": entry.record.client_id, "why": after.why}
            self._notes.incident(at, "an order event that cannot be", figures=figures)
            return
        if after is not entry.record:
            entry.record = after
            self._store(at, entry)

    def _store(self, at: Moment, entry: OrderEntry) -> None:
        entry.changed_row = at.row
        client_id = entry.record.client_id
        if is_terminal(entry.record.state):
            self.live.pop(client_id, None)
            self._ended.pop(client_id, None)
            self._ended[client_id] = entry
        self._changes.put(ORDERS, entry.no, entry)

    def find(self, client_id: str) -> OrderEntry | None:
        """Give an order, from disk where it left memory; None where it is not known."""
        entry = self.live.get(client_id) or self._ended.get(client_id)
        return entry or (self._archive.order(client_id) if client_id else None)

    def _is_taken(self, client_id: str, *, newest: bool) -> bool:
        """Tell whether an id was approved before; ``newest``: its sequence is above those of all earlier batches.

        Sequences of one instrument grow from batch to batch within a boot: only an id whose does not is looked up.
        """
        if client_id in self.live or client_id in self._ended:
            return True
        return not newest and self._archive.order(client_id) is not None
