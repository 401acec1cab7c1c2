"""Timers leave nothing for the garbage collector."""

import asyncio
import gc

import pytest

from hedgegrid.runtime.clock import WallClock


@pytest.mark.asyncio
async def test_a_timer_that_fired_is_gone_at_once() -> None:
    """Hundreds fire in a second: as circles they would pile up until a collection halts whatever is urgent."""
    clock = WallClock()
    fired = asyncio.Event()
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            clock.call_at(clock.now_ns(), lambda: None)
        clock.call_at(clock.now_ns() + 1, fired.set)
        await fired.wait()
        await asyncio.sleep(0)
        assert not [one for one in gc.get_objects() if type(one).__name__ == "_WallTimer"]
    finally:
        gc.enable()
