"""The command that leads from a run back to a backtest: what it tells, writes and refuses."""

import csv
import json
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner, Result

from hedgegrid.backtest import driver
from hedgegrid.backtest.fill_check_text import LINES_MAX
from hedgegrid.backtest_commands import backtest
from hedgegrid.config.render import render_effective
from hedgegrid.config.schema import AccountConfig
from tests.actors.house import boot, market, settings

STOPPED_OUT = {"exit": {"sl_steps": 2}, "sim": {"slippage_bps": 3}}


@pytest.fixture
def _interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the command the compiler."""
    monkeypatch.setattr(driver, "compiled", lambda _: driver.interpreted())


def command(config: AccountConfig, folder: Path, *words: str) -> Result:
    """Run the command with a config's file."""
    path = folder / "config.toml"
    path.write_text(render_effective(config, comments=False))
    return CliRunner().invoke(backtest, ["--config", str(path), *words])


@pytest.mark.asyncio
@pytest.mark.usefixtures("_interpreted")
async def test_the_command_tells_and_writes(tmp_path: Path) -> None:
    """Text for people, JSON with the summary, and every pair in a file beside the usual ones."""
    config = settings(tmp_path, **STOPPED_OUT)
    one = await boot(config, market(seed=4, count=150))
    other = attrs.evolve(config, sim=attrs.evolve(config.sim, slippage_bps=Decimal(10)))
    out = tmp_path / "out"
    told = command(other, tmp_path, "--from-journal", str(one.path), "--out", str(out), "--no-report")
    assert told.exit_code == 0, told.output
    assert "fills differ, worth -" in told.stdout
    assert len(told.stdout.splitlines()) <= LINES_MAX
    with (out / "fill_check.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (out / "summary.json").exists()
    shown = command(other, tmp_path, "--from-journal", str(one.path), "--json")
    found = json.loads(shown.stdout)
    assert set(found) == {"fill_check", "summary"}
    assert sum(found["fill_check"]["fills"].values()) == len(rows)
    assert sum(int(row["money_e8"]) for row in rows) == sum(found["fill_check"]["money_e8"].values()) < 0
    assert found["fill_check"]["totals"]["wallet_e8"]["run"] == one.house.journal.totals().wallet_e8


@pytest.mark.usefixtures("_interpreted")
@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "--data FILE or STORE, or --from-journal"),
        (["--from-journal", "a.db", "--data", "b.csv"], "leave --data out"),
        (["--from-journal", "a.db", "--from", "2025-01-01"], "leave --from out"),
        (["--data", "b.csv", "--points", "bars"], "goes with --from-journal"),
        (["--from-journal", "nothing.db"], "cannot read the journal"),
    ],
)
def test_the_command_refuses_in_one_line(words: list[str], told: str, tmp_path: Path) -> None:
    """Two markets, none, or a journal that is not there: one line and exit code 2."""
    answer = command(settings(tmp_path), tmp_path, *words)
    assert answer.exit_code == 2
    assert told in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
