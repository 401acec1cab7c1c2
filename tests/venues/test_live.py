"""Live prices walked through the simulated exchange: what paper trading does with quotes, trades, bars and funding.

Invariants: the exchange and the walk are real; the market is what a test tells it; time is virtual.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.errors import Fatal
from hedgegrid.messages.events import FundingPaid
from hedgegrid.model.market import Bar, MarketUpdate
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.ports import PrivateEvent, VenueBatch
from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.simulated import live
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.live import LiveWalk, PaperMarket, TradeTick
from hedgegrid.venues.simulated.store import VenueStore
from hedgegrid.venues.simulated.venue import SimulatedTrading
from tests.actors.house import BTC
from tests.core import made
from tests.venues.test_exchange import RULES, WALLET_E8, request

START_NS = 29_000_000 * NS_PER_MINUTE
RATE_E8 = 10_000


def update(bid: int, ask: int, mark: int | None = None, **changes: Any) -> MarketUpdate:
    """What the market shows: a quote, with a mark and its rate where one is given."""
    funding = {"rate_e8": RATE_E8, "next_funding_ns": START_NS + NS_PER_HOUR} if mark is not None else {}
    figures: dict[str, Any] = {
        "instrument": BTC,
        "ts_venue_ns": START_NS,
        "bid_ticks": bid,
        "ask_ticks": ask,
        "mark_ticks": mark,
        "rate_e8": None,
        "next_funding_ns": None,
        "funding_interval_ns": RULES.funding_interval_ns,
        "bar": None,
    }
    return MarketUpdate(**{**figures, **funding, **changes})


def trade(price: int, lots: int = 5) -> TradeTick:
    """A trade of the market."""
    return TradeTick(instrument=BTC, ts_ns=START_NS, price_ticks=price, qty_lots=lots)


def bar(close: int) -> Bar:
    """A bar that has just closed."""
    return Bar(
        open_ns=START_NS - NS_PER_MINUTE,
        length_ns=NS_PER_MINUTE,
        open_ticks=close,
        high_ticks=close,
        low_ticks=close,
        close_ticks=close,
        volume_lots=1,
    )


class Quiet:
    """A market that tells only what the test tells in its place."""

    def subscribe(self, sink: object) -> None:
        """Take nobody's ear."""

    async def history(self, instrument: str, count: int) -> tuple[Bar, ...]:
        """Give one bar."""
        assert (instrument, count) == (BTC, 1)
        return (bar(7),)


@attrs.define(eq=False, kw_only=True)
class Paper:
    """A walk, its exchange, and what both told."""

    exchange: Exchange
    trading: SimulatedTrading
    walk: LiveWalk
    market: PaperMarket
    clock: VirtualClock
    store: VenueStore | None
    shown: list[MarketUpdate]
    private: list[PrivateEvent]
    order: list[str]
    """What was told, in order: "account" and "market"."""

    @property
    def held(self) -> list[int]:
        """Both legs."""
        return [account.qty_lots for account in self.exchange.books[0].accounts]

    def fills(self) -> list[tuple[str, int, int]]:
        """Every fill: the order's id, its price and its quantity."""
        return [(fill.client_id, fill.price_ticks, fill.qty_lots) for fill in self.exchange.fills]

    async def rest(self) -> None:
        """Let the walk take what has come."""
        for _ in range(50):
            await asyncio.sleep(0)

    async def tell(self, *news: MarketUpdate | TradeTick, wait_ns: int = NS_PER_S) -> None:
        """Let the market speak one after the other, and time pass after each word."""
        for one in news:
            self.hear(one)
            await self.rest()
            self.clock.advance_to(self.clock.now_ns() + wait_ns)

    def hear(self, news: MarketUpdate | TradeTick) -> None:
        """Let the market speak, without time for anybody to listen."""
        if isinstance(news, TradeTick):
            self.walk.on_trade(news)
        else:
            self.walk.on_updates((news,))


def paper(path: Path | None = None, at_ns: int = START_NS, **rules: Any) -> Paper:
    """Make a paper account; one on the same path goes on with what was kept there."""
    clock = VirtualClock(at_ns)
    exchange = Exchange([RULES], [made.rules(**rules)], WALLET_E8)
    store = None if path is None else VenueStore(path, "paper")
    kept = None if store is None else store.load(exchange)
    trading = SimulatedTrading(exchange, clock, store)
    if kept is not None:
        trading.next_step = kept.next_step
    market = PaperMarket(Quiet())
    walk = LiveWalk(
        exchange=exchange,
        market=market,
        trading=trading,
        instruments=[RULES],
        clock=clock,
        bar_length_ns=NS_PER_MINUTE,
        settle=Activity().idle,
    )
    shown: list[MarketUpdate] = []
    private: list[PrivateEvent] = []
    order: list[str] = []

    def see(updates: tuple[MarketUpdate, ...]) -> None:
        shown.extend(updates)
        order.append("market")

    def hear(event: PrivateEvent) -> None:
        private.append(event)
        order.append("account")

    market.subscribe(see)
    trading.subscribe(hear)
    return Paper(
        exchange=exchange,
        trading=trading,
        walk=walk,
        market=market,
        clock=clock,
        store=store,
        shown=shown,
        private=private,
        order=order,
    )


@asynccontextmanager
async def walking(one: Paper) -> AsyncIterator[Paper]:
    """Let it walk until the test is over, and end it well."""
    running = asyncio.create_task(one.walk.run())
    try:
        yield one
    finally:
        one.walk.stop()
        await asyncio.gather(running, return_exceptions=True)
        if one.store is not None:
            one.store.close()
    running.result()


@pytest.mark.asyncio
async def test_trades_fill_what_they_jump_over_at_its_own_price() -> None:
    """A trade beyond a resting entry fills it at the entry's price; a quote beyond it alone does not."""
    async with walking(paper()) as one:
        await one.tell(update(9_999, 10_001, 10_000))
        one.exchange.place(request("house.1LE1.1", 9_900), one.clock.now_ns())
        await one.tell(update(9_999, 10_001), update(9_895, 9_899), trade(9_910))
        assert one.fills() == []
        await one.tell(trade(9_890, 3))
        assert one.fills() == [("house.1LE1.1", 9_900, 10)]
        assert one.held == [10, 0]


@pytest.mark.asyncio
async def test_account_hears_before_the_market_is_shown() -> None:
    """Whoever judges the account at a price has its fills in the books: the account is told first."""
    async with walking(paper()) as one:
        await one.tell(update(9_999, 10_001, 10_000))
        one.exchange.place(request("house.1LE1.1", 9_900), one.clock.now_ns())
        await one.tell(update(9_999, 10_001))
        one.order.clear()
        one.hear(trade(9_890))
        one.hear(update(9_889, 9_891, 9_890))
        await one.rest()
        assert one.order == ["account", "market"]
        (batch,) = [event for event in one.private if isinstance(event, VenueBatch) and event.events[0].fill]
        assert batch.events[0].client_id == "house.1LE1.1"


@pytest.mark.asyncio
async def test_quotes_conflate_and_trades_do_not() -> None:
    """Of many quotes that wait the newest is walked and shown; every trade is, in its order."""
    async with walking(paper()) as one:
        await one.tell(update(9_999, 10_001, 10_000))
        one.exchange.place(request("house.1LE1.1", 9_900), one.clock.now_ns())
        one.exchange.place(request("house.1LE2.2", 9_800, level=2), one.clock.now_ns())
        await one.tell(update(9_999, 10_001))
        one.shown.clear()
        for price in (9_950, 9_960, 9_970):
            one.hear(update(price - 1, price + 1))
        for price in (9_890, 9_990, 9_790):
            one.hear(trade(price))
        await one.rest()
        assert [(shown.bid_ticks, shown.ask_ticks) for shown in one.shown] == [(9_969, 9_971)]
        assert [name for name, *_ in one.fills()] == ["house.1LE1.1", "house.1LE2.2"]


@pytest.mark.asyncio
async def test_mark_is_not_lost_behind_a_quote() -> None:
    """A mark and a quote that wait together are both shown: what the quote does not say it does not undo."""
    async with walking(paper()) as one:
        await one.tell(update(9_999, 10_001, 10_000))
        one.shown.clear()
        one.hear(update(9_999, 10_001, 9_700))
        one.hear(update(9_998, 10_000))
        await one.rest()
        assert [(shown.bid_ticks, shown.mark_ticks, shown.rate_e8) for shown in one.shown] == [(9_998, 9_700, RATE_E8)]
        assert one.exchange.books[0].market.mark_ticks == 9_700


@pytest.mark.asyncio
async def test_bars_are_all_shown_in_order() -> None:
    """Closed bars decide: none of them is conflated, and each is shown after the account knows its point."""
    async with walking(paper()) as one:
        await one.tell(update(9_999, 10_001, 10_000))
        one.shown.clear()
        for close in (1, 2, 3):
            one.hear(update(9_999, 10_001, bar=bar(close)))
        await one.rest()
        closes = [shown.bar.close_ticks for shown in one.shown if shown.bar is not None]
        assert closes == [1, 2, 3]
        assert await one.market.history(BTC, 1) == (bar(7),)


@pytest.mark.asyncio
async def test_nothing_moves_before_the_market_is_known() -> None:
    """Before the first quote and mark a trade has no market to move, and nothing fails."""
    async with walking(paper()) as one:
        await one.tell(trade(9_000), update(9_999, 10_001))
        assert one.exchange.books[0].market.seen == 0
        await one.tell(update(9_999, 10_001, 10_000))
        assert one.exchange.books[0].market.seen == 1


@pytest.mark.asyncio
async def test_settlement_comes_when_the_next_funding_time_moves_on() -> None:
    """Funding is charged once, at its own time and at the rate that was told before it, to both legs."""
    async with walking(paper()) as one:
        await one.tell(update(9_999, 10_001, 10_000))
        for leg, name in ((Leg.LONG, "house.1LE1.1"), (Leg.SHORT, "house.1SE1.2")):
            price = 9_990 if leg is Leg.LONG else 10_010
            one.exchange.place(request(name, price, leg=leg), one.clock.now_ns())
        await one.tell(update(9_999, 10_001), trade(9_980), trade(10_020), update(9_999, 10_001, 10_000))
        assert one.held == [10, 10]
        later = START_NS + 9 * NS_PER_HOUR
        other_rate = update(9_999, 10_001, 10_000, rate_e8=-77, next_funding_ns=later)
        await one.tell(other_rate, other_rate, update(9_999, 10_001, 10_000, rate_e8=-77, next_funding_ns=later))
        (paid,) = [event for event in one.private if isinstance(event, FundingPaid)]
        assert (paid.ts_venue_ns, paid.rate_e8) == (START_NS + NS_PER_HOUR, RATE_E8)
        assert paid.long_e8 == -paid.short_e8 == 10 * 10_000 * 10_000 * RATE_E8 // 10**8
        assert one.exchange.balance().funding_e8 == paid.long_e8 + paid.short_e8


@pytest.mark.asyncio
async def test_restart_goes_on_with_the_kept_exchange(tmp_path: Path) -> None:
    """Position, resting orders, fills and money are as they were; trades count on and are never told twice."""
    file = tmp_path / "paper.venue.db"
    async with walking(paper(file)) as one:
        await one.tell(update(9_999, 10_001, 10_000))
        await one.trading.place(BTC, [request("house.1LE1.1", 9_900), request("house.1LE2.2", 9_800, level=2)], [])
        await one.tell(update(9_999, 10_001), trade(9_890))
        await one.walk.finish("stopped", NS_PER_S)
        before, fills, steps = one.exchange.balance(), list(one.exchange.fills), one.trading.next_step
    async with walking(paper(file, at_ns=START_NS + NS_PER_HOUR)) as two:
        assert (two.exchange.balance(), two.exchange.fills) == (before, fills)
        assert two.trading.next_step == steps
        assert two.held == [10, 0]
        entries = [order.client_id for order in two.exchange.books[0].open_orders(conditional=False)]
        assert entries == ["house.1LE2.2"]
        await two.tell(update(9_999, 10_001, 10_000), trade(9_700))
        assert two.held == [20, 0]
        assert [fill.trade_id for fill in two.exchange.fills] == [1, 2]


@pytest.mark.asyncio
async def test_latency_passes_as_the_clock_does() -> None:
    """A request takes effect at the first word of the market after its latency, and the last ones within patience."""
    async with walking(paper(latency_ns=2 * NS_PER_S)) as one:
        await one.tell(update(9_999, 10_001, 10_000))
        await one.trading.place(BTC, [request("house.1LE1.1", 9_900)], [])
        await one.tell(trade(9_950))
        assert one.exchange.has_pending()
        await one.tell(update(9_999, 10_001), update(9_999, 10_001), trade(9_890))
        assert [name for name, *_ in one.fills()] == ["house.1LE1.1"]
        await one.trading.place(BTC, [request("house.1LE2.2", 9_800, level=2, purpose=Purpose.ENTRY)], [])
        ending = asyncio.create_task(one.walk.finish("stopped", 5 * NS_PER_S))
        for _ in range(400):
            await one.rest()
            if ending.done():
                break
            one.clock.fire_next()
        await ending
        assert not one.exchange.has_pending()


@pytest.mark.asyncio
async def test_backlog_is_bounded_and_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """A market that the machine cannot follow ends the run in words, and what waits never grows beyond its bound."""
    monkeypatch.setattr(live, "BACKLOG_MAX", 10)
    one = paper()
    for _ in range(50):
        one.hear(trade(10_000))
    with pytest.raises(Fatal, match="11 trades wait: this machine cannot follow"):
        await one.walk.run()
