"""Feather tables of the freqtrade kind: a ``date`` and columns of floats.

Invariant: what leaves here has a time in ns in every row; a missing figure is NaN, for the caller's rules to refuse.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import feather

from hedgegrid.venues.simulated.arrays import FloatArray, IntArray
from hedgegrid.venues.simulated.recorded_files import reading, refusal

_FETCH = "fetch the file again"


def read_feather(path: Path, columns: tuple[str, ...]) -> tuple[IntArray, list[FloatArray]]:
    """Read ``date`` in ns and the named columns as floats.

    Raises Fatal where the file is damaged, lacks a column or holds something else than times and numbers.
    """
    try:
        with reading(path):
            table = feather.read_table(path, memory_map=False)
    except (pa.ArrowException, ValueError) as error:
        rule = f"the feather file is cut short or damaged ({_first_line(error)})"
        raise refusal(path, rule, _FETCH) from error
    missing = [name for name in ("date", *columns) if name not in table.column_names]
    if missing:
        raise refusal(path, f"it lacks the column {missing[0]}", "give a freqtrade feather file")
    dates = table.column("date")
    if not pa.types.is_timestamp(dates.type):
        raise refusal(path, f"its date is {dates.type}, not a timestamp", _FETCH)
    if dates.null_count:
        raise refusal(path, "a date is missing", _FETCH)
    try:
        times = _cast(dates, pa.timestamp("ns", tz=dates.type.tz))
        figures = [_cast(table.column(name), pa.float64()) for name in columns]
    except pa.ArrowException as error:
        raise refusal(path, f"a column is not of numbers ({_first_line(error)})", _FETCH) from error
    return _values(times, np.dtype(np.int64)), [_values(column, np.dtype(np.float64)) for column in figures]


def _cast(column: Any, kind: Any) -> Any:  # noqa: ANN401 pyarrow ships no types
    """Give a column in another type; one that has it is left alone, since casting loads all of pyarrow's functions."""
    return column if column.type == kind else column.cast(kind)


def _values(column: Any, kind: np.dtype[Any]) -> NDArray[Any]:  # noqa: ANN401 as above
    """Give the values of a column, NaN for a missing one; pyarrow's own way imports pandas where it is installed."""
    column = column.fill_null(float("nan")) if column.null_count else column
    parts = [np.frombuffer(part.buffers()[1], kind, len(part), part.offset * kind.itemsize) for part in column.chunks]
    return np.concatenate(parts) if parts else np.empty(0, kind)


def _first_line(error: Exception) -> str:
    """Give the first line of an error's text."""
    return str(error).partition("\n")[0]
