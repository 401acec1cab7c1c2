"""Figures become integers of 1e-8 without a rounding anywhere."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.venues.exact import DECIMAL, E8_BELOW, BadFigureError, e8_from_decimals, e8_from_floats, e8_from_text

WHOLE_E8 = st.integers(-(E8_BELOW * 10**8 - 1), E8_BELOW * 10**8 - 1)
FIFTEEN_DIGITS = st.integers(-(10**15) + 1, 10**15 - 1)


@given(st.lists(WHOLE_E8, min_size=1, max_size=20))
def test_text_is_exact(figures: list[int]) -> None:
    """Every decimal of eight places that fits gives its integer, from text and from decimals alike."""
    texts = [f"{Decimal(figure).scaleb(-8):f}" for figure in figures]
    assert e8_from_text(pa.array(texts, pa.string())).tolist() == figures
    decimals = pa.array([Decimal(text) for text in texts], DECIMAL)
    assert e8_from_decimals(decimals).tolist() == figures
    assert (
        e8_from_decimals(pa.chunked_array([decimals.slice(1), decimals.slice(0, 1)])).tolist()
        == figures[1:] + figures[:1]
    )


@given(st.lists(st.tuples(FIFTEEN_DIGITS, st.integers(0, 8)), min_size=1, max_size=20))
def test_floats_mean_their_decimal(figures: list[tuple[int, int]]) -> None:
    """A float that was read from at most fifteen digits and eight places gives that decimal's integer."""
    fitting = [(digits, places) for digits, places in figures if abs(digits) < E8_BELOW * 10**places]
    decimals = [Decimal(digits).scaleb(-places) for digits, places in fitting]
    expected = [int(figure * 10**8) for figure in decimals]
    assert e8_from_floats(np.array([float(figure) for figure in decimals])).tolist() == expected


def test_dust_is_forgiven_and_finer_is_refused() -> None:
    """What arithmetic left in a float's last place is not a finer figure; a ninth decimal is."""
    assert e8_from_floats(np.array([0.1 + 0.2, 42187.920000000006, 0.07 * 3])).tolist() == [
        30_000_000,
        4_218_792_000_000,
        21_000_000,
    ]
    for finer in (1.5e-9, 1e-20, 0.123456789, 100.000000001):
        with pytest.raises(BadFigureError, match="finer than 1e-8") as caught:
            e8_from_floats(np.array([1.0, finer]))
        assert caught.value.index == 1


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("x", "not a number"),
        ("", "not a number"),
        (None, "not a number"),
        ("nan", "not a number"),
        ("1.123456789", "finer"),
        ("0.1234567890123456789", "finer"),
        ("92233720369", "64 bits"),
    ],
)
def test_bad_text_is_placed(text: str | None, rule: str) -> None:
    """A figure that is none, too fine or too large is refused with its place."""
    with pytest.raises(BadFigureError, match=rule) as caught:
        e8_from_text(pa.array(["1", "2.5", text, "4"], pa.string()))
    assert caught.value.index == 2


@pytest.mark.parametrize(
    ("figure", "rule"), [(float("nan"), "not a number"), (float("inf"), "not a number"), (1e11, "64 bits")]
)
def test_bad_floats_are_placed(figure: float, rule: str) -> None:
    """A float that cannot be counted is refused with its place."""
    with pytest.raises(BadFigureError, match=rule) as caught:
        e8_from_floats(np.array([1.0, figure, 2.0]))
    assert caught.value.index == 1
