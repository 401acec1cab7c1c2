"""One block of a synthetic market: a path of log prices and volatilities between given ends.

Invariants: a block is a function of its settings, its random stream and its ends alone, so any block can be made
without the others; it starts and ends exactly at its ends. The arithmetic is + - * / and sqrt in a fixed order
(cumulative sums and products, never pairwise ones), because exp, log and powers differ in the last bit between
machines.

Sources: regimes are trends (a drift on top of the noise) or an Ornstein-Uhlenbeck pull to the level where the regime
began; the volatility's logarithm is a first-order autoregression, tied to its end as a bridge; jumps come with a
fixed probability a bar.
"""

from math import sqrt

import attrs
import numpy as np
from attrs.validators import ge, gt, le

from hedgegrid.venues.simulated.arrays import FloatArray

BLOCK_BARS = 1024
SUBSTEPS = 6
MINUTES_PER_DAY = 1_440
DAYS_PER_YEAR = 365
_BPS = 1e-4
_HALF = 0.5
_SIDEWAYS_SHARE = 0.5
_TREND_MIN = 1.0
_TREND_SPREAD = 1.5
_PULLS_PER_REGIME = 12
_REGIME_BARS_MIN = 8
# A regime is at least half the mean less one sub-step, so this many always fill a block.
_REGIMES_PER_MEAN = 2.2
_REGIMES_SPARE = 2
VOL_OF_LOG_VOL = 0.5
_OPEN_SHARE = 0.15
_EXP_HALVINGS = 8
_EXP_TERMS = 7


@attrs.frozen(kw_only=True)
class SyntheticSettings:
    """The temper of a synthetic market.

    ``annual_volatility`` is that of the bars' returns, as a ratio (0.6 = 60 % a year); ``jumps_per_day`` and
    ``jump_bps`` the number and the mean size of jumps; ``regime_minutes`` the mean length of a trend or a sideways
    stretch, never under 8 bars; the end of a block of 1,024 bars ends a regime too.
    """

    annual_volatility: float = attrs.field(default=0.6, validator=[gt(0), le(20)])
    jumps_per_day: float = attrs.field(default=2.0, validator=[ge(0), le(10_000)])
    jump_bps: float = attrs.field(default=40.0, validator=[ge(0), le(2_000)])
    regime_minutes: float = attrs.field(default=45.0, validator=[gt(0), le(1_000_000)])


@attrs.frozen(kw_only=True)
class Scale:
    """What the settings mean for one bar: its volatility, its jump probability, and bars per regime."""

    bar_volatility: float
    jump_probability: float
    jump_size: float
    regime_bars: float

    @classmethod
    def of(cls, settings: SyntheticSettings, bars_per_day: float) -> "Scale":
        """Scale the settings to a timeframe of ``bars_per_day``."""
        bars_per_minute = bars_per_day / MINUTES_PER_DAY
        return cls(
            bar_volatility=settings.annual_volatility / sqrt(DAYS_PER_YEAR * bars_per_day),
            jump_probability=min(settings.jumps_per_day / bars_per_day, _HALF),
            jump_size=settings.jump_bps * _BPS,
            regime_bars=max(settings.regime_minutes * bars_per_minute, _REGIME_BARS_MIN),
        )


@attrs.frozen(kw_only=True, eq=False)
class LogBars:
    """The bars of a block as logarithms relative to the market's start, and the multiple of the usual volatility."""

    opened: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volatility: FloatArray


def exp(values: FloatArray) -> FloatArray:
    """Give e to the power of values of modest size (|x| < 20), bit-equal on every machine."""
    small = values / 2**_EXP_HALVINGS
    result: FloatArray = np.ones_like(small)
    for term in range(_EXP_TERMS, 0, -1):
        result = 1.0 + small * result / term
    for _ in range(_EXP_HALVINGS):
        result = result * result
    return result


def block_bars(
    stream: np.random.Generator, scale: Scale, ends: tuple[float, float], vol_ends: tuple[float, float]
) -> LogBars:
    """Make the bars of a block whose log price runs between ``ends`` and its log volatility between ``vol_ends``."""
    volatility = _volatility(stream, scale, vol_ends)
    count = BLOCK_BARS * SUBSTEPS
    sub_volatility = np.repeat(volatility, SUBSTEPS) * (scale.bar_volatility / sqrt(SUBSTEPS))
    noise = stream.standard_normal(count) * sub_volatility
    jumps = _jumps(stream, scale)
    walk = _regimes(stream, scale, noise) + np.cumsum(jumps)
    slope = (ends[1] - ends[0] - walk[-1]) / count
    path = ends[0] + walk + slope * np.arange(1, count + 1)
    bars = path.reshape(BLOCK_BARS, SUBSTEPS)
    before = np.append(ends[0], bars[:-1, -1])
    gap = jumps.reshape(BLOCK_BARS, SUBSTEPS)[:, 0]
    opened = before + gap + _OPEN_SHARE * (bars[:, 0] - before - gap)
    return LogBars(
        opened=opened,
        high=np.maximum(opened, bars.max(axis=1)),
        low=np.minimum(opened, bars.min(axis=1)),
        close=bars[:, -1],
        volatility=volatility,
    )


def _volatility(stream: np.random.Generator, scale: Scale, ends: tuple[float, float]) -> FloatArray:
    """Give each bar's multiple of the usual volatility; its square is one on average."""
    keep = 1.0 - 2.0 / scale.regime_bars
    shock = VOL_OF_LOG_VOL * sqrt(1.0 - keep * keep)
    powers = np.cumprod(np.full(BLOCK_BARS, keep))
    walk = _pulled(shock * stream.standard_normal(BLOCK_BARS), powers) + ends[0] * powers
    bridge = np.append(powers[-2::-1], 1.0) * (ends[1] - walk[-1])
    return exp(walk + bridge - VOL_OF_LOG_VOL * VOL_OF_LOG_VOL)


def _pulled(shocks: FloatArray, powers: FloatArray) -> FloatArray:
    """Give the autoregression x(j) = k x(j-1) + shock(j) from zero, where ``powers`` are k, k^2, ..."""
    return powers * np.cumsum(shocks / powers)


def _jumps(stream: np.random.Generator, scale: Scale) -> FloatArray:
    """Give the jump at each sub-step, mostly zero: half to one and a half times the mean size, either way."""
    chance, size, side, place = stream.random((4, BLOCK_BARS))
    jump = np.where(side < _HALF, -1.0, 1.0) * (_HALF + size) * scale.jump_size
    jumps = np.zeros((BLOCK_BARS, SUBSTEPS))
    rows = np.arange(BLOCK_BARS)
    jumps[rows, (place * SUBSTEPS).astype(np.int64)] = np.where(chance < scale.jump_probability, jump, 0.0)
    return jumps.reshape(-1)


def _regimes(stream: np.random.Generator, scale: Scale, noise: FloatArray) -> FloatArray:
    """Turn noise into a walk from zero through regimes of random kind and length."""
    mean = scale.regime_bars * SUBSTEPS
    draws = stream.random((_REGIMES_SPARE + int(_REGIMES_PER_MEAN * len(noise) / mean), 3))
    walk = np.empty_like(noise)
    start, level = 0, 0.0
    for kind, length, strength in draws.tolist():
        stop = min(start + int((_HALF + length) * mean), len(noise))
        part = noise[start:stop]
        if kind < _SIDEWAYS_SHARE:
            keep = 1.0 - _PULLS_PER_REGIME / mean
            walk[start:stop] = level + _pulled(part, np.cumprod(np.full(len(part), keep)))
        else:
            side = 1.0 if kind < (1.0 + _SIDEWAYS_SHARE) / 2 else -1.0
            spread = scale.bar_volatility * (_TREND_MIN + _TREND_SPREAD * strength)
            drift = side * spread / sqrt(mean * SUBSTEPS)
            walk[start:stop] = level + np.cumsum(part + drift)
        start = stop
        if start == len(noise):
            break
        level = float(walk[start - 1])
    return walk
