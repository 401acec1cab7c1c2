"""A trading desk without actors: strategy and venue cores wired by plain calls, in either execution.

The tests drive it point by point. It is also the reference that the actors must agree with, fill by fill.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from hedgegrid.core import records as r
from hedgegrid.core.codes import ENTRY, LIMIT, MARKET, STOP_MARKET, TAKE_PROFIT

ENTRIES, LOTS, STOPS, ACTIONS, ORDERS, LINKS, CANCELS, EVENTS = 48, 64, 24, 160, 160, 256, 96, 512


def _one(record: type, tables: Callable[[list[Any]], Any]) -> Any:
    return tables([record()])[0]


class Desk:
    """One instrument's strategy against one instrument's venue."""

    def __init__(self, core: SimpleNamespace, tables: Callable[[list[Any]], Any], params: Any, rules: Any) -> None:
        """Take the core (interpreted or twins) and how its tables are made."""
        self.core = core
        make: Callable[[type, int], Any] = lambda record, n: tables([record() for _ in range(n)])  # noqa: E731
        self.params = tables([params])[0]
        self.rules = tables([rules])[0]
        self.state = _one(r.GridState, tables)
        self.state.may_add = 1
        self.state.next_order_no = 1
        self.ind = _one(r.Indicators, tables)
        self.rungs = make(r.Rung, params.levels_long + params.levels_short)
        for rung in self.rungs:
            rung.slot = -1
        self.entries = make(r.EntryOrder, ENTRIES)
        self.accounts = make(r.LegAccount, 2)
        self.lots = make(r.Lot, LOTS)
        self.stops = make(r.StopOrder, STOPS)
        self.actions = make(r.Action, ACTIONS)
        self.used = _one(r.Counter, tables)
        self.market = _one(r.Market, tables)
        self.orders = make(r.VenueOrder, ORDERS)
        for order in self.orders:
            order.held_bar = -1
        self.links = make(r.Link, LINKS)
        self.cancels = make(r.CancelRequest, CANCELS)
        self.venue_accounts = make(r.LegAccount, 2)
        self.events = make(r.VenueEvent, EVENTS)
        self.said = _one(r.Counter, tables)
        self.fills: list[tuple[int, ...]] = []
        self.wakes: list[int] = []

    def point(self, ts_ns: int, price: int, *, jump: bool, bar_no: int = 0, low: int = 0, high: int = 0) -> None:
        """Walk one point: the move, what falls due until nothing is due, the backstops."""
        while self.wakes and min(self.wakes) <= ts_ns:
            due = min(self.wakes)
            self.wakes.remove(due)
            self.core.diff.on_wake(self.state, self.entries, due, self.actions, self.used)
            self._send(due)
        m = self.market
        m.ts_ns, m.bar_no, m.bar_low_ticks, m.bar_high_ticks = ts_ns, bar_no, low, high
        m.bid_ticks = m.ask_ticks = m.mark_ticks = price
        a = self._venue_args()
        self.core.matching.move(m, self.orders, self.links, self.venue_accounts, self.rules, price, int(jump), 0, *a)
        self._hear(ts_ns)
        self.due(ts_ns)

    def due(self, ts_ns: int) -> None:
        """Let fall due what is due, until nothing is."""
        a = self._venue_args()
        while self.core.matching.fall_due(
            self.market, self.orders, self.links, self.cancels, self.venue_accounts, self.rules, *a
        ):
            self._hear(ts_ns)
        self.core.matching.backstops(self.market, self.orders, self.links, self.venue_accounts, self.rules, *a)
        self._hear(ts_ns)

    def bar(self, ts_ns: int, high: int, low: int, close: int) -> None:
        """Decide on a closed bar, then let fall due."""
        self.core.pipeline.on_bar(
            self.params,
            self.state,
            self.ind,
            self.rungs,
            self.entries,
            self.lots,
            high,
            low,
            close,
            ts_ns,
            self.actions,
            self.used,
        )
        self._send(ts_ns)
        self.due(ts_ns)

    def _venue_args(self) -> tuple[Any, Any]:
        return self.events, self.said

    def _send(self, ts_ns: int) -> None:
        """Carry the actions to the venue."""
        for i in range(int(self.used.n)):
            action = self.actions[i]
            live = ts_ns + int(self.rules.latency_ns)
            if action.kind in (2, 3):
                assert self.core.matching.request_cancel(self.market, self.cancels, int(action.no), live)
            elif action.kind == 4:
                self.wakes.append(int(action.distance))
            else:
                self._place(action, live)
        self.used.n = 0

    def _place(self, action: Any, live_ns: int) -> None:
        index = self.core.matching.free_order(self.orders)
        assert index >= 0
        order = self.orders[index]
        purpose = int(action.purpose)
        order.state, order.no, order.leg, order.purpose = 1, action.no, action.leg, purpose
        order.kind = LIMIT if purpose in (ENTRY, TAKE_PROFIT) else STOP_MARKET if action.price_ticks > 0 else MARKET
        order.price_ticks, order.qty_lots, order.filled_lots = action.price_ticks, action.qty_lots, 0
        order.post_only = int(purpose == ENTRY and self.params.post_only == 1)
        order.close_all = int(purpose == 4)
        order.level, order.generation, order.live_ns = action.level, action.generation, live_ns
        order.seq, order.queue_lots, order.held_bar = self.market.next_seq, -1, -1
        self.market.next_seq += 1
        self.market.next_due_ns = min(int(self.market.next_due_ns), live_ns)
        for lot in self.lots:
            mine = lot.tp_no == action.no if purpose == TAKE_PROFIT else lot.stop_no == action.no
            if lot.state == 1 and mine and purpose != ENTRY:
                assert self.core.matching.add_link(self.links, int(action.no), int(lot.lot_id), int(lot.qty_lots))

    def _hear(self, ts_ns: int) -> None:
        """Carry the venue's events to the strategy, then its answers back."""
        p, s, core = self.params, self.state, self.core
        count = int(self.said.n)
        self.said.n = 0
        for i in range(count):
            e = self.events[i]
            no = int(e.no)
            if e.kind == 2:
                self.fills.append(
                    tuple(
                        int(x)
                        for x in (
                            ts_ns, e.leg, e.purpose, e.level, e.generation, e.price_ticks, e.qty_lots,
                            e.fee_e8, e.realised_e8, e.maker,
                        )
                    )
                )  # fmt: skip
                if e.purpose == ENTRY:
                    core.pipeline.on_entry_fill(
                        p, s, self.rungs, self.entries, self.accounts, self.lots, no,
                        int(e.trade_id), int(e.price_ticks), int(e.qty_lots), self.actions, self.used,
                    )  # fmt: skip
                else:
                    core.pipeline.on_exit_fill(p, self.accounts, int(e.leg), int(e.price_ticks), int(e.qty_lots))
            elif e.kind == 3:
                core.exits.cut_lot(p, s, self.rungs, self.lots, int(e.lot_id), int(e.qty_lots))
                if core.matching.find(self.orders, no) < 0:
                    core.exits.forget_exit(s, self.lots, self.stops, no)
            elif e.kind in (4, 6) and e.purpose == ENTRY:
                core.diff.on_cancelled(p, s, self.rungs, self.entries, no, self.actions, self.used)
            elif e.kind == 4:
                core.exits.forget_exit(s, self.lots, self.stops, no)
            elif e.kind == 5:
                core.diff.on_post_only_rejected(
                    p, s, self.rungs, self.entries, no, ts_ns, self.actions, self.used
                )
        core.pipeline.after_batch(
            p, s, self.accounts, self.lots, self.stops, int(self.market.mark_ticks), self.actions, self.used
        )
        self._send(ts_ns)
