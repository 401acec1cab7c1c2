"""Figures of a series of daily equity: pure functions, so that another library can be asked the same.

Invariants: ``values`` are equity at successive day ends, the first one being where the run began, one day apart; what
cannot be said (too few days, no deviation, equity at or under zero on the way) is None.
"""

import math
from typing import Final

import numpy as np

from hedgegrid.venues.simulated.arrays import FloatArray

DAYS_PER_YEAR: Final = 365
"""Markets that never close: every day counts."""


def returns(values: FloatArray) -> FloatArray | None:
    """Give v[i] / v[i-1] - 1; None where a value that is divided by is not positive, or there is no pair."""
    if len(values) < 2 or not (values[:-1] > 0).all():  # noqa: PLR2004 a return takes a pair
        return None
    changes: FloatArray = values[1:] / values[:-1] - 1
    return changes


def sharpe(values: FloatArray) -> float | None:
    """Give mean(r) / std(r, one degree of freedom less) x sqrt(365) of the daily returns r; risk-free rate 0."""
    changes = returns(values)
    if changes is None or len(changes) < 2:  # noqa: PLR2004 a deviation takes a pair
        return None
    deviation = float(changes.std(ddof=1))
    # What is left of rounding where all returns are the same is not a deviation.
    if deviation <= 1e-15 * float(np.abs(changes).max()):
        return None
    return float(changes.mean()) / deviation * math.sqrt(DAYS_PER_YEAR)


def sortino(values: FloatArray) -> float | None:
    """Give mean(r) / sqrt(mean(min(r, 0)^2)) x sqrt(365) of the daily returns r; required return 0."""
    changes = returns(values)
    if changes is None:
        return None
    downside = math.sqrt(float((np.minimum(changes, 0.0) ** 2).mean()))
    return float(changes.mean()) / downside * math.sqrt(DAYS_PER_YEAR) if downside else None


def annual_return(first: float, last: float, days: float) -> float | None:
    """Give (last / first)^(365 / days) - 1; None for less than a day, and where equity did not stay above zero."""
    if days < 1 or first <= 0 or last <= 0:
        return None
    try:
        return math.pow(last / first, DAYS_PER_YEAR / days) - 1
    except OverflowError:
        return None


def max_drawdown(values: FloatArray) -> float | None:
    """Give the largest (peak - value) / peak over the highest value so far, as a positive ratio; None without one."""
    if len(values) == 0 or values[0] <= 0:
        return None
    peaks = np.maximum.accumulate(values)
    return float(((peaks - values) / peaks).max())


def calmar(yearly: float | None, drawdown: float | None) -> float | None:
    """Give annual return / max drawdown; None where either is absent or the drawdown is 0."""
    return yearly / drawdown if yearly is not None and drawdown else None


def calmar_of(values: FloatArray) -> float | None:
    """Give the Calmar ratio of the series alone: its own annual return over its own drawdown."""
    if len(values) == 0:
        return None
    return calmar(annual_return(float(values[0]), float(values[-1]), len(values) - 1), max_drawdown(values))
