"""Files of other people as pieces of series: which form a file has, which instrument it is of, and its rows.

Invariants: the form is told by content alone; the instrument by the caller, else by the file's name; a piece's rows
ascend in its series' key and carry the number that each has in its file. Every refusal is one line: file, row, rule and
what to do.
"""

import enum
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from hedgegrid.backtest.store.parquet_files import Ids
from hedgegrid.backtest.store.series import Batch, Kind
from hedgegrid.errors import Fatal
from hedgegrid.venues.simulated import recorded_files
from hedgegrid.venues.simulated.arrays import IntArray
from hedgegrid.venues.simulated.recorded_bars import ARCHIVE_COLUMNS
from hedgegrid.venues.simulated.recorded_files import kind_of, opened, reading, refusal

HEAD_BYTES: Final = 4096
_PAIR = re.compile(r"(?<![A-Z0-9])([A-Z0-9]+?)[_-]?(USDT|USDC|BUSD)(?:[_-](?:USDT|USDC|BUSD))?(?![A-Z0-9])")


class Form(enum.Enum):
    """The form of a file."""

    FEATHER = "freqtrade feather"
    CANDLES = "freqtrade json"
    CAPTURE = "websocket capture"
    KLINES = "archive klines"
    TRADES = "archive trades"
    AGG_TRADES = "archive aggTrades"
    BOOK = "archive bookTicker"
    FUNDING = "archive fundingRate"
    MAPPED = "csv with a column map"


ARCHIVE_HEADERS: Final[Mapping[Form, tuple[str, ...]]] = {
    Form.KLINES: ARCHIVE_COLUMNS,
    Form.TRADES: ("id", "price", "qty", "quote_qty", "time", "is_buyer_maker"),
    Form.AGG_TRADES: (
        "agg_trade_id",
        "price",
        "quantity",
        "first_trade_id",
        "last_trade_id",
        "transact_time",
        "is_buyer_maker",
    ),
    Form.BOOK: (
        "update_id",
        "best_bid_price",
        "best_bid_qty",
        "best_ask_price",
        "best_ask_qty",
        "transaction_time",
        "event_time",
    ),
    Form.FUNDING: ("calc_time", "funding_interval_hours", "last_funding_rate"),
}
"""The columns of the exchange's public archive. Older files have no header; the mark prices' klines look the same."""


@attrs.frozen(kw_only=True)
class Reading:
    """How to read files: ``columns`` maps our fields to a csv's headers, ``time_unit`` is s, ms, us, ns or iso.

    ``kind`` and ``length_ns`` are for what the content does not tell: that klines are of the mark, how long one bar is.
    """

    kind: Kind | None = None
    length_ns: int | None = None
    columns: Mapping[str, str] | None = None
    time_unit: str | None = None


@attrs.frozen(kw_only=True, eq=False)
class Piece:
    """Some rows of one series of a file. ``notes`` say what was left out of them, or read otherwise than written."""

    kind: Kind
    length_ns: int
    ids: Ids
    batch: Batch
    rows: IntArray
    notes: tuple[str, ...] = ()


def instrument_in(path: Path) -> str | None:
    """Give the perpetual that a file's name names, as in BTCUSDT-1m.feather or BTC_USDT_USDT-5m.json; None for none."""
    match = _PAIR.search(path.name.upper())
    return None if match is None else f"{match[1]}/{match[2]}:{match[2]}"


def form_of(path: Path, how: Reading) -> Form:
    """Tell the form of a file by its content. Fatal where it is none of them, empty or unreadable."""
    with reading(path), opened(path) as file:
        head = file.read(HEAD_BYTES)
    if head.lstrip()[:1] == b"[":
        return Form.CANDLES
    match kind_of(path):
        case recorded_files.Kind.FEATHER:
            return Form.FEATHER
        case recorded_files.Kind.CAPTURE:
            return Form.CAPTURE
        case recorded_files.Kind.ARCHIVE:
            return Form.MAPPED if how.columns else _archive_form(path, head)


def first_cells(head: bytes) -> list[str]:
    """Give the cells of a csv's first line."""
    line = head.lstrip(b"\xef\xbb\xbf \r\n\t").partition(b"\n")[0]
    return [cell.strip().strip('"') for cell in line.decode("utf-8", "replace").strip().split(",")]


def _archive_form(path: Path, head: bytes) -> Form:
    cells = first_cells(head)
    for form, header in ARCHIVE_HEADERS.items():
        if tuple(cells) == header:
            return form
    if cells[0].isdigit():
        of_width = [form for form, header in ARCHIVE_HEADERS.items() if len(header) == len(cells)]
        if len(of_width) > 1:
            flag = cells[-1].lower() in {"true", "false"}
            return Form.AGG_TRADES if flag else Form.BOOK
        if of_width:
            return of_width[0]
    elif cells[0] == "open_time" and len(cells) == len(ARCHIVE_COLUMNS):
        return Form.KLINES
    rule = f"its first line ({','.join(cells)[:60]}) is of no archive file that is known"
    raise refusal(path, rule, "name its columns, such as --columns ts=time,open=o,high=h,low=l,close=c,volume=v", 1)


def bad_figure(path: Path, column: str, row: int, error: ValueError) -> Fatal:
    """Give the error for a figure that cannot be counted."""
    rule = str(error).replace("the figure", f"the {column}", 1)
    return refusal(path, rule, "repair the row or fetch the file again", row)
