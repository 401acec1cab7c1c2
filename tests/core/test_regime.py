"""Regime indicators against TA-Lib, the order in which a regime is told, and the volatility estimate."""

from pathlib import Path

import numpy as np
import pytest
import talib
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hedgegrid.core import regime
from hedgegrid.core.codes import DOWN, SIDEWAYS, UP
from hedgegrid.core.records import GridParams, Indicators
from hedgegrid.units import PPM
from tests.core import made
from tests.core.made import Ohlc

Floats = NDArray[np.float64]
RELATIVE = 1e-10
LENGTHS = [(2, 3, 2, 1), (5, 13, 7, 9), (20, 60, 14, 14), (3, 100, 40, 2)]


def run(bars: list[Ohlc], settings: GridParams) -> list[dict[str, float]]:
    """The indicators after each bar."""
    ind = Indicators()
    seen = []
    for _, high, low, close in bars:
        regime.update(ind, settings, high, low, close)
        seen.append({name: getattr(ind, name) for name in ("fast", "slow", "atr", "adx", "variance")})
    return seen


def column(rows: list[dict[str, float]], name: str) -> Floats:
    """One indicator over time."""
    return np.array([row[name] for row in rows])


def agree(ours: Floats, theirs: Floats, first: int) -> None:
    """Undefined before ``first`` in TA-Lib, equal from there on."""
    assert np.isnan(theirs[:first]).all()
    assert not np.isnan(theirs[first:]).any()
    np.testing.assert_allclose(ours[first:], theirs[first:], rtol=RELATIVE, atol=0)


def compare(bars: list[Ohlc], lengths: tuple[int, int, int, int]) -> None:
    """All four indicators against TA-Lib."""
    fast, slow, adx_len, atr_len = lengths
    rows = run(bars, made.params(ema_fast=fast, ema_slow=slow, adx_len=adx_len, atr_len=atr_len))
    high, low, close = (np.array([bar[i] for bar in bars], np.float64) for i in (1, 2, 3))
    agree(column(rows, "fast"), talib.EMA(close, fast), fast - 1)
    agree(column(rows, "slow"), talib.EMA(close, slow), slow - 1)
    agree(column(rows, "atr"), talib.ATR(high, low, close, atr_len), atr_len)
    agree(column(rows, "adx"), talib.ADX(high, low, close, adx_len), 2 * adx_len - 1)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_indicators_equal_talib_on_real_bars(shared_dir: Path, lengths: tuple[int, int, int, int]) -> None:
    """EMA, ATR and ADX are TA-Lib's, their first defined bar included."""
    compare(made.real_bars(shared_dir, 3_000), lengths)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("seed", [1, 2])
def test_indicators_equal_talib_on_made_bars(lengths: tuple[int, int, int, int], seed: int) -> None:
    """The same on a market of jumps, trends and bars without a body."""
    compare(made.walk(seed, 700), lengths)


def test_adx_keeps_its_value_where_nothing_moves() -> None:
    """A market without any range gives no direction: the ADX stays as TA-Lib's does, and nothing divides by zero."""
    still = [(500, 500, 500, 500)] * 40
    compare(still, (2, 3, 2, 1))
    compare(still + made.walk(3, 60, start=500) + still, (2, 3, 5, 4))


@pytest.mark.parametrize("lengths", LENGTHS)
def test_cold_ends_with_the_last_indicator(lengths: tuple[int, int, int, int]) -> None:
    """The grid is cold until fast EMA, slow EMA, ATR and ADX are defined: indices n-1, n-1, n and 2n-1."""
    fast, slow, adx_len, atr_len = lengths
    settings = made.params(ema_fast=fast, ema_slow=slow, adx_len=adx_len, atr_len=atr_len)
    first = max(fast - 1, slow - 1, atr_len, 2 * adx_len - 1)
    ind = Indicators()
    for index, (_, high, low, close) in enumerate(made.walk(5, 120)):
        regime.update(ind, settings, high, low, close)
        assert regime.is_cold(ind, settings) == (index < first)


@pytest.mark.parametrize("alone", ["ema_fast", "ema_slow", "atr_len", "adx_len"])
def test_each_indicator_keeps_the_grid_cold(alone: str) -> None:
    """None of the four may be forgotten: one long length alone delays the first decision."""
    settings = made.params(**{"ema_fast": 2, "ema_slow": 2, "atr_len": 1, "adx_len": 2, alone: 20})
    last_cold = {"ema_fast": 18, "ema_slow": 18, "atr_len": 19, "adx_len": 38}[alone]
    ind = Indicators()
    for index, (_, high, low, close) in enumerate(made.walk(5, 60)):
        regime.update(ind, settings, high, low, close)
        assert regime.is_cold(ind, settings) == (index <= last_cold)


def classified(fast: float, adx: float, present: int) -> int:
    """The regime at a slow EMA of 10,000, a band of 5 bps and an ADX threshold of 25."""
    ind = Indicators(fast=fast, slow=10_000.0, adx=adx)
    return regime.classify(ind, made.params(hysteresis_bps=5.0, adx_threshold=25.0), present)


@pytest.mark.parametrize("present", [SIDEWAYS, UP, DOWN])
@pytest.mark.parametrize("adx", [0.0, 24.9, 25.0, 60.0])
@pytest.mark.parametrize("fast", [9_995.5, 10_000.0, 10_004.5])
def test_inside_the_band_the_regime_stays_even_at_a_low_adx(fast: float, adx: float, present: int) -> None:
    """Hysteresis is asked first: averages nearer than the band change nothing."""
    assert classified(fast, adx, present) == present


@pytest.mark.parametrize("present", [SIDEWAYS, UP, DOWN])
@pytest.mark.parametrize("fast", [9_995.0, 9_000.0, 10_005.0, 11_000.0])
def test_outside_the_band_a_low_adx_is_sideways(fast: float, present: int) -> None:
    """ADX is asked second; the band's edge itself is outside."""
    assert classified(fast, 24.999, present) == SIDEWAYS


@pytest.mark.parametrize("present", [SIDEWAYS, UP, DOWN])
def test_the_sign_decides_last(present: int) -> None:
    """At or above the threshold the sign of fast - slow is the trend."""
    assert classified(10_005.0, 25.0, present) == UP
    assert classified(9_995.0, 25.0, present) == DOWN


@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.9, 0.97, 0.999]))
def test_volatility_is_the_ewma_of_squared_returns(seed: int, lam: float) -> None:
    """The variance is lambda x var + (1 - lambda) x r^2 of simple returns, seeded with the first r^2."""
    bars = made.walk(seed, 60)
    closes = np.array([bar[3] for bar in bars], np.float64)
    expected = [0.0]
    for change in closes[1:] / closes[:-1] - 1.0:
        expected.append(change**2 if len(expected) == 1 else lam * expected[-1] + (1.0 - lam) * change**2)
    ours = column(run(bars, made.params(vol_lambda=lam)), "variance")
    np.testing.assert_allclose(ours, expected, rtol=RELATIVE)


@pytest.mark.parametrize("target_ppm", [0, 1, 400_000, 800_000, 2_000_000])
def test_the_volatility_factor_only_shrinks(target_ppm: int) -> None:
    """floor(1e6 x target / vol) where volatility is over its target, else 1; a target of 0 means off."""
    ind = Indicators(variance=0.64 / 525_600)
    settings = made.params(vol_target_ppm=target_ppm, bars_per_year=525_600.0)
    expected = PPM if target_ppm in (0, 2_000_000) else min(PPM, target_ppm * PPM // 800_000)
    assert abs(regime.volatility_factor_ppm(ind, settings) - expected) <= 1
    assert regime.volatility_factor_ppm(Indicators(), settings) == PPM
