"""What the watchdog's own thread decides: when the executor has been silent, and the loop blocked, for too long.

Invariants: time counts only as far as the thread itself came round, so that a machine that was asleep is no silence;
what may add risk is taken away before a process is ended; one sign of life ends a silence.
"""

from enum import Enum
from typing import Final

import attrs

_LOOKS_COUNTED: Final = 2
"""The most that one look may add to a silence, in looks: what is longer, the thread was not there itself."""
WEDGED_SILENCES: Final = 10
"""Silences after which a blocked loop counts as wedged: nobody waits for it any more."""


class Deed(Enum):
    """What is to be done after a look."""

    NOTHING = "nothing"
    TAKE_ENTRIES = "take_entries"
    """The executor is silent: what could add risk has to go without it."""
    END = "end"
    """The loop will not come back: the process is to be ended, so that another begins anew."""


@attrs.frozen(kw_only=True)
class VigilLimits:
    """``look_ns``: time between two looks; ``silence_ns``: the silence of the executor that is too long, in ns."""

    look_ns: int
    silence_ns: int

    @property
    def wedged_ns(self) -> int:
        """How long the loop may be blocked before the process is ended."""
        return WEDGED_SILENCES * self.silence_ns


@attrs.frozen(kw_only=True)
class Seen:
    """What the looks so far have shown; ``blocked_ns`` and ``silent_ns``: how long loop and executor did not move."""

    at_ns: int
    beats: int
    moves: int
    blocked_ns: int = 0
    silent_ns: int = 0


def looked(limits: VigilLimits, before: Seen, *, beats: int, moves: int, now_ns: int) -> Seen:
    """Give what is seen after a look at the pulse; ``now_ns`` is of any clock that only goes on."""
    spent_ns = min(now_ns - before.at_ns, _LOOKS_COUNTED * limits.look_ns)
    return Seen(
        at_ns=now_ns,
        beats=beats,
        moves=moves,
        blocked_ns=0 if beats != before.beats else before.blocked_ns + spent_ns,
        silent_ns=0 if moves != before.moves else before.silent_ns + spent_ns,
    )


def deed(limits: VigilLimits, seen: Seen) -> Deed:
    """Give what is to be done about what is seen."""
    if seen.blocked_ns >= limits.wedged_ns:
        return Deed.END
    return Deed.TAKE_ENTRIES if seen.silent_ns >= limits.silence_ns else Deed.NOTHING
