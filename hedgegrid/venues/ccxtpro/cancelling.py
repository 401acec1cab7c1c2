"""Cancels on their way to the exchange.

Invariants: every cancel of a call is tried, whatever became of the others; an order in parts is cancelled part by part
and spoken of as one; nothing is ever sent twice. Fatal alone, a key that is refused, ends a call at once.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hedgegrid.errors import HedgegridError
from hedgegrid.messages.events import EndReason
from hedgegrid.runtime.together import together
from hedgegrid.venues.ccxtpro.budget import CallKind
from hedgegrid.venues.ccxtpro.errors import classify_row
from hedgegrid.venues.ccxtpro.order_requests import CANCELS_MAX, Params, chunks, is_stop_id
from hedgegrid.venues.ccxtpro.payload import rows
from hedgegrid.venues.ccxtpro.refusals import Refusal, refusal_of, refusal_of_row
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.traded import Traded
from hedgegrid.venues.ccxtpro.ws_api import OrderSocket


class CancelDesk:
    """Asks for one account's cancels; the stream tells what was cancelled."""

    def __init__(self, traded: Traded, socket: OrderSocket | None) -> None:
        """``socket``: where cancels go while it is connected."""
        self._session = traded.session
        self._listed = traded.listed
        self._slices = traded.slices
        self._socket = socket

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
        stops = [name for name in names if is_stop_id(name)]
        orders = [name for name in names if not is_stop_id(name)]
        calls = [self._cancel_stop(name, refused) for name in stops]
        if self._socket is not None and self._socket.connected:
            calls += [self._cancel_by_socket(self._socket, instrument, name, refused) for name in orders]
        else:
            calls += [self._cancel_chunk(instrument, chunk, refused) for chunk in chunks(orders, CANCELS_MAX)]
        await together(*calls)
        return refused

    async def _cancel_stop(self, name: str, refused: dict[str, Refusal]) -> None:
        params = {"clientAlgoId": name}
        socket = self._socket
        if socket is None or not socket.connected:
            await self._cancel_one("fapiPrivateDeleteAlgoOrder", name, params, refused)
            return
        try:
            await socket.call("algoOrder.cancel", params, kind=CallKind.CANCEL, weight=1)
        except HedgegridError as error:
            refused[name] = refusal_of(error)

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
            answers = by_index(answer, len(names))
        except HedgegridError as error:
            refused.update(dict.fromkeys(names, refusal_of(error)))
            return
        except BadPayloadError as error:
            refused.update(dict.fromkeys(names, unread(error)))
            return
        for name, row in zip(names, answers, strict=True):
            if not (isinstance(row, dict) and "orderId" in row):
                refused[name] = refusal_of_row(classify_row(row, sent_order=True))


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
