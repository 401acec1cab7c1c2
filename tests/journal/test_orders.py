"""Orders as the journal follows them, from the durable intent to news after the end."""

from pathlib import Path

import attrs
import pytest

from hedgegrid.core import risk
from hedgegrid.core.order_state import OrderState
from hedgegrid.journal import orders
from hedgegrid.journal.journal import SqliteJournal
from hedgegrid.journal.verify import verify
from hedgegrid.messages.events import (
    ApprovedBatch,
    EndReason,
    ExecutionBatch,
    OrderEvent,
    OrderEventKind,
    Refused,
    RefusedBatch,
)
from hedgegrid.model.order import Cover, Leg, OrderRequest, Purpose
from tests.journal.life import BTC, Life, opened

K = OrderEventKind
MISSING = "missing"


def approve(journal: SqliteJournal, life: Life, *requests: OrderRequest, cancels: tuple[str, ...] = ()) -> None:
    """Append an approval."""
    approved = tuple(risk.approve(risk.PASS, one, limits_version="v1", expires_ns=life.now_ns) for one in requests)
    journal.append(ApprovedBatch(**life.head(), instrument=BTC, approved=approved, cancels=cancels, retires=()))


def say(journal: SqliteJournal, life: Life, *events: OrderEvent) -> None:
    """Append what the exchange said."""
    journal.append(ExecutionBatch(**life.head(), instrument=BTC, mark_ticks=1, events=events))


def state_of(journal: SqliteJournal, client_id: str) -> str:
    """Give an order's state, from memory if it lives, else from the entries that are kept."""
    entry = journal._state.orders.find(client_id)
    return MISSING if entry is None else entry.record.state.value


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ([], OrderState.INTENT),
        ([K.ACCEPTED], OrderState.WORKING),
        ([K.ACCEPTED, K.AMENDED], OrderState.WORKING),
        ([K.UNKNOWN], OrderState.UNKNOWN),
        ([K.UNKNOWN, K.ACCEPTED], OrderState.UNKNOWN),
        ([K.UNKNOWN, K.CANCELLED], OrderState.CANCELLED),
        ([K.ACCEPTED, K.CANCEL_FAILED], OrderState.WORKING),
        ([K.ACCEPTED, K.CANCELLED, K.CANCEL_FAILED], OrderState.CANCELLED),
        ([K.REJECTED], OrderState.REJECTED),
        ([K.ACCEPTED, K.EXPIRED], OrderState.EXPIRED),
    ],
)
def test_what_the_exchange_says_moves_the_order(tmp_path: Path, kinds: list[OrderEventKind], state: OrderState) -> None:
    """After a restart the order table starts from these states: each word must lead where the order's life says."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    request = life.request(BTC, Leg.LONG, Purpose.ENTRY, 10_000, 6)
    approve(journal, life, request)
    for kind in kinds:
        say(journal, life, OrderEvent(kind=kind, client_id=request.client_id, qty_lots=3 if kind is K.AMENDED else 0))
    assert state_of(journal, request.client_id) == state
    live = [order.record.client_id for order in journal.live_orders()]
    assert (request.client_id in live) == (
        state in (OrderState.INTENT, OrderState.WORKING, OrderState.UNKNOWN, OrderState.PARTIAL)
    )
    assert "illegal_transitions" not in journal.counts()
    journal.close("done")


def test_an_intent_keeps_all_that_was_asked_for(tmp_path: Path) -> None:
    """What a restarted executor knows of its orders, it knows from the journal alone."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    covers = (Cover(lot_id=3, qty_lots=2), Cover(lot_id=4, qty_lots=5))
    request = life.request(BTC, Leg.SHORT, Purpose.TAKE_PROFIT, 9_990, 7, covers)
    backstop = attrs.evolve(request, client_id="demo.1SB.zz", purpose=Purpose.BACKSTOP, close_all=True, qty_lots=0)
    approve(journal, life, request, backstop)
    approve(journal, life, cancels=(request.client_id,))
    journal.close("done")
    again = opened(tmp_path / "a.db")
    found, closing = again.live_orders()
    record = found.record
    assert (record.client_id, record.leg, record.purpose) == (request.client_id, Leg.SHORT, Purpose.TAKE_PROFIT)
    assert (record.price_ticks, record.qty_lots, record.level) == (9_990, 7, request.level)
    assert (record.state, record.created_ns, record.lot_ids) == (OrderState.INTENT, request.decided_ns, (3, 4))
    assert (found.kind, found.post_only, found.covers) == (request.kind, request.post_only, covers)
    assert (found.tp_micro, found.step_micro) == (request.tp_micro, request.step_micro)
    assert found.cancel_ns == life.now_ns
    assert closing.record.close_all
    assert closing.cancel_ns == 0
    again.close("done")


def test_a_refused_cancel_is_forgotten(tmp_path: Path) -> None:
    """An order whose cancel failed must be cancelled again, so the note of the first goes."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    request = life.request(BTC, Leg.LONG, Purpose.ENTRY, 10_000, 6)
    approve(journal, life, request)
    say(journal, life, OrderEvent(kind=K.ACCEPTED, client_id=request.client_id))
    approve(journal, life, cancels=(request.client_id, "demo.1LE1.nobody"))
    assert journal.live_orders()[0].cancel_ns > 0
    say(journal, life, OrderEvent(kind=K.CANCEL_FAILED, client_id=request.client_id, reason=EndReason.BY_REQUEST))
    assert journal.live_orders()[0].cancel_ns == 0
    journal.close("done")


@pytest.mark.asyncio
async def test_partial_fills_amendments_and_late_fills_add_up(tmp_path: Path) -> None:
    """The filled quantity is what the exchange filled, after a shrink and after the end too."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    request = life.request(BTC, Leg.LONG, Purpose.ENTRY, 10_000, 6)
    approve(journal, life, request)
    say(journal, life, life.fill(life.working[request.client_id], 2))
    assert state_of(journal, request.client_id) == OrderState.PARTIAL
    say(journal, life, OrderEvent(kind=K.AMENDED, client_id=request.client_id, qty_lots=3))
    assert journal.live_orders()[0].record.qty_lots == 5
    say(journal, life, OrderEvent(kind=K.CANCELLED, client_id=request.client_id))
    say(journal, life, life.fill(life.working[request.client_id], 3))
    assert state_of(journal, request.client_id) == OrderState.FILLED
    await journal.commit()
    row = journal._archive.execute("SELECT state, qty_lots, filled_lots FROM orders").fetchone()
    assert row == ("filled", 5, 5)
    journal.close("done")


def test_an_impossible_event_is_noted_and_changes_nothing(tmp_path: Path) -> None:
    """An exchange that contradicts itself must not stop the record, nor move an order where it cannot be."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    request = life.request(BTC, Leg.LONG, Purpose.ENTRY, 10_000, 6)
    approve(journal, life, request)
    say(journal, life, OrderEvent(kind=K.CANCELLED, client_id=request.client_id))
    say(journal, life, OrderEvent(kind=K.REJECTED, client_id=request.client_id))
    say(journal, life, OrderEvent(kind=K.ACCEPTED, client_id="demo.1LE1.zzz"))
    assert state_of(journal, request.client_id) == OrderState.CANCELLED
    assert journal.counts()["illegal_transitions"] == 1
    assert journal.counts()["incidents"] == 2
    journal.close("done")


def test_a_client_id_is_taken_once(tmp_path: Path) -> None:
    """Law 5: a repeated id is seen in memory, on disk, and in another boot; the first order stands."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    first = life.request(BTC, Leg.LONG, Purpose.ENTRY, 10_000, 6)
    second = attrs.evolve(first, price_ticks=9_000)
    approve(journal, life, first)
    approve(journal, life, second)
    journal.close("done")
    again = opened(tmp_path / "a.db")
    say(again, life, OrderEvent(kind=K.REJECTED, client_id=first.client_id))
    approve(again, life, second)
    again.close("done")
    last = opened(tmp_path / "a.db")
    approve(last, life, second)
    assert last.counts()["approved_twice"] == 3
    assert last.counts()["orders"] == 1
    assert last.live_orders() == ()
    last.close("done")
    report = verify(tmp_path / "a.db")
    failed = [check.name for check in report.checks if not check.ok]
    assert failed == ["no client id is approved twice"], report.text()


@pytest.mark.asyncio
async def test_an_id_is_known_again_beside_a_newer_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Law 5: an order that has ended and left memory is looked up though its batch brings a greater number too."""
    monkeypatch.setattr(orders, "ENDED_KEPT", 0)
    journal, life = opened(tmp_path / "a.db"), Life(1)
    old, new = (life.request(BTC, Leg.LONG, Purpose.ENTRY, price, 6) for price in (10_000, 9_000))
    approve(journal, life, old)
    say(journal, life, OrderEvent(kind=K.REJECTED, client_id=old.client_id))
    for _ in range(2):
        await journal.commit()
    assert old.client_id not in journal._state.orders._ended, "it has left memory"
    approve(journal, life, new, old)
    assert (journal.counts()["approved_twice"], journal.counts()["orders"]) == (1, 2)
    journal.close("done")


def test_new_ids_are_not_looked_up_on_disk_whatever_their_order(tmp_path: Path) -> None:
    """A batch comes nearest first, so its numbers fall as well as rise: no order on its way waits for a look-up."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    first, second, third = (life.request(BTC, Leg.LONG, Purpose.ENTRY, price, 6) for price in (10_000, 9_000, 8_000))
    asked: list[str] = []
    journal._archive.set_trace_callback(asked.append)
    approve(journal, life, second, first)
    approve(journal, life, third)
    assert (asked, journal.counts()["orders"]) == ([], 3)
    journal.close("done")


def test_sequences_go_on_over_boots(tmp_path: Path) -> None:
    """The next boot numbers its orders after the greatest number ever used, ended orders included."""
    journal, life = opened(tmp_path / "a.db"), Life(1, first=41)
    request = life.request(BTC, Leg.LONG, Purpose.ENTRY, 10_000, 6)
    approve(journal, life, attrs.evolve(request, client_id="not of our making"), request)
    say(journal, life, OrderEvent(kind=K.REJECTED, client_id=request.client_id))
    assert journal.max_order_sequence() == 42
    journal.close("done")
    again = opened(tmp_path / "a.db")
    assert again.max_order_sequence() == 42
    again.close("done")


def test_refusals_are_counted(tmp_path: Path) -> None:
    """The summary of a run tells how often the gate said no."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    request = life.request(BTC, Leg.LONG, Purpose.ENTRY, 10_000, 6)
    refused = Refused(request=request, control="max_order_notional", limit="5000", value="6000", remedy="raise it")
    journal.append(RefusedBatch(**life.head(), instrument=BTC, refused=(refused, refused)))
    assert journal.counts()["refused"] == 2
    journal.close("done")
