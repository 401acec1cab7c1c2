"""Bars, mark prices and funding from tables of candles: freqtrade's feather and json, the archive's klines.

Invariants: the last row of a freqtrade table of bars is dropped, since it may have been written before it was complete
(an archive file holds whole days, a settlement is complete at once); candles that never traded are mark prices where
their prices move, and funding rates where only the open is not zero.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from hedgegrid.backtest.store.series import BAR_COLUMNS, Kind
from hedgegrid.backtest.store.sources import Form, Piece, Reading, bad_figure
from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS, NS_PER_S, TIMEFRAMES_NS
from hedgegrid.venues.exact import BadFigureError, e8_from_floats
from hedgegrid.venues.simulated.arrays import FloatArray, IntArray
from hedgegrid.venues.simulated.bar_rules import FIGURES, RawBars
from hedgegrid.venues.simulated.recorded_bars import read_archive_bars, read_feather_bars
from hedgegrid.venues.simulated.recorded_feather import read_feather
from hedgegrid.venues.simulated.recorded_files import opened, reading, refusal

_Candle = tuple[int, float, float, float, float, float]
_CANDLES: Final = msgspec.json.Decoder(list[_Candle])
_REPAIR = "repair the row or fetch the file again"


def candle_pieces(path: Path, form: Form, how: Reading) -> Iterator[Piece]:
    """Read the candles of a file, as one piece. Fatal where a row cannot be read or counted."""
    raw = _raw(path, form)
    kind = how.kind or _kind(raw)
    if kind is Kind.FUNDING:
        whole = raw if form is Form.KLINES else _with_last(path, form)
        stamps = whole.open_ns // NS_PER_MINUTE * NS_PER_MINUTE
        rates = _exact(path, "rate", whole.figures[0], whole.first_row)
        yield Piece(kind=kind, length_ns=0, ids="none", batch={"ts_ns": stamps, "rate_e8": rates}, rows=_rows(whole))
        return
    if kind not in {Kind.BARS, Kind.MARK_BARS}:
        raise refusal(path, f"it holds candles, not {kind.value}", "leave --kind away, or give another file")
    if not len(raw.open_ns):
        raise refusal(path, "it holds no complete bar", "fetch the file again")
    columns = [_exact(path, name, column, raw.first_row) for name, column in zip(FIGURES, raw.figures, strict=True)]
    batch = dict(zip((*BAR_COLUMNS, "volume_e8"), (raw.open_ns, *columns), strict=True))
    if kind is Kind.MARK_BARS:
        del batch["volume_e8"]
    dropped = () if form is Form.KLINES else ("the last bar was left out: it may not have been complete",)
    length_ns = how.length_ns or bar_length(path, raw.open_ns)
    yield Piece(kind=kind, length_ns=length_ns, ids="none", batch=batch, rows=_rows(raw), notes=dropped)


def bar_length(path: Path, opened_ns: IntArray) -> int:
    """Give the length of bars by their most frequent distance. Fatal where that is no timeframe."""
    spans = np.diff(opened_ns)
    lengths, counts = np.unique(spans[spans > 0], return_counts=True)
    if not len(lengths):
        raise refusal(path, "one bar does not tell how long it is", "say it with --timeframe")
    length_ns = int(lengths[np.argmax(counts)])
    if length_ns not in TIMEFRAMES_NS.values():
        rule = f"most bars are {length_ns / NS_PER_S:g} s apart, which is no timeframe"
        raise refusal(path, rule, "say with --timeframe how long they are")
    return length_ns


def _raw(path: Path, form: Form) -> RawBars:
    """Read candles less the last row, where that may be incomplete."""
    match form:
        case Form.KLINES:
            return read_archive_bars(path)
        case Form.FEATHER:
            return read_feather_bars(path)
        case _:
            whole = _json_candles(path)
            return RawBars(open_ns=whole.open_ns[:-1], figures=[one[:-1] for one in whole.figures], first_row=1)


def _with_last(path: Path, form: Form) -> RawBars:
    """Read freqtrade candles to their last row."""
    if form is Form.CANDLES:
        return _json_candles(path)
    times, figures = read_feather(path, FIGURES)
    return RawBars(open_ns=times, figures=figures, first_row=1)


def _json_candles(path: Path) -> RawBars:
    with reading(path), opened(path) as file:
        content = file.read()
    try:
        candles = _CANDLES.decode(content)
    except msgspec.DecodeError as error:
        raise refusal(path, f"it is no list of candles ({error})", "give freqtrade's json of candles") from error
    columns = np.array([row[1:] for row in candles], np.float64).reshape(-1, 5).T
    times = np.array([row[0] for row in candles], np.int64) * NS_PER_MS
    return RawBars(open_ns=times, figures=[np.ascontiguousarray(column) for column in columns], first_row=1)


def _kind(raw: RawBars) -> Kind:
    """Tell by the figures what candles are of."""
    _, high, low, close, volume = raw.figures
    if not len(volume) or np.any(volume != 0):
        return Kind.BARS
    if not np.any(high) and not np.any(low) and not np.any(close):
        return Kind.FUNDING
    return Kind.MARK_BARS if np.any(high != low) else Kind.BARS


def _exact(path: Path, name: str, column: FloatArray, first_row: int) -> IntArray:
    try:
        return e8_from_floats(column)
    except BadFigureError as error:
        raise bad_figure(path, name, error.index + first_row, error) from error


def _rows(raw: RawBars) -> IntArray:
    return np.arange(raw.first_row, raw.first_row + len(raw.open_ns), dtype=np.int64)
