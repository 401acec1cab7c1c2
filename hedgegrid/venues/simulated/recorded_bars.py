"""Bars from files: freqtrade feather and the exchange's archive csv (plain, gzip or zip, with or without a header).

Invariant: bars that leave here have passed every rule of ``bar_rules``. The last bar of a feather file is always
dropped, because it may have been written before it was complete; an archive file holds whole days and keeps its last
bar.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_MS
from hedgegrid.venues.simulated.arrays import BarArrays, IntArray
from hedgegrid.venues.simulated.bar_rules import FIGURES, RawBars, checked_bars
from hedgegrid.venues.simulated.recorded_feather import read_feather
from hedgegrid.venues.simulated.recorded_files import Kind, kind_of, opened, reading, refusal

ARCHIVE_COLUMNS = (
    "open_time",
    *FIGURES,
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)
_MS_BELOW = 10**14
_US_BELOW = 10**17
_NS_PER_US = 1_000
_FETCH = "fetch the file again"
_KLINES = f"give a Binance klines csv of {len(ARCHIVE_COLUMNS)} columns"


def load_bars(path: Path, instrument: Instrument, bar_length_ns: int, *, allow_gaps: bool = False) -> BarArrays:
    """Read an instrument's bars of ``bar_length_ns``: prices to the nearest tick, volumes down to the lot.

    Raises Fatal with file, row, rule and remedy for anything unreadable or implausible, and for gaps unless
    ``allow_gaps``: then each gap is one jump and is told in ``notes``.
    """
    kind = kind_of(path)
    if kind is Kind.CAPTURE:
        raise refusal(path, "it is a websocket capture, not bars", "give bars, or trades for all")
    raw = read_feather_bars(path) if kind is Kind.FEATHER else read_archive_bars(path)
    if not len(raw.open_ns):
        raise refusal(path, "it holds no complete bar", _FETCH)
    return checked_bars(path, raw, instrument, bar_length_ns, allow_gaps=allow_gaps)


def read_feather_bars(path: Path) -> RawBars:
    """Read a feather file, less its last bar. Raises Fatal where it is none."""
    open_ns, figures = read_feather(path, FIGURES)
    return RawBars(open_ns=open_ns[:-1], figures=[column[:-1] for column in figures], first_row=1)


def read_archive_bars(path: Path) -> RawBars:
    """Read an archive csv by the places of its columns. Raises Fatal where it is none."""
    with reading(path), opened(path) as file:
        content = file.read()
    header = content.lstrip().partition(b"\n")[0].decode("ascii", "replace").strip().split(",")
    has_header = not header[0].strip('"').isdigit()
    if len(header) != len(ARCHIVE_COLUMNS):
        raise refusal(path, f"it has {len(header)} columns", _KLINES, 1)
    if has_header and tuple(header[: len(FIGURES) + 1]) != ("open_time", *FIGURES):
        raise refusal(path, f"its header starts with {header[0]!r}, not open_time", _KLINES, 1)
    try:
        table = csv.read_csv(
            pa.py_buffer(content),
            read_options=csv.ReadOptions(column_names=ARCHIVE_COLUMNS, skip_rows=int(has_header), use_threads=False),
            convert_options=csv.ConvertOptions(
                include_columns=["open_time", *FIGURES],
                column_types={"open_time": pa.int64()} | dict.fromkeys(FIGURES, pa.float64()),
            ),
        )
    except pa.ArrowException as error:
        rule = f"a line is not a bar ({str(error).partition(chr(10))[0]})"
        raise refusal(path, rule, _KLINES) from error
    times = table.column("open_time")
    if times.null_count:
        raise refusal(path, "a time is missing", _FETCH)
    return RawBars(
        open_ns=stamps_in_ns(np.asarray(times.to_numpy(), np.int64)),
        figures=[np.asarray(table.column(name).to_numpy(), np.float64) for name in FIGURES],
        first_row=1 + has_header,
    )


def stamps_in_ns(times: IntArray) -> IntArray:
    """Give times in ns: the archive wrote ms at first and us later, which their size tells."""
    scale = np.where(times < _MS_BELOW, NS_PER_MS, np.where(times < _US_BELOW, _NS_PER_US, 1))
    return times * scale.astype(np.int64)
