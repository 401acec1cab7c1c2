"""Legs that are closed slice by slice: how much at once, and that neither runs ahead of the other.

Invariant: what fills, is refused or hangs is chosen by the test; what is sent is read from the actions.
"""

from collections.abc import Iterator

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import closing
from hedgegrid.core.actions import PLACE
from hedgegrid.core.codes import FLATTEN, LONG, SHORT
from hedgegrid.core.exit_race import covers_of
from hedgegrid.core.exits import OPEN, cut_lot, forget_exit
from hedgegrid.core.records import Action, Counter, GridParams, GridState, Lot, Rung, StopOrder, table

MARK = 10_000
UNIT_E8 = 10


@attrs.define(eq=False)
class Legs:
    """Both legs' lots, and the market reductions that the exchange has."""

    slice_lots: int
    min_lots: int = 1
    state: GridState = attrs.field(factory=lambda: GridState(next_order_no=1))
    lots: list[Lot] = attrs.field(factory=list)
    open: dict[int, tuple[int, int]] = attrs.field(factory=dict)
    """Leg and what is left of it, by number."""

    def hold(self, leg: int, *sizes: int) -> None:
        """Give a leg lots of these sizes, oldest first."""
        for size in sizes:
            number = len(self.lots) + 1
            self.lots.append(Lot(state=OPEN, lot_id=number, leg=leg, generation=1, entry_ticks=MARK, qty_lots=size))
        self.state.position_long_lots = sum(lot.qty_lots for lot in self.lots if lot.leg == LONG)
        self.state.position_short_lots = sum(lot.qty_lots for lot in self.lots if lot.leg == SHORT)

    @property
    def params(self) -> GridParams:
        """The settings: slices of so many lots at the mark."""
        slice_e8 = self.slice_lots * MARK * UNIT_E8 + 1
        return GridParams(unit_e8=UNIT_E8, min_qty_lots=self.min_lots, flatten_slice_e8=slice_e8)

    @property
    def held(self) -> tuple[int, int]:
        """What each leg holds."""
        return self.state.position_long_lots, self.state.position_short_lots

    def close(self, *legs: int) -> list[tuple[int, int]]:
        """Ask for legs to be closed, or go on; give leg and quantity of what is sent."""
        for leg in legs:
            closing.ask(self.state, leg, closing.WANTED)
        out, used = table(Action, 8), Counter()
        closing.go_on(self.params, self.state, self.lots, MARK, out, used)
        sent = []
        for action in out[: used.n]:
            assert (action.kind, action.purpose, action.price_ticks) == (PLACE, FLATTEN, 0)
            assert sum(cover.qty_lots for cover in covers_of(self.lots, action.no, FLATTEN)) == action.qty_lots
            self.open[action.no] = (action.leg, action.qty_lots)
            sent.append((action.leg, action.qty_lots))
        return sent

    def fill(self, no: int, qty_lots: int) -> None:
        """Fill a reduction, whole or in part; a whole fill ends it."""
        leg, left = self.open[no]
        rest = qty_lots
        for cover in covers_of(self.lots, no, FLATTEN):
            part = min(rest, cover.qty_lots)
            cut_lot(self.params, self.state, table(Rung, 1), self.lots, cover.lot_id, part)
            rest -= part
        self.open[no] = (leg, left - qty_lots)
        if left == qty_lots:
            self.end(no)

    def end(self, no: int) -> None:
        """End a reduction: refused, expired, or done."""
        del self.open[no]
        forget_exit(self.state, self.lots, table(StopOrder, 1), no)


def rounds(legs: Legs) -> Iterator[list[tuple[int, int]]]:
    """Close both legs, everything filling at once; give what was sent each time."""
    while sent := legs.close(LONG, SHORT):
        yield sent
        for no, (_, left) in list(legs.open.items()):
            legs.fill(no, left)


def test_legs_of_a_size_go_side_by_side() -> None:
    """Two legs of 25 in slices of 10: both at once each time, and the rest whole."""
    legs = Legs(slice_lots=10)
    legs.hold(LONG, 8, 8, 9)
    legs.hold(SHORT, 25)
    assert list(rounds(legs)) == [[(LONG, 10), (SHORT, 10)], [(LONG, 10), (SHORT, 10)], [(LONG, 5), (SHORT, 5)]]


def test_smaller_leg_waits_until_the_larger_has_come_down_to_it() -> None:
    """30 against 12: the larger leg first, alone, while closing the smaller could widen the gap."""
    legs = Legs(slice_lots=10)
    legs.hold(LONG, 30)
    legs.hold(SHORT, 12)
    assert list(rounds(legs)) == [[(LONG, 10)], [(LONG, 10)], [(SHORT, 10)], [(LONG, 10), (SHORT, 2)]]


def test_one_reduction_a_leg_at_a_time() -> None:
    """While a slice has not been resolved nothing follows it, and the other leg goes no further than a slice ahead."""
    legs = Legs(slice_lots=10)
    legs.hold(LONG, 30)
    legs.hold(SHORT, 30)
    assert legs.close(LONG, SHORT) == [(LONG, 10), (SHORT, 10)]
    assert legs.close(LONG, SHORT) == []
    long_no, short_no = legs.open
    legs.fill(long_no, 10)
    assert legs.close(LONG, SHORT) == [], "SHORT's slice hangs: one more of LONG could leave 20 open one way"
    legs.fill(short_no, 4)
    assert legs.close(LONG, SHORT) == []
    legs.end(short_no)
    assert legs.close(LONG, SHORT) == [(SHORT, 10)]


def test_leg_that_is_to_stay_holds_nothing_up() -> None:
    """The operator closes SHORT alone: its slices follow each other although LONG stays."""
    legs = Legs(slice_lots=10)
    legs.hold(LONG, 50)
    legs.hold(SHORT, 25)
    for expected in ([(SHORT, 10)], [(SHORT, 10)], [(SHORT, 5)], []):
        assert legs.close(SHORT) == expected
        for no, (_, left) in list(legs.open.items()):
            legs.fill(no, left)
    assert legs.held == (50, 0)
    assert legs.state.close_short == 0, "what is flat is not closed any more"


def test_leg_that_was_just_refused_sends_nothing() -> None:
    """Held back after a refusal, a leg waits, and the other with it; then both go on."""
    legs = Legs(slice_lots=10)
    legs.hold(LONG, 30)
    legs.hold(SHORT, 28)
    closing.ask(legs.state, LONG, closing.HELD_BACK)
    assert legs.close(SHORT) == [], "28 to 18 would leave LONG 12 ahead"
    assert legs.close(LONG, SHORT) == [(LONG, 10)]


@pytest.mark.parametrize(("size", "expected"), [(10, 10), (12, 9), (13, 10), (23, 10)])
def test_rest_can_still_be_sent(size: int, expected: int) -> None:
    """A slice never leaves less than the exchange's smallest order behind."""
    legs = Legs(slice_lots=10, min_lots=3)
    legs.hold(LONG, size)
    assert legs.close(LONG) == [(LONG, expected)]


def test_without_a_slice_a_leg_goes_whole() -> None:
    """No notional given (0): one order a leg, as the exchange takes it."""
    legs = Legs(slice_lots=10)
    legs.hold(LONG, 30)
    state, out, used = legs.state, table(Action, 8), Counter()
    closing.ask(state, LONG, closing.WANTED)
    closing.go_on(GridParams(unit_e8=UNIT_E8, min_qty_lots=1), state, legs.lots, MARK, out, used)
    assert [(row.leg, row.qty_lots) for row in out[: used.n]] == [(LONG, 30)]


@given(
    st.integers(1, 20),
    st.lists(st.integers(1, 30), max_size=6),
    st.lists(st.integers(1, 30), max_size=6),
    st.data(),
)
def test_net_grows_by_no_more_than_a_slice(
    most: int, longs: list[int], shorts: list[int], course: st.DataObject
) -> None:
    """Whatever fills, fills in part, is refused or hangs: orders are slices, |net| stays within one, both end flat."""
    legs = Legs(slice_lots=most)
    legs.hold(LONG, *longs)
    legs.hold(SHORT, *shorts)
    held = legs.held
    bound = max(most, abs(held[0] - held[1]))
    for _ in range(course.draw(st.integers(0, 30))):
        assert all(qty <= most for _, qty in legs.close(LONG, SHORT))
        if not legs.open:
            break
        no = course.draw(st.sampled_from(sorted(legs.open)))
        left = legs.open[no][1]
        act = course.draw(st.sampled_from(["whole", "part", "end"]))
        if act == "end":
            legs.end(no)
        else:
            legs.fill(no, left if act == "whole" else course.draw(st.integers(1, left)))
        assert abs(legs.held[0] - legs.held[1]) <= bound
    for no, (_, left) in list(legs.open.items()):
        legs.fill(no, left)
    for _ in rounds(legs):
        assert abs(legs.held[0] - legs.held[1]) <= bound
    assert legs.held == (0, 0)
