"""Permission: nothing increases while a reason stands, and nothing forgets one."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import permission
from hedgegrid.core.pause import ACCOUNT, ControlAction, Reason, cancels_entries, figures_of, is_latched
from hedgegrid.core.permission import (
    TRANSITIONS,
    ChangeKind,
    Mode,
    PermissionState,
    export_latched,
    initial,
    may_increase,
    may_reduce,
    standing,
    step,
)
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
from tools import diagrams

BTC = "BTC/USDT:USDT"
ETH = "ETH/USDT:USDT"
RESUME_NS = 10
SCOPES = (ACCOUNT, BTC, ETH)
READY = (Started(), Hydrated(), Warmed())

REASONS = st.sampled_from([Reason.FEED_STALE, Reason.OVERFLOW, Reason.DRAWDOWN, Reason.OPERATOR])
LATCHING = st.sampled_from([reason for reason in Reason if is_latched(reason)])
SCOPE = st.sampled_from(SCOPES)
EVENTS: st.SearchStrategy[PermissionEvent] = st.one_of(
    st.sampled_from([Started(), Hydrating(), ExecutorLost(), Hydrated(), Warmed(), Halt(), FlattenDone(), Tick()]),
    st.builds(ReasonRaised, reason=REASONS, scope=SCOPE, resume_after_ns=st.none() | st.integers(0, 20)),
    st.builds(ReasonGone, reason=REASONS, scope=SCOPE),
    st.builds(OperatorPause, scope=SCOPE),
    st.builds(OperatorResume, reasons=st.lists(REASONS, max_size=4).map(tuple)),
    st.builds(FlattenStarted, reason=LATCHING),
    st.just(Tick()),
)
STORIES = st.lists(st.tuples(EVENTS, st.integers(0, 8)), max_size=40)


def told(*events: PermissionEvent, state: PermissionState | None = None, at_ns: int = 0) -> PermissionState:
    """The state after ``events``, all at one instant."""
    state = state or initial(RESUME_NS)
    for event in events:
        state, _ = step(state, event, at_ns)
    return state


def expected_mode(state: PermissionState) -> set[Mode]:
    """The modes that may increase something, if any."""
    return {Mode.ACTIVE} if not state.reasons else {Mode.REDUCING}


@given(STORIES)
def test_reasons_and_hydration_rule_whatever_happens(story: list[tuple[PermissionEvent, int]]) -> None:
    """Law 2 and 3: no increase under a reason or before hydration; a reason goes only by its own rule."""
    state, now_ns = initial(RESUME_NS), 0
    for event, passed_ns in story:
        now_ns += passed_ns
        after, changes = step(state, event, now_ns)
        for instrument in (BTC, ETH):
            if may_increase(after, instrument):
                assert after.hydrated
                assert after.warm
                assert not after.flattening
                assert not after.halted
                assert all(one.scope not in (ACCOUNT, instrument) for one in after.reasons)
                assert after.mode in expected_mode(after)
        assert may_reduce(after) == (after.mode not in (Mode.STARTING, Mode.HYDRATING))
        kept = {(one.reason, one.scope) for one in after.reasons}
        for one in state.reasons:
            if (one.reason, one.scope) in kept:
                continue
            if is_latched(one.reason):
                assert isinstance(event, OperatorResume)
                assert one.reason in event.reasons
            else:
                assert event == Tick()
                assert one.gone_ns is not None
                assert now_ns - one.gone_ns >= one.resume_after_ns
        assert len(kept) == len(after.reasons)
        assert list(after.reasons) == sorted(after.reasons, key=lambda one: (one.reason, one.scope))
        assert bool(changes) == (after != state)
        if changes:
            assert changes[0].mode_from is state.mode
            assert changes[-1].mode_to is after.mode
            assert all(change.ts_ns == now_ns for change in changes)
            assert all(left.mode_to is right.mode_from for left, right in pairwise(changes))
        state = after


@given(STORIES)
def test_a_pause_ends_only_after_every_cause_has_been_gone_for_its_time(
    story: list[tuple[PermissionEvent, int]],
) -> None:
    """An automatic reason stands while its cause was there at any time within the last resume_after."""
    state, now_ns = initial(RESUME_NS), 0
    present: dict[tuple[Reason, str], bool] = {}
    last_there_ns: dict[tuple[Reason, str], int] = {}
    waits_ns: dict[tuple[Reason, str], int] = {}
    for event, passed_ns in story:
        now_ns += passed_ns
        for key, there in present.items():
            last_there_ns[key] = now_ns if there else last_there_ns[key]
        if isinstance(event, ReasonRaised) and not is_latched(event.reason):
            key = (event.reason, event.scope)
            if not present.get(key, False):
                waits_ns[key] = RESUME_NS if event.resume_after_ns is None else event.resume_after_ns
            present[key], last_there_ns[key] = True, now_ns
        if isinstance(event, ReasonGone) and (event.reason, event.scope) in present:
            present[(event.reason, event.scope)] = False
        state, _ = step(state, event, now_ns)
        there_now = {(one.reason, one.scope) for one in state.reasons}
        for key, there in present.items():
            if there or now_ns - last_there_ns[key] < waits_ns[key]:
                assert key in there_now
            elif event == Tick():
                assert key not in there_now


def test_every_listed_change_of_mode_happens() -> None:
    """The table holds no row that the machine cannot take, so its diagram tells the truth."""
    events: list[PermissionEvent] = [
        Started(),
        Hydrating(),
        ExecutorLost(),
        Hydrated(),
        Warmed(),
        Halt(),
        FlattenStarted(),
        FlattenDone(),
        ReasonRaised(reason=Reason.FEED_STALE, resume_after_ns=0),
        ReasonGone(reason=Reason.FEED_STALE),
        OperatorPause(),
        OperatorResume(reasons=(Reason.OPERATOR,)),
        OperatorResume(reasons=()),
        Tick(),
    ]
    seen: set[tuple[Mode, type[PermissionEvent], Mode]] = set()
    known = {initial(RESUME_NS)}
    fresh = [initial(RESUME_NS)]
    while fresh:
        state = fresh.pop()
        for event in events:
            after, _ = step(state, event, 0)
            if after.mode is not state.mode:
                seen.add((state.mode, type(event), after.mode))
            if after not in known:
                known.add(after)
                fresh.append(after)
    assert seen == {(mode, event, target) for (mode, event), targets in TRANSITIONS.items() for target in targets}


@pytest.mark.parametrize(("rule", "event", "rest"), [
    (permission.step, "no event", (0,)), (permission._fact, Tick(), ()),
])  # fmt: skip
def test_what_is_no_event_is_not_taken_for_one(rule: Any, event: object, rest: tuple[int, ...]) -> None:
    """An event that nobody has a rule for fails by its name, and is never passed over."""
    with pytest.raises(AssertionError, match=f"unreachable, but got: {re.escape(repr(event))}"):
        rule(told(*READY), event, *rest)


def test_start_to_active() -> None:
    """Law 3: nothing is sent before hydration, only reductions while cold, everything when warm."""
    state = initial(RESUME_NS)
    seen = [(state.mode, may_increase(state, BTC), may_reduce(state))]
    for event in READY:
        state, changes = step(state, event, 1)
        assert len(changes) == 1
        seen.append((state.mode, may_increase(state, BTC), may_reduce(state)))
    assert seen == [
        (Mode.STARTING, False, False),
        (Mode.HYDRATING, False, False),
        (Mode.WARMING, False, True),
        (Mode.ACTIVE, True, True),
    ]


def test_a_reading_before_the_start_is_not_believed() -> None:
    """A late Hydrated of an earlier life cannot let a new one skip hydration."""
    assert told(Hydrated()) == initial(RESUME_NS)
    assert told(Hydrated(), Started()).mode is Mode.HYDRATING
    assert told(Started(), FlattenStarted(), FlattenDone()).flattening


def test_one_instruments_reason_leaves_the_others_alone() -> None:
    """A stale feed of one instrument pauses that one, and an account reason pauses all."""
    state = told(*READY, ReasonRaised(reason=Reason.FEED_STALE, scope=BTC))
    assert (state.mode, may_increase(state, BTC), may_increase(state, ETH)) == (Mode.REDUCING, False, True)
    state = told(ReasonRaised(reason=Reason.OVERFLOW), state=state)
    assert not may_increase(state, ETH)
    assert may_reduce(state)


def test_change_carries_what_caused_it() -> None:
    """The journal and alerts get modes, reason, scope, figures and time of each change."""
    state = told(*READY)
    state, (change,) = step(state, ReasonRaised(reason=Reason.FEED_STALE, scope=BTC, figures={"b_ns": 2, "a": "x"}), 7)
    assert (change.kind, change.mode_from, change.mode_to) == (ChangeKind.RAISED, Mode.ACTIVE, Mode.REDUCING)
    assert (change.reason, change.scope, change.ts_ns) == (Reason.FEED_STALE, BTC, 7)
    assert change.figures == (("a", "x"), ("b_ns", 2))
    state, (change,) = step(state, ReasonGone(reason=Reason.FEED_STALE, scope=BTC, figures={"age_ns": 0}), 9)
    assert (change.kind, change.mode_to) == (ChangeKind.RECOVERING, Mode.REDUCING)
    state, (change,) = step(state, Tick(), 9 + RESUME_NS)
    assert (change.kind, change.mode_from, change.mode_to) == (ChangeKind.CLEARED, Mode.REDUCING, Mode.ACTIVE)
    assert change.figures == (("stood_ns", 12),)


def test_a_cause_that_comes_back_restarts_its_recovery() -> None:
    """A flapping feed does not add its good moments up to a recovery."""
    state = told(*READY, ReasonRaised(reason=Reason.FEED_STALE), ReasonGone(reason=Reason.FEED_STALE))
    state, (change,) = step(state, ReasonRaised(reason=Reason.FEED_STALE, figures={"age_ns": 5}), RESUME_NS - 1)
    assert change.kind is ChangeKind.RAISED_AGAIN
    assert standing(state) == ((Reason.FEED_STALE, ACCOUNT),)
    state = told(Tick(), state=state, at_ns=RESUME_NS)
    assert state.mode is Mode.REDUCING
    state = told(ReasonGone(reason=Reason.FEED_STALE), state=state, at_ns=20)
    assert told(Tick(), state=state, at_ns=20 + RESUME_NS - 1).mode is Mode.REDUCING
    assert told(Tick(), state=state, at_ns=20 + RESUME_NS).mode is Mode.ACTIVE


def test_a_latched_reason_waits_for_the_operator() -> None:
    """A drawdown is not over because the price came back, and the operator lifts latched reasons only."""
    state = told(*READY, ReasonRaised(reason=Reason.DRAWDOWN), ReasonRaised(reason=Reason.FEED_STALE))
    state = told(ReasonGone(reason=Reason.DRAWDOWN), Tick(), state=state, at_ns=5)
    state = told(Tick(), state=state, at_ns=1_000)
    assert standing(state) == ((Reason.DRAWDOWN, ACCOUNT), (Reason.FEED_STALE, ACCOUNT))
    state = told(OperatorResume(reasons=(Reason.DRAWDOWN, Reason.FEED_STALE)), state=state)
    assert standing(state) == ((Reason.FEED_STALE, ACCOUNT),)


def test_two_reasons_overlap() -> None:
    """The pause lasts as long as the last of its reasons, and each clears in its own time."""
    state = told(*READY, ReasonRaised(reason=Reason.FEED_STALE), ReasonRaised(reason=Reason.CLOCK_SKEW))
    state = told(ReasonGone(reason=Reason.FEED_STALE), state=state, at_ns=0)
    state = told(ReasonGone(reason=Reason.CLOCK_SKEW), state=state, at_ns=5)
    state, (first,) = step(state, Tick(), 10)
    assert (first.reason, first.mode_to) == (Reason.FEED_STALE, Mode.REDUCING)
    state, (second,) = step(state, Tick(), 15)
    assert (second.reason, second.mode_to) == (Reason.CLOCK_SKEW, Mode.ACTIVE)


def test_hydration_lost_while_paused_keeps_the_reasons() -> None:
    """A restarted executor hydrates again and finds the pause, the flatten and the warmth as they were."""
    paused = told(*READY, ReasonRaised(reason=Reason.FEED_STALE), OperatorPause(scope=BTC))
    lost = told(ExecutorLost(figures={"restarts": 1}), state=paused)
    assert (lost.mode, may_reduce(lost)) == (Mode.HYDRATING, False)
    assert told(Hydrated(), state=lost) == paused
    flattening = told(FlattenStarted(reason=Reason.MARGIN), Hydrating(), state=paused)
    assert flattening.mode is Mode.HYDRATING
    assert told(Hydrated(), state=flattening).mode is Mode.FLATTENING


def test_flatten_ends_paused() -> None:
    """After a flatten nothing is opened again until the operator says so."""
    state = told(*READY, FlattenStarted(figures={"by": "operator"}))
    assert (state.mode, may_increase(state, BTC), may_reduce(state)) == (Mode.FLATTENING, False, True)
    state = told(FlattenDone(), state=state)
    assert (state.mode, standing(state)) == (Mode.REDUCING, ((Reason.OPERATOR, ACCOUNT),))
    assert told(OperatorResume(reasons=(Reason.OPERATOR,)), state=state).mode is Mode.ACTIVE
    with pytest.raises(ValueError, match="clears by itself"):
        FlattenStarted(reason=Reason.FEED_STALE)


def test_halt_holds_until_the_operator_resumes() -> None:
    """Start policy halt: the account is read and protected, and waits."""
    state = told(Halt(), *READY)
    assert (state.mode, may_increase(state, BTC), may_reduce(state)) == (Mode.HALTED, False, True)
    assert told(Tick(), Warmed(), state=state, at_ns=1_000).mode is Mode.HALTED
    state, (change,) = step(state, OperatorResume(reasons=()), 5)
    assert (change.kind, change.mode_to) == (ChangeKind.RESUMED, Mode.ACTIVE)


@given(STORIES)
def test_latched_reasons_survive_a_restart(story: list[tuple[PermissionEvent, int]]) -> None:
    """What the operator has to clear is there after export, JSON and import; the automatic ones begin anew."""
    state, now_ns = initial(RESUME_NS), 0
    for event, passed_ns in story:
        now_ns += passed_ns
        state, _ = step(state, event, now_ns)
    kept = json.loads(json.dumps(export_latched(state)))
    again = initial(RESUME_NS, kept)
    assert export_latched(again) == export_latched(state)
    assert [(one.reason, one.scope) for one in again.reasons] == [
        (one.reason, one.scope) for one in state.reasons if is_latched(one.reason)
    ]
    ready = told(*READY, state=again)
    assert ready.mode is (Mode.REDUCING if again.reasons else Mode.ACTIVE)


@pytest.mark.parametrize("text", ["feed_stale", "sunspots"])
def test_an_import_that_makes_no_sense_is_refused(text: str) -> None:
    """A journal whose latched set cannot be understood is not traded on."""
    with pytest.raises(ValueError, match=text):
        initial(RESUME_NS, [(text, ACCOUNT, 0, ())])


def test_which_reasons_take_the_resting_entries_away() -> None:
    """DESIGN 15.3: dangers always do, a control unless its action is pause, a plain pause never."""
    always = {
        Reason.FEED_STALE,
        Reason.HEARTBEAT_MISSED,
        Reason.LOOP_BLOCKED,
        Reason.CLOCK_SKEW,
        Reason.JOURNAL_FAILED,
        Reason.OVERFLOW,
        Reason.KILL,
        Reason.ORDER_RATE,
        Reason.SUPERVISOR,
    }
    never = {
        Reason.OPERATOR,
        Reason.RATE_LIMITED,
        Reason.UNKNOWN_ORDER,
        Reason.STREAM_GAP,
        Reason.FUNDING_MISSING,
    }
    for reason in Reason:
        assert cancels_entries(reason, ControlAction.PAUSE) == (reason in always)
        assert cancels_entries(reason) == (reason not in never)
        assert cancels_entries(reason, ControlAction.FLATTEN) == (reason not in never)


def test_reasons_come_back_from_a_restart_as_they_were() -> None:
    """A latched reason is the same in the next boot; the breaker's stands until its cause is told gone, then goes."""
    state = told(*READY, ReasonRaised(reason=Reason.DRAWDOWN, figures={"ppm": 7}), OperatorPause(scope=BTC), at_ns=3)
    assert initial(RESUME_NS, export_latched(state)).reasons == state.reasons
    breaker = (Reason.CIRCUIT_BREAKER.value, ACCOUNT, 3, figures_of({"errors": 9}))
    state = told(*READY, Tick(), state=initial(RESUME_NS, [breaker]), at_ns=1_000)
    assert state.mode is Mode.REDUCING
    state = told(ReasonGone(reason=Reason.CIRCUIT_BREAKER), Tick(), state=state, at_ns=1_000)
    assert state.mode is Mode.ACTIVE, "its own cooldown is over: it waits for nothing else"


def test_a_reason_that_recovers_stands_no_more() -> None:
    """Whoever asks which causes are there hears of none that is gone, though its pause is not over."""
    state = told(*READY, ReasonRaised(reason=Reason.FEED_STALE), ReasonRaised(reason=Reason.OVERFLOW, scope=BTC))
    state = told(ReasonGone(reason=Reason.FEED_STALE), state=state)
    assert standing(state) == ((Reason.OVERFLOW, BTC),)
    assert not may_increase(state, ETH)


def test_of_several_changes_the_last_carries_the_mode() -> None:
    """A reader of the journal sees one change of mode a step, after what caused it."""
    _, changes = step(told(*READY), FlattenStarted(reason=Reason.KILL, figures={"by": "file"}), 5)
    assert [(one.kind, one.mode_from, one.mode_to) for one in changes] == [
        (ChangeKind.RAISED, Mode.ACTIVE, Mode.ACTIVE),
        (ChangeKind.FLATTEN_STARTED, Mode.ACTIVE, Mode.FLATTENING),
    ]


def test_a_flatten_is_remembered_beside_what_its_reason_stood_for() -> None:
    """What is to be closed goes to the figures of its own reason alone; a word without figures takes none away."""
    paused = told(
        *READY, OperatorPause(figures={"by": "api"}), ReasonRaised(reason=Reason.DRAWDOWN, figures={"ppm": 7})
    )
    scoped = told(OperatorPause(scope=BTC, figures={"why": "news"}), state=paused)
    state = told(FlattenStarted(reason=Reason.OPERATOR, figures={"flatten": "LONG"}), FlattenStarted(), state=scoped)
    assert {(one.reason, one.scope): dict(one.figures) for one in state.reasons} == {
        (Reason.OPERATOR, ACCOUNT): {"by": "api", "flatten": "LONG"},
        (Reason.OPERATOR, BTC): {"why": "news"},
        (Reason.DRAWDOWN, ACCOUNT): {"ppm": 7},
    }


def test_figures_are_immutable_and_ordered() -> None:
    """Figures of equal meaning are equal, whatever they were given as."""
    assert figures_of({"b": 1, "a": "x"}) == figures_of({"a": "x", "b": 1}) == (("a", "x"), ("b", 1))


def test_the_diagram_draws_every_change_of_mode() -> None:
    """The picture in ARCHITECTURE.md is the table, whole."""
    text = diagrams.DIAGRAMS["permission"]()
    for (mode, event), targets in TRANSITIONS.items():
        for target in targets:
            (line,) = [line for line in text.splitlines() if line.startswith(f"    {mode} --> {target} : ")]
            assert event.__name__ in line.partition(" : ")[2].split(", ")
