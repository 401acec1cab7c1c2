"""Funding, end to end: each payment once, the guard's modes, rates that are missing, intervals that change.

Invariant: what was charged is read from the stand-in's own income records, and what is done about it from the wire.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.venues.ccxtpro import interval_watch
from tests.live.evidence import query
from tests.live.trading_bot import BTC, RUNG_LOTS, TradingBot, living, trading
from tools.standin.serving import Standin, running_standin

KEEPS: dict[str, Any] = {"name": "live", "mode": "testnet", "on_stop": "keep"}
MINUTE_MS = 60_000
USUAL_BPS = 1
"""What the stand-in announces: 1 bp for 8 hours."""


def charged_e8(standin: Standin) -> dict[int, int]:
    """What the exchange charged, by minute."""
    sums: dict[int, int] = {}
    for one in standin.exchange.income:
        if one.kind == "FUNDING_FEE":
            minute = one.time_ms // MINUTE_MS
            sums[minute] = sums.get(minute, 0) - one.amount_e8
    return sums


def booked_e8(journal: Path) -> dict[int, int]:
    """What the journal's ledger of funding has, by minute."""
    rows = query(journal, "SELECT ts_ns / 60000000000, long_e8 + short_e8 FROM funding")
    assert len({minute for minute, _ in rows}) == len(rows)
    return dict(rows)


@pytest.mark.asyncio
async def test_each_payment_is_booked_once_over_a_restart(tmp_path: Path) -> None:
    """One settlement while it lives, one while it is down: the ledger is the exchange's income, record by record."""
    skewed = {"max_clock_skew_ms": 60_000}
    async with running_standin(still=True) as standin:
        async with living(standin, tmp_path, account=KEEPS, watchdog=skewed) as bot:
            await bot.hold()
            bot.arm("funding:rate=0.001")
            await bot.until(lambda: booked_e8(bot.journal) == charged_e8(standin) != {})
            await bot.end()
        now_ms = standin.clock.now_ms()
        standin.faults.arm(f"clock-jump:ms={MINUTE_MS - now_ms % MINUTE_MS}")
        standin.market.beat()
        standin.faults.arm("funding:rate=-0.002")
        assert len(charged_e8(standin)) == 2
        async with living(standin, tmp_path, watchdog=skewed) as bot:
            await bot.until(lambda: booked_e8(bot.journal) == charged_e8(standin))
            await bot.decided(4)
            await bot.end_and_prove()
        assert booked_e8(bot.journal) == charged_e8(standin)


@pytest.mark.asyncio
@pytest.mark.parametrize("loss", ["socket-close:path=private", "event-drop:1:e=ACCOUNT_UPDATE"])
async def test_a_payment_whose_word_is_lost_is_booked_all_the_same(tmp_path: Path, loss: str) -> None:
    """A charge while nobody listens, and one whose event never comes: the records are looked at, and say it."""
    async with trading(tmp_path, watchdog={"account_poll_ms": 1_000}) as bot:
        await bot.hold()
        bot.arm(loss)
        bot.arm("funding:rate=0.001")
        assert charged_e8(bot.standin)
        await bot.until(lambda: booked_e8(bot.journal) == charged_e8(bot.standin))
        await bot.decided(2)
        ((wallet_e8,),) = query(bot.journal, "SELECT wallet_e8 FROM equity ORDER BY row DESC LIMIT 1")
        assert wallet_e8 == bot.standin.exchange.wallet_e8
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_missing_rate_pauses_until_it_is_told_again(tmp_path: Path) -> None:
    """Law 9: no rate is not a rate of zero; the pause names its instrument, and ends when the rate is back."""
    async with trading(tmp_path, funding={"on_missing": "pause"}) as bot:
        await bot.hold()
        bot.arm("funding-missing:ms=2500")
        await bot.until(lambda: "funding_missing" in bot.reasons())
        await bot.until(lambda: not bot.entries())
        scopes = query(bot.journal, "SELECT scope FROM permission WHERE reason = 'funding_missing'")
        assert {scope for (scope,) in scopes} == {BTC}
        assert bot.held_lots("LONG") == RUNG_LOTS
        await bot.passed()
        await bot.ladders(3)
        await bot.end_and_prove()


@asynccontextmanager
async def near_a_settlement(folder: Path, mode: str) -> AsyncIterator[TradingBot]:
    """A bot half a window before a settlement that is dear to LONG."""
    guard = {"mode": mode, "max_cost_bps_8h": Decimal("0.5"), "window_minutes": 60, "on_missing": "pause"}
    async with (
        running_standin(still=True, funding_in_s=1_800.0) as standin,
        living(standin, folder, funding=guard) as bot,
    ):
        yield bot


def entries_of(bot: TradingBot, leg: str) -> list[Decimal]:
    """The quantities of a leg's entries at the exchange."""
    return [Decimal(row["origQty"]) for row in bot.entries() if row["positionSide"] == leg]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("mode", "longs"),
    [("scale", [Decimal("0.004"), Decimal("0.004")]), ("halt", []), ("warn", [Decimal("0.010"), Decimal("0.010")])],
)
async def test_the_guard_shrinks_only_the_leg_that_pays(tmp_path: Path, mode: str, longs: list[Decimal]) -> None:
    """Half a window before a settlement: half of LONG's ladder, none, or all with a word; SHORT receives and stays."""
    async with near_a_settlement(tmp_path, mode) as bot:
        await bot.until(lambda: len(entries_of(bot, "SHORT")) == 2)
        await bot.decided(2)
        assert entries_of(bot, "LONG") == longs
        assert entries_of(bot, "SHORT") == [Decimal("0.010"), Decimal("0.010")]
        assert bot.told_of("an expensive funding settlement is near") == (mode == "warn")
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_an_interval_that_changes_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 h -> 1 h makes the same rate eight times as dear; listed no more, an instrument has 8 h again."""
    monkeypatch.setattr(interval_watch, "LOOK_NS", 200_000_000)
    guard = {"mode": "halt", "max_cost_bps_8h": 3, "window_minutes": 1_440}
    async with trading(tmp_path, funding=guard) as bot:
        await bot.ladders()
        bot.arm("funding-interval:hours=1")
        await bot.until(lambda: bot.told_of("8 h -> 1 h"))
        await bot.until(lambda: len(bot.entries()) == 2)
        bot.arm("funding-interval:hours=8")
        await bot.until(lambda: bot.told_of("1 h -> 8 h"))
        await bot.ladders()
        rates = query(bot.journal, "SELECT payload FROM tape WHERE kind = 'FundingRate' ORDER BY row")
        intervals = [json.loads(payload)["funding_interval_ns"] // 3_600_000_000_000 for (payload,) in rates]
        assert [hours for place, hours in enumerate(intervals) if place == 0 or intervals[place - 1] != hours] == [
            8,
            1,
            8,
        ]
        await bot.end_and_prove()


@pytest.mark.asyncio
async def test_a_settlement_that_passes_is_no_missing_rate(tmp_path: Path) -> None:
    """The next rate comes with the next mark, a second later: no pause, and no ladder is taken away for it."""
    async with (
        running_standin(still=True, funding_in_s=4.0) as standin,
        living(standin, tmp_path, funding={"on_missing": "pause", "max_cost_bps_8h": 5}) as bot,
    ):
        await bot.ladders()
        await bot.until(lambda: standin.log.count("market", "funding") == 1)
        await bot.decided(2)
        assert "funding_missing" not in bot.reasons()
        cancels = [each for each in bot.requests() if each.name.startswith("DELETE")]
        assert cancels == []
        await bot.end_and_prove()
