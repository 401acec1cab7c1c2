"""What an operator may ask of a running account, and what is answered: the port behind ``/api/v1`` and its clients.

Invariants: asking is never doing: a word travels to the actors as a message, and the answer tells what is known by now;
FLAT is said only where the exchange was read twice and showed it (law 8).
"""

from enum import StrEnum
from typing import Protocol

import attrs


class FlattenStage(StrEnum):
    """How far a flatten has come."""

    NONE = "none"
    """Nobody has asked for one since the account was last resumed."""
    UNDER_WAY = "under_way"
    FLAT = "flat"
    LEFT = "left"
    """It has ended, or is stuck, with something that is still held."""


@attrs.frozen(kw_only=True)
class FlattenState:
    """A flatten as it stands: ``legs`` in words, ``left`` what is still held or open, ``foreign`` what is not ours.

    ``age_s``: seconds since it was asked for, None where nobody has.
    """

    stage: FlattenStage
    legs: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    age_s: float | None = None


@attrs.frozen(kw_only=True)
class Taken:
    """The answer to a control: it is on its way."""

    asked: str


@attrs.frozen(kw_only=True)
class Trip:
    """When a control last acted, on what (``scope`` "": the account), how often ever, and with which figures."""

    ts_ns: int
    age_s: float
    scope: str
    times: int
    figures: dict[str, str]


@attrs.frozen(kw_only=True)
class ControlReading:
    """A control, ``kind`` gate or session: its limit beside its present value, both in ``unit``; unknown is None.

    ``headroom``: how far the value may go, negative beyond the limit. ``stands``: it holds something back now.
    ``action``: what it does (refuse, pause, cancel_entries, flatten). One that is not ``enabled`` is not judged.
    ``refusals`` are of this run; ``last_trip`` of this run or any before. ``unreachable``: there is no value because
    nothing leads there (no move liquidates), not because it is unknown.
    """

    control: str
    kind: str
    scope: str
    unit: str
    limit: float | None
    value: float | None
    headroom: float | None
    stands: bool
    action: str
    enabled: bool
    refusals: int
    last_trip: Trip | None
    unreachable: bool = False


class Control(Protocol):
    """The running account, for an operator. Every call returns at once."""

    def pause(self) -> None:
        """Latch a pause: nothing that increases a leg is sent until ``resume``."""
        ...

    def resume(self, *, new_peak: bool) -> None:
        """Lift the latched reasons; a drawdown only with ``new_peak``."""
        ...

    def throttle(self, factor_ppm: int) -> None:
        """Scale the quantity of new entries, 0..1e6 ppm."""
        ...

    def cancel_entries(self) -> None:
        """Take every resting entry away."""
        ...

    def kill(self) -> bool:
        """Throw the kill switch; False where the settings have it off, and nothing is done."""
        ...

    def flatten(self, legs: tuple[str, ...]) -> None:
        """Close ``legs`` ("long", "short") of every instrument at the market, and stay paused."""
        ...

    def flattening(self) -> FlattenState:
        """Tell how far a flatten is."""
        ...

    def controls(self) -> tuple[ControlReading, ...]:
        """Give each control beside its present value."""
        ...
