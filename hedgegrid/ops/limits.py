"""The gate's limits for people: in quote currency, base units, milliseconds and basis points, by their settings' names.

Invariant: nothing is worked out here; a figure is what the gate counts, in another unit.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from hedgegrid.core.risk import CONTROL_NAMES
from hedgegrid.core.risk_figures import ACCOUNT, LimitFigure, Unit
from hedgegrid.model.instrument import Instrument
from hedgegrid.ops.control import LimitReading
from hedgegrid.units import CASH_SCALE, NS_PER_MS

PPM_PER_BPS = 100


def limit_readings(
    figures: Iterable[LimitFigure], instruments: Sequence[Instrument], refusals: Mapping[str, int]
) -> tuple[LimitReading, ...]:
    """Put the gate's figures into people's units; ``refusals`` of a control count for all its instruments."""
    return tuple(_reading(one, instruments, refusals) for one in figures)


def _reading(figure: LimitFigure, instruments: Sequence[Instrument], refusals: Mapping[str, int]) -> LimitReading:
    rules = None if figure.instrument == ACCOUNT else instruments[figure.instrument]
    unit, per_unit = _unit(figure.unit, rules)
    control = CONTROL_NAMES[figure.code]
    return LimitReading(
        control=control,
        scope="" if rules is None else rules.name,
        unit=unit,
        limit=figure.limit / per_unit,
        value=None if figure.value is None else figure.value / per_unit,
        refusals=refusals.get(control, 0),
    )


def _unit(unit: Unit, rules: Instrument | None) -> tuple[str, float]:
    """Give the unit's name, and how much of the gate's own makes one of it."""
    match unit:
        case Unit.CASH_E8:
            return "quote", CASH_SCALE
        case Unit.LOTS:
            assert rules is not None, "lots are an instrument's"
            return "base", float(1 / rules.lot)
        case Unit.NS:
            return "ms", NS_PER_MS
        case Unit.PPM:
            return "bps", PPM_PER_BPS
        case Unit.ORDERS:
            return "orders", 1
        case _:
            assert_never(unit)
