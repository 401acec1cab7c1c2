"""Several calls at once, of which an error comes out as itself."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def together(*calls: Coroutine[Any, Any, T]) -> list[T]:
    """Await all calls at once and give their results in order; the first has begun before the second does.

    The first error of a call ends the others and is raised as itself: those who catch ours look for its kind, which an
    ``ExceptionGroup`` hides. A cancellation stays one.
    """
    if not calls:
        return []
    # The first needs no task of its own, which would only wait for the next pass of the loop.
    first, *others = calls
    if not others:
        return [await first]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in others]
            result = await first
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [result, *(task.result() for task in tasks)]
