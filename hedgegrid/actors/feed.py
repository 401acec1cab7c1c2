"""The feed: it turns what the venue shows into quotes, marks and gap-free bars, and serves history to strategies.

Invariants: bars of an instrument go out once each and in order; a hole is filled from the venue's history before the
newer bar goes out, or reported; a strategy gets history before its first decision.
"""

import attrs

from hedgegrid.actors.post import FEED, FUNDING, JOURNAL, RISK, Post, strategy_name
from hedgegrid.errors import Transient
from hedgegrid.messages.commands import NeedHistory
from hedgegrid.messages.events import BarClosed, HistoryLoaded, Incident, MarketSeen, MarkPrice, Message, Quote
from hedgegrid.model.market import Bar, MarketUpdate
from hedgegrid.ports import MarketData
from hedgegrid.runtime.actor import Actor
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.runtime.router import Router

FeedMessage = MarketSeen | NeedHistory
HISTORY_AGAIN_NS = 2_000_000_000


@attrs.define
class SourceTimes:
    """When each instrument was last heard of, by the exchange's time and by ours: what the watchdog reads. In ns.

    An instrument not heard of is absent.
    """

    last_ns: dict[str, int] = attrs.field(factory=dict)
    last_arrival_ns: dict[str, int] = attrs.field(factory=dict)


class Feed(Actor[FeedMessage]):
    """Market data from the venue to the actors."""

    def __init__(
        self,
        *,
        mailbox: Mailbox[FeedMessage],
        router: Router,
        clock: Clock,
        post: Post,
        market: MarketData,
        history_bars: int,
        times: SourceTimes,
    ) -> None:
        """Read from ``market``; give a strategy ``history_bars`` bars at its start."""
        super().__init__(mailbox=mailbox, router=router, clock=clock)
        self._post = post
        self._market = market
        self._history_bars = history_bars
        self._times = times
        self._last_bar_ns: dict[str, int] = {}
        self._rates: dict[str, tuple[int | None, int | None, int]] = {}

    async def on_start(self) -> None:
        """Begin to listen."""
        self._market.subscribe(self._on_updates)

    def _on_updates(self, updates: tuple[MarketUpdate, ...]) -> None:
        """Take what the venue shows into the mailbox."""
        self._post.hand_over(MarketSeen(**self._post.head(ts_venue_ns=updates[0].ts_venue_ns), updates=updates), FEED)

    def is_quick(self, message: FeedMessage) -> bool:
        """What needs no history to be read is quick."""
        return isinstance(message, MarketSeen) and not any(
            update.bar is not None and self._is_hole_before(update.instrument, update.bar) for update in message.updates
        )

    def _is_hole_before(self, instrument: str, bar: Bar) -> bool:
        last_ns = self._last_bar_ns.get(instrument)
        return last_ns is not None and bar.open_ns > last_ns + bar.length_ns

    async def handle(self, message: FeedMessage) -> None:
        """Pass prices and bars on, or give history."""
        match message:
            case MarketSeen():
                last = _last_mark(message.updates)
                for place, update in enumerate(message.updates):
                    if update.bar is None:
                        self._pass_prices(message, update, last_of_instant=place == last)
                    else:
                        await self._pass_bar(message, update, update.bar)
            case NeedHistory():
                await self._give_history(message)

    def _pass_prices(self, cause: MarketSeen, update: MarketUpdate, *, last_of_instant: bool) -> None:
        """Publish a quote and a mark; the funding actor hears of a mark only where its rate is news."""
        quote_ns = update.ts_venue_ns if update.quote_ts_ns is None else update.quote_ts_ns
        self._times.last_ns[update.instrument] = quote_ns
        self._times.last_arrival_ns[update.instrument] = cause.ts_recv_ns
        quote = Quote(
            **self._post.head(cause, quote_ns),
            instrument=update.instrument,
            bid_ticks=update.bid_ticks,
            ask_ticks=update.ask_ticks,
        )
        self._post.show(quote, RISK)
        if update.mark_ticks is None:
            return
        mark = MarkPrice(
            **self._post.head(cause, update.ts_venue_ns),
            instrument=update.instrument,
            mark_ticks=update.mark_ticks,
            rate_e8=update.rate_e8,
            next_funding_ns=update.next_funding_ns,
            funding_interval_ns=update.funding_interval_ns,
            last_of_instant=last_of_instant,
        )
        self._post.show(mark, RISK)
        rate = (update.rate_e8, update.next_funding_ns, update.funding_interval_ns)
        if self._rates.get(update.instrument, ()) != rate:
            self._rates[update.instrument] = rate
            self._post.send(mark, FUNDING)

    async def _pass_bar(self, cause: MarketSeen, update: MarketUpdate, bar: Bar) -> None:
        """Publish a bar, after whatever is missing before it; where that cannot be read, the bar comes again later."""
        instrument = update.instrument
        last_ns = self._last_bar_ns.get(instrument)
        if last_ns is not None and bar.open_ns <= last_ns:
            return
        if last_ns is not None and self._is_hole_before(instrument, bar):
            try:
                await self._fill_hole(cause, instrument, bar, last_ns)
            except Transient as error:
                again = MarketSeen(**self._post.head(cause, cause.ts_venue_ns), updates=(update,))
                self._ask_again(cause, instrument, error, again)
                return
        self._publish_bar(cause, instrument, bar)

    async def _fill_hole(self, cause: MarketSeen, instrument: str, bar: Bar, last_ns: int) -> None:
        """Publish the bars before ``bar`` from the venue's history, and report what it does not have."""
        missing = (bar.open_ns - last_ns) // bar.length_ns - 1
        found = 0
        for old in await self._market.history(instrument, missing + 1):
            if last_ns < old.open_ns < bar.open_ns:
                found += 1
                self._publish_bar(cause, instrument, old)
        if found < missing:
            incident = Incident(
                **self._post.head(cause),
                actor=self.name,
                text="bars are missing and the venue's history does not have them: the gap counts as one jump",
                figures={"instrument": instrument, "missing": str(missing - found), "before_ns": str(bar.open_ns)},
            )
            self._post.publish(incident)

    def _publish_bar(self, cause: MarketSeen, instrument: str, bar: Bar) -> None:
        self._last_bar_ns[instrument] = bar.open_ns
        closed = BarClosed(**self._post.head(cause), instrument=instrument, bar=bar)
        # Risk first: the equity sample belongs before the decision.
        self._post.publish(closed, RISK, strategy_name(instrument), JOURNAL)

    async def _give_history(self, message: NeedHistory) -> None:
        """Send a strategy the bars up to now; the funding rate comes to it again with the next mark, news or not."""
        self._rates.pop(message.instrument, None)
        try:
            bars = await self._market.history(message.instrument, self._history_bars)
        except Transient as error:
            self._ask_again(message, message.instrument, error, message)
            return
        loaded = HistoryLoaded(**self._post.head(message), instrument=message.instrument, bars=bars)
        self._post.send(loaded, RISK, strategy_name(message.instrument))

    def _ask_again(self, cause: Message, instrument: str, error: Transient, message: FeedMessage) -> None:
        """Wait for a history that cannot be read: the exchange is busy, or has heard too much of us."""
        words = "the history could not be read: asking again"
        figures = {"instrument": instrument, "why": str(error)}
        self._post.publish(Incident(**self._post.head(cause), actor=self.name, text=words, figures=figures))
        self.remind_at(max(self.clock.now_ns() + HISTORY_AGAIN_NS, error.until_ns or 0), message)


def _last_mark(updates: tuple[MarketUpdate, ...]) -> int:
    """Give the place of the last mark price among the updates of one instant, -1 where there is none."""
    marks = [place for place, one in enumerate(updates) if one.bar is None and one.mark_ticks is not None]
    return marks[-1] if marks else -1
