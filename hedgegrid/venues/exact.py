"""Columns of figures as exact integers of 1e-8, whatever spelled them: text, decimals or floats.

Invariants: a decimal of at most eight places gives exactly its integer, however large; anything finer is refused,
never rounded. A float stands for the shortest decimal that it prints as; where arithmetic has left dust within a few
units of the float's own last place, the decimal of eight places beside it is meant. Nothing here loops over rows.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hedgegrid.units import CASH_SCALE
from hedgegrid.venues.simulated.arrays import FloatArray, IntArray

DECIMAL = pa.decimal128(38, 18)
"""What a column of decimal text is read as before it is counted."""

E8_BELOW = 2**63 // CASH_SCALE
"""Figures are below this many whole units: that is what 64 bits of 1e-8 hold."""

_E8 = pa.decimal128(38, 8)
_DUST = 4 * float(np.finfo(np.float64).eps)


class BadFigureError(ValueError):
    """A figure that cannot be counted: ``index`` is its place in the column, the text says which rule it breaks."""

    def __init__(self, index: int, rule: str) -> None:
        super().__init__(rule)
        self.index = index


def e8_from_decimals(column: pa.Array | pa.ChunkedArray) -> IntArray:
    """Give decimals as integers of 1e-8. BadFigureError for one that is missing, finer, or too large."""
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if whole.null_count:
        raise BadFigureError(_first(pc.is_null(whole)), "the figure is missing or not a number")
    too_large = pc.greater_equal(pc.abs(whole), E8_BELOW)
    if pc.any(too_large).as_py():
        raise BadFigureError(_first(too_large), f"the figure is over {E8_BELOW:,}, which 64 bits of 1e-8 cannot hold")
    try:
        scaled = whole.cast(_E8)
    except pa.ArrowInvalid:
        finer = pc.not_equal(pc.round(whole, 8), whole)
        raise BadFigureError(_first(finer), "the figure is finer than 1e-8") from None
    if not len(scaled):
        return np.empty(0, np.int64)
    words = np.frombuffer(scaled.buffers()[1], np.int64).reshape(-1, 2)
    return words[scaled.offset : scaled.offset + len(scaled), 0].copy()  # 128 bits, low word first


def e8_from_text(column: pa.Array | pa.ChunkedArray) -> IntArray:
    """Give decimal text as integers of 1e-8. BadFigureError for what is no number, finer, or too large."""
    texts = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    plain = pc.fill_null(pc.match_substring_regex(texts, r"^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$"), False)  # noqa: FBT003 - the value to fill in
    if not pc.all(plain).as_py():
        raise BadFigureError(_first(pc.invert(plain)), "the figure is missing or not a number")
    try:
        decimals = pc.utf8_trim_whitespace(texts).cast(DECIMAL)
    except pa.ArrowInvalid:
        raise BadFigureError(_first_failing(texts), "the figure is finer than 1e-8, or too large") from None
    return e8_from_decimals(decimals)


def e8_from_floats(column: FloatArray) -> IntArray:
    """Give floats as integers of 1e-8, each as the decimal that it was read from. BadFigureError as above."""
    finite = np.isfinite(column)
    if not finite.all():
        raise BadFigureError(int(np.argmin(finite)), "the figure is missing or not a number")
    large = np.abs(column) >= E8_BELOW
    if large.any():
        rule = f"the figure is over {E8_BELOW:,}, which 64 bits of 1e-8 cannot hold"
        raise BadFigureError(int(np.argmax(large)), rule)
    tiny = np.where(np.abs(column) < 1e-17, 0.0, column)  # noqa: PLR2004 - under what the decimals below can write
    rounded = pc.round(_decimals(tiny), 8)
    beside = np.asarray(rounded.cast(pa.float64()).to_numpy(), np.float64)
    finer = np.abs(beside - column) > np.abs(column) * _DUST
    if finer.any():
        raise BadFigureError(int(np.argmax(finer)), "the figure is finer than 1e-8")
    return e8_from_decimals(rounded)


def _decimals(column: FloatArray) -> pa.Array:
    """Give each float's shortest decimal, cut after eighteen places."""
    texts = pa.array(column).cast(pa.string())
    try:
        return texts.cast(DECIMAL)
    except pa.ArrowInvalid:  # digits beyond the eighteenth place: dust of arithmetic, or a figure that is too fine
        near = np.rint(column * CASH_SCALE) / CASH_SCALE
        return pa.array(np.where(np.abs(column) < 1, near, column)).cast(pa.string()).cast(DECIMAL)


def _first(flags: pa.Array) -> int:
    """Give the place of the first true flag."""
    return int(pc.index(flags, pa.scalar(value=True)).as_py())


def _first_failing(texts: pa.Array) -> int:
    """Give the place of the first text that is no decimal of eighteen places."""
    low, high = 0, len(texts)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            texts.slice(low, middle - low).cast(DECIMAL)
        except pa.ArrowInvalid:
            high = middle
        else:
            low = middle
    return low
