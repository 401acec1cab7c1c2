"""What a start does while the exchange cannot be asked: it waits, says so, and knows when it is over.

Invariant: time is virtual; what is proven is when the attempts come, what is said, and how it ends.
"""

import asyncio
from collections.abc import Callable

import attrs
import pytest

from hedgegrid.errors import Fatal, Transient, Unreachable
from hedgegrid.reaching import Reaching
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.units import NS_PER_S

TURNS = 10
"""Of the loop, until whoever is due has come to his next wait."""


def banned(until_s: int) -> Transient:
    """Make the error of a ban."""
    error = Transient("banned")
    error.until_ns = until_s * NS_PER_S
    return error


@attrs.define(eq=False)
class Start:
    """A start in virtual time, at an exchange that answers as ``answers`` say, the last one for ever."""

    answers: list[Exception | None]
    bound_s: float | None = None
    past: bool = False
    clock: VirtualClock = attrs.field(factory=lambda: VirtualClock(0))
    asked: asyncio.Event = attrs.field(factory=asyncio.Event)
    tries_s: list[float] = attrs.field(factory=list)
    told: list[str] = attrs.field(factory=list)
    waits_s: list[float] = attrs.field(factory=list)
    alarms: list[str] = attrs.field(factory=list)

    async def attempt(self) -> None:
        """Ask the exchange."""
        self.tries_s.append(self.clock.now_ns() / NS_PER_S)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            raise answer

    async def run(self, when: Callable[[], object] = bool) -> None:
        """Reach the exchange, time going on whenever all wait; ``when`` is called after each step of it."""
        reaching = Reaching(
            clock=self.clock,
            bound_s=self.bound_s,
            asked=self.asked,
            harmless=lambda: not self.past,
            tell=self.told.append,
            waits=lambda ns: self.waits_s.append(ns / NS_PER_S),
            alarm=self.alarms.append,
        )
        working = asyncio.create_task(reaching.reach(self.attempt))
        while True:
            for _ in range(TURNS):
                await asyncio.sleep(0)
            if working.done():
                break
            self.clock.fire_next()
            when()
        await working


@pytest.mark.asyncio
async def test_waits_grow_and_each_is_told() -> None:
    """Without a word of the exchange attempts come after 1, 2, 4 s up to 30 s; each wait is one line that says why."""
    start = Start([*[Transient("maintenance")] * 8, None])
    await start.run()
    assert start.tries_s == [0, 1, 3, 7, 15, 31, 61, 91, 121]
    assert start.waits_s == [1, 2, 4, 8, 16, 30, 30, 30]
    assert start.told[0] == "waiting for the exchange: maintenance; tried again in 1 s"
    assert (len(start.told), start.told[-1]) == (9, "the exchange answers again")


@pytest.mark.asyncio
async def test_the_exchanges_word_is_kept() -> None:
    """A ban is sat out to its end, however long; nothing is asked before."""
    start = Start([banned(200_000), None])
    await start.run()
    assert start.tries_s == [0, 200_000]


@pytest.mark.asyncio
async def test_people_are_told_once() -> None:
    """A wait of a minute in all is an alert, one alone; a short one is none."""
    short, long = Start([*[Transient("busy")] * 5, None]), Start([*[Transient("busy")] * 20, None])
    await short.run()
    await long.run()
    assert short.alarms == []
    assert long.alarms == ["a start waits for the exchange, and nobody watches the account: busy"]


@pytest.mark.asyncio
async def test_a_bound_ends_it() -> None:
    """The last attempt comes at the bound; then it is over, and the line says what stays as it is."""
    start = Start([Transient("busy")], bound_s=10)
    with pytest.raises(Unreachable, match=r"within 10 s\): busy; nothing was sent") as ended:
        await start.run()
    assert start.tries_s == [0, 1, 3, 7, 10]
    assert not ended.value.harmless


@pytest.mark.asyncio
async def test_a_ban_beyond_the_bound_ends_it_at_once() -> None:
    """Nobody waits for what cannot come in time; the line says when it may be tried again."""
    start = Start([banned(3_600)], bound_s=10)
    with pytest.raises(Unreachable, match="until 1970-01-01 01:00:00 UTC"):
        await start.run()
    assert (start.tries_s, start.waits_s) == ([0], [])


@pytest.mark.asyncio
@pytest.mark.parametrize("past", [False, True])
async def test_a_signal_ends_it_at_once(past: bool) -> None:
    """It ends within the wait; harmless only where no earlier life can have left anything."""
    start = Start([banned(3_600)], past=past)
    start.clock.call_at(5 * NS_PER_S, start.asked.set)
    with pytest.raises(Unreachable, match="ended by hand") as ended:
        await start.run()
    assert (start.tries_s, start.clock.now_ns()) == ([0], 5 * NS_PER_S)
    assert ended.value.harmless is not past


@pytest.mark.asyncio
async def test_what_a_person_must_mend_is_raised_at_once() -> None:
    """A refused key after a busy minute is no matter of waiting."""
    start = Start([Transient("busy"), Fatal("the key")])
    with pytest.raises(Fatal, match="the key") as ended:
        await start.run()
    assert not isinstance(ended.value, Unreachable)
    assert start.tries_s == [0, 1]
