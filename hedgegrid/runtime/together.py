"""Several calls at once, of which an error comes out as itself."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def together(*calls: Coroutine[Any, Any, T]) -> list[T]:
    """Await all calls at once and give their results in order.

    The first error of a call ends the others and is raised as itself: those who catch ours look for its kind, which an
    ``ExceptionGroup`` hides. A cancellation stays one.
    """
    if len(calls) == 1:
        # A task of its own would only wait for the next pass of the loop.
        return [await calls[0]]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]
