"""The account that cannot be read any more: what is held is not known for sure, so nothing is added to it."""

from pathlib import Path

import pytest

from tests.live.evidence import query
from tests.live.trading_bot import trading

QUICK = {"account_poll_ms": 300, "feed_stale_ms": 1_500}


@pytest.mark.asyncio
async def test_account_that_tells_nothing_pauses_and_recovers(tmp_path: Path) -> None:
    """Reads that fail beyond two polls and feed_stale_ms: entries go, exits stay; a read that works ends it."""
    async with trading(tmp_path, watchdog=QUICK) as bot:
        await bot.hold()
        exits = {row["clientAlgoId"] for row in bot.account["algoOrders"]}
        bot.arm("503-unavailable:always:on=GET /fapi/v3/positionRisk")
        await bot.until(lambda: "feed_stale" in bot.reasons())
        await bot.until(lambda: bot.entries() == [])
        assert {row["clientAlgoId"] for row in bot.account["algoOrders"]} == exits
        told = query(bot.journal, "SELECT figures FROM permission WHERE reason = 'feed_stale' AND change = 'raised'")
        assert "account" in str(told)
        bot.standin.faults.disarm("503-unavailable")
        await bot.passed()
        await bot.ladders(3)
        await bot.end_and_prove()
