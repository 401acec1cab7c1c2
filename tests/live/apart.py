"""A stand-in in a thread of its own, so that a test may block the bot's loop and still look at the exchange.

Invariants: the engine is touched in its own loop alone; when it is left, its thread has ended.
"""

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
from rich.console import Console

from hedgegrid.lifecycle import Life, Outcome
from hedgegrid.worlds.world import RunOptions
from tests.live.evidence import query
from tests.live.trading_bot import DOUBTFUL, END_S, LOOK_S, OVER_A_RUNG_BPS, SYMBOL, settings
from tests.live.watching import Watch
from tools.standin.request_log import Entry
from tools.standin.serving import Standin, running_standin

T = TypeVar("T")
BOUND_S: Final = 20.0
PROTECTED: Final = "SELECT count(*) FROM tape WHERE kind = 'LotProtected'"
START_S: Final = 10.0


class Apart:
    """A stand-in that runs elsewhere."""

    def __init__(self, **options: Any) -> None:
        """Start it."""
        self._options = options
        self._up, self._over = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="stand-in")
        self._thread.start()
        assert self._up.wait(START_S), "the stand-in does not come up"

    async def _run(self) -> None:
        async with running_standin(**self._options) as standin:
            self.standin, self._loop = standin, asyncio.get_running_loop()
            self._up.set()
            await self._over.wait()

    def ask(self, question: Callable[[Standin], T]) -> T:
        """Ask it in its own loop; the caller's loop is blocked meanwhile."""

        async def answer() -> T:
            return question(self.standin)

        return asyncio.run_coroutine_threadsafe(answer(), self._loop).result(BOUND_S)

    def stop(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(START_S)
        assert not self._thread.is_alive()

    # --- what it sees -----------------------------------------------------------------------------------------------

    def entries(self) -> list[str]:
        """Give the ids of the entries that rest."""
        rows = self.ask(lambda one: one.exchange.summary())["orders"]
        return sorted(row["clientOrderId"] for row in rows if Watch.is_entry(row))

    def exits(self) -> list[str]:
        """Give the ids of the stops and of the take-profits."""
        account = self.ask(lambda one: one.exchange.summary())
        profits = [row["clientOrderId"] for row in account["orders"] if not Watch.is_entry(row)]
        return sorted(profits + [row["clientAlgoId"] for row in account["algoOrders"]])

    def requests(self) -> list[Entry]:
        """Give all requests by now."""
        return self.ask(lambda one: list(one.log.of("request", None)))

    def move(self, bps: int) -> None:
        """Move the market."""
        self.ask(lambda one: one.market.move_by_bps(SYMBOL, bps))

    def held_lots(self, leg: str) -> int:
        """Give what is held of a leg."""
        return self.ask(lambda one: abs(one.exchange.position(SYMBOL, leg).qty_lots))


@contextmanager
def apart(**options: Any) -> Iterator[Apart]:
    """Run a stand-in elsewhere."""
    there = Apart(**{"still": True, **options})
    try:
        yield there
    finally:
        there.stop()


@attrs.define(eq=False, kw_only=True)
class Bot:
    """A bot that lives in the test's loop, and where its exchange is."""

    there: Apart
    journal: Path
    life: Life
    running: "asyncio.Task[Outcome]"
    words: list[str]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds. AssertionError with the journal's story where it never does."""
        until_s = time.monotonic() + BOUND_S
        while not holds():
            assert time.monotonic() < until_s, f"it never came: {self.story()}"
            assert not self.running.done(), self.running.result().failure
            await asyncio.sleep(LOOK_S)

    async def hold(self) -> None:
        """Wait for the ladders, fill one rung, and wait until its stop and its take-profit stand, and the bot knows."""
        await self.until(lambda: len(self.there.entries()) == 4)
        self.there.move(-OVER_A_RUNG_BPS)
        await self.until(lambda: self.there.held_lots("LONG") > 0)
        await self.until(lambda: len(self.there.exits()) >= 4 and len(self.there.entries()) == 3)
        await self.until(lambda: query(self.journal, DOUBTFUL) == [(0,)])
        await self.until(lambda: query(self.journal, PROTECTED) != [(0,)])

    def mode(self) -> str:
        """Give the permission that the journal tells last."""
        rows = query(self.journal, "SELECT after FROM permission ORDER BY row DESC LIMIT 1")
        return str(rows[0][0]) if rows else ""

    def reasons(self) -> list[str]:
        """Give every reason for which trading paused."""
        rows = query(self.journal, "SELECT reason FROM permission WHERE change LIKE 'raised%' ORDER BY row")
        return [str(reason) for (reason,) in rows]

    def incidents(self) -> list[str]:
        """Give every incident with its figures."""
        return [f"{text} {figures}" for text, figures in query(self.journal, "SELECT text, figures FROM incidents")]

    def story(self) -> str:
        """Tell what happened, for the person who reads a failure."""
        changes = query(self.journal, "SELECT change, reason, scope, after, figures FROM permission")
        requests = [one.name for one in self.there.requests()[-30:]]
        return "\n".join(str(one) for one in (*changes, *self.incidents(), requests, self.there.entries()))

    async def end(self) -> Outcome:
        """Stop it as an operator does."""
        self.life.end("the test is over")
        async with asyncio.timeout(END_S):
            return await asyncio.shield(self.running)


@asynccontextmanager
async def living_apart(there: Apart, folder: Path, **changes: Mapping[str, Any]) -> AsyncIterator[Bot]:
    """Let a bot live at a stand-in that runs elsewhere; it has ended when this is left."""
    config = settings(folder, there.standin, with_keys=True, **changes)
    words: list[str] = []
    life = Life()
    console, options = Console(file=io.StringIO()), RunOptions(listen=("127.0.0.1", 0))
    running = asyncio.create_task(life.run(config, options, console, words.append), name="the bot")
    try:
        yield Bot(there=there, journal=Path(config.journal.path), life=life, running=running, words=words)
    finally:
        if not running.done():
            life.end("the test is over")
            await asyncio.wait({running}, timeout=END_S)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
