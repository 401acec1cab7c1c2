"""When each control last stopped something, and with which figures: what an operator asks after a restart too.

Invariant: one entry a control and scope, so the memory is bounded by the controls there are; a refusal by the gate and
a reason that rose are trips alike.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from hedgegrid.core.permission import ChangeKind
from hedgegrid.journal.changes import Changes, Moment
from hedgegrid.journal.entries import Cell
from hedgegrid.journal.schema import TRIPPED
from hedgegrid.journal.tape import text
from hedgegrid.messages.events import PermissionChanged, RefusedBatch
from hedgegrid.model.trip import LastTrip

_RISES: Final = (ChangeKind.RAISED.value, ChangeKind.RAISED_AGAIN.value)


class Tripped:
    """The newest trip of every control."""

    def __init__(self, changes: Changes) -> None:
        """Note into ``changes``."""
        self._changes = changes
        self._last: dict[tuple[str, str], LastTrip] = {}

    def last(self) -> tuple[LastTrip, ...]:
        """Give the newest trip of every control that ever tripped."""
        return tuple(self._last.values())

    def refused(self, at: Moment, batch: RefusedBatch) -> None:
        """Take the gate's refusals."""
        for one in batch.refused:
            figures = {"limit": one.limit, "remedy": one.remedy, "value": one.value}
            self._take(at, one.control, batch.instrument, figures)

    def changed(self, at: Moment, change: PermissionChanged) -> None:
        """Take a change of the permission: a trip where a reason rose."""
        if change.change in _RISES and change.reason:
            self._take(at, change.reason, change.scope, change.figures)

    def _take(self, at: Moment, control: str, scope: str, figures: Mapping[str, str]) -> None:
        before = self._last.get((control, scope))
        times = 1 if before is None else before.times + 1
        told = dict(figures)
        self._last[control, scope] = LastTrip(control=control, scope=scope, ts_ns=at.ts_ns, times=times, figures=told)
        self._changes.put(TRIPPED, (control, scope), (control, scope, at.row, at.ts_ns, times, text(told)))

    def restore(self, row: tuple[Cell, ...]) -> None:
        """Take a row of the table back."""
        control, scope, _, ts_ns, times, figures = row
        assert isinstance(control, str), "a control is a name"
        assert isinstance(scope, str), "a scope is a name"
        assert isinstance(ts_ns, int), "a time is whole"
        assert isinstance(times, int), "a count is whole"
        assert isinstance(figures, str), "figures are text"
        told = msgspec.json.decode(figures, type=dict[str, str])
        self._last[control, scope] = LastTrip(control=control, scope=scope, ts_ns=ts_ns, times=times, figures=told)
