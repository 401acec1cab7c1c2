"""A change of the store: rows are gathered, compared with what is there, and published month by month.

Invariants: nothing under the store changes before every row has been gathered and every month of a group of
``FILES_AT_ONCE`` written; a row that is there already is not written twice, and one that contradicts another is refused
unless the newer is to replace the older; memory holds a few row groups, however long a month is; the store has one
writer at a time (a lock that dies with its holder).
"""

import contextlib
import fcntl
import itertools
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import attrs
import numpy as np

from hedgegrid.backtest.store.parquet_files import (
    ROWS_PER_GROUP,
    Ids,
    MonthFacts,
    MonthFile,
    MonthWriter,
    SourceFile,
    sweep,
)
from hedgegrid.backtest.store.series import COLUMNS, ID_COLUMN, Batch, Kind, SeriesName, instrument_folder, month_of
from hedgegrid.errors import Fatal
from hedgegrid.venues.simulated.arrays import IntArray
from hedgegrid.venues.simulated.recorded_files import utc_text

FILES_AT_ONCE: Final = 200
"""Each unpublished file holds a descriptor, of which a program has some hundreds."""

Key = tuple[int, int]
_STORED: Final = -1
_LAST_KEY: Final[Key] = (2**63 - 1, 2**63 - 1)


@attrs.frozen(kw_only=True)
class _Segment:
    """A stretch of ascending rows that can be loaded: its first key, and its source (``_STORED``: the store's own)."""

    first: Key
    source: int
    load: Callable[[], tuple[Batch, IntArray]]


@attrs.define(kw_only=True)
class _Month:
    """What an import brings for one month of one series."""

    series: SeriesName
    month: str
    ids: Ids
    segments: list[_Segment] = attrs.field(factory=list)
    sources: set[int] = attrs.field(factory=set)


@attrs.frozen(kw_only=True)
class MonthChange:
    """What publishing did to one month: rows that are new, that took another's place, and that were there already."""

    series: SeriesName
    month: str
    added: int
    replaced: int
    known: int


@attrs.define(kw_only=True)
class _Tally:
    added: int = 0
    replaced: int = 0
    known: int = 0


class Staging:
    """Gathers rows from sources and publishes them. A context: what is not published by its end is gone."""

    def __init__(self, root: Path, *, replace: bool = False) -> None:
        """Lock the store, making its folder where it is absent. Fatal where another writes to it."""
        self._root = root
        self._replace = replace
        self._sources: list[SourceFile] = []
        self._months: dict[tuple[SeriesName, str], _Month] = {}
        try:
            root.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _disk(root, error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise Fatal(f"{root}: another command writes to this store; wait until it has ended") from error
        sweep(root)
        self._spill = _Spill(root)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._spill.close()
        os.close(self._lock)

    def source(self, source: SourceFile) -> int:
        """Name where the next rows come from; gives the number to call it by in ``add``."""
        self._sources.append(source)
        return len(self._sources) - 1

    def add(self, series: SeriesName, batch: Batch, rows: IntArray, *, source: int, ids: Ids) -> None:
        """Gather rows that ascend in the series' key; ``rows`` number them in their source, for messages."""
        if ids == "none":
            assert series.kind not in ID_COLUMN, "rows that have numbers say where those come from"
        times = batch["ts_ns"]
        months = times.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
        edges = np.flatnonzero(np.diff(months)) + 1
        cuts = sorted({0, *edges.tolist(), *range(0, len(times), ROWS_PER_GROUP), len(times)})
        for start, stop in itertools.pairwise(cuts):
            part = {name: batch[name][start:stop] for name in COLUMNS[series.kind]}
            self._add_part(series, part, rows[start:stop], source=source, ids=ids)

    def _add_part(self, series: SeriesName, part: Batch, rows: IntArray, *, source: int, ids: Ids) -> None:
        name = month_of(int(part["ts_ns"][0]))
        month = self._months.get((series, name))
        if month is None:
            month = self._months[series, name] = _Month(series=series, month=name, ids=ids)
        if month.ids != ids:
            raise _mixed(self._sources[source].name, series, name)
        try:
            load = self._spill.put(part, rows)
        except OSError as error:
            raise _disk(self._root, error) from error
        month.sources.add(source)
        month.segments.append(_Segment(first=_first_key(series.kind, ids, part), source=source, load=load))

    def publish(
        self, imported: str, tell: Callable[[int, int], None] = lambda _done, _total: None
    ) -> list[MonthChange]:
        """Merge what was gathered into the store; ``imported`` is the time in ISO 8601, ``tell`` hears of progress.

        Fatal, with nothing changed, for a row that contradicts another and where the disk refuses.
        """
        changes: list[MonthChange] = []
        names = sorted(self._months)
        for start in range(0, len(names), FILES_AT_ONCE):
            with contextlib.ExitStack() as stack:
                ready: list[MonthWriter] = []
                for name in names[start : start + FILES_AT_ONCE]:
                    try:
                        change, writer = self._merged(self._months[name], imported, stack)
                    except OSError as error:
                        raise _disk(self._root, error) from error
                    changes.append(change)
                    if writer is not None:
                        ready.append(writer)
                    tell(len(changes), len(names))
                for writer in ready:
                    try:
                        writer.publish()
                    except OSError as error:
                        raise _disk(writer.target, error) from error
        self._months.clear()
        return changes

    def _merged(
        self, month: _Month, imported: str, stack: contextlib.ExitStack
    ) -> tuple[MonthChange, MonthWriter | None]:
        """Write a month's new file, not yet under its name; no file where nothing would change."""
        series = month.series
        path = self._root / instrument_folder(series.instrument) / series.folder / f"{month.month}.parquet"
        tally = _Tally()
        with contextlib.ExitStack() as reading:
            segments, sources = list(month.segments), [self._sources[number] for number in sorted(month.sources)]
            if path.exists():
                stored = reading.enter_context(MonthFile(path, series))
                if stored.facts.ids != month.ids:
                    raise _mixed(sources[0].name, series, month.month)
                segments += _stored_segments(stored, series.kind, month.ids)
                sources = [*stored.facts.sources, *sources]
            writer = stack.enter_context(MonthWriter(self._root, path, series.kind))
            for batch in self._resolved(month, segments, tally):
                writer.add(batch)
        change = MonthChange(
            series=series, month=month.month, added=tally.added, replaced=tally.replaced, known=tally.known
        )
        if not tally.added and not tally.replaced:
            return change, None
        facts = MonthFacts(
            instrument=series.instrument,
            series=series.folder,
            month=month.month,
            ids=month.ids,
            rows=writer.rows,
            imported=imported,
            sources=tuple(dict.fromkeys(sources)),
        )
        writer.finish(facts)
        return change, writer

    def _resolved(self, month: _Month, segments: Sequence[_Segment], tally: _Tally) -> Iterator[Batch]:
        """Give the rows of all segments in the order of their keys, each key once."""
        kind, last_ns = month.series.kind, 0
        queue = sorted(segments, key=lambda segment: (segment.first, segment.source))
        held = _Held.empty(kind)
        for place, segment in enumerate(queue):
            held = held.joined(segment)
            bound = queue[place + 1].first if place + 1 < len(queue) else _LAST_KEY
            ready, held = held.split(kind, month.ids, bound)
            if not len(ready.rows):
                continue
            batch = self._unique(month, ready, tally)
            times = batch["ts_ns"]
            back = np.diff(times, prepend=last_ns) < 0
            if back.any():
                moment = utc_text(int(times[int(np.argmax(back))]))
                names = ", ".join(self._sources[number].name for number in sorted(month.sources))
                raise Fatal(f"{names}: at {moment} the time goes back while the numbers go on; check the files")
            last_ns = int(times[-1])
            yield batch

    def _unique(self, month: _Month, ready: "_Held", tally: _Tally) -> Batch:
        """Give rows in order, each key once: the oldest source's row, or the newest's where that is to replace."""
        first, second = _keys(month.series.kind, month.ids, ready.batch)
        order = np.lexsort((ready.source, second, first))
        ordered = ready.taken(order)
        first, second = first[order], second[order]
        starts = np.flatnonzero(np.append(True, (np.diff(first) != 0) | (np.diff(second) != 0)))
        ends = np.append(starts[1:], len(first)) - 1
        keep = ends if self._replace else starts
        group = np.repeat(np.arange(len(starts)), ends - starts + 1)
        differs = np.zeros(len(first), np.bool_)
        for column in ordered.batch.values():
            differs |= column != column[keep[group]]
        if differs.any() and not self._replace:
            raise self._contradiction(month, ordered, int(np.argmax(differs)))
        stored = ordered.source[starts] == _STORED
        changed = np.zeros(len(starts), np.bool_)
        changed[group[differs]] = True
        tally.added += int(np.count_nonzero(~stored))
        tally.replaced += int(np.count_nonzero(stored & changed))
        tally.known += len(first) - len(starts)
        return {name: column[keep] for name, column in ordered.batch.items()}

    def _contradiction(self, month: _Month, ordered: "_Held", index: int) -> Fatal:
        """Give the error for a row that says something else than the one before it of the same key."""
        source = self._sources[int(ordered.source[index])]
        moment = utc_text(int(ordered.batch["ts_ns"][index]))
        other = int(ordered.source[index - 1])
        there = "the store" if other == _STORED else self._sources[other].name
        return Fatal(
            f"{source.name}: row {int(ordered.rows[index])}: it contradicts what {there} holds of {month.series.text} "
            f"at {moment}; check which is right, and take the newer with --replace"
        )


@attrs.frozen(kw_only=True, eq=False)
class _Held:
    """Rows in memory, with the source and the row that each came from."""

    batch: Batch
    rows: IntArray
    source: IntArray

    @classmethod
    def empty(cls, kind: Kind) -> Self:
        none = np.empty(0, np.int64)
        return cls(batch=dict.fromkeys(COLUMNS[kind], none), rows=none, source=none)

    def joined(self, segment: _Segment) -> "_Held":
        batch, rows = segment.load()
        return _Held(
            batch={name: np.concatenate((column, batch[name])) for name, column in self.batch.items()},
            rows=np.concatenate((self.rows, rows)),
            source=np.concatenate((self.source, np.full(len(rows), segment.source, np.int64))),
        )

    def taken(self, places: IntArray) -> "_Held":
        batch = {name: column[places] for name, column in self.batch.items()}
        return _Held(batch=batch, rows=self.rows[places], source=self.source[places])

    def split(self, kind: Kind, ids: Ids, bound: Key) -> tuple["_Held", "_Held"]:
        """Part the rows before a key from the others."""
        first, second = _keys(kind, ids, self.batch)
        before = (first < bound[0]) | ((first == bound[0]) & (second < bound[1]))
        return self.taken(np.flatnonzero(before)), self.taken(np.flatnonzero(~before))


class _Spill:
    """Rows on their way, in one nameless file on the store's own disk: gone with its holder."""

    def __init__(self, root: Path) -> None:
        try:
            self._file = tempfile.TemporaryFile(dir=root)  # noqa: SIM115 - ``close`` ends it
        except OSError as error:
            raise _disk(root, error) from error

    def close(self) -> None:
        # What is thrown away need not reach the disk.
        with contextlib.suppress(OSError):
            self._file.close()

    def put(self, batch: Batch, rows: IntArray) -> Callable[[], tuple[Batch, IntArray]]:
        """Keep rows; gives the call that brings them back."""
        names = tuple(batch)
        offset = self._file.seek(0, os.SEEK_END)
        for column in (*batch.values(), rows):
            self._file.write(np.ascontiguousarray(column, np.int64).data)
        count = len(rows)

        def load() -> tuple[Batch, IntArray]:
            self._file.seek(offset)
            block = np.frombuffer(self._file.read((len(names) + 1) * count * 8), np.int64).reshape(-1, count)
            return dict(zip(names, block, strict=False)), block[-1]

        return load


def _keys(kind: Kind, ids: Ids, batch: Batch) -> tuple[IntArray, IntArray]:
    """Give the two parts of each row's key."""
    times = batch["ts_ns"]
    if ids == "none":
        return times, np.zeros(len(times), np.int64)
    numbers = batch[ID_COLUMN[kind]]
    return (numbers, np.zeros(len(times), np.int64)) if ids == "venue" else (times, numbers)


def _first_key(kind: Kind, ids: Ids, batch: Mapping[str, IntArray]) -> Key:
    first, second = _keys(kind, ids, {name: column[:1] for name, column in batch.items()})
    return int(first[0]), int(second[0])


def _stored_segments(stored: MonthFile, kind: Kind, ids: Ids) -> list[_Segment]:
    """Give the row groups of a month's file as segments."""
    segments: list[_Segment] = []
    for group in range(stored.groups):
        start, _ = stored.bounds(group, "ts_ns")
        number = stored.bounds(group, ID_COLUMN[kind])[0] if ids != "none" else 0
        first = (number, 0) if ids == "venue" else (start, 0)

        def load(group: int = group) -> tuple[Batch, IntArray]:
            batch = stored.read(group)
            return batch, np.arange(len(batch["ts_ns"]))

        segments.append(_Segment(first=first, source=_STORED, load=load))
    return segments


def _mixed(source: str, series: SeriesName, month: str) -> Fatal:
    return Fatal(
        f"{source}: {series.text} of {month} would mix rows that the exchange has numbered with rows that have no "
        "number, and duplicates could not be told; import them into another store, or remove that month first"
    )


def _disk(path: Path, error: OSError) -> Fatal:
    return Fatal(f"{path}: it cannot be written ({error.strerror or error}); nothing of this file was kept")
