"""Ordinary orders: their life, their fills, their events, and the money that moves."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.standin.orders_made import held, limit, market, opened, states
from tests.standin.shop import BTC, ETH, START_MS, USDT, made_exchange, quote
from tools.standin.errors import ExchangeError
from tools.standin.switches import Switches


def test_resting_buy_fills_when_the_price_passes_it() -> None:
    """A resting buy fills as maker at its own price, only when the price goes through it."""
    exchange, events = made_exchange()
    exchange.place(limit("BUY", "LONG", "42990.00", name="a"), START_MS)
    quote(exchange, BTC, 429_900)
    assert held(exchange, "LONG") == 0
    quote(exchange, BTC, 429_899)
    assert held(exchange, "LONG") == 10
    fill = next(e["o"] for e in events if e["e"] == "ORDER_TRADE_UPDATE" and e["o"]["x"] == "TRADE")
    assert (fill["L"], fill["l"], fill["X"], fill["m"], fill["ps"]) == ("42990.00", "0.010", "FILLED", True, "LONG")
    assert fill["n"] == "0.08598000"


def test_quote_alone_fills_what_it_crosses() -> None:
    """A best ask below a resting buy fills it, though nothing traded."""
    exchange, _ = made_exchange()
    exchange.place(limit("BUY", "LONG", "42990.00"), START_MS)
    exchange.move(BTC, 429_800, 429_850, 430_000, 0, 430_000, START_MS + 1)
    assert held(exchange, "LONG") == 10


def test_market_order_takes_the_opposite_best_at_once() -> None:
    """A market order fills at the ask as taker, within its own request."""
    exchange, _ = made_exchange()
    row = exchange.place(market("BUY", "LONG"), START_MS)
    assert (row["status"], row["avgPrice"], row["executedQty"]) == ("FILLED", "43000.10000", "0.010")
    assert exchange.trades[0].maker is False


def test_ack_is_answered_before_the_fill() -> None:
    """Without RESULT the answer says NEW even of an order that has filled: the stream has the truth."""
    exchange, _ = made_exchange()
    row = exchange.place(limit("BUY", "LONG", "43001.00"), START_MS)
    assert row["status"] == "NEW"
    assert held(exchange, "LONG") == 10


def test_crossing_limit_takes_never_beyond_its_limit() -> None:
    """A limit that crosses fills at the ask, not at its own worse price."""
    exchange, _ = made_exchange()
    row = exchange.place(limit("BUY", "LONG", "43100.00", newOrderRespType="RESULT"), START_MS)
    assert row["avgPrice"] == "43000.10000"


def test_events_of_a_fill_in_order() -> None:
    """A fill says TRADE_LITE, ACCOUNT_UPDATE, ORDER_TRADE_UPDATE, after the order's NEW."""
    exchange, events = made_exchange()
    exchange.place(market("BUY", "LONG"), START_MS)
    assert [e["e"] for e in events] == ["ORDER_TRADE_UPDATE", "TRADE_LITE", "ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE"]
    leg = events[2]["a"]["P"]
    assert [(row["s"], row["ps"], row["pa"]) for row in leg] == [(BTC, "LONG", "0.010")]


def test_thin_market_fills_in_part_and_expires_the_rest() -> None:
    """A market order beyond the liquidity is PARTIALLY_FILLED, then EXPIRED; a limit rests with what is left."""
    exchange, events = made_exchange()
    exchange.set_liquidity(BTC, 4)
    row = exchange.place(market("BUY", "LONG"), START_MS)
    assert (row["status"], row["executedQty"]) == ("EXPIRED", "0.004")
    exchange.place(limit("BUY", "LONG", "43001.00", name="r"), START_MS)
    assert [row["executedQty"] for row in exchange.open_orders()] == ["0.004"]
    assert events[-1]["o"]["X"] == "PARTIALLY_FILLED"


def test_queue_model_bounds_a_fill_by_the_trade() -> None:
    """With the queue model a trade's quantity bounds the fill, and the rest stays open."""
    exchange, _ = made_exchange(switches=Switches(fill="queue"))
    exchange.place(limit("BUY", "LONG", "42990.00"), START_MS)
    quote(exchange, BTC, 429_800, lots=3)
    assert held(exchange, "LONG") in {3, 10}
    assert exchange.trades[0].qty_lots == 3


@pytest.mark.parametrize(("time_in_force", "status"), [("IOC", "EXPIRED"), ("GTC", "NEW"), ("GTX", "NEW")])
def test_time_in_force_of_a_limit_that_does_not_cross(time_in_force: str, status: str) -> None:
    """IOC away from the market expires; GTC and GTX rest."""
    exchange, _ = made_exchange()
    row = exchange.place(
        limit("BUY", "LONG", "42000.00", timeInForce=time_in_force, newOrderRespType="RESULT"), START_MS
    )
    assert row["status"] == status


def test_fok_is_all_or_nothing() -> None:
    """FOK beyond the liquidity is refused with -5021, and fills whole within it."""
    exchange, _ = made_exchange()
    exchange.set_liquidity(BTC, 4)
    with pytest.raises(ExchangeError, match="-5021"):
        exchange.place(limit("BUY", "LONG", "43001.00", timeInForce="FOK"), START_MS)
    exchange.set_liquidity(BTC, None)
    exchange.place(limit("BUY", "LONG", "43001.00", timeInForce="FOK"), START_MS)
    assert held(exchange, "LONG") == 10


def test_good_till_date_ends_by_time() -> None:
    """A GTD order expires at its time, and needs 600 s at least."""
    exchange, events = made_exchange()
    with pytest.raises(ExchangeError, match="goodTillDate"):
        exchange.place(limit("BUY", "LONG", "42000.00", timeInForce="GTD", goodTillDate=str(START_MS + 1)), START_MS)
    end = START_MS + 700_000
    exchange.place(limit("BUY", "LONG", "42000.00", timeInForce="GTD", goodTillDate=str(end)), START_MS)
    exchange.tick(end - 1_000)
    assert len(exchange.open_orders()) == 1
    exchange.tick(end)
    assert not exchange.open_orders()
    assert events[-1]["o"]["X"] == "EXPIRED"


def test_amend_changes_price_and_quantity() -> None:
    """An amended order keeps its ids, fills at the new price, and says AMENDMENT."""
    exchange, events = made_exchange()
    exchange.place(limit("BUY", "LONG", "42000.00", name="a"), START_MS)
    change = {"symbol": BTC, "side": "BUY", "origClientOrderId": "a", "quantity": "0.020", "price": "42990.00"}
    assert exchange.amend(change, START_MS)["price"] == "42990.00"
    assert events[-1]["o"]["x"] == "AMENDMENT"
    with pytest.raises(ExchangeError, match="-5027"):
        exchange.amend(change, START_MS)
    quote(exchange, BTC, 429_800)
    assert held(exchange, "LONG") == 20


def test_amend_of_a_post_only_order_into_the_market_cancels_it() -> None:
    """A post-only order that an amendment makes cross is cancelled, not filled."""
    exchange, events = made_exchange()
    exchange.place(limit("BUY", "LONG", "42000.00", name="a", timeInForce="GTX"), START_MS)
    change = {"symbol": BTC, "side": "BUY", "origClientOrderId": "a", "quantity": "0.010", "price": "43100.00"}
    assert exchange.amend(change, START_MS)["status"] == "CANCELED"
    assert held(exchange, "LONG") == 0
    assert events[-1]["o"]["X"] == "CANCELED"


def test_legs_of_a_hedge_are_apart() -> None:
    """LONG and SHORT of one symbol stand beside each other and close by themselves."""
    exchange, _ = made_exchange()
    opened(exchange, "0.010", "0.020")
    assert (held(exchange, "LONG"), held(exchange, "SHORT")) == (10, -20)
    exchange.place(market("BUY", "SHORT", "0.005"), START_MS)
    assert (held(exchange, "LONG"), held(exchange, "SHORT")) == (10, -15)


def test_one_way_mode_turns_a_position_over() -> None:
    """In one-way mode a sell beyond the position closes it and opens the other side."""
    exchange, _ = made_exchange(hedge=False)
    exchange.place(market("BUY", "BOTH", "0.010"), START_MS)
    exchange.place(market("SELL", "BOTH", "0.030"), START_MS)
    leg = exchange.position(BTC, "BOTH")
    assert leg.qty_lots == -20
    assert leg.cost_e8 == 20 * 430_000 * 10_000
    assert leg.realised_e8 == -10 * 10_000


def test_one_way_reduce_only_is_capped() -> None:
    """A reduce-only order closes what there is and never turns over; on a flat position it is refused."""
    exchange, _ = made_exchange(hedge=False)
    with pytest.raises(ExchangeError, match="-2022"):
        exchange.place(market("SELL", "BOTH", "0.010", reduceOnly="true"), START_MS)
    exchange.place(market("BUY", "BOTH", "0.010"), START_MS)
    row = exchange.place(market("SELL", "BOTH", "0.030", reduceOnly="true"), START_MS)
    assert (held(exchange, "BOTH"), row["status"], row["executedQty"]) == (0, "EXPIRED", "0.010")


def test_cancel_all_is_of_one_symbol() -> None:
    """Cancelling all of a symbol leaves the others' orders."""
    exchange, _ = made_exchange()
    exchange.place(limit("BUY", "LONG", "42000.00"), START_MS)
    exchange.place({**limit("BUY", "LONG", "2400.00", name="e"), "symbol": ETH}, START_MS)
    exchange.trading.cancel_all(BTC, START_MS)
    assert states(exchange.open_orders()) == ["e"]


def test_unfilled_order_is_forgotten_after_three_days() -> None:
    """A cancelled order without a fill vanishes from queries after three days; a filled one stays."""
    exchange, _ = made_exchange()
    exchange.place(limit("BUY", "LONG", "42000.00", name="gone"), START_MS)
    exchange.cancel(BTC, START_MS, client_id="gone")
    exchange.place(market("BUY", "LONG", newClientOrderId="stays"), START_MS)
    later = START_MS + 3 * 86_400_000 + 1
    with pytest.raises(ExchangeError, match="-2013"):
        exchange.query_order({"symbol": BTC, "origClientOrderId": "gone"}, later)
    assert exchange.query_order({"symbol": BTC, "origClientOrderId": "stays"}, later).filled_lots == 10


def test_resent_name_of_a_filled_order_fills_twice() -> None:
    """A client id is unique among open orders only: sending it again after a fill opens twice."""
    exchange, _ = made_exchange()
    for _ in range(2):
        exchange.place(market("BUY", "LONG", newClientOrderId="same"), START_MS)
    assert held(exchange, "LONG") == 20


def test_operator_fills_an_order_in_part() -> None:
    """A hand can fill a resting order in part; the rest stays on the book."""
    exchange, _ = made_exchange()
    row = exchange.place(limit("BUY", "LONG", "42000.00"), START_MS)
    exchange.fill_order(row["orderId"], START_MS, 4)
    assert held(exchange, "LONG") == 4
    quote(exchange, BTC, 419_000)
    assert held(exchange, "LONG") == 10


Step = tuple[str, str, int, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["BUY", "SELL"]), st.sampled_from(["LONG", "SHORT"]), st.integers(1, 30), st.integers(-60, 60)
    ),
    max_size=40,
)


@given(steps=STEPS, over_close=st.sampled_from(["refuse", "refuse_sum", "cap"]), rates=st.integers(-(10**6), 10**6))
def test_money_is_conserved(steps: list[Step], over_close: Any, rates: int) -> None:
    """Whatever is traded, wallet - initial = income rows = realised - fees - funding, and legs keep their sign."""
    exchange, events = made_exchange(wallet=1_000_000, switches=Switches(over_close=over_close))
    codes = set()
    price = 430_000
    for number, (side, leg, lots, shift) in enumerate(steps):
        now_ms = START_MS + number * 1_000
        kind = limit(side, leg, f"{(price + shift) // 10}.{(price + shift) % 10}0", f"{lots / 1_000:.3f}")
        try:
            exchange.place(kind, now_ms)
        except ExchangeError as refused:
            codes.add(refused.code)
        price += shift * 3
        quote(exchange, BTC, price, now_ms)
        exchange.settle_funding(BTC, rates, now_ms)
        assert held(exchange, "LONG") >= 0 >= held(exchange, "SHORT")
    assert codes <= {-2022, -2019, -4164}
    legs = [exchange.position(BTC, "LONG"), exchange.position(BTC, "SHORT")]
    explained = sum(leg.realised_e8 - leg.fees_e8 - leg.funding_e8 for leg in legs)
    assert exchange.wallet_e8 - 1_000_000 * USDT == explained == sum(row.amount_e8 for row in exchange.income)
    for one in legs:
        mine = [t for t in exchange.trades if t.position_side == one.side]
        assert sum(t.qty_lots if t.side == "BUY" else -t.qty_lots for t in mine) == one.qty_lots
        assert (one.qty_lots == 0) == (one.cost_e8 == 0)
    assert len([e for e in events if e["e"] == "TRADE_LITE"]) == len(exchange.trades)
