"""Trades, aggregates, books and funding from the archive's csv, and any csv whose columns the caller names.

Invariants: a file is read in blocks, never whole; figures are read as decimals, so they are exact; where a block cannot
be read, the file is walked again as text to name the row. Trades ascend in their numbers; where there are none, rows of
one time are numbered in their order.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from hedgegrid.backtest.store.parquet_files import Ids
from hedgegrid.backtest.store.series import COLUMNS, ID_COLUMN, Batch, Kind
from hedgegrid.backtest.store.source_candles import bar_length
from hedgegrid.backtest.store.sources import (
    ARCHIVE_HEADERS,
    HEAD_BYTES,
    Form,
    Piece,
    Reading,
    bad_figure,
    first_cells,
)
from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from hedgegrid.venues.exact import DECIMAL, BadFigureError, e8_from_decimals, e8_from_text
from hedgegrid.venues.simulated.arrays import IntArray
from hedgegrid.venues.simulated.recorded_bars import stamps_in_ns
from hedgegrid.venues.simulated.recorded_files import opened, reading, refusal

_BLOCK_BYTES: Final = 1 << 23
_REPAIR = "repair the row or fetch the file again"
_ARCHIVE_FIELDS: Final[Mapping[Form, tuple[Kind, Mapping[str, str]]]] = {
    Form.TRADES: (
        Kind.TRADES,
        {"ts": "time", "id": "id", "price": "price", "qty": "qty", "buyer_maker": "is_buyer_maker"},
    ),
    Form.AGG_TRADES: (
        Kind.AGG_TRADES,
        {
            "ts": "transact_time",
            "id": "agg_trade_id",
            "price": "price",
            "qty": "quantity",
            "buyer_maker": "is_buyer_maker",
        },
    ),
    Form.BOOK: (
        Kind.BOOK,
        {
            "ts": "transaction_time",
            "id": "update_id",
            "bid": "best_bid_price",
            "bid_qty": "best_bid_qty",
            "ask": "best_ask_price",
            "ask_qty": "best_ask_qty",
        },
    ),
    Form.FUNDING: (Kind.FUNDING, {"ts": "calc_time", "rate": "last_funding_rate"}),
}
_NEEDED: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.BARS: ("ts", "open", "high", "low", "close", "volume"),
    Kind.MARK_BARS: ("ts", "open", "high", "low", "close"),
    Kind.TRADES: ("ts", "price", "qty"),
    Kind.AGG_TRADES: ("ts", "price", "qty"),
    Kind.MARKS: ("ts", "price"),
    Kind.BOOK: ("ts", "bid", "bid_qty", "ask", "ask_qty"),
    Kind.FUNDING: ("ts", "rate"),
}
_TOLD_BY: Final = (
    ("rate", Kind.FUNDING),
    ("bid", Kind.BOOK),
    ("qty", Kind.TRADES),
    ("volume", Kind.BARS),
    ("open", Kind.MARK_BARS),
    ("price", Kind.MARKS),
)
_MORE: Final = ("id", "side", "buyer_maker")
_SCALE_NS: Final = {"ms": NS_PER_MS, "us": 1_000, "ns": 1}
TIME_UNITS: Final = ("s", "ms", "us", "ns", "iso")


@attrs.frozen(kw_only=True)
class _Layout:
    """Where a csv keeps our fields. ``names`` are all its columns, in order."""

    path: Path
    kind: Kind
    fields: Mapping[str, str]
    names: tuple[str, ...]
    has_header: bool
    time_unit: str | None

    def types(self) -> dict[str, pa.DataType]:
        """Give the type that each column is read as."""
        return {name: self._type(field) for field, name in self.fields.items()}

    def _type(self, field: str) -> pa.DataType:
        match field:
            case "ts" if self.time_unit == "iso":
                return pa.timestamp("ns", tz="UTC")
            case "ts" if self.time_unit == "s":
                return DECIMAL
            case "ts" | "id":
                return pa.int64()
            case "buyer_maker":
                return pa.bool_()
            case "side":
                return pa.string()
            case _:
                return DECIMAL


def csv_pieces(path: Path, form: Form, how: Reading) -> Iterator[Piece]:
    """Read a csv of trades, books, funding or whatever ``how.columns`` names. Fatal with file, row, rule and remedy."""
    layout = _layout(path, form, how)
    row, last_ns, ordinal = 1 + layout.has_header, 0, _Ordinal()
    length_ns = how.length_ns or 0
    for table in _tables(layout):
        rows = np.arange(row, row + len(table), dtype=np.int64)
        row += len(table)
        batch = dict(_columns(layout, table, rows))
        notes: tuple[str, ...] = ()
        ids: Ids = "none"
        if layout.kind in ID_COLUMN:
            ids = "venue" if "id" in layout.fields else "ordinal"
            if ids == "venue":
                _refuse_back(path, batch[ID_COLUMN[layout.kind]], rows)
                held = np.maximum.accumulate(np.maximum(batch["ts_ns"], last_ns))
                count = int(np.count_nonzero(held != batch["ts_ns"]))
                notes = (f"{count} {layout.kind.value} held back to the time of the row before",) if count else ()
                batch["ts_ns"], last_ns = held, int(held[-1])
            else:
                batch[ID_COLUMN[layout.kind]] = ordinal.number(batch["ts_ns"])
        elif layout.kind is Kind.FUNDING:
            batch["ts_ns"] = batch["ts_ns"] // NS_PER_MINUTE * NS_PER_MINUTE
        elif layout.kind in {Kind.BARS, Kind.MARK_BARS}:
            length_ns = length_ns or bar_length(path, batch["ts_ns"])
        ordered: Batch = {name: batch[name] for name in COLUMNS[layout.kind]}
        yield Piece(kind=layout.kind, length_ns=length_ns, ids=ids, batch=ordered, rows=rows, notes=notes)
    if row == 1 + layout.has_header:
        raise refusal(path, "it holds no row", "fetch the file again")


class _Ordinal:
    """Numbers rows of one time in their order, from 0, across batches."""

    def __init__(self) -> None:
        self._last_ns = -1
        self._next = 0

    def number(self, times: IntArray) -> IntArray:
        """Give the numbers of the next rows."""
        places = np.arange(len(times))
        fresh = np.append(times[0] != self._last_ns, np.diff(times) != 0)
        starts = np.maximum.accumulate(np.where(fresh, places, 0))
        numbers = places - starts
        if not fresh[0]:
            carried = int(np.argmax(fresh)) if fresh.any() else len(times)
            numbers[:carried] += self._next
        self._last_ns, self._next = int(times[-1]), int(numbers[-1]) + 1
        return numbers.astype(np.int64)


def _layout(path: Path, form: Form, how: Reading) -> _Layout:
    with reading(path), opened(path) as file:
        cells = first_cells(file.read(HEAD_BYTES))
    if form is not Form.MAPPED:
        kind, fields = _ARCHIVE_FIELDS[form]
        if how.kind is not None and how.kind is not kind:
            raise refusal(path, f"it holds {kind.value}, not {how.kind.value}", "leave --kind away")
        has_header = not cells[0].isdigit()
        return _Layout(
            path=path, kind=kind, fields=fields, names=ARCHIVE_HEADERS[form], has_header=has_header, time_unit=None
        )
    fields = how.columns or {}
    kind = how.kind or next((kind for field, kind in _TOLD_BY if field in fields), Kind.BARS)
    missing = [field for field in _NEEDED[kind] if field not in fields]
    strange = [field for field in fields if field not in (*_NEEDED[kind], *(_MORE if kind in ID_COLUMN else ()))]
    if missing or strange:
        wrong = f"lack {', '.join(missing)}" if missing else f"name {', '.join(strange)}"
        raise refusal(path, f"the columns given for {kind.value} {wrong}", f"name {', '.join(_NEEDED[kind])}")
    absent = [name for name in fields.values() if name not in cells]
    if absent:
        raise refusal(path, f"its header lacks {', '.join(absent)}", f"it has {', '.join(cells)}", 1)
    return _Layout(path=path, kind=kind, fields=fields, names=tuple(cells), has_header=True, time_unit=how.time_unit)


def _tables(layout: _Layout, types: Mapping[str, pa.DataType] | None = None) -> Iterator[pa.Table]:
    """Read the csv in blocks, with our columns only; without ``types`` as its layout says, else as they say."""
    path, as_text = layout.path, types is not None
    with reading(path), opened(path) as file:
        try:
            reader = csv.open_csv(
                pa.PythonFile(file, mode="r"),
                read_options=csv.ReadOptions(
                    column_names=layout.names,
                    skip_rows=int(layout.has_header),
                    block_size=_BLOCK_BYTES,
                    use_threads=False,
                ),
                convert_options=csv.ConvertOptions(
                    include_columns=list(layout.fields.values()), column_types=types or layout.types()
                ),
            )
            for block in reader:
                if len(block):
                    yield pa.Table.from_batches([block])
        except pa.ArrowInvalid as error:
            told = str(error).partition("\n")[0]
            if "Empty CSV" in told:
                return
            if not as_text and "Expected" not in told:
                _name_row(layout)
            raise refusal(path, f"a line cannot be read ({told})", _REPAIR) from error


def _name_row(layout: _Layout) -> None:
    """Walk the csv as text and raise Fatal for the first figure that cannot be read."""
    row = 1 + layout.has_header
    for table in _tables(layout, dict.fromkeys(layout.fields.values(), pa.string())):
        for field, name in layout.fields.items():
            column = table.column(name).combine_chunks()
            kind = layout.types()[name]
            place, rule = _first_bad(column, kind)
            if place is not None:
                raise refusal(layout.path, f"the {field} {rule}", _REPAIR, row + place)
        row += len(table)


def _first_bad(column: pa.Array, kind: pa.DataType) -> tuple[int | None, str]:
    """Give the place of the first text that is not of a type, and what is wrong with it."""
    if kind == DECIMAL:
        try:
            e8_from_text(column)
        except BadFigureError as error:
            return error.index, str(error).removeprefix("the figure ")
        return None, ""
    for place, text in enumerate(column.to_pylist()):
        try:
            pa.array([text], pa.string()).cast(kind)
        except pa.ArrowInvalid:
            return place, f"is {text!r}"
    return None, ""


def _columns(layout: _Layout, table: pa.Table, rows: IntArray) -> Iterator[tuple[str, IntArray]]:
    """Give our columns of a block. Fatal for the first row that lacks a figure, or has one that cannot be counted."""
    kind = layout.kind
    if kind in ID_COLUMN and kind is not Kind.BOOK and not {"side", "buyer_maker"} & layout.fields.keys():
        yield "buyer_maker", np.full(len(table), -1, np.int64)
    for field, name in layout.fields.items():
        column = table.column(name).combine_chunks()
        if column.null_count:
            row = int(rows[int(pc.index(pc.is_null(column), pa.scalar(value=True)).as_py())])
            raise refusal(layout.path, f"the {field} is missing", _REPAIR, row)
        try:
            yield (
                _ours(kind, field),
                _READERS.get(field, e8_from_decimals)(column) if field != "ts" else _times(layout, column),
            )
        except BadFigureError as error:
            raise bad_figure(layout.path, field, int(rows[error.index]), error) from error


def _ours(kind: Kind, field: str) -> str:
    match field:
        case "ts":
            return "ts_ns"
        case "id":
            return ID_COLUMN[kind]
        case "side" | "buyer_maker":
            return "buyer_maker"
        case _:
            return f"{field}_e8"


def _times(layout: _Layout, column: pa.Array) -> IntArray:
    """Give times in ns."""
    match layout.time_unit:
        case "iso":
            return np.asarray(column.cast(pa.int64()).to_numpy(), np.int64)
        case "s":
            return e8_from_decimals(column) * (NS_PER_S // 10**8)
        case "ms" | "us" | "ns" as unit:
            return np.asarray(column.to_numpy(), np.int64) * _SCALE_NS[unit]
        case _:
            return stamps_in_ns(np.asarray(column.to_numpy(), np.int64))


def _whole(column: pa.Array) -> IntArray:
    return np.asarray(column.to_numpy(zero_copy_only=False), np.int64)


def _sides(column: pa.Array) -> IntArray:
    """Give 1 where the taker sold, 0 where it bought. BadFigureError for another word."""
    words = pc.utf8_lower(column)
    sold, bought = (
        np.asarray(pc.is_in(words, pa.array(known)).to_numpy(zero_copy_only=False), np.bool_) for known in _WORDS
    )
    if not (sold | bought).all():
        raise BadFigureError(int(np.argmin(sold | bought)), "the figure is neither buy nor sell")
    return sold.astype(np.int64)


_WORDS: Final = (["sell", "s", "ask"], ["buy", "b", "bid"])
_READERS: Final[Mapping[str, Callable[[Any], IntArray]]] = {"id": _whole, "buyer_maker": _whole, "side": _sides}


def _refuse_back(path: Path, numbers: IntArray, rows: IntArray) -> None:
    """Raise Fatal where the exchange's numbers go back inside a block."""
    back = np.diff(numbers) < 0
    if back.any():
        row = int(rows[int(np.argmax(back)) + 1])
        raise refusal(path, "its number is before that of the row before", "sort the file by its numbers", row)
