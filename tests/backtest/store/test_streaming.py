"""Reading streams: what is in memory is a row group, and what a trade sees was known before it."""

import tracemalloc
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.backtest.store.as_of import UNKNOWN, AsOf, Block
from hedgegrid.backtest.store.parquet_files import ROWS_PER_GROUP, SourceFile
from hedgegrid.backtest.store.reader import BOOK_AGE_MAX_NS, EVER_NS, Store
from hedgegrid.backtest.store.series import Batch, Kind, SeriesName
from hedgegrid.backtest.store.staging import Staging
from hedgegrid.backtest.store.verifying import verify_store
from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from hedgegrid.venues.simulated.arrays import IntArray
from tests.backtest.store.samples import BTC, IMPORTED, NAME, START_NS

GROUPS = 12


def stage(root: Path, kind: Kind, batches: list[Batch], length_ns: int = 0) -> None:
    """Store rows that came in batches."""
    series = SeriesName(instrument=NAME, kind=kind, length_ns=length_ns)
    numbered = kind in {Kind.TRADES, Kind.AGG_TRADES, Kind.BOOK}
    with Staging(root) as staging:
        source = staging.source(SourceFile(name="made", sha256=""))
        for batch in batches:
            rows = np.arange(len(batch["ts_ns"]))
            staging.add(series, batch, rows, source=source, ids="venue" if numbered else "none")
        staging.publish(IMPORTED)


def trades(first: int, count: int) -> dict[str, IntArray]:
    """Trades a millisecond apart."""
    step = np.arange(first, first + count)
    return {
        "ts_ns": START_NS + step * NS_PER_MS,
        "trade_id": step,
        "price_e8": 10**12 + step % 100 * 10**7,
        "qty_e8": 10**6 + step % 3 * 10**5,
        "buyer_maker": step % 2,
    }


def books(first: int, count: int) -> dict[str, IntArray]:
    """Books a millisecond apart, half a millisecond before the trades."""
    step = np.arange(first, first + count)
    bid = 10**12 + step % 90 * 10**7
    return {
        "ts_ns": START_NS + step * NS_PER_MS - NS_PER_MS // 2,
        "update_id": step,
        "bid_e8": bid,
        "bid_qty_e8": 10**8 + step,
        "ask_e8": bid + 10**7,
        "ask_qty_e8": 10**8 + step,
    }


def test_memory_does_not_grow_with_the_series(tmp_path: Path) -> None:
    """Importing, reading with a joined book, and verifying hold some row groups, not the series."""
    whole_bytes = GROUPS * ROWS_PER_GROUP * 8 * 11
    tracemalloc.start()
    with Staging(tmp_path) as staging:
        source = staging.source(SourceFile(name="made", sha256=""))
        for kind, make in ((Kind.TRADES, trades), (Kind.BOOK, books)):
            for group in range(GROUPS):
                batch = make(group * ROWS_PER_GROUP, ROWS_PER_GROUP)
                series = SeriesName(instrument=NAME, kind=kind)
                staging.add(series, batch, np.arange(ROWS_PER_GROUP), source=source, ids="venue")
        staging.publish(IMPORTED)
    written = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    store, count = Store(tmp_path), 0
    for chunk in store.trades(NAME, 0, EVER_NS, BTC):
        assert len(chunk.ts_ns) <= ROWS_PER_GROUP
        assert (chunk.ask_ticks - chunk.bid_ticks == 1).all()
        count += len(chunk.ts_ns)
    read = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    verify_store(store)
    verified = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == GROUPS * ROWS_PER_GROUP
    assert written < whole_bytes / 2
    assert read < whole_bytes / 2
    assert verified < whole_bytes / 2


@given(
    known=st.lists(st.integers(0, 60), min_size=0, max_size=40).map(sorted),
    asked=st.lists(st.integers(0, 70), min_size=1, max_size=40).map(sorted),
    cut=st.integers(1, 9),
    asked_cut=st.integers(1, 9),
    age=st.integers(0, 20),
)
def test_as_of_is_the_last_row_before(known: list[int], asked: list[int], cut: int, asked_cut: int, age: int) -> None:
    """However both come in pieces, a moment sees the last row strictly before it, if that is young enough."""
    blocks: list[Block] = [
        (np.array(known[at : at + cut]), np.arange(at, at + len(known[at : at + cut]))[None, :])
        for at in range(0, len(known), cut)
    ]
    join = AsOf(blocks=iter(blocks), width=1, age_max_ns=age)
    found: list[int] = []
    for at in range(0, len(asked), asked_cut):
        found += join.before(np.array(asked[at : at + asked_cut], np.int64))[0].tolist()
    expected = []
    for moment in asked:
        rows = [place for place, ts in enumerate(known) if ts < moment]
        expected.append(rows[-1] if rows and moment - known[rows[-1]] <= age else UNKNOWN)
    assert found == expected


def one(first: dict[str, IntArray], **columns: list[int]) -> dict[str, IntArray]:
    """A batch with some columns of its own."""
    return {**first, **{name: np.array(column, np.int64) for name, column in columns.items()}}


def test_trades_see_book_and_mark_of_before(tmp_path: Path) -> None:
    """A book at a trade's own time is not seen, nor an old one; marks come from their bars' open and close."""
    at = [START_NS + NS_PER_S, START_NS + 2 * NS_PER_S, START_NS + 2 * NS_PER_S + BOOK_AGE_MAX_NS]
    stage(tmp_path, Kind.TRADES, [one(trades(0, 3), ts_ns=at)])
    stage(tmp_path, Kind.BOOK, [one(books(0, 2), ts_ns=[START_NS, START_NS + 2 * NS_PER_S - 1])])
    marks = {
        "ts_ns": np.array([START_NS, START_NS + NS_PER_MINUTE]),
        "open_e8": np.array([10**12, 2 * 10**12]),
        "high_e8": np.array([4 * 10**12] * 2),
        "low_e8": np.array([10**11] * 2),
        "close_e8": np.array([10**12 + 10**8, 3 * 10**12]),
    }
    stage(tmp_path, Kind.MARK_BARS, [marks], NS_PER_MINUTE)
    (chunk,) = Store(tmp_path).trades(NAME, 0, EVER_NS, BTC)
    assert chunk.bid_ticks.tolist() == [100_000, 100_001, chunk.price_ticks[2]]
    assert chunk.bid_qty_lots.tolist() == [1000, 1000, 0]
    assert chunk.mark_ticks.tolist() == [100_000, 100_000, 200_000]
    (late,) = Store(tmp_path).trades(NAME, at[1], EVER_NS, BTC)
    assert late.bid_ticks.tolist() == chunk.bid_ticks[1:].tolist(), "a span that begins later sees the same book"


def test_trades_under_a_lot_are_left_out(tmp_path: Path) -> None:
    """What the instrument cannot trade is left out and counted."""
    stage(tmp_path, Kind.AGG_TRADES, [one(trades(0, 3), qty_e8=[10**5, 10**5 - 1, 3 * 10**5])])
    (chunk,) = Store(tmp_path).trades(NAME, 0, EVER_NS, BTC)
    assert chunk.qty_lots.tolist() == [1, 3]
    assert chunk.notes == ("1 trades under one lot",)


def test_single_trades_go_before_aggregates(tmp_path: Path) -> None:
    """Where a span has both, the single trades are read, so that nothing is counted twice."""
    stage(tmp_path, Kind.AGG_TRADES, [trades(0, 5)])
    stage(tmp_path, Kind.TRADES, [trades(100, 3)])
    store = Store(tmp_path)
    assert [len(chunk.ts_ns) for chunk in store.trades(NAME, 0, EVER_NS, BTC)] == [3]
    assert [len(chunk.ts_ns) for chunk in store.trades(NAME, 0, START_NS + 50 * NS_PER_MS, BTC)] == [5]
