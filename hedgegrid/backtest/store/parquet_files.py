"""One month of one series as a Parquet file: written whole or not at all, read a row group at a time.

Invariants: a file appears under its name only when it is complete and on disk; until then it has no name where the
file system allows that (so a killed writer leaves nothing), else a name that starts with a dot and is swept by the next
writer. No row group has more than ``ROWS_PER_GROUP`` rows. The file says what it holds (``MonthFacts``).
"""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final, Literal, Self

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hedgegrid.backtest.store.series import COLUMNS, Batch, Kind, SeriesName
from hedgegrid.errors import Fatal

SCHEMA_VERSION: Final = 1
ROWS_PER_GROUP: Final = 262_144
PART_PREFIX: Final = ".part-"
_META = b"hedgegrid"
_REMEDY = "remove it and import its sources again"

Ids = Literal["none", "venue", "ordinal"]
"""Where the numbers of rows come from: there are none, the exchange gave them, or they count rows of one time."""


@attrs.frozen(kw_only=True)
class SourceFile:
    """A file (name without folders), with the sha256 of the whole, or an address, with "", that rows came from."""

    name: str
    sha256: str


@attrs.frozen(kw_only=True)
class MonthFacts:
    """What a month's file says of itself. ``imported`` is the time of its last change in ISO 8601."""

    instrument: str
    series: str
    month: str
    ids: Ids
    rows: int
    imported: str
    sources: tuple[SourceFile, ...]
    schema: int = SCHEMA_VERSION

    def to_json(self) -> bytes:
        """Write it for the file's metadata."""
        return json.dumps(attrs.asdict(self), sort_keys=True).encode()

    @classmethod
    def of_json(cls, text: bytes) -> Self:
        """Read it back. ValueError, KeyError or TypeError where it is not such a text."""
        read = json.loads(text)
        sources = tuple(SourceFile(**one) for one in read.pop("sources"))
        return cls(sources=sources, **read)


class MonthWriter:
    """A month's file in the making: batches in, ``publish`` at the end. A context; what was not published is gone."""

    def __init__(self, root: Path, target: Path, kind: Kind) -> None:
        """Open it in the store's folder ``root``. OSError where the disk refuses."""
        self.target = target
        self.rows = 0
        self._columns = COLUMNS[kind]
        self._waiting: list[Batch] = []
        self._waiting_rows = 0
        self._part = root / f"{PART_PREFIX}{'-'.join(target.relative_to(root).parts)}"
        self._file, self._named = _new_file(self._part)
        self._writer = pq.ParquetWriter(
            self._file,
            pa.schema([(name, pa.int64()) for name in self._columns]),
            compression="lz4",
            use_dictionary=False,
            column_encoding="DELTA_BINARY_PACKED",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # An unfinished file is thrown away: that its end could not be written either says nothing new.
        with contextlib.suppress(OSError, pa.ArrowException, ValueError):
            self._writer.close()
        with contextlib.suppress(OSError):
            self._file.close()
        if self._named:
            self._part.unlink(missing_ok=True)

    def add(self, batch: Batch) -> None:
        """Append rows, which come after all rows so far."""
        count = len(batch["ts_ns"])
        self._waiting.append(batch)
        self._waiting_rows += count
        self.rows += count
        if self._waiting_rows >= ROWS_PER_GROUP:
            self._flush(self._waiting_rows // ROWS_PER_GROUP * ROWS_PER_GROUP)

    def finish(self, facts: MonthFacts) -> None:
        """Write the rest and what the file says of itself, and see it to the disk."""
        self._flush(self._waiting_rows)
        self._writer.add_key_value_metadata({_META: facts.to_json()})
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())

    def publish(self) -> None:
        """Give the finished file its name, in place of the one that bore it."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.target.parent, os.O_RDONLY)
        try:
            if not self._named:
                # Only with a folder's descriptor does Python follow the link to the file that has no name.
                nameless = f"/proc/self/fd/{self._file.fileno()}"
                os.link(nameless, self._part, src_dir_fd=folder, follow_symlinks=True)
                self._named = True
            self._part.replace(self.target)
            self._named = False
            os.fsync(folder)
        finally:
            os.close(folder)

    def _flush(self, count: int) -> None:
        if not count:
            return
        joined = {name: np.concatenate([batch[name] for batch in self._waiting]) for name in self._columns}
        table = pa.table({name: column[:count] for name, column in joined.items()})
        self._writer.write_table(table, row_group_size=ROWS_PER_GROUP)
        rest = {name: column[count:] for name, column in joined.items()}
        self._waiting, self._waiting_rows = [rest], self._waiting_rows - count


def _new_file(part: Path) -> tuple[IO[bytes], bool]:
    """Open a file without a name, or under ``part`` where the file system has none such; tell whether it has a name."""
    flag = getattr(os, "O_TMPFILE", 0)
    if flag and Path("/proc/self/fd").is_dir():
        with contextlib.suppress(OSError):
            return os.fdopen(os.open(part.parent, flag | os.O_RDWR | os.O_CLOEXEC, 0o644), "w+b"), False
    return part.open("w+b"), True


def sweep(root: Path) -> None:
    """Remove parts that a killed writer left where files need names. For the one writer only."""
    for part in root.glob(f"{PART_PREFIX}*"):
        part.unlink(missing_ok=True)


class MonthFile:
    """A month's file, mapped into memory and read by row groups. A context; Fatal where it is damaged or foreign."""

    def __init__(self, path: Path, series: SeriesName) -> None:
        """Open it and read what it says of itself."""
        self.path = path
        try:
            self._file = pq.ParquetFile(path, memory_map=True)
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(error) from error
        try:
            self.facts = self._read_facts(series)
        except Fatal:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read_facts(self, series: SeriesName) -> MonthFacts:
        text = (self._file.metadata.metadata or {}).get(_META)
        if text is None or self._file.schema_arrow.names != list(COLUMNS[series.kind]):
            raise Fatal(f"{self.path}: it was not written by this store; remove it")
        try:
            facts = MonthFacts.of_json(text)
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged(error) from error
        if facts.schema != SCHEMA_VERSION:
            raise Fatal(f"{self.path}: its schema is {facts.schema}, this version reads {SCHEMA_VERSION}; {_REMEDY}")
        place = (series.instrument, series.folder, self.path.stem)
        if (facts.instrument, facts.series, facts.month) != place or facts.rows != self._file.metadata.num_rows:
            told = f"{facts.instrument} {facts.series} {facts.month}, {facts.rows} rows"
            raise Fatal(f"{self.path}: it says that it holds {told}, and does not; {_REMEDY}")
        return facts

    def _damaged(self, error: Exception) -> Fatal:
        return Fatal(f"{self.path}: the file is cut short or damaged ({str(error).partition(chr(10))[0]}); {_REMEDY}")

    @property
    def groups(self) -> int:
        """How many row groups there are."""
        return int(self._file.num_row_groups)

    def bounds(self, group: int, column: str) -> tuple[int, int]:
        """Give the least and the largest figure of a column in a row group, without reading it."""
        place = self._file.schema_arrow.get_field_index(column)
        statistics = self._file.metadata.row_group(group).column(place).statistics
        return int(statistics.min), int(statistics.max)

    def read(self, group: int, columns: Sequence[str] | None = None) -> Batch:
        """Read one row group. Fatal where it is damaged."""
        try:
            table = self._file.read_row_group(group, columns=columns, use_threads=False)
            return {name: np.asarray(table.column(name).to_numpy(), np.int64) for name in table.column_names}
        except (OSError, pa.ArrowException) as error:
            raise self._damaged(error) from error

    def within(self, from_ns: int, to_ns: int, columns: Sequence[str] | None = None) -> Iterator[Batch]:
        """Read the rows with ``from_ns`` <= ts < ``to_ns``, a row group at a time; empty groups are left out."""
        for group in range(self.groups):
            first, last = self.bounds(group, "ts_ns")
            if last < from_ns or first >= to_ns:
                continue
            batch = self.read(group, columns)
            if from_ns <= first and last < to_ns:
                yield batch
                continue
            start, stop = np.searchsorted(batch["ts_ns"], (from_ns, to_ns))
            if stop > start:
                yield {name: column[start:stop] for name, column in batch.items()}
