"""Rate limits, bans, clocks that part, old answers, and an account that leaves hedge mode."""

import asyncio
from pathlib import Path

import pytest

from tests.live.trading_bot import END_S, OVER_A_RUNG_BPS, RUNG_LOTS, STEP_BPS, TradingBot, secret, trading
from tests.ops.alert_service import alert_service

NS_PER_MS = 1_000_000
ON_ITS_WAY_NS = 50 * NS_PER_MS
TIME_SAMPLES = 5
MANY = 30
"""Requests that a run may still try with a dead key: those under way, and the socket's."""


def limited_until_ms(bot: TradingBot) -> int:
    """Give until when the stand-in takes nothing, by its clock."""
    gateway = bot.standin.gateway
    return max(gateway.throttled_until_ms, gateway.banned_until_ms)


def sent_between(bot: TradingBot, refused: int, until_ns: int) -> list[str]:
    """Give the requests of the time in which the exchange wants silence; what was on its way then is none."""
    answers = [each for each in bot.standin.log.of("answer") if each.facts["status"] == refused]
    begin_ns = answers[0].wall_ns + ON_ITS_WAY_NS
    return [each.name for each in bot.requests() if begin_ns < each.wall_ns < until_ns]


@pytest.mark.asyncio
@pytest.mark.parametrize("status", [429, 418])
async def test_429_and_418_are_silence_until_their_time_is_over(tmp_path: Path, status: int) -> None:
    """A limited address, or a banned one, asks nothing before the moment that the exchange names; then it trades on."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm(f"{status}:1:ms=1000", "bad-frame:path=private")
        await bot.until(lambda: "rate_limited" in bot.reasons())
        await bot.until(lambda: bot.standin.clock.now_ms() > limited_until_ms(bot))
        assert sent_between(bot, status, limited_until_ms(bot) * NS_PER_MS) == []
        await bot.passed()
        bot.move(OVER_A_RUNG_BPS + 1)
        await bot.until(lambda: bot.held_lots("LONG") == 0)
        await bot.ladders()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_fill_under_a_rate_limit_is_protected_when_it_ends(tmp_path: Path) -> None:
    """What fills while nothing may be sent is protected, or closed, as soon as something may be."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("429:1:ms=2000")
        bot.move(-STEP_BPS)
        await bot.until(lambda: bot.fired("429") == 1)
        await bot.until(lambda: bot.standin.clock.now_ms() > limited_until_ms(bot))
        bot.watch.possible()
        await bot.settled()
        assert sent_between(bot, 429, limited_until_ms(bot) * NS_PER_MS) == []
        assert "rate_limited" in bot.reasons()
        await bot.resolved()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_clock_that_is_off_pauses_and_signs_on(tmp_path: Path) -> None:
    """Two seconds of skew: requests bear the exchange's time, exits go through, and entries wait for its end."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("skew:ms=2000")
        bot.move(-STEP_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 2 * RUNG_LOTS)
        await bot.settled()
        await bot.until(lambda: "clock_skew" in bot.reasons())
        await bot.until(lambda: not bot.entries())
        bot.arm("skew:ms=0")
        measured = bot.standin.log.count("answer", "GET /fapi/v1/time")
        bot.move(2 * STEP_BPS + OVER_A_RUNG_BPS)
        await bot.until(lambda: bot.standin.log.count("answer", "GET /fapi/v1/time") >= measured + TIME_SAMPLES)
        bot.watch.possible()
        await bot.passed()
        await bot.ladders()
        await bot.end_and_prove()


@pytest.mark.asyncio
@pytest.mark.parametrize("reads", [("openOrders", "openAlgoOrders"), ("positionRisk", "userTrades")])
async def test_an_old_answer_to_a_read_changes_nothing_for_good(tmp_path: Path, reads: tuple[str, str]) -> None:
    """A reading that lacks what came since kills no order, loses no fill, and sends nothing twice."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        # The answers to this reading are the ones that come again, when they are old.
        bot.arm("bad-frame:path=private")
        await bot.until(lambda: bot.reasons() == ["stream_gap"])
        await bot.passed()
        bot.move(-STEP_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 2 * RUNG_LOTS)
        await bot.settled()
        bot.arm(*(f"stale-read:2:on={read}" for read in reads))
        bot.arm("bad-frame:path=private")
        await bot.until(lambda: bot.fired("stale-read") == 4)
        await bot.passed()
        await bot.settled()
        await bot.resolved()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_an_account_that_leaves_hedge_mode_is_not_traded_on(tmp_path: Path) -> None:
    """-4061 says that the account is one-way now: nothing is added any more, and a person is told why."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.move(OVER_A_RUNG_BPS + 1)
        await bot.until(lambda: bot.held_lots("LONG") == 0)
        bot.arm("mode-one-way")
        await bot.passed("reducing")
        assert "supervisor" in bot.reasons()
        sent = len([order for order in bot.sent() if order.adds])
        await bot.decided(3)
        assert len([order for order in bot.sent() if order.adds]) <= sent, "entries go on against the account's mode"
        bot.arm("mode-hedge")
        await bot.end_and_prove()
        assert bot.entries() == []


@pytest.mark.asyncio
async def test_a_key_that_is_revoked_ends_the_run(tmp_path: Path) -> None:
    """-2015 in the middle of a run: it ends in one line that says what to do, and what protects stays.

    People are told what it leaves: the position, and entries that nobody could take away.
    """
    with alert_service() as service:
        urls = {"file": str(secret(tmp_path / "urls", service.url))}
        async with trading(tmp_path, alerts={"urls": urls, "default": "off", "events": {"stopped": "on"}}) as bot:
            await _revoked(bot)
        (told,) = (one["message"] for one in service.arrived)
    assert "-2015" in told
    assert "BTC/USDT:USDT long 0.020 @ 99" in told
    assert "0.010 WITHOUT A STOP" in told
    assert "by the books, NOT taken away: the exchange could not be asked" in told


async def _revoked(bot: TradingBot) -> None:
    """Let the key die in the middle of it, and look at how the run ends."""
    await bot.hold()
    stops = bot.account["algoOrders"]
    bot.arm("2015:always")
    bot.move(-STEP_BPS)
    async with asyncio.timeout(END_S):
        outcome = await asyncio.shield(bot.running)
    assert outcome.exit_code != 0
    assert "-2015" in outcome.failure
    assert "look at the key" in outcome.failure
    assert "\n" not in outcome.failure
    assert bot.account["algoOrders"] == stops
    assert bot.fired("2015") < MANY, "the run went on asking"
    assert bot.told_of("the run has failed, and nobody watches what it leaves at the exchange")
    assert outcome.extras.left.startswith("BTC/USDT:USDT long 0.020 @ 99")
