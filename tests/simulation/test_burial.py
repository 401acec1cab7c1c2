"""A life that died ends, whatever it still asks for on its way out, and nothing of it lives on."""

import asyncio
from pathlib import Path

import pytest

from hedgegrid.simulation.loop import SeededLoop
from hedgegrid.simulation.run import Simulation, bury
from hedgegrid.simulation.weather import Fault
from tests.simulation.storm import storm


def test_a_dead_life_that_waits_for_an_answer_on_its_way_out_is_buried() -> None:
    """A life that had failed before it died reads the exchange as it ends, and nobody answers any more."""
    ways_out: list[str] = []

    async def life() -> None:
        never = asyncio.get_running_loop().create_future()
        try:
            await never
        finally:
            ways_out.append("reads")
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                ways_out.append("is over")

    async def die() -> bool:
        living = asyncio.get_running_loop().create_task(life())
        await asyncio.sleep(1)
        await bury(living)
        return living.cancelled()

    loop = SeededLoop(1)  # type: ignore[abstract]
    try:
        assert loop.run_until_complete(die())
    finally:
        loop.close()
    assert ways_out == ["reads", "is over"]


def test_nothing_of_a_dead_life_lives_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects what is found in the next life: actors of a dead process went on for hours, and were then lost."""
    left: list[list[str]] = []
    live_once = Simulation._live_once

    async def watched(run: Simulation, walking: "asyncio.Task[None]") -> None:
        before = asyncio.all_tasks()
        await live_once(run, walking)
        left.append(sorted(task.get_name() for task in asyncio.all_tasks() - before))

    monkeypatch.setattr(Simulation, "_live_once", watched)
    result = storm(tmp_path, 3, Fault.CANCEL_SWALLOWED, hours=0.5, force=10.0)
    assert result.boots > 1, "a seed whose first life dies of an actor that does not end"
    assert left == [[]] * result.boots
