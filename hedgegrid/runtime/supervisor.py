"""Supervision as in OTP: children start in order, fail alone or with those after them, and stop in reverse.

Invariants:
- `run` never returns or raises before every child has ended, unless one would not end, which `on_unstoppable` hears.
- There are never two lives of one child at a time; the next starts only after the last has ended.
- Starting is synchronous and in order; stopping goes one by one in reverse, each with its own timeout. (A TaskGroup
  would cancel in set order, which differs from run to run.)
- More than `max_restarts` restarts within `period_ns` escalate; nothing restarts without a backoff.
- Cancellation is never swallowed: one that comes while children are being stopped waits for them and is raised.
- No exception is caught and forgotten: a child's failure goes to a restart, to a hook or to the parent.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NoReturn

import attrs

from hedgegrid.runtime.actor import Actor
from hedgegrid.runtime.clock import Clock, TimerHandle
from hedgegrid.runtime.specs import (
    Child,
    ChildKilledError,
    ChildSpec,
    ChildState,
    ChildStatus,
    EscalationError,
    Hooks,
    Restart,
    RestartLimits,
    Strategy,
    UnstoppableError,
)


def _nobody_waits() -> None:
    """Stand for the start callback of a root."""


@attrs.define(eq=False)
class _Slot:
    """One child over all its lives."""

    spec: ChildSpec
    state: ChildState = ChildState.PENDING
    child: Child | None = None
    """The present life's child; None between lives."""
    task: asyncio.Task[None] | None = None
    """The present life; None between lives."""
    timer: TimerHandle | None = None
    not_before_ns: int = 0
    """End of the backoff."""
    started_ns: int | None = None
    starts: int = 0
    restarts: int = 0
    attempt: int = 0
    last_error: BaseException | None = None

    def status(self) -> ChildStatus:
        child = self.child
        return ChildStatus(
            id=self.spec.id,
            state=self.state,
            starts=self.starts,
            restarts=self.restarts,
            attempt=self.attempt,
            started_ns=self.started_ns,
            last_error=self.last_error,
            reading=child.reading() if isinstance(child, Actor) else None,
            children=child.statuses() if isinstance(child, Supervisor) else (),
        )


@attrs.frozen
class _Event:
    """One life of a child has ended or is to be ended."""

    slot: _Slot
    task: asyncio.Task[None]
    kill_reason: str | None


class Supervisor:
    """Runs children until it is cancelled or gives up; itself a child, so that supervisors nest. Lives once."""

    def __init__(
        self,
        name: str,
        children: Sequence[ChildSpec],
        *,
        strategy: Strategy,
        limits: RestartLimits,
        clock: Clock,
        hooks: Hooks,
    ) -> None:
        """Make a supervisor that is not running. Raises ValueError when two children have one id."""
        if len({spec.id for spec in children}) != len(children):
            msg = f"children of {name!r} share an id: {[spec.id for spec in children]}"
            raise ValueError(msg)
        self.name = name
        self._slots = tuple(_Slot(spec) for spec in children)
        self._strategy = strategy
        self._limits = limits
        self._clock = clock
        self._hooks = hooks
        self._events: deque[_Event] = deque()
        self._wake = asyncio.Event()
        self._restart_times_ns: deque[int] = deque()
        self._booted = False
        self._cancelled = False
        self._unstoppable: tuple[str, ...] = ()
        self._hook_error: Exception | None = None
        self._abandoned: list[asyncio.Task[None]] = []

    @property
    def stop_budget_ns(self) -> int:
        """The longest that ending this supervisor may take, in ns: its children's timeouts and the give-up hook's."""
        hook_ns = self._hooks.give_up_timeout_ns if self._hooks.on_give_up is not None else 0
        return hook_ns + sum(_timeout_ns(slot) for slot in self._slots)

    async def run(self, started: Callable[[], None] = _nobody_waits) -> None:
        """Start the children in order, call `started`, keep them running; ends only by an exception.

        Raises CancelledError when cancelled, EscalationError when it gave up, UnstoppableError when a child would
        not end and `on_unstoppable` returned; each after all (other) children have ended.
        """
        try:
            await self._supervise(started)
        finally:
            await self._stop(self._slots)
            if self._unstoppable:
                raise self._unstoppable_error()
            if self._hook_error is not None:
                raise self._hook_error
            if self._cancelled:
                raise asyncio.CancelledError

    def kill_child(self, child_id: str, reason: str) -> bool:
        """Ask that a child (of any depth) be ended and treated as failed; how a watchdog ends one that hangs.

        Returns at once; False when no such child is starting or running, for there is nothing to end.
        """
        for slot in self._slots:
            if slot.spec.id == child_id:
                if slot.task is None or slot.state not in (ChildState.STARTING, ChildState.RUNNING):
                    return False
                self._events.append(_Event(slot, slot.task, reason))
                self._wake.set()
                return True
            if isinstance(slot.child, Supervisor) and slot.child.kill_child(child_id, reason):
                return True
        return False

    def find(self, child_id: str) -> Child | None:
        """Give the child of this id (of any depth) that lives now; for tests of what happens to one."""
        for slot in self._slots:
            if slot.spec.id == child_id:
                return slot.child
            if isinstance(slot.child, Supervisor) and (found := slot.child.find(child_id)) is not None:
                return found
        return None

    def actors(self) -> tuple[str, ...]:
        """Name the actors that live now, those of nested supervisors too, in order of start."""
        names: list[str] = []
        for slot in self._slots:
            if isinstance(slot.child, Actor):
                names.append(slot.child.name)
            elif isinstance(slot.child, Supervisor):
                names.extend(slot.child.actors())
        return tuple(names)

    def statuses(self) -> tuple[ChildStatus, ...]:
        """Return every child as it is now, in order of start, with the children of nested supervisors."""
        return tuple(slot.status() for slot in self._slots)

    # The loop: one event at a time, so that nothing below it runs twice at once.

    async def _supervise(self, started: Callable[[], None]) -> NoReturn:
        while True:
            if self._start_what_may_start() and not self._booted:
                self._booted = True
                started()
            await self._wake.wait()
            self._wake.clear()
            while self._events:
                await self._take(self._events.popleft())

    def _start_what_may_start(self) -> bool:
        """Start what is due, in order; True when no earlier child holds up a later one any more."""
        ordered = self._strategy is Strategy.REST_FOR_ONE or not self._booted
        for slot in self._slots:
            if slot.state is ChildState.PENDING and self._clock.now_ns() >= slot.not_before_ns:
                self._launch(slot)
            if ordered and slot.state in (ChildState.PENDING, ChildState.STARTING):
                return False
        return True

    def _launch(self, slot: _Slot) -> None:
        slot.state = ChildState.STARTING
        slot.started_ns = None
        slot.starts += 1
        slot.task = asyncio.get_running_loop().create_task(self._life(slot), name=f"{self.name}/{slot.spec.id}")
        slot.task.add_done_callback(partial(self._on_ended, slot))

    async def _life(self, slot: _Slot) -> None:
        child = slot.child = slot.spec.start()
        await child.run(partial(self._on_started, slot, asyncio.current_task()))

    def _on_started(self, slot: _Slot, task: asyncio.Task[None] | None) -> None:
        if slot.task is task and slot.state is ChildState.STARTING:
            slot.state = ChildState.RUNNING
            slot.started_ns = self._clock.now_ns()
            self._wake.set()

    def _on_ended(self, slot: _Slot, task: asyncio.Task[None]) -> None:
        self._events.append(_Event(slot, task, None))
        self._wake.set()

    async def _take(self, event: _Event) -> None:
        slot, task = event.slot, event.task
        if slot.task is not task:
            return  # a life that has been dealt with: it was stopped, or killed before it could fail
        if event.kill_reason is None or task.done():
            slot.task = slot.child = None
            await self._failed(slot, _error_of(task))
            return
        await self._stop((slot,))
        await self._interrupted(slot)
        await self._failed(slot, ChildKilledError(event.kill_reason))

    async def _failed(self, slot: _Slot, error: BaseException | None) -> None:
        """Decide about a child that has ended: done, restart (with those after it), or give up."""
        slot.last_error = error
        slot.state = ChildState.STOPPED
        if isinstance(error, UnstoppableError):
            await self._give_up(error, error)
        if not slot.spec.restart.follows(error):
            slot.state = ChildState.DONE
            if error is not None:
                self._hooks.on_child_error(slot.spec.id, error)
            self._wake.set()
            return
        now_ns = self._clock.now_ns()
        if not self._may_restart(now_ns):
            msg = (
                f"{self.name}: more than {self._limits.max_restarts} restarts within {self._limits.period_ns} ns, "
                f"the last for {slot.spec.id}: {error!r}"
            )
            await self._give_up(EscalationError(msg), error)
        self._schedule(slot, error, now_ns)
        if self._strategy is Strategy.REST_FOR_ONE:
            await self._stop_for_restart(self._slots[self._slots.index(slot) + 1 :])
            await self._interrupted(slot)

    def _may_restart(self, now_ns: int) -> bool:
        times_ns = self._restart_times_ns
        times_ns.append(now_ns)
        while times_ns[0] < now_ns - self._limits.period_ns:
            times_ns.popleft()
        return len(times_ns) <= self._limits.max_restarts

    def _schedule(self, slot: _Slot, error: BaseException | None, now_ns: int) -> None:
        if slot.started_ns is not None and now_ns - slot.started_ns >= self._limits.stable_ns:
            slot.attempt = 0
        slot.attempt += 1
        slot.restarts += 1
        slot.not_before_ns = now_ns + self._limits.backoff_ns(slot.attempt)
        slot.timer = self._clock.call_at(slot.not_before_ns, self._wake.set)
        slot.state = ChildState.PENDING
        self._hooks.on_restart(slot.spec.id, error, slot.attempt)

    async def _stop_for_restart(self, slots: Sequence[_Slot]) -> None:
        """Stop the siblings that a failed child takes with it; those in a backoff of their own stay in it."""
        alive = [slot for slot in slots if slot.task is not None]
        await self._stop(alive)
        for slot in alive:
            temporary = slot.spec.restart is Restart.TEMPORARY
            slot.state = ChildState.DONE if temporary else ChildState.PENDING

    async def _give_up(self, failure: EscalationError, cause: BaseException | None) -> NoReturn:
        """Tell the hook while the other children still live, then raise; `run` stops them."""
        if self._hooks.on_give_up is not None:
            task = asyncio.get_running_loop().create_task(self._hooks.on_give_up(failure), name=f"{self.name}/give-up")
            if not await self._ended_within(task, self._hooks.give_up_timeout_ns):
                task.cancel()
                self._abandoned.append(task)
                failure.add_note("on_give_up did not end in time")
            elif (error := _error_of(task)) is not None:
                failure.add_note(f"on_give_up failed: {error!r}")
        if failure is cause:
            raise failure
        raise failure from cause

    async def _interrupted(self, slot: _Slot) -> None:
        """Break off a restart: for what came up during its stops: a cancellation, a failed hook, a child that stays."""
        if self._cancelled:
            raise asyncio.CancelledError
        if self._hook_error is not None:
            raise self._hook_error
        if self._unstoppable:
            await self._give_up(self._unstoppable_error(), slot.last_error)

    # Stopping: uninterruptible, because a child left behind would act on without a supervisor.

    async def _stop(self, slots: Sequence[_Slot]) -> None:
        """End the given children one by one in reverse; a cancellation meanwhile is noted, not raised."""
        for slot in reversed(slots):
            if slot.timer is not None:
                slot.timer.cancel()
                slot.timer = None
            task, slot.task = slot.task, None
            if task is not None:
                slot.state = ChildState.STOPPING
                await self._end_life(slot, task)
                slot.child = None
            if slot.state is not ChildState.DONE:
                slot.state = ChildState.STOPPED

    async def _end_life(self, slot: _Slot, task: asyncio.Task[None]) -> None:
        if not task.done():
            task.cancel(f"{self.name} stops {slot.spec.id}")
        if not await self._ended_within(task, _timeout_ns(slot)):
            self._abandoned.append(task)
            self._unstoppable = (*self._unstoppable, slot.spec.id)
            self._tell(self._hooks.on_unstoppable, slot.spec.id)
            return
        error = None if task.cancelled() else task.exception()
        if isinstance(error, UnstoppableError):
            self._unstoppable = (*self._unstoppable, slot.spec.id)
        if error is not None:
            slot.last_error = error
            self._tell(self._hooks.on_child_error, slot.spec.id, error)

    def _tell(self, hook: Callable[..., None], *arguments: object) -> None:
        """Call a hook in the middle of a stop, which has to go on whatever the hook does."""
        try:
            hook(*arguments)
        except Exception as error:  # a hook may fail in any way; raised once the children have ended
            self._hook_error = self._hook_error or error

    async def _ended_within(self, task: asyncio.Task[None], timeout_ns: int) -> bool:
        """Wait for the end of `task`; False when `timeout_ns` of the clock passed first."""
        over = asyncio.Event()
        timer = self._clock.call_at(self._clock.now_ns() + timeout_ns, over.set)

        def on_done(_task: asyncio.Task[None]) -> None:
            over.set()

        task.add_done_callback(on_done)
        while not (task.done() or over.is_set()):
            try:
                await over.wait()
            except asyncio.CancelledError:
                self._cancelled = True  # raised by whoever stops, once this child has ended or is given up
        timer.cancel()
        task.remove_done_callback(on_done)
        return task.done()

    def _unstoppable_error(self) -> UnstoppableError:
        return UnstoppableError(f"{self.name}: did not end in time: {', '.join(self._unstoppable)}")


def _timeout_ns(slot: _Slot) -> int:
    own_ns = slot.spec.shutdown_timeout_ns
    return own_ns + slot.child.stop_budget_ns if isinstance(slot.child, Supervisor) else own_ns


def _error_of(task: asyncio.Task[None]) -> BaseException | None:
    """Return why an ended task ended: None where it returned."""
    if task.cancelled():
        return ChildKilledError(f"{task.get_name()} was cancelled from outside its supervisor")
    return task.exception()
