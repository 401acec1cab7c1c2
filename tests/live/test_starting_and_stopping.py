"""Starts and stops on the wire: what comes first, what goes on, and what a stop leaves behind."""

from pathlib import Path

import pytest

from tests.live.trading_bot import OVER_A_RUNG_BPS, RUNG_LOTS, STEP_BPS, TradingBot, living, trading
from tools.standin.serving import running_standin


def closing(bot: TradingBot) -> list[str]:
    """Give the client ids of the stops that rest at the stand-in, backstops aside."""
    return [row["clientAlgoId"] for row in bot.account["algoOrders"] if not row["closePosition"]]


@pytest.mark.asyncio
async def test_no_order_goes_out_before_the_exchange_was_read(tmp_path: Path) -> None:
    """Reads that are slow, or fail at first, hold every order back until they have been answered."""
    async with running_standin(still=True) as standin:
        standin.faults.arm("slow-answer:3:ms=300:on=read")
        standin.faults.arm("503-unavailable:1:on=GET /fapi/v1/openAlgoOrders")
        async with living(standin, tmp_path, funding={"on_missing": "pause"}) as bot:
            await bot.hold()
            assert [bot.fired("slow-answer"), bot.fired("503-unavailable")] == [3, 1]
            await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_second_life_goes_on_where_the_first_ended(tmp_path: Path) -> None:
    """Positions, orders and fills of the time between are taken over: nothing is sent twice, all is protected."""
    async with running_standin(still=True) as standin:
        async with living(standin, tmp_path, account={"on_stop": "keep"}) as bot:
            await bot.hold()
            await bot.end_and_prove()
            kept = {row["clientOrderId"] for row in bot.account["orders"]}
        standin.market.move_by_bps("BTCUSDT", -STEP_BPS)
        async with living(standin, tmp_path) as bot:
            assert bot.held_lots("LONG") == 2 * RUNG_LOTS, "a fill while nobody watched"
            # Before it reads the account it is a program that starts, as slowly as the machine has it.
            await bot.until(lambda: bool(bot.requests("GET /fapi/v1/userTrades")))
            bot.watch.possible()
            await bot.until(lambda: bool(bot.requests("POST /fapi/v1/algoOrder")))
            await bot.settled()
            assert kept & {row["clientOrderId"] for row in bot.account["orders"]}, "what rested rests on"
            bot.move(2 * STEP_BPS + OVER_A_RUNG_BPS)
            await bot.until(lambda: bot.held_lots("LONG") == 0)
            await bot.ladders()
            await bot.end_and_prove()


@pytest.mark.asyncio
async def test_on_stop_cancel_entries_leaves_the_exits(tmp_path: Path) -> None:
    """The usual stop takes entries away, and leaves take-profits and stops at the exchange."""
    async with trading(tmp_path, account={"on_stop": "cancel_entries"}) as bot:
        await bot.hold()
        stops = closing(bot)
        await bot.end_and_prove()
        assert bot.entries() == []
        assert closing(bot) == stops != []
        assert bot.watch.profits_match(bot.account)
        assert bot.held_lots("LONG") == RUNG_LOTS


@pytest.mark.asyncio
async def test_on_stop_keep_touches_nothing(tmp_path: Path) -> None:
    """Everything that rests at the stop rests on."""
    async with trading(tmp_path, account={"on_stop": "keep"}) as bot:
        await bot.hold()
        before = bot.account
        await bot.end_and_prove()
        after = bot.account
        assert [after["orders"], after["algoOrders"]] == [before["orders"], before["algoOrders"]]
        assert len(bot.entries()) == 3


@pytest.mark.asyncio
async def test_on_stop_flatten_leaves_nothing(tmp_path: Path) -> None:
    """No position, no order and no stop of ours is left."""
    async with trading(tmp_path, account={"on_stop": "flatten"}) as bot:
        await bot.hold()
        await bot.end_and_prove()
        account = bot.account
        assert [bot.held_lots("LONG"), account["orders"], account["algoOrders"]] == [0, [], []]


@pytest.mark.asyncio
async def test_a_stop_waits_for_an_entry_that_may_still_arrive(tmp_path: Path) -> None:
    """An entry whose outcome is not known when the stop comes is not left behind at the exchange."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("late-accept:1:ms=2300:on=POST /fapi/v1/order:positionSide=LONG:side=BUY")
        bot.move(OVER_A_RUNG_BPS + 1)
        await bot.until(lambda: bot.fired("late-accept") == 1)
        await bot.until(lambda: bool(bot.standin.log.count("answer", "POST /fapi/v1/order")) and bot.doubtful() > 0)
        await bot.end_and_prove()
        await bot.watch.rest(1.0)
        assert bot.entries() == []
