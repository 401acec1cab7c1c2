"""Whose order a number of the exchange's is: order ids, algo orders and parts of orders, by our ids.

Pure tables, all bounded. Invariants: an algo order's fills are told under the algo order's own id, whatever id the
exchange gave the order that it became; the parts of a sliced order are told as the order that was asked for; an order
that ends is told to have ended when all its parts have.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

import attrs

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Leg
from hedgegrid.venues.ccxtpro.order_requests import whole_id

KEPT: Final = 1_024
"""Entries that a table keeps for each instrument: several times the open orders that the exchange allows it, and all
the news that could still come twice."""
TRADES_KEPT: Final = KEPT // 2
"""The same of fills: twice what a reading of the exchange shows again."""
_ENDS: Final = (OrderEventKind.CANCELLED, OrderEventKind.EXPIRED, OrderEventKind.REJECTED)

OrderKey = tuple[str, int]
"""Instrument and the exchange's order id."""

_K = TypeVar("_K")
_V = TypeVar("_V")


def keep(table: "OrderedDict[_K, _V]", key: _K, value: _V, most: int) -> None:
    """Put a value into a bounded table; the oldest goes where it is full."""
    table[key] = value
    if len(table) > most:
        table.popitem(last=False)


@attrs.frozen(kw_only=True)
class WaitingStop:
    """A conditional order of ours that has not ended: its instrument and leg."""

    instrument: str
    leg: Leg


class OrderNames:
    """Client ids by order id, and the conditional orders that could still become orders under foreign ids."""

    def __init__(self, kept: int = KEPT) -> None:
        """Begin with nothing known; ``kept``: how many of a kind are remembered, older ones are asked for again."""
        self._kept = kept
        self._names: OrderedDict[OrderKey, str] = OrderedDict()
        self._stops: OrderedDict[str, WaitingStop] = OrderedDict()

    def learn(self, instrument: str, order_id: int, name: str) -> None:
        """Take note of an order's client id. A name that is ours is not replaced by a foreign one."""
        known = self._names.get((instrument, order_id))
        if known is None or parse_client_id(known) is None:
            keep(self._names, (instrument, order_id), name, self._kept)

    def name_of(self, instrument: str, order_id: int) -> str | None:
        """Give an order's client id as far as it was told."""
        return self._names.get((instrument, order_id))

    def stop_waits(self, name: str, instrument: str, leg: Leg) -> None:
        """Take note of a conditional order that was sent or is shown as open."""
        keep(self._stops, name, WaitingStop(instrument=instrument, leg=leg), self._kept)

    def stop_done(self, name: str) -> None:
        """Take note that a conditional order has ended, or that the order it became is known."""
        self._stops.pop(name, None)

    def could_be_a_stop(self, instrument: str, leg: Leg) -> bool:
        """Tell whether an order under a foreign id that reduces this leg may be a triggered stop of ours."""
        return any(stop.instrument == instrument and stop.leg is leg for stop in self._stops.values())


@attrs.define(kw_only=True)
class _Sliced:
    """An order in parts. ``qty_lots`` is what was asked for; what no part holds ends with the last of them."""

    qty_lots: int
    names: tuple[str, ...]
    left: set[str]
    """The parts that have not ended."""
    filled_lots: int = 0
    going: bool = False
    """It is being cancelled, or was given up: its parts' ends are no surprise."""
    over: bool = False
    """It was answered as refused: of its parts only fills are told."""


class Slices:
    """Orders that were sent as several, told as one."""

    def __init__(self) -> None:
        """Begin with none."""
        self._sliced: OrderedDict[str, _Sliced] = OrderedDict()

    def note(self, parent: str, names: Sequence[str], qty_lots: int) -> None:
        """Take note of an order's parts before they are sent."""
        keep(self._sliced, parent, _Sliced(names=tuple(names), qty_lots=qty_lots, left=set(names)), KEPT)

    def found(self, open_parts: Iterable[tuple[str, int]]) -> None:
        """Take note of parts, ids and lots, that a list of open orders shows: of orders of an earlier life too."""
        families: dict[str, dict[str, int]] = {}
        for name, lots in open_parts:
            families.setdefault(whole_id(name), {})[name] = lots
        for parent, lots_of in families.items():
            if parent not in self._sliced and set(lots_of) != {parent}:
                self.note(parent, tuple(lots_of), sum(lots_of.values()))

    def parts(self, parent: str) -> tuple[str, ...]:
        """Give the ids that an order was sent under: its own alone where it was not sliced."""
        whole = self._sliced.get(parent)
        return (parent,) if whole is None else whole.names

    def standing(self, parent: str) -> tuple[str, ...]:
        """Give those of an order's parts that have not ended; all of them where none is left."""
        whole = self._sliced.get(parent)
        return (parent,) if whole is None else tuple(n for n in whole.names if n in whole.left) or whole.names

    def filled_lots(self, parent: str) -> int:
        """Give what was told to be filled of an order in parts; 0 for any other."""
        whole = self._sliced.get(parent)
        return 0 if whole is None else whole.filled_lots

    def parent_of(self, name: str) -> str:
        """Give the order that an id stands for."""
        return whole_id(name)

    def going(self, parent: str) -> None:
        """Take note that an order's parts are being cancelled."""
        whole = self._sliced.get(parent)
        if whole is not None:
            whole.going = True

    def give_up(self, parent: str) -> None:
        """Take note that an order is answered as refused, though some of its parts were taken."""
        whole = self._sliced[parent]
        whole.going = whole.over = True

    def is_short(self, name: str) -> bool:
        """Tell whether a part has ended unasked while others stand: the order covers less than it was asked to."""
        whole = self._sliced.get(whole_id(name))
        return whole is not None and name not in whole.left and bool(whole.left) and not whole.going

    def told(self, event: OrderEvent) -> tuple[OrderEvent, ...]:
        """Give what an event of a part means for the whole order; an event of any other order as it is."""
        parent = whole_id(event.client_id)
        whole = self._sliced.get(parent)
        if whole is None:
            return (event if parent == event.client_id else _renamed(event, parent, event.qty_lots),)
        if event.kind is OrderEventKind.FILLED:
            assert event.fill is not None, "a fill has its figures"
            whole.filled_lots += event.fill.qty_lots
            if event.qty_lots == 0:
                whole.left.discard(event.client_id)
            said = _renamed(event, parent, max(0, whole.qty_lots - whole.filled_lots))
            return (said, *self._end(parent, whole, OrderEventKind.CANCELLED, EndReason.REFUSED))
        if event.kind in _ENDS:
            if event.client_id not in whole.left:
                return ()
            whole.left.discard(event.client_id)
            return self._end(parent, whole, event.kind, event.reason)
        return () if whole.over else (_renamed(event, parent, whole.qty_lots - whole.filled_lots),)

    def refused(self, parent: str, name: str) -> tuple[OrderEvent, ...]:
        """Take note that a part was never taken; give the end of the whole where it was the last."""
        whole = self._sliced.get(parent)
        if whole is None or name not in whole.left:
            return ()
        whole.left.discard(name)
        return self._end(parent, whole, OrderEventKind.CANCELLED, EndReason.REFUSED)

    def _end(self, parent: str, whole: _Sliced, kind: OrderEventKind, reason: EndReason) -> tuple[OrderEvent, ...]:
        if whole.left or whole.over or whole.filled_lots >= whole.qty_lots:
            return ()
        return (OrderEvent(kind=kind, client_id=parent, reason=reason),)


def _renamed(event: OrderEvent, name: str, qty_lots: int) -> OrderEvent:
    fill = None if event.fill is None else attrs.evolve(event.fill, client_id=name)
    return attrs.evolve(event, client_id=name, fill=fill, qty_lots=qty_lots)
