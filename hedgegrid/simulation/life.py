"""One life of the bot in a simulation: the real house and the real end of it, without a console, signals or sockets."""

import asyncio
import io
from contextlib import ExitStack

from rich.console import Console

from hedgegrid.app import open_house
from hedgegrid.config.schema import AccountConfig
from hedgegrid.lifecycle import Life
from hedgegrid.messages.commands import Flatten, Pause, Resume
from hedgegrid.ops.readings import every_child
from hedgegrid.simulation.weather import MADE
from hedgegrid.simulation.world import SeededWorld
from hedgegrid.worlds.world import RunOptions


class SeededLife(Life):
    """A life in virtual time."""

    def __init__(self, config: AccountConfig, world: SeededWorld, options: RunOptions) -> None:
        """Live by ``config`` in ``world``; nothing is opened yet."""
        super().__init__()
        self._config = config
        self._world = world
        self._options = options
        self.failure = ""
        """Why it failed, in one line; "" where it did not."""

    async def live(self) -> None:
        """Open the house, let it live until it is ended, close it. Raises Fatal where it cannot be opened."""
        with ExitStack() as stack:
            house = await open_house(self._world, self._config, self._options, stack, self._hear, self)
            self._house = house
            if self._ended:
                house.world.stop()
            try:
                await self._live(Console(file=io.StringIO()), self._hear)
            finally:
                await house.world.close()
                self.failure = self._failure
            house.journal.close(self._failure or self._ended, clean=not self._failure)

    def actors(self) -> tuple[str, ...]:
        """Name the actors that run."""
        if self._house is None:
            return ()
        children = every_child(self._house.supervisor.statuses())
        return tuple(child.reading.name for child in children if child.reading is not None)

    def kill(self, name: str) -> None:
        """Have an actor fail where it is."""
        self.house.supervisor.kill_child(name, MADE)

    def act(self, choice: int) -> None:
        """Do what an operator can do: flatten, pause, or resume (0, 1, others)."""
        house = self.house
        if choice == 0:
            house.tell(Flatten(**house.post.head()))
        elif choice == 1:
            house.tell(Pause(**house.post.head()))
        else:
            house.tell(Resume(**house.post.head(), new_peak=True))

    def _hear(self, _: str) -> None:
        """Take what a person would be told."""

    def _beside(self, console: Console) -> list[asyncio.Task[None]]:  # noqa: ARG002 - nobody watches
        """Start nothing: who hangs, and what becomes of files, is found by the wall's time: here it stands still."""
        return []

    def _begin_end(self) -> None:
        """Set no deadline of the wall's time."""
