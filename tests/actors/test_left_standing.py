"""An actor that raised a pause and starts anew takes it back once its cause is gone: nobody else would, for ever.

Invariant: what is asked is the account's last mode, by the journal.
"""

from pathlib import Path
from typing import Any

import pytest

from hedgegrid.actors.post import RISK, WATCHDOG
from hedgegrid.app import House
from hedgegrid.core.pause import Reason
from hedgegrid.messages.commands import RaiseReason
from hedgegrid.messages.events import BarClosed
from tests.actors.house import BTC, STRATEGY, Script, boot, changes, last_mode, market, settings

RAISED: dict[str, tuple[Reason, str, str]] = {
    "stale market": (Reason.FEED_STALE, BTC, WATCHDOG),
    "tables": (Reason.OVERFLOW, BTC, STRATEGY),
}
BARS = 20
"""Closed before its actor, which has just raised the pause, fails."""


@pytest.mark.asyncio
@pytest.mark.parametrize("case", RAISED)
async def test_a_pause_does_not_outlive_who_would_end_it(case: str, tmp_path: Path) -> None:
    """Its cause goes while its actor is away: the actor that comes back says so, and trading goes on."""
    reason, scope, actor = RAISED[case]
    bars: list[BarClosed] = []

    def fail(house: House, _: Any, message: object) -> None:
        if not isinstance(message, BarClosed):
            return
        bars.append(message)
        if len(bars) == BARS:
            raised = RaiseReason(**house.post.head(), reason=reason, scope=scope, figures={})
            house.post.publish(raised, RISK)
        if len(bars) == BARS + 4:
            house.supervisor.kill_child(actor, "a test")

    one = await boot(settings(tmp_path), market(seed=2, count=120), Script(before_handle=fail))
    told = [change for change, name, _ in changes(one.path) if name == reason.value]
    assert told == ["raised", "recovering", "cleared"]
    assert last_mode(one) != "reducing"
