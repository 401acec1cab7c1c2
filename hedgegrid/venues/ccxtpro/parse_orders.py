"""Orders on the private stream: what is said of them, as small values, and those as the house's events.

Invariants: a report is read whole or refused with ``BadPayloadError``; nothing is kept from one to the next. A fill is
told under the id that the caller names (a triggered stop may trade under a foreign one). A conditional order's
triggering is no event of its own: what its actual order does is told by that order's reports.

REST's rows of orders and trades are in ``order_rows``, the words they share in ``order_words``; both are given on here.
"""

from collections.abc import Mapping
from typing import Any, Final

import attrs

from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Leg, Side
from hedgegrid.venues.ccxtpro.errors import reason_of
from hedgegrid.venues.ccxtpro.order_rows import (
    AlgoRow,
    OrderRow,
    Read,
    TradeRow,
    actual_id,
    algo_placed,
    algo_row,
    algo_rows,
    batch_rows,
    fee_e8,
    look,
    open_order,
    order_row,
    order_rows,
    trade_rows,
    traded_lots,
    traded_price,
)
from hedgegrid.venues.ccxtpro.order_words import (
    EXPIRY,
    POST_ONLY,
    AlgoStatus,
    Execution,
    OrderStatus,
    Trade,
    fill,
    is_forced,
    rounding_of,
)
from hedgegrid.venues.ccxtpro.payload import (
    field,
    figure_or_zero,
    flag,
    flag_or,
    leg,
    mapping,
    ms_ns,
    positive,
    side,
    text,
    text_or,
    word,
)
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError, Rounding, Scale, e8

__all__ = [
    "AlgoReport",
    "AlgoRow",
    "AlgoStatus",
    "Execution",
    "OrderReport",
    "OrderRow",
    "OrderStatus",
    "Read",
    "Trade",
    "TradeLite",
    "TradeRow",
    "TriggerReject",
    "algo_events",
    "algo_placed",
    "algo_report",
    "algo_row",
    "algo_rows",
    "batch_rows",
    "fill",
    "is_forced",
    "look",
    "open_order",
    "order_events",
    "order_report",
    "order_row",
    "order_rows",
    "trade_lite",
    "trade_rows",
    "trigger_reject",
]

_WORDS_MAX: Final = 160
_TRADING: Final = frozenset({Execution.TRADE, Execution.CALCULATED})
_NO_EXPIRY: Final = "0"


@attrs.frozen(kw_only=True)
class OrderReport:
    """What happened to an order of the matching engine (ORDER_TRADE_UPDATE).

    ``leg`` is None in one-way mode. ``forced``: the exchange itself ordered. ``expiry`` is the exchange's number of
    why it expired, empty where it did not. ``ts_ns`` is the matching engine's time, ``event_ns`` the sending's.
    """

    instrument: str
    order_id: int
    client_id: str
    leg: Leg | None
    side: Side
    type_name: str
    execution: Execution
    status: OrderStatus
    price_ticks: int
    trigger_ticks: int
    qty_lots: int
    filled_lots: int
    close_all: bool
    reduce_only: bool
    post_only: bool
    trade: Trade | None
    forced: bool
    expiry: str
    ts_ns: int
    event_ns: int


@attrs.frozen(kw_only=True)
class AlgoReport:
    """What happened to a conditional order (ALGO_UPDATE).

    ``actual_order_id`` is the order that it became, ``words`` why it failed.
    """

    instrument: str
    algo_id: int
    client_id: str
    leg: Leg | None
    side: Side
    type_name: str
    status: AlgoStatus
    trigger_ticks: int
    price_ticks: int
    qty_lots: int
    filled_lots: int
    close_all: bool
    reduce_only: bool
    actual_order_id: int | None
    words: str
    ts_ns: int
    event_ns: int


@attrs.frozen(kw_only=True)
class TradeLite:
    """A trade of ours, told early (TRADE_LITE): a hint without leg, fee or profit; the order's report follows."""

    instrument: str
    order_id: int
    client_id: str
    trade_id: int
    side: Side
    price_ticks: int
    qty_lots: int
    maker: bool
    ts_ns: int


@attrs.frozen(kw_only=True)
class TriggerReject:
    """A triggered stop was refused by the matching engine (CONDITIONAL_ORDER_TRIGGER_REJECT): it protects no more."""

    instrument: str
    order_id: int
    words: str
    ts_ns: int


# --- reading --------------------------------------------------------------------------------------------------------


def order_report(event: Mapping[str, Any], scale: Scale) -> OrderReport:
    """Read an ORDER_TRADE_UPDATE of a known instrument."""
    row = mapping(field(event, "o"), "an order's report")
    client_id = text(row, "c")
    rounding = rounding_of(client_id)
    execution = word(row, "x", Execution)
    close_all = flag_or(row, "cp", default=False)
    qty_lots, filled_lots = scale.qty_lots(field(row, "q")), scale.qty_lots(field(row, "z"))
    if filled_lots > qty_lots and not close_all:
        raise BadPayloadError("more was filled than ordered")
    expiry = text_or(row, "er", _NO_EXPIRY)[:_WORDS_MAX]
    return OrderReport(
        instrument=scale.instrument,
        order_id=positive(row, "i"),
        client_id=client_id,
        leg=leg(row, "ps"),
        side=side(row, "S"),
        type_name=text(row, "o"),
        execution=execution,
        status=word(row, "X", OrderStatus),
        price_ticks=scale.price_ticks(field(row, "p"), "price", rounding),
        trigger_ticks=scale.price_ticks(figure_or_zero(row, "sp"), "stop price", Rounding.NEAREST),
        qty_lots=qty_lots,
        filled_lots=filled_lots,
        close_all=close_all,
        reduce_only=flag_or(row, "R", default=False),
        post_only=text(row, "f") == POST_ONLY,
        trade=_trade(row, scale, rounding) if execution in _TRADING else None,
        forced=is_forced(client_id),
        expiry="" if expiry == _NO_EXPIRY else expiry,
        ts_ns=ms_ns(row, "T"),
        event_ns=ms_ns(event, "E"),
    )


def algo_report(event: Mapping[str, Any], scale: Scale) -> AlgoReport:
    """Read an ALGO_UPDATE of a known instrument."""
    row = mapping(field(event, "o"), "a conditional order's report")
    return AlgoReport(
        instrument=scale.instrument,
        algo_id=positive(row, "aid"),
        client_id=text(row, "caid"),
        leg=leg(row, "ps"),
        side=side(row, "S"),
        type_name=text(row, "o"),
        status=word(row, "X", AlgoStatus),
        # The algo service takes triggers off the tick, though never one of ours.
        trigger_ticks=scale.price_ticks(field(row, "tp"), "trigger price", Rounding.NEAREST),
        price_ticks=scale.price_ticks(figure_or_zero(row, "p"), "price", Rounding.NEAREST),
        qty_lots=scale.qty_lots(figure_or_zero(row, "q")),
        filled_lots=scale.qty_lots(figure_or_zero(row, "aq"), "executed quantity"),
        close_all=flag_or(row, "cp", default=False),
        reduce_only=flag_or(row, "R", default=False),
        actual_order_id=actual_id(row, "ai"),
        words=text_or(row, "rm", "")[:_WORDS_MAX],
        ts_ns=ms_ns(event, "T"),
        event_ns=ms_ns(event, "E"),
    )


def trade_lite(event: Mapping[str, Any], scale: Scale) -> TradeLite:
    """Read a TRADE_LITE of a known instrument."""
    client_id = text(event, "c")
    return TradeLite(
        instrument=scale.instrument,
        order_id=positive(event, "i"),
        client_id=client_id,
        trade_id=positive(event, "t"),
        side=side(event, "S"),
        price_ticks=traded_price(field(event, "L"), scale, rounding_of(client_id)),
        qty_lots=traded_lots(field(event, "l"), scale),
        maker=flag(event, "m"),
        ts_ns=ms_ns(event, "T"),
    )


def trigger_reject(event: Mapping[str, Any], scale: Scale) -> TriggerReject:
    """Read a CONDITIONAL_ORDER_TRIGGER_REJECT of a known instrument."""
    row = mapping(field(event, "or"), "a refused trigger")
    return TriggerReject(
        instrument=scale.instrument,
        order_id=positive(row, "i"),
        words=text(row, "r")[:_WORDS_MAX],
        ts_ns=ms_ns(event, "T"),
    )


def _trade(row: Mapping[str, Any], scale: Scale, rounding: Rounding) -> Trade | None:
    """Read the execution of a report; the liquidation engine may speak of one before anything was traded."""
    if word(row, "x", Execution) is Execution.CALCULATED and not scale.qty_lots(field(row, "l")):
        return None
    return Trade(
        trade_id=positive(row, "t"),
        price_ticks=traded_price(field(row, "L"), scale, rounding),
        qty_lots=traded_lots(field(row, "l"), scale),
        fee_e8=fee_e8(row.get("n"), row.get("N"), scale),
        fee_asset=text_or(row, "N", ""),
        realised_e8=e8(field(row, "rp"), "rp", Rounding.NEAREST),
        maker=flag(row, "m"),
        ts_ns=ms_ns(row, "T"),
    )


# --- as events ------------------------------------------------------------------------------------------------------


def order_events(report: OrderReport, client_id: str, *, fee_if_unknown_e8: int) -> tuple[OrderEvent, ...]:
    """Give a report as events of ``client_id``: the report's own id, or ours of the stop that became this order.

    ``fee_if_unknown_e8`` stands for a fee that was charged in another asset. BadPayloadError for a fill in one-way
    mode, which has no leg.
    """
    kind, reason = _meaning(report)
    left = max(report.qty_lots - report.filled_lots, 0)
    detail = f"expiry reason {report.expiry}" if report.expiry else ""
    if kind is not OrderEventKind.FILLED:
        return (OrderEvent(kind=kind, client_id=client_id, reason=reason, qty_lots=left, detail=detail),)
    if report.trade is None:
        return ()
    done = fill(
        report.trade,
        client_id=client_id,
        instrument=report.instrument,
        leg=report.leg,
        side=report.side,
        type_name=report.type_name,
        fee_if_unknown_e8=fee_if_unknown_e8,
    )
    return (OrderEvent(kind=kind, client_id=client_id, reason=reason, qty_lots=left, fill=done),)


def algo_events(report: AlgoReport) -> tuple[OrderEvent, ...]:
    """Give a conditional order's report as events of its own id; none for its triggering and what follows from it."""
    meaning = _ALGO_MEANINGS.get(report.status)
    if meaning is None:
        return ()
    kind, reason = meaning
    if kind is OrderEventKind.REJECTED:
        reason = reason_of(report.words)
    event = OrderEvent(
        kind=kind, client_id=report.client_id, reason=reason, qty_lots=report.qty_lots, detail=report.words
    )
    return (event,)


_MEANINGS: Final[Mapping[Execution, tuple[OrderEventKind, EndReason]]] = {
    Execution.NEW: (OrderEventKind.ACCEPTED, EndReason.NONE),
    Execution.TRADE: (OrderEventKind.FILLED, EndReason.NONE),
    Execution.CALCULATED: (OrderEventKind.FILLED, EndReason.LIQUIDATION),
    Execution.CANCELED: (OrderEventKind.CANCELLED, EndReason.BY_REQUEST),
    Execution.AMENDMENT: (OrderEventKind.AMENDED, EndReason.NONE),
    Execution.REJECTED: (OrderEventKind.REJECTED, EndReason.REFUSED),
}
_ALGO_MEANINGS: Final[Mapping[AlgoStatus, tuple[OrderEventKind, EndReason]]] = {
    AlgoStatus.NEW: (OrderEventKind.ACCEPTED, EndReason.NONE),
    AlgoStatus.CANCELED: (OrderEventKind.CANCELLED, EndReason.BY_REQUEST),
    AlgoStatus.EXPIRED: (OrderEventKind.EXPIRED, EndReason.NOTHING_TO_CLOSE),
    AlgoStatus.REJECTED: (OrderEventKind.REJECTED, EndReason.REFUSED),
}


def _meaning(report: OrderReport) -> tuple[OrderEventKind, EndReason]:
    if report.execution is not Execution.EXPIRED:
        kind, reason = _MEANINGS[report.execution]
        named = EXPIRY.get(report.expiry, reason) if report.execution is Execution.CANCELED else reason
        return kind, EndReason.LIQUIDATION if report.forced and kind is OrderEventKind.FILLED else named
    if report.status is OrderStatus.EXPIRED_IN_MATCH:
        return OrderEventKind.EXPIRED, EndReason.REFUSED
    unnamed = EndReason.POST_ONLY if report.post_only and not report.filled_lots else EndReason.NONE
    return OrderEventKind.EXPIRED, EXPIRY.get(report.expiry, unnamed)
