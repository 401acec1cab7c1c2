"""A start whose history cannot be read waits for it, and trades once it has come."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.app import House
from hedgegrid.errors import Transient
from hedgegrid.messages.events import ActorRestarted, BarClosed, Incident
from hedgegrid.units import NS_PER_MINUTE
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


@pytest.mark.asyncio
async def test_a_hole_that_cannot_be_read_yet_is_filled_later(tmp_path: Path) -> None:
    """A bar that never came, and a history that refuses twice: no actor dies of it, and no bar is left out."""
    refusals = 2

    def wired(house: House) -> None:
        shown = simulation(house).market
        history, show = shown.history, shown.show_bars
        bars = 0

        async def busy(*wanted: Any) -> Any:
            nonlocal refusals
            if bars > 20 and refusals:
                refusals -= 1
                raise Transient("503")
            return await history(*wanted)

        def deaf(step: Any, marks: Any) -> None:
            nonlocal bars
            bars += 1
            if bars != 20:
                show(step, marks)

        shown.history = busy  # type: ignore[method-assign, assignment]
        shown.show_bars = deaf  # type: ignore[method-assign]

    one = await boot(settings(tmp_path), market(seed=2, count=60), Script(wired=wired))
    assert one.outcome.exit_code == 0, one.outcome.failure
    assert refusals == 0
    assert messages(one.path, ActorRestarted) == []
    opened = [row.bar.open_ns for row in messages(one.path, BarClosed)]
    assert {later - sooner for sooner, later in pairwise(opened)} == {NS_PER_MINUTE}
