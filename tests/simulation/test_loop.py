"""The seeded loop: asyncio as it is known, in time and order that the seed decides."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from hedgegrid.simulation.loop import LoopClock, SeededLoop, StuckError
from hedgegrid.units import NS_PER_S

START_NS = 1_767_225_600 * NS_PER_S


def run(work: Callable[[SeededLoop], Coroutine[Any, Any, Any]], seed: int = 1, *, shuffled: bool = True) -> Any:
    """Run something in a loop of its own."""
    loop = SeededLoop(seed, start_ns=START_NS, shuffled=shuffled)  # type: ignore[abstract]
    try:
        return loop.run_until_complete(work(loop))
    finally:
        loop.close()


def test_time_moves_to_the_next_timer_and_nowhere_else() -> None:
    """A year passes at once, to the nanosecond, and nothing that is ready waits for it."""

    async def work(loop: SeededLoop) -> list[int]:
        clock = LoopClock(loop)
        await clock.sleep_until(START_NS + 1)
        seen = [clock.now_ns() - START_NS]
        await asyncio.sleep(0)
        seen.append(clock.now_ns() - START_NS)
        await clock.sleep(365 * 86_400 * NS_PER_S)
        seen.append(clock.now_ns() - START_NS)
        return seen

    assert run(work) == [1, 1, 365 * 86_400 * NS_PER_S + 1]


def test_the_seed_alone_decides_the_order() -> None:
    """Ten tasks that are ready at once run in an order that is the seed's; unshuffled they run as they came."""

    async def work(_: SeededLoop) -> list[int]:
        order: list[int] = []

        async def one(number: int) -> None:
            order.append(number)

        await asyncio.gather(*(one(number) for number in range(10)))
        return order

    assert run(work, 1) == run(work, 1)
    assert {tuple(run(work, seed)) for seed in range(8)} != {tuple(range(10))}
    assert run(work, 5, shuffled=False) == list(range(10))


def test_what_is_made_ready_waits_for_what_was() -> None:
    """Whatever the seed, a callback runs before anything that it schedules."""

    async def work(loop: SeededLoop) -> list[str]:
        order: list[str] = []
        for name in "abc":
            loop.call_soon(_then, loop, order, name)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return order

    for seed in range(20):
        order = run(work, seed)
        assert {*order[:3]} == {*"abc"}
        assert {*order[3:]} == {*"ABC"}


def _then(loop: SeededLoop, order: list[str], name: str) -> None:
    """Note a name, and have its capital noted later."""
    order.append(name)
    loop.call_soon(order.append, name.upper())


def test_asyncio_is_as_ever() -> None:
    """Timeouts, task groups, events, cancellation and exceptions mean what they mean elsewhere."""

    async def work(_: SeededLoop) -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.get_running_loop().create_future()
        with pytest.raises(ExceptionGroup):
            await _fail_together()
        event = asyncio.Event()
        waiting = asyncio.create_task(event.wait())
        event.set()
        assert await waiting
        hanging = asyncio.create_task(asyncio.sleep(1_000))
        await asyncio.sleep(0)
        hanging.cancel()
        with pytest.raises(asyncio.CancelledError):
            await hanging
        return await asyncio.to_thread(lambda: "inline")

    assert run(work) == "inline"


async def _fail_together() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(100))
        group.create_task(_fail())


async def _fail() -> None:
    raise ValueError("as planned")


def test_a_cancelled_timer_moves_no_time() -> None:
    """What will not happen is not waited for."""

    async def work(loop: SeededLoop) -> float:
        loop.call_later(1_000, lambda: None).cancel()
        await asyncio.sleep(1)
        return loop.time()

    assert run(work) == 1.0


def test_a_loop_that_waits_for_nothing_says_so() -> None:
    """A future that nobody can set is found, and so is a task that wakes itself for ever."""

    async def for_ever(loop: SeededLoop) -> None:
        await loop.create_future()

    async def spinning(_: SeededLoop) -> None:
        while True:  # noqa: ASYNC110 - what such a bug does
            await asyncio.sleep(0)

    with pytest.raises(StuckError, match="no timer is set"):
        run(for_ever)
    with pytest.raises(StuckError, match="wakes itself"):
        run(spinning)
