"""Which pauses stand, as a table of integers: the permission of an execution that has no actors.

The actors' ``core.permission`` is the same rule in messages; a test drives both with the same events.

Invariants: a reason stands once a scope; an automatic one goes only after its cause has been gone for
``resume_after_ns``, at a look of the clock that ticks while anything stands; a latched one never goes by itself.
"""

from typing import Final

from hedgegrid.core.codes import FREE, NEVER_NS
from hedgegrid.core.gate_records import Pause, Standing
from hedgegrid.core.session import FLATTEN, PAUSE
from hedgegrid.units import NS_PER_S

FEED_STALE: Final = 1
FUNDING_MISSING: Final = 2
OVERFLOW: Final = 3
VOLATILITY_HALT: Final = 4
FUNDING_KILL: Final = 5
DRAWDOWN: Final = 6
DAILY_LOSS: Final = 7
SESSION_LOSS: Final = 8
MARGIN: Final = 9
ORDER_RATE: Final = 10
REASON_NAMES: Final = (
    "",
    "feed_stale",
    "funding_missing",
    "overflow",
    "volatility_halt",
    "funding_kill",
    "drawdown",
    "daily_loss",
    "session_loss",
    "margin",
    "order_rate",
)

ACCOUNT: Final = -1
"""The scope of the whole account; any other is an instrument's index."""

CAUSE_THERE: Final = 1
RECOVERING: Final = 2

TICK_NS: Final = NS_PER_S
"""How often the recovery of a reason is looked at while anything stands."""


def find(pauses: list[Pause], reason: int, instrument: int) -> int:
    """Give the row of a reason that stands for this scope, or -1."""
    for i in range(len(pauses)):
        if pauses[i].state != FREE and pauses[i].reason == reason and pauses[i].instrument == instrument:
            return i
    return -1


def begin(
    standing: Standing, pauses: list[Pause], reason: int, instrument: int, action: int, latched: int, now_ns: int
) -> bool:
    """Let a reason stand, or end its recovery; False where its cause stood already. ``action`` is of ``session``."""
    index = find(pauses, reason, instrument)
    if index >= 0:
        if pauses[index].state == CAUSE_THERE:
            return False
        pauses[index].state = CAUSE_THERE
        standing.recovering -= 1
        return True
    for i in range(len(pauses)):
        pause = pauses[i]
        if pause.state == FREE:
            pause.state = CAUSE_THERE
            pause.reason = reason
            pause.instrument = instrument
            pause.cancels = 0 if action == PAUSE else 1
            pause.flattens = 1 if action == FLATTEN else 0
            pause.latched = latched
            standing.flattens += pause.flattens
            if standing.count == 0:
                standing.tick_ns = now_ns + TICK_NS
            standing.count += 1
            return True
    return False


def cease(standing: Standing, pauses: list[Pause], reason: int, instrument: int, now_ns: int) -> bool:
    """The cause is gone: an automatic reason recovers from now on. False where there is nothing to recover."""
    index = find(pauses, reason, instrument)
    if index < 0 or pauses[index].latched == 1 or pauses[index].state != CAUSE_THERE:
        return False
    pauses[index].state = RECOVERING
    pauses[index].gone_ns = now_ns
    standing.recovering += 1
    return True


def tick(standing: Standing, pauses: list[Pause], now_ns: int) -> int:
    """Clear what has recovered by ``now_ns``, a time of the ticking clock; give how many reasons went."""
    cleared = 0
    recovering = 0
    for i in range(len(pauses)):
        pause = pauses[i]
        if pause.state != RECOVERING:
            continue
        if now_ns - pause.gone_ns >= standing.resume_after_ns:
            pause.state = FREE
            standing.count -= 1
            standing.flattens -= pause.flattens
            cleared += 1
        else:
            recovering += 1
    standing.recovering = recovering
    standing.tick_ns = now_ns + TICK_NS if standing.count > 0 else NEVER_NS
    return cleared


def next_tick_ns(standing: Standing, pauses: list[Pause]) -> int:
    """Give the first tick at which something will clear, or NEVER_NS: the ticks before it do nothing."""
    due = NEVER_NS
    if standing.recovering == 0:
        return due
    for i in range(len(pauses)):
        if pauses[i].state != RECOVERING:
            continue
        # A tick at the very moment at which the cause goes has been: timers fire before what else happens then.
        wait = pauses[i].gone_ns + max(standing.resume_after_ns, 1) - standing.tick_ns
        ticks = -((-wait) // TICK_NS) if wait > 0 else 0
        due = min(due, standing.tick_ns + ticks * TICK_NS)
    return due


def may_add(standing: Standing, pauses: list[Pause], instrument: int) -> bool:
    """Tell whether a leg of an instrument may grow."""
    if standing.flattening == 1:
        return False
    if standing.count == 0:
        return True
    for i in range(len(pauses)):
        if pauses[i].state != FREE and (pauses[i].instrument == ACCOUNT or pauses[i].instrument == instrument):
            return False
    return True


def closes(standing: Standing, pauses: list[Pause], instrument: int) -> bool:
    """Tell whether a reason stands that closes an instrument's legs."""
    if standing.flattens == 0:
        return False
    for i in range(len(pauses)):
        pause = pauses[i]
        if (
            pause.state != FREE
            and pause.flattens == 1
            and (pause.instrument == ACCOUNT or pause.instrument == instrument)
        ):
            return True
    return False


def holds_entries(standing: Standing, pauses: list[Pause], instrument: int) -> bool:
    """Tell whether an instrument's resting entries must go too."""
    if standing.flattening == 1:
        return True
    for i in range(len(pauses)):
        pause = pauses[i]
        if (
            pause.state != FREE
            and pause.cancels == 1
            and (pause.instrument == ACCOUNT or pause.instrument == instrument)
        ):
            return True
    return False
