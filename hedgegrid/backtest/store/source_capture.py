"""Trades, books, mark prices and settlements from raw captures of the exchange's websocket.

Invariants: what a line says is read, judged and counted by ``recorded_ticks``, as in a replay; here it is kept, the
text of its figures in 1e-8. Trades ascend in the exchange's numbers, and a time that would go back is held. Single and
aggregate trades are different series.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import pyarrow as pa

from hedgegrid.backtest.store.series import Batch, Kind
from hedgegrid.backtest.store.sources import Piece, bad_figure
from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS
from hedgegrid.venues.exact import BadFigureError, e8_from_floats, e8_from_text
from hedgegrid.venues.simulated.arrays import IntArray
from hedgegrid.venues.simulated.recorded_files import opened, reading, refusal, symbol_of
from hedgegrid.venues.simulated.recorded_ticks import BookMessage, Capture, MarkMessage, TradeMessage

ROWS_AT_ONCE: Final = 200_000
_REPAIR = "repair the line or fetch the file again"

_Trade = tuple[int, int, int, str, str, int]
"""Line, number, ms, price, quantity, whether the buyer rested (1, 0; -1 unknown)."""
_Book = tuple[int, int, int, str, str, str, str]
"""Line, number, ms, bid, its quantity, ask, its quantity."""
_Mark = tuple[int, int, str]
"""Line, ms, price."""


@attrs.define(kw_only=True)
class _Keeper(Capture):
    """A capture that keeps what it accepts."""

    line: int = 0
    single: list[_Trade] = attrs.field(factory=list)
    summed: list[_Trade] = attrs.field(factory=list)
    books: list[_Book] = attrs.field(factory=list)
    marks: list[_Mark] = attrs.field(factory=list)

    def take_trade(self, trade: TradeMessage, trade_id: int, rows: list[Any]) -> bool:
        accepted = super().take_trade(trade, trade_id, rows)
        rows.clear()  # the replay's own columns are not needed here
        if accepted:
            kept = self.single if trade_id == trade.trade_id else self.summed
            buyer_maker = -1 if trade.buyer_maker is None else int(trade.buyer_maker)
            kept.append((self.line, trade_id, trade.trade_ms, trade.price, trade.qty, buyer_maker))
        return accepted

    def take_book(self, book: BookMessage) -> bool:
        accepted = super().take_book(book)
        if accepted and (book.matched_ms <= 0 or book.update_id < 0):
            self.counts["books without a time or a number"] += 1
        elif accepted:
            told = (book.bid, book.bid_qty, book.ask, book.ask_qty)
            self.books.append((self.line, book.update_id, book.matched_ms, *told))
        return accepted

    def take_mark(self, mark: MarkMessage) -> bool:
        accepted = super().take_mark(mark)
        if accepted:
            self.marks.append((self.line, mark.event_ms, mark.price))
        return accepted

    def kept(self) -> int:
        """Count the rows that wait."""
        return len(self.single) + len(self.summed) + len(self.books) + len(self.marks)


def capture_pieces(path: Path, instrument: str) -> Iterator[Piece]:
    """Read a capture's lines about one instrument. Fatal where a line makes no sense, or none is about it."""
    keeper = _Keeper(symbol=symbol_of(instrument))
    empty = True
    with reading(path), opened(path) as lines:
        for row, line in enumerate(lines, 1):
            keeper.line = row
            try:
                keeper.take(line)
            except ValueError as error:
                raise refusal(path, f"it makes no sense ({error})", _REPAIR, row) from error
            if keeper.kept() >= ROWS_AT_ONCE:
                empty = False
                yield from _flushed(path, keeper, ())
    empty = empty and not keeper.kept()
    if empty:
        raise refusal(path, f"it holds nothing of {keeper.symbol}", "say with --instrument what it is of")
    notes = tuple(f"{count} {what}" for what, count in sorted(keeper.counts.items()) if count)
    yield from _flushed(path, keeper, notes)
    if keeper.settled:
        stamps = np.array([ms for ms, _ in keeper.settled], np.int64) * NS_PER_MS // NS_PER_MINUTE * NS_PER_MINUTE
        rates = e8_from_floats(np.array([rate for _, rate in keeper.settled], np.float64))
        rows = np.full(len(stamps), keeper.line, np.int64)
        batch = {"ts_ns": stamps, "rate_e8": rates}
        yield Piece(kind=Kind.FUNDING, length_ns=0, ids="none", batch=batch, rows=rows)


def _flushed(path: Path, keeper: _Keeper, notes: tuple[str, ...]) -> Iterator[Piece]:
    """Give what waits as pieces, and forget it."""
    for kind, trades in ((Kind.TRADES, keeper.single), (Kind.AGG_TRADES, keeper.summed)):
        if trades:
            lines, numbers, ms, price, qty, buyer_maker = zip(*trades, strict=True)
            texts = {"price_e8": price, "qty_e8": qty}
            yield _numbered(path, kind, "trade_id", (lines, numbers, ms), texts, buyer_maker, notes)
    if keeper.books:
        lines, numbers, ms, *sides = zip(*keeper.books, strict=True)
        books = dict(zip(("bid_e8", "bid_qty_e8", "ask_e8", "ask_qty_e8"), sides, strict=True))
        yield _numbered(path, Kind.BOOK, "update_id", (lines, numbers, ms), books, None, notes)
    if keeper.marks:
        lines, ms, price = zip(*keeper.marks, strict=True)
        times = np.array(ms, np.int64) * NS_PER_MS
        rows = np.array(lines, np.int64)
        prices = _exact(path, "mark", price, rows)
        last = _last_of_each(times)
        batch = {"ts_ns": times[last], "price_e8": prices[last]}
        yield Piece(kind=Kind.MARKS, length_ns=0, ids="none", batch=batch, rows=rows[last], notes=notes)
    for rows_kept in (keeper.single, keeper.summed, keeper.books, keeper.marks):
        rows_kept.clear()


def _numbered(
    path: Path,
    kind: Kind,
    number: str,
    told: tuple[tuple[int, ...], ...],
    texts: dict[str, tuple[str, ...]],
    buyer_maker: tuple[int, ...] | None,
    notes: tuple[str, ...],
) -> Piece:
    """Give rows that the exchange has numbered, in that order, each number once."""
    lines, numbers, ms = (np.array(column, np.int64) for column in told)
    unique, first = np.unique(numbers, return_index=True)
    times = ms[first]
    held = np.maximum.accumulate(times)
    count = int(np.count_nonzero(held != times))
    batch: Batch = {
        "ts_ns": held * NS_PER_MS,
        number: unique,
        **{name: _exact(path, name, column, lines)[first] for name, column in texts.items()},
    }
    if buyer_maker is not None:
        batch = {**batch, "buyer_maker": np.array(buyer_maker, np.int64)[first]}
    if count:
        notes = (*notes, f"{count} {kind.value} held back to the time of the row before")
    return Piece(kind=kind, length_ns=0, ids="venue", batch=batch, rows=lines[first], notes=notes)


def _exact(path: Path, name: str, texts: tuple[str, ...], lines: IntArray) -> IntArray:
    try:
        return e8_from_text(pa.array(texts, pa.string()))
    except BadFigureError as error:
        raise bad_figure(path, name.removesuffix("_e8"), int(lines[error.index]), error) from error


def _last_of_each(times: IntArray) -> IntArray:
    """Give the places of the last row of each time, by time."""
    order = np.argsort(times, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(times[order])), len(times) - 1)
    last: IntArray = order[ends].astype(np.int64)
    return last
