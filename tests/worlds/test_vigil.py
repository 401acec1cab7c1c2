"""The watchdog's thread by itself: the order in which it acts, when it lets go, and that it minds nobody's failures."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import attrs
import pytest

from hedgegrid.core.vigil import VigilLimits
from hedgegrid.journal import watch_note
from hedgegrid.ports import LastResort, Taken
from hedgegrid.runtime.fence import Fence, Pulse
from hedgegrid.runtime.specs import EXIT_WEDGED
from hedgegrid.units import NS_PER_MS
from hedgegrid.worlds import vigil
from hedgegrid.worlds.vigil import Vigil

LIMITS: Final = VigilLimits(look_ns=5 * NS_PER_MS, silence_ns=40 * NS_PER_MS)
BOUND_S: Final = 10.0


class Resort:
    """A last resort that writes down what it was asked for, and whether the fence stood by then."""

    def __init__(self, fence: Fence) -> None:
        self.fence = fence
        self.passes: list[bool] = []
        self.answers: list[Taken] = [Taken(asked=("an-entry",))]
        self.loop, self.goes_on = asyncio.get_running_loop(), asyncio.Event()
        self.closed = False

    async def take(self) -> Taken:
        """Answer the next pass; wait where there is no answer left until told to go on."""
        self.passes.append(self.fence.is_up)
        if not self.answers:
            await self.goes_on.wait()
            return Taken()
        return self.answers.pop(0)

    async def close(self) -> None:
        """Be closed."""
        self.closed = True


@attrs.define(eq=False)
class Watched:
    """A loop as the thread sees it, moved by the test."""

    note: Path
    pulse: Pulse = attrs.field(factory=Pulse)
    fence: Fence = attrs.field(factory=Fence)
    codes: list[int] = attrs.field(factory=list)
    made: list[Resort] = attrs.field(factory=list)

    def resort(self) -> LastResort:
        """Make the last resort, in the thread."""
        self.made.append(Resort(self.fence))
        return self.made[0]

    async def until(self, holds: Callable[[], bool], *, beats: bool = True, moved: bool = False) -> None:
        """Wait until something holds; the loop beats meanwhile, and the executor moves where ``moved``."""
        until_s = time.monotonic() + BOUND_S
        while not holds():
            assert time.monotonic() < until_s, (self.fence.why, self.made)
            if beats:
                self.pulse.beat(moved=moved)
            await asyncio.sleep(0.003)

    async def moves_for_a_while(self) -> None:
        """Let loop and executor move for some looks of the thread."""
        for _ in range(20):
            await asyncio.sleep(0.003)
            self.pulse.beat(moved=True)


@asynccontextmanager
async def watching(folder: Path, last_resort: bool = True) -> AsyncIterator[Watched]:
    """Let the thread watch."""
    one = Watched(folder / "note")
    made = Vigil(
        pulse=one.pulse,
        fence=one.fence,
        limits=LIMITS,
        validity_ns=0,
        last_resort=one.resort if last_resort else None,
        note=one.note,
        leave=one.codes.append,
    )
    made.start()
    try:
        yield one
    finally:
        await made.stop()
        assert made.failure == ""
        assert all(resort.closed for resort in one.made)


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes that follow each other soon."""
    monkeypatch.setattr(vigil, "AGAIN_NS", 10 * NS_PER_MS)


@pytest.mark.asyncio
async def test_fence_stands_before_anything_is_asked(tmp_path: Path) -> None:
    """Otherwise an executor that comes back meanwhile would lay the next entry behind the cancel's back."""
    async with watching(tmp_path) as one:
        one.pulse.beat(moved=True)
        await one.until(lambda: bool(one.made and one.made[0].passes))
        assert one.made[0].passes[0] is True
        await one.until(lambda: (watch_note.read(one.note) or NOTHING).figures.get("orders") == "an-entry")


NOTHING: Final = watch_note.WatchNote(why="", figures={}, ended=False)


@pytest.mark.asyncio
async def test_fence_comes_down_only_behind_a_new_start_and_with_nothing_on_its_way(tmp_path: Path) -> None:
    """A move alone is not enough, nor a start of an earlier episode, nor a pass whose answer is not here yet."""
    async with watching(tmp_path) as one:
        one.pulse.beat(moved=True)
        await one.until(lambda: bool(one.made))
        one.made[0].answers = [Taken(problems=("busy",))] * 9
        await one.until(lambda: one.fence.is_up and bool(one.made[0].passes))
        await one.moves_for_a_while()
        assert one.fence.is_up, "it moves, but has not started anew"
        one.made[0].answers.clear()
        asked = len(one.made[0].passes)
        await one.until(lambda: len(one.made[0].passes) > asked)
        one.pulse.ready = one.fence.episode
        await one.moves_for_a_while()
        assert one.fence.is_up, "a pass is on its way"
        one.made[0].loop.call_soon_threadsafe(one.made[0].goes_on.set)
        await one.until(lambda: not one.fence.is_up, moved=True)
        await one.until(lambda: one.fence.is_up)
        assert one.fence.episode == 2, "the next silence is an episode of its own"
        await one.moves_for_a_while()
        assert one.fence.is_up, "the start after the first episode says nothing of the second"


@pytest.mark.asyncio
async def test_pass_that_failed_is_made_again(tmp_path: Path) -> None:
    """What could not be read, or was refused, is asked for until a pass finds nothing left; then it is quiet."""
    async with watching(tmp_path) as one:
        one.pulse.beat(moved=True)
        await one.until(lambda: bool(one.made))
        one.made[0].answers = [Taken(problems=("busy",)), Taken(asked=("an-entry",)), Taken(), Taken(), Taken()]
        await one.until(lambda: len(one.made[0].passes) >= 3)
        for _ in range(30):
            await asyncio.sleep(0.003)
            one.pulse.beat(moved=False)
        assert len(one.made[0].passes) == 3
        note = watch_note.read(one.note)
        assert note is not None
        assert (note.figures["cancelled"], note.figures["problem"]) == ("1", "busy")


@pytest.mark.asyncio
@pytest.mark.parametrize("last_resort", [True, False])
async def test_loop_that_does_not_come_back_is_ended(last_resort: bool, tmp_path: Path) -> None:
    """With the code that says so, after its entries were taken, and with a note for the next life."""
    async with watching(tmp_path, last_resort) as one:
        one.pulse.beat(moved=True)
        await one.until(lambda: bool(one.codes), beats=False)
        assert one.codes[0] == EXIT_WEDGED
        note = watch_note.read(one.note)
        assert note is not None
        assert (note.why, note.ended) == (vigil.BLOCKED, True)
        assert note.figures["where"]
        assert not one.made or one.made[0].passes


@pytest.mark.asyncio
async def test_disk_that_takes_no_note_keeps_nobody_from_the_cancels(tmp_path: Path) -> None:
    """A full disk may be why the executor is silent."""
    (tmp_path / "note.new").mkdir()
    async with watching(tmp_path) as one:
        one.pulse.beat(moved=True)
        await one.until(lambda: bool(one.made and one.made[0].passes))


@pytest.mark.asyncio
async def test_calm_asks_for_nothing(tmp_path: Path) -> None:
    """While all moves: no fence, no pass, no note."""
    async with watching(tmp_path) as one:
        until_s = time.monotonic() + 0.3
        await one.until(lambda: time.monotonic() > until_s, moved=True)
        assert (one.fence.episode, one.made[0].passes, one.note.exists(), one.codes) == (0, [], False, [])
