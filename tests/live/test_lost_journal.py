"""A journal that is lost, and an account that two programs want: the start refuses, and what protects stays."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from hedgegrid.errors import Fatal
from hedgegrid.lifecycle import Life
from hedgegrid.worlds.world import RunOptions
from tests.live.trading_bot import living, settings
from tools.standin.serving import running_standin

ANYWHERE = RunOptions(listen=("127.0.0.1", 0))


def exits(summary: dict[str, object]) -> list[str]:
    """The ids of the stops at the exchange."""
    rows = summary["algoOrders"]
    assert isinstance(rows, list)
    return sorted(row["clientAlgoId"] for row in rows)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two folders, for two journals."""
    one, other = tmp_path / "a", tmp_path / "b"
    one.mkdir()
    other.mkdir()
    return one, other


@pytest.mark.asyncio
async def test_a_lost_journal_strips_nothing(folders: tuple[Path, Path]) -> None:
    """A position with its stop and a new journal: the start refuses in one line, and every stop stands as it was."""
    async with running_standin(still=True) as standin:
        async with living(standin, folders[0], account={"on_stop": "keep"}) as bot:
            await bot.ladders()
            await bot.hold()
            await bot.end()
        before = exits(standin.exchange.summary())
        assert len(before) >= 2
        told: list[str] = []
        outcome = await Life().run(settings(folders[1], standin), ANYWHERE, Console(file=io.StringIO()), told.append)
        assert (outcome.exit_code, "this journal is new" in outcome.failure) == (1, True), outcome.failure
        assert exits(standin.exchange.summary()) == before


@pytest.mark.asyncio
async def test_two_journals_do_not_trade_one_account(folders: tuple[Path, Path]) -> None:
    """The same key at the same exchange: the second start is refused before anything is connected."""
    async with running_standin(still=True) as standin, living(standin, folders[0]) as bot:
        await bot.ladders()
        with pytest.raises(Fatal, match="trades this account already"):
            await Life().run(settings(folders[1], standin), ANYWHERE, Console(file=io.StringIO()), print)


@pytest.mark.asyncio
async def test_a_journal_keeps_to_its_exchange(folders: tuple[Path, Path]) -> None:
    """Another server is refused, however often it is tried, and the journal goes on at its own afterwards."""
    async with running_standin(still=True) as standin:
        async with living(standin, folders[0]) as bot:
            await bot.ladders()
            await bot.end()
        async with running_standin(still=True) as other:
            for _ in range(2):
                with pytest.raises(Fatal, match="belongs to binanceusdm testnet"):
                    await Life().run(settings(folders[0], other), ANYWHERE, Console(file=io.StringIO()), print)
        async with living(standin, folders[0]) as bot:
            await bot.ladders()
