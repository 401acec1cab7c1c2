"""The unit file: what it promises is what the program does."""

import shutil
import subprocess
import sys
from configparser import RawConfigParser
from pathlib import Path

from hedgegrid import lifecycle
from hedgegrid.actors.hydration import UNREAD_MAX
from hedgegrid.core.doubt import LOOK_MAX_NS
from hedgegrid.operator_commands import cancel_entries
from hedgegrid.runtime.specs import EXIT_UNSTOPPABLE, EXIT_WEDGED
from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.worlds.exchange import FINISH_S

UNIT = Path(__file__).parents[1] / "tools" / "deploy" / "hedgegrid@.service"
PROGRAM = "/opt/hedgegrid/.venv/bin/hedgegrid"


def settings() -> dict[str, str]:
    """The unit's settings, by name; of those that are given twice, the last."""
    parser = RawConfigParser(strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return {name: value for section in parser.sections() for name, value in parser.items(section)}


def test_ends_and_restarts_fit_the_program() -> None:
    """The program may end itself before systemd kills it; bad input and liquidation are not tried again, a crash is."""
    unit = settings()
    assert (unit["Type"], unit["Restart"], unit["NotifyAccess"]) == ("notify", "on-failure", "main")
    assert int(unit["TimeoutStopSec"]) > lifecycle.END_S
    assert int(unit["WatchdogSec"]) > 0
    refused = {int(code) for code in unit["RestartPreventExitStatus"].split()}
    assert refused == {2, lifecycle.EXIT_LIQUIDATED}
    assert not refused & {lifecycle.EXIT_FAILED, EXIT_UNSTOPPABLE, EXIT_WEDGED}
    assert unit["ExecStart"].startswith(f"{PROGRAM} run --config /etc/hedgegrid/%i.toml")
    (reaching,) = [one.default for one in cancel_entries.params if one.name == "timeout_s"]
    assert isinstance(reaching, float)
    assert reaching + FINISH_S < int(unit["TimeoutStopSec"])
    assert int(unit["TimeoutStartSec"].removesuffix("min")) * NS_PER_MINUTE > UNREAD_MAX * LOOK_MAX_NS
    assert f"{PROGRAM} cancel-entries --dead --config /etc/hedgegrid/%i.toml" in unit["ExecStopPost"]


def test_systemd_understands_it(tmp_path: Path) -> None:
    """Where systemd is, it finds nothing to say about the unit."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    unit = tmp_path / "hedgegrid@demo.service"
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(PROGRAM, sys.executable), encoding="utf-8")
    said = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
