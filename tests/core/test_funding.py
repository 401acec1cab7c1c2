"""The funding guard: what an expensive, a missing and an expired rate do to which leg."""

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import funding, grid
from hedgegrid.core.codes import FUNDING_HALT, FUNDING_SCALE, FUNDING_WARN, LONG, SHORT
from hedgegrid.core.records import GridState, Indicators, Rung, table
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, PPM
from tests.core import made
from tests.core.bounded import Int64

HOUR = NS_PER_HOUR
WINDOW = 30 * NS_PER_MINUTE
NEXT_NS = 1_000 * HOUR
MODES = [FUNDING_SCALE, FUNDING_HALT, FUNDING_WARN]
RATES = st.integers(-3_000_000, 3_000_000)


def known(rate_e8: int, interval_hours: int = 8) -> GridState:
    """A state that knows its rate."""
    state = GridState()
    funding.remember_rate(state, rate_e8, NEXT_NS, interval_hours * HOUR)
    return state


def factor(state: GridState, leg: int, left_ns: int, mode: int = FUNDING_SCALE, pause: int = 1) -> int:
    """The factor on a leg, ``left_ns`` before the settlement; a cost of 3 bps per 8 h is allowed."""
    settings = made.params(
        funding_mode=mode, funding_max_e8=30_000, funding_window_ns=WINDOW, funding_pause_missing=pause
    )
    return funding.factor_ppm(settings, state, leg, NEXT_NS - left_ns)


@given(RATES, st.sampled_from([1, 4, 8]), st.lists(st.integers(0, 2 * WINDOW), min_size=2, max_size=20))
def test_the_paying_ladder_shrinks_monotonically(rate_e8: int, hours: int, lefts: list[int]) -> None:
    """Toward an expensive settlement the paying leg's factor only falls, to 0 at its time; the other leg keeps all."""
    state = known(rate_e8, hours)
    pays = LONG if rate_e8 > 0 else SHORT
    factors = [factor(state, pays, left) for left in sorted(lefts, reverse=True)]
    assert factors == sorted(factors, reverse=True)
    expensive = abs(Fraction(rate_e8 * 8, hours)) > 30_000
    assert factor(state, pays, 0) == (0 if expensive else PPM)
    for left in lefts:
        inside = expensive and left <= WINDOW
        assert factor(state, pays, left) == (floor(Fraction(left * PPM, WINDOW)) if inside else PPM)


@given(RATES, st.sampled_from([1, 4, 8]), st.integers(0, 2 * WINDOW), st.sampled_from(MODES), st.integers(0, 1))
def test_the_receiving_leg_is_never_touched(rate_e8: int, hours: int, left: int, mode: int, pause: int) -> None:
    """Whatever the rate and the mode, the leg that receives keeps its whole ladder."""
    receives = SHORT if rate_e8 > 0 else LONG
    assert factor(known(rate_e8, hours), receives, left, mode, pause) == PPM


@pytest.mark.parametrize(("hours", "at_limit"), [(8, 30_000), (4, 15_000), (1, 3_750)])
def test_the_cost_is_normalised_by_the_instruments_interval(hours: int, at_limit: int) -> None:
    """Over is strict: exactly the limit, for 8 hours, is allowed on every interval."""
    assert factor(known(at_limit, hours), LONG, WINDOW // 2) == PPM
    assert factor(known(at_limit + 1, hours), LONG, WINDOW // 2) == PPM // 2
    assert factor(known(-at_limit - 1, hours), SHORT, WINDOW // 2) == PPM // 2


@pytest.mark.parametrize(("left", "halted"), [(WINDOW + 1, False), (WINDOW, True), (0, True)])
def test_halt_begins_at_the_windows_edge(left: int, halted: bool) -> None:
    """Within the window includes its edge; halt leaves nothing, warn everything."""
    state = known(100_000)
    assert factor(state, LONG, left, FUNDING_HALT) == (0 if halted else PPM)
    assert factor(state, LONG, left, FUNDING_WARN) == PPM


@pytest.mark.parametrize("leg", [LONG, SHORT])
@pytest.mark.parametrize("mode", MODES)
def test_a_missing_or_expired_rate_is_not_no_cost(leg: int, mode: int) -> None:
    """No rate, or one whose settlement has passed, empties both ladders or is ignored, as on_missing says."""
    for state, left in ((GridState(), WINDOW), (known(0), -1)):
        assert funding.is_missing(made.params(), state, NEXT_NS - left)
        assert factor(state, leg, left, mode, pause=1) == 0
        assert factor(state, leg, left, mode, pause=0) == PPM
    assert not funding.is_missing(made.params(), known(0), NEXT_NS), "at its settlement a rate is still good"


@pytest.mark.parametrize(("left", "ppm"), [(WINDOW, PPM), (WINDOW // 4, 250_000), (1, 0), (0, 0)])
def test_apply_scales_or_empties_the_paying_ladder(left: int, ppm: int) -> None:
    """Quantities are floored to the factor; a factor of 0 takes the rungs away."""
    settings = made.params(funding_mode=FUNDING_SCALE, funding_window_ns=WINDOW, base_micro_lots=10_000_001)
    state, rungs = known(100_000), table(Rung, 6)
    state.mid_ticks = 10_000
    grid.recenter(settings, state, Indicators(), rungs)
    grid.build(settings, state, rungs)
    funding.apply(settings, state, rungs, NEXT_NS - left)
    for rung in rungs:
        paying = rung.leg == LONG
        assert rung.micro_lots == (10_000_001 * ppm // PPM if paying else 10_000_001)
        assert rung.in_ladder == (0 if paying and ppm == 0 else 1)


def test_no_rung_is_touched_where_nothing_is_due() -> None:
    """A cheap rate, or one whose settlement is far, costs the decision nothing: no rung is looked at."""
    settings = made.params(funding_mode=FUNDING_HALT, funding_max_e8=30_000, funding_window_ns=WINDOW)
    funding.apply(settings, known(30_000), [], NEXT_NS)
    funding.apply(settings, known(100_000), [], NEXT_NS - WINDOW - 1)


@pytest.mark.parametrize(("rate_e8", "emptied"), [(100_000, [1, 2]), (-100_000, [1, 2, 3])])
def test_apply_reaches_every_rung_of_a_leg_and_no_other(rate_e8: int, emptied: list[int]) -> None:
    """Legs of different lengths: all of the one that pays goes, and none of the one that receives."""
    settings = made.params(
        funding_mode=FUNDING_HALT, funding_window_ns=WINDOW, levels_long=2, levels_short=3, base_micro_lots=10 * PPM
    )
    state, rungs = known(rate_e8), table(Rung, 5)
    state.mid_ticks = 10_000
    grid.recenter(settings, state, Indicators(), rungs)
    grid.build(settings, state, rungs)
    funding.apply(settings, state, rungs, NEXT_NS - 1)
    pays = LONG if rate_e8 > 0 else SHORT
    assert [rung.level for rung in rungs if rung.leg == pays and rung.in_ladder == 0] == emptied
    assert all(rung.in_ladder == 1 and rung.micro_lots == 10 * PPM for rung in rungs if rung.leg != pays)


def test_a_rate_that_was_lost_is_missing_before_its_settlement() -> None:
    """The source fell silent: what it said last guards and warns no more, however near the settlement is."""
    state = known(100_000)
    state.rate_known = 0
    settings = made.params(funding_mode=FUNDING_WARN, funding_max_e8=30_000, funding_window_ns=WINDOW)
    assert funding.is_missing(settings, state, NEXT_NS - 1)
    assert not funding.is_warning_due(settings, state, NEXT_NS - 1)
    assert [factor(state, SHORT, 1, FUNDING_HALT, pause) for pause in (0, 1)] == [PPM, 0]


def test_the_least_positive_rate_is_paid_by_the_long_leg() -> None:
    """The sign alone says who pays, also where nothing at all is allowed."""
    settings = made.params(funding_mode=FUNDING_HALT, funding_max_e8=0, funding_window_ns=WINDOW)
    for rate_e8, factors in ((1, [0, PPM]), (-1, [PPM, 0]), (0, [PPM, PPM])):
        assert [funding.factor_ppm(settings, known(rate_e8), leg, NEXT_NS) for leg in (LONG, SHORT)] == factors


def test_a_new_rate_has_the_ladders_built_anew() -> None:
    """What was decided under the old rate is no longer settled; the rate is known, with its interval and time."""
    state = GridState(settled=1)
    funding.remember_rate(state, -7, NEXT_NS, 4 * HOUR)
    assert (state.settled, state.rate_known, state.rate_e8) == (0, 1, -7)
    assert (state.next_funding_ns, state.funding_interval_ns) == (NEXT_NS, 4 * HOUR)


@pytest.mark.parametrize(("rate_e8", "left", "mode", "due"), [
    (100_000, WINDOW, FUNDING_WARN, True), (-100_000, 0, FUNDING_WARN, True),
    (100_000, WINDOW + 1, FUNDING_WARN, False), (30_000, WINDOW, FUNDING_WARN, False),
    (100_000, WINDOW, FUNDING_SCALE, False), (100_000, -1, FUNDING_WARN, False),
])  # fmt: skip
def test_a_warning_is_due_for_an_expensive_settlement_that_is_near(
    rate_e8: int, left: int, mode: int, due: bool
) -> None:
    """Only in the mode that warns, within the window, while the rate is good and strictly too expensive."""
    settings = made.params(funding_mode=mode, funding_max_e8=30_000, funding_window_ns=WINDOW)
    assert funding.is_warning_due(settings, known(rate_e8), NEXT_NS - left) is due
    assert not funding.is_warning_due(settings, GridState(), 0)


@given(st.integers(-(10**8), 10**8), st.integers(1, 24), st.integers(0, 7 * 1440), st.integers(0, 10**8))
def test_the_guard_stays_within_64_bits(rate_e8: int, hours: int, window_minutes: int, max_e8: int) -> None:
    """Rates up to 100 %, windows up to a week: no intermediate leaves 64 bits."""
    window = Int64(max(1, window_minutes) * NS_PER_MINUTE)
    settings = made.params(funding_mode=FUNDING_SCALE, funding_max_e8=Int64(max_e8), funding_window_ns=window)
    state = known(Int64(rate_e8), hours)
    state.funding_interval_ns = Int64(state.funding_interval_ns)
    for leg in (LONG, SHORT):
        assert 0 <= funding.factor_ppm(settings, state, leg, Int64(NEXT_NS - window // 3)) <= PPM


def test_the_next_rate_has_a_moment_to_come() -> None:
    """A stream tells the next rate a second after the settlement: until the grace is over no ladder is emptied."""
    settings = made.params(
        funding_mode=FUNDING_SCALE,
        funding_max_e8=30_000,
        funding_window_ns=WINDOW,
        funding_pause_missing=1,
        funding_grace_ns=5,
    )
    state = known(1_000_000)
    factors = [funding.factor_ppm(settings, state, LONG, NEXT_NS + late) for late in (0, 1, 5, 6)]
    assert factors == [0, PPM, PPM, 0], "paid, not yet due again, not yet due again, missing"
    assert funding.factor_ppm(settings, state, SHORT, NEXT_NS + 5) == PPM
    settings.funding_mode = FUNDING_WARN
    assert not funding.is_warning_due(settings, state, NEXT_NS + 1)
