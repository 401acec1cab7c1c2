"""The session controls (section 6): what stops the whole account, or one instrument, and when.

Equity is judged once a step of the market, when all marks of that instant are known: drawdown from the peak, the loss
of the UTC day, the loss since the operator's last reset, maintenance margin against equity. Two more belong to one
instrument: realised volatility, judged on its closed bars, and the cost of its funding.

Invariants: a control trips at its limit, not one unit before it; what has tripped is told once and latches until
``lift``; a peak that is exceeded moves, tripped or not; ``floor_e8`` is always the highest equity at which another
control would trip, so ``is_calm`` needs three comparisons. Money is exact within 64 bits for every account whose
equity, peak and bases lie between -8e18 and 9e18 (quote x 1e8; the settings admit 1e18).
"""

import math

from hedgegrid.core.fixed import mul_ppm_up
from hedgegrid.core.gate_records import Realised, SessionLimits, SessionState
from hedgegrid.units import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE

PAUSE = 0
"""Nothing is added; resting entries stay while they are wanted unchanged."""
CANCEL_ENTRIES = 1
"""Resting entries go too."""
FLATTEN = 2
"""Entries go, and both legs of the scope are closed at the market."""

DRAWDOWN_BIT = 1
DAILY_BIT = 2
SESSION_BIT = 4
MARGIN_BIT = 8
VOLATILITY_BIT = 16
FUNDING_BIT = 32

NO_FLOOR_E8 = -9_000_000_000_000_000_000
"""Below every equity: no control would trip however far it falls."""

FAR_BELOW = 0.99
"""Of a limit's square: further from it than anything that floats round off."""

EIGHT_HOURS_MINUTES = 8 * NS_PER_HOUR // NS_PER_MINUTE


# --- the account's equity ---------------------------------------------------------------------------------------------


def begin(limits: SessionLimits, state: SessionState, equity_e8: int, ts_ns: int) -> None:
    """Start an account that has no past: peak, day and session begin at its initial wallet."""
    state.peak_e8 = equity_e8
    state.day_base_e8 = equity_e8
    state.session_base_e8 = equity_e8
    state.last_e8 = equity_e8
    state.next_day_ns = day_end_ns(ts_ns)
    state.tripped = 0
    reckon_floor(limits, state)


def observe(limits: SessionLimits, state: SessionState, equity_e8: int, maintenance_e8: int, ts_ns: int) -> int:
    """Judge one point; give the mask of the controls that trip here and had not tripped yet."""
    _roll_day(limits, state, ts_ns)
    state.last_e8 = equity_e8
    if equity_e8 > state.peak_e8:
        state.peak_e8 = equity_e8
        reckon_floor(limits, state)
    newly = 0
    if equity_e8 <= state.floor_e8:
        if equity_e8 <= drawdown_at_e8(limits, state):
            newly |= DRAWDOWN_BIT
        if limits.daily_on == 1 and equity_e8 <= state.day_base_e8 - limits.daily_e8:
            newly |= DAILY_BIT
        if limits.session_on == 1 and equity_e8 <= state.session_base_e8 - limits.session_e8:
            newly |= SESSION_BIT
    if is_margin_short(limits, equity_e8, maintenance_e8):
        newly |= MARGIN_BIT
    newly &= ~state.tripped
    if newly != 0:
        state.tripped |= newly
        reckon_floor(limits, state)
    return newly


def is_calm(state: SessionState, equity_e8: int, ts_ns: int) -> bool:
    """Tell whether ``observe`` would change nothing and trip nothing, the margin control aside.

    It would still note the equity as the last one seen: who leaves the call out sets ``state.last_e8 = equity_e8``,
    at the latest before the call that crosses ``next_day_ns``.
    """
    return state.floor_e8 < equity_e8 <= state.peak_e8 and ts_ns < state.next_day_ns


def is_margin_short(limits: SessionLimits, equity_e8: int, maintenance_e8: int) -> bool:
    """Tell whether maintenance / equity is at its limit or over it; any maintenance is too much for no equity."""
    if limits.margin_on == 0 or maintenance_e8 <= 0:
        return False
    return equity_e8 <= 0 or maintenance_e8 >= mul_ppm_up(equity_e8, limits.margin_ppm)


def lift(limits: SessionLimits, state: SessionState, bit: int, equity_e8: int, ts_ns: int, new_peak: int) -> None:
    """Take the operator's word that one control may start anew at the present equity.

    The session begins here, tripped or not. The day does only where its loss had tripped. A drawdown is lifted with
    ``new_peak`` = 1 alone, and the present equity is its peak then; without it nothing changes.
    """
    _roll_day(limits, state, ts_ns)
    state.last_e8 = equity_e8
    if bit == DRAWDOWN_BIT and new_peak == 0:
        return
    if bit == DRAWDOWN_BIT:
        state.peak_e8 = equity_e8
    if bit == DAILY_BIT and state.tripped & DAILY_BIT:
        state.day_base_e8 = equity_e8
    if bit == SESSION_BIT:
        state.session_base_e8 = equity_e8
    state.tripped &= ~bit
    reckon_floor(limits, state)


def reckon_floor(limits: SessionLimits, state: SessionState) -> None:
    """Set ``floor_e8`` after limits, peak, bases or the mask have changed."""
    floor_e8 = NO_FLOOR_E8
    if state.tripped & DRAWDOWN_BIT == 0:
        floor_e8 = max(floor_e8, drawdown_at_e8(limits, state))
    if limits.daily_on == 1 and state.tripped & DAILY_BIT == 0:
        floor_e8 = max(floor_e8, state.day_base_e8 - limits.daily_e8)
    if limits.session_on == 1 and state.tripped & SESSION_BIT == 0:
        floor_e8 = max(floor_e8, state.session_base_e8 - limits.session_e8)
    state.floor_e8 = floor_e8


def drawdown_at_e8(limits: SessionLimits, state: SessionState) -> int:
    """Give the highest equity at which (peak - equity) / peak is at its limit; an account without a peak has none."""
    if limits.drawdown_on == 0 or state.peak_e8 <= 0:
        return NO_FLOOR_E8
    return state.peak_e8 - mul_ppm_up(state.peak_e8, limits.drawdown_ppm)


def day_end_ns(ts_ns: int) -> int:
    """Give the midnight (UTC) after ``ts_ns``."""
    return (ts_ns // NS_PER_DAY + 1) * NS_PER_DAY


def _roll_day(limits: SessionLimits, state: SessionState, ts_ns: int) -> None:
    """Begin a new UTC day at the equity last seen in the old one."""
    if ts_ns < state.next_day_ns:
        return
    state.next_day_ns = day_end_ns(ts_ns)
    state.day_base_e8 = state.last_e8
    reckon_floor(limits, state)


# --- one instrument ---------------------------------------------------------------------------------------------------


def feed_volatility(realised: Realised, close_ticks: int, lam: float) -> None:
    """Feed one closed bar: var = lambda x var + (1 - lambda) x r^2 over simple returns, seeded with the first r^2."""
    close = float(close_ticks)
    realised.bars += 1
    if realised.bars > 1:
        change = close / realised.close - 1.0
        if realised.bars == 2:  # noqa: PLR2004 - the second bar gives the first return
            realised.variance = change * change
        else:
            realised.variance = lam * realised.variance + (1.0 - lam) * change * change
    realised.close = close


def volatility_ppm(realised: Realised, bars_per_year: float) -> float:
    """Give the annualised realised volatility in ppm; 0 before there is a return."""
    return math.sqrt(realised.variance * bars_per_year) * 1e6


def is_wild(limits: SessionLimits, realised: Realised, bars_per_year: float) -> bool:
    """Tell whether the realised volatility is at its limit or over it."""
    if limits.volatility_on == 0:
        return False
    # Far below the limit, which is nearly always, its square says so without a root.
    if realised.variance * bars_per_year * 1e12 < FAR_BELOW * limits.volatility_ppm * limits.volatility_ppm:
        return False
    return volatility_ppm(realised, bars_per_year) >= limits.volatility_ppm


def is_funding_dear(limits: SessionLimits, rate_e8: int, interval_ns: int) -> bool:
    """Tell whether what a rate costs the leg that pays it, normalised to 8 h, is at its limit or over it.

    An interval under a minute is none: what it costs is not known and counts as too much.
    """
    minutes = interval_ns // NS_PER_MINUTE
    return limits.funding_on == 1 and abs(rate_e8) * EIGHT_HOURS_MINUTES >= limits.funding_max_e8 * minutes


# --- what follows -----------------------------------------------------------------------------------------------------


def action_of(limits: SessionLimits, bit: int) -> int:
    """Give what the control of a bit does when it trips."""
    action = limits.funding_action
    if bit == DRAWDOWN_BIT:
        action = limits.drawdown_action
    elif bit == DAILY_BIT:
        action = limits.daily_action
    elif bit == SESSION_BIT:
        action = limits.session_action
    elif bit == MARGIN_BIT:
        action = limits.margin_action
    elif bit == VOLATILITY_BIT:
        action = limits.volatility_action
    return action
