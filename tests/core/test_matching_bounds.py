"""Ambiguity and the pessimistic bound, backstops, funding and liquidation."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hedgegrid.core import ledger, margin
from hedgegrid.core.codes import BACKSTOP, ENTRY, LIQUIDATION, LONG, SHORT, STOP, TAKE_PROFIT
from hedgegrid.core.venue_tables import BY_LIQUIDATION, CANCELLED, CUT, FILLED, NOTHING_TO_CLOSE
from tests.core import made
from tests.core.made import Ohlc
from tests.core.pit import Pit

LEGS = st.sampled_from([LONG, SHORT])


def walk_bar(pit: Pit, number: int, bar: Ohlc) -> list[Any]:
    """Walk the four points of a bar; give its fills."""
    opened, high, low, close = bar
    inner = (low, high) if close >= opened else (high, low)
    rows = []
    for quarter, price in enumerate((opened, *inner, close)):
        rows += pit.to(price, jump=quarter == 0, bar=(number, low, high))
    return rows


# --- ambiguity -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bar", "ambiguous"), [
    ((1_000, 1_060, 940, 990), 1), ((1_000, 1_060, 951, 990), 0), ((1_060, 1_070, 940, 1_000), 0),
    ((1_000, 1_060, 950, 1_010), 1),
])  # fmt: skip
def test_a_bar_whose_exit_has_a_rival_inside_is_counted_once(bar: Ohlc, ambiguous: int) -> None:
    """An exit fills in a continuous move while the lot's other exit lies in the range; a jump leaves no doubt."""
    pit = Pit()
    for _ in range(2):
        pit.hold(LONG, 1_000, 5, tp=1_050, stop=950)
    walk_bar(pit, 1, bar)
    assert pit.market.ambiguous_bars == ambiguous


def test_pessimistic_holds_the_take_profit_and_lets_the_stop_come_first() -> None:
    """High first, low second: the normal run takes profit, the pessimistic one is stopped."""
    for pessimistic, purpose_price in ((0, 1_050), (1, 950)):
        pit = Pit(pessimistic=pessimistic)
        pit.hold(LONG, 1_000, 5, tp=1_050, stop=950)
        assert [row[1] for row in walk_bar(pit, 1, (1_000, 1_060, 940, 990))] == [purpose_price]
        assert pit.market.ambiguous_bars == 1


@pytest.mark.parametrize(("later", "filled"), [
    ((1_060, 1_061, 1_055, 1_056), True), ((1_040, 1_050, 1_039, 1_045), False), ((1_040, 1_051, 1_039, 1_045), True),
])  # fmt: skip
def test_a_held_take_profit_fills_at_its_limit_later(later: Ohlc, filled: bool) -> None:
    """If the stop was not hit either: at its limit, at the first later move that starts or ends beyond it."""
    pit = Pit(pessimistic=1)
    _, target, _ = pit.hold(LONG, 1_000, 5, tp=1_050, stop=998)
    # The bar's range reaches the stop before the lot was there: the bar is ambiguous, and the stop is never met.
    for price in (1_055, 1_040, 1_056, 1_040):
        assert pit.to(price, bar=(1, 998, 1_055)) == []
    assert walk_bar(pit, 2, later) == ([(target, 1_050, 5, 1)] if filled else [])


def test_a_held_take_profit_fills_in_a_later_move_away_from_it() -> None:
    """A move of a later bar that starts beyond the limit is enough, whichever way it goes."""
    pit = Pit(pessimistic=1)
    _, target, _ = pit.hold(LONG, 1_000, 5, tp=1_050, stop=998)
    assert pit.to(1_055, bar=(1, 998, 1_055)) == []
    assert pit.to(1_030, bar=(2, 1_020, 1_035)) == [(target, 1_050, 5, 1)]


@given(LEGS, st.integers(1, 120), st.integers(1, 120), st.integers(0, 10**6), st.integers(0, 1))
def test_the_pessimistic_bound_never_earns_more(leg: int, tp: int, stop: int, seed: int, fill: int) -> None:
    """On the same bars a lot's exits earn at most what they earn in the normal run."""
    sign = 1 if leg == LONG else -1
    earned = []
    bars = made.walk(seed, 60, start=1_000, reach=90, gap=20)
    for pessimistic in (0, 1):
        pit = Pit(pessimistic=pessimistic, fill_model=fill, slippage_ppm=1_000, maker_ppm=200, taker_ppm=500)
        pit.to(bars[0][0], jump=True)
        pit.hold(leg, bars[0][0], 10, tp=bars[0][0] + sign * tp, stop=max(1, bars[0][0] - sign * stop))
        for number, bar in enumerate(bars):
            walk_bar(pit, number, bar)
        assume(pit.accounts[leg].qty_lots == 0)
        earned.append(pit.equity_e8())
    assert earned[1] <= earned[0]


# --- backstops -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("leg", "at", "to", "price"), [(LONG, 900, 890, 881), (SHORT, 1_100, 1_110, 1_122)])
def test_the_backstop_closes_what_nobody_covers(leg: int, at: int, to: int, price: int) -> None:
    """A leg without stops is closed whole, at the point's price worsened, and its take-profits end."""
    pit = Pit(slippage_ppm=10_000)
    lot, target, _ = pit.hold(leg, 1_000, 5, tp=1_200 if leg == LONG else 800)
    no = pit.place(leg, BACKSTOP, at, 0, close_all=1)
    pit.due()
    assert pit.to(at + (1 if leg == LONG else -1)) == []
    assert pit.to(to) == [(no, price, 5, 0)]
    assert (CUT, no, 5, lot, 0) in pit.rows
    assert pit.order(target) is None
    assert pit.accounts[leg].qty_lots == 0


def test_the_backstop_never_comes_before_a_lots_own_stop() -> None:
    """A leg whose stop triggers in the same move, or is on its way, is not touched by the backstop."""
    pit = Pit()
    _, _, stop = pit.hold(LONG, 1_000, 5, stop=950)
    backstop = pit.place(LONG, BACKSTOP, 900, 0, close_all=1)
    pit.due()
    assert pit.to(880) == [(stop, 950, 5, 0)]
    assert pit.order(backstop) is None, "with nothing to close it ends"
    assert (CANCELLED, backstop, 0, 0, NOTHING_TO_CLOSE) in pit.rows
    pit = Pit()
    pit.accounts[LONG].qty_lots, pit.accounts[LONG].cost_e8 = 5, 5 * 10**7
    pending = pit.place(LONG, STOP, 950, 5, live_ns=pit.now + 2)
    pit.place(LONG, BACKSTOP, 900, 0, close_all=1)
    pit.due()
    assert pit.to(880) == [], "the stop is on its way"
    assert pit.to(880) == [(pending, 880, 5, 0)]


def test_the_backstop_closes_only_the_bare_part() -> None:
    """Lots with a stop keep it; the lot without one is closed, with its take-profit."""
    pit = Pit()
    _, kept, stop = pit.hold(LONG, 1_000, 5, tp=1_200, stop=850)
    bare, target, _ = pit.hold(LONG, 1_000, 7, tp=1_200)
    no = pit.place(LONG, BACKSTOP, 900, 0, close_all=1)
    pit.due()
    assert pit.to(890) == [(no, 890, 7, 0)]
    assert (CUT, no, 7, bare, 0) in pit.rows
    assert pit.order(target) is None
    assert pit.is_live(kept)
    assert pit.is_live(stop)


# --- funding and liquidation -----------------------------------------------------------------------------------------


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(1, 10**6),
    st.integers(-(10**6), 10**6),
    st.integers(1, 10**5),
)
def test_a_settlement_charges_each_leg_at_the_mark(longs: int, shorts: int, mark: int, rate: int, unit: int) -> None:
    """Rate x mark x signed position of each leg, each half up; the wallet falls by exactly the sum."""
    pit = Pit(unit_e8=unit)
    pit.market.mark_ticks = mark
    pit.accounts[LONG].qty_lots, pit.accounts[SHORT].qty_lots = longs, shorts
    before = [account.funding_e8 for account in pit.accounts]
    charged = margin.settle_funding(pit.market, pit.accounts, pit.rules, rate)
    expected = [(2 * lots * mark * unit * rate + 10**8) // (2 * 10**8) for lots in (longs, -shorts)]
    assert [account.funding_e8 - old for account, old in zip(pit.accounts, before, strict=True)] == expected
    assert charged == sum(expected)


def test_liquidation_ends_everything_at_the_mark() -> None:
    """All orders end, both legs close at the mark without slippage; the liquidation fee stands in for the taker fee."""
    pit = Pit(slippage_ppm=10_000, taker_ppm=500, liquidation_fee_ppm=12_500)
    pit.hold(LONG, 1_100, 5, tp=1_200, stop=800)
    pit.hold(SHORT, 900, 3, tp=700, stop=1_300)
    pit.buy(980, live_ns=pit.now + 50)
    pit.due()
    pit.market.mark_ticks = 1_010
    tables = (pit.market, pit.orders, pit.links, pit.accounts, pit.rules, pit.events, pit.said)
    margin.liquidate(*tables)
    rows = pit.events[: pit.said.n]
    ended = [row for row in rows if row.kind == CANCELLED]
    assert len(ended) == 5
    assert {row.reason for row in ended} == {BY_LIQUIDATION}
    closes = [row for row in rows if row.kind == FILLED]
    assert [(row.leg, row.purpose, row.price_ticks, row.qty_lots) for row in closes] == [
        (LONG, LIQUIDATION, 1_010, 5), (SHORT, LIQUIDATION, 1_010, 3)
    ]  # fmt: skip
    unit = pit.rules.unit_e8
    assert [row.fee_e8 for row in closes] == [ledger.fee_e8(1_010 * lots * unit, 12_500) for lots in (5, 3)]
    assert [row.realised_e8 for row in closes] == [-90 * 5 * unit, -110 * 3 * unit]
    assert not any(order.state for order in pit.orders)
    assert not any(link.state for link in pit.links)
    assert [(account.qty_lots, account.cost_e8) for account in pit.accounts] == [(0, 0), (0, 0)]
    assert pit.equity_e8() == sum(row.realised_e8 - row.fee_e8 for row in closes)


def test_liquidation_of_one_leg_says_nothing_of_the_other() -> None:
    """A flat leg has no fill."""
    pit = Pit()
    pit.hold(SHORT, 900, 3)
    margin.liquidate(pit.market, pit.orders, pit.links, pit.accounts, pit.rules, pit.events, pit.said)
    assert [(fill[2]) for fill in pit.fills()] == [3]
    assert margin.gross_notional_e8(pit.market, pit.accounts, pit.rules) == 0


def test_gross_notional_adds_both_legs() -> None:
    """Hedged legs are not offset against each other; unrealised profit is."""
    pit = Pit()
    pit.hold(LONG, 990, 5)
    pit.hold(SHORT, 990, 5)
    unit = pit.rules.unit_e8
    assert margin.gross_notional_e8(pit.market, pit.accounts, pit.rules) == 10 * 1_000 * unit
    assert margin.unrealised_e8(pit.market, pit.accounts, pit.rules) == 0


def test_an_entry_is_never_ambiguous() -> None:
    """Only exits have rivals."""
    pit = Pit()
    pit.hold(LONG, 1_000, 5, tp=1_200, stop=950)
    pit.place(LONG, ENTRY, 980)
    pit.place(LONG, TAKE_PROFIT, 1_190, 1)
    pit.due()
    walk_bar(pit, 1, (1_000, 1_010, 970, 1_000))
    assert pit.market.ambiguous_bars == 0
