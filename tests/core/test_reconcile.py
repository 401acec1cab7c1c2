"""Reconciliation: both sides agree or the difference is named; no fill twice, nothing dead without evidence."""

from collections import Counter

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core.order_state import LifeEventKind, OrderState, is_terminal
from hedgegrid.core.reconcile import applied, reconcile
from hedgegrid.core.reconcile_views import (
    CancelWhy,
    Difference,
    DifferenceKind,
    EvidenceRule,
    LocalView,
    VenueView,
    fill_key,
)
from hedgegrid.model.order import Leg, Purpose
from tests.core.reconcile_cases import (
    AT_ONCE,
    BTC,
    CAREFUL,
    NOW_NS,
    fill,
    leg_lots,
    local,
    lots,
    name,
    order,
    settled,
    shown,
    states,
    venue,
    worlds,
)

S = OrderState


@given(worlds(), st.sampled_from([AT_ONCE, CAREFUL]))
def test_after_reconciling_we_hold_what_the_exchange_holds(
    world: tuple[LocalView, VenueView, Counter[tuple[str, Leg]]], rule: EvidenceRule
) -> None:
    """Law 3 and 6: every missed fill is applied once, in order of time, and the positions agree."""
    before, seen, truth = world
    plan, after = settled(before, seen, rule)
    assert plan.agreed, plan.differences
    assert after.positions == leg_lots(truth)
    keys = [fill_key(one.fill) for one in plan.fills]
    assert len(keys) == len(set(keys))
    assert not before.applied.intersection(keys)
    assert after.applied == {fill_key(one) for one in seen.fills}
    assert [one.fill.ts_ns for one in plan.fills] == sorted(one.fill.ts_ns for one in plan.fills)
    counted = Counter[str]()
    for one in {fill_key(one): one for one in seen.fills}.values():
        counted[one.client_id] += one.qty_lots
    listed = {one.client_id for one in (*seen.limit_orders, *seen.stop_orders)}
    for record in after.orders:
        assert record.filled_lots == counted[record.client_id]
        if record.client_id in listed:
            assert not is_terminal(record.state)
        elif rule is AT_ONCE:
            assert is_terminal(record.state)
        else:
            assert is_terminal(record.state) == (record.filled_lots == record.qty_lots)
    assert {record.client_id for record in after.orders} >= listed


@given(worlds(), st.sampled_from(Leg), st.integers(-400, 400).filter(bool))
def test_a_position_that_the_fills_do_not_explain_is_a_difference(
    world: tuple[LocalView, VenueView, Counter[tuple[str, Leg]]], leg: Leg, off_lots: int
) -> None:
    """Law 3: sums agree, or the plan says that they do not, with both figures."""
    before, seen, truth = world
    told = truth.copy()
    told[BTC, leg] += off_lots
    plan = reconcile(before, attrs.evolve(seen, positions=leg_lots(told)), AT_ONCE)
    assert not plan.agreed
    assert plan.differences == (
        Difference(
            kind=DifferenceKind.POSITION,
            instrument=BTC,
            leg=leg,
            client_id="",
            local_lots=truth[BTC, leg],
            venue_lots=truth[BTC, leg] + off_lots,
        ),
    )


@given(worlds(), st.lists(st.integers(0, 700), min_size=1, max_size=8))
def test_silence_kills_only_by_the_rule_of_evidence(
    world: tuple[LocalView, VenueView, Counter[tuple[str, Leg]]], steps_ns: list[int]
) -> None:
    """Law 4: an order that no list shows is dead after three reads that lie apart, and not one read sooner."""
    view, seen, _ = world
    seen = attrs.evolve(seen, limit_orders=(), stop_orders=())
    read_ns, counted, last_ns = NOW_NS, 1, NOW_NS
    for step_ns in (0, *steps_ns):
        read_ns += step_ns
        if read_ns - last_ns >= 500:
            counted, last_ns = counted + 1, read_ns
        plan = reconcile(view, attrs.evolve(seen, read_ns=read_ns), CAREFUL)
        view = applied(view, plan)
        unproven = {record.state for record in view.orders if record.state is not S.FILLED}
        assert unproven <= {S.UNKNOWN if counted < 3 else S.CANCELLED}
        assert set(plan.unresolved) == {one.client_id for one in view.orders if not is_terminal(one.state)}


@given(worlds(), st.sampled_from([AT_ONCE, CAREFUL]), st.integers(0, 5_000))
def test_a_reading_that_changes_nothing_changes_nothing_later(
    world: tuple[LocalView, VenueView, Counter[tuple[str, Leg]]], rule: EvidenceRule, later_ns: int
) -> None:
    """What makes a plan empty is no matter of time: the same reading again may be passed over."""
    before, seen, _ = world
    _, after = settled(before, attrs.evolve(seen, read_ns=NOW_NS + 5_000), rule)
    seen = attrs.evolve(seen, read_ns=NOW_NS + 5_000, fills=())
    plan = reconcile(after, seen, rule)
    later = reconcile(after, attrs.evolve(seen, read_ns=seen.read_ns + later_ns), rule)
    assert plan == later or not plan.is_empty
    listed = {one.client_id for one in (*seen.limit_orders, *seen.stop_orders)}
    silent = [one for one in after.orders if not is_terminal(one.state) and one.client_id not in listed]
    assert not (silent and plan.is_empty), "an order that nobody shows is waited for"


@pytest.mark.parametrize(
    ("state", "after"),
    [
        (S.INTENT, S.WORKING),
        (S.SENT, S.WORKING),
        (S.WORKING, S.WORKING),
        (S.UNKNOWN, S.WORKING),
        (S.CANCELLING, S.WORKING),
    ],
)
def test_what_the_list_shows_is_working(state: OrderState, after: OrderState) -> None:
    """An order in the open list lives, whatever was last known of it; an old cancel had no effect."""
    mine = order(state=state)
    plan, view = settled(local(mine), venue(shown(mine)))
    assert states(view) == {mine.client_id: after}
    assert (plan.unresolved, plan.cancels, plan.agreed) == ((), (), True)


def test_a_cancel_in_flight_is_waited_for() -> None:
    """A cancel that may still arrive leaves its order cancelling: the read is repeated, nothing is concluded."""
    mine = order(state=S.CANCELLING, ts_ns=NOW_NS - 1_000)
    plan, view = settled(local(mine), venue(shown(mine)), CAREFUL)
    assert states(view) == {mine.client_id: S.CANCELLING}
    assert plan.unresolved == (mine.client_id,)


def test_a_request_in_flight_is_not_judged_by_its_absence() -> None:
    """A request within its validity may still arrive: absence says nothing yet, and its rung stays taken."""
    mine = order(state=S.SENT, ts_ns=NOW_NS - 1_000)
    plan, view = settled(local(mine), venue(), CAREFUL)
    assert states(view) == {mine.client_id: S.SENT}
    assert (plan.unresolved, plan.marks, plan.absences) == ((mine.client_id,), (), ())
    plan, view = settled(local(mine), venue(read_ns=NOW_NS + 1), CAREFUL)
    assert states(view) == {mine.client_id: S.UNKNOWN}


def test_an_order_that_comes_back_was_never_dead() -> None:
    """A read that lags makes the order UNKNOWN; when it is shown again the count of absences begins anew."""
    mine = order()
    _, view = settled(local(mine), venue(), CAREFUL)
    assert states(view) == {mine.client_id: S.UNKNOWN}
    _, view = settled(view, venue(read_ns=NOW_NS + 500), CAREFUL)
    assert view.absences[0].reads == 2
    _, view = settled(view, venue(shown(mine), read_ns=NOW_NS + 1_000), CAREFUL)
    assert (states(view), view.absences) == ({mine.client_id: S.WORKING}, ())


def test_one_read_counts_once() -> None:
    """The same read looked at twice is one absence, also where no interval is asked for."""
    twice = EvidenceRule(validity_ns=0, absences_min=2, interval_ns=0)
    _, view = settled(local(order()), venue(), twice)
    assert view.absences[0].reads == 1
    _, view = settled(view, venue(read_ns=NOW_NS + 1), twice)
    assert states(view) == {name(1): S.CANCELLED}


def test_death_tells_its_evidence() -> None:
    """What ends an order without a word of the exchange says why, for the journal."""
    mine = order(state=S.UNKNOWN, filled_lots=2)
    plan, view = settled(local(mine), venue(fills=(fill(mine, 1, 3),), positions=(lots(3),)))
    assert [mark.event.kind for mark in plan.marks] == [LifeEventKind.FOUND_DEAD]
    assert view.orders[0].cause == f"in neither open list, 1 reads, last at {NOW_NS}"
    assert (view.orders[0].state, view.orders[0].filled_lots) == (S.CANCELLED, 5)


def test_a_fill_after_the_end_is_applied() -> None:
    """Law 6: an ended order takes its late fill, and stays ended."""
    mine = order(state=S.CANCELLED)
    plan, view = settled(local(mine), venue(fills=(fill(mine, 1, 4),), positions=(lots(4),)))
    assert plan.agreed
    assert (view.orders[0].state, view.orders[0].filled_lots) == (S.CANCELLED, 4)


def test_an_order_that_ended_here_and_lives_there_is_cancelled() -> None:
    """An order that we hold for dead and the exchange shows is taken away, and until then the sides do not agree."""
    mine = order(state=S.CANCELLED)
    plan, _ = settled(local(mine), venue(shown(mine)))
    assert [(one.client_id, one.why) for one in plan.cancels] == [(mine.client_id, CancelWhy.ENDED)]
    assert [one.kind for one in plan.differences] == [DifferenceKind.ENDED_BUT_OPEN]
    full = order(state=S.FILLED, filled_lots=10)
    plan, _ = settled(local(full), venue(shown(full)))
    assert (plan.cancels, plan.agreed) == ((), False)


def test_fills_that_the_list_counts_and_nobody_shows_are_a_difference() -> None:
    """A fill list that lags behind the open list is not taken for the truth."""
    mine = order()
    plan, _ = settled(local(mine), venue(shown(mine, filled_lots=2)))
    (difference,) = plan.differences
    assert (difference.kind, difference.local_lots, difference.venue_lots) == (DifferenceKind.FILLED, 0, 2)


def test_an_amendment_that_was_missed_is_taken_over() -> None:
    """What rests is what the exchange shows: a stop that shrank counts with what is left of it."""
    mine = order(purpose=Purpose.STOP, state=S.PARTIAL, filled_lots=3)
    plan, view = settled(
        local(mine, positions=(lots(5),)), venue(stop_orders=(shown(mine, qty_lots=5),), positions=(lots(5),))
    )
    assert plan.agreed
    assert (view.orders[0].qty_lots, view.orders[0].remaining_lots) == (5, 2)


def test_an_overfill_moves_the_leg_and_is_named() -> None:
    """The position is what was traded, even where the order cannot have traded it."""
    mine = order(state=S.PARTIAL, filled_lots=8)
    seen = venue(shown(mine), fills=(fill(mine, 1, 3),), positions=(lots(11),))
    plan = reconcile(local(mine, positions=(lots(8),)), seen, AT_ONCE)
    assert [(one.kind, one.local_lots, one.venue_lots) for one in plan.differences] == [
        (DifferenceKind.OVERFILLED, 8, 11)
    ]
    assert plan.fills[0].event is None
    assert applied(local(mine, positions=(lots(8),)), plan).positions == (lots(11),)


def test_a_close_all_stop_that_is_gone_was_filled() -> None:
    """A backstop has no quantity: fills and its absence from the list together say that it is done."""
    mine = order(purpose=Purpose.BACKSTOP, close_all=True, qty_lots=0, level=-1)
    fills = (fill(mine, 1, 3), fill(mine, 2, 4))
    _, view = settled(local(mine, positions=(lots(7),)), venue(fills=fills))
    assert (view.orders[0].state, view.orders[0].filled_lots, view.positions) == (S.FILLED, 7, ())
