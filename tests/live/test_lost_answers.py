"""Answers that are lost, broken or say nothing: an order is never sent twice, and nothing stays bare for long."""

from pathlib import Path

import pytest

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.model.order import Leg
from tests.live.evidence import Sent
from tests.live.trading_bot import OVER_A_RUNG_BPS, RUNG_LOTS, STEP_BPS, TradingBot, trading

ENTRY = "on=POST /fapi/v1/order:positionSide=LONG:side=BUY"
EXITS = ("on=POST /fapi/v1/order:positionSide=LONG:side=SELL", "on=POST /fapi/v1/algoOrder:positionSide=LONG")
DONE = ("response-lost", "truncated", "503-unknown-done", "1007-done")


def nearest(bot: TradingBot) -> list[Sent]:
    """Give the entries of the LONG leg's nearest rung that were sent, in order."""
    found = []
    for order in bot.sent():
        parts = parse_client_id(order.client_id)
        if order.adds and parts is not None and (parts.leg, parts.level) == (Leg.LONG, 1):
            found.append(order)
    return found


async def offer_again(bot: TradingBot) -> None:
    """Take the held lot's profit, so that its rung is offered again at the next decision."""
    bot.move(OVER_A_RUNG_BPS + 1)
    await bot.until(lambda: bot.held_lots("LONG") == 0)


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", DONE)
async def test_exits_that_were_accepted_without_an_answer_stand_once(tmp_path: Path, fault: str) -> None:
    """What the exchange has done although its answer was lost is neither sent again nor forgotten."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm(*(f"{fault}:1:{exit_}" for exit_ in EXITS))
        bot.move(-STEP_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 2 * RUNG_LOTS and bot.fired(fault) == len(EXITS))
        await bot.settled()
        bot.move(2 * STEP_BPS + OVER_A_RUNG_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 0)
        await bot.end_and_prove()


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["response-lost", "503-unknown-done"])
async def test_an_entry_that_was_accepted_without_an_answer_is_not_sent_again(tmp_path: Path, fault: str) -> None:
    """An order of which neither the answer nor the stream has told is found at the exchange, and is the only one."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm(f"{fault}:1:{ENTRY}", "event-drop:1:e=ORDER_TRADE_UPDATE:x=NEW:ps=LONG:S=BUY")
        await offer_again(bot)
        await bot.until(lambda: bot.fired(fault) == 1 and bot.fired("event-drop") == 1)
        await bot.decided()
        await bot.resolved()
        await bot.ladders()
        (first, second) = nearest(bot)
        bot.move(-OVER_A_RUNG_BPS - 1)
        await bot.until(lambda: bot.held_lots("LONG") == RUNG_LOTS)
        await bot.settled()
        assert [fill[1] for fill in bot.fills() if fill[1] in {first.client_id, second.client_id}] == [
            first.client_id,
            second.client_id,
        ]
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_503_unknown_error_of_an_entry_blocks_its_rung_until_it_can_no_longer_arrive(tmp_path: Path) -> None:
    """Nothing takes the place of an order that may still arrive; once it cannot, its rung is offered again."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm(f"503-unknown:1:{ENTRY}")
        await offer_again(bot)
        await bot.until(lambda: bot.fired("503-unknown") == 1)
        lost = nearest(bot)[-1]
        await bot.ladders()
        again = nearest(bot)[-1]
        assert again.client_id != lost.client_id
        # The request was valid for a second, and the clocks may be apart by half of one.
        assert again.wall_ns - lost.wall_ns > 1_500_000_000
        await bot.end_and_prove()


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", ["503-unknown", "1007"])
async def test_a_stop_of_unknown_outcome_leaves_nothing_bare(tmp_path: Path, fault: str) -> None:
    """A stop that nobody knows of gets another one beside it in time; it stays in doubt, and is never sent again."""
    async with trading(tmp_path) as bot:
        await bot.ladders()
        bot.arm(f"{fault}:1:{EXITS[1]}")
        await bot.hold()
        lost, again = [order.client_id for order in bot.sent() if order.stops]
        assert [row["clientAlgoId"] for row in bot.account["algoOrders"] if not row["closePosition"]] == [again]
        assert bot.told_of("a position has stood without a confirmed stop for too long")
        assert "supervisor" in bot.reasons()
        await bot.end_and_prove(unlike=lambda line: line.startswith(f"order {lost}: live in the journal"))


@pytest.mark.asyncio
async def test_503_service_unavailable_is_a_refusal(tmp_path: Path) -> None:
    """What was "Service Unavailable" was not accepted: entry and stop are sent anew, under new ids, without a doubt."""
    async with trading(tmp_path) as bot:
        await bot.ladders()
        bot.arm(f"503-unavailable:1:{EXITS[1]}")
        await bot.hold()
        bot.arm(f"503-unavailable:1:{ENTRY}")
        await offer_again(bot)
        await bot.ladders()
        assert bot.fired("503-unavailable") == 2
        lost, again = nearest(bot)[-2:]
        assert again.wall_ns - lost.wall_ns < 2_500_000_000, "the next decision offers it again"
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_1008_throttles_entries_and_spares_reductions(tmp_path: Path) -> None:
    """-1008 keeps entries away while it lasts; exits go through, and the ladder comes back after it."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("1008:2:on=place")
        bot.move(-STEP_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 2 * RUNG_LOTS)
        await bot.settled()
        bot.move(2 * STEP_BPS + OVER_A_RUNG_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 0 and bot.fired("1008") == 2)
        await bot.ladders()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_answers_lost_on_the_websocket_are_lost_answers_too(tmp_path: Path) -> None:
    """Orders by the websocket API: an entry and its exits whose answers never come stand once, and are had."""
    async with trading(tmp_path, venue={"order_channel": "websocket"}) as bot:
        await bot.hold()
        assert {each.facts["transport"] for each in bot.requests("POST /fapi/v1/order")} == {"ws"}
        bot.arm(f"response-lost:1:{ENTRY}", *(f"response-lost:1:{exit_}" for exit_ in EXITS))
        await offer_again(bot)
        # The leg is flat now: the stop whose answer is lost is the backstop that comes with the entry.
        await bot.until(lambda: bot.fired("response-lost") == 2)
        await bot.decided()
        await bot.ladders()
        bot.move(-OVER_A_RUNG_BPS - 1)
        await bot.until(lambda: bot.held_lots("LONG") == RUNG_LOTS and bot.fired("response-lost") == 1 + len(EXITS))
        await bot.settled()
        await bot.resolved()
        await bot.end_and_prove()
