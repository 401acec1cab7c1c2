"""Ladders trimmed to the inventory limit, then scaled and floored once."""

from fractions import Fraction
from math import floor

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import diff, grid, inventory
from hedgegrid.core.codes import FREE, LONG, SHORT
from hedgegrid.core.records import EntryOrder, GridParams, GridState, Indicators, Rung, table
from hedgegrid.units import MICRO, PPM
from tests.core import made
from tests.core.made import UNIT_E8

LEVELS = 4
MID = 10_000


@attrs.frozen(kw_only=True)
class Case:
    """A grid about to be trimmed."""

    settings: GridParams
    state: GridState
    rungs: list[Rung]
    entries: list[EntryOrder]


def working(entry: EntryOrder, leg: int, level: int, generation: int, price: int, qty: int, filled: int) -> None:
    """Write a working entry."""
    entry.state, entry.no, entry.leg, entry.level, entry.generation = diff.WORKING, 1, leg, level, generation
    entry.price_ticks, entry.rung_price_ticks, entry.qty_lots, entry.filled_lots = price, price, qty, filled


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Ladders of any quantities with positions, orders of this and of the last generation, and any limit."""
    limit = draw(st.integers(10, 80)) * MID * UNIT_E8
    settings = made.params(levels_long=LEVELS, levels_short=LEVELS, max_inventory_e8=limit)
    state = GridState(mid_ticks=MID)
    rungs, entries = table(Rung, 2 * LEVELS), table(EntryOrder, 12)
    grid.recenter(settings, state, Indicators(), rungs)
    grid.recenter(settings, state, Indicators(), rungs)
    grid.build(settings, state, rungs)
    state.position_long_lots, state.position_short_lots = draw(st.integers(0, 20)), draw(st.integers(0, 20))
    slot = 0
    for index, rung in enumerate(rungs):
        rung.in_ladder = draw(st.integers(0, 1))
        rung.micro_lots = draw(st.integers(0, 12 * MICRO))
        if draw(st.booleans()):
            qty = draw(st.integers(1, 12))
            off = draw(st.integers(0, 3))
            filled = draw(st.sampled_from([0, qty // 2]))
            working(entries[slot], rung.leg, rung.level, 2, rung.price_ticks - off, qty, filled)
            rungs[index].slot = slot
            slot += 1
    for _ in range(draw(st.integers(0, 3))):
        leg = draw(st.sampled_from([LONG, SHORT]))
        working(entries[slot], leg, draw(st.integers(1, LEVELS)), 1, MID, draw(st.integers(1, 9)), 0)
        slot += 1
    return Case(settings=settings, state=state, rungs=rungs, entries=entries)


def remaining_e8(entry: EntryOrder) -> int:
    """What an entry can still add, at its own price."""
    return entry.price_ticks * (entry.qty_lots - entry.filled_lots) * UNIT_E8


def counted_e8(case: Case, rung: Rung) -> int:
    """What a rung counts: the larger of desired (whole lots) and working; only the rest of a partly filled one."""
    desired = rung.price_ticks * (rung.micro_lots // MICRO) * UNIT_E8
    if rung.slot < 0:
        return desired
    entry = case.entries[rung.slot]
    return remaining_e8(entry) if entry.filled_lots else max(desired, remaining_e8(entry))


def outside_e8(case: Case, leg: int, offered: set[tuple[int, int]]) -> int:
    """The leg's working entries whose rung is not offered, older generations included."""
    total = 0
    for entry in case.entries:
        here = entry.generation == case.state.generation and (entry.leg, entry.level) in offered
        if entry.state != FREE and entry.leg == leg and not here:
            total += remaining_e8(entry)
    return total


@given(cases())
def test_the_worst_case_never_exceeds_the_limit(case: Case) -> None:
    """Position + entries outside + kept rungs stay within the limit; from the first that does not fit on, all go."""
    offered = {(rung.leg, rung.level) for rung in case.rungs if rung.in_ladder}
    inventory.trim(case.settings, case.state, case.rungs, case.entries)
    positions = {LONG: case.state.position_long_lots, SHORT: case.state.position_short_lots}
    for leg in (LONG, SHORT):
        used = positions[leg] * MID * UNIT_E8 + outside_e8(case, leg, offered)
        fits = True
        for rung in case.rungs:
            if rung.leg != leg or (leg, rung.level) not in offered:
                continue
            used += counted_e8(case, rung)
            fits = fits and used <= case.settings.max_inventory_e8
            assert rung.in_ladder == int(fits), "nearest first, and nothing beyond the first that does not fit"


def test_exactly_the_limit_fits() -> None:
    """The limit itself is allowed; one unit under it drops the last rung."""
    for less, kept in ((0, 3), (1, 2)):
        settings = made.params()
        state, rungs = GridState(mid_ticks=MID), table(Rung, 6)
        grid.recenter(settings, state, Indicators(), rungs)
        grid.build(settings, state, rungs)
        settings.max_inventory_e8 = sum(rung.price_ticks * 10 * UNIT_E8 for rung in rungs[:3]) - less
        inventory.trim(settings, state, rungs, table(EntryOrder, 4))
        assert sum(rung.in_ladder for rung in rungs[:3]) == kept


def test_the_dropped_rungs_are_the_farthest() -> None:
    """A position near the limit leaves the nearest rungs, of its own leg only."""
    settings = made.params(max_inventory_e8=30 * MID * UNIT_E8)
    state, rungs = GridState(mid_ticks=MID), table(Rung, 6)
    grid.recenter(settings, state, Indicators(), rungs)
    grid.build(settings, state, rungs)
    state.position_long_lots = 15
    inventory.trim(settings, state, rungs, table(EntryOrder, 4))
    assert [rung.in_ladder for rung in rungs] == [1, 0, 0, 1, 1, 0], (
        "SHORT prices lie above the mid: two of 10 lots fit"
    )


def finished(micro: int, vol_ppm: int, throttle_ppm: int, **changes: int) -> tuple[Rung, GridState]:
    """One LONG rung at 9,950 ticks after the last factors."""
    settings = made.params(levels_long=1, levels_short=1, **changes)
    state = GridState(mid_ticks=MID, throttle_ppm=throttle_ppm)
    rungs = table(Rung, 2)
    grid.recenter(settings, state, Indicators(), rungs)
    rungs[0].in_ladder, rungs[0].micro_lots = 1, micro
    inventory.finish(settings, state, rungs, vol_ppm)
    return rungs[0], state


@given(st.integers(0, 10**13), st.integers(0, PPM), st.integers(0, PPM))
def test_each_factor_floors_and_the_lot_is_floored_once(micro: int, vol_ppm: int, throttle_ppm: int) -> None:
    """floor(floor(q x volatility) x throttle) in millionths, then one floor to whole lots."""
    rung, _ = finished(micro, vol_ppm, throttle_ppm)
    scaled = floor(Fraction(floor(Fraction(micro * vol_ppm, PPM)) * throttle_ppm, PPM))
    assert rung.qty_lots == scaled // MICRO
    assert rung.in_ladder == int(rung.qty_lots > 0)


@pytest.mark.parametrize(("lots", "kept"), [(3, False), (4, True), (5, True)])
def test_a_rung_under_the_minimum_quantity_is_dropped_and_counted(lots: int, kept: bool) -> None:
    """The exchange's minimum is inclusive; what is dropped is counted and wants nothing."""
    rung, state = finished(lots * MICRO, PPM, PPM, min_qty_lots=4)
    assert (rung.qty_lots, rung.in_ladder, state.below_minimum) == ((lots, 1, 0) if kept else (0, 0, 1))


@pytest.mark.parametrize(("less", "kept"), [(-1, True), (0, True), (1, False)])
def test_the_minimum_notional_is_checked_at_the_rungs_own_price(less: int, kept: bool) -> None:
    """Three lots at 9,950 ticks are exactly enough."""
    rung, state = finished(3 * MICRO, PPM, PPM, min_notional_e8=3 * 9_950 * UNIT_E8 + less)
    assert (rung.qty_lots, state.below_minimum) == ((3, 0) if kept else (0, 1))


@pytest.mark.parametrize(
    ("micro", "vol", "throttle"), [(0, PPM, PPM), (MICRO - 1, PPM, PPM), (MICRO, PPM, 0), (MICRO, 0, PPM)]
)
def test_less_than_one_lot_is_never_wanted(micro: int, vol: int, throttle: int) -> None:
    """A quantity that floors to nothing is under the minimum even where the exchange names none."""
    rung, state = finished(micro, vol, throttle, min_qty_lots=0)
    assert (rung.qty_lots, rung.in_ladder, state.below_minimum) == (0, 0, 1)
