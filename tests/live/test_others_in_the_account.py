"""What others do in the account: orders and positions by hand, liquidation, auto-deleveraging."""

from pathlib import Path

import pytest

from tests.live.trading_bot import OVER_A_RUNG_BPS, RUNG_LOTS, STEP_BPS, trading

BY_HAND = "newClientOrderId=by-hand"
FEE_OF_ANOTHER = "the exchange's wallet differs from the books"
"""Told once the difference has stood for five seconds: until then it may be a fill that travels."""


@pytest.mark.asyncio
async def test_a_foreign_order_is_told_and_left_alone(tmp_path: Path) -> None:
    """An order that is not ours rests on through trading, a gap and the stop policy."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        order = "symbol=BTCUSDT:side=BUY:positionSide=LONG:type=LIMIT:timeInForce=GTC:quantity=0.002:price=99000"
        bot.arm(f"manual-order:{order}:{BY_HAND}")
        await bot.until(lambda: bot.told_of("the account holds what is not ours"))
        bot.arm("socket-close:path=private")
        bot.move(OVER_A_RUNG_BPS + 1)
        await bot.until(lambda: bot.held_lots("LONG") == 0)
        await bot.ladders(5)
        await bot.end_and_prove(unlike=lambda line: line.startswith("order by-hand: open at the exchange"))
        assert [row["clientOrderId"] for row in bot.account["orders"]] == ["by-hand"]


@pytest.mark.asyncio
async def test_a_foreign_position_is_told_and_left_alone(tmp_path: Path) -> None:
    """What another buys in our leg is not ours: our lots keep their exits, and its lots are never sold."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.watch.foreign_lots["SHORT"] = 3
        bot.arm(
            f"manual-order:symbol=BTCUSDT:side=SELL:positionSide=SHORT:type=MARKET:quantity=0.003:{BY_HAND}",
        )
        await bot.until(lambda: bot.told_of("the account holds what is not ours"))
        bot.move(OVER_A_RUNG_BPS + 1)
        await bot.until(lambda: bot.held_lots("LONG") == 0)
        await bot.ladders()
        bot.move(OVER_A_RUNG_BPS)
        await bot.until(lambda: bot.held_lots("SHORT") == RUNG_LOTS + 3)
        await bot.settled()
        await bot.until(lambda: bot.told_of(FEE_OF_ANOTHER))
        await bot.end_and_prove(unlike=lambda line: "by-hand" in line or line.startswith("leg ('BTCUSDT', 'SHORT')"))
        assert bot.held_lots("SHORT") == RUNG_LOTS + 3


@pytest.mark.asyncio
async def test_a_liquidation_ends_the_lots_and_is_told(tmp_path: Path) -> None:
    """The exchange takes orders and positions away: the books are flat, the forced fills are in them, by name."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.arm("liquidation")
        await bot.until(lambda: any(str(fill[1]).startswith("autoclose-") for fill in bot.fills()))
        assert bot.held_lots("LONG") == 0
        assert bot.told_of("the exchange itself closed a part of a leg")
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_auto_deleveraging_of_one_leg_cuts_its_lots(tmp_path: Path) -> None:
    """A part of a leg is taken: what is left has stops and take-profits of its size, and not more, in time."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        bot.move(-STEP_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 2 * RUNG_LOTS)
        await bot.settled()
        bot.arm("adl:symbol=BTCUSDT:side=LONG:lots=13")
        await bot.until(lambda: bot.held_lots("LONG") == 7)
        await bot.settled()
        assert bot.told_of("the exchange itself closed a part of a leg")
        await bot.end_and_prove()
