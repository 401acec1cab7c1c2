"""The clocks of orders whose outcome is not known: when each is looked at, and when it pauses its instrument.

Invariants: each order has a clock of its own; looks come at growing intervals with a longest one, and never end while
the doubt stands; an instrument pauses only when its oldest doubt is older than the limit (DESIGN 15.15).
"""

from collections.abc import Iterable
from typing import Final

import attrs

LOOK_NS: Final = 1_000_000_000
"""Time from the doubt to its first look, and between the first looks."""
LOOK_MAX_NS: Final = 8 * LOOK_NS
"""The longest time between two looks."""


@attrs.frozen(kw_only=True)
class Doubt:
    """An order whose outcome nobody knows: since when, how often it was looked at, and when the next look is due."""

    client_id: str
    instrument: str
    since_ns: int
    next_ns: int
    looks: int = 0


@attrs.frozen(kw_only=True)
class OverdueDoubts:
    """An instrument that has to pause: how many of its orders are in doubt, and the age of the oldest."""

    instrument: str
    orders: int
    oldest: str
    age_ns: int


def begun(client_id: str, instrument: str, now_ns: int) -> Doubt:
    """Give a doubt that has just arisen."""
    return Doubt(client_id=client_id, instrument=instrument, since_ns=now_ns, next_ns=now_ns + LOOK_NS)


def looked(doubt: Doubt, now_ns: int) -> Doubt:
    """Give the doubt after a look that did not end it: the wait doubles, up to the longest."""
    return attrs.evolve(doubt, looks=doubt.looks + 1, next_ns=now_ns + again_ns(doubt.looks))


def again_ns(tries: int) -> int:
    """Give how long to wait after ``tries`` that came to nothing, before the next: it doubles, up to the longest."""
    return min(LOOK_NS << min(tries, 8), LOOK_MAX_NS)


def next_look_ns(doubts: Iterable[Doubt]) -> int | None:
    """Give when the next look is due; None without doubts."""
    return min((one.next_ns for one in doubts), default=None)


def overdue(doubts: Iterable[Doubt], pause_ns: int, now_ns: int) -> tuple[OverdueDoubts, ...]:
    """Give the instruments whose oldest doubt is older than ``pause_ns``, by name."""
    oldest: dict[str, Doubt] = {}
    counts: dict[str, int] = {}
    for one in doubts:
        counts[one.instrument] = counts.get(one.instrument, 0) + 1
        if one.instrument not in oldest or one.since_ns < oldest[one.instrument].since_ns:
            oldest[one.instrument] = one
    return tuple(
        OverdueDoubts(
            instrument=name,
            orders=counts[name],
            oldest=oldest[name].client_id,
            age_ns=now_ns - oldest[name].since_ns,
        )
        for name in sorted(oldest)
        if now_ns - oldest[name].since_ns > pause_ns
    )


def next_pause_ns(doubts: Iterable[Doubt], pause_ns: int, now_ns: int) -> int | None:
    """Give when a doubt that is not too old yet becomes so; None where there is none."""
    return min((one.since_ns + pause_ns + 1 for one in doubts if one.since_ns + pause_ns >= now_ns), default=None)
