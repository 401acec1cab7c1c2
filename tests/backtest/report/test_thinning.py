"""What a picture leaves out is never what matters."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.backtest.report.packing import packed
from hedgegrid.backtest.report.thinning import bucket_length_ns, candles, envelope, keep_rare, spread, steps, stretches
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE
from tests.backtest.made_market import made_bars

values_of = st.lists(st.integers(-(10**15), 10**15), min_size=1, max_size=400).map(lambda one: np.array(one, np.int64))


@given(values=values_of, buckets=st.integers(1, 30))
def test_envelope_keeps_ends_and_extremes(values: np.ndarray, buckets: int) -> None:
    """A line cannot lose its first or last value, nor its highest or lowest, however few points are left."""
    kept = envelope(values, buckets)
    assert kept[0] == 0
    assert kept[-1] == len(values) - 1
    assert values[kept].max() == values.max()
    assert values[kept].min() == values.min()
    assert (np.diff(kept) > 0).all()
    assert len(kept) <= 3 * buckets + 4


@given(values=values_of)
def test_steps_rebuild_the_staircase(values: np.ndarray) -> None:
    """The rows at which it steps tell the whole staircase."""
    rows = steps(values)
    rebuilt = values[rows[np.searchsorted(rows, np.arange(len(values)), side="right") - 1]]
    assert (rebuilt == values).all()


@given(values=values_of, most=st.integers(1, 30))
def test_stretches_bound_their_rows(values: np.ndarray, most: int) -> None:
    """The lowest and highest of all stretches are those of the rows, and no mean leaves them."""
    parts = stretches(values, most)
    assert len(parts.first) <= most
    assert parts.low.min() == values.min()
    assert parts.high.max() == values.max()
    assert ((parts.low <= parts.mean) & (parts.mean <= parts.high)).all()


@given(values=values_of)
def test_packed_rows_are_whole(values: np.ndarray) -> None:
    """What the page adds up again is what was packed."""
    column = packed(values)
    assert (np.cumsum(column["d"]) * int(column["u"])).tolist() == values.tolist()


def test_candles_keep_every_extreme() -> None:
    """Joined bars reach as high and as low as theirs, open with the first and close with the last."""
    bars = made_bars(3, 1_000, 400_000)
    joined = candles(bars, NS_PER_HOUR, 100)
    assert len(joined.ts_ns) <= 102
    assert joined.length_ns == 12 * NS_PER_HOUR
    assert joined.high_ticks.max() == bars.high_ticks.max()
    assert joined.low_ticks.min() == bars.low_ticks.min()
    assert joined.open_ticks[0] == bars.open_ticks[0]
    assert joined.close_ticks[-1] == bars.close_ticks[-1]
    assert (joined.open_ticks[1:] == bars.open_ticks[12 : 12 * len(joined.ts_ns) : 12]).all()


def test_lengths_are_readable_and_whole_bars() -> None:
    """A step of the price is a length that people know, and a multiple of the bar."""
    assert bucket_length_ns(1_000 * NS_PER_MINUTE, NS_PER_MINUTE, 1_000) == NS_PER_MINUTE
    assert bucket_length_ns(1_001 * NS_PER_MINUTE, NS_PER_MINUTE, 1_000) == 2 * NS_PER_MINUTE
    assert bucket_length_ns(100_000 * NS_PER_MINUTE, 7 * NS_PER_MINUTE, 100) % (7 * NS_PER_MINUTE) == 0


@given(rare=st.lists(st.booleans(), max_size=300), most=st.integers(1, 60))
def test_rare_rows_go_first(rare: list[bool], most: int) -> None:
    """Stops and liquidations are not thinned while there is room, and the bound holds."""
    flags = np.array(rare, np.bool_)
    kept = keep_rare(flags, most)
    assert len(kept) <= most
    assert flags[kept].sum() == flags.sum() or len(kept) == most or flags.sum() > most
    if flags.sum() <= most:
        assert flags[kept].sum() == flags.sum()


def test_spread_keeps_both_ends() -> None:
    """Thinned rows still begin and end where the rows do."""
    assert spread(10, 20).tolist() == list(range(10))
    assert spread(1_000, 5).tolist()[::4] == [0, 999]
