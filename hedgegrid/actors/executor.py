"""The executor: the only one who speaks to the venue's trading side, and the owner of the order table.

Invariants: it sends nothing but ``Approved`` orders and cancels; what it sends is durable before it is sent; before
anything is sent after a start, the exchange was read and agrees; a fill is passed on once, by (instrument, trade id,
client id); an order whose outcome is not known is never sent again: only the exchange's evidence ends it.
"""

from collections import OrderedDict
from collections.abc import Sequence

from hedgegrid.actors.post import RISK, Post, strategy_name
from hedgegrid.core.order_state import (
    IllegalTransition,
    LifeEvent,
    LifeEventKind,
    OrderRecord,
    advance,
    intent_of,
    is_live,
    is_terminal,
    life_event,
)
from hedgegrid.core.pause import Reason
from hedgegrid.core.reconcile import reconcile
from hedgegrid.core.reconcile_views import Absence, EvidenceRule, FillKey, LocalView, Plan, VenueView, fill_key, held
from hedgegrid.errors import Fatal, OutcomeUnknown, Rejected, Transient
from hedgegrid.messages.commands import ClearReason, RaiseReason, Rehydrate, Wake
from hedgegrid.messages.events import (
    AccountHydrated,
    Approved,
    ApprovedBatch,
    EndReason,
    ExecutionBatch,
    Hydrated,
    Incident,
    Message,
    OrderEvent,
    OrderEventKind,
    VenueReport,
)
from hedgegrid.model.order import Kind, OpenOrder, OrderRequest
from hedgegrid.ports import Journal, Memory, Recollection, Trading
from hedgegrid.runtime.actor import Actor
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.runtime.router import Router

ExecutorMessage = ApprovedBatch | VenueReport | Rehydrate | Wake

APPLIED_KEPT = 20_000
ENDED_KEPT = 2_000
"""Ended orders kept for late fills; older ones are in the journal."""
READS_MAX = 10
RETRY_NS = 1_000_000_000
_KIND_OF_MARK = {
    LifeEventKind.ACCEPTED: OrderEventKind.ACCEPTED,
    LifeEventKind.FOUND_WORKING: OrderEventKind.ACCEPTED,
    LifeEventKind.REJECTED: OrderEventKind.REJECTED,
    LifeEventKind.EXPIRED: OrderEventKind.EXPIRED,
    LifeEventKind.CANCELLED: OrderEventKind.CANCELLED,
    LifeEventKind.FOUND_DEAD: OrderEventKind.CANCELLED,
}


class Executor(Actor[ExecutorMessage]):
    """Orders of one account."""

    def __init__(
        self,
        *,
        mailbox: Mailbox[ExecutorMessage],
        router: Router,
        clock: Clock,
        post: Post,
        trading: Trading,
        journal: Journal,
        memory: Memory,
        account: str,
        evidence: EvidenceRule,
    ) -> None:
        """``evidence``: when an order that no source shows counts as dead."""
        super().__init__(mailbox=mailbox, router=router, clock=clock)
        self._post = post
        self._trading = trading
        self._journal = journal
        self._memory = memory
        self._account = account
        self._evidence = evidence
        self._records: OrderedDict[str, OrderRecord] = OrderedDict()
        self._requests: dict[str, OrderRequest] = {}
        self._applied: OrderedDict[FillKey, None] = OrderedDict()
        self._absences: tuple[Absence, ...] = ()
        self._foreign_orders = 0
        self._in_doubt: set[str] = set()
        self._ended = 0

    async def on_start(self) -> None:
        """Read the exchange until it agrees with the books, before anything is sent. Raises Fatal if it never does."""
        plan = await self._read_and_apply(())
        for _ in range(READS_MAX - 1):
            if plan.agreed and not plan.unresolved:
                return
            await self.clock.sleep(RETRY_NS)
            plan = await self._read_and_apply(())
        if plan.agreed and not plan.unresolved:
            return
        differences = "; ".join(
            f"{one.kind} {one.instrument} {one.leg.name} {one.client_id} ours {one.local_lots} theirs {one.venue_lots}"
            for one in plan.differences
        )
        raise Fatal(
            f"the exchange and the journal disagree after {READS_MAX} reads: {differences or plan.unresolved}; "
            "look at the account, then start again"
        )

    async def handle(self, message: ExecutorMessage) -> None:
        """Send, take in what the venue says, or tell where things stand."""
        match message:
            case ApprovedBatch():
                await self._execute(message)
            case VenueReport():
                self._on_report(message)
            case Rehydrate():
                await self._tell_state(message)
            case Wake():
                await self._resolve(message)

    # --- sending ----------------------------------------------------------------------------------------------------

    async def _execute(self, batch: ApprovedBatch) -> None:
        """Make the batch durable, then send cancels, placements and retirements."""
        now_ns = self.clock.now_ns()
        sendable: list[OrderRequest] = []
        said: list[OrderEvent] = []
        for approved in batch.approved:
            if now_ns > approved.expires_ns and not self._reduces(approved):
                said.append(self._ended_event(approved.request, EndReason.EXPIRED_APPROVAL))
                continue
            self._remember(intent_of(approved.request, now_ns, "approved"), approved.request)
            sendable.append(approved.request)
        await self._journal.commit()
        retires = tuple(client_id for client_id in batch.retires if self._may_live(client_id))
        try:
            if batch.cancels:
                self._advance_all(batch.cancels, LifeEventKind.CANCEL_SENT, now_ns)
                await self._trading.cancel(batch.instrument, batch.cancels)
            if sendable or retires:
                self._advance_all([r.client_id for r in sendable], LifeEventKind.SENT, now_ns)
                self._advance_all(retires, LifeEventKind.CANCEL_SENT, now_ns)
                answers = await self._trading.place(batch.instrument, sendable, retires)
                said.extend(answer for answer in answers if answer.kind is not OrderEventKind.ACCEPTED)
        except (Transient, Rejected):
            said.extend(self._ended_event(request, EndReason.REFUSED) for request in sendable)
        except OutcomeUnknown:
            said.extend(OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=r.client_id) for r in sendable)
        if said:
            self._tell(batch, batch.instrument, 0, said)

    @staticmethod
    def _reduces(approved: Approved) -> bool:
        """Tell whether an approval is of a reducing order, which is never too old to protect."""
        return approved.request.purpose.value != 0

    @staticmethod
    def _ended_event(request: OrderRequest, reason: EndReason) -> OrderEvent:
        return OrderEvent(kind=OrderEventKind.REJECTED, client_id=request.client_id, reason=reason)

    def _may_live(self, client_id: str) -> bool:
        record = self._records.get(client_id)
        return record is not None and not is_terminal(record.state)

    def _remember(self, record: OrderRecord, request: OrderRequest) -> None:
        self._records[record.client_id] = record
        self._requests[record.client_id] = request

    def _advance_all(self, client_ids: Sequence[str], kind: LifeEventKind, now_ns: int) -> None:
        for client_id in client_ids:
            record = self._records.get(client_id)
            if record is not None and not is_terminal(record.state):
                after = advance(record, LifeEvent(kind=kind, ts_ns=now_ns, cause=kind.value))
                if isinstance(after, OrderRecord):
                    self._records[client_id] = after

    # --- what the venue says ----------------------------------------------------------------------------------------

    def _on_report(self, report: VenueReport) -> None:
        """Check a report against the table and pass it on, fills once."""
        fresh = [event for event in report.events if self._is_fresh(event)]
        if fresh:
            self._tell(report, report.instrument, report.mark_ticks, fresh)

    def _is_fresh(self, event: OrderEvent) -> bool:
        """Note a fill; False where it was applied already."""
        if event.fill is None:
            return True
        key = fill_key(event.fill)
        if key in self._applied:
            return False
        self._applied[key] = None
        if len(self._applied) > APPLIED_KEPT:
            self._applied.popitem(last=False)
        return True

    def _tell(self, cause: Message, instrument: str, mark_ticks: int, events: Sequence[OrderEvent]) -> None:
        """Advance the orders of some events and tell risk and strategy; what the table forbids is reported."""
        for event in events:
            self._advance(cause, event)
        batch = ExecutionBatch(
            **self._post.head(cause), instrument=instrument, mark_ticks=mark_ticks, events=tuple(events)
        )
        self._post.publish(batch, RISK, strategy_name(instrument))
        unknown = [event.client_id for event in events if event.kind is OrderEventKind.UNKNOWN]
        if unknown:
            self._begin_resolving(cause, instrument, unknown)
        self._drop_oldest_ended()

    def _advance(self, cause: Message, event: OrderEvent) -> None:
        record = self._records.get(event.client_id)
        if record is None:
            return
        after = advance(record, life_event(record, event, cause.ts_venue_ns))
        if isinstance(after, IllegalTransition):
            incident = Incident(
                **self._post.head(cause),
                actor=self.name,
                text="the exchange reported what an order's life does not have; the order stands as it was",
                figures={"client_id": event.client_id, "why": after.why},
            )
            self._post.publish(incident)
            return
        if is_terminal(after.state) and not is_terminal(record.state):
            self._ended += 1
        self._records[event.client_id] = after

    def _drop_oldest_ended(self) -> None:
        """Keep the table bounded: forget the oldest of the orders that ended."""
        if self._ended <= 2 * ENDED_KEPT:
            return
        ended = [client_id for client_id, record in self._records.items() if is_terminal(record.state)]
        for client_id in ended[:-ENDED_KEPT]:
            del self._records[client_id]
            del self._requests[client_id]
        self._ended = min(len(ended), ENDED_KEPT)

    # --- orders whose outcome is not known --------------------------------------------------------------------------

    def _begin_resolving(self, cause: Message, instrument: str, client_ids: Sequence[str]) -> None:
        """Pause the instrument, and look at the exchange in a while; the order is never sent again."""
        self._in_doubt.add(instrument)
        raised = RaiseReason(
            **self._post.head(cause),
            reason=Reason.UNKNOWN_ORDER,
            scope=instrument,
            figures={"orders": str(len(client_ids)), "first": client_ids[0]},
        )
        self._post.publish(raised, RISK)
        self.remind_at(self.clock.now_ns() + RETRY_NS, Wake(**self._post.head(cause)))

    async def _resolve(self, wake: Wake) -> None:
        """Read the exchange and tell what it proves; look again while anything is unresolved."""
        plan = await self._read_and_apply((RISK,))
        if plan.unresolved or not plan.agreed:
            self.remind_at(self.clock.now_ns() + RETRY_NS, Wake(**self._post.head(wake)))
            return
        for instrument in sorted(self._in_doubt):
            gone = ClearReason(**self._post.head(wake), reason=Reason.UNKNOWN_ORDER, scope=instrument, figures={})
            self._post.publish(gone, RISK)
        self._in_doubt.clear()

    # --- hydration --------------------------------------------------------------------------------------------------

    async def _read_and_apply(self, to: tuple[str, ...]) -> Plan:
        """Read the exchange, plan how to agree, and apply it.

        The events go to ``to`` and the strategies where it is given.
        """
        memory = await self._memory.recall()
        if not self._records:
            for remembered in memory.orders:
                self._remember(remembered.record, remembered.request)
        venue = await self._read_venue(memory)
        local = LocalView(
            account=self._account,
            orders=tuple(self._records.values()),
            applied=memory.applied | frozenset(self._applied),
            positions=memory.positions,
            foreign=None if memory.first_boot else (),
            absences=self._absences,
        )
        plan = reconcile(local, venue, self._evidence)
        await self._apply(plan, to)
        return plan

    async def _read_venue(self, memory: Recollection) -> VenueView:
        """Read both lists, the fills and the positions; the fills again where they moved in between."""
        fills = await self._trading.fills_since(memory.fill_cursors)
        orders = await self._trading.open_orders()
        stops = await self._trading.open_stops()
        positions = await self._trading.positions()
        return VenueView(
            read_ns=self.clock.now_ns(),
            limit_orders=orders,
            stop_orders=stops,
            fills=fills,
            positions=held(positions),
        )

    async def _apply(self, plan: Plan, to: tuple[str, ...]) -> None:
        """Carry a plan out: adopt, fills, marks, then cancels."""
        self._absences = plan.absences
        self._foreign_orders = len(plan.foreign_orders)
        for record in plan.adopted:
            self._remember(record, _request_of(record))
        by_instrument: dict[str, list[OrderEvent]] = {}
        for planned in plan.fills:
            event = OrderEvent(
                kind=OrderEventKind.FILLED,
                client_id=planned.fill.client_id,
                fill=planned.fill,
                qty_lots=self._left_after(planned.fill.client_id, planned.fill.qty_lots),
            )
            if self._is_fresh(event):
                by_instrument.setdefault(planned.fill.instrument, []).append(event)
        for mark in plan.marks:
            kind = _KIND_OF_MARK.get(mark.event.kind)
            if kind is not None:
                lives = mark.event.kind is LifeEventKind.FOUND_WORKING
                reason = EndReason.FOUND if lives else EndReason.NOT_FOUND
                event = OrderEvent(kind=kind, client_id=mark.client_id, reason=reason)
                by_instrument.setdefault(self._records[mark.client_id].instrument, []).append(event)
        for instrument, events in by_instrument.items():
            self._tell_found(instrument, events, to)
        for cancel in plan.cancels:
            await self._trading.cancel(cancel.instrument, [cancel.client_id])
        await self._journal.commit()

    def _left_after(self, client_id: str, qty_lots: int) -> int:
        record = self._records.get(client_id)
        return 0 if record is None else max(0, record.remaining_lots - qty_lots)

    def _tell_found(self, instrument: str, events: Sequence[OrderEvent], to: tuple[str, ...]) -> None:
        """Journal what a read of the exchange proved, and tell those who were up already."""
        head = self._post.head()
        batch = ExecutionBatch(**head, instrument=instrument, mark_ticks=0, events=tuple(events))
        for event in events:
            self._advance(batch, event)
        self._post.publish(batch, *to, *((strategy_name(instrument),) if to else ()))

    async def _tell_state(self, message: Rehydrate) -> None:
        """Answer a rehydration: one instrument to its strategy, all of them to risk."""
        memory = await self._memory.recall()
        positions = await self._trading.positions()
        for instrument in self._trading.instruments():
            if message.instrument not in ("", instrument.name):
                continue
            word = Hydrated(
                **self._post.head(message),
                instrument=instrument.name,
                positions=tuple(p for p in positions if p.instrument == instrument.name),
                orders=tuple(self._open_orders(instrument.name)),
                lots=memory.lots.get(instrument.name, ()),
                unbooked=memory.unbooked.get(instrument.name, ()),
                grid=memory.grids.get(instrument.name),
                mark_ticks=await self._trading.mark_ticks(instrument.name) or 0,
                next_order_no=memory.next_sequence,
            )
            self._post.publish(word, strategy_name(instrument.name) if message.instrument else RISK)
        if not message.instrument:
            balance = await self._trading.balance()
            done = AccountHydrated(**self._post.head(message), balance=balance, foreign_orders=self._foreign_orders)
            self._post.publish(done, RISK)

    def _open_orders(self, instrument: str) -> list[OpenOrder]:
        """Give our live orders of an instrument, with what only we know about them."""
        found: list[OpenOrder] = []
        for record in self._records.values():
            if record.instrument != instrument or not is_live(record.state):
                continue
            request = self._requests[record.client_id]
            found.append(
                OpenOrder(
                    client_id=record.client_id,
                    instrument=instrument,
                    leg=record.leg,
                    purpose=record.purpose,
                    kind=request.kind,
                    price_ticks=record.price_ticks,
                    qty_lots=record.qty_lots,
                    filled_lots=record.filled_lots,
                    close_all=record.close_all,
                    created_ns=record.created_ns,
                    level=record.level,
                    generation=record.generation,
                    covers=request.covers,
                    tp_micro=request.tp_micro,
                    step_micro=request.step_micro,
                )
            )
        return found


def _request_of(record: OrderRecord) -> OrderRequest:
    """Give the request of an order that was found under our id and is not in the journal.

    What it covers is not known.
    """
    return OrderRequest(
        client_id=record.client_id,
        instrument=record.instrument,
        leg=record.leg,
        purpose=record.purpose,
        kind=Kind.LIMIT if record.purpose.value <= 1 else Kind.STOP_MARKET,
        price_ticks=record.price_ticks,
        qty_lots=record.qty_lots,
        post_only=False,
        close_all=record.close_all,
        level=record.level,
        generation=record.generation,
        decided_ns=record.created_ns,
    )
