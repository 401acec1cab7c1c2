"""Amendments on their way through gate, executor's table and strategy: what counts when, and what ends them."""

from typing import Any, cast

import attrs
import pytest

from hedgegrid.actors.agenda import Agenda
from hedgegrid.actors.amending import Amending
from hedgegrid.actors.executor_notes import Job, Sent
from hedgegrid.actors.grid_memory import GridTables, fresh_tables
from hedgegrid.actors.limits_told import LimitsTold
from hedgegrid.actors.order_names import Numbering, OrderNames
from hedgegrid.actors.order_table import OrderTable
from hedgegrid.actors.post import EXECUTOR, RISK
from hedgegrid.core import diff
from hedgegrid.core.actions import CANCEL
from hedgegrid.core.client_id import client_id
from hedgegrid.core.codes import ENTRY, LONG
from hedgegrid.core.order_state import OrderState, intent_of
from hedgegrid.core.pause import Reason
from hedgegrid.core.records import Action
from hedgegrid.messages.commands import IntentBatch, RaiseReason, Wake
from hedgegrid.messages.events import ApprovedBatch, EndReason, ExecutionBatch, OrderEvent, OrderEventKind
from hedgegrid.model.order import Kind, Leg, OrderRequest, Purpose
from tests.actors.gate_desk import GateDesk
from tests.actors.gate_terms import CAPS, NAMES
from tests.actors.gate_wire import Fate
from tests.core import made

BTC = NAMES[0]
K = OrderEventKind
PRICE = 990


# --- the gate -----------------------------------------------------------------------------------------------------


@attrs.define
class Gate:
    """A gate that may trade, and what it was asked for."""

    desk: GateDesk = attrs.field(factory=GateDesk)

    def __attrs_post_init__(self) -> None:
        self.desk.hydrate(foreign_first=True)
        self.desk.warm()
        for name in NAMES:
            self.desk.price(name, 1_000)

    def rest(self, level: int, qty_lots: int) -> OrderRequest:
        """Have an entry approved; AssertionError where the gate refuses it."""
        one = self.entry(level, qty_lots)
        assert self.takes(one)
        return one

    def entry(self, level: int, qty_lots: int) -> OrderRequest:
        """An entry of the LONG leg."""
        return self.desk.request(BTC, Leg.LONG, Purpose.ENTRY, PRICE - level, qty_lots, level=level)

    def takes(self, one: OrderRequest) -> bool:
        """Whether the gate takes an entry."""
        before = self.desk.approved[Purpose.ENTRY]
        self.desk.ask(BTC, [one])
        return self.desk.approved[Purpose.ENTRY] > before

    def amends(self, one: OrderRequest, qty_lots: int) -> bool:
        """Whether the gate lets an entry have another quantity."""
        heard = self.desk.ears[EXECUTOR].heard
        heard.clear()
        changed = attrs.evolve(one, qty_lots=qty_lots, decided_ns=self.desk.clock.now_ns())
        head = self.desk.post.head()
        self.desk.tell(IntentBatch(**head, instrument=BTC, orders=(), cancels=(), retires=(), amends=(changed,)))
        passed = [one.request for batch in heard if isinstance(batch, ApprovedBatch) for one in batch.amends]
        assert passed in ([], [changed])
        return bool(passed)

    def told(self, one: OrderRequest, *, carried_out: bool) -> None:
        """Let the exchange carry an amendment out, or refuse it, and tell so."""
        (wired,) = (wired for wired in self.desk.wire.orders if wired.request.client_id == one.client_id)
        wired.fate = Fate.LIVE
        self.desk.wire.amend(wired, carried_out=carried_out)
        self.desk.hear(1)


def test_a_larger_quantity_is_reserved_before_it_is_sent() -> None:
    """What an amendment may add counts from its approval on, and no longer than until it is told not to be."""
    gate = Gate()
    one = gate.rest(1, 5)
    gate.rest(2, 9)
    assert gate.amends(one, 9)
    assert CAPS.position_lots == 22
    assert not gate.takes(gate.entry(3, 5)), "9 + 9 + 5 lots are above the cap of the position"
    gate.told(one, carried_out=False)
    assert gate.takes(gate.entry(3, 5))


def test_a_smaller_quantity_counts_from_the_exchanges_word_on() -> None:
    """Until an amendment is told the order counts as it was."""
    gate = Gate()
    one = gate.rest(1, 9)
    gate.rest(2, 9)
    assert gate.amends(one, 2)
    assert not gate.takes(gate.entry(3, 8))
    gate.told(one, carried_out=True)
    assert gate.takes(gate.entry(3, 8))


def test_the_gate_refuses_what_an_amendment_would_take_too_far() -> None:
    """An amendment meets the caps in the place of its order; refused, the order counts as it did."""
    gate = Gate()
    one = gate.rest(1, 4)
    gate.rest(2, 9)
    gate.rest(3, 5)
    assert not gate.amends(one, 9)
    assert gate.desk.refused == {"max_position_qty": 1}
    assert gate.amends(one, 8), "4 lots of its own are in the place of which it comes"
    assert not gate.amends(one, 10), "above the largest order"


def test_an_amendment_of_what_has_ended_is_dropped() -> None:
    """Nothing is approved for an order that is gone, and no reservation comes back to life."""
    gate = Gate()
    one = gate.rest(1, 9)
    event = OrderEvent(kind=K.CANCELLED, client_id=one.client_id)
    gate.desk.tell(ExecutionBatch(**gate.desk.post.head(), instrument=BTC, mark_ticks=0, events=(event,)))
    gate.desk.wire.orders.clear()
    assert not gate.amends(one, 5)
    assert gate.desk.refused == {}
    gate.rest(2, 9)
    gate.rest(3, 9)


# --- the executor's table -----------------------------------------------------------------------------------------


def entry(qty_lots: int = 10) -> OrderRequest:
    """An entry."""
    return OrderRequest(
        client_id=client_id(account="gate", epoch=1, leg=Leg.LONG, purpose=Purpose.ENTRY, level=1, sequence=1),
        instrument=BTC,
        leg=Leg.LONG,
        purpose=Purpose.ENTRY,
        kind=Kind.LIMIT,
        price_ticks=PRICE,
        qty_lots=qty_lots,
        post_only=True,
        level=1,
        generation=1,
        decided_ns=0,
    )


def resting() -> OrderTable:
    """A table in which an entry of ten lots rests, that is to have four."""
    table = OrderTable("gate", cast("Any", None))
    table.remember(intent_of(entry(), 0, "approved"), entry())
    say(table, K.ACCEPTED)
    table.ask(entry(4))
    return table


def word(kind: OrderEventKind, **changes: Any) -> OrderEvent:
    """A word on the entry."""
    return OrderEvent(kind=kind, client_id=entry().client_id, **changes)


def say(table: OrderTable, kind: OrderEventKind, **changes: Any) -> None:
    """Tell the table of the entry."""
    table.advance(word(kind, **changes), 1)


def shown(table: OrderTable) -> int:
    """What somebody who asks is told of the entry's quantity."""
    (one,) = table.open_orders(BTC)
    return one.qty_lots


def test_an_order_counts_with_the_larger_quantity_until_it_is_settled() -> None:
    """Whoever asks meanwhile (a new gate, a new strategy) gets the worse of both."""
    table = resting()
    table.ask(entry(15))
    assert shown(table) == 15
    assert table.answered(word(K.REJECTED, reason=EndReason.REFUSED)) == word(
        K.AMENDED, reason=EndReason.REFUSED, qty_lots=10
    )
    say(table, K.AMENDED, reason=EndReason.REFUSED, qty_lots=10)
    assert shown(table) == 10


def test_an_answer_after_the_streams_word_is_no_news() -> None:
    """Stream and answer both tell; the second of them changes nothing."""
    table = resting()
    assert table.answered(word(K.ACCEPTED)) == word(K.AMENDED, qty_lots=4)
    say(table, K.AMENDED, qty_lots=4)
    assert [table.answered(word(kind)) for kind in (K.ACCEPTED, K.UNKNOWN, K.REJECTED)] == [None] * 3


@pytest.mark.parametrize("lost", [word(K.UNKNOWN), word(K.REJECTED, reason=EndReason.NOT_FOUND)])
def test_what_nobody_knows_is_in_doubt_until_a_look(lost: OrderEvent) -> None:
    """A lost amendment makes the order UNKNOWN; a look that shows it to rest as it did settles it, once."""
    table = resting()
    told = table.answered(lost)
    assert told == word(K.UNKNOWN)
    table.advance(told, 2)
    assert (table.state(entry().client_id), table.settled()) == (OrderState.UNKNOWN, {})
    say(table, K.ACCEPTED, reason=EndReason.FOUND)
    (event,) = table.settled()[BTC]
    assert (event.kind, event.qty_lots, event.reason) == (K.AMENDED, 10, EndReason.FOUND)
    table.advance(event, 3)
    assert table.settled() == {}


def test_an_answer_that_comes_late_for_a_fill_tells_nothing() -> None:
    """An order that has filled as much as it was to have ends at the exchange, not by its answer here."""
    table = resting()
    record = table.records[entry().client_id]
    table.records[entry().client_id] = attrs.evolve(record, filled_lots=4, state=OrderState.PARTIAL)
    assert table.answered(word(K.ACCEPTED)) is None
    say(table, K.CANCELLED)
    assert table.answered(word(K.UNKNOWN)) is None


def test_an_amendment_that_meets_a_limit_pauses_as_an_order_does() -> None:
    """What the exchange, or our own budget, kept back until a time lets nothing be added before it."""
    desk = GateDesk()
    head, until_ns = desk.post.head(), desk.clock.now_ns() + 5
    agenda = Agenda(desk.clock, lambda at_ns: desk.clock.call_at(at_ns, lambda: None))
    kept = word(K.REJECTED, reason=EndReason.RATE_LIMITED, until_ns=until_ns)
    job = Job(cause=Wake(**head), instrument=BTC)
    LimitsTold(post=desk.post, clock=desk.clock, agenda=agenda).note_sent(
        Sent(**head, job=job, events=(), amends=(kept,))
    )
    heard = desk.ears[RISK].heard
    assert [one.reason for one in heard if isinstance(one, RaiseReason)] == [Reason.RATE_LIMITED]


# --- the strategy -------------------------------------------------------------------------------------------------


@attrs.define
class Rung:
    """One entry of ten lots on a rung that is wanted with four."""

    tables: GridTables = attrs.field(factory=lambda: fresh_tables(made.params(), order_no_stride=1, actions=[Action()]))
    names: OrderNames = attrs.field(
        factory=lambda: OrderNames(BTC, Numbering(account="gate", epoch=1, first=0, stride=1))
    )
    amending: Amending = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.amending = Amending(self.names, BTC, can=True)
        order = self.order
        order.no, order.leg, order.level, order.state = 1, LONG, 1, diff.CANCELLING
        order.price_ticks = order.wait_price_ticks = PRICE
        order.qty_lots, order.wait_qty_lots, order.wait_tp_micro = 10, 4, 7
        action = Action(kind=1, no=1, leg=LONG, purpose=ENTRY, level=1, price_ticks=PRICE, qty_lots=10)
        self.names.request(self.tables, action, (), 0)

    @property
    def order(self) -> Any:
        """The entry."""
        return self.tables.entries[0]

    def asked(self) -> OrderRequest | None:
        """Ask for the amendment."""
        return self.amending.instead_of(self.tables, Action(kind=CANCEL, no=1), 5)

    def told(self, left_lots: int) -> list[int]:
        """Tell what is left of the entry; give what has to be cancelled after it."""
        self.amending.amended(self.tables, 1, left_lots)
        return self.amending.cancels(self.tables)


def test_an_amended_entry_works_again_with_what_it_was_to_have() -> None:
    """The quantity and the take-profit that waited are the entry's now."""
    rung = Rung()
    asked = rung.asked()
    assert asked is not None
    assert (asked.qty_lots, asked.price_ticks, asked.decided_ns) == (4, PRICE, 5)
    assert rung.amending.cancels(rung.tables) == []
    assert rung.told(4) == []
    assert (rung.order.state, rung.order.qty_lots, rung.order.tp_micro, rung.order.wait_qty_lots) == (
        diff.WORKING,
        4,
        7,
        0,
    )


def test_a_failed_amendment_is_a_cancel_and_is_not_tried_again() -> None:
    """With the quantity that it had the entry is cancelled, and what waits behind it stays."""
    rung = Rung()
    assert rung.asked() is not None
    assert rung.told(10) == [1]
    assert (rung.order.state, rung.order.qty_lots, rung.order.wait_qty_lots) == (diff.CANCELLING, 10, 4)
    assert rung.asked() is None
    assert rung.amending.cancels(rung.tables) == [], "asked for once"


def test_a_refusal_of_the_gate_is_a_cancel() -> None:
    """The entry goes as it would without amendments; other refusals are not meant."""
    rung = Rung()
    assert not rung.amending.refused(1)
    assert rung.asked() is not None
    assert rung.amending.refused(1)
    assert rung.amending.cancels(rung.tables) == [1]


def test_what_drops_the_successor_makes_it_a_cancel() -> None:
    """A fill, a new grid or a pause while the amendment is on its way: the entry goes, whatever comes of it."""
    rung = Rung()
    assert rung.asked() is not None
    rung.order.wait_qty_lots = 0
    assert rung.amending.cancels(rung.tables) == [1]
    assert rung.told(4) == []
    assert (rung.order.state, rung.order.qty_lots) == (diff.CANCELLING, 4)


def test_another_price_is_not_amended() -> None:
    """An entry that was pushed out as post-only is cancelled and added: moved back it would take."""
    rung = Rung()
    rung.order.price_ticks = PRICE - 1
    assert rung.asked() is None
