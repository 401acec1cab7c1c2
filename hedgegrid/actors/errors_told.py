"""What the executor tells risk of the exchange's errors, for the circuit breaker.

Invariants: an order's end counts once, and only where it lived by our table; what the exchange was never asked for, or
was kept back by a limit, is told by nobody here.
"""

from collections.abc import Sequence

from hedgegrid.actors.executor_notes import ExchangeRead, Sent
from hedgegrid.actors.order_table import OrderTable
from hedgegrid.actors.post import RISK, Post
from hedgegrid.core import breaker
from hedgegrid.messages.events import EndReason, ExchangeErred, Message, OrderEvent, OrderEventKind


class ErrorsTold:
    """The errors of one account's exchange."""

    def __init__(self, *, post: Post, table: OrderTable) -> None:
        """Judge by ``table`` whether an order lived."""
        self._post = post
        self._table = table

    def of_orders(self, cause: Message, instrument: str, events: Sequence[OrderEvent]) -> None:
        """Tell of orders that were refused or lost; before their events are applied."""
        found = [one for one in events if breaker.is_error(one) and self._table.may_live(one.client_id)]
        if found:
            newest = found[-1]
            self._tell(cause, instrument, len(found), newest.detail or newest.reason.value or newest.kind.value)

    def of_cancels(self, sent: Sent) -> None:
        """Tell of cancels that failed as a whole."""
        refused = any(
            event.kind is OrderEventKind.CANCEL_FAILED and event.reason is not EndReason.RATE_LIMITED
            for event in sent.events
            if event.client_id in sent.job.cancels
        )
        if sent.lost_cancels or refused:
            self._tell(sent, sent.job.instrument, 1, "cancels were not taken, or nobody knows")

    def of_amends(self, sent: Sent) -> None:
        """Tell of amendments that the exchange refused: one that is gone has ended, and that is no error."""
        refused = [one for one in sent.amends if breaker.is_error(one) and one.kind is OrderEventKind.REJECTED]
        found = [one for one in refused if one.reason is not EndReason.NOT_FOUND]
        if found:
            self._tell(sent, sent.job.instrument, len(found), found[-1].detail or found[-1].reason.value)

    def of_reading(self, read: ExchangeRead) -> None:
        """Tell of a reading that failed."""
        if read.view is None and read.until_ns is None:
            self._tell(read, "", 1, read.error)

    def _tell(self, cause: Message, instrument: str, errors: int, newest: str) -> None:
        told = ExchangeErred(**self._post.head(cause), instrument=instrument, errors=errors, newest=newest)
        self._post.publish(told, RISK)
