"""Columns of floats from files, as whole ticks, lots and rates: the vector twins of ``hedgegrid.units``.

Invariant: a figure that was written as a decimal of at most 15 digits gives the same integer as its Decimal does. A
float lies up to half a unit in the last place beside the decimal it was read from, and the scaling adds as much
again; so a result within a few such units under a tie, or under a whole number, counts as lying on it.
"""

from decimal import Decimal

import numpy as np

from hedgegrid.units import CASH_SCALE
from hedgegrid.venues.simulated.arrays import FloatArray, IntArray

_SLACK = 1 + 4 * float(np.finfo(np.float64).eps)


def in_units(values: FloatArray, unit: Decimal) -> FloatArray:
    """Give non-negative values as multiples of ``unit``, not yet rounded and nudged up by the slack."""
    numerator, denominator = unit.as_integer_ratio()
    return values * denominator / numerator * _SLACK


def nearest(multiples: FloatArray) -> IntArray:
    """Round multiples from ``in_units`` to the nearest, half up."""
    return np.floor(multiples + 0.5).astype(np.int64)


def floored(multiples: FloatArray) -> IntArray:
    """Round multiples from ``in_units`` down."""
    return np.floor(multiples).astype(np.int64)


def rates_e8(rates: FloatArray) -> IntArray:
    """Give funding rates x 1e8, rounded to the nearest, half away from zero."""
    multiples = in_units(np.abs(rates), 1 / Decimal(CASH_SCALE))
    return nearest(multiples) * np.sign(rates).astype(np.int64)
