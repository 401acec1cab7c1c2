"""What a single value may be: its type as TOML gives it, its range, its fineness and its form.

Invariants: a check answers with a message or None and never raises on what a TOML file can contain; no message
repeats a text value that could be a secret; every number that passes is finite and fits the integers (ppm,
1e-8 of the quote currency) that the trading core computes with.
"""

import difflib
import ipaddress
import json
import re
import typing
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import urlsplit

import attrs

Check = Callable[[Any], str | None]
"""A check of one value: the message that refuses it, or None."""

_SHOWN_CHARS_MAX = 40
_PORT_MAX = 65_535
_TEXT_CHARS_MAX = 1024
_EXPECTED: dict[object, str] = {
    Decimal: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "text in quotes",
}
_INSTRUMENT = re.compile(r"[A-Z0-9]{1,20}/([A-Z0-9]{1,10}):([A-Z0-9]{1,10})")


def kind_of(value: object) -> str:
    """Say in words what kind of TOML value this is, without repeating it."""
    names: tuple[tuple[type, str], ...] = (
        (bool, "true or false"),
        (int, "a whole number"),
        (Decimal, "a number with decimals"),
        (str, "text"),
        (list, "an array"),
        (dict, "a table"),
        (float, "a binary float"),
    )
    return next((name for kind, name in names if isinstance(value, kind)), "a date or time")


def type_fault(expected: object, value: object) -> str | None:
    """Why `value` is not of the leaf type `expected` (Decimal, int, bool, str or a Literal of texts)."""
    if typing.get_origin(expected) is Literal:
        return _option_fault(typing.get_args(expected), value)
    if type(value) is not expected:
        return f"expected {_EXPECTED[expected]}, got {kind_of(value)}"
    if isinstance(value, Decimal) and not value.is_finite():
        return "expected a finite number"
    if isinstance(value, str) and (len(value) > _TEXT_CHARS_MAX or not value.isprintable()):
        return f"expected at most {_TEXT_CHARS_MAX} printable characters"
    return None


def plain(number: Decimal | int) -> str:
    """Write a checked number without exponent and trailing zeros: equal numbers give equal texts."""
    if not number:
        return "0"
    text = format(Decimal(number), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def nearest(name: str, names: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """Return the name most like `name`, or None where none is as like as `likeness` (0..1)."""
    return next(iter(difflib.get_close_matches(name, sorted(names), n=1, cutoff=likeness)), None)


def quoted(text: str) -> str:
    """Write printable `text` as a TOML basic string."""
    return json.dumps(text, ensure_ascii=False)


def key_text(key: str) -> str:
    """Write a key as TOML does: bare where it may be, else quoted; always on one line."""
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)


def settle_of(instrument: str) -> str:
    """Return the settlement currency of an instrument of the form BASE/QUOTE:SETTLE."""
    return instrument.rpartition(":")[2]


def instrument_fault(value: str) -> str | None:
    """Why this is not the name of a linear perpetual: BASE/QUOTE:SETTLE, settled in its quote currency."""
    match = _INSTRUMENT.fullmatch(value)
    if match is None or match[1] != match[2]:
        return "expected BASE/QUOTE:SETTLE in capitals with SETTLE the same as QUOTE, such as BTC/USDT:USDT"
    return None


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host` (a name other than localhost counts as reachable)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def split_listen(value: str) -> tuple[str, int]:
    """Split `host:port` (an IPv6 host in brackets; port 0 lets the system choose).

    Raises:
        ValueError: it has no such form.
    """
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})", value)
    if match is None or int(match[2]) > _PORT_MAX:
        raise ValueError("expected host:port with a port of 0 to 65535, such as 127.0.0.1:8080")
    return match[1].strip("[]"), int(match[2])


def listen_fault(value: str) -> str | None:
    """Why this is not an address to listen on."""
    try:
        split_listen(value)
    except ValueError as fault:
        return str(fault)
    return None


@attrs.frozen(kw_only=True)
class Endpoint:
    """A check of a URL: one of two schemes, the plain one for this machine alone, no password inside."""

    secure: str
    plain: str

    def __call__(self, value: str) -> str | None:
        """Why `value` is not such a URL; the message does not repeat it."""
        expected = f"expected a URL that starts with {self.secure}:// ({self.plain}:// for a loopback host only)"
        try:
            parts = urlsplit(value)
            host, _ = parts.hostname, parts.port
        except ValueError:
            return expected
        if host is None or parts.scheme not in {self.secure, self.plain}:
            return expected
        if parts.scheme == self.plain and not is_loopback(host):
            return f"{self.plain}:// is accepted for a loopback host only; use {self.secure}://"
        if parts.username is not None or parts.password is not None:
            return "a URL must not carry a user name or password"
        return None


@attrs.frozen(kw_only=True)
class Pattern:
    """A check of a text against a regular expression, explained in words."""

    expression: str
    expected: str

    def __call__(self, value: str) -> str | None:
        """Why `value` does not have the form."""
        return None if re.fullmatch(self.expression, value) else f"expected {self.expected}"


@attrs.frozen(kw_only=True)
class Range:
    """A check of a number: its bounds (inclusive, or exclusive with `open_*`) and its finest step.

    `places` is the number of decimals the value may have; `unit` words the refusal of finer ones.
    """

    low: Decimal
    high: Decimal
    open_low: bool = False
    open_high: bool = False
    places: int = 0
    unit: str = ""

    def __call__(self, value: Decimal | int) -> str | None:
        """Why `value` lies outside, or is finer than can be kept exactly."""
        below = value <= self.low if self.open_low else value < self.low
        above = value >= self.high if self.open_high else value > self.high
        if below or above:
            return f"must be {self}, got {str(value)[:_SHOWN_CHARS_MAX]}"
        number = Decimal(value)
        if number != number.quantize(Decimal(1).scaleb(-self.places)):
            finest = plain(Decimal(1).scaleb(-self.places))
            ppm = " (1 ppm)" if self.unit in {"bps", "ratio"} else ""
            return f"finer than {finest} {self.unit}{ppm} is refused"
        return None

    def __str__(self) -> str:
        """Word the bounds for a message."""
        low = f"{'above' if self.open_low else 'at least'} {plain(self.low)}"
        return f"{low} and {'below' if self.open_high else 'at most'} {plain(self.high)}"


def _option_fault(options: tuple[str, ...], value: object) -> str | None:
    """Why `value` is none of the options."""
    if isinstance(value, str) and value in options:
        return None
    listed = " | ".join(options)
    if not isinstance(value, str):
        return f"expected one of {listed}, got {kind_of(value)}"
    like = nearest(value, options)
    shown = json.dumps(value[:_SHOWN_CHARS_MAX])
    return f"expected one of {listed}, got {shown}" + (f"; did you mean {like}?" if like else "")
