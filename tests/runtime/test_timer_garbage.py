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


class Owner:
    """Holds the timer that calls it back, as whoever may have to cancel it does."""

    def __init__(self, clock: WallClock, delay_ns: int) -> None:
        """Be called back after ``delay_ns``."""
        self.timer = clock.call_at(clock.now_ns() + delay_ns, self.called)

    def called(self) -> None:
        """Be called back."""


@pytest.mark.asyncio
async def test_owner_of_a_timer_that_is_over_is_gone_with_it() -> None:
    """A request's limit and an actor's reminder know their timers: neither pair is a circle once it fired or ended."""
    clock = WallClock()
    over = asyncio.Event()
    gc.collect()
    gc.disable()
    try:
        for _ in range(50):
            Owner(clock, 0)
            Owner(clock, 3_600_000_000_000).timer.cancel()
        clock.call_at(clock.now_ns() + 1, over.set)
        await over.wait()
        await asyncio.sleep(0)
        assert not [one for one in gc.get_objects() if isinstance(one, Owner)]
    finally:
        gc.enable()
