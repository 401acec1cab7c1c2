"""Permission to trade: one state machine an account; its diagram in ARCHITECTURE.md is generated from ``TRANSITIONS``.

The mode follows from facts (hydrated, warm, flattening, halted, reasons); ``TRANSITIONS`` lists every change of mode
that an event may cause, and a change outside it is a broken invariant.

Invariants:
- nothing increases while a reason stands in its scope, and nothing at all is sent before hydration;
- an automatic reason goes only by a ``Tick`` after its cause has been gone, without a break, for the time it is given;
- a latched reason goes only by ``OperatorResume``, whatever else happens, and survives a restart by export and import;
- losing hydration loses no reason, no flatten under way and no halt;
- a flatten ends when it is done, or when the operator lifts every latched reason;
- what changes nothing gives no change; every change tells reason, scope, figures and time.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, assert_never

import attrs

from hedgegrid.core.pause import ACCOUNT, Figures, Reason, figures_of, is_latched, survives_restart
from hedgegrid.core.permission_events import (
    ExecutorLost,
    FlattenDone,
    FlattenStarted,
    Halt,
    Hydrated,
    Hydrating,
    OperatorPause,
    OperatorResume,
    PermissionEvent,
    ReasonGone,
    ReasonRaised,
    Started,
    Tick,
    Warmed,
)

LatchedEntry = tuple[str, str, int, Figures]
"""A reason that survives a restart, as the journal keeps it: reason, scope, raised_ns, figures."""


class Mode(StrEnum):
    """What the account as a whole may do. REDUCING: a reason stands, though perhaps for one instrument only."""

    STARTING = "starting"
    HYDRATING = "hydrating"
    WARMING = "warming"
    ACTIVE = "active"
    REDUCING = "reducing"
    FLATTENING = "flattening"
    HALTED = "halted"


_LOST: Final = (Hydrating, ExecutorLost)
TRANSITIONS: Final[Mapping[tuple[Mode, type[PermissionEvent]], tuple[Mode, ...]]] = {
    (Mode.STARTING, Started): (Mode.HYDRATING,),
    (Mode.STARTING, Hydrating): (Mode.HYDRATING,),
    (Mode.HYDRATING, Hydrated): (Mode.WARMING, Mode.ACTIVE, Mode.REDUCING, Mode.FLATTENING, Mode.HALTED),
    (Mode.WARMING, Warmed): (Mode.ACTIVE, Mode.REDUCING),
    (Mode.ACTIVE, ReasonRaised): (Mode.REDUCING,),
    (Mode.ACTIVE, OperatorPause): (Mode.REDUCING,),
    (Mode.REDUCING, Tick): (Mode.ACTIVE,),
    (Mode.REDUCING, OperatorResume): (Mode.ACTIVE,),
    (Mode.FLATTENING, FlattenDone): (Mode.WARMING, Mode.REDUCING, Mode.HALTED),
    (Mode.FLATTENING, OperatorResume): (Mode.WARMING, Mode.ACTIVE, Mode.REDUCING),
    (Mode.HALTED, OperatorResume): (Mode.WARMING, Mode.ACTIVE, Mode.REDUCING),
    (Mode.HALTED, FlattenStarted): (Mode.FLATTENING,),
    **{(mode, FlattenStarted): (Mode.FLATTENING,) for mode in (Mode.WARMING, Mode.ACTIVE, Mode.REDUCING)},
    **{(mode, Halt): (Mode.HALTED,) for mode in (Mode.WARMING, Mode.ACTIVE, Mode.REDUCING)},
    **{
        (mode, lost): (Mode.HYDRATING,)
        for mode in (Mode.WARMING, Mode.ACTIVE, Mode.REDUCING, Mode.FLATTENING, Mode.HALTED)
        for lost in _LOST
    },
}
"""Every change of mode, by the event that may cause it; which of several it is follows from the facts."""


@attrs.frozen(kw_only=True)
class StandingReason:
    """A reason that is in force. ``gone_ns``: since when its cause is gone; None while it is there."""

    reason: Reason
    scope: str
    figures: Figures
    raised_ns: int
    resume_after_ns: int
    gone_ns: int | None = None


@attrs.frozen(kw_only=True)
class PermissionState:
    """The facts that permission follows from; ``reasons`` are sorted by reason and scope, one entry each."""

    resume_after_ns: int
    started: bool = False
    hydrated: bool = False
    warm: bool = False
    flattening: bool = False
    halted: bool = False
    reasons: tuple[StandingReason, ...] = ()

    @property
    def mode(self) -> Mode:
        """The mode that the facts amount to."""
        if not self.started:
            return Mode.STARTING
        if not self.hydrated:
            return Mode.HYDRATING
        if self.flattening:
            return Mode.FLATTENING
        if self.halted:
            return Mode.HALTED
        if not self.warm:
            return Mode.WARMING
        return Mode.REDUCING if self.reasons else Mode.ACTIVE


class ChangeKind(StrEnum):
    """What a change was."""

    STARTED = "started"
    HYDRATING = "hydrating"
    EXECUTOR_LOST = "executor_lost"
    HYDRATED = "hydrated"
    WARMED = "warmed"
    RAISED = "raised"
    RAISED_AGAIN = "raised_again"
    RECOVERING = "recovering"
    CLEARED = "cleared"
    RESUMED = "resumed"
    HALTED = "halted"
    FLATTEN_STARTED = "flatten_started"
    FLATTEN_DONE = "flatten_done"


@attrs.frozen(kw_only=True)
class PermissionChange:
    """One thing that changed, for journal and alerts; of several in one step the last carries the change of mode.

    ``reason`` is None where no reason came, recovered or went; RAISED_AGAIN: the cause came back during recovery.
    """

    kind: ChangeKind
    mode_from: Mode
    mode_to: Mode
    reason: Reason | None
    scope: str
    figures: Figures
    ts_ns: int


def initial(resume_after_ns: int, latched: Iterable[LatchedEntry] = ()) -> PermissionState:
    """Give the state of a new boot, with the reasons that the last one exported.

    An automatic one among them (the circuit breaker's) stands until its cause is told gone, and goes then at once.
    ValueError for a reason that is not known or does not survive: a journal that cannot be understood is not traded on.
    """
    state = PermissionState(resume_after_ns=resume_after_ns)
    for text, scope, raised_ns, figures in latched:
        reason = Reason(text)
        if not survives_restart(reason):
            raise ValueError(f"{reason} does not survive a restart")
        wait_ns = None if is_latched(reason) else 0
        event = ReasonRaised(reason=reason, scope=scope, figures=dict(figures), resume_after_ns=wait_ns)
        state = _raised(state, event, raised_ns)[0]
    return state


def export_latched(state: PermissionState) -> tuple[LatchedEntry, ...]:
    """Give the reasons that survive a restart as plain tuples, for the journal and the next boot.

    One that recovers is still among them: its time is not over.
    """
    return tuple(
        (one.reason.value, one.scope, one.raised_ns, one.figures)
        for one in state.reasons
        if survives_restart(one.reason)
    )


def may_increase(state: PermissionState, instrument: str) -> bool:
    """Whether a leg of ``instrument`` may grow."""
    if state.mode not in (Mode.ACTIVE, Mode.REDUCING):
        return False
    return all(one.scope not in (ACCOUNT, instrument) for one in state.reasons)


def may_reduce(state: PermissionState) -> bool:
    """Whether orders that shrink a leg may be sent: always, once the account has been read."""
    return state.mode not in (Mode.STARTING, Mode.HYDRATING)


def standing(state: PermissionState) -> tuple[tuple[Reason, str], ...]:
    """Give (reason, scope) of the reasons whose cause is still there."""
    return tuple((one.reason, one.scope) for one in state.reasons if one.gone_ns is None)


_Note = tuple[ChangeKind, Reason | None, str, Figures]
_Outcome = tuple[PermissionState, tuple[_Note, ...]]


def step(
    state: PermissionState, event: PermissionEvent, now_ns: int
) -> tuple[PermissionState, tuple[PermissionChange, ...]]:
    """Give the state after ``event`` at ``now_ns``, and what changed; the same state and nothing where nothing did.

    AssertionError for a change of mode that ``TRANSITIONS`` does not have.
    """
    after, notes = _decide(state, event, now_ns)
    before_mode, after_mode = state.mode, after.mode
    if after_mode is not before_mode:
        legal = TRANSITIONS.get((before_mode, type(event)), ())
        assert after_mode in legal, f"{type(event).__name__} led from {before_mode} to {after_mode}"
    changes = tuple(
        PermissionChange(
            kind=kind,
            mode_from=before_mode,
            mode_to=after_mode if place == len(notes) - 1 else before_mode,
            reason=reason,
            scope=scope,
            figures=figures,
            ts_ns=now_ns,
        )
        for place, (kind, reason, scope, figures) in enumerate(notes)
    )
    return after, changes


def _decide(state: PermissionState, event: PermissionEvent, now_ns: int) -> _Outcome:
    outcome: _Outcome
    match event:
        case Started() | Hydrating() | ExecutorLost() | Hydrated() | Warmed() | Halt() | FlattenDone():
            outcome = _fact(state, event)
        case ReasonRaised():
            outcome = _raised(state, event, now_ns)
        case OperatorPause(scope=scope, figures=figures):
            outcome = _raised(state, ReasonRaised(reason=Reason.OPERATOR, scope=scope, figures=dict(figures)), now_ns)
        case FlattenStarted():
            outcome = _flatten(state, event, now_ns)
        case ReasonGone():
            outcome = _recovering(state, event, now_ns)
        case Tick():
            outcome = _recovered(state, now_ns)
        case OperatorResume():
            outcome = _resumed(state, event)
        case _:
            assert_never(event)
    return outcome


def _fact(
    state: PermissionState, event: Started | Hydrating | ExecutorLost | Hydrated | Warmed | Halt | FlattenDone
) -> _Outcome:
    """Apply an event that sets one fact; a reading is believed only after a start, and flat only after a reading."""
    match event:
        case Started():
            after, kind = attrs.evolve(state, started=True), ChangeKind.STARTED
        case Hydrating():
            after, kind = attrs.evolve(state, started=True, hydrated=False), ChangeKind.HYDRATING
        case ExecutorLost():
            after, kind = attrs.evolve(state, hydrated=False), ChangeKind.EXECUTOR_LOST
        case Hydrated():
            after, kind = attrs.evolve(state, hydrated=state.started), ChangeKind.HYDRATED
        case Warmed():
            after, kind = attrs.evolve(state, warm=True), ChangeKind.WARMED
        case Halt():
            after, kind = attrs.evolve(state, halted=True), ChangeKind.HALTED
        case FlattenDone():
            flattening = state.flattening and not state.hydrated
            after, kind = attrs.evolve(state, flattening=flattening), ChangeKind.FLATTEN_DONE
        case _:
            assert_never(event)
    return (state, ()) if after == state else (after, ((kind, None, ACCOUNT, event.figures),))


def _raised(state: PermissionState, event: ReasonRaised, now_ns: int) -> _Outcome:
    """Add a reason, or end the recovery of one that is there; what stands already keeps its first figures."""
    found = [one for one in state.reasons if (one.reason, one.scope) == (event.reason, event.scope)]
    if found and found[0].gone_ns is None:
        return state, ()
    resume_after_ns = state.resume_after_ns if event.resume_after_ns is None else event.resume_after_ns
    raised = StandingReason(
        reason=event.reason,
        scope=event.scope,
        figures=event.figures,
        raised_ns=now_ns,
        resume_after_ns=resume_after_ns,
    )
    others = (one for one in state.reasons if one not in found)
    reasons = sorted((*others, raised), key=lambda one: (one.reason, one.scope))
    kind = ChangeKind.RAISED_AGAIN if found else ChangeKind.RAISED
    note = (kind, event.reason, event.scope, event.figures)
    return attrs.evolve(state, reasons=tuple(reasons)), (note,)


def _flatten(state: PermissionState, event: FlattenStarted, now_ns: int) -> _Outcome:
    latched, notes = _raised(state, ReasonRaised(reason=event.reason, figures=dict(event.figures)), now_ns)
    if event.figures:
        # What is to be closed has to be remembered, also where the reason stood before for another cause.
        latched = attrs.evolve(
            latched,
            reasons=tuple(
                attrs.evolve(one, figures=figures_of(dict(one.figures) | dict(event.figures)))
                if (one.reason, one.scope) == (event.reason, ACCOUNT)
                else one
                for one in latched.reasons
            ),
        )
    if latched.flattening:
        return latched, notes
    note = (ChangeKind.FLATTEN_STARTED, event.reason, ACCOUNT, event.figures)
    return attrs.evolve(latched, flattening=True), (*notes, note)


def _recovering(state: PermissionState, event: ReasonGone, now_ns: int) -> _Outcome:
    if is_latched(event.reason) or (event.reason, event.scope) not in standing(state):
        return state, ()
    reasons = tuple(
        attrs.evolve(one, gone_ns=now_ns) if (one.reason, one.scope) == (event.reason, event.scope) else one
        for one in state.reasons
    )
    note = (ChangeKind.RECOVERING, event.reason, event.scope, event.figures)
    return attrs.evolve(state, reasons=reasons), (note,)


def _recovered(state: PermissionState, now_ns: int) -> _Outcome:
    gone = tuple(
        one for one in state.reasons if one.gone_ns is not None and now_ns - one.gone_ns >= one.resume_after_ns
    )
    if not gone:
        return state, ()
    notes = tuple(
        (ChangeKind.CLEARED, one.reason, one.scope, figures_of({"stood_ns": now_ns - one.raised_ns})) for one in gone
    )
    return attrs.evolve(state, reasons=tuple(one for one in state.reasons if one not in gone)), notes


def _resumed(state: PermissionState, event: OperatorResume) -> _Outcome:
    cleared = tuple(one for one in state.reasons if is_latched(one.reason) and one.reason in event.reasons)
    notes: tuple[_Note, ...] = tuple((ChangeKind.CLEARED, one.reason, one.scope, event.figures) for one in cleared)
    if state.halted:
        notes = (*notes, (ChangeKind.RESUMED, None, ACCOUNT, event.figures))
    if not notes:
        return state, ()
    reasons = tuple(one for one in state.reasons if one not in cleared)
    # A flatten is wanted for a latched reason: with the last of them it is given up, whatever it has left.
    flattening = state.flattening and any(is_latched(one.reason) for one in reasons)
    return attrs.evolve(state, reasons=reasons, halted=False, flattening=flattening), notes
