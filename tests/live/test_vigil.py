"""The watchdog's own way of taking entries away, over real sockets: a loop that is blocked, an executor that hangs.

Invariants: the stand-in runs in another thread, so what it holds is seen while the bot's loop stands still.
"""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import pytest

from hedgegrid.actors.executor import Executor
from hedgegrid.journal import watch_note
from hedgegrid.journal.verify import verify
from hedgegrid.journal.watch_note import note_path
from tests.live.apart import Bot, apart, living_apart
from tests.live.evidence import account_of, orders_in
from tools.rehearsal.accounts import differences, read_journal

QUICK: Final = {"heartbeat_ms": 200, "heartbeat_missed": 5}
"""A second of silence is too much."""
BLOCKED_S: Final = 6.0
"""How long a test blocks the loop at most: well above a second, and below the ten that end the process."""
READ: Final = "GET /fapi/v1/openOrders"


async def prove_and_end(bot: Bot) -> None:
    """Both sides agree, the journal is whole, and nothing is left of the watchdog's note."""
    assert not note_path(bot.journal).exists()
    outcome = await bot.end()
    assert (outcome.exit_code, outcome.failure) == (0, ""), bot.story()
    account, trades = bot.there.ask(account_of)
    assert list(differences(read_journal(bot.journal), account, trades)) == []
    report = verify(bot.journal)
    assert report.ok, report.text()


@pytest.mark.asyncio
async def test_blocked_loop_loses_its_entries_and_keeps_its_stops(tmp_path: Path) -> None:
    """While the loop stands still the entries go and every exit stays; back again it reads first, then goes on."""
    with apart() as there:
        async with living_apart(there, tmp_path, watchdog=QUICK) as bot:
            await bot.hold()
            exits, seen = there.exits(), len(there.requests())
            until_s = time.monotonic() + BLOCKED_S
            while there.entries() and time.monotonic() < until_s:
                time.sleep(0.05)  # noqa: ASYNC251 - to block the loop is what the test is about
            assert there.entries() == [], "nobody took them while the loop was blocked"
            assert there.exits() == exits
            note = watch_note.read(note_path(bot.journal))
            assert note is not None
            assert (note.why, note.ended, "test_vigil.py" in note.figures["where"]) == (
                "the event loop is blocked",
                False,
                True,
            )
            by_the_watchdog = len(there.requests())
            await bot.until(lambda: len(there.entries()) == 3)
            after = there.requests()[by_the_watchdog:]
            adding = [at for at, one in enumerate(after) if any(order.adds for order in orders_in(one))]
            reads = [at for at, one in enumerate(after) if one.name == READ]
            assert reads[0] < adding[0], "something was added before the exchange was read"
            assert by_the_watchdog > seen
            assert "heartbeat_missed" in bot.reasons()
            assert any("the watchdog took the entries away" in one for one in bot.incidents())
            await prove_and_end(bot)


@pytest.mark.asyncio
async def test_silent_executor_loses_its_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An executor that hangs in a loop that turns: its entries go before it has started anew, its exits stay."""
    hangs = False
    handle = Executor.handle

    async def hanging(self: Executor, message: Any) -> None:
        if hangs:
            await asyncio.Event().wait()
        await handle(self, message)

    monkeypatch.setattr(Executor, "handle", hanging)
    with apart() as there:
        async with living_apart(there, tmp_path, watchdog=QUICK, supervisor={"backoff_min_ms": 3_000}) as bot:
            await bot.hold()
            exits, seen = there.exits(), len(there.requests())
            hangs = True
            await bot.until(lambda: there.entries() == [])
            asked = [one.name for one in there.requests()[seen:]]
            assert "POST /fapi/v1/order" not in asked
            assert there.exits() == exits
            note = watch_note.read(note_path(bot.journal))
            assert note is not None
            assert note.why == "the executor is silent"
            hangs = False
            await bot.until(lambda: len(there.entries()) == 3)
            await bot.until(lambda: any("the watchdog took" in one for one in bot.incidents()))
            await prove_and_end(bot)


@pytest.mark.asyncio
async def test_idle_executor_that_answers_no_probe_is_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With nothing to do it must still answer: one that does not is found without any message waiting for it."""
    deaf = False
    monkeypatch.setattr(Executor, "answers", lambda _self: not deaf)
    quiet = {**QUICK, "account_poll_ms": 3_600_000}
    with apart() as there:
        async with living_apart(there, tmp_path, watchdog=quiet, supervisor={"backoff_min_ms": 3_000}) as bot:
            await bot.hold()
            deaf = True
            await bot.until(lambda: "heartbeat_missed" in bot.reasons())
            deaf = False
            await bot.until(lambda: len(there.entries()) == 3 and bot.mode() == "active")


@pytest.mark.asyncio
async def test_busy_loop_is_no_alarm(tmp_path: Path) -> None:
    """Under a load of quotes, in a loop that is late again and again, the thread neither asks nor says anything."""
    with apart(still=False, volatility=6.0, book_rate=200.0) as there:
        async with living_apart(there, tmp_path, watchdog=QUICK) as bot:
            await bot.until(lambda: len(there.entries()) >= 3)
            for _ in range(12):
                time.sleep(0.15)  # noqa: ASYNC251 - a loop that is late
                await asyncio.sleep(0.05)
            assert "heartbeat_missed" not in bot.reasons()
            assert not any("watchdog" in one for one in bot.incidents())
            assert not note_path(bot.journal).exists()
