"""The units of every figure in hedgegrid, and the only conversions between them.

Money, prices, quantities and times are integers:

- ``Ticks``: a price as a count of the instrument's tick;
- ``Lots``: a quantity as a count of the instrument's lot;
- ``CashE8``: quote currency x 1e8;
- ``Ns``: nanoseconds since the Unix epoch, or a duration;
- ``Ppm``: a ratio in millionths (1 bps = 100 ppm).

A price in ticks times a quantity in lots times the instrument's ``unit_e8`` is a notional in ``CashE8``.
Each conversion names its rounding. Decimals come from configuration and from venues; floats are for display.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Decimal
from typing import NewType

Ticks = NewType("Ticks", int)
Lots = NewType("Lots", int)
CashE8 = NewType("CashE8", int)
Ns = NewType("Ns", int)
Ppm = NewType("Ppm", int)

CASH_SCALE = 100_000_000
PPM = 1_000_000
MICRO = 1_000_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
NS_PER_MINUTE = 60 * NS_PER_S
NS_PER_HOUR = 60 * NS_PER_MINUTE
NS_PER_DAY = 24 * NS_PER_HOUR

TIMEFRAMES_NS: dict[str, int] = {
    "1s": NS_PER_S,
    "5s": 5 * NS_PER_S,
    "15s": 15 * NS_PER_S,
    "1m": NS_PER_MINUTE,
    "3m": 3 * NS_PER_MINUTE,
    "5m": 5 * NS_PER_MINUTE,
    "15m": 15 * NS_PER_MINUTE,
    "30m": 30 * NS_PER_MINUTE,
    "1h": NS_PER_HOUR,
    "2h": 2 * NS_PER_HOUR,
    "4h": 4 * NS_PER_HOUR,
    "6h": 6 * NS_PER_HOUR,
    "8h": 8 * NS_PER_HOUR,
    "12h": 12 * NS_PER_HOUR,
    "1d": NS_PER_DAY,
}


def _whole(value: Decimal, what: str) -> int:
    """Give ``value`` as an int; ValueError where it has a fraction."""
    if value != value.to_integral_value():
        message = f"{what} is finer than this project counts: {value.normalize():f} is not a whole number"
        raise ValueError(message)
    return int(value)


def ticks_nearest(price: Decimal, tick: Decimal) -> Ticks:
    """Give a price in ticks, rounded to the nearest (half up)."""
    return Ticks(int((price / tick).to_integral_value(ROUND_HALF_UP)))


def ticks_exact(price: Decimal, tick: Decimal) -> Ticks:
    """Give a price in ticks; ValueError where it does not lie on the tick."""
    return Ticks(_whole(price / tick, "price"))


def lots_floor(qty: Decimal, lot: Decimal) -> Lots:
    """Give a quantity in lots, rounded down."""
    return Lots(int((qty / lot).to_integral_value(ROUND_FLOOR)))


def lots_ceiling(qty: Decimal, lot: Decimal) -> Lots:
    """Give a quantity in lots, rounded up (for minima)."""
    return Lots(int((qty / lot).to_integral_value(ROUND_CEILING)))


def lots_exact(qty: Decimal, lot: Decimal) -> Lots:
    """Give a quantity in lots; ValueError where it does not lie on the lot."""
    return Lots(_whole(qty / lot, "quantity"))


def micro_lots_floor(qty: Decimal, lot: Decimal) -> int:
    """Give a quantity in millionths of a lot, rounded down."""
    return int((qty * MICRO / lot).to_integral_value(ROUND_FLOOR))


def cash_e8(amount: Decimal) -> CashE8:
    """Give an amount of quote currency x 1e8; ValueError where it is finer."""
    return CashE8(_whole(amount * CASH_SCALE, "amount"))


def unit_e8(tick: Decimal, lot: Decimal) -> int:
    """Give the value of one tick on one lot in quote x 1e8; ValueError where that is not a whole number."""
    return _whole(tick * lot * CASH_SCALE, "tick x lot x 1e8")


def ppm_from_bps(bps: Decimal) -> Ppm:
    """Give basis points as ppm (x 100); ValueError where finer than 0.01 bps."""
    return Ppm(_whole(bps * 100, "basis points x 100"))


def ppm_from_ratio(ratio: Decimal) -> Ppm:
    """Give a ratio or a multiple as ppm; ValueError where finer than one millionth."""
    return Ppm(_whole(ratio * PPM, "ratio x 1e6"))


def rate_e8_nearest(rate: Decimal) -> int:
    """Give a funding rate x 1e8, rounded to the nearest (half up)."""
    return int((rate * CASH_SCALE).to_integral_value(ROUND_HALF_UP))


def ns_from_ms(ms: int) -> Ns:
    """Give milliseconds as nanoseconds."""
    return Ns(ms * NS_PER_MS)


def quote_text(amount_e8: int, places: int = 2) -> str:
    """Write an amount for people, rounded half up to ``places`` decimals, with thousands apart."""
    value = (Decimal(amount_e8) / CASH_SCALE).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return f"{value:,f}"
