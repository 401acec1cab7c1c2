"""How a figure reads on the screen, by its unit.

Invariant: rounding is for the eye alone; what is not known reads ``-``.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from hedgegrid.backtest.figures import Unit
from hedgegrid.ops import phrases
from hedgegrid.units import CASH_SCALE, PPM, TIMEFRAMES_NS

_WRITERS: Final[Mapping[Unit, Callable[[Any], str]]] = {
    "quote_e8": phrases.money,
    "ns": phrases.span,
    "time_ns": phrases.moment,
    "ratio": lambda value: f"{100 * value:,.2f} %",
    "number": lambda value: f"{value:,.3f}",
    "bps": lambda value: f"{value:,.1f} bps",
    "count": lambda value: f"{value:,}",
    "counts": lambda value: ", ".join(f"{name} {count:,}" for name, count in value.items()) or "none",
    "text": str,
}


def shown(value: object, unit: Unit) -> str:
    """Write a figure with its unit."""
    return phrases.UNKNOWN if value is None else _WRITERS[unit](value)


def change(first: object, value: object, unit: Unit) -> str:
    """Write how far a figure lies from another, with its sign; empty where it cannot be said or would not be seen."""
    if not isinstance(first, int | float) or not isinstance(value, int | float) or unit == "time_ns":
        return ""
    text = shown(abs(value - first), unit)
    if text == shown(0, unit):
        return ""
    return f"+{text}" if value > first else f"-{text}"


def timeframe(length_ns: int) -> str:
    """Write the length of a bar, such as 1h."""
    return next((name for name, known_ns in TIMEFRAMES_NS.items() if known_ns == length_ns), phrases.span(length_ns))


def limit(reason: str, value: int) -> str:
    """Write the value or the limit of a session control in its own unit."""
    match reason:
        case "drawdown" | "margin" | "volatility_halt":
            return f"{100 * value / PPM:,.2f} %"
        case "funding_kill":
            return f"{10_000 * value / CASH_SCALE:,.2f} bps in 8 h"
        case _:
            return phrases.money(value)
