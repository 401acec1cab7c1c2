"""Time as a port: the wall clock of a live run and the virtual clock of a replay.

Invariants:
- ``now_ns`` of one clock never decreases.
- A timer fires at most once, never before its time, and never inside the call that set it.
- Nothing but its driver moves a virtual clock, one timer at a time; timers of one instant fire in the order in
  which they were set, so that two runs of the same events are the same run.
"""

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

SAME_INSTANT_TIMERS_MAX: Final = 100_000
"""Timers that may fire without time moving on; more is a timer that sets itself again for now."""


class TimerHandle(Protocol):
    """A timer that has been set."""

    def cancel(self) -> None:
        """Keep the timer from firing; harmless when it has fired or was cancelled."""
        ...


class Clock(Protocol):
    """What every actor, timer and timeout reads; times are nanoseconds since the Unix epoch."""

    def now_ns(self) -> int:
        """Return the present time in ns since the epoch; never less than an earlier answer."""
        ...

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> TimerHandle:
        """Call back at `when_ns`; a time already past means as soon as possible, never at once."""
        ...

    async def sleep_until(self, when_ns: int) -> None:
        """Return at `when_ns`; other tasks run at least once, even where that time is past."""
        if when_ns <= self.now_ns():
            await asyncio.sleep(0)
            return
        due: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.call_at(when_ns, lambda: None if due.done() else due.set_result(None))
        try:
            await due
        finally:
            timer.cancel()

    async def sleep(self, delay_ns: int) -> None:
        """Return `delay_ns` nanoseconds from now; other tasks run at least once."""
        await self.sleep_until(self.now_ns() + delay_ns)


class WallClock(Clock):
    """The machine's time, read once and carried on by the monotonic clock, so that it never jumps.

    Made inside the running event loop, whose timers it uses. A step of the machine's clock (NTP, suspend) does
    not show here: whoever compares clocks sees it as skew.
    """

    def __init__(self) -> None:
        """Take the epoch now. Raises RuntimeError outside a running event loop."""
        self._loop = asyncio.get_running_loop()
        self._epoch_ns = time.time_ns() - time.monotonic_ns()

    def now_ns(self) -> int:
        """Return the wall time at construction plus the monotonic time since, in ns."""
        return self._epoch_ns + time.monotonic_ns()

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> TimerHandle:
        """Call back from the event loop at `when_ns` or as soon after it as the loop is free."""
        return _WallTimer(self, self._loop, when_ns, callback)


def _nothing() -> None:
    """Do what a timer does that is over."""


class _WallTimer:
    """A timer of the event loop that sets itself again when the loop rounds its time down."""

    __slots__ = ("_callback", "_clock", "_handle", "_loop", "_when_ns")

    def __init__(
        self, clock: WallClock, loop: asyncio.AbstractEventLoop, when_ns: int, callback: Callable[[], None]
    ) -> None:
        self._clock = clock
        self._loop = loop
        self._when_ns = when_ns
        self._callback = callback
        self._handle: asyncio.TimerHandle | None = self._arm()

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._let_go()

    def _arm(self) -> asyncio.TimerHandle:
        delay_ns = max(0, self._when_ns - self._clock.now_ns())
        return self._loop.call_at(self._loop.time() + delay_ns / 1e9, self._fire)

    def _fire(self) -> None:
        if self._clock.now_ns() < self._when_ns:
            self._handle = self._arm()
            return
        callback = self._callback
        self._let_go()
        callback()

    def _let_go(self) -> None:
        """Forget whom this timer knows and who knows it: nothing is left for the garbage collector then."""
        self._handle = None
        self._callback = _nothing


class VirtualClock(Clock):
    """Time that stands still until its driver moves it.

    A driver repeats: while `next_timer_ns` is not after the target, `fire_next`, then let the actors settle; then
    `advance_to` the target. `run_to` is that loop.
    """

    def __init__(self, start_ns: int) -> None:
        """Start at `start_ns`, in ns since the epoch."""
        self._now_ns = start_ns
        self._sequence = 0
        self._heap: list[tuple[int, int, _VirtualTimer]] = []
        self._cancelled = 0
        self._fired_now = 0

    def now_ns(self) -> int:
        """Return the time to which the driver has come, in ns."""
        return self._now_ns

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> TimerHandle:
        """Call back when the driver comes to `when_ns`; a past time counts as now and waits for the driver too."""
        timer = _VirtualTimer(self, callback)
        self._sequence += 1
        heapq.heappush(self._heap, (max(when_ns, self._now_ns), self._sequence, timer))
        return timer

    def next_timer_ns(self) -> int | None:
        """Return the time of the earliest timer in ns, or None when no timer is set."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def fire_next(self) -> int | None:
        """Move to the earliest timer, fire that one alone, and return its time; None when no timer is set.

        What the callback raises reaches the driver. Raises RuntimeError when timers keep firing without time
        moving on.
        """
        when_ns = self.next_timer_ns()
        if when_ns is None:
            return None
        self._move_to(when_ns)
        self._fired_now += 1
        if self._fired_now > SAME_INSTANT_TIMERS_MAX:
            msg = f"more than {SAME_INSTANT_TIMERS_MAX} timers fired at {when_ns} ns: a timer sets itself again for now"
            raise RuntimeError(msg)
        timer = heapq.heappop(self._heap)[2]
        callback, timer.callback = timer.callback, None
        if callback is not None:
            callback()
        return when_ns

    def advance_to(self, ts_ns: int) -> None:
        """Move to `ts_ns`, before which every timer has fired.

        Raises ValueError when that is the past, or when a timer that is due by then has not been fired: time would
        run over it.
        """
        due_ns = self.next_timer_ns()
        if due_ns is not None and due_ns <= ts_ns:
            msg = f"a timer is due at {due_ns} ns, fire it before moving to {ts_ns} ns"
            raise ValueError(msg)
        self._move_to(ts_ns)

    async def run_to(self, ts_ns: int, settle: Callable[[], Awaitable[object]]) -> None:
        """Move to `ts_ns`, firing what falls due on the way, one timer at a time, each followed by `settle`.

        Raises ValueError when `ts_ns` is the past, and whatever a timer or `settle` raises.
        """
        while (due_ns := self.next_timer_ns()) is not None and due_ns <= ts_ns:
            self.fire_next()
            await settle()
        self.advance_to(ts_ns)

    def _move_to(self, ts_ns: int) -> None:
        if ts_ns < self._now_ns:
            msg = f"time cannot go back from {self._now_ns} to {ts_ns} ns"
            raise ValueError(msg)
        if ts_ns > self._now_ns:
            self._fired_now = 0
        self._now_ns = ts_ns

    def _note_cancelled(self) -> None:
        """Count a timer that will not fire, and rebuild the heap once they are most of it: timeouts rarely fire."""
        self._cancelled += 1
        if self._cancelled * 2 > len(self._heap) + 64:
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0


class _VirtualTimer:
    """An entry of the heap; its callback is None once it has fired or was cancelled."""

    __slots__ = ("_clock", "callback")

    def __init__(self, clock: VirtualClock, callback: Callable[[], None]) -> None:
        self._clock = clock
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        if self.callback is not None:
            self.callback = None
            self._clock._note_cancelled()  # noqa: SLF001 - the clock and its timers are one unit
