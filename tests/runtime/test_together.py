"""Calls at once: results in order, and an error that comes out as itself."""

import asyncio

import pytest

from hedgegrid.errors import Fatal
from hedgegrid.runtime.together import together


async def _given(value: int, turns: int = 1) -> int:
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


async def _failing() -> int:
    await asyncio.sleep(0)
    raise Fatal("the key is refused")


@pytest.mark.asyncio
async def test_results_come_in_the_order_of_the_calls() -> None:
    """Whoever ends first, each result stands where its call stood."""
    assert await together(_given(1, 5), _given(2), _given(3, 3)) == [1, 2, 3]
    assert await together() == []


@pytest.mark.asyncio
async def test_the_first_begins_at_once_and_before_the_others() -> None:
    """What stands first, a cancel before placements, is on its way first, and waits for no pass of the loop."""
    begun: list[int] = []

    async def begins(number: int) -> int:
        begun.append(number)
        await asyncio.sleep(0)
        return number

    calls = asyncio.create_task(together(begins(1), begins(2), begins(3)))
    await asyncio.sleep(0)
    assert begun == [1]
    assert await calls == [1, 2, 3]
    assert begun == [1, 2, 3]


@pytest.mark.asyncio
async def test_an_error_comes_out_as_itself() -> None:
    """Those who look for one of our four errors find it: no group is around it, and the other calls have ended."""
    other = asyncio.Event()

    async def waits() -> int:
        try:
            await asyncio.Event().wait()
        finally:
            other.set()
        return 0

    with pytest.raises(Fatal, match="the key is refused"):
        await together(waits(), _failing())
    assert other.is_set()


@pytest.mark.asyncio
async def test_a_cancellation_stays_one() -> None:
    """Whoever awaits calls can be cancelled, and the calls with it."""
    task = asyncio.create_task(together(_given(1, 10_000_000)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
