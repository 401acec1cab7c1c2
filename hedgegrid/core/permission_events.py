"""What can happen to the permission to trade: the closed union that ``permission.step`` decides on.

Invariant: an event carries the figures that caused it, never a time; the step is told the time.
"""

import attrs

from hedgegrid.core.pause import ACCOUNT, Figures, Reason, figures_of, is_latched


@attrs.frozen(kw_only=True)
class Started:
    """The actors run; hydration is next."""

    figures: Figures = attrs.field(factory=dict, converter=figures_of)


@attrs.frozen(kw_only=True)
class Hydrating:
    """The account is read from the exchange, at a start or after a stream gap."""

    figures: Figures = attrs.field(factory=dict, converter=figures_of)


@attrs.frozen(kw_only=True)
class ExecutorLost:
    """The executor is gone: what it knew has to be read again."""

    figures: Figures = attrs.field(factory=dict, converter=figures_of)


@attrs.frozen(kw_only=True)
class Hydrated:
    """Positions, both open-order lists and fills were read and agree."""

    figures: Figures = attrs.field(factory=dict, converter=figures_of)


@attrs.frozen(kw_only=True)
class Warmed:
    """The indicators of every instrument have their history; losing hydration does not cool them."""

    figures: Figures = attrs.field(factory=dict, converter=figures_of)


@attrs.frozen(kw_only=True)
class ReasonRaised:
    """A cause is there. ``resume_after_ns`` replaces the usual time that an automatic reason outlives its cause."""

    reason: Reason
    scope: str = ACCOUNT
    figures: Figures = attrs.field(factory=dict, converter=figures_of)
    resume_after_ns: int | None = None


@attrs.frozen(kw_only=True)
class ReasonGone:
    """A cause is no longer there: an automatic reason starts to recover, a latched one stays."""

    reason: Reason
    scope: str = ACCOUNT
    figures: Figures = attrs.field(factory=dict, converter=figures_of)


@attrs.frozen(kw_only=True)
class Tick:
    """Time has passed."""


@attrs.frozen(kw_only=True)
class OperatorPause:
    """The operator pauses the account or one instrument."""

    scope: str = ACCOUNT
    figures: Figures = attrs.field(factory=dict, converter=figures_of)


@attrs.frozen(kw_only=True)
class OperatorResume:
    """The operator clears these latched reasons, in every scope, and ends a halt."""

    reasons: tuple[Reason, ...]
    figures: Figures = attrs.field(factory=dict, converter=figures_of)


@attrs.frozen(kw_only=True)
class Halt:
    """Stay without new risk until the operator resumes (start policy ``halt``)."""

    figures: Figures = attrs.field(factory=dict, converter=figures_of)


@attrs.frozen(kw_only=True)
class FlattenStarted:
    """Close the legs; ``reason`` is latched, so that nothing is opened again when flat.

    ValueError for a reason that clears by itself.
    """

    reason: Reason = attrs.field(default=Reason.OPERATOR)
    figures: Figures = attrs.field(factory=dict, converter=figures_of)

    @reason.validator
    def _latches(self, _attribute: object, value: Reason) -> None:
        if not is_latched(value):
            raise ValueError(f"{value} clears by itself: a flatten needs a latched reason")


@attrs.frozen(kw_only=True)
class FlattenDone:
    """The exchange was read twice and the legs are flat."""

    figures: Figures = attrs.field(factory=dict, converter=figures_of)


PermissionEvent = (
    Started
    | Hydrating
    | ExecutorLost
    | Hydrated
    | Warmed
    | ReasonRaised
    | ReasonGone
    | Tick
    | OperatorPause
    | OperatorResume
    | Halt
    | FlattenStarted
    | FlattenDone
)
