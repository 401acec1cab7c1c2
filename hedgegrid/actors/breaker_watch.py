"""The circuit breaker in the risk actor: it is told of errors, and says when trading pauses for them and when no more.

The decision is ``core.breaker``'s.

Invariants: what it has counted outlives its actor (the house keeps the ``Breaker``), its trip outlives the process (the
journal keeps the reason); one timer at most is set.
"""

from collections.abc import Callable

from hedgegrid.core import breaker, permission
from hedgegrid.core.breaker import Breaker
from hedgegrid.core.pause import ACCOUNT, Reason
from hedgegrid.core.permission import PermissionState
from hedgegrid.core.permission_events import ReasonGone, ReasonRaised
from hedgegrid.messages.events import ExchangeErred


class BreakerWatch:
    """The breaker of one account."""

    def __init__(self, counted: Breaker, *, wake_at: Callable[[int], object]) -> None:
        """Go on with what was ``counted``; ``wake_at`` has the actor look again at a time (ns)."""
        self._breaker = counted
        self._wake_at = wake_at
        self._wake_ns = 0

    def begin(self, state: PermissionState, now_ns: int) -> None:
        """Take up a trip of an earlier life of the process."""
        if (Reason.CIRCUIT_BREAKER, ACCOUNT) in permission.standing(state):
            breaker.take_up(self._breaker, now_ns)
            self._look_later(now_ns)

    def erred(self, message: ExchangeErred, now_ns: int) -> ReasonRaised | None:
        """Count errors; give the reason that they raise."""
        figures = breaker.note(self._breaker, message.errors, now_ns)
        if figures is None:
            return None
        self._look_later(now_ns)
        return ReasonRaised(
            reason=Reason.CIRCUIT_BREAKER, figures={**figures, "newest": message.newest}, resume_after_ns=0
        )

    def look(self, now_ns: int) -> ReasonGone | None:
        """Give the end of a trip that has been quiet for long enough."""
        if not self._breaker.tripped:
            return None
        if breaker.ends(self._breaker, now_ns):
            quiet_ns = now_ns - self._breaker.last_ns
            return ReasonGone(reason=Reason.CIRCUIT_BREAKER, figures={"quiet_ns": quiet_ns})
        self._look_later(now_ns)
        return None

    def _look_later(self, now_ns: int) -> None:
        """Come back when it may be over, where that is not arranged already."""
        if self._wake_ns <= now_ns:
            self._wake_ns = max(breaker.quiet_at_ns(self._breaker), now_ns + 1)
            self._wake_at(self._wake_ns)
