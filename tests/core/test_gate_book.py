"""The gate's book against a plain one: what its orders come to, which rung and which number is taken, and its names."""

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hedgegrid.core import gate_book, risk, worst_case
from hedgegrid.core.codes import BACKSTOP, ENTRY, FLATTEN, FREE, LONG, SHORT, STOP, TAKE_PROFIT
from hedgegrid.core.gate_records import UNMEASURED, Booked, Exposure
from hedgegrid.units import PPM
from tests.core.bounded import Int64
from tests.core.test_risk import Gate

CATALOGUE = [
    "permission",
    "approval_ttl_ms",
    "max_quote_age_ms",
    "max_mark_age_ms",
    "max_balance_age_ms",
    "price_collar_bps",
    "max_order_notional_quote",
    "max_order_qty",
    "min_notional",
    "max_position_qty",
    "max_notional_per_leg_quote",
    "max_gross_notional_quote",
    "max_net_notional_quote",
    "max_leverage",
    "max_position_ratio",
    "max_margin_ratio",
    "min_liquidation_distance_ratio",
    "var",
    "max_open_orders_per_leg",
    "max_orders_per_minute",
    "duplicate",
    "self_cross",
    "reduce_only_proof",
]
ORDERS = st.lists(
    st.builds(
        Booked,
        instrument=st.integers(0, 1),
        leg=st.sampled_from([LONG, SHORT]),
        purpose=st.sampled_from([ENTRY, ENTRY, TAKE_PROFIT, STOP, FLATTEN, BACKSTOP]),
        price_ticks=st.sampled_from([0, 1, 980, 990, 1_000, 1_010]),
        qty_lots=st.integers(1, 9),
        level=st.sampled_from([-1, 0, 1, 2, 61, 62, 63]),
        generation=st.integers(1, 3),
    ),
    max_size=12,
)


def rests(order: Booked, leg: int) -> bool:
    """Whether an order rests on the side that buys (as LONG entries do) or that sells (as SHORT ones do)."""
    buys = (order.leg == LONG) == (order.purpose == ENTRY)
    return order.purpose in {ENTRY, TAKE_PROFIT} and buys == (leg == LONG)


def plain(orders: Sequence[Booked], leg: int, mark: int, unit_e8: int) -> Exposure:
    """What one instrument's orders come to on a leg, by hand."""
    mine = [order for order in orders if order.leg == leg]
    entries = [order for order in mine if order.purpose == ENTRY]
    generation = max((order.generation for order in entries), default=0)
    levels = {order.level for order in entries if order.generation == generation and 0 <= order.level < 62}
    prices = [order.price_ticks for order in orders if rests(order, leg)]
    lots = {purpose: sum(order.qty_lots for order in mine if order.purpose == purpose) for purpose in range(5)}
    laid = sum(order.qty_lots for order in mine if order.purpose == STOP and order.price_ticks > 0)
    return Exposure(
        entry_lots=lots[ENTRY],
        entry_worst_e8=sum(max(order.price_ticks, mark) * order.qty_lots * unit_e8 for order in entries),
        entry_limits_e8=sum(order.price_ticks * order.qty_lots * unit_e8 for order in entries),
        entry_low_ticks=min((order.price_ticks for order in entries), default=0),
        entry_high_ticks=max((order.price_ticks for order in entries), default=0),
        take_profit_lots=lots[TAKE_PROFIT],
        stop_lots=laid,
        market_lots=lots[FLATTEN] + lots[STOP] - laid,
        open_orders=len(mine),
        best_own_ticks=(max if leg == LONG else min)(prices, default=0),
        generation=generation,
        levels=sum(2**level for level in levels),
    )


@given(ORDERS, st.sets(st.integers(0, 11)), st.sampled_from([985, 1_000]))
def test_the_book_comes_to_what_its_orders_come_to(orders: list[Booked], ended: set[int], mark: int) -> None:
    """Counted one by one, and anew once some have ended and the mark has moved; the newest number is kept."""
    gate = Gate()
    for no, order in enumerate(orders, 1):
        # What rests has a price.
        price = order.price_ticks or int(order.purpose in {ENTRY, TAKE_PROFIT})
        row = attrs.evolve(order, no=no, price_ticks=price)
        assert gate_book.book(gate.rules[order.instrument], gate.exposures, gate.booked, row)
    for instrument in (0, 1):
        check(gate, instrument, gate.booked)
    for place in ended:
        gate.booked[place].state = FREE
    for rule in gate.rules:
        rule.mark_ticks = mark
    for instrument in (0, 1):
        gate_book.recount(gate.rules, gate.exposures, gate.booked, instrument)
        check(gate, instrument, gate.booked)
    for leg in range(4):
        numbers = [no for no, order in enumerate(orders, 1) if 2 * order.instrument + order.leg == leg]
        assert gate.exposures[leg].newest_no == max(numbers, default=0)


def check(gate: Gate, instrument: int, booked: Sequence[Booked]) -> None:
    """An instrument's exposures are those of its orders."""
    live = [order for order in booked if order.state != FREE and order.instrument == instrument]
    rule = gate.rules[instrument]
    for leg in (LONG, SHORT):
        found = gate.exposures[2 * instrument + leg]
        wanted = plain(live, leg, rule.mark_ticks, rule.unit_e8)
        wanted.newest_no = found.newest_no
        assert attrs.asdict(found) == attrs.asdict(wanted)


def test_a_slot_holds_the_order_as_it_was() -> None:
    """Whatever the proof or a refusal asks of it later is there; what is not booked has no slot."""
    gate = Gate()
    order = Booked(no=7, instrument=1, leg=SHORT, purpose=ENTRY, price_ticks=5, qty_lots=6, level=3, generation=4)
    assert gate_book.book(gate.rules[1], gate.exposures, gate.booked, order)
    assert attrs.asdict(gate.booked[0]) == {**attrs.asdict(order), "state": 1}
    assert (gate_book.find(gate.booked, 7), gate_book.find(gate.booked, 8)) == (0, -1)


@given(ORDERS, st.integers(0, 11), st.integers(0, 1), st.integers(-1, 63), st.integers(1, 4))
@example([Booked(level=level, generation=1, qty_lots=1) for level in (-1, 0, 61, 62)], 3, 0, 62, 1)
@example([Booked(level=1, generation=1, qty_lots=1), Booked(level=2, generation=2, qty_lots=1)], 0, 0, 1, 1)
def test_a_taken_rung_is_always_seen(orders: list[Booked], place: int, leg: int, level: int, generation: int) -> None:
    """What was counted rules out the search only where it would find nothing: any level, any generation."""
    gate = Gate()
    for no, order in enumerate(orders, 1):
        gate_book.book(gate.rules[0], gate.exposures, gate.booked, attrs.evolve(order, no=no, instrument=0))
    rungs = [(order.leg, order.level, order.generation) for order in orders if order.purpose == ENTRY]
    for rung in [(leg, level, generation), *rungs[place : place + 1]]:
        gate.order.leg, gate.order.level, gate.order.generation = rung
        gate.order.price_ticks = 950 if rung[0] == LONG else 1_050
        gate.limits.max_net_notional_e8 = 10**18
        assert (gate.check() == risk.DUPLICATE) == (rung in rungs)


class Unread(list[Booked]):
    """A book in which nobody may look."""

    def __getitem__(self, _place: Any) -> Any:
        """Whoever asks for an order has searched."""
        raise AssertionError("the book was searched")


@pytest.mark.parametrize(("levels", "level", "generation"), [
    ([1], 0, 1), ([0, 2], 1, 1), ([0], 61, 1), ([0], 0, 2), ([-1], -1, 2),
])  # fmt: skip
def test_a_rung_that_was_never_counted_costs_no_search(levels: list[int], level: int, generation: int) -> None:
    """A level without an order in the newest generation, and any level of a newer one, are free at sight."""
    gate = Gate()
    for no, taken in enumerate([*levels, 5], 1):
        row = Booked(no=no, leg=LONG, purpose=ENTRY, price_ticks=950, qty_lots=1, level=taken, generation=1)
        assert gate_book.book(gate.rules[0], gate.exposures, gate.booked, row)
    gate.booked = Unread(gate.booked)
    gate.order.level, gate.order.generation = level, generation
    assert gate.check() == risk.PASS


def test_a_level_below_all_is_looked_up() -> None:
    """It has no bit, so the book itself is asked, be it the newest generation: nothing is shifted by less than none."""
    gate = Gate()
    gate.book(1, LONG, ENTRY, 950, 1)
    gate.booked[0].generation = gate.exposures[LONG].generation = gate.order.generation
    gate.order.level = -1
    assert gate.check() == risk.PASS
    gate.booked[0].level = -1
    assert gate.check() == risk.DUPLICATE


@pytest.mark.parametrize("taken", [[], [(3, LONG)], [(3, SHORT)]])
def test_a_number_above_all_costs_no_search(taken: list[tuple[int, int]]) -> None:
    """A reduction whose number nobody has booked yet is new at sight."""
    gate = Gate()
    gate.hold(LONG, 100)
    for no, leg in taken:
        gate.book(no, leg, ENTRY, 950 if leg == LONG else 1_050, 1)
    gate.booked = Unread(gate.booked)
    gate.order.no, gate.order.purpose = 4, TAKE_PROFIT
    assert gate.check() == risk.PASS


@pytest.mark.parametrize("leg", [LONG, SHORT])
def test_a_number_that_is_booked_is_never_taken_again(leg: int) -> None:
    """Also where the other leg's newest number is far below, or far above it."""
    gate = Gate()
    gate.hold(LONG, 100)
    gate.hold(SHORT, 100)
    for no, side in ((3, LONG), (90, SHORT), (91, LONG), (120, SHORT)):
        gate.book(no, side, ENTRY, 950 if side == LONG else 1_050, 1)
    gate.order.leg, gate.order.purpose = leg, TAKE_PROFIT
    for no, code in ((3, risk.DUPLICATE), (90, risk.DUPLICATE), (91, risk.DUPLICATE), (120, risk.DUPLICATE)):
        gate.order.no = no
        assert gate.check() == code
    gate.order.no, gate.order.price_ticks = 100, 1_100 if leg == LONG else 900
    assert gate.check() == risk.PASS


def test_each_class_of_reduction_has_room_of_its_own() -> None:
    """Take-profits, stops and market reductions are each held against their like, whatever price a request bears."""
    leg = Exposure(position_lots=10, take_profit_lots=1, stop_lots=2, market_lots=4)
    rooms = {
        (TAKE_PROFIT, 1): 9,
        (STOP, 1): 8,
        (STOP, 0): 6,
        (FLATTEN, 0): 6,
        (FLATTEN, 1): 6,
    }
    assert {key: risk.reducible_lots(leg, *key) for key in rooms} == rooms


# --- the controls -----------------------------------------------------------------------------------------------------


def test_the_catalogue_is_whole_and_in_its_order() -> None:
    """Each control has a code of its own, in the order in which they are checked, and the name of its setting."""
    assert [risk.CONTROL_NAMES[code] for code in sorted(risk.CONTROL_NAMES)] == CATALOGUE
    codes = sorted(risk.CONTROL_NAMES)
    assert codes == list(range(1, len(CATALOGUE) + 1))
    assert risk.PASS == 0


@pytest.mark.parametrize(("instrument", "leg"), [(0, LONG), (0, SHORT), (1, LONG), (1, SHORT)])
def test_the_position_is_that_of_the_orders_own_leg(instrument: int, leg: int) -> None:
    """Ours, others' and what rests count together, on this leg of this instrument and on no other."""
    gate = Gate()
    gate.order.instrument, gate.order.leg, gate.order.qty_lots = instrument, leg, 3
    gate.order.price_ticks = 990 if leg == LONG else 1_010
    gate.rules[instrument].max_position_lots = 10
    for slot in range(4):
        gate.exposures[slot].position_lots = 8
    own = gate.exposures[2 * instrument + leg]
    own.position_lots, own.foreign_lots, own.entry_lots = 2, 4, 1
    assert gate.check() == risk.PASS
    own.foreign_lots = 5
    assert gate.check() == risk.MAX_POSITION


def test_the_collars_edge_is_within_it_on_both_sides() -> None:
    """Exactly the allowed distance from the mark, and from the quote, passes; a tick more does not."""
    for mark, bid, edge in ((1_000, 1_000, 900), (950, 1_000, 900), (1_000, 950, 900)):
        gate = Gate()
        gate.rules[0].mark_ticks, gate.rules[0].bid_ticks = mark, bid
        gate.order.price_ticks = edge
        assert gate.check() == risk.PASS
        gate.order.price_ticks = edge - 1
        assert gate.check() == risk.PRICE_COLLAR


@pytest.mark.parametrize(("limit", "share", "code"), [
    ("max_leverage_ppm", 1, risk.MAX_LEVERAGE),
    ("max_position_ppm", 5, risk.MAX_POSITION_RATIO),
    ("max_margin_ppm", 200, risk.MAX_MARGIN_RATIO),
])  # fmt: skip
def test_a_ratio_of_equity_admits_its_very_limit(limit: str, share: int, code: int) -> None:
    """Where gross, or its share, is just the whole allowance the order passes; with less equity it does not."""
    worst_e8 = 1_000 * 10 * 10_000
    gate = Gate()
    gate.limits.min_distance_ppm = 0
    gate.account.equity_e8 = 10 * worst_e8
    setattr(gate.limits, limit, PPM // 10 // share)
    assert gate.check() == risk.PASS
    gate.account.equity_e8 -= 1
    assert gate.check() == code


# --- the account's sums -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slot", [0, 1, 2, 3])
@pytest.mark.parametrize("field", ["position_lots", "foreign_lots", "entry_lots"])
def test_what_is_missing_is_counted_by_instrument(slot: int, field: str) -> None:
    """Anything of an instrument without mark and volatility counts it once, and adds no figure of its own."""
    gate = Gate()
    for rule in gate.rules:
        rule.mark_ticks, rule.var_ppm = 0, UNMEASURED
    setattr(gate.exposures[slot], field, 5)
    gate.weigh()
    assert (gate.account.unmarked, gate.account.unmeasured, gate.account.var_e8) == (1, 1, 0)
    setattr(gate.exposures[slot], field, 0)
    gate.weigh()
    assert (gate.account.unmarked, gate.account.unmeasured) == (0, 0)


def test_an_account_at_its_margin_with_nothing_to_lose_is_not_near() -> None:
    """Equity that just covers the margin is no liquidation yet, where no move costs anything."""
    assert not worst_case.is_near_liquidation(5, 5, 5, -5, PPM)
    assert worst_case.is_near_liquidation(4, 5, 5, -5, PPM)
    assert worst_case.is_near_liquidation(4, 5, 3, -7, PPM), "it is due now, whatever a move would bring back"
    assert worst_case.liquidation_distance_ppm(5, 5, 5, -5) == worst_case.NO_LIQUIDATION


@pytest.mark.parametrize(("equity", "margin", "falling", "rising", "distance"), [
    (10, 5, 10, -5, worst_case.NO_LIQUIDATION), (10, 5, 11, -5, 833_333), (10, 5, 0, -4, 5 * PPM),
    (10, 0, 0, 1, 10 * PPM), (4, 5, 9, 9, 0),
])  # fmt: skip
def test_edges_of_the_distance(equity: int, margin: int, falling: int, rising: int, distance: int) -> None:
    """A fall of just the whole price has none; a rise has one as soon as it costs anything."""
    assert worst_case.liquidation_distance_ppm(equity, margin, falling, rising) == distance


def test_a_share_is_never_more_than_the_largest() -> None:
    """Where the product would be above every notional it is the largest one, and never beyond."""
    edge = worst_case.LARGEST_E8 // (4 * PPM) * PPM
    assert worst_case.share_e8(edge + PPM - 1, 4 * PPM) == worst_case.LARGEST_E8
    assert worst_case.share_e8(edge - 1, 4 * PPM) == 4 * (edge - 1)


def test_a_share_is_exact_at_the_edges_of_its_shortcuts() -> None:
    """The least equity counts, no multiple takes any equity to nothing, and none takes a large one out of 64 bits."""
    assert worst_case.share_e8(1, 4 * PPM) == 4
    assert worst_case.share_e8(9 * 10**18, 0) == 0
    assert worst_case.share_e8(7 * 10**16, 130 * PPM) == worst_case.LARGEST_E8


def test_no_bound_moves() -> None:
    """Money is told up to 9e18, a distance up to a million prices."""
    assert worst_case.share_e8(9 * 10**18, 125 * PPM) == 9 * 10**18
    assert worst_case.liquidation_distance_ppm(10**18, 0, 0, 1) == 10**12


def test_a_ratio_beyond_64_bits_is_as_exact_as_they_allow() -> None:
    """What is divided first is no further cut down than it has to be: here it costs nothing."""
    assert worst_case._ratio_ppm(18 * 10**17, 1_706 * 10**11) == 18 * 10**17 * PPM // (1_706 * 10**11)


@given(st.integers(1, 9 * 10**18), st.integers(1, 9 * 10**18))
@example(worst_case.RATIO_MAX_E8, worst_case.RATIO_MAX_E8)
@example(worst_case.RATIO_MAX_E8 + 1, worst_case.RATIO_MAX_E8 + 1)
@example(7 * 10**6 + 6, 7)
@example(9 * 10**18, 1)
@example(2 * worst_case.RATIO_MAX_E8 - 2, 2 * worst_case.RATIO_MAX_E8 - 1)
@example(1_692_157_421_327_241, 169_215_742_132_726)
@example(11_585_299_496_041_161, 115_852_994_960_412)
def test_a_ratio_is_never_above_the_truth_and_hardly_below(part: int, whole: int) -> None:
    """Rounded down, at most NO_LIQUIDATION; exact as long as 64 bits hold the product."""
    found = worst_case._ratio_ppm(Int64(part), Int64(whole))
    truth = min(part * PPM // whole, worst_case.NO_LIQUIDATION)
    assert found <= truth
    assert truth - found <= (0 if whole <= worst_case.RATIO_MAX_E8 else 1 + truth // 10**11)
