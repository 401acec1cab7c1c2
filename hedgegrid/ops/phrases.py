"""How figures read in the terminal and in the summary.

Invariant: what is not known reads ``-``; whole numbers are rounded once, half up.
"""

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from hedgegrid.units import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S, quote_text

UNKNOWN: Final = "-"


def money(amount_e8: int | None, places: int = 2) -> str:
    """Write quote currency."""
    return UNKNOWN if amount_e8 is None else quote_text(amount_e8, places)


def signed(amount_e8: int | None, places: int = 2) -> str:
    """Write quote currency with its sign."""
    text = money(amount_e8, places)
    return f"+{text}" if amount_e8 is not None and amount_e8 > 0 else text


def change_percent(start_e8: int | None, end_e8: int | None) -> Decimal | None:
    """Give the change in percent to two places; None where one end is not known or the start is not positive."""
    if start_e8 is None or end_e8 is None or start_e8 <= 0:
        return None
    change = (Decimal(end_e8 - start_e8) * 100 / start_e8).quantize(Decimal("0.01"), ROUND_HALF_UP)
    # What rounds to nothing is no loss.
    return abs(change) if change == 0 else change


def percent(value: Decimal | None) -> str:
    """Write a change in percent."""
    return UNKNOWN if value is None else f"{value:+}%"


def moment(ts_ns: int | None) -> str:
    """Write a time in UTC, to the second below."""
    return UNKNOWN if ts_ns is None else f"{datetime.fromtimestamp(ts_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M:%S}"


def span(duration_ns: int | None) -> str:
    """Write a duration in its two largest units."""
    if duration_ns is None:
        return UNKNOWN
    if duration_ns < NS_PER_MINUTE:
        return f"{duration_ns / NS_PER_S:.1f} s"
    for unit_ns, name, below_ns, below in (
        (NS_PER_DAY, "d", NS_PER_HOUR, "h"),
        (NS_PER_HOUR, "h", NS_PER_MINUTE, "min"),
    ):
        if duration_ns >= unit_ns:
            return f"{duration_ns // unit_ns} {name} {duration_ns % unit_ns // below_ns} {below}"
    return f"{duration_ns // NS_PER_MINUTE} min {duration_ns % NS_PER_MINUTE // NS_PER_S} s"


def age(told_ns: int | None, now_ns: int) -> str:
    """Write how long ago something was told."""
    return UNKNOWN if told_ns is None else f"{span(max(0, now_ns - told_ns))} ago"


def counted(count: int, one: str, more: str) -> str:
    """Write a number of things by the word for one, or for more."""
    return f"{count:,} {one if count == 1 else more}"
