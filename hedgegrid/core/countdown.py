"""Whether the exchange's dead-man's switch is refreshed or taken off, instrument by instrument (DESIGN 15.4).

Invariants: it is refreshed only by a healthy executor, so that silence of any kind lets it fire; where it would strip
protective stops it stands only while nothing is held; what may stand without being wanted is taken off.
"""

from enum import StrEnum

import attrs


class Arming(StrEnum):
    """When the switch is armed. WHEN_SAFE: where it cannot take a protective stop away."""

    WHEN_SAFE = "when_safe"
    ALWAYS = "always"
    NEVER = "never"


class CountdownAct(StrEnum):
    """What to do about the switch now."""

    NONE = "none"
    REFRESH = "refresh"
    DISARM = "disarm"


@attrs.frozen(kw_only=True)
class CountdownRule:
    """``countdown_ms``: the silence after which the exchange cancels. ``strips_stops``: stops go too, or may go too."""

    countdown_ms: int
    strips_stops: bool
    arming: Arming

    @property
    def refresh_ns(self) -> int:
        """The time between two refreshes: a quarter of the countdown, so that some may be lost."""
        return self.countdown_ms * 250_000


def decide(rule: CountdownRule, *, armed: bool, flat: bool, healthy: bool, ending: bool) -> CountdownAct:
    """Say what to do for one instrument.

    ``armed``: the switch may stand at the exchange (an answer that was lost counts as taken). ``flat``: both legs are.
    ``ending``: the run ends cleanly and what it keeps must outlive it. An executor that is not healthy does nothing:
    the switch is there to fire then, but for one that would strip stops.
    """
    safe = rule.arming is Arming.ALWAYS or (rule.arming is Arming.WHEN_SAFE and (flat or not rule.strips_stops))
    if ending or not safe:
        return CountdownAct.DISARM if armed else CountdownAct.NONE
    return CountdownAct.REFRESH if healthy else CountdownAct.NONE
