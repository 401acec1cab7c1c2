"""Why trading pauses: the reasons, their scope, which of them latch, and which take the resting entries away.

Invariant: a reason is either latched (the operator alone clears it, and it survives a restart) or automatic (it clears
after its cause has been gone for a set time).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

ACCOUNT: Final = ""
"""The scope of the whole account; every other scope is an instrument's name."""

Figures = tuple[tuple[str, int | str], ...]
"""Named figures that caused a change, sorted by name; each name carries its unit."""


class Reason(StrEnum):
    """Why trading is paused."""

    FEED_STALE = "feed_stale"
    HEARTBEAT_MISSED = "heartbeat_missed"
    CLOCK_SKEW = "clock_skew"
    RATE_LIMITED = "rate_limited"
    CIRCUIT_BREAKER = "circuit_breaker"
    UNKNOWN_ORDER = "unknown_order"
    STREAM_GAP = "stream_gap"
    """Private events may be lost: the exchange has to be read, and to agree, before anything is added."""
    FUNDING_MISSING = "funding_missing"
    FUNDING_KILL = "funding_kill"
    VOLATILITY_HALT = "volatility_halt"
    JOURNAL_FAILED = "journal_failed"
    LOOP_BLOCKED = "loop_blocked"
    OVERFLOW = "overflow"
    DRAWDOWN = "drawdown"
    DAILY_LOSS = "daily_loss"
    SESSION_LOSS = "session_loss"
    KILL = "kill"
    MARGIN = "margin"
    ORDER_RATE = "order_rate"
    """The limit of orders in a minute was met again and again."""
    OPERATOR = "operator"
    SUPERVISOR = "supervisor"


class ControlAction(StrEnum):
    """What a session control does when it trips."""

    PAUSE = "pause"
    CANCEL_ENTRIES = "cancel_entries"
    FLATTEN = "flatten"


_LATCHED: Final = (
    Reason.DRAWDOWN,
    Reason.DAILY_LOSS,
    Reason.SESSION_LOSS,
    Reason.KILL,
    Reason.MARGIN,
    Reason.ORDER_RATE,
    Reason.OPERATOR,
    Reason.SUPERVISOR,
)
_KEPT: Final = (*_LATCHED, Reason.CIRCUIT_BREAKER)
_CONTROLS: Final = (
    Reason.CIRCUIT_BREAKER,
    Reason.FUNDING_KILL,
    Reason.VOLATILITY_HALT,
    Reason.DRAWDOWN,
    Reason.DAILY_LOSS,
    Reason.SESSION_LOSS,
    Reason.MARGIN,
)
_DANGERS: Final = (
    Reason.FEED_STALE,
    Reason.HEARTBEAT_MISSED,
    Reason.LOOP_BLOCKED,
    Reason.CLOCK_SKEW,
    Reason.JOURNAL_FAILED,
    Reason.OVERFLOW,
    Reason.KILL,
    Reason.ORDER_RATE,
    Reason.SUPERVISOR,
)


def figures_of(figures: Mapping[str, int | str]) -> Figures:
    """Give figures as a tuple sorted by name, so that they are immutable and equal when they say the same."""
    return tuple(sorted(figures.items()))


def is_latched(reason: Reason) -> bool:
    """Whether only the operator clears this reason."""
    return reason in _LATCHED


def is_control(reason: Reason) -> bool:
    """Whether this reason is a session control that tripped."""
    return reason in _CONTROLS


def survives_restart(reason: Reason) -> bool:
    """Whether this reason goes on after a restart: the latched ones, and the breaker's, which a restart may not end."""
    return reason in _KEPT


def cancels_entries(reason: Reason, action: ControlAction = ControlAction.CANCEL_ENTRIES) -> bool:
    """Whether this reason also takes the resting entries away.

    The dangers always do (DESIGN 15.3). A session control does unless its configured ``action`` is PAUSE. The others
    (operator, rate limit, unknown order, stream gap, missing funding) leave what rests.
    """
    return reason in _DANGERS or (reason in _CONTROLS and action is not ControlAction.PAUSE)
