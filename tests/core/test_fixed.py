"""Fixed-point arithmetic: exact against Python's unbounded integers, and within 64 bits over all that it admits."""

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import fixed
from tests.core.bounded import LARGEST, Int64

ANY = st.integers(-LARGEST - 1, LARGEST)
PPM = st.integers(0, 10**7)
SMALL = st.integers(0, 9 * 10**15)


def fits(value: int) -> bool:
    """Whether 64 bits hold a value."""
    return -LARGEST - 1 <= value <= LARGEST


@given(ANY, PPM)
def test_mul_ppm_is_exact_and_never_leaves_64_bits(value: int, ppm: int) -> None:
    """A ratio of a quantity is floored exactly; only a result beyond 64 bits overflows."""
    exact = value * ppm // 10**6
    assert fixed.mul_ppm(value, ppm) == exact == floor(Fraction(value * ppm, 10**6))
    if fits(exact) and fits((value // 10**6) * ppm):
        assert fixed.mul_ppm(Int64(value), Int64(ppm)) == exact


@given(st.integers(-LARGEST - 1, LARGEST), st.integers(-(10**6), 0))
def test_mul_ppm_floors_negative_ratios_downward(value: int, ppm: int) -> None:
    """The geometric ladder takes a negative ratio: floor means toward minus infinity there too."""
    assert fixed.mul_ppm(value, ppm) == floor(Fraction(value * ppm, 10**6))


@given(st.integers(-(10**18), 10**18), st.integers(1, 3_037_000_499), st.integers(0, 3_037_000_499))
def test_mul_div_is_exact_within_its_bound(value: int, divisor: int, factor: int) -> None:
    """The released part of a cost is exact wherever factor x divisor and the result fit."""
    exact = floor(Fraction(value * factor, divisor))
    assert fixed.mul_div(value, factor, divisor) == exact
    if fits((value // divisor) * factor):
        assert fixed.mul_div(Int64(value), Int64(factor), Int64(divisor)) == exact


def test_mul_div_overflows_just_beyond_its_bound() -> None:
    """The documented bound is the true one: the first product beyond 64 bits is refused by the 64-bit number."""
    divisor = 3_037_000_501
    assert divisor * (divisor - 1) > LARGEST > (divisor - 1) * (divisor - 2)
    assert fixed.mul_div(Int64(divisor - 2), Int64(divisor - 2), Int64(divisor - 1)) == divisor - 3
    with pytest.raises(OverflowError):
        fixed.mul_div(Int64(divisor - 1), Int64(divisor), Int64(divisor))


@given(st.integers(-(10**18), 10**18), st.integers(-(10**6), 10**7), st.sampled_from([10**6, 10**8]))
def test_half_up_rounds_halves_up(value: int, rate: int, scale: int) -> None:
    """Fees and funding round half up, negative ones too, and stay within 64 bits."""
    exact = floor(Fraction(value * rate, scale) + Fraction(1, 2))
    assert fixed.half_up(value, rate, scale) == exact == (2 * value * rate + scale) // (2 * scale)
    if fits((value // scale) * rate):
        assert fixed.half_up(Int64(value), Int64(rate), Int64(scale)) == exact


@pytest.mark.parametrize(
    ("value", "rate", "expected"), [(5, 10**5, 1), (15, 10**5, 2), (-5, 10**5, 0), (-15, 10**5, -1), (4, 10**5, 0)]
)
def test_half_up_at_the_half(value: int, rate: int, expected: int) -> None:
    """Exactly a half goes up: 0.5 -> 1, 1.5 -> 2, -0.5 -> 0, -1.5 -> -1."""
    assert fixed.half_up(value, rate, 10**6) == expected


@given(ANY, st.integers(1, LARGEST))
def test_ceil_div_rounds_up(value: int, divisor: int) -> None:
    """Prices of the SHORT ladder round up."""
    assert fixed.ceil_div(value, divisor) == ceil(Fraction(value, divisor))


@given(SMALL, st.integers(1, 9 * 10**15))
def test_ratio_ppm_is_exact_within_its_bound(part: int, whole: int) -> None:
    """The funding guard's factor is the floor of the exact ratio, for any two durations below 104 days."""
    part = min(part, whole)
    exact = floor(Fraction(part * 10**6, whole))
    assert fixed.ratio_ppm(Int64(part), Int64(whole)) == exact
