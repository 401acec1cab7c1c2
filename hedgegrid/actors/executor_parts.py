"""The executor's parts and how they are wired: each does one thing, the executor alone decides what happens when.

Invariant: the parts share the order table and the agenda, and nothing else that changes.
"""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

import attrs

from hedgegrid.actors.agenda import Agenda
from hedgegrid.actors.dead_mans_switch import DeadMansSwitch
from hedgegrid.actors.errors_told import ErrorsTold
from hedgegrid.actors.exchange_reader import ExchangeReader
from hedgegrid.actors.flat_watch import FlatWatch
from hedgegrid.actors.hydration import Hydration
from hedgegrid.actors.limits_told import LimitsTold
from hedgegrid.actors.order_table import OrderTable
from hedgegrid.actors.permits import Permits
from hedgegrid.actors.post import Post
from hedgegrid.actors.resolving import Resolving
from hedgegrid.actors.sender import Sender
from hedgegrid.actors.sent_tally import SentTally
from hedgegrid.actors.state_teller import StateTeller
from hedgegrid.core.countdown import CountdownRule
from hedgegrid.core.reconcile_views import EvidenceRule
from hedgegrid.core.records import GridParams
from hedgegrid.ports import Journal, Memory, Trading
from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.clock import Clock, TimerHandle
from hedgegrid.runtime.fence import Fence


@attrs.frozen(kw_only=True)
class ExecutorSettings:
    """How the executor treats its venue; what is not given is what an exchange in the process needs.

    ``evidence``: when an order that no source shows counts as dead. ``unknown_pause_ns``: the age of an unknown outcome
    that pauses its instrument. ``answer_wait_ns``: how long the stream may be silent on what was sent (None: for
    ever). ``request_limit_ns``: how long a request may take (None: it cannot hang). ``poll_ns``: how often the account
    is read (None: it pushes everything). ``countdown`` None: the exchange has no dead-man's switch.
    ``adopting``: the instruments whose foreign holdings are adopted, with what gives a lot its exits.
    """

    account: str
    evidence: EvidenceRule
    unknown_pause_ns: int
    answer_wait_ns: int | None = None
    request_limit_ns: int | None = None
    poll_ns: int | None = None
    countdown: CountdownRule | None = None
    adopting: Mapping[str, GridParams] = attrs.field(factory=dict)
    permits: Permits = attrs.field(factory=Permits)
    """What risk lets be added."""
    fence: Fence = attrs.field(factory=Fence)
    """While it is up no entry is sent."""

    @property
    def polled(self) -> bool:
        """Whether the account is read now and then."""
        return self.poll_ns is not None


@attrs.frozen(kw_only=True)
class Surroundings:
    """What the parts need of the executor and of the house.

    ``wake_at(ns)`` sets a timer; ``spawn`` runs a request beside the mailbox; ``breathe`` shows progress.
    """

    post: Post
    trading: Trading
    journal: Journal
    memory: Memory
    clock: Clock
    activity: Activity
    wake_at: Callable[[int], TimerHandle]
    spawn: Callable[[Coroutine[Any, Any, None], str], None]
    breathe: Callable[[], None]
    tally: SentTally


class Parts:
    """The parts of one executor."""

    def __init__(self, around: Surroundings, settings: ExecutorSettings) -> None:
        """Wire them; nothing runs yet."""
        post, clock, trading, limit_ns = around.post, around.clock, around.trading, settings.request_limit_ns
        self.names = tuple(one.name for one in trading.instruments())
        self.agenda = Agenda(clock, around.wake_at)
        self.table = OrderTable(settings.account, around.memory)
        self.limits = LimitsTold(post=post, clock=clock, agenda=self.agenda)
        self.errors = ErrorsTold(post=post, table=self.table)
        self.resolving = Resolving(
            post=post,
            clock=clock,
            table=self.table,
            agenda=self.agenda,
            pause_ns=settings.unknown_pause_ns,
            answer_wait_ns=settings.answer_wait_ns,
        )
        self.hydration = Hydration(
            post=post,
            memory=around.memory,
            table=self.table,
            instruments=self.names,
            account=settings.account,
            evidence=settings.evidence,
            polled=settings.polled,
            queued=lambda: self.sender.queued,
            adopting=settings.adopting,
        )
        self.sender = Sender(
            trading=trading,
            journal=around.journal,
            clock=clock,
            post=post,
            table=self.table,
            resolving=self.resolving,
            activity=around.activity,
            limit_ns=limit_ns,
            tally=around.tally,
            bars=lambda instrument: self._bars(settings, instrument),
        )
        self.reader = ExchangeReader(
            trading=trading,
            clock=clock,
            post=post,
            table=self.table,
            limit_ns=limit_ns,
            looks=settings.evidence.needs_look,
            balance=settings.polled,
            on_answer=around.breathe,
        )
        self.teller = self._teller(around, settings)
        self.switch = self._switch(around, settings)
        self.flat = FlatWatch(
            post=post,
            table=self.table,
            foreign=self.hydration.foreign_legs,
            queued=lambda: not self.sender.is_idle(""),
        )

    def _bars(self, settings: ExecutorSettings, instrument: str) -> str:
        """Tell why nothing may be added for an instrument now, "" where it may."""
        if self.hydration.gap or settings.fence.is_up:
            return "the exchange has to be read first"
        return "" if settings.permits.may_add(instrument) else "trading is paused"

    def _teller(self, around: Surroundings, settings: ExecutorSettings) -> StateTeller:
        return StateTeller(
            trading=around.trading,
            post=around.post,
            clock=around.clock,
            table=self.table,
            limit_ns=settings.request_limit_ns,
            polled=settings.polled,
        )

    def _switch(self, around: Surroundings, settings: ExecutorSettings) -> DeadMansSwitch:
        return DeadMansSwitch(
            rule=settings.countdown,
            instruments=self.names,
            trading=around.trading,
            clock=around.clock,
            post=around.post,
            agenda=self.agenda,
            limit_ns=settings.request_limit_ns,
            validity_ns=settings.evidence.validity_ns,
            spawn=around.spawn,
            hydration=self.hydration,
        )
