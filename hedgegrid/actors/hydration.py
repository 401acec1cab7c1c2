"""What a reading of the exchange changes in the books: the one way of a start, a restart, a gap and a doubt (law 3).

Invariants: a reading is reconciled with the books as they are when it is applied, never as they were when it began; a
difference is called one only when it outlives several readings; until a reading agrees after a gap, nothing is added;
what was found is told like what the stream tells, once.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Final

import attrs

from hedgegrid.actors.executor_notes import ExchangeRead
from hedgegrid.actors.foreign import Foreign
from hedgegrid.actors.order_table import OrderTable, request_of
from hedgegrid.actors.post import EXECUTOR, RISK, Post, strategy_name
from hedgegrid.core import wallet
from hedgegrid.core.doubt import LOOK_MAX_NS, LOOK_NS
from hedgegrid.core.order_state import LifeEventKind
from hedgegrid.core.pause import ACCOUNT, Reason
from hedgegrid.core.reconcile import reconcile
from hedgegrid.core.reconcile_views import (
    Absence,
    EvidenceRule,
    FillKey,
    LegLots,
    LocalView,
    Mark,
    Plan,
    VenueView,
    fill_key,
    held,
)
from hedgegrid.core.records import GridParams
from hedgegrid.errors import Fatal
from hedgegrid.messages.commands import ClearReason, RaiseReason
from hedgegrid.messages.events import (
    AccountChanged,
    EndReason,
    ExecutionBatch,
    Incident,
    Message,
    OrderEvent,
    OrderEventKind,
    WalletRead,
)
from hedgegrid.model.order import Fill, Leg, Purpose
from hedgegrid.ports import Books, Memory
from hedgegrid.runtime.clock import Clock

READS_MAX: Final = 10
"""Readings of a start that may disagree before it fails."""
UNREAD_MAX: Final = 150
"""Readings of a start that may fail before it does, about twenty minutes: an exchange under maintenance comes back."""
CALLED_AFTER: Final = 3
"""Readings in a row that disagree before the difference is called one."""
RACED_MAX: Final = 10
"""Of those that a fill came in between, which prove nothing, this many in a row are passed over."""
WALLET_AGAIN_NS: Final = 5_000_000_000
"""How long the wallets must differ before that is called a difference: what is on its way has come by then."""
_KIND_OF_MARK: Final = {
    LifeEventKind.ACCEPTED: OrderEventKind.ACCEPTED,
    LifeEventKind.FOUND_WORKING: OrderEventKind.ACCEPTED,
    LifeEventKind.REJECTED: OrderEventKind.REJECTED,
    LifeEventKind.EXPIRED: OrderEventKind.EXPIRED,
    LifeEventKind.CANCELLED: OrderEventKind.CANCELLED,
    LifeEventKind.FOUND_DEAD: OrderEventKind.CANCELLED,
    LifeEventKind.OUTCOME_UNKNOWN: OrderEventKind.UNKNOWN,
    LifeEventKind.AMENDED: OrderEventKind.AMENDED,
}
_REASON_OF_MARK: Final = {
    LifeEventKind.FOUND_WORKING: EndReason.FOUND,
    LifeEventKind.OUTCOME_UNKNOWN: EndReason.NONE,
    LifeEventKind.AMENDED: EndReason.FOUND,
}


@attrs.frozen(kw_only=True)
class _Calm:
    """A reading that changed nothing, and what it was compared with: one like it changes nothing either.

    Such a reading shows every order that lives and none that ended, so no time that passes could change its plan.
    """

    version: int
    books: Books
    view: VenueView
    queued: frozenset[str]
    plan: Plan

    def sees(self, books: Books, view: VenueView, queued: Collection[str]) -> bool:
        """Tell whether a later reading, and the books at it, say the same."""
        before = self.view
        return (
            before.fills == view.fills
            and before.limit_orders == view.limit_orders
            and before.stop_orders == view.stop_orders
            and before.positions == view.positions
            and before.looks == view.looks == ()
            and self.books.positions == books.positions
            and self.books.foreign == books.foreign
            and self.queued == frozenset(queued)
        )


class Hydration:
    """The books of one account against its exchange."""

    def __init__(
        self,
        *,
        post: Post,
        memory: Memory,
        table: OrderTable,
        instruments: Iterable[str],
        account: str,
        evidence: EvidenceRule,
        polled: bool,
        queued: Callable[[], Collection[str]],
        adopting: Mapping[str, GridParams],
    ) -> None:
        """``evidence``: when an order that no source shows counts as dead; ``polled``: the wallet is read too.

        ``queued`` gives the orders that wait to be sent: the exchange cannot know them. ``adopting``: the instruments
        whose foreign positions become ours, with the settings that give them their exits.
        """
        self._post = post
        self._memory = memory
        self._table = table
        self._account = account
        self._evidence = evidence
        self._polled = polled
        self._queued = queued
        self._foreign = Foreign(post, instruments, adopting)
        self._absences: tuple[Absence, ...] = ()
        self._calm: _Calm | None = None
        self._found: list[ExecutionBatch] = []
        self._held = Counter[tuple[str, Leg]]()
        self._cancels: dict[str, list[str]] = {}
        self._first = True
        self._failures = 0
        self._disagreements = 0
        self._raced = 0
        self._unresolved = 0
        self._wallet_difference_e8: int | None = None
        self._differs_ns = 0
        self._told = False
        self.gap = False
        """Whether nothing may be added before a reading agrees."""

    @property
    def healthy(self) -> bool:
        """Whether the exchange could be read, and nothing is known to be wrong."""
        return not (self.gap or self._failures or self._first)

    def foreign_legs(self) -> tuple[LegLots, ...]:
        """Give what the legs hold that is not ours."""
        return self._foreign.legs()

    @property
    def foreign_orders(self) -> int:
        """How many open orders are not ours."""
        return self._foreign.orders

    # --- a start ----------------------------------------------------------------------------------------------------

    async def begin(self, read_now: Callable[[], Awaitable[ExchangeRead]], clock: Clock) -> None:
        """Read until both sides agree. Raises Fatal if they never do, or the exchange cannot be read for long."""
        memory = await self._memory.recall()
        for remembered in memory.orders:
            self._table.remember(remembered.record, remembered.request)
        self._table.note_old(self._memory.newest_trades())
        self._foreign.recall(memory.foreign)
        for one in memory.positions:
            self._held[one.instrument, one.leg] = one.qty_lots
        disagreed = unread = 0
        why = ""
        while disagreed < READS_MAX and unread < UNREAD_MAX:
            read = await read_now()
            if memory.first_boot:
                self._refuse_a_lost_past(read)
            plan = await self._apply(read, ())
            if plan is not None and plan.agreed:
                return
            if plan is None:
                why = f"the exchange cannot be read: {read.error}; wait until it can be"
                unread += 1
                if unread == CALLED_AFTER:
                    self._report(read, "the exchange cannot be read", {"error": read.error})
                await clock.sleep(_unread_wait_ns(read, unread - 1))
            else:
                why = f"the exchange and the journal disagree after {READS_MAX} reads: {_differences(plan)}"
                await clock.sleep(LOOK_NS)
                disagreed += 1
        raise Fatal(f"{why}; look at the account, then start again")

    def _refuse_a_lost_past(self, read: ExchangeRead) -> None:
        """An account without a past has no orders: where the exchange shows some, the journal is lost. Raises Fatal.

        To go on would take the positions for somebody else's and their protective stops for orphans.
        """
        shown = () if read.view is None else (*read.view.limit_orders, *read.view.stop_orders)
        names = [one.client_id for one in shown if self._table.is_ours(one.client_id)]
        ours = [name for name in names if self._memory.order(name) is None]
        if ours:
            raise Fatal(
                f"this journal is new, but the exchange holds orders of this account ({len(ours)}: {ours[0]}, ..): put "
                "its journal back, or close positions and orders at the exchange by hand, then start again"
            )

    # --- a reading --------------------------------------------------------------------------------------------------

    async def take(self, read: ExchangeRead, *, after_gap: bool) -> int | None:
        """Apply a reading and tell what it changed; give in how many ns another one is needed, None for none.

        ``after_gap``: it began after the last word of a gap, so that it can end one.
        """
        plan = await self._apply(read, (RISK,))
        if plan is None:
            return self._on_failure(read)
        self._failures = 0
        if not plan.agreed:
            return self._on_difference(read, plan)
        self._disagreements = self._raced = 0
        self._told = False
        if after_gap:
            self._clear_gap(read)
        wait_ns = self._compare_wallets(read)
        self._unresolved = self._unresolved + 1 if plan.unresolved else 0
        if self._unresolved:
            again_ns = min(LOOK_NS << min(self._unresolved, 8), LOOK_MAX_NS)
            wait_ns = again_ns if wait_ns is None else min(wait_ns, again_ns)
        return wait_ns

    @property
    def has_bare(self) -> bool:
        """Whether a position was adopted that no stop of ours guards yet: what guarded it before has to go later."""
        return self._foreign.has_bare

    def _is_guarded(self, instrument: str, leg: Leg, lot_id: int) -> bool:
        """Tell whether a stop of ours is known to rest for a lot, or nothing is held any more."""
        stops = [one for one in self._table.open_orders(instrument) if one.purpose is Purpose.STOP and one.leg is leg]
        covered = {cover.lot_id for one in stops if one.acknowledged for cover in one.covers}
        return self._held[instrument, leg] == 0 or lot_id in covered

    def take_cancels(self) -> dict[str, list[str]]:
        """Give, and forget, what the last reading showed to be too much.

        Duplicates, orphans, and foreign orders where they are not left alone.
        """
        cancels, self._cancels = self._cancels, {}
        for instrument, names in self._foreign.unwanted(self._is_guarded).items():
            cancels.setdefault(instrument, []).extend(names)
        return cancels

    async def _apply(self, read: ExchangeRead, to: tuple[str, ...]) -> Plan | None:
        """Reconcile a reading with the books of this moment and apply what follows; None for one that failed."""
        view = read.view
        if view is None:
            return None
        books = self._memory.books()
        calm = self._calm
        if calm is not None and calm.version == self._table.version and calm.sees(books, view, self._queued()):
            return calm.plan
        # Readings overlap widely: what is applied already is left out, and costs one look.
        fills = tuple(one for one in view.fills if not self._is_applied(books, fill_key(one)))
        for fill in fills:
            self._table.know(fill.client_id)
        foreign_fills = [fill for fill in fills if not self._table.is_ours_or_forced(fill)]
        # An account without a past knows nothing of what others hold in it: whatever is not ours is foreign.
        unknown = self._first and books.first_boot and not self._memory.newest_trades() and not books.foreign
        local = LocalView(
            account=self._account,
            orders=self._table.sent_records(self._queued()),
            applied=self._foreign.counted(foreign_fills),
            positions=held(books.positions),
            foreign=None if unknown else self._foreign.legs(),
            absences=self._absences,
        )
        plan = reconcile(
            local, view if len(fills) == len(view.fills) else attrs.evolve(view, fills=fills), self._evidence
        )
        self._absences = plan.absences
        self._carry_out(plan, to)
        for instrument, one in self._foreign.take(plan, read.positions, self._memory.books(), read, to):
            self._held[instrument, one.lot.leg] += one.lot.qty_lots
        if plan.agreed:
            self._first = False
        self._calm = None
        # Fills of others that are counted already stay in sight for long: they change nothing either.
        if plan.is_empty and len(fills) == len(foreign_fills):
            queued = frozenset(self._queued())
            self._calm = _Calm(version=self._table.version, books=books, view=view, queued=queued, plan=plan)
        return plan

    def _is_applied(self, books: Books, key: FillKey) -> bool:
        """Tell whether the positions have a fill: by the journal, or by what is on its way there."""
        return key in books.applied or self._table.is_applied(key)

    def _carry_out(self, plan: Plan, to: tuple[str, ...]) -> None:
        """Adopt, tell the fills and the marks, and keep the cancels for the executor."""
        for record in plan.adopted:
            self._table.remember(record, request_of(record))
        by_instrument: dict[str, list[OrderEvent]] = {}
        for planned in plan.fills:
            fill = planned.fill
            event = OrderEvent(
                kind=OrderEventKind.FILLED,
                client_id=fill.client_id,
                fill=fill,
                qty_lots=self._table.left_after(fill),
            )
            fresh = self._table.fresh(event)
            if fresh is not None:
                by_instrument.setdefault(fill.instrument, []).append(fresh)
        for mark in plan.marks:
            record = self._table.records[mark.client_id]
            by_instrument.setdefault(record.instrument, []).append(_event_of(mark))
        for instrument, events in by_instrument.items():
            self._tell_found(instrument, events, to)
        for cancel in plan.cancels:
            self._cancels.setdefault(cancel.instrument, []).append(cancel.client_id)

    def _tell_found(self, instrument: str, events: list[OrderEvent], to: tuple[str, ...]) -> None:
        """Journal what a reading proved, and tell those who were up already."""
        batch = ExecutionBatch(**self._post.head(), instrument=instrument, mark_ticks=0, events=tuple(events))
        for event in events:
            if event.fill is not None:
                self.count(event.fill)
            self._table.advance(event, batch.ts_venue_ns)
        self._post.publish(batch, *to, *((strategy_name(instrument),) if to else ()))
        self._found.append(batch)

    def take_found(self) -> tuple[ExecutionBatch, ...]:
        """Give, and forget, what readings found and told."""
        found, self._found = tuple(self._found), []
        return found

    # --- what did not agree -----------------------------------------------------------------------------------------

    def _on_failure(self, read: ExchangeRead) -> int:
        """Say once an episode that the exchange cannot be read; wait longer each time."""
        self._failures += 1
        if self._failures == CALLED_AFTER:
            self._report(read, "the exchange cannot be read", {"error": read.error})
        return _unread_wait_ns(read, self._failures - 1)

    def _on_difference(self, read: ExchangeRead, plan: Plan) -> int:
        """Read again soon; what outlives several readings pauses, and is told once an episode."""
        if self._table.fills != read.fills_before and self._raced < RACED_MAX:
            self._raced += 1
            return LOOK_NS
        self._disagreements += 1
        if self._disagreements >= CALLED_AFTER and not self._told:
            self._told = True
            figures = {"differences": _differences(plan)}
            self._report(read, "the exchange and the journal disagree", figures)
            self.raise_gap(read, figures)
        return LOOK_NS if self._disagreements < READS_MAX else LOOK_MAX_NS

    def raise_gap(self, cause: Message, figures: Mapping[str, str]) -> None:
        """Let nothing be added until a reading agrees."""
        if not self.gap:
            self.gap = True
            raised = RaiseReason(
                **self._post.head(cause), reason=Reason.STREAM_GAP, scope=ACCOUNT, figures=dict(figures)
            )
            self._post.publish(raised, RISK)

    def _clear_gap(self, cause: Message) -> None:
        if self.gap:
            self.gap = False
            gone = ClearReason(**self._post.head(cause), reason=Reason.STREAM_GAP, scope=ACCOUNT, figures={})
            self._post.publish(gone, RISK)

    def _report(self, cause: Message, text: str, figures: Mapping[str, str]) -> None:
        self._post.publish(Incident(**self._post.head(cause), actor=EXECUTOR, text=text, figures=figures))

    # --- positions and money ----------------------------------------------------------------------------------------

    def count(self, fill: Fill) -> None:
        """Move our own position; what a fill closes beyond it was not ours."""
        key = (fill.instrument, fill.leg)
        if fill.purpose is Purpose.ENTRY:
            self._held[key] += fill.qty_lots
        else:
            self._held[key] = max(0, self._held[key] - fill.qty_lots)

    def is_early(self, fill: Fill) -> bool:
        """Tell whether a fill closes more than we were told to hold: what it closes is still to be told.

        A reading has both, in the order of the exchange's time. Booked as it came, that entry would stand for ever.
        """
        return fill.purpose is not Purpose.ENTRY and fill.qty_lots > self._held[fill.instrument, fill.leg]

    def is_flat(self, instrument: str) -> bool:
        """Tell whether both legs of an instrument are zero by our books."""
        return self._held[instrument, Leg.LONG] == 0 == self._held[instrument, Leg.SHORT]

    def tell_money(self, changed: AccountChanged) -> None:
        """Tell risk that the exchange spoke of the wallet; money that came or went beside all results is journaled."""
        told = attrs.evolve(changed, **self._post.head(None, changed.ts_venue_ns))
        if told.delta_e8:
            self._post.publish(told, RISK)
        else:
            self._post.send(told, RISK)

    def tell_foreign(self, cause: Message) -> None:
        """Tell a risk actor that is new what the account holds that is not ours."""
        self._foreign.tell_again(cause)

    def _compare_wallets(self, read: ExchangeRead) -> int | None:
        """Compare the wallet that was read with ours; a difference that stays is told with both figures."""
        ours = self._memory.books().balance
        if not self._polled or read.balance is None or ours is None:
            return None
        if self._table.fills != read.fills_before:
            self._post.send(WalletRead(**self._post.head(read), wallet_e8=None), RISK)
            return None
        ours_e8, theirs_e8 = ours.wallet_e8, read.balance.wallet_e8
        judged = wallet.judge(ours_e8=ours_e8, theirs_e8=theirs_e8, last_difference_e8=self._wallet_difference_e8)
        now_ns = read.ts_recv_ns
        if self._wallet_difference_e8 is None:
            self._differs_ns = now_ns
        soon = judged.verdict is wallet.WalletVerdict.UNEXPLAINED and now_ns - self._differs_ns < WALLET_AGAIN_NS
        if soon or judged.verdict is wallet.WalletVerdict.WAIT:
            self._wallet_difference_e8 = judged.difference_e8
            self._post.send(WalletRead(**self._post.head(read), wallet_e8=None), RISK)
            return WALLET_AGAIN_NS
        self._wallet_difference_e8 = None
        word = WalletRead(**self._post.head(read), wallet_e8=theirs_e8, unexplained_e8=judged.difference_e8)
        if judged.difference_e8 == 0:
            self._post.send(word, RISK)
            return None
        self._post.publish(word, RISK)
        if judged.verdict is wallet.WalletVerdict.UNEXPLAINED:
            figures = {"ours_e8": str(ours_e8), "theirs_e8": str(theirs_e8)}
            self._report(word, "the exchange's wallet differs from the books, and nothing explains it", figures)
        return None


def _event_of(mark: Mark) -> OrderEvent:
    """Give what a reading proved of an order as the stream would have said it."""
    kind = mark.event.kind
    amended = kind is LifeEventKind.AMENDED
    return OrderEvent(
        kind=_KIND_OF_MARK[kind],
        client_id=mark.client_id,
        reason=_REASON_OF_MARK.get(kind, EndReason.NOT_FOUND),
        qty_lots=mark.event.qty_lots if amended else 0,
        detail=mark.event.cause,
    )


def _unread_wait_ns(read: ExchangeRead, failures: int) -> int:
    """Give how long to wait after a reading that failed, ``failures`` having failed before it; a ban is sat out."""
    wait_ns = min(LOOK_NS << min(failures, 8), LOOK_MAX_NS)
    return wait_ns if read.until_ns is None else max(wait_ns, read.until_ns - read.ts_recv_ns)


def _differences(plan: Plan) -> str:
    """Give the differences in one line, for a person."""
    return "; ".join(
        f"{one.kind} {one.instrument} {one.leg.name} {one.client_id} ours {one.local_lots} theirs {one.venue_lots}"
        for one in plan.differences
    )
