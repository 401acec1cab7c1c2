"""Checked reading of what JSON gave: every access says what it wants, and refuses all else in one way.

Invariants: only ``BadPayloadError`` is raised, naming the field; a bool is never an integer here, nor a float anything;
integers may come as text (the websocket API and older endpoints write ids and times so). Nothing is kept.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, TypeVar

from hedgegrid.model.order import Leg, Side
from hedgegrid.units import NS_PER_MS
from hedgegrid.venues.ccxtpro.scaling import INT64_MAX, BadPayloadError, shown

_Word = TypeVar("_Word", bound=StrEnum)
_WHOLE_TEXT_MAX: Final = 20
_LEGS: Final[Mapping[str, Leg | None]] = {"LONG": Leg.LONG, "SHORT": Leg.SHORT, "BOTH": None}
_SIDES: Final[Mapping[str, Side]] = {"BUY": Side.BUY, "SELL": Side.SELL}
_FLAGS: Final[Mapping[object, bool]] = {"true": True, "false": False}
_MS_MAX: Final = INT64_MAX // NS_PER_MS


def mapping(value: object, what: str) -> Mapping[str, Any]:
    """Take an object."""
    if not isinstance(value, dict):
        raise BadPayloadError(f"{what} is no object but {shown(value)}")
    return value


def rows(value: object, what: str) -> Sequence[Any]:
    """Take a list."""
    if not isinstance(value, list):
        raise BadPayloadError(f"{what} is no list but {shown(value)}")
    return value


def one_or_many(value: object, what: str) -> Sequence[Any]:
    """Take a list, or one object as a list of it: endpoints answer with one where they were asked for one symbol."""
    return [value] if isinstance(value, dict) else rows(value, what)


def unwrapped(payload: object) -> Mapping[str, Any]:
    """Take an event, out of the envelope of a combined stream where it has one."""
    event = mapping(payload, "an event")
    if "stream" in event and "data" in event:
        return mapping(event["data"], "a combined stream's event")
    return event


def field(row: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - a field is of any type until it is read
    """Take a field that must be there and not null."""
    value = row.get(key)
    if value is None:
        raise BadPayloadError(f"{key!r} is missing")
    return value


def figure_or_zero(row: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - as above
    """Take a figure that may be absent, null or empty; "0" then, as the wire itself writes "none"."""
    value = row.get(key)
    return "0" if value is None or value == "" else value


def text(row: Mapping[str, Any], key: str) -> str:
    """Take a text, empty allowed."""
    value = field(row, key)
    if type(value) is not str:
        raise BadPayloadError(f"{key!r} is no text but {shown(value)}")
    return value


def text_or(row: Mapping[str, Any], key: str, default: str) -> str:
    """Take a text, or the default where the field is absent or null."""
    return default if row.get(key) is None else text(row, key)


def whole_of(value: object, what: str) -> int:
    """Take a whole number, as JSON's integer or as its digits; within 64 bits."""
    if type(value) is str and len(value) <= _WHOLE_TEXT_MAX:
        digits = value[1:] if value[:1] == "-" else value
        if digits.isascii() and digits.isdigit():
            value = int(value)
    if type(value) is not int or not -INT64_MAX <= value <= INT64_MAX:
        raise BadPayloadError(f"{what} is no whole number but {shown(value)}")
    return value


def whole(row: Mapping[str, Any], key: str) -> int:
    """Take a whole number."""
    return whole_of(field(row, key), repr(key))


def positive(row: Mapping[str, Any], key: str) -> int:
    """Take a whole number above zero: ids are such."""
    value = whole(row, key)
    if value <= 0:
        raise BadPayloadError(f"{key!r} is {value}, not above zero")
    return value


def flag(row: Mapping[str, Any], key: str) -> bool:
    """Take a truth value, as JSON's or as its word."""
    value = field(row, key)
    if type(value) is bool:
        return value
    if type(value) is not str or value not in _FLAGS:
        raise BadPayloadError(f"{key!r} is neither true nor false but {shown(value)}")
    return _FLAGS[value]


def flag_or(row: Mapping[str, Any], key: str, *, default: bool) -> bool:
    """Take a truth value, or the default where the field is absent or null."""
    return default if row.get(key) is None else flag(row, key)


def ms_ns(row: Mapping[str, Any], key: str) -> int:
    """Take a time in ms since the epoch, and give it in ns."""
    value = whole(row, key)
    if not 0 <= value <= _MS_MAX:
        raise BadPayloadError(f"{key!r} is no time: {value}")
    return value * NS_PER_MS


def word(row: Mapping[str, Any], key: str, words: type[_Word]) -> _Word:
    """Take one of the words that the exchange documents."""
    value = text(row, key)
    try:
        return words(value)
    except ValueError:
        raise BadPayloadError(f"{key!r} is {shown(value)}, which is no {words.__name__}") from None


def leg(row: Mapping[str, Any], key: str) -> Leg | None:
    """Take a position side; None is one-way mode's BOTH."""
    value = text(row, key)
    if value not in _LEGS:
        raise BadPayloadError(f"{key!r} is no position side but {shown(value)}")
    return _LEGS[value]


def side(row: Mapping[str, Any], key: str) -> Side:
    """Take the side of an order."""
    value = text(row, key)
    if value not in _SIDES:
        raise BadPayloadError(f"{key!r} is no side but {shown(value)}")
    return _SIDES[value]
