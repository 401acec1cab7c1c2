"""Lots and their exits: birth prices, how stops merge, which side they are on, and the stop of last resort."""

from fractions import Fraction
from itertools import pairwise
from math import ceil, floor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import closing, exits, grid, ledger, pipeline
from hedgegrid.core.actions import PLACE, RETIRE
from hedgegrid.core.codes import BACKSTOP, FLATTEN, FREE, LONG, SHORT, STOP, TAKE_PROFIT
from hedgegrid.core.records import (
    Action,
    Counter,
    EntryOrder,
    GridState,
    Indicators,
    LegAccount,
    Lot,
    Rung,
    StopOrder,
    table,
)
from hedgegrid.units import MICRO, PPM
from tests.core import made

CENTER = 10_000
STEP = 50
SL_STEPS = 6
LEGS = st.sampled_from([LONG, SHORT])
ENTRIES = st.lists(st.tuples(st.integers(9_000, 11_000), st.integers(1, 9)), min_size=1, max_size=9)


class Leg:
    """One leg's lots and exits around a grid of 50-tick steps; the market is far away unless a test says where."""

    def __init__(self, leg: int = LONG, **changes: Any) -> None:
        """Hold nothing."""
        self.leg = leg
        self.params = made.params(sl_ppm=SL_STEPS * PPM, **changes)
        self.state = GridState(mid_ticks=CENTER, may_add=1, next_order_no=1)
        self.rungs = table(Rung, 6)
        grid.recenter(self.params, self.state, Indicators(), self.rungs)
        self.accounts, self.lots, self.stops = table(LegAccount, 2), table(Lot, 16), table(StopOrder, 12)
        self.out, self.used = table(Action, 60), Counter()
        self.far = 30_000 if leg == LONG else 1
        self.next_lot = 1
        self.working = 0
        """Entries of the instrument that work."""

    def fill(self, price: int, qty: int, *, level: int = 1, generation: int = 1, step: int = STEP) -> Lot:
        """Fill an entry and send its take-profit; 1.5 steps of profit."""
        ledger.increase(self.accounts[self.leg], qty, price * qty * self.params.unit_e8)
        index = exits.open_lot(
            self.params,
            self.state,
            self.rungs,
            self.lots,
            self.next_lot,
            self.leg,
            level,
            generation,
            price,
            qty,
            step * MICRO * 3 // 2,
            step * MICRO,
            self.out,
            self.used,
        )
        self.next_lot += 1
        return self.lots[index]

    def sent(self) -> list[Action]:
        """What was asked for since the last time."""
        count, self.used.n = self.used.n, 0
        rows, self.out = self.out[:count], [*self.out[count:], *table(Action, count)]
        return rows

    def lay(self, mark: int | None = None) -> list[Action]:
        """Lay the stops as after a batch of fills; give what is asked for them alone."""
        self.sent()
        market = self.far if mark is None else mark
        tables = (self.params, self.state, self.accounts, self.lots, self.stops, market, self.out, self.used)
        pipeline.after_batch(*tables)
        return self.sent()

    def cut(self, lot: Lot, qty: int) -> None:
        """Close part of a lot at its entry."""
        pipeline.on_exit_fill(self.params, self.accounts, self.leg, lot.entry_ticks, qty)
        exits.cut_lot(self.params, self.state, self.rungs, self.lots, lot.lot_id, qty)

    def close(self, mark: int = 10_000) -> None:
        """Close the leg at the market, or go on with it."""
        closing.ask(self.state, self.leg, closing.WANTED)
        closing.go_on(self.params, self.state, self.lots, mark, self.out, self.used)

    def backstop(self) -> list[Action]:
        """Lay the leg's backstop."""
        self.sent()
        exits.lay_backstop(self.params, self.state, self.rungs, self.lots, self.leg, self.working, self.out, self.used)
        return self.sent()


@given(LEGS, st.integers(1, 2**40), st.integers(0, 2**50))
def test_exits_round_to_the_tick_in_the_lots_favour_of_safety(leg: int, entry: int, micro: int) -> None:
    """Take-profits away from the spread, stops toward the earlier trigger, never under one tick."""
    sign = 1 if leg == LONG else -1
    assert sign * (exits.take_profit_ticks(leg, entry, micro) - entry) == max(1, ceil(Fraction(micro, MICRO)))
    assert sign * (entry - exits.stop_ticks(leg, entry, micro)) == max(1, floor(Fraction(micro, MICRO)))


@given(LEGS, st.integers(5_000, 20_000), st.integers(1, 50), st.integers(1, 3), st.integers(2, 90))
def test_a_fill_sends_its_take_profit_at_once(leg: int, price: int, qty: int, level: int, step: int) -> None:
    """A filled entry becomes a lot with exits by its own order's step, and a take-profit for its quantity."""
    desk = Leg(leg)
    lot = desk.fill(price, qty, level=level, step=step)
    (action,) = desk.sent()
    sign = 1 if leg == LONG else -1
    assert (action.kind, action.purpose, action.leg, action.qty_lots) == (PLACE, TAKE_PROFIT, leg, qty)
    assert (action.level, action.generation, action.lot_id) == (level, 1, lot.lot_id)
    assert action.price_ticks == lot.tp_ticks == price + sign * ceil(Fraction(3 * step, 2))
    assert lot.stop_ticks == price - sign * SL_STEPS * step
    assert lot.tp_no == action.no > 0


def test_a_take_profit_below_one_tick_cannot_rest() -> None:
    """A SHORT lot whose target would be no price keeps its stop alone."""
    desk = Leg(SHORT)
    assert desk.fill(60, 5).tp_no == 0
    assert desk.sent() == []
    assert [a.price_ticks for a in desk.lay(mark=60)] == [60 + SL_STEPS * STEP]


def test_recentering_leaves_old_exits_alone() -> None:
    """A lot keeps the exits that it was born with, whatever step and center the next generation has."""
    desk = Leg(step_ppm=5_000)
    lot = desk.fill(9_950, 10)
    birth = (lot.tp_ticks, lot.stop_ticks, lot.step_micro)
    desk.lay()
    desk.params.step_ppm, desk.params.sl_ppm, desk.params.tp_ppm = 20_000, PPM, 5 * PPM
    desk.state.mid_ticks = 9_000
    grid.recenter(desk.params, desk.state, Indicators(), desk.rungs)
    assert desk.rungs[0].open_lots == 0, "the new generation's rung is offered"
    desk.fill(8_900, 10, generation=2, step=180)
    assert (lot.tp_ticks, lot.stop_ticks, lot.step_micro) == birth
    desk.cut(lot, 10)
    assert desk.rungs[0].open_lots == 1, "an old lot's end frees no rung of the new generation"


def test_partial_fills_make_lots_of_their_own() -> None:
    """Each part has its exits at once, for the filled quantity; the rung is free when the last of them is closed."""
    desk = Leg()
    first, second = desk.fill(9_950, 3), desk.fill(9_950, 7)
    assert [a.qty_lots for a in desk.sent()] == [3, 7]
    assert [(a.price_ticks, a.qty_lots, a.level) for a in desk.lay()] == [(9_650, 10, -1)]
    assert desk.rungs[0].open_lots == 2
    desk.cut(first, 3)
    assert desk.rungs[0].open_lots == 1
    desk.cut(second, 4)
    assert (second.state, second.qty_lots, desk.rungs[0].open_lots) == (exits.OPEN, 3, 1)
    desk.cut(second, 3)
    assert (second.state, desk.rungs[0].open_lots, desk.state.position_long_lots) == (FREE, 0, 0)


def test_a_full_table_of_lots_is_counted() -> None:
    """A fill that finds no room is counted, and its index says that there is no lot."""
    desk = Leg()
    desk.lots = table(Lot, 1)
    desk.fill(9_950, 1)
    desk.fill(9_900, 1)
    assert desk.state.overflowed == 1


def merged(prices: list[int], most: int, leg: int, mark: int) -> list[int]:
    """The design's rule told again: join the smallest gap, ties farthest from the mark, at the earlier trigger."""
    stops = sorted(set(prices), reverse=leg == LONG)
    while len(stops) > most:
        gaps = [abs(a - b) for a, b in pairwise(stops)]
        at = max((i for i, gap in enumerate(gaps) if gap == min(gaps)), key=lambda i: (abs(stops[i + 1] - mark), -i))
        del stops[at + 1]
    return stops


@given(LEGS, ENTRIES, st.integers(1, 5))
def test_stops_merge_by_the_smallest_gap(leg: int, entries: list[tuple[int, int]], most: int) -> None:
    """Equal prices share an order; neighbours merge down to the limit, toward the earlier trigger; no lot is bare."""
    desk = Leg(leg, max_stop_orders=most)
    lots = [desk.fill(price, qty) for price, qty in entries]
    rows = desk.lay()
    expected = merged([lot.stop_ticks for lot in lots], most, leg, desk.far)
    assert [row.price_ticks for row in rows] == expected, "earliest trigger first"
    assert len(rows) <= most
    for row in rows:
        mine = [lot for lot in lots if lot.stop_no == row.no]
        assert (row.kind, row.purpose, row.leg) == (PLACE, STOP, leg)
        assert row.qty_lots == sum(lot.qty_lots for lot in mine)
        alone = len(mine) == 1
        assert (row.level, row.generation) == ((mine[0].level, mine[0].generation) if alone else (-1, -1))
        for lot in mine:
            early = row.price_ticks - lot.stop_ticks if leg == LONG else lot.stop_ticks - row.price_ticks
            assert early >= 0
    assert sum(row.qty_lots for row in rows) == desk.accounts[leg].qty_lots


@pytest.mark.parametrize(("leg", "expected"), [(LONG, [9_700, 9_690]), (SHORT, [10_270, 10_280])])
def test_of_equal_gaps_the_farthest_from_the_mark_merges(leg: int, expected: list[int]) -> None:
    """Three stops ten ticks apart and room for two: the pair farther from the mark joins at its earlier trigger."""
    desk = Leg(leg, max_stop_orders=2)
    for price in (10_000, 9_990, 9_980) if leg == LONG else (9_970, 9_980, 9_990):
        desk.fill(price, 1)
    assert [row.price_ticks for row in desk.lay()] == expected


def test_unchanged_stops_are_kept_and_changed_ones_replaced_new_first() -> None:
    """A stop that would stay the same is not touched; the new one is placed before the old is retired."""
    desk = Leg(max_stop_orders=2)
    desk.fill(10_000, 1)
    (far,) = desk.lay()
    desk.fill(9_000, 2)
    (near,) = desk.lay()
    assert (far.price_ticks, near.price_ticks) == (9_700, 8_700)
    desk.fill(9_010, 4)
    rows = desk.lay()
    assert [(row.kind, row.price_ticks, row.qty_lots) for row in rows] == [(PLACE, 8_710, 6), (RETIRE, 8_700, 0)]
    assert rows[1].no == near.no
    assert desk.lay() == [], "nothing changed since"


def test_a_stop_that_gains_a_lot_is_replaced_at_its_own_price() -> None:
    """The price stays, the quantity does not: a new order for both lots, then the old one is retired."""
    desk = Leg()
    desk.fill(10_000, 1)
    (old,) = desk.lay()
    desk.fill(10_000, 2)
    rows = desk.lay()
    assert [(row.kind, row.price_ticks, row.qty_lots) for row in rows] == [(PLACE, 9_700, 3), (RETIRE, 9_700, 0)]
    assert rows[1].no == old.no


def test_a_cut_lot_keeps_its_stop() -> None:
    """The venue shrinks a merged stop with its lots: nothing is sent for it."""
    desk = Leg()
    first = desk.fill(10_000, 5)
    desk.fill(10_000, 5)
    desk.lay()
    desk.cut(first, 2)
    assert desk.lay() == []
    desk.cut(first, 3)
    assert desk.lay() == []


@given(LEGS, ENTRIES, st.integers(8_500, 11_500), st.integers(1, 4))
def test_a_stop_on_the_wrong_side_becomes_a_market_reduction(
    leg: int, entries: list[tuple[int, int]], mark: int, most: int
) -> None:
    """At or beyond the mark a stop would trigger at once: all the lots that share it go at the market."""
    desk = Leg(leg, max_stop_orders=most)
    lots = [desk.fill(price, qty) for price, qty in entries]
    rows = desk.lay(mark)
    triggers = merged([lot.stop_ticks for lot in lots], most, leg, mark)
    late = {price for price in triggers if (price >= mark if leg == LONG else price <= mark)}
    markets = [row for row in rows if row.price_ticks == 0]
    assert len(markets) == len(late)
    assert {row.purpose for row in rows} == {STOP}
    for lot in lots:
        assert lot.closing == (lot.qty_lots if lot.group_ticks in late else 0)
        assert (lot.stop_no in [row.no for row in markets]) == (lot.group_ticks in late)
    assert [row.price_ticks for row in rows if row.price_ticks] == [price for price in triggers if price not in late]
    assert sum(row.qty_lots for row in rows) == desk.accounts[leg].qty_lots
    assert desk.lay(mark) == [], "a reduction under way is not sent twice"


@pytest.mark.parametrize(("leg", "stop"), [(LONG, 9_700), (SHORT, 10_300)])
@pytest.mark.parametrize("off", [-1, 0, 1])
def test_the_wrong_side_includes_the_mark_itself(leg: int, stop: int, off: int) -> None:
    """A stop at the mark would trigger at once; one tick on the right side of it rests."""
    desk = Leg(leg)
    desk.fill(10_000, 5)
    mark = stop + off if leg == LONG else stop - off
    assert [row.price_ticks for row in desk.lay(mark)] == [stop if off > 0 else 0]


def test_a_refused_reduction_is_sent_again() -> None:
    """What a refusal stripped from a lot is laid anew at the next batch, stops and take-profits alike."""
    desk = Leg()
    lot = desk.fill(10_000, 5)
    target = lot.tp_no
    (late,) = desk.lay(mark=9_000)
    for no in (late.no, target):
        exits.forget_exit(desk.state, desk.lots, desk.stops, no)
    assert [(row.price_ticks, row.qty_lots) for row in desk.lay(mark=9_000)] == [(0, 5)]
    exits.forget_exit(desk.state, desk.lots, desk.stops, lot.stop_no)
    assert [(row.price_ticks, row.qty_lots) for row in desk.lay()] == [(9_700, 5)]
    exits.resend_take_profits(desk.state, desk.lots, desk.out, desk.used)
    assert [(row.purpose, row.qty_lots) for row in desk.sent()] == [(TAKE_PROFIT, 5)]
    exits.resend_take_profits(desk.state, desk.lots, desk.out, desk.used)
    assert desk.sent() == []


@given(LEGS, ENTRIES, st.integers(1, 200))
def test_the_legs_one_stop_is_measured_from_the_average(leg: int, entries: list[tuple[int, int]], newest: int) -> None:
    """floor(cost x 1e6 / (position x unit)) -/+ sl_steps x the newest entry's step, toward the earlier trigger."""
    desk = Leg(leg, leg_stop=1, max_stop_orders=1)
    for price, qty in entries:
        desk.fill(price, qty)
    desk.fill(10_000, 1, step=newest)
    held = sum(qty for _, qty in entries) + 1
    average = floor(Fraction(sum(price * qty for price, qty in [*entries, (10_000, 1)]) * MICRO, held))
    reach = SL_STEPS * newest * MICRO
    expected = ceil(Fraction(average - reach, MICRO)) if leg == LONG else floor(Fraction(average + reach, MICRO))
    (row,) = desk.lay()
    assert (row.price_ticks, row.qty_lots, row.level) == (expected, held, -1)


def test_the_legs_stop_moves_with_fills_and_not_with_the_center() -> None:
    """It is laid anew at each fill of the leg; a recenter alone does not touch it."""
    desk = Leg(leg_stop=1)
    first = desk.fill(10_000, 1)
    assert [row.price_ticks for row in desk.lay()] == [9_700]
    desk.state.mid_ticks = 11_000
    grid.recenter(desk.params, desk.state, Indicators(), desk.rungs)
    assert desk.lay() == []
    desk.fill(9_900, 1, generation=2)
    rows = desk.lay()
    assert [(row.kind, row.price_ticks) for row in rows] == [(PLACE, 9_650), (RETIRE, 9_700)]
    desk.cut(first, 1)
    assert [row.price_ticks for row in desk.lay()] == [], "average cost stays where it was"


def test_flatten_sends_one_reduction_at_a_time() -> None:
    """What follows a market reduction under way waits for its end; a flat leg sends nothing."""
    desk = Leg()
    desk.close()
    assert desk.sent() == []
    late = desk.fill(10_000, 5)
    desk.fill(9_000, 2)
    desk.lay(mark=9_000)
    desk.close()
    assert desk.sent() == []
    desk.cut(late, 5)
    desk.close()
    assert [(row.purpose, row.price_ticks, row.qty_lots) for row in desk.sent()] == [(FLATTEN, 0, 2)]
    desk.close()
    assert desk.sent() == []


def test_flatten_takes_entries_and_positions() -> None:
    """pipeline.flatten wants nothing any more and closes both legs."""
    desk = Leg()
    desk.fill(10_000, 5)
    desk.sent()
    for rung in desk.rungs:
        rung.qty_lots, rung.in_ladder = 3, 1
    entries = table(EntryOrder, 8)
    pipeline.flatten(desk.params, desk.state, desk.rungs, entries, desk.lots, 10_000, desk.out, desk.used)
    assert [(row.purpose, row.leg, row.qty_lots) for row in desk.sent()] == [(FLATTEN, LONG, 5)]
    assert all(rung.qty_lots == 0 and rung.in_ladder == 0 for rung in desk.rungs)


@given(LEGS, st.lists(st.tuples(st.integers(9_000, 11_000), st.integers(1, 9), st.integers(1, 300)), max_size=6))
def test_the_backstop_lies_beyond_every_stop(leg: int, entries: list[tuple[int, int, int]]) -> None:
    """backstop_steps beyond the deepest stop of the whole ladder and of every open lot, and not moved without need."""
    desk = Leg(leg)
    lots = [desk.fill(price, qty, step=step) for price, qty, step in entries]
    sign = 1 if leg == LONG else -1
    outer = CENTER - sign * (3 + SL_STEPS) * STEP
    deepest = min([outer, *(lot.stop_ticks for lot in lots)], key=lambda price: sign * price)
    (row,) = desk.backstop()
    assert (row.kind, row.purpose, row.leg, row.qty_lots) == (PLACE, BACKSTOP, leg, 0)
    assert row.price_ticks == deepest - sign * 2 * STEP
    assert desk.backstop() == []


def test_a_moved_backstop_is_placed_before_the_old_one_is_retired() -> None:
    """The leg is never without it."""
    desk = Leg()
    (old,) = desk.backstop()
    desk.fill(9_500, 5)
    rows = desk.backstop()
    assert [(row.kind, row.purpose) for row in rows] == [(PLACE, BACKSTOP), (RETIRE, BACKSTOP)]
    assert rows[1].no == old.no


@pytest.mark.parametrize(("changes", "leg"), [({"backstop_ppm": 0}, LONG), ({"levels_long": 0}, LONG)])
def test_no_backstop_where_there_is_nothing_to_stop(changes: dict[str, int], leg: int) -> None:
    """Switched off, or without a ladder, none is sent."""
    assert Leg(leg, **changes).backstop() == []


def test_a_leg_that_cannot_come_to_hold_anything_has_no_backstop() -> None:
    """Paused, flat and without a working entry: the order goes, and comes back with the first of the three."""
    desk = Leg()
    (old,) = desk.backstop()
    desk.state.may_add, desk.working = 0, 1
    assert desk.backstop() == []
    desk.working = 0
    (gone,) = desk.backstop()
    assert (gone.kind, gone.no) == (RETIRE, old.no)
    lot = desk.fill(9_900, 2)
    assert [row.kind for row in desk.backstop()] == [PLACE]
    desk.cut(lot, 2)
    assert [row.kind for row in desk.backstop()] == [RETIRE]
    desk.state.may_add = 1
    assert [row.kind for row in desk.backstop()] == [PLACE]


def test_a_backstop_at_or_below_zero_is_none() -> None:
    """A LONG ladder near zero has no price for it."""
    assert Leg(LONG, backstop_ppm=400 * PPM).backstop() == []


@given(LEGS, ENTRIES, st.integers(20, 400), st.integers(20, 400))
def test_the_backstop_lies_beyond_the_legs_one_stop_too(
    leg: int, entries: list[tuple[int, int]], old: int, newest: int
) -> None:
    """stop_scope = leg: the stop of the newest entry's step may be deeper than every lot's own."""
    desk = Leg(leg, leg_stop=1)
    for price, qty in entries:
        desk.fill(price, qty, step=old)
    desk.cut(desk.fill(10_000, 1, step=newest), 1)
    (stop,) = desk.lay()
    (backstop,) = desk.backstop()
    assert backstop.price_ticks < stop.price_ticks if leg == LONG else backstop.price_ticks > stop.price_ticks
