"""Time: order of timers, no way back, no timer before its time."""

import asyncio
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.runtime import clock as clock_module
from hedgegrid.runtime.clock import VirtualClock, WallClock
from tests.runtime.harness import START_NS, S, World


@given(st.lists(st.tuples(st.integers(-5, 20), st.booleans()), max_size=40))
def test_timers_fire_in_order_of_time_then_of_setting(timers: list[tuple[int, bool]]) -> None:
    """Two runs of the same events are the same run: ties go by sequence, cancelled timers never fire."""
    clock = VirtualClock(START_NS)
    fired: list[tuple[int, int]] = []
    handles = [
        clock.call_at(START_NS + delay, partial(fired.append, (max(delay, 0), number)))
        for number, (delay, _) in enumerate(timers)
    ]
    for handle, (_, cancelled) in zip(handles, timers, strict=True):
        if cancelled:
            handle.cancel()
            handle.cancel()
    seen: list[int] = []
    while (when_ns := clock.fire_next()) is not None:
        assert clock.now_ns() == when_ns
        seen.append(when_ns)
    assert fired == sorted((max(delay, 0), number) for number, (delay, gone) in enumerate(timers) if not gone)
    assert seen == sorted(seen)


def test_virtual_time_never_goes_back() -> None:
    """A decision may rely on later messages having later times."""
    clock = VirtualClock(START_NS)
    clock.advance_to(START_NS + 5)
    with pytest.raises(ValueError, match="cannot go back"):
        clock.advance_to(START_NS + 4)
    fired: list[int] = []
    clock.call_at(START_NS, lambda: fired.append(clock.now_ns()))
    assert clock.next_timer_ns() == START_NS + 5
    clock.fire_next()
    assert fired == [START_NS + 5]


def test_time_does_not_run_over_a_due_timer() -> None:
    """A driver that forgets to fire a timer is told so, instead of the timer firing late."""
    clock = VirtualClock(START_NS)
    clock.call_at(START_NS + 5, lambda: None)
    clock.advance_to(START_NS + 4)
    with pytest.raises(ValueError, match="is due"):
        clock.advance_to(START_NS + 5)
    clock.fire_next()
    clock.advance_to(START_NS + 5)
    assert clock.next_timer_ns() is None
    assert clock.fire_next() is None


def test_a_timer_that_sets_itself_again_for_now_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is bounded: such a loop would stop time without a sign."""
    monkeypatch.setattr(clock_module, "SAME_INSTANT_TIMERS_MAX", 10)
    clock = VirtualClock(START_NS)

    def again() -> None:
        clock.call_at(clock.now_ns(), again)

    again()
    for _ in range(10):
        clock.fire_next()
    with pytest.raises(RuntimeError, match="sets itself again"):
        clock.fire_next()
    clock = VirtualClock(START_NS)
    for delay_ns in range(20):
        clock.call_at(START_NS + delay_ns, lambda: None)
    while clock.fire_next() is not None:
        pass
    assert clock.now_ns() == START_NS + 19


def test_cancelled_timers_do_not_pile_up() -> None:
    """Timeouts are set for every request and nearly always cancelled: memory stays bounded."""
    clock = VirtualClock(START_NS)
    for _ in range(10_000):
        clock.call_at(START_NS + 3600 * S, lambda: None).cancel()
    assert len(clock._heap) < 200
    kept = clock.call_at(START_NS + 1, lambda: None)
    assert clock.next_timer_ns() == START_NS + 1
    kept.cancel()
    assert clock.next_timer_ns() is None


@pytest.mark.asyncio
async def test_sleepers_wake_one_timer_at_a_time() -> None:
    """Each sleeper acts at its own time, before the next timer fires, whatever the target of the driver is."""
    world = World()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, *delays: int) -> None:
        for delay in delays:
            await world.clock.sleep(delay * S)
            woken.append((name, world.seconds()))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("a", 2, 2))
        group.create_task(sleeper("b", 3, 0))
        group.create_task(sleeper("c", 3))
        await world.run_to(10)
    assert woken == [("a", 2), ("b", 3), ("b", 3), ("c", 3), ("a", 4)]
    assert world.seconds() == 10


@pytest.mark.asyncio
async def test_a_cancelled_sleep_leaves_no_timer() -> None:
    """A cancelled wait must not hold virtual time at its end."""
    world = World()
    task = asyncio.create_task(world.clock.sleep(S))
    await world.settle()
    assert world.clock.next_timer_ns() is not None
    task.cancel()
    await world.settle()
    assert task.cancelled()
    assert world.clock.next_timer_ns() is None


@pytest.mark.asyncio
async def test_wall_timers_never_fire_early() -> None:
    """An order's validity is judged at its timer: a timer that the event loop rounds down sets itself again."""
    clock = WallClock()
    fired: list[tuple[int, int]] = []
    done = asyncio.Event()

    def fire(when_ns: int) -> None:
        fired.append((when_ns, clock.now_ns()))

    for delay_ns in (3_000_001, 1, 2_000_000, -S):
        when_ns = clock.now_ns() + delay_ns
        clock.call_at(when_ns, partial(fire, when_ns))
    clock.call_at(clock.now_ns() + 1_000_000, partial(fire, 0)).cancel()
    clock.call_at(clock.now_ns() + 5_000_000, done.set)
    assert not fired
    await done.wait()
    assert len(fired) == 4
    assert all(fired_ns >= when_ns for when_ns, fired_ns in fired)


@pytest.mark.asyncio
async def test_a_wall_timer_rounded_down_is_set_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Event loops round timers (uvloop to a millisecond): the callback still comes not before its time."""
    clock = WallClock()
    epoch_ns = clock.now_ns()
    readings = iter((epoch_ns, epoch_ns + 1, epoch_ns + 1, epoch_ns + 2, epoch_ns + 2))
    monkeypatch.setattr(clock, "now_ns", lambda: next(readings))
    done = asyncio.Event()
    clock.call_at(epoch_ns + 2, done.set)
    await done.wait()
    assert next(readings) == epoch_ns + 2
    assert next(readings, None) is None


@pytest.mark.asyncio
async def test_wall_sleep_reaches_its_time() -> None:
    """A sleep ends at or after the time that was asked for, and a past one still lets others run."""
    clock = WallClock()
    before_ns = clock.now_ns()
    await clock.sleep(1_000_000)
    assert clock.now_ns() >= before_ns + 1_000_000
    ran: list[bool] = []
    asyncio.get_running_loop().call_soon(ran.append, True)
    await clock.sleep_until(before_ns)
    assert ran
