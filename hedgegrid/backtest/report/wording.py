"""How times, sums and names read in the report.

Invariants: every text from outside is escaped before it becomes HTML; money is rounded once, for display alone; a sign
is written with a real minus; what is not known reads "n/a".
"""

import html
from datetime import UTC, datetime
from typing import Final

from hedgegrid.units import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S, PPM, quote_text

UNKNOWN: Final = "n/a"
_YEARS_FROM_DAYS: Final = 730
_DAYS_FROM: Final = 3


def words(name: str) -> str:
    """Write a name of the code as people do, such as take-profit."""
    return name.replace("_", "-")


def escape(text: object) -> str:
    """Make a text harmless inside HTML, in attributes too."""
    return html.escape(str(text), quote=True)


def plot_text(text: object) -> str:
    """Make a text harmless inside a plot, whose labels read a subset of HTML."""
    return html.escape(str(text), quote=False)


def day(ts_ns: int) -> str:
    """Write the day in UTC."""
    return f"{datetime.fromtimestamp(ts_ns // NS_PER_S, UTC):%Y-%m-%d}"


def minute(ts_ns: int) -> str:
    """Write a time in UTC to the minute below."""
    return f"{datetime.fromtimestamp(ts_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M}"


def span(duration_ns: int) -> str:
    """Write a duration in its two largest units."""
    if duration_ns < NS_PER_MINUTE:
        return f"{duration_ns / NS_PER_S:.3g} s"
    for unit_ns, name, below_ns, below in (
        (NS_PER_DAY, "d", NS_PER_HOUR, "h"),
        (NS_PER_HOUR, "h", NS_PER_MINUTE, "min"),
        (NS_PER_MINUTE, "min", NS_PER_S, "s"),
    ):
        if duration_ns >= unit_ns:
            rest = duration_ns % unit_ns // below_ns
            return f"{duration_ns // unit_ns} {name} {rest} {below}" if rest else f"{duration_ns // unit_ns} {name}"
    return UNKNOWN


def length(duration_ns: int) -> str:
    """Write how long a run was, as one says it."""
    days = duration_ns / NS_PER_DAY
    if days >= _YEARS_FROM_DAYS:
        return f"{days / 365.25:.1f} years"
    return f"{days:.0f} days" if days >= _DAYS_FROM else span(duration_ns)


def money(amount_e8: int, places: int = 2) -> str:
    """Write an amount of quote currency, to the cent if not told otherwise."""
    return quote_text(amount_e8, places).replace("-", "\N{MINUS SIGN}")


def signed(amount_e8: int) -> str:
    """Write an amount of quote currency with its sign."""
    return f"+{money(amount_e8)}" if amount_e8 > 0 else money(amount_e8)


def percent(ratio: float | None, places: int = 2) -> str:
    """Write a change with its sign, in percent."""
    if ratio is None:
        return UNKNOWN
    text = f"{100 * ratio:+,.{places}f} %".replace("-", "\N{MINUS SIGN}")
    zero = f"{0:.{places}f} %"
    return zero if text[1:] == zero else text


def share(ppm: int, places: int = 2) -> str:
    """Write a share without a sign, in percent."""
    return f"{100 * ppm / PPM:,.{places}f} %".replace("-", "\N{MINUS SIGN}")


def count(number: int) -> str:
    """Write a whole number with its thousands apart."""
    return f"{number:,d}".replace("-", "\N{MINUS SIGN}")


def counted(number: int, one: str, many: str) -> str:
    """Write a number of things in words."""
    return f"{count(number)} {one if number == 1 else many}"
