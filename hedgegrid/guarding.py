"""What stands guard over a running house from inside its loop: who hangs, what the vigil did, and where the journal is.

Invariants: an actor that hangs is told of, paused for and started anew; after the vigil has acted the executor starts
anew, and reads, before anything is added; systemd hears that the run is alive only when every actor has come further;
a journal that is not where it was ends the run.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final

from loguru import logger

from hedgegrid.actors.post import EXECUTOR, RISK
from hedgegrid.actors.watchdog import HangGuard
from hedgegrid.app import House
from hedgegrid.config.params import health_limits
from hedgegrid.core.pause import Reason
from hedgegrid.core.vigil import VigilLimits
from hedgegrid.errors import Fatal
from hedgegrid.journal import watch_note
from hedgegrid.journal.watch_note import WatchNote, note_path
from hedgegrid.messages.commands import ClearReason, RaiseReason
from hedgegrid.messages.events import Incident
from hedgegrid.ops.notify import Notifier
from hedgegrid.ops.readings import every_child
from hedgegrid.runtime.actor import ActorReading
from hedgegrid.runtime.specs import ChildState, ChildStatus
from hedgegrid.units import NS_PER_S
from hedgegrid.worlds.vigil import Vigil

BEATS: Final = 4
"""Looks in a heartbeat."""
JOURNAL_LOOK_S: Final = 1.0
_ACTS: Final = ("warming", "active", "reducing", "flattening", "halted")
"""Modes in which the account has been read: what is held is looked after, whatever may be added."""


class Guard:
    """Guards one house for as long as ``run`` runs."""

    def __init__(
        self,
        house: House,
        *,
        fail: Callable[[str], None],
        notifier: Notifier,
        wall_ns: Callable[[], int] = time.monotonic_ns,  # ambient: actors that hang are found by the wall
        beats: int = BEATS,
    ) -> None:
        """``fail`` ends the run in one line; ``wall_ns`` is the wall's time; ``beats``: looks in a heartbeat."""
        self._house = house
        self._fail = fail
        self._notifier = notifier
        self._wall_ns = wall_ns
        limits = health_limits(house.config)
        self._look_ns = max(1, limits.heartbeat_ns // beats)
        self._hangs = HangGuard(
            limits=limits,
            look_ns=self._look_ns,
            readings=self._readings,
            on_silent=self._on_silent,
            on_alive=self._on_alive,
        )
        self._vigil = Vigil(
            pulse=house.pulse,
            fence=house.fence,
            limits=VigilLimits(look_ns=self._look_ns, silence_ns=limits.heartbeat_ns * limits.heartbeat_missed),
            validity_ns=house.world.evidence.validity_ns,
            last_resort=house.world.last_resort(),
            note=note_path(house.journal.path),
        )
        self._children: tuple[ChildStatus, ...] = ()
        """As they are at this look."""
        self._signs: tuple[int, int, int] | None = None
        self._starts = 0
        self._episode = 0
        self._over = 0
        self._well: set[str] = set()

    async def run(self) -> None:
        """Look, a few times a heartbeat, until cancelled."""
        probes = self._house.world.streamed
        journal = asyncio.create_task(self._mind_journal(), name="journal guard")
        if probes:
            # Where time belongs to the exchange it stands still with the loop: there is nothing to come too late for.
            self._vigil.start()
        try:
            while True:
                await asyncio.sleep(self._look_ns / NS_PER_S)
                self._look()
                if probes:
                    self._house.router.probe()
        finally:
            journal.cancel()
            await asyncio.gather(journal, return_exceptions=True)
            await self._vigil.stop()

    def _look(self) -> None:
        wall_ns = self._wall_ns()
        self._children = tuple(every_child(self._house.supervisor.statuses()))
        self._well |= self._hangs.look(wall_ns)
        self._house.pace.note(wall_ns, self._hangs.moved_ns, self._house.clock.now_ns())
        executor = next((one for one in self._children if one.id == EXECUTOR), None)
        if executor is None:
            return
        reading = executor.reading
        signs = None if reading is None else (executor.starts, reading.progress, reading.answered)
        self._house.pulse.beat(moved=signs is not None and signs != self._signs)
        self._signs = signs or self._signs
        self._mind_fence(executor)
        self._notify()
        if self._vigil.failure:
            self._fail(self._vigil.failure)

    def _readings(self) -> tuple[ActorReading, ...]:
        return tuple(child.reading for child in self._children if child.reading is not None)

    # --- actors that hang -------------------------------------------------------------------------------------------

    def _on_silent(self, actor: str, figures: Mapping[str, str]) -> None:
        """An actor hangs: pause, and have it restarted."""
        logger.error("actor {} hangs: {}", actor, dict(figures))
        self._raise_heartbeat(actor, figures)
        self._house.supervisor.kill_child(actor, "missed its heartbeats")

    def _on_alive(self, actor: str) -> bool:
        """It moves again: let the pause recover. Risk may be new and not know the reason, so it is told that first."""
        if not self._raise_heartbeat(actor, {"actor": actor, "state": "recovered"}):
            return False
        house = self._house
        gone = ClearReason(**house.post.head(), reason=Reason.HEARTBEAT_MISSED, scope="", figures={"actor": actor})
        house.post.publish(gone, RISK)
        return True

    def _raise_heartbeat(self, actor: str, figures: Mapping[str, str]) -> bool:
        house = self._house
        raised = RaiseReason(
            **house.post.head(),
            reason=Reason.HEARTBEAT_MISSED,
            scope="",
            figures={**figures, "actor": actor},
        )
        if not house.router.send(RISK, raised):
            return False
        house.journal.append(raised)
        return True

    # --- after the vigil has acted ----------------------------------------------------------------------------------

    def _mind_fence(self, executor: ChildStatus) -> None:
        """Have the executor start anew behind the fence; tell what was done once the fence is down."""
        fence = self._house.fence
        if not fence.is_up:
            self._starts = executor.starts
            if self._over < self._episode:
                self._tell_episode()
            return
        if fence.episode != self._episode:
            self._episode = fence.episode
            logger.error("{}: the watchdog takes the entries away", fence.why)
            self._raise_heartbeat(EXECUTOR, {"why": fence.why, **self._vigil.figures})
            if executor.starts == self._starts:
                self._house.supervisor.kill_child(EXECUTOR, f"{fence.why}: it has to read the exchange")
        elif executor.starts > self._starts and executor.state is ChildState.RUNNING:
            self._house.pulse.ready = self._episode

    def _tell_episode(self) -> None:
        """Journal what the vigil did, and let the pause recover from here on."""
        if not self._on_alive(EXECUTOR):
            return
        self._over = self._episode
        house = self._house
        text = "the watchdog took the entries away: the executor had been silent"
        house.post.publish(Incident(**house.post.head(), actor="watchdog", text=text, figures=self._vigil.figures))
        self._clear_note()

    def _clear_note(self) -> None:
        try:
            watch_note.clear(note_path(self._house.journal.path))
        except OSError as error:
            logger.error("the watchdog's note cannot be taken away: {}", error)

    # --- the journal ------------------------------------------------------------------------------------------------

    async def _mind_journal(self) -> None:
        """Look where the journal is, for ever; one that is not there any more ends the run."""
        journal = self._house.journal
        while True:
            await asyncio.sleep(JOURNAL_LOOK_S)
            words = await asyncio.to_thread(journal.displaced)
            if words:
                self._lose_journal(words)
                return

    def _lose_journal(self, words: str) -> None:
        """Pause, let nothing more be written or sent, leave a note for the next life, and end the run."""
        house = self._house
        figures = {"journal": words}
        raised = RaiseReason(**house.post.head(), reason=Reason.JOURNAL_FAILED, scope="", figures=figures)
        house.router.send(RISK, raised)
        house.journal.give_up(words)
        try:
            note = WatchNote(why=Reason.JOURNAL_FAILED.value, figures=figures, ended=True)
            watch_note.write(note_path(house.journal.path), note)
        except OSError as error:
            logger.error("the watchdog's note cannot be written: {}", error)
        self._fail(words)

    # --- systemd ----------------------------------------------------------------------------------------------------

    def _notify(self) -> None:
        """Tell systemd how things stand, and that the run is alive where every actor has come further since."""
        view, notifier = self._house.view, self._notifier
        if view.mode in _ACTS:
            notifier.ready()
        reasons = ", ".join(sorted({reason for reason, _ in view.reasons}))
        notifier.status(f"{view.mode or 'starting'}{f': {reasons}' if reasons else ''}")
        names = {one.name for one in self._readings()}
        if names <= self._well and not self._house.fence.is_up:
            self._well.clear()
            notifier.alive()


async def tell_last_life(house: House, tell: Callable[[str], None]) -> None:
    """Act on the note of the life before: one that was ended for it starts paused until the operator's word.

    Before any actor lives. Raises Fatal where the note cannot be taken away.
    """
    path = note_path(house.journal.path)
    note = watch_note.read(path)
    if note is None:
        return
    figures = {**note.figures, "why": note.why}
    text = "the watchdog acted in the life before this one"
    house.post.publish(Incident(**house.post.head(), actor="watchdog", text=text, figures=figures))
    if note.ended:
        now_ns = house.clock.now_ns()
        others = [one for one in house.journal.latched() if one[0] != Reason.SUPERVISOR]
        entry = (Reason.SUPERVISOR.value, "", now_ns, tuple(sorted({**figures, "lifted_by": "run --resume"}.items())))
        house.journal.set_latched((*others, entry))
        tell(f"the last life was ended by its watchdog ({note.why}): paused until run --resume")
    else:
        tell(f"in its last life the watchdog took the entries away ({note.why})")
    await house.journal.commit()
    try:
        watch_note.clear(path)
    except OSError as error:
        raise Fatal(f"cannot take {path} away: {error.strerror}") from error
