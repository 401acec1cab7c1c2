"""The circuit breaker: too many errors and refusals of the exchange in a window stop what adds risk (section 6).

What counts: each order that the exchange refused, each request whose outcome it left open, each cancel and each reading
that failed. What does not: refusals of our own gate (15.15), post-only rejections and stops on the wrong side of the
mark (both are answered otherwise at once), and what a rate limit kept back, which has a reason of its own.

Invariants: it trips at one more than ``max_errors`` within the window, never at fewer; once tripped it says so once,
and each further error begins its quiet anew; it is over only after ``cooldown_ns`` without an error, and counts from
nothing then.
"""

from collections import deque

import attrs

from hedgegrid.core.pause import ControlAction
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind

_REFUSALS = (EndReason.REFUSED, EndReason.MARGIN, EndReason.REDUCE_REFUSED, EndReason.MODE)
_ENDS = (OrderEventKind.REJECTED, OrderEventKind.EXPIRED)


@attrs.frozen(kw_only=True)
class BreakerLimits:
    """What it is told: ``max_errors`` may lie in a window of ``window_ns``; ``cooldown_ns`` of quiet end a trip."""

    enabled: bool = False
    max_errors: int = 1
    window_ns: int = 1
    cooldown_ns: int = 1
    action: ControlAction = ControlAction.PAUSE


@attrs.define(eq=False, kw_only=True)
class Breaker:
    """The newest errors, by our clock, and whether it has tripped; ``last_ns`` is when the newest came."""

    limits: BreakerLimits
    times_ns: deque[int] = attrs.field(init=False)
    tripped: bool = False
    last_ns: int = 0

    def __attrs_post_init__(self) -> None:
        """Keep as many as it takes to trip."""
        self.times_ns = deque(maxlen=self.limits.max_errors + 1)


def is_error(event: OrderEvent) -> bool:
    """Tell whether what the exchange says of an order that lived is an error that counts."""
    return event.kind is OrderEventKind.UNKNOWN or (event.kind in _ENDS and event.reason in _REFUSALS)


def note(breaker: Breaker, errors: int, now_ns: int) -> dict[str, int] | None:
    """Count errors that were told now; give the figures of the trip where these make it trip."""
    limits = breaker.limits
    if not limits.enabled or errors <= 0:
        return None
    breaker.last_ns = now_ns
    while breaker.times_ns and now_ns - breaker.times_ns[0] >= limits.window_ns:
        breaker.times_ns.popleft()
    within = len(breaker.times_ns) + errors
    breaker.times_ns.extend([now_ns] * min(errors, limits.max_errors + 1))
    if breaker.tripped or within <= limits.max_errors:
        return None
    breaker.tripped = True
    return {
        "errors": within,
        "limit": limits.max_errors,
        "window_ns": limits.window_ns,
        "within_ns": now_ns - breaker.times_ns[0],
        "cooldown_ns": limits.cooldown_ns,
    }


def take_up(breaker: Breaker, now_ns: int) -> None:
    """Go on with a trip of an earlier life: nobody counted meanwhile, so its quiet begins now."""
    if not breaker.tripped:
        breaker.tripped = True
        breaker.last_ns = now_ns


def quiet_at_ns(breaker: Breaker) -> int:
    """Give when it will have been quiet for long enough, if no further error comes."""
    return breaker.last_ns + breaker.limits.cooldown_ns


def ends(breaker: Breaker, now_ns: int) -> bool:
    """Tell whether a trip is over by now; it counts from nothing then. A breaker that is switched off holds none."""
    if not breaker.tripped or (breaker.limits.enabled and now_ns < quiet_at_ns(breaker)):
        return False
    breaker.tripped = False
    breaker.times_ns.clear()
    return True
