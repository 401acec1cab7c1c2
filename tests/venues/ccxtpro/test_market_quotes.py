"""Quotes and marks: the latest wins, and a price that cannot be right goes nowhere."""

from typing import Any

import attrs
import pytest

from hedgegrid.model.market import MarketUpdate
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.units import NS_PER_MS, NS_PER_S
from hedgegrid.venues.ccxtpro.market_quotes import PACE_NS, SAME_NS, QuoteBoard
from hedgegrid.venues.ccxtpro.parse_market import MarkSeen
from tests.venues.ccxtpro.loopback import listed

T0_MS = 1_700_000_000_000
BTC, ETH = listed(), listed("ETHUSDT")
SILENCE_NS = 5 * NS_PER_S


@attrs.define(kw_only=True)
class Watched:
    """A board, its clock, and what it told."""

    board: QuoteBoard
    clock: VirtualClock
    told: list[MarketUpdate]
    batches: list[int]
    reports: list[str]
    stands: list[bool]
    """Whether the socket of the quotes stands, last."""

    def let(self, ns: int) -> None:
        """Let time pass."""
        end_ns = self.clock.now_ns() + ns
        while (next_ns := self.clock.next_timer_ns()) is not None and next_ns <= end_ns:
            self.clock.fire_next()
        self.clock.advance_to(end_ns)

    def quotes(self) -> list[tuple[int, int]]:
        """Give what was told as (bid, ask)."""
        return [(update.bid_ticks, update.ask_ticks) for update in self.told]


@pytest.fixture
def watched() -> Watched:
    """Make a board of two instruments."""
    clock = VirtualClock(start_ns=T0_MS * NS_PER_MS)
    told: list[MarketUpdate] = []
    batches: list[int] = []
    reports: list[str] = []
    stands = [True]

    def emit(updates: tuple[MarketUpdate, ...]) -> None:
        batches.append(len(updates))
        told.extend(updates)

    board = QuoteBoard(
        clock=clock,
        rules={"BTCUSDT": BTC, "ETHUSDT": ETH},
        scales={"BTCUSDT": BTC.scale, "ETHUSDT": ETH.scale},
        emit=emit,
        report=lambda _text, figures: reports.append(figures["why"]),
        quote_silence_ns=SILENCE_NS,
        quotes_stand=lambda: stands[-1],
    )
    return Watched(board=board, clock=clock, told=told, batches=batches, reports=reports, stands=stands)


def ticker(bid: str, ask: str, ts_ms: int = T0_MS, symbol: str = "BTCUSDT", **changes: Any) -> dict[str, Any]:
    """Make a bookTicker event."""
    event = {"e": "bookTicker", "u": 1, "E": ts_ms, "T": ts_ms, "s": symbol, "b": bid, "B": "1", "a": ask, "A": "1"}
    return {**event, **changes}


def mark(ticks: int, ts_ms: int = T0_MS) -> MarkSeen:
    """Make a mark with a rate."""
    return MarkSeen(
        instrument=BTC.instrument.name, mark_ticks=ticks, rate_e8=10_000, next_funding_ns=7, ts_ns=ts_ms * NS_PER_MS
    )


def test_a_burst_goes_out_as_its_last_quote(watched: Watched) -> None:
    """Protects the mailboxes: a thousand quotes before the others had a turn are one, the newest."""
    for number in range(1_000):
        watched.board.quote("BTCUSDT", ticker(f"{100 + number}.0", f"{100 + number}.1", T0_MS + number))
    watched.board.quote("ETHUSDT", ticker("5.0", "5.1", symbol="ETHUSDT"))
    assert watched.told == []
    watched.let(0)
    assert watched.quotes() == [(10_990, 10_991), (50, 51)]
    assert watched.batches == [2]
    assert len(watched.board._waiting) == 0


def test_a_lone_quote_goes_out_at_once_and_a_stream_at_its_pace(watched: Watched) -> None:
    """Protects latency and load alike: no wait after a pause, no more than one hand-over each pace."""
    watched.let(NS_PER_S)
    watched.board.quote("BTCUSDT", ticker("100.0", "100.1"))
    watched.let(0)
    assert watched.batches == [1]
    for number in range(10):
        watched.board.quote("BTCUSDT", ticker(f"{101 + number}.0", f"{101 + number}.1", T0_MS + 1 + number))
        watched.let(PACE_NS // 10)
    assert watched.quotes() == [(1_000, 1_001), (1_100, 1_101)]


def test_what_is_handed_over_before_its_time_gives_the_next_ones_their_whole_pace(watched: Watched) -> None:
    """Quotes that came before a bar go with it; those after it do not come between it and the orders it leads to."""
    watched.board.quote("BTCUSDT", ticker("60000.0", "60000.1"))
    watched.let(1)
    watched.board.quote("BTCUSDT", ticker("60000.1", "60000.2"))
    watched.let(PACE_NS // 2)
    watched.board.flush()
    told = watched.quotes()
    assert len(told) == 2
    watched.board.quote("BTCUSDT", ticker("60000.2", "60000.3"))
    watched.let(PACE_NS - 1)
    assert watched.quotes() == told
    watched.let(1)
    assert len(watched.quotes()) == 3
    assert watched.clock.next_timer_ns() is None


def test_a_quote_of_the_same_prices_is_told_again_only_for_its_age(watched: Watched) -> None:
    """Protects the actors from quotes that change quantities alone, and the quote's age from growing."""
    for number in range(20):
        watched.board.quote("BTCUSDT", ticker("100.0", "100.1", T0_MS + number, B=f"{number + 1}"))
        watched.let(SAME_NS // 10)
    assert len(watched.told) == 2
    assert watched.told[1].ts_venue_ns > watched.told[0].ts_venue_ns


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (ticker("100.1", "100.0"), "crossed"),
        (ticker("100.0", "100.0"), "crossed"),
        (ticker("0", "100.0"), "price of zero"),
        (ticker("100.0", "0.0"), "price of zero"),
        (ticker("-1", "100.0"), "price"),
        (ticker("100.05", "100.1"), "price"),
        (ticker("NaN", "100.1"), "price"),
        (ticker("0.5", "100.1"), "bounds"),
        (ticker("100.0", "9999999.0"), "bounds"),
        (ticker("200.0", "200.1"), "above the mark"),
        (ticker("50.0", "50.1"), "below the mark"),
        (ticker("100.0", "100.1", T0_MS - 1), "older"),
        (ticker("100.0", "100.1", T="soon"), "T"),
    ],
)
def test_a_price_that_cannot_be_right_is_dropped_and_counted(watched: Watched, event: Any, why: str) -> None:
    """Protects every decision: a crossed, zero, outlying, late or unreadable quote moves nothing."""
    watched.board.quote("BTCUSDT", ticker("99.9", "100.1"))
    watched.let(PACE_NS)
    watched.board.mark("BTCUSDT", mark(1_000))
    before = len(watched.told)
    watched.board.quote("BTCUSDT", event)
    watched.let(PACE_NS)
    assert len(watched.told) == before
    assert watched.board.dropped.total() == 1
    assert why in watched.reports[0]
    watched.board.quote("BTCUSDT", ticker("99.8", "100.2", T0_MS + 5))
    watched.let(PACE_NS)
    assert watched.quotes()[-1] == (998, 1_002)


def test_an_old_mark_no_longer_bounds_quotes(watched: Watched) -> None:
    """Protects against a frozen mark: it must not keep the moving market out."""
    watched.board.mark("BTCUSDT", mark(1_000))
    watched.let(11 * NS_PER_S)
    watched.board.quote("BTCUSDT", ticker("200.0", "200.1"))
    watched.let(0)
    assert watched.quotes()[-1] == (2_000, 2_001)


def test_a_mark_waits_for_the_first_quote_and_comes_with_it(watched: Watched) -> None:
    """Protects law 9: no update shows a bid of zero, and a quote that says nothing of the mark says None."""
    watched.board.mark("BTCUSDT", mark(1_000))
    assert watched.told == []
    watched.board.quote("BTCUSDT", ticker("99.9", "100.1"))
    watched.let(0)
    watched.board.quote("BTCUSDT", ticker("99.8", "100.1"))
    watched.let(PACE_NS)
    first, second = watched.told
    assert (first.bid_ticks, first.mark_ticks, first.rate_e8, first.next_funding_ns) == (999, 1_000, 10_000, 7)
    assert (second.bid_ticks, second.mark_ticks, second.rate_e8, second.next_funding_ns) == (998, None, None, None)


def test_a_mark_comes_after_the_quotes_that_came_before_it(watched: Watched) -> None:
    """Protects order: a mark never shows an older best bid than was told already."""
    watched.board.quote("BTCUSDT", ticker("99.9", "100.1"))
    watched.board.mark("BTCUSDT", mark(1_000))
    watched.board.mark("BTCUSDT", mark(2_000, T0_MS - 1))
    assert [(update.bid_ticks, update.mark_ticks) for update in watched.told] == [(999, None), (999, 1_000)]
    assert watched.board.dropped.total() == 1
    watched.let(PACE_NS)
    assert len(watched.told) == 2


@pytest.mark.parametrize(
    ("silent_s", "stands", "own_age"),
    [(4, True, False), (6, True, True), (4, False, True)],
    ids=["young", "old", "cut"],
)
def test_a_mark_does_not_make_a_silent_quote_young(
    silent_s: int, stands: bool, own_age: bool, watched: Watched
) -> None:
    """What is told again beside a newer mark shows its own age once its silence cannot be believed any more."""
    watched.board.quote("BTCUSDT", ticker("99.9", "100.1"))
    watched.let(silent_s * NS_PER_S)
    watched.stands.append(stands)
    watched.board.mark("BTCUSDT", mark(1_000, T0_MS + 1_000 * silent_s))
    told = watched.told[-1]
    assert told.ts_venue_ns == (T0_MS + 1_000 * silent_s) * NS_PER_MS
    assert told.quote_ts_ns == (T0_MS * NS_PER_MS if own_age else None)
