"""Entries that are given another quantity in one step, where the core asked for a cancel with a successor behind it.

Invariants: an entry that is being amended stays CANCELLING for the core, so that its rung is taken and nothing else is
asked of it; it works again once the exchange says that it has the quantity that was asked for. Whatever else is said,
and whatever drops its successor meanwhile (a fill, a new grid, a pause), makes it a cancel after all; an entry whose
amendment failed is never amended again. A price is never amended: in one grid a rung's price is fixed, and an entry
that was pushed out as post-only would take where it moved back.
"""

from hedgegrid.actors.grid_memory import GridTables
from hedgegrid.actors.order_names import OrderNames
from hedgegrid.core import diff
from hedgegrid.core.records import Action
from hedgegrid.model.order import Kind, Leg, OrderRequest, Purpose


class Amending:
    """The amendments of one instrument."""

    def __init__(self, names: OrderNames, instrument: str, *, can: bool) -> None:
        """``can``: whether the venue amends, and is to."""
        self._names = names
        self._instrument = instrument
        self._can = can
        self._asked: dict[int, int] = {}
        """The whole quantity that was asked for, by order number."""
        self._failed: set[int] = set()
        self._cancels: list[int] = []

    def forget(self) -> None:
        """Begin anew: a hydration tells what rests, with the larger quantity where that is in doubt."""
        self._asked.clear()
        self._failed.clear()
        self._cancels.clear()

    def instead_of(self, t: GridTables, cancel: Action, now_ns: int) -> OrderRequest | None:
        """Give the amendment that takes the place of an entry's cancel; None where it has to be cancelled."""
        slot, client_id = diff.find(t.entries, cancel.no), self._names.name(cancel.no)
        if not self._can or slot < 0 or client_id is None or cancel.no in self._failed:
            return None
        order = t.entries[slot]
        if order.wait_qty_lots == 0 or order.wait_price_ticks != order.price_ticks:
            return None
        self._asked[order.no] = order.wait_qty_lots
        return OrderRequest(
            client_id=client_id,
            instrument=self._instrument,
            leg=Leg(order.leg),
            purpose=Purpose.ENTRY,
            kind=Kind.LIMIT,
            price_ticks=order.price_ticks,
            qty_lots=order.wait_qty_lots,
            post_only=t.params.post_only == 1,
            close_all=False,
            level=order.level,
            generation=order.generation,
            tp_micro=order.wait_tp_micro,
            step_micro=order.step_micro,
            decided_ns=now_ns,
        )

    def amended(self, t: GridTables, no: int, left_lots: int) -> None:
        """Take the exchange's word on what an entry has left to fill; anything but an entry is not ours to know."""
        slot = diff.find(t.entries, no)
        asked_lots = self._asked.pop(no, 0)
        if slot < 0:
            return
        order = t.entries[slot]
        order.qty_lots = order.filled_lots + left_lots
        t.state.settled = 0
        if asked_lots == 0:
            return
        if order.qty_lots == asked_lots and order.wait_qty_lots > 0:
            order.state = diff.WORKING
            order.tp_micro = order.wait_tp_micro
            order.wait_qty_lots = 0
        else:
            self._cancel(no)

    def refused(self, no: int) -> bool:
        """Take the gate's refusal; False where this order is not being amended."""
        if self._asked.pop(no, 0) == 0:
            return False
        self._cancel(no)
        return True

    def cancels(self, t: GridTables) -> list[int]:
        """Give, once, the orders that have to be cancelled after all."""
        for no in tuple(self._asked):
            slot = diff.find(t.entries, no)
            if slot < 0:
                del self._asked[no]
            elif t.entries[slot].wait_qty_lots == 0:
                del self._asked[no]
                self._cancel(no)
        due, self._cancels = self._cancels, []
        return due

    def _cancel(self, no: int) -> None:
        self._failed = {one for one in self._failed if self._names.name(one) is not None} | {no}
        self._cancels.append(no)
