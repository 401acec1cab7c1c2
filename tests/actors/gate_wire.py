"""What the exchange and the wire hold of an account, as a test plays them, and what that could come to at worst.

Invariants: nothing here imports the gate or asks the bot; an order that was approved may live until it filled or the
exchange let it go, whatever anybody was told; sums are plain arithmetic over all orders, worked out anew each time.
"""

from collections.abc import Iterator
from enum import Enum

import attrs

from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Fill, Kind, Leg, OpenOrder, OrderRequest, Purpose
from hedgegrid.units import PPM


class Fate(Enum):
    """What has become of an order at the exchange."""

    TRAVELLING = "travelling"
    LIVE = "live"
    DEAD = "dead"


@attrs.define(eq=False)
class Wired:
    """An order that was approved, with what the exchange knows of it and what the bot was told.

    ``asked_lots``: the whole quantity that an amendment under way asks for, 0 for none; ``ended``: the end was told.
    """

    request: OrderRequest
    fate: Fate = Fate.TRAVELLING
    qty_lots: int = 0
    filled_lots: int = 0
    asked_lots: int = 0
    told_qty_lots: int = 0
    told_lots: int = 0
    unsettled_lots: int = 0
    ended: bool = False

    def __attrs_post_init__(self) -> None:
        """Begin with what was asked for."""
        self.qty_lots = self.told_qty_lots = self.request.qty_lots

    @property
    def resting_lots(self) -> int:
        """What can fill now."""
        return 0 if self.fate is Fate.DEAD else self.qty_lots - self.filled_lots

    @property
    def left_lots(self) -> int:
        """What may still fill."""
        return 0 if self.fate is Fate.DEAD else max(self.qty_lots, self.asked_lots) - self.filled_lots

    @property
    def left_as_told(self) -> int:
        """What may still fill by all that the bot was told."""
        return 0 if self.ended else max(self.told_qty_lots, self.unsettled_lots) - self.told_lots


@attrs.frozen(kw_only=True)
class Word:
    """Something that the exchange has said and the bot has not yet heard."""

    order: Wired
    event: OrderEvent


@attrs.frozen(kw_only=True)
class Caps:
    """The limits, by the test's own reckoning: money in quote x 1e8, quantities in lots, ratios in ppm.

    ``wallet_e8`` is what the account begins with.
    """

    wallet_e8: int
    leg_e8: int
    gross_e8: int
    net_e8: int
    order_e8: int
    order_lots: int
    position_lots: int
    open_orders: int
    leverage_ppm: int
    position_ppm: int
    margin_ppm: int
    distance_ppm: int
    var_ppm: int
    orders_per_minute: int


@attrs.define(eq=False)
class Holding:
    """A position: lots, and what they cost in quote x 1e8."""

    lots: int = 0
    cost_e8: int = 0

    def move(self, leg: Leg, lots: int, price_e8: int) -> int:
        """Take a trade in, and give what it earned: a reduction closes its share of the cost."""
        if lots >= 0:
            self.lots += lots
            self.cost_e8 += lots * price_e8
            return 0
        cost_e8 = self.cost_e8 * -lots // self.lots
        self.lots += lots
        self.cost_e8 -= cost_e8
        return -lots * price_e8 - cost_e8 if leg is Leg.LONG else cost_e8 + lots * price_e8


@attrs.define(eq=False)
class Side(Holding):
    """One leg of one instrument at the exchange: ours, what the bot was told of it, and what is not ours."""

    told: Holding = attrs.field(factory=Holding)
    foreign_lots: int = 0
    foreign_cost_e8: int = 0
    foreign_orders: tuple[OpenOrder, ...] = ()


@attrs.frozen(kw_only=True)
class Terms:
    """What the exchange's terms are: the worth of a tick on a lot, what must be held, and the leverage that is set.

    ``tiers``: up to which notional of an instrument which ppm of it; ``loss_ratio``: what a unit of an instrument's net
    notional could lose by its volatility.
    """

    units_e8: dict[str, int]
    tiers: tuple[tuple[int, int], ...]
    leverage: int
    loss_ratio: float

    def maintenance_e8(self, notional_e8: int) -> int:
        """What must be held for an instrument's notional, rounded up."""
        ppm = next(ppm for most_e8, ppm in self.tiers if notional_e8 <= most_e8)
        return -(-notional_e8 * ppm // PPM)


class Wire:
    """An exchange's side of the account."""

    def __init__(self, terms: Terms, mark_ticks: int, wallet_e8: int) -> None:
        """Begin flat."""
        self.terms = terms
        self.units_e8 = units_e8 = terms.units_e8
        self.marks = dict.fromkeys(units_e8, mark_ticks)
        self.sides = {(name, leg): Side() for name in units_e8 for leg in Leg}
        self.orders: list[Wired] = []
        self.words: list[Word] = []
        self.told_wallet_e8 = wallet_e8
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
        lots = min(wanted_lots, order.resting_lots)
        if not is_entry:
            lots = min(lots, side.lots)
        if lots == 0:
            self.end(order, OrderEventKind.EXPIRED, EndReason.NOTHING_TO_CLOSE)
            return
        price = self.marks[request.instrument] if request.kind is Kind.MARKET else request.price_ticks
        realised_e8 = side.move(request.leg, lots if is_entry else -lots, price * self.units_e8[request.instrument])
        order.filled_lots += lots
        self.trades += 1
        if order.resting_lots == 0:
            order.fate = Fate.DEAD
        self._tell_fill(order, lots, price, realised_e8, now_ns)

    def cross(self, order: Wired, lots: int, now_ns: int) -> None:
        """Fill a part of an order and end it; of the two, which are all that is to be heard, the end is told first."""
        self.fill(order, lots, now_ns)
        if order.fate is Fate.LIVE:
            self.end(order, OrderEventKind.CANCELLED, EndReason.BY_REQUEST)
            self.words.reverse()

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
        left = order.qty_lots - order.filled_lots
        event = OrderEvent(kind=OrderEventKind.FILLED, client_id=request.client_id, qty_lots=left, fill=fill)
        self.words.append(Word(order=order, event=event))

    def amend(self, order: Wired, *, carried_out: bool) -> None:
        """End an amendment that is under way: the order has the new quantity, or stays as it is."""
        asked_lots, order.asked_lots = order.asked_lots, 0
        if carried_out and asked_lots <= order.filled_lots:
            self.end(order, OrderEventKind.CANCELLED, EndReason.NONE)
            return
        if carried_out:
            order.qty_lots = asked_lots
        reason = EndReason.NONE if carried_out else EndReason.REFUSED
        self.say(order, OrderEventKind.AMENDED, reason, order.resting_lots)

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
            lots = event.fill.qty_lots
            order.told_lots += lots
            signed = lots if order.request.purpose is Purpose.ENTRY else -lots
            price_e8 = event.fill.price_ticks * self.units_e8[event.fill.instrument]
            self.told_wallet_e8 += side.told.move(event.fill.leg, signed, price_e8)
            # With its last fill an order has ended, and with it the amendment that was still under way.
            order.ended |= order.told_lots == order.filled_lots == order.qty_lots
        if event.kind is OrderEventKind.AMENDED:
            order.told_qty_lots, order.unsettled_lots = order.told_lots + event.qty_lots, 0
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

    def kept_lots(self, name: str, leg: Leg) -> int:
        """What a leg holds where no exit has closed anything unheard: it stands against the other leg in a net."""
        side = self.sides[name, leg]
        unheard = sum(
            order.filled_lots - order.told_lots
            for order in self.orders
            if order.request.purpose is Purpose.ENTRY and (order.request.instrument, order.request.leg) == (name, leg)
        )
        return max(side.lots, side.told.lots + unheard) + side.foreign_lots

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
        entries = {leg: sum(self.entries_e8(name, leg) for name in self.units_e8) for leg in Leg}
        worst = {leg: held[leg] + entries[leg] for leg in Leg}
        kept = {leg: sum(self.kept_lots(name, leg) * self._worth_e8(name) for name in self.units_e8) for leg in Leg}
        apart = {leg: kept[leg] + entries[leg] - kept[Leg(1 - leg)] for leg in Leg}
        figures = {f"notional of {leg.name}": (worst[leg], caps.leg_e8) for leg in Leg}
        figures["gross notional"] = (sum(worst.values()), caps.gross_e8)
        figures["net notional"] = (max(map(abs, apart.values())), caps.net_e8)
        for (name, leg), side in self.sides.items():
            lots = self.held_lots(name, leg) + self.entry_lots(name, leg)
            figures[f"position of {name} {leg.name}"] = (lots, caps.position_lots)
            orders = sum(1 for _ in self.live(name, leg, *Purpose)) + len(side.foreign_orders)
            figures[f"open orders of {name} {leg.name}"] = (orders, caps.open_orders)
        return figures | self._of_equity(caps, apart, worst)

    def equity_e8(self) -> int:
        """The wallet and what all legs have gained, others' too, by what the bot was told: nobody can know more."""
        gained = 0
        for (name, leg), side in self.sides.items():
            lots, cost_e8 = side.told.lots + side.foreign_lots, side.told.cost_e8 + side.foreign_cost_e8
            worth_e8 = lots * self._worth_e8(name)
            gained += worth_e8 - cost_e8 if leg is Leg.LONG else cost_e8 - worth_e8
        return self.told_wallet_e8 + gained

    def _of_equity(self, caps: Caps, apart: dict[Leg, int], worst: dict[Leg, int]) -> dict[str, tuple[int, int]]:
        """The figures that have equity for their cap, each times a million; ``apart``: by how much a leg may lead."""
        equity_e8, gross_e8 = self.equity_e8(), sum(worst.values())
        by_name = {name: {leg: self._leg_e8(name, leg) for leg in Leg} for name in self.units_e8}
        figures = {
            "leverage": (gross_e8 * PPM, equity_e8 * caps.leverage_ppm),
            "position ratio": (gross_e8 * PPM, equity_e8 * self.terms.leverage * caps.position_ppm),
        }
        margin_e8 = sum(self.terms.maintenance_e8(sum(legs.values())) for legs in by_name.values())
        figures["margin ratio"] = (margin_e8 * PPM, equity_e8 * caps.margin_ppm)
        # By how much equity misses what must be held once all marks have moved so far against the account.
        for way, sign, lost in (
            ("a fall", -1, apart[Leg.LONG]),
            ("a rise", 1, apart[Leg.SHORT]),
        ):
            moved = [sum(legs.values()) * (PPM + sign * caps.distance_ppm) // PPM for legs in by_name.values()]
            needed_e8 = sum(self.terms.maintenance_e8(max(0, one)) for one in moved)
            missed = (needed_e8 - equity_e8) * PPM + lost * caps.distance_ppm
            figures[f"liquidation after {way}"] = (missed, 2 * len(moved) * PPM)
        nets = sum(self._net_e8(name) for name in by_name)
        figures["value at risk"] = (round(nets * self.terms.loss_ratio * PPM), equity_e8 * caps.var_ppm)
        return figures

    def _leg_e8(self, name: str, leg: Leg) -> int:
        return self.held_lots(name, leg) * self._worth_e8(name) + self.entries_e8(name, leg)

    def _net_e8(self, name: str) -> int:
        """The larger difference of an instrument's legs that the entries of one side alone could leave."""
        kept = {leg: self.kept_lots(name, leg) * self._worth_e8(name) for leg in Leg}
        return max(abs(kept[leg] + self.entries_e8(name, leg) - kept[Leg(1 - leg)]) for leg in Leg)

    def _worth_e8(self, name: str) -> int:
        """The worth of one lot at the mark."""
        return self.marks[name] * self.units_e8[name]
