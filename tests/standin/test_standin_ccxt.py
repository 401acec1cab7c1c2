"""The REST half under ccxt, a client that nobody here wrote: it loads, trades and reads through its own code."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import ccxt.async_support as ccxt
import pytest

from tests.standin.shop import BTC, KEY, SECRET, START_MS, Clock, Stand, made_exchange, made_stand, served
from tools.standin.switches import Switches
from tools.standin.wire import Answer

BTC_USDT = "BTC/USDT:USDT"
LONG = {"positionSide": "LONG"}


@asynccontextmanager
async def client(switches: Switches | None = None) -> AsyncIterator[tuple[Any, Stand]]:
    """Give a ccxt client of a served stand, its clock set to the stand's."""
    stand = made_stand(*made_exchange(switches=switches), Clock())
    async with served(stand):
        exchange = ccxt.binanceusdm({"apiKey": KEY, "secret": SECRET, "enableRateLimit": False})
        exchange.nonce = lambda: START_MS
        urls = exchange.urls["api"]
        for access in ("Public", "Private"):
            urls[f"fapi{access}"] = f"{stand.url}/fapi/v1"
            for version in (2, 3):
                urls[f"fapi{access}V{version}"] = f"{stand.url}/fapi/v{version}"
        urls["sapi"] = f"{stand.url}/sapi/v1"
        try:
            yield exchange, stand
        finally:
            await exchange.close()


@pytest.mark.asyncio
async def test_markets_and_limits() -> None:
    """load_markets reads precision, limits and fees; with keys it makes its wallet calls too."""
    async with client() as (exchange, stand):
        markets = await exchange.load_markets()
        market = markets[BTC_USDT]
        assert market["precision"] == {"amount": 0.001, "price": 0.1, "base": 1e-8, "quote": 1e-8}
        assert market["limits"]["cost"]["min"] == 100.0
        assert (market["limits"]["amount"]["max"], market["limits"]["market"]["max"]) == (1000.0, 120.0)
        asked = [call.path for call, answer in stand.seen if answer is None]
        assert "/sapi/v1/capital/config/getall" in asked


@pytest.mark.asyncio
async def test_orders_of_every_kind() -> None:
    """Limit, post-only, market, stop, take-profit and closePosition orders are taken and listed in the right list."""
    async with client() as (exchange, stand):
        await exchange.load_markets()
        await exchange.create_order(BTC_USDT, "limit", "buy", 0.01, 42000, {**LONG, "newClientOrderId": "a"})
        await exchange.create_order(BTC_USDT, "limit", "buy", 0.01, 42001, {**LONG, "postOnly": True})
        filled = await exchange.create_order(BTC_USDT, "market", "buy", 0.01, None, LONG)
        assert (filled["status"], filled["filled"], filled["average"]) == ("closed", 0.01, 43000.1)
        stop = {**LONG, "stopPrice": 41000, "clientAlgoId": "s"}
        await exchange.create_order(BTC_USDT, "STOP_MARKET", "sell", 0.01, None, stop)
        await exchange.create_order(BTC_USDT, "TAKE_PROFIT_MARKET", "sell", 0.01, None, {**LONG, "stopPrice": 45000})
        close = {**LONG, "stopPrice": 40000, "closePosition": True}
        await exchange.create_order(BTC_USDT, "STOP_MARKET", "sell", None, None, close)
        orders = await exchange.fetch_open_orders(BTC_USDT)
        assert [order["timeInForce"] for order in orders] == ["GTC", "PO"]
        conditionals = await exchange.fetch_open_orders(BTC_USDT, None, None, {"trigger": True})
        assert [order["triggerPrice"] for order in conditionals] == [41000.0, 45000.0, 40000.0]
        assert [order["info"]["closePosition"] for order in conditionals] == [False, False, True]
        assert len(stand.exchange.open_orders()) == 2


@pytest.mark.asyncio
async def test_amending_and_cancelling() -> None:
    """Orders are amended, cancelled by client id, by list and all at once, in both services."""
    async with client() as (exchange, stand):
        await exchange.load_markets()
        rows = [
            {"symbol": BTC_USDT, "type": "limit", "side": "buy", "amount": 0.01, "price": 42000 + n, "params": LONG}
            for n in range(4)
        ]
        placed = await exchange.create_orders(rows)
        edited = await exchange.edit_order(placed[0]["id"], BTC_USDT, "limit", "buy", 0.02, 41000, LONG)
        assert (edited["price"], edited["amount"]) == (41000.0, 0.02)
        cancelled = await exchange.cancel_orders([placed[0]["id"], placed[1]["id"]], BTC_USDT)
        assert [order["status"] for order in cancelled] == ["canceled", "canceled"]
        one = await exchange.fetch_order(placed[2]["id"], BTC_USDT)
        assert one["id"] == placed[2]["id"]
        await exchange.cancel_order(placed[2]["id"], BTC_USDT)
        await exchange.create_order(
            BTC_USDT, "STOP_MARKET", "sell", 0.01, None, {**LONG, "stopPrice": 41000, "clientAlgoId": "s"}
        )
        await exchange.cancel_order(None, BTC_USDT, {"trigger": True, "clientAlgoId": "s"})
        await exchange.cancel_all_orders(BTC_USDT)
        await exchange.cancel_all_orders(BTC_USDT, {"trigger": True})
        assert not stand.exchange.open_orders()
        assert not stand.exchange.open_algos()


@pytest.mark.asyncio
async def test_account_reads() -> None:
    """Balance, positions of both legs, trades, modes, leverage tiers and fees are read."""
    async with client() as (exchange, stand):
        await exchange.load_markets()
        await exchange.create_order(BTC_USDT, "market", "buy", 0.02, None, LONG)
        await exchange.create_order(BTC_USDT, "market", "sell", 0.01, None, {"positionSide": "SHORT"})
        positions = {row["side"]: row["contracts"] for row in await exchange.fetch_positions([BTC_USDT])}
        assert positions == {"long": 0.02, "short": 0.01}
        balance = await exchange.fetch_balance()
        assert balance["info"]["totalWalletBalance"] == stand.exchange.summary()["walletBalance"]
        trades = await exchange.fetch_my_trades(BTC_USDT)
        assert [(t["side"], t["amount"], t["fee"]["currency"]) for t in trades] == [
            ("buy", 0.02, "USDT"),
            ("sell", 0.01, "USDT"),
        ]
        assert (await exchange.fetch_position_mode(BTC_USDT))["hedged"] is True
        assert (await exchange.set_leverage(10, BTC_USDT))["leverage"] == 10
        tiers = await exchange.fetch_leverage_tiers([BTC_USDT])
        assert tiers[BTC_USDT][0]["maxLeverage"] == 125.0
        assert (await exchange.fetch_trading_fee(BTC_USDT))["taker"] == 0.0005
        assert len(await exchange.fetch_ledger("USDT")) == 2


@pytest.mark.asyncio
async def test_market_reads() -> None:
    """Bars, mark bars, book, trades, tickers, funding and the time are read."""
    async with client() as (exchange, stand):
        await exchange.load_markets()
        stand.exchange.set_funding(BTC, 12_345, START_MS + 1)
        funding = await exchange.fetch_funding_rate(BTC_USDT)
        assert (funding["fundingRate"], funding["markPrice"], funding["fundingTimestamp"]) == (
            0.00012345,
            43000.0,
            START_MS + 1,
        )
        assert len(await exchange.fetch_ohlcv(BTC_USDT, "1m")) == 3
        assert len(await exchange.fetch_ohlcv(BTC_USDT, "1m", None, None, {"price": "mark"})) == 3
        assert (await exchange.fetch_order_book(BTC_USDT))["asks"] == [[43000.1, 1.0]]
        assert len(await exchange.fetch_trades(BTC_USDT)) == 1
        assert (await exchange.fetch_bids_asks([BTC_USDT]))[BTC_USDT]["bid"] == 43000.0
        assert (await exchange.fetch_ticker(BTC_USDT))["last"] == 43000.0
        assert len(await exchange.fetch_funding_rate_history(BTC_USDT)) == 1
        assert await exchange.fetch_time() == START_MS


@pytest.mark.asyncio
async def test_errors_reach_the_client_with_their_code() -> None:
    """A refusal raises in the client with the exchange's own code in the text."""
    async with client() as (exchange, _):
        await exchange.load_markets()
        with pytest.raises(ccxt.ExchangeError, match="-5022"):
            await exchange.create_order(BTC_USDT, "limit", "buy", 0.01, 43001, {**LONG, "postOnly": True})
        with pytest.raises(ccxt.ExchangeError, match="-1106"):
            await exchange.create_order(BTC_USDT, "market", "sell", 0.01, None, {**LONG, "reduceOnly": True})
        exchange.secret = "wrong"
        with pytest.raises(ccxt.ExchangeError, match="-1022"):
            await exchange.fetch_balance()


@pytest.mark.asyncio
async def test_raw_batch_is_mapped_by_index() -> None:
    """The implicit batch call keeps a refused row in its place, where the unified one drops it."""
    async with client() as (exchange, _):
        good = {"symbol": BTC, "side": "BUY", "positionSide": "LONG", "type": "LIMIT", "timeInForce": "GTC"}
        rows = [{**good, "quantity": "0.010", "price": price} for price in ("42000", "42000.05", "42002")]
        answers = await exchange.fapiPrivatePostBatchOrders({"batchOrders": rows})
        assert [row.get("code") or row["price"] for row in answers] == ["42000.00", -4014, "42002.00"]


@pytest.mark.asyncio
async def test_broken_answers() -> None:
    """A lost answer, a truncated body and a plain 503 reach the client as failures, though the order stands."""
    async with client() as (exchange, stand):
        await exchange.load_markets()
        for change in (
            Answer(status=200, drop=True),
            Answer(status=200, payload={"orderId": 1, "symbol": BTC}, short_by=9),
            Answer.text(503, "Unknown error, please check your request or try again later."),
        ):
            stand.faults.change = change
            with pytest.raises(ccxt.BaseError):
                await exchange.create_order(BTC_USDT, "limit", "buy", 0.01, 42000, LONG)
        assert len(stand.exchange.open_orders()) == 3
        stand.faults.hold = Answer.text(503, "Service Unavailable.")
        with pytest.raises(ccxt.ExchangeNotAvailable):
            await exchange.create_order(BTC_USDT, "limit", "buy", 0.01, 42000, LONG)
        assert len(stand.exchange.open_orders()) == 3
