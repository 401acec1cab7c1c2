"""One seed: a market, an exchange that lives on, a bot that dies and comes back, and what is found of it at the end.

Invariants: nothing here depends on the machine: the same seed, config and hours give the same ``trace``, whatever the
process and its hash seed; the exchange and the disk outlive every life; the last ``CALM_NS`` are without faults, and
what holds then is judged at the end.
"""

import asyncio
import hashlib
import random
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, Literal

import attrs

from hedgegrid.config.params import instrument_of, venue_rules
from hedgegrid.config.schema import AccountConfig
from hedgegrid.model.market import MarketUpdate
from hedgegrid.ports import PrivateEvent
from hedgegrid.simulation.laws import Caps, Judge, Violation
from hedgegrid.simulation.life import SeededLife
from hedgegrid.simulation.loop import LoopClock, SeededLoop
from hedgegrid.simulation.venue import Venue
from hedgegrid.simulation.weather import MADE, Fault, Strike, Weather
from hedgegrid.simulation.wire import Wire, Word
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
HARM_MS: Final = (1, 20_000)
"""How often an actor could fail."""
OPERATOR_CHOICES: Final = 3
"""Of four acts two resume: an account that stays paused shows little."""
VISIT_S: Final = (900, 5_400)
"""How often somebody looks in, and lifts what latched."""
RUBBISH_MAX: Final = 5_000
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


class Simulation:
    """One seed's run; it runs once."""

    def __init__(self, config: AccountConfig, plan: Plan, folder: Path) -> None:
        """Make market and exchange of ``plan``; journals go into ``folder``. Raises Fatal, ValueError."""
        if plan.hours < HOURS_MIN:
            raise ValueError(f"{plan.hours} hours: give {HOURS_MIN} or more, the last quarter of an hour is calm")
        self._plan = plan
        self._folder = folder
        market: Literal["recorded", "synthetic"] = "recorded" if plan.market_files else "synthetic"
        self._config = config = attrs.evolve(config, sim=attrs.evolve(config.sim, seed=plan.seed, market=market))
        instruments = tuple(instrument_of(config, grid.instrument) for grid in config.grid)
        options = RunOptions(listen=NOBODY, speed=None, market_files=plan.market_files)
        tape = open_tape(config, options, instruments)
        start_ns = next(iter(tape.steps(0))).ts_ns
        self._end_ns = start_ns + round(plan.hours * NS_PER_HOUR)
        self._loop = SeededLoop(plan.seed, start_ns=start_ns)  # type: ignore[abstract]  # no sockets, no files
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
        lots = {one.name: one.lot for one in instruments}
        caps = Caps(
            position_lots={grid.instrument: int(grid.max_position_qty / lots[grid.instrument]) for grid in config.grid},
            order_e8=cash_e8(config.risk.max_order_notional_quote),
        )
        self._judge = Judge(self._venue, caps)
        self._judge.barred = lambda: self._wire is None or self._wire.is_barred
        self._visits = random.Random(f"{plan.seed} visits")  # noqa: S311 - repeatable is the point
        self._trace = hashlib.sha256()
        self._boots = 0
        self._orders = 0
        self._wire: Wire | None = None

    def run(self) -> Result:
        """Run to the end, and judge what is left."""
        try:
            path = self._loop.run_until_complete(self._live_and_die())
            mode = self._judge.ended(path)
        finally:
            self._loop.close()
        return Result(
            plan=self._plan,
            trace=self._trace.hexdigest()[:16],
            boots=self._boots,
            fills=len(self._venue.exchange.fills),
            orders=self._orders,
            mode=mode,
            violations=tuple(self._judge.violations),
            strikes=tuple(self._weather.strikes),
            longest_bare_ns=self._judge.longest_bare_ns,
        )

    # --- lives ------------------------------------------------------------------------------------------------------

    async def _live_and_die(self) -> Path:
        """Let one life follow the other until the market ends; give the last journal."""
        self._venue.market.subscribe(self._on_market)
        self._venue.hear = self._on_account
        self._venue.moved = self._on_moved
        walking = asyncio.get_running_loop().create_task(self._venue.walk(self._end_ns), name="market")
        path = self._folder / "0" / "journal.db"
        await self._live_once(path, walking)
        while not walking.done():
            await self._clock.sleep(self._weather.between(Fault.CRASH, *DOWN_S) * NS_PER_S)
            path = self._next_disk(path)
            await self._live_once(path, walking)
        await walking
        return path

    def _next_disk(self, path: Path) -> Path:
        """Give the next life the disk as the last one left it, with half a transaction at its end if so drawn."""
        folder = self._folder / str(self._boots)
        shutil.copytree(path.parent, folder)
        journal = folder / path.name
        if self._weather.strikes_now(Fault.TORN_WRITE, self._clock.now_ns(), "journal"):
            count = self._weather.between(Fault.TORN_WRITE, 1, RUBBISH_MAX)
            rubbish = bytes(self._weather.between(Fault.TORN_WRITE, 0, 255) for _ in range(count))
            with journal.with_name(f"{journal.name}-wal").open("ab") as file:
                file.write(rubbish)
        return journal

    async def _live_once(self, path: Path, walking: "asyncio.Task[None]") -> None:
        """Let the bot live until it dies, or until the market ends and it is stopped."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._boots += 1
        wire = self._wire = Wire(
            self._venue, self._weather, self._clock, boot=self._boots, seed=self._plan.seed, log=self._on_word
        )
        self._judge.born(self._boots, path)
        life = self._new_life(path, wire)
        loop = asyncio.get_running_loop()
        living = loop.create_task(life.live(), name="life")
        dying = loop.create_task(self._die_sometime(), name="death")
        harming = loop.create_task(self._harm(life), name="harm")
        await asyncio.wait((living, dying, walking), return_when=asyncio.FIRST_COMPLETED)
        killed = dying.done() and not walking.done() and not living.done()
        if killed:
            wire.cut = True
            living.cancel()
        else:
            life.end("the simulation is over")
        await asyncio.wait((living,))
        for task in (dying, harming):
            task.cancel()
        if not killed:
            self._judge_end(life, living)
        self._judge.died()

    def _new_life(self, path: Path, wire: Wire) -> SeededLife:
        """Make a life; whoever starts it after a crash resumes it every other time, as a person might."""
        config = attrs.evolve(self._config, journal=attrs.evolve(self._config.journal, path=str(path)))
        world = SeededWorld(self._venue, wire, self._clock, account=config.account.name)
        resumed = self._boots > 1 and self._weather.between(Fault.CRASH, 0, 1) == 1
        return SeededLife(config, world, RunOptions(listen=NOBODY, speed=None, resume=resumed, new_peak=resumed))

    def _judge_end(self, life: SeededLife, living: "asyncio.Task[None]") -> None:
        """Tell the judge of a life that ended as failed."""
        if MADE in life.failure:
            # The supervisor gave up over failures that were made here: as it should.
            return
        if life.failure:
            self._judge.failed(f"boot {self._boots}: {life.failure}")
        elif not living.cancelled() and living.exception() is not None:
            self._judge.failed(f"boot {self._boots}: {living.exception()!r}")

    async def _die_sometime(self) -> None:
        """Return at the moment of a crash."""
        while True:
            await self._clock.sleep(OCCASION_NS)
            if self._weather.strikes_now(Fault.CRASH, self._clock.now_ns(), "process"):
                await self._clock.sleep(self._weather.between(Fault.CRASH, 0, OCCASION_NS // NS_PER_MS) * NS_PER_MS)
                return

    async def _harm(self, life: SeededLife) -> None:
        """Let actors fail now and then, wherever they are, and an operator act; somebody looks in all the same."""
        visit_ns = self._clock.now_ns() + self._visits.randint(*VISIT_S) * NS_PER_S
        while True:
            await self._clock.sleep(self._weather.between(Fault.ACTOR_FAILS, *HARM_MS) * NS_PER_MS)
            names = life.actors()
            if names and self._weather.strikes_now(Fault.ACTOR_FAILS, self._clock.now_ns(), "an actor"):
                life.kill(names[self._weather.between(Fault.ACTOR_FAILS, 0, len(names) - 1)])
            if names and self._weather.strikes_now(Fault.OPERATOR, self._clock.now_ns(), "a person"):
                life.act(self._weather.between(Fault.OPERATOR, 0, OPERATOR_CHOICES))
            if names and visit_ns <= self._clock.now_ns() < self._end_ns - CALM_NS:
                visit_ns = self._clock.now_ns() + self._visits.randint(*VISIT_S) * NS_PER_S
                life.act(OPERATOR_CHOICES)

    # --- what passes ------------------------------------------------------------------------------------------------

    def _on_market(self, updates: tuple[MarketUpdate, ...]) -> None:
        if self._wire is not None:
            self._wire.seen(updates)

    def _on_account(self, events: Sequence[PrivateEvent]) -> None:
        for event in events:
            self._trace.update(repr(event).encode())
        if self._wire is not None:
            self._wire.heard(events)

    def _on_moved(self) -> None:
        if self._wire is not None:
            self._wire.remember()
        self._judge.moved()

    def _on_word(self, word: Word) -> None:
        self._trace.update(repr(word).encode())
        self._orders += len(word.requests)
        self._judge.word(word)


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


def _latest_first(strikes: Collection[Strike]) -> list[Strike]:
    return sorted(strikes, key=lambda one: -one.ts_ns)
