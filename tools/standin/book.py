"""One symbol's resting orders and its price, driven through ``hedgegrid.core.matching``: who fills, where, and when.

The core's rules of section 9 decide that; its accounts are not used. A buy is entered as a LONG entry and a sell as a
SHORT entry, since only the side matters here, and what a fill does to positions and money is ``account.py``'s.

Invariants: an order has one number for ever; a new order takes at once or waits for the next move; a taker fills at
the opposite best, never beyond its limit.
"""

from typing import Final

import attrs

from hedgegrid.core import matching, venue_tables
from hedgegrid.core.codes import ENTRY, FILL_QUEUE, FILL_THROUGH, FILL_TOUCH, LIMIT, LONG, MARKET, SHORT
from hedgegrid.core.records import (
    CancelRequest,
    Counter,
    LegAccount,
    Link,
    Market,
    VenueEvent,
    VenueOrder,
    VenueRules,
    table,
)
from hedgegrid.units import NS_PER_MS
from tools.standin.rules import InstrumentSpec
from tools.standin.switches import Switches

ROWS_START: Final = 32
ROWS_MAX: Final = 1_024
EVENTS_MAX: Final = ROWS_MAX + 8
_MODELS: Final = {"through": FILL_THROUGH, "touch": FILL_TOUCH, "queue": FILL_QUEUE}
_AT_ONCE_NS: Final = 0


@attrs.frozen(kw_only=True)
class Match:
    """One execution: the order's number, price in ticks, quantity in lots, and whether it rested."""

    no: int
    price_ticks: int
    qty_lots: int
    maker: bool


class Book:
    """The matching tables of one symbol."""

    def __init__(self, spec: InstrumentSpec, switches: Switches) -> None:
        self._switches = switches
        self._rules = VenueRules(unit_e8=spec.unit_e8)
        self._market = Market()
        self._rows: list[VenueOrder] = table(VenueOrder, ROWS_START)
        self._links: list[Link] = []
        self._cancels: list[CancelRequest] = []
        self._accounts: list[LegAccount] = table(LegAccount, 2)
        self._events: list[VenueEvent] = table(VenueEvent, EVENTS_MAX)
        self._said = Counter()
        self.bid_ticks = 0
        self.ask_ticks = 0
        self.bid_qty_lots = 0
        self.ask_qty_lots = 0
        self.last_ticks = 0
        self.last_qty_lots = 0
        self.mark_ticks = 0
        self.index_ticks = 0
        self.ts_ms = 0
        self.liquidity_lots: int | None = None

    # --- the market -------------------------------------------------------------------------------------------------

    def move(
        self, bid_ticks: int, ask_ticks: int, last_ticks: int, qty_lots: int, mark_ticks: int, now_ms: int
    ) -> list[Match]:
        """Move the market; give what filled, in the order of the core. The caller sets the quantities of the best."""
        self.bid_ticks, self.ask_ticks, self.mark_ticks = bid_ticks, ask_ticks, mark_ticks
        self.last_ticks, self.ts_ms = last_ticks, now_ms
        if qty_lots:
            self.last_qty_lots = qty_lots
        market = self._market
        market.bid_ticks, market.ask_ticks, market.mark_ticks = bid_ticks, ask_ticks, mark_ticks
        market.bid_qty_lots, market.ask_qty_lots = self.bid_qty_lots, self.ask_qty_lots
        market.ts_ns = now_ms * NS_PER_MS
        self._rules.fill_model = _MODELS[self._switches.fill]
        fills = self._walk(last_ticks, qty_lots) if qty_lots or not market.seen else 0
        # A resting order beyond the opposite best cannot stand: the price goes where the quotes are.
        quoted = min(max(last_ticks, bid_ticks), ask_ticks)
        if quoted != market.price_ticks:
            fills += self._walk(quoted, 0)
        if not fills:
            return []
        venue_tables.refresh(market, self._rows, self._cancels)
        return self._drained()

    def _walk(self, end_ticks: int, qty_lots: int) -> int:
        return matching.move(
            self._market,
            self._rows,
            self._links,
            self._accounts,
            self._rules,
            end_ticks,
            1 if qty_lots else 0,
            qty_lots,
            self._events,
            self._said,
        )

    @property
    def is_open(self) -> bool:
        """Whether there is a price to trade at."""
        return self.bid_ticks > 0 and self.ask_ticks > 0

    def crosses(self, price_ticks: int, *, buys: bool) -> bool:
        """Tell whether a limit order would take at once."""
        if not self.is_open:
            return False
        return price_ticks >= self.ask_ticks if buys else price_ticks <= self.bid_ticks

    # --- orders -----------------------------------------------------------------------------------------------------

    def take(self, no: int, qty_lots: int, *, buys: bool, limit_ticks: int | None = None) -> list[Match]:
        """Send a taker, a market order or a crossing limit; give its executions, at most what the liquidity allows."""
        allowed = qty_lots if self.liquidity_lots is None else min(qty_lots, self.liquidity_lots)
        if allowed <= 0 or not self.is_open:
            return []
        row = self._row(no, allowed, buys=buys, price_ticks=limit_ticks or 0)
        row.kind = MARKET if limit_ticks is None else LIMIT
        market = self._market
        before = market.price_ticks
        market.price_ticks = self.ask_ticks if buys else self.bid_ticks
        market.next_due_ns = market.ts_ns
        matching.fall_due(
            market,
            self._rows,
            self._links,
            self._cancels,
            self._accounts,
            self._rules,
            self._events,
            self._said,
        )
        market.price_ticks = before
        return self._drained()

    def rest(self, no: int, price_ticks: int, qty_lots: int, *, buys: bool) -> None:
        """Let a limit order rest, the youngest of its price."""
        row = self._row(no, qty_lots, buys=buys, price_ticks=price_ticks)
        row.kind = LIMIT
        row.state = venue_tables.LIVE
        row.age = self._market.next_age
        self._market.next_age += 1
        venue_tables.refresh(self._market, self._rows, self._cancels)

    def drop(self, no: int) -> None:
        """Take an order off the book; one that is not there is none of its business."""
        index = venue_tables.find(self._rows, no)
        if index >= 0:
            venue_tables.drop(self._market, self._rows, self._links, index)
            venue_tables.refresh(self._market, self._rows, self._cancels)

    def _row(self, no: int, qty_lots: int, *, buys: bool, price_ticks: int) -> VenueOrder:
        """Write a pending order into a free row, a new table half if there is none."""
        index = venue_tables.free_order(self._rows)
        if index < 0:
            index = len(self._rows)
            assert index < ROWS_MAX, "more orders than the symbol's filters admit"
            self._rows.extend(table(VenueOrder, index))
        row = self._rows[index]
        row.state = venue_tables.PENDING
        row.no = no
        row.leg = LONG if buys else SHORT
        row.purpose = ENTRY
        row.price_ticks = price_ticks
        row.qty_lots = qty_lots
        row.filled_lots = 0
        row.post_only = row.close_all = row.age = row.slot = 0
        row.live_ns = _AT_ONCE_NS
        row.seq = self._market.next_seq
        self._market.next_seq += 1
        row.queue_lots = row.held_bar = -1
        return row

    def _drained(self) -> list[Match]:
        """Give the executions among the core's events, and forget the events."""
        count, self._said.n = self._said.n, 0
        return [
            Match(no=row.no, price_ticks=row.price_ticks, qty_lots=row.qty_lots, maker=row.maker == 1)
            for row in self._events[:count]
            if row.kind == venue_tables.FILLED
        ]
