"""A trading desk without actors: strategy and venue cores wired by plain calls, in either execution.

The tests drive it point by point. It is also the reference that the actors must agree with, fill by fill.

Invariants: the strategy learns of its orders from the venue's rows alone (the sides share no record); at a point, in
this order: retries whose time has come, the move, funding, what the venue says, what falls due and what it causes.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import attrs
import numpy as np

from hedgegrid.core import (
    actions,
    closing,
    diff,
    exits,
    filling,
    fixed,
    funding,
    gate_book,
    grid,
    inventory,
    ledger,
    margin,
    matching,
    order_rate,
    pipeline,
    policy,
    queue_fills,
    regime,
    repeat,
    risk,
    session,
    stop_laying,
    var,
    venue_tables,
    worst_case,
)
from hedgegrid.core import records as r
from hedgegrid.core.codes import BACKSTOP, ENTRY, FREE, LIMIT, LONG, MARKET, SHORT, STOP_MARKET, TAKE_PROFIT

ROUNDS_MAX = 1_000
PLAIN = SimpleNamespace(
    fixed=fixed,
    ledger=ledger,
    regime=regime,
    repeat=repeat,
    grid=grid,
    policy=policy,
    funding=funding,
    inventory=inventory,
    actions=actions,
    diff=diff,
    exits=exits,
    closing=closing,
    pipeline=pipeline,
    venue_tables=venue_tables,
    filling=filling,
    queue_fills=queue_fills,
    margin=margin,
    matching=matching,
    risk=risk,
    session=session,
    stop_laying=stop_laying,
    gate_book=gate_book,
    order_rate=order_rate,
    var=var,
    worst_case=worst_case,
)
"""The core as it is interpreted; `backtest.twins.compiled` gives the same names in machine code."""

Tables = Callable[[list[Any]], Any]


def as_lists(rows: list[Any]) -> Any:
    """The container of the interpreted execution."""
    return rows


def as_arrays(rows: list[Any]) -> Any:
    """The container of the compiled execution."""
    return r.pack(rows).view(np.recarray)


@attrs.frozen(kw_only=True)
class Sizes:
    """How many records each table of a desk holds. Passes walk tables whole: small ones are quick."""

    entries: int = 48
    lots: int = 64
    stops: int = 24
    actions: int = 160
    orders: int = 160
    links: int = 256
    cancels: int = 96
    events: int = 512


class Desk:
    """One instrument's strategy against one instrument's venue."""

    def __init__(
        self, core: SimpleNamespace, tables: Tables, params: Any, rules: Any, sizes: Sizes | None = None
    ) -> None:
        """Take the core (interpreted or twins) and how its tables are made."""
        room = sizes or Sizes()
        self.core = core

        def make(record: type, capacity: int) -> Any:
            return tables([record() for _ in range(capacity)])

        self.params = tables([params])[0]
        self.rules = tables([rules])[0]
        self.state = make(r.GridState, 1)[0]
        self.state.may_add = 1
        self.state.next_order_no = 1
        self.ind = make(r.Indicators, 1)[0]
        self.rungs = make(r.Rung, params.levels_long + params.levels_short)
        self.entries = make(r.EntryOrder, room.entries)
        self.accounts = make(r.LegAccount, 2)
        self.lots = make(r.Lot, room.lots)
        self.stops = make(r.StopOrder, room.stops)
        self.actions = make(r.Action, room.actions)
        self.used = make(r.Counter, 1)[0]
        self.market = make(r.Market, 1)[0]
        self.orders = make(r.VenueOrder, room.orders)
        self.links = make(r.Link, room.links)
        self.cancels = make(r.CancelRequest, room.cancels)
        self.venue_accounts = make(r.LegAccount, 2)
        self.events = make(r.VenueEvent, room.events)
        self.said = make(r.Counter, 1)[0]
        self.fills: list[tuple[int, ...]] = []
        """ts_ns, leg, purpose, level, generation, price_ticks, qty_lots, fee_e8, realised_e8, maker."""
        self.told: list[tuple[int, ...]] = []
        """Every row of the venue: ts_ns, kind, no, purpose, price_ticks, qty_lots, reason."""
        self.wakes: list[int] = []
        self.refuses: Callable[[Any], bool] | None = None
        """Stands in for the risk gate where it is set: whether it refuses an order that is to be placed."""
        self.watch: Callable[[str], None] | None = None
        """Called with "moved" (its rows not yet heard), "settled" (nothing is due), "decided" (nothing sent yet)."""

    # --- time --------------------------------------------------------------------------------------------------------

    def point(
        self,
        ts_ns: int,
        price: int,
        *,
        jump: bool,
        bar_no: int = 0,
        low: int = 0,
        high: int = 0,
        trade_lots: int = 0,
        book: tuple[int, int, int, int] | None = None,
        mark: int | None = None,
        rate_e8: int | None = None,
    ) -> None:
        """Walk one point. ``book`` is (bid, its lots, ask, its lots); ``rate_e8`` settles funding at the mark."""
        while self.wakes and min(self.wakes) <= ts_ns:
            self.wake(min(self.wakes))
        m = self.market
        m.ts_ns, m.bar_no, m.bar_low_ticks, m.bar_high_ticks = ts_ns, bar_no, low, high
        m.bid_ticks, m.bid_qty_lots, m.ask_ticks, m.ask_qty_lots = book or (price, 0, price, 0)
        m.mark_ticks = price if mark is None else mark
        self._venue("move", price, int(jump), trade_lots)
        self._watched("moved")
        if rate_e8 is not None:
            self.core.margin.settle_funding(m, self.venue_accounts, self.rules, rate_e8)
        self.hear(ts_ns)
        self.due(ts_ns)

    def wake(self, due_ns: int) -> None:
        """Let the strategy send the retries of ``due_ns``."""
        self.wakes.remove(due_ns)
        self.core.diff.on_wake(self.params, self.state, self.rungs, self.entries, due_ns, self.actions, self.used)
        self.send(due_ns)

    def due(self, ts_ns: int) -> None:
        """Let fall due what is due, and what that causes, until nothing is."""
        for _ in range(ROUNDS_MAX):
            tables = (self.market, self.orders, self.links, self.cancels, self.venue_accounts, self.rules)
            done = self.core.matching.fall_due(*tables, self.events, self.said)
            if not done:
                self._venue("backstops")
            if not done and not self.said.n:
                self._watched("settled")
                return
            self.hear(ts_ns)
        message = "orders cause each other without end"
        raise AssertionError(message)

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
        self._watched("decided")
        self.send(ts_ns)
        self.due(ts_ns)

    def walk_bar(self, number: int, ohlc: tuple[int, int, int, int], length_ns: int) -> None:
        """Walk the four points of a bar that opens at ``number`` x its length, and decide at the last (section 9)."""
        opened, high, low, close = ohlc
        inner = (low, high) if close >= opened else (high, low)
        for quarter, price in enumerate((opened, *inner, close)):
            ts_ns = number * length_ns + quarter * length_ns // 4
            self.point(ts_ns, price, jump=quarter == 0, bar_no=number, low=low, high=high)
        self.bar(number * length_ns + 3 * length_ns // 4, high, low, close)

    # --- the operator ------------------------------------------------------------------------------------------------

    def flatten(self, ts_ns: int) -> None:
        """Take every entry away and close both legs at the market."""
        self.core.pipeline.flatten(
            self.params,
            self.state,
            self.rungs,
            self.entries,
            self.lots,
            self.market.mark_ticks,
            self.actions,
            self.used,
        )
        self.send(ts_ns)
        self.due(ts_ns)

    def drop_entries(self, ts_ns: int) -> None:
        """Take every entry away."""
        self.core.pipeline.drop_entries(self.params, self.state, self.rungs, self.entries, self.actions, self.used)
        self.send(ts_ns)
        self.due(ts_ns)

    def liquidate(self, ts_ns: int) -> None:
        """Let the venue end everything at the mark."""
        tables = (self.market, self.orders, self.links, self.venue_accounts, self.rules)
        self.core.margin.liquidate(*tables, self.events, self.said)
        self.hear(ts_ns)

    def wallet_change_e8(self) -> int:
        """What realised profit, fees and funding have made of the venue's wallet."""
        rows = [self.venue_accounts[leg] for leg in (LONG, SHORT)]
        return sum(int(row.realised_e8) - int(row.fees_e8) - int(row.funding_e8) for row in rows)

    # --- between the two ---------------------------------------------------------------------------------------------

    def send(self, ts_ns: int) -> None:
        """Carry the actions to the venue."""
        count, self.used.n = int(self.used.n), 0
        for i in range(count):
            action = self.actions[i]
            live_ns = ts_ns + int(self.rules.latency_ns)
            if action.kind in (actions.CANCEL, actions.RETIRE):
                assert self.core.venue_tables.request_cancel(self.market, self.cancels, int(action.no), live_ns)
            elif action.kind == actions.RETRY_AT:
                self.wakes.append(int(action.distance))
            elif self.refuses is not None and self.refuses(action):
                self._refuse(int(action.no))
            else:
                self._place(action, live_ns)

    def _refuse(self, no: int) -> None:
        """Tell the strategy that an order was never sent."""
        self.core.diff.on_refused(self.params, self.state, self.rungs, self.entries, no)
        self.core.exits.forget_exit(self.state, self.lots, self.stops, no)

    def _place(self, action: Any, live_ns: int) -> None:
        """Write an order into the venue's table, pending until ``live_ns``."""
        index = self.core.venue_tables.free_order(self.orders)
        assert index >= 0
        order = self.orders[index]
        purpose = int(action.purpose)
        order.state, order.no, order.leg, order.purpose = venue_tables.PENDING, action.no, action.leg, purpose
        order.kind = LIMIT if purpose in (ENTRY, TAKE_PROFIT) else STOP_MARKET if action.price_ticks > 0 else MARKET
        order.price_ticks, order.qty_lots, order.filled_lots = action.price_ticks, action.qty_lots, 0
        order.post_only = int(purpose == ENTRY and self.params.post_only == 1)
        order.close_all = int(purpose == BACKSTOP)
        order.level, order.generation, order.live_ns = action.level, action.generation, live_ns
        order.seq, order.queue_lots, order.held_bar = self.market.next_seq, -1, -1
        self.market.next_seq += 1
        self.market.next_due_ns = min(int(self.market.next_due_ns), live_ns)
        if purpose in (ENTRY, BACKSTOP):
            return
        for lot in self.lots:
            mine = lot.tp_no == action.no if purpose == TAKE_PROFIT else lot.stop_no == action.no
            if lot.state != FREE and mine:
                part = lot.qty_lots if lot.closing == 0 or purpose == TAKE_PROFIT else lot.closing
                assert self.core.venue_tables.add_link(
                    self.links, int(action.no), int(lot.lot_id), int(part), int(lot.level), int(lot.generation)
                )

    def hear(self, ts_ns: int) -> None:
        """Carry the venue's rows to the strategy, then its answers back."""
        count, self.said.n = int(self.said.n), 0
        for i in range(count):
            row = self.events[i]
            columns = (row.kind, row.no, row.purpose, row.price_ticks, row.qty_lots, row.reason)
            self.told.append((ts_ns, *(int(x) for x in columns)))
            self._tell(row, ts_ns)
        self.core.pipeline.after_batch(
            self.params,
            self.state,
            self.accounts,
            self.lots,
            self.stops,
            int(self.market.mark_ticks),
            self.actions,
            self.used,
        )
        self.send(ts_ns)

    def _tell(self, row: Any, ts_ns: int) -> None:
        """Tell the strategy one row."""
        p, s, core, no = self.params, self.state, self.core, int(row.no)
        if row.kind == venue_tables.FILLED:
            self._tell_fill(row, ts_ns)
        elif row.kind == venue_tables.CUT:
            core.pipeline.on_exit_cut(p, s, self.rungs, self.lots, int(row.lot_id), int(row.qty_lots))
            if core.venue_tables.find(self.orders, no) < 0:
                core.exits.forget_exit(s, self.lots, self.stops, no)
        elif row.kind in (venue_tables.CANCELLED, venue_tables.CANCEL_FAILED):
            core.diff.on_cancelled(p, s, self.rungs, self.entries, no, self.actions, self.used)
            core.exits.forget_exit(s, self.lots, self.stops, no)
        elif row.kind == venue_tables.REJECTED:
            core.diff.on_post_only_rejected(p, s, self.rungs, self.entries, no, ts_ns, self.actions, self.used)

    def _tell_fill(self, row: Any, ts_ns: int) -> None:
        """Tell the strategy a fill, and note it."""
        columns = (row.leg, row.purpose, row.level, row.generation, row.price_ticks, row.qty_lots)
        money = (row.fee_e8, row.realised_e8, row.maker)
        self.fills.append((ts_ns, *(int(x) for x in (*columns, *money))))
        price, qty = int(row.price_ticks), int(row.qty_lots)
        if row.purpose != ENTRY:
            self.core.pipeline.on_exit_fill(self.params, self.accounts, int(row.leg), price, qty)
            return
        self.core.pipeline.on_entry_fill(
            self.params,
            self.state,
            self.rungs,
            self.entries,
            self.accounts,
            self.lots,
            int(row.no),
            int(row.trade_id),
            price,
            qty,
            self.actions,
            self.used,
        )

    def _venue(self, name: str, *more: int) -> None:
        """Call a function of matching that takes the venue's tables; a move that filled refreshes the edges."""
        tables = (self.market, self.orders, self.links, self.venue_accounts, self.rules)
        fills = getattr(self.core.matching, name)(*tables, *more, self.events, self.said)
        if name == "move" and fills:
            self.core.venue_tables.refresh(self.market, self.orders, self.cancels)

    def _watched(self, stage: str) -> None:
        if self.watch is not None:
            self.watch(stage)
