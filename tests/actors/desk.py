"""An executor alone, on a fake venue, with a real journal, in virtual time: what goes in, what comes out.

Invariants: nothing of the executor is replaced; risk and strategy are ears that only hear; time moves when a test says
so, never by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs

from hedgegrid.actors.executor import Executor
from hedgegrid.actors.executor_parts import ExecutorSettings
from hedgegrid.actors.mailboxes import mailbox_maker
from hedgegrid.actors.permits import Permits
from hedgegrid.actors.post import EXECUTOR, RISK, Post, strategy_name
from hedgegrid.actors.sent_tally import SentTally
from hedgegrid.core import risk
from hedgegrid.core.client_id import client_id
from hedgegrid.core.reconcile_views import EvidenceRule
from hedgegrid.journal.journal import SqliteJournal
from hedgegrid.journal.memory import JournalMemory
from hedgegrid.messages.commands import ClearReason, RaiseReason
from hedgegrid.messages.events import (
    Approved,
    ApprovedBatch,
    ExecutionBatch,
    Incident,
    Message,
    OrderEvent,
    OrderEventKind,
    VenueReport,
)
from hedgegrid.model.order import Cover, Kind, Leg, OrderRequest, Purpose
from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.runtime.mailbox import Delivery
from hedgegrid.runtime.router import Router
from tests.actors.fake_venue import FakeTrading, told
from tests.journal.life import BTC, ETH, START_NS, WALLET_E8, opened

SECOND = 1_000_000_000
EVIDENCE = EvidenceRule(validity_ns=3 * SECOND, absences_min=3, interval_ns=SECOND, needs_look=True)
REAL = ExecutorSettings(
    account="demo",
    evidence=EVIDENCE,
    unknown_pause_ns=10 * SECOND,
    answer_wait_ns=3 * SECOND,
    request_limit_ns=4 * SECOND,
    poll_ns=20 * SECOND,
)
M = TypeVar("M", bound=Message)


@attrs.define(eq=False)
class Ears:
    """Stands where an actor would: takes everything and keeps it."""

    name: str
    heard: list[Message] = attrs.field(factory=list)
    closed: bool = False

    def put(self, message: Message) -> Delivery:
        """Take a message."""
        self.heard.append(message)
        return Delivery.TAKEN


@attrs.define(eq=False)
class Desk:
    """What a test holds in its hands."""

    executor: Executor
    venue: FakeTrading
    clock: VirtualClock
    activity: Activity
    post: Post
    journal: SqliteJournal
    risk: Ears
    strategy: Ears
    task: "asyncio.Task[None]"
    published: list[Message]
    permits: Permits
    sequence: int = 100

    async def rest(self) -> None:
        """Let everything run that can without time moving on."""
        await self.activity.settle(stall_passes=64)

    async def wait(self, seconds: float) -> None:
        """Let time pass."""
        await self.rest()
        await self.clock.run_to(self.clock.now_ns() + round(seconds * SECOND), self.rest)
        await self.rest()
        if self.task.done() and not self.task.cancelled():
            self.task.result()

    def heard(self, kind: type[M]) -> list[M]:
        """What risk was told of a kind."""
        return [one for one in self.risk.heard if isinstance(one, kind)]

    def events(self) -> list[OrderEvent]:
        """What risk was told of orders."""
        return [event for batch in self.heard(ExecutionBatch) for event in batch.events]

    def kinds(self, name: str) -> list[str]:
        """What risk was told of one order."""
        return [event.kind.value for event in self.events() if event.client_id == name]

    def reasons(self, reason: str) -> list[str]:
        """How a reason came and went."""
        found = [one for one in self.risk.heard if isinstance(one, RaiseReason | ClearReason) and one.reason == reason]
        return ["raised" if isinstance(one, RaiseReason) else "gone" for one in found]

    def incidents(self) -> list[str]:
        """What a person was told."""
        return [one.text for one in self.published if isinstance(one, Incident)]

    def state(self, name: str) -> str:
        """An order's state in the journal."""
        stored = self.journal.order(name)
        return "" if stored is None else stored.record.state.value

    # --- what goes in -----------------------------------------------------------------------------------------------

    def permit(self, *, may_add: bool) -> None:
        """Let risk allow, or not, what adds to both instruments."""
        for name in (BTC, ETH):
            self.permits.tell(name, may_add=may_add)

    def request(self, purpose: Purpose = Purpose.ENTRY, **changes: Any) -> OrderRequest:
        """An order of ours, changed."""
        self.sequence += 1
        leg = changes.pop("leg", Leg.LONG)
        level = 1 if purpose in (Purpose.ENTRY, Purpose.TAKE_PROFIT) else -1
        made = OrderRequest(
            client_id=client_id(
                account="demo", epoch=self.journal.epoch, leg=leg, purpose=purpose, level=level, sequence=self.sequence
            ),
            instrument=BTC,
            leg=leg,
            purpose=purpose,
            kind=Kind.LIMIT if level > 0 else Kind.STOP_MARKET,
            price_ticks=1_000,
            qty_lots=10,
            post_only=False,
            level=level,
            generation=4 if level > 0 else -1,
            decided_ns=self.clock.now_ns(),
        )
        return attrs.evolve(made, **changes)

    def approve(
        self,
        *requests: OrderRequest,
        cancels: Iterable[str] = (),
        retires: Iterable[str] = (),
        amends: Iterable[OrderRequest] = (),
        ttl_s: int = 60,
    ) -> None:
        """Have orders sent."""

        def passed(one: OrderRequest) -> Approved:
            return risk.approve(risk.PASS, one, limits_version="v", expires_ns=one.decided_ns + ttl_s * SECOND)

        batch = ApprovedBatch(
            **self.post.head(),
            instrument=requests[0].instrument if requests else BTC,
            approved=tuple(passed(one) for one in requests),
            cancels=tuple(cancels),
            retires=tuple(retires),
            amends=tuple(passed(one) for one in amends),
        )
        self.post.publish(batch, EXECUTOR)

    def report(self, *events: OrderEvent) -> None:
        """Let the stream speak."""
        self.post.send(VenueReport(**self.post.head(), instrument=BTC, mark_ticks=1_000, events=events), EXECUTOR)

    async def resting(self, *requests: OrderRequest) -> None:
        """Have orders sent, and their acknowledgements told."""
        self.approve(*requests)
        await self.rest()
        self.report(*(OrderEvent(kind=OrderEventKind.ACCEPTED, client_id=one.client_id) for one in requests))
        await self.rest()

    async def held(self, lots: int = 10) -> None:
        """Have a LONG position of ours, heard of by the stream."""
        request = self.request(qty_lots=lots)
        await self.resting(request)
        self.report(told(self.venue.fill(request.client_id, lots), 0))
        await self.rest()


def covers(*parts: tuple[int, int]) -> tuple[Cover, ...]:
    """Parts of lots: (lot, quantity)."""
    return tuple(Cover(lot_id=lot, qty_lots=lots, level=1, generation=4) for lot, lots in parts)


@asynccontextmanager
async def desk(
    path: Path, settings: ExecutorSettings = REAL, venue: FakeTrading | None = None, *, started: bool = True
) -> AsyncIterator[Desk]:
    """Start an executor on a venue; a second one on the same path goes on with its journal."""
    last_ns = START_NS if venue is None else venue.clock.now_ns()
    clock = VirtualClock(last_ns)
    venue = FakeTrading(clock) if venue is None else venue
    venue.clock = clock
    wallet_e8 = WALLET_E8
    journal = opened(path / "desk.db", mode="testnet", wallet_e8=wallet_e8, boot_wall_ns=last_ns, market="")
    activity = Activity()
    published: list[Message] = []
    router = Router(on_dead_letter=lambda _: None, on_overflow=lambda _name, _message: None)
    post = Post(router=router, journal=journal, clock=clock, tap=published.append)
    ears = [Ears(name) for name in (RISK, strategy_name(BTC), strategy_name(ETH))]
    for one in ears:
        router.register(cast("Any", one))
    permits = Permits()
    executor = Executor(
        mailbox=mailbox_maker(activity)(EXECUTOR),
        router=router,
        clock=clock,
        post=post,
        trading=venue,
        journal=journal,
        memory=JournalMemory(journal, [BTC, ETH], order_no_stride=64),
        settings=attrs.evolve(settings, permits=permits),
        tally=SentTally(),
    )
    up = asyncio.Event()
    task = asyncio.create_task(executor.run(up.set))
    made = Desk(executor, venue, clock, activity, post, journal, ears[0], ears[1], task, published, permits)
    try:
        if started:
            await made.rest()
            assert up.is_set(), "the executor did not start"
            made.permit(may_add=True)
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        journal.close("done")
