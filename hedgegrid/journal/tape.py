"""A message as a row of the tape, and the chain of hashes that proves the rows.

Invariants: equal messages give equal bytes, whatever the interpreter's run or version (fields and keys are sorted); a
row's hash covers every row before it, and no wall time, so two runs of the same market and seed end in the same hash.
"""

import hashlib
import inspect
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs
import msgspec

from hedgegrid.core.permission import LatchedEntry
from hedgegrid.errors import Fatal
from hedgegrid.messages import commands, events
from hedgegrid.messages.events import MarkPrice, Message, Quote
from hedgegrid.model.account import SessionMemory

GENESIS: Final = hashlib.sha256(b"hedgegrid journal").digest()
"""What the first row is chained to."""


@attrs.frozen(kw_only=True)
class Latched(Message):
    """The latched reasons that stand from here on; the journal's own message, because they outlive a restart."""

    entries: tuple[LatchedEntry, ...]


@attrs.frozen(kw_only=True)
class SessionKept(Message):
    """What the session controls remember from here on; the journal's own message too."""

    memory: SessionMemory


@attrs.frozen(kw_only=True)
class ThrottleKept(Message):
    """The operator's factor on the quantity of new entries, in ppm, from here on; it outlives a restart as well."""

    factor_ppm: int


def _kinds() -> Mapping[str, type[Message]]:
    found = {
        name: one
        for module in (events, commands)
        for name, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, Message) and one not in (Message, Quote, MarkPrice)
    }
    return MappingProxyType({**found, "Latched": Latched, "SessionKept": SessionKept, "ThrottleKept": ThrottleKept})


KINDS: Final = _kinds()
"""Every message that the tape takes, by name."""

_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_DECODERS: Final = {name: msgspec.json.Decoder(kind) for name, kind in KINDS.items()}

encode = _ENCODER.encode
"""Give a message or a part of one as JSON."""


def text(value: object) -> str:
    """Give a value as JSON text, for a column that people read."""
    return _ENCODER.encode(value).decode()


def decode(kind: str, payload: bytes) -> Message:
    """Read a message back. Fatal for a kind that is not known or bytes that are not one."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise Fatal(f"the journal holds a message of an unknown kind {kind!r}")
    try:
        return decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Fatal(f"the journal holds a {kind} that cannot be read: {error}") from error


def link(previous: bytes, kind: str, payload: bytes) -> bytes:
    """Give a row's hash: over the hash before it, its kind and its payload."""
    return hashlib.sha256(b"%b%b\0%b" % (previous, kind.encode(), payload)).digest()
