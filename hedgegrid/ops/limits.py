"""Every control of the account for people: limit, value, headroom, what it does, and when it last acted.

Figures are in quote currency, base units, milliseconds, basis points and ratios, by the names of the settings.

Invariants: nothing is worked out here but the headroom; a figure is what the gate and the session controls count, in
another unit; every control of the gate has a line, those without a number too.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from hedgegrid.core.pause import Reason
from hedgegrid.core.permission import StandingReason
from hedgegrid.core.risk import CONTROL_NAMES
from hedgegrid.core.risk_figures import ACCOUNT, LimitFigure, Unit
from hedgegrid.core.session_figures import ControlFigure
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.trip import LastTrip
from hedgegrid.ops.control import ControlReading, Trip
from hedgegrid.ops.readings import age_s
from hedgegrid.ops.view import ACTIVE, AccountView
from hedgegrid.units import CASH_SCALE, NS_PER_MS, PPM

PPM_PER_BPS: Final = 100
REFUSE: Final = "refuse"
"""What a control of the gate does."""
LEAST: Final = "min_"
"""How the name of a control begins whose limit must not be fallen short of."""
PERMISSION: Final = "permission"
_UNITS: Final[Mapping[Unit, tuple[str, float]]] = {
    Unit.CASH_E8: ("quote", CASH_SCALE),
    Unit.NS: ("ms", NS_PER_MS),
    Unit.PPM: ("bps", PPM_PER_BPS),
    Unit.RATIO: ("ratio", PPM),
    Unit.ORDERS: ("orders", 1),
    Unit.ERRORS: ("errors", 1),
}


@attrs.frozen(kw_only=True)
class ControlSources:
    """What the controls are read from: the gate, the session controls, the permission, and the journal.

    ``view`` has the mode and this run's refusals; ``now_ns`` by the clock of the trips.
    """

    gate: Iterable[LimitFigure]
    session: Iterable[ControlFigure]
    reasons: Iterable[StandingReason]
    trips: Iterable[LastTrip]
    view: AccountView
    kill_action: str
    kill_enabled: bool
    now_ns: int


def control_readings(sources: ControlSources, instruments: Sequence[Instrument]) -> tuple[ControlReading, ...]:
    """Give every control: the gate's in the order in which they are checked, then those of the session."""
    trips = tuple(sources.trips)
    figures: dict[str, list[LimitFigure]] = {}
    for figure in sources.gate:
        figures.setdefault(CONTROL_NAMES[figure.code], []).append(figure)
    readings: list[ControlReading] = []
    for control in CONTROL_NAMES.values():
        refusals = sources.view.refusals.get(control, 0)
        if control not in figures:
            readings.append(_numberless(control, refusals, sources, trips))
        readings += [_of_gate(one, control, refusals, instruments, sources, trips) for one in figures.get(control, ())]
    standing = {(one.reason, one.scope) for one in sources.reasons}
    readings += [_of_session(one, instruments, standing, sources, trips) for one in sources.session]
    readings.append(_kill_switch(sources, (Reason.KILL, "") in standing, trips))
    return tuple(readings)


def _numberless(control: str, refusals: int, sources: ControlSources, trips: Sequence[LastTrip]) -> ControlReading:
    """Give a control that asks a yes or no of one order."""
    return ControlReading(
        control=control,
        kind="gate",
        scope="",
        unit="",
        limit=None,
        value=None,
        headroom=None,
        stands=control == PERMISSION and sources.view.mode != ACTIVE,
        action=REFUSE,
        enabled=True,
        refusals=refusals,
        last_trip=_newest(trips, control, "", sources.now_ns),
    )


def _of_gate(
    figure: LimitFigure,
    control: str,
    refusals: int,
    instruments: Sequence[Instrument],
    sources: ControlSources,
    trips: Sequence[LastTrip],
) -> ControlReading:
    rules = None if figure.instrument == ACCOUNT else instruments[figure.instrument]
    unit, per_unit = _unit(figure.unit, rules)
    scope = "" if rules is None else rules.name
    headroom = _headroom(control, figure.limit, figure.value)
    return ControlReading(
        control=control,
        kind="gate",
        scope=scope,
        unit=unit,
        limit=figure.limit / per_unit,
        value=None if figure.value is None else figure.value / per_unit,
        headroom=None if headroom is None else headroom / per_unit,
        stands=headroom is not None and headroom < 0,
        action=REFUSE,
        enabled=True,
        refusals=refusals,
        last_trip=_newest(trips, control, scope, sources.now_ns),
        unreachable=figure.unreachable,
    )


def _of_session(
    figure: ControlFigure,
    instruments: Sequence[Instrument],
    standing: set[tuple[Reason, str]],
    sources: ControlSources,
    trips: Sequence[LastTrip],
) -> ControlReading:
    rules = None if figure.instrument == ACCOUNT else instruments[figure.instrument]
    unit, per_unit = _unit(figure.unit, rules)
    scope = "" if rules is None else rules.name
    headroom = _headroom(figure.control, figure.limit, figure.value)
    return ControlReading(
        control=figure.control,
        kind="session",
        scope=scope,
        unit=unit,
        limit=figure.limit / per_unit,
        value=None if figure.value is None else figure.value / per_unit,
        headroom=None if headroom is None else headroom / per_unit,
        stands=(figure.reason, scope) in standing,
        action=figure.action.value,
        enabled=figure.enabled,
        refusals=0,
        last_trip=_newest(trips, figure.reason.value, scope, sources.now_ns),
    )


def _kill_switch(sources: ControlSources, stands: bool, trips: Sequence[LastTrip]) -> ControlReading:  # noqa: FBT001 - whether it was thrown
    """Give the switch that a person throws: it has no number."""
    return ControlReading(
        control="kill_switch",
        kind="session",
        scope="",
        unit="",
        limit=None,
        value=None,
        headroom=None,
        stands=stands,
        action=sources.kill_action,
        enabled=sources.kill_enabled,
        refusals=0,
        last_trip=_newest(trips, Reason.KILL.value, "", sources.now_ns),
    )


def _headroom(control: str, limit: int, value: int | None) -> int | None:
    """Give how far a value may go before its limit; negative beyond it."""
    if value is None:
        return None
    return value - limit if control.startswith(LEAST) else limit - value


def _newest(trips: Sequence[LastTrip], control: str, scope: str, now_ns: int) -> Trip | None:
    """Give the newest trip of a control; one of the whole account has tripped wherever it did."""
    mine = [one for one in trips if one.control == control and scope in ("", one.scope)]
    if not mine:
        return None
    newest = max(mine, key=lambda one: one.ts_ns)
    return Trip(
        ts_ns=newest.ts_ns,
        age_s=age_s(newest.ts_ns, now_ns) or 0.0,
        scope=newest.scope,
        times=sum(one.times for one in mine),
        figures=dict(newest.figures),
    )


def _unit(unit: Unit, rules: Instrument | None) -> tuple[str, float]:
    """Give the unit's name, and how much of the core's own makes one of it."""
    if unit is not Unit.LOTS:
        return _UNITS[unit]
    assert rules is not None, "lots are an instrument's"
    return "base", float(1 / rules.lot)
