"""The executor's outboxes, and how a job is sent: made durable, marked, asked of the venue, answered by a note.

Invariants: nothing is sent before the journal has it on disk; an entry whose approval has expired by the time that its
turn comes, or for which there must be no new risk now, is not sent: that is asked right before each request leaves; an
exit that would close more than its leg holds by now is not sent either, and the stops that it was to replace stay; of
what was asked for there is one answer each.
"""

from collections.abc import Awaitable, Callable, Iterable

import attrs

from hedgegrid.actors.executor_notes import Job, Sent
from hedgegrid.actors.order_table import OrderTable
from hedgegrid.actors.outbox import Outbox, within
from hedgegrid.actors.post import EXECUTOR, Post
from hedgegrid.actors.resolving import Resolving
from hedgegrid.actors.sent_tally import SentTally
from hedgegrid.core.client_id import parse_client_id
from hedgegrid.core.order_state import LifeEventKind
from hedgegrid.errors import HedgegridError, OutcomeUnknown, Rejected, Transient
from hedgegrid.messages.events import Approved, EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Kind, OrderRequest, Purpose
from hedgegrid.ports import Journal, Trading
from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.together import together


@attrs.define(kw_only=True)
class _Answer:
    """What becomes of a job while it is being sent."""

    events: list[OrderEvent] = attrs.field(factory=list)
    lost_cancels: list[str] = attrs.field(factory=list)
    amends: list[OrderEvent] = attrs.field(factory=list)


class Sender:
    """The outboxes of one account, one an instrument."""

    def __init__(
        self,
        *,
        trading: Trading,
        journal: Journal,
        clock: Clock,
        post: Post,
        table: OrderTable,
        resolving: Resolving,
        activity: Activity,
        limit_ns: int | None,
        bars: Callable[[str], str],
        tally: SentTally,
    ) -> None:
        """``limit_ns``: how long a request may take.

        ``bars`` tells why nothing may be added for an instrument at this moment, "" where it may.
        """
        self._trading = trading
        self._journal = journal
        self._clock = clock
        self._post = post
        self._table = table
        self._resolving = resolving
        self._activity = activity
        self._limit_ns = limit_ns
        self._bars = bars
        self._tally = tally
        self._boxes: dict[str, Outbox[Job]] = {}
        self._begun: dict[str, Awaitable[None]] = {}
        """The commits of jobs that are begun and come next, by instrument."""
        self._committing: dict[str, Awaitable[None]] = {}
        """The commits of jobs that are put next."""
        self.queued: set[str] = set()
        """Orders that wait to be sent, and those that were kept back until that is told."""
        self.moved_ns = clock.now_ns()
        """When the newest job was begun, or ended."""

    def open(self, instruments: Iterable[str]) -> tuple[Outbox[Job], ...]:
        """Make the outboxes; somebody has to let them work."""
        self._boxes = {name: Outbox(self._send, self._activity) for name in instruments}
        return tuple(self._boxes.values())

    def close(self) -> None:
        """Let go of what was not sent."""
        for name, box in self._boxes.items():
            box.close()
            self._trading.prepare(name, (), ())

    def commit(self, instrument: str) -> None:
        """Begin to write the intents of the job that is put next, where its turn comes at once: nothing else is urgent.

        Fatal where the journal has failed.
        """
        if self._boxes[instrument].depth == 0:
            self._committing[instrument] = self._journal.commit()

    def put(self, job: Job) -> None:
        """Take a job. Fatal where the journal has failed."""
        self.queued.update(one.request.client_id for one in job.approved)
        box = self._boxes[job.instrument]
        if box.depth == 0:
            # Its turn is the next: neither the disk nor what can be done meanwhile need wait for that.
            self._begun[job.instrument] = self._begin(job)
        box.put(job)

    def is_full(self, instrument: str) -> bool:
        """Tell whether an outbox takes no more entries."""
        return self._boxes[instrument].is_full

    def is_idle(self, instrument: str) -> bool:
        """Tell whether nothing of an instrument ("": of any) waits or is being sent."""
        boxes = self._boxes.values() if instrument == "" else (self._boxes[instrument],)
        return all(box.depth == 0 for box in boxes)

    @property
    def depth(self) -> int:
        """Jobs that wait or are being sent, of all instruments."""
        return sum(box.depth for box in self._boxes.values())

    async def _send(self, job: Job) -> None:
        """Send a job, and bring its answer to the mailbox."""
        self.moved_ns = self._clock.now_ns()
        await (self._begun.pop(job.instrument, None) or self._begin(job))
        answer = _Answer()
        # No placement of a batch waits for a cancel of it (a rung that does is sent after the confirmation), so both
        # are under way at once, the cancels first.
        calls = [self._cancel(job, answer)] if job.cancels else []
        if job.approved or job.retires:
            calls.append(self._place(job, answer))
        if job.amends:
            calls.append(self._amend(job, answer))
        await together(*calls)
        note = Sent(
            **self._post.head(job.cause),
            job=job,
            events=tuple(answer.events),
            lost_cancels=tuple(answer.lost_cancels),
            amends=tuple(answer.amends),
        )
        self._post.send(note, EXECUTOR)
        self.moved_ns = self._clock.now_ns()

    def _begin(self, job: Job) -> Awaitable[None]:
        """Begin to make a job durable; while the disk takes its time, do what can be done without sending anything."""
        durable = self._committing.pop(job.instrument, None) or self._journal.commit()
        requests = [one.request for one in job.approved]
        if requests or job.cancels:
            self._trading.prepare(job.instrument, requests, job.cancels)
        now_ns = self._trading.venue_ns()
        self._table.mark([one.client_id for one in requests], LifeEventKind.SENT, now_ns)
        self._table.mark(job.cancels, LifeEventKind.CANCEL_SENT, now_ns)
        return durable

    def _due(self, job: Job, answer: _Answer) -> list[OrderRequest]:
        """Give what is to be sent now; what is too late, or does not reduce any more, has ended."""
        now_ns = self._clock.now_ns()
        due: list[OrderRequest] = []
        for one in job.approved:
            request = one.request
            entry = request.purpose is Purpose.ENTRY
            refusal = self._too_late(one, now_ns) if entry else self._too_much(request)
            if refusal is None:
                self.queued.discard(request.client_id)
                due.append(request)
            else:
                answer.events.append(refusal)
        return due

    def _too_much(self, request: OrderRequest) -> OrderEvent | None:
        """Refuse an exit that would close more than its leg holds, now that its turn has come."""
        if self._table.reduces(request, self.queued):
            return None
        return refused_event(request, EndReason.NOT_SENT, "it would close more than its leg holds by now")

    def _due_retires(self, job: Job, requests: list[OrderRequest], answer: _Answer) -> tuple[str, ...]:
        """Give the stops to be retired now: where a reduction that was to take their place is kept back they stay."""
        alive = [name for name in job.retires if self._table.may_live(name)]
        sent = {request.client_id for request in requests}
        kept_back = [one.request for one in job.approved if one.request.client_id not in sent]
        bare = {one.leg for one in kept_back if one.kind is Kind.MARKET}
        kept = [name for name in alive if bare and (parts := parse_client_id(name)) is not None and parts.leg in bare]
        if kept:
            self._table.mark(kept, LifeEventKind.CANCEL_SENT, self._trading.venue_ns())
            answer.events.extend(_kept_event(name) for name in kept)
        return tuple(name for name in alive if name not in kept)

    def told(self, job: Job) -> None:
        """Take note that what became of a job has been told."""
        self.queued.difference_update(one.request.client_id for one in job.approved)

    def _due_amends(self, job: Job, answer: _Answer) -> list[OrderRequest]:
        """Give the amendments to be sent now: of what still lives, as long as an entry might be sent."""
        now_ns = self._clock.now_ns()
        due: list[OrderRequest] = []
        for one in job.amends:
            if not self._table.may_live(one.request.client_id):
                continue
            refusal = self._too_late(one, now_ns)
            if refusal is None:
                due.append(one.request)
            else:
                answer.amends.append(refusal)
        return due

    def _too_late(self, one: Approved, now_ns: int) -> OrderEvent | None:
        """Refuse what adds where its approval has expired, or nothing may be added now."""
        request = one.request
        if now_ns > one.expires_ns:
            return refused_event(request, EndReason.EXPIRED_APPROVAL, "")
        why = self._bars(request.instrument)
        return refused_event(request, EndReason.NOT_SENT, why) if why else None

    async def _cancel(self, job: Job, answer: _Answer) -> None:
        """Ask for cancels; what was not taken is told, what nobody knows is looked at."""
        self._resolving.sent(job.instrument, job.cancels)
        try:
            await within(self._clock, self._limit_ns, self._trading.cancel(job.instrument, job.cancels))
        except (Transient, Rejected) as error:
            answer.events.extend(not_cancelled_event(name, error) for name in job.cancels)
        except OutcomeUnknown:
            answer.lost_cancels.extend(job.cancels)

    async def _place(self, job: Job, answer: _Answer) -> None:
        """Send the orders that are due in this moment, and retire stops once they stand."""
        requests = self._due(job, answer)
        retires = self._due_retires(job, requests, answer)
        if not requests and not retires:
            self._trading.prepare(job.instrument, (), ())
            return
        now_ns = self._trading.venue_ns()
        self._table.mark(retires, LifeEventKind.CANCEL_SENT, now_ns)
        self._resolving.sent(job.instrument, ())
        for request in requests:
            self._tally.note(request)
        try:
            answers = await within(self._clock, self._limit_ns, self._trading.place(job.instrument, requests, retires))
        except (Transient, Rejected) as error:
            reason, until_ns = _why(error)
            answer.events.extend(refused_event(one, reason, str(error), until_ns) for one in requests)
            answer.events.extend(not_cancelled_event(name, error) for name in retires)
        except OutcomeUnknown as error:
            answer.events.extend(
                OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=request.client_id, detail=str(error))
                for request in requests
            )
            answer.lost_cancels.extend(retires)
        else:
            assert len(answers) == len(requests), "one answer a request"
            answer.events.extend(one for one in answers if one.kind is not OrderEventKind.ACCEPTED)

    async def _amend(self, job: Job, answer: _Answer) -> None:
        """Ask for the amendments that are due in this moment; what became of each is in its answer."""
        requests = self._due_amends(job, answer)
        if not requests:
            return
        for request in requests:
            self._tally.note(request)
        try:
            answers = await within(self._clock, self._limit_ns, self._trading.amend(job.instrument, requests))
        except (Transient, Rejected) as error:
            reason, until_ns = _why(error)
            answer.amends.extend(refused_event(one, reason, str(error), until_ns) for one in requests)
        except OutcomeUnknown as error:
            answer.amends.extend(
                OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=one.client_id, detail=str(error)) for one in requests
            )
        else:
            assert len(answers) == len(requests), "one answer a request"
            answer.amends.extend(answers)


def _why(error: HedgegridError) -> tuple[EndReason, int]:
    """Give why a request was not taken, and until when where a limit kept it back (0: nobody said)."""
    until_ns: int | None = getattr(error, "until_ns", None)
    return (EndReason.REFUSED, 0) if until_ns is None else (EndReason.RATE_LIMITED, until_ns)


def not_cancelled_event(client_id: str, error: HedgegridError) -> OrderEvent:
    """Give the word that an order's cancel was not taken, as the error of the request says."""
    reason, until_ns = _why(error)
    kind = OrderEventKind.CANCEL_FAILED
    return OrderEvent(kind=kind, client_id=client_id, reason=reason, detail=str(error), until_ns=until_ns)


def _kept_event(client_id: str) -> OrderEvent:
    """Give the word that an order's cancel was kept back."""
    why = "what was to take its place was kept back"
    return OrderEvent(kind=OrderEventKind.CANCEL_FAILED, client_id=client_id, reason=EndReason.NOT_SENT, detail=why)


def refused_event(request: OrderRequest, reason: EndReason, detail: str, until_ns: int = 0) -> OrderEvent:
    """Give the end of an order that was not sent, or not accepted."""
    kind = OrderEventKind.REJECTED
    return OrderEvent(kind=kind, client_id=request.client_id, reason=reason, detail=detail, until_ns=until_ns)
