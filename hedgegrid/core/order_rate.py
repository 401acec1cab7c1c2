"""How many orders the account has sent in the last minute, and when meeting that limit again and again latches.

Every order that the gate lets pass counts, reductions and retries too; only entries are refused for it (15.1). Seconds
are counted whole and the oldest one too, so what counts lies at most 61 s back, and never less than a minute of orders:
no sliding minute holds more than the limit by entries.

A breach is an entry that was refused for it. ``LATCH_MINUTES`` different minutes of the clock with a breach, within
``LATCH_SPAN_MINUTES`` minutes, latch: a grid that meets this limit now and then is throttled, one that lives at it is
wrong, and a person has to look.

Invariants: ``pace.orders`` is the sum of ``beats``, a ring of the seconds that have orders, oldest first (so a silence
is walked over at once); time that goes backwards counts as standing still.
"""

from hedgegrid.core.gate_records import Beat, Pace
from hedgegrid.units import NS_PER_MINUTE, NS_PER_S

SECONDS = 61
"""How many seconds are counted, the present one and the one in which the minute began among them."""
LATCH_MINUTES = 3
LATCH_SPAN_MINUTES = 10


def advance(pace: Pace, beats: list[Beat], now_ns: int) -> None:
    """Forget what lies more than a minute back."""
    pace.second = max(pace.second, now_ns // NS_PER_S)
    while pace.counted > 0 and beats[pace.oldest].second <= pace.second - SECONDS:
        beat = beats[pace.oldest]
        pace.orders -= beat.orders
        beat.orders = 0
        pace.oldest = (pace.oldest + 1) % SECONDS
        pace.counted -= 1


def note_sent(pace: Pace, beats: list[Beat]) -> None:
    """Count an order that passed at the time of the last ``advance``."""
    if pace.counted == 0 or beats[_newest(pace)].second != pace.second:
        pace.counted += 1
        beats[_newest(pace)].second = pace.second
    beats[_newest(pace)].orders += 1
    pace.orders += 1


def _newest(pace: Pace) -> int:
    """Give the place of the newest second with orders."""
    return (pace.oldest + pace.counted - 1) % SECONDS


def note_breach(pace: Pace, now_ns: int) -> None:
    """Take note that an entry was refused now; ``pace.latches`` becomes 1 where that was once too often."""
    # The first minute is 1: 0 stands for none.
    minute = now_ns // NS_PER_MINUTE + 1
    if minute == pace.breach_1:
        return
    pace.breach_3 = pace.breach_2
    pace.breach_2 = pace.breach_1
    pace.breach_1 = minute
    if pace.breach_3 > 0 and minute - pace.breach_3 < LATCH_SPAN_MINUTES:
        pace.latches = 1


def forget_breaches(pace: Pace) -> None:
    """Count breaches from nothing: it has latched, or the operator has resumed."""
    pace.breach_1 = 0
    pace.breach_2 = 0
    pace.breach_3 = 0
    pace.latches = 0
