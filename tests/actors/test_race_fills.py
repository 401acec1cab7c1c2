"""One race of fills a test: what the strategy does about its lots and exits, as the exchange sees it."""

import attrs
import pytest

from hedgegrid.core import risk
from hedgegrid.core.pause import Reason
from hedgegrid.messages.commands import RaiseReason
from hedgegrid.messages.events import EndReason, OrderEventKind
from hedgegrid.model.order import Purpose
from tests.actors.played import BTC
from tests.actors.race_scenes import LONG, entry, filled, one, requests, said, started
from tests.actors.racing import LIMITS, MS, run
from tests.actors.test_exit_race import check_at_rest


def test_a_filled_take_profit_takes_its_stop_away() -> None:
    """Where nothing links them, the other exit of a closed lot is cancelled in the same batch."""
    ring = started()
    filled(ring, 1)
    stop = one(ring, Purpose.STOP, 1)
    ring.fill(one(ring, Purpose.TAKE_PROFIT, 1), 10)
    ring.hear(99)
    assert ring.orders[stop].cancels == 1
    ring.calm()
    check_at_rest(ring)
    assert ring.position[LONG] == 0


def test_a_partly_filled_stop_shrinks_the_take_profit_by_cancel_confirm_add() -> None:
    """The take-profit is cancelled first, and sent for the rest only once its cancel is confirmed."""
    ring = started()
    filled(ring, 1)
    profit = one(ring, Purpose.TAKE_PROFIT, 1)
    ring.fill(one(ring, Purpose.STOP, 1), 4)
    ring.hear(99)
    assert ring.orders[profit].cancels == 1
    assert requests(ring, "sent", Purpose.TAKE_PROFIT) == []
    ring.cancel_arrives(profit)
    ring.hear(99)
    assert [request.qty_lots for request in requests(ring, "sent", Purpose.TAKE_PROFIT)] == [6]


def test_a_partly_filled_take_profit_leaves_a_stop_over_the_rest() -> None:
    """The stop of a lot that closed in part shrinks: the smaller one stands before the larger one is cancelled."""
    ring = started()
    filled(ring, 1)
    old = one(ring, Purpose.STOP, 1)
    ring.fill(one(ring, Purpose.TAKE_PROFIT, 1), 4)
    ring.hear(99)
    assert ring.orders[old].cancels == 0
    (new,) = ring.named("sent", Purpose.STOP)
    assert ring.orders[new].left == 6
    ring.arrive(new)
    ring.hear(99)
    ring.cancel_arrives(old)
    ring.calm()
    assert ring.named("live", Purpose.STOP) == [new]
    check_at_rest(ring)


def test_a_merged_stop_is_replaced_new_one_first() -> None:
    """Of two lots under one stop one closes: the smaller stop stands before the larger one is cancelled."""
    ring = started(max_stop_orders=1)
    filled(ring, 1, 2)
    (old,) = ring.named("live", Purpose.STOP)
    assert ring.orders[old].left == 20
    ring.fill(one(ring, Purpose.TAKE_PROFIT, 1), 10)
    ring.hear(99)
    assert ring.orders[old].cancels == 0
    (new,) = ring.named("sent", Purpose.STOP)
    assert ring.orders[new].left == 10
    ring.arrive(new)
    assert ring.orders[old].cancels == 1


def test_an_old_stop_stays_where_its_successor_is_refused() -> None:
    """A refused successor leaves the lot its old stop, and the next one replaces that."""
    ring = started(max_stop_orders=1)
    filled(ring, 1, 2)
    (old,) = ring.named("live", Purpose.STOP)
    ring.fill(one(ring, Purpose.TAKE_PROFIT, 1), 10)
    ring.hear(99)
    (new,) = ring.named("sent", Purpose.STOP)
    ring.arrive(new, EndReason.RATE_LIMITED)
    ring.hear(99)
    for _ in range(60):
        assert ring.orders[old].where == "live"
        assert ring.orders[old].cancels == 0
        for name in ring.named("sent", Purpose.STOP):
            ring.arrive(name, EndReason.RATE_LIMITED)
        ring.hear(99)
        ring.wait(100)
    assert not said(ring, "closed at the market")
    ring.calm()
    check_at_rest(ring)
    assert ring.orders[old].where == "ended"


def test_an_old_stop_stays_where_the_gate_refuses_its_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is to be retired is not, while nothing takes its place."""
    ring = started(max_stop_orders=1)
    filled(ring, 1, 2)
    (old,) = ring.named("live", Purpose.STOP)
    with monkeypatch.context() as patch:
        patch.setattr("hedgegrid.core.risk.check", lambda *_: risk.REDUCE_PROOF)
        ring.fill(one(ring, Purpose.TAKE_PROFIT, 1), 10)
        ring.hear(99)
    assert ring.named("sent", Purpose.STOP) == []
    assert (ring.orders[old].cancels, ring.retiring) == (0, {})
    # It counts in the proof as before.
    assert ring.risk._book.exposures[LONG].stop_lots == 20
    ring.calm()
    check_at_rest(ring)


def test_a_lost_race_cuts_the_oldest_lot_and_says_so() -> None:
    """A stop fills for a lot that its take-profit has closed: the position that is gone is another lot's."""
    ring = started(refuse=False)
    filled(ring, 1, 2)
    stop = one(ring, Purpose.STOP, 1)
    ring.fill(one(ring, Purpose.TAKE_PROFIT, 1), 10)
    ring.fill(stop, 7)
    ring.hear(99)
    assert [(lot.level, lot.qty_lots) for lot in ring.lots(LONG)] == [(2, 3)]
    assert [one.figures["lots"] for one in said(ring, "closed already")] == ["7"]
    ring.calm()
    check_at_rest(ring)
    assert ring.position[LONG] == 3


def test_a_fill_that_names_no_lots_closes_what_its_order_was_sent_for() -> None:
    """The exchange knows no lots: the order's own covers say which, not their age."""
    ring = started()
    filled(ring, 1, 2)
    ring.fill(one(ring, Purpose.TAKE_PROFIT, 2), 10)
    word = ring.words.pop()
    assert word.fill is not None
    ring.words.append(attrs.evolve(word, fill=attrs.evolve(word.fill, covers=())))
    ring.hear(99)
    assert [lot.level for lot in ring.lots(LONG)] == [1]
    ring.calm()
    check_at_rest(ring)


def test_a_restart_in_the_middle_of_a_replacement_leaves_one_stop() -> None:
    """Old and new stop both rest: one is taken over, the other cancelled until it is gone, and the lot never bare."""
    ring = started()
    filled(ring, 1)
    first = one(ring, Purpose.STOP, 1)
    ring.orders["race.1LS1.zz"] = attrs.evolve(
        ring.orders[first], request=attrs.evolve(ring.orders[first].request, client_id="race.1LS1.zz")
    )
    ring.restart()
    (leaving,) = [name for name, order in ring.orders.items() if order.cancels]
    ring.cancel_arrives(leaving, fails=True)
    ring.hear(99)
    ring.wait(LIMITS.stop_overlap_ns // MS + 10)
    assert ring.orders[leaving].cancels == 1
    ring.calm()
    check_at_rest(ring)


def test_a_restart_knows_a_stop_that_was_never_acknowledged() -> None:
    """It is adopted, but protects nothing until the exchange says that it stands."""
    ring = started()
    ring.fill(entry(ring), 10)
    ring.hear(99)
    (first,) = ring.named("sent", Purpose.STOP)
    ring.restart()
    assert ring.named("sent", Purpose.STOP) == [first]
    ring.wait(LIMITS.max_unprotected_ns // MS + 10)
    assert len(ring.named("sent", Purpose.STOP)) == 2


def test_an_entry_whose_cancel_was_not_carried_out_is_cancelled_again() -> None:
    """A pause of danger takes the entries away: one that stayed is asked for again at the next decision."""
    ring = started()
    name = entry(ring)
    raised = RaiseReason(**ring.post.head(), reason=Reason.SUPERVISOR, scope=BTC, figures={})
    run(ring.risk.handle(raised))
    ring.settle()
    assert ring.orders[name].cancels == 1
    ring.cancel_arrives(name, fails=True)
    ring.hear(99)
    ring.bar(0)
    assert ring.orders[name].cancels == 1


def test_a_fill_of_what_no_lot_is_left_for_makes_it_look_again() -> None:
    """An exit that closed more than is known to be open is no negative position but a question."""
    ring = started()
    filled(ring, 1)
    stop = one(ring, Purpose.STOP, 1)
    ring.fill(one(ring, Purpose.TAKE_PROFIT, 1), 10)
    ring.position[LONG] = 5
    ring.fill(stop, 5)
    before = len(ring.rehydrations)
    ring.hear(99)
    assert ring.lots(LONG) == []
    assert ring.tables.state.position_long_lots == 0
    assert len(ring.rehydrations) == before + 1


@pytest.mark.parametrize("qty", [4, 10, 15])
def test_a_forced_reduction_cuts_the_oldest_lots_first(qty: int) -> None:
    """What the exchange takes by itself covers no lot: the oldest go, and their exits with them."""
    ring = started()
    filled(ring, 2, 1)
    ring.force(LONG, qty)
    ring.hear(99)
    oldest_first = [(2, 10 - min(qty, 10)), (1, 20 - max(qty, 10))]
    assert [(lot.level, lot.qty_lots) for lot in ring.lots(LONG)] == [pair for pair in oldest_first if pair[1]]
    ring.calm()
    check_at_rest(ring)


def test_a_partly_filled_entry_gets_its_exits_at_once() -> None:
    """Every part of an entry is a lot with a take-profit and a stop of its own quantity."""
    ring = started()
    ring.fill(entry(ring), 3)
    ring.hear(99)
    assert [request.qty_lots for request in requests(ring, "sent", Purpose.TAKE_PROFIT)] == [3]
    assert [request.qty_lots for request in requests(ring, "sent", Purpose.STOP)] == [3]
    ring.fill(entry(ring), 7)
    ring.hear(99)
    ring.calm()
    check_at_rest(ring)


def test_a_fill_after_the_cancel_of_its_entry_becomes_a_lot_with_its_own_exits() -> None:
    """The order is forgotten, but not what it was sent with: a later grid does not move the exits."""
    ring = started()
    name = entry(ring, level=2)
    request = ring.orders[name].request
    ring.say(name, OrderEventKind.CANCELLED)
    ring.hear(1)
    assert ring.strategy._names.numbers.get(name) is None
    ring.tables.state.step_micro *= 3
    ring.fill(name, 10)
    ring.hear(99)
    (lot,) = ring.lots(LONG)
    step = request.step_micro // 1_000_000
    assert (lot.tp_ticks, lot.stop_ticks) == (request.price_ticks + step, request.price_ticks - 6 * step)
    assert (lot.level, lot.generation) == (2, request.generation)
    ring.calm()
    check_at_rest(ring)


def test_a_late_fill_of_a_stranger_is_a_lot_too() -> None:
    """A restarted strategy knows nothing of the order: the present grid gives the lot its exits."""
    ring = started()
    name = entry(ring, level=2)
    ring.say(name, OrderEventKind.CANCELLED)
    ring.hear(1)
    place, ring.orders[name].where = ring.orders[name], "ended"
    ring.restart()
    place.where = "live"
    ring.fill(name, 10)
    ring.hear(99)
    assert [lot.qty_lots for lot in ring.lots(LONG)] == [10]
    ring.calm()
    check_at_rest(ring)
