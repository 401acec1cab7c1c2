"""Which of our orders rest on the exchange, counted from what the actors published.

Invariants: an order counts from its acceptance (or first fill) to its end, once; a hydration replaces an instrument's
counts; what the books cannot name (no approval seen, not hydrated) is not counted; the memory is bounded; each order
that ends is counted by how it ended, once.
"""

from collections.abc import Collection, Iterable
from enum import StrEnum
from typing import Final

from hedgegrid.messages.events import Approved
from hedgegrid.model.order import Kind, Leg, OpenOrder, OrderRequest, Purpose

SENT_MAX: Final = 65_536
"""Approved orders without an answer that are remembered; the oldest is forgotten first."""


class End(StrEnum):
    """How an order ended: filled whole, cancelled or superseded or expired, refused by the exchange."""

    FILLED = "filled"
    CANCELLED = "cancelled"
    REFUSED = "refused"


class OpenOrders:
    """The open orders of one account, by instrument, leg and purpose."""

    __slots__ = ("_counts", "_left", "_resting", "_sent", "_unheard", "_unknown", "before", "ends")

    def __init__(self, instruments: Iterable[str]) -> None:
        """Start with no order of these instruments."""
        self._counts = {name: [[0] * len(Purpose) for _ in Leg] for name in instruments}
        self._sent: dict[str, OrderRequest] = {}
        self._resting: dict[str, OrderRequest | OpenOrder] = {}
        self._left: dict[str, int] = {}
        """Lots that are still to fill, where that is not the order's whole quantity."""
        self._unknown: dict[str, None] = {}
        self._unheard: set[str] = set()
        """Of those that a hydration told of: the exchange has not said that they stand."""
        self.before = 0
        """Orders that a hydration told of and that were not approved in this run."""
        self.ends = dict.fromkeys(End, 0)
        """How many orders have ended, by how."""

    @property
    def unknown(self) -> int:
        """Orders whose outcome nobody knows yet."""
        return len(self._unknown)

    def count(self, instrument: str, leg: Leg, purpose: Purpose) -> int:
        """Open orders of one purpose. Raises KeyError for an instrument that the account does not trade."""
        return self._counts[instrument][leg][purpose]

    def total(self, instrument: str) -> int:
        """Open orders of an instrument. Raises KeyError for one that the account does not trade."""
        return sum(sum(counts) for counts in self._counts[instrument])

    def entries(self, instrument: str) -> list[str]:
        """Name the entries of an instrument that rest, and those that may: nobody knows what became of them."""
        lost = [self._sent[client_id] for client_id in self._unknown if client_id in self._sent]
        return [
            order.client_id
            for order in (*self._resting.values(), *lost)
            if order.instrument == instrument and order.purpose is Purpose.ENTRY
        ]

    def stop_lots(self, instrument: str, leg: Leg) -> int:
        """Give the lots that acknowledged stops of a leg would close; its backstop, which is of no lot, aside.

        A stop that was not acknowledged, or whose outcome is not known, protects nothing.
        """
        return sum(
            self._left.get(client_id, order.qty_lots)
            for client_id, order in self._resting.items()
            if order.purpose is Purpose.STOP
            and order.kind is Kind.STOP_MARKET
            and (order.instrument, order.leg) == (instrument, leg)
            and client_id not in self._unknown
            and client_id not in self._unheard
        )

    def approved(self, orders: Iterable[Approved]) -> None:
        """Remember what was approved, so that its acceptance can be counted."""
        sent = self._sent
        for order in orders:
            sent[order.request.client_id] = order.request
        while len(sent) > SENT_MAX:
            del sent[next(iter(sent))]

    def accepted(self, client_id: str) -> None:
        """Count an order that the exchange took; one that has ended or counts already changes nothing."""
        self._unknown.pop(client_id, None)
        self._unheard.discard(client_id)
        request = self._sent.pop(client_id, None)
        if request is not None:
            self._resting[client_id] = request
            self._counts[request.instrument][request.leg][request.purpose] += 1

    def filled(self, client_id: str, qty_lots: int, *, leg_is_flat: bool) -> None:
        """Take a fill of ``qty_lots``; the order ends with its quantity, a stop for the whole leg with the leg."""
        self.accepted(client_id)
        order = self._resting.get(client_id)
        if order is None:
            return
        left_lots = self._left.get(client_id, order.qty_lots) - qty_lots
        if leg_is_flat if order.close_all else left_lots <= 0:
            self.ended(client_id, End.FILLED)
        else:
            self._left[client_id] = left_lots

    def amended(self, client_id: str, left_lots: int) -> None:
        """Take the quantity that an amendment left to fill."""
        self._unknown.pop(client_id, None)
        if client_id in self._resting:
            self._left[client_id] = left_lots

    def lost(self, client_id: str) -> None:
        """Note that the outcome of a request is not known; the order counts as before."""
        self._unknown[client_id] = None

    def ended(self, client_id: str, end: End) -> None:
        """Forget an order that was cancelled, rejected, filled or expired."""
        self._unknown.pop(client_id, None)
        if self._sent.pop(client_id, None) is not None or client_id in self._resting:
            self.ends[end] += 1
        self._left.pop(client_id, None)
        self._unheard.discard(client_id)
        order = self._resting.pop(client_id, None)
        if order is not None:
            self._counts[order.instrument][order.leg][order.purpose] -= 1

    def hydrated(self, instrument: str, orders: Collection[OpenOrder]) -> None:
        """Take the exchange's word: these orders of the instrument are open, and no others."""
        known = [one for one, order in self._resting.items() if order.instrument == instrument]
        told = {order.client_id for order in orders}
        self.before += len(told.difference(known, self._sent))
        for client_id in known:
            del self._resting[client_id]
            self._unheard.discard(client_id)
            self._left.pop(client_id, None)
        self._counts[instrument] = [[0] * len(Purpose) for _ in Leg]
        for order in orders:
            self._unknown.pop(order.client_id, None)
            self._sent.pop(order.client_id, None)
            self._resting[order.client_id] = order
            if not order.acknowledged:
                self._unheard.add(order.client_id)
            self._counts[instrument][order.leg][order.purpose] += 1
            if order.filled_lots:
                self._left[order.client_id] = order.qty_lots - order.filled_lots
