"""The session controls in the words of the permission: reason and action of each bit, and the figures that tell why.

Plain Python beside ``session``, which both executions run.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from hedgegrid.core import session, session_figures
from hedgegrid.core.gate_records import Realised, SessionLimits, SessionState
from hedgegrid.core.pause import ControlAction, Reason
from hedgegrid.core.permission import LatchedEntry

REASONS: Final[Mapping[int, Reason]] = MappingProxyType(
    {
        session.DRAWDOWN_BIT: Reason.DRAWDOWN,
        session.DAILY_BIT: Reason.DAILY_LOSS,
        session.SESSION_BIT: Reason.SESSION_LOSS,
        session.MARGIN_BIT: Reason.MARGIN,
        session.VOLATILITY_BIT: Reason.VOLATILITY_HALT,
        session.FUNDING_BIT: Reason.FUNDING_KILL,
    }
)
"""The reason of each control, in the order in which controls that trip at one point are told."""

EQUITY_BITS: Final = (session.DRAWDOWN_BIT, session.DAILY_BIT, session.SESSION_BIT, session.MARGIN_BIT)
"""The controls of the account's equity; they latch."""

_ACTIONS: Final = {
    session.PAUSE: ControlAction.PAUSE,
    session.CANCEL_ENTRIES: ControlAction.CANCEL_ENTRIES,
    session.FLATTEN: ControlAction.FLATTEN,
}


def actions(limits: SessionLimits) -> Mapping[Reason, ControlAction]:
    """Give what each control's reason does."""
    return {reason: _ACTIONS[session.action_of(limits, bit)] for bit, reason in REASONS.items()}


def mask_of(latched: Iterable[LatchedEntry]) -> int:
    """Give the mask of the controls that have tripped, from the latched reasons."""
    standing = {entry[0] for entry in latched}
    return sum(bit for bit in EQUITY_BITS if REASONS[bit] in standing)


def equity_figures(
    bit: int, limits: SessionLimits, state: SessionState, equity_e8: int, maintenance_e8: int
) -> dict[str, int | str]:
    """Give the value of an equity control and its limit, with what the value is made of."""
    figures: dict[str, int | str] = {"equity_e8": equity_e8}
    if bit == session.DRAWDOWN_BIT:
        lost_ppm = session_figures.drawdown_ppm(state.peak_e8, equity_e8)
        assert lost_ppm is not None, "an account without a peak has no drawdown"
        figures |= {"drawdown_ppm": lost_ppm, "limit_ppm": limits.drawdown_ppm, "peak_e8": state.peak_e8}
    elif bit == session.DAILY_BIT:
        figures |= {"loss_e8": state.day_base_e8 - equity_e8, "limit_e8": limits.daily_e8}
    elif bit == session.SESSION_BIT:
        figures |= {"loss_e8": state.session_base_e8 - equity_e8, "limit_e8": limits.session_e8}
    else:
        used_ppm = session_figures.margin_ppm(maintenance_e8, equity_e8)
        figures |= {
            "margin_ppm": "no equity" if used_ppm is None else used_ppm,
            "limit_ppm": limits.margin_ppm,
            "maintenance_e8": maintenance_e8,
        }
    return figures


def volatility_figures(limits: SessionLimits, realised: Realised, bars_per_year: float) -> dict[str, int | str]:
    """Give an instrument's annualised volatility and its limit."""
    return {
        "volatility_ppm": int(session.volatility_ppm(realised, bars_per_year)),
        "limit_ppm": limits.volatility_ppm,
    }


def funding_figures(limits: SessionLimits, rate_e8: int, interval_ns: int) -> dict[str, int | str]:
    """Give what a rate costs in 8 hours, x 1e8 of the notional, and its limit."""
    cost_e8 = session_figures.funding_8h_e8(rate_e8, interval_ns)
    return {"rate_e8": rate_e8, "cost_8h_e8": cost_e8, "limit_8h_e8": limits.funding_max_e8}
