"""Conditionals: what triggers them, what they become, and how they end."""

import pytest

from tests.standin.orders_made import held, limit, market, opened, states, stop
from tests.standin.shop import BTC, START_MS, made_exchange, quote, told
from tools.standin.errors import ExchangeError
from tools.standin.switches import Switches


def algo_rows(events: list[dict[str, object]]) -> list[str]:
    """Give the states of the conditionals' events."""
    return [told(event) for event in events if event["e"] == "ALGO_UPDATE"]


def test_life_of_a_stop() -> None:
    """A stop that triggers says TRIGGERING, TRIGGERED with its order's id, FINISHED with what it filled."""
    exchange, events = made_exchange()
    opened(exchange)
    exchange.place_algo(stop("SELL", "LONG", "42500.00", name="s"), START_MS)
    quote(exchange, BTC, 424_000)
    assert held(exchange, "LONG") == 0
    assert algo_rows(events) == ["ALGO NEW", "ALGO TRIGGERING", "ALGO TRIGGERED", "ALGO FINISHED"]
    last = next(e["o"] for e in reversed(events) if e["e"] == "ALGO_UPDATE")
    assert (last["aq"], last["ap"], last["act"]) == ("0.010", "42400.00000", "MARKET")
    assert last["ai"] == str(exchange.trades[-1].order_id)
    assert not exchange.open_algos()


@pytest.mark.parametrize(
    ("kind", "side", "leg", "trigger", "at"),
    [
        ("STOP_MARKET", "SELL", "LONG", "42500.00", 425_000),
        ("STOP_MARKET", "BUY", "SHORT", "43500.00", 435_000),
        ("TAKE_PROFIT_MARKET", "SELL", "LONG", "43500.00", 435_000),
        ("TAKE_PROFIT_MARKET", "BUY", "SHORT", "42500.00", 425_000),
    ],
)
def test_which_way_a_trigger_looks(kind: str, side: str, leg: str, trigger: str, at: int) -> None:
    """Stops look away from profit, take-profits towards it; a touch triggers, one tick before does not."""
    exchange, _ = made_exchange()
    opened(exchange, "0.010", "0.010")
    exchange.place_algo(stop(side, leg, trigger, type=kind), START_MS)
    quote(exchange, BTC, at + (1 if at < 430_000 else -1))
    assert held(exchange, leg) != 0
    quote(exchange, BTC, at)
    assert held(exchange, leg) == 0


def test_working_type_chooses_the_price() -> None:
    """A stop on the mark ignores the last price, one on the contract price ignores the mark."""
    exchange, _ = made_exchange()
    opened(exchange, "0.020")
    exchange.place_algo(stop("SELL", "LONG", "42500.00", name="mark"), START_MS)
    exchange.place_algo(stop("SELL", "LONG", "42500.00", name="last", workingType="CONTRACT_PRICE"), START_MS)
    exchange.move(BTC, 424_000, 424_001, 424_000, 1, 430_000, START_MS)
    assert states(exchange.open_algos(), "clientAlgoId") == ["mark"]
    exchange.move(BTC, 424_000, 424_001, 424_000, 1, 425_000, START_MS)
    assert not exchange.open_algos()


def test_trigger_off_the_tick_is_taken() -> None:
    """A trigger price may lie between two ticks, as seen on the exchange; it acts at the first price beyond."""
    exchange, _ = made_exchange()
    opened(exchange)
    exchange.place_algo(stop("SELL", "LONG", "42500.05"), START_MS)
    quote(exchange, BTC, 425_001)
    assert held(exchange, "LONG") == 10
    quote(exchange, BTC, 425_000)
    assert held(exchange, "LONG") == 0


def test_price_protection_waits_while_mark_and_last_disagree() -> None:
    """With price protection a trigger far from the last price does not act."""
    exchange, _ = made_exchange()
    opened(exchange)
    exchange.place_algo(stop("SELL", "LONG", "42500.00", priceProtect="true"), START_MS)
    exchange.move(BTC, 430_000, 430_001, 430_000, 0, 400_000, START_MS)
    assert held(exchange, "LONG") == 10
    exchange.move(BTC, 400_000, 400_001, 400_000, 1, 400_000, START_MS)
    assert held(exchange, "LONG") == 0


def test_close_position_closes_what_the_leg_holds_then() -> None:
    """A closePosition stop bears no quantity and closes the whole leg as it is at the trigger."""
    exchange, events = made_exchange()
    exchange.place_algo(stop("SELL", "LONG", "42500.00", ""), START_MS)
    opened(exchange, "0.030")
    quote(exchange, BTC, 424_000)
    assert held(exchange, "LONG") == 0
    first = next(e["o"] for e in events if e["e"] == "ALGO_UPDATE")
    assert (first["cp"], first["q"], first["f"]) == (True, "0", "GTE_GTC")


def test_refusals_of_conditionals() -> None:
    """-2021 beyond the trigger, -4137 quantity with closePosition, -4045 too many, -4116 name in use, -1116 type."""
    exchange, _ = made_exchange(max_num_algo_orders=2)
    opened(exchange)
    cases = [
        (stop("SELL", "LONG", "43500.00"), -2021),
        (stop("SELL", "LONG", "42000.00", closePosition="true"), -4137),
        (stop("SELL", "LONG", "42000.00", type="LIMIT"), -1116),
        (stop("SELL", "LONG", "42000.00", workingType="INDEX"), -4031),
        (stop("SELL", "LONG", "42000.00", reduceOnly="true"), -1106),
        (stop("SELL", "BOTH", "42000.00"), -4061),
        (stop("SELL", "LONG", "42000.001"), -1111),
    ]
    for params, code in cases:
        with pytest.raises(ExchangeError, match=str(code)):
            exchange.place_algo(params, START_MS)
    exchange.place_algo(stop("SELL", "LONG", "42000.00", name="s"), START_MS)
    with pytest.raises(ExchangeError, match="-4116"):
        exchange.place_algo(stop("SELL", "LONG", "42000.00", name="s"), START_MS)
    exchange.place_algo(stop("SELL", "LONG", "42000.00"), START_MS)
    with pytest.raises(ExchangeError, match="-4045"):
        exchange.place_algo(stop("SELL", "LONG", "42000.00"), START_MS)


def test_no_margin_check_before_the_trigger() -> None:
    """A conditional that opens is taken whatever the wallet holds, and rejected with -2019's text when it triggers."""
    exchange, events = made_exchange(wallet=1)
    exchange.place_algo(stop("BUY", "LONG", "43500.00", "1.000"), START_MS)
    quote(exchange, BTC, 436_000)
    assert algo_rows(events)[-1] == "ALGO REJECTED"
    rejected = next(e["o"] for e in reversed(events) if e["e"] == "ALGO_UPDATE")
    assert rejected["rm"] == "Margin is insufficient."
    assert events[-1]["e"] == "CONDITIONAL_ORDER_TRIGGER_REJECT"


def test_one_stop_ends_the_backstop_of_its_leg() -> None:
    """When a leg goes flat its closePosition conditional expires; the other leg's stays."""
    exchange, _ = made_exchange()
    opened(exchange, "0.010", "0.010")
    exchange.place_algo(stop("SELL", "LONG", "41000.00", "", name="long"), START_MS)
    exchange.place_algo(stop("BUY", "SHORT", "45000.00", "", name="short"), START_MS)
    exchange.place(market("SELL", "LONG"), START_MS)
    assert states(exchange.open_algos(), "clientAlgoId") == ["short"]


def test_triggered_order_bears_the_switch_s_name() -> None:
    """The order of a triggered conditional bears clientAlgoId or a name of the exchange's own, by the switch."""
    for keeps, expected in (("client_algo_id", True), ("fresh", False)):
        exchange, _ = made_exchange(switches=Switches(triggered_id=keeps))  # type: ignore[arg-type]
        opened(exchange)
        exchange.place_algo(stop("SELL", "LONG", "42500.00", name="s"), START_MS)
        quote(exchange, BTC, 424_000)
        assert (exchange.trades[-1].client_id == "s") is expected
        found = exchange.algos.named("s")
        assert found is not None
        assert found.rest(query=True)["actualOrderId"] == str(exchange.trades[-1].order_id)


def test_limit_take_profit_and_stop_know_nothing_of_each_other() -> None:
    """A filled take-profit leaves its stop standing: on the real exchange the two are not linked."""
    exchange, _ = made_exchange()
    opened(exchange)
    exchange.place(limit("SELL", "LONG", "43500.00"), START_MS)
    exchange.place_algo(stop("SELL", "LONG", "42500.00", name="s"), START_MS)
    quote(exchange, BTC, 436_000)
    assert held(exchange, "LONG") == 0
    assert states(exchange.open_algos(), "clientAlgoId") == ["s"]
