"""The path of a price: one function of time, however it is asked."""

import itertools
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.units import NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.simulated.arrays import no_funding
from hedgegrid.venues.simulated.tape_bars import BarTape
from tests.standin.tape_arrays import bars_of
from tools.standin.price_path import PricePath, Span, TapeBars
from tools.standin.rules import default_spec
from tools.standin.tapes import synthetic

START_NS = 1_000 * NS_PER_MINUTE


def made_path(speed: int = 1, seed: int = 1) -> PricePath:
    """A path over a synthetic market."""
    tape = synthetic([default_spec("BTCUSDT")], seed=seed)
    return PricePath(TapeBars(tape.tape, 0, tape.first_open_ns), start_ns=START_NS, speed=speed)


def joined(spans: list[Span]) -> Span:
    """Put spans that follow each other together."""
    return Span(
        open_ticks=spans[0].open_ticks,
        high_ticks=max(span.high_ticks for span in spans),
        low_ticks=min(span.low_ticks for span in spans),
        close_ticks=spans[-1].close_ticks,
        volume_lots=sum(span.volume_lots for span in spans),
    )


@given(speed=st.sampled_from([1, 2, 7, 60, 1000]), minute=st.integers(-50, 50), cut=st.integers(1, 59))
def test_a_bar_is_the_sum_of_its_parts(speed: int, minute: int, cut: int) -> None:
    """Whole tape bars (the quick way) and points one by one (the exact way) give the same prices and volume."""
    path = made_path(speed)
    begin = START_NS + minute * NS_PER_MINUTE
    middle, end = begin + cut * NS_PER_S, begin + NS_PER_MINUTE
    whole, first, second = path.span(begin, end), path.span(begin, middle), path.span(middle, end)
    assert whole is not None
    assert first is not None
    assert second is not None
    parts = joined([first, second])
    assert (whole.open_ticks, whole.high_ticks, whole.low_ticks, whole.close_ticks) == (
        parts.open_ticks,
        parts.high_ticks,
        parts.low_ticks,
        parts.close_ticks,
    )
    assert abs(whole.volume_lots - parts.volume_lots) <= speed + 1


@given(speed=st.sampled_from([1, 3, 60]), steps=st.lists(st.integers(1, 40_000_000_000), min_size=1, max_size=20))
def test_walking_in_any_steps_meets_the_same_extremes(speed: int, steps: list[int]) -> None:
    """Nobody misses a low or a high because they looked rarely."""
    path = made_path(speed)
    times = list(itertools.accumulate(steps, initial=START_NS))
    walked = [move.ticks for a, b in itertools.pairwise(times) for move in path.moves(a, b)]
    at_once = [move.ticks for move in path.moves(times[0], times[-1])]
    assert (min(walked), max(walked), walked[-1]) == (min(at_once), max(at_once), at_once[-1])
    assert [move.ts_ns for move in path.moves(times[0], times[-1])][-1] == times[-1]


def test_a_shift_moves_what_comes_after_it_alone() -> None:
    """The operator's price moves are part of the path: bars before stay, bars after are shifted."""
    path = made_path()
    at = START_NS + 10 * NS_PER_S
    before, after = path.ticks_at(at - 1), path.ticks_at(at)
    old = path.span(START_NS - NS_PER_MINUTE, START_NS)
    path.shift(at, 500)
    assert (path.ticks_at(at - 1), path.ticks_at(at)) == (before, after + 500)
    assert path.span(START_NS - NS_PER_MINUTE, START_NS) == old
    assert at in [move.ts_ns for move in path.moves(START_NS, START_NS + NS_PER_MINUTE)]
    with pytest.raises(ValueError, match="growing"):
        path.shift(at - 1, 1)


def test_gaps_and_the_end_are_flat_and_before_the_begin_is_nothing() -> None:
    """A recorded market with a hole: no invented movement, and no bar before the first."""
    arrays = bars_of([(0, 100, 110, 90, 105), (3, 120, 130, 115, 125)])
    tape = BarTape(instruments=["X"], bars=[arrays], funding=[no_funding()], bar_length_ns=NS_PER_MINUTE)
    path = PricePath(TapeBars(tape, 0, 0), start_ns=START_NS, speed=1)

    def bar(minute: int) -> Span | None:
        return path.span(START_NS + minute * NS_PER_MINUTE, START_NS + (minute + 1) * NS_PER_MINUTE)

    flat = Span(open_ticks=105, high_ticks=105, low_ticks=105, close_ticks=105, volume_lots=0)
    assert bar(-1) is None
    assert [bar(1), bar(2)] == [flat, flat]
    last = bar(500)
    assert last is not None
    assert (last.open_ticks, last.low_ticks, last.volume_lots) == (125, 125, 0)
    assert path.begins_ns(START_NS - 5 * NS_PER_MINUTE) == START_NS
    with pytest.raises(ValueError, match="later"):
        path.ticks_at(START_NS - 1)


def test_what_is_not_whole_is_refused() -> None:
    """A market starts on a minute, at a whole speed, over minute bars."""
    tape = synthetic([default_spec("BTCUSDT")], seed=1, volatility=0.5)
    with pytest.raises(ValueError, match="minute"):
        TapeBars(tape.tape, 0, 1)
    for start_ns, speed in ((START_NS + 1, 1), (START_NS, 0)):
        with pytest.raises(ValueError, match="whole"):
            PricePath(TapeBars(tape.tape, 0, tape.first_open_ns), start_ns=start_ns, speed=speed)
    assert default_spec("BTCUSDT").tick == Decimal("0.10")
