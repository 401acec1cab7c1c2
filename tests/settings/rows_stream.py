"""Rows of [watchdog] and [risk] that need a real stream: clocks, silence, polls, and a loop that stands still."""

import time

from tests.live.trading_bot import TradingBot
from tests.settings.table import row
from tests.settings.wire import AtStandin, Wired
from tools.standin.weights import RateLimits

SKEWED = AtStandin(name="the exchange's clock is 0.8 s off", standin={"skew_ms": 800})


async def quiet(bot: TradingBot) -> None:
    """Drive a life until the best bid and ask have said nothing for some seconds, and cannot be read either."""
    await bot.ladders()
    bot.arm("book-silent:ms=60000", "503-unavailable:100:on=bookTicker")
    await bot.decided(7)


OFTEN = 2


async def waiting(bot: TradingBot) -> int:
    """Drive a life through up to six bars of an account in which nothing happens; give how often it was read.

    Two are enough where the machine has the time; what is read every 20 s is not read three times in six.
    """
    await bot.ladders()
    await bot.decided(1)
    before, seen = len(bot.requests("GET /fapi/v3/account")), 0
    for _ in range(3):
        await bot.decided(2)
        seen = len(bot.requests("GET /fapi/v3/account")) - before
        if seen > OFTEN:
            break
    return seen


async def parting(bot: TradingBot) -> None:
    """Drive a life in which the exchange's clock goes two seconds off and, after a refusal, is measured anew."""
    await bot.ladders()
    measured = bot.standin.log.count("answer", TIME)
    bot.arm("skew:ms=2000")
    await bot.until(lambda: bot.standin.log.count("answer", TIME) >= measured + 5)
    # The watchdog looks once a second, on a loaded machine later: a pause that does not come is waited for longer.
    for _ in range(4):
        await bot.decided()
        if "clock_skew" in bot.reasons():
            break


TIME = "GET /fapi/v1/time"


async def stalled(bot: TradingBot) -> None:
    """Drive a life whose loop stands still for half a second."""
    await bot.ladders()
    time.sleep(0.5)  # noqa: ASYNC251 - that is what it is about
    await bot.decided(2)


async def beside_others(bot: TradingBot) -> list[str]:
    """Drive a life in which somebody buys LONG by hand; give the quantities of LONG's stops after it has decided."""
    await bot.ladders()
    bot.arm("manual-order:symbol=BTCUSDT:side=BUY:positionSide=LONG:type=MARKET:quantity=0.007:newClientOrderId=hand")
    await bot.until(lambda: bot.told_of("what is not ours") or bot.told_of("was not ours"))
    await bot.decided(1)
    rows = [row for row in bot.account["algoOrders"] if row["positionSide"] == "LONG" and not row["closePosition"]]
    return [row["quantity"] for row in rows]


SHARED = AtStandin(name="somebody else holds LONG", drive=beside_others)
PARTING = AtStandin(
    name="the clocks part",
    drive=parting,
    changes={"watchdog.account_poll_ms": 300, "venue.recv_window_ms": 1_000},
    # Polls as many would use the minute's weight up, and the end would wait for it.
    standin={"limits": RateLimits(weight_minute=24_000)},
    together="",
)
SILENT = AtStandin(name="no best bid and ask for some seconds", drive=quiet, changes={"watchdog.feed_stale_ms": 4_000})
QUIET = AtStandin(name="nothing happens", drive=waiting)
STALLED = AtStandin(name="the loop stands still for half a second", drive=stalled, together="")


def reasons(wired: Wired) -> list[str]:
    """The reasons of pauses, each once."""
    assert not wired.refused, wired.refused
    return list(dict.fromkeys(wired.reasons))


def polls_often(wired: Wired) -> bool:
    """Whether the account was read more than twice in a few seconds."""
    assert not wired.refused, wired.refused
    often: bool = wired.seen > OFTEN
    return often


REASONS = "the reasons of a pause"

ROWS = (
    row(
        "account.adopt_foreign",
        SHARED,
        lambda wired: wired.seen,
        "the stops of a LONG position that was bought by hand",
        (False, []),
        (True, ["0.007"]),
    ),
    row(
        "watchdog.max_clock_skew_ms",
        SKEWED,
        lambda wired: "clock" in wired.refused,
        "whether the start is refused, with a word on the clock",
        (2_000, False),
        (500, True),
    ),
    row(
        "watchdog.max_clock_skew_ms",
        PARTING,
        lambda wired: "clock_skew" in wired.reasons,
        "whether trading pauses for the clock",
        (5_000, False),
        (500, True),
    ),
    row("watchdog.quote_silence_ms", SILENT, reasons, REASONS, (30_000, []), (2_500, ["feed_stale"])),
    row("watchdog.max_loop_lag_ms", STALLED, reasons, REASONS, (5_000, []), (250, ["loop_blocked"])),
    row(
        "watchdog.account_poll_ms",
        QUIET,
        polls_often,
        "whether a quiet account is read several times in a few seconds",
        (20_000, False),
        (300, True),
    ),
)
