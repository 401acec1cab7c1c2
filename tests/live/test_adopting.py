"""Positions of others that become ours (``account.adopt_foreign``): before a start, while it trades, over a restart."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.journal.export import export
from hedgegrid.model.grid import ADOPTED_LEVEL
from tests.live.evidence import query
from tests.live.trading_bot import OVER_A_RUNG_BPS, RUNG_LOTS, STEP_BPS, SYMBOL, TradingBot, living, trading
from tools.standin.serving import Standin, running_standin

ADOPTING: dict[str, Any] = {"account": {"adopt_foreign": True}}
TOLD = "a position that was not ours is adopted"


def bought(leg: str, lots: int, name: str = "by-hand") -> str:
    """An act of the stand-in: somebody opens ``lots`` of a leg at the market, by hand."""
    side = "BUY" if leg == "LONG" else "SELL"
    what = f"symbol={SYMBOL}:side={side}:positionSide={leg}:type=MARKET:quantity=0.{lots:03d}"
    return f"manual-order:{what}:newClientOrderId={name}"


def of_others(line: str) -> bool:
    """A line of difference that is due to trades by hand: no fills of ours, their fee is read later."""
    return "by-hand" in line or line.startswith("wallet:")


def adopted(bot: TradingBot) -> list[tuple[Any, ...]]:
    """The lots of the journal that nothing of ours bought: id, leg, lots when born, lots now, stop, take-profit."""
    columns = "lot_id, leg, opened_lots, qty_lots, entry_ticks, tp_ticks, stop_ticks"
    return query(bot.journal, f"SELECT {columns} FROM lots WHERE level = {ADOPTED_LEVEL} ORDER BY opened_ns")  # noqa: S608


def stops(standin: Standin, leg: str) -> list[tuple[Decimal, Decimal]]:
    """Price and quantity of the stops that rest at the stand-in for a leg; what closes everything is not among them."""
    rows = standin.exchange.summary()["algoOrders"]
    mine = [row for row in rows if row["positionSide"] == leg and not row["closePosition"]]
    return [(Decimal(row["triggerPrice"]), Decimal(row["quantity"])) for row in mine]


@pytest.mark.asyncio
async def test_what_is_held_before_the_start_is_adopted(tmp_path: Path) -> None:
    """It gets a stop and a take-profit of the grid's steps from its own entry, in time; the journal proves out."""
    async with running_standin(still=True) as standin:
        standin.faults.arm(bought("LONG", 7))
        async with living(standin, tmp_path, **ADOPTING) as bot:
            await bot.until(lambda: bot.told_of(TOLD))
            bot.watch.possible()
            await bot.settled()
            ((_, _, opened, held, entry, profit, stop),) = adopted(bot)
            assert (opened, held) == (7, 7)
            assert (profit - entry) / entry == pytest.approx(STEP_BPS / 1e4, rel=0.01)
            assert (entry - stop) / entry == pytest.approx(12 * STEP_BPS / 1e4, rel=0.01)
            assert stops(standin, "LONG") == [(Decimal(stop) / 10, Decimal("0.007"))]
            await bot.ladders()
            await bot.end_and_prove(unlike=of_others)
        assert bot.held_lots("LONG") == 7


@pytest.mark.asyncio
async def test_what_appears_later_is_adopted_and_closed_like_a_lot(tmp_path: Path) -> None:
    """By hand into the leg that we hold, and twice: each is a lot of its own, and its take-profit closes it."""
    async with trading(tmp_path, **ADOPTING) as bot:
        await bot.hold()
        bot.arm(bought("LONG", 3))
        await bot.until(lambda: len(adopted(bot)) == 1)
        bot.arm(bought("LONG", 4, "by-hand-again"))
        await bot.until(lambda: len(adopted(bot)) == 2)
        await bot.settled()
        assert bot.held_lots("LONG") == RUNG_LOTS + 7
        assert [lot[2] for lot in adopted(bot)] == [3, 4]
        bot.move(3 * OVER_A_RUNG_BPS)
        await bot.until(lambda: bot.held_lots("LONG") == 0)
        await bot.until(lambda: [lot[3] for lot in adopted(bot)] == [0, 0])
        await bot.end_and_prove(unlike=of_others)
    export(bot.journal, tmp_path / "out")
    trips = (tmp_path / "out" / "round_trips.csv").read_text(encoding="utf-8")
    assert len([line for line in trips.splitlines() if f",{ADOPTED_LEVEL},-1," in line]) == 2


@pytest.mark.asyncio
async def test_adopted_position_stays_ours_in_the_next_life(tmp_path: Path) -> None:
    """A restart goes on with the lot and its exits; it is not adopted again, and not foreign either."""
    async with running_standin(still=True) as standin:
        async with living(standin, tmp_path, **ADOPTING) as bot:
            await bot.ladders()
            bot.arm(bought("SHORT", 5))
            await bot.until(lambda: bot.told_of(TOLD))
            await bot.settled()
            before = stops(standin, "SHORT")
            await bot.end_and_prove(unlike=of_others)
        async with living(standin, tmp_path) as again:
            await again.ladders()
            await again.settled()
            assert stops(standin, "SHORT") == before != []
            assert len(adopted(again)) == 1
            await again.end_and_prove(unlike=of_others)


@pytest.mark.asyncio
async def test_foreign_stop_goes_after_ours_stands(tmp_path: Path) -> None:
    """What guarded the position before is cancelled, but not before our own stop guards it."""
    async with running_standin(still=True) as standin:
        standin.faults.arm(bought("LONG", 7))
        guard = f"symbol={SYMBOL}:side=SELL:positionSide=LONG:type=LIMIT:timeInForce=GTC:quantity=0.007:price=109000"
        standin.faults.arm(f"manual-order:{guard}:newClientOrderId=by-hand-exit")
        async with living(standin, tmp_path, **ADOPTING) as bot:
            bare: list[str] = []

            def gone() -> bool:
                names = [row["clientOrderId"] for row in bot.account["orders"]]
                if "by-hand-exit" not in names and not stops(standin, "LONG"):
                    bare.append("the foreign exit went first")
                return "by-hand-exit" not in names

            await bot.until(lambda: bot.told_of(TOLD))
            bot.watch.possible()
            await bot.until(gone)
            assert bare == []
            await bot.settled()
            await bot.end_and_prove(unlike=of_others)
