"""The end of a process that is bounded in wall time, whatever hangs.

Invariants: once an end has begun the process is gone after ``seconds`` at the latest, by a thread that waits for
nobody; a second signal ends it at once; what is disarmed ends nothing.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Final

from hedgegrid.runtime.specs import EXIT_UNSTOPPABLE

SECOND_S: Final = 0.3
"""A signal this soon after the first is the same one, sent to the group and passed on by a wrapper."""


class Ending:
    """Bounds one end."""

    def __init__(self, *, seconds: float, leave: Callable[[int], object] = os._exit) -> None:
        """``leave`` ends the process with a status."""
        self._seconds = seconds
        self._leave = leave
        self._timer: threading.Timer | None = None
        self._heard_s: float | None = None
        self._over = False

    def hear(self, numbers: Iterable[signal.Signals]) -> None:
        """Bound the end that any of these signals begins; whoever handles them in the event loop still does.

        To be called in the main thread, after the loop has its handlers.
        """
        for number in numbers:
            signal.signal(number, self._on_signal)
            signal.siginterrupt(number, False)  # noqa: FBT003 - the standard library's signature

    def begin(self) -> None:
        """Let the time run, once, unless the end has come already."""
        if self._timer is None and not self._over:
            self._timer = threading.Timer(self._seconds, self._leave, (EXIT_UNSTOPPABLE,))
            self._timer.daemon = True
            self._timer.start()

    def disarm(self) -> None:
        """The end has come by itself: nothing ends the process any more."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Begin the end at the first signal, and end at the second; a terminal that closes may hang up twice."""
        now_s = time.monotonic()  # ambient: an end is bounded in wall time
        if self._heard_s is None:
            self._heard_s = now_s
            self.begin()
        elif number != signal.SIGHUP and now_s - self._heard_s >= SECOND_S:
            self._leave(EXIT_UNSTOPPABLE)
