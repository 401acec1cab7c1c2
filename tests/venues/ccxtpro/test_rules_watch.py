"""The exchange's rules change while we trade: the next order goes by the new ones; other units end entries."""

import json
from decimal import Decimal
from typing import Any
from urllib.parse import unquote

import pytest

from hedgegrid.messages.events import EndReason, OrderEventKind
from hedgegrid.model.order import Purpose
from hedgegrid.venues.ccxtpro import rules_watch
from tests.venues.ccxtpro.loopback import listed, until
from tests.venues.ccxtpro.raw_events import BTC, request
from tests.venues.ccxtpro.standin_house import desk
from tests.venues.ccxtpro.trading_house import BATCH, ORDER, House, house
from tools.standin.rules import default_spec

INFO = "GET /fapi/v1/exchangeInfo"
CHANGED = "the exchange changed an instrument's rules"
CLOSED = "the instrument takes no entries any more"
ACCEPTED, REJECTED = OrderEventKind.ACCEPTED, OrderEventKind.REJECTED
FLATTEN = request(Purpose.FLATTEN, qty_lots=10, level=-1)


def lists(one: House, **changes: Any) -> None:
    """Have the exchange list BTCUSDT with other rules."""
    info = default_spec("BTCUSDT", **changes).exchange_info()
    one.venue.answer(INFO, {"serverTime": 1_790_000_000_000, "rateLimits": [], "symbols": [info]})


def refuses(one: House, code: int = -4005) -> None:
    """Have the exchange refuse every order with a code."""
    one.venue.answer(ORDER, {"code": code, "msg": "words"}, 400)


@pytest.mark.asyncio
@pytest.mark.parametrize("code", [-4003, -4005, -4014, -1111, -4164])
async def test_an_order_that_breaks_a_rule_has_the_rules_read(code: int) -> None:
    """The answer comes when the rules are there: whatever is asked for next goes out by them, and a person is told."""
    async with house(started=False) as one:
        refuses(one, code)
        lists(one, market_max_qty=Decimal("0.004"))
        (answer,) = await one.trading.place(BTC, [FLATTEN], [])
        assert (answer.kind, answer.reason) == (REJECTED, EndReason.REFUSED)
        taken = [{"orderId": at, "symbol": "BTCUSDT", "status": "NEW"} for at in (1, 2, 3)]
        one.venue.answer(BATCH, taken)
        again = request(Purpose.FLATTEN, qty_lots=10, level=-1, sequence=2)
        (answer,) = await one.trading.place(BTC, [again], [])
        assert answer.kind is ACCEPTED
        (sent,) = one.sent(BATCH)
        assert [row["quantity"] for row in json.loads(unquote(sent["batchOrders"]))] == ["0.004", "0.004", "0.002"]
        (figures,) = [figures for text, figures in one.reports if text == CHANGED]
        assert figures["market_max_lots"] == "1000000 -> 4"


@pytest.mark.asyncio
async def test_the_rules_are_not_read_for_every_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals in a row are one reading; other refusals are none; after a while one may be had again."""
    async with house(started=False) as one:
        lists(one)
        refuses(one, -2022)
        await one.trading.place(BTC, [request(Purpose.FLATTEN)], [])
        assert one.sent(INFO) == []
        refuses(one)
        for sequence in range(5):
            await one.trading.place(BTC, [request(Purpose.FLATTEN, sequence=sequence)], [])
        assert len(one.sent(INFO)) == 1
        monkeypatch.setattr(rules_watch, "AGAIN_NS", 0)
        one.trading._rules._not_before_ns = 0
        await one.trading.place(BTC, [request(Purpose.FLATTEN, sequence=9)], [])
        assert len(one.sent(INFO)) == 2


@pytest.mark.asyncio
async def test_rules_that_cannot_be_read_change_nothing() -> None:
    """The order is answered all the same, the old rules stand, and a person is told."""
    async with house(started=False) as one:
        refuses(one)
        one.venue.answer(INFO, b"oops", 502)
        (answer,) = await one.trading.place(BTC, [FLATTEN], [])
        assert answer.kind is REJECTED
        assert [text for text, _ in one.reports] == ["the instruments' rules could not be read again"]
        assert one.trading.instruments() == (listed().instrument,)


@pytest.mark.asyncio
@pytest.mark.parametrize("unit", ["tick", "lot"])
async def test_other_units_end_entries_and_nothing_else(unit: str) -> None:
    """All our figures count in tick and lot: a person is told once, entries are not sent, what reduces still is."""
    async with house(started=False) as one:
        refuses(one, -4014)
        lists(one, **{unit: Decimal("0.50") if unit == "tick" else Decimal("0.002")})
        await one.trading.place(BTC, [request()], [])
        before = len(one.sent(ORDER))
        (entry, out) = await one.trading.place(BTC, [request(sequence=2), request(Purpose.FLATTEN, sequence=3)], [])
        assert (entry.kind, entry.reason) == (REJECTED, EndReason.NOT_SENT)
        assert unit in entry.detail
        assert out.kind is REJECTED
        assert [sent["newClientOrderId"] for sent in one.sent(ORDER)[before:]] == [out.client_id]
        assert [text for text, _ in one.reports] == [CLOSED]
        assert one.trading.instruments() == (listed().instrument,)


@pytest.mark.asyncio
async def test_an_instrument_that_is_gone_takes_no_entries() -> None:
    """Delisted while we trade: the same."""
    async with house(started=False) as one:
        refuses(one, -4014)
        one.venue.answer(INFO, {"serverTime": 1, "rateLimits": [], "symbols": []})
        await one.trading.place(BTC, [request()], [])
        (answer,) = await one.trading.place(BTC, [request(sequence=2)], [])
        assert "does not list" in answer.detail


@pytest.mark.asyncio
async def test_a_stop_above_a_shrunk_maximum_is_laid_in_parts_the_second_time() -> None:
    """At the exchange's stand-in: refused once for its size, and taken whole when it is asked for again."""
    async with desk() as one:
        await one.hold(10)
        one.arm("filter-change:market_max_qty=0.004")
        (answer,) = await one.trading.place(BTC, [one.stop()], [])
        assert answer.kind is REJECTED
        (answer,) = await one.trading.place(BTC, [one.stop(sequence=501)], [])
        assert answer.kind is ACCEPTED
        await until(lambda: len(one.standin.exchange.algos.of("BTCUSDT")) == 3)
        assert sum(algo.qty_lots for algo in one.standin.exchange.algos.of("BTCUSDT")) == 10
