"""Orders and cancels on their way to the exchange.

Invariants: one answer for each request, by index: ACCEPTED, REJECTED or UNKNOWN; whatever the exchange did not say no
to in words that prove it is UNKNOWN; nothing is ever sent twice; every request of a call is tried, whatever became of
the others; a stop is retired only when every new stop of its leg stands.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final

import attrs

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.errors import HedgegridError, OutcomeUnknown, Transient
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Leg, OrderRequest, Purpose
from hedgegrid.venues.ccxtpro.budget import CallKind
from hedgegrid.venues.ccxtpro.errors import classify_row
from hedgegrid.venues.ccxtpro.order_requests import (
    BATCH_MAX,
    CANCELS_MAX,
    Params,
    StopTrigger,
    algo_params,
    chunks,
    is_conditional,
    market_slices,
    order_params,
    reduces,
    slice_id,
)
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.payload import mapping, positive, rows
from hedgegrid.venues.ccxtpro.refusals import Refusal, refusal_of, refusal_of_row
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.traded import Traded
from hedgegrid.venues.ccxtpro.ws_api import OrderSocket

_CONDITIONAL: Final = (Purpose.STOP, Purpose.BACKSTOP)
_BATCH_WEIGHT: Final = 5

Outcome = OrderEvent | None
"""The refusal of one order or cancel; None where it was taken."""


@attrs.frozen(kw_only=True)
class _Part:
    """One order on the wire: its own id, and the request that it is, or is a part of."""

    name: str
    request: OrderRequest
    params: Params


class OrderDesk:
    """Sends one account's orders; the stream tells what becomes of them."""

    def __init__(
        self,
        *,
        traded: Traded,
        socket: OrderSocket | None,
        stop_trigger: StopTrigger,
        say: Callable[[str, Sequence[OrderEvent]], None],
        note_sent: Callable[[OrderRequest], None],
    ) -> None:
        """``socket``: where orders go while it is connected (conditional ones never do).

        ``say`` takes the words on an instrument's orders that are no answer to a request.
        """
        self._session = traded.session
        self._listed = traded.listed
        self._names = traded.names
        self._slices = traded.slices
        self._socket = socket
        self._stop_trigger: StopTrigger = stop_trigger
        self._say = say
        self._note_sent = note_sent

    # --- placing ----------------------------------------------------------------------------------------------------

    async def place(
        self, instrument: str, requests: Sequence[OrderRequest], retires: Sequence[str]
    ) -> tuple[OrderEvent, ...]:
        """Send orders all at once, then retire the stops that the new ones replace. One answer a request.

        A backstop goes before its successor comes: the exchange refuses a second of a leg (-4130), and the lots'
        own stops stand meanwhile.
        """
        listed = self._listed[instrument]
        moved = {request.leg for request in requests if request.close_all}
        before = [name for name in retires if _is_backstop_of(name, moved)]
        if before:
            refused = await self._cancel_all(instrument, before)
            self._say(instrument, [one.of_cancel(name) for name, one in refused.items()])
            retires = [name for name in retires if name not in before]
        parts = [part for request in requests for part in self._parts(request, listed)]
        for part in parts:
            self._note_sent(attrs.evolve(part.request, client_id=part.name))
        outcomes = await self._send_all(instrument, parts)
        answers = tuple(self._answer(instrument, request, outcomes) for request in requests)
        if retires:
            await self._retire(instrument, requests, answers, retires)
        return answers

    def _parts(self, request: OrderRequest, listed: ListedInstrument) -> list[_Part]:
        if is_conditional(request):
            params = algo_params(request, listed, self._stop_trigger)
            return [_Part(name=request.client_id, request=request, params=params)]
        lots = market_slices(request, listed)
        if len(lots) > 1:
            self._slices.note(
                request.client_id, [(slice_id(request.client_id, at), each) for at, each in enumerate(lots)]
            )
        parts: list[_Part] = []
        for at, each in enumerate(lots):
            name = slice_id(request.client_id, at) if at else request.client_id
            own = attrs.evolve(request, client_id=name, qty_lots=each)
            parts.append(_Part(name=name, request=request, params=order_params(own, listed)))
        return parts

    async def _send_all(self, instrument: str, parts: Sequence[_Part]) -> dict[str, Outcome]:
        """Send everything at once: stops one by one, the rest in batches, reductions apart from entries."""
        outcomes: dict[str, Outcome] = {}
        stops = [part for part in parts if is_conditional(part.request)]
        others = [part for part in parts if not is_conditional(part.request)]
        async with asyncio.TaskGroup() as group:
            for stop in stops:
                group.create_task(self._send_stop(stop, outcomes))
            for kind, wanted in ((CallKind.REDUCE, True), (CallKind.ENTRY, False)):
                rest = [part for part in others if reduces(part.request) is wanted]
                if self._socket is not None and self._socket.connected:
                    for part in rest:
                        group.create_task(self._send_by_socket(self._socket, instrument, part, kind, outcomes))
                else:
                    for chunk in chunks(rest, BATCH_MAX):
                        group.create_task(self._send_chunk(instrument, chunk, kind, outcomes))
        return outcomes

    async def _send_stop(self, part: _Part, outcomes: dict[str, Outcome]) -> None:
        refusal = None
        try:
            answer = await self._session.call(
                "fapiPrivatePostAlgoOrder", part.params, kind=CallKind.REDUCE, weight=1, orders=1
            )
            positive(mapping(answer, "an algo order's answer"), "algoId")
        except HedgegridError as error:
            refusal = refusal_of(error)
        except BadPayloadError as error:
            refusal = _unread(error)
        outcomes[part.name] = None if refusal is None else refusal.of(part.name)
        if refusal is not None and not refusal.unknown:
            self._names.stop_done(part.name)

    async def _send_by_socket(
        self, socket: OrderSocket, instrument: str, part: _Part, kind: CallKind, outcomes: dict[str, Outcome]
    ) -> None:
        async def call() -> Any:  # noqa: ANN401 - whatever JSON the exchange answers with
            return [await socket.call("order.place", part.params, kind=kind, weight=1, orders=1)]

        await self._take_answers(instrument, (part,), call, outcomes)

    async def _send_chunk(
        self, instrument: str, chunk: Sequence[_Part], kind: CallKind, outcomes: dict[str, Outcome]
    ) -> None:
        async def call() -> Any:  # noqa: ANN401 - whatever JSON the exchange answers with
            if len(chunk) == 1:
                params = chunk[0].params
                return [await self._session.call("fapiPrivatePostOrder", params, kind=kind, weight=1, orders=1)]
            batch = {"batchOrders": [dict(part.params) for part in chunk]}
            return await self._session.call(
                "fapiPrivatePostBatchOrders", batch, kind=kind, weight=_BATCH_WEIGHT, orders=len(chunk)
            )

        await self._take_answers(instrument, chunk, call, outcomes)

    async def _take_answers(
        self,
        instrument: str,
        chunk: Sequence[_Part],
        call: Callable[[], Awaitable[Any]],
        outcomes: dict[str, Outcome],
    ) -> None:
        """Take one call's answers by index. An answer that cannot be read proves nothing: UNKNOWN."""
        try:
            answers = _by_index(await call(), len(chunk))
        except HedgegridError as error:
            refusal = refusal_of(error)
            outcomes.update({part.name: refusal.of(part.name) for part in chunk})
            return
        except BadPayloadError as error:
            outcomes.update({part.name: _unread(error).of(part.name) for part in chunk})
            return
        for part, answer in zip(chunk, answers, strict=True):
            outcomes[part.name] = self._outcome(instrument, part.name, answer)

    def _outcome(self, instrument: str, name: str, answer: object) -> Outcome:
        """Judge one row: an order of ours was taken, or refused with a code; anything else proves nothing."""
        if isinstance(answer, dict) and "orderId" not in answer:
            return refusal_of_row(classify_row(answer, sent_order=True)).of(name)
        try:
            row = mapping(answer, "an order's answer")
            self._names.learn(instrument, positive(row, "orderId"), name)
        except BadPayloadError as error:
            return _unread(error).of(name)
        return None

    def _answer(self, instrument: str, request: OrderRequest, outcomes: Mapping[str, Outcome]) -> OrderEvent:
        """Give the answer to a request: of its parts, one that is UNKNOWN leaves the whole UNKNOWN."""
        parts = self._slices.parts(request.client_id)
        refused = [outcome for name in parts if (outcome := outcomes[name]) is not None]
        unknown = next((one for one in refused if one.kind is OrderEventKind.UNKNOWN), None)
        if unknown is not None:
            return attrs.evolve(unknown, client_id=request.client_id)
        if len(refused) == len(parts):
            return attrs.evolve(refused[0], client_id=request.client_id)
        if refused:
            for one in refused:
                self._say(instrument, self._slices.refused(request.client_id, one.client_id))
        return OrderEvent(kind=OrderEventKind.ACCEPTED, client_id=request.client_id)

    # --- retiring ---------------------------------------------------------------------------------------------------

    async def _retire(
        self,
        instrument: str,
        requests: Sequence[OrderRequest],
        answers: Sequence[OrderEvent],
        retires: Sequence[str],
    ) -> None:
        """Cancel the stops whose successors stand; keep the others, and say so."""
        missing: dict[tuple[Leg, Purpose], OrderEvent] = {
            (request.leg, request.purpose): answer
            for request, answer in zip(requests, answers, strict=True)
            if request.purpose in _CONDITIONAL and answer.kind is not OrderEventKind.ACCEPTED
        }
        going: list[str] = []
        kept: list[OrderEvent] = []
        for name in retires:
            parts = parse_client_id(name)
            failed = None if parts is None else missing.get((parts.leg, parts.purpose))
            if failed is None:
                going.append(name)
            else:
                why = f"kept: its successor {failed.client_id} does not stand"
                kept.append(
                    OrderEvent(kind=OrderEventKind.CANCEL_FAILED, client_id=name, reason=EndReason.REFUSED, detail=why)
                )
        refused = await self._cancel_all(instrument, going)
        self._say(instrument, [*kept, *(one.of_cancel(name) for name, one in refused.items())])

    # --- cancelling -------------------------------------------------------------------------------------------------

    async def cancel(self, instrument: str, client_ids: Sequence[str]) -> None:
        """Ask for cancels. What was refused is said as CANCEL_FAILED; the stream says what was cancelled.

        OutcomeUnknown where a request was lost, after all were tried; Transient where none was taken and all may be
        tried again.
        """
        refused = await self._cancel_all(instrument, client_ids)
        if refused and len(refused) == len(client_ids) and all(one.again for one in refused.values()):
            raise Transient(next(iter(refused.values())).words)
        self._say(instrument, [one.of_cancel(name) for name, one in refused.items() if not one.unknown])
        lost = [(name, one.words) for name, one in refused.items() if one.unknown]
        if lost:
            raise OutcomeUnknown(f"{len(lost)} cancels, the first of {lost[0][0]}: {lost[0][1]}")

    async def _cancel_all(self, instrument: str, client_ids: Sequence[str]) -> dict[str, Refusal]:
        """Ask for every cancel at once; give what was not taken."""
        refused: dict[str, Refusal] = {}
        stops = [name for name in client_ids if _is_stop(name)]
        orders = [name for name in client_ids if not _is_stop(name)]
        async with asyncio.TaskGroup() as group:
            for name in stops:
                params = {"clientAlgoId": name}
                group.create_task(self._cancel_one("fapiPrivateDeleteAlgoOrder", name, params, refused))
            if self._socket is not None and self._socket.connected:
                for name in orders:
                    group.create_task(self._cancel_by_socket(self._socket, instrument, name, refused))
            else:
                for chunk in chunks(orders, CANCELS_MAX):
                    group.create_task(self._cancel_chunk(instrument, chunk, refused))
        return refused

    async def _cancel_one(self, method: str, name: str, params: Params, refused: dict[str, Refusal]) -> None:
        try:
            await self._session.call(method, params, kind=CallKind.CANCEL, weight=1)
        except HedgegridError as error:
            refused[name] = refusal_of(error)

    async def _cancel_by_socket(
        self, socket: OrderSocket, instrument: str, name: str, refused: dict[str, Refusal]
    ) -> None:
        params = {"symbol": self._listed[instrument].symbol, "origClientOrderId": name}
        try:
            await socket.call("order.cancel", params, kind=CallKind.CANCEL, weight=1)
        except HedgegridError as error:
            refused[name] = refusal_of(error)

    async def _cancel_chunk(self, instrument: str, names: Sequence[str], refused: dict[str, Refusal]) -> None:
        symbol = self._listed[instrument].symbol
        if len(names) == 1:
            params = {"symbol": symbol, "origClientOrderId": names[0]}
            await self._cancel_one("fapiPrivateDeleteOrder", names[0], params, refused)
            return
        batch = {"symbol": symbol, "origClientOrderIdList": list(names)}
        try:
            answer = await self._session.call("fapiPrivateDeleteBatchOrders", batch, kind=CallKind.CANCEL, weight=1)
            answers = _by_index(answer, len(names))
        except HedgegridError as error:
            refused.update(dict.fromkeys(names, refusal_of(error)))
            return
        except BadPayloadError as error:
            refused.update(dict.fromkeys(names, _unread(error)))
            return
        for name, row in zip(names, answers, strict=True):
            if not (isinstance(row, dict) and "orderId" in row):
                refused[name] = refusal_of_row(classify_row(row, sent_order=True))


def _by_index(answer: object, count: int) -> Sequence[Any]:
    """Take a batch's answers, one a request. BadPayloadError where there are more or fewer."""
    answers = rows(answer, "the answer to a batch")
    if len(answers) != count:
        raise BadPayloadError(f"{len(answers)} answers to {count} requests")
    return answers


def _is_stop(name: str) -> bool:
    parts = parse_client_id(name)
    return parts is not None and parts.purpose in _CONDITIONAL


def _is_backstop_of(name: str, legs: Collection[Leg]) -> bool:
    parts = parse_client_id(name)
    return parts is not None and parts.purpose is Purpose.BACKSTOP and parts.leg in legs


def _unread(error: BadPayloadError) -> Refusal:
    return Refusal(reason=EndReason.NONE, words=f"the answer could not be read: {error}"[:160], unknown=True)
