"""What a store lacks of a span, from the exchange: asked for, and kept as it comes.

Invariants: only what is missing is asked for (a hole in the middle as well as the end), so that a download that was cut
off goes on where it stopped; what has come is kept when the download fails or is interrupted; the rules of the day are
stored beside it.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import attrs
import numpy as np

from hedgegrid.backtest.store.parquet_files import Ids, SourceFile
from hedgegrid.backtest.store.reader import Store
from hedgegrid.backtest.store.rules import DatedRules, RulesBook, Told, Value, day_of, unknown
from hedgegrid.backtest.store.series import ID_COLUMN, Kind, SeriesName
from hedgegrid.backtest.store.staging import Staging
from hedgegrid.units import NS_PER_HOUR, NS_PER_MS
from hedgegrid.venues.ccxtpro.history import History, Page
from hedgegrid.venues.ccxtpro.parse_history import ListedRules
from hedgegrid.venues.simulated.arrays import IntArray

KEEP_ROWS: Final = 100_000
"""How many rows may be lost to a killed download."""

Span = tuple[int, int]
"""From a time to before another, in ns; or from a number to before another, where 2**62 is open."""

_OPEN: Final = 2**62


@attrs.frozen(kw_only=True)
class Wanted:
    """What is to be in the store: a series (bars, mark bars, aggregates or funding) from a time to before another."""

    series: SeriesName
    from_ns: int
    to_ns: int


@attrs.frozen(kw_only=True)
class DownloadReport:
    """What a download did. ``to_ns`` is the end that could be had: the exchange's own time bounds it."""

    series: SeriesName
    spans: int
    rows: int
    to_ns: int
    rules: DatedRules


Tell = Callable[[float, int], None]
"""Hears how far into the span the download is (0 to 1), and how many rows came."""


def download(
    root: Path,
    history: History,
    wanted: Wanted,
    *,
    imported: Callable[[], str],
    tell: Tell = lambda _share, _rows: None,
    keep_rows: int = KEEP_ROWS,
) -> DownloadReport:
    """Bring what the store below ``root`` lacks; ``imported`` gives the time in ISO 8601.

    Fatal where the exchange refuses or stays away (what came before is kept), and where it contradicts the store.
    """
    series = wanted.series
    root.mkdir(parents=True, exist_ok=True)
    rules = save_rules(root, history.rules(series.instrument), series.instrument)
    hours = rules.decimal("funding_interval_hours")
    step_ns = series.length_ns or (int(hours * NS_PER_HOUR) if series.kind is Kind.FUNDING and hours else NS_PER_MS)
    from_ns = -(-wanted.from_ns // step_ns) * step_ns
    to_ns = min(wanted.to_ns, history.server_ns())
    if series.length_ns:
        to_ns = to_ns // step_ns * step_ns
    keeper = _Keeper(root=root, series=series, imported=imported, keep_rows=keep_rows)
    spans = list(_missing(Store(root), history, series, (from_ns, to_ns), step_ns))
    try:
        for span in spans:
            for page in _pages(history, series, span, to_ns):
                keeper.take(page)
                tell((page.done_ns - from_ns) / (to_ns - from_ns), keeper.rows)
    finally:
        keeper.keep()
    tell(1.0, keeper.rows)
    return DownloadReport(series=series, spans=len(spans), rows=keeper.rows, to_ns=to_ns, rules=rules)


def save_rules(root: Path, listed: ListedRules, instrument: str) -> DatedRules:
    """Store the rules that the exchange told, under its own day; gives them as stored for that day."""
    fields: dict[str, tuple[Value, str]] = dict(listed.told)
    if listed.tiers:
        fields["tiers"] = ([list(tier) for tier in listed.tiers], "leverageBracket")
    rules = DatedRules(
        instrument=instrument,
        date=day_of(listed.taken_ms * NS_PER_MS),
        fields={field: Told(value=value, source=f"binanceusdm {source}") for field, (value, source) in fields.items()},
        notes=tuple(unknown(field, why) for field, why in listed.absent.items()),
    )
    RulesBook(root).save(rules)
    return rules


@attrs.define(kw_only=True)
class _Keeper:
    """Gathers pages and puts them into the store when there are enough."""

    root: Path
    series: SeriesName
    imported: Callable[[], str]
    keep_rows: int
    rows: int = 0
    _waiting: list[Page] = attrs.field(init=False, factory=list)
    _count: int = attrs.field(init=False, default=0)

    def take(self, page: Page) -> None:
        count = len(page.columns["ts_ns"])
        if not count:
            return
        self._waiting.append(page)
        self._count += count
        self.rows += count
        if self._count >= self.keep_rows:
            self.keep()

    def keep(self) -> None:
        """Put what waits into the store. Fatal where it contradicts what is there, or the disk refuses."""
        pages, self._waiting = self._waiting, []
        first, self._count = self.rows - self._count, 0
        if not pages:
            return
        batch = {name: np.concatenate([page.columns[name] for page in pages]) for name in pages[0].columns}
        rows = np.arange(first + 1, first + 1 + len(batch["ts_ns"]))
        ids: Ids = "venue" if self.series.kind in ID_COLUMN else "none"
        with Staging(self.root) as staging:
            source = staging.source(SourceFile(name=f"binanceusdm {self.series.folder}", sha256=""))
            staging.add(self.series, batch, rows, source=source, ids=ids)
            staging.publish(self.imported())


def _missing(store: Store, history: History, series: SeriesName, span: Span, step_ns: int) -> Iterator[Span]:
    """Give what the store lacks: spans of time, or of numbers for aggregates."""
    column = ID_COLUMN.get(series.kind, "ts_ns")
    stored = (batch[column] for batch in store.batches(series, *span, ["ts_ns", column]))
    if series.kind is not Kind.AGG_TRADES:
        yield from holes(stored, span, step_ns)
        return
    first = history.first_trade(series.instrument, *span)
    if first is not None:
        yield from holes(stored, (first, _OPEN), 1)


def holes(parts: Iterable[IntArray], span: Span, step: int) -> Iterator[Span]:
    """Give the stretches of a span that ascending values, ``step`` apart, leave out."""
    expected, stop = span
    for values in parts:
        due = np.concatenate((np.array([expected], np.int64), values[:-1] + step))
        for place in np.flatnonzero(values > due).tolist():
            yield int(due[place]), int(values[place])
        expected = max(expected, int(values[-1]) + step)
    if expected < stop:
        yield expected, stop


def _pages(history: History, series: SeriesName, span: Span, to_ns: int) -> Iterator[Page]:
    name = series.instrument
    match series.kind:
        case Kind.BARS | Kind.MARK_BARS:
            yield from history.bars(name, series.length_ns, *span, mark=series.kind is Kind.MARK_BARS)
        case Kind.FUNDING:
            yield from history.funding(name, *span)
        case _:
            yield from history.trades(name, span[0], None if span[1] == _OPEN else span[1], to_ns)
