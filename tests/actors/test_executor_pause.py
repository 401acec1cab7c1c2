"""The executor in a pause: what may leave, and what may not.

Invariant: outcomes are what the venue was asked for and what risk was told.
"""

from collections import deque
from pathlib import Path

import attrs
import pytest

from hedgegrid.messages.events import EndReason
from hedgegrid.messages.events import OrderEventKind as K
from hedgegrid.model.order import Purpose
from hedgegrid.runtime.fence import Fence
from tests.actors.desk import REAL, Desk, desk
from tests.actors.fake_venue import HANG


def placed(at: Desk) -> list[str]:
    """Every order that the venue was asked for."""
    return [name for asked in at.venue.called("place") for name in asked[1]]  # type: ignore[index]


@pytest.mark.asyncio
async def test_what_was_approved_before_a_pause_is_not_sent_in_it(tmp_path: Path) -> None:
    """An entry that waits behind a slow request when trading pauses never leaves; a reduction does; then it goes on."""
    async with desk(tmp_path) as at:
        await at.held()
        before = placed(at)
        at.venue.faults["place"] = deque([HANG])
        first, second, third = at.request(), at.request(), at.request()
        exit_order = at.request(Purpose.TAKE_PROFIT)
        at.approve(first)
        await at.rest()
        at.approve(second, exit_order)
        at.permit(may_add=False)
        await at.wait(5)
        assert placed(at) == [*before, first.client_id, exit_order.client_id]
        assert [(one.kind, one.reason) for one in at.events() if one.client_id == second.client_id] == [
            (K.REJECTED, EndReason.NOT_SENT)
        ]
        at.permit(may_add=True)
        at.approve(third)
        await at.rest()
        assert placed(at)[-1] == third.client_id


@pytest.mark.asyncio
async def test_a_pause_of_the_very_moment_is_heard(tmp_path: Path) -> None:
    """Risk pauses while a batch's cancel leaves: the entry beside it stays, though no mailbox was read since."""
    async with desk(tmp_path) as at:
        await at.held()
        old = at.request(level=3)
        await at.resting(old)
        before = placed(at)
        at.venue.hooks["cancel"] = lambda: at.permit(may_add=False)
        entry, exit_order = at.request(), at.request(Purpose.TAKE_PROFIT)
        at.approve(entry, exit_order, cancels=(old.client_id,))
        await at.rest()
        assert placed(at) == [*before, exit_order.client_id]


@pytest.mark.asyncio
@pytest.mark.parametrize("may_add", [True, False])
async def test_an_entry_is_not_amended_in_a_pause(may_add: bool, tmp_path: Path) -> None:
    """Another quantity is asked for only where an entry could be sent as well."""
    async with desk(tmp_path) as at:
        entry = at.request()
        await at.resting(entry)
        at.permit(may_add=may_add)
        at.approve(amends=(attrs.evolve(entry, qty_lots=20),))
        await at.rest()
        assert bool(at.venue.called("amend")) == may_add


@pytest.mark.asyncio
async def test_nothing_that_adds_is_sent_behind_the_fence(tmp_path: Path) -> None:
    """While the watchdog's fence is up, whatever the permission says: no entry leaves, an exit does."""
    fence = Fence()
    async with desk(tmp_path, attrs.evolve(REAL, fence=fence)) as at:
        await at.held()
        before = placed(at)
        entry, exit_order, later = at.request(), at.request(Purpose.TAKE_PROFIT), at.request()
        fence.put_up("the executor is silent")
        at.approve(entry, exit_order)
        await at.rest()
        assert placed(at) == [*before, exit_order.client_id]
        fence.take_down()
        at.approve(later)
        await at.rest()
        assert placed(at) == [*before, exit_order.client_id, later.client_id]
