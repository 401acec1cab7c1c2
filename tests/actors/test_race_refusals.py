"""One refusal, silence or doubt a test: how a position comes to be protected all the same, and who is told."""

from hedgegrid.messages import events as e
from hedgegrid.messages.commands import CancelEntries
from hedgegrid.messages.events import EndReason, OrderEventKind
from hedgegrid.model.order import Kind, Purpose
from tests.actors.race_scenes import LONG, entry, filled, latched, one, requests, said, started
from tests.actors.racing import LIMITS, MS, Ring, run
from tests.actors.test_exit_race import check_at_rest


def test_a_stop_that_would_trigger_is_a_market_reduction_at_once() -> None:
    """The exchange says that the trigger has passed: nothing waits."""
    ring = started()
    ring.fill(entry(ring), 10)
    ring.hear(99)
    (stop,) = ring.named("sent", Purpose.STOP)
    ring.arrive(stop, EndReason.WOULD_TRIGGER)
    ring.hear(99)
    (request,) = requests(ring, "sent", Purpose.STOP)
    assert (request.kind, request.qty_lots) == (Kind.MARKET, 10)


def test_a_refused_stop_is_sent_again_with_pauses_and_then_reduced() -> None:
    """Three refusals with growing pauses between them, then the position is closed at the market."""
    ring = started()
    ring.fill(entry(ring), 10)
    ring.hear(99)
    kinds = []
    for _ in range(100):
        ring.wait(50)
        names = ring.named("sent", Purpose.STOP)
        if not names:
            continue
        kinds.append(ring.orders[names[0]].request.kind)
        if kinds[-1] is Kind.MARKET:
            break
        ring.arrive(names[0], EndReason.MARGIN)
        ring.hear(99)
        assert ring.named("sent", Purpose.STOP) == []
    assert kinds == [Kind.STOP_MARKET] * 4 + [Kind.MARKET]


def test_endless_refusals_call_a_person_and_never_become_a_flood() -> None:
    """However long the exchange refuses, the tries are bounded in number and time, and the pause is latched."""
    ring = started()
    ring.fill(entry(ring), 10)
    ring.hear(99)
    tries = 0
    for _ in range(600):
        for name in ring.named("sent", Purpose.STOP):
            tries += 1
            ring.arrive(name, EndReason.MARGIN)
        ring.hear(99)
        ring.wait(100)
    assert 15 <= tries <= 30
    assert latched(ring)


def test_a_refused_take_profit_waits_for_a_decision_after_some_tries() -> None:
    """Its lot has a stop: there is no market reduction for a missing take-profit."""
    ring = started()
    ring.fill(entry(ring), 10)
    ring.hear(99)
    tries = 0
    for _ in range(100):
        for name in ring.named("sent"):
            profit = ring.orders[name].request.purpose is Purpose.TAKE_PROFIT
            tries += profit
            ring.arrive(name, EndReason.REFUSED if profit else None)
        ring.hear(99)
        ring.wait(100)
    assert tries == 4
    assert ring.position[LONG] == 10
    ring.bar(0)
    ring.calm()
    check_at_rest(ring)


def test_refused_to_reduce_looks_again_instead_of_repeating() -> None:
    """The exchange refuses although our books say that there is a position: the books are read anew."""
    ring = started()
    filled(ring, 1)
    before = len(ring.rehydrations)
    stop = one(ring, Purpose.STOP, 1)
    ring.orders[stop].where = "ended"
    ring.say(stop, OrderEventKind.REJECTED, EndReason.REDUCE_REFUSED)
    ring.hear(99)
    assert len(ring.rehydrations) == before + 1
    ring.calm()
    check_at_rest(ring)


def test_a_refusal_that_our_own_fills_explain_is_no_question() -> None:
    """A merged stop triggers for two lots of which one is closed: the other is closed at the market, without a look."""
    ring = started(max_stop_orders=1)
    filled(ring, 1, 2)
    (stop,) = ring.named("live", Purpose.STOP)
    ring.fill(one(ring, Purpose.TAKE_PROFIT, 1), 10)
    ring.fill(stop, 20)
    ring.mark = 9_000
    before = len(ring.rehydrations)
    ring.hear(99)
    ring.wait(150)
    assert len(ring.rehydrations) == before
    (request,) = [one for one in requests(ring, "sent", Purpose.STOP) if one.kind is Kind.MARKET]
    assert request.qty_lots == 10


def test_take_profits_make_way_where_a_reduction_is_refused() -> None:
    """An exchange that counts resting exits refuses a reduction beside them: they go, then it is sent again."""
    ring = started()
    filled(ring, 1)
    profit, stop = one(ring, Purpose.TAKE_PROFIT, 1), one(ring, Purpose.STOP, 1)
    ring.mark = 9_000
    ring.orders[stop].where = "ended"
    ring.say(stop, OrderEventKind.REJECTED, EndReason.REDUCE_REFUSED)
    ring.hear(99)
    assert ring.orders[profit].cancels > 0
    ring.cancel_arrives(profit)
    ring.hear(99)
    ring.wait(200)
    assert requests(ring, "sent", Purpose.TAKE_PROFIT) == []
    (request,) = requests(ring, "sent", Purpose.STOP)
    assert request.kind is Kind.MARKET


def test_an_unacknowledged_stop_gets_an_overlapping_one_and_latches() -> None:
    """After max_unprotected a second stop under a new id replaces the silent one; the operator is called."""
    ring = started()
    ring.fill(entry(ring), 10)
    ring.hear(99)
    (first,) = ring.named("sent", Purpose.STOP)
    ring.wait(LIMITS.max_unprotected_ns // MS - 10)
    assert ring.named("sent", Purpose.STOP) == [first]
    assert not latched(ring)
    ring.wait(20)
    (second,) = [name for name in ring.named("sent", Purpose.STOP) if name != first]
    assert latched(ring)
    assert ring.retiring == {first: [second]}
    ring.calm()
    check_at_rest(ring)


def test_where_the_overlapping_stop_is_refused_the_position_is_closed_after_the_first_has_expired() -> None:
    """Not before the first request can no longer arrive: else both could close."""
    ring = started()
    ring.fill(entry(ring), 10)
    ring.hear(99)
    (first,) = ring.named("sent", Purpose.STOP)
    born_ns = ring.clock.now_ns()
    ring.lose(first, landed=False)
    ring.hear(99)
    markets: list[str] = []
    for _ in range(400):
        if markets:
            break
        for name in ring.named("sent", Purpose.STOP):
            if ring.orders[name].request.kind is Kind.MARKET:
                markets.append(name)
            else:
                ring.arrive(name, EndReason.MARGIN)
        ring.hear(99)
        ring.wait(50)
    assert markets
    assert ring.clock.now_ns() - born_ns >= LIMITS.validity_ns
    assert latched(ring)


def test_an_unknown_stop_protects_nothing_until_it_is_found() -> None:
    """Its acknowledgement is what ends the wait: time to protected runs to there."""
    ring = started()
    ring.fill(entry(ring), 10)
    ring.hear(99)
    land_others = [name for name in ring.named("sent") if ring.orders[name].request.purpose is not Purpose.STOP]
    for name in land_others:
        ring.arrive(name)
    (stop,) = ring.named("sent", Purpose.STOP)
    ring.lose(stop, landed=True)
    ring.hear(99)
    ring.wait(700)
    assert not [one for one in ring.told if isinstance(one, e.LotProtected)]
    ring.find(stop)
    ring.hear(99)
    (told,) = [one for one in ring.told if isinstance(one, e.LotProtected)]
    assert (told.leg, told.qty_lots, told.after_ns) == (LONG, 10, 700 * MS)
    ring.wait(10_000)
    assert not latched(ring)


def test_a_stop_in_doubt_protects_nothing_any_more() -> None:
    """A cancel that nobody asked for, or a lost answer: until the stop is found, its lot counts as bare."""
    ring = started()
    filled(ring, 1)
    stop = one(ring, Purpose.STOP, 1)
    ring.say(stop, OrderEventKind.UNKNOWN)
    ring.hear(99)
    ring.wait(LIMITS.max_unprotected_ns // MS + 10)
    assert len(ring.named("sent", Purpose.STOP)) == 1
    assert latched(ring)


def test_no_take_profit_is_asked_for_that_there_is_no_room_for() -> None:
    """While one that is too large is on its way out, another lot's waits; its end makes room for both."""
    ring = started()
    filled(ring, 1)
    profit = one(ring, Purpose.TAKE_PROFIT, 1)
    ring.fill(one(ring, Purpose.STOP, 1), 4)
    ring.hear(99)
    ring.fill(entry(ring, level=2), 10)
    ring.hear(99)
    for _ in range(5):
        ring.say(entry(ring, level=3), OrderEventKind.ACCEPTED)
        ring.hear(99)
    refused = [one for one in ring.told if isinstance(one, e.RefusedBatch)]
    assert len(refused) == 1
    ring.wait(200)
    ring.cancel_arrives(profit)
    ring.hear(99)
    assert sorted(request.qty_lots for request in requests(ring, "sent", Purpose.TAKE_PROFIT)) == [6, 10]


def test_take_profits_come_back_when_nothing_needs_their_room() -> None:
    """A market reduction was refused, but a stop stands by then: the lot gets its take-profit again."""
    ring = started()
    filled(ring, 1)
    ring.strategy._guard._book.crowded[LONG] = True  # type: ignore[union-attr]
    ring.bar(0)
    ring.calm()
    check_at_rest(ring)


def test_an_unanswered_cancel_of_an_excess_is_asked_for_again_in_time() -> None:
    """A take-profit beyond the position is cancelled at once, again after exit_excess, then ever more rarely."""
    ring = started()
    filled(ring, 1)
    profit = one(ring, Purpose.TAKE_PROFIT, 1)
    ring.fill(one(ring, Purpose.STOP, 1), 10)
    ring.hear(99)
    assert ring.orders[profit].cancels == 1
    ring.orders[profit].cancels = 0
    ring.wait(LIMITS.exit_excess_ns // MS - 10)
    assert ring.orders[profit].cancels == 0
    ring.wait(20)
    assert ring.orders[profit].cancels == 1
    assert said(ring, "not answered in its time")
    ring.wait(60 * LIMITS.exit_excess_ns // MS)
    assert 5 <= ring.orders[profit].cancels <= 10
    assert any("cancels of an exit" in one.why for one in ring.rehydrations)


def test_a_cancel_that_found_nothing_does_not_end_an_order() -> None:
    """Cancelled, or filled a moment before? The fill is booked when it comes; until then its rung is taken."""
    ring = started()
    name = entry(ring)
    ring.pause()
    ring.say(name, OrderEventKind.CANCEL_FAILED, EndReason.NOT_FOUND)
    ring.hear(1)
    assert name in ring.strategy._names.numbers
    ring.fill(name, 10)
    ring.hear(99)
    assert [lot.qty_lots for lot in ring.lots(LONG)] == [10]


def test_an_order_of_ours_that_nobody_knows_makes_it_look_again() -> None:
    """A read that missed an order on its way is made good when the order stands."""
    ring = started()
    ring.fill(entry(ring), 10)
    ring.hear(99)
    (stop,) = ring.named("sent", Purpose.STOP)
    ring.strategy._names._ids.pop(ring.strategy._names.numbers.pop(stop))
    before = len(ring.rehydrations)
    ring.arrive(stop)
    ring.hear(99)
    assert len(ring.rehydrations) == before + 1
    ring.calm()
    check_at_rest(ring)


def test_a_bar_that_closes_while_it_looks_again_is_seen_by_the_indicators() -> None:
    """Nothing is decided on it, but the averages have no hole."""
    ring = started()
    before = ring.tables.indicators.bars
    ring.strategy._hydrated = False
    ring.bar(3)
    assert ring.tables.indicators.bars == before + 1
    assert ring.strategy._last_bar_ns > 0


def test_an_entry_that_is_rejected_while_its_cancel_travels_frees_its_rung() -> None:
    """Sent, unwanted at once, then rejected as post-only: its cancel finds nothing, and the rung is offered again."""
    ring = Ring()
    ring.bar(0)
    (name,) = [
        name
        for name in ring.named("sent", Purpose.ENTRY)
        if (ring.orders[name].request.leg, ring.orders[name].request.level) == (LONG, 1)
    ]
    run(ring.strategy.handle(CancelEntries(**ring.post.head())))
    ring.settle()
    ring.arrive(name, EndReason.POST_ONLY)
    ring.hear(99)
    ring.calm()
    ring.bar(0)
    ring.calm()
    assert entry(ring) != name
