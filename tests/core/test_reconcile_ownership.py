"""Reconciliation: whose an order, a fill and a position are, and which of our orders have to go."""

from collections.abc import Iterable
from typing import Any

import attrs
import pytest

from hedgegrid.core.client_id import client_id
from hedgegrid.core.order_state import OrderRecord, OrderState
from hedgegrid.core.reconcile import reconcile
from hedgegrid.core.reconcile_orders import Judged, judged
from hedgegrid.core.reconcile_views import CancelWhy, DifferenceKind, Plan, held
from hedgegrid.model.account import Position
from hedgegrid.model.order import Leg, OpenOrder, Purpose
from tests.core.reconcile_cases import (
    AT_ONCE,
    BTC,
    CAREFUL,
    NOW_NS,
    fill,
    local,
    lots,
    name,
    order,
    settled,
    shown,
    venue,
)

S = OrderState


def test_our_orders_that_the_journal_lost_are_adopted() -> None:
    """An order under our id explains itself: leg, purpose and level come back, with its fills old and new."""
    lost = order(7, level=5, client_id=name(7, level=5))
    seen = venue(shown(lost, filled_lots=6), fills=(fill(lost, 1, 2),), positions=(lots(6),))
    plan, view = settled(local(positions=(lots(4),)), seen)
    (record,) = view.orders
    assert plan.agreed
    assert (record.level, record.generation, record.state, record.filled_lots) == (5, -1, S.PARTIAL, 6)
    assert (record.purpose, record.leg, record.price_ticks) == (Purpose.ENTRY, Leg.LONG, 1_000)


def test_our_fills_of_orders_that_nobody_knows_are_ours() -> None:
    """A journal that lost an intent still gets the position that came of it, and an order to hang it on."""
    lost = order(7)
    plan, view = settled(local(), venue(fills=(fill(lost, 1, 2), fill(lost, 2, 3)), positions=(lots(5),)))
    assert plan.agreed
    assert [(one.state, one.filled_lots, one.qty_lots) for one in view.orders] == [(S.FILLED, 5, 5)]


def test_another_accounts_orders_are_foreign() -> None:
    """Orders and fills of others are reported and counted, never cancelled, and their position is kept apart."""
    theirs = order(1, client_id="web_8fK2")
    other = order(
        2, client_id=client_id(account="other", epoch=1, leg=Leg.LONG, purpose=Purpose.ENTRY, level=3, sequence=1)
    )
    seen = venue(shown(theirs), shown(other), fills=(fill(theirs, 1, 4),), positions=(lots(9),))
    plan, view = settled(local(positions=(lots(3),), foreign=(lots(2),)), seen)
    assert plan.agreed
    assert [one.client_id for one in plan.foreign_orders] == [theirs.client_id, other.client_id]
    assert [one.trade_id for one in plan.foreign_fills] == [1]
    assert (plan.cancels, view.orders, view.positions, view.foreign) == ((), (), (lots(3),), (lots(6),))


def test_at_the_first_boot_what_is_not_ours_is_foreign() -> None:
    """A new account finds a position that somebody left: it is reported, and does not become ours."""
    plan, view = settled(local(foreign=None), venue(positions=held([position(5)])))
    assert plan.agreed
    assert (view.positions, view.foreign) == ((), (lots(5),))
    plan, _ = settled(view, venue(positions=(lots(4),)))
    assert [(one.kind, one.local_lots, one.venue_lots) for one in plan.differences] == [(DifferenceKind.POSITION, 5, 4)]


def test_at_the_first_boot_our_own_part_is_not_foreign() -> None:
    """Of nine lots that the exchange holds four are ours by the books: five are somebody else's."""
    plan, view = settled(local(positions=(lots(4),), foreign=None), venue(positions=(lots(9),)))
    assert plan.agreed
    assert (view.positions, view.foreign) == ((lots(4),), (lots(5),))


def test_somebody_who_closes_our_position_is_a_difference() -> None:
    """A manual order that reduced what was ours is not netted away: our exits would exceed the position."""
    theirs = order(1, client_id="web_8fK2", purpose=Purpose.FLATTEN)
    plan, _ = settled(local(positions=(lots(5),)), venue(fills=(fill(theirs, 1, 2),), positions=(lots(3),)))
    assert [(one.kind, one.local_lots, one.venue_lots) for one in plan.differences] == [
        (DifferenceKind.NEGATIVE, -2, 3)
    ]


def test_a_liquidation_closes_what_was_ours() -> None:
    """The exchange's forced orders carry its own ids, and their fills are ours all the same."""
    forced = order(1, client_id="autoclose-17", purpose=Purpose.LIQUIDATION)
    plan, view = settled(local(positions=(lots(5),)), venue(fills=(fill(forced, 1, 5),)))
    assert plan.agreed
    assert (view.positions, view.orders, plan.fills[0].event) == ((), (), None)


@pytest.mark.parametrize(
    ("closer", "lots_closed", "left"),
    [
        (order(1, purpose=Purpose.STOP, qty_lots=5), 5, 1),
        (order(1, client_id="adl_autoclose", purpose=Purpose.LIQUIDATION), 6, 0),
    ],
    ids=["a stop of ours", "a forced close"],
)
def test_what_closes_more_than_ours_took_of_theirs(closer: OrderRecord, lots_closed: int, left: int) -> None:
    """Four are ours, two another's: what takes more than four leaves nothing of ours, and less of theirs."""
    records = (closer,) if closer.purpose is Purpose.STOP else ()
    shared = local(*records, positions=(lots(4),), foreign=(lots(2),))
    told = fill(closer, 1, lots_closed)
    plan, view = settled(shared, venue(fills=(told,), positions=(lots(left),) if left else ()))
    assert plan.agreed
    assert (view.positions, view.foreign) == ((), (lots(left),) if left else ())
    again, _ = settled(view, venue(fills=(told,), positions=(lots(left),) if left else ()))
    assert again.is_empty


def test_what_took_of_theirs_waits_for_a_reading_that_shows_it() -> None:
    """Positions that lag behind the fills: neither part moves, and the later fills of that leg wait with it."""
    stop, entry = order(1, purpose=Purpose.STOP, qty_lots=5), order(2)
    shared = local(stop, entry, positions=(lots(4),), foreign=(lots(2),))
    fills = (fill(stop, 1, 5), fill(entry, 2, 10))
    plan = reconcile(shared, venue(fills=fills, positions=(lots(6),)), AT_ONCE)
    assert not plan.agreed
    assert (plan.fills, plan.foreign) == ((), (lots(2),))
    plan, view = settled(shared, venue(fills=fills, positions=(lots(11),)))
    assert plan.agreed
    assert (view.positions, view.foreign) == ((lots(10),), (lots(1),))


def test_what_closes_ours_to_the_last_lot_does_not_wait() -> None:
    """It took nothing of theirs: it is booked, though another leg does not agree."""
    stop = order(1, purpose=Purpose.STOP, qty_lots=5)
    told = fill(stop, 1, 5)
    shared = local(stop, positions=(lots(5),), foreign=(lots(2),))
    plan = reconcile(shared, venue(fills=(told,), positions=(lots(2), lots(7, leg=Leg.SHORT))), AT_ONCE)
    assert not plan.agreed
    assert [one.fill for one in plan.fills] == [told]


def test_at_the_first_reading_nothing_is_netted_with_what_others_hold() -> None:
    """Nobody knows yet what is theirs: more closed than we held is a difference, not a part of theirs."""
    stop = order(1, purpose=Purpose.STOP, qty_lots=5)
    plan, _ = settled(local(stop, positions=(lots(2),), foreign=None), venue(fills=(fill(stop, 1, 5),)))
    assert [one.kind for one in plan.differences] == [DifferenceKind.NEGATIVE]


def test_more_than_both_parts_is_a_difference() -> None:
    """Nobody holds what was closed: the books miss something, and nothing is netted away."""
    stop = order(1, purpose=Purpose.STOP, qty_lots=5)
    plan, _ = settled(local(stop, positions=(lots(2),), foreign=(lots(2),)), venue(fills=(fill(stop, 1, 5),)))
    assert [one.kind for one in plan.differences] == [DifferenceKind.POSITION, DifferenceKind.NEGATIVE]


def position(qty_lots: int) -> Position:
    """A LONG position as a venue gives it."""
    return Position(instrument=BTC, leg=Leg.LONG, qty_lots=qty_lots, cost_e8=1)


def cancelled(plan: Plan) -> list[tuple[str, CancelWhy]]:
    """Ids and reasons of the planned cancels."""
    return [(one.client_id, one.why) for one in plan.cancels]


def book(records: Iterable[OrderRecord]) -> tuple[OpenOrder, ...]:
    """The open list that shows these orders."""
    return tuple(shown(record) for record in records)


def test_of_two_entries_on_a_rung_the_older_stays() -> None:
    """A rung never has two live orders: the newer one goes, other rungs and generations stay."""
    old, new = order(1), order(2)
    others = [order(3, level=4), order(4, generation=2), order(5, leg=Leg.SHORT)]
    plan, _ = settled(local(new, old, *others), venue(*book([new, old, *others])))
    assert cancelled(plan) == [(new.client_id, CancelWhy.DUPLICATE)]


def test_an_entry_that_the_exchange_shows_stays_before_one_that_nobody_saw() -> None:
    """An UNKNOWN entry yields its rung to one that is known to work, and is asked to go."""
    unseen, seen = order(1, state=S.UNKNOWN), order(2)
    plan, _ = settled(local(unseen, seen), venue(shown(seen)), CAREFUL)
    assert cancelled(plan) == [(unseen.client_id, CancelWhy.DUPLICATE)]


def test_an_adopted_entry_yields_to_the_known_one_of_its_level() -> None:
    """The id does not tell the generation: beside a known entry it is a second or an old one, alone it stays."""
    adopted, known = order(1), order(2)
    plan, _ = settled(local(known), venue(*book([adopted, known])))
    assert cancelled(plan) == [(adopted.client_id, CancelWhy.DUPLICATE)]
    plan, _ = settled(local(), venue(shown(adopted)))
    assert cancelled(plan) == []


def test_a_cancel_in_flight_is_not_sent_again() -> None:
    """Of two entries the one being cancelled is the one that goes, without a second cancel."""
    leaving, staying = order(1, state=S.CANCELLING, ts_ns=NOW_NS), order(2)
    plan, _ = settled(local(leaving, staying), venue(*book([leaving, staying])), CAREFUL)
    assert cancelled(plan) == []


def test_exits_of_nothing_are_orphans() -> None:
    """An exit that outlived its position would open the other way: it goes; entries and the backstop stay."""
    exits = [
        order(1, purpose=Purpose.TAKE_PROFIT, client_id=name(1, purpose=Purpose.TAKE_PROFIT)),
        order(2, purpose=Purpose.STOP, client_id=name(2, purpose=Purpose.STOP)),
    ]
    kept = [order(3), order(4, purpose=Purpose.BACKSTOP, close_all=True, qty_lots=0, level=-1)]
    records = [*exits, *kept]
    plan, _ = settled(local(*records), venue(*book(records)))
    assert cancelled(plan) == [(one.client_id, CancelWhy.ORPHAN) for one in exits]
    plan, _ = settled(local(*records, positions=(lots(10),)), venue(*book(records), positions=(lots(10),)))
    assert cancelled(plan) == []
    plan, _ = settled(local(*records), venue(*book(records), positions=(lots(10),)))
    assert cancelled(plan) == []
    assert not plan.agreed


def test_exits_of_closed_lots_are_orphans() -> None:
    """An exit whose lots are all closed goes though the leg has a position; one lot that is open keeps it."""
    gone = order(1, purpose=Purpose.STOP, lot_ids=(1, 2))
    half = order(2, purpose=Purpose.STOP, lot_ids=(2, 3))
    whole = order(3, purpose=Purpose.STOP)
    view = local(gone, half, whole, positions=(lots(10),))
    seen = venue(stop_orders=book([gone, half, whole]), positions=(lots(10),))
    plan, _ = settled(attrs.evolve(view, open_lot_ids=frozenset({3})), seen)
    assert cancelled(plan) == [(gone.client_id, CancelWhy.ORPHAN)]
    plan, _ = settled(view, seen)
    assert cancelled(plan) == []


def test_an_order_that_we_know_is_ours_whatever_its_name() -> None:
    """Adopted under its own id, it is no foreign order any more, and its fills move our part of the leg."""
    taken = order(1, client_id="web_8fK2")
    theirs, mine = order(2, client_id="web_9aB3", level=4), order(3, level=5)
    seen = venue(*book([taken, theirs, mine]), fills=(fill(taken, 1, 4),), positions=(lots(4),))
    seen = attrs.evolve(seen, limit_orders=(attrs.evolve(seen.limit_orders[0], filled_lots=4), *seen.limit_orders[1:]))
    plan, view = settled(local(taken, mine), seen)
    assert plan.agreed
    assert [one.client_id for one in plan.foreign_orders] == [theirs.client_id]
    assert (plan.foreign_fills, view.foreign, view.positions) == ((), (), (lots(4),))
    assert view.orders[0].filled_lots == 4


def test_entries_of_no_rung_are_no_duplicates() -> None:
    """What was adopted beside the grid stands on no rung: any number of them may."""
    records = [order(number, level=-1, client_id=f"web_{number}") for number in (1, 2)]
    plan, _ = settled(local(*records), venue(*book(records)))
    assert cancelled(plan) == []


def test_an_entry_that_ended_takes_no_rung() -> None:
    """Its successor has been sent and is not shown yet: it is nobody's second order."""
    ended, sent = order(1, state=S.CANCELLED), order(2, state=S.SENT, ts_ns=NOW_NS)
    plan, _ = settled(local(ended, sent), venue(), CAREFUL)
    assert cancelled(plan) == []


def test_an_entry_that_ended_and_is_still_shown_takes_no_rung() -> None:
    """It is taken away, and the younger one on its rung stays."""
    ended, working = order(1, state=S.CANCELLED), order(2)
    plan, _ = settled(local(ended, working), venue(*book([ended, working])))
    assert [(one.client_id, one.why) for one in plan.cancels] == [(ended.client_id, CancelWhy.ENDED)]


def test_what_has_ended_and_is_not_shown_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading costs what lives, not what there ever was: of the others no order is looked at again."""
    looked: list[str] = []

    def judge(**given: Any) -> Judged:
        looked.append(given["record"].client_id)
        return judged(**given)

    monkeypatch.setattr("hedgegrid.core.reconcile.judged", judge)
    gone, back, working = order(1, state=S.FILLED), order(2, state=S.CANCELLED, level=4), order(3, level=5)
    reconcile(local(gone, back, working), venue(*book([back, working])), AT_ONCE)
    assert looked == [back.client_id, working.client_id]


def test_an_orphan_that_is_going_is_not_cancelled_again() -> None:
    """One cancel in flight is enough; and a stop that closes whatever there is protects entries to come."""
    going = order(1, purpose=Purpose.STOP, state=S.CANCELLING, ts_ns=NOW_NS)
    whole = order(2, purpose=Purpose.STOP, close_all=True, qty_lots=0, level=-1)
    plan, _ = settled(local(going, whole), venue(stop_orders=book([going, whole])), CAREFUL)
    assert cancelled(plan) == []


def test_an_exit_that_ended_here_and_lives_there_is_cancelled_once() -> None:
    """It is an orphan too, but one request takes it away."""
    ended = order(1, purpose=Purpose.STOP, state=S.CANCELLED)
    plan, _ = settled(local(ended), venue(stop_orders=book([ended])))
    assert cancelled(plan) == [(ended.client_id, CancelWhy.ENDED)]
