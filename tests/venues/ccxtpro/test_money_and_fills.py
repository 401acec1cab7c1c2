"""Money and fills read page by page: every record once, legs that add up, and names that the trades leave out."""

from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.errors import Transient
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.units import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS
from hedgegrid.venues.ccxtpro import fills, money
from hedgegrid.venues.ccxtpro.money import FundingRateAt, by_leg
from hedgegrid.venues.ccxtpro.order_names import OrderNames, Slices
from hedgegrid.venues.ccxtpro.order_requests import slice_id
from hedgegrid.venues.ccxtpro.trading import TradingSettings
from tests.venues.ccxtpro.raw_events import BTC, our_id
from tests.venues.ccxtpro.trading_house import House, house

TRADES = "GET /fapi/v1/userTrades"
ALL_ORDERS = "GET /fapi/v1/allOrders"
ORDER = "GET /fapi/v1/order"
ALL_ALGOS = "GET /fapi/v1/allAlgoOrders"
INCOME = "GET /fapi/v1/income"
ACCOUNT = "GET /fapi/v3/account"


@given(
    costs=st.lists(st.integers(-(10**12), 10**12), min_size=1, max_size=4),
    rate=st.integers(-(10**7), 10**7),
    mark=st.integers(1, 10**7),
    lots=st.tuples(st.none() | st.integers(0, 10**6), st.none() | st.integers(0, 10**6)),
)
def test_funding_by_leg_always_adds_up(
    costs: list[int], rate: int, mark: int, lots: tuple[int | None, int | None]
) -> None:
    """However the exchange splits a settlement into records, the legs' shares are all of it, to the last unit."""
    legs = by_leg(costs, FundingRateAt(rate_e8=rate, mark_ticks=mark), 10_000, *lots)
    assert sum(legs) == sum(costs)


@pytest.mark.parametrize(
    ("costs", "rate", "lots", "legs"),
    [
        ([600, -240], 10_000, (10, 4), (600, -240)),
        ([-600, 240], -10_000, (10, 4), (-600, 240)),
        ([600], 10_000, (10, 0), (600, 0)),
        ([-600], 10_000, (0, 10), (0, -600)),
        ([600], 10_000, (None, None), (600, 0)),
        ([600], -10_000, (None, None), (0, 600)),
        ([3_600_000], 10_000, (10, 4), (6_000_000, -2_400_000)),
        ([0, 0], 0, (10, 4), (0, 0)),
    ],
)
def test_funding_goes_to_the_leg_that_pays_it(
    costs: list[int], rate: int, lots: tuple[int | None, int | None], legs: tuple[int, int]
) -> None:
    """LONG pays a positive rate and SHORT receives it; one record of both legs is shared by what LONG should pay."""
    assert by_leg(costs, FundingRateAt(rate_e8=rate, mark_ticks=600_000), 10_000, *lots) == legs


# --- names ------------------------------------------------------------------------------------------------------------


def test_a_name_of_ours_is_not_lost_to_a_foreign_one() -> None:
    """A stop's order keeps the stop's id, in whatever order its two names become known."""
    names = OrderNames()
    names.learn(BTC, 1, our_id())
    names.learn(BTC, 1, "x-foreign")
    names.learn(BTC, 2, "x-foreign")
    names.learn(BTC, 2, our_id())
    assert names.name_of(BTC, 1) == names.name_of(BTC, 2) == our_id()
    assert names.name_of("ETH/USDT:USDT", 1) is None


def test_parts_of_a_past_boot_are_told_as_their_order() -> None:
    """A restarted process has no table of parts: the id of a part leads to the order that it was a part of."""
    slices = Slices()
    for parent in (our_id(Purpose.FLATTEN, level=-1, sequence=77), our_id(Purpose.STOP, level=4, sequence=78)):
        assert slices.parent_of(slice_id(parent, 3)) == parent
    assert slices.parent_of(our_id()) == our_id()
    assert slices.parts(parent) == (parent,)


def test_a_sliced_order_ends_once_with_its_last_part() -> None:
    """Parts end in any order: one end is told when none is left, and none where everything was filled."""
    parent = our_id(Purpose.FLATTEN, level=-1)
    parts = [slice_id(parent, number) for number in range(3)]
    slices = Slices()
    slices.note(parent, parts, 15)
    said = [
        slices.told(OrderEvent(kind=OrderEventKind.EXPIRED, client_id=name, reason=EndReason.NONE))
        for name in (parts[2], parts[0], parts[0], parts[1])
    ]
    assert said[:3] == [(), (), ()]
    assert said[3] == (OrderEvent(kind=OrderEventKind.EXPIRED, client_id=parent),)
    assert all(parse_client_id(name) is not None for name in parts)


# --- pages ------------------------------------------------------------------------------------------------------------


def trade_row(number: int, order_id: int, ts_ms: int, **changes: Any) -> dict[str, Any]:
    """Word a trade as REST does: without a client id."""
    row = {
        "symbol": "BTCUSDT", "id": number, "orderId": order_id, "side": "BUY", "price": "60000.0", "qty": "0.001",
        "realizedPnl": "0", "quoteQty": "60", "commission": "0.01", "commissionAsset": "USDT", "time": ts_ms,
        "positionSide": "LONG", "maker": True, "buyer": True,
    }  # fmt: skip
    return row | changes


def order_row(order_id: int, name: str) -> dict[str, Any]:
    """Word an order as REST does."""
    return {
        "symbol": "BTCUSDT", "orderId": order_id, "clientOrderId": name, "price": "60000.0", "origQty": "0.001",
        "executedQty": "0.001", "status": "FILLED", "timeInForce": "GTX", "type": "LIMIT", "side": "BUY",
        "positionSide": "LONG", "stopPrice": "0", "reduceOnly": False, "closePosition": False, "time": 1,
        "updateTime": 1,
    }  # fmt: skip


def serve_trades(one: House, rows: list[dict[str, Any]]) -> None:
    """Serve trades as the exchange pages them: from an id on, or of a span of at most seven days."""

    async def reply(request: web.Request) -> web.Response:
        asked = request.query
        assert not ("fromId" in asked and "startTime" in asked)
        if "fromId" in asked:
            found = [row for row in rows if row["id"] >= int(asked["fromId"])]
        else:
            start, end = int(asked["startTime"]), int(asked["endTime"])
            assert end - start < 7 * NS_PER_DAY // NS_PER_MS
            found = [row for row in rows if start <= row["time"] <= end]
        return web.json_response(found[: int(asked["limit"])])

    one.venue.answers[TRADES] = reply


def serve_orders(one: House, names: dict[int, str]) -> None:
    """Serve the client ids of orders, from an order id on."""

    async def reply(request: web.Request) -> web.Response:
        first, limit = int(request.query["orderId"]), int(request.query["limit"])
        rows = [order_row(number, name) for number, name in sorted(names.items()) if number >= first]
        return web.json_response(rows[:limit])

    one.venue.answers[ALL_ORDERS] = reply


@pytest.mark.asyncio
async def test_fills_are_read_through_all_their_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that end inside a trade of two of our orders, and books that began weeks ago: every fill, once."""
    monkeypatch.setattr(fills, "PAGE", 3)
    async with house(started=False, settings=TradingSettings(books_from_ns=1)) as plain:
        now_ms = plain.trading.venue_ns() // NS_PER_MS
    began_ns = (now_ms - 30 * 24 * 3_600_000) * NS_PER_MS
    async with house(started=False, settings=TradingSettings(books_from_ns=began_ns)) as one:
        rows = [trade_row(number, 100 + number, now_ms - 20_000 + number) for number in range(1, 9)]
        rows.insert(5, trade_row(5, 200, now_ms - 20_000 + 5, side="SELL", positionSide="SHORT"))
        rows.insert(0, trade_row(0 + 1, 99, began_ns // NS_PER_MS - 1, price="1.0"))
        serve_trades(one, rows)
        serve_orders(one, {**{100 + number: our_id(sequence=number) for number in range(1, 9)}, 99: "old", 200: "web"})
        found = await one.trading.fills_since({})
        assert [fill.trade_id for fill in found] == [1, 2, 3, 4, 5, 5, 6, 7, 8]
        assert {fill.client_id for fill in found} == {*(our_id(sequence=number) for number in range(1, 9)), "web"}
        assert [fill.purpose for fill in found if fill.client_id == "web"] == [Purpose.ENTRY]


@pytest.mark.asyncio
async def test_trades_below_the_cursor_of_before_this_process_are_not_given() -> None:
    """What an earlier process applied is not given again, though ids just below the cursor are looked at."""
    async with house(started=False) as one:
        now_ms = one.trading.venue_ns() // NS_PER_MS
        serve_trades(one, [trade_row(5, 1, now_ms - 5_000), trade_row(6, 2, now_ms - 4_000), trade_row(7, 3, now_ms)])
        serve_orders(one, {1: our_id(), 2: our_id(sequence=2), 3: our_id(sequence=3)})
        assert [fill.trade_id for fill in await one.trading.fills_since({BTC: 6})] == [7]


@pytest.mark.asyncio
async def test_a_reading_begins_where_nothing_can_be_listed_any_more() -> None:
    """A market in which we trade alone: each reading shows the last minutes, not all that we ever traded."""
    async with house(started=False) as one:
        now_ms = one.trading.venue_ns() // NS_PER_MS
        long_ago = [trade_row(number, number, now_ms - 600_000 + number) for number in range(10, 40)]
        rows = [*long_ago, trade_row(50, 50, now_ms - 60_000), trade_row(60, 60, now_ms)]
        serve_trades(one, rows)
        serve_orders(one, {row["orderId"]: our_id(sequence=row["orderId"]) for row in [*rows, trade_row(45, 45, 0)]})
        assert [fill.trade_id for fill in await one.trading.fills_since({BTC: 55})] == [60]
        rows.insert(-2, trade_row(45, 45, now_ms + 1))
        assert [fill.trade_id for fill in await one.trading.fills_since({BTC: 55})] == [60, 45], "one that came late"
        assert [fill.trade_id for fill in await one.trading.fills_since({BTC: 20})] == [*range(21, 40), 50, 60, 45]
        asked = [sent["fromId"] for sent in one.sent(TRADES)]
        assert asked == ["0", "39", "20"], "a cursor is never left behind"


@pytest.mark.asyncio
async def test_a_trade_whose_order_is_forgotten_keeps_its_number() -> None:
    """An order that the exchange does not know any more is foreign by its number; the trade is given all the same."""
    async with house(started=False) as one:
        now_ms = one.trading.venue_ns() // NS_PER_MS
        serve_trades(one, [trade_row(7, 3, now_ms), trade_row(8, 4, now_ms)])
        serve_orders(one, {5: our_id()})
        one.venue.answer(ORDER, {"code": -2013, "msg": "Order does not exist."}, 400)
        found = await one.trading.fills_since({BTC: 1})
        assert [fill.client_id for fill in found] == ["order-3", "order-4"]


@pytest.mark.asyncio
async def test_a_read_that_cannot_be_read_gives_nothing() -> None:
    """One row that is not whole: the whole read is Transient, and no fill of it is taken for delivered."""
    async with house(started=False) as one:
        now_ms = one.trading.venue_ns() // NS_PER_MS
        serve_trades(one, [trade_row(7, 3, now_ms), trade_row(8, 4, now_ms, qty="0.0001")])
        with pytest.raises(Transient, match="UserTrades"):
            await one.trading.fills_since({BTC: 1})


@pytest.mark.asyncio
async def test_income_is_summed_once_however_it_is_paged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records of one time on both sides of a page, and records that are listed late: each counts once."""
    monkeypatch.setattr(money, "PAGE", 2)
    async with house(started=False, settings=TradingSettings(books_from_ns=1)) as plain:
        now_ms = plain.trading.venue_ns() // NS_PER_MS
    settings = TradingSettings(books_from_ns=(now_ms - 60_000) * NS_PER_MS)
    async with house(started=False, settings=settings) as one:
        records = [
            _record("REALIZED_PNL", "5", now_ms - 900, 1),
            _record("COMMISSION", "-0.5", now_ms - 900, 2),
            _record("COMMISSION", "-0.25", now_ms - 900, 3),
            _record("COMMISSION", "-9", now_ms - 900, 4, asset="BNB"),
            _record("FUNDING_FEE", "-0.125", now_ms - 800, 5),
            _record("TRANSFER", "100", now_ms - 700, 6),
        ]

        async def reply(request: web.Request) -> web.Response:
            found = [row for row in records if row["time"] >= int(request.query["startTime"])]
            return web.json_response(found[: max(int(request.query["limit"]), 4)])

        one.venue.answers[INCOME] = reply
        one.venue.answer(ACCOUNT, {"assets": [_asset("1004.125")]})
        first = await one.trading.balance()
        assert (first.wallet_e8, first.realised_e8, first.fees_e8, first.funding_e8) == (
            100_412_500_000,
            500_000_000,
            75_000_000,
            12_500_000,
        )
        records.insert(5, _record("COMMISSION", "-1", now_ms - 850, 7))
        second = await one.trading.balance()
        assert second.fees_e8 == 175_000_000
        assert second.realised_e8 == first.realised_e8


def _record(kind: str, amount: str, ts_ms: int, number: int, *, asset: str = "USDT") -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT", "incomeType": kind, "income": amount, "asset": asset, "info": "", "time": ts_ms,
        "tranId": number, "tradeId": "",
    }  # fmt: skip


def _asset(wallet: str) -> dict[str, Any]:
    return {
        "asset": "USDT", "walletBalance": wallet, "unrealizedProfit": "0", "marginBalance": wallet, "maintMargin": "0",
        "initialMargin": "0", "positionInitialMargin": "0", "openOrderInitialMargin": "0", "crossWalletBalance": wallet,
        "crossUnPnl": "0", "availableBalance": wallet, "maxWithdrawAmount": wallet, "updateTime": 0,
    }  # fmt: skip


@pytest.mark.asyncio
async def test_funding_without_its_rate_is_not_invented() -> None:
    """A settlement whose rate is not listed yet is Transient, never a rate of zero."""
    async with house(started=False, settings=TradingSettings(books_from_ns=1)) as one:
        now_ms = one.trading.venue_ns() // NS_PER_MS
        one.venue.answer(INCOME, [_record("FUNDING_FEE", "-0.1", now_ms, 1)])
        one.venue.answer("GET /fapi/v1/fundingRate", [])
        with pytest.raises(Transient, match="is not told yet"):
            await one.trading.funding_since(0)
        minute_ms = now_ms * NS_PER_MS // NS_PER_MINUTE * NS_PER_MINUTE // NS_PER_MS
        rate = {"symbol": "BTCUSDT", "fundingTime": minute_ms, "fundingRate": "0.0001", "markPrice": "60000.04"}
        one.venue.answer("GET /fapi/v1/fundingRate", [rate])
        (paid,) = await one.trading.funding_since(0)
        assert (paid.long_e8, paid.short_e8, paid.mark_ticks) == (10_000_000, 0, 600_000)


@pytest.mark.asyncio
async def test_a_position_in_one_way_mode_is_not_taken_for_a_leg() -> None:
    """BOTH names no leg: the read is Transient, and nobody's position is guessed."""
    async with house(started=False) as one:
        row = {
            "symbol": "BTCUSDT", "positionSide": "BOTH", "positionAmt": "0.010", "entryPrice": "60000.0",
            "breakEvenPrice": "60000.0", "markPrice": "60000.0", "unRealizedProfit": "0", "liquidationPrice": "0",
            "notional": "600", "marginAsset": "USDT", "initialMargin": "0", "maintMargin": "0", "updateTime": 0,
        }  # fmt: skip
        one.venue.answer("GET /fapi/v3/positionRisk", [row])
        with pytest.raises(Transient):
            await one.trading.positions()
        one.venue.answer("GET /fapi/v3/positionRisk", [{**row, "positionSide": "LONG"}])
        (position,) = await one.trading.positions()
        assert (position.leg, position.qty_lots, position.cost_e8) == (Leg.LONG, 10, 60_000_000_000)
