"""The public side of the wire as small values: best bid and ask, bars, marks with funding, trades.

Invariants: a parser keeps nothing and raises only ``BadPayloadError``; prices are exact ticks but for marks, which the
exchange computes off the grid (nearest); no price is zero; a missing funding rate is None, never 0; a bar that is not
closed says so.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from hedgegrid.model.market import Bar
from hedgegrid.units import NS_PER_MS, TIMEFRAMES_NS
from hedgegrid.venues.ccxtpro.payload import (
    field,
    flag,
    mapping,
    ms_ns,
    one_or_many,
    positive,
    rows,
    text,
    text_or,
    unwrapped,
    whole,
)
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError, Rounding, Scale, Scales, e8

_ERROR_MAX: Final = 200
_KLINE_FIELDS: Final = 7
_MARKET_TRADE: Final = "MARKET"


@attrs.frozen(kw_only=True)
class BestQuote:
    """The best bid and ask, in ticks, with what they show, in lots. ``update_id`` grows from one to the next."""

    instrument: str
    bid_ticks: int
    ask_ticks: int
    bid_qty_lots: int
    ask_qty_lots: int
    update_id: int
    ts_ns: int


@attrs.frozen(kw_only=True)
class BarSeen:
    """A bar as it stands at ``ts_ns``; nothing of it changes any more where it is ``closed``."""

    instrument: str
    bar: Bar
    closed: bool
    ts_ns: int


@attrs.frozen(kw_only=True)
class MarkSeen:
    """The mark price; rate (x 1e8, for one interval) and time of the next settlement are None where not told."""

    instrument: str
    mark_ticks: int
    rate_e8: int | None
    next_funding_ns: int | None
    ts_ns: int


@attrs.frozen(kw_only=True)
class TradeSeen:
    """A trade of the market, or an aggregate of them; ``buyer_maker``: the buyer had been waiting."""

    instrument: str
    trade_id: int
    price_ticks: int
    qty_lots: int
    buyer_maker: bool
    aggregate: bool
    ts_ns: int


@attrs.frozen(kw_only=True)
class Answer:
    """The answer to a request on a socket; ``error`` is empty where it was granted."""

    request_id: int | str
    error: str


@attrs.frozen(kw_only=True)
class Elsewhere:
    """An event of an instrument that is not traded here."""

    event: str
    symbol: str


@attrs.frozen(kw_only=True)
class Unknown:
    """An event of a type that nobody here reads: to be counted, no error."""

    event: str


PublicUpdate = BestQuote | BarSeen | MarkSeen | TradeSeen | Answer | Elsewhere | Unknown


def parse_public(payload: object, scales: Scales) -> PublicUpdate:
    """Read one frame of a public socket, combined form included."""
    event = unwrapped(payload)
    kind = event.get("e")
    if kind is None:
        return _answer(event)
    if type(kind) is not str:
        raise BadPayloadError("an event's type is no text")
    read = _READERS.get(kind)
    if read is None:
        return Unknown(event=kind[:_ERROR_MAX])
    symbol = text(event, "s")
    scale = scales.get(symbol)
    return Elsewhere(event=kind, symbol=symbol) if scale is None else read(event, scale)


def klines(payload: object, scale: Scale, length_ns: int, *, closed_by_ns: int) -> tuple[Bar, ...]:
    """Read a klines answer: the bars that had closed by a time of the exchange's, oldest first.

    BadPayloadError for rows that are out of order or off the length; a gap between them is the caller's to see.
    """
    bars: list[Bar] = []
    for entry in rows(payload, "klines"):
        row = rows(entry, "a kline")
        if len(row) < _KLINE_FIELDS:
            raise BadPayloadError("a kline is cut short")
        named = dict(zip(("t", "o", "h", "l", "c", "v", "T"), row, strict=False))
        bar = _bar(named, scale, length_ns)
        if bars and bar.open_ns <= bars[-1].open_ns:
            raise BadPayloadError("klines are out of order")
        bars.append(bar)
    return tuple(bar for bar in bars if bar.open_ns + length_ns <= closed_by_ns)


def premium_index(payload: object, scales: Scales) -> tuple[MarkSeen, ...]:
    """Read a premiumIndex answer, of one symbol or of all; symbols that are not traded here are left out."""
    found = []
    for entry in one_or_many(payload, "premiumIndex"):
        row = mapping(entry, "a premium index")
        scale = scales.get(text(row, "symbol"))
        if scale is not None:
            found.append(_mark_seen(row, scale, ("markPrice", "lastFundingRate", "nextFundingTime", "time")))
    return tuple(found)


def server_ns(payload: object) -> int:
    """Read the exchange's time, in ns."""
    return ms_ns(mapping(payload, "time"), "serverTime")


def _answer(event: Mapping[str, Any]) -> Answer:
    request_id = event.get("id")
    if type(request_id) is not int and type(request_id) is not str:
        raise BadPayloadError("a frame that is neither an event nor an answer")
    if event.get("error") is None:
        return Answer(request_id=request_id, error="")
    told = mapping(event["error"], "an error")
    return Answer(request_id=request_id, error=f"{whole(told, 'code')} {text_or(told, 'msg', '')}"[:_ERROR_MAX])


def _best_quote(event: Mapping[str, Any], scale: Scale) -> BestQuote:
    return BestQuote(
        instrument=scale.instrument,
        bid_ticks=_price(event, "b", scale),
        ask_ticks=_price(event, "a", scale),
        bid_qty_lots=scale.qty_lots(field(event, "B"), "bid quantity", Rounding.FLOOR),
        ask_qty_lots=scale.qty_lots(field(event, "A"), "ask quantity", Rounding.FLOOR),
        update_id=positive(event, "u"),
        ts_ns=ms_ns(event, "T"),
    )


def _kline(event: Mapping[str, Any], scale: Scale) -> BarSeen:
    row = mapping(field(event, "k"), "a kline")
    length_ns = TIMEFRAMES_NS.get(text(row, "i"))
    if length_ns is None:
        raise BadPayloadError("a kline of a length that is not traded here")
    return BarSeen(
        instrument=scale.instrument,
        bar=_bar(row, scale, length_ns),
        closed=flag(row, "x"),
        ts_ns=ms_ns(event, "E"),
    )


def _bar(row: Mapping[str, Any], scale: Scale, length_ns: int) -> Bar:
    open_ns = ms_ns(row, "t")
    if ms_ns(row, "T") + NS_PER_MS != open_ns + length_ns:
        raise BadPayloadError("a kline does not last its length")
    bar = Bar(
        open_ns=open_ns,
        length_ns=length_ns,
        open_ticks=_price(row, "o", scale),
        high_ticks=_price(row, "h", scale),
        low_ticks=_price(row, "l", scale),
        close_ticks=_price(row, "c", scale),
        volume_lots=scale.qty_lots(field(row, "v"), "volume", Rounding.FLOOR),
    )
    body = (bar.open_ticks, bar.close_ticks)
    if not bar.low_ticks <= min(body) <= max(body) <= bar.high_ticks:
        raise BadPayloadError("a kline's prices lie outside its range")
    return bar


def _mark_price(event: Mapping[str, Any], scale: Scale) -> MarkSeen:
    return _mark_seen(event, scale, ("p", "r", "T", "E"))


def _mark_seen(row: Mapping[str, Any], scale: Scale, keys: Sequence[str]) -> MarkSeen:
    price, rate, next_time, time = keys
    mark_ticks = scale.price_ticks(field(row, price), "mark", Rounding.NEAREST)
    if mark_ticks <= 0:
        raise BadPayloadError("a mark of zero")
    next_ns = ms_ns(row, next_time) if row.get(next_time) is not None else 0
    known = row.get(rate) is not None and row[rate] != "" and next_ns > 0
    return MarkSeen(
        instrument=scale.instrument,
        mark_ticks=mark_ticks,
        rate_e8=e8(row[rate], "funding rate", Rounding.NEAREST) if known else None,
        next_funding_ns=next_ns if known else None,
        ts_ns=ms_ns(row, time),
    )


def _trade(event: Mapping[str, Any], scale: Scale) -> TradeSeen | Unknown:
    source = text_or(event, "X", _MARKET_TRADE)
    if source != _MARKET_TRADE:  # the insurance fund's, auto-deleveraging's, and empty ones of price 0 ("NA")
        return Unknown(event=f"trade of {source}"[:_ERROR_MAX])
    return _trade_seen(event, scale, "t")


def _aggregate(event: Mapping[str, Any], scale: Scale) -> TradeSeen:
    return _trade_seen(event, scale, "a")


def _trade_seen(event: Mapping[str, Any], scale: Scale, number: str) -> TradeSeen:
    return TradeSeen(
        instrument=scale.instrument,
        trade_id=positive(event, number),
        price_ticks=_price(event, "p", scale),
        qty_lots=scale.qty_lots(field(event, "q")),
        buyer_maker=flag(event, "m"),
        aggregate=number == "a",
        ts_ns=ms_ns(event, "T"),
    )


def _price(row: Mapping[str, Any], key: str, scale: Scale) -> int:
    ticks = scale.price_ticks(field(row, key))
    if ticks <= 0:
        raise BadPayloadError(f"{scale.symbol}: a price of zero")
    return ticks


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], Scale], PublicUpdate]]] = {
    "bookTicker": _best_quote,
    "kline": _kline,
    "markPriceUpdate": _mark_price,
    "trade": _trade,
    "aggTrade": _aggregate,
}
