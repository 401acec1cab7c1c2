"""What goes into the store comes out of it: exactly, in order, across months and row groups."""

from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgegrid.backtest.store.parquet_files import ROWS_PER_GROUP, Ids, MonthFile, SourceFile
from hedgegrid.backtest.store.reader import EVER_NS, Store
from hedgegrid.backtest.store.series import COLUMNS, Kind, SeriesName
from hedgegrid.backtest.store.staging import Staging
from hedgegrid.errors import Fatal
from hedgegrid.units import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, lots_floor, ticks_nearest
from hedgegrid.venues.simulated.recorded_bars import load_bars
from hedgegrid.venues.simulated.recorded_funding import load_funding
from tests.backtest.store.samples import (
    BARS,
    BTC,
    IMPORTED,
    MINUTE,
    NAME,
    START_NS,
    archive,
    bring,
    candles,
    joined,
    write,
)

TRADES = SeriesName(instrument=NAME, kind=Kind.TRADES)
FIGURE = st.integers(-(2**62), 2**62)


def put(root: Path, series: SeriesName, columns: dict[str, list[int]], *, cut: int = 0) -> None:
    """Store rows, in two pieces where ``cut`` says so."""
    ids: Ids = "venue" if series.kind in {Kind.TRADES, Kind.AGG_TRADES, Kind.BOOK} else "none"
    batch = {name: np.array(columns[name], np.int64) for name in COLUMNS[series.kind]}
    rows = np.arange(1, len(batch["ts_ns"]) + 1)
    with Staging(root) as staging:
        source = staging.source(SourceFile(name="made", sha256="0"))
        for part in (slice(0, cut), slice(cut, None)):
            piece = {name: column[part] for name, column in batch.items()}
            if len(piece["ts_ns"]):
                staging.add(series, piece, rows[part], source=source, ids=ids)
        staging.publish(IMPORTED)


@settings(max_examples=40)
@given(
    stamps=st.lists(st.integers(0, 200), min_size=1, max_size=40, unique=True).map(sorted),
    figures=st.lists(st.tuples(FIGURE, FIGURE, FIGURE, FIGURE, FIGURE), min_size=40, max_size=40),
    cut=st.integers(0, 40),
)
def test_any_integers_round_trip(stamps: list[int], figures: list[tuple[int, ...]], cut: int) -> None:
    """Whatever int64 goes in comes out, in order of time, over several months and however it came in pieces."""
    columns = {"ts_ns": [START_NS + day * NS_PER_DAY for day in stamps]}
    for place, name in enumerate(COLUMNS[Kind.BARS][1:]):
        columns[name] = [row[place] for row in figures[: len(stamps)]]
    with TemporaryDirectory() as folder:
        put(Path(folder), BARS, columns, cut=min(cut, len(stamps)))
        assert joined(list(Store(Path(folder)).batches(BARS))) == columns


@settings(max_examples=25)
@given(
    prices=st.lists(st.integers(5_000_000, 10**17), min_size=1, max_size=30),
    quantity=st.integers(0, 10**16),
)
def test_ticks_and_lots_are_the_units_own(prices: list[int], quantity: int) -> None:
    """Reading rounds as ``units`` does: prices to the nearest tick, quantities down to the lot."""
    count = len(prices)
    columns = {"ts_ns": [START_NS + place * MINUTE for place in range(count)], "volume_e8": [quantity] * count}
    columns |= dict.fromkeys(("open_e8", "high_e8", "low_e8", "close_e8"), prices)
    with TemporaryDirectory() as folder:
        put(Path(folder), BARS, columns)
        (chunk,) = Store(Path(folder)).bars(NAME, MINUTE, 0, EVER_NS, BTC)
    assert chunk.open_ticks.tolist() == [ticks_nearest(Decimal(price).scaleb(-8), BTC.tick) for price in prices]
    assert chunk.volume_lots.tolist() == [lots_floor(Decimal(quantity).scaleb(-8), BTC.lot)] * count


def test_a_span_is_cut_to_the_row(tmp_path: Path) -> None:
    """``from_ns`` is inside, ``to_ns`` outside, wherever months and row groups end."""
    bring(tmp_path / "s", write(tmp_path / "BTCUSDT-1m.csv", archive(candles(100))))
    store = Store(tmp_path / "s")
    chunks = list(store.bars(NAME, MINUTE, START_NS + 10 * MINUTE, START_NS + 20 * MINUTE, BTC))
    assert [chunk.open_ns.tolist() for chunk in chunks] == [[START_NS + minute * MINUTE for minute in range(10, 20)]]
    with pytest.raises(Fatal, match="it holds no BTC/USDT:USDT bars-1m of that time; it has BTC/USDT:USDT bars-1m"):
        list(store.bars(NAME, MINUTE, START_NS + 200 * MINUTE, EVER_NS, BTC))
    with pytest.raises(Fatal, match="it holds no BTC/USDT:USDT bars-1h"):
        list(store.bars(NAME, NS_PER_HOUR, 0, EVER_NS, BTC))


def test_row_groups_are_bounded(tmp_path: Path) -> None:
    """A month of many trades is written, and given back, in bounded pieces."""
    count = 2 * ROWS_PER_GROUP + 5
    steps = np.arange(count)
    columns = {
        "ts_ns": (START_NS + steps // 3 * 1_000_000).tolist(),
        "trade_id": (7 + steps).tolist(),
        "price_e8": (10**10 + steps % 50 * 10**7).tolist(),
        "qty_e8": [10**5] * count,
        "buyer_maker": (steps % 2).tolist(),
    }
    put(tmp_path, TRADES, columns, cut=1000)
    store = Store(tmp_path)
    sizes = [len(chunk.ts_ns) for chunk in store.trades(NAME, 0, EVER_NS, BTC)]
    assert sum(sizes) == count
    assert max(sizes) <= ROWS_PER_GROUP
    assert joined(list(store.batches(TRADES))) == columns
    inside = list(store.batches(TRADES, START_NS + 5_000_000, START_NS + 6_000_000))
    assert joined(inside)["trade_id"] == [7 + 15, 7 + 16, 7 + 17]


def test_a_file_says_what_it_holds(tmp_path: Path) -> None:
    """Names and hashes of the sources, never their folders, the time of import, rows and schema are in the file."""
    source = write(tmp_path / "deep" / "BTCUSDT-1m.csv", archive(candles(5)))
    bring(tmp_path / "s", source)
    with MonthFile(tmp_path / "s" / "BTC-USDT-USDT" / "bars-1m" / "2025-02.parquet", BARS) as file:
        facts = file.facts
    assert (facts.rows, facts.schema, facts.imported, facts.ids) == (5, 1, IMPORTED, "none")
    (told,) = facts.sources
    assert told.name == "BTCUSDT-1m.csv"
    assert len(told.sha256) == 64


@pytest.mark.parametrize("damage", ["cut", "text", "renamed"])
def test_a_damaged_file_is_one_line(tmp_path: Path, damage: str) -> None:
    """A file that is cut short, foreign or in another's place is refused, not read."""
    bring(tmp_path / "s", write(tmp_path / "BTCUSDT-1m.csv", archive(candles(50))))
    path = tmp_path / "s" / "BTC-USDT-USDT" / "bars-1m" / "2025-02.parquet"
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-20])
        case "text":
            path.write_text("not parquet at all")
        case _:
            path.rename(path.with_name("2025-03.parquet"))
    with pytest.raises(Fatal, match=r"2025-0\d\.parquet: .*; remove it") as caught:
        Store(tmp_path / "s").inventory()
    assert "\n" not in str(caught.value)


def test_the_store_reads_as_the_files_do(tmp_path: Path, shared_dir: Path) -> None:
    """Real bars and funding come out of the store as the replay's own loaders read them from the files."""
    folder = shared_dir / "data"
    bars, rates = (
        folder / "um_1m/2025-07-06_2025-07-17/BTCUSDT-1m.feather",
        "funding/long/BTCUSDT-funding_2019-09_2025-05.feather",
    )
    bring(tmp_path, bars, folder / rates)
    direct = load_bars(bars, BTC, NS_PER_MINUTE)
    (chunk,) = Store(tmp_path).bars(NAME, NS_PER_MINUTE, 0, EVER_NS, BTC)
    assert chunk.open_ns.tolist() == direct.open_ns.tolist()
    for ours, theirs in zip(chunk.columns(), direct.columns(), strict=True):
        assert ours.tolist() == theirs.tolist()
    funding, loaded = Store(tmp_path).funding(NAME), load_funding(folder / rates)
    assert funding.ts_ns.tolist() == loaded.ts_ns.tolist()
    assert funding.rate_e8.tolist() == loaded.rate_e8.tolist()


def test_an_instrument_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    """A tick far too large or too small for the prices is said, with the time."""
    bring(tmp_path / "s", write(tmp_path / "BTCUSDT-1m.csv", archive(candles(5))))
    store = Store(tmp_path / "s")
    coarse, fine = attrs.evolve(BTC, tick=Decimal(1000)), attrs.evolve(BTC, tick=Decimal("0.000000001"))
    with pytest.raises(Fatal, match="under half a tick at 2025-02-01 00:00:00 UTC"):
        list(store.bars(NAME, MINUTE, 0, EVER_NS, coarse))
    with pytest.raises(Fatal, match="finer than the store's 1e-8"):
        list(store.bars(NAME, MINUTE, 0, EVER_NS, fine))
