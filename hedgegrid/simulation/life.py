"""One life of the bot in a simulation: the real house and the real end of it, without a console, signals or sockets."""

import asyncio
import io
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Final

from rich.console import Console

from hedgegrid.app import open_house
from hedgegrid.config.schema import AccountConfig
from hedgegrid.guarding import Guard
from hedgegrid.lifecycle import Life
from hedgegrid.messages.commands import Flatten, Pause, Resume
from hedgegrid.runtime.actor import Actor
from hedgegrid.simulation.weather import MADE
from hedgegrid.simulation.world import SeededWorld
from hedgegrid.units import NS_PER_S
from hedgegrid.worlds.world import RunOptions

GUARDED_NS: Final = 300 * NS_PER_S
"""How long the guard looks once something hangs."""


class SeededLife(Life):
    """A life in virtual time."""

    def __init__(
        self, config: AccountConfig, world: SeededWorld, options: RunOptions, *, die: Callable[[str], None]
    ) -> None:
        """Live by ``config`` in ``world``; nothing is opened yet. ``die`` ends the process where it stands."""
        super().__init__()
        self._config = config
        self._world = world
        self._options = options
        self._die = die
        self.deaf: list[asyncio.Task[None]] = []
        """Tasks that ignored their cancellation: they go on until ``released``, and nobody hears them."""
        self.released = asyncio.Event()
        self.hung: set[str] = set()
        """The actors that were made to hang, and did."""
        self._guarding: asyncio.Task[None] | None = None
        self._guarded_until_ns = 0
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
                if self._guarding is not None:
                    self._guarding.cancel()
                await house.world.close()
                self.failure = self._failure
            house.journal.close(self._failure or self._ended, clean=not self._failure)

    def actors(self) -> tuple[str, ...]:
        """Name the actors that run."""
        return () if self._house is None else self._house.supervisor.actors()

    def kill(self, name: str) -> None:
        """Have an actor fail where it is."""
        self.house.supervisor.kill_child(name, MADE)

    def hang(self, name: str, *, deaf: bool) -> None:
        """Have an actor come back from its next message never; ``deaf``: its cancellation does not help either."""
        child = self.house.supervisor.find(name)
        if not isinstance(child, Actor):
            return
        # A method of its own, in front of the class's.
        vars(child)["handle"] = partial(self._stay_deaf if deaf else self._stay, name)

    def spare(self, names: tuple[str, ...]) -> None:
        """Take back what would hang an actor that has had no message since."""
        for name in names:
            child = self.house.supervisor.find(name)
            if child is not None:
                vars(child).pop("handle", None)

    def _watch_for_a_while(self, name: str) -> None:
        """Let the guard look, by this life's clock; without what hangs it would see nothing, and cost much.

        It has to begin with the message that is never answered: some actors wait for hours for one.
        """
        self.hung.add(name)
        self._guarded_until_ns = self.house.clock.now_ns() + GUARDED_NS
        if self._guarding is None or self._guarding.done():
            self._guarding = asyncio.get_running_loop().create_task(self._guard_for_a_while(), name="guard")

    async def _guard_for_a_while(self) -> None:
        clock = self.house.clock
        # Asked again once its looks have ended: a hang of that very moment would find nobody.
        while clock.now_ns() < self._guarded_until_ns:
            # Time is exact here: one look a heartbeat sees what four would.
            guard = Guard(self.house, fail=self.fail, notifier=self._notifier, wall_ns=clock.now_ns, beats=1)
            guarding = asyncio.get_running_loop().create_task(guard.run(), name="guard's looks")
            try:
                while clock.now_ns() < self._guarded_until_ns:
                    await clock.sleep_until(self._guarded_until_ns)
            finally:
                guarding.cancel()
                await asyncio.gather(guarding, return_exceptions=True)

    async def _stay(self, name: str, _: object) -> None:
        """Wait for what never comes."""
        self._watch_for_a_while(name)
        await asyncio.get_running_loop().create_future()

    async def _stay_deaf(self, name: str, _: object) -> None:
        """Wait until this life is long over, whoever cancels it."""
        self._watch_for_a_while(name)
        task = asyncio.current_task()
        assert task is not None, "an actor handles its messages in its task"
        self.deaf.append(task)
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                # On purpose: this is the fault.
                continue
        raise asyncio.CancelledError

    def on_unstoppable(self, child_id: str) -> None:
        """End at once, as a run does: here the process dies."""
        self._die(f"{child_id} could not be stopped")

    def act(self, choice: int) -> None:
        """Do what an operator can do: flatten, pause, the kill switch, or resume (0, 1, 2, others)."""
        house = self.house
        if choice == 0:
            house.tell(Flatten(**house.post.head()))
        elif choice == 1:
            house.tell(Pause(**house.post.head()))
        elif choice == 2:  # noqa: PLR2004 - the third of the choices
            house.kill_switch.throw("a person")
        else:
            house.tell(Resume(**house.post.head(), new_peak=True))

    def _hear(self, _: str) -> None:
        """Take what a person would be told."""

    def _beside(self, console: Console) -> list[asyncio.Task[None]]:  # noqa: ARG002 - nobody watches
        """Start nothing: who hangs, and what becomes of files, is found by the wall's time: here it stands still."""
        return []

    def _begin_end(self) -> None:
        """Set no deadline of the wall's time."""
