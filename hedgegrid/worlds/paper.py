"""Live prices of a real exchange, fills of an exchange in the process: paper trading.

Invariants: what connects here has no keys and refuses every signed call, so that no order can leave by construction;
the real market is watched on production only where the operator has said so.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import attrs

from hedgegrid.config.params import bar_length_ns, instrument_of, venue_rules
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core.health import VenueProbe
from hedgegrid.core.reconcile_views import EvidenceRule
from hedgegrid.errors import Fatal, Rejected, Transient
from hedgegrid.model.instrument import Instrument
from hedgegrid.ops.terminal import Progress
from hedgegrid.ports import MarketData, Trading
from hedgegrid.runtime.clock import Clock, WallClock
from hedgegrid.units import NS_PER_S, cash_e8
from hedgegrid.venues.ccxtpro.budget import Budget
from hedgegrid.venues.ccxtpro.endpoints import endpoints
from hedgegrid.venues.ccxtpro.listing import in_order, read_rules
from hedgegrid.venues.ccxtpro.parse_market import TradeSeen
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.public import CcxtMarket
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.wire import PublicWire
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.live import LiveWalk, PaperMarket, TradeTick
from hedgegrid.venues.simulated.opening import set_aside_what_cannot_go_on, venue_path
from hedgegrid.venues.simulated.store import VenueStore
from hedgegrid.venues.simulated.venue import SimulatedTrading
from hedgegrid.worlds.measuring import LoopLag, measured
from hedgegrid.worlds.waiting import follow_the_clock, stop_or_until
from hedgegrid.worlds.world import Bound, Past, RunOptions

FINISH_PATIENCE_NS = 5 * NS_PER_S
READS_SHARE_PPM = 0
"""Nothing is kept back for cancels and reductions: this session only reads."""


class PaperWorld:
    """The world of mode "paper"."""

    evidence = EvidenceRule(validity_ns=0, absences_min=1, interval_ns=0)
    """The exchange that holds the orders is in the process: one look is the truth."""
    polled = False
    lock_name = ""
    streamed = True
    steps_done = 0

    def __init__(self, config: AccountConfig, options: RunOptions) -> None:  # noqa: ARG002 - as every world
        """Take what is asked for; nothing is connected."""
        self._config = config
        self._clock = WallClock()
        venue = config.venue
        self._endpoints = endpoints(
            venue.environment, rest_url=venue.rest_url, ws_url=venue.ws_url, ws_api_url=venue.ws_api_url
        )
        self._session = Session(
            wire=PublicWire(endpoints=self._endpoints),
            budget=Budget(share_ppm=READS_SHARE_PPM),
            clock=self._clock,
            recv_window_ms=venue.recv_window_ms,
        )
        self._journal_path = Path(config.journal.path)
        self._stop = asyncio.Event()
        self._lag = LoopLag()
        self._source: CcxtMarket | None = None
        self._listed: tuple[ListedInstrument, ...] = ()
        self.instruments: tuple[Instrument, ...] = ()
        self.wallet_e8: int | None = cash_e8(config.account.wallet_quote)
        names = " ".join(grid.instrument for grid in config.grid)
        self.identity = f"paper {venue.name} {venue.environment} {names}"

    @property
    def clock(self) -> Clock:
        """The machine's time."""
        return self._clock

    async def prepare(self, tell: Callable[[str], None]) -> None:
        """Read the rules, and make way for a new account where the old one cannot go on. Raises Fatal.

        Transient where the exchange cannot be asked now: it may be called again.
        """
        names = [grid.instrument for grid in self._config.grid]
        try:
            await self._session.start()
            rules = await read_rules(self._session, names, signed=False)
        except Transient as error:
            told = Transient(f"{self._endpoints.rest}: {error}")
            told.until_ns = error.until_ns
            raise told from error
        except (Rejected, BadPayloadError) as error:
            raise Fatal(f"{self._endpoints.rest}: {error}; check the network") from error
        self._session.budget.set_limits(rules.rate_limits)
        self._listed = in_order(rules, names)
        # The tiers are told to signed requests only: they come from the config or the stored rules.
        self.instruments = tuple(
            attrs.evolve(one.instrument, tiers=instrument_of(self._config, one.instrument.name).tiers)
            for one in self._listed
        )
        over = set_aside_what_cannot_go_on(self._journal_path, self.identity, keep=self._config.sim.persist)
        if over:
            tell(f"the last run is set aside beside {self._journal_path}: {over}")
        tell(f"paper: live prices of {self._endpoints.rest}, no keys, no orders")

    def begin(self, stack: ExitStack, past: Past, tell: Callable[[str], None]) -> None:  # noqa: ARG002
        """Open the exchange in the process as it was kept, or a new one."""
        config = self._config
        rules = [venue_rules(config, one) for one in self.instruments]
        self._exchange = Exchange(self.instruments, rules, cash_e8(config.account.wallet_quote))
        store = VenueStore(venue_path(self._journal_path), self.identity) if config.sim.persist else None
        kept = None
        if store is not None:
            stack.callback(store.close)
            kept = store.load(self._exchange)
        self._paper = SimulatedTrading(self._exchange, self._clock, store)
        if kept is None:
            self._paper.keep()
        else:
            self._paper.next_step = kept.next_step
            tell("going on with the kept simulated exchange")
        source = CcxtMarket(
            session=self._session,
            endpoints=self._endpoints,
            clock=self._clock,
            instruments=self._listed,
            bar_length_ns={grid.instrument: bar_length_ns(grid) for grid in config.grid},
            quote_silence_ms=config.watchdog.quote_silence_ms,
            report=self._report,
        )
        self._source = source
        self._shown = PaperMarket(source)
        self.market: MarketData = self._shown
        self.trading: Trading = self._paper

    def attach(self, bound: Bound) -> None:
        """Make what walks the exchange along the live market."""
        self._bound = bound
        self._walk = LiveWalk(
            exchange=self._exchange,
            market=self._shown,
            trading=self._paper,
            instruments=self.instruments,
            clock=self._clock,
            bar_length_ns=bar_length_ns(self._config.grid[0]),
            settle=bound.settle,
        )
        assert self._source is not None, "a world begins before it is attached"
        self._source.subscribe(self._walk.on_updates)
        self._source.subscribe_trades(self._on_trade)

    def _on_trade(self, trade: TradeSeen) -> None:
        tick = TradeTick(
            instrument=trade.instrument, ts_ns=trade.ts_ns, price_ticks=trade.price_ticks, qty_lots=trade.qty_lots
        )
        self._walk.on_trade(tick)

    def _report(self, words: str, figures: Mapping[str, str]) -> None:
        self._bound.report(words, figures)

    async def connect(self) -> None:
        """Begin to hear the market."""
        assert self._source is not None, "a world begins before it connects"
        self._lag.start()
        self._source.start()

    async def run(self, until_ns: int | None) -> bool:
        """Walk the live market until stopped; it never ends."""
        walking = asyncio.create_task(self._walk.run(), name="live walk")
        try:
            await stop_or_until(self._stop, walking, self._clock, until_ns)
        finally:
            self._walk.stop()
            await walking
        return False

    def stop(self) -> None:
        """Stop walking after the present step."""
        self._stop.set()

    async def follow(self, done: Callable[[], bool]) -> None:
        """Wait: time passes by itself."""
        await follow_the_clock(done)

    async def finish(self, ended: str, *, entries_gone: bool) -> None:  # noqa: ARG002 - the exchange is here to see
        """Let the last requests take effect, and keep the exchange as it then is."""
        await self._bound.settle()
        await self._walk.finish(ended, FINISH_PATIENCE_NS)

    async def close(self) -> None:
        """Break the connections off."""
        await self._lag.stop()
        if self._source is not None:
            await self._source.stop()
        await self._session.close()

    def probe(self) -> VenueProbe:
        """Measure the loop, the exchange's clock, and the sockets of the market."""
        return VenueProbe() if self._source is None else measured(self._lag, self._session, self._source)

    @property
    def liquidated(self) -> bool:
        """Whether the exchange in the process has closed everything."""
        return self._exchange.liquidated

    def last_resort(self) -> None:
        """Give None: the exchange is in the process, and stands still where the loop does."""

    def ambiguous_bars(self) -> int:
        """Give 0: live prices leave no order of things open."""
        return 0

    def walked(self) -> Progress | None:
        """Give None: a live market has no end."""
        return None
