"""The tape of trades: a step a trade, bars announced before anything that follows them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.model.market import Step, Tape
from hedgegrid.venues.simulated.arrays import FundingArrays, TickArrays, no_funding
from hedgegrid.venues.simulated.tape_ticks import TickTape

LENGTH = 1_000

Trade = tuple[int, int, int]
"""Time in ns, price, quantity."""


def funding_of(*settlements: tuple[int, int]) -> FundingArrays:
    """Settlements of (time, rate)."""
    columns = np.array(settlements, np.int64).reshape(-1, 2).T
    return FundingArrays(ts_ns=columns[0], rate_e8=columns[1])


def arrays_of(trades: list[Trade], seen: FundingArrays | None = None) -> TickArrays:
    """Trades whose bid is the price less 1, ask the price plus 1, mark the price plus 2; 10 and 20 lots more shown."""
    columns = np.array(trades, np.int64).reshape(-1, 3).T
    return TickArrays(
        ts_ns=columns[0],
        price_ticks=columns[1],
        qty_lots=columns[2],
        bid_ticks=columns[1] - 1,
        ask_ticks=columns[1] + 1,
        bid_qty_lots=columns[2] + 10,
        ask_qty_lots=columns[2] + 20,
        mark_ticks=columns[1] + 2,
        funding=seen or no_funding(),
    )


def tape_of(*instruments: list[Trade], funding: tuple[FundingArrays, ...] | None = None) -> TickTape:
    """A tape over the trades of each instrument."""
    return TickTape(
        instruments=[f"I{index}/USDT:USDT" for index in range(len(instruments))],
        ticks=[arrays_of(trades) for trades in instruments],
        funding=funding or [no_funding() for _ in instruments],
        bar_length_ns=LENGTH,
    )


def told(step: Step) -> tuple[int, list[int], list[tuple[int, int, int, int, int, int, int]]]:
    """A step in short: time, prices, bars."""
    bars = [(i, b.open_ns, b.open_ticks, b.high_ticks, b.low_ticks, b.close_ticks, b.volume_lots) for i, b in step.bars]
    return step.ts_ns, [point.price_ticks for point in step.points], bars


@st.composite
def trades_lists(draw: st.DrawFn) -> list[list[Trade]]:
    """Trades of one to three instruments, many at equal times and on the edges of bars."""
    times = st.integers(1, 12).map(lambda place: place * LENGTH // 2) | st.integers(1, 6 * LENGTH)
    market = []
    for _ in range(draw(st.integers(1, 3))):
        stamps = sorted(draw(st.lists(times, min_size=1, max_size=15)))
        market.append([(t, draw(st.integers(5, 99)), draw(st.integers(1, 9))) for t in stamps])
    return market


def test_trades_and_bars_in_order() -> None:
    """A bar comes before trades at its end; an empty one carries the close; begun and unended ones are not told."""
    tape = tape_of([(900, 50, 1), (1000, 60, 2), (1999, 40, 3), (4000, 70, 4), (4100, 71, 5)])
    assert [told(step) for step in tape.steps(0)] == [
        (900, [50], []),
        (1000, [60], []),
        (1999, [40], []),
        (2000, [], [(0, 1000, 60, 60, 40, 40, 5)]),
        (3000, [], [(0, 2000, 40, 40, 40, 40, 0)]),
        (4000, [], [(0, 3000, 40, 40, 40, 40, 0)]),
        (4000, [70], []),
        (4100, [71], []),
    ]
    assert tape.total_steps() == 8


def test_a_bar_whose_first_trade_lies_on_its_opening_counts() -> None:
    """The capture is known to be whole from there on."""
    tape = tape_of([(1000, 60, 2), (2000, 61, 2)])
    assert [told(step)[2] for step in tape.steps(0)][1] == [(0, 1000, 60, 60, 60, 60, 2)]


def test_a_trade_is_a_jump_with_its_own_book_and_quantity() -> None:
    """What a trade says bounds its fills; bars' ranges are not known on trades."""
    point = next(tape_of([(900, 50, 3)]).steps(0)).points[0]
    assert point.jump
    assert (point.qty_lots, point.bid_ticks, point.ask_ticks, point.mark_ticks) == (3, 49, 51, 52)
    assert (point.bid_qty_lots, point.ask_qty_lots) == (13, 23)
    assert (point.bar_low_ticks, point.bar_high_ticks) == (0, 0)


def test_instruments_merge_by_time_then_index() -> None:
    """Trades of one instant stay single steps, in the order of the config, then of the trades."""
    tape = tape_of([(1500, 10, 1), (1500, 11, 1), (2600, 12, 1)], [(1400, 20, 1), (1500, 21, 1)])
    steps = list(tape.steps(0))
    merged = [(s.ts_ns, s.points[0].instrument_index, s.points[0].price_ticks) for s in steps if s.points]
    assert merged == [(1400, 1, 20), (1500, 0, 10), (1500, 0, 11), (1500, 1, 21), (2600, 0, 12)]


def test_many_trades_of_one_instant_keep_their_order() -> None:
    """A burst in one millisecond is common, and its order is the market's."""
    bursts = [[(1500 + 7 * (place // 300), place + 1, 1) for place in range(600)] for _ in range(2)]
    points = [step.points[0] for step in tape_of(*bursts).steps(0) if step.points]
    merged = [(point.instrument_index, point.price_ticks) for point in points]
    half = [(index, place + 1) for index in range(2) for place in range(300)]
    assert merged == half + [(index, price + 300) for index, price in half]


def test_bars_of_several_instruments_share_a_step() -> None:
    """An instrument that stopped trading still gets its bars, in the order of the instruments."""
    tape = tape_of([(1000, 10, 1), (3500, 11, 1)], [(1000, 20, 1)])
    listed = [(step.ts_ns, [index for index, _ in step.bars]) for step in tape.steps(0) if step.bars]
    assert listed == [(2000, [0, 1]), (3000, [0, 1])]


def test_settlements_ride_in_bar_steps_too() -> None:
    """Funding does not wait for the next trade where a bar's end comes first."""
    tape = tape_of([(1000, 10, 1), (2500, 11, 1)], funding=(funding_of((999, 1), (1500, 2), (2000, 3), (2501, 4)),))
    settled = [(step.ts_ns, [row.rate_e8 for row in step.settlements]) for step in tape.steps(0)]
    assert settled == [(1000, []), (2000, [2, 3]), (2500, [])]
    rate = tape.last_rate(0, 999)
    assert rate is not None
    assert rate.rate_e8 == 1


def test_a_funding_file_wins_over_what_the_capture_saw() -> None:
    """The settled rate is known better from the record than from the stream; without a record the stream counts."""
    ticks = arrays_of([(1000, 10, 1)], seen=funding_of((1000, 5)))
    for given_funding, expected in ((no_funding(), 5), (funding_of((1000, 6)), 6)):
        tape = TickTape(instruments=["X"], ticks=[ticks], funding=[given_funding], bar_length_ns=LENGTH)
        assert [row.rate_e8 for row in next(tape.steps(0)).settlements] == [expected]


def test_history_gives_closed_bars_only() -> None:
    """The warm-up sees the same bars as the walk, and none that is still open."""
    tape = tape_of([(1000, 60, 2), (2000, 61, 2), (3000, 62, 1)])
    assert [bar.open_ticks for bar in tape.history(0, 3000, 9)] == [60, 61]
    assert [bar.open_ticks for bar in tape.history(0, 2999, 9)] == [60]
    assert [bar.open_ticks for bar in tape.history(0, 3000, 1)] == [61]


@given(trades_lists())
def test_bars_agree_with_the_trades_before_them(market: list[list[Trade]]) -> None:
    """Each listed bar is what its trades say, comes in time, and none that is whole is missing."""
    steps = list(tape_of(*market).steps(0))
    assert all(a.ts_ns <= b.ts_ns and a.number + 1 == b.number for a, b in pairwise(steps))
    last = max(trades[-1][0] for trades in market)
    for index, trades in enumerate(market):
        bars = [bar for step in steps for owner, bar in step.bars if owner == index]
        first = -(-trades[0][0] // LENGTH) * LENGTH
        assert [bar.open_ns for bar in bars] == list(range(first, last // LENGTH * LENGTH, LENGTH))
        for bar in bars:
            end = bar.open_ns + LENGTH
            inside = [price for t, price, _ in trades if bar.open_ns <= t < end]
            close = next(price for t, price, _ in reversed(trades) if t < end)
            path = inside or [close]
            assert (bar.open_ticks, bar.close_ticks) == (path[0], close)
            assert (bar.high_ticks, bar.low_ticks) == (max(path), min(path))
            assert bar.volume_lots == sum(q for t, _, q in trades if bar.open_ns <= t < end)
    for place, step in enumerate(steps):
        if step.bars:
            assert not step.points
            assert all(later.ts_ns >= step.ts_ns for later in steps[place:])
            assert all(earlier.ts_ns < step.ts_ns for earlier in steps[:place])


@given(trades_lists(), st.data())
def test_seeking_equals_walking(market: list[list[Trade]], draws: st.DataObject) -> None:
    """A kept exchange goes on exactly where it stopped."""
    stamps = draws.draw(st.lists(st.integers(0, 7 * LENGTH), max_size=5, unique=True))
    settlements = funding_of(*((stamp, 7) for stamp in sorted(stamps)))
    tape = tape_of(*market, funding=tuple([settlements] * len(market)))
    walked = list(tape.steps(0))
    first = draws.draw(st.integers(0, len(walked)))
    assert list(tape.steps(first)) == walked[first:]
    due = [stamp for stamp in stamps if walked[0].ts_ns <= stamp <= walked[-1].ts_ns]
    assert sum(len(step.settlements) for step in walked) == len(due) * len(market)


def test_a_long_tape_has_no_seam() -> None:
    """The tape is walked in pieces; nothing is lost or doubled where they meet."""
    trades = [(place * 10, place + 1, 1) for place in range(9_000)]
    steps = list(tape_of(trades).steps(0))
    prices = [step.points[0].price_ticks for step in steps if step.points]
    assert prices == list(range(1, 9_001))
    assert sum(len(step.bars) for step in steps) == 89


def test_identity_follows_the_content() -> None:
    """Any other trade, or another timeframe, is another tape."""
    base = tape_of([(1000, 60, 2)])
    assert base.identity == tape_of([(1000, 60, 2)]).identity
    others = [(1001, 60, 2), (1000, 61, 2), (1000, 60, 3)]
    assert len({tape_of([other]).identity for other in others} | {base.identity}) == 4


@pytest.mark.parametrize("trades", [[], [(2, 1, 1), (1, 1, 1)]])
def test_trades_that_are_no_tape_are_refused(trades: list[Trade]) -> None:
    """An empty or disordered market is a fault of the caller, seen at once."""
    with pytest.raises(ValueError, match="trade"):
        tape_of(trades)


def test_steps_are_counted_from_zero() -> None:
    """A negative place is a fault, not the end of the tape."""
    with pytest.raises(ValueError, match="counted from 0"):
        next(tape_of([(1000, 60, 2)]).steps(-1))


def test_a_tick_tape_is_a_tape() -> None:
    """The venue takes any Tape."""
    tape: Tape = tape_of([(1000, 60, 2)])
    assert tape.total_steps() == 1
