"""A journal as files for people, spreadsheets and tax offices: CSV and Parquet.

Invariants: every amount stands twice, as the integer that was counted and as an exact decimal beside it; a file
appears under its name only when it is whole, and never in place of another unless that was asked for.
"""

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Final, Literal, Protocol, TextIO

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from hedgegrid.errors import Fatal
from hedgegrid.journal.export_tables import SHEETS, Cells, Sheet
from hedgegrid.journal.reader import open_reader
from hedgegrid.journal.rules import RulesAt

Format = Literal["csv", "parquet"]
_BATCH_ROWS: Final = 10_000
_TYPES: Final = {
    "whole": pa.int64(),
    "text": pa.string(),
    "flag": pa.bool_(),
    "money": pa.decimal128(38, 8),
    "amount": pa.decimal128(38, 18),
}


@attrs.frozen(kw_only=True)
class Exported:
    """A file that was written, and how many rows it has."""

    path: Path
    rows: int


def export(
    path: Path, out_dir: Path, *, formats: Sequence[Format] = ("csv", "parquet"), force: bool = False
) -> tuple[Exported, ...]:
    """Write fills, orders, round trips, funding and daily results of a journal (which may be in use) into ``out_dir``.

    Fatal for a journal that cannot be read, for files that exist (unless ``force``), and where the disk refuses.
    """
    targets = {(sheet.name, kind): out_dir / f"{sheet.name}.{kind}" for sheet in SHEETS for kind in formats}
    there = [target.name for target in targets.values() if target.exists()]
    if there and not force:
        raise Fatal(f"{out_dir} holds {', '.join(there)} already: name another folder, or allow to overwrite (--force)")
    parts = {key: target.with_name(f".{target.name}.part") for key, target in targets.items()}
    written: list[Exported] = []
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        with open_reader(path) as connection:
            rules = RulesAt(connection)
            for sheet in SHEETS:
                files = {kind: parts[sheet.name, kind] for kind in formats}
                count = _write(sheet, sheet.rows(connection, rules), files)
                written += [Exported(path=targets[sheet.name, kind], rows=count) for kind in formats]
        for key, part in parts.items():
            part.replace(targets[key])
    except OSError as error:
        raise Fatal(f"cannot write the export into {out_dir}: {error.strerror or error}") from error
    finally:
        for part in parts.values():
            # Where the folder cannot hold a file there is none to take away either.
            with suppress(OSError):
                part.unlink(missing_ok=True)
    return tuple(written)


class _Sink(Protocol):
    """A file that takes rows."""

    def write(self, rows: list[Cells]) -> None:
        """Write some rows."""
        ...

    def close(self) -> None:
        """End the file; it is on disk then."""
        ...


class _CsvSink:
    """CSV: decimals in full, flags as true and false."""

    def __init__(self, sheet: Sheet, path: Path) -> None:
        self._file: TextIO = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow([name for name, _ in sheet.columns])

    def write(self, rows: list[Cells]) -> None:
        """Write some rows."""
        self._writer.writerows([[_csv_text(cell) for cell in row] for row in rows])

    def close(self) -> None:
        """End the file."""
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())


def _csv_text(cell: int | str | Decimal) -> str:
    match cell:
        case bool():
            return "true" if cell else "false"
        case Decimal():
            return f"{cell:f}"
        case _:
            return str(cell)


class _ParquetSink:
    """Parquet: decimals as decimal128, money to 1e-8, prices and quantities to 1e-18."""

    def __init__(self, sheet: Sheet, path: Path) -> None:
        self._schema = pa.schema([pa.field(name, _TYPES[kind], nullable=False) for name, kind in sheet.columns])
        self._writer = pq.ParquetWriter(path, self._schema)

    def write(self, rows: list[Cells]) -> None:
        """Write some rows."""
        columns = zip(*rows, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_table(pa.table(arrays, schema=self._schema))

    def close(self) -> None:
        """End the file."""
        self._writer.close()


def _sink(kind: Format, sheet: Sheet, path: Path) -> _Sink:
    return _CsvSink(sheet, path) if kind == "csv" else _ParquetSink(sheet, path)


def _write(sheet: Sheet, rows: Iterator[Cells], files: dict[Format, Path]) -> int:
    """Write a sheet in one walk over its rows, to all its files; give how many rows there were."""
    count = 0
    with ExitStack() as ends:
        sinks: list[_Sink] = []
        for kind, path in files.items():
            sinks.append(_sink(kind, sheet, path))
            ends.callback(sinks[-1].close)
        while batch := list(islice(rows, _BATCH_ROWS)):
            count += len(batch)
            for sink in sinks:
                sink.write(batch)
    return count
