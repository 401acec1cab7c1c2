"""An exchange that a test plays by hand: every order, answer and cancel on its own, and no word before it is let out.

Invariants: it knows no lots and links no exits; its position never goes below zero; what it says waits in ``words``.
"""

from collections import deque
from types import SimpleNamespace
from typing import Any

import attrs

from hedgegrid.core.fill_origin import allocated
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Fill, Kind, Leg, OrderRequest, Purpose, side_of
from hedgegrid.runtime.clock import VirtualClock
from tests.core import made

BTC = made.BTC.name
FORCED = "autoclose-1"


@attrs.define(eq=False)
class Order:
    """An order at the exchange, or on its way there."""

    request: OrderRequest
    left: int
    where: str = "sent"
    """"sent", "live" or "ended"."""
    known: bool = True
    """Whether the bot was not told that its outcome is unknown."""
    heard: bool = False
    """Whether the bot was told that it stands."""
    cancels: int = 0
    """Cancels on their way."""
    filled: int = 0


class PlayedExchange:
    """One account's orders and positions at an exchange."""

    def __init__(self, clock: VirtualClock, *, refuse: bool) -> None:
        """``refuse``: a reduction above the position is refused whole, else filled as far as it goes."""
        self.clock = clock
        self.refuse = refuse
        self.orders: dict[str, Order] = {}
        self.position = [0, 0]
        self.words: deque[OrderEvent] = deque()
        self.retiring: dict[str, list[str]] = {}
        self.mark = 10_000
        self.trades = 0

    def _ask_cancel(self, name: str) -> None:
        if name not in self.orders:
            # The gate refused it while its cancel was on the way.
            self.say(name, OrderEventKind.CANCEL_FAILED, EndReason.NOT_FOUND)
        elif self.orders[name].where != "ended":
            self.orders[name].cancels += 1

    def _retire(self) -> None:
        """Cancel the replaced stops whose successors stand; leave them where a successor was refused."""
        for name, successors in list(self.retiring.items()):
            places = [self.orders[one] for one in successors]
            if any(one.where == "ended" and one.filled == 0 and not one.heard for one in places):
                del self.retiring[name]
                self.say(name, OrderEventKind.CANCEL_FAILED)
            elif all(one.where != "sent" for one in places):
                del self.retiring[name]
                self._ask_cancel(name)

    # --- the exchange's side ----------------------------------------------------------------------------------------

    def say(
        self,
        name: str,
        kind: OrderEventKind,
        reason: EndReason = EndReason.NONE,
        *,
        left: int = 0,
        fill: Any = None,
        until_ns: int = 0,
    ) -> None:
        """Have the exchange say something, which is heard later."""
        self.words.append(
            OrderEvent(kind=kind, client_id=name, reason=reason, qty_lots=left, fill=fill, until_ns=until_ns)
        )

    def limit(self, name: str, until_ns: int) -> None:
        """Let a rate limit keep an order back until a time."""
        self.orders[name].where = "ended"
        self.say(name, OrderEventKind.REJECTED, EndReason.RATE_LIMITED, until_ns=until_ns)

    def named(self, where: str, *purposes: Purpose) -> list[str]:
        """The orders that are somewhere, of some purposes or all."""
        return [
            name
            for name, one in self.orders.items()
            if one.where == where and (not purposes or one.request.purpose in purposes)
        ]

    def arrive(self, name: str, refusal: EndReason | None = None) -> None:
        """Let an order reach the exchange: it stands, is refused, or (a market order) is executed."""
        order = self.orders[name]
        request = order.request
        over = request.purpose is not Purpose.ENTRY and request.qty_lots > self.position[request.leg]
        if refusal is None and over and self.refuse and request.kind is not Kind.STOP_MARKET:
            refusal = EndReason.REDUCE_REFUSED
        if refusal is not None:
            order.where = "ended"
            self.say(name, OrderEventKind.REJECTED, refusal)
        else:
            order.where = "live"
            self.say(name, OrderEventKind.ACCEPTED)
            if request.kind is Kind.MARKET:
                self.fill(name, order.left)
        self._retire()

    def lose(self, name: str, *, landed: bool) -> None:
        """Let the answer to an order be lost."""
        order = self.orders[name]
        order.known = False
        self.say(name, OrderEventKind.UNKNOWN)
        if landed:
            order.where = "live"
            if order.request.kind is Kind.MARKET:
                self.fill(name, order.left)
        else:
            order.where = "ended"
        self._retire()

    def find(self, name: str) -> None:
        """Let the executor find out what became of an order whose outcome was not known."""
        order = self.orders[name]
        if order.where == "live":
            self.say(name, OrderEventKind.ACCEPTED, EndReason.FOUND)
        elif order.left > 0:
            self.say(name, OrderEventKind.CANCELLED, EndReason.NOT_FOUND)
        order.known = True

    def fill(self, name: str, qty_lots: int, price_ticks: int | None = None) -> None:
        """Execute a part of an order, as far as its leg goes."""
        order = self.orders[name]
        request = order.request
        entry = request.purpose is Purpose.ENTRY
        held = self.position[request.leg]
        taken = qty_lots if entry else min(qty_lots, held)
        if not entry and qty_lots > held and (self.refuse or held == 0):
            self._end(name, OrderEventKind.CANCELLED if order.filled else OrderEventKind.REJECTED)
            return
        covers = () if entry else allocated(request.covers, order.filled, taken)
        order.left -= taken
        order.filled += taken
        self.position[request.leg] += taken if entry else -taken
        fill = self._fill(name, request, taken, covers, price_ticks or request.price_ticks or self.mark)
        if order.left == 0:
            order.where = "ended"
        self.say(name, OrderEventKind.FILLED, left=order.left, fill=fill)
        if taken < qty_lots:
            self._end(name, OrderEventKind.CANCELLED)

    def _end(self, name: str, kind: OrderEventKind) -> None:
        self.orders[name].where = "ended"
        self.say(name, kind, EndReason.REDUCE_REFUSED)

    def _fill(self, name: str, request: Any, qty_lots: int, covers: Any, price_ticks: int) -> Fill:
        self.trades += 1
        return Fill(
            trade_id=self.trades,
            client_id=name,
            instrument=BTC,
            leg=request.leg,
            side=side_of(request.leg, request.purpose),
            purpose=request.purpose,
            level=request.level,
            generation=request.generation,
            price_ticks=price_ticks,
            qty_lots=qty_lots,
            fee_e8=0,
            realised_e8=0,
            maker=True,
            ts_ns=self.clock.now_ns(),
            covers=covers,
        )

    def force(self, leg: Leg, qty_lots: int) -> None:
        """Let the exchange reduce a leg by itself."""
        taken = min(qty_lots, self.position[leg])
        if taken == 0:
            return
        self.position[leg] -= taken
        forced: Any = SimpleNamespace(leg=leg, purpose=Purpose.LIQUIDATION, level=-1, generation=-1)
        fill = self._fill(FORCED, forced, taken, (), self.mark)
        self.say(FORCED, OrderEventKind.FILLED, fill=fill)

    def cancel_arrives(self, name: str, *, fails: bool = False) -> None:
        """Let a cancel reach the exchange."""
        order = self.orders[name]
        order.cancels -= 1
        if order.where == "ended":
            self.say(name, OrderEventKind.CANCEL_FAILED, EndReason.NOT_FOUND)
        elif fails:
            self.say(name, OrderEventKind.CANCEL_FAILED, EndReason.RATE_LIMITED)
        else:
            order.where = "ended"
            self.say(name, OrderEventKind.CANCELLED, EndReason.BY_REQUEST)

    def expire(self, name: str) -> None:
        """Let the exchange end an order by itself."""
        self.orders[name].where = "ended"
        self.say(name, OrderEventKind.EXPIRED)
