"""The venue core alone: orders are written by hand, the market is walked point by point.

Invariant: what falls due at a point falls due after its move, as in section 14.2.
"""

from typing import Any

from hedgegrid.core import margin, matching, venue_tables
from hedgegrid.core.codes import ENTRY, LIMIT, LONG, MARKET, STOP, STOP_MARKET, TAKE_PROFIT
from hedgegrid.core.records import CancelRequest, Counter, LegAccount, Link, Market, VenueEvent, VenueOrder, table
from tests.core import made


class Pit:
    """One instrument's venue at a price of 1,000 ticks, without fees or slippage unless a test says so."""

    def __init__(self, price: int = 1_000, **changes: Any) -> None:
        """Open at ``price``; time is counted in points."""
        self.rules = made.rules(**{"slippage_ppm": 0, "maker_ppm": 0, "taker_ppm": 0, **changes})
        self.market = Market()
        self.orders = table(VenueOrder, 24)
        self.links = table(Link, 48)
        self.cancels = table(CancelRequest, 16)
        self.accounts = table(LegAccount, 2)
        self.events = table(VenueEvent, 120)
        self.said = Counter()
        self.next_no = 1
        self.next_lot = 1
        self.now = -1
        self.to(price, jump=True)

    # --- orders ------------------------------------------------------------------------------------------------------

    def place(self, leg: int, purpose: int, price: int, qty: int = 10, **changes: int) -> int:
        """Write an order that is live when next something falls due, or at ``live_ns``; its number."""
        order = self.orders[venue_tables.free_order(self.orders)]
        limit = purpose in (ENTRY, TAKE_PROFIT)
        fields = {"kind": LIMIT if limit else STOP_MARKET if price else MARKET, "live_ns": self.now, **changes}
        order.state, order.no, order.leg, order.purpose = venue_tables.PENDING, self.next_no, leg, purpose
        order.price_ticks, order.qty_lots, order.filled_lots = price, qty, 0
        order.post_only = order.close_all = 0
        order.seq, order.queue_lots, order.held_bar = self.market.next_seq, -1, -1
        for name, value in fields.items():
            setattr(order, name, value)
        self.market.next_seq += 1
        self.market.next_due_ns = min(self.market.next_due_ns, order.live_ns)
        self.next_no += 1
        return order.no

    def hold(self, leg: int, price: int, qty: int, tp: int = 0, stop: int = 0) -> tuple[int, int, int]:
        """Hold a lot bought (sold) at ``price``; give its number and those of its take-profit and stop, all live."""
        self.accounts[leg].qty_lots += qty
        self.accounts[leg].cost_e8 += price * qty * self.rules.unit_e8
        lot = self.next_lot
        self.next_lot += 1
        numbers = [self.place(leg, purpose, at, qty) if at else 0 for purpose, at in ((TAKE_PROFIT, tp), (STOP, stop))]
        for no in numbers:
            if no:
                assert venue_tables.add_link(self.links, no, lot, qty, -1, -1)
        self.due()
        return lot, numbers[0], numbers[1]

    def buy(self, price: int, qty: int = 10, **changes: int) -> int:
        """Rest an entry of the LONG leg."""
        return self.place(LONG, ENTRY, price, qty, **changes)

    def cancel(self, no: int, due_ns: int | None = None) -> None:
        """Ask for a cancel."""
        assert venue_tables.request_cancel(self.market, self.cancels, no, self.now if due_ns is None else due_ns)

    # --- time --------------------------------------------------------------------------------------------------------

    def to(self, price: int, *, jump: bool = False, bar: tuple[int, int, int] | None = None, **trade: int) -> list[Any]:
        """Move to ``price`` at the next point, let fall due, and give the fills: no, price, quantity, maker."""
        self.now += 1
        m = self.market
        m.ts_ns = self.now
        m.bar_no, m.bar_low_ticks, m.bar_high_ticks = bar or (0, 0, 0)
        m.bid_ticks = trade.get("bid", price)
        m.ask_ticks = trade.get("ask", price)
        m.bid_qty_lots = trade.get("bid_qty", 0)
        m.ask_qty_lots = trade.get("ask_qty", 0)
        m.mark_ticks = trade.get("mark", price)
        tables = (m, self.orders, self.links, self.accounts, self.rules)
        if matching.move(*tables, price, int(jump), trade.get("qty", 0), self.events, self.said):
            venue_tables.refresh(m, self.orders, self.cancels)
        return self.due()

    def due(self) -> list[Any]:
        """Let fall due what is due; give all fills that have not been given yet."""
        m = self.market
        while matching.fall_due(
            m, self.orders, self.links, self.cancels, self.accounts, self.rules, self.events, self.said
        ):
            pass
        matching.backstops(m, self.orders, self.links, self.accounts, self.rules, self.events, self.said)
        return self.fills()

    def fills(self) -> list[Any]:
        """Take the rows; give the fills among them and keep the others in ``rows``."""
        count, self.said.n = self.said.n, 0
        self.rows = [(e.kind, e.no, e.qty_lots, e.lot_id, e.reason) for e in self.events[:count]]
        made_fills = [e for e in self.events[:count] if e.kind == venue_tables.FILLED]
        return [(e.no, e.price_ticks, e.qty_lots, e.maker) for e in made_fills]

    def order(self, no: int) -> VenueOrder | None:
        """The order with this number, None where it has ended."""
        index = venue_tables.find(self.orders, no)
        return self.orders[index] if index >= 0 else None

    def is_live(self, no: int) -> bool:
        """Whether an order rests."""
        order = self.order(no)
        return order is not None and order.state == venue_tables.LIVE

    def equity_e8(self) -> int:
        """Wallet change and unrealised profit together."""
        wallet = sum(a.realised_e8 - a.fees_e8 - a.funding_e8 for a in self.accounts)
        return wallet + margin.unrealised_e8(self.market, self.accounts, self.rules)
