"""Importing again: what is there stays, what is new comes in, what contradicts is refused."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hedgegrid.backtest.store.parquet_files import SourceFile
from hedgegrid.backtest.store.reader import Store
from hedgegrid.backtest.store.series import COLUMNS, Kind, SeriesName
from hedgegrid.backtest.store.staging import Staging
from hedgegrid.errors import Fatal
from tests.backtest.store.samples import BARS, NAME, START_NS, Candle, archive, bring, candles, joined, tree, write


def minutes(root: Path) -> list[int]:
    """The opening times that are stored, in minutes after the start."""
    (opened,) = (joined(list(Store(root).batches(BARS)))["ts_ns"],)
    return [(ts_ns - opened[0]) // 60_000_000_000 for ts_ns in opened]


def test_the_same_again_changes_nothing(tmp_path: Path) -> None:
    """A second import of the same file leaves every byte as it was."""
    file = write(tmp_path / "BTCUSDT-1m.csv", archive(candles(50)))
    bring(tmp_path / "s", file)
    before = tree(tmp_path / "s")
    report = bring(tmp_path / "s", file)
    assert tree(tmp_path / "s") == before
    assert [(change.added, change.known) for change in report.changes] == [(0, 50)]


def test_overlaps_and_holes_are_joined(tmp_path: Path) -> None:
    """Files that overlap, come in the wrong order or fill a hole give one ascending series."""
    parts = [(30, 20), (0, 10), (5, 30)]
    for place, (first, count) in enumerate(parts):
        bring(tmp_path / "s", write(tmp_path / f"{place}" / "BTCUSDT-1m.csv", archive(candles(count, first))))
    assert minutes(tmp_path / "s") == list(range(50))
    together = [tmp_path / f"{place}" / "BTCUSDT-1m.csv" for place in range(3)]
    bring(tmp_path / "t", *together)
    assert joined(list(Store(tmp_path / "t").batches(BARS))) == joined(list(Store(tmp_path / "s").batches(BARS)))


@settings(max_examples=15)
@given(parts=st.lists(st.tuples(st.integers(0, 60_000), st.integers(2, 50)), min_size=1, max_size=4))
def test_any_pieces_give_their_union(tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[int, int]]) -> None:
    """Whatever pieces of one series come, in whatever order, the store holds their union once."""
    folder = tmp_path_factory.mktemp("pieces")
    for place, (first, count) in enumerate(parts):
        bring(folder / "s", write(folder / f"{place}" / "BTCUSDT-1m.csv", archive(candles(count, first))))
    expected = sorted({minute for first, count in parts for minute in range(first, first + count)})
    assert minutes(folder / "s") == [minute - expected[0] for minute in expected]


def changed(rows: list[Candle], place: int) -> list[Candle]:
    """The rows with another volume at one place."""
    return [*rows[:place], (*rows[place][:5], "999"), *rows[place + 1 :]]


def test_a_contradiction_is_refused_whole(tmp_path: Path) -> None:
    """A row that says otherwise is named with file, row and rule, and nothing of the import is kept."""
    rows = candles(50)
    bring(tmp_path / "s", write(tmp_path / "BTCUSDT-1m.csv", archive(rows)))
    before = tree(tmp_path / "s")
    other = write(tmp_path / "b" / "BTCUSDT-1m.csv.gz", archive([*changed(rows, 7), *candles(10, 50)]))
    pattern = (
        r"^BTCUSDT-1m.csv.gz: row 9: it contradicts what the store holds of BTC/USDT:USDT bars-1m at 2025-02-01 00:07"
    )
    with pytest.raises(Fatal, match=pattern):
        bring(tmp_path / "s", other)
    assert tree(tmp_path / "s") == before


def test_replace_lets_the_newer_win(tmp_path: Path) -> None:
    """With ``replace`` the new row stands in the old one's place, and the others stay."""
    rows = candles(50)
    bring(tmp_path / "s", write(tmp_path / "BTCUSDT-1m.csv", archive(rows)))
    other = write(tmp_path / "b" / "BTCUSDT-1m.csv", archive(changed(rows, 7)[:20]))
    report = bring(tmp_path / "s", other, replace=True)
    assert [(change.added, change.replaced) for change in report.changes] == [(0, 1)]
    volumes = joined(list(Store(tmp_path / "s").batches(BARS)))["volume_e8"]
    assert volumes[7] == 999 * 10**8
    assert volumes[6] == 625_000_000
    assert len(volumes) == 50


def test_two_files_of_one_import_may_not_disagree(tmp_path: Path) -> None:
    """A contradiction inside one import is refused as one with the store is."""
    rows = candles(20)
    one = write(tmp_path / "a" / "BTCUSDT-1m.csv", archive(rows))
    two = write(tmp_path / "b" / "BTCUSDT-1m.csv", archive(changed(rows, 3)))
    with pytest.raises(Fatal, match=r"BTCUSDT-1m.csv: row 5: it contradicts what BTCUSDT-1m.csv holds"):
        bring(tmp_path / "s", one, two)
    assert tree(tmp_path / "s") == {}


def test_numbered_and_unnumbered_trades_do_not_mix(tmp_path: Path) -> None:
    """Trades with the exchange's numbers and trades without would hide duplicates, so they are refused together."""
    from hedgegrid.backtest.store.sources import Reading

    numbered = write(tmp_path / "BTCUSDT-trades-2025-02.csv", "7,100.5,0.1,10.05,1738368000000,true\n")
    plain = write(tmp_path / "BTCUSDT-plain.csv", "t,p,q\n1738368000000,100.5,0.1\n")
    bring(tmp_path / "s", numbered)
    how = Reading(columns={"ts": "t", "price": "p", "qty": "q"})
    with pytest.raises(Fatal, match="would mix rows that the exchange has numbered with rows that have no number"):
        bring(tmp_path / "s", plain, how=how)


def test_numbers_do_not_mix_inside_one_import(tmp_path: Path) -> None:
    """Rows with and without the exchange's numbers are refused together also where nothing is stored yet."""
    series = SeriesName(instrument=NAME, kind=Kind.TRADES)
    batch = {name: np.array([START_NS]) for name in COLUMNS[Kind.TRADES]}
    with Staging(tmp_path / "s") as staging:
        source = staging.source(SourceFile(name="made", sha256=""))
        staging.add(series, batch, np.array([1]), source=source, ids="venue")
        with pytest.raises(Fatal, match="made: BTC/USDT:USDT trades of 2025-02 would mix rows"):
            staging.add(series, batch, np.array([1]), source=source, ids="ordinal")


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """A second writer is told to wait."""
    with Staging(tmp_path / "s"), pytest.raises(Fatal, match="another command writes to this store"):
        Staging(tmp_path / "s")
    with Staging(tmp_path / "s"):
        pass
