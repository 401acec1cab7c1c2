"""One definition, two containers: lists of records and structured arrays."""

from typing import Any

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import gate_records, records
from hedgegrid.core.records import (
    Action,
    GridParams,
    GridState,
    Indicators,
    Market,
    Rung,
    dtype_of,
    pack,
    table,
    unpack,
)
from tests.core.bounded import LARGEST

KINDS = [
    value
    for module in (records, gate_records)
    for value in vars(module).values()
    if isinstance(value, type) and attrs.has(value) and value.__module__ == module.__name__
]
INTS = st.integers(-LARGEST - 1, LARGEST)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_dtype_has_every_field_in_order(kind: type) -> None:
    """Integers become int64 and floats float64; nothing else is a field; defaults survive the way there and back."""
    dtype = dtype_of(kind)
    assert dtype.names == tuple(attrs.fields_dict(kind))
    for name, field in attrs.fields_dict(kind).items():
        assert field.type in (int, float)
        assert dtype[name] == (np.int64 if field.type is int else np.float64)
    fresh: list[Any] = table(kind, 3)
    back: list[Any] = unpack(pack(fresh), kind)
    assert [attrs.astuple(row) for row in back] == [attrs.astuple(row) for row in fresh]


@given(st.lists(st.tuples(INTS, INTS, INTS), min_size=1, max_size=5), st.floats(allow_nan=False))
def test_pack_and_unpack_keep_every_bit(rows: list[tuple[int, int, int]], level: float) -> None:
    """Values come back as plain Python numbers of the same value and type."""
    out = unpack(pack([Action(kind=a, no=b, price_ticks=c) for a, b, c in rows]), Action)
    assert [(row.kind, row.no, row.price_ticks) for row in out] == rows
    assert {type(value) for row in out for value in attrs.astuple(row)} == {int}
    (ind,) = unpack(pack([Indicators(bars=3, atr=level)]), Indicators)
    assert (ind.bars, ind.atr, type(ind.atr)) == (3, level, float)


@pytest.mark.parametrize("value", [LARGEST + 1, -LARGEST - 2, 10**30])
@pytest.mark.parametrize("kind", [GridParams, GridState, Market], ids=lambda kind: kind.__name__)
def test_a_value_beyond_64_bits_is_refused(kind: type, value: int) -> None:
    """What the compiled core would wrap never gets into a table."""
    row = kind()
    name = next(name for name, field in attrs.fields_dict(kind).items() if field.type is int)
    setattr(row, name, value)
    with pytest.raises(OverflowError):
        pack([row])


def test_tables_are_made_of_separate_records() -> None:
    """Writing to one slot leaves the others alone."""
    rungs = table(Rung, 3)
    rungs[0].slot = 7
    assert [rung.slot for rung in rungs] == [7, -1, -1]
