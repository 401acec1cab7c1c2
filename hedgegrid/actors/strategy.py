"""The strategy of one instrument: it feeds the core and carries the core's wishes to the risk gate.

Invariants: nothing is decided before the exchange's word (``Hydrated``) and the history have come; a batch of fills
is answered by one batch of intents; the open lots are the position, whatever order of fills and ends the exchange
tells; where it does not link exits, ``ExitGuard`` puts right what their races leave behind.
"""

from collections.abc import Sequence

import attrs

from hedgegrid.actors.amending import Amending
from hedgegrid.actors.exit_guard import ExitGuard
from hedgegrid.actors.grid_memory import GridTables, adopt_lot, fresh_tables, go_on, make_room, restore
from hedgegrid.actors.lot_births import book_late_fill, lot_of
from hedgegrid.actors.order_names import Numbering, OrderNames
from hedgegrid.actors.post import FEED, RISK, Post
from hedgegrid.actors.strategy_words import StrategyWords
from hedgegrid.core import closing, diff, exit_race, exits, funding, pipeline, regime
from hedgegrid.core.actions import CANCEL, PLACE, RETIRE, RETRY_AT
from hedgegrid.core.codes import ENTRY
from hedgegrid.core.protection import ProtectionLimits
from hedgegrid.core.records import Action, GridParams
from hedgegrid.messages.commands import (
    CancelEntries,
    Flatten,
    IntentBatch,
    NeedHistory,
    Rehydrate,
    Wake,
)
from hedgegrid.messages.events import (
    BarClosed,
    EndReason,
    ExecutionBatch,
    ForeignSeen,
    FundingRate,
    FundingRateMissing,
    HistoryLoaded,
    Hydrated,
    Message,
    OrderEvent,
    OrderEventKind,
    PermissionView,
    RefusedBatch,
    StrategyReady,
)
from hedgegrid.model.market import Bar
from hedgegrid.model.order import Cover, Fill, Leg, OrderRequest, Purpose
from hedgegrid.runtime.actor import Actor
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.runtime.router import Router

StrategyMessage = (
    BarClosed
    | ExecutionBatch
    | ForeignSeen
    | FundingRate
    | FundingRateMissing
    | HistoryLoaded
    | Hydrated
    | PermissionView
    | RefusedBatch
    | CancelEntries
    | Flatten
    | Wake
)

LOOK_AGAIN_NS = 1_000_000_000
"""Least time between two readings of the exchange that a strategy asks for."""


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
        numbering: Numbering,
        params: GridParams,
        actions: list[Action],
        unlinked: ProtectionLimits | None,
        amends: bool,
    ) -> None:
        """``actions``: what one decision asks for; it is read before another begins, so strategies may share it.

        ``unlinked``: how long races of exits may last; None where the exchange links them, so there are none.

        ``amends``: an entry that is to have another quantity is amended, not cancelled and added.
        """
        super().__init__(mailbox=mailbox, router=router, clock=clock)
        self._post = post
        self._instrument = instrument
        self._first_no = numbering.first
        self._tables: GridTables = fresh_tables(params, order_no_stride=numbering.stride, actions=actions)
        self._names = OrderNames(instrument, numbering)
        self._amending = Amending(self._names, instrument, can=amends)
        self._words = StrategyWords(post, self.name, instrument)
        self._guard: ExitGuard | None = None
        if unlinked is not None:
            self._guard = ExitGuard(post=post, name=self.name, instrument=instrument, limits=unlinked)
        self._mark_ticks = 0
        self._wake_ns = 0
        self._looked_ns = 0
        self._hydrated = False
        self._warm = False
        self._last_bar_ns = 0

    async def on_start(self) -> None:
        """Ask where we stand, and for history. What arrives before the answers is not acted on: they contain it."""
        self._post.send(Rehydrate(**self._post.head(), instrument=self._instrument, why="strategy started"), RISK)
        self._post.send(NeedHistory(**self._post.head(), instrument=self._instrument), FEED)

    def is_quick(self, message: StrategyMessage) -> bool:  # noqa: ARG002 - whatever it is
        """All that a strategy does is."""
        return True

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
            case BarClosed() if not self._hydrated:
                self._take_bars((message.bar,) if self._warm else ())
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
                self._mark_ticks = message.mark_ticks or self._mark_ticks
                for event in message.events:
                    self._on_order_event(message, event)
                self._lay_stops()
            case RefusedBatch():
                self._on_refusals(message)
            case ForeignSeen():
                self._adopt(message)
            case CancelEntries():
                pipeline.drop_entries(t.params, t.state, t.rungs, t.entries, t.actions, t.used)
            case Flatten():
                self._flatten(message)
            case Wake():
                diff.on_wake(t.params, t.state, t.rungs, t.entries, self.clock.now_ns(), t.actions, t.used)
        self._finish(message)

    def _flatten(self, message: Flatten) -> None:
        """Take the entries away and begin to close the legs that are named, or go on with it."""
        t = self._tables
        self._mark_ticks = message.mark_ticks or self._mark_ticks
        pipeline.drop_entries(t.params, t.state, t.rungs, t.entries, t.actions, t.used)
        for leg in message.legs:
            closing.ask(t.state, leg, closing.WANTED)
        if self._guard is not None:
            self._guard.hold_back(t, self.clock.now_ns())
        closing.go_on(t.params, t.state, t.lots, self._mark_ticks, t.actions, t.used)
        for leg in message.legs:
            standing = diff.count(t.entries)
            exits.lay_backstop(t.params, t.state, t.rungs, t.lots, leg, standing, t.actions, t.used)

    def _lay_stops(self) -> None:
        """Lay the stops of the legs that changed; where exits race, the guard does it when all is known."""
        t = self._tables
        if self._guard is None and self._mark_ticks > 0:
            pipeline.after_batch(t.params, t.state, t.accounts, t.lots, t.stops, self._mark_ticks, t.actions, t.used)

    def _finish(self, cause: Message, extra_cancels: tuple[str, ...] = ()) -> None:
        """Put right what races left behind, send what is wanted, and come again when something is due by time."""
        now_ns = self.clock.now_ns()
        due_ns = 0
        if self._guard is not None:
            due_ns = self._guard.settle(self._tables, cause, self._mark_ticks, now_ns)
        self._send_actions(cause, extra_cancels)
        if self._guard is not None and self._guard.look_why:
            due_ns = exit_race.earlier(due_ns, self._look_again(cause, self._guard, now_ns))
        if due_ns > 0 and (self._wake_ns <= now_ns or due_ns < self._wake_ns):
            self._wake_ns = max(due_ns, now_ns + 1)
            self.remind_at(self._wake_ns, Wake(**self._post.head(cause)))

    def _look_again(self, cause: Message, guard: ExitGuard, now_ns: int) -> int:
        """Ask for the exchange's word on this instrument, and forget ours until it comes; give when, if not now."""
        due_ns = self._looked_ns + LOOK_AGAIN_NS
        if self._looked_ns > 0 and due_ns > now_ns:
            return due_ns
        self._looked_ns = now_ns
        self._hydrated = False
        why, guard.look_why = guard.look_why, ""
        self._post.publish(Rehydrate(**self._post.head(cause), instrument=self._instrument, why=why), RISK)
        return 0

    # --- what comes in ----------------------------------------------------------------------------------------------

    def _on_hydrated(self, word: Hydrated) -> None:
        """Rebuild the tables and ask for what is missing, before the first decision."""
        self._tables = t = go_on(self._tables)
        self._names.forget_all()
        self._amending.forget()
        for order in word.orders:
            self._names.adopt(order.client_id)
        if word.unbooked:
            late = [lot_of(t.params, entry) for entry in word.unbooked]
            for lot in late:
                self._words.lot(word, lot)
            word = attrs.evolve(word, lots=(*word.lots, *late))
        orphans = restore(t, word, self._names.numbers)
        t.state.next_order_no = word.next_order_no + self._first_no
        self._hydrated = True
        held = {Leg.LONG: t.state.position_long_lots, Leg.SHORT: t.state.position_short_lots}
        theirs = {position.leg: position.qty_lots for position in word.positions}
        for leg, lots in held.items():
            if lots != theirs.get(leg, 0):
                self._words.difference(word, leg, lots, theirs.get(leg, 0))
        self._mark_ticks = word.mark_ticks or self._mark_ticks
        if self._guard is not None:
            self._guard.adopt(word.orders, self._names.numbers, orphans, self.clock.now_ns())
            for leg in held:
                exit_race.cut_to(t.params, t.state, t.rungs, t.lots, leg, theirs.get(leg, 0))
        else:
            exits.resend_take_profits(t.state, t.lots, t.actions, t.used)
            self._lay_stops()
        if word.grid is not None:
            self._words.remembers(word.grid)
        self._finish(word, extra_cancels=orphans)
        self._tell_ready(word)

    def _on_history(self, message: HistoryLoaded) -> None:
        """Feed the indicators without deciding."""
        self._take_bars(message.bars)
        self._warm = True
        self._tell_ready(message)

    def _take_bars(self, bars: Sequence[Bar]) -> None:
        """Let the indicators see bars that nothing is decided on."""
        t = self._tables
        for bar in bars:
            if bar.open_ns > self._last_bar_ns:
                self._last_bar_ns = bar.open_ns
                regime.update(t.indicators, t.params, bar.high_ticks, bar.low_ticks, bar.close_ticks)

    def _tell_ready(self, cause: Message) -> None:
        if self._hydrated and self._warm:
            self._post.publish(StrategyReady(**self._post.head(cause), instrument=self._instrument), RISK)

    def _on_permission(self, view: PermissionView) -> None:
        """Mirror the permission; where entries must not stay, they go now."""
        t = self._tables
        t.state.may_add = 1 if view.may_add else 0
        t.state.hold_entries = 1 if view.hold_entries else 0
        t.state.throttle_ppm = view.throttle_ppm
        for leg in Leg:
            if leg not in view.closes:
                closing.ask(t.state, leg, 0)
        if view.hold_entries and self._hydrated:
            pipeline.drop_entries(t.params, t.state, t.rungs, t.entries, t.actions, t.used)
            self._finish(view)

    def _on_bar(self, message: BarClosed) -> None:
        t, bar = self._tables, message.bar
        self._last_bar_ns = bar.open_ns
        make_room(t)
        self._words.room_again(message, t.state)
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
        self._mark_ticks = bar.close_ticks
        self._lay_stops()
        self._words.funding(message, t.params, t.state)
        self._words.grid(message, t.state)

    def _on_order_event(self, cause: ExecutionBatch, event: OrderEvent) -> None:
        """Tell the core what became of an order."""
        if event.fill is not None:
            self._on_fill(cause, event, event.fill)
            return
        no = self._names.numbers.get(event.client_id)
        if no is None:
            self._on_stranger(event)
            return
        match event.kind:
            case OrderEventKind.CANCEL_FAILED if self._guard is not None:
                self._on_cancel_failed(event, no, self._guard)
            case OrderEventKind.CANCELLED | OrderEventKind.EXPIRED | OrderEventKind.CANCEL_FAILED:
                self._on_gone(cause, event, no)
            case OrderEventKind.REJECTED:
                self._on_rejected(cause, event, no)
            case OrderEventKind.AMENDED if diff.find(self._tables.entries, no) >= 0:
                self._amending.amended(self._tables, no, event.qty_lots)
            case _:
                # Accepted and unknown change nothing here: the order goes on standing for its rung or lot.
                if self._guard is not None:
                    self._guard.on_word(event, no, self.clock.now_ns())

    def _on_stranger(self, event: OrderEvent) -> None:
        """An order of ours that nobody here knows stands at the exchange: look again, so that somebody does."""
        stands = event.kind is OrderEventKind.ACCEPTED
        if self._guard is not None and stands and self._names.is_stranger(event.client_id):
            self._guard.look_why = "the exchange holds an order of ours that is not known here"

    def _on_cancel_failed(self, event: OrderEvent, no: int, guard: ExitGuard) -> None:
        """A cancel was not carried out, or found nothing: the order lives on until the exchange says otherwise."""
        slot = diff.find(self._tables.entries, no)
        if slot < 0:
            guard.on_word(event, no, self.clock.now_ns())
        elif event.reason is not EndReason.NOT_FOUND and self._tables.entries[slot].state == diff.CANCELLING:
            self._tables.entries[slot].state = diff.WORKING

    def _on_gone(self, cause: Message, event: OrderEvent, no: int) -> None:
        """An order has ended unfilled."""
        t = self._tables
        self._names.forget(no)
        diff.on_cancelled(t.params, t.state, t.rungs, t.entries, no, t.actions, t.used)
        self._end_exit(cause, no, event.reason)

    def _end_exit(self, cause: Message, no: int, reason: EndReason, until_ns: int = 0) -> None:
        """What the exit covered is bare now."""
        t = self._tables
        if self._guard is None:
            exits.forget_exit(t.state, t.lots, t.stops, no)
        else:
            self._guard.on_end(t, cause, no, reason, self.clock.now_ns(), until_ns)

    def _on_rejected(self, cause: ExecutionBatch, event: OrderEvent, no: int) -> None:
        """The exchange would not have an order."""
        t = self._tables
        if event.reason is EndReason.POST_ONLY and self._guard is not None and self._is_cancelling(no):
            # It is the exchange's word that the order is no more: the cancel will find nothing, which proves nothing.
            self._on_gone(cause, event, no)
            return
        if event.reason is EndReason.POST_ONLY:
            diff.on_post_only_rejected(t.params, t.state, t.rungs, t.entries, no, cause.ts_venue_ns, t.actions, t.used)
            slot = diff.find(t.entries, no)
            if slot < 0 or t.entries[slot].state != diff.CANCELLING:
                self._names.forget(no)
            return
        self._names.forget(no)
        diff.on_refused(t.params, t.state, t.rungs, t.entries, no)
        self._end_exit(cause, no, event.reason, event.until_ns)

    def _is_cancelling(self, no: int) -> bool:
        """Tell whether an entry's cancel is under way."""
        slot = diff.find(self._tables.entries, no)
        return slot >= 0 and self._tables.entries[slot].state == diff.CANCELLING

    def _on_fill(self, cause: ExecutionBatch, event: OrderEvent, fill: Fill) -> None:
        """Book a fill: an entry's becomes a lot, an exit's closes its lots."""
        t = self._tables
        no = self._names.numbers.get(event.client_id, 0)
        sent = self._names.sent(event.client_id)
        if fill.purpose is Purpose.ENTRY:
            index = self._on_entry_fill(fill, no, sent)
            if index >= 0:
                self._words.lot(cause, t.lots[index])
        elif self._guard is not None:
            self._guard.on_fill(t, cause, event, () if sent is None else sent.covers, no)
        else:
            pipeline.on_exit_fill(t.params, t.accounts, fill.leg, fill.price_ticks, fill.qty_lots)
            for cover in fill.covers:
                pipeline.on_exit_cut(t.params, t.state, t.rungs, t.lots, cover.lot_id, cover.qty_lots)
        if event.qty_lots == 0:
            self._names.forget(no)
            if fill.purpose is not Purpose.ENTRY:
                exits.forget_exit(t.state, t.lots, t.stops, no)

    def _on_entry_fill(self, fill: Fill, no: int, sent: OrderRequest | None) -> int:
        """Book an entry's fill as a lot, also where its order was forgotten; give its index, -1 without room."""
        t = self._tables
        if diff.find(t.entries, no) < 0:
            return book_late_fill(t, fill, sent)
        make_room(t)
        return pipeline.on_entry_fill(
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

    def _adopt(self, message: ForeignSeen) -> None:
        """Take what was not ours until now as lots: they get their exits at the end of this message."""
        for one in message.adopted:
            adopt_lot(self._tables, one)

    def _on_refusals(self, message: RefusedBatch) -> None:
        for refused in message.refused:
            self._on_refused(message, refused.request)
        if self._guard is not None:
            # One that has filled meanwhile has no number any more.
            known = [no for name in message.kept if (no := self._names.numbers.get(name)) is not None]
            self._guard.on_kept(self._tables, known)

    def _on_refused(self, cause: Message, request: OrderRequest) -> None:
        """The gate said no: an entry's rung waits for the next decision, an exit is asked for again."""
        t = self._tables
        no = self._names.numbers.get(request.client_id)
        if no is None or self._amending.refused(no):
            return
        self._names.forget(no)
        diff.on_refused(t.params, t.state, t.rungs, t.entries, no)
        self._end_exit(cause, no, EndReason.NOT_SENT)

    # --- what goes out ----------------------------------------------------------------------------------------------

    def _send_actions(self, cause: Message, extra_cancels: tuple[str, ...] = ()) -> None:
        """Carry the core's actions to the gate as one batch, and set the wake-ups it asked for."""
        t = self._tables
        used, t.used.n = t.used.n, 0
        orders: list[OrderRequest] = []
        cancels: list[str] = list(extra_cancels)
        retires: list[str] = []
        amends: list[OrderRequest] = []
        for action in t.actions[:used]:
            if action.kind == PLACE:
                orders.append(self._names.request(t, action, self._covers(action), self.clock.now_ns()))
            elif action.kind == RETRY_AT:
                self.remind_at(action.distance, Wake(**self._post.head(cause)))
            elif action.kind == CANCEL and (amend := self._amending.instead_of(t, action, self.clock.now_ns())):
                amends.append(amend)
            elif (name := self._names.name(action.no)) is not None:
                (cancels if action.kind == CANCEL else retires).append(name)
            else:
                assert action.kind == RETIRE, "an order that is cancelled has a name"
        cancels += [name for no in self._amending.cancels(t) if (name := self._names.name(no)) is not None]
        self._words.overflow(cause, t.state, len(t.lots))
        if orders or cancels or retires or amends:
            self._post.publish(
                IntentBatch(
                    **self._post.head(cause),
                    instrument=self._instrument,
                    orders=tuple(orders),
                    cancels=tuple(cancels),
                    retires=tuple(retires),
                    amends=tuple(amends),
                ),
                RISK,
            )

    def _covers(self, action: Action) -> tuple[Cover, ...]:
        """Give the parts of lots that an order closes."""
        if action.purpose == ENTRY:
            return ()
        if self._guard is not None:
            return self._guard.covers(action.no)
        return exit_race.covers_of(self._tables.lots, action.no, action.purpose)
