"""A start whose history cannot be read waits for it, and trades once it has come."""

from pathlib import Path
from typing import Any

import pytest

from hedgegrid.app import House
from hedgegrid.errors import Transient
from hedgegrid.messages.events import ActorRestarted, Incident
from tests.actors.house import Script, boot, entries_placed, market, messages, settings, simulation


@pytest.mark.asyncio
async def test_a_busy_exchange_is_asked_again(tmp_path: Path) -> None:
    """Three refusals of the history: each is told, no actor dies of it, and the grid trades afterwards."""
    refusals = 4  # one is the run's own look at what is warm

    def wired(house: House) -> None:
        shown = simulation(house).market
        history = shown.history

        async def busy(*wanted: Any) -> Any:
            nonlocal refusals
            if refusals:
                refusals -= 1
                raise Transient("the weight is used up")
            return await history(*wanted)

        shown.history = busy  # type: ignore[method-assign, assignment]

    one = await boot(settings(tmp_path), market(seed=2, count=100), Script(wired=wired))
    assert one.outcome.exit_code == 0, one.outcome.failure
    told = [row for row in messages(one.path, Incident) if "history could not be read" in row.text]
    assert len(told) == 3
    assert messages(one.path, ActorRestarted) == []
    assert entries_placed(one)
