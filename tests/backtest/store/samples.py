"""Small recorded markets in every form that the store imports, and the instrument that they are of."""

import gzip
import json
import zipfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import feather

from hedgegrid.backtest.store.importing import ImportReport, import_files
from hedgegrid.backtest.store.series import Batch, Kind, SeriesName
from hedgegrid.backtest.store.sources import Reading
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_MS
from hedgegrid.venues.simulated.recorded_bars import ARCHIVE_COLUMNS

NAME = "BTC/USDT:USDT"
IMPORTED = "2025-03-01T00:00:00+00:00"
START_MS = 1_738_368_000_000
"""2025-02-01 00:00 UTC."""
START_NS = START_MS * NS_PER_MS
MINUTE = NS_PER_MINUTE
BARS = SeriesName(instrument=NAME, kind=Kind.BARS, length_ns=NS_PER_MINUTE)
BTC = Instrument(
    name=NAME,
    tick=Decimal("0.1"),
    lot=Decimal("0.001"),
    min_qty_lots=1,
    max_qty_lots=1_000_000,
    min_notional_e8=500_000_000,
    tiers=(),
    liquidation_fee_ppm=12_500,
    funding_interval_ns=8 * NS_PER_HOUR,
)

Candle = tuple[int, str, str, str, str, str]
"""Minutes after the start; open, high, low, close, volume."""


def candles(count: int, first: int = 0) -> list[Candle]:
    """Bars that walk up and down a little."""
    return [
        (
            minute,
            f"{100 + minute % 7}.5",
            f"{102 + minute % 7}.0",
            f"{99 + minute % 7}.1",
            f"{101 + minute % 7}.3",
            f"{minute}.25",
        )
        for minute in range(first, first + count)
    ]


def archive(rows: Sequence[Candle], *, header: bool = True, per_ms: int = 1) -> str:
    """The archive's klines."""
    lines = [",".join(ARCHIVE_COLUMNS)] if header else []
    for minute, *figures in rows:
        stamp = (START_MS + minute * 60_000) * per_ms
        lines.append(f"{stamp},{','.join(figures)},{stamp + 60_000 * per_ms - 1},1.5,7,0.5,0.75,0")
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> Path:
    """The text as plain file, gzip or zip, by the path's name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr(path.with_suffix(".csv").name, text)
    else:
        path.write_text(text, encoding="utf-8")
    return path


def write_feather(path: Path, rows: Sequence[Candle]) -> Path:
    """A freqtrade table of exactly these rows (an importer of bars drops the last)."""
    stamps = [START_NS + row[0] * MINUTE for row in rows]
    dates = pa.array(stamps, pa.timestamp("ns", tz="UTC"))
    figures = [pa.array([float(row[place]) for row in rows]) for place in range(1, 6)]
    names = ["date", "open", "high", "low", "close", "volume"]
    feather.write_feather(pa.table([dates, *figures], names=names), path)
    return path


def write_candles_json(path: Path, rows: Sequence[Candle]) -> Path:
    """Freqtrade's json of exactly these rows."""
    told = [[START_MS + minute * 60_000, *(float(figure) for figure in figures)] for minute, *figures in rows]
    return write(path, json.dumps(told))


def bring(
    root: Path,
    *paths: Path,
    how: Reading | None = None,
    instrument: str | None = None,
    replace: bool = False,
    strict: bool = False,
) -> ImportReport:
    """Import files."""
    return import_files(
        root,
        paths,
        imported=IMPORTED,
        how=how or Reading(),
        instrument=instrument,
        replace=replace,
        strict=strict,
    )


def joined(batches: Sequence[Batch]) -> dict[str, list[int]]:
    """All rows of batches, by column."""
    return {name: np.concatenate([batch[name] for batch in batches]).tolist() for name in batches[0]}


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder but the lock, with its content."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
