"""A stored market walked stretch by stretch, so that more of it than memory holds streams through.

Invariants: stretches follow each other without overlap and together hold every row once; a stretch of trades holds
whole bars; each settlement happens in exactly one stretch, in the first step at or after it.
"""

from collections.abc import Iterator, Sequence

import attrs
import numpy as np

from hedgegrid.backtest import columns
from hedgegrid.backtest.store.reader import Store
from hedgegrid.backtest.store.series import Kind, SeriesName
from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, TickArrays
from hedgegrid.venues.simulated.recorded_files import utc_text

ROWS_AT_ONCE = 1_000_000


def joined_bars(parts: Sequence[BarArrays]) -> BarArrays:
    """Give consecutive bars as one value; none at all is an empty one."""
    if len(parts) == 1:
        return parts[0]
    empty = np.empty(0, np.int64)
    names = [field.name for field in attrs.fields(BarArrays) if field.name != "notes"]
    whole = {name: np.concatenate([getattr(part, name) for part in parts]) if parts else empty for name in names}
    return BarArrays(**whole, notes=tuple(note for part in parts for note in part.notes))


def joined_ticks(parts: Sequence[TickArrays], funding: FundingArrays) -> TickArrays:
    """Give consecutive trades as one value; none at all is an empty one."""
    empty = np.empty(0, np.int64)
    names = [field.name for field in attrs.fields(TickArrays) if field.name not in ("notes", "funding")]
    whole = {name: np.concatenate([getattr(part, name) for part in parts]) if parts else empty for name in names}
    return TickArrays(**whole, funding=funding, notes=tuple(note for part in parts for note in part.notes))


class BarBuilder:
    """Builds an instrument's bars from trades that come in pieces, as ``bars_from_ticks`` does from whole ones."""

    def __init__(self, length_ns: int) -> None:
        self._length_ns = length_ns
        self._parts: list[BarArrays] = []
        self.first_ns = 0
        self.last_ns = 0

    def take(self, ticks: TickArrays) -> None:
        """Take the next trades."""
        if not len(ticks.ts_ns):
            return
        if not self._parts:
            self.first_ns = int(ticks.ts_ns[0])
        self.last_ns = int(ticks.ts_ns[-1])
        number = ticks.ts_ns // self._length_ns
        starts = np.flatnonzero(np.diff(number, prepend=number[0] - 1))
        ends = np.append(starts[1:], len(number)) - 1
        price = ticks.price_ticks
        part = BarArrays(
            open_ns=number[starts] * self._length_ns,
            open_ticks=price[starts],
            high_ticks=np.maximum.reduceat(price, starts),
            low_ticks=np.minimum.reduceat(price, starts),
            close_ticks=price[ends],
            volume_lots=np.add.reduceat(ticks.qty_lots, starts),
        )
        self._parts.append(part)

    def bars(self, until_ns: int) -> BarArrays:
        """Give the bars that end by ``until_ns``: pieces of one bar joined, silent ones carrying the close."""
        whole = joined_bars(self._parts)
        first = -(-self.first_ns // self._length_ns)
        count = max(until_ns // self._length_ns - first, 0)
        number = whole.open_ns // self._length_ns
        starts = np.flatnonzero(np.diff(number, prepend=number[0] - 1))
        ends = np.append(starts[1:], len(number)) - 1
        high = np.maximum.reduceat(whole.high_ticks, starts)
        low = np.minimum.reduceat(whole.low_ticks, starts)
        volume = np.add.reduceat(whole.volume_lots, starts)
        wanted = first + np.arange(count, dtype=np.int64)
        # The newest bar at or before each wanted one: itself where it had trades, else the one whose close it carries.
        place = np.searchsorted(number[starts], wanted, side="right") - 1
        traded = number[starts][place] == wanted
        close = whole.close_ticks[ends][place]
        return BarArrays(
            open_ns=wanted * self._length_ns,
            open_ticks=np.where(traded, whole.open_ticks[starts][place], close),
            high_ticks=np.where(traded, high[place], close),
            low_ticks=np.where(traded, low[place], close),
            close_ticks=close,
            volume_lots=np.where(traded, volume[place], 0),
        )


@attrs.define(kw_only=True, eq=False)
class StoredMarket:
    """What a backtest reads from a store: bars where it has them of this length, else trades."""

    store: Store
    instruments: tuple[Instrument, ...]
    length_ns: int
    from_ns: int
    to_ns: int
    rows_at_once: int = ROWS_AT_ONCE

    def series(self) -> list[SeriesName]:
        """Name the series that the market is read from. Fatal where an instrument has neither bars nor trades."""
        bars = [SeriesName(instrument=one.name, kind=Kind.BARS, length_ns=self.length_ns) for one in self.instruments]
        if all(self.store.month_paths(name) for name in bars):
            return bars
        found = []
        for one, name in zip(self.instruments, bars, strict=True):
            kinds = (Kind.TRADES, Kind.AGG_TRADES)
            trades = [SeriesName(instrument=one.name, kind=kind) for kind in kinds]
            series = next((each for each in trades if self.store.month_paths(each)), None)
            if series is None:
                has = ", ".join(each.text for each in self.store.series()) or "nothing"
                raise Fatal(f"{self.store.root}: it holds neither {name.text} nor trades; it has {has}")
            found.append(series)
        return found

    @property
    def is_ticks(self) -> bool:
        """Whether the market is one of trades."""
        return self.series()[0].kind is not Kind.BARS

    def span(self) -> tuple[int, int]:
        """Give the first and last time that every instrument has. Fatal where they share none, or none in the span."""
        facts = [self.store.facts(name) for name in self.series()]
        first, last = max(one.first_ns for one in facts), min(one.last_ns for one in facts)
        if first > last:
            raise Fatal(f"{self.store.root}: the instruments share no time; store the same days of all of them")
        if self.from_ns > last or self.to_ns <= first:
            raise Fatal(
                f"{self.store.root}: --from and --to leave nothing of the data: it runs from {utc_text(first)} to "
                f"{utc_text(last)}"
            )
        return max(self.from_ns, first), min(self.to_ns - 1, last)

    def funding(self) -> tuple[FundingArrays, ...]:
        """Give every settlement of each instrument, from before the span too."""
        return tuple(self.store.funding(one.name, 0, self.to_ns) for one in self.instruments)

    def stretches(self) -> Iterator[columns.Market]:
        """Walk the market in order."""
        yield from self._of_trades() if self.is_ticks else self._of_bars()

    def _of_bars(self) -> Iterator[columns.Market]:
        """Bars, ``rows_at_once`` of each instrument at a time."""
        first, last = self.span()
        width = self.rows_at_once * self.length_ns
        after_ns, funding = -1, self.funding()
        for begin in range(first, last + 1, width):
            end = min(begin + width, last + 1)
            read = [joined_bars(list(self._bars(one, begin, end))) for one in self.instruments]
            if not any(len(bars.open_ns) for bars in read):
                continue
            market = columns.bars_market(read, funding, self.length_ns, after_ns)
            after_ns = market.last_step_ns
            yield market

    def _bars(self, one: Instrument, begin: int, end: int) -> Iterator[BarArrays]:
        name = SeriesName(instrument=one.name, kind=Kind.BARS, length_ns=self.length_ns)
        if any(True for _ in self.store.batches(name, begin, end, ["ts_ns"])):
            yield from self.store.bars(one.name, self.length_ns, begin, end, one)

    def _of_trades(self) -> Iterator[columns.Market]:
        """Trades, in stretches of whole bars: the bars are built in a first pass, and are few."""
        first, last = self.span()
        builders = [BarBuilder(self.length_ns) for _ in self.instruments]
        counts: dict[int, int] = {}
        for one, builder in zip(self.instruments, builders, strict=True):
            for ticks in self.store.trades(one.name, first, last + 1, one):
                builder.take(ticks)
                numbers, rows = np.unique(ticks.ts_ns // self.length_ns, return_counts=True)
                for number, count in zip(numbers.tolist(), rows.tolist(), strict=True):
                    counts[number] = counts.get(number, 0) + count
            if not builder.last_ns:
                raise Fatal(f"{self.store.root}: no stored trade of {one.name} is as large as one lot in that time")
        end_ns = max(builder.last_ns for builder in builders)
        bars = tuple(builder.bars(end_ns) for builder in builders)
        funding, after_ns = self.funding(), -1
        for begin, end in self._spans(counts):
            read = [self._trades(one, max(begin, first), min(end, last + 1)) for one in self.instruments]
            market = columns.trades_stretch(read, bars, funding, self.length_ns, (begin, end), after_ns)
            after_ns = market.last_step_ns
            yield market

    def _trades(self, one: Instrument, begin: int, end: int) -> TickArrays:
        found = any(
            next(self.store.batches(SeriesName(instrument=one.name, kind=kind), begin, end, ["ts_ns"]), None)
            for kind in (Kind.TRADES, Kind.AGG_TRADES)
        )
        parts = list(self.store.trades(one.name, begin, end, one)) if found else []
        return joined_ticks(parts, FundingArrays(ts_ns=np.empty(0, np.int64), rate_e8=np.empty(0, np.int64)))

    def _spans(self, counts: dict[int, int]) -> Iterator[tuple[int, int]]:
        """Cut time into spans of whole bars with about ``rows_at_once`` trades."""
        numbers = sorted(counts)
        begin, rows = numbers[0], 0
        for number in numbers:
            if rows and rows + counts[number] > self.rows_at_once:
                yield begin * self.length_ns, number * self.length_ns
                begin, rows = number, 0
            rows += counts[number]
        yield begin * self.length_ns, (numbers[-1] + 1) * self.length_ns
