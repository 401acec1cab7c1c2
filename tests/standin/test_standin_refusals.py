"""What a request alone can be refused for: parameters, filters, limits of number, symbols that do not trade."""

from decimal import Decimal

import pytest

from tests.standin.orders_made import limit, market, opened
from tests.standin.shop import BTC, START_MS, made_exchange
from tools.standin.errors import ExchangeError
from tools.standin.rules import default_spec, scaled_text


def without(params: dict[str, str], name: str) -> dict[str, str]:
    """Give parameters without one."""
    return {key: value for key, value in params.items() if key != name}


BUY = limit("BUY", "LONG", "42000.00")
CASES = [
    (without(BUY, "symbol"), -1102),
    ({**BUY, "symbol": "NOPE"}, -1121),
    (without(BUY, "side"), -1102),
    ({**BUY, "side": "HOLD"}, -1117),
    (without(BUY, "type"), -1102),
    ({**BUY, "type": "ICEBERG"}, -1116),
    ({**BUY, "type": "STOP_MARKET", "stopPrice": "41000"}, -4120),
    (without(BUY, "timeInForce"), -1102),
    ({**BUY, "timeInForce": "GFD"}, -1115),
    (without(BUY, "price"), -1102),
    (without(BUY, "quantity"), -1102),
    ({**BUY, "price": "abc"}, -1130),
    ({**BUY, "price": "NaN"}, -1130),
    ({**BUY, "price": "42000.05"}, -4014),
    ({**BUY, "price": "42000.001"}, -1111),
    ({**BUY, "price": "0"}, -4013),
    ({**BUY, "price": "99999999999"}, -4016),
    ({**BUY, "price": "45200.00"}, -4016),
    ({**limit("SELL", "SHORT", "40000.00")}, -4024),
    ({**BUY, "quantity": "0.0001"}, -1111),
    ({**BUY, "quantity": "0"}, -4003),
    ({**BUY, "quantity": "-0.010"}, -4003),
    ({**BUY, "quantity": "1001"}, -4005),
    ({**market("BUY", "LONG", "121")}, -4005),
    ({**BUY, "quantity": "0.002"}, -4164),
    ({**BUY, "positionSide": "BOTH"}, -4061),
    (without(BUY, "positionSide"), -4061),
    ({**BUY, "positionSide": "UP"}, -4060),
    ({**BUY, "reduceOnly": "false"}, -1106),
    ({**market("BUY", "LONG"), "price": "42000"}, -1106),
    ({**market("BUY", "LONG"), "timeInForce": "GTC"}, -1106),
    ({**BUY, "newClientOrderId": "x" * 37}, -4015),
    ({**BUY, "newClientOrderId": "no spaces"}, -1100),
    ({**BUY, "closePosition": "true"}, -4136),
]


@pytest.mark.parametrize(("params", "code"), CASES)
def test_refused_request(params: dict[str, str], code: int) -> None:
    """Each broken request earns its own code and changes nothing."""
    exchange, events = made_exchange()
    with pytest.raises(ExchangeError) as caught:
        exchange.place(params, START_MS)
    assert caught.value.code == code
    assert caught.value.msg
    assert "{name}" not in caught.value.msg
    assert not events
    assert not exchange.open_orders()


def test_step_and_least_quantity() -> None:
    """-4023 off a step wider than the precision, -4004 under the least quantity."""
    exchange, _ = made_exchange(lot=Decimal("0.005"), min_qty=Decimal("0.010"))
    with pytest.raises(ExchangeError, match="-4023"):
        exchange.place({**BUY, "quantity": "0.012"}, START_MS)
    with pytest.raises(ExchangeError, match="-4004"):
        exchange.place({**BUY, "quantity": "0.005"}, START_MS)


def test_one_way_mode_refuses_legs() -> None:
    """-4061 for LONG in one-way mode, and BOTH is the default there."""
    exchange, _ = made_exchange(hedge=False)
    with pytest.raises(ExchangeError, match="-4061"):
        exchange.place(BUY, START_MS)
    exchange.place(without(BUY, "positionSide"), START_MS)
    assert len(exchange.open_orders()) == 1


def test_number_of_open_orders() -> None:
    """-2025 beyond MAX_NUM_ORDERS."""
    exchange, _ = made_exchange(max_num_orders=2)
    exchange.place(BUY, START_MS)
    exchange.place(BUY, START_MS)
    with pytest.raises(ExchangeError, match="-2025"):
        exchange.place(BUY, START_MS)


def test_symbol_that_does_not_trade() -> None:
    """-4141 while the symbol does not trade; -4140 for opening while it is reduce-only, closing goes on."""
    exchange, _ = made_exchange()
    opened(exchange)
    exchange.change_spec(BTC, status="SETTLING")
    with pytest.raises(ExchangeError, match="-4141"):
        exchange.place(BUY, START_MS)
    exchange.change_spec(BTC, status="TRADING", reduce_only=True)
    with pytest.raises(ExchangeError, match="-4140"):
        exchange.place(BUY, START_MS)
    assert exchange.place(market("SELL", "LONG"), START_MS)["status"] == "FILLED"


def test_market_order_far_from_the_mark() -> None:
    """-4131 where the best price is further from the mark than a market order may take."""
    exchange, _ = made_exchange()
    exchange.move(BTC, 430_000, 430_001, 430_000, 0, 400_000, START_MS)
    with pytest.raises(ExchangeError, match="-4131"):
        exchange.place(market("BUY", "LONG"), START_MS)


def test_filters_change_while_running() -> None:
    """A changed filter acts on the next order and shows in exchangeInfo."""
    exchange, _ = made_exchange()
    exchange.place(BUY, START_MS)
    exchange.change_spec(BTC, min_notional=Decimal(500))
    with pytest.raises(ExchangeError, match="-4164"):
        exchange.place(BUY, START_MS)
    rows = exchange.specs[BTC].exchange_info()["filters"]
    assert {"filterType": "MIN_NOTIONAL", "notional": "500"} in rows


def test_unknown_ids() -> None:
    """-2011 for cancelling, -2013 for asking after and amending what is not there."""
    exchange, _ = made_exchange()
    with pytest.raises(ExchangeError, match="-2011"):
        exchange.cancel(BTC, START_MS, client_id="nobody")
    with pytest.raises(ExchangeError, match="-2011"):
        exchange.cancel_order({"symbol": BTC, "orderId": "1"}, START_MS)
    with pytest.raises(ExchangeError, match="-1102"):
        exchange.cancel_order({"symbol": BTC}, START_MS)
    with pytest.raises(ExchangeError, match="-2013"):
        exchange.amend({"symbol": BTC, "origClientOrderId": "nobody"}, START_MS)


def test_texts_of_figures() -> None:
    """Figures have all the places of their symbol, negative ones too."""
    assert scaled_text(-1, 3) == "-0.001"
    assert scaled_text(43_000_50, 2) == "43000.50"
    assert scaled_text(7, 0) == "7"
    doge = default_spec("DOGEUSDT")
    assert (doge.price_text(12_345), doge.qty_text(20)) == ("0.123450", "20")
    btc = default_spec(BTC)
    assert (btc.price_text(430_001), btc.qty_text(-10), btc.unit_e8) == ("43000.10", "-0.010", 10_000)
