"""Each session control beside what it would be compared with now: for people, and never for a decision.

Invariants: a figure is the one that ``core.session`` judges, in its own unit; one that is not known is None, never
zero; every session control has a line, whether it is judged or not.
"""

from collections.abc import Iterator, Mapping, Sequence

import attrs

from hedgegrid.core import session
from hedgegrid.core.breaker import Breaker
from hedgegrid.core.fixed import mul_div
from hedgegrid.core.gate_records import Realised, SessionLimits, SessionState
from hedgegrid.core.pause import ControlAction, Reason
from hedgegrid.core.risk_figures import ACCOUNT, Unit
from hedgegrid.units import NS_PER_MINUTE, PPM

_E8_PER_PPM = 100


@attrs.frozen(kw_only=True)
class ControlFigure:
    """A session control: its limit and its present value, both in ``unit``, and what it does when it trips.

    ``control`` is its name in the settings, ``instrument`` its place (``ACCOUNT`` for the account). ``value`` None: not
    known. A control that is not ``enabled`` is not judged.
    """

    control: str
    reason: Reason
    instrument: int
    unit: Unit
    limit: int
    value: int | None
    action: ControlAction
    enabled: bool


@attrs.frozen(kw_only=True)
class Rate:
    """A funding rate x 1e8 for one interval, with the interval and the time of its settlement in ns."""

    rate_e8: int
    interval_ns: int
    next_ns: int


def drawdown_ppm(peak_e8: int, equity_e8: int) -> int | None:
    """Give (peak - equity) / peak, rounded down; None where there is no peak to fall from."""
    return mul_div(peak_e8 - equity_e8, PPM, peak_e8) if peak_e8 > 0 else None


def margin_ppm(maintenance_e8: int, equity_e8: int) -> int | None:
    """Give maintenance / equity, rounded down; None where there is no equity."""
    return mul_div(maintenance_e8, PPM, equity_e8) if equity_e8 > 0 else None


def funding_8h_e8(rate_e8: int, interval_ns: int) -> int:
    """Give what a rate costs the leg that pays it in 8 hours, x 1e8 of its notional, rounded down."""
    return abs(rate_e8) * session.EIGHT_HOURS_MINUTES // max(1, interval_ns // NS_PER_MINUTE)


def account_controls(
    limits: SessionLimits,
    state: SessionState,
    actions: Mapping[Reason, ControlAction],
    *,
    equity_e8: int | None,
    maintenance_e8: int,
) -> tuple[ControlFigure, ...]:
    """Give the controls of the account's equity; their values are not known while the equity is not."""
    known = equity_e8 is not None
    equity = equity_e8 or 0
    rows = (
        (Reason.DRAWDOWN, Unit.RATIO, limits.drawdown_on, limits.drawdown_ppm, drawdown_ppm(state.peak_e8, equity)),
        (Reason.DAILY_LOSS, Unit.CASH_E8, limits.daily_on, limits.daily_e8, state.day_base_e8 - equity),
        (Reason.SESSION_LOSS, Unit.CASH_E8, limits.session_on, limits.session_e8, state.session_base_e8 - equity),
        (Reason.MARGIN, Unit.RATIO, limits.margin_on, limits.margin_ppm, margin_ppm(maintenance_e8, equity)),
    )
    return tuple(
        ControlFigure(
            control="margin_kill" if reason is Reason.MARGIN else reason.value,
            reason=reason,
            instrument=ACCOUNT,
            unit=unit,
            limit=limit,
            value=value if known else None,
            action=actions[reason],
            enabled=bool(on),
        )
        for reason, unit, on, limit, value in rows
    )


def instrument_controls(
    limits: SessionLimits,
    actions: Mapping[Reason, ControlAction],
    realised: Sequence[tuple[Realised, float]],
    rates: Sequence[Rate | None],
    now_ns: int,
) -> Iterator[ControlFigure]:
    """Give the controls of each instrument: its volatility (with the bars of a year) and what its funding costs.

    Both are by place; a volatility without a return, and a rate that is missing or has expired, are not known.
    """
    for place, (one, bars_per_year) in enumerate(realised):
        wild = int(session.volatility_ppm(one, bars_per_year)) if one.bars > 1 else None
        rate = rates[place]
        known = rate is not None and now_ns <= rate.next_ns
        cost = funding_8h_e8(rate.rate_e8, rate.interval_ns) // _E8_PER_PPM if rate is not None and known else None
        for reason, unit, on, limit, value in (
            (Reason.VOLATILITY_HALT, Unit.RATIO, limits.volatility_on, limits.volatility_ppm, wild),
            (Reason.FUNDING_KILL, Unit.PPM, limits.funding_on, limits.funding_max_e8 // _E8_PER_PPM, cost),
        ):
            yield ControlFigure(
                control=reason.value,
                reason=reason,
                instrument=place,
                unit=unit,
                limit=limit,
                value=value,
                action=actions[reason],
                enabled=bool(on),
            )


def breaker_control(breaker: Breaker, now_ns: int) -> ControlFigure:
    """Give the circuit breaker: the errors of its window by now; one more than its limit trips it."""
    limits = breaker.limits
    return ControlFigure(
        control=Reason.CIRCUIT_BREAKER.value,
        reason=Reason.CIRCUIT_BREAKER,
        instrument=ACCOUNT,
        unit=Unit.ERRORS,
        limit=limits.max_errors,
        value=sum(now_ns - at_ns < limits.window_ns for at_ns in breaker.times_ns),
        action=limits.action,
        enabled=limits.enabled,
    )
