"""The kill switch in the simulation: for an account that does not run, over restarts and midnight, and its toggle.

Invariant: what was sent and held is read from the journal's file; the command is the one that users run.
"""

from pathlib import Path
from typing import Any

import pytest

from hedgegrid.config.risk import KillSwitchConfig
from hedgegrid.journal import kill_file
from hedgegrid.kill_switch import KillSwitch
from hedgegrid.ops.view import AccountView
from tests.command import ANY_PORT, complaint, invoke, rows

ACCOUNT = """\
[account]
name = "killed"
mode = "sim"
[sim]
seed = 3
[[grid]]
instrument = "BTC/USDT:USDT"
timeframe = "30m"
max_position_qty = 2
[grid.ladder]
step_bps = 20
base_qty = 0.01
[grid.exit]
tp_steps = 2
sl_steps = 20
[journal]
synchronous = "normal"
"""
ENTRIES = "SELECT count(*) FROM orders WHERE purpose = 0"
HELD = "SELECT coalesce(sum(qty_lots), 0) FROM legs"


def account(folder: Path, more: str = "") -> tuple[Path, Path]:
    """Write a config; give it and its journal."""
    path = folder / "killed.toml"
    path.write_text(ACCOUNT + more)
    return path, folder / "killed.db"


def lived(config: Path, journal: Path, hours: int, *more: str) -> str:
    """Live so many hours; give all that was said."""
    place = ("--journal", journal, "--speed", "max", "--duration", f"{hours}h", *ANY_PORT)
    result = invoke("run", "--config", config, *place, *more)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_dead_account_is_killed_for_its_next_start(tmp_path: Path) -> None:
    """The command leaves the word; the next start closes what is held and adds nothing, nor do those after it."""
    config, journal = account(tmp_path)
    lived(config, journal, 8)
    ((sent,),), ((held,),) = rows(journal, ENTRIES), rows(journal, HELD)
    assert sent > 0
    assert held > 0
    killed = invoke("kill", "--config", config, "--journal", journal)
    assert (killed.exit_code, "latched" in killed.stdout) == (0, True), killed.output
    assert kill_file.is_placed(journal)
    lived(config, journal, 5)
    assert not kill_file.is_placed(journal)
    lived(config, journal, 20)
    assert rows(journal, ENTRIES) == [(sent,)]
    assert rows(journal, HELD) == [(0,)]
    lived(config, journal, 8, "--resume")
    assert rows(journal, ENTRIES)[0][0] > sent
    assert invoke("journal", "verify", journal).exit_code == 0


def test_what_nobody_has_obeyed_is_obeyed_before_it_is_lifted(tmp_path: Path) -> None:
    """A start with --resume after a kill closes first and says so, the journal has the trip; the next one lifts it."""
    config, journal = account(tmp_path)
    lived(config, journal, 8)
    ((sent,),) = rows(journal, ENTRIES)
    kill_file.place(journal)
    assert "--resume is not taken" in lived(config, journal, 5, "--resume")
    assert (rows(journal, ENTRIES), rows(journal, HELD)) == ([(sent,)], [(0,)])
    raised = "SELECT figures FROM permission WHERE reason = 'kill' AND change = 'raised'"
    assert rows(journal, raised) == [('{"by":"kill file"}',)]
    assert rows(journal, "SELECT times FROM tripped WHERE control = 'kill'") == [(1,)]
    assert "--resume is not taken" not in lived(config, journal, 8, "--resume")
    assert rows(journal, ENTRIES)[0][0] > sent
    assert invoke("journal", "verify", journal).exit_code == 0


def test_a_switch_that_is_off_does_nothing(tmp_path: Path) -> None:
    """The command refuses in a line that names the setting; a file is ignored, and said so; trading goes on."""
    config, journal = account(tmp_path, "[risk.kill_switch]\nenabled = false\n")
    assert "[risk.kill_switch] enabled is false" in complaint(invoke("kill", "--config", config, "--journal", journal))
    assert not kill_file.is_placed(journal)
    kill_file.place(journal)
    assert "is ignored, for [risk.kill_switch] enabled is false" in lived(config, journal, 4)
    assert rows(journal, ENTRIES)[0][0] > 0
    assert kill_file.is_placed(journal)


class Disk:
    """A journal that tells whether the file was still there whenever something became durable."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reasons: list[str] = []
        self.commits: list[tuple[list[str], bool]] = []

    def latched(self) -> tuple[Any, ...]:
        """Nothing was latched before."""
        return ()

    def set_latched(self, entries: tuple[Any, ...]) -> None:
        """Take the reasons, not yet durable."""
        self.reasons = [entry[0] for entry in entries]

    async def commit(self) -> None:
        """Make them durable."""
        self.commits.append((self.reasons, kill_file.is_placed(self.path)))


@pytest.mark.asyncio
async def test_the_file_goes_only_when_the_latch_is_on_disk(tmp_path: Path) -> None:
    """A crash between the two, at the start or in the run, must leave one of them: else the word is lost."""
    journal: Any = Disk(tmp_path / "killed.db")
    switch = KillSwitch(KillSwitchConfig(enabled=True, action="flatten"), journal)
    kill_file.place(journal.path)
    await switch.read_at_start(1, lambda _: None)
    assert journal.commits == [(["kill"], True)]
    assert not kill_file.is_placed(journal.path)

    view = AccountView("killed", [])
    view.reasons["kill", ""] = 1
    switch.wire(head=dict, tell=lambda _: None, publish=lambda _: None, view=view)
    kill_file.place(journal.path)
    await switch.look()
    assert journal.commits[1:] == [(["kill"], True)]
    assert not kill_file.is_placed(journal.path)
