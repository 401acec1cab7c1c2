"""The actor: one mailbox, one task, one message at a time.

Invariants:
- Whatever `on_start`, `handle`, `on_idle`, `on_stop` or a spawned task raises ends the actor and reaches its
  supervisor; nothing is caught here, cancellation included.
- When the actor has ended, its mailbox is closed, its reminders are cancelled, its spawned tasks have ended, and none
  of its messages is counted in the activity any more.
- An actor lives once: a restart makes a new one with a fresh mailbox.
"""

import asyncio
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, Generic, TypeVar

import attrs

from hedgegrid.runtime.clock import Clock, TimerHandle
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.runtime.router import Router

M = TypeVar("M")

BURST_MAX: Final = 64
"""Messages that an actor handles before it lets the others run."""


@attrs.frozen(kw_only=True)
class ActorReading:
    """What a watchdog sees of an actor; times in ns since the epoch."""

    name: str
    progress: int
    """Messages handled since this actor was made."""
    progress_ns: int
    """When it last finished a message; when it was made, before the first."""
    busy_since_ns: int | None
    """Since when it starts, handles one message, or ends; None while it waits for a message."""
    depth: int
    """Messages waiting."""
    answered: int = 0
    """Probes answered since this actor was made."""
    is_probed: bool = False
    """Whether a probe waits for its answer."""


class Actor(ABC, Generic[M]):
    """Base of all actors; `M` is the closed union of the messages that it takes."""

    def __init__(self, *, mailbox: Mailbox[M], router: Router, clock: Clock) -> None:
        """Make an actor that is not running; it takes the name of its mailbox."""
        self.mailbox = mailbox
        self.router = router
        self.clock = clock
        self.progress = 0
        self.answered = 0
        self.progress_ns = clock.now_ns()
        self.busy_since_ns: int | None = None
        self._reminders: set[_Reminder] = set()
        self._spawned: dict[asyncio.Task[None], None] = {}
        self._spawned_errors: list[BaseException] = []
        self._is_next = False
        if router.relay is not None:
            mailbox.on_ready = self._join_relay

    @property
    def name(self) -> str:
        """The name under which messages reach this actor."""
        return self.mailbox.name

    async def on_start(self) -> None:
        """Get ready (hydrate); messages already queue up. The next sibling starts when this returns."""

    @abstractmethod
    async def handle(self, message: M) -> None:
        """Act on one message."""

    def is_quick(self, message: M) -> bool:  # noqa: ARG002 - an actor that has no quick messages need not look
        """Whether `handle` takes this message without awaiting anything: it may then be handled in a relay."""
        return False

    def on_idle(self) -> None:
        """Act when the mailbox has just become empty, as a part of handling the last message."""

    async def on_stop(self) -> None:
        """Give back what was opened; called once, after a stop, a crash and a failed `on_start` alike.

        The mailbox is closed by then. It has to end within the shutdown timeout of the actor's spec.
        """

    def send(self, to: str, message: object) -> bool:
        """Send through the router; True when a mailbox took it."""
        return self.router.send(to, message)

    def remind_at(self, when_ns: int, message: M) -> TimerHandle:
        """Send `message` to this actor itself at `when_ns`, unless cancelled; dies with the actor."""
        return _Reminder(self, self._reminders, when_ns, message)

    def spawn(self, body: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Run `body` beside the mailbox, for as long as the actor lives; what it raises ends the actor.

        A failure is seen when the message in hand has been handled. To return is fine.
        """
        task = asyncio.get_running_loop().create_task(body, name=f"{self.name}/{name}")
        self._spawned[task] = None
        task.add_done_callback(self._on_spawned_ended)
        return task

    def reading(self) -> ActorReading:
        """Return how far this actor has come, for a watchdog."""
        return ActorReading(
            name=self.name,
            progress=self.progress,
            progress_ns=self.progress_ns,
            busy_since_ns=self.busy_since_ns,
            depth=self.mailbox.depth,
            answered=self.answered,
            is_probed=self.mailbox.probed,
        )

    def answers(self) -> bool:
        """Whether a probe may be answered: an actor whose work goes on beside its mailbox says no where that is stuck.

        Called between two messages.
        """
        return True

    def _answer(self) -> None:
        if self.mailbox.probed and self.answers():
            self.mailbox.probed = False
            self.answered += 1

    async def run(self, started: Callable[[], None]) -> None:
        """Live once: start, say so through `started`, take messages until cancelled or failed, stop.

        Raises whatever ended it; ValueError when another actor of this name still has its mailbox open.
        """
        self.busy_since_ns = self.clock.now_ns()
        self.router.register(self.mailbox)
        try:
            await self.on_start()
            self.progress_ns = self.clock.now_ns()
            started()
            await self._serve()
        finally:
            await self._end(sys.exception())

    async def _serve(self) -> None:
        mailbox, activity, clock, relay = self.mailbox, self.mailbox.activity, self.clock, self.router.relay
        burst = 0
        while True:
            if burst >= BURST_MAX:
                burst = 0
                await asyncio.sleep(0)
            message = mailbox.get_nowait()
            if message is None:
                burst = 0
                self.busy_since_ns = None
                message = await mailbox.get(self._answer)
                self.busy_since_ns = clock.now_ns()
            try:
                if relay is not None and self.is_quick(message):
                    relay.run(partial(self._handle_quick, message))
                else:
                    await self.handle(message)
                burst += 1
                self._note_progress()
            finally:
                activity.end()

    def _handle_quick(self, message: M) -> None:
        """Handle a message that needs no awaiting. RuntimeError where it awaits something all the same."""
        handling = self.handle(message)
        try:
            handling.send(None)
        except StopIteration:
            return
        handling.close()
        raise RuntimeError(f"{self.name}: a {type(message).__name__} is no quick message, its handler awaits")

    def _note_progress(self) -> None:
        """A message has been handled."""
        self.progress += 1
        if self.mailbox.probed:
            self._answer()
        self.busy_since_ns = self.progress_ns = self.clock.now_ns()
        if not self.mailbox.depth:
            self.on_idle()

    def _join_relay(self) -> bool:
        """A message has come while this actor waits: take part in the relay that is under way, if one is."""
        relay = self.router.relay
        if not self._is_next and relay is not None:
            self._is_next = relay.join(self)
        return self._is_next

    def turn(self, most: int) -> int:
        """Handle up to `most` quick messages in a relay; the actor's task sees to the rest, and to any error."""
        self._is_next = False
        mailbox, done = self.mailbox, 0
        try:
            while mailbox.is_awaited and (message := mailbox.peek()) is not None:
                if done == most or not self.is_quick(message):
                    mailbox.wake()
                    break
                mailbox.get_nowait()
                self.busy_since_ns = self.clock.now_ns()
                try:
                    self._handle_quick(message)
                    done += 1
                    self._note_progress()
                finally:
                    mailbox.activity.end()
            self.busy_since_ns = None
        except Exception as error:  # broad: whose turn ends it is not whose error it is; the actor's own task raises it
            mailbox.interrupt(error)
        return done

    async def _end(self, reason: BaseException | None) -> None:
        """Take the actor apart; errors of spawned tasks come out, beside the reason or in place of a mere stop."""
        self.busy_since_ns = self.clock.now_ns()
        self.router.unregister(self.mailbox)
        for reminder in tuple(self._reminders):
            reminder.cancel()
        for task in reversed(tuple(self._spawned)):
            task.cancel(f"{self.name} ends")
            await asyncio.wait((task,))
        await self.on_stop()
        for error in self._spawned_errors:
            if reason is None or isinstance(reason, asyncio.CancelledError):
                raise error
            if error is not reason:
                reason.add_note(f"a task of {self.name} failed too: {error!r}")

    def _on_spawned_ended(self, task: asyncio.Task[None]) -> None:
        self._spawned.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._spawned_errors.append(error)
            self.mailbox.interrupt(error)


class _Reminder:
    """A timer that an actor set for itself; a set of the actor holds it while it is due."""

    __slots__ = ("_pending", "_timer")

    def __init__(self, actor: Actor[M], pending: "set[_Reminder]", when_ns: int, message: M) -> None:
        def fire() -> None:
            pending.discard(self)
            actor.send(actor.name, message)

        self._pending = pending
        self._timer = actor.clock.call_at(when_ns, fire)
        pending.add(self)

    def cancel(self) -> None:
        self._pending.discard(self)
        self._timer.cancel()
