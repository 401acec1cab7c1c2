"""Tests of the exchange's rules: what passes ours passes the exchange's."""

import copy
from decimal import Decimal
from typing import Any

import pytest

from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from hedgegrid.venues.ccxtpro.parse_rules import (
    Commission,
    ExchangeRules,
    RateLimit,
    commission,
    exchange_rules,
    funding_intervals,
    leverage_caps,
    leverage_tiers,
)
from hedgegrid.venues.ccxtpro.scaling import INT64_MAX, BadPayloadError
from tests.venues.ccxtpro.wire_payloads import T_MS, payloads

RULES = payloads("rules")
WANTED = {
    "BTCUSDT": "BTC/USDT:USDT",
    "DOGEUSDT": "DOGE/USDT:USDT",
    "TINYUSDT": "TINY/USDT:USDT",
    "GONEUSDT": "GONE/USDT:USDT",
}
TIERS = (Tier(max_notional_e8=300_000 * 10**8, maintenance_ppm=4000),)


def read(payload: Any = None) -> ExchangeRules:
    """Read the rules of the instruments wanted."""
    return exchange_rules(
        payload or RULES["exchange info"],
        WANTED,
        tiers={"BTCUSDT": TIERS},
        intervals=funding_intervals(RULES["funding info"]),
    )


def test_an_instrument_as_listed() -> None:
    """Tick, lot, least and most, fees of liquidation, and the exchange's limits beside them."""
    listed = read().listed["BTCUSDT"]
    assert listed.instrument == Instrument(
        name="BTC/USDT:USDT",
        tick=Decimal("0.1"),
        lot=Decimal("0.001"),
        min_qty_lots=1,
        max_qty_lots=1_000_000,
        min_notional_e8=50 * 10**8,
        tiers=TIERS,
        liquidation_fee_ppm=12500,
        funding_interval_ns=8 * NS_PER_HOUR,
    )
    assert (listed.market_min_lots, listed.market_max_lots) == (1, 120_000)
    assert (listed.min_price_ticks, listed.max_price_ticks) == (5568, 45_297_640)
    assert (listed.price_up_ppm, listed.price_down_ppm) == (1_050_000, 950_000)
    assert (listed.max_orders, listed.max_algo_orders) == (200, 10)
    assert (listed.trigger_protect_ppm, listed.market_take_bound_ppm) == (50_000, 50_000)
    assert listed.tradable
    assert {"GTX", "GTC"} <= listed.times_in_force
    assert "STOP_MARKET" in listed.order_types
    assert listed.scale.price_ticks("61234.50") == 612345


def test_the_tick_is_without_the_zeros_behind_it() -> None:
    """Prices are written with the tick's places; more than the exchange's precision it refuses (-1111)."""
    doge = read().listed["DOGEUSDT"].instrument
    assert doge.price_text(12345) == "0.12345"
    assert doge.qty_text(7) == "7"


def test_limits_of_requests() -> None:
    """The budget is made of what is read, per kind and interval."""
    rules = read()
    assert rules.taken_ns == T_MS * NS_PER_MS
    assert rules.rate_limits == (
        RateLimit(kind="REQUEST_WEIGHT", interval_ns=NS_PER_MINUTE, limit=2400),
        RateLimit(kind="ORDERS", interval_ns=NS_PER_MINUTE, limit=1200),
        RateLimit(kind="ORDERS", interval_ns=10 * NS_PER_S, limit=300),
    )


def test_an_instrument_that_cannot_be_counted_is_refused_beside_the_others() -> None:
    """Tick x lot under 1e-8 has no exact notional; an unlisted name, or one that lacks a filter, is named too."""
    rules = read()
    assert set(rules.listed) == {"BTCUSDT", "DOGEUSDT"}
    assert "1e-8" in rules.refused["TINYUSDT"]
    assert "not list" in rules.refused["GONEUSDT"]
    spoilt = copy.deepcopy(RULES["exchange info"])
    spoilt["symbols"][0]["filters"] = spoilt["symbols"][0]["filters"][1:]
    assert "PRICE_FILTER" in read(spoilt).refused["BTCUSDT"]


def test_what_is_listed_but_not_trading_says_so() -> None:
    """An instrument that is settling, or any but TRADING, gets no order."""
    assert not read().listed["DOGEUSDT"].tradable


def test_minimums_round_up_and_maximums_down() -> None:
    """A limit between two lots or ticks is taken to the side that the exchange accepts."""
    spoilt = copy.deepcopy(RULES["exchange info"])
    prices, lots, market = spoilt["symbols"][0]["filters"][:3]
    prices |= {"minPrice": "556.81", "maxPrice": "999.99"}
    lots |= {"minQty": "0.0011", "maxQty": "1.0009"}
    market |= {"minQty": "0.0011", "maxQty": "1.0009"}
    listed = read(spoilt).listed["BTCUSDT"]
    assert (listed.instrument.min_qty_lots, listed.instrument.max_qty_lots) == (2, 1000)
    assert (listed.market_min_lots, listed.market_max_lots) == (2, 1000)
    assert (listed.min_price_ticks, listed.max_price_ticks) == (5569, 9999)


def test_a_maximum_price_of_zero_is_none() -> None:
    """The exchange writes 0 where a price has no bound."""
    spoilt = copy.deepcopy(RULES["exchange info"])
    spoilt["symbols"][0]["filters"][0]["maxPrice"] = "0"
    assert read(spoilt).listed["BTCUSDT"].max_price_ticks == INT64_MAX


def test_funding_intervals_default_to_eight_hours() -> None:
    """The exchange lists adjusted instruments only: whoever is absent after a good read settles every 8 h."""
    rules = read()
    assert rules.listed["DOGEUSDT"].instrument.funding_interval_ns == 4 * NS_PER_HOUR
    assert rules.listed["BTCUSDT"].instrument.funding_interval_ns == 8 * NS_PER_HOUR
    with pytest.raises(BadPayloadError):
        funding_intervals([{"symbol": "BTCUSDT", "fundingIntervalHours": 0}])


def test_margin_tiers_ascend_whatever_order_they_came_in() -> None:
    """Ratios are JSON numbers on the wire and still exact; the boundless last tier fits our integers."""
    assert leverage_tiers(RULES["brackets"]) == {
        "BTCUSDT": (
            Tier(max_notional_e8=300_000 * 10**8, maintenance_ppm=4000),
            Tier(max_notional_e8=800_000 * 10**8, maintenance_ppm=5000),
            Tier(max_notional_e8=INT64_MAX, maintenance_ppm=500_000),
        )
    }
    assert leverage_tiers(RULES["one bracket"])["DOGEUSDT"][0].maintenance_ppm == 6500
    assert leverage_caps(RULES["brackets"]) == {"BTCUSDT": 125}


def test_no_tiers_and_tiers_of_nothing_are_refused() -> None:
    """A maintenance margin of nothing would never see a liquidation coming."""
    spoilt = copy.deepcopy(RULES["one bracket"])
    spoilt["brackets"][0]["maintMarginRatio"] = "0"
    for payload in (spoilt, {"symbol": "DOGEUSDT", "brackets": []}):
        with pytest.raises(BadPayloadError):
            leverage_tiers(payload)


def test_fees_of_the_account() -> None:
    """Fees in ppm of notional, exact."""
    assert commission(RULES["commission"]) == Commission(symbol="BTCUSDT", maker_ppm=200, taker_ppm=400)
