"""The store as the backtest reads it: streams of columns in an instrument's ticks and lots.

Invariants: reading writes nothing; a stream holds one row group of each series that it joins, never a whole series;
what it yields ascends in time without overlap; times are asked for as ``from_ns`` <= ts < ``to_ns``.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs
import numpy as np

from hedgegrid.backtest.store.as_of import UNKNOWN, AsOf, Block
from hedgegrid.backtest.store.parquet_files import MonthFacts, MonthFile
from hedgegrid.backtest.store.rules import DatedRules, RulesBook
from hedgegrid.backtest.store.scaling import in_lots, in_ticks
from hedgegrid.backtest.store.series import (
    Batch,
    Kind,
    SeriesName,
    instrument_folder,
    instrument_of_folder,
    month_after,
    month_start_ns,
    series_of_folder,
)
from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, IntArray, TickArrays, content_hash, no_funding

EVER_NS: Final = 2**62
"""Later than any row: the ``to_ns`` that leaves nothing out."""

BOOK_AGE_MAX_NS: Final = NS_PER_MINUTE
MARK_AGE_MAX_NS: Final = 10 * NS_PER_S
"""A book or a single mark older than this is not what a trader would have known: the trade's own price stands in."""

_MONTH = re.compile(r"\d{4}-\d{2}")
_BOOK: Final = ("bid_e8", "ask_e8", "bid_qty_e8", "ask_qty_e8")


@attrs.frozen(kw_only=True)
class SeriesFacts:
    """What the store holds of one series: its months, rows, and first and last time in ns."""

    series: SeriesName
    months: tuple[MonthFacts, ...]
    rows: int
    first_ns: int
    last_ns: int
    size_bytes: int


class Store:
    """A store of recorded markets in a folder."""

    def __init__(self, root: Path) -> None:
        """Open it. Fatal where there is no such folder."""
        if not root.is_dir():
            raise Fatal(f"{root}: no such store; make one with `hedgegrid data import --store {root} FILES`")
        self.root = root
        self._rules = RulesBook(root)

    def series(self) -> list[SeriesName]:
        """List what is stored, in order."""
        found: list[SeriesName] = []
        for folder in self.root.iterdir():
            instrument = instrument_of_folder(folder.name) if folder.is_dir() else None
            if instrument is None:
                continue
            names = (series_of_folder(instrument, inner.name) for inner in folder.iterdir())
            found += [name for name in names if name is not None and self.month_paths(name)]
        return sorted(found)

    def inventory(self) -> list[SeriesFacts]:
        """Tell what each series holds. Fatal for a file that is damaged."""
        return [self.facts(series) for series in self.series()]

    def facts(self, series: SeriesName) -> SeriesFacts:
        """Tell what a series holds. Fatal where it holds nothing, or a file is damaged."""
        paths = self.month_paths(series)
        if not paths:
            raise self._absent(series)
        months: list[MonthFacts] = []
        edges: list[int] = []
        for path in paths:
            with MonthFile(path, series) as file:
                months.append(file.facts)
                edges += [file.bounds(0, "ts_ns")[0], file.bounds(file.groups - 1, "ts_ns")[1]]
        return SeriesFacts(
            series=series,
            months=tuple(months),
            rows=sum(month.rows for month in months),
            first_ns=edges[0],
            last_ns=edges[-1],
            size_bytes=sum(path.stat().st_size for path in paths),
        )

    def identity(self, series: Sequence[SeriesName]) -> str:
        """Give a hash that changes when what these series hold does: months, rows and sources."""
        parts: list[str] = []
        for name in sorted(series):
            for month in self.facts(name).months:
                sources = [f"{one.name} {one.sha256}" for one in month.sources]
                parts += [month.instrument, month.series, month.month, str(month.rows), *sources]
        return content_hash(parts)

    def batches(
        self, series: SeriesName, from_ns: int = 0, to_ns: int = EVER_NS, columns: Sequence[str] | None = None
    ) -> Iterator[Batch]:
        """Stream a series as stored, in 1e-8; nothing where the store lacks it. Fatal for a damaged file."""
        for path in self.month_paths(series):
            if month_start_ns(month_after(path.stem)) <= from_ns or month_start_ns(path.stem) >= to_ns:
                continue
            with MonthFile(path, series) as file:
                yield from file.within(from_ns, to_ns, columns)

    def bars(self, name: str, length_ns: int, from_ns: int, to_ns: int, instrument: Instrument) -> Iterator[BarArrays]:
        """Stream bars. Fatal where the store has none of that length, or a price does not fit the instrument."""
        yield from self._bars(
            SeriesName(instrument=name, kind=Kind.BARS, length_ns=length_ns), from_ns, to_ns, instrument
        )

    def mark_bars(
        self, name: str, length_ns: int, from_ns: int, to_ns: int, instrument: Instrument
    ) -> Iterator[BarArrays]:
        """Stream bars of the mark price, whose volume is 0. Fatal as ``bars``."""
        series = SeriesName(instrument=name, kind=Kind.MARK_BARS, length_ns=length_ns)
        yield from self._bars(series, from_ns, to_ns, instrument)

    def funding(self, name: str, from_ns: int = 0, to_ns: int = EVER_NS) -> FundingArrays:
        """Give the settlements (some thousand at most); empty where the store has none."""
        batches = list(self.batches(SeriesName(instrument=name, kind=Kind.FUNDING), from_ns, to_ns))
        if not batches:
            return no_funding()
        return FundingArrays(
            ts_ns=np.concatenate([batch["ts_ns"] for batch in batches]),
            rate_e8=np.concatenate([batch["rate_e8"] for batch in batches]),
        )

    def trades(self, name: str, from_ns: int, to_ns: int, instrument: Instrument) -> Iterator[TickArrays]:
        """Stream trades, each with the book and the mark known strictly before it where the store has them.

        Single trades are used where the span has any, else aggregates. Trades under one lot are left out and counted in
        ``notes``; ``funding`` is empty: ask ``funding`` for it. Fatal where the span has no trade.
        """
        kinds = (Kind.TRADES, Kind.AGG_TRADES)
        stored = [SeriesName(instrument=name, kind=kind) for kind in kinds]
        series = next((one for one in stored if next(self.batches(one, from_ns, to_ns, ["ts_ns"]), None)), None)
        if series is None:
            raise self._absent(stored[0])
        book = AsOf(blocks=self._book(name, from_ns, to_ns), width=len(_BOOK), age_max_ns=BOOK_AGE_MAX_NS)
        marks = self._marks(name, from_ns, to_ns)
        for batch in self.batches(series, from_ns, to_ns, ["ts_ns", "price_e8", "qty_e8"]):
            chunk = _ticks(batch, book, marks, instrument)
            if len(chunk.ts_ns):
                yield chunk

    def rules_at(self, name: str, ts_ns: int) -> DatedRules:
        """Give the instrument's rules in force at a time: the newest known by then, else the oldest, with a note."""
        return self._rules.at(name, ts_ns)

    def rules(self, name: str) -> list[DatedRules]:
        """List all stored rules of an instrument, oldest first."""
        return self._rules.all(name)

    def instruments(self) -> list[str]:
        """List the instruments that have a folder, with or without market or rules."""
        names = (instrument_of_folder(folder.name) for folder in self.root.iterdir() if folder.is_dir())
        return sorted(name for name in names if name is not None)

    def month_paths(self, series: SeriesName) -> list[Path]:
        """List the files of a series, by month."""
        folder = self.root / instrument_folder(series.instrument) / series.folder
        return sorted(path for path in folder.glob("*.parquet") if _MONTH.fullmatch(path.stem))

    def _absent(self, series: SeriesName) -> Fatal:
        has = ", ".join(one.text for one in self.series()) or "nothing"
        return Fatal(f"{self.root}: it holds no {series.text} of that time; it has {has}")

    def _bars(self, series: SeriesName, from_ns: int, to_ns: int, instrument: Instrument) -> Iterator[BarArrays]:
        empty = True
        for batch in self.batches(series, from_ns, to_ns):
            empty = False
            times = batch["ts_ns"]
            opened, high, low, close = (
                in_ticks(batch[column], instrument, times) for column in ("open_e8", "high_e8", "low_e8", "close_e8")
            )
            has_volume = series.kind is Kind.BARS
            yield BarArrays(
                open_ns=times,
                open_ticks=opened,
                high_ticks=high,
                low_ticks=low,
                close_ticks=close,
                volume_lots=in_lots(batch["volume_e8"], instrument, times) if has_volume else np.zeros_like(times),
            )
        if empty:
            raise self._absent(series)

    def _book(self, name: str, from_ns: int, to_ns: int) -> Iterator[Block]:
        series = SeriesName(instrument=name, kind=Kind.BOOK)
        for batch in self.batches(series, max(0, from_ns - BOOK_AGE_MAX_NS), to_ns):
            yield batch["ts_ns"], np.stack([batch[column] for column in _BOOK])

    def _marks(self, name: str, from_ns: int, to_ns: int) -> AsOf:
        """Join single marks where the store has any, else the finest mark bars: their open, then their close."""
        single = SeriesName(instrument=name, kind=Kind.MARKS)
        if self.month_paths(single):
            batches = self.batches(single, max(0, from_ns - MARK_AGE_MAX_NS), to_ns)
            blocks = ((batch["ts_ns"], batch["price_e8"][None, :]) for batch in batches)
            return AsOf(blocks=blocks, width=1, age_max_ns=MARK_AGE_MAX_NS)
        bars = [one for one in self.series() if one.instrument == name and one.kind is Kind.MARK_BARS]
        if not bars:
            return AsOf(blocks=iter(()), width=1, age_max_ns=0)
        finest = min(bars, key=lambda one: one.length_ns)
        batches = self.batches(finest, max(0, from_ns - 2 * finest.length_ns), to_ns)
        points = (_bar_points(batch, finest.length_ns) for batch in batches)
        return AsOf(blocks=points, width=1, age_max_ns=finest.length_ns)


def _bar_points(batch: Batch, length_ns: int) -> Block:
    """Give the open of each bar at its start, and its close a nanosecond before its end."""
    opened = batch["ts_ns"]
    times = np.stack((opened, opened + length_ns - 1), axis=1).ravel()
    return times, np.stack((batch["open_e8"], batch["close_e8"]), axis=1).reshape(1, -1)


def _ticks(batch: Batch, book: AsOf, marks: AsOf, instrument: Instrument) -> TickArrays:
    """Give a batch of trades with book and mark, less those under one lot."""
    every = batch["ts_ns"]
    known, (mark,) = book.before(every), marks.before(every)
    lots, price_e8 = in_lots(batch["qty_e8"], instrument, every), batch["price_e8"]
    keep = lots >= 1
    times, left_out = every, int(np.count_nonzero(~keep))
    if left_out:
        times, lots, price_e8, known, mark = every[keep], lots[keep], price_e8[keep], known[:, keep], mark[keep]
    price = in_ticks(price_e8, instrument, times)
    bid, ask, bid_qty, ask_qty = known
    return TickArrays(
        ts_ns=times,
        price_ticks=price,
        qty_lots=lots,
        bid_ticks=_or_price(bid, price, instrument, times),
        ask_ticks=_or_price(ask, price, instrument, times),
        bid_qty_lots=in_lots(np.maximum(bid_qty, 0), instrument, times),
        ask_qty_lots=in_lots(np.maximum(ask_qty, 0), instrument, times),
        mark_ticks=_or_price(mark, price, instrument, times),
        funding=no_funding(),
        notes=(f"{left_out} trades under one lot",) if left_out else (),
    )


def _or_price(price_e8: IntArray, traded: IntArray, instrument: Instrument, times: IntArray) -> IntArray:
    """Give a column in ticks, with the trade's own price where nothing was known."""
    known = price_e8 != UNKNOWN
    if known.all():
        return in_ticks(price_e8, instrument, times)
    ticks = traded.copy()
    if not known.any():
        return ticks
    ticks[known] = in_ticks(price_e8[known], instrument, times[known])
    return ticks
