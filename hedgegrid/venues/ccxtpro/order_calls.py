"""Orders and cancels as requests on the wire: planned in one place, and signed before they may be sent.

Invariants: nothing leaves from here; a plan is used once, for the very orders, rules and channel that it was made for;
a signature is given out once, for the very request that it was made for, and not after ``FRESH_NS``.
"""

from collections.abc import Mapping, Sequence
from operator import is_
from typing import Any, Final

import attrs

from hedgegrid.model.order import OrderRequest
from hedgegrid.units import NS_PER_MS
from hedgegrid.venues.ccxtpro.budget import CallKind
from hedgegrid.venues.ccxtpro.held import HeldRequest
from hedgegrid.venues.ccxtpro.lines import LineRequest
from hedgegrid.venues.ccxtpro.order_requests import (
    BATCH_MAX,
    CANCELS_MAX,
    Params,
    chunks,
    is_conditional,
    is_stop_id,
    reduces,
)
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.wire import Prepared
from hedgegrid.venues.ccxtpro.ws_api import OrderSocket

FRESH_NS: Final = 250 * NS_PER_MS
"""How old a signature's time may be when it is sent: far below the time for which a request is valid."""
_BATCH_WEIGHT: Final = 5
_PLACE_STOP: Final = ("fapiPrivatePostAlgoOrder", "algoOrder.place")
_CANCEL_STOP: Final = ("fapiPrivateDeleteAlgoOrder", "algoOrder.cancel")
_ALGO_METHODS: Final = frozenset({*_PLACE_STOP, *_CANCEL_STOP})


@attrs.frozen(kw_only=True)
class Part:
    """One order on the wire: its own id, and the request that it is, or is a part of."""

    name: str
    request: OrderRequest
    params: Params


@attrs.frozen(kw_only=True)
class Call:
    """One request: by the socket where ``by_socket``, else one of ccxt's implicit methods."""

    method: str
    params: Mapping[str, object]
    by_socket: bool

    @property
    def is_stop(self) -> bool:
        """Whether it goes to the algo service."""
        return self.method in _ALGO_METHODS


@attrs.frozen(kw_only=True)
class OrderCall(Call):
    """A request that places ``parts``."""

    parts: tuple[Part, ...]
    kind: CallKind
    weight: int = 1


@attrs.frozen(kw_only=True)
class CancelCall(Call):
    """A request that cancels the orders of these ids."""

    names: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Plan:
    """How some orders of an instrument go out: their parts, and the requests that place these."""

    orders: tuple[OrderRequest, ...]
    listed: ListedInstrument
    by_socket: bool
    parts: tuple[Part, ...]
    calls: tuple[OrderCall, ...]

    def fits(self, orders: Sequence[OrderRequest], listed: ListedInstrument, *, by_socket: bool) -> bool:
        """Tell whether it was made for these orders, rules and channel."""
        same = len(self.orders) == len(orders) and all(map(is_, self.orders, orders))
        return same and self.listed is listed and self.by_socket == by_socket


def planned(parts: Sequence[Part], *, by_socket: bool) -> tuple[OrderCall, ...]:
    """Give the requests that place some orders: stops one by one, then reductions, then entries, in batches by REST."""
    stop_method = _PLACE_STOP[by_socket]
    calls = [
        OrderCall(method=stop_method, params=one.params, parts=(one,), kind=CallKind.REDUCE, by_socket=by_socket)
        for one in parts
        if is_conditional(one.request)
    ]
    others = [one for one in parts if not is_conditional(one.request)]
    for kind, wanted in ((CallKind.REDUCE, True), (CallKind.ENTRY, False)):
        rest = [one for one in others if reduces(one.request) is wanted]
        size = 1 if by_socket else BATCH_MAX
        calls += [_of_orders(chunk, kind, by_socket=by_socket) for chunk in chunks(rest, size)]
    return tuple(calls)


def _of_orders(chunk: tuple[Part, ...], kind: CallKind, *, by_socket: bool) -> OrderCall:
    if len(chunk) == 1:
        method = "order.place" if by_socket else "fapiPrivatePostOrder"
        return OrderCall(method=method, params=chunk[0].params, parts=chunk, kind=kind, by_socket=by_socket)
    return OrderCall(
        method="fapiPrivatePostBatchOrders",
        params={"batchOrders": [dict(one.params) for one in chunk]},
        parts=chunk,
        kind=kind,
        by_socket=False,
        weight=_BATCH_WEIGHT,
    )


def cancels_of(names: Sequence[str], symbol: str, *, by_socket: bool) -> tuple[CancelCall, ...]:
    """Give the requests that cancel some orders: stops one by one, then the others, in batches by REST."""
    stop_method = _CANCEL_STOP[by_socket]
    calls = [
        CancelCall(method=stop_method, params={"clientAlgoId": name}, names=(name,), by_socket=by_socket)
        for name in names
        if is_stop_id(name)
    ]
    rest = [name for name in names if not is_stop_id(name)]
    calls += [
        _of_cancels(chunk, symbol, by_socket=by_socket) for chunk in chunks(rest, 1 if by_socket else CANCELS_MAX)
    ]
    return tuple(calls)


def _of_cancels(names: tuple[str, ...], symbol: str, *, by_socket: bool) -> CancelCall:
    params: dict[str, object] = {"symbol": symbol, "origClientOrderId": names[0]}
    method = "order.cancel" if by_socket else "fapiPrivateDeleteOrder"
    if len(names) > 1:
        method, params = "fapiPrivateDeleteBatchOrders", {"symbol": symbol, "origClientOrderIdList": list(names)}
    return CancelCall(method=method, params=params, names=names, by_socket=by_socket)


class SignedCalls:
    """Requests that are about to be sent, signed and ready to leave, of each instrument those of its newest batch."""

    def __init__(self, session: Session, socket: OrderSocket | None) -> None:
        """Sign as ``session``'s wire does, or as ``socket`` does what goes by it."""
        self._session = session
        self._socket = socket
        self._signed: dict[str, list[tuple[Call, int, Any]]] = {}

    def sign(self, instrument: str, calls: Sequence[Call]) -> None:
        """Make an instrument's next requests ready; what was made ready for it before, and not taken, is forgotten.

        One alone is held at its connection, the first that is no stop: each takes time, and the first to leave would
        wait for all where the disk is fast.
        """
        self.forget(instrument)
        now_ns = self._session.venue_ns()
        held = next((call for call in calls if not call.is_stop), None)
        self._signed[instrument] = [
            (call, now_ns, self._ready(call) if call is held else self._made(call)) for call in calls
        ]

    def forget(self, instrument: str) -> None:
        """Let go of what was made ready and is not wanted."""
        for _, _, made in self._signed.pop(instrument, ()):
            _drop(made)

    def take(self, instrument: str, call: Call) -> Any:  # noqa: ANN401 - each channel has its own form
        """Give a request as it leaves, made anew where it was not made ready or that was too long ago."""
        now_ns = self._session.venue_ns()
        signed = self._signed.get(instrument, [])
        for place, (known, signed_ns, made) in enumerate(signed):
            if known is call:
                del signed[place]
                if 0 <= now_ns - signed_ns <= FRESH_NS:
                    return made
                _drop(made)
                break
        return self._made(call)

    def _made(self, call: Call) -> Any:  # noqa: ANN401 - as above
        if call.by_socket and self._socket is not None:
            return self._socket.written(call.method, call.params)
        return self._session.wire.prepared(call.method, call.params)

    def _ready(self, call: Call) -> Any:  # noqa: ANN401 - as above
        made = self._made(call)
        return self._session.wire.held(made) if isinstance(made, Prepared) else made


def _drop(made: object) -> None:
    """Give up a request that is held back; what is only written needs nothing."""
    if isinstance(made, HeldRequest | LineRequest):
        made.drop()
