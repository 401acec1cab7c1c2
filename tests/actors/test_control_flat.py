"""A session control that flattens is followed to its end: FLAT is said when the exchange has shown it.

Invariant: flat is what the exchange's own account is at that moment.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.app import House
from hedgegrid.journal.verify import verify
from hedgegrid.messages.events import FlatConfirmed, PermissionChanged
from hedgegrid.model.order import Leg
from hedgegrid.ops.control import FlattenStage
from tests.actors.house import Script, boot, market, messages, settings, simulation


@pytest.mark.asyncio
@pytest.mark.parametrize("latency_ms", [0, 16_000])
async def test_flat_is_said_once_when_a_control_has_closed_everything(tmp_path: Path, latency_ms: int) -> None:
    """Tripped, closed, read twice, said: in the journal and in `status`; the next start has nothing to say again."""
    held: list[list[int]] = []

    def hook(house: House, actor: Any, message: Any) -> None:
        if actor.name == "risk" and isinstance(message, FlatConfirmed):
            accounts = simulation(house).exchange.books[0].accounts
            held.append([accounts[leg].qty_lots for leg in Leg])

    limits = {"drawdown": {"max_ratio": Decimal("0.00005"), "action": "flatten"}}
    config = settings(tmp_path, risk=limits, sim={"latency_ms": latency_ms})
    one = await boot(config, market(seed=2, count=150), Script(before_handle=hook), duration_s=6_000)
    assert one.outcome.exit_code == 0
    changes = messages(one.path, PermissionChanged)
    assert any((each.change, each.reason) == ("flatten_started", "drawdown") for each in changes)
    (flat,) = messages(one.path, FlatConfirmed)
    assert flat.legs == tuple(Leg)
    assert held == [[0, 0]]
    assert one.house.view.flatten.stage is FlattenStage.FLAT
    assert any(notice.text == "FLAT: LONG and SHORT" for notice in one.house.view.notices)
    two = await boot(config, market(seed=2, count=150))
    assert len(messages(two.path, FlatConfirmed)) == 1, "nothing was closed in this life"
    report = verify(two.path)
    assert report.ok, report.text()


@pytest.mark.asyncio
async def test_a_control_that_only_pauses_says_nothing_of_flat(tmp_path: Path) -> None:
    """What holds a position does not claim that it holds none."""
    limits = {"drawdown": {"max_ratio": Decimal("0.00005"), "action": "cancel_entries"}}
    one = await boot(settings(tmp_path, risk=limits), market(seed=2, count=100))
    assert any(each.reason == "drawdown" for each in messages(one.path, PermissionChanged))
    assert messages(one.path, FlatConfirmed) == []
    assert one.house.view.flatten.stage is FlattenStage.NONE
