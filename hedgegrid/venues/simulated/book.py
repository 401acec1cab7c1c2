"""One instrument inside the simulated venue.

Its tables, and the translation between the core's rows and the model's values.

Invariants: every order has a venue number that is never reused; a client id maps to one number for as long as the
order lives; the venue shares no mutable object with the bot. Where exits are not linked it knows of no lots: every
exit is an order of its own, as on a real exchange.
"""

from collections import OrderedDict
from collections.abc import Iterable

from hedgegrid.core import margin, matching, venue_tables
from hedgegrid.core.codes import FREE, NEVER_NS, STOP_MARKET
from hedgegrid.core.records import (
    CancelRequest,
    Counter,
    LegAccount,
    Link,
    MarginTier,
    Market,
    Record,
    VenueEvent,
    VenueOrder,
    VenueRules,
    table,
)
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.account import Position
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Point
from hedgegrid.model.order import Cover, Fill, Kind, Leg, OpenOrder, OrderRequest, Purpose, side_of

ORDERS_START = 64
TABLE_MAX = 4_096
"""Tables begin small, since every pass walks them whole, and grow by doubling up to this; then orders are rejected."""
EVENTS_MAX = 4 * TABLE_MAX

_REASONS = {
    0: EndReason.NONE,
    venue_tables.BY_REQUEST: EndReason.BY_REQUEST,
    venue_tables.BY_OTHER_EXIT: EndReason.OTHER_EXIT,
    venue_tables.BY_LIQUIDATION: EndReason.LIQUIDATION,
    venue_tables.POST_ONLY: EndReason.POST_ONLY,
    venue_tables.NOTHING_TO_CLOSE: EndReason.NOTHING_TO_CLOSE,
    venue_tables.REDUCE_REFUSED: EndReason.REDUCE_REFUSED,
}
_KINDS = {
    venue_tables.ACCEPTED: OrderEventKind.ACCEPTED,
    venue_tables.CANCELLED: OrderEventKind.CANCELLED,
    venue_tables.REJECTED: OrderEventKind.REJECTED,
    venue_tables.CANCEL_FAILED: OrderEventKind.CANCEL_FAILED,
    venue_tables.SHRUNK: OrderEventKind.AMENDED,
}


def _grow(rows: list[Record], record: type[Record]) -> bool:
    """Double a table; False where it has reached its bound."""
    if len(rows) >= TABLE_MAX:
        return False
    rows.extend(table(record, len(rows)))
    return True


class Book:
    """The venue's tables for one instrument."""

    def __init__(self, instrument: Instrument, rules: VenueRules, *, linked_exits: bool = True) -> None:
        """Make an empty book; ``linked_exits``: the fill of one exit of a lot ends or shrinks the others at once."""
        self.instrument = instrument
        self.linked_exits = linked_exits
        self.rules = rules
        self.market = Market()
        self.orders = table(VenueOrder, ORDERS_START)
        self.links = table(Link, ORDERS_START)
        self.cancels = table(CancelRequest, ORDERS_START)
        self.accounts = table(LegAccount, 2)
        self.events = table(VenueEvent, EVENTS_MAX)
        self.said = Counter()
        self.tiers = [
            MarginTier(max_notional_e8=tier.max_notional_e8, maintenance_ppm=tier.maintenance_ppm)
            for tier in instrument.tiers
        ]
        self.number_of: dict[str, int] = {}
        self.client_of: dict[int, str] = {}
        self.created_ns: dict[int, int] = {}
        self._shown: dict[int, OpenOrder] = {}
        self.ended: OrderedDict[int, str] = OrderedDict()
        """Names of orders that ended: a cancel may arrive after that, and is answered too."""
        self.next_no = 1

    # --- requests ---------------------------------------------------------------------------------------------------

    def place(self, request: OrderRequest, ts_ns: int) -> EndReason | None:
        """Take an order that becomes live one latency after ``ts_ns``; give why not, or None."""
        if request.client_id in self.number_of:
            return EndReason.REFUSED
        reason = self._why_no_reduction(request)
        if reason is not None:
            return reason
        index = venue_tables.free_order(self.orders)
        if index < 0:
            index = len(self.orders)
            if not _grow(self.orders, VenueOrder):
                return EndReason.REFUSED
        no = self.next_no
        self.next_no += 1
        live_ns = ts_ns + self.rules.latency_ns
        self._write_order(self.orders[index], request, no, live_ns)
        self.market.next_due_ns = min(self.market.next_due_ns, live_ns)
        self.number_of[request.client_id] = no
        self.client_of[no] = request.client_id
        self.created_ns[no] = ts_ns
        for cover in request.covers if self.linked_exits else ():
            while not venue_tables.add_link(
                self.links, no, cover.lot_id, cover.qty_lots, cover.level, cover.generation
            ):
                _grow(self.links, Link)
        return None

    def _why_no_reduction(self, request: OrderRequest) -> EndReason | None:
        """Say why a reduction cannot be taken, or None; without links a conditional one is judged when it triggers."""
        held_lots = self.accounts[request.leg].qty_lots
        if request.purpose is Purpose.ENTRY or request.close_all:
            return None
        if self.linked_exits:
            return EndReason.NOTHING_TO_CLOSE if held_lots == 0 else None
        refused = self.rules.refuse_over == 1 and request.qty_lots > held_lots and request.kind is not Kind.STOP_MARKET
        return EndReason.REDUCE_REFUSED if refused else None

    def _write_order(self, order: VenueOrder, request: OrderRequest, no: int, live_ns: int) -> None:
        """Fill a free slot from a request."""
        order.state = venue_tables.PENDING
        order.no = no
        order.leg = int(request.leg)
        order.purpose = int(request.purpose)
        order.kind = int(request.kind)
        order.price_ticks = request.price_ticks
        order.qty_lots = request.qty_lots
        order.filled_lots = 0
        order.post_only = int(request.post_only)
        order.close_all = int(request.close_all)
        order.level = request.level
        order.generation = request.generation
        order.live_ns = live_ns
        order.seq = self.market.next_seq
        order.age = 0
        order.queue_lots = -1
        order.held_bar = -1
        self.market.next_seq += 1

    def cancel(self, client_id: str, ts_ns: int) -> None:
        """Take a cancel that is effective one latency after ``ts_ns``; an unknown id gets its answer then too."""
        no = self.number_of.get(client_id)
        if no is None:
            # The order has ended: the cancel still travels, and finds nothing.
            no = self.next_no
            self.next_no += 1
            self._bury(no, client_id)
        while not venue_tables.request_cancel(self.market, self.cancels, no, ts_ns + self.rules.latency_ns):
            _grow(self.cancels, CancelRequest)

    # --- time -------------------------------------------------------------------------------------------------------

    def move(self, point: Point, ts_ns: int, bar_no: int) -> None:
        """Move the market to a point and fill what the move meets."""
        market = self.market
        market.ts_ns = ts_ns
        market.bid_ticks = point.bid_ticks
        market.ask_ticks = point.ask_ticks
        market.mark_ticks = point.mark_ticks
        market.bid_qty_lots = point.bid_qty_lots
        market.ask_qty_lots = point.ask_qty_lots
        market.bar_no = bar_no
        market.bar_low_ticks = point.bar_low_ticks
        market.bar_high_ticks = point.bar_high_ticks
        matching.move(
            market,
            self.orders,
            self.links,
            self.accounts,
            self.rules,
            point.price_ticks,
            int(point.jump),
            point.qty_lots,
            self.events,
            self.said,
        )

    def fall_due(self) -> int:
        """Do one pass over what is due now; give how many things fell due."""
        return matching.fall_due(
            self.market, self.orders, self.links, self.cancels, self.accounts, self.rules, self.events, self.said
        )

    def has_pending(self) -> bool:
        """Tell whether a request is still on its way; an order that ended before its turn is none."""
        if self.market.next_due_ns == NEVER_NS:
            return False
        waits = any(order.state == venue_tables.PENDING for order in self.orders)
        return waits or any(request.state != FREE for request in self.cancels)

    def backstops(self) -> None:
        """Trigger close-everything stops for what no other exit covers."""
        matching.backstops(self.market, self.orders, self.links, self.accounts, self.rules, self.events, self.said)

    def liquidate(self) -> None:
        """Close everything at the mark."""
        margin.liquidate(self.market, self.orders, self.links, self.accounts, self.rules, self.events, self.said)

    # --- words ------------------------------------------------------------------------------------------------------

    def drain(self, trade_id: int) -> tuple[tuple[OrderEvent, ...], int]:
        """Give what happened since the last call as order events, and the next free trade id of the account."""
        count = self.said.n
        self.said.n = 0
        # What a fill leaves of an order that ends right behind it.
        over: dict[int, int] = {}
        if not self.linked_exits:
            refused = (row for row in self.events[:count] if row.reason == venue_tables.REDUCE_REFUSED)
            over = {row.no: row.qty_lots for row in refused}
        out: list[OrderEvent] = []
        index = 0
        while index < count:
            row = self.events[index]
            index += 1
            if row.kind != venue_tables.FILLED:
                out.append(self._plain_event(row))
                continue
            # What a fill does to its lots and to their other exits stands right behind it.
            end = index
            while end < count and self._follows_fill(self.events[end]):
                end += 1
            after = self.events[index:end]
            covers = tuple(
                Cover(lot_id=cut.lot_id, qty_lots=cut.qty_lots) for cut in after if cut.kind == venue_tables.CUT
            )
            out.append(self._fill_event(row, covers, trade_id, over.get(row.no, 0)))
            out.extend(self._plain_event(other) for other in after if other.kind != venue_tables.CUT)
            trade_id += 1
            index = end
        return tuple(out), trade_id

    @staticmethod
    def _follows_fill(row: VenueEvent) -> bool:
        """Tell whether a row is a consequence of the fill before it."""
        return row.kind == venue_tables.CUT or (
            row.kind in (venue_tables.CANCELLED, venue_tables.SHRUNK) and row.reason == venue_tables.BY_OTHER_EXIT
        )

    def _fill_event(self, row: VenueEvent, covers: tuple[Cover, ...], trade_id: int, over_lots: int) -> OrderEvent:
        """Give a fill as the model has it. Its quantity left is what the order still holds, or ends with."""
        client_id = self.client_of.get(row.no, "")
        leg, purpose = Leg(row.leg), Purpose(row.purpose)
        left = venue_tables.find(self.orders, row.no) if row.no else -1
        fill = Fill(
            trade_id=trade_id,
            client_id=client_id,
            instrument=self.instrument.name,
            leg=leg,
            side=side_of(leg, purpose),
            purpose=purpose,
            level=row.level,
            generation=row.generation,
            price_ticks=row.price_ticks,
            qty_lots=row.qty_lots,
            fee_e8=row.fee_e8,
            realised_e8=row.realised_e8,
            maker=row.maker == 1,
            ts_ns=self.market.ts_ns,
            covers=covers,
        )
        if left < 0 and over_lots == 0:
            self._forget(row.no)
        return OrderEvent(
            kind=OrderEventKind.FILLED,
            client_id=client_id,
            qty_lots=self.orders[left].qty_lots if left >= 0 else over_lots,
            fill=fill,
        )

    def _plain_event(self, row: VenueEvent) -> OrderEvent:
        """Give any other row as an order event; an order that has ended gives its number back."""
        kind = _KINDS[row.kind]
        failed = kind is OrderEventKind.CANCEL_FAILED
        event = OrderEvent(
            kind=kind,
            client_id=self.ended[row.no] if failed else self.client_of[row.no],
            reason=EndReason.NOT_FOUND if failed else _REASONS[row.reason],
            qty_lots=row.qty_lots if kind is OrderEventKind.AMENDED else 0,
        )
        if kind in (OrderEventKind.CANCELLED, OrderEventKind.REJECTED):
            self._forget(row.no)
        return event

    def _forget(self, no: int) -> None:
        """Drop the names of an order that has ended."""
        client_id = self.client_of.pop(no, None)
        self.created_ns.pop(no, None)
        self._shown.pop(no, None)
        if client_id is not None:
            self.number_of.pop(client_id, None)
            self._bury(no, client_id)

    def _bury(self, no: int, client_id: str) -> None:
        """Remember the name of an order that is no more, for as many as cancels can be on their way."""
        self.ended[no] = client_id
        if len(self.ended) > TABLE_MAX:
            self.ended.popitem(last=False)

    # --- reads ------------------------------------------------------------------------------------------------------

    def open_orders(self, *, conditional: bool) -> tuple[OpenOrder, ...]:
        """Give one of the two lists of open orders, oldest first."""
        rows = [order for order in self.orders if order.state != FREE and (order.kind == STOP_MARKET) == conditional]
        rows.sort(key=lambda order: order.seq)
        return tuple(self._open_order(order) for order in rows)

    def _open_order(self, order: VenueOrder) -> OpenOrder:
        """Give one order as it is read back; what has not changed since is the same value."""
        shown = self._shown.get(order.no)
        whole_lots, shape = order.qty_lots + order.filled_lots, (order.filled_lots, order.kind, order.price_ticks)
        if shown is None or shown.qty_lots != whole_lots or (shown.filled_lots, shown.kind, shown.price_ticks) != shape:
            shown = self._shown[order.no] = self._read_back(order)
        return shown

    def _read_back(self, order: VenueOrder) -> OpenOrder:
        return OpenOrder(
            client_id=self.client_of[order.no],
            instrument=self.instrument.name,
            leg=Leg(order.leg),
            purpose=Purpose(order.purpose),
            kind=Kind(order.kind),
            price_ticks=order.price_ticks,
            qty_lots=order.qty_lots + order.filled_lots,
            filled_lots=order.filled_lots,
            close_all=order.close_all == 1,
            created_ns=self.created_ns[order.no],
        )

    def positions(self) -> Iterable[Position]:
        """Give the legs that are not flat."""
        for leg in (Leg.LONG, Leg.SHORT):
            account = self.accounts[leg]
            if account.qty_lots:
                yield Position(
                    instrument=self.instrument.name, leg=leg, qty_lots=account.qty_lots, cost_e8=account.cost_e8
                )
