"""What was held over the run, and what holding the instruments alone would have made.

Invariants: exposure is at the marks of the decisions, each leg for itself (never offset); means are over all decisions,
those without a position included.
"""

import attrs
import numpy as np

from hedgegrid.backtest.exact import greatest, mean
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.venues.simulated.arrays import FloatArray, IntArray


@attrs.frozen(kw_only=True)
class Exposure:
    """Notional of each leg over the decisions, in quote x 1e8; ``time_in_market`` is the share with a position."""

    long_mean_e8: int
    long_max_e8: int
    short_mean_e8: int
    short_max_e8: int
    time_in_market: float | None


def leg_notionals(result: BacktestResult, indices: tuple[int, ...]) -> tuple[IntArray, IntArray]:
    """Give LONG and SHORT notional at the mark by decision, summed over some instruments, in quote x 1e8."""
    long, short = np.zeros(len(result.holdings), np.int64), np.zeros(len(result.holdings), np.int64)
    for index in indices:
        held = result.holdings[:, index]
        worth = held["mark_ticks"] * result.instruments[index].unit_e8
        long += held["long_lots"] * worth
        short += held["short_lots"] * worth
    return long, short


def exposure(result: BacktestResult, indices: tuple[int, ...]) -> Exposure:
    """Give the exposure in some instruments together."""
    long, short = leg_notionals(result, indices)
    return Exposure(
        long_mean_e8=mean(long),
        long_max_e8=int(greatest(long) or 0),
        short_mean_e8=mean(short),
        short_max_e8=int(greatest(short) or 0),
        time_in_market=float(np.count_nonzero(long + short) / len(long)) if len(long) else None,
    )


def hold_curve(result: BacktestResult, index: int, taker_ppm: int) -> FloatArray:
    """Give what 1 spent on an instrument is worth by decision: bought at its first mark, with one taker fee.

    Until it has a mark the money waits; afterwards (1 - fee) x mark / first mark.
    """
    marks = result.holdings["mark_ticks"][:, index].astype(np.float64)
    known = np.flatnonzero(marks > 0)
    curve = np.ones(len(marks))
    if len(known):
        curve[known[0] :] = (1 - taker_ppm / 1e6) * marks[known[0] :] / marks[known[0]]
    return curve


def buy_and_hold(result: BacktestResult, takers_ppm: tuple[int, ...]) -> FloatArray:
    """Give the equity by decision, in quote x 1e8, of the initial wallet put into the instruments in equal parts."""
    curves = [hold_curve(result, index, ppm) for index, ppm in enumerate(takers_ppm)]
    held_e8: FloatArray = np.mean(curves, axis=0) * result.initial_wallet_e8
    return held_e8
