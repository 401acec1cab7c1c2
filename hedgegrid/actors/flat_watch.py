"""FLAT is said only by law 8: two readings of the exchange, both later than the asking, that show nothing of ours.

Invariants: a reading counts only where it began after the asking and after the exchange's last word on an order, and
nothing of ours is on its way, unknown, or live in the table; the first reading that shows something ends the asking
with what is left; what is not ours is named beside it and does not count.
"""

from collections.abc import Callable, Iterable

from hedgegrid.actors.executor_notes import ExchangeRead
from hedgegrid.actors.order_table import OrderTable
from hedgegrid.actors.post import RISK, Post
from hedgegrid.core.order_state import OrderState, is_live
from hedgegrid.core.reconcile_views import LegLots
from hedgegrid.messages.commands import ConfirmFlat
from hedgegrid.messages.events import FlatConfirmed, StillHeld
from hedgegrid.model.order import Leg

READS = 2


class FlatWatch:
    """Confirms that legs are flat, for whoever asked last."""

    def __init__(
        self, *, post: Post, table: OrderTable, foreign: Callable[[], Iterable[LegLots]], queued: Callable[[], bool]
    ) -> None:
        """``foreign`` gives what the legs hold that is not ours; ``queued`` whether anything waits to be sent."""
        self._post = post
        self._table = table
        self._foreign = foreign
        self._queued = queued
        self._asked: ConfirmFlat | None = None
        self._seen = 0
        self._is_old = False
        """Whether the reading that comes next began too early to count."""

    def ask(self, message: ConfirmFlat, *, reading: bool) -> None:
        """Begin with the readings that follow; one that is under way (``reading``) is none of them.

        Who asks again for the same legs, perhaps because the exchange is slow, goes on with what was read since.
        """
        if self._asked is not None and self._asked.legs == message.legs:
            return
        self._asked = message
        self.heard(reading=reading)

    def heard(self, *, reading: bool) -> None:
        """Take note that the exchange spoke of an order: what was read before, or is being read, counts no more."""
        self._seen = 0
        self._is_old = reading

    def look(self, read: ExchangeRead) -> bool:
        """Take a reading, and tell what it shows; True where one more is needed."""
        asked, is_old = self._asked, self._is_old
        self._is_old = False
        if asked is None:
            return False
        if read.view is None or is_old:
            return True
        left = self._left(read, asked.legs)
        if left:
            self._asked = None
            held = StillHeld(**self._post.head(read), legs=asked.legs, left=left, foreign=self._foreign_words(read))
            self._post.publish(held, RISK)
            return False
        self._seen += 1
        if self._seen < READS:
            return True
        self._asked = None
        flat = FlatConfirmed(**self._post.head(read), legs=asked.legs, foreign=self._foreign_words(read))
        self._post.publish(flat, RISK)
        return False

    def _left(self, read: ExchangeRead, legs: tuple[Leg, ...]) -> tuple[str, ...]:
        """Say what of ours a reading, or the table, shows on these legs."""
        assert read.view is not None, "only a whole reading is looked at"
        foreign = {(one.instrument, one.leg): one.qty_lots for one in self._foreign()}
        left = [
            f"{one.instrument} {one.leg.name} {one.qty_lots - foreign.get((one.instrument, one.leg), 0)} lots"
            for one in read.view.positions
            if one.leg in legs and one.qty_lots > foreign.get((one.instrument, one.leg), 0)
        ]
        left += [
            f"{one.instrument} {one.leg.name} order {one.client_id} open"
            for one in (*read.view.limit_orders, *read.view.stop_orders)
            if one.leg in legs and self._table.is_ours(one.client_id)
        ]
        left += [
            f"{one.instrument} {one.leg.name} order {one.client_id} {one.state}"
            for one in self._table.records.values()
            if one.leg in legs and (is_live(one.state) or one.state is OrderState.INTENT)
        ]
        if self._queued():
            left.append("requests wait to be sent")
        return tuple(dict.fromkeys(left))

    def _foreign_words(self, read: ExchangeRead) -> tuple[str, ...]:
        """Name what the account holds, and what rests in it, that is not ours."""
        assert read.view is not None, "only a whole reading is looked at"
        orders = (*read.view.limit_orders, *read.view.stop_orders)
        return (
            *(f"{one.instrument} {one.leg.name} {one.qty_lots} lots" for one in self._foreign() if one.qty_lots),
            *(
                f"{one.instrument} {one.leg.name} order {one.client_id}"
                for one in orders
                if not self._table.is_ours(one.client_id)
            ),
        )
