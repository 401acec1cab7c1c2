"""A backtest's output folder: ``summary.json``, CSV for people and spreadsheets, Parquet for programs.

Invariant: the folder appears whole, with everything that was asked for in it, or not at all (see ``folder``).
"""

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from hedgegrid.backtest.folder import SUMMARY, whole_folder
from hedgegrid.backtest.measure import Measures
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.backtest.spare_memory import give_back
from hedgegrid.backtest.summary_json import RunFacts, summary_json
from hedgegrid.backtest.tables import CSV_TABLES, TABLES, arrow_tables
from hedgegrid.errors import Fatal

Writer = Callable[[Path], None]
"""Writes one further file at the path that it is given."""


def write_folder(
    result: BacktestResult,
    measures: Measures,
    facts: RunFacts,
    target: Path,
    *,
    force: bool = False,
    further: Mapping[str, Writer] | None = None,
) -> tuple[str, ...]:
    """Write the output folder and give the names of its files, in the order in which they were written.

    ``further`` are files beside the tables, such as the report, by name; they appear with the rest. Fatal where the
    folder exists and is not empty (unless ``force``), and where the disk refuses.
    """
    written: list[str] = []
    with whole_folder(target, force=force) as part:
        _write_summary(part / SUMMARY, summary_json(result, measures, facts))
        written.append(SUMMARY)
        for name in TABLES:
            kinds = ("csv", "parquet") if name in CSV_TABLES else ("parquet",)
            with contextlib.ExitStack() as open_files:
                writers: list[Any] = []
                for piece in arrow_tables(name, result, measures):
                    if not writers:
                        writers = [
                            open_files.enter_context(_WRITERS[kind](part / f"{name}.{kind}", piece)) for kind in kinds
                        ]
                    for writer in writers:
                        writer.write_table(piece)
            written += [f"{name}.{kind}" for kind in kinds]
            give_back()
        for name, write in (further or {}).items():
            if name in written or Path(name).name != name:
                raise Fatal(f"{name} cannot be a further file of the output: it is taken, or no plain name")
            write(part / name)
            written.append(name)
    return tuple(written)


def _write_summary(path: Path, summary: dict[str, Any]) -> None:
    path.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _csv(path: Path, first: Any) -> Any:  # noqa: ANN401 pyarrow ships no types
    """Open a CSV; words stand bare unless one of them has a comma, a quote or a line's end in it."""
    style = "needed" if any(_needs_quotes(column) for column in first.columns) else "none"
    options = pa.csv.WriteOptions(quoting_style=style, quoting_header=style)
    return pa.csv.CSVWriter(path, first.schema, write_options=options)


def _parquet(path: Path, first: Any) -> Any:  # noqa: ANN401 as above
    """Open a Parquet file, a row group a piece. Words are dictionaries, whole numbers the steps from row to row."""
    words = [field.name for field in first.schema if pa.types.is_dictionary(field.type)]
    whole = [field.name for field in first.schema if pa.types.is_int64(field.type)]
    return pa.parquet.ParquetWriter(
        path,
        first.schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=words or False,
        column_encoding=dict.fromkeys(whole, "DELTA_BINARY_PACKED"),
    )


def _needs_quotes(column: Any) -> bool:  # noqa: ANN401 as above
    if not pa.types.is_dictionary(column.type):
        return False
    words = column.chunk(0).dictionary.to_pylist() if column.num_chunks else []
    return any(mark in word for word in words for mark in ',"\r\n')


_WRITERS: Final = {"csv": _csv, "parquet": _parquet}


def read_summary(folder: Path) -> dict[str, Any]:
    """Read the summary of an output folder. Fatal, in one line, where there is none that can be read."""
    path = folder / SUMMARY
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Fatal(f"{folder} is no output folder of a backtest: {SUMMARY}: {error.strerror or error}") from error
    except ValueError as error:
        raise Fatal(f"{path} is not whole or not JSON: {error}") from error
    if not isinstance(summary, dict) or not {"schema_version", "ended", "run", "figures"} <= summary.keys():
        raise Fatal(f"{path} is not the summary of a backtest")
    return summary
