"""Reaching the exchange: what a start does while the exchange is busy, bans us, is closed, or cannot be found.

Invariants: what passes by itself is waited for, and never ends a start as bad input; every wait is told in one line
and is bounded, what the exchange asks for is kept; the whole is bounded where somebody waits for its end (an errand,
``--duration``), and ends at once with a signal; what only a person can mend is raised at once.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hedgegrid.alerts import tell_early
from hedgegrid.config.schema import AccountConfig
from hedgegrid.errors import Transient, Unreachable
from hedgegrid.runtime.clock import Clock
from hedgegrid.units import NS_PER_S
from hedgegrid.worlds.waiting import stop_or_until
from hedgegrid.worlds.world import RunOptions, World

FIRST_S: Final = 1
"""The first wait, where the exchange names none; each further one is twice as long."""
LONGEST_S: Final = 30
GRACE_S: Final = 5.0
"""What an attempt under way gets when its time is over, or somebody ends the start."""
ALARM_S: Final = 60
"""A wait that comes to this much in all is told to people, once."""
UNDONE: Final = "nothing was sent, so what rests and what is held at the exchange stays as it is"
Attempt = Callable[[], Coroutine[Any, Any, None]]


class Reaching:
    """Tries for one start, again and again."""

    def __init__(
        self,
        *,
        clock: Clock,
        bound_s: float | None,
        asked: asyncio.Event,
        harmless: Callable[[], bool],
        tell: Callable[[str], None],
        waits: Callable[[int], None],
        alarm: Callable[[str], None],
    ) -> None:
        """``bound_s``: what all of it may take, None where nobody waits; ``asked`` is set by who ends the start.

        ``harmless`` tells whether such an end leaves nothing undone. ``tell`` gets a line for each wait, ``waits`` its
        length in ns; ``alarm`` a line for people, once.
        """
        self._clock = clock
        self._bound_s = bound_s
        self._asked = asked
        self._harmless = harmless
        self._tell = tell
        self._waits = waits
        self._alarm = alarm
        self._alarmed = False
        self._began_ns = clock.now_ns()
        self._until_ns = None if bound_s is None else self._began_ns + round(bound_s * NS_PER_S)
        self._asked_ns: int | None = None

    async def reach(self, attempt: Attempt) -> None:
        """Try until it does well. Unreachable where the time is over or somebody ended it; raises what it else raises.

        An attempt is broken off at its end only: what it asks for may be asked for twice.
        """
        failures = 0
        while True:
            try:
                await self._try(attempt)
            except Transient as error:
                failures += 1
                await self._wait(error, failures)
            else:
                break
        if failures:
            self._tell("the exchange answers again")

    def is_over(self) -> bool:
        """Whether a start that reads the account at last has had its time, the bound's or that of an end."""
        now_ns = self._clock.now_ns()
        if self._asked.is_set() and self._asked_ns is None:
            self._asked_ns = now_ns
        ended = self._asked_ns is not None and now_ns >= self._asked_ns + round(GRACE_S * NS_PER_S)
        return ended or (self._until_ns is not None and now_ns >= self._until_ns)

    def given_up(self, why: str) -> Unreachable:
        """Give the error of a start whose time is over, and say what that means."""
        by_hand = self._asked.is_set() or self._bound_s is None
        over = "ended by hand" if by_hand else f"within {self._bound_s:g} s"
        error = Unreachable(f"the exchange was not reached ({over}): {why}")
        error.harmless = by_hand and self._harmless()
        return error

    async def _try(self, attempt: Attempt) -> None:
        """Try once. Raises what the attempt raises, and Unreachable where it is broken off."""
        working = asyncio.create_task(attempt(), name="reaching the exchange")
        try:
            await stop_or_until(self._asked, working, self._clock, self._until_ns)
            await asyncio.wait({working}, timeout=GRACE_S)
            if not working.done():
                raise self.given_up(f"it does not answer; {UNDONE}")
            working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    async def _wait(self, error: Transient, failures: int) -> None:
        """Wait until another attempt is worth it. Raises Unreachable where none is to be made."""
        now_ns, asks_ns, last_ns = self._clock.now_ns(), error.until_ns or 0, self._until_ns
        backoff_ns = min(FIRST_S << min(failures - 1, 10), LONGEST_S) * NS_PER_S
        at_ns = max(now_ns + backoff_ns, asks_ns)
        if self._asked.is_set() or (last_ns is not None and now_ns >= last_ns):
            raise self.given_up(f"{error}; {UNDONE}")
        if last_ns is not None and asks_ns > last_ns:
            raise self.given_up(f"{error}; it asks to be left alone until {_moment(asks_ns)}; {UNDONE}")
        if last_ns is not None:
            at_ns = min(at_ns, last_ns)
        self._tell(f"waiting for the exchange: {error}; tried again in {_length(at_ns - now_ns)}")
        self._waits(at_ns - now_ns)
        if not self._alarmed and at_ns - self._began_ns >= ALARM_S * NS_PER_S:
            self._alarmed = True
            self._alarm(f"a start waits for the exchange, and nobody watches the account: {error}")
        await stop_or_until(self._asked, None, self._clock, at_ns)
        if self._asked.is_set():
            raise self.given_up(f"{error}; {UNDONE}")


def reaching_of(
    world: World,
    config: AccountConfig,
    options: RunOptions,
    asked: asyncio.Event,
    tell: Callable[[str], None],
    waits: Callable[[int], None],
) -> Reaching | None:
    """Give what waits for the exchange of a run, bounded by the run's time; None where it has none to wait for."""
    if not world.streamed:
        return None
    bound_s = options.duration_s if options.errand is None else options.errand.timeout_s

    def harmless() -> bool:
        # Of an earlier life entries may rest, which the policy of this one would take away.
        past = Path(config.journal.path).exists() and config.account.on_stop != "keep"
        return options.errand is None and not past

    return Reaching(
        clock=world.clock,
        bound_s=bound_s,
        asked=asked,
        harmless=harmless,
        tell=tell,
        waits=waits,
        alarm=lambda words: tell_early(config, words),
    )


def _length(span_ns: int) -> str:
    """Write a wait for a person: to the second, never 0."""
    return f"{max(1, -(-span_ns // NS_PER_S))} s"


def _moment(at_ns: int) -> str:
    """Write a time for a person."""
    return f"{datetime.fromtimestamp(at_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M:%S} UTC"
