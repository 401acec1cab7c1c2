"""The account: margins, funding, forced closings, settings, and the refusals of each."""

from decimal import Decimal

import pytest

from tests.standin.orders_made import held, limit, market, opened, stop
from tests.standin.shop import BTC, ETH, START_MS, USDT, made_exchange, quote, told
from tools.standin.account_wire import AccountPages
from tools.standin.errors import ExchangeError


def test_margin_bounds_what_opens_not_what_closes() -> None:
    """-2019 for an opening order that the free margin does not carry; a close needs none."""
    exchange, _ = made_exchange(wallet=30)
    opened(exchange)
    with pytest.raises(ExchangeError, match="-2019"):
        exchange.place(market("BUY", "LONG"), START_MS)
    exchange.place(market("SELL", "LONG"), START_MS)
    assert held(exchange, "LONG") == 0


def test_open_orders_bind_margin() -> None:
    """Resting entries bind their initial margin; resting reductions bind none."""
    exchange, _ = made_exchange(wallet=60)
    opened(exchange)
    exchange.place(limit("SELL", "LONG", "44000.00"), START_MS)
    assert exchange.trading.orders_margin_e8() == 0
    exchange.place(limit("BUY", "LONG", "42000.00"), START_MS)
    assert exchange.trading.orders_margin_e8() == 21 * USDT
    with pytest.raises(ExchangeError, match="-2019"):
        exchange.place(limit("BUY", "LONG", "42000.00"), START_MS)


def test_leverage_bounds_the_position() -> None:
    """-2027 beyond the largest notional of the leverage; -4028 for a leverage that the symbol has not."""
    exchange, events = made_exchange(wallet=100_000)
    exchange.set_leverage(BTC, 125, START_MS)
    assert told(events[-1]) == "ACCOUNT_CONFIG_UPDATE"
    assert events[-1]["ac"] == {"s": BTC, "l": 125}
    with pytest.raises(ExchangeError, match="-2027"):
        exchange.place(market("BUY", "LONG", "2.000"), START_MS)
    with pytest.raises(ExchangeError, match="-4028"):
        exchange.set_leverage(BTC, 126, START_MS)


def test_funding_is_paid_by_longs_and_earned_by_shorts() -> None:
    """A positive rate costs the long leg and pays the short one; both show in the income and one event."""
    exchange, events = made_exchange()
    opened(exchange, "0.020", "0.010")
    before = exchange.wallet_e8
    exchange.settle_funding(BTC, 10_000, START_MS)
    rows = [(row.kind, row.amount_e8) for row in exchange.income][-2:]
    assert rows == [("FUNDING_FEE", -8_600_000), ("FUNDING_FEE", 4_300_000)]
    assert exchange.wallet_e8 - before == -4_300_000
    body = events[-1]["a"]
    assert (body["m"], body["B"][0]["bc"], body["P"]) == ("FUNDING_FEE", "-0.04300000", [])


def test_part_of_a_position_releases_its_share_of_the_cost_floored() -> None:
    """Realised is proceeds less floor(cost x q / position); the last part takes what is left, for both legs."""
    exchange, _ = made_exchange(tick=Decimal("0.01"), min_notional=Decimal("0.1"))
    for ticks, lots in ((43_001, 5), (43_000, 2)):
        quote(exchange, BTC, ticks - 1)
        exchange.place(market("BUY", "LONG", f"0.{lots:03}", newOrderRespType="ACK"), START_MS)
    quote(exchange, BTC, 43_000)
    unit, cost = 1_000, (43_001 * 5 + 43_000 * 2) * 1_000
    exchange.place(market("SELL", "LONG", "0.003"), START_MS)
    released = cost * 3 // 7
    assert cost * 3 % 7
    assert exchange.trades[-1].realised_e8 == 43_000 * 3 * unit - released
    exchange.place(market("SELL", "LONG", "0.004"), START_MS)
    assert exchange.trades[-1].realised_e8 == 43_000 * 4 * unit - (cost - released)


def test_no_funding_without_a_position() -> None:
    """A settlement of a flat symbol says nothing."""
    exchange, events = made_exchange()
    exchange.settle_funding(BTC, 10_000, START_MS)
    assert not events
    assert not exchange.income


def test_margin_call_then_liquidation() -> None:
    """Falling equity brings one MARGIN_CALL, then the end of all orders and legs under ``autoclose-`` names."""
    exchange, events = made_exchange(wallet=50)
    opened(exchange, "0.010", "0.003")
    exchange.place(limit("SELL", "LONG", "44000.00"), START_MS)
    exchange.place_algo(stop("SELL", "LONG", "30000.00"), START_MS)
    for ticks in range(429_000, 300_000, -100):
        quote(exchange, BTC, ticks)
        if not held(exchange, "LONG"):
            break
    kinds = [told(event) for event in events]
    assert kinds.count("MARGIN_CALL") == 1
    forced = [e["o"] for e in events if told(e) == "CALCULATED FILLED"]
    assert [row["c"].startswith("autoclose-") for row in forced] == [True, True]
    assert (held(exchange, "LONG"), held(exchange, "SHORT")) == (0, 0)
    assert not exchange.open_orders()
    assert not exchange.open_algos()
    assert {row.kind for row in exchange.income} == {"COMMISSION", "REALIZED_PNL", "INSURANCE_CLEAR"}
    assert exchange.wallet_e8 == exchange.initial_e8 + sum(row.amount_e8 for row in exchange.income)


def test_deleveraging_is_of_one_leg() -> None:
    """ADL takes from one leg, never more than it holds, and leaves the other."""
    exchange, events = made_exchange()
    opened(exchange, "0.010", "0.010")
    exchange.adl(BTC, "SHORT", 4, START_MS)
    assert (held(exchange, "LONG"), held(exchange, "SHORT")) == (10, -6)
    exchange.adl(BTC, "SHORT", 100, START_MS)
    assert held(exchange, "SHORT") == 0
    assert events[-1]["o"]["S"] == "BUY"


def test_settlement_of_a_delisted_symbol() -> None:
    """A settlement closes both legs of the symbol under ``settlement_autoclose-`` and ends its orders."""
    exchange, events = made_exchange()
    opened(exchange, "0.010", "0.010")
    exchange.place(limit("BUY", "LONG", "42000.00"), START_MS)
    exchange.settle(BTC, START_MS)
    assert (held(exchange, "LONG"), held(exchange, "SHORT")) == (0, 0)
    assert events[-1]["o"]["c"].startswith("settlement_autoclose-")
    assert not exchange.open_orders()


def test_transfer_is_income_and_an_event() -> None:
    """A transfer changes wallet, income and stream with its reason."""
    exchange, events = made_exchange()
    exchange.transfer(-5 * USDT, START_MS)
    assert exchange.wallet_e8 == 9_995 * USDT
    assert (events[-1]["a"]["m"], events[-1]["a"]["B"][0]["bc"]) == ("WITHDRAW", "-5.00000000")
    assert exchange.income[-1].kind == "TRANSFER"


def test_position_mode_changes_only_when_all_is_flat() -> None:
    """-4059 as it is already, -4067 with orders, -4068 with positions; a forced change refuses the old sides."""
    exchange, _ = made_exchange()
    with pytest.raises(ExchangeError, match="-4059"):
        exchange.set_position_mode(START_MS, hedge=True, force=False)
    opened(exchange)
    with pytest.raises(ExchangeError, match="-4068"):
        exchange.set_position_mode(START_MS, hedge=False, force=False)
    exchange.place(limit("BUY", "LONG", "42000.00"), START_MS)
    with pytest.raises(ExchangeError, match="-4067"):
        exchange.set_position_mode(START_MS, hedge=False, force=False)
    exchange.set_position_mode(START_MS, hedge=False)
    with pytest.raises(ExchangeError, match="-4061"):
        exchange.place(market("SELL", "LONG"), START_MS)


def test_margin_type_and_multi_assets() -> None:
    """-4046 as it is already, -4047 with orders, -4048 with a position; -4168 and -4171 of the multi-assets mode."""
    exchange, events = made_exchange()
    with pytest.raises(ExchangeError, match="-4046"):
        exchange.set_margin_type(BTC, "CROSSED")
    exchange.place(limit("BUY", "LONG", "42000.00"), START_MS)
    with pytest.raises(ExchangeError, match="-4047"):
        exchange.set_margin_type(BTC, "ISOLATED")
    exchange.trading.cancel_all(BTC, START_MS)
    opened(exchange)
    with pytest.raises(ExchangeError, match="-4048"):
        exchange.set_margin_type(BTC, "ISOLATED")
    with pytest.raises(ExchangeError, match="-4171"):
        exchange.set_multi_assets(START_MS, on=False)
    exchange.set_multi_assets(START_MS, on=True)
    assert events[-1]["ai"] == {"j": True}
    with pytest.raises(ExchangeError, match="-4168"):
        exchange.set_margin_type(ETH, "ISOLATED")


def test_pages_agree_with_the_engine() -> None:
    """The account's pages add up: margin balance = wallet + unrealised, available = balance - initial margins."""
    exchange, _ = made_exchange()
    opened(exchange, "0.010", "0.020")
    exchange.place(limit("BUY", "LONG", "42000.00"), START_MS)
    quote(exchange, BTC, 431_000)
    page = AccountPages(exchange.account, exchange.specs, exchange.trading.orders_margin_e8()).account(version=3)
    wallet, profit, balance, initial, free = (
        round(float(page[name]) * USDT)
        for name in (
            "totalWalletBalance",
            "totalUnrealizedProfit",
            "totalMarginBalance",
            "totalInitialMargin",
            "availableBalance",
        )
    )
    assert balance == wallet + profit == exchange.equity_e8()
    assert free == balance - initial
    assert [(row["positionSide"], row["positionAmt"]) for row in page["positions"]] == [
        ("LONG", "0.010"),
        ("SHORT", "-0.020"),
    ]


def test_same_seed_same_ids() -> None:
    """Ids depend on the seed and on what was asked, not on the machine."""
    first, second = made_exchange()[0], made_exchange()[0]
    rows = [exchange.place(market("BUY", "LONG"), START_MS) for exchange in (first, second)]
    assert rows[0] == rows[1]
    assert rows[0]["orderId"] > 2**53
