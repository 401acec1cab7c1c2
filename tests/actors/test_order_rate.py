"""The limit of orders in a minute through the whole bot: entries wait, reductions do not, and a habit of it latches.

Invariant: what was sent, and when, is read from the journal's approvals and from what reached the exchange.
"""

from pathlib import Path
from typing import Any

import pytest

from hedgegrid.messages.events import ApprovedBatch, RefusedBatch
from hedgegrid.model.order import Purpose
from hedgegrid.units import NS_PER_MINUTE
from tests.actors.house import (
    Boot,
    CrashError,
    Script,
    assert_agrees,
    assert_exits_complete,
    boot,
    changes,
    entries_at,
    entries_placed,
    last_mode,
    market,
    messages,
    settings,
)
from tests.actors.sights import told

CONTROL = "max_orders_per_minute"


def sent(one: Boot) -> list[tuple[int, Purpose]]:
    """When orders were approved, and what for, in order."""
    return [
        (batch.ts_recv_ns, approved.request.purpose)
        for batch in messages(one.path, ApprovedBatch)
        for approved in batch.approved
    ]


def assert_paced(one: Boot, limit: int) -> None:
    """Before every entry fewer orders than the limit had left within the minute before it."""
    every = sent(one)
    for place, (at_ns, purpose) in enumerate(every):
        before = sum(other_ns >= at_ns - NS_PER_MINUTE for other_ns, _ in every[:place])
        assert purpose is not Purpose.ENTRY or before < limit, at_ns


def refusals(one: Boot) -> list[tuple[int, Purpose]]:
    """When this control refused, and what."""
    return [
        (batch.ts_recv_ns, refused.request.purpose)
        for batch in messages(one.path, RefusedBatch)
        for refused in batch.refused
        if refused.control == CONTROL
    ]


def account(folder: Path, limit: int, **more: Any) -> Any:
    """A small account whose ladder of six has so many orders a minute, and no other limit."""
    return settings(folder, risk={CONTROL: limit}, **more)


@pytest.mark.asyncio
async def test_entries_wait_and_reductions_do_not(tmp_path: Path) -> None:
    """No entry leaves where the minute before it has the limit's orders; exits leave whatever the count."""
    one = await boot(account(tmp_path, 5, account={"on_stop": "keep"}), market(seed=2, count=120))
    assert_paced(one, 5)
    found = refusals(one)
    assert found
    assert {purpose for _, purpose in found} == {Purpose.ENTRY}
    times = [at_ns for at_ns, _ in sent(one)]
    assert max(sum(at_ns - NS_PER_MINUTE < other <= at_ns for other in times) for at_ns in times) > 5
    assert_exits_complete(one)
    assert_agrees(one)


@pytest.mark.asyncio
async def test_a_habit_of_it_latches_and_only_a_resume_lifts_it(tmp_path: Path) -> None:
    """Three minutes of ten with a breach: entries go, a person is called, and a restart changes nothing."""
    config, tape = account(tmp_path, 2), market(seed=2, count=120)
    one = await boot(config, tape, duration_s=60 * 60)
    raised = told(one, "order_rate")[0]
    minutes = sorted({at_ns // NS_PER_MINUTE for at_ns, _ in refusals(one) if at_ns <= raised.ts_recv_ns})
    assert len(minutes) >= 3
    assert minutes[-1] - minutes[-3] < 10
    assert minutes[-1] == raised.ts_recv_ns // NS_PER_MINUTE
    assert int(raised.figures["limit"]) == 2 <= int(raised.figures["orders"])
    late = [at_ns for at_ns, purpose in sent(one) if purpose is Purpose.ENTRY and at_ns > raised.ts_recv_ns]
    assert late == []
    assert entries_at(one.exchange) == []
    assert last_mode(one) == "reducing"
    two = await boot(config, tape, duration_s=20 * 60)
    assert entries_placed(two) == []
    assert ("still_latched", "order_rate", "") in changes(two.path)
    three = await boot(config, tape, duration_s=10 * 60, resume=True)
    assert entries_placed(three)
    assert_agrees(three)


@pytest.mark.asyncio
async def test_a_restart_of_an_actor_lets_no_more_pass(tmp_path: Path) -> None:
    """Risk fails again and again, right after a batch: its successor counts what left before."""
    seen: list[int] = []

    def crash(_house: Any, message: Any) -> None:
        if isinstance(message, ApprovedBatch) and message.approved:
            seen.append(message.ts_recv_ns)
            raise CrashError

    config = account(tmp_path, 3, supervisor={"max_restarts": 100})
    one = await boot(config, market(seed=2, count=60), Script(after_publish=crash))
    assert len(seen) > 1
    assert_paced(one, 3)


@pytest.mark.asyncio
async def test_a_limit_that_nothing_meets_changes_nothing(tmp_path: Path) -> None:
    """With room for every order no entry is refused for it, and nothing latches."""
    one = await boot(account(tmp_path, 200), market(seed=2, count=60))
    assert refusals(one) == []
    assert told(one, "order_rate") == []
