"""Cancels on their way to the exchange.

Invariants: every cancel of a call is tried, whatever became of the others; an order in parts is cancelled part by part
and spoken of as one; nothing is ever sent twice. Fatal alone, a key that is refused, ends a call at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from hedgegrid.errors import HedgegridError
from hedgegrid.messages.events import EndReason
from hedgegrid.runtime.together import together
from hedgegrid.venues.ccxtpro.budget import CallKind
from hedgegrid.venues.ccxtpro.errors import classify_row
from hedgegrid.venues.ccxtpro.order_calls import CancelCall, SignedCalls, cancels_of
from hedgegrid.venues.ccxtpro.payload import rows
from hedgegrid.venues.ccxtpro.refusals import Refusal, refusal_of, refusal_of_row
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.traded import Traded
from hedgegrid.venues.ccxtpro.ws_api import OrderSocket


@attrs.frozen(kw_only=True)
class _Plan:
    """How the cancels of some orders on the wire go out."""

    names: tuple[str, ...]
    by_socket: bool
    calls: tuple[CancelCall, ...]


class CancelDesk:
    """Asks for one account's cancels; the stream tells what was cancelled."""

    def __init__(self, traded: Traded, socket: OrderSocket | None) -> None:
        """``socket``: where cancels go while it is connected."""
        self._session = traded.session
        self._listed = traded.listed
        self._slices = traded.slices
        self._socket = socket
        self._plans: dict[str, _Plan] = {}
        self._signed = SignedCalls(traded.session, socket)

    async def cancel_all(self, instrument: str, client_ids: Sequence[str]) -> dict[str, Refusal]:
        """Ask for every cancel at once; give what was not taken. Raises Fatal."""
        parts_of = {name: self._slices.standing(name) for name in client_ids}
        for name in client_ids:
            self._slices.going(name)
        refused = await self.cancel_parts(instrument, [part for parts in parts_of.values() for part in parts])
        found = {name: _of_all(parts, refused) for name, parts in parts_of.items()}
        return {name: refusal for name, refusal in found.items() if refusal is not None}

    async def cancel_parts(self, instrument: str, names: Sequence[str]) -> dict[str, Refusal]:
        """Ask for the cancels of single orders on the wire; give what was not taken. Raises Fatal."""
        refused: dict[str, Refusal] = {}
        calls = self._calls_for(instrument, tuple(names))
        await together(*(self._take_answers(instrument, call, refused) for call in calls))
        return refused

    def prepare(self, instrument: str, client_ids: Sequence[str]) -> None:
        """Make ready what ``cancel_all`` will be asked to send."""
        names = tuple(part for name in client_ids for part in self._slices.standing(name))
        plan = self._plans[instrument] = self._planned(instrument, names)
        self._signed.sign(instrument, plan.calls)

    def _planned(self, instrument: str, names: tuple[str, ...]) -> _Plan:
        calls = cancels_of(names, self._listed[instrument].symbol, by_socket=self._by_socket)
        return _Plan(names=names, by_socket=self._by_socket, calls=calls)

    def _calls_for(self, instrument: str, names: tuple[str, ...]) -> tuple[CancelCall, ...]:
        """Give the requests that were prepared where they are for these orders, else new ones."""
        plan = self._plans.pop(instrument, None)
        if plan is not None and (plan.names, plan.by_socket) == (names, self._by_socket):
            return plan.calls
        self._signed.forget(instrument)
        return self._planned(instrument, names).calls

    @property
    def _by_socket(self) -> bool:
        return self._socket is not None and self._socket.connected

    async def _take_answers(self, instrument: str, call: CancelCall, refused: dict[str, Refusal]) -> None:
        """Ask for the cancels of one request, and take the answers by index. One that cannot be read proves nothing."""
        try:
            answer = await self._ask(instrument, call)
            answers = by_index(answer, len(call.names)) if len(call.names) > 1 else ()
        except HedgegridError as error:
            refused.update(dict.fromkeys(call.names, refusal_of(error)))
            return
        except BadPayloadError as error:
            refused.update(dict.fromkeys(call.names, unread(error)))
            return
        for name, row in zip(call.names, answers, strict=False):
            if not (isinstance(row, dict) and "orderId" in row):
                refused[name] = refusal_of_row(classify_row(row, sent_order=True))

    async def _ask(self, instrument: str, call: CancelCall) -> Any:  # noqa: ANN401 - whatever JSON is answered
        if call.by_socket and self._socket is not None:
            return await self._socket.call(
                call.method, call.params, kind=CallKind.CANCEL, made=lambda: self._signed.take(instrument, call)
            )
        return await self._session.call(
            call.method, call.params, kind=CallKind.CANCEL, made=lambda: self._signed.take(instrument, call)
        )


def _of_all(parts: Sequence[str], refused: Mapping[str, Refusal]) -> Refusal | None:
    """Give what an order's parts' refusals say of the whole: what is not known first, a part that is gone last."""
    said = [refused[name] for name in parts if name in refused]
    unknown = next((one for one in said if one.unknown), None)
    kept = next((one for one in said if not one.not_found), None)
    gone = said[0] if len(said) == len(parts) else None
    return unknown or kept or gone


def by_index(answer: object, count: int) -> Sequence[Any]:
    """Take a batch's answers, one a request. BadPayloadError where there are more or fewer."""
    answers = rows(answer, "the answer to a batch")
    if len(answers) != count:
        raise BadPayloadError(f"{len(answers)} answers to {count} requests")
    return answers


def unread(error: BadPayloadError) -> Refusal:
    """Give what an answer that cannot be read proves: nothing."""
    return Refusal(reason=EndReason.NONE, words=f"the answer could not be read: {error}"[:160], unknown=True)
