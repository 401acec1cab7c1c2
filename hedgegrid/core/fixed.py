"""Exact integer arithmetic that cannot overflow 64 bits where a plain product would.

Every function splits its first operand by the divisor, so that the largest intermediate value is a result or divisor
x factor. Floor means toward minus infinity, in both executions.
"""

from hedgegrid.units import PPM


def mul_ppm(value: int, ppm: int) -> int:
    """Give floor(value x ppm / 1e6)."""
    if ppm == PPM:
        return value
    return (value // PPM) * ppm + ((value % PPM) * ppm) // PPM


def mul_ppm_up(value: int, ppm: int) -> int:
    """Give value x ppm / 1e6 rounded up."""
    return -mul_ppm(-value, ppm)


def mul_div(value: int, factor: int, divisor: int) -> int:
    """Give floor(value x factor / divisor); divisor > 0 and factor x divisor within 64 bits."""
    return (value // divisor) * factor + ((value % divisor) * factor) // divisor


def half_up(value: int, rate: int, scale: int) -> int:
    """Give value x rate / scale rounded half up: floor((2 x value x rate + scale) / (2 x scale))."""
    return (value // scale) * rate + (2 * (value % scale) * rate + scale) // (2 * scale)


def ceil_div(value: int, divisor: int) -> int:
    """Give value / divisor rounded up."""
    return -((-value) // divisor)


def ratio_ppm(part: int, whole: int) -> int:
    """Give floor(part x 1e6 / whole) for 0 <= part, both below 9e15."""
    thousands = (part * 1000) // whole
    rest = (part * 1000) % whole
    return thousands * 1000 + (rest * 1000) // whole
