"""Waiting in worlds whose time is the machine's."""

import asyncio
from collections.abc import Callable

from hedgegrid.runtime.clock import Clock

LOOK_S = 0.01


async def follow_the_clock(done: Callable[[], bool]) -> None:
    """Return once ``done``: time passes by itself."""
    while not done():  # noqa: ASYNC110 - what is waited for has no event of its own
        await asyncio.sleep(LOOK_S)


async def stop_or_until(
    stop: asyncio.Event, working: "asyncio.Task[None] | None", clock: Clock, until_ns: int | None
) -> None:
    """Return when ``stop`` is set, ``working`` has ended, or ``until_ns`` has come; raise what ``working`` raised."""
    waits: set[asyncio.Task[object]] = {asyncio.create_task(stop.wait(), name="stop")}
    if until_ns is not None:
        waits.add(asyncio.create_task(clock.sleep_until(until_ns), name="until"))
    try:
        await asyncio.wait({*waits, working} if working is not None else waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
