"""A real exchange: Binance USD-M futures, in its practice or its real environment.

Invariants: nothing is sent before the pre-flight has passed; an order that leaves is an ``Approved`` one that the
executor handed over; what a stop policy took away is proven gone by a read before the run ends well.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

import attrs

from hedgegrid.config.advice import worst_gross
from hedgegrid.config.params import bar_length_ns
from hedgegrid.config.schema import AccountConfig
from hedgegrid.config.values import settle_of
from hedgegrid.core.client_id import parse_client_id
from hedgegrid.core.health import VenueProbe
from hedgegrid.core.reconcile_views import EvidenceRule
from hedgegrid.errors import Fatal, HedgegridError, OutcomeUnknown, Rejected, Transient, Unreachable
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Purpose
from hedgegrid.ops.terminal import Progress
from hedgegrid.ports import LastResort, MarketData, Trading
from hedgegrid.runtime.clock import Clock, WallClock
from hedgegrid.units import NS_PER_MS, NS_PER_S, cash_e8, ppm_from_ratio
from hedgegrid.venues.ccxtpro.budget import Budget, CallKind
from hedgegrid.venues.ccxtpro.endpoints import endpoints
from hedgegrid.venues.ccxtpro.entry_taker import EntryTaker
from hedgegrid.venues.ccxtpro.listing import in_order, read_rules
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.preflight import Expected, Line
from hedgegrid.venues.ccxtpro.preflight_readings import preflight
from hedgegrid.venues.ccxtpro.public import CcxtMarket
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.trading import CcxtTrading, TradingSettings
from hedgegrid.venues.ccxtpro.wire import TradingWire
from hedgegrid.venues.ccxtpro.ws_api import OrderSocket
from hedgegrid.venues.simulated.recorded_files import symbol_of
from hedgegrid.worlds.measuring import LoopLag, measured
from hedgegrid.worlds.waiting import follow_the_clock, stop_or_until
from hedgegrid.worlds.world import Bound, Past, RunOptions

ABSENCES_MIN = 3
"""Reads that must agree that an order is nowhere before it counts as dead."""
FINISH_S = 30.0
"""What the last requests get to be answered and seen."""
FINISH_LOOK_S = 0.1


def expected_of(config: AccountConfig) -> Expected:
    """Give what the pre-flight has to find, of the settings."""
    return Expected(
        account=config.account.name,
        instruments={symbol_of(grid.instrument): grid.instrument for grid in config.grid},
        cross_margin=config.venue.margin_mode == "cross",
        leverage=config.venue.leverage,
        max_clock_skew_ms=config.watchdog.max_clock_skew_ms,
        orders_per_minute=config.risk.max_orders_per_minute,
        stops_per_leg={symbol_of(grid.instrument): grid.exit.max_stop_orders for grid in config.grid},
        worst_gross_e8=cash_e8(worst_gross(config)),
        max_leverage_ppm=ppm_from_ratio(config.risk.max_leverage),
    )


async def check_online(config: AccountConfig) -> tuple[Line, ...]:
    """Read the exchange and judge whether the account is fit to be traded; nothing is changed. Raises Fatal."""
    world = ExchangeWorld(config, RunOptions(listen=("", 0)))
    try:
        await world.measure()
        return await world.examine(sets_leverage=False)
    except Transient as error:
        raise Unreachable(f"{error}; check the network, then run the check again") from error
    finally:
        await world.close()


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
        api_key = venue.api_key.resolve().reveal()
        self.lock_name = hashlib.sha256(f"{self._endpoints.rest} {api_key}".encode()).hexdigest()[:32]
        self._make_wire = partial(
            TradingWire,
            endpoints=self._endpoints,
            api_key=api_key,
            api_secret=venue.api_secret.resolve().reveal(),
            recv_window_ms=venue.recv_window_ms,
        )
        self._wire = self._make_wire()
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
        self._public: CcxtMarket | None = None
        self._private: CcxtTrading | None = None
        self.instruments: tuple[Instrument, ...] = ()
        self.wallet_e8: int | None = None
        self.identity = f"{venue.name} {venue.environment} {self._endpoints.rest}"

    @property
    def clock(self) -> Clock:
        """The machine's time."""
        return self._clock

    async def prepare(self, tell: Callable[[str], None]) -> None:
        """Measure the clock, read the rules, and pass the pre-flight. Raises Fatal with every line that failed.

        Transient where the exchange cannot be asked now: it may be called again.
        """
        config = self._config
        names = [grid.instrument for grid in config.grid]
        await self.measure()
        try:
            rules = await read_rules(self._session, names, signed=True)
            self._session.budget.set_limits(rules.rate_limits)
            lines = await self.examine(sets_leverage=True)
        except (Transient, Rejected, OutcomeUnknown, BadPayloadError) as error:
            raise self._failed(error) from error
        failed = [line for line in lines if not line.passed]
        if failed and all(line.again for line in failed):
            raise self._failed(Transient(f"{failed[0].name} {failed[0].words}"))
        if failed:
            told = "; ".join(f"{line.name}: {line.words}: {line.remedy}" for line in failed)
            raise Fatal(f"pre-flight failed: {told} (`hedgegrid check --online` shows every line)")
        self._listed = in_order(rules, names)
        self.instruments = tuple(one.instrument for one in self._listed)
        tell(f"{config.account.mode}: {self._endpoints.rest}, pre-flight passed ({len(lines)} lines)")

    async def measure(self) -> None:
        """Measure the exchange's clock, which every signed request needs. Raises Transient where it does not answer."""
        try:
            await self._session.start()
        except (Transient, Rejected, BadPayloadError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> HedgegridError:
        """Give what the failure of a first request is: one that passes by itself, or one for a person."""
        if not isinstance(error, Transient):
            return Fatal(f"{self._endpoints.rest}: {error}; check the network, the keys and the environment")
        told = Transient(f"{self._endpoints.rest}: {error}")
        told.until_ns = self._session.budget.paused_until_ns(CallKind.READ, self._clock.now_ns())
        return told

    async def examine(self, *, sets_leverage: bool) -> tuple[Line, ...]:
        """Read and judge the account; ``sets_leverage`` where it differs. Raises Fatal, Transient."""
        config = self._config
        return await preflight(
            self._session,
            expected_of(config),
            settle_asset=settle_of(config.grid[0].instrument),
            # The practice environment does not know the question; a server in its place has to.
            ask_rights=config.venue.environment == "production" or config.venue.rest_url is not None,
            sets_leverage=sets_leverage,
        )

    def begin(self, stack: ExitStack, past: Past, tell: Callable[[str], None]) -> None:  # noqa: ARG002
        """Make both sides of the exchange; nothing is heard or sent yet."""
        config = self._config
        market = CcxtMarket(
            session=self._session,
            endpoints=self._endpoints,
            clock=self._clock,
            instruments=self._listed,
            bar_length_ns={grid.instrument: bar_length_ns(grid) for grid in config.grid},
            quote_silence_ms=config.watchdog.quote_silence_ms,
            report=self._report,
        )
        socket = None
        if config.venue.order_channel == "websocket":
            socket = OrderSocket(wire=self._wire, session=self._session, clock=self._clock, report=self._report)
        trading = CcxtTrading(
            session=self._session,
            endpoints=self._endpoints,
            clock=self._clock,
            listed=self._listed,
            socket=socket,
            mark_of=market.mark_ticks,
            report=self._report,
            settings=TradingSettings(
                stop_trigger=config.venue.stop_trigger,
                amend=config.venue.amend,
                account_poll_ms=config.watchdog.account_poll_ms,
                books_from_ns=past.began_ns,
            ),
        )
        self.market: MarketData = market
        self.trading: Trading = trading
        self._public, self._private = market, trading

    def attach(self, bound: Bound) -> None:
        """Get to know the bot."""
        self._bound = bound
        self._session.keep_behind(bound.fence)

    def _report(self, words: str, figures: Mapping[str, str]) -> None:
        if self._bound is not None:
            self._bound.report(words, figures)

    async def connect(self) -> None:
        """Begin to hear the account, then the market. Transient where it cannot be asked now. Raises Fatal."""
        assert self._public is not None, "a world begins before it connects"
        assert self._private is not None, "a world begins before it connects"
        try:
            await self._private.start()
        except (Transient, Rejected) as error:
            raise self._failed(error) from error
        self._lag.start()
        self._public.start()

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
        left = ["requests without answer"]
        until_s = asyncio.get_running_loop().time() + FINISH_S
        while asyncio.get_running_loop().time() < until_s:
            await asyncio.sleep(FINISH_LOOK_S)
            if not bound.quiet():
                continue
            if not entries_gone:
                return
            left = list(bound.left()) or await self._entries_left()
            if not left:
                return
        raise Fatal(f"{'; '.join(left)}; look at the exchange")

    async def _entries_left(self) -> list[str]:
        """Say which entries of ours rest, by a read of the exchange; a foreign order says nothing of itself."""
        try:
            resting = await self.trading.open_orders()
        except HedgegridError as error:
            return [f"the open orders could not be read: {error}"]
        entries = [one.client_id for one in resting if one.purpose is Purpose.ENTRY]
        parsed = [(name, parse_client_id(name)) for name in entries]
        account = self._config.account.name
        return [f"entry {name} is still open" for name, parts in parsed if parts and parts.account == account]

    async def close(self) -> None:
        """Break the connections off, those that were made."""
        await self._lag.stop()
        if self._public is not None:
            await self._public.stop()
        if self._private is not None:
            await self._private.stop()
        await self._session.close()

    def probe(self) -> VenueProbe:
        """Measure the loop, the exchange's clock, the sockets of the market, and when the account was read."""
        if self._public is None or self._private is None:
            return VenueProbe()
        return attrs.evolve(measured(self._lag, self._session, self._public), account_ns=self._private.read_ns)

    def last_resort(self) -> Callable[[], LastResort]:
        """Give what makes a session of its own, which shares no connection, no budget and no loop with this one."""

        def made() -> LastResort:
            return EntryTaker(
                wire=self._make_wire(),
                account=self._config.account.name,
                listed=self._listed,
                recv_window_ms=self._config.venue.recv_window_ms,
                offset_ns=lambda: self._session.venue_ns() - self._clock.now_ns(),
                paused_until_ns=lambda: self._session.budget.paused_until_ns(CallKind.CANCEL, self._clock.now_ns()),
            )

        return made

    def ambiguous_bars(self) -> int:
        """Give 0: these fills are real."""
        return 0

    def walked(self) -> Progress | None:
        """Give None: this market has no end."""
        return None
