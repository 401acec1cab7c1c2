"""Limits of single settings and rules between them, at their edges, through the file and in Python."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import attrs
import pytest

from hedgegrid.config.fields import RuleError
from hedgegrid.config.grid import ExitConfig, GridConfig, LadderConfig, RegimeConfig
from hedgegrid.config.load import loads
from hedgegrid.config.schema import AccountConfig, AccountSection, OpsConfig
from hedgegrid.config.sim import MarginTier, SimInstrumentConfig
from hedgegrid.config.structure import structure

D = Decimal
Tables = dict[str, Any]


def place(tables: Tables, path: str, value: object) -> None:
    """Put a value at a path of the first grid and the like."""
    *sections, key = path.split(".")
    for name in sections:
        tables = tables["grid"][0] if name == "grid" else tables.setdefault(name, {})
    tables[key] = value


EDGES: list[tuple[str, list[object], list[object]]] = [
    ("account.name", ["a", "a-1", "x" * 16], ["", "A", "x" * 17, "a_b", "ä", "a\n", "../a"]),
    ("account.wallet_quote", [1, D("0.00000001"), 10**10], [0, -1, D("0.000000001"), 10**10 + 1, D("1E+500")]),
    ("venue.leverage", [1, 125], [0, 126]),
    ("venue.recv_window_ms", [1, 60_000], [0, 60_001]),
    (
        "venue.rest_url",
        ["https://a.example/x", "http://localhost:1"],
        ["http://a.example", "ftp://a", "a", "https://", ""],
    ),
    ("venue.ws_url", ["wss://a.example", "ws://127.1.2.3:1"], ["ws://10.0.0.1", "https://a.example", "wss://[x]"]),
    ("sim.seed", [0, 2**63 - 1], [-1, 2**63]),
    ("sim.latency_ms", [0, 60_000], [-1, 60_001]),
    ("sim.maker_bps", [D("-0.01"), D("1.62"), 0], [D("0.001"), -101]),
    ("sim.synthetic.prices", [{"BTC/USDT:USDT": D(1), "ETH/USDT:USDT": D("0.1")}], [{"BTC/USDT:USDT": 1, "BTC": 1}]),
    (
        "grid.instrument",
        ["SOL/USDT:USDT", "1000PEPE/USDT:USDT"],
        ["BTCUSDT", "BTC/USDT", "BTC/USD:BTC", "btc/usdt:usdt"],
    ),
    ("grid.timeframe", ["1s", "5s", "15s", "1m", "3m", "30m", "12h", "1d"], ["2m", "1M", "60", ""]),
    ("grid.max_position_qty", [D("0.000001"), 5], [0, -1]),
    ("grid.ladder.step_bps", [D("0.01"), 12, D("12.25")], [0, -1, D("0.001"), D("12.125"), 10_001]),
    ("grid.ladder.levels_long", [1, 144], [0, 201, -1]),
    ("grid.ladder.levels_short", [1, 60], [0, 201]),
    ("grid.ladder.atr_multiple", [D("0.000001"), 3], [0, D("0.0000001")]),
    ("grid.ladder.qty_scale", [D("0.5"), 1, D("1.5")], [0, 9, D("1.0000001")]),
    ("grid.ladder.recenter_trigger_bps", [D("0.01")], [0, D("0.005")]),
    ("grid.ladder.vol_target", [D("0.01")], [0, D("0.0000001")]),
    ("grid.ladder.vol_lambda", [D("0.5"), D("0.999999")], [0, 1, D("1.1")]),
    ("grid.exit.tp_steps", [D("0.5")], [0, -1]),
    ("grid.regime.ema_fast", [2, 49], [1, 50, 51]),
    ("grid.regime.adx_threshold", [0, 100], [-1, 101]),
    ("grid.policy.counter_levels", [0, 200], [-1, 201]),
    ("grid.policy.counter_qty_scale", [D("0.000001"), 1], [0, D("1.1")]),
    ("grid.funding.max_cost_bps_8h", [0, D("0.01")], [-1, D("0.001")]),
    ("grid.funding.window_minutes", [1, 10_080], [0, 10_081]),
    ("grid.execution.qty_tolerance_ratio", [0, 1, D("0.000001")], [D("1.1"), D("0.0000001"), -1]),
    ("risk.max_position_ratio", [1, D("0.5")], [0, D("1.01")]),
    ("risk.min_liquidation_distance_ratio", [D("0.5")], [0, 1]),
    ("risk.cancel_budget_ratio", [D("0.5")], [0, 1]),
    ("risk.max_quote_age_ms", [1], [0]),
    ("risk.var.confidence", [D("0.51"), D("0.999")], [D("0.5"), 1]),
    ("risk.var.lambda", [D("0.5")], [0, 1]),
    ("supervisor.max_restarts", [0], [-1]),
    ("supervisor.backoff_min_ms", [20_000], [20_001, 0]),
    (
        "ops.listen",
        ["[::]:0", "0.0.0.0:65535", "localhost:1"],
        ["8080", "a:65536", ":80", "a b:1", "::1:80", "127.0.0.1:"],
    ),
    ("alerts.events", [{}, {"fill": "on"}], [{"Fill": "on"}, {"a b": "on"}]),
    ("journal.path", ["a.db"], ["", " ", "a\0b", "x" * 2000]),
]


@pytest.mark.parametrize(("path", "good", "bad"), EDGES, ids=[edge[0] for edge in EDGES])
def test_edges(path: str, good: list[object], bad: list[object], full_tables: Tables) -> None:
    """Each setting takes the values at its limits and refuses the ones just beyond, at its path."""
    for value in good:
        place(full_tables, path, value)
        assert structure(full_tables)[1] == (), value
    for value in bad:
        place(full_tables, path, value)
        problems = structure(full_tables)[1]
        assert [problem.path.replace("grid[0]", "grid") for problem in problems] == [path], value


def test_finer_than_a_ppm_is_refused_in_those_words(full_tables: Tables) -> None:
    """A ratio that no ppm integer can hold is refused rather than rounded."""
    place(full_tables, "grid.ladder.step_bps", D("12.005"))
    assert [problem.message for problem in structure(full_tables)[1]] == ["finer than 0.01 bps (1 ppm) is refused"]
    place(full_tables, "grid.ladder.step_bps", D("12.5000000000000000000000000000000000000000000001"))
    assert len(structure(full_tables)[1]) == 1


def drop(path: str) -> Callable[[Tables], None]:
    """An edit that removes a setting."""

    def edit(tables: Tables) -> None:
        *sections, key = path.split(".")
        for name in sections:
            tables = tables["grid"][0] if name == "grid" else tables[name]
        del tables[key]

    return edit


def put(path: str, value: object) -> Callable[[Tables], None]:
    """An edit that sets a setting."""
    return lambda tables: place(tables, path, value)


RULES: list[tuple[str, list[Callable[[Tables], None]], str]] = [
    ("live trades in production", [put("venue.environment", "testnet")], "venue.environment"),
    ("testnet trades on the testnet", [put("account.mode", "testnet")], "venue.environment"),
    ("live needs a key", [drop("venue.api_key")], "venue.api_key"),
    ("live needs the key's secret", [drop("venue.api_secret")], "venue.api_secret"),
    ("live protects reading", [drop("ops.read_token")], "ops.read_token"),
    ("live flushes", [put("journal.synchronous", "normal")], "journal.synchronous"),
    (
        "live on loopback still needs a control token",
        [put("ops.listen", "127.0.0.1:1"), drop("ops.control_token")],
        "ops.control_token",
    ),
    (
        "an open address needs a control token",
        [put("account.mode", "paper"), drop("ops.control_token")],
        "ops.listen",
    ),
    ("an open address needs encryption", [drop("ops.tls_cert"), drop("ops.tls_key")], "ops.listen"),
    ("certificate without key", [put("ops.listen", "[::1]:1"), drop("ops.tls_key")], "ops.tls_key"),
    ("key without certificate", [put("ops.listen", "localhost:1"), drop("ops.tls_cert")], "ops.tls_cert"),
    ("an instrument twice", [put("grid.instrument", "ETH/USDT:USDT")], "grid[1].instrument"),
    ("two currencies", [put("grid.instrument", "BTC/USDC:USDC")], "grid"),
    ("two timeframes on recorded bars", [put("sim.market", "recorded")], "grid"),
    (
        "no start price",
        [put("account.mode", "sim"), put("sim.synthetic.prices", {"BTC/USDT:USDT": 1})],
        "sim.synthetic.prices",
    ),
    ("both quantities", [put("grid.ladder.base_quote", 600)], "grid[0].ladder.base_qty"),
    ("no quantity", [drop("grid.ladder.base_qty")], "grid[0].ladder.base_qty"),
    (
        "an arithmetic ladder down to zero",
        [put("grid.ladder.geometric", value=False), put("grid.ladder.step_bps", 1000)],
        "grid[0].ladder.levels_long",
    ),
    ("fast not below slow", [put("grid.regime.ema_slow", 10)], "grid[0].regime.ema_fast"),
    ("backoff upside down", [put("supervisor.backoff_max_ms", 99)], "supervisor.backoff_min_ms"),
]


@pytest.mark.parametrize(("edits", "path"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES])
def test_rules_between_settings(edits: list[Callable[[Tables], None]], path: str, full_tables: Tables) -> None:
    """Settings that contradict each other are refused, at the one to mend."""
    for edit in edits:
        edit(full_tables)
    assert path in [problem.path for problem in structure(full_tables)[1]]


def test_modes_that_send_no_orders_need_no_keys(smallest: str) -> None:
    """Sections that a mode does not need may be absent: sim and paper run from a grid alone."""
    for mode in ("sim", "paper"):
        assert loads(f'[account]\nmode = "{mode}"\n{smallest}', "f").venue.api_key is None
    relaxed = f'[account]\nmode = "paper"\n[journal]\nsynchronous = "normal"\n{smallest}'
    assert loads(relaxed, "f").journal.synchronous == "normal"


def test_rules_of_simulated_instruments(full_tables: Tables) -> None:
    """Tiers ascend, margin has one source, orders have a range, settlements fall on fixed hours."""
    rules = full_tables["sim"]["instrument"]["BTC/USDT:USDT"]
    first, second = rules["tiers"]
    for change in (
        {"tiers": [second, first]},
        {"tiers": [first, first]},
        {"tiers": [first, {**second, "maintenance_margin_ratio": D("0.001")}]},
        {"maintenance_margin_ratio": D("0.01")},
        {"min_qty": 121},
        {"funding_interval_hours": 5},
        {"tick": 0},
    ):
        full_tables["sim"]["instrument"]["BTC/USDT:USDT"] = {**rules, **change}
        problems = structure(full_tables)[1]
        assert len(problems) == 1, change
        assert problems[0].path.startswith('sim.instrument."BTC/USDT:USDT".')


def test_python_construction_is_checked_alike() -> None:
    """Code that builds settings without a file gets the same refusals, and whole numbers become decimals."""
    ladder = LadderConfig(base_qty=D("0.01"), step_bps=D(10))
    whole = attrs.evolve(ladder, step_bps=12)  # type: ignore[arg-type]
    assert isinstance(whole.step_bps, Decimal)
    with pytest.raises(ValueError, match="step_bps: must be above 0"):
        LadderConfig(base_qty=D(1), step_bps=D(0))
    with pytest.raises(ValueError, match="levels_long: expected a whole number, got true or false"):
        LadderConfig(base_qty=D(1), levels_long=True)
    with pytest.raises(ValueError, match="tp_steps: expected a number, got a binary float"):
        ExitConfig(tp_steps=0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mode: expected one of sim"):
        AccountSection(mode="demo")  # type: ignore[arg-type]
    with pytest.raises(RuleError) as refused:
        LadderConfig(step_bps=D(5000), base_qty=D(1), base_quote=D(1))
    assert [problem.path for problem in refused.value.problems] == ["base_qty", "levels_long"]
    with pytest.raises(RuleError):
        RegimeConfig(ema_fast=60)
    with pytest.raises(RuleError):
        OpsConfig(listen="0.0.0.0:80")
    with pytest.raises(RuleError):
        SimInstrumentConfig(
            maintenance_margin_ratio=D("0.1"),
            tiers=(MarginTier(max_notional_quote=D(1), maintenance_margin_ratio=D("0.1")),),
        )
    grid = GridConfig(instrument="BTC/USDT:USDT", max_position_qty=D(1), ladder=ladder)
    with pytest.raises(ValueError, match="at least one"):
        AccountConfig(grid=())
    assert AccountConfig(grid=(grid,)).grid[0].ladder is ladder


def test_settings_are_frozen(config: AccountConfig) -> None:
    """Nothing changes the settings of a running account behind its back."""
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        config.risk.max_leverage = D(100)  # type: ignore[misc]
