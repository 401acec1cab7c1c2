"""What the store holds: series, their columns, their folders and their months.

Invariants: every column is int64; times are nanoseconds, prices and quantities 1e-8 of a unit, rates 1e-8; no column
depends on an instrument's tick or lot. The rows of a series ascend in its key, and times never go back within it.
A batch is a mapping of those columns, all of one length.
"""

import enum
import re
from collections.abc import Mapping
from datetime import UTC, datetime

import attrs

from hedgegrid.errors import Fatal
from hedgegrid.units import NS_PER_S, TIMEFRAMES_NS
from hedgegrid.venues.simulated.arrays import IntArray
from hedgegrid.venues.simulated.recorded_files import length_text

Batch = Mapping[str, IntArray]
"""Columns of a series by name."""

BAR_COLUMNS = ("ts_ns", "open_e8", "high_e8", "low_e8", "close_e8")


class Kind(enum.Enum):
    """A kind of series; the value names it in folders and commands."""

    BARS = "bars"
    TRADES = "trades"
    AGG_TRADES = "aggtrades"
    """The exchange's aggregates: one row for what one order took at one price."""
    MARK_BARS = "mark-bars"
    MARKS = "marks"
    """Single mark prices, as a stream told them."""
    BOOK = "book"
    FUNDING = "funding"


COLUMNS: Mapping[Kind, tuple[str, ...]] = {
    Kind.BARS: (*BAR_COLUMNS, "volume_e8"),
    Kind.MARK_BARS: BAR_COLUMNS,
    Kind.TRADES: ("ts_ns", "trade_id", "price_e8", "qty_e8", "buyer_maker"),
    Kind.AGG_TRADES: ("ts_ns", "trade_id", "price_e8", "qty_e8", "buyer_maker"),
    Kind.MARKS: ("ts_ns", "price_e8"),
    Kind.BOOK: ("ts_ns", "update_id", "bid_e8", "bid_qty_e8", "ask_e8", "ask_qty_e8"),
    Kind.FUNDING: ("ts_ns", "rate_e8"),
}
"""Bars open at ``ts_ns``. ``buyer_maker``: 1 where the seller took, 0 where the buyer did, -1 where it is not known."""

ID_COLUMN: Mapping[Kind, str] = {
    Kind.TRADES: "trade_id",
    Kind.AGG_TRADES: "trade_id",
    Kind.BOOK: "update_id",
}
"""Where the exchange numbers rows, the number is the key; else the time is."""

WITH_LENGTH = (Kind.BARS, Kind.MARK_BARS)
_FOLDER = re.compile(r"([a-z-]+?)(?:-(\d+[smhd]))?")
_NAME = re.compile(r"\w+/\w+:\w+")


@attrs.frozen(kw_only=True, order=True)
class SeriesName:
    """One series of the store. ``length_ns`` is that of its bars, 0 for all other kinds."""

    instrument: str
    kind: Kind = attrs.field(order=lambda kind: kind.value)
    length_ns: int = 0

    def __attrs_post_init__(self) -> None:
        assert (self.length_ns > 0) == (self.kind in WITH_LENGTH), "bars have a length, and nothing else has"

    @property
    def folder(self) -> str:
        """The series' folder inside its instrument's: ``bars-1m``, ``funding``."""
        return f"{self.kind.value}-{length_text(self.length_ns)}" if self.length_ns else self.kind.value

    @property
    def text(self) -> str:
        """The series for people: ``BTC/USDT:USDT bars-1m``."""
        return f"{self.instrument} {self.folder}"


def instrument_folder(instrument: str) -> str:
    """Give BTC-USDT-USDT for BTC/USDT:USDT. Fatal for what is no perpetual's name."""
    if not is_perpetual(instrument):
        raise Fatal(f"{instrument!r} is no instrument: write it as BTC/USDT:USDT")
    return instrument.replace("/", "-").replace(":", "-")


def is_perpetual(name: str) -> bool:
    """Tell whether a text names a perpetual as this project does: BASE/QUOTE:SETTLE."""
    return _NAME.fullmatch(name) is not None


def instrument_of_folder(folder: str) -> str | None:
    """Give BTC/USDT:USDT for BTC-USDT-USDT, or None for another folder."""
    name = folder.replace("-", "/", 1).replace("-", ":", 1)
    return name if is_perpetual(name) else None


def series_of_folder(instrument: str, folder: str) -> SeriesName | None:
    """Give the series that a folder holds, or None for another folder."""
    match = _FOLDER.fullmatch(folder)
    if match is None or match[1] not in {kind.value for kind in Kind}:
        return None
    kind, length_ns = Kind(match[1]), TIMEFRAMES_NS.get(match[2] or "", 0)
    if (kind in WITH_LENGTH) != (length_ns > 0) or (match[2] and not length_ns):
        return None
    return SeriesName(instrument=instrument, kind=kind, length_ns=length_ns)


def month_of(ts_ns: int) -> str:
    """Give the month of a time, such as 2025-01 (UTC)."""
    return datetime.fromtimestamp(ts_ns // NS_PER_S, tz=UTC).strftime("%Y-%m")


def month_start_ns(month: str) -> int:
    """Give the first nanosecond of a month."""
    year, number = int(month[:4]), int(month[5:7])
    return int(datetime(year, number, 1, tzinfo=UTC).timestamp()) * NS_PER_S


def month_after(month: str) -> str:
    """Give the month after a month."""
    year, number = int(month[:4]), int(month[5:7])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"
