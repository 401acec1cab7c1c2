"""The market's regime from running indicators: EMA seeded by an SMA, ATR and ADX by Wilder, EWMA volatility.

Invariants: an indicator is fed every closed bar once, in order; before all of fast EMA, slow EMA, ATR and ADX are
defined (first at bar index n-1, n-1, n and 2n-1) the grid is cold. The values equal TA-Lib's (Wilder, "New Concepts
in Technical Trading Systems", 1978) to 1e-10 relative.
"""

import math

from hedgegrid.core.codes import DOWN, SIDEWAYS, UP
from hedgegrid.core.records import GridParams, Indicators
from hedgegrid.units import PPM


def _ema(seen: int, length: int, total: float, value: float, close: float) -> float:
    """Give the EMA after bar number ``seen`` (from 1); ``total`` is the sum of the first ``length`` closes."""
    if seen < length:
        return 0.0
    if seen == length:
        return total / length
    return value + (close - value) * (2.0 / (length + 1))


def _true_range(ind: Indicators, high: float, low: float) -> float:
    """Give the true range of a bar against the previous close."""
    reach = high - low
    up = abs(high - ind.close)
    down = abs(low - ind.close)
    reach = max(reach, up)
    return max(reach, down)


def _update_atr(ind: Indicators, length: int, true_range: float) -> None:
    """Feed Wilder's ATR; ``ind.bars`` already counts this bar."""
    ranges = ind.bars - 1
    if ranges <= length:
        ind.tr_sum += true_range
        if ranges == length:
            ind.atr = ind.tr_sum / length
    else:
        ind.atr = (ind.atr * (length - 1) + true_range) / length


def _update_adx(ind: Indicators, length: int, high: float, low: float, true_range: float) -> None:
    """Feed Wilder's ADX; ``ind.bars`` already counts this bar."""
    up = high - ind.high
    down = ind.low - low
    plus = up if up > 0.0 and up > down else 0.0
    minus = down if down > 0.0 and up < down else 0.0
    moves = ind.bars - 1
    if moves < length:
        ind.plus_dm += plus
        ind.minus_dm += minus
        ind.dm_tr += true_range
        return
    ind.plus_dm = ind.plus_dm - ind.plus_dm / length + plus
    ind.minus_dm = ind.minus_dm - ind.minus_dm / length + minus
    ind.dm_tr = ind.dm_tr - ind.dm_tr / length + true_range
    total = ind.plus_dm + ind.minus_dm
    known = ind.dm_tr > 0.0 and total > 0.0
    # The two directional indicators share their divisor, so it cancels out of the index.
    dx = 100.0 * (abs(ind.minus_dm - ind.plus_dm) / total) if known else 0.0
    if moves < 2 * length:
        ind.dx_sum += dx
        if moves == 2 * length - 1:
            ind.adx = ind.dx_sum / length
    elif known:
        ind.adx = (ind.adx * (length - 1) + dx) / length


def update(ind: Indicators, params: GridParams, high_ticks: int, low_ticks: int, close_ticks: int) -> None:
    """Feed one closed bar, prices in ticks."""
    high = float(high_ticks)
    low = float(low_ticks)
    close = float(close_ticks)
    ind.bars += 1
    if ind.bars <= params.ema_fast:
        ind.fast_sum += close
    if ind.bars <= params.ema_slow:
        ind.slow_sum += close
    ind.fast = _ema(ind.bars, params.ema_fast, ind.fast_sum, ind.fast, close)
    ind.slow = _ema(ind.bars, params.ema_slow, ind.slow_sum, ind.slow, close)
    if ind.bars > 1:
        true_range = _true_range(ind, high, low)
        _update_atr(ind, params.atr_len, true_range)
        _update_adx(ind, params.adx_len, high, low, true_range)
        change = close / ind.close - 1.0
        if ind.bars == 2:  # noqa: PLR2004 - the second bar gives the first return
            ind.variance = change * change
        else:
            ind.variance = params.vol_lambda * ind.variance + (1.0 - params.vol_lambda) * change * change
    ind.high = high
    ind.low = low
    ind.close = close


def is_cold(ind: Indicators, params: GridParams) -> bool:
    """Tell whether any of fast EMA, slow EMA, ATR and ADX is still undefined."""
    return (
        ind.bars < params.ema_fast
        or ind.bars < params.ema_slow
        or ind.bars <= params.atr_len
        or ind.bars < 2 * params.adx_len
    )


def classify(ind: Indicators, params: GridParams, present: int) -> int:
    """Give the regime: in the hysteresis band it stays; a low ADX is SIDEWAYS; else the sign of fast - slow."""
    gap_bps = abs(ind.fast - ind.slow) / ind.slow * 1e4
    if gap_bps < params.hysteresis_bps:
        return present
    if ind.adx < params.adx_threshold:
        return SIDEWAYS
    return UP if ind.fast > ind.slow else DOWN


def volatility_factor_ppm(ind: Indicators, params: GridParams) -> int:
    """Give the factor on quantities that brings annualised volatility down to its target, at most 1e6."""
    if params.vol_target_ppm == 0:
        return PPM
    vol_ppm = math.sqrt(ind.variance * params.bars_per_year) * 1e6
    if vol_ppm <= params.vol_target_ppm:
        return PPM
    return int(1e6 * params.vol_target_ppm / vol_ppm)
