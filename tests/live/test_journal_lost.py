"""A journal that is taken away while the bot writes it: noticed in seconds, entries gone, one line, and a pause."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from hedgegrid.journal.watch_note import note_path, read
from tests.live.trading_bot import END_S, trading


def deleted(journal: Path) -> None:
    """Somebody cleans up."""
    journal.unlink()


def replaced(journal: Path) -> None:
    """Somebody puts a copy in its place."""
    copy = journal.with_suffix(".copy")
    copy.write_bytes(journal.read_bytes())
    copy.replace(journal)


def without_log(journal: Path) -> None:
    """Somebody takes what looks like a leftover away: the newest rows are in it."""
    journal.with_name(journal.name + "-wal").unlink()


@pytest.mark.asyncio
@pytest.mark.parametrize("fault", [deleted, replaced, without_log])
async def test_lost_journal_ends_the_run(fault: Callable[[Path], None], tmp_path: Path) -> None:
    """What is written goes where nobody finds it: no new risk on that, the exits stay, and a person is told."""
    async with trading(tmp_path) as bot:
        await bot.hold()
        exits = {row["clientAlgoId"] for row in bot.account["algoOrders"]}
        fault(bot.journal)
        async with asyncio.timeout(END_S):
            outcome = await asyncio.shield(bot.running)
        assert outcome.exit_code == 1
        assert str(bot.journal) in outcome.failure
        assert "while it was written" in outcome.failure
        assert "\n" not in outcome.failure
        assert bot.entries() == []
        assert {row["clientAlgoId"] for row in bot.account["algoOrders"]} == exits
        note = read(note_path(bot.journal))
        assert note is not None
        assert (note.why, note.ended) == ("journal_failed", True)
