"""What went over the wire, with the monotonic time of each: requests, answers, events that matter, faults, sockets.

Invariants: an entry's ``mono_ns`` is the machine's monotonic clock at the moment of receipt, as it is read from its
connection, or just before the send, so two entries of one log can be subtracted; the memory and the files are bounded;
no signature and no key is written.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import attrs
import msgspec

ENTRIES_MAX = 50_000
FILE_BYTES_MAX = 64 * 1024 * 1024
FILES_MAX = 3
_SECRET = frozenset({"signature", "apiKey"})


@attrs.frozen(kw_only=True)
class Entry:
    """One thing that happened. ``kind``: request, answer, event, socket, fault, control or market."""

    seq: int
    mono_ns: int
    wall_ns: int
    kind: str
    name: str
    facts: Mapping[str, Any]

    def line(self) -> bytes:
        """Write the entry as a line of JSON."""
        return msgspec.json.encode(attrs.asdict(self, recurse=False)) + b"\n"


def without_secrets(params: Mapping[str, Any]) -> dict[str, Any]:
    """Give a request's parameters without what could sign another."""
    return {name: value for name, value in params.items() if name not in _SECRET}


class RequestLog:
    """The last entries in memory, and all of them in a file that is rotated; close it at the end."""

    def __init__(
        self, path: Path | None = None, *, entries_max: int = ENTRIES_MAX, file_bytes_max: int = FILE_BYTES_MAX
    ) -> None:
        self.entries: deque[Entry] = deque(maxlen=entries_max)
        self.counts: dict[tuple[str, str], int] = {}
        self._path = path
        self._file_bytes_max = file_bytes_max
        self._file: IO[bytes] | None = None
        self._written = 0
        self._seq = 0
        if path is not None:
            self._file = path.open("ab", buffering=0)
            self._written = path.stat().st_size

    def note(self, kind: str, name: str, **facts: object) -> Entry:
        """Add an entry that happens now. OSError where the file cannot be written."""
        return self._add(kind, name, time.monotonic_ns(), facts)

    def came(self, name: str, at_ns: int, facts: Mapping[str, object]) -> Entry:
        """Add a request that came at ``at_ns`` of the monotonic clock. OSError as ``note`` has it."""
        return self._add("request", name, at_ns, facts)

    def _add(self, kind: str, name: str, at_ns: int, facts: Mapping[str, object]) -> Entry:
        self._seq += 1
        entry = Entry(
            seq=self._seq,
            mono_ns=at_ns,
            wall_ns=time.time_ns(),
            kind=kind,
            name=name,
            facts=facts,
        )
        self.entries.append(entry)
        self.counts[(kind, name)] = self.counts.get((kind, name), 0) + 1
        if self._file is not None:
            line = entry.line()
            self._file.write(line)
            self._written += len(line)
            if self._written >= self._file_bytes_max:
                self._rotate()
        return entry

    def of(self, kind: str, name: str | None = None) -> Iterator[Entry]:
        """Walk the entries in memory of a kind, oldest first."""
        return (each for each in self.entries if each.kind == kind and (name is None or each.name == name))

    def count(self, kind: str, name: str) -> int:
        """Give how many entries of a kind and name there have ever been."""
        return self.counts.get((kind, name), 0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _rotate(self) -> None:
        """Number the files up, drop the oldest, and begin a new one."""
        assert self._path is not None
        self.close()
        for number in range(FILES_MAX - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
            if newer.exists():
                newer.replace(older)
        self._file = self._path.open("ab", buffering=0)
        self._written = 0
