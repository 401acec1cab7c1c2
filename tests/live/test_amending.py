"""Entries that are to have another quantity are amended in one step, and cancelled and added where that fails."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.live.evidence import query
from tests.live.trading_bot import OVER_A_RUNG_BPS, RUNG_LOTS, SYMBOL, TradingBot, trading

PUT = "PUT /fapi/v1/order"
HALF, WHOLE = 500_000, 1_000_000
NEAREST = "on=PUT /fapi/v1/order:side=BUY"


def throttle(bot: TradingBot, factor_ppm: int) -> None:
    """Scale the quantity of the entries, as the operator does."""
    bot.life.house.operator.throttle(factor_ppm)


def resting(bot: TradingBot) -> dict[str, str]:
    """What rests at the stand-in: the quantity by client id."""
    return {row["clientOrderId"]: row["origQty"] for row in bot.entries()}


def booked(bot: TradingBot, names: Iterable[str]) -> set[int]:
    """The quantities of orders in lots, as the journal has them."""
    rows = dict(query(bot.journal, "SELECT client_id, qty_lots FROM orders"))
    return {rows[name] for name in names}


def cancels(bot: TradingBot) -> int:
    """How many requests for cancels the stand-in received."""
    return len(bot.requests("DELETE /fapi/v1/order")) + len(bot.requests("DELETE /fapi/v1/batchOrders"))


async def rest_with(bot: TradingBot, quantity: str) -> None:
    """Wait until both ladders rest with one quantity, and nothing is in doubt."""
    await bot.until(lambda: list(resting(bot).values()) == [quantity] * 4)
    await bot.resolved()


@pytest.mark.asyncio
async def test_a_quantity_is_changed_and_the_order_stays(tmp_path: Path) -> None:
    """Throttled down and up again: the same orders rest, nothing is cancelled, and the fill is of the new quantity."""
    async with trading(tmp_path, venue={"amend": True}) as bot:
        await bot.ladders()
        before = resting(bot)
        throttle(bot, HALF)
        await rest_with(bot, "0.005")
        throttle(bot, WHOLE)
        await rest_with(bot, "0.010")
        throttle(bot, HALF)
        await rest_with(bot, "0.005")
        assert resting(bot).keys() == before.keys()
        await bot.until(lambda: booked(bot, before) == {RUNG_LOTS // 2})
        assert (len(bot.requests(PUT)), cancels(bot)) == (12, 0)
        bot.move(-OVER_A_RUNG_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == RUNG_LOTS // 2)
        await bot.settled()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_refused_amendment_becomes_a_cancel_and_an_order(tmp_path: Path) -> None:
    """What the exchange will not change in place is cancelled and added; the others are amended."""
    async with trading(tmp_path, venue={"amend": True}) as bot:
        await bot.ladders()
        before = resting(bot)
        bot.arm(f"2019:1:{NEAREST}")
        throttle(bot, HALF)
        await rest_with(bot, "0.005")
        assert bot.fired("2019") == 1
        assert len(resting(bot).keys() & before.keys()) == 3
        assert cancels(bot) == 1
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_an_amendment_without_an_answer_is_found_by_a_look(tmp_path: Path) -> None:
    """Neither answer nor stream tell of an amendment that was done: a look does, and it is not asked for again."""
    async with trading(tmp_path, venue={"amend": True}) as bot:
        await bot.ladders()
        before = resting(bot)
        bot.arm(f"response-lost:1:{NEAREST}", "event-drop:always:e=ORDER_TRADE_UPDATE:x=AMENDMENT:S=BUY")
        throttle(bot, HALF)
        await bot.until(lambda: bot.fired("response-lost") == 1)
        await rest_with(bot, "0.005")
        await bot.until(lambda: booked(bot, before) == {RUNG_LOTS // 2})
        await bot.decided()
        assert (resting(bot).keys(), len(bot.requests(PUT)), cancels(bot)) == (before.keys(), 4, 0)
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_an_amendment_that_never_arrived_is_not_sent_twice(tmp_path: Path) -> None:
    """503 without the deed: a look shows the order as it was, and it is cancelled and added, not amended again."""
    async with trading(tmp_path, venue={"amend": True}) as bot:
        await bot.ladders()
        before = resting(bot)
        bot.arm(f"503-unknown:1:{NEAREST}")
        throttle(bot, HALF)
        await rest_with(bot, "0.005")
        assert (len(bot.requests(PUT)), cancels(bot)) == (4, 1)
        assert len(resting(bot).keys() & before.keys()) == 3
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_an_entry_that_has_to_go_goes_though_it_is_being_amended(tmp_path: Path) -> None:
    """The operator takes the entries away while amendments are on their way: each of them is cancelled."""
    async with trading(tmp_path, venue={"amend": True}) as bot:
        await bot.ladders()
        before = resting(bot)
        bot.arm("slow-request:4:ms=300:on=PUT")
        throttle(bot, HALF)
        await bot.until(lambda: bot.fired("slow-request") == 4)
        bot.life.house.operator.pause()
        bot.life.house.operator.cancel_entries()
        await bot.until(lambda: bot.entries() == [])
        await bot.resolved()
        assert sorted(query(bot.journal, "SELECT DISTINCT state FROM orders WHERE purpose = 0")) == [("cancelled",)]
        assert len(before) == 4
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_fill_that_is_faster_than_its_amendment_wins(tmp_path: Path) -> None:
    """Filled whole while its amendment is on its way: the lot is what filled, and the refusal leaves no doubt."""
    async with trading(tmp_path, venue={"amend": True}) as bot:
        await bot.ladders()
        bot.arm(f"slow-request:2:ms=300:{NEAREST}")
        throttle(bot, HALF)
        await bot.until(lambda: bot.fired("slow-request") == 2)
        bot.move(-OVER_A_RUNG_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == RUNG_LOTS)
        await bot.resolved()
        await bot.settled()
        assert "unknown_order" not in bot.reasons()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_what_is_amended_while_it_fills_in_part_is_booked_as_the_exchange_has_it(tmp_path: Path) -> None:
    """A part fills under the amendment: the books end with the exchange's quantities."""
    async with trading(tmp_path, venue={"amend": True}) as bot:
        await bot.ladders()
        first = next(row["clientOrderId"] for row in bot.entries() if row["side"] == "BUY")
        bot.arm(f"slow-request:2:ms=300:{NEAREST}")
        throttle(bot, HALF)
        await bot.until(lambda: bot.fired("slow-request") == 2)
        bot.arm(f"fill:symbol={SYMBOL}:client={first}:lots=2")
        await bot.until(lambda: bot.held_lots("LONG") == 2)
        await bot.until(lambda: first not in resting(bot))
        await bot.resolved()
        await bot.settled()
        assert (first, 5, 2) in query(bot.journal, "SELECT client_id, qty_lots, filled_lots FROM orders")
        await bot.end_and_prove()
