"""The clock of one life: what a machine that sleeps, or a loop that stands still, does to its time and its timers."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from hedgegrid.simulation.life_clock import LifeClock
from hedgegrid.simulation.loop import LoopClock, SeededLoop
from hedgegrid.units import NS_PER_S

START_NS = 1_767_225_600 * NS_PER_S
SLEEP_NS = 600 * NS_PER_S


def run(work: Callable[[LifeClock, LoopClock], Coroutine[Any, Any, Any]]) -> Any:
    """Run something by a life's clock and the true one."""
    loop = SeededLoop(1, start_ns=START_NS)  # type: ignore[abstract]
    try:
        return loop.run_until_complete(work(LifeClock(loop), LoopClock(loop)))
    finally:
        loop.close()


def test_time_stands_still_while_the_machine_sleeps() -> None:
    """It never runs backwards: else what is set during the sleep comes late by all of it."""

    async def work(life: LifeClock, true: LoopClock) -> list[int]:
        life.stand(SLEEP_NS, asleep=True)
        seen: list[int] = []
        for _ in range(4):
            seen.append((life.now_ns() - START_NS) // NS_PER_S)
            await true.sleep(SLEEP_NS // 2)
        return seen

    assert run(work) == [0, 0, 0, 300]


@pytest.mark.parametrize(("asleep", "rang_s"), [(True, 601), (False, 600)])
def test_what_is_set_while_the_machine_sleeps_comes_when_it_is_awake(asleep: bool, rang_s: int) -> None:
    """A restart after one second comes one second after the sleep; where only the loop stood, as soon as it goes on."""

    async def work(life: LifeClock, true: LoopClock) -> int:
        rang: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        life.stand(SLEEP_NS, asleep=asleep)
        await true.sleep(SLEEP_NS // 2)
        life.call_at(life.now_ns() + NS_PER_S, lambda: rang.set_result(true.now_ns()))
        return await rang

    assert run(work) == START_NS + rang_s * NS_PER_S
