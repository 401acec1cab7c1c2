"""Fills from trades: the queue at a price, the trade's quantity as the bound, partial fills."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core.codes import ENTRY, FILL_QUEUE, LONG, SHORT, TAKE_PROFIT
from hedgegrid.core.venue_tables import CUT, SHRUNK
from tests.core.pit import Pit


def opened(bid_qty: int = 20) -> Pit:
    """A book of 999 (``bid_qty`` lots) to 1,001 (20 lots)."""
    pit = Pit(fill_model=FILL_QUEUE)
    trade(pit, 1_000, 1, bid_qty=bid_qty)
    return pit


def trade(
    pit: Pit, price: int, qty: int, *, bid: int = 999, ask: int = 1_001, bid_qty: int = 20
) -> list[tuple[int, ...]]:
    """One trade against the book that was shown before it."""
    return pit.to(price, jump=True, qty=qty, bid=bid, ask=ask, bid_qty=bid_qty, ask_qty=20)


def test_an_order_waits_behind_what_was_shown_when_it_joined() -> None:
    """Trades at its price reduce the queue; only what is left of them fills it, bounded by the trade's quantity."""
    pit = opened()
    no = pit.buy(999, 10)
    pit.due()
    assert trade(pit, 999, 15) == []
    assert trade(pit, 999, 8, bid_qty=500) == [(no, 999, 3, 1)], "what joins behind it does not count"
    assert trade(pit, 999, 4) == [(no, 999, 4, 1)]
    assert trade(pit, 999, 100) == [(no, 999, 3, 1)]


def test_a_trade_through_the_price_fills_without_a_queue() -> None:
    """The market went past it: everything before it is gone; the trade's quantity still bounds the fill."""
    pit = opened()
    no = pit.buy(999, 10)
    pit.due()
    assert trade(pit, 998, 4) == [(no, 999, 4, 1)]
    assert trade(pit, 998, 100) == [(no, 999, 6, 1)]


@pytest.mark.parametrize("qty", [1, 7, 30])
def test_inside_the_spread_it_is_first_in_line(qty: int) -> None:
    """An order that improves the book has nothing before it."""
    pit = opened()
    no = pit.buy(1_000, 10, post_only=1)
    pit.due()
    assert pit.is_live(no)
    assert trade(pit, 1_000, qty) == [(no, 1_000, min(qty, 10), 1)]


def test_away_from_the_best_the_queue_is_not_known_until_the_book_shows_it() -> None:
    """A trade at its price fills nothing before the book has shown what stands there."""
    pit = opened()
    no = pit.buy(990, 10)
    pit.due()
    assert trade(pit, 990, 500) == []
    assert trade(pit, 990, 30, bid=990) == [(no, 990, 10, 1)]


def test_orders_further_through_fill_first_then_the_older() -> None:
    """A trade reaches the best price first and shares its quantity along the way."""
    pit = opened()
    far, near, younger = pit.buy(995, 4), pit.buy(998, 4), pit.buy(998, 4)
    pit.due()
    assert trade(pit, 990, 10) == [(near, 998, 4, 1), (younger, 998, 4, 1), (far, 995, 2, 1)]


@pytest.mark.parametrize("trades", [(20, 8), (28,), (13, 15), (1, 19, 8)])
def test_a_trade_reduces_every_queue_at_its_price(trades: tuple[int, ...]) -> None:
    """Two orders that joined behind the same 20 lots wait for the same 20 lots, not for them twice."""
    pit = opened()
    first, second = pit.buy(999, 4), pit.buy(999, 4)
    pit.due()
    for qty in trades[:-1]:
        assert trade(pit, 999, qty) == []
    assert trade(pit, 999, trades[-1]) == [(first, 999, 4, 1), (second, 999, 4, 1)]


def test_stops_trigger_on_trades_as_in_a_jump() -> None:
    """A trade at or beyond a stop triggers it whole, at the trade's price."""
    pit = opened()
    _, _, stop = pit.hold(LONG, 1_000, 5, stop=990)
    assert trade(pit, 991, 1) == []
    assert trade(pit, 985, 1) == [(stop, 985, 5, 0)]


def test_without_a_quantity_orders_fill_whole() -> None:
    """On bars nobody knows how much was traded: through the price fills all of it."""
    pit = opened()
    no = pit.buy(990, 10)
    pit.due()
    assert pit.to(989) == [(no, 990, 10, 1)]


def test_a_partial_take_profit_shrinks_its_rivals_at_once() -> None:
    """The stop covers what is still open, and the lot's cut names the lot."""
    pit = opened()
    lot, target, stop = pit.hold(LONG, 900, 10, tp=1_010, stop=880)
    assert trade(pit, 1_012, 4) == [(target, 1_010, 4, 1)]
    assert (CUT, target, 4, lot, 0) in pit.rows
    assert [row for row in pit.rows if row[0] == SHRUNK] == [(SHRUNK, stop, 6, 0, 2)]
    order = pit.order(target)
    assert order is not None
    assert (order.qty_lots, order.filled_lots) == (6, 4)
    assert trade(pit, 879, 1) == [(stop, 879, 6, 0)]
    assert pit.order(target) is None
    assert pit.accounts[LONG].qty_lots == 0


TICKS = st.lists(
    st.tuples(st.integers(990, 1_010), st.integers(0, 30), st.integers(0, 40), st.integers(1, 4)),
    min_size=1,
    max_size=40,
)


@given(TICKS, st.lists(st.tuples(st.sampled_from([LONG, SHORT]), st.integers(1, 10), st.integers(1, 25)), max_size=8))
def test_fills_never_exceed_the_trade_nor_the_order(
    ticks: list[tuple[int, int, int, int]], orders: list[tuple[int, int, int]]
) -> None:
    """On any tape: resting fills of a point sum to at most its quantity, those of an order to at most its own."""
    pit = Pit(fill_model=FILL_QUEUE)
    size: dict[int, int] = {}
    for leg, off, qty in orders:
        size[pit.place(leg, ENTRY, 1_000 - off if leg == LONG else 1_000 + off, qty, post_only=1)] = qty
    pit.due()
    filled = dict.fromkeys(size, 0)
    for price, qty, shown, spread in ticks:
        rows = trade(pit, price, qty, bid=price - spread, ask=price + spread, bid_qty=shown)
        assert qty == 0 or sum(row[2] for row in rows) <= qty
        for no, _, part, maker in rows:
            filled[no] += part
            assert part > 0
            assert maker == 1
    for no, done in filled.items():
        order = pit.order(no)
        assert done + (0 if order is None else order.qty_lots) == size[no], "what is not filled still rests"
        assert order is None or order.filled_lots == done


def test_sells_queue_at_the_ask() -> None:
    """The mirror: a take-profit of the LONG leg waits behind the quantity at the ask."""
    pit = opened()
    lot, target, _ = pit.hold(LONG, 900, 10, tp=1_001)
    assert trade(pit, 1_001, 20) == []
    assert trade(pit, 1_001, 3) == [(target, 1_001, 3, 1)]
    assert [row[3] for row in pit.rows if row[0] == CUT] == [lot]
    assert pit.place(LONG, TAKE_PROFIT, 1_001) > target
