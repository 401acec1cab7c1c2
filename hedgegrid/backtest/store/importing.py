"""Files into the store: read, judged, compared with what is there, and published together.

Invariants: an import changes nothing unless every file of it could be read, broke no rule of severity error and
contradicts nothing (``replace`` lets the newer win); with ``strict`` a warning is as good as an error. Books whose bid
is not below their ask are found, counted and left out.
"""

import hashlib
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
import numpy as np

from hedgegrid.backtest.quality import Finding, Severity
from hedgegrid.backtest.store.examine import SeriesCheck
from hedgegrid.backtest.store.parquet_files import SourceFile
from hedgegrid.backtest.store.series import Kind, SeriesName, instrument_folder
from hedgegrid.backtest.store.source_candles import candle_pieces
from hedgegrid.backtest.store.source_capture import capture_pieces
from hedgegrid.backtest.store.source_csv import csv_pieces
from hedgegrid.backtest.store.sources import Form, Piece, Reading, form_of, instrument_in
from hedgegrid.backtest.store.staging import MonthChange, Staging
from hedgegrid.venues.simulated.recorded_files import reading, refusal

SUFFIXES: Final = (".feather", ".json", ".csv", ".gz", ".zip", ".dat", ".txt")
"""What is taken from a folder."""


@attrs.frozen(kw_only=True)
class ImportReport:
    """What an import did: the months it changed, what it found, and notes of what was left out."""

    changes: tuple[MonthChange, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    instruments: tuple[str, ...]


@attrs.frozen(kw_only=True)
class FileReport:
    """What examining one file found, and the series that it holds."""

    path: Path
    series: tuple[SeriesName, ...]
    rows: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


Tell = Callable[[Path, int], None]
"""Hears of a file and of its rows read so far."""


def files_of(paths: Sequence[Path]) -> list[Path]:
    """List files and those of folders, in order. Fatal where a path is nothing, or a folder holds nothing to import."""
    found: list[Path] = []
    for path in paths:
        with reading(path):
            mode = path.stat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise refusal(path, "it is neither a file nor a folder", "give files or folders of them")
            inside = sorted(one for one in path.rglob("*") if one.suffix in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise refusal(path, "the folder holds no file of a known form", f"give files of {', '.join(SUFFIXES)}")
        found += inside
    return list(dict.fromkeys(found))


def import_files(
    root: Path,
    paths: Sequence[Path],
    *,
    imported: str,
    how: Reading,
    instrument: str | None = None,
    replace: bool = False,
    strict: bool = False,
    tell: Tell = lambda _path, _rows: None,
) -> ImportReport:
    """Bring files into the store below ``root``; ``imported`` is the time in ISO 8601.

    Fatal, with nothing changed, for a file that cannot be read, breaks a rule or contradicts the store.
    """
    findings: list[Finding] = []
    notes: list[str] = []
    instruments: set[str] = set()
    with Staging(root, replace=replace) as staging:
        for path in files_of(paths):
            name = instrument_for(path, instrument)
            source = staging.source(SourceFile(name=path.name, sha256=_sha256(path)))
            report = examined(path, name, how, tell=tell, refuse=True, keep=_Keep(staging=staging, source=source))
            findings += report.findings
            notes += [f"{path.name}: {note}" for note in report.notes]
            instruments.add(name)
            doubtful = next((one for one in report.findings if one.severity is Severity.WARNING), None)
            if strict and doubtful is not None:
                raise refusal(
                    path, f"{doubtful.rule}: {doubtful.text}", "leave --strict away to accept it", doubtful.row
                )
        changes = staging.publish(imported)
    return ImportReport(
        changes=tuple(changes), findings=tuple(findings), notes=tuple(notes), instruments=tuple(sorted(instruments))
    )


@attrs.frozen(kw_only=True)
class _Keep:
    """Where examined rows go."""

    staging: Staging
    source: int


def examined(
    path: Path,
    instrument: str,
    how: Reading,
    *,
    tell: Tell = lambda _path, _rows: None,
    refuse: bool = False,
    keep: _Keep | None = None,
) -> FileReport:
    """Read a whole file and judge it; with ``refuse`` the first error is Fatal. Fatal where it cannot be read."""
    checks: dict[SeriesName, SeriesCheck] = {}
    notes: dict[str, None] = {}
    rows = 0
    for piece in pieces(path, instrument, how):
        series = SeriesName(instrument=instrument, kind=piece.kind, length_ns=piece.length_ns)
        check = checks.setdefault(series, SeriesCheck(series))
        check.take(piece.batch, piece.ids, piece.rows)
        error = check.first_error()
        if refuse and error is not None:
            raise refusal(path, f"{error.rule}: {error.text}", "repair the row or fetch the file again", error.row)
        rows += len(piece.rows)
        notes.update(dict.fromkeys(piece.notes))
        if keep is not None:
            _stage(keep, series, piece)
        tell(path, rows)
    found = [finding for check in checks.values() for finding in check.findings()]
    error = next((finding for finding in found if finding.severity is Severity.ERROR), None)
    if refuse and error is not None:
        raise refusal(path, f"{error.rule}: {error.text}", "repair the row or fetch the file again", error.row)
    return FileReport(path=path, series=tuple(checks), rows=rows, findings=tuple(found), notes=tuple(notes))


def pieces(path: Path, instrument: str, how: Reading) -> Iterator[Piece]:
    """Read a file piece by piece. Fatal with file, row, rule and remedy."""
    form = form_of(path, how)
    match form:
        case Form.FEATHER | Form.CANDLES | Form.KLINES:
            yield from candle_pieces(path, form, how)
        case Form.CAPTURE:
            yield from capture_pieces(path, instrument)
        case _:
            yield from csv_pieces(path, form, how)


def instrument_for(path: Path, instrument: str | None) -> str:
    """Give the instrument of a file. Fatal where neither the caller nor the name tells it."""
    name = instrument or instrument_in(path)
    if name is None:
        raise refusal(path, "its name does not tell the instrument", "say it with --instrument BTC/USDT:USDT")
    instrument_folder(name)
    return name


def _stage(keep: _Keep, series: SeriesName, piece: Piece) -> None:
    batch, rows = piece.batch, piece.rows
    if series.kind is Kind.BOOK:
        sound = np.flatnonzero((batch["bid_e8"] > 0) & (batch["bid_e8"] < batch["ask_e8"]))
        if len(sound) < len(rows):
            batch, rows = {name: column[sound] for name, column in batch.items()}, rows[sound]
    if len(rows):
        keep.staging.add(series, batch, rows, source=keep.source, ids=piece.ids)


def _sha256(path: Path) -> str:
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
