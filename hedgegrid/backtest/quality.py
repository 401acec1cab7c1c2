"""What is wrong with recorded market data, found without changing it.

Each check walks a series in pieces and tells its findings at the end. Rules:

- ``order``, ``duplicate``: a time before, or the same as, that of the row before (trades and books may share a time);
- ``grid``: a bar opens off the multiples of its length; ``gap``: bars are missing; ``silence``: five minutes no trade;
- ``ohlc``: a bar's high or low is not the furthest of its prices; ``price``, ``volume``: a figure that cannot be;
- ``zero_volume``: nothing traded for at least ten minutes and three bars on end;
- ``outlier``: see ``outliers``; ``spacing``: settlements further apart, or nearer, than the interval;
- ``rate``: a funding rate of 100 % or more; ``crossed``: a book whose bid is not below its ask;
- ``numbers``: the exchange's numbers of trades skip some.

Invariants: an ERROR makes rows unusable, a WARNING makes a result doubtful (``--strict`` refuses it), a NOTE is worth
knowing; at most ``TOLD`` findings of a rule are told one by one, and one more counts the rest; figures are integers of
any one unit (ticks, lots, 1e-8): no rule depends on it.
"""

import enum
from collections.abc import Callable
from typing import Final

import attrs
import numpy as np
from numpy.typing import NDArray

from hedgegrid.backtest.outliers import WINDOW, OutlierScan
from hedgegrid.units import CASH_SCALE, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, IntArray, TickArrays
from hedgegrid.venues.simulated.recorded_files import length_text, utc_text

TOLD: Final = 10
ZERO_RUN_NS: Final = 10 * NS_PER_MINUTE
ZERO_RUN_BARS: Final = 3
SILENCE_NS: Final = 5 * NS_PER_MINUTE


class Severity(enum.Enum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@attrs.frozen(kw_only=True)
class Finding:
    """One thing found. ``row`` counts from 1 in its file or series; ``count`` rows, bars or trades are concerned.

    ``kind`` is the series, such as ``bars-1m``; ``ts_ns`` is where it begins; ``text`` says it for people.
    """

    rule: str
    severity: Severity
    instrument: str
    kind: str
    row: int
    ts_ns: int
    count: int
    text: str

    @property
    def line(self) -> str:
        """The finding on one line."""
        where = f"{self.instrument} {self.kind}: row {self.row} ({utc_text(self.ts_ns)})"
        return f"{self.severity.value}: {where}: {self.rule}: {self.text}"


_OUTLIER_TEXT: Final = "the price stands alone: over 5 % and 25 spreads from the median of the eleven around it"
_SEVERITY: Final = {
    "order": Severity.ERROR,
    "duplicate": Severity.ERROR,
    "grid": Severity.ERROR,
    "ohlc": Severity.ERROR,
    "price": Severity.ERROR,
    "volume": Severity.ERROR,
    "rate": Severity.ERROR,
    "gap": Severity.WARNING,
    "silence": Severity.WARNING,
    "zero_volume": Severity.WARNING,
    "outlier": Severity.WARNING,
    "spacing": Severity.WARNING,
    "crossed": Severity.WARNING,
    "numbers": Severity.NOTE,
}


@attrs.define(eq=False)
class _Series:
    """What all checks share: where the series is, how far it was walked, and what was found."""

    instrument: str
    kind: str
    _found: list[Finding] = attrs.field(init=False, factory=list)
    _more: dict[str, tuple[Finding, int, int]] = attrs.field(init=False, factory=dict)
    _counts: dict[str, int] = attrs.field(init=False, factory=dict)
    _walked: int = attrs.field(init=False, default=0)
    _last_ns: int | None = attrs.field(init=False, default=None)

    def findings(self) -> list[Finding]:
        """Give what was found, in the order of the rows; call it once, at the end of the series."""
        self._end()
        rest = [
            attrs.evolve(first, count=rows, text=f"and {times} more of this rule")
            for first, times, rows in self._more.values()
        ]
        return sorted([*self._found, *rest], key=lambda finding: finding.row)

    def first_error(self) -> Finding | None:
        """Give the first error so far, if any."""
        return next((finding for finding in self._found if finding.severity is Severity.ERROR), None)

    def _end(self) -> None:
        """Judge what needed the end of the series."""

    def _tell(self, rule: str, row: int, ts_ns: int, text: str, count: int = 1) -> None:
        finding = Finding(
            rule=rule,
            severity=_SEVERITY[rule],
            instrument=self.instrument,
            kind=self.kind,
            row=row,
            ts_ns=ts_ns,
            count=count,
            text=text,
        )
        self._counts[rule] = self._counts.get(rule, 0) + 1
        if self._counts[rule] <= TOLD:
            self._found.append(finding)
            return
        first, times, rows = self._more.get(rule, (finding, 0, 0))
        self._more[rule] = (first, times + 1, rows + count)

    def _tell_rows(
        self, rule: str, broken: NDArray[np.bool_], rows: IntArray, times: IntArray, text: str | Callable[[int], str]
    ) -> None:
        """Tell the rows in which ``broken`` holds; beyond ``TOLD`` they are counted without walking them."""
        places = np.flatnonzero(broken)
        for place in places[: TOLD + 1].tolist():
            said = text if isinstance(text, str) else text(place)
            self._tell(rule, int(rows[place]), int(times[place]), said)
        extra = len(places) - TOLD - 1
        if extra > 0:
            first, count, concerned = self._more[rule]
            self._more[rule] = (first, count + extra, concerned + extra)

    def _numbered(self, count: int, rows: IntArray | None) -> IntArray:
        """Give the rows' numbers: the caller's, else counted on."""
        numbers = np.arange(self._walked + 1, self._walked + count + 1) if rows is None else rows
        self._walked += count
        return numbers

    def _spans(self, times: IntArray) -> IntArray:
        """Give the time since the row before, for every row; for the very first one the maximum of int64."""
        first = np.iinfo(np.int64).max if self._last_ns is None else int(times[0]) - self._last_ns
        self._last_ns = int(times[-1])
        return np.concatenate((np.array([first], np.int64), np.diff(times)))


@attrs.define(eq=False)
class _Priced(_Series):
    """A series of prices, judged by ``outliers`` some rows after they were taken."""

    _scans: tuple[OutlierScan, ...] = attrs.field(init=False, factory=tuple)
    _times: IntArray = attrs.field(init=False, factory=lambda: np.empty(0, np.int64))
    _rows: IntArray = attrs.field(init=False, factory=lambda: np.empty(0, np.int64))

    def _scan(self, columns: tuple[IntArray, ...], times: IntArray, numbers: IntArray) -> None:
        self._scans = self._scans or tuple(OutlierScan() for _ in columns)
        self._times, self._rows = np.concatenate((self._times, times)), np.concatenate((self._rows, numbers))
        self._tell_outliers([scan.take(column) for scan, column in zip(self._scans, columns, strict=True)])
        self._times, self._rows = self._times[-WINDOW:], self._rows[-WINDOW:]

    def _end(self) -> None:
        self._tell_outliers([scan.rest() for scan in self._scans])

    def _tell_outliers(self, found: list[IntArray]) -> None:
        broken = np.zeros(len(self._times), np.bool_)
        for places in found:
            broken[places - (self._walked - len(self._times))] = True
        self._tell_rows("outlier", broken, self._rows, self._times, _OUTLIER_TEXT)


@attrs.define(eq=False)
class BarCheck(_Priced):
    """Checks bars of one length. Mark-price bars have no volume: ``has_volume`` is False for them."""

    length_ns: int
    has_volume: bool = True
    _zero_row: int = attrs.field(init=False, default=0)
    _zero_ns: int = attrs.field(init=False, default=0)
    _zero_bars: int = attrs.field(init=False, default=0)

    def take(self, bars: BarArrays, rows: IntArray | None = None) -> None:
        """Check the next bars; ``rows`` number them, else they are counted."""
        times = bars.open_ns
        if not len(times):
            return
        numbers = self._numbered(len(times), rows)
        self._check_times(times, numbers)
        opened, high, low, close, volume = bars.columns()
        lowest = np.minimum.reduce((opened, high, low, close))
        self._tell_rows("price", lowest <= 0, numbers, times, "a price is not above zero")
        wrong_high = high < np.maximum.reduce((opened, low, close))
        self._tell_rows("ohlc", wrong_high, numbers, times, "the high is below another price of the bar")
        wrong_low = low > np.minimum(opened, close)
        self._tell_rows("ohlc", wrong_low, numbers, times, "the low is above another price of the bar")
        if self.has_volume:
            self._tell_rows("volume", volume < 0, numbers, times, "the volume is negative")
            self._check_silence(volume == 0, times, numbers)
        self._scan((high, low, close), times, numbers)

    def _check_times(self, times: IntArray, numbers: IntArray) -> None:
        spans = self._spans(times)
        self._tell_rows("duplicate", spans == 0, numbers, times, "the time is that of the row before")
        self._tell_rows("order", spans < 0, numbers, times, "the time is before that of the row before")
        off = times % self.length_ns != 0
        self._tell_rows("grid", off, numbers, times, f"the bar opens off the {length_text(self.length_ns)} grid")
        known = np.where(spans == np.iinfo(np.int64).max, 0, spans)
        for place in np.flatnonzero(known > self.length_ns).tolist():
            missing = int(known[place]) // self.length_ns - 1
            start = int(times[place]) - int(known[place]) + self.length_ns
            self._tell(
                "gap",
                int(numbers[place]),
                start,
                f"{max(missing, 1)} bars are missing before this row",
                max(missing, 1),
            )

    def _check_silence(self, silent: NDArray[np.bool_], times: IntArray, numbers: IntArray) -> None:
        if not silent[0]:
            self._end_run()
        edges = np.flatnonzero(np.diff(silent.astype(np.int8), prepend=0, append=0))
        for start, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if not self._zero_bars:
                self._zero_row, self._zero_ns = int(numbers[start]), int(times[start])
            self._zero_bars += stop - start
            if stop < len(silent):
                self._end_run()

    def _end_run(self) -> None:
        """Tell a run of bars without volume that has ended, if it was long."""
        bars, self._zero_bars = self._zero_bars, 0
        if bars >= ZERO_RUN_BARS and bars * self.length_ns >= ZERO_RUN_NS:
            self._tell("zero_volume", self._zero_row, self._zero_ns, f"{bars} bars on end have no volume", bars)

    def _end(self) -> None:
        self._end_run()
        super()._end()


@attrs.define(eq=False)
class TradeCheck(_Priced):
    """Checks trades, single or aggregate."""

    _last_id: int | None = attrs.field(init=False, default=None)
    _skipped: tuple[int, int, int] | None = attrs.field(init=False, default=None)

    def take(
        self, times: IntArray, price: IntArray, qty: IntArray, ids: IntArray | None = None, rows: IntArray | None = None
    ) -> None:
        """Check the next trades; ``ids`` are the exchange's own numbers where it gave any."""
        if not len(times):
            return
        numbers = self._numbered(len(times), rows)
        spans = self._spans(times)
        self._tell_rows("order", spans < 0, numbers, times, "the time is before that of the row before")
        known = np.where(spans == np.iinfo(np.int64).max, 0, spans)
        quiet = known > SILENCE_NS
        self._tell_rows(
            "silence", quiet, numbers, times, lambda place: f"no trade for {known[place] // NS_PER_S} s before this row"
        )
        self._tell_rows("price", price <= 0, numbers, times, "the price is not above zero")
        self._tell_rows("volume", qty <= 0, numbers, times, "the quantity is not above zero")
        if ids is not None:
            self._check_ids(ids, times, numbers)
        self._scan((price,), times, numbers)

    def _check_ids(self, ids: IntArray, times: IntArray, numbers: IntArray) -> None:
        skips = np.diff(ids, prepend=ids[0] - 1 if self._last_id is None else self._last_id) - 1
        self._last_id = int(ids[-1])
        if not (skips > 0).any():
            return
        place = int(np.argmax(skips > 0))
        row, ts_ns, so_far = self._skipped or (int(numbers[place]), int(times[place]), 0)
        self._skipped = (row, ts_ns, so_far + int(skips[skips > 0].sum()))

    def _end(self) -> None:
        if self._skipped is not None:
            row, ts_ns, count = self._skipped
            self._tell("numbers", row, ts_ns, f"the exchange's numbers skip {count} trades from here on", count)
        super()._end()


@attrs.define(eq=False)
class FundingCheck(_Series):
    """Checks settlements. Without an ``interval_ns`` the most frequent spacing is taken for it."""

    interval_ns: int | None = None
    _parts: list[tuple[IntArray, IntArray]] = attrs.field(init=False, factory=list)

    def take(self, funding: FundingArrays, rows: IntArray | None = None) -> None:
        """Check the next settlements."""
        times = funding.ts_ns
        if not len(times):
            return
        numbers = self._numbered(len(times), rows)
        spans = self._spans(times)
        self._tell_rows("duplicate", spans == 0, numbers, times, "the time is that of the row before")
        self._tell_rows("order", spans < 0, numbers, times, "the time is before that of the row before")
        large = np.abs(funding.rate_e8) >= CASH_SCALE
        self._tell_rows("rate", large, numbers, times, "the rate is not under 100 %")
        self._parts.append((times, numbers))

    def _end(self) -> None:
        if not self._parts:
            return
        times = np.concatenate([part[0] for part in self._parts])
        numbers = np.concatenate([part[1] for part in self._parts])
        spans = np.diff(times)
        if not len(spans):
            return
        lengths, counts = np.unique(spans, return_counts=True)
        interval_ns = self.interval_ns or int(lengths[np.argmax(counts)])
        for place in np.flatnonzero((spans > 0) & (spans != interval_ns)).tolist():
            hours, usual = spans[place] / NS_PER_HOUR, interval_ns / NS_PER_HOUR
            told = f"{hours:g} h after the settlement before, not {usual:g} h"
            missing = max(1, int(spans[place]) // interval_ns - 1)
            self._tell("spacing", int(numbers[place + 1]), int(times[place + 1]), told, missing)


@attrs.define(eq=False)
class BookCheck(_Series):
    """Checks best bids and asks."""

    def take(self, times: IntArray, bid: IntArray, ask: IntArray, rows: IntArray | None = None) -> None:
        """Check the next books."""
        if not len(times):
            return
        numbers = self._numbered(len(times), rows)
        back = self._spans(times) < 0
        self._tell_rows("order", back, numbers, times, "the time is before that of the row before")
        self._tell_rows("crossed", ~((bid > 0) & (bid < ask)), numbers, times, "the bid is not below the ask")


def check_bars(bars: BarArrays, instrument: str, length_ns: int, *, has_volume: bool = True) -> list[Finding]:
    """Check whole bars in memory."""
    kind = f"bars-{length_text(length_ns)}" if has_volume else f"mark-bars-{length_text(length_ns)}"
    check = BarCheck(instrument, kind, length_ns, has_volume)
    check.take(bars)
    return check.findings()


def check_trades(ticks: TickArrays, instrument: str) -> list[Finding]:
    """Check whole trades in memory, and the books they were joined with (a book of 0 lots is none)."""
    check, books = TradeCheck(instrument, "trades"), BookCheck(instrument, "book")
    check.take(ticks.ts_ns, ticks.price_ticks, ticks.qty_lots)
    shown = np.flatnonzero((ticks.bid_qty_lots > 0) & (ticks.ask_qty_lots > 0))
    books.take(ticks.ts_ns[shown], ticks.bid_ticks[shown], ticks.ask_ticks[shown], shown + 1)
    return check.findings() + books.findings()


def check_funding(funding: FundingArrays, instrument: str, interval_ns: int | None = None) -> list[Finding]:
    """Check whole settlements in memory."""
    check = FundingCheck(instrument, "funding", interval_ns)
    check.take(funding)
    return check.findings()
