"""A real exchange: Binance USD-M futures, in its practice or its real environment.

Invariants: nothing is sent before the pre-flight has passed; an order that leaves is an ``Approved`` one that the
executor handed over; what a stop policy took away is proven gone by a read before the run ends well.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack

from hedgegrid.config.params import bar_length_ns
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core.health import VenueProbe
from hedgegrid.core.reconcile_views import EvidenceRule
from hedgegrid.errors import Fatal, HedgegridError
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Purpose
from hedgegrid.ops.terminal import Progress
from hedgegrid.ports import MarketData, Trading
from hedgegrid.runtime.clock import Clock, WallClock
from hedgegrid.units import NS_PER_MS, NS_PER_S, ppm_from_ratio
from hedgegrid.venues.ccxtpro.budget import Budget
from hedgegrid.venues.ccxtpro.endpoints import endpoints
from hedgegrid.venues.ccxtpro.listing import in_order, read_rules
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.public import CcxtMarket
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.trading import CcxtTrading, TradingSettings
from hedgegrid.venues.ccxtpro.wire import TradingWire
from hedgegrid.venues.ccxtpro.ws_api import OrderSocket
from hedgegrid.worlds.measuring import LoopLag, measured
from hedgegrid.worlds.waiting import follow_the_clock, stop_or_until
from hedgegrid.worlds.world import Bound, RunOptions

SYNC_NS = 60 * NS_PER_S
ABSENCES_MIN = 3
"""Reads that must agree that an order is nowhere before it counts as dead."""
FINISH_S = 15.0
"""What the last requests get to be answered and seen."""
FINISH_LOOK_S = 0.25


class ExchangeWorld:
    """The world of modes "testnet" and "live"."""

    polled = True
    streamed = True
    steps_done = 0
    liquidated = False

    def __init__(self, config: AccountConfig, options: RunOptions) -> None:
        """Take what is asked for, and the keys; nothing is connected. Raises Fatal where the keys cannot be had."""
        self._config = config
        self._options = options
        self._clock = WallClock()
        venue = config.venue
        assert venue.api_key is not None, "the schema asks for keys in this mode"
        assert venue.api_secret is not None, "the schema asks for keys in this mode"
        self._endpoints = endpoints(
            venue.environment, rest_url=venue.rest_url, ws_url=venue.ws_url, ws_api_url=venue.ws_api_url
        )
        self._wire = TradingWire(
            endpoints=self._endpoints,
            api_key=venue.api_key.resolve().reveal(),
            api_secret=venue.api_secret.resolve().reveal(),
            recv_window_ms=venue.recv_window_ms,
        )
        self._session = Session(
            wire=self._wire,
            budget=Budget(share_ppm=ppm_from_ratio(config.risk.cancel_budget_ratio)),
            clock=self._clock,
            recv_window_ms=venue.recv_window_ms,
        )
        # A request may arrive as long as it is valid, and the clocks may be apart by as much as is borne.
        validity_ms = venue.recv_window_ms + config.watchdog.max_clock_skew_ms + 1_000
        self.evidence = EvidenceRule(
            validity_ns=validity_ms * NS_PER_MS, absences_min=ABSENCES_MIN, interval_ns=NS_PER_S, needs_look=True
        )
        self._listed: tuple[ListedInstrument, ...] = ()
        self._stop = asyncio.Event()
        self._lag = LoopLag()
        self._bound: Bound | None = None
        self._syncing: asyncio.Task[None] | None = None
        self.instruments: tuple[Instrument, ...] = ()
        self.wallet_e8: int | None = None
        names = " ".join(grid.instrument for grid in config.grid)
        self.identity = f"{venue.name} {venue.environment} {names}"

    @property
    def clock(self) -> Clock:
        """The machine's time."""
        return self._clock

    async def prepare(self, tell: Callable[[str], None]) -> None:
        """Measure the clock, read the rules, and pass the pre-flight. Raises Fatal with every line that failed."""
        config = self._config
        await self._session.sync_time()
        names = [grid.instrument for grid in config.grid]
        rules = await read_rules(self._session, names, signed=True)
        self._session.budget.set_limits(rules.rate_limits)
        self._listed = in_order(rules, names)
        self.instruments = tuple(one.instrument for one in self._listed)
        tell(f"{config.account.mode}: {self._endpoints.rest}")

    def begin(self, stack: ExitStack, not_before_ns: int, tell: Callable[[str], None]) -> None:  # noqa: ARG002
        """Make both sides of the exchange; nothing is heard or sent yet."""
        config = self._config
        market = CcxtMarket(
            session=self._session,
            endpoints=self._endpoints,
            clock=self._clock,
            instruments=self._listed,
            bar_length_ns={grid.instrument: bar_length_ns(grid) for grid in config.grid},
            report=self._report,
        )
        socket = None
        if config.venue.order_channel == "websocket":
            socket = OrderSocket(wire=self._wire, session=self._session, clock=self._clock, report=self._report)
        self._public = market
        self._private = CcxtTrading(
            session=self._session,
            endpoints=self._endpoints,
            clock=self._clock,
            listed=self._listed,
            socket=socket,
            mark_of=market.mark_ticks,
            report=self._report,
            settings=TradingSettings(
                stop_trigger=config.venue.stop_trigger, account_poll_ms=config.watchdog.account_poll_ms
            ),
        )
        self.market: MarketData = market
        self.trading: Trading = self._private

    def attach(self, bound: Bound) -> None:
        """Get to know the bot."""
        self._bound = bound

    def _report(self, words: str, figures: Mapping[str, str]) -> None:
        if self._bound is not None:
            self._bound.report(words, figures)

    async def connect(self) -> None:
        """Begin to hear the account, then the market."""
        self._lag.start()
        await self._private.start()
        self._public.start()
        self._syncing = asyncio.get_running_loop().create_task(self._keep_time(), name="time sync")

    async def _keep_time(self) -> None:
        """Measure the exchange's clock each minute; a failure is reported and tried again."""
        while True:
            await self._clock.sleep(SYNC_NS)
            try:
                await self._session.sync_time()
            except HedgegridError as error:
                self._report("the exchange's clock could not be measured", {"why": str(error)})

    async def run(self, until_ns: int | None) -> bool:
        """Wait until stopped: this market never ends."""
        await stop_or_until(self._stop, None, self._clock, until_ns)
        return False

    def stop(self) -> None:
        """Return from ``run``."""
        self._stop.set()

    async def follow(self, done: Callable[[], bool]) -> None:
        """Wait: time passes by itself."""
        await follow_the_clock(done)

    async def finish(self, ended: str, *, entries_gone: bool) -> None:  # noqa: ARG002 - the exchange keeps itself
        """Wait for what was asked last; where the entries should be gone, read that they are. Raises Fatal if not."""
        bound = self._bound
        assert bound is not None, "a world is attached before it ends"
        left: list[str] = []
        until_s = asyncio.get_running_loop().time() + FINISH_S
        while asyncio.get_running_loop().time() < until_s:
            await asyncio.sleep(FINISH_LOOK_S)
            if not bound.quiet():
                continue
            if not entries_gone:
                return
            try:
                left = [one.client_id for one in await self._private.open_orders() if one.purpose is Purpose.ENTRY]
            except HedgegridError as error:
                left = [f"could not be read: {error}"]
            if not left:
                return
        raise Fatal(
            f"entries are still open at the exchange: {', '.join(left) or 'requests without answer'}; look there"
        )

    async def close(self) -> None:
        """Break the connections off."""
        if self._syncing is not None:
            self._syncing.cancel()
            await asyncio.gather(self._syncing, return_exceptions=True)
        await self._lag.stop()
        await self._public.stop()
        await self._private.stop()
        await self._session.close()

    def probe(self) -> VenueProbe:
        """Measure the loop, the exchange's clock, and the sockets of the market."""
        return measured(self._lag, self._session, self._public)

    def ambiguous_bars(self) -> int:
        """Give 0: these fills are real."""
        return 0

    def walked(self) -> Progress | None:
        """Give None: this market has no end."""
        return None
