"""The kill switch in virtual time: what it does with each action, over crashes and restarts, and what lifts it.

Invariants: what a leg holds and what rests is read from the exchange; the word is given through the operator's own
port, as the HTTP interface gives it, or by the file.
"""

from pathlib import Path

import pytest

from hedgegrid.actors.post import RISK
from hedgegrid.journal import kill_file
from hedgegrid.messages.commands import Kill
from hedgegrid.messages.events import ExecutionBatch, PermissionChanged
from tests.actors.house import (
    Script,
    assert_agrees,
    assert_exits_complete,
    boot,
    changes,
    entries_at,
    entries_placed,
    last_mode,
    messages,
    settings,
)
from tests.actors.test_crashes import Nth, on_handle
from tests.actors.test_flatten import Scene, asking, assert_flat, lots, tape


@pytest.mark.asyncio
@pytest.mark.parametrize("latency_ms", [0, 16_000])
@pytest.mark.parametrize("crash", [None, Kill, ExecutionBatch])
async def test_kill_flattens_whatever_fails_meanwhile(crash: type | None, latency_ms: int, tmp_path: Path) -> None:
    """Both legs end at zero with nothing resting, though risk fails at the word, or at the fills that follow."""
    scene = Scene(kills=True)
    script = Script()
    if crash is Kill:
        script = on_handle(RISK, Nth(Kill, 1))
    elif crash is ExecutionBatch:
        script = on_handle(RISK, Nth(ExecutionBatch, 60))
    one = await boot(settings(tmp_path, sim={"latency_ms": latency_ms}), tape(), asking(scene, script))
    assert all(scene.held.values())
    assert_flat(one, scene)
    assert last_mode(one) == "reducing"
    assert one.house.view.reasons.keys() == {("kill", "")}
    raised = [each for each in messages(one.path, PermissionChanged) if each.reason == "kill"]
    assert raised[0].figures["by"] == "api"


@pytest.mark.asyncio
async def test_with_cancel_entries_what_is_held_keeps_its_exits(tmp_path: Path) -> None:
    """The entries go and none comes; the legs are held on until their exits close them."""
    scene = Scene(kills=True)
    config = settings(tmp_path, risk={"kill_switch": {"action": "cancel_entries"}}, account={"on_stop": "keep"})
    one = await boot(config, tape(), asking(scene), duration_s=45 * 60)
    assert entries_at(one.exchange) == []
    assert sum(lots(one.exchange).values()) > 0
    late = one.script.placed[scene.placed :]
    assert [name for name in entries_placed(one) if name in late] == []
    assert_exits_complete(one)
    assert_agrees(one)


@pytest.mark.asyncio
@pytest.mark.parametrize("action", ["cancel_entries", "flatten"])
async def test_a_start_reads_the_file_before_anything_is_sent(action: str, tmp_path: Path) -> None:
    """Entries that rest from the life before go, legs as the action says; the reason outlives the file."""
    config = settings(tmp_path, risk={"kill_switch": {"action": action}}, account={"on_stop": "keep"})
    one = await boot(config, tape(), duration_s=40 * 60)
    assert entries_at(one.exchange)
    assert all(lots(one.exchange).values())
    kill_file.place(one.path)
    two = await boot(config, tape(), duration_s=5 * 60)
    assert not kill_file.is_placed(two.path)
    assert entries_placed(two) == []
    assert entries_at(two.exchange) == []
    assert (sum(lots(two.exchange).values()) == 0) == (action == "flatten")
    assert ("still_latched", "kill", "") in changes(two.path)
    three = await boot(config, tape(), duration_s=5 * 60)
    assert entries_placed(three) == []
    four = await boot(config, tape(), duration_s=10 * 60, resume=True)
    assert entries_placed(four)
    assert last_mode(four) == "active"


@pytest.mark.asyncio
async def test_switched_off_it_cannot_be_thrown(tmp_path: Path) -> None:
    """Neither by the port nor by the file: trading goes on, and the person is told at the start."""
    config = settings(tmp_path, risk={"kill_switch": {"enabled": False}})
    kill_file.place(tmp_path / "house.db")
    one = await boot(config, tape(), duration_s=20 * 60)
    assert "is ignored" in " ".join(one.told)
    assert one.house.operator.kill() is False
    assert last_mode(one) == "active"
    assert kill_file.is_placed(one.path)
