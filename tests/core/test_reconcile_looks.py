"""Evidence of single orders: what the exchange says of an order that it was asked for, beside its lists.

Invariants: an answer of the exchange is worth more than the silence of a list; silence needs time, reads and the
exchange's own "I do not know it".
"""

import attrs
import pytest

from hedgegrid.core.order_state import OrderState
from hedgegrid.core.reconcile import applied, reconcile
from hedgegrid.core.reconcile_views import CancelWhy, DifferenceKind, Found, LocalView, Looked
from tests.core.reconcile_cases import CAREFUL, fill, local, lots, name, order, settled, shown, venue

S = OrderState
LOOKING = attrs.evolve(CAREFUL, needs_look=True)


def look(found: Found, *, sequence: int = 1, filled: int = 0, end: str = "") -> Looked:
    """An answer."""
    return Looked(client_id=name(sequence), found=found, read_ns=9_999, filled_lots=filled, end=end)


def after(view: LocalView, *looks: Looked, read_ns: int, **seen: object) -> LocalView:
    """What is believed after a reading with these answers."""
    plan = reconcile(view, venue(read_ns=read_ns, looks=looks, **seen), LOOKING)
    return applied(view, plan)


def test_an_end_in_the_exchange_s_own_words_needs_no_wait() -> None:
    """Asked for by its id it says cancelled: that is evidence, not silence."""
    mine = order(state=S.UNKNOWN, ts_ns=9_500)
    plan, view = settled(local(mine), venue(looks=(look(Found.ENDED, end="cancelled"),)), LOOKING)
    assert view.orders[0].state is S.CANCELLED
    assert "cancelled" in view.orders[0].cause
    assert plan.unresolved == ()


def test_an_end_with_fills_that_are_not_here_is_no_end_yet() -> None:
    """The answer counts fills that no list shows: both sides do not agree, and the order stays where it is."""
    mine = order(state=S.UNKNOWN)
    plan = reconcile(local(mine), venue(looks=(look(Found.ENDED, filled=4, end="cancelled"),)), LOOKING)
    assert [one.kind for one in plan.differences] == [DifferenceKind.FILLED]
    assert plan.unresolved == (mine.client_id,)
    seen = venue(looks=(look(Found.ENDED, filled=4, end="cancelled"),), fills=(fill(mine, 1, 4),), positions=(lots(4),))
    plan, view = settled(local(mine), seen, LOOKING)
    assert plan.agreed
    assert (view.orders[0].state, view.orders[0].filled_lots) == (S.CANCELLED, 4)


def test_an_answer_that_knows_less_than_we_do_is_old() -> None:
    """Fewer fills than we have heard of: the answer is older than the stream, and ends nothing."""
    mine = order(state=S.UNKNOWN, filled_lots=5)
    plan = reconcile(
        local(mine, positions=(lots(5),)), venue(looks=(look(Found.ENDED, filled=2),), positions=(lots(5),)), LOOKING
    )
    assert (plan.marks, plan.unresolved, plan.agreed) == ((), (mine.client_id,), True)


def test_open_by_its_id_is_alive_though_no_list_shows_it() -> None:
    """A list that lags buries nobody."""
    mine = order(state=S.UNKNOWN)
    _, view = settled(local(mine), venue(looks=(look(Found.OPEN),)), LOOKING)
    assert view.orders[0].state is S.WORKING


@pytest.mark.parametrize("asked", [True, False], ids=["asked", "not asked"])
def test_silence_counts_only_where_the_exchange_was_asked(asked: bool) -> None:
    """Three readings without the order: dead where each was asked and knew nothing, in doubt where none was."""
    view = local(order(state=S.UNKNOWN))
    for read in range(3):
        answers = (look(Found.UNKNOWN_ID),) if asked else ()
        view = after(view, *answers, read_ns=10_000 + 500 * read)
    assert view.orders[0].state is (S.CANCELLED if asked else S.UNKNOWN)


def test_a_list_that_lags_behind_an_end_asks_for_no_cancel() -> None:
    """The word of the end is younger than a request's validity: the next reading tells, nothing is sent for it."""
    young, old = order(1, state=S.CANCELLED, ts_ns=9_500), order(2, state=S.CANCELLED, level=4)
    plan = reconcile(local(young, old), venue(shown(young), shown(old)), LOOKING)
    assert [(one.client_id, one.why) for one in plan.cancels] == [(old.client_id, CancelWhy.ENDED)]
    assert plan.unresolved == (young.client_id,)
    assert [one.client_id for one in plan.differences] == [old.client_id]


def test_a_cancel_that_did_not_take_is_seen_once_it_cannot_take_any_more() -> None:
    """While its request may still arrive the order stays CANCELLING; after that it is alive again."""
    young = order(state=S.CANCELLING, ts_ns=9_500)
    plan, view = settled(local(young), venue(looks=(look(Found.OPEN),)), LOOKING)
    assert (view.orders[0].state, plan.unresolved) == (S.CANCELLING, (young.client_id,))
    _, view = settled(local(order(state=S.CANCELLING)), venue(looks=(look(Found.OPEN),)), LOOKING)
    assert view.orders[0].state is S.WORKING
