"""What becomes of the market's stream on its way to the bot: silence, holes, and prices that are not the market's.

Invariants: what reaches the bot is what a real adapter lets through (a crossed book or a price of zero it drops, and
the quote before it stands with its own time); marks come from an index and are right, if they come; time never runs
backwards here.
"""

from collections.abc import Callable

import attrs

from hedgegrid.model.market import MarketUpdate
from hedgegrid.runtime.clock import Clock
from hedgegrid.simulation.weather import Fault, Weather
from hedgegrid.units import NS_PER_S

Updates = tuple[MarketUpdate, ...]


class Prices:
    """One life's view of the market."""

    def __init__(self, weather: Weather, clock: Clock, show: Callable[[Updates], None]) -> None:
        """Hand what comes through to ``show``."""
        self._weather = weather
        self._clock = clock
        self._show = show
        self._dark_until_ns = 0
        self._frozen_until_ns = 0
        self._unpriced_until_ns = 0
        self._flipped_until_ns = 0
        self._last: dict[str, MarketUpdate] = {}

    def seen(self, updates: Updates) -> None:
        """Take what the market shows at one instant."""
        now_ns, weather = self._clock.now_ns(), self._weather
        if now_ns < self._dark_until_ns:
            return
        if weather.strikes_now(Fault.MARKET_SILENT, now_ns, "market stream"):
            self._dark_until_ns = now_ns + weather.between(Fault.MARKET_SILENT, 10, 400) * NS_PER_S
            return
        if updates[0].bar is not None:
            if not weather.strikes_now(Fault.BAR_LOST, now_ns, "bar"):
                self._show(updates)
            return
        shown = tuple(self._rated(self._quoted(one, now_ns), now_ns) for one in updates)
        if weather.strikes_now(Fault.MARKET_OUTLIER, now_ns, "quote"):
            # One quote far away; the mark, which comes from an index, stays.
            factor = weather.between(Fault.MARKET_OUTLIER, 80, 120)
            shown = tuple(
                attrs.evolve(one, bid_ticks=one.bid_ticks * factor // 100, ask_ticks=one.ask_ticks * factor // 100)
                for one in shown
            )
        self._show(shown)

    def _quoted(self, update: MarketUpdate, now_ns: int) -> MarketUpdate:
        """Give an update with the quote that the bot gets: a dropped or frozen one is the one before."""
        weather, before = self._weather, self._last.get(update.instrument)
        if now_ns >= self._frozen_until_ns and weather.strikes_now(Fault.BOOK_FROZEN, now_ns, update.instrument):
            self._frozen_until_ns = now_ns + weather.between(Fault.BOOK_FROZEN, 10, 400) * NS_PER_S
        dropped = weather.strikes_now(Fault.BOOK_CROSSED, now_ns, update.instrument)
        if before is None or not (dropped or now_ns < self._frozen_until_ns):
            self._last[update.instrument] = update
            return update
        # A book that stands still says that it is new; a dropped quote leaves the older one with its own time.
        quote_ns = before.ts_venue_ns if dropped else None
        return attrs.evolve(update, bid_ticks=before.bid_ticks, ask_ticks=before.ask_ticks, quote_ts_ns=quote_ns)

    def _rated(self, update: MarketUpdate, now_ns: int) -> MarketUpdate:
        """Give an update with the funding rate that the bot gets: none, or one of the other sign, for a while."""
        weather = self._weather
        if weather.strikes_now(Fault.RATE_MISSING, now_ns, update.instrument):
            self._unpriced_until_ns = now_ns + weather.between(Fault.RATE_MISSING, 60, 7_200) * NS_PER_S
        if weather.strikes_now(Fault.RATE_FLIPPED, now_ns, update.instrument):
            self._flipped_until_ns = now_ns + weather.between(Fault.RATE_FLIPPED, 60, 3_600) * NS_PER_S
        if now_ns < self._unpriced_until_ns:
            return attrs.evolve(update, rate_e8=None, next_funding_ns=None)
        if now_ns < self._flipped_until_ns and update.rate_e8 is not None:
            return attrs.evolve(update, rate_e8=-update.rate_e8)
        return update
