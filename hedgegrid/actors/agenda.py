"""What an actor has to look at later, each thing under a name, with one timer for all of them.

Invariants: a name has one time; at most one timer is set; without entries there is none, so that a run in virtual time
has no more timers than it needs.
"""

from collections.abc import Callable

from hedgegrid.runtime.clock import Clock, TimerHandle


class Agenda:
    """Names and the times at which they are due."""

    def __init__(self, clock: Clock, wake: Callable[[int], TimerHandle]) -> None:
        """``wake(at)`` has the actor woken at a time, in ns; it then calls ``due``."""
        self._clock = clock
        self._wake = wake
        self._times: dict[str, int] = {}
        self._timer: TimerHandle | None = None
        self._timer_ns = 0

    def put(self, name: str, when_ns: int | None) -> None:
        """Have ``name`` fall due at ``when_ns``, in place of any other time; None: not at all."""
        if when_ns is None:
            self._times.pop(name, None)
        else:
            self._times[name] = when_ns
        self._set()

    def put_first(self, name: str, when_ns: int) -> None:
        """Have ``name`` fall due at ``when_ns`` unless it is due before that."""
        if name not in self._times or when_ns < self._times[name]:
            self.put(name, when_ns)

    def has(self, name: str) -> bool:
        """Tell whether ``name`` waits for its time."""
        return name in self._times

    def due(self) -> tuple[str, ...]:
        """Give, and forget, the names whose time has come; set the timer for the rest."""
        now_ns = self._clock.now_ns()
        names = tuple(name for name, when_ns in self._times.items() if when_ns <= now_ns)
        for name in names:
            del self._times[name]
        self._timer = None
        self._set()
        return names

    def _set(self) -> None:
        first_ns = min(self._times.values(), default=None)
        if self._timer is not None:
            if first_ns == self._timer_ns:
                return
            self._timer.cancel()
            self._timer = None
        if first_ns is not None:
            self._timer_ns = first_ns
            self._timer = self._wake(first_ns)
