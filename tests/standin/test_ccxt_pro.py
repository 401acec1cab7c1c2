"""The stand-in is proved with a client that nobody here wrote: ccxt.pro's binanceusdm over loopback."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.standin.clients import eventually
from tools.standin.serving import Standin, running_standin

SYMBOL = "BTC/USDT:USDT"


@contextlib.asynccontextmanager
async def exchange(standin: Standin) -> AsyncIterator[Any]:
    """Open ccxt.pro with every address turned to the stand-in."""
    import ccxt.pro

    client = ccxt.pro.binanceusdm(
        {
            "apiKey": standin.options.key,
            "secret": standin.options.secret,
            "options": {"fetchCurrencies": False, "fetchMarkets": {"types": ["linear"]}},
        }
    )
    for name in ("fapiPublic", "fapiPrivate"):
        client.urls["api"][name] = f"{standin.url}/fapi/v1"
        for version in (2, 3):
            client.urls["api"][f"{name}V{version}"] = f"{standin.url}/fapi/v{version}"
    client.urls["api"]["ws"]["linear"] = f"{standin.ws_url}/ws"
    client.urls["api"]["ws"]["ws-api"]["linear"] = f"{standin.ws_url}/ws-fapi/v1"
    try:
        await client.load_markets()
        async with asyncio.timeout(30):
            yield client
    finally:
        await client.close()


@pytest.mark.asyncio
async def test_quotes_books_and_trades() -> None:
    """The public path: best quotes, a book that is built from snapshot and changes, and trades."""
    async with running_standin(speed=60, book_rate=50) as standin, exchange(standin) as client:
        quotes = await client.watch_bids_asks([SYMBOL])
        assert 0 < quotes[SYMBOL]["bid"] < quotes[SYMBOL]["ask"]
        for _ in range(20):
            await client.watch_order_book(SYMBOL)
        book = await client.watch_order_book(SYMBOL)
        assert book["bids"][0][0] < book["asks"][0][0]
        assert book["nonce"] is not None
        trades = await client.watch_trades(SYMBOL)
        assert trades[0]["price"] > 0


@pytest.mark.asyncio
async def test_bars_marks_and_tickers() -> None:
    """The market path: bars of several timeframes on one socket, mark prices, and tickers."""
    async with running_standin(speed=60) as standin, exchange(standin) as client:
        bars = await client.watch_ohlcv_for_symbols([[SYMBOL, "1m"], [SYMBOL, "5m"]])
        ((timeframe, rows),) = bars[SYMBOL].items()
        assert timeframe in {"1m", "5m"}
        assert rows[-1][2] >= rows[-1][3] > 0
        mark = await client.watch_mark_price(SYMBOL)
        assert mark["markPrice"] > 0
        assert float(mark["info"]["r"]) == standin.market.lanes["BTCUSDT"].rate_e8 / 1e8
        tickers = await client.watch_tickers([SYMBOL])
        assert tickers[SYMBOL]["last"] > 0
        past = await client.fetch_ohlcv(SYMBOL, "1m", limit=500)
        assert len(past) == 500


@pytest.mark.asyncio
async def test_the_life_of_an_order_on_the_private_stream() -> None:
    """The client opens the key and the private path by itself, and sees the order come, fill and end."""
    async with running_standin(still=True) as standin, exchange(standin) as client:
        watching = asyncio.create_task(client.watch_orders(SYMBOL))
        await eventually(lambda: any(each.path.value == "private" for each in standin.hub.listeners.values()))
        price = float(standin.exchange.specs["BTCUSDT"].price_text(standin.exchange.quote("BTCUSDT").bid_ticks - 1000))
        order = await client.create_order(SYMBOL, "limit", "buy", 0.01, price, {"positionSide": "LONG"})
        (seen,) = await watching
        assert (seen["id"], seen["status"]) == (order["id"], "open")
        fills = asyncio.create_task(client.watch_my_trades(SYMBOL))
        await asyncio.sleep(0)
        standin.market.move_by_bps("BTCUSDT", -100)
        (fill,) = await fills
        assert (fill["order"], fill["price"], fill["takerOrMaker"]) == (order["id"], price, "maker")


@pytest.mark.asyncio
async def test_orders_over_the_websocket_api() -> None:
    """The client's own signing of websocket orders is understood."""
    async with running_standin(still=True) as standin, exchange(standin) as client:
        price = float(standin.exchange.specs["BTCUSDT"].price_text(standin.exchange.quote("BTCUSDT").bid_ticks - 1000))
        order = await client.create_order_ws(SYMBOL, "limit", "buy", 0.01, price, {"positionSide": "LONG"})
        assert [str(each["orderId"]) for each in standin.exchange.open_orders()] == [order["id"]]
        await client.cancel_order_ws(order["id"], SYMBOL)
        assert standin.exchange.open_orders() == []
