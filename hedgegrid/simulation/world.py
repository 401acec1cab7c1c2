"""The world of one life in a simulation: time that the loop moves, and a wire to an exchange that outlives it."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.core.health import VenueProbe
from hedgegrid.core.reconcile_views import EvidenceRule
from hedgegrid.errors import Fatal, HedgegridError
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Purpose
from hedgegrid.ops.terminal import Progress
from hedgegrid.ports import MarketData, Trading
from hedgegrid.runtime.clock import Clock
from hedgegrid.simulation.life_clock import LifeClock
from hedgegrid.simulation.market_side import MarketSide
from hedgegrid.simulation.venue import Venue
from hedgegrid.simulation.wire import VALIDITY_NS, Wire
from hedgegrid.units import NS_PER_MS, NS_PER_S
from hedgegrid.worlds.world import Bound, Past

FINISH_NS: Final = 30 * NS_PER_S
LOOK_NS: Final = 100 * NS_PER_MS


class SeededWorld:
    """What one life of the bot has around it."""

    polled = True
    streamed = False
    lock_name = ""
    evidence = EvidenceRule(validity_ns=VALIDITY_NS, absences_min=3, interval_ns=NS_PER_S, needs_look=True)

    def __init__(self, venue: Venue, wire: Wire, clock: LifeClock, *, account: str) -> None:
        """Stand between the bot and ``venue``."""
        self._venue = venue
        self._wire = wire
        self._clock = clock
        self._account = account
        self._bound: Bound | None = None
        self._stop = asyncio.Event()
        self.market: MarketData = MarketSide(wire)
        self.trading: Trading = wire
        self.instruments: tuple[Instrument, ...] = wire.instruments()
        self.identity = f"simulation of {venue.tape.identity}"
        self.wallet_e8: int | None = None
        self.steps_done = 0

    @property
    def clock(self) -> Clock:
        """The loop's time."""
        return self._clock

    async def prepare(self, tell: Callable[[str], None]) -> None:
        """Do nothing: the rules are known."""

    def begin(self, stack: ExitStack, past: Past, tell: Callable[[str], None]) -> None:
        """Do nothing: the exchange is there already."""

    def attach(self, bound: Bound) -> None:
        """Get to know the bot."""
        self._bound = bound

    async def connect(self) -> None:
        """Do nothing: the wire stands."""

    async def run(self, until_ns: int | None) -> bool:  # noqa: ARG002 - whoever runs the simulation ends it
        """Wait until stopped."""
        await self._stop.wait()
        return False

    def stop(self) -> None:
        """Return from ``run``."""
        self._stop.set()

    async def follow(self, done: Callable[[], bool]) -> None:
        """Let time pass until ``done``."""
        while not done():
            await self._clock.sleep(LOOK_NS)

    async def finish(self, ended: str, *, entries_gone: bool) -> None:  # noqa: ARG002 - the exchange keeps itself
        """Wait for what was asked last; where the entries should be gone, read that they are. Raises Fatal if not."""
        bound = self._bound
        assert bound is not None, "a world is attached before it ends"
        until_ns = self._clock.now_ns() + FINISH_NS
        left = ["requests without answer"]
        while self._clock.now_ns() < until_ns:
            await self._clock.sleep(LOOK_NS)
            if not bound.quiet():
                continue
            if not entries_gone:
                return
            left = list(bound.left()) or await self._entries_left()
            if not left:
                return
        raise Fatal(f"{'; '.join(left)}; look at the exchange")

    async def _entries_left(self) -> list[str]:
        try:
            resting = await self.trading.open_orders()
        except HedgegridError as error:
            return [f"the open orders could not be read: {error}"]
        entries = [one.client_id for one in resting if one.purpose is Purpose.ENTRY]
        parsed = [(name, parse_client_id(name)) for name in entries]
        return [f"entry {name} is still open" for name, parts in parsed if parts and parts.account == self._account]

    async def close(self) -> None:
        """Cut the wire."""
        self._wire.cut = True

    def probe(self) -> VenueProbe:
        """Give when the account was read last, and how late and how wrong this life's time is; there is no socket."""
        lag_ns, self._clock.lag_ns = self._clock.lag_ns, 0
        return VenueProbe(account_ns=self._wire.account_ns, loop_lag_ns=lag_ns, clock_skew_ns=-self._clock.offset_ns)

    @property
    def liquidated(self) -> bool:
        """Whether the exchange has closed everything."""
        return self._venue.exchange.liquidated

    def last_resort(self) -> None:
        """Give None: the exchange is in the process, and time stands still where the loop does."""

    def ambiguous_bars(self) -> int:
        """Give 0: exits race here, nobody asks which came first."""
        return 0

    def walked(self) -> Progress | None:
        """Give None: nobody watches."""
        return None
