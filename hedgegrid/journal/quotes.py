"""Quotes and marks, where they are recorded: the market tape that a backtest can be run from.

Invariants: they are no part of the chain of hashes and of no projection; the oldest go, so the table is bounded.
"""

import sqlite3

from hedgegrid.journal.changes import Write
from hedgegrid.journal.entries import Row
from hedgegrid.journal.schema import QUOTES
from hedgegrid.journal.tape import encode
from hedgegrid.messages.events import MarkPrice, Quote

_FORGET = "DELETE FROM quotes WHERE n <= ?"


class QuoteTape:
    """Keeps the newest ``kept`` quotes and marks; up to a tenth more before the oldest go."""

    def __init__(self, connection: sqlite3.Connection, kept: int) -> None:
        """Go on after what the file holds. AssertionError unless something is to be kept."""
        assert kept > 0, "a tape of no quotes is none"
        self._kept = kept
        oldest, newest = connection.execute("SELECT coalesce(min(n), 1), coalesce(max(n), 0) FROM quotes").fetchone()
        self._forgotten = oldest - 1
        self._n = newest
        self._waiting: list[Row] = []

    def take(self, message: Quote | MarkPrice) -> None:
        """Have a quote or mark written with the next commit; where none comes, only the newest are kept."""
        self._n += 1
        self._waiting.append((self._n, type(message).__name__, message.ts_recv_ns, encode(message)))
        if len(self._waiting) > self._kept:
            del self._waiting[0]

    def drain(self) -> list[Write]:
        """Give the rows to write and those to delete."""
        if not self._waiting:
            return []
        writes: list[Write] = [(QUOTES.write, self._waiting)]
        self._waiting = []
        if self._n - self._forgotten > self._kept + self._kept // 10:
            self._forgotten = self._n - self._kept
            writes.append((_FORGET, [(self._forgotten,)]))
        return writes
