"""A table that grows at its end, in place.

Invariants: rows are held once, however many they become (growing moves pages of memory, it does not copy); a table that
was handed out never changes.
"""

import attrs

from hedgegrid.backtest.result import Rows


@attrs.define(eq=False)
class GrowingTable:
    """Rows of one layout, whose columns are all int64."""

    _rows: Rows
    _is_out: bool = attrs.field(init=False, default=False)

    def add(self, rows: Rows) -> None:
        """Add rows by the names of their columns; columns that they lack are 0."""
        begin = len(self._rows)
        if self._is_out:
            self._rows, self._is_out = self._rows.copy(), False
        self._rows.resize(begin + len(rows), refcheck=False)
        added = self._rows[begin:]
        if rows.dtype == added.dtype:
            added[:] = rows
            return
        for name in rows.dtype.names or ():
            added[name] = rows[name]

    def rows(self) -> Rows:
        """Give all rows so far."""
        self._is_out = True
        return self._rows
