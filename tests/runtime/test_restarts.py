"""How often and how fast children are restarted, and what happens when it is too often."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.runtime.specs import ChildState, EscalationError, Hooks, RestartLimits, Strategy
from tests.runtime.harness import START_NS, CrashError, S, World, ended, restart_limits, stopped


@pytest.mark.asyncio
async def test_more_than_the_limit_escalates() -> None:
    """Exactly N restarts in the period are borne, the next failure gives up: the hook first, then the children stop."""
    world = World()
    task = await world.boot(world.supervisor("a", "b", limits=restart_limits(max_restarts=3)))
    for seconds in (0, 10, 20):
        await world.run_to(seconds)
        await world.crash("b")
    await world.run_to(50)
    assert not task.done()
    with world.watched() as fresh:
        await world.crash("b")
    error = await ended(task)
    assert isinstance(error, EscalationError)
    assert isinstance(error.__cause__, CrashError)
    assert "more than 3 restarts" in str(error)
    assert world.given_up == [error]
    assert fresh == ["stop b", "give up", "stop a"]


@pytest.mark.asyncio
async def test_restarts_of_all_children_count_together() -> None:
    """A storm that moves from child to child is a storm."""
    world = World()
    task = await world.boot(world.supervisor("a", "b", "c", limits=restart_limits(max_restarts=2)))
    for name in "abc":
        assert not task.done()
        await world.crash(name)
    assert isinstance(await ended(task), EscalationError)


@pytest.mark.asyncio
@pytest.mark.parametrize(("seconds", "escalates"), [(60, True), (60.001, False)])
async def test_old_restarts_fall_out_of_the_period(seconds: float, *, escalates: bool) -> None:
    """Only the restarts of the last period count, its first instant included."""
    world = World()
    task = await world.boot(world.supervisor("a", limits=restart_limits(max_restarts=2)))
    for at in (0, 10, seconds):
        await world.run_to(at)
        await world.crash("a")
    assert task.done() is escalates
    if escalates:
        assert isinstance(await ended(task), EscalationError)
    else:
        await stopped(world, task)


@pytest.mark.asyncio
async def test_backoff_doubles_to_its_cap_and_resets() -> None:
    """A child that fails at once is restarted ever more slowly; stable uptime forgives."""
    world = World()
    supervisor = world.supervisor("a", limits=restart_limits(max_restarts=99))
    task = await world.boot(supervisor)
    waits: list[float] = []
    for _ in range(5):
        await world.crash("a")
        failed_s = world.seconds()
        while supervisor.statuses()[0].state is ChildState.PENDING:
            world.clock.fire_next()
            await world.settle()
        waits.append(world.seconds() - failed_s)
    assert waits == [1, 2, 4, 8, 8]
    up_s = world.seconds()
    await world.run_to(up_s + 99.9)
    await world.crash("a")
    assert supervisor.statuses()[0].attempt == 6
    await world.run_to(up_s + 200)
    started_ns = supervisor.statuses()[0].started_ns
    assert started_ns is not None
    await world.run_to((started_ns - START_NS) / S + 100)
    await world.crash("a")
    assert [attempt for _, _, attempt in world.restarts] == [1, 2, 3, 4, 5, 6, 1]
    assert supervisor.statuses()[0].restarts == 7
    await stopped(world, task)


@given(st.integers(1, 10**6), st.integers(1, 10**18), st.integers(1, 10**18))
def test_backoff_is_bounded_and_never_shrinks(attempt: int, least_ns: int, most_ns: int) -> None:
    """However often a child fails, the next restart comes after a bounded, not a shorter, wait."""
    limits = RestartLimits(max_restarts=1, period_ns=1, backoff_min_ns=least_ns, backoff_max_ns=most_ns, stable_ns=1)
    assert limits.backoff_ns(1) == min(least_ns, most_ns)
    assert 0 < limits.backoff_ns(attempt) <= limits.backoff_ns(attempt + 1) <= most_ns
    assert limits.backoff_ns(200) == most_ns


@pytest.mark.asyncio
async def test_escalation_restarts_the_whole_branch() -> None:
    """A nested supervisor that gives up is its parent's failed child: restarted fresh, with all of its own."""
    world = World()
    limits = restart_limits(max_restarts=1)
    quiet = Hooks(on_child_error=lambda child_id, error: world.child_errors.append((child_id, error)))
    inner = world.spec("inner", start=lambda: world.supervisor("b", "c", name="inner", limits=limits, hooks=quiet))
    root = world.supervisor("a", inner, "d", strategy=Strategy.REST_FOR_ONE)
    task = await world.boot(root)
    assert world.trace == ["start a", "up a", "start b", "up b", "start c", "up c", "start d", "up d", "booted"]
    await world.crash("b")
    await world.run_to(1)
    with world.watched() as fresh:
        await world.crash("b")
        await world.run_to(3)
    assert fresh == ["stop b", "stop c", "stop d", "start b", "up b", "start c", "up c", "start d", "up d"]
    assert [(child, attempt) for child, _, attempt in world.restarts] == [("inner", 1)]
    assert isinstance(root.statuses()[1].last_error, EscalationError)
    assert [status.restarts for status in root.statuses()[1].children] == [0, 0]
    await stopped(world, task)


@pytest.mark.asyncio
async def test_escalation_reaches_the_root() -> None:
    """A branch that keeps giving up makes the root give up, which ends the run with the first reason in its chain."""
    world = World()
    limits = restart_limits(max_restarts=1)
    quiet = Hooks(on_child_error=lambda child_id, error: world.child_errors.append((child_id, error)))
    inner = world.spec("inner", start=lambda: world.supervisor("b", name="inner", limits=limits, hooks=quiet))
    task = await world.boot(world.supervisor("a", inner, limits=limits))
    for seconds in (2, 4, 6, 8):
        await world.run_to(seconds)
        assert not task.done()
        await world.crash("b")
    error = await ended(task)
    assert isinstance(error, EscalationError)
    assert isinstance(error.__cause__, EscalationError)
    assert isinstance(error.__cause__.__cause__, CrashError)
    assert world.given_up == [error]


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["raises", "hangs"])
async def test_a_bad_give_up_hook_does_not_keep_the_supervisor_alive(fault: str) -> None:
    """The children stop and the error flies whatever the hook does; what it did is noted on the error."""
    world = World()

    async def on_give_up(_failure: EscalationError) -> None:
        if fault == "raises":
            raise CrashError("hook")
        try:
            await asyncio.Event().wait()
        finally:
            world.trace.append("hook ended")

    hooks = Hooks(on_child_error=lambda _child, _error: None, on_give_up=on_give_up, give_up_timeout_ns=S)
    task = await world.boot(world.supervisor("a", "b", limits=restart_limits(max_restarts=0), hooks=hooks))
    await world.crash("a")
    await world.run_to(1)
    error = await ended(task)
    assert isinstance(error, EscalationError)
    expected = {"raises": "on_give_up failed: CrashError('hook')", "hangs": "on_give_up did not end in time"}
    assert error.__notes__ == [expected[fault]]
    assert "stop b" in world.trace
    assert ("hook ended" in world.trace) is (fault == "hangs")


@pytest.mark.asyncio
async def test_the_hook_acts_while_the_others_still_live() -> None:
    """Entries can be cancelled through the executor before it is stopped: giving up is not falling down."""
    world = World()

    async def on_give_up(_failure: EscalationError) -> None:
        await world.clock.sleep(S)
        world.trace.append("entries cancelled")

    hooks = Hooks(on_child_error=lambda _child, _error: None, on_give_up=on_give_up)
    task = await world.boot(
        world.supervisor("a", "b", strategy=Strategy.REST_FOR_ONE, limits=restart_limits(max_restarts=0), hooks=hooks)
    )
    with world.watched() as fresh:
        await world.crash("a")
        await world.run_to(2)
    assert fresh == ["stop a", "entries cancelled", "stop b"]
    assert isinstance(await ended(task), EscalationError)
