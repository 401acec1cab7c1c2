"""The frames of the market streams, word for word as the exchange writes them.

Invariant: figures are text at the symbol's own precision; times are ms. Frames are written by hand because a bench asks
for thousands a second.
"""

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from hedgegrid.units import NS_PER_MS
from tools.standin.price_path import Span
from tools.standin.rules import InstrumentSpec, scaled_text

RATE_PLACES = 8
_QUOTE_PLACES = 8


def json_text(payload: object) -> str:
    """Write a payload as one line of JSON."""
    return msgspec.json.encode(payload).decode()


def wrapped(stream: str, text: str) -> str:
    """Put a frame into the envelope of combined streams."""
    return f'{{"stream":"{stream}","data":{text}}}'


@attrs.frozen(kw_only=True)
class Print:
    """One trade of the market."""

    trade_id: int
    price: str
    qty: str
    ts_ms: int
    seller_hit: bool


@attrs.frozen(kw_only=True)
class Shown:
    """The mark price of an instant with what is announced of funding; empty and 0 where nothing is announced."""

    mark: str
    index: str
    rate: str
    next_ms: int


def book_ticker(symbol: str, update_id: int, now_ms: int, bid: tuple[str, str], ask: tuple[str, str]) -> str:
    """Best bid and ask, each price and quantity."""
    return (
        f'{{"e":"bookTicker","u":{update_id},"s":"{symbol}","b":"{bid[0]}","B":"{bid[1]}",'
        f'"a":"{ask[0]}","A":"{ask[1]}","T":{now_ms},"E":{now_ms}}}'
    )


def trade(symbol: str, one: Print, now_ms: int) -> str:
    """One trade, on the stream ``trade``."""
    return (
        f'{{"e":"trade","E":{now_ms},"T":{one.ts_ms},"s":"{symbol}","t":{one.trade_id},"p":"{one.price}",'
        f'"q":"{one.qty}","X":"MARKET","m":{_flag(one.seller_hit)}}}'
    )


def agg_trade(symbol: str, one: Print, now_ms: int) -> str:
    """One trade, on the stream ``aggTrade``."""
    return (
        f'{{"e":"aggTrade","E":{now_ms},"s":"{symbol}","a":{one.trade_id},"p":"{one.price}","q":"{one.qty}",'
        f'"f":{one.trade_id},"l":{one.trade_id},"T":{one.ts_ms},"m":{_flag(one.seller_hit)}}}'
    )


def mark_price(symbol: str, shown: Shown, now_ms: int) -> str:
    """The mark price with the funding rate and the next settlement."""
    return (
        f'{{"e":"markPriceUpdate","E":{now_ms},"s":"{symbol}","p":"{shown.mark}","P":"{shown.mark}",'
        f'"i":"{shown.index}","r":"{shown.rate}","T":{shown.next_ms}}}'
    )


def rate_text(rate_e8: int) -> str:
    """Write a funding rate."""
    return scaled_text(rate_e8, RATE_PLACES)


def kline_row(spec: InstrumentSpec, span: Span, open_ns: int, length_ns: int) -> list[Any]:
    """A bar as a row of the REST answer: twelve columns."""
    quote = span.volume_lots * (span.high_ticks + span.low_ticks) // 2 * spec.unit_e8
    half = span.volume_lots // 2
    open_ms = open_ns // NS_PER_MS
    return [
        open_ms,
        spec.price_text(span.open_ticks),
        spec.price_text(span.high_ticks),
        spec.price_text(span.low_ticks),
        spec.price_text(span.close_ticks),
        spec.qty_text(span.volume_lots),
        open_ms + length_ns // NS_PER_MS - 1,
        scaled_text(quote, _QUOTE_PLACES),
        _trades_in(span),
        spec.qty_text(half),
        scaled_text(quote // 2, _QUOTE_PLACES),
        "0",
    ]


def kline(spec: InstrumentSpec, interval: str, row: list[Any], now_ms: int, *, closed: bool) -> str:
    """A bar as an event of the kline stream, from its row."""
    last = row[0] // 1000
    return (
        f'{{"e":"kline","E":{now_ms},"s":"{spec.symbol}","k":{{"t":{row[0]},"T":{row[6]},"s":"{spec.symbol}",'
        f'"i":"{interval}","f":{last},"L":{last + row[8]},"o":"{row[1]}","c":"{row[4]}","h":"{row[2]}","l":"{row[3]}",'
        f'"v":"{row[5]}","n":{row[8]},"x":{_flag(closed)},"q":"{row[7]}","V":"{row[9]}","Q":"{row[10]}","B":"0"}}}}'
    )


def depth_update(
    symbol: str,
    ids: tuple[int, int, int],
    now_ms: int,
    sides: tuple[Mapping[str, str], Mapping[str, str]],
) -> str:
    """A change of the book: first, last and previous update id, then price -> quantity of bids and asks."""
    first, last, before = ids
    bids, asks = (json_text([list(row) for row in side.items()]) for side in sides)
    return (
        f'{{"e":"depthUpdate","E":{now_ms},"T":{now_ms},"s":"{symbol}","U":{first},"u":{last},"pu":{before},'
        f'"b":{bids},"a":{asks}}}'
    )


def ticker(spec: InstrumentSpec, day: Span, now_ms: int, *, whole: bool) -> dict[str, Any]:
    """The last 24 hours, in short (miniTicker) or whole."""
    quote = day.volume_lots * (day.high_ticks + day.low_ticks) // 2 * spec.unit_e8
    row: dict[str, Any] = {
        "e": "24hrTicker" if whole else "24hrMiniTicker",
        "E": now_ms,
        "s": spec.symbol,
        "c": spec.price_text(day.close_ticks),
        "o": spec.price_text(day.open_ticks),
        "h": spec.price_text(day.high_ticks),
        "l": spec.price_text(day.low_ticks),
        "v": spec.qty_text(day.volume_lots),
        "q": scaled_text(quote, _QUOTE_PLACES),
    }
    if whole:
        change = day.close_ticks - day.open_ticks
        row |= {
            "p": spec.price_text(change),
            "P": f"{100 * change / day.open_ticks:.3f}",
            "w": spec.price_text((day.high_ticks + day.low_ticks) // 2),
            "Q": spec.qty_text(1),
            "O": now_ms - 86_400_000,
            "C": now_ms,
            "F": 0,
            "L": _trades_in(day),
            "n": _trades_in(day),
        }
    return row


def force_order(order: Mapping[str, Any], now_ms: int) -> str:
    """A forced order as the market sees it, from the order part of the account's own report."""
    shown = {name: order[name] for name in ("s", "S", "o", "f", "q", "p", "ap", "X", "l", "z", "T")}
    return json_text({"e": "forceOrder", "E": now_ms, "o": shown})


def _trades_in(span: Span) -> int:
    """A number of trades that goes with a volume."""
    return max(1, span.volume_lots // 100)


def _flag(value: bool) -> str:  # noqa: FBT001 - a word of JSON
    return "true" if value else "false"
