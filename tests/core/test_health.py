"""The watchdog's decisions: what is stale, who is silent, and that each is told once."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core.health import (
    Finding,
    HealthLimits,
    Progress,
    Readings,
    SourceReading,
    UnknownOrder,
    assess,
    first_progress,
    is_silent,
    is_stale,
    observed,
)
from hedgegrid.core.pause import ACCOUNT, Reason
from hedgegrid.core.permission_events import ReasonGone, ReasonRaised

BTC = "BTC/USDT:USDT"
ETH = "ETH/USDT:USDT"
LIMITS = HealthLimits(
    feed_stale_ns=50,
    quote_silence_ns=300,
    heartbeat_ns=10,
    heartbeat_missed=3,
    max_loop_lag_ns=25,
    max_clock_skew_ns=40,
    unknown_pause_ns=100,
)
STREAM = SourceReading(name="quotes", scope=BTC, cadence_ns=0, since_ns=0, last_event_ns=1_000, last_arrival_ns=1_000)
BARS = attrs.evolve(STREAM, name="bars", cadence_ns=60)
EXECUTOR = Progress(name="executor", scope=ACCOUNT, counter=7, stuck_since_ns=None, probe_since_ns=None)


def look(readings: Readings, now_ns: int, *standing: tuple[Reason, str]) -> tuple[Finding, ...]:
    """One assessment."""
    return assess(LIMITS, readings, standing, now_ns)


@pytest.mark.parametrize(("age_ns", "stale"), [(50, False), (51, True)])
def test_a_stream_is_stale_beyond_its_limit(age_ns: int, stale: bool) -> None:
    """Law 9: a stream ages by feed_stale, and not before."""
    assert is_stale(LIMITS, STREAM, 1_000 + age_ns) is stale


@pytest.mark.parametrize(("age_ns", "stale"), [(51, False), (120, False), (121, True)])
def test_bars_are_stale_after_two_bar_lengths(age_ns: int, stale: bool) -> None:
    """DESIGN 15.8: a bar a minute is not stale after five seconds, but after two minutes."""
    assert is_stale(LIMITS, BARS, 1_000 + age_ns) is stale


def test_a_short_cadence_does_not_undercut_the_limit() -> None:
    """Bars of one second are still given feed_stale."""
    assert not is_stale(LIMITS, attrs.evolve(BARS, cadence_ns=5), 1_050)


def test_old_news_that_arrives_now_is_old() -> None:
    """A frozen exchange that repeats an old event is stale, and so is an event that arrived long ago."""
    assert is_stale(LIMITS, attrs.evolve(STREAM, last_arrival_ns=1_100), 1_100)
    assert is_stale(LIMITS, attrs.evolve(STREAM, last_event_ns=1_100), 1_100)


def test_a_source_that_never_spoke_ages_from_when_it_was_asked() -> None:
    """Missing is missing: no event yet is neither fresh for ever nor stale at once, and pings do not make it fresh."""
    never = attrs.evolve(STREAM, last_event_ns=None, last_arrival_ns=None, since_ns=1_000, last_pong_ns=1_051)
    assert not is_stale(LIMITS, never, 1_050)
    assert is_stale(LIMITS, never, 1_051)
    (finding,) = look(Readings(sources=(never,)), 1_051)
    assert dict(finding.figures)["missing"] == "no event yet"


@pytest.mark.parametrize(
    ("age_ns", "pong_age_ns", "stale"),
    [(300, 50, False), (301, 50, True), (300, 51, True)],
)
def test_a_quiet_stream_is_fresh_while_its_socket_answers(age_ns: int, pong_age_ns: int, stale: bool) -> None:
    """DESIGN 15.8: silence is no fault while pings are answered, up to quote_silence."""
    now_ns = 1_000 + age_ns
    assert is_stale(LIMITS, attrs.evolve(STREAM, last_pong_ns=now_ns - pong_age_ns), now_ns) is stale


def test_a_scope_is_as_fresh_as_its_worst_source() -> None:
    """One stale source of an instrument pauses that instrument alone, with its name, age and limit."""
    readings = Readings(sources=(STREAM, BARS, attrs.evolve(STREAM, scope=ETH, last_event_ns=950)))
    raised = ReasonRaised(
        reason=Reason.FEED_STALE, scope=ETH, figures={"source": "quotes", "age_ns": 100, "limit_ns": 50}
    )
    assert look(readings, 1_050) == (raised,)
    assert look(readings, 1_050, (Reason.FEED_STALE, ETH)) == ()
    both = look(readings, 1_100, (Reason.FEED_STALE, ETH))
    assert [(type(one), one.scope) for one in both] == [(ReasonRaised, BTC)]
    fresh = Readings(sources=(STREAM, attrs.evolve(BARS, last_event_ns=900), attrs.evolve(STREAM, scope=ETH)))
    gone = look(fresh, 1_010, (Reason.FEED_STALE, ETH), (Reason.FEED_STALE, BTC))
    assert [(type(one), one.scope) for one in gone] == [(ReasonGone, BTC), (ReasonGone, ETH)]


def test_busy_without_progress_is_silence() -> None:
    """An executor with work that does nothing for three heartbeats pauses the account; progress ends it."""
    stuck = observed(EXECUTOR, counter=7, pending=2, probe_since_ns=None, now_ns=100)
    still = observed(stuck, counter=7, pending=5, probe_since_ns=None, now_ns=129)
    assert not is_silent(LIMITS, still, 129)
    assert is_silent(LIMITS, still, 130)
    (raised,) = look(Readings(actors=(still,)), 130)
    assert raised == ReasonRaised(
        reason=Reason.HEARTBEAT_MISSED,
        figures={"actor": "executor", "silence_ns": 30, "limit_ns": 30, "counter": 7},
    )
    moved = observed(still, counter=8, pending=4, probe_since_ns=None, now_ns=131)
    (gone,) = look(Readings(actors=(moved,)), 131, (Reason.HEARTBEAT_MISSED, ACCOUNT))
    assert isinstance(gone, ReasonGone)


def test_idle_is_healthy_until_a_probe_goes_unanswered() -> None:
    """An executor with nothing to do is not silent, however long; one that leaves a probe unanswered is."""
    idle = observed(EXECUTOR, counter=7, pending=0, probe_since_ns=None, now_ns=100)
    assert not is_silent(LIMITS, idle, 1_000_000)
    probed = observed(idle, counter=7, pending=0, probe_since_ns=1_000, now_ns=1_000)
    assert not is_silent(LIMITS, probed, 1_029)
    assert is_silent(LIMITS, probed, 1_030)
    answered = observed(probed, counter=8, pending=0, probe_since_ns=None, now_ns=1_031)
    assert not is_silent(LIMITS, answered, 1_031)


def test_a_probe_behind_work_that_moves_is_no_silence() -> None:
    """A busy actor answers when its message is done: a probe is as old as the newest progress, and then it counts."""
    busy = observed(EXECUTOR, counter=8, pending=1, probe_since_ns=100, now_ns=110)
    later = observed(busy, counter=9, pending=1, probe_since_ns=120, now_ns=150)
    assert not is_silent(LIMITS, later, 179)
    still = observed(later, counter=9, pending=1, probe_since_ns=170, now_ns=179)
    assert is_silent(LIMITS, still, 180)


def test_an_actor_that_never_moves_is_found_from_its_start() -> None:
    """A new executor has the usual time to show progress, and no more."""
    fresh = first_progress(name="executor", scope=ACCOUNT, now_ns=100)
    assert not is_silent(LIMITS, fresh, 129)
    hung = observed(fresh, counter=0, pending=1, probe_since_ns=None, now_ns=110)
    assert is_silent(LIMITS, hung, 130)


@given(st.lists(st.tuples(st.integers(0, 15), st.booleans(), st.booleans()), max_size=30))
def test_silence_needs_an_unbroken_stretch_of_work_without_progress(looks: list[tuple[int, bool, bool]]) -> None:
    """Judged against the whole history: silent only if every look of the last three heartbeats saw work and no move."""
    now_ns, counter, progress = 0, 7, EXECUTOR
    history: list[tuple[int, bool, bool]] = []
    for passed_ns, busy, moved in looks:
        now_ns += passed_ns
        counter += moved
        progress = observed(progress, counter=counter, pending=int(busy), probe_since_ns=None, now_ns=now_ns)
        history.append((now_ns, busy, moved))
        run_ns = None
        for seen_ns, was_busy, did_move in reversed(history):
            if not was_busy:
                break
            run_ns = seen_ns
            if did_move:
                break
        assert is_silent(LIMITS, progress, now_ns) == (run_ns is not None and now_ns - run_ns >= 30)


@pytest.mark.parametrize(
    ("readings", "reason"),
    [
        (Readings(loop_lag_ns=26), Reason.LOOP_BLOCKED),
        (Readings(clock_skew_ns=41), Reason.CLOCK_SKEW),
        (Readings(clock_skew_ns=-41), Reason.CLOCK_SKEW),
    ],
)
def test_lag_and_skew(readings: Readings, reason: Reason) -> None:
    """A blocked loop and a clock that is off, either way, pause the account, and recover at their limit."""
    (raised,) = look(readings, 0)
    assert (type(raised), raised.reason, raised.scope) == (ReasonRaised, reason, ACCOUNT)
    assert look(readings, 0, (reason, ACCOUNT)) == ()
    at_limit = Readings(
        loop_lag_ns=None if readings.loop_lag_ns is None else 25,
        clock_skew_ns=None if readings.clock_skew_ns is None else -40,
    )
    assert look(at_limit, 0) == ()
    (gone,) = look(at_limit, 0, (reason, ACCOUNT))
    assert isinstance(gone, ReasonGone)


def test_what_was_not_measured_neither_raises_nor_clears() -> None:
    """Missing is not well: no reading leaves a standing reason where it is."""
    standing = [(reason, ACCOUNT) for reason in (Reason.FEED_STALE, Reason.LOOP_BLOCKED, Reason.CLOCK_SKEW)]
    assert look(Readings(), 10, *standing) == ()


def test_unknown_orders_pause_only_past_their_time() -> None:
    """DESIGN 15.15: an UNKNOWN order pauses its instrument once it is older than unknown_pause, until none is."""
    orders = (UnknownOrder(instrument=BTC, since_ns=0), UnknownOrder(instrument=BTC, since_ns=90))
    assert look(Readings(unknown_orders=orders), 100) == ()
    (raised,) = look(Readings(unknown_orders=orders), 101)
    assert raised == ReasonRaised(
        reason=Reason.UNKNOWN_ORDER, scope=BTC, figures={"orders": 2, "age_ns": 101, "limit_ns": 100}
    )
    (gone,) = look(Readings(), 102, (Reason.UNKNOWN_ORDER, BTC))
    assert (type(gone), gone.scope) == (ReasonGone, BTC)


@given(st.integers(900, 1_400), st.integers(0, 60), st.sets(st.sampled_from([BTC, ETH])))
def test_each_finding_is_news(now_ns: int, lag_ns: int, standing_scopes: set[str]) -> None:
    """A cause is told when it comes and when it goes; told twice, it would flood the journal."""
    readings = Readings(sources=(STREAM, attrs.evolve(BARS, scope=ETH)), actors=(EXECUTOR,), loop_lag_ns=lag_ns)
    standing = {(Reason.FEED_STALE, scope) for scope in standing_scopes}
    for finding in assess(LIMITS, readings, standing, now_ns):
        key = (finding.reason, finding.scope)
        if isinstance(finding, ReasonRaised):
            assert key not in standing
            standing.add(key)
        else:
            standing.remove(key)
    assert assess(LIMITS, readings, standing, now_ns) == ()
