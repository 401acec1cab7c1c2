"""What the exchange and the wire hold of an account, as a test plays them, and what that could come to at worst.

Invariants: nothing here imports the gate or asks the bot; an order that was approved may live until it filled or the
exchange let it go, whatever anybody was told; sums are plain arithmetic over all orders, worked out anew each time.
"""

from collections.abc import Iterator
from enum import Enum

import attrs

from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Fill, Kind, Leg, OpenOrder, OrderRequest, Purpose


class Fate(Enum):
    """What has become of an order at the exchange."""

    TRAVELLING = "travelling"
    LIVE = "live"
    DEAD = "dead"


@attrs.define(eq=False)
class Wired:
    """An order that was approved; ``told_lots``: filled by what the bot was told; ``ended``: it was told the end."""

    request: OrderRequest
    fate: Fate = Fate.TRAVELLING
    filled_lots: int = 0
    told_lots: int = 0
    ended: bool = False

    @property
    def left_lots(self) -> int:
        """What may still fill."""
        return 0 if self.fate is Fate.DEAD else self.request.qty_lots - self.filled_lots

    @property
    def left_as_told(self) -> int:
        """What may still fill by all that the bot was told."""
        return 0 if self.ended else self.request.qty_lots - self.told_lots


@attrs.frozen(kw_only=True)
class Word:
    """Something that the exchange has said and the bot has not yet heard."""

    order: Wired
    event: OrderEvent


@attrs.frozen(kw_only=True)
class Caps:
    """The limits, by the test's own reckoning: money in quote x 1e8, quantities in lots, ratios in ppm."""

    leg_e8: int
    gross_e8: int
    net_e8: int
    order_e8: int
    order_lots: int
    position_lots: int
    open_orders: int


@attrs.define(eq=False)
class Side:
    """One leg of one instrument at the exchange: ours, what the bot was told of it, and what is not ours."""

    lots: int = 0
    cost_e8: int = 0
    told_lots: int = 0
    told_cost_e8: int = 0
    foreign_lots: int = 0
    foreign_orders: tuple[OpenOrder, ...] = ()


class Wire:
    """An exchange's side of the account."""

    def __init__(self, units_e8: dict[str, int], mark_ticks: int, wallet_e8: int) -> None:
        """Begin flat."""
        self.units_e8 = units_e8
        self.marks = dict.fromkeys(units_e8, mark_ticks)
        self.sides = {(name, leg): Side() for name in units_e8 for leg in Leg}
        self.orders: list[Wired] = []
        self.words: list[Word] = []
        self.wallet_e8 = wallet_e8
        self.trades = 0

    # --- what happens there -----------------------------------------------------------------------------------------

    def open_of(self, fate: Fate) -> list[Wired]:
        """Orders of a fate, oldest first."""
        return [order for order in self.orders if order.fate is fate]

    def say(self, order: Wired, kind: OrderEventKind, reason: EndReason = EndReason.NONE, left_lots: int = 0) -> None:
        """Let the exchange say something, which the bot hears later."""
        event = OrderEvent(kind=kind, client_id=order.request.client_id, reason=reason, qty_lots=left_lots)
        self.words.append(Word(order=order, event=event))

    def end(self, order: Wired, kind: OrderEventKind, reason: EndReason) -> None:
        """End an order, and say so."""
        order.fate = Fate.DEAD
        self.say(order, kind, reason)

    def fill(self, order: Wired, wanted_lots: int, now_ns: int) -> None:
        """Fill an order in part or whole; an exit closes no more than is there and ends where nothing is."""
        request = order.request
        side = self.sides[request.instrument, request.leg]
        is_entry = request.purpose is Purpose.ENTRY
        lots = min(wanted_lots, order.left_lots)
        if not is_entry:
            lots = min(lots, side.lots)
        if lots == 0:
            self.end(order, OrderEventKind.EXPIRED, EndReason.NOTHING_TO_CLOSE)
            return
        price = self.marks[request.instrument] if request.kind is Kind.MARKET else request.price_ticks
        notional_e8 = price * lots * self.units_e8[request.instrument]
        realised_e8 = 0
        if is_entry:
            side.lots += lots
            side.cost_e8 += notional_e8
        else:
            cost_e8 = side.cost_e8 * lots // side.lots
            realised_e8 = notional_e8 - cost_e8 if request.leg is Leg.LONG else cost_e8 - notional_e8
            side.lots -= lots
            side.cost_e8 -= cost_e8
        self.wallet_e8 += realised_e8
        order.filled_lots += lots
        self.trades += 1
        if order.left_lots == 0:
            order.fate = Fate.DEAD
        self._tell_fill(order, lots, price, realised_e8, now_ns)

    def _tell_fill(self, order: Wired, lots: int, price_ticks: int, realised_e8: int, now_ns: int) -> None:
        request = order.request
        fill = Fill(
            trade_id=self.trades,
            client_id=request.client_id,
            instrument=request.instrument,
            leg=request.leg,
            side=request.side,
            purpose=request.purpose,
            level=request.level,
            generation=request.generation,
            price_ticks=price_ticks,
            qty_lots=lots,
            fee_e8=0,
            realised_e8=realised_e8,
            maker=True,
            ts_ns=now_ns,
        )
        left = order.request.qty_lots - order.filled_lots
        event = OrderEvent(kind=OrderEventKind.FILLED, client_id=request.client_id, qty_lots=left, fill=fill)
        self.words.append(Word(order=order, event=event))

    # --- what the bot is told ---------------------------------------------------------------------------------------

    def take_words(self, count: int) -> list[Word]:
        """Take the oldest words of one instrument from what waits, and note that they are known now."""
        taken: list[Word] = []
        while self.words and len(taken) < count:
            if taken and self.words[0].order.request.instrument != taken[0].order.request.instrument:
                break
            taken.append(self.words.pop(0))
            self._known(taken[-1])
        # What is over on both sides is forgotten: the sums run over all orders.
        self.orders = [order for order in self.orders if order.fate is not Fate.DEAD or order.left_as_told]
        return taken

    def _known(self, word: Word) -> None:
        order, event = word.order, word.event
        if event.fill is not None:
            side = self.sides[event.fill.instrument, event.fill.leg]
            order.told_lots += event.fill.qty_lots
            side.told_lots += event.fill.qty_lots if order.request.purpose is Purpose.ENTRY else -event.fill.qty_lots
        if event.kind in (OrderEventKind.CANCELLED, OrderEventKind.REJECTED, OrderEventKind.EXPIRED):
            order.ended = True

    def read(self) -> None:
        """Let the bot's executor read everything: whatever was still to be heard is known by that."""
        while self.words:
            self.take_words(len(self.words))

    # --- what it comes to -------------------------------------------------------------------------------------------

    def live(self, name: str, leg: Leg, *purposes: Purpose) -> Iterator[Wired]:
        """Orders of a leg that may still fill."""
        for order in self.orders:
            request = order.request
            if order.left_lots and (request.instrument, request.leg) == (name, leg) and request.purpose in purposes:
                yield order

    def held_lots(self, name: str, leg: Leg) -> int:
        """What a leg holds, not ours too."""
        side = self.sides[name, leg]
        return side.lots + side.foreign_lots

    def entry_lots(self, name: str, leg: Leg) -> int:
        """What a leg could come to hold beside that."""
        ours = sum(order.left_lots for order in self.live(name, leg, Purpose.ENTRY))
        return ours + sum(one.qty_lots - one.filled_lots for one in self.sides[name, leg].foreign_orders)

    def entries_e8(self, name: str, leg: Leg) -> int:
        """The worth of that: each entry at its limit or at the mark, whichever is more."""
        pairs = [(order.request.price_ticks, order.left_lots) for order in self.live(name, leg, Purpose.ENTRY)]
        pairs += [(one.price_ticks, one.qty_lots - one.filled_lots) for one in self.sides[name, leg].foreign_orders]
        return sum(max(price, self.marks[name]) * lots for price, lots in pairs) * self.units_e8[name]

    def figures(self, caps: Caps) -> dict[str, tuple[int, int]]:
        """What the account comes to with all that may still fill, each figure beside its cap."""
        held = {leg: sum(self.held_lots(name, leg) * self._worth_e8(name) for name in self.units_e8) for leg in Leg}
        worst = {leg: held[leg] + sum(self.entries_e8(name, leg) for name in self.units_e8) for leg in Leg}
        net_e8 = max(abs(worst[Leg.LONG] - held[Leg.SHORT]), abs(worst[Leg.SHORT] - held[Leg.LONG]))
        figures = {f"notional of {leg.name}": (worst[leg], caps.leg_e8) for leg in Leg}
        figures["gross notional"] = (sum(worst.values()), caps.gross_e8)
        figures["net notional"] = (net_e8, caps.net_e8)
        for (name, leg), side in self.sides.items():
            lots = self.held_lots(name, leg) + self.entry_lots(name, leg)
            figures[f"position of {name} {leg.name}"] = (lots, caps.position_lots)
            orders = sum(1 for _ in self.live(name, leg, *Purpose)) + len(side.foreign_orders)
            figures[f"open orders of {name} {leg.name}"] = (orders, caps.open_orders)
        return figures

    def _worth_e8(self, name: str) -> int:
        """The worth of one lot at the mark."""
        return self.marks[name] * self.units_e8[name]
