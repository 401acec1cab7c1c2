"""What befalls the process of one life from inside and from beside it: actors, the loop, people, a second instance.

Invariants: every kind strikes by its own draw; what is done to an actor is done to the running one, wherever it is;
nobody but the drawn visitor lifts what latched.
"""

import random
from collections.abc import Awaitable, Callable
from typing import Final

from hedgegrid.runtime.clock import Clock
from hedgegrid.simulation.life import SeededLife
from hedgegrid.simulation.life_clock import LifeClock
from hedgegrid.simulation.weather import Fault, Weather
from hedgegrid.units import NS_PER_MS, NS_PER_S

HARM_MS: Final = (1, 20_000)
"""How often something could happen."""
OPERATOR_CHOICES: Final = 5
"""Of six acts three resume: an account that stays paused shows little."""
VISIT_S: Final = (900, 5_400)
"""How often somebody looks in, and lifts what latched."""
CLOCK_WRONG_NS: Final = 200 * NS_PER_MS
STORM: Final = 8
STORM_PAUSE_NS: Final = 1_500 * NS_PER_MS


class Harm:
    """Harms one life until it is cancelled."""

    def __init__(
        self,
        weather: Weather,
        clock: Clock,
        life: SeededLife,
        life_clock: LifeClock,
        *,
        seed: str,
        second: Callable[[], Awaitable[None]],
        stop: Callable[[], None],
    ) -> None:
        """``second`` starts another instance beside this life; ``stop`` has this one stopped as a person would."""
        self._weather = weather
        self._clock = clock
        self._life = life
        self._life_clock = life_clock
        self._visits = random.Random(seed)  # noqa: S311 - repeatable is the point
        self._second = second
        self._stop = stop

    async def run(self) -> None:
        """Strike now and then."""
        visit_ns = self._next_visit_ns()
        while True:
            await self._clock.sleep(self._weather.between(Fault.ACTOR_FAILS, *HARM_MS) * NS_PER_MS)
            names = self._life.actors()
            if not names:
                continue
            if self._weather.is_calm(self._clock.now_ns()):
                # One that waits for hours for a message would hang in the calm, which is no fault's time.
                self._life.spare(names)
            await self._actors(names)
            self._loop()
            await self._people()
            if self._clock.now_ns() >= visit_ns:
                visit_ns = self._next_visit_ns()
                self._look_in()

    def _look_in(self) -> None:
        """Lift what latched; a bot whose clock has gone wrong is started anew, for it cannot set it."""
        if self._weather.is_calm(self._clock.now_ns()):
            return
        if abs(self._life_clock.offset_ns) > CLOCK_WRONG_NS:
            self._stop()
        else:
            self._life.act(OPERATOR_CHOICES)

    def _next_visit_ns(self) -> int:
        return self._clock.now_ns() + self._visits.randint(*VISIT_S) * NS_PER_S

    def _strikes(self, fault: Fault, what: str) -> bool:
        return self._weather.strikes_now(fault, self._clock.now_ns(), what)

    def _one_of(self, fault: Fault, names: tuple[str, ...]) -> str:
        return names[self._weather.between(fault, 0, len(names) - 1)]

    async def _actors(self, names: tuple[str, ...]) -> None:
        if self._strikes(Fault.ACTOR_FAILS, "an actor"):
            self._life.kill(self._one_of(Fault.ACTOR_FAILS, names))
        if self._strikes(Fault.ACTOR_HANGS, "an actor"):
            self._life.hang(self._one_of(Fault.ACTOR_HANGS, names), deaf=False)
        if self._strikes(Fault.CANCEL_SWALLOWED, "an actor"):
            self._life.hang(self._one_of(Fault.CANCEL_SWALLOWED, names), deaf=True)
        if self._strikes(Fault.RESTART_STORM, "an actor"):
            name = self._one_of(Fault.RESTART_STORM, names)
            for _ in range(STORM):
                self._life.kill(name)
                await self._clock.sleep(STORM_PAUSE_NS)

    def _loop(self) -> None:
        if self._strikes(Fault.LOOP_BLOCKED, "the loop"):
            self._life_clock.stand(self._seconds(Fault.LOOP_BLOCKED, 1, 30), asleep=False)
        if self._strikes(Fault.SUSPENDED, "the machine"):
            self._life_clock.stand(self._seconds(Fault.SUSPENDED, 1, 900), asleep=True)

    def _seconds(self, fault: Fault, low: int, high: int) -> int:
        return self._weather.between(fault, low, high) * NS_PER_S

    async def _people(self) -> None:
        if self._strikes(Fault.OPERATOR, "a person"):
            self._life.act(self._weather.between(Fault.OPERATOR, 0, OPERATOR_CHOICES))
        if self._strikes(Fault.SECOND_INSTANCE, "a second instance"):
            await self._second()
        if self._strikes(Fault.STOPPED, "a person"):
            self._stop()
