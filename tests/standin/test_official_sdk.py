"""The stand-in is proved with the exchange's own library: binance-sdk-derivatives-trading-usds-futures."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.standin.clients import BOUND_S, rest
from tools.standin.serving import Standin, running_standin

SDK = "binance_sdk_derivatives_trading_usds_futures"


@contextlib.asynccontextmanager
async def streams(standin: Standin) -> AsyncIterator[Any]:
    """Open the library's stream connections, one for each path."""
    sdk = pytest.importorskip(f"{SDK}.derivatives_trading_usds_futures")
    from binance_common.configuration import ConfigurationWebSocketStreams

    logging.getLogger().setLevel(logging.WARNING)
    settings = ConfigurationWebSocketStreams(stream_url=standin.ws_url, reconnect_delay=100)
    client = sdk.DerivativesTradingUsdsFutures(config_ws_streams=settings)
    connection = await client.websocket_streams.create_connection()
    before = asyncio.all_tasks()
    try:
        yield connection
    finally:
        await connection.close_connection(close_session=True)
        for task in asyncio.all_tasks() - before - {asyncio.current_task()}:
            task.cancel()


async def first(handle: Any) -> Any:
    """Give the first message of a stream."""
    got: asyncio.Queue[Any] = asyncio.Queue()
    handle.on("message", got.put_nowait)
    async with asyncio.timeout(BOUND_S):
        return await got.get()


@pytest.mark.asyncio
async def test_market_streams_parse_in_the_official_models() -> None:
    """The library's models accept quotes, bars, marks, trades and depth as they are sent here."""
    async with running_standin(speed=60, book_rate=20) as standin, streams(standin) as client:
        quote = await first(await client.individual_symbol_book_ticker_streams(symbol="btcusdt"))
        assert float(quote.b) < float(quote.a)
        bar = await first(await client.kline_candlestick_streams(symbol="btcusdt", interval="1m"))
        assert bar.k.i == "1m"
        mark = await first(await client.mark_price_stream(symbol="btcusdt", update_speed="1s"))
        assert standin.market.lanes["BTCUSDT"].next_funding_ms == mark.T
        trade = await first(await client.aggregate_trade_streams(symbol="btcusdt"))
        assert float(trade.p) > 0
        depth = await first(await client.diff_book_depth_streams(symbol="btcusdt", update_speed="100ms"))
        assert depth.u >= depth.U


@pytest.mark.asyncio
async def test_the_account_stream_parses_in_the_official_models() -> None:
    """The library's union of account events recognises an order's report."""
    async with running_standin(still=True) as standin, rest(standin) as plain, streams(standin) as client:
        handle = await client.user_data(await plain.listen_key())
        got: asyncio.Queue[Any] = asyncio.Queue()
        handle.on("message", got.put_nowait)
        await plain.place(newClientOrderId="mine")
        async with asyncio.timeout(BOUND_S):
            event = (await got.get()).actual_instance
        assert type(event).__name__ == "OrderTradeUpdate"
        assert (event.o.s, event.o.c, event.o.x) == ("BTCUSDT", "mine", "NEW")
