"""The strategy of one instrument: it feeds the core and carries the core's wishes to the risk gate.

Invariants: nothing is decided before the exchange's word (``Hydrated``) and the history have come; a batch of fills
is answered by one batch of intents; a number that stood for an order once never stands for another.
"""

import attrs

from hedgegrid.actors.grid_memory import GridTables, fresh_tables, make_room, restore
from hedgegrid.actors.post import FEED, RISK, Post
from hedgegrid.core import diff, exits, funding, pipeline, regime
from hedgegrid.core.actions import CANCEL, PLACE, RETIRE, RETRY_AT
from hedgegrid.core.client_id import ClientId, client_id, parse_client_id
from hedgegrid.core.codes import ENTRY, FREE, TAKE_PROFIT
from hedgegrid.core.fixed import mul_ppm
from hedgegrid.core.pause import Reason
from hedgegrid.core.records import Action, GridParams, Lot
from hedgegrid.messages.commands import (
    CancelEntries,
    ClearReason,
    Flatten,
    IntentBatch,
    NeedHistory,
    RaiseReason,
    Rehydrate,
    Throttle,
    Wake,
)
from hedgegrid.messages.events import (
    BarClosed,
    EndReason,
    ExecutionBatch,
    FundingRate,
    FundingRateMissing,
    GridMoved,
    HistoryLoaded,
    Hydrated,
    Incident,
    LotOpened,
    Message,
    OrderEvent,
    OrderEventKind,
    PermissionView,
    RefusedBatch,
    StrategyReady,
)
from hedgegrid.model.grid import OpenLot, UnbookedEntry
from hedgegrid.model.order import Cover, Fill, Kind, Leg, OrderRequest, Purpose
from hedgegrid.runtime.actor import Actor
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.runtime.router import Router

StrategyMessage = (
    BarClosed
    | ExecutionBatch
    | FundingRate
    | FundingRateMissing
    | HistoryLoaded
    | Hydrated
    | PermissionView
    | RefusedBatch
    | CancelEntries
    | Flatten
    | Throttle
    | Wake
)

_KIND_OF_PURPOSE = {Purpose.ENTRY: Kind.LIMIT, Purpose.TAKE_PROFIT: Kind.LIMIT}


class Strategy(Actor[StrategyMessage]):
    """One instrument's grid."""

    def __init__(
        self,
        *,
        mailbox: Mailbox[StrategyMessage],
        router: Router,
        clock: Clock,
        post: Post,
        instrument: str,
        index: int,
        account: str,
        epoch: int,
        params: GridParams,
        order_no_stride: int,
    ) -> None:
        """This instrument numbers its orders ``index`` plus multiples of ``order_no_stride``: none is shared."""
        super().__init__(mailbox=mailbox, router=router, clock=clock)
        self._post = post
        self._instrument = instrument
        self._index = index
        self._account = account
        self._epoch = epoch
        self._tables: GridTables = fresh_tables(params, order_no_stride=order_no_stride)
        self._ids: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._hydrated = False
        self._warm = False
        self._last_bar_ns = 0
        self._told_grid: tuple[int, int, int, int] = (0, 0, 0, 0)
        self._told_overflow = 0
        self._warned_ns = 0

    async def on_start(self) -> None:
        """Ask where we stand, and for history. What arrives before the answers is not acted on: they contain it."""
        self._post.send(Rehydrate(**self._post.head(), instrument=self._instrument, why="strategy started"), RISK)
        self._post.send(NeedHistory(**self._post.head(), instrument=self._instrument), FEED)

    async def handle(self, message: StrategyMessage) -> None:
        """Take one message to the core."""
        match message:
            case Hydrated():
                self._on_hydrated(message)
            case HistoryLoaded():
                self._on_history(message)
            case FundingRate():
                state = self._tables.state
                funding.remember_rate(state, message.rate_e8, message.next_funding_ns, message.funding_interval_ns)
            case FundingRateMissing():
                self._tables.state.rate_known = 0
            case PermissionView():
                self._on_permission(message)
            case Throttle():
                self._tables.state.throttle_ppm = message.factor_ppm
            case _ if not self._hydrated:
                return
            case _:
                self._decide(message)

    def _decide(self, message: StrategyMessage) -> None:
        """Let the core act on something that may lead to orders, then send what it wants."""
        t = self._tables
        match message:
            case BarClosed():
                if not self._warm or message.bar.open_ns <= self._last_bar_ns:
                    return
                self._on_bar(message)
            case ExecutionBatch():
                for event in message.events:
                    self._on_order_event(message, event)
                pipeline.after_batch(
                    t.params, t.state, t.accounts, t.lots, t.stops, message.mark_ticks, t.actions, t.used
                )
            case RefusedBatch():
                for refused in message.refused:
                    self._on_refused(refused.request)
            case CancelEntries():
                pipeline.drop_entries(t.params, t.state, t.rungs, t.entries, t.actions, t.used)
            case Flatten():
                pipeline.flatten(t.params, t.state, t.rungs, t.entries, t.lots, t.actions, t.used)
            case Wake():
                diff.on_wake(t.params, t.state, t.rungs, t.entries, self.clock.now_ns(), t.actions, t.used)
        self._send_actions(message)

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _on_hydrated(self, word: Hydrated) -> None:
        """Rebuild the tables and ask for what is missing, before the first decision."""
        for order in word.orders:
            self._name_again(order.client_id)
        t = self._tables
        if word.unbooked:
            word = attrs.evolve(word, lots=(*word.lots, *(self._book_late(word, entry) for entry in word.unbooked)))
        orphans = restore(t, word, self._numbers)
        t.state.next_order_no = word.next_order_no + self._index
        self._hydrated = True
        held = {Leg.LONG: t.state.position_long_lots, Leg.SHORT: t.state.position_short_lots}
        theirs = {position.leg: position.qty_lots for position in word.positions}
        for leg, lots in held.items():
            if lots != theirs.get(leg, 0):
                self._report_difference(word, leg, lots, theirs.get(leg, 0))
        exits.resend_take_profits(t.state, t.lots, t.actions, t.used)
        if word.mark_ticks > 0:
            pipeline.after_batch(t.params, t.state, t.accounts, t.lots, t.stops, word.mark_ticks, t.actions, t.used)
        if word.grid is not None:
            self._told_grid = (word.grid.regime, word.grid.center_ticks, word.grid.step_micro, word.grid.generation)
        self._send_actions(word, extra_cancels=orphans)
        self._tell_ready(word)

    def _book_late(self, cause: Message, entry: UnbookedEntry) -> OpenLot:
        """Make the lot of an entry that filled while nobody could book it, and have it remembered."""
        params = self._tables.params
        lot = OpenLot(
            lot_id=entry.trade_id,
            leg=entry.leg,
            level=entry.level,
            generation=entry.generation,
            entry_ticks=entry.price_ticks,
            qty_lots=entry.qty_lots,
            tp_ticks=exits.take_profit_ticks(entry.leg, entry.price_ticks, entry.tp_micro),
            stop_ticks=exits.stop_ticks(entry.leg, entry.price_ticks, mul_ppm(entry.step_micro, params.sl_ppm)),
            step_micro=entry.step_micro,
        )
        self._tell_lot(cause, lot)
        return lot

    def _name_again(self, order_id: str) -> None:
        parsed = parse_client_id(order_id)
        assert isinstance(parsed, ClientId), "the executor hands over our own orders only"
        self._ids[parsed.sequence] = order_id
        self._numbers[order_id] = parsed.sequence

    def _report_difference(self, cause: Message, leg: Leg, ours: int, theirs: int) -> None:
        """The lots do not add up to the position: somebody else traded here. Pause for the operator; exits go on."""
        figures = {"leg": leg.name, "lots": str(ours), "position": str(theirs)}
        text = "open lots differ from the exchange's position: look for manual trades, then resume"
        self._post.publish(Incident(**self._post.head(cause), actor=self.name, text=text, figures=figures))
        raised = RaiseReason(
            **self._post.head(cause), reason=Reason.SUPERVISOR, scope=self._instrument, figures=figures
        )
        self._post.publish(raised, RISK)

    def _on_history(self, message: HistoryLoaded) -> None:
        """Feed the indicators without deciding."""
        t = self._tables
        for bar in message.bars:
            if bar.open_ns > self._last_bar_ns:
                self._last_bar_ns = bar.open_ns
                regime.update(t.indicators, t.params, bar.high_ticks, bar.low_ticks, bar.close_ticks)
        self._warm = True
        self._tell_ready(message)

    def _tell_ready(self, cause: Message) -> None:
        if self._hydrated and self._warm:
            self._post.publish(StrategyReady(**self._post.head(cause), instrument=self._instrument), RISK)

    def _on_permission(self, view: PermissionView) -> None:
        """Mirror the permission; where entries must not stay, they go now."""
        t = self._tables
        t.state.may_add = 1 if view.may_add else 0
        t.state.hold_entries = 1 if view.hold_entries else 0
        if view.hold_entries and self._hydrated:
            pipeline.drop_entries(t.params, t.state, t.rungs, t.entries, t.actions, t.used)
            self._send_actions(view)

    def _on_bar(self, message: BarClosed) -> None:
        t, bar = self._tables, message.bar
        self._last_bar_ns = bar.open_ns
        make_room(t)
        self._clear_overflow(message)
        pipeline.on_bar(
            t.params,
            t.state,
            t.indicators,
            t.rungs,
            t.entries,
            t.lots,
            bar.high_ticks,
            bar.low_ticks,
            bar.close_ticks,
            message.ts_venue_ns,
            t.actions,
            t.used,
        )
        pipeline.after_batch(t.params, t.state, t.accounts, t.lots, t.stops, bar.close_ticks, t.actions, t.used)
        self._warn_of_funding(message)
        grid = (t.state.regime, t.state.center_ticks, t.state.step_micro, t.state.generation)
        if grid != self._told_grid:
            self._told_grid = grid
            self._post.publish(
                GridMoved(
                    **self._post.head(message),
                    instrument=self._instrument,
                    regime=grid[0],
                    center_ticks=grid[1],
                    step_micro=grid[2],
                    generation=grid[3],
                )
            )

    def _warn_of_funding(self, cause: BarClosed) -> None:
        """Say once a settlement that it is near and expensive, where the settings ask for a warning only."""
        t = self._tables
        if self._warned_ns == t.state.next_funding_ns or not funding.is_warning_due(
            t.params, t.state, cause.ts_venue_ns
        ):
            return
        self._warned_ns = t.state.next_funding_ns
        incident = Incident(
            **self._post.head(cause),
            actor=self.name,
            text="an expensive funding settlement is near",
            figures={"rate_e8": str(t.state.rate_e8), "next_ns": str(t.state.next_funding_ns)},
        )
        self._post.publish(incident)

    def _on_order_event(self, cause: ExecutionBatch, event: OrderEvent) -> None:
        """Tell the core what became of an order."""
        t = self._tables
        if event.fill is not None:
            self._on_fill(cause, event, event.fill)
            return
        no = self._numbers.get(event.client_id)
        if no is None:
            return
        match event.kind:
            case OrderEventKind.CANCELLED | OrderEventKind.EXPIRED | OrderEventKind.CANCEL_FAILED:
                self._forget(no)
                diff.on_cancelled(t.params, t.state, t.rungs, t.entries, no, t.actions, t.used)
                exits.forget_exit(t.state, t.lots, t.stops, no)
            case OrderEventKind.REJECTED if event.reason is EndReason.POST_ONLY:
                diff.on_post_only_rejected(
                    t.params, t.state, t.rungs, t.entries, no, cause.ts_venue_ns, t.actions, t.used
                )
                slot = diff.find(t.entries, no)
                if slot < 0 or t.entries[slot].state != diff.CANCELLING:
                    self._forget(no)
            case OrderEventKind.REJECTED:
                self._forget(no)
                diff.on_refused(t.params, t.state, t.rungs, t.entries, no)
                exits.forget_exit(t.state, t.lots, t.stops, no)
            case _:
                # Accepted, amended and unknown change nothing here: the order goes on standing for its rung or lot.
                return

    def _on_fill(self, cause: ExecutionBatch, event: OrderEvent, fill: Fill) -> None:
        t = self._tables
        no = self._numbers.get(event.client_id, 0)
        if fill.purpose is Purpose.ENTRY:
            make_room(t)
            index = pipeline.on_entry_fill(
                t.params,
                t.state,
                t.rungs,
                t.entries,
                t.accounts,
                t.lots,
                no,
                fill.trade_id,
                fill.price_ticks,
                fill.qty_lots,
                t.actions,
                t.used,
            )
            if index >= 0:
                self._tell_lot(cause, t.lots[index])
        else:
            pipeline.on_exit_fill(t.params, t.accounts, fill.leg, fill.price_ticks, fill.qty_lots)
            for cover in fill.covers:
                exits.cut_lot(t.params, t.state, t.rungs, t.lots, cover.lot_id, cover.qty_lots)
        if event.qty_lots == 0:
            self._forget(no)
            if fill.purpose is not Purpose.ENTRY:
                exits.forget_exit(t.state, t.lots, t.stops, no)

    def _tell_lot(self, cause: Message, lot: Lot | OpenLot) -> None:
        """Have a lot's birth prices remembered."""
        self._post.publish(
            LotOpened(
                **self._post.head(cause),
                instrument=self._instrument,
                lot_id=lot.lot_id,
                leg=Leg(lot.leg),
                level=lot.level,
                generation=lot.generation,
                entry_ticks=lot.entry_ticks,
                qty_lots=lot.qty_lots,
                tp_ticks=lot.tp_ticks,
                stop_ticks=lot.stop_ticks,
                step_micro=lot.step_micro,
            )
        )

    def _on_refused(self, request: OrderRequest) -> None:
        """The gate said no: an entry's rung waits for the next decision, an exit is asked for again then."""
        t = self._tables
        no = self._numbers.get(request.client_id)
        if no is None:
            return
        self._forget(no)
        diff.on_refused(t.params, t.state, t.rungs, t.entries, no)
        exits.forget_exit(t.state, t.lots, t.stops, no)

    def _forget(self, no: int) -> None:
        order_id = self._ids.pop(no, None)
        if order_id is not None:
            self._numbers.pop(order_id, None)

    # --- what goes out ----------------------------------------------------------------------------------------------

    def _send_actions(self, cause: Message, extra_cancels: tuple[str, ...] = ()) -> None:
        """Carry the core's actions to the gate as one batch, and set the wake-ups it asked for."""
        t = self._tables
        used, t.used.n = t.used.n, 0
        orders: list[OrderRequest] = []
        cancels: list[str] = list(extra_cancels)
        retires: list[str] = []
        for action in t.actions[:used]:
            if action.kind == PLACE:
                orders.append(self._request(action))
            elif action.kind == RETRY_AT:
                self.remind_at(action.distance, Wake(**self._post.head(cause)))
            elif action.no in self._ids:
                (cancels if action.kind == CANCEL else retires).append(self._ids[action.no])
            else:
                assert action.kind == RETIRE, "an entry that is cancelled has a name"
        if t.state.overflowed > self._told_overflow:
            self._report_overflow(cause)
        if orders or cancels or retires:
            self._post.publish(
                IntentBatch(
                    **self._post.head(cause),
                    instrument=self._instrument,
                    orders=tuple(orders),
                    cancels=tuple(cancels),
                    retires=tuple(retires),
                ),
                RISK,
            )

    def _report_overflow(self, cause: Message) -> None:
        """A table of the core was full: pause this instrument; a person must widen its limits."""
        self._told_overflow = self._tables.state.overflowed
        raised = RaiseReason(
            **self._post.head(cause),
            reason=Reason.OVERFLOW,
            scope=self._instrument,
            figures={"overflowed": str(self._told_overflow), "lots": str(len(self._tables.lots))},
        )
        self._post.publish(raised, RISK)

    def _clear_overflow(self, cause: Message) -> None:
        """Say that the tables have room again, a bar after they last had none."""
        state = self._tables.state
        if state.overflowed == 0:
            return
        state.overflowed = 0
        self._told_overflow = 0
        gone = ClearReason(**self._post.head(cause), reason=Reason.OVERFLOW, scope=self._instrument, figures={})
        self._post.publish(gone, RISK)

    def _request(self, action: Action) -> OrderRequest:
        """Make an order request of an action, under a client id that explains itself."""
        t = self._tables
        leg, purpose = Leg(action.leg), Purpose(action.purpose)
        order_id = client_id(
            account=self._account,
            epoch=self._epoch,
            leg=leg,
            purpose=purpose,
            level=action.level,
            sequence=action.no,
        )
        self._ids[action.no] = order_id
        self._numbers[order_id] = action.no
        kind = _KIND_OF_PURPOSE.get(purpose, Kind.STOP_MARKET if action.price_ticks > 0 else Kind.MARKET)
        entry = t.entries[diff.find(t.entries, action.no)] if purpose is Purpose.ENTRY else None
        return OrderRequest(
            client_id=order_id,
            instrument=self._instrument,
            leg=leg,
            purpose=purpose,
            kind=kind,
            price_ticks=action.price_ticks,
            qty_lots=action.qty_lots,
            post_only=purpose is Purpose.ENTRY and t.params.post_only == 1,
            close_all=purpose is Purpose.BACKSTOP,
            level=action.level,
            generation=action.generation,
            covers=self._covers(action, purpose),
            tp_micro=0 if entry is None else entry.tp_micro,
            step_micro=0 if entry is None else entry.step_micro,
            decided_ns=self.clock.now_ns(),
        )

    def _covers(self, action: Action, purpose: Purpose) -> tuple[Cover, ...]:
        """Give the parts of lots that an exit closes."""
        if action.purpose == ENTRY or purpose is Purpose.BACKSTOP:
            return ()
        by_take_profit = action.purpose == TAKE_PROFIT
        return tuple(
            Cover(lot_id=lot.lot_id, qty_lots=lot.qty_lots, level=lot.level, generation=lot.generation)
            for lot in self._tables.lots
            if lot.state != FREE and (lot.tp_no if by_take_profit else lot.stop_no) == action.no
        )
