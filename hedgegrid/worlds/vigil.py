"""The watchdog's last resort: a thread with an event loop and a session of its own that watches the bot's loop.

A loop that is blocked cannot watch itself, and an executor that hangs cannot take its entries away. So this thread
reads the pulse that the loop shows, and where the executor has been silent for too long it puts up the fence (nothing
that adds is sent from then on, whenever the loop comes back), takes the entries away through its own session, and
leaves a note on the disk. A loop that stays blocked is ended with the process.

Invariants: the fence goes up before anything is asked of the exchange, and comes down only when the executor has
started anew since, moves, and no request of this thread is on its way; only entries are taken, never an exit; nothing
here waits for the other loop, its log or its journal; while all is well it sends nothing.
"""

import asyncio
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

from hedgegrid.core.vigil import Deed, Seen, VigilLimits, deed, looked
from hedgegrid.journal import watch_note
from hedgegrid.journal.watch_note import WatchNote
from hedgegrid.ports import LastResort, Taken
from hedgegrid.runtime.fence import Fence, Pulse
from hedgegrid.runtime.specs import EXIT_WEDGED
from hedgegrid.units import NS_PER_MS, NS_PER_S

AGAIN_NS: Final = NS_PER_S
"""The wait between two passes: what was refused, or arrived late, is taken by the next."""
JOIN_S: Final = 8.0
"""What the thread gets to end: a request under way, and its connections."""
FRAMES: Final = 3
NAMES_MAX: Final = 40
BLOCKED: Final = "the event loop is blocked"
SILENT: Final = "the executor is silent"


class Vigil:
    """Watches one run from a thread. Lives once."""

    def __init__(
        self,
        *,
        pulse: Pulse,
        fence: Fence,
        limits: VigilLimits,
        validity_ns: int,
        last_resort: Callable[[], LastResort] | None,
        note: Path,
        leave: Callable[[int], object] = os._exit,
    ) -> None:
        """Make it in the thread that it is to watch; nothing is watched before ``start``.

        ``validity_ns``: how long an entry that has left may still arrive; ``last_resort`` makes, in this thread, what
        takes entries away (None: nobody's entries rest anywhere); ``leave`` ends the process.
        """
        self._pulse = pulse
        self._fence = fence
        self._limits = limits
        self._validity_ns = validity_ns
        self._last_resort = last_resort
        self._note = note
        self._leave = leave
        self._watched_thread = threading.get_ident()
        self._resort: LastResort | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._up = threading.Event()
        self._pass: asyncio.Task[Taken] | None = None
        self._acted_ns = 0
        self._pass_ns: int | None = None
        self._clean = False
        self._asked: dict[str, None] = {}
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self.failure = ""
        """Why the thread has ended by itself; "" while it has not."""
        self.figures: dict[str, str] = {}
        """Of the newest episode; replaced whole, never changed."""

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    async def stop(self) -> None:
        """Watch no more; harmless when not started."""
        if self._thread.ident is None:
            return
        await asyncio.to_thread(self._end_thread)

    def _end_thread(self) -> None:
        self._up.wait(JOIN_S)
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(JOIN_S)

    # --- in the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            asyncio.run(self._watch())
        except Exception as error:  # broad: whatever ended the watch, the run has to hear of it
            self.failure = f"the watchdog's thread has ended: {error!r}"
        finally:
            self._up.set()

    async def _watch(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        try:
            if self._last_resort is not None:
                self._resort = self._last_resort()
            self._up.set()
            await self._look_until(self._stop)
        finally:
            if self._pass is not None:
                self._pass.cancel()
                await asyncio.gather(self._pass, return_exceptions=True)
            if self._resort is not None:
                await self._resort.close()

    async def _look_until(self, stop: asyncio.Event) -> None:
        pulse, look_s = self._pulse, self._limits.look_ns / NS_PER_S
        seen = Seen(at_ns=_now_ns(), beats=pulse.beats, moves=pulse.moves)
        while not stop.is_set():
            await asyncio.sleep(look_s)
            seen = looked(self._limits, seen, beats=pulse.beats, moves=pulse.moves, now_ns=_now_ns())
            self._act(deed(self._limits, seen), seen)

    def _act(self, due: Deed, seen: Seen) -> None:
        """Do what a look calls for; nothing here waits."""
        self._take_up_pass()
        if due is Deed.NOTHING:
            self._come_down(seen)
            return
        if not self._fence.is_up:
            self._begin(seen)
        if due is Deed.END:
            self._say(seen, ended=True)
            self._leave(EXIT_WEDGED)
        self._go_on()

    def _begin(self, seen: Seen) -> None:
        """Begin an episode: the fence first, then the note, then the exchange."""
        self._fence.put_up(BLOCKED if seen.blocked_ns >= self._limits.silence_ns else SILENT)
        self._acted_ns, self._pass_ns, self._clean = _now_ns(), None, False
        self._asked = {}
        self.figures = {}
        self._say(seen, ended=False)

    def _go_on(self) -> None:
        """Begin another pass, until one has found nothing after the last entry that was sent could have arrived."""
        now_ns = _now_ns()
        over = self._clean and now_ns - self._acted_ns > self._validity_ns
        soon = self._pass_ns is not None and now_ns - self._pass_ns < AGAIN_NS
        if self._resort is None or self._pass is not None or over or soon:
            return
        self._pass_ns = now_ns
        self._pass = asyncio.get_running_loop().create_task(self._resort.take(), name="taking entries")

    def _take_up_pass(self) -> None:
        """Take in what a pass has come to."""
        if self._pass is None or not self._pass.done():
            return
        taken, self._pass = self._pass.result(), None
        self._clean = not taken.asked and not taken.problems
        self._asked |= dict.fromkeys(taken.asked)
        names = list(self._asked)
        told = {"cancelled": str(len(names)), "orders": " ".join(names[:NAMES_MAX])}
        if taken.problems:
            told["problem"] = taken.problems[0]
        self.figures = {**self.figures, **told}
        self._write(ended=False)

    def _come_down(self, seen: Seen) -> None:
        """Take the fence down where the executor has started anew, moves, and nothing of ours is on its way."""
        fence = self._fence
        if fence.is_up and self._pass is None and seen.silent_ns == 0 and self._pulse.ready == fence.episode:
            fence.take_down()

    def _say(self, seen: Seen, *, ended: bool) -> None:
        self.figures = {
            **self.figures,
            "silence_ms": str(seen.silent_ns // NS_PER_MS),
            "blocked_ms": str(seen.blocked_ns // NS_PER_MS),
            "limit_ms": str(self._limits.silence_ns // NS_PER_MS),
            "wall_ns": str(time.time_ns()),  # ambient: a note says when
        }
        if seen.blocked_ns:
            self.figures["where"] = where_is(self._watched_thread)
        self._write(ended=ended)

    def _write(self, *, ended: bool) -> None:
        """Leave the note; a disk that does not take it keeps nobody from the rest."""
        try:
            watch_note.write(self._note, WatchNote(why=self._fence.why, figures=self.figures, ended=ended))
        except OSError as error:
            self.figures = {**self.figures, "note": f"not written: {error.strerror}"}


def _now_ns() -> int:
    """Give a time that only goes on, in ns."""
    return time.monotonic_ns()  # ambient: the thread watches others by the wall


def where_is(thread: int) -> str:
    """Say where a thread is now, innermost first; "" where it is not known."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - the one way to see another thread's frames
    if frame is None:
        return ""
    found = traceback.extract_stack(frame)[-FRAMES:]
    return " < ".join(f"{one.name} {Path(one.filename).name}:{one.lineno}" for one in reversed(found))
