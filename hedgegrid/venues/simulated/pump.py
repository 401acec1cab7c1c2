"""The pump: it walks the exchange through its tape, as fast as the bot can follow or at the pace of a clock.

Time belongs to the exchange here. At every step the bot gets to finish what it has to do before the next thing
happens, so a run in virtual time is the same twice, and a paced run differs only in waiting.

Invariants: a step happens as ``stepping.py`` says; timers between two points fire at their own times.
"""

import asyncio
from collections.abc import Awaitable, Callable

from hedgegrid.model.market import Step, Tape
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.units import NS_PER_S
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.stepping import Stepper
from hedgegrid.venues.simulated.venue import SimulatedMarket, SimulatedTrading

STEPS_BETWEEN_BREATHS = 256
"""Steps of an unpaced run after which everything else in the loop (signals, HTTP) gets its turn for certain."""


LAST_STEPS_MAX = 256
"""Steps that a stopped run walks on at most, so that its last cancels arrive."""


class Pump:
    """Walks one exchange through one tape."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        tape: Tape,
        market: SimulatedMarket,
        trading: SimulatedTrading,
        clock: VirtualClock,
        settle: Callable[[], Awaitable[object]],
        speed: float | None,
        wall_s: Callable[[], float],
    ) -> None:
        """Take the parts; ``speed`` None means as fast as possible.

        ``wall_s`` reads a monotonic wall clock in seconds.
        """
        self._exchange = exchange
        self._tape = tape
        self._trading = trading
        self._clock = clock
        self._settle = settle
        self._speed = speed
        self._wall_s = wall_s
        self._stopping = asyncio.Event()
        self.steps_done = 0
        self.bars_done = 0
        self._last_steps = 0
        self._stepper = Stepper(
            exchange=exchange, market=market, trading=trading, bar_length_ns=tape.bar_length_ns, settle=settle
        )

    def stop(self) -> None:
        """Return from ``run`` after the present step."""
        self._stopping.set()

    async def run(self, until_ns: int | None) -> bool:
        """Walk on from where the exchange stands; True where the tape ended.

        False where it was stopped or ``until_ns`` came.
        """
        origin: tuple[float, int] | None = None
        for step in self._tape.steps(self._trading.next_step):
            if until_ns is not None and step.ts_ns > until_ns:
                return False
            if origin is None:
                origin = (self._wall_s(), step.ts_ns)
            await self._wait_for(step.ts_ns, origin)
            if self._stopping.is_set() or self._exchange.liquidated:
                return False
            await self._reach(step)
        return True

    async def _reach(self, step: Step) -> None:
        """Move the clock to a step, firing what falls due on the way, and let the step happen.

        The clock may be ahead: the journal of a killed run knows a later moment than the place that its exchange kept,
        and after a stop the clock followed the wall.
        """
        await self._clock.run_to(max(step.ts_ns, self._clock.now_ns()), self._settle)
        await self._take(step)

    async def _wait_for(self, ts_ns: int, origin: tuple[float, int]) -> None:
        """Wait until the wall clock has come to a step's time, or until stopped."""
        if self._speed is None:
            if self.steps_done % STEPS_BETWEEN_BREATHS == 0:
                await asyncio.sleep(0)
            return
        wall, first_ns = origin
        delay = wall + (ts_ns - first_ns) / NS_PER_S / self._speed - self._wall_s()
        if delay <= 0:
            await asyncio.sleep(0)
            return
        try:
            async with asyncio.timeout(delay):
                await self._stopping.wait()
        except TimeoutError:
            return

    async def _take(self, step: Step) -> None:
        """Let one step happen, and count it."""
        await self._stepper.take(step)
        self.bars_done += len(step.bars)
        self.steps_done += 1

    async def finish(self, ended: str) -> None:
        """Let the last requests take effect, walking on while they travel, and keep the exchange as it then is."""
        await self._settle()
        await self._stepper.fall_due()
        if self._exchange.has_pending():
            for step in self._tape.steps(self._trading.next_step):
                await self._reach(step)
                self._last_steps += 1
                if not self._exchange.has_pending() or self._last_steps >= LAST_STEPS_MAX:
                    break
        self._trading.keep(ended=ended)
