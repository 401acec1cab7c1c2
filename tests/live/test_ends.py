"""How a run at an exchange ends, and what a start that failed leaves behind: nothing.

Invariants: tasks and sockets are counted in this process; the command in development mode says what Python noticed.
"""

import asyncio
import gc
import io
import socket
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
from rich.console import Console

from hedgegrid.core.client_id import client_id
from hedgegrid.errors import Fatal, Transient
from hedgegrid.journal.lock import AccountLock
from hedgegrid.lifecycle import Life
from hedgegrid.model.order import Kind, Leg, OpenOrder, Purpose
from hedgegrid.runtime.activity import Activity
from hedgegrid.worlds import exchange
from hedgegrid.worlds.exchange import ExchangeWorld
from hedgegrid.worlds.world import Bound, RunOptions
from tests.live.commanding import config_at, free_port, run
from tests.live.trading_bot import BTC, secret, settings
from tools.standin.serving import running_standin

OURS = client_id(account="live", epoch=1, leg=Leg.LONG, purpose=Purpose.ENTRY, level=1, sequence=5)
ANYWHERE = RunOptions(listen=("127.0.0.1", 0))


def entry(name: str) -> OpenOrder:
    """An entry that rests."""
    return OpenOrder(
        client_id=name,
        instrument=BTC,
        leg=Leg.LONG,
        purpose=Purpose.ENTRY,
        kind=Kind.LIMIT,
        price_ticks=1,
        qty_lots=1,
        filled_lots=0,
        close_all=False,
        created_ns=0,
    )


@attrs.define
class Lists:
    """A trading side that shows these lists of open orders, one after the other; the last one stays."""

    lists: list[Sequence[OpenOrder] | Exception]
    reads: int = 0

    async def open_orders(self) -> Sequence[OpenOrder]:
        """Show the next list."""
        self.reads += 1
        shown = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(shown, Exception):
            raise shown
        return shown


async def finish(folder: Path, lists: Lists, *, entries_gone: bool = True, quiet: bool = True) -> None:
    """Let a world at that trading side finish."""
    async with running_standin(still=True) as standin:
        world = ExchangeWorld(settings(folder, standin), ANYWHERE)
        world.trading = lists  # type: ignore[assignment]
        world.attach(
            Bound(
                settle=Activity().idle,
                quiet=lambda: quiet,
                left=lambda: (),
                activity=Activity(),
                report=lambda _words, _figures: None,
            )
        )
        try:
            await world.finish("", entries_gone=entries_gone)
        finally:
            await world.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world that waits for a moment only."""
    monkeypatch.setattr(exchange, "FINISH_S", 0.3)
    monkeypatch.setattr(exchange, "FINISH_LOOK_S", 0.02)


@pytest.mark.asyncio
@pytest.mark.usefixtures("hasty")
async def test_end_waits_until_no_entry_rests(tmp_path: Path) -> None:
    """Entries that go while it looks, and reads that fail, only take time; what is not ours is no matter."""
    lists = Lists([[entry(OURS)], Transient("busy"), [entry("web_1")]])
    await finish(tmp_path, lists)
    assert lists.reads == 3


@pytest.mark.asyncio
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("shown", "quiet", "words"),
    [([entry(OURS)], True, f"{OURS} is still open"), (Transient("busy"), True, "busy"), ([], False, "without answer")],
    ids=["an entry rests", "cannot be read", "requests are on their way"],
)
async def test_end_that_cannot_be_proven_is_a_failure(
    shown: Sequence[OpenOrder] | Exception, quiet: bool, words: str, tmp_path: Path
) -> None:
    """A run whose entries may still rest has not ended well, and says what to look at."""
    with pytest.raises(Fatal, match=words):
        await finish(tmp_path, Lists([shown]), quiet=quiet)


@pytest.mark.asyncio
@pytest.mark.usefixtures("hasty")
async def test_end_that_keeps_asks_nothing(tmp_path: Path) -> None:
    """Where entries are to stay, only what was asked for is waited for."""
    lists = Lists([[entry(OURS)]])
    await finish(tmp_path, lists, entries_gone=False)
    assert lists.reads == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("cause", ["wrong key", "account held", "port in use", "one-way mode", "no exchange"])
async def test_failed_start_leaves_nothing(cause: str, tmp_path: Path) -> None:
    """Whatever a start fails at: one Fatal, and no task, no socket at the exchange, no lock stays."""
    async with running_standin(still=True) as standin:
        config = settings(tmp_path, standin)
        journal, options = Path(config.journal.path), ANYWHERE
        await asyncio.sleep(0.05)  # the stand-in begins its own tasks
        before = asyncio.all_tasks()
        with socket.socket() as taken, AccountLock(tmp_path / "other.db" if cause != "account held" else journal):
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            if cause == "port in use":
                options = RunOptions(listen=("127.0.0.1", taken.getsockname()[1]))
            elif cause == "wrong key":
                secret(tmp_path / "key", "another")
            elif cause == "one-way mode":
                standin.faults.arm("mode-one-way")
            elif cause == "no exchange":
                config = attrs.evolve(config, venue=attrs.evolve(config.venue, rest_url="http://127.0.0.1:9"))
                options = attrs.evolve(options, duration_s=0.1)
            with pytest.raises(Fatal):
                await Life().run(config, options, Console(file=io.StringIO()), lambda _: None)
        gc.collect()
        await asyncio.sleep(0.05)
        assert {task.get_name() for task in asyncio.all_tasks() - before if not _of_the_standin(task)} == set()
        assert standin.hub.listeners == {}
        AccountLock(journal).release()


def _of_the_standin(task: "asyncio.Task[object]") -> bool:
    """Whether a task serves a connection of the stand-in, which lives in this loop too."""
    return "aiohttp" in repr(task.get_coro())


@pytest.mark.asyncio
async def test_failed_commands_are_clean_in_development_mode(tmp_path: Path) -> None:
    """A wrong key and a held account, as commands: one line, exit 2, nothing that Python would warn of."""
    async with running_standin(still=True) as standin:
        wrong = config_at(tmp_path, standin, port=free_port(), keys="another", name="wrong")
        refused = await run("run", "--config", wrong)
        assert (refused.code, standin.options.secret in refused.err) == (2, False)
        assert "key" in refused.complaint
        config = config_at(tmp_path, standin, port=free_port())
        with AccountLock(tmp_path / "live.db"):
            refused = await run("run", "--config", config)
        assert refused.code == 2
        assert "trades this account already" in refused.complaint
