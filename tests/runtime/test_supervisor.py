"""Supervision: order of start and stop, who is restarted with whom, and kills of hung children."""

import asyncio

import pytest

from hedgegrid.runtime.router import DeadReason
from hedgegrid.runtime.specs import (
    ChildKilledError,
    ChildState,
    Restart,
    Strategy,
)
from tests.runtime.harness import (
    START_NS,
    CrashError,
    Job,
    Message,
    Recorder,
    S,
    World,
    restart_limits,
    stopped,
)

REST = Strategy.REST_FOR_ONE


@pytest.mark.asyncio
@pytest.mark.parametrize("strategy", list(Strategy))
async def test_children_start_in_order_and_stop_in_reverse(strategy: Strategy) -> None:
    """Each child finds those before it ready, and those after it gone when it stops."""
    world = World()
    task = await world.boot(world.supervisor("a", "b", "c", strategy=strategy))
    assert world.trace == ["start a", "up a", "start b", "up b", "start c", "up c", "booted"]
    world.trace.clear()
    assert isinstance(await stopped(world, task), asyncio.CancelledError)
    assert world.trace == ["stop c", "stop b", "stop a"]


@pytest.mark.asyncio
@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_slow_start_holds_up_those_after_it(strategy: Strategy) -> None:
    """Starting is synchronous: nobody starts on top of a child that is still hydrating."""
    world = World()
    world.slow_starts.add("b")
    task = await world.boot(world.supervisor("a", "b", "c", strategy=strategy))
    await world.run_to(10)
    assert world.trace == ["start a", "up a", "start b"]
    world.slow_starts.clear()
    await world.run_to(12)
    assert world.trace[3:] == ["up b", "start c", "up c", "booted"]
    await stopped(world, task)


@pytest.mark.asyncio
async def test_one_for_one_restarts_the_failed_child_alone() -> None:
    """A failure of one instrument's strategy leaves the others trading."""
    world = World()
    supervisor = world.supervisor("a", "b", "c")
    task = await world.boot(supervisor)
    with world.watched() as fresh:
        await world.crash("a")
        assert supervisor.statuses()[0].state is ChildState.PENDING
        await world.run_to(1)
    assert fresh == ["stop a", "start a", "up a"]
    assert world.restarts == [("a", "CrashError('a')", 1)]
    await stopped(world, task)


@pytest.mark.asyncio
async def test_rest_for_one_takes_those_after_it_along() -> None:
    """Who depends on the failed child stops at once, in reverse, and starts again after it, in order."""
    world = World()
    task = await world.boot(world.supervisor("a", "b", "c", "d", strategy=REST))
    with world.watched() as fresh:
        await world.crash("b")
    assert fresh == ["stop b", "stop d", "stop c"]
    with world.watched() as fresh:
        await world.run_to(1)
    assert fresh == ["start b", "up b", "start c", "up c", "start d", "up d"]
    assert [child for child, _, _ in world.restarts] == ["b"]
    await stopped(world, task)


@pytest.mark.asyncio
async def test_kinds_of_restart() -> None:
    """A permanent child comes back after any end, a transient one after a failure, a temporary one never."""
    world = World()
    children = [world.spec(restart.value, restart=restart) for restart in Restart]
    supervisor = world.supervisor(*children, limits=restart_limits(max_restarts=9))
    task = await world.boot(supervisor)
    for restart in Restart:
        await world.crash(restart.value)
    await world.run_to(5)
    assert [status.state for status in supervisor.statuses()] == [
        ChildState.RUNNING,
        ChildState.RUNNING,
        ChildState.DONE,
    ]
    assert [(child, str(error)) for child, error in world.child_errors] == [("temporary", "temporary")]
    await world.end("permanent")
    await world.end("transient")
    await world.run_to(10)
    assert [status.state for status in supervisor.statuses()] == [
        ChildState.RUNNING,
        ChildState.DONE,
        ChildState.DONE,
    ]
    assert world.restarts[-1] == ("permanent", "None", 2)
    assert not task.done()
    await stopped(world, task)


@pytest.mark.asyncio
async def test_rest_for_one_leaves_the_done_and_the_temporary() -> None:
    """A one-shot child that is done is not run again by a failure before it; a temporary one is not either."""
    world = World()
    supervisor = world.supervisor(
        "a",
        world.spec("once", restart=Restart.TRANSIENT),
        world.spec("temporary", restart=Restart.TEMPORARY),
        "d",
        strategy=REST,
    )
    task = await world.boot(supervisor)
    await world.end("once")
    with world.watched() as fresh:
        await world.crash("a")
        await world.run_to(5)
    assert fresh == ["stop a", "stop d", "stop temporary", "start a", "up a", "start d", "up d"]
    assert [status.state.value for status in supervisor.statuses()] == ["running", "done", "done", "running"]
    await stopped(world, task)


@pytest.mark.asyncio
async def test_a_child_done_at_boot_does_not_hold_up_the_rest() -> None:
    """A one-shot child may return without ever being up."""
    world = World()

    class Once:
        async def run(self, started: object) -> None:
            del started
            world.trace.append("once")

    once = world.spec("once", restart=Restart.TRANSIENT, start=Once)
    task = await world.boot(world.supervisor(once, "b", strategy=REST))
    assert world.trace == ["once", "start b", "up b", "booted"]
    await stopped(world, task)


@pytest.mark.asyncio
@pytest.mark.parametrize("strategy", list(Strategy))
async def test_a_failing_start_is_retried_before_the_next_child(strategy: Strategy) -> None:
    """A crash in on_start backs off like any other, and those after it wait for it."""
    world = World()
    world.failing_starts["b"] = 2
    task = await world.boot(world.supervisor("a", "b", "c", strategy=strategy))
    assert world.trace == ["start a", "up a", "start b", "stop b"]
    await world.run_to(3)
    assert world.trace[4:] == ["start b", "stop b", "start b", "up b", "start c", "up c", "booted"]
    await stopped(world, task)


@pytest.mark.asyncio
async def test_a_start_that_cannot_even_make_the_child_is_a_failed_start() -> None:
    """A factory that raises is retried too, and does not bring down the supervisor."""
    world = World()
    tries: list[int] = []

    def start() -> Recorder:
        tries.append(1)
        if len(tries) < 3:
            raise CrashError("factory")
        return Recorder(world, world.box("a"))

    supervisor = world.supervisor(world.spec("a", start=start))
    task = await world.boot(supervisor)
    await world.run_to(5)
    status = supervisor.statuses()[0]
    assert (status.state, status.starts, status.restarts) == (ChildState.RUNNING, 3, 2)
    assert status.reading is not None
    await stopped(world, task)


@pytest.mark.asyncio
async def test_an_earlier_crash_during_a_backoff() -> None:
    """The later child's own backoff goes on, and it starts only after the earlier one is up again."""
    world = World()
    limits = restart_limits(backoff_min_ns=4 * S)
    task = await world.boot(world.supervisor("a", "b", "c", strategy=REST, limits=limits))
    await world.crash("b")
    await world.run_to(2)
    with world.watched() as fresh:
        await world.crash("a")
        await world.run_to(5.5)
    assert fresh == ["stop a"]
    with world.watched() as fresh:
        await world.run_to(6)
    assert fresh == ["start a", "up a", "start b", "up b", "start c", "up c"]
    await stopped(world, task)


@pytest.mark.asyncio
async def test_backoffs_of_siblings_run_side_by_side() -> None:
    """Under one_for_one a child in a long backoff does not delay another."""
    world = World()
    limits = restart_limits(max_restarts=9)
    task = await world.boot(world.supervisor("a", "b", limits=limits))
    for seconds in (0, 1):
        await world.run_to(seconds)
        await world.crash("a")
    await world.crash("b")
    with world.watched() as fresh:
        await world.run_to(2)
    assert fresh == ["start b", "up b"]
    with world.watched() as fresh:
        await world.run_to(3)
    assert fresh == ["start a", "up a"]
    await stopped(world, task)


@pytest.mark.asyncio
async def test_an_earlier_crash_ends_a_start_under_way() -> None:
    """A child that hydrates through a crashed one is not waited for: the deadlock ends in a restart of both."""
    world = World()
    world.slow_starts.add("b")
    task = await world.boot(world.supervisor("a", "b", strategy=REST))
    await world.run_to(2)
    with world.watched() as fresh:
        await world.crash("a")
        world.slow_starts.clear()
        await world.run_to(4)
    assert fresh == ["stop a", "stop b", "start a", "up a", "start b", "up b", "booted"]
    await stopped(world, task)


@pytest.mark.asyncio
async def test_a_hung_actor_is_killed_and_comes_back_with_a_fresh_mailbox() -> None:
    """What hung messages waited behind is reported, and the new life takes messages under the old name."""
    world = World()
    hanging = [True]

    async def hang_once(_actor: Recorder, _message: Message) -> None:
        if hanging:
            hanging.clear()
            await asyncio.Event().wait()

    inner = world.supervisor(
        world.spec("worker", start=lambda: Recorder(world, world.box("worker"), hang_once)), name="inner"
    )
    root = world.supervisor(world.spec("inner", start=lambda: inner))
    task = await world.boot(root)
    world.router.send("worker", Job(number=1))
    world.router.send("worker", Job(number=2))
    await world.run_to(30)
    reading = root.statuses()[0].children[0].reading
    assert reading is not None
    assert (reading.progress, reading.busy_since_ns, reading.depth) == (0, START_NS, 1)
    assert root.kill_child("worker", "no progress for 30 s")
    await world.settle()
    assert [(letter.message, letter.reason) for letter in world.dead] == [(Job(number=2), DeadReason.UNDELIVERED)]
    assert world.restarts == [("worker", "ChildKilledError('no progress for 30 s')", 1)]
    assert not root.kill_child("worker", "is in its backoff")
    assert not root.kill_child("nobody", "has never been")
    assert not world.router.send("worker", Job(number=3))
    await world.run_to(31)
    assert world.router.send("worker", Job(number=4))
    await world.activity.idle()
    assert world.handled == [Job(number=1), Job(number=4)]
    assert root.statuses()[0].restarts == 0
    await stopped(world, task)


@pytest.mark.asyncio
async def test_a_kill_that_comes_too_late_counts_once() -> None:
    """A child that fails while its kill waits is restarted once, for its own failure."""
    world = World()
    supervisor = world.supervisor("a")
    task = await world.boot(supervisor)
    assert supervisor.kill_child("a", "hung")
    assert supervisor.kill_child("a", "hung, said twice")
    await world.crash("a")
    await world.run_to(5)
    status = supervisor.statuses()[0]
    assert (status.state, status.restarts, status.starts) == (ChildState.RUNNING, 1, 2)
    await stopped(world, task)


@pytest.mark.asyncio
async def test_a_cancellation_from_outside_is_a_failure() -> None:
    """A child whose task somebody else cancelled is missing, not stopped: it is restarted."""
    world = World()
    supervisor = world.supervisor("a")
    task = await world.boot(supervisor)
    life = supervisor._slots[0].task
    assert life is not None
    life.cancel()
    await world.run_to(5)
    assert isinstance(supervisor.statuses()[0].last_error, ChildKilledError)
    assert world.restarts[0][2] == 1
    await stopped(world, task)


@pytest.mark.asyncio
async def test_ids_are_unique() -> None:
    """A kill or a report by id must mean one child."""
    world = World()
    with pytest.raises(ValueError, match="share an id"):
        world.supervisor("a", "a")


@pytest.mark.asyncio
async def test_an_empty_supervisor_runs_until_it_is_stopped() -> None:
    """A supervisor of instruments with no instrument is not a failure."""
    world = World()
    task = await world.boot(world.supervisor())
    assert world.trace == ["booted"]
    assert isinstance(await stopped(world, task), asyncio.CancelledError)
