"""Reading a file: every fault at once, each on a line with its path, and nothing secret repeated."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.config.catalogue import fields
from hedgegrid.config.load import ConfigError, load, loads
from hedgegrid.config.structure import structure
from hedgegrid.errors import Fatal


def problems_of(text: str) -> list[str]:
    """The lines with which a text is refused, without the file's name."""
    with pytest.raises(ConfigError) as refused:
        loads(text, "f.toml")
    assert str(refused.value) == "\n".join(refused.value.problems)
    assert refused.value.path == "f.toml"
    return [line.removeprefix("f.toml: ") for line in refused.value.problems]


def test_example_file_means_what_it_says(shared_dir: Path) -> None:
    """The settings every account file is written after load with their values, decimals exact, secrets unread."""
    config = load(shared_dir / "account.example.toml")
    assert config.account.wallet_quote == Decimal(10_000)
    assert config.grid[0].execution.price_tolerance_bps == Decimal("0.5")
    assert config.risk.var.lambda_ == Decimal("0.97")
    assert config.risk.drawdown.max_ratio == Decimal("0.10")
    assert config.venue.api_key is not None
    assert config.venue.api_key.env == "BINANCE_KEY"
    assert config.alerts.events == {"fill": "off", "recentered": "silent"}


def test_example_values_are_the_defaults(shared_dir: Path, smallest: str) -> None:
    """A setting left out means what the example shows; only references to secrets have no default."""
    example, bare = load(shared_dir / "account.example.toml"), loads(smallest, "f.toml")
    assert (bare.account, bare.sim, bare.grid, bare.risk) == (example.account, example.sim, example.grid, example.risk)
    assert (bare.watchdog, bare.supervisor, bare.journal) == (example.watchdog, example.supervisor, example.journal)
    assert bare.venue.leverage == example.venue.leverage
    assert bare.ops.listen == example.ops.listen


def test_journal_follows_the_account_name(smallest: str) -> None:
    """Two accounts that name no journal do not share one."""
    assert loads(f'[account]\nname = "second"\n{smallest}', "f.toml").journal.path == "state/second.db"
    named = loads(f'[account]\nname = "second"\n[journal]\npath = "x.db"\n{smallest}', "f.toml")
    assert named.journal.path == "x.db"


def test_all_faults_of_a_file_at_once() -> None:
    """One run of `check` shows everything: several faults of one section, of several sections, rules included."""
    text = """
    speed = 3
    [account]
    name = "NOT LIKE THIS"
    mode = "testnet"
    [venue]
    environment = "production"
    leverage = 0
    amend = 1
    [[grid]]
    instrument = "BTC/USDT:USDT"
    max_position_qty = -1
    [grid.ladder]
    step_bp = 12
    step_bps = 0.001
    levels_long = 8.0
    [grid.regime]
    ema_fast = 100
    adx_len = "x"
    atr_len = 0
    [[grid]]
    instrument = "BTC/USDT:USDT"
    timeframe = "2m"
    [journal]
    synchronous = "normal"
    """
    assert {line.partition(": ")[0] for line in problems_of(text)} == {
        "speed",
        "account.name",
        "venue.environment",
        "venue.api_key",
        "venue.api_secret",
        "venue.leverage",
        "venue.amend",
        "grid[0].max_position_qty",
        "grid[0].ladder.step_bp",
        "grid[0].ladder.step_bps",
        "grid[0].ladder.levels_long",
        "grid[0].ladder.base_qty",
        "grid[0].regime.ema_fast",
        "grid[0].regime.adx_len",
        "grid[0].regime.atr_len",
        "grid[1].instrument",
        "grid[1].timeframe",
        "grid[1].max_position_qty",
        "grid[1].ladder",
        "journal.synchronous",
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[grid.ladder]\nstep_bp = 12",
            "grid: expected an array of tables ([[grid]]), got a table",
        ),
        (
            "[[grid]]\n[grid.ladder]\nstep_bp = 1",
            "grid[0].ladder.step_bp: unknown setting; the nearest valid name is step_bps",
        ),
        (
            "[[grid]]\nema_fast = 1",
            "grid[0].ema_fast: unknown setting; the nearest valid name is grid[].regime.ema_fast",
        ),
        ("[ladder]", "ladder: unknown setting; the nearest valid name is grid[].ladder"),
        ("[acount]", "acount: unknown setting; the nearest valid name is account"),
        (
            "[risk.drawdown]\nratio_max = 1",
            "risk.drawdown.ratio_max: unknown setting; the nearest valid name is max_ratio",
        ),
        (
            '[sim.instrument."BTC/USDT:USDT"]\n"ti\\nck" = 1',
            'sim.instrument."BTC/USDT:USDT"."ti\\nck": unknown setting; the nearest valid name is tick',
        ),
        (
            '[sim.instrument."BTC/USDT:USDT"]\ntiers = [{ max_notional_quote = 1, maintenance_margin_ratio = 0 }]',
            'sim.instrument."BTC/USDT:USDT".tiers[0].maintenance_margin_ratio: must be above 0 and at most 1, got 0',
        ),
        (
            '[sim.synthetic]\nprices = { "BTC/USDT:USDT" = "much" }',
            'sim.synthetic.prices."BTC/USDT:USDT": expected a number, got text',
        ),
        ("grid = [1]", "grid[0]: expected a table, got a whole number"),
        ("grid = []", "grid: at least one [[grid]] is required"),
        ("", "grid: is required: one table for each instrument"),
    ],
)
def test_a_fault_is_named_by_its_path(text: str, line: str) -> None:
    """The full dotted path, with the index of a grid, and the nearest valid name lead to the place of a fault."""
    assert line in problems_of(text)


@pytest.mark.parametrize("text", ["[account]\nname = 1 2\n", "\n\n  a = [1,\n", "a = 1\na = 2\n", 'a = "\x01"'])
def test_broken_toml_is_one_line_with_its_place(text: str) -> None:
    """A typing error of syntax is found by file, line and column."""
    with pytest.raises(ConfigError, match=r"^f\.toml:\d+:\d+: not valid TOML: [^\n]+$"):
        loads(text, "f.toml")


def test_broken_toml_does_not_carry_the_text() -> None:
    """A secret in a file of broken syntax reaches no traceback through the parser's error."""
    with pytest.raises(ConfigError) as refused:
        loads('api_key = "HUSHHUSH"\n=', "f.toml")
    assert "HUSH" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


@pytest.mark.parametrize(
    "text", ["a = " + "1" * 5000, "a = " + "[" * 5000, "[account]\nwallet_quote = 1e9999999999999999999"]
)
def test_monstrous_values_are_refused_in_a_line(text: str) -> None:
    """Numbers and nesting beyond the parser's own bounds are a fault of the file, not a crash."""
    assert all("\n" not in line for line in problems_of(text))


def test_unreadable_files_are_one_line(tmp_path: Path, smallest: str) -> None:
    """Missing, directory, not UTF-8, too large, no path at all: each is refused in one line that names the file."""
    binary, large = tmp_path / "binary.toml", tmp_path / "large.toml"
    binary.write_bytes(b"a = 1\nb = '\xff'\n")
    large.write_bytes(b"#" * 1_100_000)
    expected = {
        tmp_path / "absent.toml": "No such file or directory",
        tmp_path: "Is a directory",
        binary: "is not UTF-8 text (line 2)",
        large: "is larger than 1048576 bytes",
        Path("a\0b"): "is not a path",
    }
    for path, why in expected.items():
        with pytest.raises(ConfigError) as refused:
            load(path)
        assert len(refused.value.problems) == 1
        assert why in str(refused.value)
        assert "\n" not in str(refused.value)
    good = tmp_path / "good.toml"
    good.write_bytes(b"\xef\xbb\xbf" + smallest.replace("\n", "\r\n").encode())
    assert load(good) == loads(smallest, "f.toml")


def test_a_refusal_is_fatal() -> None:
    """The command line treats a faulty config like every other fault that only the user can mend."""
    assert issubclass(ConfigError, Fatal)


LEAVES = [info.path for info in fields() if "*" not in info.path and "tiers" not in info.path]


@pytest.mark.parametrize("path", LEAVES)
def test_wrong_kinds_are_refused_by_path(path: str, full_tables: dict[str, Any]) -> None:
    """Every single setting refuses true for a number, text for a number, a number for text, an array for anything."""
    *sections, key = path.split(".")
    table: Any = full_tables
    for name in sections:
        table = table[name.removesuffix("[]")][0] if name.endswith("[]") else table[name]
    if key == "base_quote":
        table.pop("base_qty")
    good = table.get(key, Decimal(1))
    wrong = [[], {"x": 1}, Decimal("NaN"), "?", 7] if isinstance(good, bool) else [[], {"x": 1}, Decimal("NaN"), True]
    wrong += ["7", "?"] if isinstance(good, int | Decimal) else [7, Decimal("7.5")]
    wrong += [Decimal("7.5")] if _is_count(path) else []
    for value in wrong:
        table[key] = value
        _, problems = structure(full_tables)
        assert [problem for problem in problems if problem.path.startswith(path.replace("[]", "[0]"))], value


def _is_count(path: str) -> bool:
    """Whether a setting is a whole number."""
    return next(info.type for info in fields() if info.path == path) == "whole number"


def test_full_file_names_every_setting(full_tables: dict[str, Any]) -> None:
    """The tables these tests work on leave no setting out."""
    missing = []
    for info in fields():
        table: Any = [full_tables]
        for name in info.path.split("."):
            inner = [each for one in table for each in _under(one, name)]
            table = inner
        missing += [] if table else [info.path]
    assert missing == []


def _under(table: dict[str, Any], name: str) -> list[Any]:
    """What a table has at a name of a catalogue path."""
    if name == "*":
        return list(table.values())
    found = table.get(name.removesuffix("[]"))
    if found is None:
        return []
    return list(found) if name.endswith("[]") else [found]


@pytest.mark.parametrize("path", sorted({info.path.rpartition(".")[0] for info in fields()} | {""}))
def test_unknown_keys_are_refused_in_every_section(path: str, full_tables: dict[str, Any]) -> None:
    """No section swallows a key it does not know."""
    tables: list[Any] = [full_tables]
    for name in path.split(".") if path else []:
        tables = [each for one in tables for each in _under(one, name)]
    tables[0]["no_such_key"] = 1
    config, problems = structure(full_tables)
    assert config is None
    assert [problem.path.endswith("no_such_key") for problem in problems] == [True]
    assert "nearest valid name is" in problems[0].message


def test_live_demands_every_limit(full: str) -> None:
    """In live mode each key under [risk] is in the file; all that are missing are listed."""
    assert loads(full, "f.toml").account.mode == "live"
    head, _, rest = full.partition("[risk]")
    without = head + "[watchdog]" + rest.partition("[watchdog]")[2]
    # The kill switch has no limit, and its defaults are the strongest.
    named = [info.path for info in fields() if info.path.startswith("risk.")]
    limits = [path for path in named if not path.startswith("risk.kill_switch.")]
    assert [line.partition(": ")[0] for line in problems_of(without)] == limits
    for line in (
        "max_leverage = 3.5\n",
        "lambda = 0.95\n",
        "cooldown_s = 200\n",
        "max_annualised = 2.5\n",
    ):
        assert line in full
        assert any("in live mode no limit has a default" in each for each in problems_of(full.replace(line, "")))


def test_other_modes_default_their_limits(full: str) -> None:
    """Outside live mode absent limits have the documented defaults."""
    head, _, rest = full.partition("[risk]")
    without = head + "[watchdog]" + rest.partition("[watchdog]")[2]
    text = without.replace('mode = "live"', 'mode = "testnet"').replace('"production"', '"testnet"')
    assert loads(text, "f.toml").risk.max_leverage == Decimal(4)
