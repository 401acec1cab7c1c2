"""What an error of a call says of the orders in it: which code, which reason, in which words.

Invariant: the reason comes from the one table of codes, whether the exchange refused a request or a row of a batch.
"""

import attrs

from hedgegrid.errors import Fatal, HedgegridError, OutcomeUnknown, Transient
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.venues.ccxtpro.errors import ORDER_NOT_FOUND, Verdict
from hedgegrid.venues.ccxtpro.session import Refused, Throttled


@attrs.frozen(kw_only=True)
class Refusal:
    """Why a request was not taken.

    ``unknown``: nobody knows whether it was. ``again``: it was not, and may be sent again.
    ``until_ns``: not before this time of our clock, where a limit kept it back (0: nobody said).
    """

    reason: EndReason
    words: str
    code: int | None = None
    unknown: bool = False
    again: bool = False
    until_ns: int = 0

    @property
    def not_found(self) -> bool:
        """Whether the exchange knows no such order (any more)."""
        return self.code in ORDER_NOT_FOUND

    def of(self, client_id: str) -> OrderEvent:
        """Give the answer to an order that was to be placed."""
        if self.unknown:
            return OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=client_id, detail=self.words)
        return self._event(OrderEventKind.REJECTED, client_id, self.reason)

    def of_cancel(self, client_id: str) -> OrderEvent:
        """Give the word on a cancel that was not taken: the order lives on, or is not there."""
        if self.unknown:
            return OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=client_id, detail=self.words)
        reason = EndReason.NOT_FOUND if self.not_found else self.reason
        return self._event(OrderEventKind.CANCEL_FAILED, client_id, reason)

    def _event(self, kind: OrderEventKind, client_id: str, reason: EndReason) -> OrderEvent:
        return OrderEvent(kind=kind, client_id=client_id, reason=reason, detail=self.words, until_ns=self.until_ns)


def refusal_of(error: HedgegridError) -> Refusal:
    """Give what an error of a call says. One that is Fatal is raised again: it is no word on an order."""
    if isinstance(error, Fatal):
        raise error
    words = str(error)
    if isinstance(error, Refused):
        return refusal_of_row(error.verdict)
    if isinstance(error, OutcomeUnknown):
        return Refusal(reason=EndReason.NONE, words=words, unknown=True)
    if isinstance(error, Throttled):
        return Refusal(reason=EndReason.RATE_LIMITED, words=words, again=True, until_ns=error.until_ns)
    return Refusal(reason=EndReason.REFUSED, words=words, again=isinstance(error, Transient))


def refusal_of_row(verdict: Verdict) -> Refusal:
    """Give what a refused row of a batch says."""
    return Refusal(
        reason=verdict.reason or EndReason.REFUSED,
        words=verdict.words,
        code=verdict.code,
        unknown=issubclass(verdict.kind, OutcomeUnknown),
        again=issubclass(verdict.kind, Transient),
    )
