"""Decimal text of the wire as exact integers: ticks, lots, 1e-8 of money, millionths; and JSON that keeps such text.

Invariants: a float never enters: a figure is text or a JSON integer; what is not a number, is not finite, lies beyond
64 bits or is finer than what it is counted in raises ``BadPayloadError`` unless the caller names a rounding. The
arithmetic is of integers, so no decimal context matters. (``venues.exact`` reads columns of recorded
figures with pyarrow, which `run` must not load; here each figure stands alone.)
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NoReturn, Self

import attrs

from hedgegrid.model.instrument import Instrument
from hedgegrid.units import CASH_SCALE, PPM

INT64_MAX: Final = 2**63 - 1
_TEXT_MAX: Final = 48
_EXPONENT_MAX: Final = 30
_SCIENTIFIC: Final = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?|[+-]?\.[0-9]+)[eE]([+-]?[0-9]{1,3})")


class BadPayloadError(ValueError):
    """What the exchange sent cannot be read: another shape, a missing field, a figure that is none or too fine.

    Nothing was changed by the attempt; the text names the field and never the whole payload.
    """


class Rounding(Enum):
    """What to do with a figure that is finer than what it is counted in."""

    EXACT = "exact"
    """Refuse it."""
    NEAREST = "nearest"
    """The nearest, half up: for averages and marks, which the exchange computes off the grid."""
    FLOOR = "floor"
    CEILING = "ceiling"


def read_json(text: str | bytes) -> Any:  # noqa: ANN401 - JSON is of any type
    """Read JSON whose fractions stay the text they were sent as. BadPayloadError for all else, NaN included."""
    try:
        return json.loads(text, parse_float=str, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise BadPayloadError(f"no JSON, {len(text)} long") from error


def shown(value: object) -> str:
    """Write a value for an error's text: short, and never a structure's inside."""
    if type(value) is str:
        return repr(value[:_TEXT_MAX])
    if type(value) is bool or (type(value) is int and -INT64_MAX <= value <= INT64_MAX):
        return repr(value)
    return f"<{type(value).__name__}>"


def _no_number(name: str) -> NoReturn:
    raise BadPayloadError(f"{name} is no number")


def _parts(value: object, what: str) -> tuple[int, int]:
    """Give a figure as (digits, places): digits / 10^places."""
    if type(value) is int:
        return value, 0
    if type(value) is not str or not value or len(value) > _TEXT_MAX:
        raise BadPayloadError(f"{what} is no decimal text but {shown(value)}")
    whole, point, fraction = value.partition(".")
    unsigned = whole[1:] if whole and whole[0] in "-+" else whole
    digits = unsigned + fraction
    if digits.isascii() and digits.isdigit() and (unsigned or fraction):
        count = int(digits)
        return (-count if whole[:1] == "-" else count), len(fraction) if point else 0
    return _scientific(value, what)


def _scientific(value: str, what: str) -> tuple[int, int]:
    """Give a figure in the notation that JSON writers fall back to (1E-7)."""
    match = _SCIENTIFIC.fullmatch(value)
    exponent = int(match[2]) if match else 0
    if match is None or abs(exponent) > _EXPONENT_MAX:
        raise BadPayloadError(f"{what} is no number: {value!r}")
    digits, places = _parts(match[1], what)
    places -= exponent
    return (digits, places) if places >= 0 else (digits * 10**-places, 0)


def _bounded(count: int, what: str) -> int:
    if not -INT64_MAX <= count <= INT64_MAX:
        raise BadPayloadError(f"{what} does not fit 64 bits")
    return count


def _divided(over: int, under: int, what: str, rounding: Rounding) -> int:
    """Divide exactly, or by the named rounding. ``under`` is positive."""
    count, rest = divmod(over, under)
    if not rest or rounding is Rounding.FLOOR:
        return _bounded(count, what)
    if rounding is Rounding.EXACT:
        raise BadPayloadError(f"{what} is finer than it is counted")
    up = rounding is Rounding.CEILING or 2 * rest >= under
    return _bounded(count + up, what)


def _scaled(value: object, scale: int, what: str, rounding: Rounding) -> int:
    digits, places = _parts(value, what)
    return _divided(digits * scale, 10**places, what, rounding)


def decimal_text(value: object, what: str) -> Decimal:
    """Give a figure as a Decimal, exact."""
    digits, places = _parts(value, what)
    return Decimal((int(digits < 0), tuple(map(int, str(abs(digits)))), -places))


def e8(value: object, what: str, rounding: Rounding = Rounding.EXACT) -> int:
    """Give an amount, or a rate, x 1e8; signed."""
    return _scaled(value, CASH_SCALE, what, rounding)


def ppm(value: object, what: str, rounding: Rounding = Rounding.EXACT) -> int:
    """Give a ratio in millionths; signed."""
    return _scaled(value, PPM, what, rounding)


def _fraction(value: Decimal) -> tuple[int, int]:
    """Give a positive decimal as (over, under) in lowest terms."""
    if not value.is_finite() or value <= 0:
        raise BadPayloadError(f"a tick or lot of {value} is none")
    return value.as_integer_ratio()


@attrs.frozen(kw_only=True)
class Scale:
    """What the wire's figures of one instrument count in. ``symbol`` is the exchange's name, ``instrument`` ours.

    BadPayloadError for a tick or lot that is not positive.
    """

    symbol: str
    instrument: str
    tick: Decimal
    lot: Decimal
    _tick_ratio: tuple[int, int] = attrs.field(init=False, repr=False)
    _lot_ratio: tuple[int, int] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_tick_ratio", _fraction(self.tick))
        object.__setattr__(self, "_lot_ratio", _fraction(self.lot))

    @classmethod
    def of(cls, instrument: Instrument, symbol: str) -> Self:
        """Take the scale of an instrument that the exchange calls ``symbol``."""
        return cls(symbol=symbol, instrument=instrument.name, tick=instrument.tick, lot=instrument.lot)

    @property
    def settle_asset(self) -> str:
        """The asset that profits and fees are counted in: the part of our name after the colon."""
        return self.instrument.rpartition(":")[2]

    def price_ticks(self, value: object, what: str = "price", rounding: Rounding = Rounding.EXACT) -> int:
        """Give a price in ticks, 0 or more (the wire writes "0" for none)."""
        return self._unsigned(value, self._tick_ratio, what, rounding)

    def qty_lots(self, value: object, what: str = "quantity", rounding: Rounding = Rounding.EXACT) -> int:
        """Give a quantity in lots, 0 or more."""
        return self._unsigned(value, self._lot_ratio, what, rounding)

    def signed_lots(self, value: object, what: str) -> int:
        """Give a signed quantity in lots, exact: the wire writes a SHORT position below zero."""
        return self._counted(value, self._lot_ratio, what, Rounding.EXACT)

    def money_e8(self, value: object, what: str = "amount", rounding: Rounding = Rounding.EXACT) -> int:
        """Give an amount of quote currency x 1e8; signed."""
        return e8(value, what, rounding)

    def cost_e8(self, price: object, qty: object, what: str = "cost") -> int:
        """Give price x |quantity| in quote x 1e8, to the nearest: an entry price is an average, finer than any tick."""
        price_digits, price_places = _parts(price, what)
        qty_digits, qty_places = _parts(qty, what)
        if price_digits < 0:
            raise BadPayloadError(f"{what}: a price below zero")
        over = price_digits * abs(qty_digits) * CASH_SCALE
        return _divided(over, 10 ** (price_places + qty_places), what, Rounding.NEAREST)

    def _unsigned(self, value: object, ratio: tuple[int, int], what: str, rounding: Rounding) -> int:
        count = self._counted(value, ratio, what, rounding)
        if count < 0:
            raise BadPayloadError(f"{self.symbol}: {what} is below zero")
        return count

    def _counted(self, value: object, ratio: tuple[int, int], what: str, rounding: Rounding) -> int:
        digits, places = _parts(value, what)
        under: int = ratio[0] * 10**places
        count, rest = divmod(digits * ratio[1], under)
        if not rest and -INT64_MAX <= count <= INT64_MAX:
            return count  # nearly always: a thousand times a second, and without an error's text made in vain
        return _divided(digits * ratio[1], under, f"{self.symbol}: {what}", rounding)


Scales = Mapping[str, Scale]
"""Scales by the exchange's own symbol ("BTCUSDT")."""
