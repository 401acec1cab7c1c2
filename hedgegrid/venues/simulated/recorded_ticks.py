"""Trades from raw captures of the exchange's websocket: a receive time and a JSON message on each line.

Invariants: a trade's time is the exchange's own (``T``) and its order that of the trade ids; where those disagree the
time is held back to the trade before, and counted. Book and mark are what the lines above the trade had said, never a
later one; the book may therefore lie beside the price, as it did for a bot that read the stream. Prints that are not
of the market (``X`` other than MARKET, such as INSURANCE_FUND) are left out and counted. Where a capture holds single
and aggregate trades, the single ones are used.
"""

import math
from collections import Counter
from pathlib import Path

import attrs
import msgspec
import numpy as np
from numpy.typing import NDArray

from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS
from hedgegrid.venues.simulated.arrays import FloatArray, FundingArrays, IntArray, TickArrays
from hedgegrid.venues.simulated.bar_rules import LOTS_BELOW, TICKS_BELOW
from hedgegrid.venues.simulated.recorded_files import (
    Kind,
    kind_of,
    opened,
    reading,
    refusal,
    symbol_of,
)
from hedgegrid.venues.simulated.recorded_units import (
    floored,
    in_units,
    nearest,
    rates_e8,
)

_REPAIR = "repair the line or fetch the file again"
_RULES = "check that the file is this instrument's and that its tick and lot are right"
_MS_PER_MINUTE = NS_PER_MINUTE // NS_PER_MS

_TradeRow = tuple[int, int, float, float, float, float, float, float, float]
"""Id, ms, price, quantity, bid, ask, the quantities that those show, mark; NaN where it was not known yet."""


class _Envelope(msgspec.Struct, rename={"payload": "data"}):
    """A line's message; a snapshot of the book has no stream."""

    stream: str = ""
    payload: msgspec.Raw = msgspec.Raw(b"{}")


class TradeMessage(
    msgspec.Struct,
    rename={
        "symbol": "s",
        "trade_ms": "T",
        "price": "p",
        "qty": "q",
        "origin": "X",
        "trade_id": "t",
        "aggregate_id": "a",
        "buyer_maker": "m",
    },
):
    """A trade, single or aggregate; ``buyer_maker``: the seller took."""

    symbol: str
    trade_ms: int
    price: str
    qty: str
    origin: str = "MARKET"
    trade_id: int = -1
    aggregate_id: int = -1
    buyer_maker: bool | None = None


class BookMessage(
    msgspec.Struct,
    rename={
        "symbol": "s",
        "bid": "b",
        "ask": "a",
        "bid_qty": "B",
        "ask_qty": "A",
        "matched_ms": "T",
        "update_id": "u",
    },
):
    """The best bid and ask."""

    symbol: str
    bid: str
    ask: str
    bid_qty: str
    ask_qty: str
    matched_ms: int = 0
    update_id: int = -1


class MarkMessage(
    msgspec.Struct,
    rename={"symbol": "s", "event_ms": "E", "price": "p", "rate": "r", "next_ms": "T"},
):
    """The mark price, with the rate that the next settlement will charge."""

    symbol: str
    event_ms: int
    price: str
    rate: str
    next_ms: int


_ENVELOPE = msgspec.json.Decoder(_Envelope)
_TRADE = msgspec.json.Decoder(TradeMessage)
_BOOK = msgspec.json.Decoder(BookMessage)
_MARK = msgspec.json.Decoder(MarkMessage)


@attrs.define(kw_only=True)
class Capture:
    """What the lines so far have said about one symbol."""

    symbol: str
    trades: list[_TradeRow] = attrs.field(factory=list)
    aggregates: list[_TradeRow] = attrs.field(factory=list)
    settled: list[tuple[int, float]] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    book: tuple[float, float, float, float] = (math.nan, math.nan, 0.0, 0.0)
    mark: float = math.nan
    _rate: MarkMessage | None = None

    def take(self, line: bytes) -> None:
        """Read one line. Raises ValueError (msgspec's errors are such) where it makes no sense."""
        received, _, message = line.partition(b" ")
        if not received.isdigit():
            raise ValueError("the line does not start with a receive time")
        envelope = _ENVELOPE.decode(message)
        stream = envelope.stream.split("@")[1:2]
        match stream:
            case ["trade"]:
                trade = _TRADE.decode(envelope.payload)
                self.take_trade(trade, trade.trade_id, self.trades)
            case ["aggTrade"]:
                trade = _TRADE.decode(envelope.payload)
                self.take_trade(trade, trade.aggregate_id, self.aggregates)
            case ["bookTicker"]:
                self.take_book(_BOOK.decode(envelope.payload))
            case ["markPrice"]:
                self.take_mark(_MARK.decode(envelope.payload))
            case _:
                pass  # depth and snapshots: a replay walks trades, not the whole book

    def take_trade(self, trade: TradeMessage, trade_id: int, rows: list[_TradeRow]) -> bool:
        """Add a trade to ``rows``; False where it is left out."""
        if trade.symbol != self.symbol:
            self.counts["trades of other instruments"] += 1
        elif trade.origin != "MARKET":
            self.counts[f"prints of {trade.origin}"] += 1
        else:
            price, qty = _positive(trade.price), _positive(trade.qty)
            if trade_id < 0 or trade.trade_ms <= 0:
                raise ValueError("the trade has no id or no time")
            rows.append((trade_id, trade.trade_ms, price, qty, *self.book, self.mark))
            return True
        return False

    def take_book(self, book: BookMessage) -> bool:
        """Remember the book; False where it is left out."""
        if book.symbol != self.symbol:
            return False
        bid, ask = float(book.bid), float(book.ask)
        if not 0 < bid < ask < math.inf:
            self.counts["books that were one-sided or crossed"] += 1
            return False
        self.book = (bid, ask, _positive(book.bid_qty), _positive(book.ask_qty))
        return True

    def take_mark(self, mark: MarkMessage) -> bool:
        """Remember the mark, and settle the rate before it where its time has come; False where it is left out."""
        if mark.symbol != self.symbol:
            return False
        self.mark = _positive(mark.price)
        if mark.rate:
            self._settle(mark)
        return True

    def _settle(self, mark: MarkMessage) -> None:
        last, self._rate = self._rate, mark
        if last is None or mark.next_ms <= last.next_ms:
            return
        if last.event_ms >= last.next_ms - _MS_PER_MINUTE:
            self.settled.append((last.next_ms, float(last.rate)))
        else:
            self.counts["settlements whose rate was not seen"] += 1


def load_ticks(path: Path, instrument: Instrument) -> TickArrays:
    """Read an instrument's trades: prices to the nearest tick, quantities down to the lot (none of zero lots).

    Raises Fatal with file, line, rule and remedy. ``notes`` count what was left out.
    """
    if kind_of(path) is not Kind.CAPTURE:
        raise refusal(path, "it is not a websocket capture", "give captures, or bars for all")
    capture = Capture(symbol=symbol_of(instrument.name))
    with reading(path), opened(path) as lines:
        for row, line in enumerate(lines, 1):
            try:
                capture.take(line)
            except ValueError as error:
                raise refusal(path, f"it makes no sense ({error})", _REPAIR, row) from error
    rows = capture.trades or capture.aggregates
    if not rows:
        remedy = "give a capture with its @trade or @aggTrade stream"
        raise refusal(path, f"it holds no market trade of {capture.symbol}", remedy)
    columns = _ordered(rows, capture.counts)
    return _whole(path, columns, capture, instrument)


def _ordered(rows: list[_TradeRow], counts: Counter[str]) -> tuple[IntArray, list[FloatArray]]:
    """Give times in ns and the other columns in the order of trade ids, each id once."""
    ids = np.array([row[0] for row in rows], np.int64)
    unique, first = np.unique(ids, return_index=True)
    counts["trades told twice"] += len(ids) - len(unique)
    ms = np.array([row[1] for row in rows], np.int64)[first]
    held = np.maximum.accumulate(ms)
    counts["trades held back to the time of the trade before"] += int(np.count_nonzero(held != ms))
    floats = [np.array([row[place] for row in rows])[first] for place in range(2, len(rows[0]))]
    return held * NS_PER_MS, floats


def _whole(
    path: Path,
    columns: tuple[IntArray, list[FloatArray]],
    capture: Capture,
    instrument: Instrument,
) -> TickArrays:
    """Give the trades in ticks and lots, less those of no whole lot."""
    ts_ns, (price, qty, bid, ask, bid_qty, ask_qty, mark) = columns
    lots = in_units(qty, instrument.lot)
    keep = lots >= 1
    capture.counts["trades under one lot"] += int(np.count_nonzero(~keep))
    ticks = in_units(price, instrument.tick)
    prices = [in_units(column, instrument.tick) for column in (price, ask, mark)]
    shown = [in_units(column, instrument.lot) for column in (qty, bid_qty, ask_qty)]
    if any(np.any(column >= TICKS_BELOW - 1) for column in prices) or any(
        np.any(column >= LOTS_BELOW) for column in shown
    ):
        raise refusal(path, "a price or a quantity is beyond the bounds of ticks and lots", _RULES)
    if not keep.any():
        raise refusal(path, "no trade is as large as one lot", _RULES)
    price_ticks = nearest(ticks[keep])
    if not price_ticks.all():
        raise refusal(path, "a price is under half a tick", _RULES)
    bid_ticks, ask_ticks, mark_ticks = (_or_price(column[keep], price_ticks, instrument) for column in (bid, ask, mark))
    return TickArrays(
        ts_ns=ts_ns[keep],
        price_ticks=price_ticks,
        qty_lots=floored(lots[keep]),
        bid_ticks=bid_ticks,
        ask_ticks=ask_ticks,
        bid_qty_lots=floored(in_units(bid_qty[keep], instrument.lot)),
        ask_qty_lots=floored(in_units(ask_qty[keep], instrument.lot)),
        mark_ticks=mark_ticks,
        funding=_funding(capture.settled),
        notes=tuple(f"{path.name}: {count} {what}" for what, count in sorted(capture.counts.items()) if count),
    )


def _or_price(column: FloatArray, price_ticks: IntArray, instrument: Instrument) -> IntArray:
    """Give a column in ticks, with the trade's own price where nothing was known yet."""
    known: NDArray[np.bool_] = np.isfinite(column)
    multiples = in_units(np.where(known, column, 0.0), instrument.tick)
    return np.where(known, nearest(multiples), price_ticks)


def _funding(settled: list[tuple[int, float]]) -> FundingArrays:
    """Give the settlements that a capture saw."""
    times = np.array([ms for ms, _ in settled], np.int64) * NS_PER_MS
    rates = np.array([rate for _, rate in settled], np.float64)
    return FundingArrays(ts_ns=times // NS_PER_MINUTE * NS_PER_MINUTE, rate_e8=rates_e8(rates))


def _positive(text: str) -> float:
    """Read a figure that must be above zero; ValueError otherwise."""
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError(f"{text} is not above zero")
    return value
