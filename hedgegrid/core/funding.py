"""The funding guard: less quantity, or none, on the leg that pays an expensive settlement that is near.

Invariants: the receiving leg is never touched by the cost rule; the factor falls monotonically toward the settlement;
a missing or expired rate is never taken for no cost.
"""

from hedgegrid.core.codes import FUNDING_HALT, FUNDING_SCALE, FUNDING_WARN, LONG, SHORT
from hedgegrid.core.fixed import mul_ppm, ratio_ppm
from hedgegrid.core.grid import first_rung
from hedgegrid.core.records import GridParams, GridState, Rung
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, PPM

EIGHT_HOURS_MINUTES = 8 * NS_PER_HOUR // NS_PER_MINUTE


def is_missing(params: GridParams, state: GridState, ts_ns: int) -> bool:
    """Tell whether no rate is known, or the known one has expired.

    Its settlement has passed, and what the source needs to tell the next rate (``funding_grace_ns``) too.
    """
    return state.rate_known == 0 or ts_ns > state.next_funding_ns + params.funding_grace_ns


def is_expensive(params: GridParams, state: GridState) -> bool:
    """Tell whether the paying leg's cost, normalised to 8 h by its own interval, is strictly over its limit."""
    minutes = state.funding_interval_ns // NS_PER_MINUTE
    return abs(state.rate_e8) * EIGHT_HOURS_MINUTES > params.funding_max_e8 * minutes


def factor_ppm(params: GridParams, state: GridState, leg: int, ts_ns: int) -> int:
    """Give the factor on a leg's quantity, 0..1e6, at ``ts_ns``."""
    if is_missing(params, state, ts_ns):
        return 0 if params.funding_pause_missing == 1 else PPM
    pays = LONG if state.rate_e8 > 0 else SHORT
    left_ns = state.next_funding_ns - ts_ns
    if leg != pays or left_ns < 0 or left_ns > params.funding_window_ns or not is_expensive(params, state):
        return PPM
    if params.funding_mode == FUNDING_SCALE:
        return ratio_ppm(left_ns, params.funding_window_ns)
    return 0 if params.funding_mode == FUNDING_HALT else PPM


def is_warning_due(params: GridParams, state: GridState, ts_ns: int) -> bool:
    """Tell whether, in the mode that only warns, an expensive settlement has come within the window."""
    if params.funding_mode != FUNDING_WARN or is_missing(params, state, ts_ns):
        return False
    return 0 <= state.next_funding_ns - ts_ns <= params.funding_window_ns and is_expensive(params, state)


def apply(params: GridParams, state: GridState, rungs: list[Rung], ts_ns: int) -> None:
    """Shrink or empty the ladders as the guard says; an empty ladder's working entries become unwanted too."""
    for leg in (LONG, SHORT):
        ppm = factor_ppm(params, state, leg, ts_ns)
        if ppm == PPM:
            continue
        first = first_rung(params, leg)
        levels = params.levels_long if leg == LONG else params.levels_short
        for i in range(levels):
            rung = rungs[first + i]
            rung.micro_lots = mul_ppm(rung.micro_lots, ppm)
            if ppm == 0:
                rung.in_ladder = 0
                rung.shut = 1


def remember_rate(state: GridState, rate_e8: int, next_ns: int, interval_ns: int) -> None:
    """Take note of a funding rate for one interval and the time of its settlement."""
    state.settled = 0
    state.rate_known = 1
    state.rate_e8 = rate_e8
    state.next_funding_ns = next_ns
    state.funding_interval_ns = interval_ns
