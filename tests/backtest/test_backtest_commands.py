"""The commands `backtest` and `compare`: what they write, what they refuse, and with which code they end.

The driver runs interpreted here: nothing compiles, and its compiled twin is proven equal elsewhere.
"""

import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner, Result

from hedgegrid.backtest import driver
from hedgegrid.backtest_commands import backtest, compare
from hedgegrid.config.render import render_effective
from hedgegrid.config.schema import AccountConfig
from hedgegrid.data_commands import store_commands
from hedgegrid.errors import Fatal
from tests.actors.house import BTC, checked, document, settings
from tests.backtest.store.samples import archive, bring, tree, write
from tests.core.made import walk

Bars = list[tuple[int, str, str, str, str, str]]
ETH = "ETH/USDT:USDT"
BROKE: dict[str, Any] = {
    "account": {"wallet_quote": 12},
    "ladder": {"base_qty": Decimal("0.3"), "levels_long": 6},
    "exit": {"sl_steps": 400, "backstop_steps": 400},
    "risk": {name: {"enabled": False} for name in ("drawdown", "daily_loss", "session_loss", "margin_kill")},
}


# --- what the commands are given -------------------------------------------------------------------------------------


def bars(count: int = 150, seed: int = 4) -> Bars:
    """Bars of a made market from 2025-02-01 on, in quote."""
    rows = walk(seed, count)
    return [(minute, *(str(Decimal(ticks) / 10) for ticks in row), "1.5") for minute, row in enumerate(rows)]  # type: ignore[misc]


def saved(path: Path, config: AccountConfig) -> Path:
    """A config as a file."""
    path.write_text(render_effective(config, comments=False), encoding="utf-8")
    return path


@attrs.frozen(kw_only=True)
class Shop:
    """A folder with a config and a market, in which commands are called."""

    root: Path

    @property
    def config(self) -> Path:
        """The config's file."""
        return self.root / "house.toml"

    @property
    def market(self) -> Path:
        """The market's file."""
        return self.root / "BTCUSDT-1m.csv"

    @property
    def out(self) -> Path:
        """Where results go."""
        return self.root / "results" / "one"

    def call(self, *more: object) -> Result:
        """Run `backtest` over the shop's market or another that is named, without a report."""
        market = () if "--data" in more else ("--data", self.market)
        return self.bare("--config", self.config, *market, "--no-report", *more)

    def bare(self, *arguments: object) -> Result:
        """Run `backtest` with nothing but these arguments."""
        return CliRunner().invoke(backtest, [str(argument) for argument in arguments])

    def use(self, rows: Bars) -> None:
        """Replace the market."""
        write(self.market, archive(rows))

    def set(self, **changes: dict[str, Any]) -> None:
        """Replace the config."""
        saved(self.config, settings(self.root, **changes))


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


def missing(shop: Shop) -> tuple[object, ...]:
    """A market that is not there."""
    shop.market.unlink()
    return ()


def empty_folder(shop: Shop) -> tuple[object, ...]:
    """A folder without a market."""
    (shop.root / "empty").mkdir()
    return ("--data", shop.root / "empty")


def empty_file(shop: Shop) -> tuple[object, ...]:
    """A file of no bytes."""
    shop.market.write_bytes(b"")
    return ()


def heading_only(shop: Shop) -> tuple[object, ...]:
    """A file with a heading and no bar."""
    shop.use([])
    return ()


def damaged_text(shop: Shop) -> tuple[object, ...]:
    """A price that is no number."""
    shop.market.write_text(shop.market.read_text().replace(",1.5\n", ",1.5\n", 1).replace("1000", "1oo0", 1))
    return ()


def damaged_archive(shop: Shop) -> tuple[object, ...]:
    """A gzip file that ends in the middle."""
    torn = write(shop.root / "BTCUSDT-1m.csv.gz", shop.market.read_text())
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    return ("--data", torn)


def damaged_feather(shop: Shop) -> tuple[object, ...]:
    """A table whose bytes are not one."""
    torn = shop.root / "BTCUSDT-1m.feather"
    torn.write_bytes(b"ARROW1\0\0" + bytes(range(200)))
    return ("--data", torn)


def strange_config(shop: Shop) -> tuple[object, ...]:
    """Settings that say nothing known."""
    shop.config.write_text('[acount]\nname = "x"\n')
    return ()


def no_config(shop: Shop) -> tuple[object, ...]:
    """Settings that are not there."""
    shop.config.unlink()
    return ()


def several_timeframes(shop: Shop) -> tuple[object, ...]:
    """Two grids of different bars."""
    text = document(shop.root)
    first = text["grid"][0]
    text["grid"] = [first, {**first, "instrument": ETH, "timeframe": "5m"}]
    text["sim"] = {"market": "synthetic", "instrument": {name: {"min_notional": 0} for name in (BTC, ETH)}}
    saved(shop.config, checked(text))
    return ()


def other_timeframe(shop: Shop) -> tuple[object, ...]:
    """A grid of five minutes over bars of one."""
    text = document(shop.root)
    text["grid"][0]["timeframe"] = "5m"
    saved(shop.config, checked(text))
    return ()


def other_instrument(shop: Shop) -> tuple[object, ...]:
    """A grid on an instrument that no file is of."""
    text = document(shop.root)
    text["grid"][0]["instrument"] = ETH
    text["sim"]["instrument"] = {ETH: {"min_notional": 0}}
    saved(shop.config, checked(text))
    return ()


def after_the_market(_: Shop) -> tuple[object, ...]:
    """Decisions from a day on that the market does not reach."""
    return ("--from", "2026-01-01")


def before_the_market(_: Shop) -> tuple[object, ...]:
    """A market that ends before it begins."""
    return ("--to", "2024-01-01")


def backwards(_: Shop) -> tuple[object, ...]:
    """An end before the beginning."""
    return ("--from", "2025-02-02", "--to", "2025-02-01")


def a_gap(shop: Shop) -> tuple[object, ...]:
    """Missing bars, where they are not accepted."""
    shop.use([row for row in bars() if not 70 <= row[0] < 75])
    return ("--strict",)


def an_outlier(shop: Shop) -> tuple[object, ...]:
    """One bar far from its neighbours, where that is not accepted."""
    rows = bars()
    rows[80] = (80, "3000.0", "3000.0", "3000.0", "3000.0", "1.5")
    shop.use(rows)
    return ("--strict",)


def two_sources(shop: Shop) -> tuple[object, ...]:
    """Files and a journal."""
    return ("--from-journal", shop.root / "house.db")


def around_the_market(shop: Shop) -> tuple[object, ...]:
    """An output folder that the market lies in."""
    assert shop.call("--out", shop.out).exit_code == 0
    shutil.copy(shop.market, shop.out)
    return ("--data", shop.out / shop.market.name, "--out", shop.out, "--force")


def taken_folder(shop: Shop) -> tuple[object, ...]:
    """An output folder with somebody's file in it."""
    shop.out.mkdir(parents=True)
    (shop.out / "notes.txt").write_text("mine")
    return ("--out", shop.out)


def foreign_folder(shop: Shop) -> tuple[object, ...]:
    """The same by force: only a result is replaced."""
    return (*taken_folder(shop), "--force")


def file_as_folder(shop: Shop) -> tuple[object, ...]:
    """An output folder whose name is a file's."""
    (shop.root / "file").write_text("mine")
    return ("--out", shop.root / "file")


def stored(shop: Shop) -> Path:
    """The shop's market in a store, with the rules of the snapshot."""
    root = shop.root / "store"
    result = CliRunner().invoke(store_commands, ["import", str(shop.market), "--store", str(root)])
    assert result.exit_code == 0, result.stderr
    return root


def other_in_store(shop: Shop) -> tuple[object, ...]:
    """A grid on an instrument that the store does not know."""
    root = stored(shop)
    other_instrument(shop)
    return ("--data", root)


def damaged_store(shop: Shop) -> tuple[object, ...]:
    """A month's file that ends in the middle."""
    root = stored(shop)
    (month,) = root.rglob("*.parquet")
    month.write_bytes(month.read_bytes()[: month.stat().st_size // 2])
    return ("--data", root)


def store_without_rules(shop: Shop) -> tuple[object, ...]:
    """A store that nobody told what the instrument is."""
    bring(shop.root / "store", shop.market)
    return ("--data", shop.root / "store")


def store_of_other_bars(shop: Shop) -> tuple[object, ...]:
    """Bars of a minute where five are asked for, and no trades to make them of."""
    root = stored(shop)
    other_timeframe(shop)
    return ("--data", root)


def store_and_file(shop: Shop) -> tuple[object, ...]:
    """A store beside a file."""
    return ("--data", stored(shop), "--data", shop.market)


def store_before(shop: Shop) -> tuple[object, ...]:
    """A span that the store holds nothing of."""
    return ("--data", stored(shop), "--from", "2026-01-01")


def store_with_a_gap(shop: Shop) -> tuple[object, ...]:
    """A gap that is not accepted."""
    a_gap(shop)
    return ("--data", stored(shop), "--strict")


CASES: list[tuple[Callable[[Shop], tuple[object, ...]], tuple[str, ...]]] = [
    (missing, ("BTCUSDT-1m.csv", "no such file")),
    (empty_folder, ("empty",)),
    (empty_file, ("BTCUSDT-1m.csv",)),
    (heading_only, ("BTCUSDT-1m.csv",)),
    (damaged_text, ("BTCUSDT-1m.csv", "1oo0")),
    (damaged_archive, ("BTCUSDT-1m.csv.gz",)),
    (damaged_feather, ("BTCUSDT-1m.feather",)),
    (strange_config, ("acount",)),
    (no_config, ("house.toml",)),
    (several_timeframes, ("one timeframe",)),
    (other_timeframe, ("5m",)),
    (other_instrument, ("ETH",)),
    (after_the_market, ("--from", "2025-02-01")),
    (before_the_market, ("--to", "2025-02-01")),
    (backwards, ("--to", "--from")),
    (a_gap, ("missing", "--strict")),
    (an_outlier, ("--strict",)),
    (two_sources, ("--from-journal", "--data")),
    (around_the_market, ("--out", "--data")),
    (taken_folder, ("not empty", "--force")),
    (foreign_folder, ("summary.json",)),
    (file_as_folder, ("file",)),
    (other_in_store, (ETH,)),
    (damaged_store, ("parquet",)),
    (store_without_rules, ("rules",)),
    (store_of_other_bars, ("bars-5m", "bars-1m")),
    (store_and_file, ("alone",)),
    (store_before, ("--from", "2025-02-01 00:00:00")),
    (store_with_a_gap, ("missing", "--strict")),
]


@pytest.mark.parametrize(("spoil", "words"), CASES, ids=[spoil.__name__ for spoil, _ in CASES])
def test_a_bad_input_is_one_line_and_code_2(
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Shop], tuple[object, ...]],
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
def test_what_strict_refuses_is_told_otherwise(shop: Shop, spoil: Callable[[Shop], tuple[object, ...]]) -> None:
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
