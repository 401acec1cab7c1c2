"""Every actor has a heartbeat: whichever hangs is found, paused for, and started anew, and trading goes on."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.actors.executor import Executor
from hedgegrid.actors.feed import Feed
from hedgegrid.actors.funding import Funding
from hedgegrid.actors.journal_writer import JournalWriter
from hedgegrid.actors.risk import Risk
from hedgegrid.actors.strategy import Strategy
from hedgegrid.actors.watchdog import Watchdog
from hedgegrid.messages.events import ActorRestarted, PermissionChanged
from hedgegrid.runtime.actor import Actor
from tests.actors.house import STRATEGY, assert_agrees, boot, last_mode, market, messages, settings

ACTORS: dict[str, tuple[type[Actor[Any]], int]] = {
    "journal": (JournalWriter, 40),
    "executor": (Executor, 40),
    "risk": (Risk, 200),
    "feed": (Feed, 200),
    "funding": (Funding, 2),
    STRATEGY: (Strategy, 60),
    "watchdog": (Watchdog, 3),
}


@pytest.mark.asyncio
@pytest.mark.parametrize("actor", ACTORS)
async def test_whoever_hangs_is_found(actor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs in the middle of a message, while market time stands still: the wall clock finds it."""
    kind, at = ACTORS[actor]
    handle, seen = kind.handle, 0

    async def hanging(self: Any, message: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == at:
            await asyncio.Event().wait()
        await handle(self, message)

    monkeypatch.setattr(kind, "handle", hanging)
    config = settings(tmp_path, watchdog={"heartbeat_ms": 60, "resume_after_ms": 1_000})
    one = await boot(config, market(seed=2, count=110, funding=[(-300, 9_000), (20, 8_000)]))
    assert one.outcome.exit_code == 0, one.outcome.failure
    restarts = messages(one.path, ActorRestarted)
    assert [(told.actor, told.error) for told in restarts] == [(actor, "ChildKilledError")]
    changes = [c for c in messages(one.path, PermissionChanged) if c.reason == "heartbeat_missed"]
    assert changes[-1].change == "cleared"
    assert {dict(c.figures)["actor"] for c in changes if c.change.startswith("raised")} == {actor}
    assert last_mode(one) == "active"
    assert_agrees(one)
