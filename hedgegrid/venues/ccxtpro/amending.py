"""Amendments on their way to the exchange: entries that rest get another quantity and keep their id.

Invariants: each is one request of its own, by REST, counted as an order and kept back like an entry; nothing is ever
sent twice; an answer that cannot be read proves nothing: UNKNOWN. The stream tells what an order has become.
"""

from collections.abc import Sequence

from hedgegrid.errors import HedgegridError
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import OrderRequest
from hedgegrid.runtime.together import together
from hedgegrid.venues.ccxtpro.budget import CallKind
from hedgegrid.venues.ccxtpro.cancelling import unread
from hedgegrid.venues.ccxtpro.order_requests import amend_params
from hedgegrid.venues.ccxtpro.payload import mapping, positive
from hedgegrid.venues.ccxtpro.refusals import Refusal, refusal_of
from hedgegrid.venues.ccxtpro.rules_watch import RulesWatch
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.traded import Traded


class AmendDesk:
    """Asks for one account's amendments."""

    def __init__(self, traded: Traded, rules: RulesWatch) -> None:
        """``rules`` hears of refusals."""
        self._session = traded.session
        self._listed = traded.listed
        self._rules = rules

    async def amend(self, instrument: str, requests: Sequence[OrderRequest]) -> tuple[OrderEvent, ...]:
        """Ask for all at once; one answer a request, by index. Raises Fatal."""
        closed = self._rules.no_entries(instrument)
        if closed:
            refusal = Refusal(reason=EndReason.NOT_SENT, words=closed)
            return tuple(refusal.of(one.client_id) for one in requests)
        answers = await together(*(self._amend(instrument, one) for one in requests))
        await self._rules.settled()
        return tuple(answers)

    async def _amend(self, instrument: str, request: OrderRequest) -> OrderEvent:
        params = amend_params(request, self._listed[instrument])
        try:
            answer = await self._session.call("fapiPrivatePutOrder", params, kind=CallKind.ENTRY, weight=1, orders=1)
            positive(mapping(answer, "an amended order's answer"), "orderId")
        except HedgegridError as error:
            refusal = refusal_of(error)
            self._rules.doubt(refusal.code)
            return refusal.of(request.client_id)
        except BadPayloadError as error:
            return unread(error).of(request.client_id)
        return OrderEvent(kind=OrderEventKind.ACCEPTED, client_id=request.client_id)
