"""The figures of a word as a person reads them: percents, quote currency, durations and times in place of raw units.

The journal keeps figures raw, with the unit at the end of the name (``equity_e8``, ``drawdown_ppm``, ``stood_ns``);
whatever people see of them is written here.

Invariants: no figure is left out or changed but in its last digits; what is no number in a unit is shown as it is.
"""

from collections.abc import Mapping
from decimal import Decimal
from itertools import islice
from typing import Final

from hedgegrid.ops import phrases
from hedgegrid.units import NS_PER_DAY

RATES: Final = ("rate_e8", "_8h_e8")
"""How names end of shares of the notional x 1e8; all others with ``_e8`` are money."""
TIMES_FROM_NS: Final = 365 * NS_PER_DAY
"""What is longer than this is no duration but a moment, counted from 1970."""


def written(figures: Mapping[str, str], most: int | None = None) -> str:
    """Write figures in one line, at most so many of them; "" where there are none."""
    return ", ".join(_figure(name, value) for name, value in islice(figures.items(), most))


def _figure(name: str, value: str) -> str:
    """Write one figure: its name without the unit, and its value in a person's."""
    words, _, unit = name.rpartition("_")
    if not value.lstrip("-").isdecimal():
        return f"{name.replace('_', ' ')} {value}"
    amount = int(value)
    if name.endswith(RATES):
        shown = f"{Decimal(amount).scaleb(-6):f} %"
    elif unit == "e8":
        shown = phrases.money(amount)
    elif unit == "ppm":
        shown = f"{Decimal(amount).scaleb(-4):.2f} %"
    elif unit == "ns" and amount >= TIMES_FROM_NS:
        shown = f"{phrases.moment(amount)} UTC"
    elif unit == "ns":
        shown = phrases.span(amount)
    elif unit in {"ms", "s", "bps"}:
        shown = f"{amount:,} {unit}"
    else:
        return f"{name.replace('_', ' ')} {value}"
    return f"{words.replace('_', ' ')} {shown}"
