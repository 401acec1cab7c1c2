"""The clock of one life: it may be wrong, it may stand still, and while the process does nothing it fires no timer.

Invariants: time of one life never runs backwards (the bot's own clock is carried on by the machine's monotonic one);
what falls due while the process stands still comes when it goes on, in the order in which it fell due; no timer fires
before its time by this clock.
"""

from collections.abc import Callable

from hedgegrid.runtime.clock import Clock, TimerHandle
from hedgegrid.simulation.loop import SeededLoop


class LifeClock(Clock):
    """The loop's time, off by what this life's machine is off."""

    def __init__(self, loop: SeededLoop, offset_ns: int = 0) -> None:
        """``offset_ns``: by how much this life's clock is ahead of the true time."""
        self._loop = loop
        self._frozen_until_ns = 0
        self._stopped_ns: int | None = None
        """This life's time while the machine sleeps; None while it is awake."""
        self._waiting: list[Callable[[], None]] = []
        self.offset_ns = offset_ns
        self.lag_ns = 0
        """How late the event loop was when it last stood still, until somebody has asked."""

    def now_ns(self) -> int:
        """Give this life's time in ns since the epoch; while the machine sleeps it stands still."""
        return self._loop.now_ns + self.offset_ns if self._stopped_ns is None else self._stopped_ns

    def call_at(self, when_ns: int, callback: Callable[[], None]) -> TimerHandle:
        """Call back at ``when_ns`` of this clock, never at once."""
        return _LifeTimer(self, when_ns, callback)

    @property
    def stands(self) -> bool:
        """Whether the process does nothing now."""
        return self._loop.now_ns < self._frozen_until_ns

    def stand(self, duration_ns: int, *, asleep: bool) -> None:
        """Let the process do nothing for a while; ``asleep``: the machine slept, so its own clock stood still too."""
        if self.stands:
            return
        if asleep:
            self._stopped_ns = self.now_ns()
        self._frozen_until_ns = self._loop.now_ns + duration_ns
        self._loop.call_at_ns(self._frozen_until_ns, self._go_on, duration_ns, asleep)

    def _go_on(self, duration_ns: int, asleep: bool) -> None:  # noqa: FBT001 - as a timer gives it
        if asleep:
            self._stopped_ns = None
            self.offset_ns -= duration_ns
        else:
            self.lag_ns = duration_ns
        waiting, self._waiting = self._waiting, []
        for callback in waiting:
            callback()

    def when_it_goes_on(self, callback: Callable[[], None]) -> None:
        """Call back now, or as soon as the process does anything again."""
        if self.stands:
            self._waiting.append(callback)
        else:
            callback()

    def arm(self, when_ns: int, callback: Callable[[], None]) -> TimerHandle:
        """Set a timer of the loop for a time of this clock."""
        return self._loop.call_at_ns(when_ns - self.offset_ns, callback)


class _LifeTimer:
    """A timer that waits on where its clock was set back, or stands."""

    __slots__ = ("_callback", "_cancelled", "_clock", "_handle", "_when_ns")

    def __init__(self, clock: LifeClock, when_ns: int, callback: Callable[[], None]) -> None:
        self._clock = clock
        self._when_ns = when_ns
        self._callback = callback
        self._cancelled = False
        self._handle = clock.arm(when_ns, self._fire)

    def cancel(self) -> None:
        self._cancelled = True
        self._handle.cancel()

    def _fire(self) -> None:
        if self._cancelled:
            return
        clock = self._clock
        if clock.stands:
            clock.when_it_goes_on(self._fire)
        elif clock.now_ns() < self._when_ns:
            self._handle = clock.arm(self._when_ns, self._fire)
        else:
            self._callback()
