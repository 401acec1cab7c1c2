"""The circuit breaker on the wire: an exchange that refuses or fails, and a bot that stops asking.

Invariant: what was refused is counted at the stand-in; what was said of it is read from the journal.
"""

import json
from pathlib import Path

import pytest

from tests.live.evidence import query
from tests.live.trading_bot import living, trading
from tools.standin.serving import running_standin

LIMITS = {"max_errors": 10, "window_s": 20, "cooldown_s": 3, "action": "pause"}
TRIPS = "SELECT figures FROM permission WHERE change = 'raised' AND reason = 'circuit_breaker' ORDER BY row"
REJECTED = "SELECT count(*) FROM orders WHERE state = 'rejected'"
GONE = "SELECT ts_ns FROM permission WHERE change = 'cleared' AND reason = 'circuit_breaker' ORDER BY row"


@pytest.mark.asyncio
async def test_rejections_in_a_row_pause_until_it_is_quiet(tmp_path: Path) -> None:
    """-2019 to every entry: the 11th in 20 s pauses, nothing is asked for any more, and quiet lets it trade on."""
    async with trading(tmp_path, risk={"circuit_breaker": LIMITS, "volatility_halt": {"enabled": False}}) as bot:
        bot.arm("2019:always")
        await bot.until(lambda: "circuit_breaker" in bot.reasons())
        figures = json.loads(query(bot.journal, TRIPS)[0][0])
        assert int(figures["errors"]) > int(figures["limit"]) == 10
        assert "-2019" in figures["newest"]
        assert 11 <= query(bot.journal, REJECTED)[0][0] <= 14
        refused = bot.fired("2019")
        await bot.decided(2)
        assert bot.fired("2019") == refused, "it goes on asking"
        bot.standin.faults.disarm("2019")
        await bot.until(lambda: query(bot.journal, GONE) != [])
        await bot.ladders()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_restart_within_the_cooldown_stays_paused(tmp_path: Path) -> None:
    """The exchange is well again, but the trip is young: the next start adds nothing until its quiet is over."""
    limits = {**LIMITS, "cooldown_s": 600}
    risk = {"circuit_breaker": limits, "volatility_halt": {"enabled": False}}
    async with running_standin(still=True) as standin:
        async with living(standin, tmp_path, risk=risk) as bot:
            bot.arm("2019:always")
            await bot.until(lambda: "circuit_breaker" in bot.reasons())
            await bot.end_and_prove()
        standin.faults.disarm("2019")
        async with living(standin, tmp_path, risk=risk) as bot:
            await bot.passed("reducing")
            await bot.decided(3)
            assert [order for order in bot.sent() if order.adds] == []
            await bot.end_and_prove()
