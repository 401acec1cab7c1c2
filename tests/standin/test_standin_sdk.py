"""The REST half under the exchange's own SDK: its models are strict about each field's type."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from binance_common.configuration import ConfigurationRestAPI
from binance_common.errors import BadRequestError
from binance_sdk_derivatives_trading_usds_futures.derivatives_trading_usds_futures import DerivativesTradingUsdsFutures

from tests.standin.shop import BTC, KEY, SECRET, made_exchange, made_stand, served

PLAIN = (
    "account_information_v2",
    "account_information_v3",
    "check_server_time",
    "current_all_algo_open_orders",
    "current_all_open_orders",
    "exchange_information",
    "futures_account_balance_v2",
    "futures_account_balance_v3",
    "futures_account_configuration",
    "futures_trading_quantitative_rules_indicators",
    "get_bnb_burn_status",
    "get_current_multi_assets_mode",
    "get_current_position_mode",
    "get_funding_rate_history",
    "get_funding_rate_info",
    "get_income_history",
    "mark_price",
    "notional_and_leverage_brackets",
    "position_adl_quantile_estimation",
    "position_information_v2",
    "position_information_v3",
    "query_user_rate_limit",
    "symbol_configuration",
    "symbol_order_book_ticker",
    "users_force_orders",
    "start_user_data_stream",
    "keepalive_user_data_stream",
    "close_user_data_stream",
)
"""Calls without parameters."""
OF_SYMBOL = (
    "account_trade_list",
    "all_orders",
    "compressed_aggregate_trades_list",
    "order_book",
    "query_all_algo_orders",
    "user_commission_rate",
)


def wall_clock_ms() -> int:
    """Give the time that the SDK signs with."""
    return int(time.time() * 1_000)


async def with_client(work: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Run blocking SDK calls against a served stand; give what they gave, and the stand."""
    stand = made_stand(*made_exchange(), wall_clock_ms)
    async with served(stand):
        config = ConfigurationRestAPI(api_key=KEY, api_secret=SECRET, base_path=stand.url, retries=0)
        rest = DerivativesTradingUsdsFutures(config_rest_api=config).rest_api
        return await asyncio.to_thread(work, rest), stand


@pytest.mark.asyncio
async def test_trading_through_the_sdk() -> None:
    """Orders, amendments, batches, conditionals and cancels go through the SDK's own models."""

    def work(rest: Any) -> list[Any]:
        leg = {"symbol": BTC, "side": "BUY", "position_side": "LONG"}
        limit = {**leg, "type": "LIMIT", "time_in_force": "GTX"}
        placed = rest.new_order(**limit, quantity=0.01, price=42000.5, new_client_order_id="a").data()
        taken = rest.new_order(**leg, type="MARKET", quantity=0.01, new_order_resp_type="RESULT").data()
        named = {"symbol": BTC, "orig_client_order_id": "a"}
        amended = rest.modify_order(**named, side="BUY", quantity=0.012, price=42001).data()
        found = rest.query_order(**named).data()
        row = {"symbol": BTC, "side": "BUY", "type": "LIMIT", "positionSide": "LONG", "timeInForce": "GTC"}
        batch = rest.place_multiple_orders(batch_orders=[{**row, "quantity": "0.01", "price": "42000"}]).data()
        stop = {
            "algo_type": "CONDITIONAL",
            "symbol": BTC,
            "side": "SELL",
            "position_side": "LONG",
            "type": "STOP_MARKET",
        }
        algo = rest.new_algo_order(**stop, trigger_price=41000, quantity=0.01, client_algo_id="s").data()
        asked = rest.query_algo_order(client_algo_id="s").data()
        ended = rest.cancel_algo_order(client_algo_id="s").data()
        ends = rest.cancel_multiple_orders(symbol=BTC, orig_client_order_id_list=["a", "nobody"]).data()
        rest.auto_cancel_all_open_orders(symbol=BTC, countdown_time=100_000)
        rest.cancel_all_open_orders(symbol=BTC)
        rest.cancel_all_algo_open_orders(symbol=BTC)
        return [
            placed.status,
            taken.status,
            amended.price,
            found.status,
            len(batch),
            algo.algo_status,
            asked.algo_status,
            ended.code,
            [one.status for one in ends],
        ]

    told, stand = await with_client(work)
    assert told == ["NEW", "FILLED", "42001.00", "NEW", 1, "NEW", "NEW", "200", ["CANCELED", None]]
    assert not stand.exchange.open_orders()
    assert stand.exchange.position(BTC, "LONG").qty_lots == 10


@pytest.mark.asyncio
async def test_reading_through_the_sdk() -> None:
    """Every read that the bot or an operator makes fits the SDK's models, with a position and orders there."""

    def work(rest: Any) -> list[str]:
        leg = {"symbol": BTC, "side": "BUY", "position_side": "LONG"}
        rest.new_order(**leg, type="MARKET", quantity=0.01)
        rest.new_order(**leg, type="LIMIT", time_in_force="GTC", quantity=0.01, price=42000)
        failed = []
        for name in (*PLAIN, *OF_SYMBOL):
            answer = getattr(rest, name)(**({"symbol": BTC} if name in OF_SYMBOL else {}))
            if answer.data() is None:
                failed.append(name)
        bars = rest.kline_candlestick_data(symbol=BTC, interval="1m").data()
        marks = rest.mark_price_kline_candlestick_data(symbol=BTC, interval="1m").data()
        return failed if len(bars) == len(marks) == 3 else [*failed, "bars"]

    told, _ = await with_client(work)
    assert told == []


@pytest.mark.asyncio
async def test_refusals_through_the_sdk() -> None:
    """A refusal raises in the SDK with the exchange's text."""

    def work(rest: Any) -> str:
        leg = {"symbol": BTC, "side": "BUY", "position_side": "LONG", "type": "LIMIT", "time_in_force": "GTX"}
        try:
            rest.new_order(**leg, quantity=0.01, price=43001)
        except BadRequestError as refused:
            return str(refused)
        return ""

    told, _ = await with_client(work)
    assert "Post Only order will be rejected" in told
