"""A future whose waiter goes on in the very call that settles it, and is like any other in all else."""

import asyncio
from contextvars import ContextVar

import pytest

from hedgegrid.runtime.prompt import Prompt


async def waiting(one: Prompt, trace: list[str]) -> None:
    """Wait, and say so."""
    await one
    trace.append("went on")


@pytest.mark.asyncio
async def test_the_waiter_goes_on_before_anything_else_of_the_loop() -> None:
    """What an order waits for is not behind what became ready meanwhile."""
    one, trace = Prompt(), list[str]()
    task = asyncio.create_task(waiting(one, trace))
    await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    loop.call_soon(one.settle)
    loop.call_soon(trace.append, "a quote")
    await task
    assert trace == ["went on", "a quote"]


@pytest.mark.asyncio
async def test_settled_by_another_task_its_waiter_waits_for_the_next_pass() -> None:
    """Two tasks are never at work within each other."""
    one, trace = Prompt(), list[str]()
    task = asyncio.create_task(waiting(one, trace))
    await asyncio.sleep(0)
    one.settle()
    trace.append("settled")
    await task
    assert trace == ["settled", "went on"]


@pytest.mark.asyncio
async def test_settled_before_it_is_awaited_it_waits_for_nothing() -> None:
    """The disk may be faster than whoever asks."""
    one, trace = Prompt(), list[str]()
    one.settle()
    one.settle()
    await waiting(one, trace)
    assert trace == ["went on"]


@pytest.mark.asyncio
async def test_a_cancelled_waiter_ends_with_its_cancellation_and_settling_comes_too_late() -> None:
    """An actor that is stopped while the disk works ends at once."""
    one, trace = Prompt(), list[str]()
    task = asyncio.create_task(waiting(one, trace))
    await asyncio.sleep(0)
    task.cancel("stopped")
    one.settle()
    with pytest.raises(asyncio.CancelledError, match="stopped"):
        await task
    one.settle()
    assert (trace, one.done(), one.cancel()) == ([], True, False)


@pytest.mark.asyncio
async def test_what_the_waiter_raises_is_its_own_task_s() -> None:
    """Whoever settles it does not meet the errors of those who waited."""
    one = Prompt()

    async def failing() -> None:
        await one
        raise ValueError("of the task")

    task = asyncio.create_task(failing())
    await asyncio.sleep(0)
    one.settle()
    with pytest.raises(ValueError, match="of the task"):
        await task


@pytest.mark.asyncio
async def test_a_time_limit_ends_the_waiting() -> None:
    """Limits of time work on it as on any future."""
    one = Prompt()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await one


@pytest.mark.asyncio
async def test_its_waiter_goes_on_once_however_often_it_is_settled() -> None:
    """A writer may say twice that the disk has it, also to whoever comes when it has it already."""
    one, heard = Prompt(), list[Prompt]()
    one.add_done_callback(heard.append)
    for _ in range(2):
        one.settle()
        await asyncio.sleep(0)
    assert heard == [one]
    one.add_done_callback(heard.append)
    assert heard == [one], "in the next pass, as with any future"
    await asyncio.sleep(0)
    assert heard == [one, one]


@pytest.mark.asyncio
async def test_a_second_waiter_is_refused() -> None:
    """Whoever came first would wait for ever."""
    one = Prompt()
    one.add_done_callback(print)
    with pytest.raises(AssertionError, match="one task waits"):
        one.add_done_callback(print)


@pytest.mark.asyncio
@pytest.mark.parametrize("by_task", [True, False])
async def test_the_waiter_goes_on_in_its_own_context(by_task: bool) -> None:
    """Whose variables were set stays so, whoever settles it: a log says who speaks."""
    name, seen, one = ContextVar("name", default="nobody"), list[str](), Prompt()

    async def named() -> None:
        name.set("waiter")
        await one
        seen.append(name.get())

    task = asyncio.create_task(named())
    await asyncio.sleep(0)
    if by_task:
        one.settle()
    else:
        asyncio.get_running_loop().call_soon(one.settle)
    await task
    assert (seen, name.get()) == (["waiter"], "nobody")


@pytest.mark.asyncio
async def test_cancelled_by_others_than_its_task_it_ends_the_waiting() -> None:
    """As any future: the task that waits is told, once; nobody is told of one for which nobody waits."""
    one, trace = Prompt(), list[str]()
    task = asyncio.create_task(waiting(one, trace))
    await asyncio.sleep(0)
    assert (one.cancel(), one.cancel()) == (True, False)
    with pytest.raises(asyncio.CancelledError):
        await task
    alone = Prompt()
    assert alone.cancel("why")
    with pytest.raises(asyncio.CancelledError, match="why"):
        alone.result()
