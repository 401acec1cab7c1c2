"""Orders as the wire has them: the right service, the right words, exact text, and never the same id twice."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.model.order import Kind, Leg, OrderRequest, Purpose
from hedgegrid.venues.ccxtpro.order_requests import (
    SLICES_MAX,
    algo_params,
    is_conditional,
    is_slice,
    order_params,
    slice_id,
    slices_of,
    whole_id,
)
from tests.venues.ccxtpro.loopback import listed
from tests.venues.ccxtpro.raw_events import our_id, request

BTCUSDT = listed()


def test_an_entry_is_a_post_only_limit_order_of_its_leg() -> None:
    """Every word of an entry: the leg is named, nothing says reduceOnly, prices and quantities are the tick's text."""
    assert order_params(request(), BTCUSDT) == {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "positionSide": "LONG",
        "type": "LIMIT",
        "timeInForce": "GTX",
        "price": "60000.0",
        "quantity": "0.010",
        "newClientOrderId": request().client_id,
        "newOrderRespType": "ACK",
    }


def test_a_take_profit_may_take() -> None:
    """An exit that is not post-only rests as GTC, on the other side of its leg."""
    params = order_params(request(Purpose.TAKE_PROFIT, Leg.SHORT), BTCUSDT)
    assert (params["side"], params["positionSide"], params["timeInForce"]) == ("BUY", "SHORT", "GTC")


def test_a_reduction_at_the_market_has_no_price() -> None:
    """A flatten order is MARKET with a quantity, and nothing that only a limit order has."""
    params = order_params(request(Purpose.FLATTEN), BTCUSDT)
    assert (params["type"], params["side"], params["positionSide"]) == ("MARKET", "SELL", "LONG")
    assert not {"price", "timeInForce", "reduceOnly"} & set(params)


@pytest.mark.parametrize(("trigger", "working"), [("mark", "MARK_PRICE"), ("last", "CONTRACT_PRICE")])
def test_a_stop_is_conditional_on_the_configured_price(trigger: str, working: str) -> None:
    """`venue.stop_trigger` decides which price a stop looks at; the id is the algo service's."""
    stop = request(Purpose.STOP)
    assert algo_params(stop, BTCUSDT, trigger) == {  # type: ignore[arg-type]  # a case is a text
        "symbol": "BTCUSDT",
        "side": "SELL",
        "positionSide": "LONG",
        "algoType": "CONDITIONAL",
        "type": "STOP_MARKET",
        "triggerPrice": "60000.0",
        "quantity": "0.010",
        "workingType": working,
        "clientAlgoId": stop.client_id,
    }


def test_a_backstop_closes_whatever_there_is() -> None:
    """`closePosition` takes no quantity: the exchange refuses the two together."""
    params = algo_params(request(Purpose.BACKSTOP, close_all=True, qty_lots=0), BTCUSDT, "mark")
    assert params["closePosition"] == "true"
    assert "quantity" not in params


@given(leg=st.sampled_from(Leg), purpose=st.sampled_from([one for one in Purpose if one is not Purpose.LIQUIDATION]))
def test_no_order_leaves_its_leg_open_to_doubt(leg: Leg, purpose: Purpose) -> None:
    """Of every kind: the leg is named, reduceOnly is not, the id is ours, and one service alone takes it."""
    one = request(purpose, leg)
    params = algo_params(one, BTCUSDT, "mark") if is_conditional(one) else order_params(one, BTCUSDT)
    assert params["positionSide"] == leg.name
    assert "reduceOnly" not in params
    assert one.client_id in (params.get("clientAlgoId"), params.get("newClientOrderId"))
    assert ("clientAlgoId" in params) is (one.kind is Kind.STOP_MARKET)
    with pytest.raises(AssertionError):
        _ = order_params(one, BTCUSDT) if is_conditional(one) else algo_params(one, BTCUSDT, "mark")


# --- slices -----------------------------------------------------------------------------------------------------------


def _flatten(qty_lots: int) -> OrderRequest:
    return request(Purpose.FLATTEN, qty_lots=qty_lots, level=-1)


def _stop(qty_lots: int) -> OrderRequest:
    return request(Purpose.STOP, qty_lots=qty_lots)


@given(
    one=st.sampled_from([_flatten, _stop]),
    qty_lots=st.integers(1, 5_000),
    largest=st.integers(100, 2_000),
    least=st.integers(1, 50),
    lot_max=st.integers(100),
)
def test_slices_add_up_and_fit(
    one: Callable[[int], OrderRequest], qty_lots: int, largest: int, least: int, lot_max: int
) -> None:
    """Parts of an order add up to it, none is above the exchange's maximum, none of several under its minimum."""
    rules = listed(market_max_lots=min(largest, lot_max), market_min_lots=least)
    slices = slices_of(one(qty_lots), rules)
    assert sum(slices) == min(qty_lots, SLICES_MAX * min(largest, lot_max))
    assert max(slices) <= min(largest, lot_max)
    assert len(slices) == 1 or min(slices) >= least


def test_only_what_meets_the_market_is_sliced() -> None:
    """A limit order above a market order's maximum is one order, and so is a backstop, which has no quantity."""
    assert slices_of(request(qty_lots=500), listed(market_max_lots=100)) == (500,)
    backstop = request(Purpose.BACKSTOP, close_all=True, qty_lots=0)
    assert slices_of(backstop, listed(market_max_lots=100)) == (0,)


def test_what_does_not_fit_into_the_parts_is_left_out() -> None:
    """There are ids for so many parts: the rest is asked for again, and nothing larger than the maximum is sent."""
    assert slices_of(_flatten(100 * SLICES_MAX + 1), listed(market_max_lots=100)) == (100,) * SLICES_MAX


@pytest.mark.parametrize(("purpose", "level"), [(Purpose.FLATTEN, -1), (Purpose.STOP, 4)])
def test_parts_have_ids_of_their_own_that_are_ours(purpose: Purpose, level: int) -> None:
    """Every part has a new id that parses as ours and leads to the order; the first has the order's own."""
    parent = our_id(purpose, level=level, sequence=300)
    ids = [slice_id(parent, number) for number in range(SLICES_MAX + 1)]
    assert ids[0] == parent
    assert len(set(ids)) == len(ids)
    for name in ids[1:]:
        parts = parse_client_id(name)
        assert parts is not None
        assert (parts.leg, parts.purpose, parts.account) == (Leg.LONG, purpose, "demo")
        assert is_slice(name)
        assert whole_id(name) == parent
    assert not is_slice(parent)
    assert whole_id(parent) == parent
    assert whole_id("x-foreign") == "x-foreign"
    with pytest.raises(AssertionError):
        slice_id(ids[1], 1)
    with pytest.raises(ValueError, match="not an id of ours"):
        slice_id("x-foreign", 1)
