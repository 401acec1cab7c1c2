"""An exchange in the process, walked through an invented or a recorded market at any speed.

Invariants: time belongs to the exchange; at full speed nothing waits for a wall clock, and a run is the same twice.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from hedgegrid.config.params import bar_length_ns, check_bounds, instrument_of, venue_rules
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core.health import VenueProbe
from hedgegrid.core.reconcile_views import EvidenceRule
from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Tape
from hedgegrid.ops.terminal import Progress
from hedgegrid.ports import MarketData, Trading
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.units import NS_PER_S, cash_e8
from hedgegrid.venues.simulated.opening import (
    Simulation,
    open_simulation,
    set_aside_what_cannot_go_on,
    venue_path,
)
from hedgegrid.venues.simulated.pump import Pump
from hedgegrid.venues.simulated.recorded import recorded_tape
from hedgegrid.venues.simulated.synthetic import SyntheticTape
from hedgegrid.venues.simulated.synthetic_path import SyntheticSettings
from hedgegrid.venues.simulated.tape_bars import BarTape
from hedgegrid.worlds.world import Bound, Past, RunOptions

SYNTHETIC_START_NS = 1_767_225_600 * NS_PER_S
"""2026-01-01 00:00 UTC: an invented market has its own calendar, so that a seed means the same market every day."""
POINTS_PER_BAR = 4
WALL_STEP_S = 0.002


def open_tape(config: AccountConfig, options: RunOptions, instruments: tuple[Instrument, ...]) -> Tape:
    """Open the market that the config and the command line ask for. Raises Fatal for files that cannot serve."""
    length_ns = bar_length_ns(config.grid[0])
    for path in options.market_files:
        if not path.exists():
            raise Fatal(f"--data {path}: no such file or folder")
    if options.market_files:
        return recorded_tape(options.market_files, instruments, length_ns, allow_gaps=options.allow_gaps)
    if config.sim.market == "recorded":
        raise Fatal('sim.market is "recorded": give the recorded market with --data FILE')
    if len({grid.timeframe for grid in config.grid}) > 1:
        raise Fatal("one simulated market has one timeframe: give all grids the same")
    made = config.sim.synthetic
    prices = [made.prices[instrument.name] for instrument in instruments]
    for instrument, price in zip(instruments, prices, strict=True):
        check_bounds(instrument, price)
    return SyntheticTape(
        instruments=instruments,
        start_prices=prices,
        seed=config.sim.seed,
        start_ns=SYNTHETIC_START_NS,
        bar_length_ns=length_ns,
        settings=SyntheticSettings(
            annual_volatility=float(made.annual_volatility),
            jumps_per_day=float(made.jumps_per_day),
            jump_bps=float(made.jump_bps),
            regime_minutes=float(made.regime_minutes),
        ),
    )


class SimulatedWorld:
    """The world of mode "sim"."""

    evidence = EvidenceRule(validity_ns=0, absences_min=1, interval_ns=0)
    """The exchange is in the process: one look is the truth."""
    polled = False
    lock_name = ""
    streamed = False

    def __init__(self, config: AccountConfig, options: RunOptions) -> None:
        """Take what is asked for; nothing is opened."""
        self._config = config
        self._options = options
        self._journal_path = Path(config.journal.path)
        self.instruments: tuple[Instrument, ...] = ()
        self.wallet_e8: int | None = cash_e8(config.account.wallet_quote)
        self.identity = ""
        self._tape: Tape | None = None
        self._simulation: Simulation | None = None
        self._pump: Pump | None = None
        self._bound: Bound | None = None
        self._first_step = 0

    @property
    def simulation(self) -> Simulation:
        """The open simulation. AssertionError before ``begin``."""
        assert self._simulation is not None, "a world begins before it is used"
        return self._simulation

    @property
    def pump(self) -> Pump:
        """What walks the market. AssertionError before ``attach``."""
        assert self._pump is not None, "a world is attached before it is walked"
        return self._pump

    @property
    def clock(self) -> VirtualClock:
        """The exchange's time."""
        return self.simulation.clock

    async def prepare(self, tell: Callable[[str], None]) -> None:
        """Open the market, and make way for a new account where the old one cannot go on."""
        config = self._config
        self.instruments = tuple(instrument_of(config, grid.instrument) for grid in config.grid)
        tape = open_tape(config, self._options, self.instruments)
        for note in tape.notes:
            tell(note)
        over = set_aside_what_cannot_go_on(self._journal_path, tape.identity, keep=config.sim.persist)
        if over:
            tell(f"the last run is set aside beside {self._journal_path}: {over}")
        self._tape = tape
        self.identity = tape.identity

    def begin(self, stack: ExitStack, past: Past, tell: Callable[[str], None]) -> None:
        """Open the exchange as it was kept, or a new one."""
        assert self._tape is not None, "a world is prepared before it begins"
        config = self._config
        simulation = open_simulation(
            tape=self._tape,
            instruments=self.instruments,
            rules=[venue_rules(config, instrument) for instrument in self.instruments],
            wallet_e8=cash_e8(config.account.wallet_quote),
            path=venue_path(self._journal_path) if config.sim.persist else None,
            identity=self._tape.identity,
            not_before_ns=past.last_ns,
        )
        if simulation.store is not None:
            stack.callback(simulation.store.close)
        if simulation.resumed:
            tell("going on with the kept simulated exchange")
        self._simulation = simulation
        self._first_step = simulation.trading.next_step
        self.market: MarketData = simulation.market
        self.trading: Trading = simulation.trading

    def attach(self, bound: Bound) -> None:
        """Make the pump that walks the market at the bot's pace."""
        self._bound = bound
        simulation = self.simulation
        self._pump = Pump(
            exchange=simulation.exchange,
            tape=simulation.tape,
            market=simulation.market,
            trading=simulation.trading,
            clock=simulation.clock,
            settle=bound.settle,
            speed=self._options.speed,
            wall_s=time.monotonic,
        )

    async def connect(self) -> None:
        """Do nothing: the exchange is in the process."""

    async def run(self, until_ns: int | None) -> bool:
        """Walk the market."""
        return await self.pump.run(until_ns)

    def stop(self) -> None:
        """Stop walking after the present step."""
        self.pump.stop()

    async def follow(self, done: Callable[[], bool]) -> None:
        """Let market time follow the wall until ``done``: nothing else moves it before a start and after a stop."""
        assert self._bound is not None, "a world is attached before time passes in it"
        activity, clock = self._bound.activity, self.clock
        began_s, began_ns = time.monotonic(), clock.now_ns()
        while not done():
            await activity.settle()
            now_ns = began_ns + round((time.monotonic() - began_s) * NS_PER_S)
            while not done() and (due_ns := clock.next_timer_ns()) is not None and due_ns <= now_ns:
                clock.fire_next()
                await activity.settle()
            await asyncio.sleep(WALL_STEP_S)

    async def finish(self, ended: str, *, entries_gone: bool) -> None:  # noqa: ARG002 - the exchange is here to see
        """Walk on while requests travel, and keep the exchange as it then is."""
        await self.pump.finish(ended)

    async def close(self) -> None:
        """Do nothing: the file is closed with the account."""

    def probe(self) -> VenueProbe:
        """Give nothing: the exchange's clock is the clock, and there is no socket."""
        return VenueProbe()

    @property
    def liquidated(self) -> bool:
        """Whether the exchange has closed everything."""
        return self.simulation.exchange.liquidated

    @property
    def steps_done(self) -> int:
        """Steps that were walked."""
        return self.pump.steps_done

    def last_resort(self) -> None:
        """Give None: the exchange is in the process, and stands still where the loop does."""

    def ambiguous_bars(self) -> int:
        """Give how many bars left open whether an exit or its rival filled first."""
        return self.simulation.exchange.ambiguous_bars()

    def walked(self) -> Progress | None:
        """Give how far the market is; None where it has no end, or is walked at the pace of a clock."""
        total = self.simulation.tape.total_steps()
        if total is None or self._options.speed is not None:
            return None
        done, left = self.simulation.trading.next_step - self._first_step, total - self._first_step
        if isinstance(self.simulation.tape, BarTape):
            return Progress(done=done // POINTS_PER_BAR, total=left // POINTS_PER_BAR)
        return Progress(done=done, total=left, unit="steps")
