"""A table that grows at its end.

Invariant: a table that was handed out never changes.
"""

from typing import Final

import attrs
import numpy as np

from hedgegrid.backtest.result import Rows

ROWS_START: Final = 4_096
SPARE: Final = 1.1
MOST: Final = 16
"""Room is made for at most so many times the rows that there are."""


@attrs.define(eq=False)
class GrowingTable:
    """Rows of one layout.

    Room is made for all that is to be expected: memory that is not written to costs nothing, copying and clearing does.
    """

    _rows: Rows
    _used: int = attrs.field(init=False, default=0)
    _is_out: bool = attrs.field(init=False, default=False)

    def add(self, rows: Rows, share: float = 1.0) -> None:
        """Add rows of the same layout; ``share`` is the part of all rows that have come with these, as far as known."""
        begin, end = self._used, self._used + len(rows)
        if self._is_out or end > len(self._rows):
            room = len(self._rows)
            if end > room:
                room = max(ROWS_START, 2 * end, int(end * min(MOST, SPARE / share)))
            grown = np.empty(room, self._rows.dtype)
            _copy(grown[:begin], self._rows[:begin])
            self._rows, self._is_out = grown, False
        _copy(self._rows[begin:end], rows)
        self._used = end

    def rows(self) -> Rows:
        """Give all rows so far."""
        self._is_out = True
        return self._rows[: self._used]


def _copy(to: Rows, of: Rows) -> None:
    """Copy rows as plain bytes: field by field it takes three times as long."""
    assert to.dtype == of.dtype, "a log has the layout of its table"
    plain = f"V{to.dtype.itemsize}"
    to.view(plain)[:] = np.asarray(of).view(plain)
