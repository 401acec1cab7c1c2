"""The tape of bars: four points a bar, any number of instruments, from any step on."""

from itertools import islice, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.model.market import Settlement, Step, Tape
from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, no_funding
from hedgegrid.venues.simulated.tape_bars import BarTape

START = 1_700_000_040 * 10**9
LENGTH = NS_PER_MINUTE
QUARTER = LENGTH // 4

Row = tuple[int, int, int, int, int, int]
"""Opening in bars from START, open, high, low, close, volume."""


def arrays_of(rows: list[Row]) -> BarArrays:
    """Columns of the given rows."""
    columns = np.array(rows, np.int64).reshape(-1, 6).T
    return BarArrays(
        open_ns=START + columns[0] * LENGTH,
        open_ticks=columns[1],
        high_ticks=columns[2],
        low_ticks=columns[3],
        close_ticks=columns[4],
        volume_lots=columns[5],
    )


def funding_of(*settlements: tuple[int, int]) -> FundingArrays:
    """Settlements of (ns after START, rate)."""
    columns = np.array(settlements, np.int64).reshape(-1, 2).T
    return FundingArrays(ts_ns=START + columns[0], rate_e8=columns[1])


def tape_of(*instruments: list[Row], funding: tuple[FundingArrays, ...] | None = None) -> BarTape:
    """A tape over the rows of each instrument."""
    return BarTape(
        instruments=[f"I{index}/USDT:USDT" for index in range(len(instruments))],
        bars=[arrays_of(rows) for rows in instruments],
        funding=funding or [no_funding() for _ in instruments],
        bar_length_ns=LENGTH,
    )


@st.composite
def markets(draw: st.DrawFn) -> list[list[Row]]:
    """Bars of one to three instruments with gaps."""
    market = []
    for _ in range(draw(st.integers(1, 3))):
        places = sorted(draw(st.sets(st.integers(0, 30), min_size=1, max_size=12)))
        rows: list[Row] = []
        for place in places:
            prices = draw(st.lists(st.integers(1, 10**6), min_size=4, max_size=4))
            first, close = prices[:2]
            rows.append((place, first, max(prices), min(prices), close, draw(st.integers(0, 9))))
        market.append(rows)
    return market


def test_points_of_a_rising_and_a_falling_bar() -> None:
    """A rising bar meets its low first, a falling one its high; only the open jumps; the bar comes last."""
    tape = tape_of([(0, 100, 120, 90, 100, 7), (1, 110, 130, 80, 105, 8)])
    steps = list(tape.steps(0))
    assert [step.points[0].price_ticks for step in steps] == [100, 90, 120, 100, 110, 130, 80, 105]
    assert [step.points[0].jump for step in steps] == [True, False, False, False] * 2
    assert [step.ts_ns - START for step in steps] == [QUARTER * place for place in range(8)]
    assert [step.number for step in steps] == list(range(8))
    assert [len(step.bars) for step in steps] == [0, 0, 0, 1] * 2
    index, bar = steps[7].bars[0]
    assert (index, bar.open_ns, bar.length_ns) == (0, START + LENGTH, LENGTH)
    assert (bar.open_ticks, bar.high_ticks, bar.low_ticks, bar.close_ticks) == (110, 130, 80, 105)
    assert bar.volume_lots == 8
    assert {(step.points[0].bar_low_ticks, step.points[0].bar_high_ticks) for step in steps[:4]} == {(90, 120)}


def test_points_on_bars_have_one_price_and_no_quantity() -> None:
    """Bid, ask and mark of a bar's point are its price, and nothing bounds a fill there."""
    for step in tape_of([(0, 100, 120, 90, 110, 7)]).steps(0):
        point = step.points[0]
        assert {point.bid_ticks, point.ask_ticks, point.mark_ticks} == {point.price_ticks}
        assert point.qty_lots == point.bid_qty_lots == point.ask_qty_lots == 0


def test_offsets_are_integer_divisions_of_the_length() -> None:
    """A length that four does not divide keeps to whole nanoseconds."""
    arrays = arrays_of([(0, 1, 1, 1, 1, 0)])
    tape = BarTape(
        instruments=["X"],
        bars=[
            BarArrays(
                open_ns=np.array([70], np.int64),
                open_ticks=arrays.open_ticks,
                high_ticks=arrays.high_ticks,
                low_ticks=arrays.low_ticks,
                close_ticks=arrays.close_ticks,
                volume_lots=arrays.volume_lots,
            )
        ],
        funding=[no_funding()],
        bar_length_ns=10,
    )
    assert [step.ts_ns for step in tape.steps(0)] == [70, 72, 75, 77]


def test_an_instrument_without_a_bar_has_no_point() -> None:
    """Instruments keep their order in a step, and a missing bar is an absence, not a repeated price."""
    flat = (10, 10, 10, 10, 1)
    tape = tape_of([(0, *flat), (2, *flat)], [(0, *flat), (1, *flat), (2, *flat)])
    steps = list(tape.steps(0))
    assert [[p.instrument_index for p in step.points] for step in steps[::4]] == [[0, 1], [1], [0, 1]]
    assert [[index for index, _ in step.bars] for step in steps[3::4]] == [[0, 1], [1], [0, 1]]
    assert tape.total_steps() == len(steps) == 12


@pytest.mark.parametrize(
    ("after_start_ns", "number"),
    [
        (-1, None),
        (0, 0),
        (1, 1),
        (QUARTER, 1),
        (3 * QUARTER, 3),
        (3 * QUARTER + 1, 4),
        (2 * LENGTH, 8),
        (6 * LENGTH, 8),
        (8 * LENGTH + 3 * QUARTER, 11),
        (8 * LENGTH + 3 * QUARTER + 1, None),
    ],
)
def test_a_settlement_rides_in_the_first_step_at_or_after_it(after_start_ns: int, number: int | None) -> None:
    """Funding is due at the first point with ts at or after it: across a gap, and never twice."""
    flat = (10, 10, 10, 10, 1)
    rows: list[Row] = [(0, *flat), (1, *flat), (8, *flat)]
    tape = tape_of(rows, funding=(funding_of((after_start_ns, 5)),))
    settled = [step.number for step in tape.steps(0) for _ in step.settlements]
    assert settled == ([] if number is None else [number])


def test_settlements_of_a_step_are_ordered_by_time_and_instrument() -> None:
    """Two executions must charge in the same order."""
    flat = (10, 10, 10, 10, 1)
    funding = (funding_of((1, 1), (3, 2)), funding_of((1, 3), (2, 4)))
    tape = tape_of([(0, *flat)], [(0, *flat)], funding=funding)
    rows = list(tape.steps(0))[1].settlements
    assert [(row.ts_ns - START, row.instrument_index) for row in rows] == [(1, 0), (1, 1), (2, 1), (3, 0)]


def test_last_rate_knows_settlements_from_before_the_tape() -> None:
    """The guard knows the last settled rate at the start already, and never a later one."""
    tape = tape_of([(0, 1, 1, 1, 1, 0)], funding=(funding_of((-500, 1), (20, 2)),))
    assert tape.last_rate(0, START - 501) is None
    first = Settlement(instrument_index=0, ts_ns=START - 500, rate_e8=1)
    assert tape.last_rate(0, START - 500) == first
    assert tape.last_rate(0, START + 19) == first
    assert tape.last_rate(0, START + 20) == Settlement(instrument_index=0, ts_ns=START + 20, rate_e8=2)


def test_history_gives_closed_bars_only() -> None:
    """A bar that is still open at the asked time would be a look ahead."""
    tape = tape_of([(place, 10 + place, 99, 1, 50, 0) for place in range(5)])
    assert [bar.open_ticks for bar in tape.history(0, START + 3 * LENGTH, 2)] == [11, 12]
    assert [bar.open_ticks for bar in tape.history(0, START + 3 * LENGTH - 1, 2)] == [10, 11]
    assert len(tape.history(0, START + 99 * LENGTH, 99)) == 5
    assert tape.history(0, START, 99) == ()


@given(markets())
def test_points_stay_in_their_bar_and_steps_are_ordered(market: list[list[Row]]) -> None:
    """The path never leaves the bar's range, touches both its ends, and time always grows."""
    tape = tape_of(*market)
    steps = list(tape.steps(0))
    assert all(a.ts_ns < b.ts_ns and a.number + 1 == b.number for a, b in pairwise(steps))
    for step in steps:
        indices = [point.instrument_index for point in step.points]
        assert indices == sorted(set(indices))
        assert all(p.bar_low_ticks <= p.price_ticks <= p.bar_high_ticks for p in step.points)
    for group in zip(*[iter(steps)] * 4, strict=True):
        for place, (_, bar) in enumerate(group[3].bars):
            path = [step.points[place].price_ticks for step in group]
            assert (path[0], path[3]) == (bar.open_ticks, bar.close_ticks)
            assert (min(path), max(path)) == (bar.low_ticks, bar.high_ticks)


@given(markets(), st.data())
def test_seeking_equals_walking(market: list[list[Row]], draws: st.DataObject) -> None:
    """A kept exchange goes on exactly where it stopped, settlements included."""
    stamps = draws.draw(st.lists(st.integers(-LENGTH, 33 * LENGTH), max_size=5, unique=True))
    settlements = funding_of(*((stamp, 7) for stamp in sorted(stamps)))
    tape = tape_of(*market, funding=tuple([settlements] * len(market)))
    walked = list(tape.steps(0))
    first = draws.draw(st.integers(0, len(walked)))
    assert list(tape.steps(first)) == walked[first:]


def test_a_long_tape_has_no_seam() -> None:
    """The tape is walked in pieces; nothing is lost or doubled where they meet."""
    rows: list[Row] = [(place, place + 1, place + 1, place + 1, place + 1, 0) for place in range(2500)]
    other = [row for row in rows if row[0] % 3 == 1]
    tape = tape_of(rows, other)
    steps = list(tape.steps(0))
    assert [step.points[0].price_ticks for step in steps[::4]] == list(range(1, 2501))
    seconds = [step.points[1].price_ticks for step in steps[::4] if len(step.points) > 1]
    assert seconds == [row[1] for row in other]
    assert list(islice(tape.steps(4 * 1024 - 3), 9)) == steps[4 * 1024 - 3 : 4 * 1024 + 6]


def test_identity_follows_the_content() -> None:
    """Two tapes of one identity are equal; any difference shows."""
    row: Row = (0, 10, 12, 9, 11, 3)
    base = tape_of([row], funding=(funding_of((5, 1)),)).identity
    assert base == tape_of([row], funding=(funding_of((5, 1)),)).identity
    others: list[Row] = [
        (1, 10, 12, 9, 11, 3),
        (0, 11, 12, 9, 11, 3),
        (0, 10, 13, 9, 11, 3),
        (0, 10, 12, 8, 11, 3),
        (0, 10, 12, 9, 12, 3),
        (0, 10, 12, 9, 11, 4),
    ]
    identities = {tape_of([other], funding=(funding_of((5, 1)),)).identity for other in others}
    identities |= {tape_of([row], funding=(funding_of((5, 2)),)).identity, tape_of([row]).identity, base}
    assert len(identities) == len(others) + 3


@pytest.mark.parametrize("rows", [[], [(1, 1, 1, 1, 1, 0), (0, 1, 1, 1, 1, 0)], [(0, 1, 1, 1, 1, 0)] * 2])
def test_bars_that_are_no_tape_are_refused(rows: list[Row]) -> None:
    """An empty or disordered market is a fault of the caller, seen at once."""
    with pytest.raises(ValueError, match="bar"):
        tape_of(rows)


def test_bars_off_the_grid_are_refused() -> None:
    """Points of instruments with shifted bars would interleave."""
    with pytest.raises(ValueError, match="whole multiple"):
        BarTape(
            instruments=["X"],
            bars=[arrays_of([(0, 1, 1, 1, 1, 0)])],
            funding=[no_funding()],
            bar_length_ns=7 * LENGTH,
        )


def test_steps_are_counted_from_zero() -> None:
    """A negative place is a fault, not the end of the tape."""
    with pytest.raises(ValueError, match="counted from 0"):
        next(tape_of([(0, 1, 1, 1, 1, 0)]).steps(-1))


def test_a_bar_tape_is_a_tape() -> None:
    """The venue takes any Tape."""
    tape: Tape = tape_of([(0, 1, 1, 1, 1, 0)])
    step: Step = next(tape.steps(0))
    assert step.number == 0
