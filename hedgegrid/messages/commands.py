"""What one actor asks of another."""

from collections.abc import Mapping
from typing import Final

import attrs

from hedgegrid.messages.events import Message
from hedgegrid.model.order import Leg, OrderRequest


@attrs.frozen(kw_only=True)
class IntentBatch(Message):
    """What a strategy wants done, in order: cancels, placements, retirements once the placements stand.

    ``amends``: entries that rest, each under the id that it has, with the whole quantity that it is to have.
    """

    instrument: str
    orders: tuple[OrderRequest, ...]
    cancels: tuple[str, ...]
    retires: tuple[str, ...]
    amends: tuple[OrderRequest, ...] = ()


@attrs.frozen(kw_only=True)
class Wake(Message):
    """A moment has come that the receiver asked for."""


@attrs.frozen(kw_only=True)
class Rehydrate(Message):
    """Tell me where I stand: the exchange's word on one instrument, or on all ("").

    It goes through the risk actor to the executor, so that whatever was asked for before it has been dealt with.
    """

    instrument: str
    why: str


@attrs.frozen(kw_only=True)
class NeedHistory(Message):
    """Give a strategy the bars up to now."""

    instrument: str


@attrs.frozen(kw_only=True)
class RaiseReason(Message):
    """Pause: a reason exists. ``scope`` is "" for the account, else an instrument."""

    reason: str
    scope: str
    figures: Mapping[str, str]


@attrs.frozen(kw_only=True)
class ClearReason(Message):
    """The cause of a reason is gone; trading resumes once it has stayed away for its time."""

    reason: str
    scope: str
    figures: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Pause(Message):
    """The operator pauses the account: nothing that increases a leg is sent."""


@attrs.frozen(kw_only=True)
class Resume(Message):
    """The operator lifts the latched reasons; a drawdown only with ``new_peak``, which makes this equity the peak."""

    new_peak: bool = False


@attrs.frozen(kw_only=True)
class Throttle(Message):
    """The operator scales the quantity of new entries, 0..1e6 ppm."""

    factor_ppm: int


@attrs.frozen(kw_only=True)
class Halt(Message):
    """The run is stopping: no entry is added from now on, and those that rest go; exits and protective stops stay."""


@attrs.frozen(kw_only=True)
class StandDown(Message):
    """The run ends cleanly and keeps orders: the exchange's dead-man's switch is taken off."""


@attrs.frozen(kw_only=True)
class CancelEntries(Message):
    """Take every resting entry away; exits and protective stops stay."""


@attrs.frozen(kw_only=True)
class Flatten(Message):
    """Take every entry of ``legs`` away and close them at the market.

    By the operator's word it is latched: it goes on until the legs are flat, over restarts too, and the account stays
    paused after that. A strategy closes them slice by slice, measured at ``mark_ticks`` (0: at the mark that it knows).
    """

    legs: tuple[Leg, ...] = (Leg.LONG, Leg.SHORT)
    mark_ticks: int = 0


@attrs.frozen(kw_only=True)
class Kill(Message):
    """The kill switch was thrown: nothing is added until the operator resumes, and every entry goes.

    ``legs`` are closed at the market, as by ``Flatten``; none where it only takes entries away. ``by``: who threw it.
    """

    legs: tuple[Leg, ...]
    by: str


FLATTEN_LEGS: Final = "flatten"
"""The figure of a latched reason (the operator's, or the kill's) that names the legs to close."""


def named_legs(figures: Mapping[str, int | str]) -> tuple[Leg, ...]:
    """Give the legs that the figures of a reason name to be closed; none where they name no flatten."""
    return tuple(Leg[name] for name in str(figures.get(FLATTEN_LEGS, "")).split(",") if name)


@attrs.frozen(kw_only=True)
class ConfirmFlat(Message):
    """Read the exchange twice and say whether ``legs`` are flat and nothing of ours is open on them (law 8)."""

    legs: tuple[Leg, ...]
