"""The commands `backtest` and `compare`: what they write, what they refuse, and with which code they end.

The driver runs interpreted here: nothing compiles, and its compiled twin is proven equal elsewhere.
"""

import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hedgegrid.backtest import driver
from hedgegrid.backtest_commands import compare
from hedgegrid.errors import Fatal
from tests.backtest.shop import CASES, Shop, Spoiler, a_gap, an_outlier, bars, store_with_a_gap, stored
from tests.backtest.store.samples import tree

BROKE: dict[str, Any] = {
    "account": {"wallet_quote": 12},
    "ladder": {"base_qty": Decimal("0.3"), "levels_long": 6},
    "exit": {"sl_steps": 400, "backstop_steps": 400},
    "risk": {name: {"enabled": False} for name in ("drawdown", "daily_loss", "session_loss", "margin_kill")},
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A small account and 150 bars."""
    monkeypatch.setattr(driver, "compiled", lambda _: driver.interpreted())
    made = Shop(root=tmp_path)
    made.set()
    made.use(bars())
    return made


def refused(result: Result, *words: str) -> None:
    """One line on standard error that says these words, nothing on standard output, and exit code 2."""
    assert result.exit_code == 2, (result.output, result.exception)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("hedgegrid: ")
    assert [word for word in words if word not in line] == [], line
    assert "Traceback" not in line


# --- a backtest that works -------------------------------------------------------------------------------------------


def test_a_backtest_writes_its_folder_and_prints_its_figures(shop: Shop) -> None:
    """Every file of a whole run is there, the report too; standard output is the summary, remarks are elsewhere."""
    arguments = ("--config", shop.config, "--data", shop.market, "--out", shop.out)
    result = shop.bare(*arguments)
    assert (result.exit_code, result.exception) == (0, None)
    names = {path.name for path in shop.out.iterdir()}
    assert {"summary.json", "report.html"} < names
    assert any(name.startswith("fills") for name in names)
    assert f"wrote {len(names)} files to {shop.out}" in result.stderr
    assert "wrote" not in result.stdout
    assert [path.name for path in shop.out.parent.iterdir()] == [shop.out.name], "nothing is left beside it"
    summary = json.loads((shop.out / "summary.json").read_text())
    assert summary["figures"]["fills"] > 10


def test_json_is_the_summary_and_nothing_else(shop: Shop) -> None:
    """A program can read standard output whole, and it is what the folder holds."""
    result = shop.call("--json", "--out", shop.out)
    told = json.loads(result.stdout)
    stored = json.loads((shop.out / "summary.json").read_text())
    assert result.exit_code == 0
    assert told["figures"] == stored["figures"]
    assert not (shop.out / "report.html").exists()


def test_nothing_is_written_where_no_folder_is_named(shop: Shop) -> None:
    """The figures are printed, and no file changes."""
    before = tree(shop.root)
    result = shop.call()
    assert result.exit_code == 0
    assert result.stdout.count("\n") > 20
    assert tree(shop.root) == before


def test_the_same_input_gives_the_same_files(shop: Shop) -> None:
    """Byte by byte, but for what names the folder."""
    for name in ("a", "b"):
        assert shop.call("--out", shop.root / name).exit_code == 0
    assert tree(shop.root / "a") == tree(shop.root / "b")


def test_a_liquidated_account_ends_with_code_3(shop: Shop) -> None:
    """The result is written and printed all the same."""
    shop.set(**BROKE)
    shop.use(bars(400, 7))
    result = shop.call("--out", shop.out, "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["run"]
    assert (shop.out / "summary.json").exists()


def test_force_replaces_a_folder_whole(shop: Shop) -> None:
    """A result that is run again: what was in the folder is gone, and what is in it is a result."""
    assert shop.call("--out", shop.out).exit_code == 0
    (shop.out / "old.txt").write_text("old")
    assert shop.call("--out", shop.out, "--force").exit_code == 0
    assert (shop.out / "summary.json").exists()
    assert not (shop.out / "old.txt").exists()
    assert [path.name for path in shop.out.parent.iterdir()] == [shop.out.name]


def test_from_begins_the_decisions_and_to_ends_the_market(shop: Shop) -> None:
    """No fill before --from or after --to; bars before --from only warm up."""
    shop.use(bars(3 * 1_440, 4))
    result = shop.call("--from", "2025-02-02", "--to", "2025-02-03", "--json")
    run = json.loads(result.stdout)["run"]
    assert result.exit_code == 0, result.stderr
    text = json.dumps(run)
    assert "2025-02-02" in text
    assert "2025-02-01" not in text


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("spoil", "words"), CASES, ids=[spoil.__name__ for spoil, _ in CASES])
def test_a_bad_input_is_one_line_and_code_2(
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Spoiler,
    words: tuple[str, ...],
) -> None:
    """Nothing is walked, nothing is written, and the line names what is wrong."""
    more = spoil(shop)
    before = tree(shop.root)
    target = () if "--out" in more else ("--out", shop.out)
    monkeypatch.setattr(driver, "compiled", lambda _: pytest.fail("a bad input was walked"))
    refused(shop.call(*target, *more), *words)
    assert tree(shop.root) == before
    assert "--out" in more or not shop.out.parent.exists()


@pytest.mark.parametrize("spoil", [a_gap, an_outlier, store_with_a_gap], ids=lambda spoil: str(spoil.__name__))
def test_what_strict_refuses_is_told_otherwise(shop: Shop, spoil: Spoiler) -> None:
    """Without --strict the market is walked, and the summary says what is wrong with it."""
    more = [word for word in spoil(shop) if word != "--strict"]
    result = shop.call("--json", *more)
    assert result.exit_code == 0, result.stderr
    notes = json.loads(result.stdout)["run"]["notes"]
    word = "outlier" if spoil is an_outlier else "missing"
    assert any(word in note for note in notes), notes


def test_a_store_gives_the_figures_of_its_file(shop: Shop) -> None:
    """The same market by another way in: the same fills, and the same result."""
    told = [json.loads(shop.call("--json", *more).stdout) for more in ((), ("--data", stored(shop)))]
    assert told[0]["figures"] == told[1]["figures"]
    assert told[0]["figures"]["fills"] > 10


def test_a_command_without_a_market_says_what_to_give(shop: Shop) -> None:
    """Both ways in are named; an unknown option is click's own word, with the same code."""
    refused(shop.bare("--config", shop.config), "--data", "--from-journal")
    refused(shop.call("--points", "bars"), "--from-journal")
    assert shop.call("--no-such-option").exit_code == 2
    assert shop.bare("--data", shop.market).exit_code == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Fatal("the report cannot be made")])
def test_a_folder_that_cannot_be_written_is_not_there(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """A disk that is full at the last file: one line, and neither the folder nor a part of it is left."""

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("hedgegrid.backtest.report.page.write_report", fails)
    result = shop.bare("--config", shop.config, "--data", shop.market, "--out", shop.out)
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("hedgegrid: ")
    assert "Traceback" not in result.stderr
    assert list(shop.out.parent.iterdir()) == []


# --- compare ---------------------------------------------------------------------------------------------------------


def side_by_side(*arguments: object) -> Result:
    """Run `compare`."""
    return CliRunner().invoke(compare, [str(argument) for argument in arguments])


def test_two_runs_side_by_side(shop: Shop) -> None:
    """Figures of both, what of the settings differs, and that the market is the same."""
    one, two = shop.root / "one", shop.root / "two"
    assert shop.call("--out", one).exit_code == 0
    shop.set(ladder={"step_bps": 40})
    assert shop.call("--out", two).exit_code == 0
    before = tree(shop.root)
    told = json.loads(side_by_side(one, two, "--json").stdout)
    assert (told["runs"], told["same_data"], told["warnings"]) == (["one", "two"], True, [])
    counts = [json.loads((folder / "summary.json").read_text())["figures"]["fills"] for folder in (one, two)]
    assert counts[0] != counts[1]
    assert told["figures"]["fills"]["values"] == counts
    assert told["figures"]["fills"]["differences"] == [0, counts[1] - counts[0]]
    assert "+step_bps = 40" in told["settings"]["two"]
    shown = side_by_side(one, two)
    assert shown.exit_code == 0
    assert "step_bps" in shown.stdout
    assert tree(shop.root) == before


def test_what_cannot_be_compared_is_one_line(shop: Shop) -> None:
    """One folder, a folder that is no result, one that is not there, a summary that is damaged."""
    assert shop.call("--out", shop.out).exit_code == 0
    torn = shop.root / "torn"
    shutil.copytree(shop.out, torn)
    (torn / "summary.json").write_text("{")
    (shop.root / "empty").mkdir()
    refused(side_by_side(shop.out), "two")
    for other in ("empty", "absent", "torn"):
        refused(side_by_side(shop.out, shop.root / other), other)
