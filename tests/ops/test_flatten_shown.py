"""What is shown of a flatten: FLAT means every leg that a person wants closed, and no fewer."""

from hedgegrid.messages import commands, events
from hedgegrid.model.order import Leg
from hedgegrid.ops.control import FlattenStage
from tests.ops.telling import Account


def test_a_leg_that_was_asked_for_since_is_not_flat_by_the_first_ones_word() -> None:
    """`flatten --wait` must not end while the second leg is still held."""
    account = Account()
    for legs in ((Leg.LONG,), (Leg.SHORT,)):
        account.publish(commands.Flatten, legs=legs, mark_ticks=0)
    account.publish(events.FlatConfirmed, legs=(Leg.LONG,), foreign=())
    shown = account.view.flatten
    assert (shown.stage, shown.legs) == (FlattenStage.UNDER_WAY, (Leg.LONG, Leg.SHORT))
    account.publish(events.FlatConfirmed, legs=(Leg.LONG, Leg.SHORT), foreign=())
    assert account.view.flatten.stage is FlattenStage.FLAT
