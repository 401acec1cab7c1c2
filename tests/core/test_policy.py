"""What a trend takes away from which leg."""

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import grid, policy
from hedgegrid.core.codes import DOWN, LONG, POLICY_BOTH, POLICY_CORE, POLICY_THROTTLED, SHORT, SIDEWAYS, UP
from hedgegrid.core.records import GridParams, GridState, Indicators, Rung, table
from hedgegrid.units import PPM
from tests.core import made

POLICIES = [POLICY_BOTH, POLICY_THROTTLED, POLICY_CORE]
REGIMES = [SIDEWAYS, UP, DOWN]
LEVELS = 5


def built(regime: int, **changes: int) -> tuple[GridParams, GridState, list[Rung]]:
    """Both ladders before the policy."""
    settings = made.params(**{"levels_long": LEVELS, "levels_short": LEVELS, **changes})
    state = GridState(mid_ticks=10_000, regime=regime)
    rungs = table(Rung, 2 * LEVELS)
    grid.recenter(settings, state, Indicators(), rungs)
    grid.build(settings, state, rungs)
    return settings, state, rungs


def shapes(rungs: list[Rung], leg: int) -> list[tuple[int, int, int]]:
    """Offered, quantity and take-profit distance of a leg's rungs, nearest first."""
    return [(rung.in_ladder, rung.micro_lots, rung.tp_micro) for rung in rungs if rung.leg == leg]


@pytest.mark.parametrize("contrarian", [0, 1])
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("name", POLICIES)
def test_sideways_and_both_change_nothing(name: int, regime: int, contrarian: int) -> None:
    """Without a trend, or without a policy, both ladders stay whole."""
    settings, state, rungs = built(regime, policy=name, contrarian=contrarian)
    before = [shapes(rungs, leg) for leg in (LONG, SHORT)]
    policy.apply(settings, state, rungs)
    unchanged = before == [shapes(rungs, leg) for leg in (LONG, SHORT)]
    assert unchanged == (regime == SIDEWAYS or name == POLICY_BOTH)


@pytest.mark.parametrize(
    ("regime", "contrarian", "held"), [(UP, 0, SHORT), (DOWN, 0, LONG), (UP, 1, LONG), (DOWN, 1, SHORT)]
)
def test_the_leg_against_the_trend_is_held_back(regime: int, contrarian: int, held: int) -> None:
    """SHORT in UP, LONG in DOWN; the contrarian bias swaps both legs' roles."""
    assert policy.counter_leg(regime, contrarian) == held
    settings, state, rungs = built(regime, policy=POLICY_CORE, contrarian=contrarian, counter_levels=2, core_levels=1)
    step, favoured = state.step_micro, SHORT if held == LONG else LONG
    policy.apply(settings, state, rungs)
    assert [row[0] for row in shapes(rungs, held)] == [1, 1, 0, 0, 0], "nearest by level number"
    assert {row[2] for row in shapes(rungs, held)} == {step}, "the counter leg takes profit after one step"
    assert [row[0] for row in shapes(rungs, favoured)] == [1] * LEVELS
    assert [row[2] for row in shapes(rungs, favoured)] == [step] * (LEVELS - 1) + [2 * step], "core is the outer rungs"


@pytest.mark.parametrize("counter_levels", [0, 2, LEVELS, 9])
def test_a_throttled_counter_keeps_its_take_profits(counter_levels: int) -> None:
    """throttled-counter: the nearest rungs at a floored part of their quantity; the trend leg is not touched."""
    changes = {"policy": POLICY_THROTTLED, "counter_levels": counter_levels, "counter_qty_ppm": 333_333}
    settings, state, rungs = built(UP, **changes, tp_ppm=1_500_000, base_micro_lots=10_000_001)
    long_before, short_before = shapes(rungs, LONG), shapes(rungs, SHORT)
    policy.apply(settings, state, rungs)
    assert shapes(rungs, LONG) == long_before
    for level, (row, old) in enumerate(zip(shapes(rungs, SHORT), short_before, strict=True), start=1):
        assert row == (int(level <= counter_levels), floor(Fraction(old[1] * 333_333, PPM)), old[2])


@given(
    st.sampled_from(REGIMES),
    st.sampled_from(POLICIES),
    st.integers(0, 1),
    st.integers(0, LEVELS + 2),
    st.integers(0, LEVELS + 2),
    st.integers(0, PPM),
    st.lists(st.integers(0, 1), min_size=2 * LEVELS, max_size=2 * LEVELS),
)
def test_policies_only_take_away(
    regime: int, name: int, contrarian: int, counter: int, core: int, qty_ppm: int, offered: list[int]
) -> None:
    """No policy brings back a rung that was not offered, moves a price or raises a quantity."""
    changes = {"counter_levels": counter, "core_levels": core, "counter_qty_ppm": qty_ppm}
    settings, state, rungs = built(regime, policy=name, contrarian=contrarian, **changes)
    for rung, flag in zip(rungs, offered, strict=True):
        rung.in_ladder = flag
    before = [(rung.in_ladder, rung.micro_lots, rung.price_ticks, rung.level) for rung in rungs]
    policy.apply(settings, state, rungs)
    for rung, (flag, micro, price, level) in zip(rungs, before, strict=True):
        assert rung.in_ladder <= flag
        assert rung.micro_lots <= micro
        assert (rung.price_ticks, rung.level) == (price, level)


@given(st.integers(1, 5 * PPM), st.integers(1, 5 * PPM), st.integers(1, 50_000))
def test_core_rungs_take_profit_further_out(tp_ppm: int, core_ppm: int, step_ppm: int) -> None:
    """A core rung's distance is core_tp_multiple x tp_steps x step, each factor rounded away from the entry."""
    changes = {"tp_ppm": tp_ppm, "core_tp_ppm": core_ppm, "step_ppm": step_ppm, "core_levels": 2}
    settings, state, rungs = built(UP, policy=POLICY_CORE, **changes)
    policy.apply(settings, state, rungs)
    steps = ceil(Fraction(tp_ppm * core_ppm, PPM))
    core = ceil(Fraction(state.step_micro * steps, PPM))
    scalp = ceil(Fraction(state.step_micro * tp_ppm, PPM))
    assert [row[2] for row in shapes(rungs, LONG)] == [scalp] * 3 + [core] * 2
