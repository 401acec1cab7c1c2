"""What was kept back on our side is no refusal: exits that a limit or our own gate held up wait, and come as they are.

Invariant: what was sent is read from the exchange's side.
"""

from typing import Any

import pytest

from hedgegrid.actors.post import RISK, strategy_name
from hedgegrid.core.exit_book import KEPT_BACK_MAX
from hedgegrid.messages.events import (
    Approved,
    EndReason,
    ExecutionBatch,
    OrderEvent,
    OrderEventKind,
    Refused,
    RefusedBatch,
)
from hedgegrid.model.order import Kind, OrderRequest, Purpose
from tests.actors.played import BTC
from tests.actors.race_scenes import LONG, entry, filled, land, latched, one, requests, started
from tests.actors.racing import LIMITS, MS, Ring
from tests.actors.test_exit_race import check_at_rest


def bare() -> Ring:
    """A lot that has just been filled; its stop is on its way."""
    ring = started()
    ring.fill(entry(ring), 10)
    ring.hear(99)
    return ring


def stop_of(ring: Ring) -> str:
    """The one stop, or market reduction, that is on its way."""
    (name,) = ring.named("sent", Purpose.STOP)
    return name


def gate_refuses(ring: Ring, name: str) -> None:
    """Let our own gate refuse an order, as where a predecessor still counts."""
    order = ring.orders[name]
    order.where = "ended"
    # The gate's own book has taken it; there it ends first.
    gone = OrderEvent(kind=OrderEventKind.REJECTED, client_id=name, reason=EndReason.NOT_SENT)
    ring.post.publish(ExecutionBatch(**ring.post.head(), instrument=BTC, mark_ticks=ring.mark, events=(gone,)), RISK)
    refused = Refused(request=order.request, control="reduce_only_proof", limit="10 lots", value="10 more", remedy="")
    ring.post.publish(RefusedBatch(**ring.post.head(), instrument=BTC, refused=(refused,)), strategy_name(BTC))
    ring.settle()


def test_a_stop_under_a_rate_limit_is_laid_as_soon_as_it_ends() -> None:
    """However often a limit keeps it back: not before its end, then at once, and never a market reduction for it."""
    ring = bare()
    for _ in range(6):
        name = stop_of(ring)
        assert ring.orders[name].request.kind is Kind.STOP_MARKET
        ring.limit(name, ring.clock.now_ns() + 300 * MS)
        ring.hear(99)
        ring.wait(290)
        assert ring.named("sent", Purpose.STOP) == [], "it was asked for while the limit stood"
        ring.wait(20)
    ring.arrive(stop_of(ring))
    ring.hear(99)
    assert not latched(ring)
    ring.calm()
    check_at_rest(ring)
    assert ring.position[LONG] == 10


def test_a_long_limit_is_told_to_a_person_and_ends_with_the_stop() -> None:
    """A lot that stands bare for too long latches the pause; when the limit ends it gets its stop all the same."""
    ring = bare()
    ring.limit(stop_of(ring), ring.clock.now_ns() + 3_000 * MS)
    ring.hear(99)
    ring.wait(LIMITS.max_unprotected_ns // MS + 10)
    assert latched(ring)
    assert ring.named("sent", Purpose.STOP) == []
    ring.wait(1_000)
    assert ring.orders[stop_of(ring)].request.kind is Kind.STOP_MARKET


def test_our_own_gate_is_no_refusal_of_the_exchange() -> None:
    """A predecessor that still counts holds up a stop five times within two seconds: no alarm, no market reduction."""
    ring = bare()
    name = stop_of(ring)
    ring.arrive(name, EndReason.MARGIN)
    ring.hear(99)
    for _ in range(4):
        while not ring.named("sent", Purpose.STOP):
            ring.wait(10)
        name = stop_of(ring)
        assert ring.orders[name].request.kind is Kind.STOP_MARKET
        gate_refuses(ring, name)
    while not ring.named("sent", Purpose.STOP):
        ring.wait(10)
    ring.arrive(stop_of(ring))
    ring.hear(99)
    assert not latched(ring)
    ring.calm()
    check_at_rest(ring)


def test_a_gate_that_never_lets_a_stop_through_ends_in_a_market_reduction() -> None:
    """What stands in the way for that long is no predecessor: the lot is not left bare for ever."""
    ring = bare()
    refusals = 0
    while refusals < 4 * KEPT_BACK_MAX:
        while not ring.named("sent", Purpose.STOP):
            ring.wait(50)
        name = stop_of(ring)
        if ring.orders[name].request.kind is Kind.MARKET:
            break
        gate_refuses(ring, name)
        refusals += 1
    assert KEPT_BACK_MAX < refusals < 2 * KEPT_BACK_MAX
    assert latched(ring)


def test_a_stop_that_the_gate_keeps_stands_for_its_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leg's stop was to be replaced and its successor is refused: it covers its lot, so the other lot gets one."""
    ring = started(leg_stop=1)
    filled(ring, 1)
    (first,) = ring.named("live", Purpose.STOP)
    gate = ring.risk._gate
    judge = gate.judge

    def refusing_once(request: OrderRequest, *rest: Any) -> Approved | Refused:
        if request.purpose is not Purpose.STOP:
            return judge(request, *rest)
        monkeypatch.setattr(gate, "judge", judge)
        return Refused(request=request, control="reduce_only_proof", limit="0", value="20", remedy="")

    monkeypatch.setattr(gate, "judge", refusing_once)
    ring.fill(entry(ring, level=2), 10)
    ring.hear(99)
    assert ring.named("sent", Purpose.STOP) == []
    assert ring.orders[first].cancels == 0, "it was never asked to go"
    while not ring.named("sent", Purpose.STOP):
        ring.wait(10)
    land(ring)
    ring.calm()
    assert not latched(ring)
    assert [one.qty_lots for one in requests(ring, "live", Purpose.STOP)] == [20]
    check_at_rest(ring)


def test_a_cancel_that_was_proven_not_taken_is_asked_for_again_in_time() -> None:
    """The stop that a take-profit's fill left over: refused with a proof, its cancel is had within exit_excess."""
    ring = started()
    filled(ring, 1)
    stop = one(ring, Purpose.STOP, 1)
    ring.fill(one(ring, Purpose.TAKE_PROFIT, 1), 10)
    ring.hear(99)
    since_ns = ring.clock.now_ns()
    for _ in range(3):
        assert ring.orders[stop].cancels == 1
        ring.orders[stop].cancels = 0
        ring.say(stop, OrderEventKind.CANCEL_FAILED, EndReason.REFUSED)
        ring.hear(99)
        while not ring.orders[stop].cancels:
            ring.wait(10)
    assert ring.clock.now_ns() - since_ns < LIMITS.exit_excess_ns
    ring.calm()
    check_at_rest(ring)
