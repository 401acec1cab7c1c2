"""When funding settlements happen on a tape.

Invariants: a settlement is listed in exactly one step, the first with ``ts_ns`` at or after it; one from before the
first step or after the last is listed in none, but it is known to ``last`` from its time on.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from hedgegrid.model.market import Settlement
from hedgegrid.venues.simulated.arrays import FundingArrays

BY_STEP = dict[int, tuple[Settlement, ...]]


class Settlements:
    """The settlements of a tape's instruments, in the order of the instruments."""

    def __init__(self, funding: Sequence[FundingArrays]) -> None:
        self._times: list[list[int]] = []
        self._rows: list[list[Settlement]] = []
        for index, series in enumerate(funding):
            times = series.ts_ns.tolist()
            self._times.append(times)
            self._rows.append(
                [
                    Settlement(instrument_index=index, ts_ns=ts_ns, rate_e8=rate_e8)
                    for ts_ns, rate_e8 in zip(times, series.rate_e8.tolist(), strict=True)
                ]
            )

    def last(self, instrument_index: int, ts_ns: int) -> Settlement | None:
        """Give the latest settlement at or before ``ts_ns``, or None."""
        place = bisect_right(self._times[instrument_index], ts_ns)
        return self._rows[instrument_index][place - 1] if place else None

    def from_(self, ts_ns: int) -> list[Settlement]:
        """Give every settlement at or after ``ts_ns``, by time and then by instrument."""
        due = [row for rows in self._rows for row in rows if row.ts_ns >= ts_ns]
        return sorted(due, key=lambda row: (row.ts_ns, row.instrument_index))


def grouped(placed: Iterable[tuple[int, Settlement]]) -> BY_STEP:
    """Collect settlements by the number of their step, keeping their order."""
    by_step: dict[int, list[Settlement]] = {}
    for number, settlement in placed:
        by_step.setdefault(number, []).append(settlement)
    return {number: tuple(rows) for number, rows in by_step.items()}
