"""The executor: the only one who speaks to the venue's trading side, and the owner of the order table.

Invariants: it sends nothing but ``Approved`` orders and cancels; what it sends is durable before it is sent; before
anything is sent after a start, the exchange was read and agrees; a fill is passed on once, by (instrument, trade id,
client id); an order whose outcome is not known is never sent again: only the exchange's evidence ends it. The network
never holds up the mailbox: requests run in tasks, and their answers come back as messages.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import attrs

from hedgegrid.actors.dead_mans_switch import SWITCH
from hedgegrid.actors.executor_notes import CountdownSet, ExchangeRead, Job, Sent, StateGathered
from hedgegrid.actors.executor_parts import ExecutorSettings, Parts, Surroundings
from hedgegrid.actors.limits_told import LIMITED
from hedgegrid.actors.post import EXECUTOR, RISK, Post, strategy_name
from hedgegrid.actors.resolving import ANSWERS, LOOK, OVERDUE
from hedgegrid.actors.sender import refused_event
from hedgegrid.actors.sent_tally import SentTally
from hedgegrid.core.order_state import IllegalTransition, OrderState, intent_of, is_terminal
from hedgegrid.messages.commands import ConfirmFlat, Rehydrate, StandDown, Wake
from hedgegrid.messages.events import (
    AccountChanged,
    Approved,
    ApprovedBatch,
    EndReason,
    ExecutionBatch,
    Incident,
    Message,
    OrderEvent,
    OrderEventKind,
    StreamGap,
    VenueReport,
)
from hedgegrid.model.order import Purpose
from hedgegrid.ports import Journal, Memory, Trading
from hedgegrid.runtime.actor import Actor, ActorReading
from hedgegrid.runtime.clock import Clock, TimerHandle
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.runtime.router import Router

ExecutorMessage = (
    ApprovedBatch
    | VenueReport
    | AccountChanged
    | StreamGap
    | Rehydrate
    | StandDown
    | ConfirmFlat
    | Wake
    | Sent
    | ExchangeRead
    | StateGathered
    | CountdownSet
)

READ: Final = "read"
"""In the agenda: the exchange is to be read again, because the last reading failed or did not agree."""
POLL: Final = "poll"
"""In the agenda: the exchange is to be read because nothing has asked for it for a while."""
BREATH_NS: Final = 500_000_000
AGAIN_NS: Final = 250_000_000
"""Least time between two readings: whatever asks for them, the exchange's weight limit must hold."""
AGAIN_FAILED_NS: Final = 2_000_000_000
"""The longest time from a reading that failed to the next where somebody waits for one: the exchange may be down."""
ADOPTED_NS: Final = 1_000_000_000
"""While an adopted position has no stop of ours: when to look again whether what guarded it before may go."""
STUCK_LIMITS: Final = 4
"""Times its limit after which a job that is still being sent is stuck elsewhere: on the disk, or for ever."""
_NOT_HEARD_OF: Final = (OrderState.INTENT, OrderState.SENT)
_STOPS: Final = (Purpose.STOP, Purpose.BACKSTOP)


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
        settings: ExecutorSettings,
        tally: SentTally,
    ) -> None:
        """Trade on ``trading``; ``memory`` is what the journal remembers of the lives before.

        ``tally`` counts what is sent, over all lives of this run.
        """
        super().__init__(mailbox=mailbox, router=router, clock=clock)
        self._post = post
        self._memory = memory
        self._settings = settings
        self._breath: TimerHandle | None = None
        self._reading = False
        self._read_again = False
        self._read_after_ns = 0
        self._aside = 0
        around = Surroundings(
            post=post,
            trading=trading,
            journal=journal,
            memory=memory,
            clock=clock,
            activity=mailbox.activity,
            wake_at=lambda when_ns: self.remind_at(when_ns, Wake(**post.head())),
            spawn=self._beside,
            breathe=self._breathe,
            tally=tally,
        )
        parts = Parts(around, settings)
        self._names = parts.names
        self._agenda = parts.agenda
        self._table = parts.table
        self._resolving = parts.resolving
        self._limits = parts.limits
        self._errors = parts.errors
        self._hydration = parts.hydration
        self._sender = parts.sender
        self._reader = parts.reader
        self._teller = parts.teller
        self._switch = parts.switch
        self._flat = parts.flat

    async def on_start(self) -> None:
        """Read the exchange until it agrees with the books, before anything is sent. Raises Fatal if it never does."""
        self._pulse()
        try:
            await self._hydration.begin(self._read_now, self.clock)
        finally:
            if self._breath is not None:
                self._breath.cancel()
        self._doubt_what_was_not_heard_of()
        for outbox in self._sender.open(self._names):
            self.spawn(outbox.work(), name="outbox")
        self._act_on_plan(Wake(**self._post.head()))
        self._poll_later()
        self._switch.refresh()

    async def on_stop(self) -> None:
        """Let go of what was not sent; a switch that the end of the run takes off is asked for once more."""
        self._sender.close()
        await self._switch.take_off()

    def is_quick(self, message: ExecutorMessage) -> bool:
        """What does not ask the journal's memory is quick: the sending itself has a task of its own."""
        return not isinstance(message, StateGathered | ExchangeRead)

    async def handle(self, message: ExecutorMessage) -> None:
        """Queue what is to be sent, take in what the venue says, or tell where things stand."""
        match message:
            case ApprovedBatch():
                self._queue(message)
            case VenueReport():
                self._on_report(message)
            case Sent():
                self._on_sent(message)
            case Rehydrate():
                self._on_asked(message)
            case StateGathered():
                await self._tell_state(message)
            case ExchangeRead():
                await self._on_read(message)
            case Wake():
                self._on_wake(message)
            case _:
                self._on_account(message)

    def _on_account(self, message: AccountChanged | StreamGap | StandDown | CountdownSet | ConfirmFlat) -> None:
        match message:
            case ConfirmFlat():
                self._flat.ask(message, reading=self._reading)
                self._begin_read()
            case AccountChanged():
                self._hydration.tell_money(message)
            case StreamGap():
                self._hydration.raise_gap(message, {"why": message.why})
                self._begin_read()
            case StandDown():
                self._switch.end()
            case CountdownSet():
                self._switch.on_set(message)

    # --- sending ----------------------------------------------------------------------------------------------------

    def _queue(self, batch: ApprovedBatch) -> None:
        """Put a batch into its instrument's outbox; a full one refuses what adds, and pauses."""
        approved = batch.approved
        refused: tuple[Approved, ...] = ()
        if self._sender.is_full(batch.instrument):
            refused = tuple(one for one in approved if one.request.purpose is Purpose.ENTRY)
            approved = tuple(one for one in approved if one.request.purpose is not Purpose.ENTRY)
            self._limits.raise_overflow(batch, batch.instrument, len(refused))
        is_any = bool(approved or batch.cancels or batch.retires or batch.amends)
        if is_any:
            self._sender.commit(batch.instrument)
        now_ns = self.clock.now_ns()
        for one in (*approved, *refused):
            self._table.remember(intent_of(one.request, now_ns, "approved"), one.request)
        for one in batch.amends:
            self._table.ask(one.request)
        if is_any:
            self._sender.put(
                Job(
                    cause=batch,
                    instrument=batch.instrument,
                    approved=approved,
                    cancels=batch.cancels,
                    retires=batch.retires,
                    amends=batch.amends,
                )
            )
        if refused:
            why = "too much waits to be sent"
            events = [refused_event(one.request, EndReason.NOT_SENT, why) for one in refused]
            self._tell(batch, batch.instrument, 0, events)

    def _on_sent(self, note: Sent) -> None:
        """Tell what came of a job; what is not known is looked at."""
        instrument = note.job.instrument
        # Of an order of which the stream has spoken meanwhile it is no news that its answer was lost.
        events = [
            event
            for event in note.events
            if event.kind is not OrderEventKind.UNKNOWN or self._table.state(event.client_id) in _NOT_HEARD_OF
        ]
        self._errors.of_amends(note)
        events += [event for one in note.amends if (event := self._table.answered(one)) is not None]
        if events:
            self._tell(note.job.cause, instrument, 0, events)
        self._sender.told(note.job)
        self._resolving.lost(instrument, note.lost_cancels)
        self._errors.of_cancels(note)
        self._limits.note_sent(note)
        if not self._sender.is_full(instrument):
            self._limits.clear_overflow(note, instrument)
        self._answer_the_asked()

    # --- what the venue says ----------------------------------------------------------------------------------------

    def _on_report(self, report: VenueReport) -> None:
        """Check a report against the table and pass it on, fills once; what is foreign or early leads to a reading."""
        fresh: list[OrderEvent] = []
        for event in report.events:
            if self._table.is_foreign(event) or (event.fill is not None and self._hydration.is_early(event.fill)):
                self._begin_read()
                continue
            seen = self._table.fresh(event)
            if seen is not None:
                fresh.append(seen)
        if fresh:
            self._tell(report, report.instrument, report.mark_ticks, fresh)

    def _tell(self, cause: Message, instrument: str, mark_ticks: int, events: Sequence[OrderEvent]) -> None:
        """Advance the orders of some events and tell risk and strategy; what the table forbids is reported."""
        self._errors.of_orders(cause, instrument, events)
        told = [event for event in events if self._advance(cause, event)]
        if told:
            batch = ExecutionBatch(
                **self._post.head(cause), instrument=instrument, mark_ticks=mark_ticks, events=tuple(told)
            )
            self._post.publish(batch, RISK, strategy_name(instrument))
            self._limits.call_for_a_person(batch, told)
        if any(event.fill is not None for event in told):
            self._switch.on_fill(instrument)
        self._table.drop_oldest_ended()

    def _advance(self, cause: Message, event: OrderEvent) -> bool:
        """Apply an event; False where nobody else is to hear of it."""
        if event.fill is not None:
            self._hydration.count(event.fill)
        self._flat.heard(reading=self._reading)
        lived, before = self._table.may_live(event.client_id), self._table.records.get(event.client_id)
        after = self._table.advance(event, cause.ts_venue_ns)
        if isinstance(after, IllegalTransition):
            incident = Incident(
                **self._post.head(cause),
                actor=self.name,
                text="the exchange reported what an order's life does not have; the order stands as it was",
                figures={"client_id": event.client_id, "why": after.why},
            )
            self._post.publish(incident)
            return True
        if after is None:
            return True
        self._resolving.note(after)
        if event.kind is OrderEventKind.AMENDED and after is before and not event.reason:
            # The stream and the answer both tell of an amendment: the second of them is no news.
            return after.purpose is not Purpose.ENTRY
        # A cancel that failed though its order had not ended: the order lives, or has ended in a way that nobody told.
        # Either is looked up here; only of a stop that was to be replaced somebody else must know that it stands.
        failed = event.kind is OrderEventKind.CANCEL_FAILED and lived and not is_terminal(after.state)
        return not failed or (after.purpose in _STOPS and after.state is not OrderState.UNKNOWN)

    # --- reading the exchange ---------------------------------------------------------------------------------------

    async def _read_now(self) -> ExchangeRead:
        return await self._reader.read(self._memory.books().fill_cursors, self._sender.queued)

    def _begin_read(self) -> None:
        """Have the exchange read beside the mailbox; where a reading is under way, once more after it."""
        if self._reading:
            self._read_again = True
            return
        if self.clock.now_ns() < self._read_after_ns:
            # What is asked while a ban stands makes it longer.
            self._agenda.put_first(READ, self._read_after_ns)
            return
        self._reading = True
        self._beside(self._read_aside(), "reading")

    async def _read_aside(self) -> None:
        self._post.send(await self._read_now(), EXECUTOR)

    async def _on_read(self, read: ExchangeRead) -> None:
        """Apply a reading, act on it, and read again where that is needed."""
        self._reading = False
        wait_ns = await self._hydration.take(read, after_gap=not self._read_again)
        self._call_for_a_person()
        if read.view is not None:
            self._note_all()
            for instrument, events in self._table.settled().items():
                self._tell(read, instrument, 0, events)
        if read.view is None and read.until_ns is not None:
            self._limits.raise_limited(read, read.until_ns)
            self._read_after_ns = read.until_ns
        self._errors.of_reading(read)
        self._act_on_plan(read)
        self._resolving.looked(read)
        if self._flat.look(read) or self._read_again:
            self._read_again = False
            wait_ns = AGAIN_NS if read.view is not None else min(wait_ns or 0, AGAIN_FAILED_NS)
        if wait_ns is not None:
            self._agenda.put_first(READ, self.clock.now_ns() + wait_ns)
        self._poll_later()
        self._answer_the_asked()

    def _call_for_a_person(self) -> None:
        """Say of what readings found that trading may not just go on: forced closes of which no stream told."""
        for batch in self._hydration.take_found():
            self._limits.call_for_a_person(batch, batch.events)

    def _act_on_plan(self, cause: Message) -> None:
        """Cancel what a reading has shown to be too much, and what should have been cancelled before."""
        cancels = self._hydration.take_cancels()
        if self._hydration.has_bare:
            self._agenda.put_first(READ, self.clock.now_ns() + ADOPTED_NS)
        for instrument, names in self._resolving.again().items():
            cancels.setdefault(instrument, []).extend(names)
        for instrument, names in cancels.items():
            self._sender.put(Job(cause=cause, instrument=instrument, cancels=tuple(dict.fromkeys(names))))

    def _doubt_what_was_not_heard_of(self) -> None:
        """An intent of an earlier life that no source shows yet may still arrive: its outcome is not known."""
        silent = [one for one in self._table.live.values() if one.state in _NOT_HEARD_OF]
        for record in silent:
            event = OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=record.client_id)
            batch = ExecutionBatch(**self._post.head(), instrument=record.instrument, mark_ticks=0, events=(event,))
            self._advance(batch, event)
            self._post.publish(batch)
        self._note_all()

    def _note_all(self) -> None:
        """Look through the table after a reading has changed it."""
        self._resolving.note_all()
        for name in self._names:
            self._switch.on_fill(name)

    def _poll_later(self) -> None:
        if self._settings.poll_ns is not None:
            self._agenda.put(POLL, self.clock.now_ns() + self._settings.poll_ns)

    # --- where things stand -----------------------------------------------------------------------------------------

    def _on_asked(self, asked: Rehydrate) -> None:
        """Answer once all that was asked for before has been sent; on a polled venue after a fresh reading."""
        self._teller.ask(asked)
        if asked.instrument and self._settings.polled:
            self._begin_read()
        self._answer_the_asked()

    def _answer_the_asked(self) -> None:
        for asked in self._teller.ready(self._sender.is_idle, reading=self._reading):
            self._beside(self._teller.gather(asked), "gathering")

    async def _tell_state(self, gathered: StateGathered) -> None:
        memory = await self._memory.recall()
        if not gathered.asked.instrument:
            self._hydration.tell_foreign(gathered)
        self._teller.tell(gathered, memory, foreign_orders=self._hydration.foreign_orders)
        if not gathered.asked.instrument:
            # Found at the start, when there was no risk to hear of it.
            self._call_for_a_person()

    # --- time -------------------------------------------------------------------------------------------------------

    def _on_wake(self, wake: Wake) -> None:
        """Do what is due."""
        for name in self._agenda.due():
            match name:
                case _ if name in (READ, POLL, LOOK):
                    self._begin_read()
                case _ if name == ANSWERS:
                    if self._resolving.doubt_the_overdue():
                        self._begin_read()
                case _ if name == OVERDUE:
                    self._resolving.judge(wake)
                case _ if name == SWITCH:
                    self._switch.refresh()
                case _ if name == LIMITED:
                    self._limits.clear_limited(wake)

    def _beside(self, body: Coroutine[Any, Any, None], name: str) -> None:
        """Run a request beside the mailbox, counted in the activity until its note is in the mailbox."""
        self.mailbox.activity.begin()
        self._aside += 1
        self.spawn(body, name=name).add_done_callback(self._on_aside_ended)

    def _on_aside_ended(self, _task: asyncio.Task[None]) -> None:
        self._aside -= 1
        self.progress += 1
        self.mailbox.activity.end()

    def reading(self) -> ActorReading:
        """Return how far this actor has come; what waits to be sent is work, and each request that ended is progress.

        Where requests have a limit, one that is still awaited within it is no sign of trouble.
        """
        seen = super().reading()
        limit_ns = self._settings.request_limit_ns
        if limit_ns is not None and self.clock.now_ns() - self._sender.moved_ns <= STUCK_LIMITS * limit_ns:
            return seen
        return attrs.evolve(seen, depth=seen.depth + self._sender.depth + self._aside)

    def answers(self) -> bool:
        """Whether the outboxes move: one whose job does not end sends nothing, though the mailbox is read."""
        limit_ns = self._settings.request_limit_ns
        if limit_ns is None or self._sender.depth == 0:
            return True
        return self.clock.now_ns() - self._sender.moved_ns <= STUCK_LIMITS * limit_ns

    def _breathe(self) -> None:
        """Show progress: an answer came."""
        self.progress += 1

    def _pulse(self) -> None:
        """Show progress while a start waits for the exchange: its requests are bounded, it does not hang."""
        self._breathe()
        self._breath = self.clock.call_at(self.clock.now_ns() + BREATH_NS, self._pulse)
