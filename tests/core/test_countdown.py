"""The dead-man's switch: refreshed by the healthy, taken off where it would strip what protects."""

import itertools

import pytest

from hedgegrid.core.countdown import Arming, CountdownAct, CountdownRule, decide

A = CountdownAct


def rule(arming: Arming = Arming.WHEN_SAFE, *, strips: bool = True) -> CountdownRule:
    """A switch of two minutes."""
    return CountdownRule(countdown_ms=120_000, strips_stops=strips, arming=arming)


def act(one: CountdownRule, *, armed: bool = True, flat: bool = True, healthy: bool = True, ending: bool = False) -> A:
    """What is done in a state, changed."""
    return decide(one, armed=armed, flat=flat, healthy=healthy, ending=ending)


@pytest.mark.parametrize(
    ("one", "flat", "wanted"),
    [
        (rule(), True, A.REFRESH),
        (rule(), False, A.DISARM),
        (rule(strips=False), False, A.REFRESH),
        (rule(Arming.ALWAYS), False, A.REFRESH),
        (rule(Arming.NEVER), True, A.DISARM),
        (rule(Arming.NEVER, strips=False), True, A.DISARM),
    ],
    ids=["flat", "held", "held, keeps stops", "held, always", "never", "never, keeps stops"],
)
def test_the_switch_stands_only_where_the_settings_let_it(one: CountdownRule, flat: bool, wanted: A) -> None:
    """DESIGN 15.4: where it may strip stops it is armed only while both legs are flat, unless told always."""
    assert act(one, flat=flat) is wanted


def test_a_sick_executor_never_refreshes() -> None:
    """Armed implies refreshed by a healthy executor: silence lets the switch fire, but it must not strip stops."""
    for armed, flat, strips in itertools.product((False, True), repeat=3):
        for arming in Arming:
            done = act(rule(arming, strips=strips), armed=armed, flat=flat, healthy=False)
            assert done is not A.REFRESH
    assert act(rule(), flat=False, healthy=False) is A.DISARM


def test_a_clean_end_takes_it_off_once() -> None:
    """What a clean stop keeps must outlive it; what is acknowledged as off is not asked for again."""
    for arming in Arming:
        assert act(rule(arming), ending=True) is A.DISARM
        assert act(rule(arming), ending=True, armed=False) is A.NONE
    assert act(rule(), flat=False, armed=False) is A.NONE


def test_it_is_refreshed_four_times_a_countdown() -> None:
    """The documented pattern: a call each 30 s with 120 s, so that three may be lost."""
    assert rule().refresh_ns * 4 == 120_000 * 1_000_000
