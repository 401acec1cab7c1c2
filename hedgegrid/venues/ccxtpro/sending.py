"""Orders on their way to the exchange.

Invariants: one answer for each request, by index: ACCEPTED, REJECTED or UNKNOWN; whatever the exchange did not say no
to in words that prove it is UNKNOWN; nothing is ever sent twice; every request of a call is tried, whatever became of
the others; a stop is retired only when every new stop of its leg stands; a stop in parts stands as a whole, or none of
it is left. Fatal alone, a key that is refused, ends a call at once, and retires nothing.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import attrs

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.errors import HedgegridError, OutcomeUnknown, Transient
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Leg, OrderRequest, Purpose
from hedgegrid.runtime.together import together
from hedgegrid.venues.ccxtpro.cancelling import CancelDesk, by_index, unread
from hedgegrid.venues.ccxtpro.errors import classify_row
from hedgegrid.venues.ccxtpro.order_calls import OrderCall, Part, Plan, SignedCalls, planned
from hedgegrid.venues.ccxtpro.order_requests import (
    CONDITIONAL,
    StopTrigger,
    algo_params,
    is_conditional,
    order_params,
    reduces,
    slice_id,
    slices_of,
)
from hedgegrid.venues.ccxtpro.parse_rules import ListedInstrument
from hedgegrid.venues.ccxtpro.payload import mapping, positive
from hedgegrid.venues.ccxtpro.refusals import Refusal, refusal_of, refusal_of_row
from hedgegrid.venues.ccxtpro.rules_watch import RulesWatch
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.traded import Traded
from hedgegrid.venues.ccxtpro.ws_api import OrderSocket

_BATCH_WEIGHT: Final = 5

Outcome = OrderEvent | None
"""The refusal of one order or cancel; None where it was taken."""


class OrderDesk:
    """Sends one account's orders; the stream tells what becomes of them."""

    def __init__(
        self,
        *,
        traded: Traded,
        rules: RulesWatch,
        socket: OrderSocket | None,
        stop_trigger: StopTrigger,
        say: Callable[[str, Sequence[OrderEvent]], None],
        note_sent: Callable[[OrderRequest], None],
    ) -> None:
        """``rules`` hears of refusals; ``socket``: where orders go while it is connected.

        ``say`` takes the words on an instrument's orders that are no answer to a request.
        """
        self._session = traded.session
        self._listed = traded.listed
        self._names = traded.names
        self._slices = traded.slices
        self._rules = rules
        self._cancels = CancelDesk(traded, socket)
        self._socket = socket
        self._stop_trigger: StopTrigger = stop_trigger
        self._say = say
        self._note_sent = note_sent
        self._plans: dict[str, Plan] = {}
        self._signed = SignedCalls(traded.session, socket)

    # --- placing ----------------------------------------------------------------------------------------------------

    def prepare(self, instrument: str, requests: Sequence[OrderRequest], cancels: Sequence[str]) -> None:
        """Make ready what ``cancel`` and ``place`` will send. Orders that go in parts are left to it."""
        self._cancels.prepare(instrument, cancels)
        listed = self._listed[instrument]
        single = [one for one in requests if len(slices_of(one, listed)) == 1]
        plan = self._plans[instrument] = self._planned(single, listed)
        self._signed.sign(instrument, plan.calls)

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
        retires = [name for name in retires if name not in before]
        outcomes = self._not_to_be_sent(instrument, requests, listed)
        due = [request for request in requests if request.client_id not in outcomes]
        plan = self._plan_for(instrument, due, listed)
        for part in plan.parts:
            own = part.request
            self._note_sent(own if own.client_id == part.name else attrs.evolve(own, client_id=part.name))
        waiting = [call for call in plan.calls if before and call.parts[0].request.close_all]
        calls = [self._send(instrument, call, outcomes) for call in plan.calls if call not in waiting]
        if before:
            # Nothing else waits for the round trip that moving a backstop takes.
            calls.append(self._move_backstops(instrument, before, waiting, outcomes))
        await together(*calls)
        answers = tuple([await self._answer(instrument, request, outcomes) for request in requests])
        if retires:
            await self._retire(instrument, requests, answers, retires)
        await self._rules.settled()
        return answers

    async def _move_backstops(
        self, instrument: str, before: Sequence[str], calls: Sequence[OrderCall], outcomes: dict[str, Outcome]
    ) -> None:
        """Cancel the old backstops, then send their successors."""
        refused = await self._cancels.cancel_all(instrument, before)
        self._say(instrument, [one.of_cancel(name) for name, one in refused.items()])
        await together(*(self._send(instrument, call, outcomes) for call in calls))

    def _not_to_be_sent(
        self, instrument: str, requests: Sequence[OrderRequest], listed: ListedInstrument
    ) -> dict[str, Outcome]:
        """Refuse entries of an instrument whose units have changed, and stops of more parts than there can be."""
        closed = self._rules.no_entries(instrument)
        refused: dict[str, str] = {}
        for request in requests:
            if closed and not reduces(request):
                refused[request.client_id] = closed
            elif is_conditional(request) and sum(slices_of(request, listed)) < request.qty_lots:
                refused[request.client_id] = f"{request.qty_lots} lots are more stops than can be laid"
        return {name: Refusal(reason=EndReason.NOT_SENT, words=words).of(name) for name, words in refused.items()}

    def _parts(self, request: OrderRequest, listed: ListedInstrument) -> list[Part]:
        lots = slices_of(request, listed)
        names = [slice_id(request.client_id, at) if at else request.client_id for at in range(len(lots))]
        if len(lots) > 1:
            self._slices.note(request.client_id, names, request.qty_lots)
        parts: list[Part] = []
        for name, each in zip(names, lots, strict=True):
            whole = name == request.client_id and each == request.qty_lots
            own = request if whole else attrs.evolve(request, client_id=name, qty_lots=each)
            wire = algo_params(own, listed, self._stop_trigger) if is_conditional(own) else order_params(own, listed)
            parts.append(Part(name=name, request=request, params=wire))
        return parts

    def _plan_for(self, instrument: str, due: Sequence[OrderRequest], listed: ListedInstrument) -> Plan:
        """Give the plan that was prepared where it is for these orders, else a new one."""
        plan = self._plans.pop(instrument, None)
        if plan is not None and plan.fits(due, listed, by_socket=self._by_socket):
            return plan
        self._signed.forget(instrument)
        return self._planned(due, listed)

    def _planned(self, orders: Sequence[OrderRequest], listed: ListedInstrument) -> Plan:
        """Plan the requests for some orders, over the channel that is open now."""
        by_socket = self._by_socket
        parts = tuple(part for order in orders for part in self._parts(order, listed))
        calls = planned(parts, by_socket=by_socket)
        return Plan(orders=tuple(orders), listed=listed, by_socket=by_socket, parts=parts, calls=calls)

    @property
    def _by_socket(self) -> bool:
        return self._socket is not None and self._socket.connected

    async def _send(self, instrument: str, call: OrderCall, outcomes: dict[str, Outcome]) -> None:
        if call.is_stop:
            await self._send_stop(instrument, call, outcomes)
        else:
            await self._take_answers(instrument, call, outcomes)

    async def _send_stop(self, instrument: str, call: OrderCall, outcomes: dict[str, Outcome]) -> None:
        refusal = None
        try:
            answer = await self._ask(instrument, call)
            positive(mapping(answer, "an algo order's answer"), "algoId")
        except HedgegridError as error:
            refusal = self._refusal(refusal_of(error))
        except BadPayloadError as error:
            refusal = unread(error)
        name = call.parts[0].name
        outcomes[name] = None if refusal is None else refusal.of(name)
        if refusal is not None and not refusal.unknown:
            self._names.stop_done(name)

    async def _ask(self, instrument: str, call: OrderCall) -> Any:  # noqa: ANN401 - whatever JSON is answered
        count = len(call.parts)
        if call.by_socket and self._socket is not None:
            return await self._socket.call(
                call.method,
                call.params,
                kind=call.kind,
                weight=call.weight,
                orders=count,
                made=lambda: self._signed.take(instrument, call),
            )
        return await self._session.call(
            call.method,
            call.params,
            kind=call.kind,
            weight=call.weight,
            orders=count,
            made=lambda: self._signed.take(instrument, call),
        )

    def _refusal(self, refusal: Refusal) -> Refusal:
        """Have the rules read again where a refusal speaks of one."""
        self._rules.doubt(refusal.code)
        return refusal

    async def _take_answers(self, instrument: str, call: OrderCall, outcomes: dict[str, Outcome]) -> None:
        """Take one call's answers by index. An answer that cannot be read proves nothing: UNKNOWN."""
        try:
            answer = await self._ask(instrument, call)
            answers = by_index([answer] if len(call.parts) == 1 else answer, len(call.parts))
        except HedgegridError as error:
            refusal = self._refusal(refusal_of(error))
            outcomes.update({part.name: refusal.of(part.name) for part in call.parts})
            return
        except BadPayloadError as error:
            outcomes.update({part.name: unread(error).of(part.name) for part in call.parts})
            return
        for part, each in zip(call.parts, answers, strict=True):
            outcomes[part.name] = self._outcome(instrument, part.name, each)

    def _outcome(self, instrument: str, name: str, answer: object) -> Outcome:
        """Judge one row: an order of ours was taken, or refused with a code; anything else proves nothing."""
        if isinstance(answer, dict) and "orderId" not in answer:
            return self._refusal(refusal_of_row(classify_row(answer, sent_order=True))).of(name)
        try:
            row = mapping(answer, "an order's answer")
            self._names.learn(instrument, positive(row, "orderId"), name)
        except BadPayloadError as error:
            return unread(error).of(name)
        return None

    async def _answer(self, instrument: str, request: OrderRequest, outcomes: Mapping[str, Outcome]) -> OrderEvent:
        """Give the answer to a request: of its parts, one that is UNKNOWN leaves the whole UNKNOWN."""
        parts = self._slices.parts(request.client_id)
        refused = [outcome for name in parts if (outcome := outcomes[name]) is not None]
        unknown = next((one for one in refused if one.kind is OrderEventKind.UNKNOWN), None)
        if unknown is not None:
            return attrs.evolve(unknown, client_id=request.client_id)
        if len(refused) == len(parts):
            return attrs.evolve(refused[0], client_id=request.client_id)
        if refused and is_conditional(request):
            return await self._take_back(instrument, request, parts, refused)
        for one in refused:
            self._say(instrument, self._slices.refused(request.client_id, one.client_id))
        return OrderEvent(kind=OrderEventKind.ACCEPTED, client_id=request.client_id)

    async def _take_back(
        self, instrument: str, request: OrderRequest, parts: Sequence[str], refused: Sequence[OrderEvent]
    ) -> OrderEvent:
        """Answer a stop of which a part was refused: it would cover less than it says, so the other parts go.

        UNKNOWN where one of them may still stand.
        """
        gone = {one.client_id for one in refused}
        for name in gone:
            self._slices.refused(request.client_id, name)
        self._slices.going(request.client_id)
        kept = await self._cancels.cancel_parts(instrument, [name for name in parts if name not in gone])
        left = next((one for one in kept.values() if not one.not_found), None)
        if left is not None:
            words = f"a part was refused ({refused[0].detail}), another may stand: {left.words}"
            return OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=request.client_id, detail=words[:160])
        self._slices.give_up(request.client_id)
        return attrs.evolve(refused[0], client_id=request.client_id)

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
            if request.purpose in CONDITIONAL and answer.kind is not OrderEventKind.ACCEPTED
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
        refused = await self._cancels.cancel_all(instrument, going)
        self._say(instrument, [*kept, *(one.of_cancel(name) for name, one in refused.items())])

    # --- cancelling -------------------------------------------------------------------------------------------------

    async def cancel(self, instrument: str, client_ids: Sequence[str]) -> None:
        """Ask for cancels. What was refused is said as CANCEL_FAILED; the stream says what was cancelled.

        OutcomeUnknown where a request was lost, after all were tried; Transient where none was taken and all may be
        tried again; Fatal where the exchange refuses our keys.
        """
        refused = await self._cancels.cancel_all(instrument, client_ids)
        if refused and len(refused) == len(client_ids) and all(one.again for one in refused.values()):
            error = Transient(next(iter(refused.values())).words)
            error.until_ns = max(one.until_ns for one in refused.values()) or None
            raise error
        self._say(instrument, [one.of_cancel(name) for name, one in refused.items() if not one.unknown])
        lost = [(name, one.words) for name, one in refused.items() if one.unknown]
        if lost:
            raise OutcomeUnknown(f"{len(lost)} cancels, the first of {lost[0][0]}: {lost[0][1]}")


def _is_backstop_of(name: str, legs: Collection[Leg]) -> bool:
    parts = parse_client_id(name)
    return parts is not None and parts.purpose is Purpose.BACKSTOP and parts.leg in legs
