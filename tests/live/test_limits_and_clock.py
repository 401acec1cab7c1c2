"""Rate limits, bans, clocks that part, old answers, and an account that leaves hedge mode."""

from pathlib import Path

import pytest

from tests.live.trading_bot import OVER_A_RUNG_BPS, RUNG_LOTS, STEP_BPS, TradingBot, trading

NS_PER_S = 1_000_000_000


def answered(bot: TradingBot, status: int) -> list[int]:
    """Give when (wall time in ns) requests were answered with a status."""
    answers = [each for each in bot.standin.log.of("answer") if each.seq > bot.since_seq]
    return [each.wall_ns for each in answers if each.facts["status"] == status]


@pytest.mark.asyncio
async def test_429_backs_off_and_comes_back(tmp_path: Path) -> None:
    """After a 429 nothing is sent until its time is over; a fill meanwhile is protected as soon as it can be."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("429:1:ms=2000")
        bot.move(-STEP_BPS)
        await bot.until(lambda: bot.fired("429") == 1)
        (refused_ns,) = answered(bot, 429)
        await bot.until(lambda: bot.standin.clock.now_ms() > bot.standin.gateway.throttled_until_ms)
        bot.watch.possible()
        await bot.settled()
        early = [each.name for each in bot.requests() if 0 < each.wall_ns - refused_ns < 1.9 * NS_PER_S]
        assert early == [], "requests went out while the exchange had asked for silence"
        assert "rate_limited" in bot.reasons()
        await bot.passed()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_418_is_silence_until_the_ban_ends(tmp_path: Path) -> None:
    """A banned address asks nothing before the moment that the exchange names, and then trades on."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("418:1:ms=3000")
        bot.move(-STEP_BPS)
        await bot.until(lambda: bot.fired("418") == 1)
        until_ms = bot.standin.gateway.banned_until_ms
        (refused_ns,) = answered(bot, 418)
        await bot.until(lambda: bot.standin.clock.now_ms() > until_ms)
        bot.watch.possible()
        await bot.settled()
        early = [each.name for each in bot.requests() if refused_ns < each.wall_ns < until_ms * 1_000_000]
        assert early == [], "requests went out during the ban"
        assert "rate_limited" in bot.reasons()
        await bot.passed()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_clock_that_is_off_pauses_and_signs_on(tmp_path: Path) -> None:
    """Two seconds of skew: requests are stamped with the exchange's time, exits go through, entries wait for its end."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("skew:ms=2000")
        bot.move(-STEP_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 2 * RUNG_LOTS)
        await bot.settled()
        await bot.until(lambda: "clock_skew" in bot.reasons())
        await bot.until(lambda: not bot.entries())
        bot.arm("skew:ms=0")
        bot.move(2 * STEP_BPS + OVER_A_RUNG_BPS)
        await bot.passed()
        await bot.ladders()
        await bot.end_and_prove()


@pytest.mark.asyncio
@pytest.mark.parametrize("read", ["openOrders", "openAlgoOrders", "positionRisk", "userTrades"])
async def test_an_old_answer_to_a_read_changes_nothing_for_good(tmp_path: Path, read: str) -> None:
    """A reading that contradicts the stream because one answer is old kills no order, loses no fill, sends nothing."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm(f"stale-read:2:on={read}", "bad-frame:path=private")
        await bot.until(lambda: bot.fired("stale-read") == 2)
        bot.move(-STEP_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 2 * RUNG_LOTS)
        await bot.settled()
        await bot.passed()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_an_account_that_leaves_hedge_mode_is_not_traded_on(tmp_path: Path) -> None:
    """-4061 says that the account is one-way now: nothing is added any more, and a person is told why."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.move(OVER_A_RUNG_BPS + 1)
        await bot.until(lambda: bot.held_lots("LONG") == 0)
        bot.arm("mode-one-way")
        await bot.until(lambda: bot.mode() == "reducing")
        sent = len([order for order in bot.sent() if order.adds])
        rows = bot.standin.log.count("event", "kline closed")
        await bot.until(lambda: bot.standin.log.count("event", "kline closed") >= rows + 3)
        assert len([order for order in bot.sent() if order.adds]) <= sent, "entries go on against the account's mode"
        bot.arm("mode-hedge")
        await bot.end_and_prove()
