"""What a bot knows of an instrument's exits at an exchange that links none: each order, and what was refused of them.

Invariants: an exit is in the book from its sending until the exchange says that it ended; what the exchange refuses is
tried again after a growing pause; what a rate limit or our own gate kept back was not refused: it waits and is sent
again as it is (our own gate's, for so many times).
"""

from collections.abc import Sequence

import attrs

from hedgegrid.core import exits
from hedgegrid.core.codes import BACKSTOP, STOP, TAKE_PROFIT
from hedgegrid.core.records import Lot
from hedgegrid.model.order import Cover

KEPT_BACK_MAX = 10
"""Refusals in a row by our own gate after which one counts: what stands in the way is no predecessor that will go."""
KEPT_BACK_DOUBLINGS = 3
PAUSE_NS = 100_000_000
PAUSE_MAX_NS = 5_000_000_000
DOUBLINGS_MAX = 6
"""Each further cancel of an exit waits twice as long as the one before, up to this many times."""

LotKey = tuple[int, int]
"""Leg and lot id: a trade of our own legs with each other gives both their lots one number."""


@attrs.define(eq=False, kw_only=True)
class ExitOrder:
    """An exit that the exchange has, or may have. ``price_ticks`` is 0 for a market reduction.

    ``qty_lots`` is what is left of it; ``covers`` the lots that it was sent for; ``leaving_ns`` when its cancel was
    asked for last (0: it is to stay), ``again_ns`` when it is to be asked for again because the exchange proved that it
    was not taken (0: it did not). ``unknown``: its outcome is not known.
    """

    no: int
    leg: int
    purpose: int
    price_ticks: int
    qty_lots: int
    covers: tuple[Cover, ...]
    sent_ns: int
    acknowledged: bool = False
    unknown: bool = False
    leaving_ns: int = 0
    again_ns: int = 0
    cancels: int = 0

    @property
    def is_stop(self) -> bool:
        """Whether it rests as a protective stop (a market reduction bears the purpose too)."""
        return self.purpose == STOP and self.price_ticks > 0

    @property
    def protects(self) -> bool:
        """Whether it is known to rest at the exchange as a stop; one that is leaving does until it has left."""
        return self.is_stop and self.acknowledged and not self.unknown


@attrs.define(eq=False, kw_only=True)
class Setback:
    """Refusals in a row, how often it was kept back on our side since, and when it may be tried again."""

    count: int = 0
    kept_back: int = 0
    again_ns: int = 0

    def add(self, now_ns: int) -> None:
        """Note a refusal: every further one doubles the pause."""
        self.count += 1
        self.again_ns = now_ns + min(PAUSE_MAX_NS, PAUSE_NS << min(self.count - 1, 10))

    def wait(self, now_ns: int, until_ns: int) -> None:
        """Note that it was kept back: it is tried again at ``until_ns``, or after a short pause."""
        pause_ns = PAUSE_NS << min(self.kept_back, KEPT_BACK_DOUBLINGS)
        self.kept_back += 1
        self.again_ns = until_ns if until_ns > now_ns else now_ns + pause_ns

    def clear(self) -> None:
        """Forget: it was taken."""
        self.count = 0
        self.kept_back = 0
        self.again_ns = 0


@attrs.define(eq=False)
class ExitBook:
    """The exits of an instrument and what the exchange refused of them, stops by leg, take-profits by lot."""

    orders: dict[int, ExitOrder] = attrs.field(factory=dict)
    stop_setbacks: tuple[Setback, Setback] = attrs.field(factory=lambda: (Setback(), Setback()))
    profit_setbacks: dict[LotKey, Setback] = attrs.field(factory=dict)
    held: list[bool] = attrs.field(factory=lambda: [False, False])
    """By leg: its stops are to be laid once its pause is over."""
    crowded: list[bool] = attrs.field(factory=lambda: [False, False])
    """By leg: the exchange refused to reduce what is held; its resting take-profits may stand in the way."""

    def acknowledge(self, no: int, *, certain: bool) -> None:
        """The exchange has the order. ``certain``: it was looked for, so no older doubt is left."""
        order = self.orders.get(no)
        if order is None:
            return
        order.acknowledged = True
        order.unknown = order.unknown and order.leaving_ns > 0 and not certain
        if order.purpose == TAKE_PROFIT:
            for cover in order.covers:
                self.profit_setbacks.pop((order.leg, cover.lot_id), None)
        elif order.is_stop:
            self.clear_way(order.leg)

    def clear_way(self, leg: int) -> None:
        """The exchange took a stop of the leg, or reduced it."""
        self.stop_setbacks[leg].clear()
        self.crowded[leg] = False

    def doubt(self, no: int) -> None:
        """The order's outcome is not known."""
        if no in self.orders:
            self.orders[no].unknown = True

    def leave(self, no: int, now_ns: int) -> None:
        """A cancel of the order is on its way."""
        order = self.orders.get(no)
        if order is not None:
            order.leaving_ns = now_ns
            order.again_ns = 0
            order.cancels += 1

    def not_cancelled(self, no: int, now_ns: int, until_ns: int) -> None:
        """A cancel was proven not to be taken: it is asked for again soon after, not before ``until_ns``."""
        order = self.orders.get(no)
        if order is not None and order.leaving_ns > 0:
            pause_ns = PAUSE_NS << min(max(order.cancels - 1, 0), DOUBLINGS_MAX)
            order.again_ns = max(now_ns + pause_ns, until_ns)

    def refuse(self, order: ExitOrder, now_ns: int) -> None:
        """The exchange would not have an order that is still wanted."""
        for setback in self._setbacks(order):
            setback.add(now_ns)

    def keep_back(self, order: ExitOrder, now_ns: int, *, until_ns: int, limited: bool) -> bool:
        """An order that is still wanted was kept back: by a limit, until ``until_ns`` (0: nobody said), or by our gate.

        False where our gate has done so too often for a predecessor to be the cause: that counts as a refusal.
        """
        setbacks = self._setbacks(order)
        if not limited and any(one.kept_back >= KEPT_BACK_MAX for one in setbacks):
            return False
        for setback in setbacks:
            setback.wait(now_ns, until_ns)
        return True

    def _setbacks(self, order: ExitOrder) -> list[Setback]:
        if order.purpose == TAKE_PROFIT:
            keys = [(order.leg, cover.lot_id) for cover in order.covers]
            return [self.profit_setbacks.setdefault(key, Setback()) for key in keys]
        return [] if order.purpose == BACKSTOP else [self.stop_setbacks[order.leg]]

    def protected_lots(self, lots: Sequence[Lot], without: int = 0) -> dict[LotKey, int]:
        """Give the quantity of each open lot that stops known to rest would close, one of them left out if named."""
        open_lots = {(lot.leg, lot.lot_id): lot.qty_lots for lot in lots if lot.state == exits.OPEN}
        found: dict[LotKey, int] = {}
        for order in self.orders.values():
            left = order.qty_lots if order.protects and order.no != without else 0
            for cover in order.covers:
                key = (order.leg, cover.lot_id)
                taken = min(left, open_lots.get(key, 0))
                left -= taken
                found[key] = found.get(key, 0) + taken
        return found
