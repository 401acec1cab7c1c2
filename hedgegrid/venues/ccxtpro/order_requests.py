"""What an order looks like on the wire: an ``OrderRequest`` as raw parameters, every figure as exact text.

Pure. Invariants: every order names its ``positionSide`` and none says ``reduceOnly`` (hedge mode: the exchange refuses
the two together, and the leg and side say it already); an order's id on the wire is ours, unchanged; a conditional
order is written for the algo service alone, any other for the order service alone; a post-only order is GTX; a stop
that closes what the leg holds has no quantity.

Sources: Binance USD-M futures, "New Order", "Place Multiple Orders", "New Algo Order", websocket API "order.place".
"""

from collections.abc import Sequence
from typing import Final, Literal, TypeVar

import attrs

from hedgegrid.core.client_id import SEQUENCES, ClientId, client_id, parse_client_id
from hedgegrid.model.order import Kind, OrderRequest, Purpose
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument

Params = dict[str, str]
StopTrigger = Literal["mark", "last"]

CONDITIONAL: Final = (Purpose.STOP, Purpose.BACKSTOP)
BATCH_MAX: Final = 5
"""Orders that one batch may place."""
CANCELS_MAX: Final = 10
"""Orders that one batch may cancel."""
SLICES_MAX: Final = 35
"""Orders that one market reduction, or one stop, may be sent as."""

_SLICE_STEP: Final = SEQUENCES // (SLICES_MAX + 1)
"""Sequences from here on are slices of an order: sixty million orders, years of one boot."""
_WORKING_TYPES: Final = {"mark": "MARK_PRICE", "last": "CONTRACT_PRICE"}

_T = TypeVar("_T")


def is_conditional(request: OrderRequest) -> bool:
    """Tell whether the order belongs to the algo service."""
    return request.kind is Kind.STOP_MARKET


def is_stop_id(name: str) -> bool:
    """Tell whether an id is one of ours of a stop or a backstop."""
    parts = parse_client_id(name)
    return parts is not None and parts.purpose in CONDITIONAL


def order_params(request: OrderRequest, listed: ListedInstrument) -> Params:
    """Write a limit or market order: of POST /fapi/v1/order, of a row of batchOrders, of the socket's order.place.

    AssertionError for a conditional order, and for a market order above the exchange's maximum (slice it first).
    """
    assert not is_conditional(request), "a conditional order goes through the algo service"
    assert request.kind is not Kind.MARKET or request.qty_lots <= market_max_lots(listed), "slice it first"
    params = _whose(request, listed)
    params["newClientOrderId"] = request.client_id
    params["newOrderRespType"] = "ACK"  # the stream tells the rest, and an acknowledgement is the fastest answer
    params["quantity"] = listed.instrument.qty_text(request.qty_lots)
    if request.kind is Kind.MARKET:
        return params | {"type": "MARKET"}
    return params | {
        "type": "LIMIT",
        "timeInForce": "GTX" if request.post_only else "GTC",
        "price": listed.instrument.price_text(request.price_ticks),
    }


def amend_params(request: OrderRequest, listed: ListedInstrument) -> Params:
    """Write another quantity for an entry that rests: of PUT /fapi/v1/order, which wants the price that it has too."""
    return {
        "symbol": listed.symbol,
        "side": request.side.name,
        "origClientOrderId": request.client_id,
        "quantity": listed.instrument.qty_text(request.qty_lots),
        "price": listed.instrument.price_text(request.price_ticks),
    }


def algo_params(request: OrderRequest, listed: ListedInstrument, stop_trigger: StopTrigger) -> Params:
    """Write a stop: of POST /fapi/v1/algoOrder, of the socket's algoOrder.place. AssertionError for any other order."""
    assert is_conditional(request), "only a conditional order goes through the algo service"
    params = _whose(request, listed) | {
        "algoType": "CONDITIONAL",
        "type": "STOP_MARKET",
        "triggerPrice": listed.instrument.price_text(request.price_ticks),
        "workingType": _WORKING_TYPES[stop_trigger],
        "clientAlgoId": request.client_id,
    }
    if request.close_all:
        return params | {"closePosition": "true"}
    return params | {"quantity": listed.instrument.qty_text(request.qty_lots)}


def _whose(request: OrderRequest, listed: ListedInstrument) -> Params:
    return {"symbol": listed.symbol, "side": request.side.name, "positionSide": request.leg.name}


# --- orders above the exchange's maximum of a market order ------------------------------------------------------------


def slices_of(request: OrderRequest, listed: ListedInstrument) -> tuple[int, ...]:
    """Give the quantities in lots that an order is sent in: itself, or parts that are within the maximum.

    A stop becomes a market order when it triggers, so it is cut like one. No part is under the exchange's minimum.
    What does not fit into ``SLICES_MAX`` parts is left out: the order ends with it unfilled, and it is asked for again.
    """
    largest = market_max_lots(listed)
    if request.kind is Kind.LIMIT or request.qty_lots <= largest:
        return (request.qty_lots,)
    count = -(-request.qty_lots // largest)
    if count > SLICES_MAX:
        return (largest,) * SLICES_MAX
    slices = [largest] * (count - 1)
    last = request.qty_lots - sum(slices)
    short = max(0, listed.market_min_lots - last)
    slices[-1] -= short
    return (*slices, last + short)


def slice_id(parent: str, number: int) -> str:
    """Give the id of a part of an order: the order's own for part 0, else a relative that parses as ours.

    It has all that the order's id has but for the sequence, which no order of its own ever gets. ValueError for a
    parent that is not one of our ids; AssertionError for a part of a part.
    """
    parts = parse_client_id(parent)
    if parts is None:
        raise ValueError(f"{parent!r} is not an id of ours")
    assert parts.sequence < _SLICE_STEP, "a part of a part"
    assert 0 <= number <= SLICES_MAX, "more parts than sequences"
    return _renumbered(parts, parts.sequence + number * _SLICE_STEP)


def whole_id(name: str) -> str:
    """Give the id of the order that an id is a part of; its own where it is none."""
    parts = parse_client_id(name)
    if parts is None or parts.sequence < _SLICE_STEP:
        return name
    return _renumbered(parts, parts.sequence % _SLICE_STEP)


def _renumbered(parts: ClientId, sequence: int) -> str:
    return client_id(**attrs.asdict(attrs.evolve(parts, sequence=sequence), recurse=False))


def is_slice(name: str) -> bool:
    """Tell whether an id was written by ``slice_id`` for a part that is not the first."""
    return whole_id(name) != name


def reduces(request: OrderRequest) -> bool:
    """Tell whether an order shrinks its leg."""
    return request.purpose is not Purpose.ENTRY


def market_max_lots(listed: ListedInstrument) -> int:
    """Give the most lots of one market order."""
    return min(listed.market_max_lots, listed.instrument.max_qty_lots)


def chunks(rows: Sequence[_T], most: int) -> list[tuple[_T, ...]]:
    """Cut a row of things into pieces of at most ``most``, in order."""
    return [tuple(rows[start : start + most]) for start in range(0, len(rows), most)]
