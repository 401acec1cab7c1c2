"""What the projections have to write, and what they note beside the tape.

Invariants: a row that changes twice between two commits is written once; rows are written table by table in the order
of ``PROJECTED``; a note names the tape row that caused it.
"""

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Protocol

import attrs

from hedgegrid.core.reconcile_views import FillKey
from hedgegrid.journal.entries import Entry, OrderEntry, Row
from hedgegrid.journal.schema import COUNTERS, INCIDENTS, PROJECTED, Table
from hedgegrid.journal.tape import text
from hedgegrid.model.order import Leg

Write = tuple[str, list[Row]]
"""A statement and the rows that it writes."""


@attrs.frozen(kw_only=True)
class Moment:
    """Where the projections are: the tape row that is being applied, and the time it carries."""

    row: int
    ts_ns: int


class Archive(Protocol):
    """What is no longer in memory, asked for on rare occasions (late news of old orders, repeated fills)."""

    def order(self, client_id: str) -> OrderEntry | None:
        """Give an order by its client id."""
        ...

    def has_fill(self, key: FillKey) -> bool:
        """Tell whether a fill is known."""
        ...

    def has_lot(self, instrument: str, leg: Leg, lot_id: int) -> bool:
        """Tell whether a lot is known, open or closed."""
        ...

    def has_funding(self, instrument: str, ts_ns: int) -> bool:
        """Tell whether a settlement is known."""
        ...


class Changes:
    """Rows that wait to be written, by table and key."""

    def __init__(self) -> None:
        """Start with nothing to write."""
        self._rows: dict[str, dict[Hashable, Entry | Row]] = {table.name: {} for table in PROJECTED}
        self._writes = [(table.write, self._rows[table.name]) for table in PROJECTED]

    def put(self, table: Table, key: Hashable, entry: Entry | Row) -> None:
        """Have a row written with the next commit; an entry gives its row then."""
        self._rows[table.name][key] = entry

    def drain(self) -> list[Write]:
        """Give all that waits, and forget it."""
        writes = []
        for statement, rows in self._writes:
            if rows:
                writes.append((statement, [one if isinstance(one, tuple) else one.row() for one in rows.values()]))
                rows.clear()
        return writes


class Notes:
    """Incidents and counters."""

    def __init__(self, changes: Changes) -> None:
        """Note into ``changes``."""
        self._changes = changes
        self.incidents = 0
        self.counters: Counter[str] = Counter()

    def incident(
        self, at: Moment, what: str, *, kind: str = "journal", actor: str = "journal", figures: Mapping[str, str]
    ) -> None:
        """Write an incident; those of kind ``journal`` are what the journal itself finds odd in the tape."""
        self.incidents += 1
        row = (self.incidents, at.row, at.ts_ns, kind, actor, what, text(figures))
        self._changes.put(INCIDENTS, self.incidents, row)

    def count(self, name: str, by: int = 1) -> None:
        """Raise a counter."""
        self.counters[name] += by
        self._changes.put(COUNTERS, name, (name, self.counters[name]))
