"""Client order ids: an open order found on the exchange explains itself.

``demo.szabc1LE3.k2``: account, boot epoch (base 36), leg (L, S), purpose (E, T, S, F, B), level (absent where an order
stands for no single rung), sequence within the boot (base 36). The capitals end the epoch, so no place is ambiguous.

Invariants: an id has at most 36 characters; distinct parts give distinct ids, and an id gives its parts back exactly;
what this module does not write parses as None. Ids are never reused because (epoch, sequence) never repeats.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

import attrs

from hedgegrid.model.order import Leg, Purpose

LENGTH_MAX: Final = 36
ACCOUNT_LENGTH_MAX: Final = 16
EPOCHS: Final = 36**7
"""Epochs are below this; seconds since 1970 reach it after the year 4000."""
LEVEL_MAX: Final = 999
NO_LEVEL: Final = -1
"""The level of an order that stands for several rungs or for none."""
SEQUENCES: Final = 36**6
"""Sequences are below this: the orders that one boot can send."""
PARSED_KEPT: Final = 1_024
"""Ids whose parts are remembered: every part of the house reads an order's id on its way, some several times."""

_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_LEG_LETTERS: Final[Mapping[Leg, str]] = {Leg.LONG: "L", Leg.SHORT: "S"}
_PURPOSE_LETTERS: Final[Mapping[Purpose, str]] = {
    Purpose.ENTRY: "E",
    Purpose.TAKE_PROFIT: "T",
    Purpose.STOP: "S",
    Purpose.FLATTEN: "F",
    Purpose.BACKSTOP: "B",
}
_LEGS: Final[Mapping[str, Leg]] = {letter: leg for leg, letter in _LEG_LETTERS.items()}
_PURPOSES: Final[Mapping[str, Purpose]] = {letter: purpose for purpose, letter in _PURPOSE_LETTERS.items()}
_ACCOUNT: Final = re.compile(r"[a-z0-9-]{1,16}")
_CLIENT_ID: Final = re.compile(
    r"(?P<account>[a-z0-9-]{1,16})"
    r"\.(?P<epoch>0|[1-9a-z][0-9a-z]{0,6})"
    r"(?P<leg>[LS])(?P<purpose>[ETSFB])(?P<level>|0|[1-9][0-9]{0,2})"
    r"\.(?P<sequence>0|[1-9a-z][0-9a-z]{0,5})"
)


@attrs.frozen(kw_only=True)
class ClientId:
    """The parts of a client id; ``epoch`` names the boot (unix seconds, or 1 in sim), ``sequence`` its order."""

    account: str
    epoch: int
    leg: Leg
    purpose: Purpose
    level: int
    sequence: int


def client_id(*, account: str, epoch: int, leg: Leg, purpose: Purpose, level: int, sequence: int) -> str:
    """Write the client id of an order.

    ValueError for a part outside its range, and for LIQUIDATION, which only an exchange orders.
    """
    if _ACCOUNT.fullmatch(account) is None:
        raise ValueError(f"account name {account!r}: 1 to {ACCOUNT_LENGTH_MAX} of a-z, 0-9 and -")
    if purpose not in _PURPOSE_LETTERS:
        raise ValueError(f"{purpose.name} is not a purpose that we order for")
    _within("epoch", epoch, 0, EPOCHS - 1)
    _within("level", level, NO_LEVEL, LEVEL_MAX)
    _within("sequence", sequence, 0, SEQUENCES - 1)
    place = "" if level == NO_LEVEL else str(level)
    role = f"{_LEG_LETTERS[leg]}{_PURPOSE_LETTERS[purpose]}{place}"
    return f"{account}.{_base36(epoch)}{role}.{_base36(sequence)}"


@lru_cache(maxsize=PARSED_KEPT)
def parse_client_id(text: str) -> ClientId | None:
    """Read a client id back; None for every text that ``client_id`` does not write."""
    match = _CLIENT_ID.fullmatch(text)
    if match is None:
        return None
    level = match["level"]
    return ClientId(
        account=match["account"],
        epoch=int(match["epoch"], 36),
        leg=_LEGS[match["leg"]],
        purpose=_PURPOSES[match["purpose"]],
        level=int(level) if level else NO_LEVEL,
        sequence=int(match["sequence"], 36),
    )


def _within(part: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ValueError(f"{part} {value} is outside {least} to {most}")


def _base36(value: int) -> str:
    digits = _DIGITS[value % 36]
    while value := value // 36:
        digits = _DIGITS[value % 36] + digits
    return digits
