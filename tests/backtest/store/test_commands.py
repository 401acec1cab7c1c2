"""The `data` commands: what they print, where, and with which exit code."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hedgegrid.data_commands import store_commands
from tests.backtest.store.samples import START_MS, archive, candles, tree, write
from tests.backtest.store.test_rules import BRACKETS, INFO


def call(*arguments: object) -> Result:
    """Run a command."""
    return CliRunner().invoke(store_commands, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small clean file of bars."""
    return write(tmp_path / "BTCUSDT-1m-2025-02.csv", archive(candles(100)))


@pytest.fixture
def gappy(tmp_path: Path) -> Path:
    """A file of bars with a gap."""
    return write(tmp_path / "ETHUSDT-1m.csv", archive([*candles(20), *candles(20, 30)]))


@pytest.fixture
def store(tmp_path: Path, file: Path) -> Path:
    """A store with that file."""
    assert call("import", file, "--store", tmp_path / "s").exit_code == 0
    return tmp_path / "s"


def test_import_says_what_it_did(tmp_path: Path, file: Path) -> None:
    """An import counts what is new and what was there; rules come with it from the package, and are told."""
    result = call("import", file, "--store", tmp_path / "s")
    assert result.exit_code == 0
    assert result.stdout == "BTC/USDT:USDT bars-1m: 1 month, 100 new rows, 0 replaced, 0 there already\n"
    assert "BTC/USDT:USDT: rules of 2025-07-10 stored, from the snapshot" in result.stderr
    again = call("import", file, "--store", tmp_path / "s")
    assert again.stdout == "BTC/USDT:USDT bars-1m: 1 month, 0 new rows, 0 replaced, 100 there already\n"
    assert again.stderr == ""


def test_import_as_json(tmp_path: Path, gappy: Path) -> None:
    """With --json standard output is one JSON value with months, findings and notes."""
    result = call("import", gappy, "--store", tmp_path / "s", "--json")
    told = json.loads(result.stdout)
    assert [(month["series"], month["month"], month["added"]) for month in told["months"]] == [
        ("bars-1m", "2025-02", 40)
    ]
    assert [(one["rule"], one["severity"], one["row"]) for one in told["findings"]] == [("gap", "warning", 22)]


def test_strict_refuses_and_leaves_nothing(tmp_path: Path, gappy: Path) -> None:
    """With --strict a gap is bad input: one line, code 2, and no store file."""
    result = call("import", gappy, "--store", tmp_path / "s", "--strict")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert re.fullmatch(r"hedgegrid: .*ETHUSDT-1m.csv: row 22: gap: 10 bars are missing.*\n", result.stderr)
    assert tree(tmp_path / "s") == {}


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["import", "absent.csv", "--store", "s"], "absent.csv: no such file"),
        (["list", "--store", "absent"], "absent: no such store; make one with"),
        (["verify", "--store", "absent"], "absent: no such store"),
        (["verify"], "give either files or --store"),
        (["rules", "--store", "absent"], "absent: no such store"),
        (["import", "absent.csv", "--store", "s", "--columns", "ts"], "write ours=theirs|no such file"),
        (["download", "--instrument", "BTC", "--from", "2025-01-01", "--store", "s"], "'BTC' is no instrument"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], rule: str
) -> None:
    """Bad input is one line on standard error and exit code 2."""
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert re.search(rule, result.stderr)


def test_list_shows_what_there_is(store: Path) -> None:
    """The list names series, months, rows, span and rules; as JSON it has the sources too."""
    shown = call("list", "--store", store).stdout
    assert re.search(r"BTC/USDT:USDT +bars-1m +1 +100 +2025-02-01 00:00:00 +2025-02-01 01:39:00", shown)
    assert "BTC/USDT:USDT: rules of 2025-07-10" in shown
    told = json.loads(call("list", "--store", store, "--json").stdout)
    (series,) = told["series"]
    assert (series["rows"], series["first_ns"]) == (100, START_MS * 10**6)
    assert series["months"][0]["sources"][0]["name"] == "BTCUSDT-1m-2025-02.csv"


def test_verify_fails_when_it_should(store: Path, gappy: Path) -> None:
    """A clean store passes; a warning fails with --strict; an error or a damaged file always does."""
    assert call("verify", "--store", store, "--strict").exit_code == 0
    call("import", gappy, "--store", store)
    relaxed, strict = call("verify", "--store", store), call("verify", "--store", store, "--strict")
    assert (relaxed.exit_code, strict.exit_code) == (0, 1)
    assert "warning: ETH/USDT:USDT bars-1m: row 21 (2025-02-01 00:20:00 UTC): gap: 10 bars are missing" in strict.stderr
    assert "ETH/USDT:USDT bars-1m: 40 rows, 1 warning" in strict.stdout
    broken = next(store.rglob("2025-02.parquet"))
    broken.write_bytes(broken.read_bytes()[:100])
    damaged = call("verify", "--store", store, "--json")
    assert damaged.exit_code == 1
    assert str(broken) in json.loads(damaged.stdout)["broken"][0]


def test_verify_reads_files_too(tmp_path: Path, gappy: Path) -> None:
    """Files are judged without a store, and errors are told, not only the first."""
    assert call("verify", gappy).exit_code == 0
    assert call("verify", gappy, "--strict").exit_code == 1
    text = archive(candles(20)).replace("99.1,", "999.1,")
    bad = call("verify", write(tmp_path / "BTCUSDT-1m.csv", text))
    assert bad.exit_code == 1
    assert bad.stderr.count("ohlc") >= 3


def test_rules_are_imported_and_shown(tmp_path: Path, store: Path) -> None:
    """Rules come from the exchange's answers and from the operator, each with its day and source."""
    info, brackets = tmp_path / "info.json", tmp_path / "brackets.json"
    info.write_text(json.dumps(INFO))
    brackets.write_text(json.dumps(BRACKETS))
    undated = call("rules", "--store", store, "--brackets", brackets)
    assert undated.exit_code == 2
    assert "give the day they are of with --date" in undated.stderr
    options = ("--exchange-info", info, "--brackets", brackets, "--set", "maker_fee=0.0002", "--date", "2025-02-01")
    shown = call("rules", "--store", store, *options).stdout
    assert shown.index("BTC/USDT:USDT 2025-02-01") < shown.index("BTC/USDT:USDT 2025-07-10")
    assert re.search(r"tick +0.10 +info.json", shown)
    assert re.search(r"tiers +2 tiers +brackets.json", shown)
    assert re.search(r"maker_fee +0.0002 +the operator", shown)
    told = json.loads(call("rules", "--store", store, "--json").stdout)
    assert [rules["date"] for rules in told] == ["2025-02-01", "2025-07-10"]
    wrong = call("rules", "--store", store, "--set", "colour=1", "--date", "2025-02-01")
    assert (wrong.exit_code, "write FIELD=FIGURE" in wrong.stderr) == (2, True)


def test_replace_and_columns_reach_the_import(tmp_path: Path, store: Path) -> None:
    """The options of the command are those of the import."""
    text = f"when,o,h,l,c,v\n{START_MS // 1000},1,1,1,1,1\n{START_MS // 1000 + 60},1,1,1,1,1\n"
    file = write(tmp_path / "any.csv", text)
    mapping = ("--columns", "ts=when,open=o,high=h,low=l,close=c,volume=v", "--time-unit", "s")
    options = ("--store", store, "--instrument", "BTC/USDT:USDT", *mapping)
    refused = call("import", file, *options)
    assert refused.exit_code == 2
    assert "row 2: it contradicts what the store holds" in refused.stderr
    taken = call("import", file, *options, "--replace")
    assert taken.stdout.startswith("BTC/USDT:USDT bars-1m: 1 month, 0 new rows, 2 replaced")
