"""The report of a simulation: one offline file with the worst runs, the faults, the rare states and what was broken."""

from pathlib import Path

import attrs
from click.testing import CliRunner

from hedgegrid.cli import commands
from hedgegrid.simulation.laws import Law, Violation
from hedgegrid.simulation.report import page, write_report
from hedgegrid.simulation.series import summed
from tests.backtest.report.test_browser import Reader
from tests.backtest.report.test_browser import reader as browser
from tests.simulation.storm import storm

reader = browser
CONFIG = str(Path(__file__).parents[2] / "configs" / "replay.toml")


def test_the_command_writes_a_report(tmp_path: Path) -> None:
    """It stands whole where it was asked for, with its own policy, and asks nobody for anything."""
    words = ["simulate", "--config", CONFIG, "--seeds", "2", "--hours", "0.5", "--report", str(tmp_path / "out")]
    answer = CliRunner().invoke(commands, words)
    assert answer.exit_code == 0, answer.output
    text = (tmp_path / "out" / "report.html").read_text()
    assert "default-src &#x27;none&#x27;" in text or "default-src &#39;none&#39;" in text
    assert "--seeds 2 --hours 0.5" in text
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["report.html"]


def test_what_was_broken_is_told_and_escaped(tmp_path: Path) -> None:
    """A seed that broke a law has its story and its line; words from outside stay words."""
    result = storm(tmp_path, 2, hours=0.5)
    broken = attrs.evolve(result, violations=(Violation(law=Law.PAUSED, ts_ns=0, how="<script>alert(1)</script>"),))
    text = page([broken], summed([broken]), lambda plan: f"replay {plan.seed} <b>")
    assert "BROKEN PAUSED: &lt;script&gt;alert(1)" in text
    assert "replay 2 &lt;b&gt;" in text
    assert "<b>" not in text.partition("<main>")[2].partition("</main>")[0]


def test_a_browser_opens_it_without_a_complaint(tmp_path: Path, reader: Reader) -> None:
    """Its policy lets its own script draw, and nothing is asked of anybody."""
    result = storm(tmp_path / "run", 3, hours=0.5, force=5.0)
    path = write_report(tmp_path, [result], summed([result]), lambda plan: f"replay {plan.seed}")
    reader.open(path)
    assert reader.complaints() == []
    assert [one for one in reader.requests() if not one.startswith("file:")] == []
    assert reader.run("return document.querySelectorAll('#faults .bars path').length") == len(
        {one.fault for one in result.strikes}
    )
