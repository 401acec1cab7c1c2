"""The store, proved again: every file read to its last row, every rule of ``quality`` applied.

Invariant: verifying writes nothing, and holds one row group at a time.
"""

from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np

from hedgegrid.backtest.quality import Finding
from hedgegrid.backtest.store.examine import SeriesCheck
from hedgegrid.backtest.store.parquet_files import MonthFile
from hedgegrid.backtest.store.reader import Store
from hedgegrid.backtest.store.series import ID_COLUMN, SeriesName, month_after, month_start_ns
from hedgegrid.errors import Fatal
from hedgegrid.venues.simulated.recorded_files import utc_text


@attrs.frozen(kw_only=True)
class SeriesReport:
    """What verifying one series found. ``broken`` are files that cannot be used, one line each."""

    series: SeriesName
    rows: int
    findings: tuple[Finding, ...]
    broken: tuple[str, ...]


def verify_store(
    store: Store, tell: Callable[[SeriesName, int], None] = lambda _series, _rows: None
) -> list[SeriesReport]:
    """Read everything that is stored and judge it; ``tell`` hears of each month's rows."""
    return [_verified(store, series, tell) for series in store.series()]


def _verified(store: Store, series: SeriesName, tell: Callable[[SeriesName, int], None]) -> SeriesReport:
    check = SeriesCheck(series)
    broken: list[str] = []
    rows = 0
    for path in store.month_paths(series):
        try:
            rows += _walk(path, series, check)
        except Fatal as error:
            broken.append(str(error))
        tell(series, rows)
    return SeriesReport(series=series, rows=rows, findings=tuple(check.findings()), broken=tuple(broken))


def _walk(path: Path, series: SeriesName, check: SeriesCheck) -> int:
    """Judge one month. Fatal where it is damaged, or holds rows of another month or in another order."""
    rows, last = 0, None
    month = path.stem
    with MonthFile(path, series) as file:
        for group in range(file.groups):
            batch = file.read(group)
            times = batch["ts_ns"]
            outside = (times < month_start_ns(month)) | (times >= month_start_ns(month_after(month)))
            if outside.any():
                moment = utc_text(int(times[int(np.argmax(outside))]))
                raise Fatal(f"{path}: it holds a row of {moment}; remove it and import its sources again")
            if file.facts.ids == "venue":
                numbers = batch[ID_COLUMN[series.kind]]
                before = numbers[:1] - 1 if last is None else np.array([last])
                back = np.concatenate((before, numbers[:-1])) >= numbers
                if back.any():
                    row = rows + int(np.argmax(back)) + 1
                    raise Fatal(f"{path}: row {row}: its number does not ascend; remove it and import again")
                last = int(numbers[-1])
            check.take(batch, file.facts.ids)
            rows += len(times)
    return rows
