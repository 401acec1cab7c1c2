"""One seed: a market, an exchange that lives on, a bot that dies and comes back, and what is found of it at the end.

Invariants: nothing here depends on the machine: the same seed, config and hours give the same ``trace``, whatever the
process and its hash seed; the exchange and the disk outlive every life; the last ``CALM_NS`` are without faults, and
what holds then is judged at the end.
"""

import asyncio
import hashlib
import traceback
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import attrs
from loguru import logger

from hedgegrid.config.params import instrument_of, venue_rules
from hedgegrid.config.schema import AccountConfig, OpsConfig
from hedgegrid.model.market import MarketUpdate
from hedgegrid.ports import PrivateEvent
from hedgegrid.simulation.disk import Disk
from hedgegrid.simulation.harm import Harm
from hedgegrid.simulation.judge import Judge
from hedgegrid.simulation.laws import Law, Violation, limits_of
from hedgegrid.simulation.life import SeededLife
from hedgegrid.simulation.life_clock import LifeClock
from hedgegrid.simulation.loop import LoopClock, SeededLoop, StuckError
from hedgegrid.simulation.mishaps import Countdowns, Mishaps
from hedgegrid.simulation.rare import Rare
from hedgegrid.simulation.venue import Venue
from hedgegrid.simulation.weather import MADE, Fault, Strike, Weather
from hedgegrid.simulation.wire import Wire
from hedgegrid.simulation.words import Word
from hedgegrid.simulation.world import SeededWorld
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS, NS_PER_S, cash_e8
from hedgegrid.worlds.simulated import open_tape
from hedgegrid.worlds.world import RunOptions

CALM_NS: Final = 15 * NS_PER_MINUTE
"""The quiet end of a run."""
HOURS_MIN: Final = 0.5
"""Less leaves nothing before the calm."""
DOWN_S: Final = (1, 120)
"""How long a dead process stays dead."""
OCCASION_NS: Final = 30 * NS_PER_S
"""How often a process could die."""
CLOCK_OFF_MS: Final = (500, 2_000, 60_000)
"""How wrong a clock can be, one of these."""
WELL_NS: Final = 60 * NS_PER_S
"""How long before a refresh nothing may have gone wrong for a life to be well."""
LAST_WORDS_S: Final = 600.0
"""How long a dead life may take to end before it is cancelled once more: longer than any child's shutdown."""
SECOND_S: Final = 60.0
"""How long a second instance is given to leave."""
HANGS: Final = "ChildKilledError('missed its heartbeats')"
"""How an end names an actor that the guard ended."""
PLACES: Final = 4
"""How many of the places that an error came through are told, the innermost last."""
NOBODY: Final = ("127.0.0.1", 0)


@attrs.frozen(kw_only=True)
class Plan:
    """What one run is: its ``hours`` of market time, and its weather.

    ``market_files``: a recorded market for all seeds; without them every seed invents one.
    ``without`` names strikes to leave out, ``only`` the kinds that may strike (None: a random half), ``force_ppm``
    scales how often they do.
    """

    seed: int
    hours: float
    market_files: tuple[Path, ...] = ()
    without: frozenset[str] = frozenset()
    only: frozenset[Fault] | None = None
    force_ppm: int = 1_000_000


@attrs.frozen(kw_only=True)
class Result:
    """What one run showed. ``mode``: the last permission, by the journal; ``trace``: a hash of all that passed."""

    plan: Plan
    trace: str
    boots: int
    fills: int
    orders: int
    mode: str
    violations: tuple[Violation, ...]
    strikes: tuple[Strike, ...]
    longest_bare_ns: int
    rare: dict[str, int]
    drawdown_ppm: int
    incidents: int
    words: int
    """What the bot said on the wire: requests and reads."""
    judgements: int
    """How often the account was judged by all laws about it."""


class Simulation:
    """One seed's run; it runs once."""

    def __init__(self, config: AccountConfig, plan: Plan, folder: Path) -> None:
        """Make market and exchange of ``plan``; journals go into ``folder``. Raises Fatal, ValueError."""
        if plan.hours < HOURS_MIN:
            raise ValueError(f"{plan.hours} hours: give {HOURS_MIN} or more, the last quarter of an hour is calm")
        self._plan = plan
        market: Literal["recorded", "synthetic"] = "recorded" if plan.market_files else "synthetic"
        # Nobody is listened to: a config's tokens need not be at hand where it is tortured.
        config = attrs.evolve(config, ops=OpsConfig(), sim=attrs.evolve(config.sim, seed=plan.seed, market=market))
        self._config = config
        instruments = tuple(instrument_of(config, grid.instrument) for grid in config.grid)
        options = RunOptions(listen=NOBODY, speed=None, market_files=plan.market_files)
        tape = open_tape(config, options, instruments)
        start_ns = next(iter(tape.steps(0))).ts_ns
        self._end_ns = start_ns + round(plan.hours * NS_PER_HOUR)
        self._loop = SeededLoop(plan.seed, start_ns=start_ns)  # type: ignore[abstract]  # no sockets, no files
        self._loop.set_exception_handler(self._on_loose)
        self._clock = LoopClock(self._loop)
        self._weather = Weather(
            plan.seed,
            calm_ns=self._end_ns - CALM_NS,
            without=plan.without,
            only=plan.only,
            force_ppm=plan.force_ppm,
        )
        rules = [attrs.evolve(venue_rules(config, one), latency_ns=0, refuse_over=1) for one in instruments]
        wallet_e8 = cash_e8(config.account.wallet_quote)
        self._venue = Venue(tape, instruments, rules, wallet_e8, self._clock)
        rules_of = {one.name: one for one in instruments}
        self._judge = Judge(self._venue, limits_of(config, rules_of, tape.bar_length_ns))
        self._judge.case.barred = lambda: self._wire is None or self._wire.is_barred
        self._mishaps = Mishaps(self._venue, self._weather)
        self._countdowns = Countdowns(self._venue, self._weather, self._on_countdown)
        self._disk = Disk(folder, self._weather, self._clock)
        self._disk.crash = self._crash
        self._judge.case.silent_since_ns = lambda: (
            self._clock.now_ns() if self._wire is None else self._wire.silent_since_ns
        )
        self._judge.case.commits = lambda: self._disk.commits
        self._judge.case.disk_failed = lambda: self._disk.failed_ns is not None
        self._dead = asyncio.Event()
        self._trace = hashlib.sha256()
        self._boots = 0
        self._orders = self._words = self._judgements = 0
        self._wire: Wire | None = None

    def run(self) -> Result:
        """Run to the end, and judge what is left."""
        try:
            path = self._loop.run_until_complete(self._live_and_die())
            mode = self._judge.ended(path)
        except StuckError as error:
            mode = "stuck"
            self._note_loose(error)
        finally:
            self._loop.close()
        return Result(
            plan=self._plan,
            trace=self._trace.hexdigest()[:16],
            boots=self._boots,
            fills=len(self._venue.exchange.fills),
            orders=self._orders,
            mode=mode,
            violations=tuple(self._judge.case.violations),
            strikes=tuple(self._weather.strikes),
            longest_bare_ns=self._judge.longest_bare_ns,
            drawdown_ppm=self._judge.drawdown_ppm,
            incidents=self._judge.incidents,
            rare={one.name: count for one, count in sorted(self._judge.rare.items()) if count},
            words=self._words,
            judgements=self._judgements,
        )

    def _on_loose(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An error came out of a callback, or out of a task that nobody asked: the loop goes on, as asyncio's does."""
        error = context.get("exception")
        if isinstance(error, Exception):
            self._note_loose(error)

    def _note_loose(self, error: Exception) -> None:
        self._judge.case.broken(Law.ERROR_TAKEN, f"boot {self._boots}: {_told(error)}")

    # --- lives ------------------------------------------------------------------------------------------------------

    async def _live_and_die(self) -> Path:
        """Let one life follow the other until the market ends; give the last journal."""
        self._venue.market.subscribe(self._on_market)
        self._venue.hear = self._on_account
        self._venue.moved = self._on_moved
        walking = asyncio.get_running_loop().create_task(self._venue.walk(self._end_ns), name="market")
        await self._live_once(walking)
        while not walking.done():
            await self._clock.sleep(self._weather.between(Fault.CRASH, *DOWN_S) * NS_PER_S)
            self._disk.turn()
            await self._live_once(walking)
        await walking
        return self._disk.left

    async def _live_once(self, walking: "asyncio.Task[None]") -> None:
        """Let the bot live until it dies, or until the market ends and it is stopped; nothing of it lives on."""
        before = set(self._loop.tasks())
        self._boots += 1
        self._dead = dead = asyncio.Event()
        life_clock = LifeClock(self._loop, self._clock_is_off())
        wire = self._wire = self._new_wire(self._boots, life_clock, self._on_word)
        self._judge.born(self._boots, self._disk.path)
        torn = self._boots > 1 and self._disk.is_torn
        life = self._new_life(wire, life_clock)
        harm = Harm(
            self._weather,
            self._clock,
            life,
            life_clock,
            seed=f"{self._plan.seed} visits {self._boots}",
            second=self._second,
            stop=lambda: life.end("stopped by SIGTERM"),
        )
        loop = asyncio.get_running_loop()
        living = loop.create_task(life.live(), name="life")
        waiting = loop.create_task(dead.wait(), name="death")
        others = [
            waiting,
            loop.create_task(self._die_sometime(), name="fate"),
            loop.create_task(harm.run(), name="harm"),
        ]
        await asyncio.wait((living, waiting, walking), return_when=asyncio.FIRST_COMPLETED)
        if not dead.is_set() and walking.done():
            self._judge.quiet()
            life.end("the simulation is over")
            await asyncio.wait((living, waiting), return_when=asyncio.FIRST_COMPLETED)
        if dead.is_set():
            await bury(living)
        for task in others:
            task.cancel()
        if not dead.is_set():
            self._judge_end(life, living)
        self._judge.case.rare[Rare.TORN_AND_STARTED] += torn and wire.account_ns is not None
        life.released.set()
        while left := [task for task in self._loop.tasks() if task not in before]:
            # A dead process does nothing more: neither its actors nor whoever stood beside it.
            await bury(*left)
        self._judge.died(self._disk.left, crashed=dead.is_set())

    def _crash(self, where: str) -> None:
        """Let the process die here: nothing is said or heard any more, and the disk is what it is now."""
        if self._dead.is_set() or self._wire is None:
            return
        logger.debug("the process dies {}", where)
        self._wire.cut = True
        self._judge.crashes()
        self._disk.keep()
        self._dead.set()

    def _clock_is_off(self) -> int:
        """Draw by how much the next life's clock is wrong."""
        if self._weather.strikes_now(Fault.CLOCK_JUMPS, self._clock.now_ns(), "the machine's clock"):
            most_ms = CLOCK_OFF_MS[self._weather.between(Fault.CLOCK_JUMPS, 0, len(CLOCK_OFF_MS) - 1)]
            return self._weather.between(Fault.CLOCK_JUMPS, -most_ms, most_ms) * NS_PER_MS
        return 0

    def _new_wire(self, boot: int, life_clock: LifeClock, log: Callable[[Word], None]) -> Wire:
        return Wire(
            self._venue,
            self._weather,
            self._clock,
            boot=boot,
            seed=self._plan.seed,
            log=log,
            life_clock=life_clock,
            crash=self._crash,
            countdowns=self._countdowns,
        )

    def _new_life(self, wire: Wire, life_clock: LifeClock) -> SeededLife:
        """Make a life; whoever starts it after a crash resumes it every other time, as a person might."""
        path = str(self._disk.path)
        config = attrs.evolve(self._config, journal=attrs.evolve(self._config.journal, path=path))
        world = SeededWorld(self._venue, wire, life_clock, account=config.account.name)
        resumed = self._boots > 1 and self._weather.between(Fault.CRASH, 0, 1) == 1
        options = RunOptions(
            listen=NOBODY, speed=None, resume=resumed, new_peak=resumed, journal_opens=self._disk.opens()
        )
        return SeededLife(config, world, options, die=self._crash)

    async def _second(self) -> None:
        """Start another instance beside the one that lives: it has to leave without a word."""
        life_clock = LifeClock(self._loop)
        wire = self._new_wire(self._boots, life_clock, self._judge.second)
        life = self._new_life(wire, life_clock)
        living = asyncio.get_running_loop().create_task(life.live(), name="second life")
        done, _ = await asyncio.wait((living,), timeout=SECOND_S)
        self._judge.case.rare[Rare.SECOND_REFUSED] += bool(done)
        wire.cut = True
        await bury(living)

    def _judge_end(self, life: SeededLife, living: "asyncio.Task[None]") -> None:
        """Tell the judge of a life that ended as failed, unless it ended by what was done to it."""
        if living.cancelled():
            return
        error = living.exception()
        failure = life.failure or ("" if error is None else f"{type(error).__name__}: {error}")
        rare = self._judge.case.rare
        rare[Rare.ROOT_GAVE_UP] += "gave up" in failure
        rare[Rare.JOURNAL_LOST] += self._disk.failed_ns is not None and bool(failure)
        # The guard ends what hangs in its own words: they are a made fault's only where that actor was made to hang.
        hung = any(f"the last for {name}: {HANGS}" in failure for name in life.hung)
        made = MADE in failure or hung
        full = self._disk.failed_ns is not None and "cannot be written" in failure
        # A stop in bad weather may have to leave what it could not see gone, and says so.
        blind = failure.endswith("look at the exchange") or "the exchange cannot be read" in failure
        unseen = blind and not self._weather.is_calm(self._clock.now_ns())
        if failure and not (made or full or unseen):
            self._judge.failed(f"boot {self._boots}: {failure}")

    async def _die_sometime(self) -> None:
        """Crash at a moment that is drawn."""
        while True:
            await self._clock.sleep(OCCASION_NS)
            if self._weather.strikes_now(Fault.CRASH, self._clock.now_ns(), "process"):
                await self._clock.sleep(self._weather.between(Fault.CRASH, 0, OCCASION_NS // NS_PER_MS) * NS_PER_MS)
                self._crash("at any moment")

    # --- what passes ------------------------------------------------------------------------------------------------

    def _on_market(self, updates: tuple[MarketUpdate, ...]) -> None:
        if self._wire is not None:
            self._wire.seen(updates)
        self._mishaps.look()

    def _on_account(self, events: Sequence[PrivateEvent]) -> None:
        for event in events:
            self._trace.update(repr(event).encode())
        self._judge.heard(events)
        if self._wire is not None:
            self._wire.heard(events)

    def _on_moved(self) -> None:
        if self._wire is not None:
            self._wire.remember()
        self._judgements += 1
        self._judge.moved()

    def _on_countdown(self, instrument: str, set_ns: int) -> None:
        well = not any(strike.ts_ns >= set_ns - WELL_NS for strike in self._weather.strikes)
        self._judge.countdown_fired(instrument, set_ns, well=well)

    def _on_word(self, word: Word) -> None:
        self._trace.update(word.text().encode())
        self._words += 1
        self._orders += len(word.requests)
        self._judge.word(word)


async def bury(*tasks: "asyncio.Task[Any]") -> None:
    """Cancel tasks of a life whose wire is cut, until they end: whatever they still ask for has no answer."""
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle | None = None

    def cancel() -> None:
        nonlocal timer
        for task in tasks:
            task.cancel()
        timer = loop.call_later(LAST_WORDS_S, cancel)

    cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if timer is not None:
        timer.cancel()


def shrunk(config: AccountConfig, plan: Plan, result: Result, folder: Path, tries_max: int) -> Result:
    """Leave out strikes one by one, latest first, while a law of ``result`` is still broken; give the smallest run."""
    laws = {one.law for one in result.violations}
    smallest = result
    for number, strike in enumerate(_latest_first(result.strikes)[:tries_max]):
        trial = attrs.evolve(plan, without=smallest.plan.without | {strike.name})
        found = Simulation(config, trial, folder / f"shrink{number}").run()
        if laws & {one.law for one in found.violations}:
            smallest = found
    return smallest


def _told(error: Exception) -> str:
    """Say in a line what came out of the loop, and where it began."""
    places = [f"{Path(one.filename).name}:{one.lineno}" for one in traceback.extract_tb(error.__traceback__)]
    return f"{type(error).__name__}: {error} ({', '.join(places[-PLACES:])})"


def _latest_first(strikes: Collection[Strike]) -> list[Strike]:
    return sorted(strikes, key=lambda one: -one.ts_ns)
