"""Stopping: by cancellation, in the middle of anything, and children that will not end."""

import asyncio
import subprocess
import sys
from collections.abc import Callable

import pytest

from hedgegrid.runtime.specs import EXIT_UNSTOPPABLE, ChildState, EscalationError, Hooks, Strategy, UnstoppableError
from tests.runtime.harness import CrashError, Recorder, S, World, ended, restart_limits, stopped

REST = Strategy.REST_FOR_ONE


@pytest.mark.asyncio
async def test_a_stop_during_a_backoff_ends_at_once() -> None:
    """A shutdown does not wait for a restart, and nothing starts after it."""
    world = World()
    task = await world.boot(world.supervisor("a", "b"))
    await world.crash("a")
    with world.watched() as fresh:
        task.cancel()
        await world.settle()
        assert isinstance(await ended(task), asyncio.CancelledError)
        assert world.clock.next_timer_ns() is None
        await world.run_to(60)
    assert fresh == ["stop b"]


@pytest.mark.asyncio
async def test_a_second_cancellation_leaves_nobody_behind() -> None:
    """An impatient operator's second signal does not orphan children that are still stopping."""
    world = World()

    class Slow(Recorder):
        async def on_stop(self) -> None:
            await world.clock.sleep(2 * S)
            await super().on_stop()

    def slow(name: str) -> Slow:
        return Slow(world, world.box(name))

    task = await world.boot(
        world.supervisor(world.spec("a", start=lambda: slow("a")), world.spec("b", start=lambda: slow("b")))
    )
    with world.watched() as fresh:
        for seconds in (0, 1, 3):
            await world.run_to(seconds)
            task.cancel()
        await world.run_to(4)
        assert isinstance(await ended(task), asyncio.CancelledError)
    assert fresh == ["stop b", "stop a"]


@pytest.mark.asyncio
async def test_a_cancellation_in_the_middle_of_a_restart() -> None:
    """The stop that a restart has begun is finished, the rest is stopped, and nothing is started again."""
    world = World()
    world.deaf.add("c")
    task = await world.boot(world.supervisor("a", "b", "c", strategy=REST))
    await world.crash("b")
    with world.watched() as fresh:
        task.cancel()
        await world.settle()
        assert not task.done()
        await world.end("c")
        assert isinstance(await ended(task), asyncio.CancelledError)
        await world.run_to(60)
    assert fresh == ["stop c", "stop a"]
    assert not world.unstoppable


@pytest.mark.asyncio
async def test_a_swallowed_cancellation_is_unstoppable() -> None:
    """Who ignores its cancellation for its whole timeout is reported, and the others are stopped all the same."""
    world = World()
    world.deaf.add("b")
    task = await world.boot(world.supervisor("a", "b", "c"))
    task.cancel()
    await world.run_to(4.9)
    assert not world.unstoppable
    assert world.trace[-1] == "stop c"
    await world.run_to(5)
    assert world.unstoppable == ["b"]
    assert isinstance(await ended(task), UnstoppableError)
    assert world.trace[-1] == "stop a"
    await world.end("b")


@pytest.mark.asyncio
async def test_nobody_is_started_beside_an_unstoppable_child() -> None:
    """Two lives of one actor would both send orders: neither its supervisor nor any parent restarts over it."""
    world = World()
    inner = world.supervisor("a", "b", name="inner", strategy=REST)
    root = world.supervisor(world.spec("inner", start=lambda: inner), "z")
    task = await world.boot(root)
    world.deaf.add("b")
    await world.crash("a")
    with world.watched() as fresh:
        await world.run_to(60)
    assert world.unstoppable == ["b"]
    assert isinstance(await ended(task), UnstoppableError)
    assert "start a" not in fresh
    assert "start b" not in fresh
    assert "stop z" in fresh
    assert world.restarts == [("a", "CrashError('a')", 1)]
    await world.end("b")


@pytest.mark.asyncio
async def test_a_kill_of_an_unstoppable_child_gives_up() -> None:
    """A hung child that cannot even be ended is not restarted beside itself."""
    world = World()
    world.deaf.add("a")
    supervisor = world.supervisor("a")
    task = await world.boot(supervisor)
    supervisor.kill_child("a", "hung")
    await world.run_to(60)
    assert isinstance(await ended(task), UnstoppableError)
    assert len(world.given_up) == 1
    assert world.trace.count("start a") == 1
    await world.end("a")


def test_an_unstoppable_child_ends_the_run_by_default() -> None:
    """Without a recorder the whole run exits at once with its own status: nothing else can stop such a child."""
    script = f"""
import asyncio
from hedgegrid.runtime.clock import WallClock
from hedgegrid.runtime.specs import ChildSpec, Hooks, Restart, RestartLimits, Strategy
from hedgegrid.runtime.supervisor import Supervisor

class Deaf:
    async def run(self, started):
        started()
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                print("ignored", flush=True)

async def main():
    spec = ChildSpec(id="deaf", start=Deaf, restart=Restart.PERMANENT, shutdown_timeout_ns={S // 100})
    limits = RestartLimits(max_restarts=1, period_ns=1, backoff_min_ns=1, backoff_max_ns=1, stable_ns=1)
    root = Supervisor("root", [spec], strategy=Strategy.ONE_FOR_ONE, limits=limits, clock=WallClock(),
                      hooks=Hooks(on_child_error=print))
    task = asyncio.create_task(root.run(lambda: task.cancel()))
    await task

asyncio.run(main())
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout) == (EXIT_UNSTOPPABLE, "ignored\n"), ran.stderr


@pytest.mark.asyncio
async def test_an_error_while_stopping_is_told() -> None:
    """A failing on_stop does not keep the others from stopping, and is not lost."""
    world = World()

    class Clumsy(Recorder):
        async def on_stop(self) -> None:
            raise CrashError(self.name)

    task = await world.boot(world.supervisor("a", world.spec("b", start=lambda: Clumsy(world, world.box("b")))))
    assert isinstance(await stopped(world, task), asyncio.CancelledError)
    assert [(child, repr(error)) for child, error in world.child_errors] == [("b", "CrashError('b')")]
    assert world.trace[-1] == "stop a"


@pytest.mark.asyncio
async def test_a_failing_hook_does_not_orphan_children() -> None:
    """A hook that raises in the middle of a stop is heard only once every child has ended."""
    world = World()

    class Clumsy(Recorder):
        async def on_stop(self) -> None:
            raise CrashError(self.name)

    def on_child_error(child_id: str, _error: BaseException) -> None:
        raise LookupError(child_id)

    children = ("a", world.spec("b", start=lambda: Clumsy(world, world.box("b"))))
    task = await world.boot(world.supervisor(*children, hooks=Hooks(on_child_error=on_child_error)))
    assert isinstance(await stopped(world, task), LookupError)
    assert world.trace[-1] == "stop a"


@pytest.mark.asyncio
async def test_a_nested_supervisor_has_the_time_its_children_need() -> None:
    """Two children that each take nearly their own timeout do not make their supervisor unstoppable."""
    world = World()
    world.deaf.update(("a", "b"))
    inner = world.supervisor("a", "b", name="inner")
    task = await world.boot(world.supervisor(world.spec("inner", start=lambda: inner)))
    task.cancel()
    await world.run_to(4.9)
    await world.end("b")
    await world.run_to(9.7)
    await world.end("a")
    await world.settle()
    assert isinstance(await ended(task), asyncio.CancelledError)
    assert not world.unstoppable


@pytest.mark.asyncio
async def test_an_unstoppable_grandchild_stops_the_restart_too() -> None:
    """A branch that could not be stopped for its sibling's restart is not started a second time."""
    world = World()
    inner = world.spec("inner", start=lambda: world.supervisor("b", name="inner"))
    task = await world.boot(world.supervisor("a", inner, strategy=REST))
    world.deaf.add("b")
    await world.crash("a")
    await world.run_to(60)
    assert world.unstoppable == ["b"]
    assert isinstance(await ended(task), UnstoppableError)
    assert (world.trace.count("start a"), world.trace.count("start b")) == (1, 1)
    await world.end("b")


@pytest.mark.asyncio
async def test_a_late_start_of_an_abandoned_child_changes_nothing() -> None:
    """What was given up does not come back as running."""
    world = World()
    release = asyncio.Event()

    class Deaf:
        async def run(self, started: Callable[[], None]) -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    world.trace.append("ignored")
            started()

    supervisor = world.supervisor(world.spec("a", start=Deaf))
    task = await world.boot(supervisor)
    assert isinstance(await stopped(world, task), UnstoppableError)
    release.set()
    await world.settle()
    assert world.trace == ["ignored"]
    assert supervisor.statuses()[0].state is ChildState.STOPPED


@pytest.mark.asyncio
async def test_a_hook_that_fails_during_a_restart_ends_the_supervisor() -> None:
    """Whoever is not told of failures cannot act on them: no restart follows."""
    world = World()

    class Clumsy(Recorder):
        async def on_stop(self) -> None:
            raise CrashError(self.name)

    def on_child_error(child_id: str, _error: BaseException) -> None:
        raise LookupError(child_id)

    children = ("a", world.spec("b", start=lambda: Clumsy(world, world.box("b"))))
    task = await world.boot(world.supervisor(*children, strategy=REST, hooks=Hooks(on_child_error=on_child_error)))
    await world.crash("a")
    assert isinstance(await ended(task), LookupError)


@pytest.mark.asyncio
async def test_a_cancellation_while_giving_up() -> None:
    """The hook has its time, also below a parent that stops, and the cancellation comes out in the end."""
    world = World()

    async def on_give_up(_failure: EscalationError) -> None:
        await world.clock.sleep(19 * S)
        world.trace.append("gave up")

    hooks = Hooks(on_child_error=lambda _child, _error: None, on_give_up=on_give_up, give_up_timeout_ns=20 * S)
    inner = world.supervisor("a", "b", name="inner", limits=restart_limits(max_restarts=0), hooks=hooks)
    task = await world.boot(world.supervisor(world.spec("inner", start=lambda: inner)))
    await world.crash("a")
    with world.watched() as fresh:
        task.cancel()
        await world.run_to(19)
        assert isinstance(await ended(task), asyncio.CancelledError)
    assert fresh == ["gave up", "stop b"]
    assert not world.unstoppable
    assert not world.child_errors
