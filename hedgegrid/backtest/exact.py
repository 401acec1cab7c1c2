"""Rows, sums and ratios of tables whose columns are all int64: exact where 64 bits would not be.

Invariants: a sum is a Python integer and cannot wrap; a ratio is a float, or None where its denominator is 0: never 0
and never infinite.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hedgegrid.backtest.result import Rows
from hedgegrid.venues.simulated.arrays import FloatArray, IntArray

BoolArray = NDArray[np.bool_]
_LOW_BITS: Final = 32
_LOW: Final = (1 << _LOW_BITS) - 1


def take(table: Rows, index: IntArray | BoolArray) -> Rows:
    """Give some rows of a table, by number or by flag; NumPy's own way takes a microsecond a row.

    All of them are the table itself.
    """
    if index.dtype == np.bool_ and index.all():
        return table
    inner = table.shape[1:]
    width = table.dtype.itemsize // 8 * math.prod(inner)
    plain = np.ascontiguousarray(table).view(np.int64).reshape(len(table), width)
    rows: Rows = plain[index].view(table.dtype).reshape(-1, *inner)
    return rows


def total(column: IntArray) -> int:
    """Give the sum of a column of up to 2^31 rows, exactly."""
    return (int((column >> _LOW_BITS).sum()) << _LOW_BITS) + int((column & _LOW).sum())


def mean(column: IntArray) -> int:
    """Give the mean of a column, rounded down; 0 for an empty one."""
    return total(column) // len(column) if len(column) else 0


def ratio(part: float, whole: float) -> float | None:
    """Give part / whole, or None where whole is 0."""
    return part / whole if whole else None


def shares(amounts: IntArray, begins: IntArray, ends: IntArray, wholes: IntArray) -> IntArray:
    """Give the part of each amount that falls to the quantity from ``begins`` to ``ends`` out of ``wholes``.

    Shares of a whole add up to its amount, as in ``journal.trips.split``: floor(amount x end / whole) less the same of
    the begin. Quantities stay below 3e9 lots, so that no product wraps.
    """
    parts: IntArray = _floor_part(amounts, ends, wholes) - _floor_part(amounts, begins, wholes)
    return parts


def _floor_part(amounts: IntArray, parts: IntArray, wholes: IntArray) -> IntArray:
    """Give floor(amount x part / whole) for 0 <= part <= whole without a product of amount and part."""
    floors: IntArray = amounts // wholes * parts + amounts % wholes * parts // wholes
    return floors


def mean_of(values: FloatArray) -> float | None:
    """Give the mean of floats, or None where there are none."""
    return float(values.mean()) if len(values) else None


def greatest(values: FloatArray | IntArray) -> float | None:
    """Give the largest, or None where there is none."""
    return values.max().item() if len(values) else None
