"""Where rungs lie: on the tick, away from the spread, and to the formula of exact arithmetic."""

from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import grid
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.core.records import GridParams, GridState, Indicators, Rung, table
from hedgegrid.units import MICRO, PPM
from tests.core import made
from tests.core.bounded import Int64

CENTERS = st.integers(2_000, 2**30)
STEPS = st.integers(1, 20_000)


def centered(settings: GridParams, center: int, atr: float = 0.0) -> tuple[GridState, list[Rung]]:
    """A grid that has just been centered."""
    state, rungs = GridState(mid_ticks=Int64(center)), table(Rung, settings.levels_long + settings.levels_short)
    grid.recenter(settings, state, Indicators(atr=atr), rungs)
    return state, rungs


def prices(rungs: list[Rung], leg: int) -> list[int]:
    """A leg's prices, nearest first."""
    return [rung.price_ticks for rung in rungs if rung.leg == leg]


def quantities(settings: GridParams, state: GridState, rungs: list[Rung], leg: int) -> list[int]:
    """A leg's undiminished quantities in millionths of a lot, nearest first."""
    grid.build(settings, state, rungs)
    return [rung.micro_lots for rung in rungs if rung.leg == leg]


@given(CENTERS, STEPS, st.integers(1, 30), st.integers(1, 30))
def test_arithmetic_rungs_are_multiples_of_the_step(center: int, step_ppm: int, longs: int, shorts: int) -> None:
    """Rung i is center -/+ i x step, floored for LONG and ceiled for SHORT, strictly ordered away from the center."""
    settings = made.params(step_ppm=step_ppm, levels_long=longs, levels_short=shorts)
    state, rungs = centered(settings, center)
    step = max(Fraction(1), Fraction(center * step_ppm, PPM))
    assert Fraction(state.step_micro, MICRO) == step
    assert prices(rungs, LONG) == [floor(center - i * step) for i in range(1, longs + 1)]
    assert prices(rungs, SHORT) == [ceil(center + i * step) for i in range(1, shorts + 1)]
    path = [*reversed(prices(rungs, LONG)), center, *prices(rungs, SHORT)]
    assert all(low < high for low, high in pairwise(path)), "ordered, never two on one price"
    levels = [(rung.leg, rung.level) for rung in rungs]
    assert levels == [*((LONG, i + 1) for i in range(longs)), *((SHORT, i + 1) for i in range(shorts))]


@given(CENTERS, STEPS, st.integers(1, 40))
def test_geometric_rungs_follow_the_exact_formula(center: int, step_ppm: int, levels: int) -> None:
    """x(i) = x(i-1) x (1e6 -/+ r) / 1e6, r = step // center, floored for LONG and ceiled for SHORT at each i."""
    settings = made.params(step_ppm=step_ppm, geometric=1, levels_long=levels, levels_short=levels)
    state, rungs = centered(settings, center)
    ratio = int(state.step_micro // center)
    low = high = center * MICRO
    for i in range(levels):
        low = floor(Fraction(low * (PPM - ratio), PPM))
        high = ceil(Fraction(high * (PPM + ratio), PPM))
        assert prices(rungs, LONG)[i] == low // MICRO
        assert prices(rungs, SHORT)[i] == -(-high // MICRO)
    if center * step_ppm >= 2 * PPM:
        ups = [center, *prices(rungs, SHORT)]
        assert all(a < b for a, b in pairwise(ups)), "a SHORT ladder's steps never shrink"


@given(st.integers(1, 2**60), st.integers(0, PPM), st.sampled_from([LONG, SHORT]))
def test_a_geometric_step_floors_for_long_and_ceils_for_short(micro: int, ratio: int, leg: int) -> None:
    """The rounding of each step in millionths of a tick, which shows in a price once in a million."""
    ahead = grid._next_price_micro(micro, leg, 10**6, ratio, 1)
    exact = Fraction(micro * (PPM - ratio if leg == LONG else PPM + ratio), PPM)
    assert ahead == (floor(exact) if leg == LONG else ceil(exact))


@given(CENTERS, STEPS, st.floats(0.0, 5_000.0), st.integers(1, 3 * PPM))
def test_the_step_is_the_wider_of_bps_and_atr(center: int, step_ppm: int, atr: float, multiple_ppm: int) -> None:
    """max(one tick, center x step, floor(multiple x ATR)) where spacing is atr; the ATR is not looked at otherwise."""
    plain = centered(made.params(step_ppm=step_ppm, atr_multiple_ppm=multiple_ppm), center, atr)[0].step_micro
    wide = centered(made.params(step_ppm=step_ppm, atr_multiple_ppm=multiple_ppm, atr_spacing=1), center, atr)[0]
    assert plain == max(MICRO, center * step_ppm)
    assert wide.step_micro == max(plain, floor(multiple_ppm * atr))
    assert min(plain, wide.step_micro) >= MICRO, "a step is at least one tick"


@pytest.mark.parametrize(
    ("mid", "moves"), [(10_000, False), (10_030, False), (10_031, True), (9_970, False), (9_969, True)]
)
def test_the_center_moves_strictly_beyond_its_trigger(mid: int, moves: bool) -> None:
    """At the trigger itself the grid stays where it is."""
    settings = made.params(recenter_ppm=3_000)
    state, _ = centered(settings, 10_000)
    assert grid.must_recenter(settings, state, mid) is moves


def test_the_first_decision_centers() -> None:
    """Without a center there is one to be found, wherever the price is."""
    assert grid.must_recenter(made.params(), GridState(), 10_000)


def test_recentering_begins_a_generation_with_free_rungs() -> None:
    """A new generation's rungs are offered even where an old lot is open or an old order works at the same price."""
    settings = made.params()
    state, rungs = centered(settings, 10_000)
    for rung in rungs:
        rung.slot, rung.open_lots = 3, 1
    grid.recenter(settings, state, Indicators(), rungs)
    assert state.generation == 2
    assert [(rung.slot, rung.open_lots) for rung in rungs] == [(-1, 0)] * 6


@given(st.integers(1, 10**9), st.integers(100_000, 3 * PPM), st.integers(1, 12))
def test_base_quantities_compound_floor_by_floor(base_micro: int, scale_ppm: int, levels: int) -> None:
    """Quantity i is the one before it x scale, floored to a millionth of a lot each time."""
    settings = made.params(base_micro_lots=base_micro, qty_scale_ppm=scale_ppm, levels_long=levels)
    expected = [base_micro]
    while len(expected) < levels:
        expected.append(floor(Fraction(expected[-1] * scale_ppm, PPM)))
    assert quantities(settings, *centered(settings, 10_000), LONG) == expected


@given(st.integers(1, 10**14), st.integers(100_000, 3 * PPM), st.integers(1, 8), st.sampled_from([LONG, SHORT]))
def test_quote_quantities_are_divided_by_the_rungs_own_price(quote: int, scale_ppm: int, levels: int, leg: int) -> None:
    """base_quote buys floor(quote / price) at each rung's rounded price, then compounds level by level."""
    changes = {"base_quote_e8": quote, "qty_scale_ppm": scale_ppm, "levels_long": levels, "levels_short": levels}
    settings = made.params(**changes)
    state, rungs = centered(settings, 10_000)
    expected = []
    for i, price in enumerate(prices(rungs, leg)):
        micro = floor(Fraction(quote * MICRO, price * made.UNIT_E8))
        for _ in range(i):
            micro = floor(Fraction(micro * scale_ppm, PPM))
        expected.append(micro)
    assert quantities(settings, state, rungs, leg) == expected


@pytest.mark.parametrize(
    ("mid", "crossing"), [(9_901, [0, 0]), (9_900, [1, 0]), (9_800, [1, 1]), (10_100, [0, 0]), (10_099, [0, 0])]
)
def test_a_long_rung_crosses_at_or_above_the_mid(mid: int, crossing: list[int]) -> None:
    """A crossing rung is marked and, with nothing working on it, not offered; it keeps its level and price."""
    settings = made.params(step_ppm=10_000, levels_long=2, levels_short=2)
    state, rungs = centered(settings, 10_000)
    state.mid_ticks = mid
    grid.build(settings, state, rungs)
    assert [rung.crossing for rung in rungs[:2]] == crossing
    assert [rung.in_ladder for rung in rungs[:2]] == [1 - c for c in crossing]
    assert [(rung.level, rung.price_ticks) for rung in rungs[:2]] == [(1, 9_900), (2, 9_800)]


@pytest.mark.parametrize(("mid", "crossing"), [(10_099, [0, 0]), (10_100, [1, 0]), (10_200, [1, 1])])
def test_a_short_rung_crosses_at_or_below_the_mid(mid: int, crossing: list[int]) -> None:
    """The mirror of the LONG rung."""
    settings = made.params(step_ppm=10_000, levels_long=2, levels_short=2)
    state, rungs = centered(settings, 10_000)
    state.mid_ticks = mid
    grid.build(settings, state, rungs)
    assert [rung.crossing for rung in rungs[2:]] == crossing
    assert [rung.in_ladder for rung in rungs[2:]] == [1 - c for c in crossing]


@pytest.mark.parametrize("slot", [-1, 4])
@pytest.mark.parametrize("open_lots", [0, 1, 2])
def test_a_rung_with_an_open_lot_waits_for_it(open_lots: int, slot: int) -> None:
    """A rung whose lot is open is not offered again; the remainder of a partly filled entry stays wanted."""
    settings = made.params()
    state, rungs = centered(settings, 10_000)
    rungs[0].open_lots, rungs[0].slot = open_lots, slot
    grid.build(settings, state, rungs)
    assert rungs[0].in_ladder == (1 if slot >= 0 or open_lots == 0 else 0)


def test_a_price_below_one_tick_is_no_rung() -> None:
    """A ladder that reaches zero keeps its levels and offers none of them."""
    settings = made.params(step_ppm=400_000, levels_long=4, base_quote_e8=10**9)
    state, rungs = centered(settings, 100)
    grid.build(settings, state, rungs)
    assert [rung.price_ticks for rung in rungs[:4]] == [60, 20, -20, -60]
    assert [rung.in_ladder for rung in rungs[:4]] == [1, 1, 0, 0]
    assert [rung.micro_lots for rung in rungs[2:4]] == [0, 0]


@given(st.integers(1, 2**40 - 1), st.integers(1, PPM // 40), st.integers(1, 3 * PPM), st.integers(0, 1))
def test_prices_stay_within_64_bits_at_the_highest_price(
    center: int, step_ppm: int, scale: int, geometric: int
) -> None:
    """The arithmetic of a ladder holds for every price that a market may have (below 2^40 ticks)."""
    settings = made.params(step_ppm=step_ppm, geometric=geometric, levels_long=8, levels_short=8, qty_scale_ppm=scale)
    for name in ("step_ppm", "recenter_ppm", "base_micro_lots", "qty_scale_ppm", "tp_ppm"):
        setattr(settings, name, Int64(getattr(settings, name)))
    state, rungs = centered(settings, center)
    grid.build(settings, state, rungs)
    grid.must_recenter(settings, state, Int64(2 * center))
