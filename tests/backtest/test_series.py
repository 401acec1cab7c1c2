"""Sharpe, Sortino, Calmar and drawdown: another library's answers to the same series, and what has no answer."""

import math
from collections.abc import Callable
from random import Random

import empyrical  # type: ignore[import-untyped]
import numpy as np
import pytest

from hedgegrid.backtest import series
from hedgegrid.backtest.measure import measure
from hedgegrid.venues.simulated.arrays import FloatArray
from tests.backtest.made_result import TAKERS_PPM, made_result

OTHERS: dict[str, tuple[Callable[[FloatArray], float | None], Callable[[FloatArray], float]]] = {
    "sharpe": (series.sharpe, lambda r: empyrical.sharpe_ratio(r, annualization=365)),
    "sortino": (series.sortino, lambda r: empyrical.sortino_ratio(r, annualization=365)),
    "calmar": (series.calmar_of, lambda r: empyrical.calmar_ratio(r, annualization=365)),
    "max_drawdown": (series.max_drawdown, lambda r: -empyrical.max_drawdown(r)),
}


def walk(seed: int, days: int, drift: float, deviation: float) -> FloatArray:
    """A seeded series of equity, the begin included."""
    dice = Random(seed)
    values = [10_000.0]
    for _ in range(days):
        values.append(values[-1] * (1 + dice.gauss(drift, deviation)))
    return np.array(values)


def cases() -> list[FloatArray]:
    """Rising, falling, wild and short series, and the days of a made backtest."""
    made = measure(made_result(bars=700), takers_ppm=TAKERS_PPM).daily.equity_e8.astype(np.float64)
    shapes = ((3, 0.001, 0.01), (40, 0.003, 0.02), (365, -0.002, 0.03), (2_000, 0.0005, 0.05))
    return [made, *(walk(seed, *shape) for seed, shape in enumerate(shapes))]


@pytest.mark.parametrize("name", OTHERS)
def test_another_library_says_the_same(name: str) -> None:
    """People compare these figures across programs: a factor or a degree of freedom that differs misleads them."""
    ours, theirs = OTHERS[name]
    for values in cases():
        changes = values[1:] / values[:-1] - 1
        assert ours(values) == pytest.approx(theirs(changes), rel=1e-9, abs=0)


def test_by_hand() -> None:
    """Two days, +10 % and -5 %: the figures on paper."""
    values = np.array([100.0, 110.0, 104.5])
    assert series.sharpe(values) == pytest.approx(0.025 / (0.15 / math.sqrt(2)) * math.sqrt(365), rel=1e-12)
    assert series.sortino(values) == pytest.approx(0.025 / math.sqrt(0.05**2 / 2) * math.sqrt(365), rel=1e-12)
    assert series.max_drawdown(values) == pytest.approx(0.05, rel=1e-12)
    assert series.calmar_of(values) == pytest.approx((1.045 ** (365 / 2) - 1) / 0.05, rel=1e-12)
    assert series.annual_return(100, 121, 730) == pytest.approx(0.1, rel=1e-12)


def test_scale_says_nothing() -> None:
    """Ratios of a run do not depend on the currency's unit."""
    values = walk(9, 100, 0.001, 0.02)
    for ours, _ in OTHERS.values():
        assert ours(values * 1e8) == pytest.approx(ours(values), rel=1e-9)


@pytest.mark.parametrize(
    "values", [[], [100.0], [100.0, 101.0], [100.0, 100.0, 100.0], [100.0, 101.0, 102.01], [100.0, -5.0, 3.0]]
)
def test_what_cannot_be_said_is_absent(values: list[float]) -> None:
    """A ratio over nothing is None: neither 0, which is a judgement, nor infinite, which no file can hold."""
    assert series.sharpe(np.array(values)) is None


def test_absent_calmar_sortino_and_annual_return() -> None:
    """No fall, no loss, no day, no equity, or more growth than a float holds: no figure."""
    rising = np.array([100.0, 101.0, 103.0])
    assert series.calmar_of(rising) is None
    assert series.sortino(rising) is None
    assert series.annual_return(100, 101, 0.99) is None
    assert series.annual_return(100, 0, 10) is None
    assert series.annual_return(100, -1, 10) is None
    assert series.annual_return(1, 1_000, 1) is None
    assert series.max_drawdown(np.array([0.0, 1.0])) is None
    assert series.calmar_of(np.array([])) is None
