"""A journal as files for people, spreadsheets and tax offices: CSV and Parquet.

Invariants: every amount stands twice, as the integer that was counted and as an exact decimal beside it; a file appears under its
name only when it is whole, and never in place of another unless that was asked for.
"""

import contextlib
import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import batched
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from hedgegrid.errors import Fatal
from hedgegrid.journal.export_tables import SHEETS, Cells, Sheet
from hedgegrid.journal.reader import open_reader

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
