"""Faults of the account's own stream: whatever is lost, doubled, late or broken, the books are the exchange's."""

from pathlib import Path

import pytest

from tests.live.trading_bot import OVER_A_RUNG_BPS, RUNG_LOTS, STEP_BPS, TradingBot, trading
from tools.standin.hub import Path as Stream

OVER_THE_TRIGGER_BPS = 65


def hears(bot: TradingBot) -> list[int]:
    """Give the numbers of the sockets that hear the account."""
    keys = bot.standin.listen_keys
    sockets = bot.standin.hub.on_path(Stream.PRIVATE)
    return [each.number for each in sockets if keys.alive in each.streams and not each.deaf]


async def fill_second_rung(bot: TradingBot) -> None:
    """Let the LONG leg's second rung fill."""
    bot.move(-STEP_BPS)
    await bot.until(lambda: bot.held_lots("LONG") == 2 * RUNG_LOTS)


@pytest.mark.asyncio
async def test_a_listen_key_that_expires_is_replaced_and_nothing_is_missed(tmp_path: Path) -> None:
    """A fill while the key is dead is found by reading, and the next one is heard on a new key."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("listen-key-expiry")
        await fill_second_rung(bot)
        await bot.settled()
        await bot.until(lambda: len(hears(bot)) == 1)
        bot.move(OVER_A_RUNG_BPS + 1)
        await bot.until(lambda: bot.held_lots("LONG") == RUNG_LOTS)
        await bot.settled()
        assert "stream_gap" in bot.reasons()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_half_open_private_socket_is_left(tmp_path: Path) -> None:
    """A socket that stands and says nothing is found out by its missing pongs; what it swallowed is read."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("half-open:path=private")
        await fill_second_rung(bot)
        await bot.until(lambda: len(hears(bot)) == 1)
        bot.watch.possible()
        await bot.settled()
        assert "stream_gap" in bot.reasons()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_broken_private_frame_leads_to_a_reading(tmp_path: Path) -> None:
    """A frame that is no JSON may have been a fill: the exchange is read before anything is added."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("bad-frame:path=private")
        await bot.until(lambda: "stream_gap" in bot.reasons())
        await fill_second_rung(bot)
        await bot.settled()
        await bot.passed()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_broken_frames_of_the_market_end_nothing(tmp_path: Path) -> None:
    """Best quotes and bars go on after frames that are no JSON, and so does trading."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("bad-frame:path=public", "bad-frame:path=market:n=3")
        await bot.until(lambda: bot.told_of("a frame could not be read"))
        bot.move(OVER_A_RUNG_BPS + 1)
        await bot.until(lambda: bot.held_lots("LONG") == 0)
        await bot.ladders()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_fill_whose_event_is_dropped_is_found(tmp_path: Path) -> None:
    """The account's word on its legs betrays a fill that was never told, and it is protected in time."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("event-drop:1:e=ORDER_TRADE_UPDATE:x=TRADE")
        await fill_second_rung(bot)
        await bot.settled()
        assert bot.fired("event-drop") == 1
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_cancel_whose_event_is_dropped_is_found(tmp_path: Path) -> None:
    """A rung does not wait for ever for the word that its old order is gone."""
    async with trading(tmp_path) as bot:
        await bot.ladders()
        bot.arm("event-drop:1:e=ORDER_TRADE_UPDATE:x=CANCELED")
        before = {row["clientOrderId"] for row in bot.entries()}
        bot.move(OVER_A_RUNG_BPS)
        await bot.until(lambda: bot.held_lots("SHORT") == RUNG_LOTS)
        await bot.settled()
        bot.move(-OVER_THE_TRIGGER_BPS - OVER_A_RUNG_BPS)
        await bot.until(lambda: bot.fired("event-drop") == 1)
        await bot.until(lambda: len(bot.entries()) == 4 and not before & {r["clientOrderId"] for r in bot.entries()})
        await bot.resolved()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_burst_of_updates_changes_nothing(tmp_path: Path) -> None:
    """Thousands of quotes and hundreds of repeated events at once lose no fill and count none twice."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("event-burst:n=500", "burst:n=5000")
        await fill_second_rung(bot)
        bot.arm("event-burst:n=500", "burst:n=5000")
        await bot.settled()
        await bot.passed()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_events_that_come_twice_and_out_of_order_count_once(tmp_path: Path) -> None:
    """The second of two fills comes first, legs after fills, and everything else twice."""
    async with trading(tmp_path) as bot:
        await bot.ladders()
        bot.arm("event-drop:always:e=TRADE_LITE", "event-reorder:2:e=ACCOUNT_UPDATE", "event-reorder:1:x=TRADE")
        bot.arm("event-dup:always")
        bot.move(-STEP_BPS - OVER_A_RUNG_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 2 * RUNG_LOTS)
        await bot.settled()
        assert [bot.fired(fault) > 1 for fault in ("event-reorder", "event-dup")] == [True, True]
        bot.arm("event-reorder:2:e=ACCOUNT_UPDATE", "event-reorder:1:x=TRADE")
        bot.move(2 * STEP_BPS + OVER_A_RUNG_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 0)
        await bot.ladders()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_fill_before_the_acknowledgement_counts(tmp_path: Path) -> None:
    """An entry that fills before its own answer arrives is a lot with exits, and its late answer changes nothing."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        entry = "on=POST /fapi/v1/order:positionSide=LONG:side=BUY"
        bot.arm(f"slow-answer:1:ms=700:{entry}")
        bot.move(OVER_A_RUNG_BPS + 1)
        await bot.until(lambda: bot.fired("slow-answer") == 1)
        bot.move(-OVER_A_RUNG_BPS - 1)
        await bot.until(lambda: bot.held_lots("LONG") == RUNG_LOTS)
        await bot.settled()
        await bot.end_and_prove()
