"""Live prices walked through a simulated exchange: paper trading.

Every trade that the real market shows is a jump of the simulated one, every quote moves its best bid and ask, and a
settlement is charged when the market's next funding time moves on. The bot hears of prices after its account has.

Invariants: quotes and marks conflate (the newest of an instrument counts), trades and bars never do; a backlog beyond
``BACKLOG_MAX`` ends the run rather than trade on what is long past; nothing here can reach a real account.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import attrs

from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Bar, MarketUpdate, Point, Settlement, Step
from hedgegrid.ports import MarketData
from hedgegrid.runtime.clock import Clock
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.stepping import Stepper
from hedgegrid.venues.simulated.venue import SimulatedTrading

BACKLOG_MAX = 100_000
"""Trades and bars that wait to be walked; more means that the bot cannot follow this market on this machine."""


@attrs.frozen(kw_only=True)
class TradeTick:
    """A trade of the real market; quantity in lots."""

    instrument: str
    ts_ns: int
    price_ticks: int
    qty_lots: int


@attrs.define(kw_only=True)
class _Shown:
    """What is known of an instrument's market by now; prices in ticks, 0 before the first word."""

    bid_ticks: int = 0
    ask_ticks: int = 0
    last_ticks: int = 0
    mark_ticks: int = 0
    rate_e8: int = 0
    next_funding_ns: int = 0


def _newer(before: MarketUpdate | None, update: MarketUpdate) -> MarketUpdate:
    """Put an update in the place of one that waits: what the newer one does not say is as the older one said it."""
    if before is None or update.mark_ticks is not None:
        return update
    return attrs.evolve(
        update, mark_ticks=before.mark_ticks, rate_e8=before.rate_e8, next_funding_ns=before.next_funding_ns
    )


class PaperMarket:
    """The public side that the bot sees: the real market's words, told after the simulated account has moved."""

    def __init__(self, source: MarketData) -> None:
        """``source`` is the real market; its history is history here too."""
        self._source = source
        self._sink: Callable[[tuple[MarketUpdate, ...]], None] | None = None
        self.updates: tuple[MarketUpdate, ...] = ()
        """What the step at hand was made of."""

    def subscribe(self, sink: Callable[[tuple[MarketUpdate, ...]], None]) -> None:
        """Hand every update to ``sink``."""
        self._sink = sink

    async def history(self, instrument: str, count: int) -> tuple[Bar, ...]:
        """Give the real market's closed bars."""
        return await self._source.history(instrument, count)

    def show_points(self, step: Step) -> None:  # noqa: ARG002 - the step was made of ``updates``
        """Pass on the prices that the step was made of."""
        self._show([update for update in self.updates if update.bar is None])

    def show_bars(self, step: Step, marks: Sequence[int]) -> None:  # noqa: ARG002 - as above
        """Pass on the bars that the step was made of."""
        self._show([update for update in self.updates if update.bar is not None])

    def _show(self, updates: list[MarketUpdate]) -> None:
        if self._sink is not None and updates:
            self._sink(tuple(updates))


class LiveWalk:
    """Walks a simulated exchange along a live market."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        market: PaperMarket,
        trading: SimulatedTrading,
        instruments: Sequence[Instrument],
        clock: Clock,
        bar_length_ns: int,
        settle: Callable[[], Awaitable[object]],
    ) -> None:
        """Take the parts; nothing moves before ``run``."""
        self._exchange = exchange
        self._market = market
        self._trading = trading
        self._clock = clock
        self._index = {one.name: place for place, one in enumerate(instruments)}
        self._shown = [_Shown() for _ in instruments]
        self._quotes: dict[str, MarketUpdate] = {}
        self._backlog: list[TradeTick | MarketUpdate] = []
        self._news = asyncio.Event()
        self._stopping = False
        self.steps_done = 0
        self._stepper = Stepper(
            exchange=exchange, market=market, trading=trading, bar_length_ns=bar_length_ns, settle=settle
        )

    def on_updates(self, updates: tuple[MarketUpdate, ...]) -> None:
        """Take quotes, marks and bars of the real market."""
        for update in updates:
            if update.bar is not None:
                self._queue(update)
            else:
                self._quotes[update.instrument] = _newer(self._quotes.get(update.instrument), update)
        self._news.set()

    def on_trade(self, trade: TradeTick) -> None:
        """Take a trade of the real market."""
        self._queue(trade)
        self._news.set()

    def _queue(self, news: TradeTick | MarketUpdate) -> None:
        """Put a trade or a bar behind the others; beyond the bound nothing is kept, for the run is over."""
        if len(self._backlog) <= BACKLOG_MAX:
            self._backlog.append(news)

    def stop(self) -> None:
        """Return from ``run`` after the present step."""
        self._stopping = True
        self._news.set()

    async def run(self) -> None:
        """Walk what comes until stopped or liquidated. Raises Fatal where the bot cannot follow."""
        while not self._stopping and not self._exchange.liquidated:
            await self._news.wait()
            self._news.clear()
            await self._walk_news()

    async def finish(self, ended: str, patience_ns: int) -> None:
        """Let the last requests take effect, for ``patience_ns`` at most and though no price comes; then keep all."""
        until_ns = self._clock.now_ns() + patience_ns
        await self._stepper.fall_due()
        while self._exchange.has_pending() and self._clock.now_ns() < until_ns:
            await self._clock.sleep(10_000_000)
            await self._walk_news()
            await self._pass_time()
        self._trading.keep(ended=ended)

    async def _walk_news(self) -> None:
        """Walk what has come since the last call: trades and bars in order, then the newest quotes."""
        backlog, self._backlog = self._backlog, []
        if len(backlog) > BACKLOG_MAX:
            raise Fatal(f"{len(backlog)} trades wait: this machine cannot follow the market; trade fewer instruments")
        quotes, self._quotes = self._quotes, {}
        for update in quotes.values():
            self._note(update)
        for news in backlog:
            await self._take(news)
        if quotes:
            await self._step(tuple(quotes.values()))

    async def _pass_time(self) -> None:
        """Bring the exchange to this moment at the prices that it knows."""
        points = [self._point(name, 0) for name in self._index if self._known(name)]
        await self._happen((), points, ())

    def _note(self, update: MarketUpdate) -> None:
        """Remember the newest prices of an instrument; figures that were not said stay."""
        shown = self._shown[self._index[update.instrument]]
        shown.bid_ticks, shown.ask_ticks = update.bid_ticks, update.ask_ticks
        shown.last_ticks = shown.last_ticks or (update.bid_ticks + update.ask_ticks) // 2
        shown.mark_ticks = update.mark_ticks or shown.mark_ticks

    async def _take(self, news: TradeTick | MarketUpdate) -> None:
        """Walk one trade or one bar; a trade before the first quote and mark has no market to move."""
        if isinstance(news, MarketUpdate):
            await self._step((news,))
            return
        shown = self._shown[self._index[news.instrument]]
        shown.last_ticks = news.price_ticks
        if shown.mark_ticks:
            await self._step((), trade=news)

    async def _step(self, updates: tuple[MarketUpdate, ...], trade: TradeTick | None = None) -> None:
        """Let what came happen at this moment."""
        prices = [update for update in updates if update.bar is None and self._known(update.instrument)]
        points = [self._point(update.instrument, 0) for update in prices]
        if trade is not None:
            points.append(self._point(trade.instrument, trade.qty_lots))
        settlements = tuple(one for update in prices for one in self._settlements(update))
        await self._happen(updates, points, settlements)

    async def _happen(
        self, updates: tuple[MarketUpdate, ...], points: list[Point], settlements: tuple[Settlement, ...]
    ) -> None:
        """Make a step and let it happen."""
        step = Step(
            number=self._trading.next_step,
            ts_ns=max(self._exchange.ts_ns, self._clock.now_ns()),
            points=tuple(sorted(points, key=lambda point: point.instrument_index)),
            settlements=settlements,
            bars=tuple((self._index[one.instrument], one.bar) for one in updates if one.bar is not None),
        )
        self._market.updates = updates
        await self._stepper.take(step)
        self.steps_done += 1

    def _known(self, instrument: str) -> bool:
        return self._shown[self._index[instrument]].mark_ticks > 0

    def _point(self, instrument: str, qty_lots: int) -> Point:
        index = self._index[instrument]
        shown = self._shown[index]
        return Point(
            instrument_index=index,
            price_ticks=shown.last_ticks,
            jump=True,
            qty_lots=qty_lots,
            bid_ticks=shown.bid_ticks,
            ask_ticks=shown.ask_ticks,
            mark_ticks=shown.mark_ticks,
            bar_low_ticks=0,
            bar_high_ticks=0,
        )

    def _settlements(self, update: MarketUpdate) -> list[Settlement]:
        """Give the settlement that has passed when the next funding time moves on, at the last rate told before."""
        if update.rate_e8 is None or update.next_funding_ns is None:
            return []
        index = self._index[update.instrument]
        shown = self._shown[index]
        before_ns, rate_e8 = shown.next_funding_ns, shown.rate_e8
        shown.next_funding_ns, shown.rate_e8 = update.next_funding_ns, update.rate_e8
        if 0 < before_ns < update.next_funding_ns and before_ns > self._exchange.last_settled_ns[index]:
            return [Settlement(instrument_index=index, ts_ns=before_ns, rate_e8=rate_e8)]
        return []
