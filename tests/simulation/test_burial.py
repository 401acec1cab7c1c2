"""A life that died ends, whatever it still asks for on its way out: a run of the simulation always comes to its end."""

import asyncio

from hedgegrid.simulation.loop import SeededLoop
from hedgegrid.simulation.run import bury


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
