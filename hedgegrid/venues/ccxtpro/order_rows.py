"""Orders and trades as REST answers tell them: the two lists of open orders, look-ups, batches, our trades.

Invariants: a list is read whole or refused with ``BadPayloadError``; rows of instruments that are not traded here are
told by their symbol; of a batch every row gets an answer by its index, and a row that cannot be read proves nothing
(OutcomeUnknown). An open order that is not ours is told as what it does to its leg.
"""

from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from hedgegrid.messages.events import OrderEventKind
from hedgegrid.model.order import Kind, Leg, OpenOrder, Side
from hedgegrid.ports import LookUp, OrderLook
from hedgegrid.venues.ccxtpro.errors import Verdict, classify_row
from hedgegrid.venues.ccxtpro.order_words import (
    POST_ONLY,
    AlgoStatus,
    OrderStatus,
    Trade,
    kind_of,
    leg_of,
    purpose_of,
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
    one_or_many,
    positive,
    rows,
    side,
    text,
    text_or,
    whole_of,
    word,
)
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError, Rounding, Scale, Scales, e8

_Row = TypeVar("_Row")


@attrs.frozen(kw_only=True)
class Read(Generic[_Row]):
    """What a read told: rows of the instruments traded here, and the symbols of other rows, sorted."""

    rows: tuple[_Row, ...]
    elsewhere: tuple[str, ...]


@attrs.frozen(kw_only=True)
class OrderRow:
    """An order of the matching engine. ``leg`` is None in one-way mode; prices are 0 where the type has none."""

    instrument: str
    order_id: int
    client_id: str
    leg: Leg | None
    side: Side
    type_name: str
    status: OrderStatus
    price_ticks: int
    trigger_ticks: int
    qty_lots: int
    filled_lots: int
    close_all: bool
    reduce_only: bool
    post_only: bool
    created_ns: int
    updated_ns: int


@attrs.frozen(kw_only=True)
class AlgoRow:
    """A conditional order of the algo service; ``actual_order_id`` is the order that it became once triggered.

    ``filled_lots`` is what that order filled, 0 where the answer does not tell (the list of open ones).
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
    created_ns: int
    updated_ns: int


@attrs.frozen(kw_only=True)
class TradeRow:
    """A trade of ours. The wire gives no client id: ``order_id`` leads to it."""

    instrument: str
    order_id: int
    leg: Leg | None
    side: Side
    trade: Trade


def scale_of(symbol: str, scales: Scales) -> Scale:
    """Give the scale of an instrument that must be traded here."""
    if symbol not in scales:
        raise BadPayloadError(f"{symbol[:20]} is not traded here")
    return scales[symbol]


def order_row(payload: object, scales: Scales) -> OrderRow:
    """Read one order: a look-up's answer, or what placing and cancelling answer."""
    row = mapping(payload, "an order")
    return _order(row, scale_of(text(row, "symbol"), scales))


def order_rows(payload: object, scales: Scales) -> Read[OrderRow]:
    """Read the list of open orders."""
    return listed(payload, scales, _order)


def algo_row(payload: object, scales: Scales) -> AlgoRow:
    """Read one conditional order."""
    row = mapping(payload, "a conditional order")
    return _algo(row, scale_of(text(row, "symbol"), scales))


def algo_rows(payload: object, scales: Scales) -> Read[AlgoRow]:
    """Read the list of open conditional orders."""
    return listed(payload, scales, _algo)


def algo_placed(payload: object) -> tuple[int, str]:
    """Read what placing or cancelling a conditional order answers: the exchange's id and ours."""
    row = mapping(payload, "a conditional order")
    return positive(row, "algoId"), text(row, "clientAlgoId")


def batch_rows(payload: object, scales: Scales, count: int) -> tuple[OrderRow | Verdict, ...]:
    """Read a batch's answer, by index: the order, or what its refusal proves.

    BadPayloadError where the answer is no list of ``count`` rows; then nothing is known of any.
    """
    answers = rows(payload, "a batch's answer")
    if len(answers) != count:
        raise BadPayloadError(f"a batch of {count} was answered with {len(answers)} rows")
    return tuple(_answered(row, scales) for row in answers)


def trade_rows(payload: object, scales: Scales) -> Read[TradeRow]:
    """Read our trades, by time and trade id."""
    read = listed(payload, scales, _trade_row)
    return attrs.evolve(read, rows=tuple(sorted(read.rows, key=lambda one: (one.trade.ts_ns, one.trade.trade_id))))


def open_order(row: OrderRow | AlgoRow) -> OpenOrder:
    """Give an order as the house speaks of it; level, generation and covers are the executor's to add."""
    kind = Kind.STOP_MARKET if isinstance(row, AlgoRow) else kind_of(row.type_name)
    held_leg = leg_of(row.leg, row.side, reduces=row.reduce_only or row.close_all)
    return OpenOrder(
        client_id=row.client_id,
        instrument=row.instrument,
        leg=held_leg,
        purpose=purpose_of(row.client_id, held_leg, row.side, row.type_name),
        kind=kind,
        price_ticks=row.trigger_ticks if kind is Kind.STOP_MARKET else row.price_ticks,
        qty_lots=0 if row.close_all else row.qty_lots,
        filled_lots=row.filled_lots,
        close_all=row.close_all,
        created_ns=row.created_ns,
    )


def look(row: OrderRow | AlgoRow, read_ns: int) -> OrderLook:
    """Give an order's state as one answer of the exchange, read at its time ``read_ns``.

    A triggered conditional order is open as long as its actual order may be. ENDED without an ``end`` is one that is
    finished, of which only the actual order tells how.
    """
    end = _algo_end(row) if isinstance(row, AlgoRow) else _ENDS.get(row.status)
    is_open = row.status in _OPEN
    return OrderLook(
        state=LookUp.OPEN if is_open else LookUp.ENDED,
        read_ns=read_ns,
        filled_lots=row.filled_lots,
        end=None if is_open else end,
    )


_OPEN = frozenset(
    {OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, AlgoStatus.NEW, AlgoStatus.TRIGGERING, AlgoStatus.TRIGGERED}
)
_ENDS: Mapping[OrderStatus | AlgoStatus, OrderEventKind] = {
    OrderStatus.FILLED: OrderEventKind.FILLED,
    OrderStatus.CANCELED: OrderEventKind.CANCELLED,
    OrderStatus.REJECTED: OrderEventKind.REJECTED,
    OrderStatus.EXPIRED: OrderEventKind.EXPIRED,
    OrderStatus.EXPIRED_IN_MATCH: OrderEventKind.EXPIRED,
}


def _algo_end(row: AlgoRow) -> OrderEventKind | None:
    if row.status is not AlgoStatus.FINISHED:
        return _ENDS.get(row.status)
    if not row.filled_lots:
        return None
    return OrderEventKind.FILLED if row.close_all or row.filled_lots >= row.qty_lots else OrderEventKind.CANCELLED


def listed(payload: object, scales: Scales, read: Callable[[Mapping[str, Any], Scale], _Row]) -> Read[_Row]:
    """Read a list, or one object as a list of it, row by row."""
    found: list[_Row] = []
    elsewhere: set[str] = set()
    for entry in one_or_many(payload, "a list"):
        row = mapping(entry, "a row")
        symbol = text(row, "symbol")
        if symbol in scales:
            found.append(read(row, scales[symbol]))
        else:
            elsewhere.add(symbol)
    return Read(rows=tuple(found), elsewhere=tuple(sorted(elsewhere)))


def _answered(row: object, scales: Scales) -> OrderRow | Verdict:
    if isinstance(row, dict) and "orderId" in row:
        try:
            return order_row(row, scales)
        except BadPayloadError:
            return classify_row(None, sent_order=True)
    return classify_row(row, sent_order=True)


def _order(row: Mapping[str, Any], scale: Scale) -> OrderRow:
    client_id = text(row, "clientOrderId")
    rounding = rounding_of(client_id)
    updated_ns = ms_ns(row, "updateTime")
    close_all = flag_or(row, "closePosition", default=False)
    qty_lots, filled_lots = scale.qty_lots(field(row, "origQty")), scale.qty_lots(field(row, "executedQty"))
    _check_filled(filled_lots, qty_lots, close_all=close_all)
    return OrderRow(
        instrument=scale.instrument,
        order_id=positive(row, "orderId"),
        client_id=client_id,
        leg=leg(row, "positionSide"),
        side=side(row, "side"),
        type_name=text(row, "type"),
        status=word(row, "status", OrderStatus),
        price_ticks=scale.price_ticks(field(row, "price"), "price", rounding),
        trigger_ticks=scale.price_ticks(figure_or_zero(row, "stopPrice"), "stopPrice", Rounding.NEAREST),
        qty_lots=qty_lots,
        filled_lots=filled_lots,
        close_all=close_all,
        reduce_only=flag_or(row, "reduceOnly", default=False),
        post_only=text(row, "timeInForce") == POST_ONLY,
        created_ns=ms_ns(row, "time") if row.get("time") is not None else updated_ns,
        updated_ns=updated_ns,
    )


def _algo(row: Mapping[str, Any], scale: Scale) -> AlgoRow:
    created_ns = ms_ns(row, "createTime")
    return AlgoRow(
        instrument=scale.instrument,
        algo_id=positive(row, "algoId"),
        client_id=text(row, "clientAlgoId"),
        leg=leg(row, "positionSide"),
        side=side(row, "side"),
        type_name=text(row, "orderType"),
        status=word(row, "algoStatus", AlgoStatus),
        trigger_ticks=scale.price_ticks(field(row, "triggerPrice"), "triggerPrice", Rounding.NEAREST),
        price_ticks=scale.price_ticks(figure_or_zero(row, "price"), "price", Rounding.NEAREST),
        qty_lots=scale.qty_lots(figure_or_zero(row, "quantity")),
        filled_lots=scale.qty_lots(figure_or_zero(row, "actualQty"), "actualQty"),
        close_all=flag_or(row, "closePosition", default=False),
        reduce_only=flag_or(row, "reduceOnly", default=False),
        actual_order_id=actual_id(row, "actualOrderId"),
        created_ns=created_ns,
        updated_ns=ms_ns(row, "updateTime") if row.get("updateTime") is not None else created_ns,
    )


def actual_id(row: Mapping[str, Any], key: str) -> int | None:
    """Read the order that a conditional one became; None before it triggers (the wire leaves it out, empty, or 0)."""
    value = row.get(key)
    if value is None or value == "":
        return None
    number = whole_of(value, repr(key))
    if number < 0:
        raise BadPayloadError(f"{key!r} is below zero")
    return number or None


def _check_filled(filled_lots: int, qty_lots: int, *, close_all: bool) -> None:
    if filled_lots > qty_lots and not close_all:
        raise BadPayloadError("more was filled than ordered")


def _trade_row(row: Mapping[str, Any], scale: Scale) -> TradeRow:
    return TradeRow(
        instrument=scale.instrument,
        order_id=positive(row, "orderId"),
        leg=leg(row, "positionSide"),
        side=side(row, "side"),
        trade=Trade(
            trade_id=positive(row, "id"),
            # Without a client id nobody knows whether the order was a forced one, whose price may lie off the tick.
            price_ticks=traded_price(field(row, "price"), scale, Rounding.NEAREST),
            qty_lots=traded_lots(field(row, "qty"), scale),
            fee_e8=fee_e8(row.get("commission"), row.get("commissionAsset"), scale),
            fee_asset=text_or(row, "commissionAsset", ""),
            realised_e8=e8(field(row, "realizedPnl"), "realizedPnl", Rounding.NEAREST),
            maker=flag(row, "maker"),
            ts_ns=ms_ns(row, "time"),
        ),
    )


def traded_price(value: object, scale: Scale, rounding: Rounding) -> int:
    """Read the price of a trade, which is never zero."""
    ticks = scale.price_ticks(value, "price", rounding)
    if ticks <= 0:
        raise BadPayloadError(f"{scale.symbol}: a trade at a price of zero")
    return ticks


def traded_lots(value: object, scale: Scale) -> int:
    """Read the quantity of a trade, which is never zero."""
    lots = scale.qty_lots(value)
    if lots <= 0:
        raise BadPayloadError(f"{scale.symbol}: a trade of nothing")
    return lots


def fee_e8(commission: object, asset: object, scale: Scale) -> int | None:
    """Read a fee as a cost in quote x 1e8, None where it was charged in another asset.

    The exchange leaves the field out where it charged nothing.
    """
    amount_e8 = 0 if commission is None else e8(commission, "commission")
    return amount_e8 if not amount_e8 or asset == scale.settle_asset else None
