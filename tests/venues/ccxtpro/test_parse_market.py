"""Tests of the public side of the wire: what a frame says, in ticks and lots."""

import copy
from typing import Any

import pytest

from hedgegrid.model.market import Bar
from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS
from hedgegrid.venues.ccxtpro.parse_market import (
    Answer,
    BarSeen,
    BestQuote,
    Elsewhere,
    MarkSeen,
    TradeSeen,
    Unknown,
    klines,
    parse_public,
    premium_index,
    server_ns,
)
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from tests.venues.ccxtpro.wire_payloads import BTC, SCALES, T_MS, payloads

NAME = BTC.instrument
STREAM = payloads("market_stream")
REST = payloads("market_rest")
OPEN_MS = 1_789_999_980_000


def test_the_best_bid_and_ask() -> None:
    """Prices, what they show, and the matching engine's time; in the combined form too."""
    quote = BestQuote(
        instrument=NAME,
        bid_ticks=612345,
        ask_ticks=612346,
        bid_qty_lots=12093,
        ask_qty_lots=3004,
        update_id=7213372612387,
        ts_ns=(T_MS + 4) * NS_PER_MS,
    )
    assert parse_public(STREAM["book ticker"], SCALES) == quote
    combined = parse_public(STREAM["combined form"], SCALES)
    assert isinstance(combined, BestQuote)
    assert (combined.bid_ticks, combined.update_id) == (612345, 7213372612388)


@pytest.mark.parametrize(("field", "value"), [("b", "0"), ("a", "0.00"), ("b", "-1"), ("b", "61234.55"), ("u", 0)])
def test_a_quote_that_cannot_be_is_refused(field: str, value: object) -> None:
    """A price of zero would make every rung cross; one off the tick means that the rules have changed."""
    spoilt = {**STREAM["book ticker"], field: value}
    with pytest.raises(BadPayloadError):
        parse_public(spoilt, SCALES)


def test_a_bar_is_closed_only_when_the_exchange_says_so() -> None:
    """A decision is made of closed bars alone, so the flag decides, never the clock."""
    bar = Bar(
        open_ns=OPEN_MS * NS_PER_MS,
        length_ns=NS_PER_MINUTE,
        open_ticks=612300,
        high_ticks=612401,
        low_ticks=612280,
        close_ticks=612389,
        volume_lots=50001,
    )
    closed = parse_public(STREAM["closed kline"], SCALES)
    assert closed == BarSeen(instrument=NAME, bar=bar, closed=True, ts_ns=1_790_000_040_002 * NS_PER_MS)
    still_open = parse_public(STREAM["kline"], SCALES)
    assert isinstance(still_open, BarSeen)
    assert not still_open.closed


@pytest.mark.parametrize(
    ("field", "value"), [("T", 1_790_000_039_998), ("i", "7m"), ("h", "61233.90"), ("l", "61231.00"), ("x", 1)]
)
def test_a_bar_that_cannot_be_is_refused(field: str, value: object) -> None:
    """A bar of another length, or with its prices outside its range, would spoil every indicator."""
    spoilt = copy.deepcopy(STREAM["kline"])
    spoilt["k"][field] = value
    with pytest.raises(BadPayloadError):
        parse_public(spoilt, SCALES)


def test_the_mark_with_its_funding() -> None:
    """The mark is the nearest tick, the rate signed and exact, the time the next settlement's."""
    assert parse_public(STREAM["mark price"], SCALES) == MarkSeen(
        instrument=NAME,
        mark_ticks=612338,
        rate_e8=-12500,
        next_funding_ns=1_790_006_400_000 * NS_PER_MS,
        ts_ns=T_MS * NS_PER_MS,
    )


@pytest.mark.parametrize("change", [{"r": None}, {"r": ""}, {"T": 0}, {"T": None}])
def test_a_missing_funding_rate_is_missing(change: dict[str, Any]) -> None:
    """No rate, or a rate without its time, is None: 0 would say that funding is free."""
    seen = parse_public({**STREAM["mark price"], **change}, SCALES)
    assert isinstance(seen, MarkSeen)
    assert (seen.rate_e8, seen.next_funding_ns) == (None, None)
    zero = parse_public({**STREAM["mark price"], "r": "0.00000000"}, SCALES)
    assert isinstance(zero, MarkSeen)
    assert zero.rate_e8 == 0


def test_trades_of_the_market_and_only_those() -> None:
    """A trade says who had waited; what the insurance fund or nobody traded is no price."""
    trade = parse_public(STREAM["trade"], SCALES)
    assert trade == TradeSeen(
        instrument=NAME,
        trade_id=536962673,
        price_ticks=612345,
        qty_lots=5,
        buyer_maker=False,
        aggregate=False,
        ts_ns=T_MS * NS_PER_MS,
    )
    together = parse_public(STREAM["aggregate"], SCALES)
    assert isinstance(together, TradeSeen)
    assert (together.trade_id, together.qty_lots, together.buyer_maker, together.aggregate) == (164325, 120, True, True)
    assert parse_public(STREAM["trade of the insurance fund"], SCALES) == Unknown(event="trade of INSURANCE_FUND")
    assert parse_public(STREAM["empty trade"], SCALES) == Unknown(event="trade of NA")


def test_what_is_no_news_of_ours_is_told_as_that() -> None:
    """Another instrument, another type and the answers to requests are no errors."""
    assert parse_public(STREAM["another instrument"], SCALES) == Elsewhere(event="bookTicker", symbol="XRPUSDT")
    assert parse_public(STREAM["another type"], SCALES) == Unknown(event="forceOrder")
    assert parse_public(STREAM["granted"], SCALES) == Answer(request_id=3, error="")
    refused = parse_public(STREAM["refused"], SCALES)
    assert refused == Answer(request_id=4, error="2 Invalid request: unknown variant")


def test_history_holds_closed_bars_only() -> None:
    """The newest row of a klines answer still moves: it counts once the exchange's clock has passed its end."""
    at = (OPEN_MS + 120_000) * NS_PER_MS
    both = klines(REST["klines"], BTC, NS_PER_MINUTE, closed_by_ns=at)
    assert [bar.close_ticks for bar in both] == [612389, 612499]
    assert klines(REST["klines"], BTC, NS_PER_MINUTE, closed_by_ns=at - 1) == both[:1]
    assert klines([], BTC, NS_PER_MINUTE, closed_by_ns=at) == ()


def test_history_out_of_order_or_of_another_length_is_refused() -> None:
    """Bars that go back in time, or that are not of the length asked for, are no history."""
    for answer, length_ns in ((REST["klines"][::-1], NS_PER_MINUTE), (REST["klines"], 5 * NS_PER_MINUTE)):
        with pytest.raises(BadPayloadError):
            klines(answer, BTC, length_ns, closed_by_ns=2**62)


def test_marks_by_rest() -> None:
    """One symbol or all of them; what is not traded here is left out."""
    (one,) = premium_index(REST["premium index"], SCALES)
    assert (one.mark_ticks, one.rate_e8) == (612338, 10000)
    assert premium_index(REST["premium indexes"], SCALES) == (one,)
    assert server_ns(REST["time"]) == T_MS * NS_PER_MS
