"""A strategy's orders by name: the core's numbers on one side, client ids on the other.

Invariants: a number that stood for an order once never stands for another; an order is forgotten when it has ended,
but what it was sent with stays known for a while, because a fill may arrive after its end.
"""

from collections import OrderedDict
from typing import Final

import attrs

from hedgegrid.actors.grid_memory import GridTables
from hedgegrid.core import diff
from hedgegrid.core.client_id import ClientId, client_id, parse_client_id
from hedgegrid.core.records import Action
from hedgegrid.model.order import Cover, Kind, Leg, OrderRequest, Purpose

SENT_KEPT: Final = 512
"""Requests of ended orders kept for late fills; older ones are in the journal."""
_KIND_OF_PURPOSE: Final = {Purpose.ENTRY: Kind.LIMIT, Purpose.TAKE_PROFIT: Kind.LIMIT}


@attrs.frozen(kw_only=True)
class Numbering:
    """How an instrument's orders are named, under the account's name and the boot's ``epoch``.

    Their numbers are ``first`` plus multiples of ``stride``, so that no two instruments share one.
    """

    account: str
    epoch: int
    first: int
    stride: int


class OrderNames:
    """The orders of one instrument that have not ended, and what the newest ones were sent with."""

    def __init__(self, instrument: str, numbering: Numbering) -> None:
        """Start empty."""
        self._instrument = instrument
        self._account = numbering.account
        self._epoch = numbering.epoch
        self._ids: dict[int, str] = {}
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._sent: OrderedDict[str, OrderRequest] = OrderedDict()
        self.numbers: dict[str, int] = {}
        """The number of every order that has not ended, by client id."""

    def name(self, no: int) -> str | None:
        """Give the client id of an order that has not ended."""
        return self._ids.get(no)

    def sent(self, order_id: str) -> OrderRequest | None:
        """Give what an order was sent with, ended ones included; None where it is not known any more."""
        return self._sent.get(order_id)

    def adopt(self, order_id: str) -> None:
        """Take an order of an earlier life. AssertionError for an id that we did not write."""
        parsed = parse_client_id(order_id)
        assert isinstance(parsed, ClientId), "the executor hands over our own orders only"
        self._ids[parsed.sequence] = order_id
        self.numbers[order_id] = parsed.sequence

    def forget(self, no: int) -> None:
        """Let go of an order that has ended."""
        order_id = self._ids.pop(no, None)
        if order_id is not None:
            self.numbers.pop(order_id, None)
            self._ended[order_id] = None
            if len(self._ended) > SENT_KEPT:
                self._ended.popitem(last=False)

    def is_stranger(self, order_id: str) -> bool:
        """Tell whether an order is ours by its id and known here neither as living nor as ended."""
        parsed = parse_client_id(order_id)
        ours = parsed is not None and parsed.account == self._account
        return ours and order_id not in self.numbers and order_id not in self._ended

    def forget_all(self) -> None:
        """Let go of every order: a hydration names those that live."""
        self._ids.clear()
        self.numbers.clear()

    def request(self, t: GridTables, action: Action, covers: tuple[Cover, ...], now_ns: int) -> OrderRequest:
        """Make an order request of an action, under a client id that explains itself."""
        leg, purpose = Leg(action.leg), Purpose(action.purpose)
        order_id = client_id(
            account=self._account,
            epoch=self._epoch,
            leg=leg,
            purpose=purpose,
            level=action.level,
            sequence=action.no,
        )
        self._ids[action.no] = order_id
        self.numbers[order_id] = action.no
        kind = _KIND_OF_PURPOSE.get(purpose, Kind.STOP_MARKET if action.price_ticks > 0 else Kind.MARKET)
        entry = t.entries[diff.find(t.entries, action.no)] if purpose is Purpose.ENTRY else None
        request = OrderRequest(
            client_id=order_id,
            instrument=self._instrument,
            leg=leg,
            purpose=purpose,
            kind=kind,
            price_ticks=action.price_ticks,
            qty_lots=action.qty_lots,
            post_only=purpose is Purpose.ENTRY and t.params.post_only == 1,
            close_all=purpose is Purpose.BACKSTOP,
            level=action.level,
            generation=action.generation,
            covers=covers,
            tp_micro=0 if entry is None else entry.tp_micro,
            step_micro=0 if entry is None else entry.step_micro,
            decided_ns=now_ns,
        )
        self._sent[order_id] = request
        while len(self._sent) > SENT_KEPT + len(self.numbers):
            oldest, one = self._sent.popitem(last=False)
            if oldest in self.numbers:
                self._sent[oldest] = one
        return request
