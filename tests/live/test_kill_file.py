"""The kill switch's file as somebody may leave it: whatever bears the name is obeyed, whole, by the run and by a start.

Invariants: what is held and open is the stand-in's own account; nothing asks the bot what it thinks.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from hedgegrid.journal.kill_file import kill_file
from tests.live.trading_bot import living
from tools.standin.serving import running_standin


def nowhere(path: Path) -> None:
    """A link whose target is gone."""
    path.symlink_to(path.with_suffix(".gone"))


@pytest.mark.asyncio
@pytest.mark.parametrize("left", [Path.mkdir, nowhere])
async def test_whatever_bears_the_name_kills(left: Callable[[Path], None], tmp_path: Path) -> None:
    """What cannot be read, or removed, closes all that is held; the start after it goes on with what was left."""
    file = kill_file(tmp_path / "live.db")
    async with running_standin(still=True) as standin:
        async with living(standin, tmp_path) as bot:
            await bot.hold()
            left(file)
            await bot.until(lambda: bot.held_lots("LONG") == 0 and bot.entries() == [])
            await bot.until(lambda: not file.exists() or bot.told_of("the kill stands"))
            assert sum("the kill stands" in one for one in bot.incidents()) == file.exists()
            await bot.end_and_prove()
        async with living(standin, tmp_path) as bot:
            await bot.passed("reducing")
            await bot.decided()
            assert bot.entries() == []
            await bot.end_and_prove()
            assert any("the kill stands" in word for word in bot.words) == file.exists()
