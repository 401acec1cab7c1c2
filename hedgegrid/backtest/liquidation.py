"""How near the account came to its liquidation.

Of an instrument, at a decision: the mark x at which the account's equity would fall under its maintenance margin if
this instrument moved alone,

    equity + (x - mark) (long - short) unit  <  others' maintenance + ratio(gross(x)) gross(x),
    gross(x) = x (long + short) unit,

with the ratio of the tier that gross(x) falls into. Both directions are solved, since a hedged or a short account can
die of a rise; the nearer one counts.

Invariants: a distance is |x - mark| / mark, a ratio, at least 0; NaN where no positive mark is deadly. Floats: this
is a measure, never a decision.
"""

from typing import Final

import attrs
import numpy as np

from hedgegrid.backtest.exact import take
from hedgegrid.backtest.result import BacktestResult, Rows
from hedgegrid.core.codes import LIQUIDATION
from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.units import PPM
from hedgegrid.venues.simulated.arrays import FloatArray

_CHUNK: Final = 65_536
"""Decisions that are solved at a time: what they need stays in the processor's cache."""


@attrs.frozen(kw_only=True)
class Nearest:
    """The nearest approach: distance as a ratio of the mark, when, in which instrument, and the deadly mark."""

    distance: float
    ts_ns: int
    instrument: int
    mark_ticks: int
    deadly_ticks: float


def liquidation_marks(result: BacktestResult, index: int) -> FloatArray:
    """Give, by decision, the nearest mark in ticks at which an instrument alone liquidates the account, or NaN."""
    marks = np.full(len(result.equity), np.nan)
    for begin in range(0, len(result.equity), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        held = result.holdings["long_lots"][part, index] + result.holdings["short_lots"][part, index]
        rows = begin + np.flatnonzero(held)
        if len(rows):
            marks[rows] = _solve(result, index, take(result.equity, rows), take(result.holdings, rows))
    return marks


def liquidation_distance(result: BacktestResult, index: int) -> FloatArray:
    """Give, by decision, how far an instrument's mark is from liquidating the account, as a ratio of it, or NaN."""
    mark = result.holdings["mark_ticks"][:, index]
    distance: FloatArray = np.abs(liquidation_marks(result, index) - mark) / np.maximum(mark, 1)
    return distance


def nearest_by_instrument(result: BacktestResult) -> tuple[Nearest | None, ...]:
    """Give each instrument's nearest approach over all decisions; None where it alone could not have been deadly."""
    return tuple(_nearest(result, index) for index in range(len(result.instruments)))


def _nearest(result: BacktestResult, index: int) -> Nearest | None:
    marks = liquidation_marks(result, index)
    now = result.holdings["mark_ticks"][:, index]
    distance = np.abs(marks - now) / np.maximum(now, 1)
    if np.isnan(distance).all():
        return None
    row = int(np.nanargmin(distance))
    return Nearest(
        distance=float(distance[row]),
        ts_ns=int(result.equity["ts_ns"][row]),
        instrument=index,
        mark_ticks=int(now[row]),
        deadly_ticks=float(marks[row]),
    )


def nearest(result: BacktestResult, by_instrument: tuple[Nearest | None, ...]) -> Nearest | None:
    """Give the account's nearest approach; None where none could have been deadly.

    A liquidation is a distance of 0, in the instrument of its largest loss.
    """
    dying = result.fills[result.fills["purpose"] == LIQUIDATION]
    if len(dying):
        row = dying[np.argmin(dying["realised_e8"])]
        price = int(row["price_ticks"])
        return Nearest(
            distance=0.0,
            ts_ns=int(row["ts_ns"]),
            instrument=int(row["instrument"]),
            mark_ticks=price,
            deadly_ticks=float(price),
        )
    found = [one for one in by_instrument if one is not None]
    return min(found, key=lambda one: one.distance, default=None)


def _gross(holdings: Rows, instrument: Instrument, index: int) -> tuple[FloatArray, FloatArray]:
    """Give what a tick of the mark moves: quote x 1e8 on long plus short, and on long less short."""
    long, short = holdings["long_lots"][:, index], holdings["short_lots"][:, index]
    unit = float(instrument.unit_e8)
    return (long + short) * unit, (long - short) * unit


def _ratios(tiers: tuple[Tier, ...], gross: FloatArray) -> FloatArray:
    """Give the maintenance ratio of each gross notional; beyond the last tier its ratio goes on."""
    tops = np.array([float(tier.max_notional_e8) for tier in tiers])
    ratios = np.array([tier.maintenance_ppm / PPM for tier in tiers])
    return ratios[np.minimum(np.searchsorted(tops, gross), len(tiers) - 1)]


def _solve(result: BacktestResult, index: int, equity: Rows, holdings: Rows) -> FloatArray:
    """Solve some decisions: both directions, tier by tier; give the nearer mark, or NaN."""
    spare = (equity["wallet_e8"] + equity["unrealised_e8"]).astype(np.float64)
    for other, instrument in enumerate(result.instruments):
        if other != index:
            gross = _gross(holdings, instrument, other)[0] * holdings["mark_ticks"][:, other]
            spare -= _ratios(instrument.tiers, gross) * gross
    instrument = result.instruments[index]
    per_tick, net = _gross(holdings, instrument, index)
    mark = holdings["mark_ticks"][:, index].astype(np.float64)
    below, above = np.full(len(mark), -np.inf), np.full(len(mark), np.inf)
    floor, rest = np.zeros(len(mark)), spare - mark * net
    for number, tier in enumerate(instrument.tiers):
        is_last = number == len(instrument.tiers) - 1
        top = np.full(len(mark), np.inf) if is_last else tier.max_notional_e8 / per_tick
        slope = net - tier.maintenance_ppm / PPM * per_tick
        root = _root(rest, slope)
        # Most tiers are deadly to nobody; the few decisions that one may kill are looked at closer.
        some = np.flatnonzero(np.where(slope > 0, root > floor, root < top))
        if len(some):
            line, cross, now = slope[some], root[some], mark[some]
            low = _deadly_below(np.minimum(top[some], now), floor[some], line, cross)
            high = _deadly_above(np.maximum(floor[some], now), top[some], line, cross)
            below[some], above[some] = np.maximum(below[some], low), np.minimum(above[some], high)
        floor = top
    marks = np.where(mark - below <= above - mark, below, above)
    return np.where(np.isfinite(marks) & (marks > 0), marks, np.nan)


def _root(constant: FloatArray, slope: FloatArray) -> FloatArray:
    """Give where constant + slope x crosses 0; without a slope, the end of the line on which it is negative."""
    flat = slope == 0
    root: FloatArray = -constant / np.where(flat, 1.0, slope)
    # A flat line is deadly everywhere or nowhere: as if it fell from minus infinity, or from plus infinity.
    return np.where(flat, np.where(constant < 0, -np.inf, np.inf), root)


def _deadly_below(high: FloatArray, low: FloatArray, slope: FloatArray, root: FloatArray) -> FloatArray:
    """Give the highest mark in (low, high] with a negative margin, or -inf. What rises is negative under its root."""
    found = np.where(slope > 0, np.minimum(root, high), np.where(root < high, high, -np.inf))
    return np.where(found > low, found, -np.inf)


def _deadly_above(low: FloatArray, high: FloatArray, slope: FloatArray, root: FloatArray) -> FloatArray:
    """Give the lowest mark in [low, high] with a negative margin, or inf."""
    found = np.where(slope > 0, np.where(root > low, low, np.inf), np.maximum(root, low))
    return np.where(found < high, found, np.inf)
