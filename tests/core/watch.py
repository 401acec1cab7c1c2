"""What must hold of a desk at every point, whatever the market and the settings.

Invariant: the watch reads both sides' tables and changes none; its own accounts are kept from the fills alone.
"""

from collections import Counter
from typing import Any

import attrs

from hedgegrid.core.codes import (
    BACKSTOP,
    ENTRY,
    FILL_QUEUE,
    FILL_TOUCH,
    FREE,
    LIMIT,
    LONG,
    SHORT,
    STOP_MARKET,
    TAKE_PROFIT,
)
from hedgegrid.core.venue_tables import FILLED, LIVE, PENDING
from tests.core.desk import Desk


@attrs.define
class Books:
    """A leg's account as the fills alone make it."""

    qty_lots: int = 0
    cost_e8: int = 0
    realised_e8: int = 0
    fees_e8: int = 0


def is_buy(order: Any) -> bool:
    """The side of an order."""
    return bool((order.leg == LONG) == (order.purpose == ENTRY))


class Watch:
    """Checks a desk whenever it calls; `desk.watch` is set to it."""

    def __init__(self, desk: Desk) -> None:
        """Watch from the beginning."""
        self.desk = desk
        self.books = [Books(), Books()]
        self.counted = 0
        self.start = 0
        self.live: dict[int, tuple[int, int, int]] = {}
        self.born: dict[int, tuple[int, int, int]] = {}
        self.ordered: set[int] = set()
        self.checks = 0
        desk.watch = self

    def __call__(self, stage: str) -> None:
        """Check what the stage allows to be checked."""
        self.checks += 1
        if stage == "moved":
            self.check_move()
        elif stage == "settled":
            self.check_money()
            self.check_orders()
            self.check_exits()
            self.start = int(self.desk.market.price_ticks)
            self.live = {
                int(o.no): (int(o.price_ticks), int(o.age), int(o.kind))
                for o in self.desk.orders
                if o.state == LIVE and o.close_all == 0
            }

    # --- a move ------------------------------------------------------------------------------------------------------

    def check_move(self) -> None:
        """Only orders that were live before it fill, in the order met, at prices of the move, and none is left out."""
        desk, end = self.desk, int(self.desk.market.price_ticks)
        by_trade = desk.rules.fill_model == FILL_QUEUE
        met: list[tuple[int, int]] = []
        for row in desk.events[: int(desk.said.n)]:
            if row.kind == FILLED:
                no = int(row.no)
                assert no in self.live, "an order filled in the move before it was live"
                price, age, kind = self.live[no]
                if kind == LIMIT:
                    assert row.price_ticks == price, "a resting order fills at its own price"
                # A trade is a point and reaches whatever rests beyond it; a held take-profit fills late.
                assert by_trade or desk.rules.pessimistic or min(self.start, end) <= price <= max(self.start, end), (
                    "a fill lies inside its move"
                )
                met.append((price if end > self.start else -price, age))
        assert by_trade or met == sorted(met), "a move meets the nearest first, and at one price the oldest"
        for order in desk.orders:
            bounded = by_trade and order.kind == LIMIT
            if order.state == LIVE and order.close_all == 0 and desk.rules.pessimistic == 0 and not bounded:
                self.check_unmet(order, end)

    def check_unmet(self, order: Any, end: int) -> None:
        """An order that still rests was not met."""
        room = end - int(order.price_ticks) if is_buy(order) == (order.kind == LIMIT) else int(order.price_ticks) - end
        touches = order.kind == STOP_MARKET or self.desk.rules.fill_model == FILL_TOUCH
        least = 1 if touches and end != self.start else 0
        assert room >= least, "a move passed over an order"

    # --- when nothing is due -----------------------------------------------------------------------------------------

    def check_money(self) -> None:
        """Both sides' accounts are what the fills make of them, and the wallet is their sum, to the last unit."""
        desk, unit = self.desk, int(self.desk.params.unit_e8)
        for fill in desk.fills[self.counted :]:
            _, leg, purpose, _, _, price, qty, fee, realised, maker = fill
            books, notional = self.books[leg], price * qty * unit
            ppm = int(desk.rules.maker_ppm if maker else desk.rules.taker_ppm)
            assert purpose != BACKSTOP, "a backstop before a lot's own stop"
            assert fee == (2 * notional * ppm + 10**6) // (2 * 10**6), "a fee is rounded half up"
            books.fees_e8 += fee
            if purpose == ENTRY:
                books.qty_lots += qty
                books.cost_e8 += notional
                continue
            released = books.cost_e8 * qty // books.qty_lots
            books.qty_lots -= qty
            books.cost_e8 -= released
            gain = notional - released if leg == LONG else released - notional
            assert realised == gain, "realised = proceeds - the released part of the cost"
            books.realised_e8 += gain
        self.counted = len(desk.fills)
        wallet = -sum(int(account.funding_e8) for account in desk.venue_accounts)
        for leg in (LONG, SHORT):
            books, venue, ours = self.books[leg], desk.venue_accounts[leg], desk.accounts[leg]
            figures = (books.qty_lots, books.cost_e8, books.realised_e8)
            assert figures == (venue.qty_lots, venue.cost_e8, venue.realised_e8)
            assert figures == (ours.qty_lots, ours.cost_e8, ours.realised_e8), "both sides keep the same account"
            lots = sum(int(lot.qty_lots) for lot in desk.lots if lot.state != FREE and lot.leg == leg)
            assert lots == books.qty_lots, "the open lots are the position"
            wallet += books.realised_e8 - books.fees_e8
        assert wallet == desk.wallet_change_e8(), "cash is conserved"

    def check_orders(self) -> None:
        """Live in time and not before; one order a rung; numbers are never used twice; no table ran over."""
        desk, now = self.desk, int(self.desk.market.ts_ns)
        assert desk.state.overflowed == 0
        rungs: Counter[tuple[int, int, int]] = Counter()
        for order in desk.orders:
            if order.state == FREE:
                continue
            assert (order.state == LIVE) == (order.live_ns <= now), "live at the first point at or after its time"
            if order.purpose == ENTRY:
                rungs[int(order.leg), int(order.level), int(order.generation)] += 1
        assert all(count == 1 for count in rungs.values()), "two orders on one rung"
        placed = {int(o.no) for o in desk.orders if o.state != FREE}
        assert all(no < desk.state.next_order_no for no in placed)
        assert not (placed - set(self.live)) & self.ordered, "an order number came back"
        self.ordered |= set(self.live)

    def check_exits(self) -> None:
        """Every lot has its exits at its birth prices; no class of exits exceeds the position; stops are few."""
        desk = self.desk
        by_no = {int(o.no): o for o in desk.orders if o.state != FREE}
        for leg in (LONG, SHORT):
            held = int(desk.venue_accounts[leg].qty_lots)
            mine = [o for o in by_no.values() if o.leg == leg and o.purpose != ENTRY and o.close_all == 0]
            live = [o for o in mine if o.state == LIVE]
            assert sum(int(o.qty_lots) for o in mine if o.purpose == TAKE_PROFIT) <= held, "take-profits over position"
            stops = [o for o in live if o.kind == STOP_MARKET]
            assert sum(int(o.qty_lots) for o in stops) <= held, "stops over position"
            assert len(stops) <= desk.params.max_stop_orders, "too many stops"
            assert not [o for o in live if o.kind not in (LIMIT, STOP_MARKET)], "a market reduction waits for nothing"
        for lot in desk.lots:
            if lot.state != FREE:
                self.check_lot(lot, by_no)

    def check_lot(self, lot: Any, by_no: dict[int, Any]) -> None:
        """A lot keeps the exits that it was born with, and both of them stand or are on their way."""
        birth = (int(lot.entry_ticks), int(lot.tp_ticks), int(lot.stop_ticks))
        assert self.born.setdefault(int(lot.lot_id), birth) == birth, "a lot's exits moved"
        closes = [link for link in self.desk.links if link.state != FREE and link.lot_id == lot.lot_id]
        targets = [by_no[int(link.no)] for link in closes if by_no[int(link.no)].purpose == TAKE_PROFIT]
        guards = [by_no[int(link.no)] for link in closes if by_no[int(link.no)].kind != LIMIT]
        assert all(link.qty_lots == lot.qty_lots for link in closes), "an exit is for the lot's open quantity"
        if lot.tp_ticks > 0:
            assert [int(order.price_ticks) for order in targets] == [int(lot.tp_ticks)], "one take-profit a lot"
        if lot.stop_ticks > 0:
            assert guards, "a lot without a stop"
        for guard in guards:
            if guard.kind == STOP_MARKET and guard.state in (LIVE, PENDING) and self.desk.params.leg_stop == 0:
                early = guard.price_ticks - lot.stop_ticks if lot.leg == LONG else lot.stop_ticks - guard.price_ticks
                assert early >= 0, "a stop is merged toward the earlier trigger"
