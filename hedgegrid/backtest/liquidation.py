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
from hedgegrid.venues.simulated.arrays import FloatArray, IntArray

_CHUNK: Final = 65_536
"""Decisions that are solved at a time: what they need stays in the processor's cache."""
_LIKELIEST: Final = 256
"""Decisions that are solved to know how near the others would have to be."""
_ROUNDING: Final = 1e-9
"""More than what floats round off a distance."""


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
    return np.concatenate([_solved(result, index, rows)[0] for rows in _all(result)])


def liquidation_distance(result: BacktestResult, index: int) -> FloatArray:
    """Give, by decision, how far an instrument's mark is from liquidating the account, as a ratio of it, or NaN."""
    return np.concatenate([_solved(result, index, rows)[1] for rows in _all(result)])


def nearest_by_instrument(result: BacktestResult) -> tuple[Nearest | None, ...]:
    """Give each instrument's nearest approach over all decisions; None where it alone could not have been deadly."""
    return tuple(_nearest(result, index) for index in range(len(result.instruments)))


def _nearest(result: BacktestResult, index: int) -> Nearest | None:
    """Solve only the decisions that could be nearest, by what no distance is under: first the likeliest of them."""
    least = np.concatenate([_at_least(result, index, part) for part in _parts(len(result.equity))])
    likeliest = np.argpartition(least, _LIKELIEST)[:_LIKELIEST] if len(least) > _LIKELIEST else np.arange(len(least))
    _, found = _solved(result, index, likeliest)
    rows = np.flatnonzero(np.isfinite(least) & (least <= np.nanmin(found, initial=np.inf) * (1 + _ROUNDING)))
    marks, distance = _solved(result, index, rows)
    if np.isnan(distance).all():
        return None
    place = int(np.nanargmin(distance))
    row = rows[place]
    return Nearest(
        distance=float(distance[place]),
        ts_ns=int(result.equity["ts_ns"][row]),
        instrument=index,
        mark_ticks=int(result.holdings["mark_ticks"][row, index]),
        deadly_ticks=float(marks[place]),
    )


def _all(result: BacktestResult) -> list[IntArray]:
    """Give the numbers of all decisions, some at a time."""
    rows = np.arange(len(result.equity))
    return [rows[part] for part in _parts(len(rows))]


def _parts(rows: int) -> list[slice]:
    return [slice(begin, begin + _CHUNK) for begin in range(0, rows, _CHUNK)] or [slice(0, 0)]


def _solved(result: BacktestResult, index: int, rows: IntArray) -> tuple[FloatArray, FloatArray]:
    """Give the nearest deadly marks of some decisions, and how far they are, NaN where there is none."""
    marks = np.full(len(rows), np.nan)
    held = result.holdings["long_lots"][rows, index] + result.holdings["short_lots"][rows, index]
    some = np.flatnonzero(held)
    for part in _parts(len(some)):
        at = some[part]
        marks[at] = _solve(result, index, take(result.equity, rows[at]), take(result.holdings, rows[at]))
    now = result.holdings["mark_ticks"][rows, index]
    return marks, np.abs(marks - now) / np.maximum(now, 1)


def _at_least(result: BacktestResult, index: int, part: slice) -> FloatArray:
    """Give, by decision, a distance under which no mark is deadly: as if the heaviest tier were everybody's.

    With R its ratio, a mark that is deadly at a distance d needs (equity - R gross) <= d mark |net - R gross| per tick,
    falling where the net is the larger of both and rising where it is not; a fall ends at 0. Inf: no mark is deadly.
    """
    equity, holdings = result.equity[part], result.holdings[part]
    spare = (equity["wallet_e8"] + equity["unrealised_e8"]).astype(np.float64)
    for other, instrument in enumerate(result.instruments):
        if other != index:
            gross = _gross(holdings, instrument, other)[0] * holdings["mark_ticks"][:, other]
            spare -= max(tier.maintenance_ppm for tier in instrument.tiers) / PPM * gross
    instrument = result.instruments[index]
    per_tick, net = _gross(holdings, instrument, index)
    heavy = max(tier.maintenance_ppm for tier in instrument.tiers) / PPM * per_tick
    mark = holdings["mark_ticks"][:, index].astype(np.float64)
    room, loss = np.maximum(spare - heavy * mark, 0), np.abs(net - heavy) * mark
    least = np.full(len(mark), np.inf)
    np.divide(room, loss, out=least, where=(loss > 0) & (per_tick > 0))
    least[(room == 0) & (per_tick > 0)] = 0
    least[(net > heavy) & (least > 1 + _ROUNDING)] = np.inf
    return least


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
