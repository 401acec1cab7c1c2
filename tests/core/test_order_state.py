"""The life of an order: one table, nothing outside it, nothing lost."""

from collections.abc import Iterable
from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core.order_state import (
    TRANSITIONS,
    IllegalTransition,
    LifeEvent,
    LifeEventKind,
    OrderRecord,
    OrderState,
    advance,
    blocks_slot,
    fill_event,
    intent_of,
    is_live,
    is_terminal,
    life_event,
)
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.order import Cover, Fill, Kind, Leg, OrderRequest, Purpose, Side
from tools import diagrams

K = LifeEventKind
S = OrderState
QTY_LOTS = 10
ORDER = OrderRecord(
    client_id="demo.1LE3.k2",
    instrument="BTC/USDT:USDT",
    leg=Leg.LONG,
    purpose=Purpose.ENTRY,
    level=3,
    generation=1,
    price_ticks=1_000,
    qty_lots=QTY_LOTS,
    created_ns=5,
    ts_ns=5,
)
BACKSTOP = attrs.evolve(ORDER, purpose=Purpose.BACKSTOP, qty_lots=0, close_all=True, state=S.WORKING)

EVENTS = st.builds(
    LifeEvent,
    kind=st.sampled_from(K),
    ts_ns=st.integers(0, 100),
    cause=st.sampled_from(["stream", "read"]),
    qty_lots=st.integers(-1, QTY_LOTS + 1),
)
FILLS = st.builds(
    LifeEvent, kind=st.sampled_from([K.PARTIALLY_FILLED, K.FILLED]), ts_ns=st.just(7), qty_lots=st.just(4)
)
PLAIN = st.builds(LifeEvent, kind=st.sampled_from(K), ts_ns=st.integers(0, 100))
LIVES = st.lists(EVENTS | PLAIN | FILLS, max_size=12)


def lived(record: OrderRecord, *events: LifeEvent) -> OrderRecord:
    """The record after ``events``, each of which must be legal."""
    for event in events:
        after = advance(record, event)
        assert isinstance(after, OrderRecord), after
        record = after
    return record


def plain(*kinds: LifeEventKind) -> Iterable[LifeEvent]:
    """Events without a quantity, a nanosecond apart."""
    return (LifeEvent(kind=kind, ts_ns=10 + place, cause="test") for place, kind in enumerate(kinds))


@given(LIVES)
def test_every_step_keeps_the_invariants(events: list[LifeEvent]) -> None:
    """Illegal events change nothing, fills only grow and never exceed the order, ends last but for late fills."""
    record = ORDER
    for event in events:
        after = advance(record, event)
        if isinstance(after, IllegalTransition):
            assert after.record is record
            assert after.event is event
            assert after.why
            continue
        fill = event.kind in (K.PARTIALLY_FILLED, K.FILLED)
        assert after.filled_lots == record.filled_lots + (event.qty_lots if fill else 0)
        amended = event.kind is K.AMENDED
        assert after.qty_lots == (after.filled_lots + event.qty_lots if amended else record.qty_lots)
        assert after.filled_lots <= after.qty_lots
        assert after.ts_ns >= record.ts_ns
        assert (after.state is S.FILLED) == (after.filled_lots == after.qty_lots)
        assert after.state not in (S.WORKING, S.REJECTED) or after.filled_lots == 0
        assert after.state is not S.PARTIAL or after.filled_lots > 0
        if is_terminal(record.state):
            assert is_terminal(after.state)
            assert after.state is record.state or fill
        assert attrs.evolve(after, state=S.INTENT, qty_lots=QTY_LOTS, filled_lots=0, ts_ns=5, cause="") == ORDER
        record = after


@given(st.sampled_from(S), st.sampled_from(K), st.integers(0, QTY_LOTS - 1))
def test_the_table_alone_says_what_is_legal(state: OrderState, kind: LifeEventKind, filled_lots: int) -> None:
    """Each (state, event) is a row or illegal: there is no transition outside the table, and none in it is dead."""
    record = attrs.evolve(ORDER, state=state, filled_lots=filled_lots)
    left_lots = QTY_LOTS - filled_lots
    qty_lots = {K.PARTIALLY_FILLED: left_lots - 1, K.FILLED: left_lots, K.AMENDED: left_lots}.get(kind, 0)
    after = advance(record, LifeEvent(kind=kind, ts_ns=9, qty_lots=qty_lots))
    target = TRANSITIONS.get((state, kind))
    contradicts = (kind is K.REJECTED and filled_lots > 0) or (kind is K.PARTIALLY_FILLED and qty_lots == 0)
    if target is None or contradicts:
        assert isinstance(after, IllegalTransition)
    else:
        assert isinstance(after, OrderRecord)
        filled = after.filled_lots > 0
        assert after.state is (S.PARTIAL if target is S.WORKING and filled else target)


def test_every_state_is_reachable_and_every_live_one_can_end() -> None:
    """No state is decoration, and no order can be stuck in one for ever."""
    reached = {S.INTENT}
    for _ in S:
        reached |= {target for (state, _), target in TRANSITIONS.items() if state in reached}
    assert reached == set(S)
    for state in S:
        ends = {target for (source, _), target in TRANSITIONS.items() if source is state and is_terminal(target)}
        assert ends


def test_every_live_state_has_a_way_to_unknown_and_back() -> None:
    """Law 4: wherever contact may be lost, the order becomes UNKNOWN, and only evidence ends that."""
    for state in S:
        target = TRANSITIONS[(state, K.OUTCOME_UNKNOWN)]
        assert target is (state if is_terminal(state) else S.UNKNOWN)
    leave = {kind for (state, kind), target in TRANSITIONS.items() if state is S.UNKNOWN and target is not S.UNKNOWN}
    assert leave == {K.REJECTED, K.FILLED, K.CANCELLED, K.EXPIRED, K.FOUND_WORKING, K.FOUND_DEAD}


def test_a_cancel_whose_answer_was_lost_is_not_ended_by_an_old_acknowledgement() -> None:
    """A delayed ACCEPTED says nothing about the cancel sent after it: the slot stays blocked until somebody looked."""
    unknown = lived(ORDER, *plain(K.SENT, K.CANCEL_SENT, K.OUTCOME_UNKNOWN))
    assert lived(unknown, *plain(K.ACCEPTED)) is unknown
    assert lived(unknown, *plain(K.FOUND_WORKING)).state is S.WORKING
    assert lived(unknown, *plain(K.CANCELLED)).state is S.CANCELLED


def test_fill_before_acknowledgement() -> None:
    """A fill that overtakes its order's acknowledgement is applied, and the late acknowledgement harms nothing."""
    sent = lived(ORDER, *plain(K.SENT))
    partial = lived(sent, fill_event(sent, 4, 20, "trade 1"))
    assert (partial.state, partial.filled_lots, partial.cause) == (S.PARTIAL, 4, "trade 1")
    assert lived(partial, *plain(K.ACCEPTED)) is partial
    filled = lived(sent, fill_event(sent, QTY_LOTS, 20, "trade 1"))
    assert lived(filled, *plain(K.ACCEPTED)) is filled


def test_fill_after_cancel() -> None:
    """Law 6: a fill that crossed with the cancel is applied to the ended order, in part and to the full."""
    cancelled = lived(ORDER, *plain(K.SENT, K.ACCEPTED, K.CANCEL_SENT, K.CANCELLED))
    late = lived(cancelled, fill_event(cancelled, 3, 20, "trade 2"))
    assert (late.state, late.filled_lots, late.remaining_lots) == (S.CANCELLED, 3, 7)
    full = lived(late, fill_event(late, 7, 21, "trade 3"))
    assert (full.state, full.filled_lots) == (S.FILLED, QTY_LOTS)


def test_a_refused_cancel_gives_the_order_back_with_its_fills() -> None:
    """An order that lives on after a refused cancel is WORKING, or PARTIAL when it has fills."""
    cancelling = lived(ORDER, *plain(K.SENT, K.ACCEPTED, K.CANCEL_SENT))
    assert lived(cancelling, *plain(K.FOUND_WORKING)) is cancelling
    assert lived(cancelling, *plain(K.CANCEL_REJECTED)).state is S.WORKING
    filled_in_part = lived(cancelling, fill_event(cancelling, 1, 20, "trade 4"))
    assert filled_in_part.state is S.CANCELLING
    assert lived(filled_in_part, *plain(K.CANCEL_REJECTED)).state is S.PARTIAL


def test_an_overfill_is_illegal() -> None:
    """More than was ordered is never booked on an order: it is reported with both figures."""
    working = lived(ORDER, *plain(K.SENT, K.ACCEPTED))
    after = advance(working, fill_event(working, QTY_LOTS + 1, 20, "trade 5"))
    assert isinstance(after, IllegalTransition)
    assert after.why == "overfilled: 11 of 10 lots"


def test_a_close_all_order_ends_when_the_venue_says_so() -> None:
    """A stop that closes whatever is there has no quantity: only the venue knows its last fill."""
    part = lived(BACKSTOP, fill_event(BACKSTOP, 3, 20, "trade 6"))
    assert (part.state, part.filled_lots, part.remaining_lots) == (S.PARTIAL, 3, 0)
    end = lived(part, fill_event(part, 50, 21, "trade 7", last=True))
    assert (end.state, end.filled_lots) == (S.FILLED, 53)


def test_an_amendment_changes_what_is_left() -> None:
    """A merged stop that shrinks keeps its fills, and can still be filled to its new end but not beyond."""
    stop = attrs.evolve(ORDER, purpose=Purpose.STOP, state=S.WORKING)
    part = lived(stop, fill_event(stop, 4, 20, "trade 1"))
    less = lived(part, LifeEvent(kind=K.AMENDED, ts_ns=21, qty_lots=2))
    assert (less.state, less.qty_lots, less.remaining_lots) == (S.PARTIAL, 6, 2)
    assert isinstance(advance(less, fill_event(less, 3, 22, "trade 2")), IllegalTransition)
    assert lived(less, fill_event(less, 2, 22, "trade 2")).state is S.FILLED
    assert isinstance(advance(less, LifeEvent(kind=K.AMENDED, ts_ns=23, qty_lots=0)), IllegalTransition)


def test_what_the_exchange_says_becomes_an_event_of_the_life() -> None:
    """Every word of the exchange has one meaning; a cancel that found no order proves nothing."""
    working = lived(ORDER, *plain(K.SENT, K.ACCEPTED))
    meanings = {
        OrderEventKind.ACCEPTED: K.ACCEPTED,
        OrderEventKind.CANCELLED: K.CANCELLED,
        OrderEventKind.REJECTED: K.REJECTED,
        OrderEventKind.EXPIRED: K.EXPIRED,
        OrderEventKind.CANCEL_FAILED: K.CANCEL_REJECTED,
        OrderEventKind.AMENDED: K.AMENDED,
        OrderEventKind.UNKNOWN: K.OUTCOME_UNKNOWN,
    }
    assert {*meanings, OrderEventKind.FILLED} == set(OrderEventKind)
    for said, kind in meanings.items():
        event = life_event(working, OrderEvent(kind=said, client_id=ORDER.client_id, qty_lots=3), 30)
        assert (event.kind, event.ts_ns, event.qty_lots) == (kind, 30, 3 if kind is K.AMENDED else 0)
    lost = OrderEvent(kind=OrderEventKind.CANCEL_FAILED, client_id=ORDER.client_id, reason=EndReason.NOT_FOUND)
    assert life_event(working, lost, 30).kind is K.OUTCOME_UNKNOWN
    assert life_event(working, lost, 30).cause == "not_found"


@pytest.mark.parametrize(("qty_lots", "kind"), [(4, K.PARTIALLY_FILLED), (QTY_LOTS, K.FILLED)])
def test_what_the_exchange_filled_becomes_a_fill(qty_lots: int, kind: LifeEventKind) -> None:
    """The exchange reports executions; whether one completes the order is counted here, or told for close_all."""
    fill = Fill(
        trade_id=9,
        client_id=ORDER.client_id,
        instrument=ORDER.instrument,
        leg=Leg.LONG,
        side=Side.BUY,
        purpose=Purpose.ENTRY,
        level=3,
        generation=1,
        price_ticks=1_000,
        qty_lots=qty_lots,
        fee_e8=1,
        realised_e8=0,
        maker=True,
        ts_ns=30,
    )
    said = OrderEvent(kind=OrderEventKind.FILLED, client_id=ORDER.client_id, fill=fill)
    sent = lived(ORDER, *plain(K.SENT))
    assert life_event(sent, said, 30) == LifeEvent(kind=kind, ts_ns=30, cause="trade 9", qty_lots=qty_lots)
    assert life_event(BACKSTOP, said, 30).kind is K.FILLED
    assert life_event(BACKSTOP, attrs.evolve(said, qty_lots=1), 30).kind is K.PARTIALLY_FILLED


@pytest.mark.parametrize("state", S)
def test_questions_about_a_state(state: OrderState) -> None:
    """An order is live or not from its state alone; whatever has not ended keeps its rung."""
    assert blocks_slot(state) is not is_terminal(state)
    assert is_live(state) == (not is_terminal(state) and state is not S.INTENT)


def test_an_intent_is_the_request_as_it_was_approved() -> None:
    """The order table begins with exactly what the gate let through."""
    request = OrderRequest(
        client_id=ORDER.client_id,
        instrument=ORDER.instrument,
        leg=Leg.LONG,
        purpose=Purpose.STOP,
        kind=Kind.STOP_MARKET,
        price_ticks=900,
        qty_lots=5,
        post_only=False,
        level=3,
        generation=1,
        covers=(Cover(lot_id=7, qty_lots=2), Cover(lot_id=8, qty_lots=3)),
        decided_ns=4,
    )
    record = intent_of(request, 6, "decision")
    assert record == attrs.evolve(
        ORDER,
        purpose=Purpose.STOP,
        price_ticks=900,
        qty_lots=5,
        lot_ids=(7, 8),
        created_ns=4,
        ts_ns=6,
        cause="decision",
    )


def test_side_follows_from_leg_and_purpose() -> None:
    """A record cannot hold a side that opens where its purpose closes."""
    assert ORDER.side is Side.BUY
    assert attrs.evolve(ORDER, purpose=Purpose.STOP).side is Side.SELL


def test_the_diagram_draws_every_row() -> None:
    """The picture in ARCHITECTURE.md is the table, whole."""
    text = diagrams.DIAGRAMS["order_state"]()
    for (state, kind), target in TRANSITIONS.items():
        (line,) = [line for line in text.splitlines() if line.startswith(f"    {state} --> {target} : ")]
        assert kind in line.partition(" : ")[2].split(", ")


def test_stale_diagrams_are_found_and_rewritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--check fails on a stale or missing diagram and writes nothing; without it the block alone is rewritten."""
    page = tmp_path / "ARCHITECTURE.md"
    block = "<!-- diagram: {} -->\nold\n<!-- end diagram -->\n"
    page.write_text("before\n" + block.format("order_state") + "between\n" + block.format("permission") + "after\n")
    stale = page.read_text()
    assert diagrams.main(["--check", str(page)]) == 1
    assert page.read_text() == stale
    assert "order_state" in capsys.readouterr().out
    assert diagrams.main([str(page)]) == 0
    fresh = page.read_text()
    assert fresh.startswith("before\n")
    assert fresh.endswith("after\n")
    assert "between\n" in fresh
    assert "old" not in fresh
    assert diagrams.main(["--check", str(page)]) == 0
    page.write_text("no block here\n")
    assert diagrams.main(["--check", str(page)]) == 1
    assert diagrams.main(["--check", str(tmp_path / "absent.md")]) == 1
