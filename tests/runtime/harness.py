"""What the runtime's tests share: a system in virtual time, with children that write down what happens to them.

Invariants: time moves only in `World.run_to`; the trace is the only evidence of order.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import attrs

from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.actor import Actor
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.runtime.mailbox import REFUSE, Mailbox, conflate
from hedgegrid.runtime.router import DeadLetter, Router
from hedgegrid.runtime.specs import Child, ChildSpec, EscalationError, Hooks, Restart, RestartLimits, Strategy
from hedgegrid.runtime.supervisor import Supervisor

S = 1_000_000_000
START_NS = 1_700_000_000 * S


class CrashError(Exception):
    """What a test's child fails with."""


@attrs.frozen(kw_only=True)
class Job:
    """A message that is never dropped."""

    number: int


@attrs.frozen(kw_only=True)
class Price:
    """A message of which the latest per name counts."""

    name: str
    number: int


@attrs.frozen(kw_only=True)
class Halt:
    """A message of the control lane."""

    number: int = 0


@attrs.frozen(kw_only=True)
class Stranger:
    """A message that no mailbox here takes."""


Message = Job | Price | Halt
Action = Callable[["Recorder", Message], Awaitable[None]]


def mailbox(name: str, activity: Activity, *, capacity: int = 8, control_capacity: int = 4) -> Mailbox[Message]:
    """A mailbox that takes the messages above."""
    return Mailbox(
        name,
        capacity=capacity,
        control_capacity=control_capacity,
        policies={Job: REFUSE, Price: conflate(lambda price: price.name)},
        control=(Halt,),
        activity=activity,
    )


class Recorder(Actor[Message]):
    """An actor that writes down what it handles, and does what the test says."""

    def __init__(self, world: "World", box: Mailbox[Message], action: Action | None = None) -> None:
        super().__init__(mailbox=box, router=world.router, clock=world.clock)
        self.world = world
        self.action = action

    async def on_start(self) -> None:
        """Write down the start."""
        self.world.trace.append(f"start {self.name}")

    async def handle(self, message: Message) -> None:
        """Keep the message and do what the test says."""
        self.world.handled.append(message)
        if self.action is not None:
            await self.action(self, message)

    def on_idle(self) -> None:
        """Write down that the mailbox is empty."""
        self.world.trace.append(f"idle {self.name}")

    async def on_stop(self) -> None:
        """Write down the stop."""
        self.world.trace.append(f"stop {self.name}")


class Puppet:
    """A child without a mailbox, which ends when the test says so."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name

    async def run(self, started: Callable[[], None]) -> None:
        """Start as slowly or badly as the world says, then live until the fate is decided."""
        world = self.world
        world.trace.append(f"start {self.name}")
        try:
            if world.failing_starts.get(self.name, 0) > 0:
                world.failing_starts[self.name] -= 1
                raise CrashError(self.name)
            while self.name in world.slow_starts:
                await world.clock.sleep(S)
            started()
            world.trace.append(f"up {self.name}")
            fate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            world.fates[self.name] = fate
            while True:
                try:
                    await asyncio.shield(fate)
                except asyncio.CancelledError:
                    if self.name not in world.deaf:
                        raise
                else:
                    return
        finally:
            world.trace.append(f"stop {self.name}")


class World:
    """One system in virtual time and what was observed of it."""

    def __init__(self) -> None:
        self.clock = VirtualClock(START_NS)
        self.activity = Activity()
        self.trace: list[str] = []
        self.handled: list[Message] = []
        self.dead: list[DeadLetter] = []
        self.overflows: list[tuple[str, object]] = []
        self.router = Router(on_dead_letter=self.dead.append, on_overflow=self.note_overflow)
        self.fates: dict[str, asyncio.Future[None]] = {}
        self.failing_starts: dict[str, int] = {}
        self.slow_starts: set[str] = set()
        self.deaf: set[str] = set()
        self.restarts: list[tuple[str, str, int]] = []
        self.child_errors: list[tuple[str, BaseException]] = []
        self.unstoppable: list[str] = []
        self.given_up: list[EscalationError] = []

    def note_overflow(self, name: str, message: object) -> None:
        """Keep what a full mailbox refused."""
        self.overflows.append((name, message))

    def seconds(self) -> float:
        """Seconds since the world began."""
        return (self.clock.now_ns() - START_NS) / S

    def box(self, name: str, *, capacity: int = 8, control_capacity: int = 4) -> Mailbox[Message]:
        """A mailbox of this world."""
        return mailbox(name, self.activity, capacity=capacity, control_capacity=control_capacity)

    async def settle(self) -> bool:
        """Let everything come to rest; False when only time can help."""
        return await self.activity.settle(quiet_passes=32)

    async def run_to(self, seconds: float) -> None:
        """Let everything rest, then move to `seconds` since the beginning, timer by timer."""
        await self.settle()
        await self.clock.run_to(START_NS + round(seconds * S), self.settle)
        await self.settle()

    async def end(self, name: str, error: BaseException | None = None) -> None:
        """End a puppet's life: with an error, or by letting it return."""
        fate = self.fates.pop(name)
        if error is None:
            fate.set_result(None)
        else:
            fate.set_exception(error)
        await self.settle()

    async def crash(self, name: str) -> None:
        """End a puppet's life with a CrashError."""
        await self.end(name, CrashError(name))

    def hooks(self) -> Hooks:
        """Hooks that write down what they are told."""

        async def on_give_up(failure: EscalationError) -> None:
            self.given_up.append(failure)
            self.trace.append("give up")

        return Hooks(
            on_restart=lambda child_id, error, attempt: self.restarts.append((child_id, repr(error), attempt)),
            on_child_error=lambda child_id, error: self.child_errors.append((child_id, error)),
            on_give_up=on_give_up,
            on_unstoppable=self.unstoppable.append,
        )

    def spec(
        self, name: str, *, restart: Restart = Restart.PERMANENT, start: Callable[[], Child] | None = None
    ) -> ChildSpec:
        """The spec of a puppet, or of what `start` makes."""
        return ChildSpec(
            id=name,
            start=start if start is not None else lambda: Puppet(self, name),
            restart=restart,
            shutdown_timeout_ns=5 * S,
        )

    def supervisor(
        self,
        *children: str | ChildSpec,
        name: str = "root",
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        limits: RestartLimits | None = None,
        hooks: Hooks | None = None,
    ) -> Supervisor:
        """A supervisor of puppets and specs, in order of start."""
        return Supervisor(
            name,
            [self.spec(child) if isinstance(child, str) else child for child in children],
            strategy=strategy,
            limits=limits if limits is not None else restart_limits(),
            clock=self.clock,
            hooks=hooks if hooks is not None else self.hooks(),
        )

    async def boot(self, supervisor: Supervisor) -> asyncio.Task[None]:
        """Run `supervisor` as the root, until its children have started or wait for time to pass."""
        task = asyncio.create_task(supervisor.run(lambda: self.trace.append("booted")))
        await self.settle()
        return task

    @contextmanager
    def watched(self) -> Iterator[list[str]]:
        """What is added to the trace meanwhile."""
        fresh: list[str] = []
        before = len(self.trace)
        yield fresh
        fresh.extend(self.trace[before:])


def restart_limits(*, max_restarts: int = 3, backoff_min_ns: int = S) -> RestartLimits:
    """At most `max_restarts` in 60 s, backoff from 1 s doubling to 8 s, stable after 100 s."""
    return RestartLimits(
        max_restarts=max_restarts,
        period_ns=60 * S,
        backoff_min_ns=backoff_min_ns,
        backoff_max_ns=8 * S,
        stable_ns=100 * S,
    )


async def ended(task: asyncio.Task[None]) -> BaseException | None:
    """How a task ended that must have ended: its error, or a CancelledError."""
    assert task.done()
    await asyncio.wait((task,))
    return asyncio.CancelledError() if task.cancelled() else task.exception()


async def stopped(world: World, task: asyncio.Task[None]) -> BaseException | None:
    """Cancel a root and move time on until it has ended, as a driver of virtual time does."""
    task.cancel()
    for _ in range(100):
        await world.settle()
        if task.done():
            break
        world.clock.fire_next()
    return await ended(task)
