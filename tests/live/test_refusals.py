"""What the exchange refuses: entries wait for another chance, exits are had in another way, in time."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.live.trading_bot import OVER_A_RUNG_BPS, RUNG_LOTS, STEP_BPS, SYMBOL, TradingBot, living, trading
from tools.standin.serving import running_standin

ENTRY = "on=POST /fapi/v1/order:positionSide=LONG:side=BUY"
PROFIT = "on=POST /fapi/v1/order:positionSide=LONG:side=SELL"
STOP = "on=POST /fapi/v1/algoOrder:positionSide=LONG"
BEYOND_THE_STOPS_BPS = 80
OVER_THE_CENTER_BPS = 60
"""With the rung that filled before, more than the distance at which the grid is centered anew."""


def takers(bot: TradingBot) -> list[str]:
    """Give the entries that filled as taker."""
    rows = [one.rest() for one in bot.standin.exchange.trades]
    return [
        str(row["id"]) for row in rows if (row["positionSide"], row["side"]) == ("LONG", "BUY") and not row["maker"]
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize("form", ["reject", "expire"])
async def test_a_post_only_entry_that_would_take_is_refused_and_retried(tmp_path: Path, form: str) -> None:
    """-5022, and the order that is accepted and then expires: either way no entry takes, and the rung comes back."""
    async with trading(tmp_path, switches={"gtx_cross": form}) as bot:
        await bot.hold()
        bot.arm(f"slow-request:1:ms=300:{ENTRY}")
        bot.move(OVER_A_RUNG_BPS + 1)
        await bot.until(lambda: bot.fired("slow-request") == 1)
        # While it is on its way the market falls under its price.
        bot.move(-OVER_A_RUNG_BPS - 1)
        await bot.until(lambda: len([order for order in bot.sent() if order.adds]) > 5)
        bot.move(OVER_A_RUNG_BPS + 1)
        await bot.ladders()
        assert takers(bot) == []
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_an_entry_without_margin_waits_for_the_next_decision(tmp_path: Path) -> None:
    """-2019: the entry is refused, nothing else is touched, and its rung is offered again."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm(f"2019:1:{ENTRY}")
        bot.move(OVER_A_RUNG_BPS + 1)
        await bot.until(lambda: bot.fired("2019") == 1)
        await bot.ladders()
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_reduction_that_is_refused_is_had_again(tmp_path: Path) -> None:
    """-2022 on a take-profit and on a stop: the exchange is read, and both stand in time."""
    async with trading(tmp_path) as bot:
        await bot.ladders()
        bot.arm(f"2022:1:{PROFIT}", f"2022:1:{STOP}")
        await bot.hold()
        assert bot.fired("2022") == 2
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_stop_whose_trigger_is_rejected_becomes_a_market_reduction(tmp_path: Path) -> None:
    """The exchange takes a stop and refuses what it triggers: the lot is closed at the market at once."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("trigger-fails")
        bot.move(-BEYOND_THE_STOPS_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 0)
        assert bot.told_of("the trigger of a stop was refused")
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_market_order_above_the_largest_quantity_goes_in_parts(tmp_path: Path) -> None:
    """A reduction is split by the largest quantity of a market order, and its parts are one order in the books."""
    async with running_standin(still=True) as standin:
        standin.exchange.change_spec(SYMBOL, market_max_qty=Decimal("0.012"))
        async with living(standin, tmp_path, account={"on_stop": "flatten"}) as bot:
            await bot.hold()
            bot.move(-STEP_BPS)
            await bot.until(lambda: bot.held_lots("LONG") == 2 * RUNG_LOTS)
            await bot.settled()
            await bot.end_and_prove()
            assert bot.held_lots("LONG") == 0
            quantities = [Decimal(one.params["quantity"]) for one in bot.sent() if one.params.get("type") == "MARKET"]
            assert sorted(quantities) == [Decimal("0.008"), Decimal("0.012")]


@pytest.mark.asyncio
async def test_a_largest_market_quantity_that_shrinks_on_the_way_is_met_too(tmp_path: Path) -> None:
    """Filters change at run time: a reduction that is refused for its size is sent in smaller parts."""
    async with trading(tmp_path, account={"on_stop": "flatten"}) as bot:
        await bot.hold()
        bot.arm("filter-change:market_max_qty=0.004")
        await bot.end_and_prove()
        assert bot.held_lots("LONG") == 0


@pytest.mark.asyncio
async def test_a_stop_above_a_shrunk_maximum_stands_in_parts(tmp_path: Path) -> None:
    """A protective stop is not lost to its size: refused once, it is laid in parts in time, and they fill as one."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("filter-change:market_max_qty=0.004")
        bot.move(-STEP_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 2 * RUNG_LOTS)
        await bot.settled()
        laid = [row["quantity"] for row in bot.account["algoOrders"] if row["positionSide"] == "LONG"]
        assert laid.count("0.004") >= 2
        assert bot.told_of("the exchange changed an instrument's rules")
        bot.move(-BEYOND_THE_STOPS_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 0)
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_stop_that_triggers_under_a_foreign_id_is_ours(tmp_path: Path) -> None:
    """The order that a stop becomes may have an id that we never gave: its fill is booked under the stop's own."""
    async with trading(tmp_path, switches={"triggered_id": "fresh"}) as bot:
        await bot.hold()
        bot.move(-BEYOND_THE_STOPS_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 0)
        assert not bot.told_of("the account holds what is not ours")
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_backstop_moves_with_the_grid(tmp_path: Path) -> None:
    """The exchange takes one closePosition stop of a leg: the moved one replaces it, beyond every stop of the lots."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.move(-OVER_THE_CENTER_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 2 * RUNG_LOTS)
        await bot.until(lambda: len(bot.entries()) == 4)
        await bot.settled()
        await bot.until(lambda: beyond_the_lots(bot))
        await bot.end_and_prove()


def beyond_the_lots(bot: TradingBot) -> bool:
    """Tell whether LONG's one backstop lies under the stops of its lots and of all that its ladder may fill."""
    mine = [row for row in bot.account["algoOrders"] if row["positionSide"] == "LONG"]
    backstops = [Decimal(row["triggerPrice"]) for row in mine if row["closePosition"]]
    stops = [Decimal(row["triggerPrice"]) for row in mine if not row["closePosition"]]
    entries = [Decimal(row["price"]) for row in bot.entries() if row["positionSide"] == "LONG"]
    distance = Decimal(STEP_BPS * 12) / 10_000
    deepest = min(*stops, *(price * (1 - distance) for price in entries))
    return len(backstops) == 1 and backstops[0] < deepest
