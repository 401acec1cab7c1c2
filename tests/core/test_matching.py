"""How the market meets orders: through and touch, order of fills, latency, stops, post-only, cancels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import venue_tables
from hedgegrid.core.codes import (
    ENTRY,
    FILL_THROUGH,
    FILL_TOUCH,
    FLATTEN,
    LONG,
    SHORT,
    STOP,
    TAKE_PROFIT,
)
from hedgegrid.core.venue_tables import (
    BY_OTHER_EXIT,
    BY_REQUEST,
    CANCEL_FAILED,
    CANCELLED,
    CUT,
    POST_ONLY,
    REJECTED,
    SHRUNK,
)
from tests.core.pit import Pit

SLIP = 10_000
"""One per cent of slippage: 10 ticks at 1,000."""


@pytest.mark.parametrize("jump", [False, True])
@pytest.mark.parametrize(("fill", "end", "filled"), [
    (FILL_THROUGH, 990, False), (FILL_THROUGH, 989, True), (FILL_TOUCH, 990, True), (FILL_TOUCH, 991, False),
])  # fmt: skip
def test_a_resting_buy_fills_below_or_at_its_price(fill: int, end: int, filled: bool, jump: bool) -> None:
    """through: strictly below; touch: at the price too; at its own price, as maker, in a jump as well."""
    pit = Pit(fill_model=fill)
    no = pit.buy(990)
    pit.due()
    assert pit.to(end, jump=jump) == ([(no, 990, 10, 1)] if filled else [])


@pytest.mark.parametrize(("fill", "end", "filled"), [
    (FILL_THROUGH, 1_010, False), (FILL_THROUGH, 1_011, True), (FILL_TOUCH, 1_010, True), (FILL_TOUCH, 1_009, False),
])  # fmt: skip
def test_a_resting_sell_mirrors_it(fill: int, end: int, filled: bool) -> None:
    """Sells fill above, or at, their price."""
    pit = Pit(fill_model=fill)
    no = pit.place(SHORT, ENTRY, 1_010)
    pit.due()
    assert pit.to(end) == ([(no, 1_010, 10, 1)] if filled else [])


@pytest.mark.parametrize("fill", [FILL_THROUGH, FILL_TOUCH])
def test_a_move_of_length_zero_fills_nothing(fill: int) -> None:
    """Standing still at an order's price is no trade."""
    pit = Pit(fill_model=fill)
    pit.buy(1_000)
    pit.hold(LONG, 900, 5, stop=999)
    assert pit.to(1_000) == []


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=1, max_size=12), st.integers(900, 1_100))
def test_a_move_fills_in_the_order_in_which_it_meets(entries: list[tuple[bool, int]], end: int) -> None:
    """Nearest to the start first; at one price the oldest; only what lies inside the move."""
    pit = Pit()
    placed = []
    for long, off in entries:
        price = 1_000 - off if long else 1_000 + off
        placed.append((pit.place(LONG if long else SHORT, ENTRY, price), price, long))
        pit.due()
    met = [(abs(price - 1_000), no, price) for no, price, long in placed if (end < price if long else end > price)]
    assert pit.to(end) == [(no, price, 10, 1) for _, no, price in sorted(met)]


def test_age_is_the_order_of_becoming_live() -> None:
    """The order that was sent first but lives later is the younger one."""
    pit = Pit()
    late, early = pit.buy(990, live_ns=pit.now + 1), pit.buy(990)
    pit.due()
    pit.to(1_000)
    assert [fill[0] for fill in pit.to(980)] == [early, late]


@pytest.mark.parametrize("live_in", [0, 1, 2, 3])
def test_nothing_is_live_before_its_time(live_in: int) -> None:
    """An order is live at the first point at or after its time, and takes part in the moves that start there."""
    pit = Pit()
    no = pit.buy(990, live_ns=pit.now + live_in)
    pit.due()
    for points in range(live_in):
        assert not pit.is_live(no)
        assert pit.to(995 if points % 2 else 1_000) == []
    assert pit.is_live(no)
    pit.to(1_000)
    assert [fill[0] for fill in pit.to(980)] == [no]


def test_nothing_becomes_live_inside_a_move() -> None:
    """An order whose time comes with a point does not see the move into it: it meets the point itself, as a taker."""
    pit = Pit()
    no, maker = pit.buy(990, live_ns=pit.now + 1), pit.buy(990, live_ns=pit.now + 1, post_only=1)
    pit.due()
    assert pit.to(985) == [(no, 985, 10, 0)]
    assert (REJECTED, maker, 10, 0, POST_ONLY) in pit.rows


def test_what_falls_due_goes_by_class_then_creation() -> None:
    """Cancels, then stops and market reductions, then take-profits, then entries."""
    pit = Pit()
    doomed = pit.buy(950)
    pit.hold(LONG, 1_000, 10)
    pit.due()
    due = pit.now + 1
    entry, target = pit.buy(990, live_ns=due), pit.place(LONG, TAKE_PROFIT, 1_050, 5, live_ns=due)
    stop, market = pit.place(LONG, STOP, 900, 5, live_ns=due), pit.place(LONG, FLATTEN, 0, 5, live_ns=due)
    older = pit.place(LONG, TAKE_PROFIT, 1_060, 5, live_ns=due)
    pit.cancel(doomed, due)
    pit.to(1_000)
    order = [no for kind, no, *_ in pit.rows if kind in (venue_tables.ACCEPTED, CANCELLED)]
    assert order == [doomed, stop, market, target, older, entry]


# --- crossing at birth -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("price", "rejected"), [(999, False), (1_000, True), (1_005, True)])
def test_a_post_only_order_that_crosses_is_rejected(price: int, rejected: bool) -> None:
    """A buy at or above the price crosses at the moment it would be live."""
    pit = Pit()
    no = pit.buy(price, post_only=1)
    assert pit.due() == []
    assert pit.is_live(no) is not rejected
    assert [(row[0], row[4]) for row in pit.rows] == (
        [(REJECTED, POST_ONLY)] if rejected else [(venue_tables.ACCEPTED, 0)]
    )


@pytest.mark.parametrize(("leg", "ask", "bid", "price", "rejected"), [
    (LONG, 1_002, 998, 1_001, False), (LONG, 1_002, 998, 1_002, True), (SHORT, 1_002, 998, 999, False),
    (SHORT, 1_002, 998, 998, True),
])  # fmt: skip
def test_crossing_is_against_the_other_side_of_the_book(
    leg: int, ask: int, bid: int, price: int, rejected: bool
) -> None:
    """With a spread, buys cross at the ask and sells at the bid."""
    pit = Pit()
    pit.to(1_000, bid=bid, ask=ask)
    no = pit.place(leg, ENTRY, price, post_only=1)
    pit.due()
    assert pit.is_live(no) is not rejected


@pytest.mark.parametrize(("limit", "paid"), [(1_000, 1_000), (1_005, 1_005), (1_010, 1_010), (1_050, 1_010)])
def test_an_entry_that_may_take_takes_at_once(limit: int, paid: int) -> None:
    """At the point's price worsened by the slippage, never beyond its limit, as taker."""
    pit = Pit(slippage_ppm=SLIP)
    no = pit.buy(limit)
    assert pit.due() == [(no, paid, 10, 0)]


@pytest.mark.parametrize(("leg", "limit", "paid"), [(LONG, 995, 995), (LONG, 980, 990), (SHORT, 1_005, 1_005)])
def test_a_crossing_take_profit_takes_at_once(leg: int, limit: int, paid: int) -> None:
    """A take-profit is never post-only: the price is past it already."""
    pit = Pit(slippage_ppm=SLIP)
    pit.accounts[leg].qty_lots, pit.accounts[leg].cost_e8 = 10, 10**9
    no = pit.place(leg, TAKE_PROFIT, limit)
    assert pit.due() == [(no, paid, 10, 0)]


# --- stops and markets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("leg", "stop", "end", "jump", "price"), [
    (LONG, 950, 950, False, 940), (LONG, 950, 900, False, 940), (LONG, 950, 900, True, 891), (LONG, 950, 951, True, 0),
    (SHORT, 1_050, 1_050, False, 1_061), (SHORT, 1_050, 1_100, False, 1_061), (SHORT, 1_050, 1_100, True, 1_111),
])  # fmt: skip
def test_a_stop_fills_at_its_price_or_at_the_end_of_a_jump(
    leg: int, stop: int, end: int, jump: bool, price: int
) -> None:
    """A touch triggers; continuous: at the stop; jump: at its end; both worsened and rounded against the taker."""
    pit = Pit(slippage_ppm=SLIP)
    _, _, no = pit.hold(leg, 1_000, 5, stop=stop)
    assert pit.to(end, jump=jump) == ([(no, price, 5, 0)] if price else [])


@given(st.integers(1, 10**7), st.integers(0, 100_000), st.booleans())
def test_slippage_rounds_against_the_taker(price: int, ppm: int, buys: bool) -> None:
    """ceil(price x slippage) away, never under one tick."""
    slip = -(-price * ppm // 10**6)
    assert venue_tables.worsened(price, buys, ppm) == (price + slip if buys else max(1, price - slip))


@pytest.mark.parametrize(("leg", "stop"), [(LONG, 1_000), (LONG, 1_100), (SHORT, 1_000), (SHORT, 900)])
def test_a_stop_on_the_wrong_side_triggers_as_it_lives(leg: int, stop: int) -> None:
    """Equality included: at the point's price worsened."""
    pit = Pit(slippage_ppm=SLIP)
    pit.accounts[leg].qty_lots, pit.accounts[leg].cost_e8 = 5, 5 * 10**7
    no = pit.place(leg, STOP, stop, 5)
    assert pit.due() == [(no, 990 if leg == LONG else 1_010, 5, 0)]


@pytest.mark.parametrize(("leg", "price"), [(LONG, 990), (SHORT, 1_010)])
def test_a_market_reduction_fills_at_the_point(leg: int, price: int) -> None:
    """Worsened by the slippage, as taker, the moment it is live."""
    pit = Pit(slippage_ppm=SLIP)
    pit.accounts[leg].qty_lots, pit.accounts[leg].cost_e8 = 5, 5 * 10**7
    no = pit.place(leg, FLATTEN, 0, 5)
    assert pit.due() == [(no, price, 5, 0)]


# --- the exits of one lot --------------------------------------------------------------------------------------------


def test_the_exits_of_a_lot_end_each_other_in_the_same_instant() -> None:
    """A filled stop ends the take-profit, and the other way round, without latency."""
    for end, winner in ((940, 2), (1_060, 1)):
        pit = Pit()
        lot, target, stop = pit.hold(LONG, 1_000, 5, tp=1_050, stop=950)
        (fill,) = pit.to(end)
        won, lost = (target, stop) if winner == 1 else (stop, target)
        assert fill[0] == won
        assert (CUT, won, 5, lot, 0) in pit.rows
        assert (CANCELLED, lost, 0, 0, BY_OTHER_EXIT) in pit.rows
        assert pit.accounts[LONG].qty_lots == 0


def test_a_take_profit_shrinks_the_merged_stop() -> None:
    """A stop over two lots loses the closed one's quantity; a stop's fill then cuts what is left, oldest lot first."""
    pit = Pit()
    first, target, _ = pit.hold(LONG, 1_000, 5, tp=1_050)
    second, other, _ = pit.hold(LONG, 1_010, 7, tp=1_080)
    stop = pit.place(LONG, STOP, 900, 12)
    for lot, qty in ((first, 5), (second, 7)):
        assert venue_tables.add_link(pit.links, stop, lot, qty, lot, 1)
    pit.due()
    assert [fill[0] for fill in pit.to(1_060)] == [target]
    assert (SHRUNK, stop, 7, 0, BY_OTHER_EXIT) in pit.rows
    assert pit.to(890) == [(stop, 900, 7, 0)]
    assert [row[:4] for row in pit.rows if row[0] == CUT] == [(CUT, stop, 7, second)]
    assert pit.order(other) is None


def test_a_merged_stops_fill_cuts_every_lot() -> None:
    """One order, one fill row, one cut a lot, oldest first; the take-profits of all of them end."""
    pit = Pit()
    lots = [pit.hold(LONG, 1_000, qty, tp=1_050) for qty in (5, 7, 1)]
    stop = pit.place(LONG, STOP, 900, 13)
    for lot, _, _ in reversed(lots):
        assert venue_tables.add_link(pit.links, stop, lot, {1: 5, 2: 7, 3: 1}[lot], lot, 1)
    pit.due()
    assert pit.to(890) == [(stop, 900, 13, 0)]
    assert [(row[3], row[2]) for row in pit.rows if row[0] == CUT] == [(1, 5), (2, 7), (3, 1)]
    assert not any(order.state for order in pit.orders)
    assert not any(link.state for link in pit.links)


def test_a_legs_stops_are_as_young_as_the_newest_of_them() -> None:
    """Stops change as one set: at one price an entry that was live before the last change fills before a kept stop."""
    pit = Pit()
    _, _, kept = pit.hold(LONG, 1_000, 5, stop=950)
    entry = pit.buy(950)
    pit.due()
    _, _, newest = pit.hold(LONG, 990, 5, stop=940)
    assert [fill[0] for fill in pit.to(930)] == [entry, kept, newest]


def test_a_stops_fill_bears_its_lots_name_only_where_it_is_alone() -> None:
    """Level and generation are -1 unless the stop covers exactly one lot when it fills."""
    for closed, named in ((False, (-1, -1)), (True, (3, 2))):
        pit = Pit()
        lots = [pit.hold(LONG, 1_000, 5, tp=price) for price in (1_050, 1_080)]
        stop = pit.place(LONG, STOP, 900, 10)
        for (lot, _, _), level in zip(lots, (1, 3), strict=True):
            assert venue_tables.add_link(pit.links, stop, lot, 5, level, 2)
        pit.due()
        if closed:
            pit.to(1_060)
        pit.to(890)
        (row,) = [event for event in pit.events if event.kind == venue_tables.FILLED and event.no == stop]
        assert (row.level, row.generation) == named


# --- cancels ---------------------------------------------------------------------------------------------------------


def test_a_cancel_takes_its_latency_and_a_fill_before_it_wins() -> None:
    """Effective at the first point at or after its time; what it finds gone is said to be gone."""
    pit = Pit()
    kept, lost = pit.buy(990), pit.buy(970)
    pit.due()
    for no in (kept, lost):
        pit.cancel(no, pit.now + 2)
    assert [fill[0] for fill in pit.to(980)] == [kept], "a fill before the cancel's point wins"
    assert pit.is_live(lost)
    pit.to(981)
    assert [(row[0], row[1], row[4]) for row in pit.rows] == [
        (CANCEL_FAILED, kept, BY_REQUEST), (CANCELLED, lost, BY_REQUEST)
    ]  # fmt: skip


def test_the_move_into_a_cancels_point_still_fills() -> None:
    """At a point the move comes before what falls due."""
    pit = Pit()
    no = pit.buy(990)
    pit.due()
    pit.cancel(no, pit.now + 1)
    assert [fill[0] for fill in pit.to(980)] == [no]


def test_a_cancel_ends_an_order_that_is_not_live_yet() -> None:
    """A cancel that is due first finds the pending order."""
    pit = Pit()
    no = pit.buy(990, live_ns=pit.now + 5)
    pit.cancel(no, pit.now + 1)
    pit.to(1_000)
    assert pit.order(no) is None
    for _ in range(6):
        assert pit.to(900) == []


def test_too_many_cancels_are_refused() -> None:
    """A full table says so."""
    pit = Pit()
    for no in range(len(pit.cancels)):
        pit.cancel(no, 10**9)
    assert not venue_tables.request_cancel(pit.market, pit.cancels, 99, 10**9)
    assert not all(venue_tables.add_link(pit.links, 1, 1, 1, 1, 1) for _ in range(len(pit.links) + 1))


def test_the_first_point_fills_nothing() -> None:
    """Before the first price there is no move."""
    pit = Pit()
    pit.market.seen = 0
    pit.buy(990)
    pit.due()
    assert pit.to(900) == []
