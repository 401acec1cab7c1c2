"""What nothing inside the process can mend any more: it is ended from a thread, with a code that says so.

Invariants: the bot is a process of its own; what is judged is its exit code, what the stand-in holds, and the files.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Self

import pytest

from hedgegrid.core.pause import Reason
from hedgegrid.journal.watch_note import note_path, read
from hedgegrid.runtime.specs import EXIT_UNSTOPPABLE, EXIT_WEDGED
from tests.command import ROOT
from tests.live.commanding import BOUND_S, RunningBot, config_at
from tests.live.evidence import query
from tests.live.trading_bot import living
from tools.standin.serving import Standin, running_standin

BLOCKS: Final = """
import time
from pathlib import Path
from hedgegrid.core import vigil
from hedgegrid.actors.feed import Feed
vigil.WEDGED_SILENCES = 2
handle = Feed.handle
async def blocking(self, message):
    if Path("block").exists():
        time.sleep(60)
    await handle(self, message)
Feed.handle = blocking
"""
"""A bot whose loop is blocked for a minute as soon as there is a file called block."""
HANGS: Final = """
import asyncio
from hedgegrid import lifecycle
from hedgegrid.worlds.exchange import ExchangeWorld
lifecycle.END_S = 1.0
async def hanging(self, ended, *, entries_gone):
    await asyncio.Event().wait()
ExchangeWorld.finish = hanging
"""
"""A bot whose walk never ends, and whose end may take a second."""
MAIN: Final = "from hedgegrid.cli import main; main()"
SILENT_S: Final = 1.5
"""No word of life for so long, where one comes several times a second: long enough for a loaded machine too."""
QUICK: Final = "[watchdog]\nheartbeat_ms = 200\nheartbeat_missed = 5\n"


@asynccontextmanager
async def bot_with(code: str, standin: Standin, config: Path, **environment: str) -> AsyncIterator[RunningBot]:
    """Run a bot as a process, with some code before it."""
    log = config.with_suffix(".log")
    with log.open("ab") as out:
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", code + MAIN, "run", "--config", str(config)),
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            cwd=config.parent,
            stdout=out,
            stderr=out,
        )
    try:
        yield RunningBot(standin=standin, running=running, log=log)
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


def quick_config(folder: Path, standin: Standin) -> Path:
    """Write a config whose watchdog is impatient."""
    path = config_at(folder, standin, port=0)
    path.write_text(path.read_text().replace("[watchdog]\n", QUICK))
    return path


async def ended(bot: RunningBot) -> int:
    """Wait for its end."""
    async with asyncio.timeout(BOUND_S):
        return await bot.running.wait()


@pytest.mark.asyncio
async def test_wedged_process_is_ended_and_the_next_life_starts_paused(tmp_path: Path) -> None:
    """Entries gone, stops there, exit code 75, where it stood in a note; the next life adds nothing unasked."""
    async with running_standin(still=True) as standin:
        async with bot_with(BLOCKS, standin, quick_config(tmp_path, standin)) as bot:
            await bot.hold("LONG")
            await bot.until(lambda: len(bot.open_orders()) >= 7)
            exits = set(bot.open_orders()) - set(bot.entries())
            (tmp_path / "block").touch()
            assert await ended(bot) == EXIT_WEDGED, bot.words()
            assert set(bot.open_orders()) == exits
        journal = tmp_path / "live.db"
        note = read(note_path(journal))
        assert note is not None
        assert note.ended
        assert "blocking <string>" in note.figures["where"]
        async with living(standin, tmp_path) as again:
            await again.until(lambda: again.mode() == "reducing")
            await again.decided(2)
            assert not any(order.adds for order in again.sent())
            assert any("ended by its watchdog" in one for one in again.words)
            ((latched,),) = query(journal, "SELECT entries FROM latches")
            assert Reason.SUPERVISOR.value in str(latched)
            assert not note_path(journal).exists()


class Systemd:
    """The other end of NOTIFY_SOCKET, for as long as it is entered."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[tuple[float, str]] = []
        self._heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._heard.bind(str(path))
        self._heard.setblocking(False)
        asyncio.get_running_loop().add_reader(self._heard, self._take)

    def _take(self) -> None:
        self.lines.append((time.monotonic(), self._heard.recv(4_096).decode()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._heard)
        self._heard.close()

    def has(self, line: str) -> bool:
        """Whether a line came."""
        return any(one == line for _, one in self.lines)

    def count(self, line: str) -> int:
        """How often a line came."""
        return sum(one == line for _, one in self.lines)

    def silent_s(self, line: str) -> float:
        """How long ago a line came last, in seconds."""
        return time.monotonic() - max(at_s for at_s, one in self.lines if one == line)


HANGING_ACTOR: Final = """
import asyncio
from pathlib import Path
from hedgegrid.actors.feed import Feed
handle = Feed.handle
async def hanging(self, message):
    if Path("block").exists():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()
    await handle(self, message)
Feed.handle = hanging
"""
"""A bot with an actor that hangs, and that ignores being stopped, as soon as there is a file called block."""


@pytest.mark.asyncio
async def test_systemd_hears_of_life_only_while_every_actor_moves(tmp_path: Path) -> None:
    """READY=1 when the account was read, WATCHDOG=1 until one single actor hangs; then silence."""
    with Systemd(tmp_path / "notify") as systemd:
        async with running_standin(still=True) as standin:
            told = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "2000000"}
            async with bot_with(HANGING_ACTOR, standin, quick_config(tmp_path, standin), **told) as bot:
                await bot.until(lambda: len(bot.entries()) >= 4)
                seen = systemd.count("WATCHDOG=1")
                await bot.until(lambda: systemd.count("WATCHDOG=1") >= seen + 3)
                assert systemd.count("READY=1") == 1
                assert systemd.has("STATUS=active")
                (tmp_path / "block").touch()
                await bot.until(lambda: systemd.silent_s("WATCHDOG=1") >= SILENT_S)
                assert bot.running.returncode is None, "silent only since it ended"


@pytest.mark.asyncio
async def test_end_that_hangs_is_bounded(tmp_path: Path) -> None:
    """SIGTERM, and the world never finishes: systemd hears of it, and the process is gone in time, with its code."""
    with Systemd(tmp_path / "notify") as systemd:
        async with running_standin(still=True) as standin:
            config = quick_config(tmp_path, standin)
            async with bot_with(HANGS, standin, config, NOTIFY_SOCKET=str(systemd.path)) as bot:
                await bot.until(lambda: len(bot.entries()) >= 4)
                assert await bot.end(signal.SIGTERM) == EXIT_UNSTOPPABLE
                assert (systemd.count("READY=1"), systemd.count("STOPPING=1"), systemd.count("WATCHDOG=1")) == (1, 1, 0)
