"""Each switch both ways: what is not settled without the exchange itself."""

import pytest

from tests.standin.orders_made import held, limit, market, opened, stop
from tests.standin.shop import BTC, START_MS, made_exchange, quote, told
from tools.standin.errors import ExchangeError
from tools.standin.switches import Switches


def test_over_close_refuse() -> None:
    """``refuse``: a reduction above the position is -2022; two that fit by themselves are taken, none over-fills."""
    exchange, events = made_exchange()
    opened(exchange)
    with pytest.raises(ExchangeError, match="-2022"):
        exchange.place(limit("SELL", "LONG", "43100.00", "0.011"), START_MS)
    for _ in range(2):
        exchange.place(limit("SELL", "LONG", "43100.00", "0.008"), START_MS)
    quote(exchange, BTC, 432_000)
    assert held(exchange, "LONG") == 0
    assert [t.qty_lots for t in exchange.trades] == [10, 8, 2]
    assert told(events[-1]) == "EXPIRED EXPIRED"


def test_over_close_refuse_sum() -> None:
    """``refuse_sum``: open reductions count too."""
    exchange, _ = made_exchange(switches=Switches(over_close="refuse_sum"))
    opened(exchange)
    exchange.place(limit("SELL", "LONG", "43100.00", "0.008"), START_MS)
    with pytest.raises(ExchangeError, match="-2022"):
        exchange.place(limit("SELL", "LONG", "43100.00", "0.008"), START_MS)


def test_over_close_cap() -> None:
    """``cap``: it is taken, fills up to the position and expires."""
    exchange, _ = made_exchange(switches=Switches(over_close="cap"))
    opened(exchange)
    row = exchange.place(market("SELL", "LONG", "0.025"), START_MS)
    assert (row["status"], row["executedQty"], held(exchange, "LONG")) == ("EXPIRED", "0.010", 0)


def test_gtx_cross() -> None:
    """A crossing post-only order is -5022 and leaves no trace, or is accepted and expired."""
    exchange, events = made_exchange()
    with pytest.raises(ExchangeError, match="-5022"):
        exchange.place(limit("BUY", "LONG", "43000.10", timeInForce="GTX"), START_MS)
    assert not events
    exchange.switches.gtx_cross = "expire"
    row = exchange.place(limit("BUY", "LONG", "43000.10", timeInForce="GTX"), START_MS)
    assert row["status"] == "NEW"
    assert [told(e) for e in events] == ["NEW NEW", "EXPIRED EXPIRED"]


def test_min_notional_of_a_close() -> None:
    """A hedge-mode close under the minimum notional is taken, or -4164; an opening order always -4164."""
    exchange, _ = made_exchange()
    opened(exchange)
    exchange.place(market("SELL", "LONG", "0.001"), START_MS)
    exchange.switches.min_notional_exempt = False
    with pytest.raises(ExchangeError, match="-4164"):
        exchange.place(market("SELL", "LONG", "0.001"), START_MS)
    with pytest.raises(ExchangeError, match=r"no smaller than 100 "):
        exchange.place(market("BUY", "LONG", "0.001"), START_MS)


@pytest.mark.parametrize("strips", [False, True])
def test_countdown_and_stops(strips: bool) -> None:
    """The countdown cancels orders, and conditionals by the switch; being refreshed or disarmed it does nothing."""
    exchange, _ = made_exchange(switches=Switches(countdown_strips_stops=strips))
    opened(exchange)
    exchange.place(limit("BUY", "LONG", "42000.00"), START_MS)
    exchange.place_algo(stop("SELL", "LONG", "41000.00"), START_MS)
    exchange.arm_countdown(BTC, 1_000, START_MS)
    exchange.arm_countdown(BTC, 1_000, START_MS + 900)
    exchange.tick(START_MS + 1_899)
    assert len(exchange.open_orders()) == 1
    exchange.tick(START_MS + 1_900)
    assert not exchange.open_orders()
    assert len(exchange.open_algos()) == (0 if strips else 1)


def test_countdown_late_and_disarmed() -> None:
    """A late countdown fires late; one that is disarmed never."""
    exchange, _ = made_exchange(switches=Switches(countdown_late_ms=500))
    exchange.place(limit("BUY", "LONG", "42000.00"), START_MS)
    exchange.arm_countdown(BTC, 1_000, START_MS)
    exchange.tick(START_MS + 1_400)
    assert len(exchange.open_orders()) == 1
    exchange.arm_countdown(BTC, 0, START_MS)
    exchange.tick(START_MS + 9_000)
    assert len(exchange.open_orders()) == 1


def test_duplicate_scope() -> None:
    """A name in use is -4116 among open orders, or for ever."""
    exchange, _ = made_exchange()
    exchange.place(limit("BUY", "LONG", "42000.00", name="a"), START_MS)
    with pytest.raises(ExchangeError, match="-4116"):
        exchange.place(limit("BUY", "LONG", "42000.00", name="a"), START_MS)
    exchange.cancel(BTC, START_MS, client_id="a")
    exchange.place(limit("BUY", "LONG", "42000.00", name="a"), START_MS)
    exchange.cancel(BTC, START_MS, client_id="a")
    exchange.switches.duplicate_scope = "ever"
    with pytest.raises(ExchangeError, match="-4116"):
        exchange.place(limit("BUY", "LONG", "42000.00", name="a"), START_MS)


def test_duplicate_shared_between_services() -> None:
    """Orders and conditionals have names of their own, or share them; a stop that triggers keeps its own."""
    exchange, _ = made_exchange()
    opened(exchange)
    exchange.place_algo(stop("SELL", "LONG", "42500.00", name="a"), START_MS)
    exchange.place(limit("BUY", "LONG", "42600.00", name="a", timeInForce="GTX"), START_MS)
    exchange.cancel(BTC, START_MS, client_id="a")
    exchange.switches.duplicate_shared = True
    with pytest.raises(ExchangeError, match="-4116"):
        exchange.place(limit("BUY", "LONG", "42000.00", name="a"), START_MS)
    exchange.place(limit("BUY", "LONG", "42000.00", name="b"), START_MS)
    with pytest.raises(ExchangeError, match="-4116"):
        exchange.place_algo(stop("SELL", "LONG", "41000.00", name="b"), START_MS)
    quote(exchange, BTC, 424_000)
    assert exchange.trades[-1].client_id == "a"


def test_failing_triggers() -> None:
    """A trigger that fails is REJECTED and leaves the leg open."""
    exchange, events = made_exchange(switches=Switches(fail_triggers=True, legacy_trigger_reject=False))
    opened(exchange)
    exchange.place_algo(stop("SELL", "LONG", "42500.00"), START_MS)
    quote(exchange, BTC, 424_000)
    assert held(exchange, "LONG") == 10
    assert told(events[-1]) == "ALGO REJECTED"


def test_close_position_conditionals() -> None:
    """A second closePosition stop is -4130, one on a flat leg -4509, and it ends with its leg: each by its switch."""
    exchange, _ = made_exchange()
    exchange.place_algo(stop("SELL", "LONG", "42500.00", ""), START_MS)
    with pytest.raises(ExchangeError, match="-4130"):
        exchange.place_algo(stop("SELL", "LONG", "42400.00", ""), START_MS)
    exchange.switches.gte_single = False
    exchange.place_algo(stop("SELL", "LONG", "42400.00", ""), START_MS)
    exchange.switches.gte_needs_position = True
    with pytest.raises(ExchangeError, match="-4509"):
        exchange.place_algo(stop("BUY", "SHORT", "44000.00", ""), START_MS)
    exchange.switches.gte_expires = False
    opened(exchange)
    exchange.place(market("SELL", "LONG"), START_MS)
    assert len(exchange.open_algos()) == 2


@pytest.mark.parametrize("kind", ["CALCULATED", "TRADE"])
def test_execution_type_of_forced_fills(kind: str) -> None:
    """A forced fill is CALCULATED or TRADE by the switch."""
    exchange, events = made_exchange(switches=Switches(forced_execution=kind))  # type: ignore[arg-type]
    opened(exchange)
    exchange.adl(BTC, "LONG", 4, START_MS)
    assert told(events[-1]) == f"{kind} FILLED"
    assert (events[-1]["o"]["c"], held(exchange, "LONG")) == ("adl_autoclose", 6)


@pytest.mark.parametrize(("model", "lots"), [("through", 0), ("touch", 10)])
def test_fill_model(model: str, lots: int) -> None:
    """A touch of the price fills, or does not."""
    exchange, _ = made_exchange(switches=Switches(fill=model))  # type: ignore[arg-type]
    exchange.place(limit("BUY", "LONG", "42990.00"), START_MS)
    exchange.move(BTC, 429_900, 429_901, 429_900, 1, 429_900, START_MS)
    assert held(exchange, "LONG") == lots
