"""Warnings: each trap is told with its figures, and sound settings are left in peace."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.config import coverage
from hedgegrid.config.advice import advice, unset_secrets
from hedgegrid.config.catalogue import fields
from hedgegrid.config.coverage import NOT_ENFORCED, not_enforced
from hedgegrid.config.load import load, loads
from hedgegrid.config.schema import AccountConfig
from hedgegrid.config.structure import structure

D = Decimal


def config_with(changes: Mapping[str, object]) -> AccountConfig:
    """The smallest config with settings changed; paths under `grid` mean its one grid."""
    grid: dict[str, Any] = {"instrument": "BTC/USDT:USDT", "max_position_qty": 1, "ladder": {"base_qty": D("0.01")}}
    tables: dict[str, Any] = {"grid": [grid]}
    for path, value in changes.items():
        *sections, key = path.split(".")
        table: Any = tables
        for name in sections:
            table = grid if name == "grid" else table.setdefault(name, {})
        if key == "base_quote":
            del table["base_qty"]
        table[key] = value
    config, problems = structure(tables)
    assert config is not None, problems
    return config


TRAPS: list[tuple[str, dict[str, object], str, str]] = [
    (
        "trigger beyond span",
        {"grid.ladder.recenter_trigger_bps": D("96.01")},
        "grid[0].ladder.recenter_trigger_bps",
        "96 bps",
    ),
    ("trigger beyond short", {"grid.ladder.levels_short": 4}, "grid[0].ladder.recenter_trigger_bps", "of 48 bps"),
    (
        "losing take-profit",
        {"grid.ladder.step_bps": 4, "grid.ladder.recenter_trigger_bps": 1},
        "grid[0].exit.tp_steps",
        "loses",
    ),
    ("thin take-profit", {"grid.exit.tp_steps": D("0.66")}, "grid[0].exit.tp_steps", "under twice the fees"),
    ("taking entries cost more", {"grid.execution.post_only": False}, "grid[0].exit.tp_steps", "7 bps of fees"),
    (
        "scalps of one step",
        {"grid.policy.name": "core-and-scalp", "grid.exit.tp_steps": 5, "sim.maker_bps": 4},
        "grid[0].exit.tp_steps",
        "12 bps",
    ),
    ("stop at the next rung", {"grid.exit.sl_steps": 1}, "grid[0].exit.sl_steps", "not beyond the next rung"),
    (
        "nothing held back",
        {"grid.policy.counter_levels": 8, "grid.policy.counter_qty_scale": 1},
        "grid[0].policy.counter_levels",
        "nothing is held back",
    ),
    (
        "nothing scalps",
        {"grid.policy.name": "core-and-scalp", "grid.policy.core_levels": 8},
        "grid[0].policy.core_levels",
        "nothing scalps",
    ),
    (
        "tolerance of a step",
        {"grid.execution.price_tolerance_bps": 12},
        "grid[0].execution.price_tolerance_bps",
        "step_bps",
    ),
    ("endless window", {"grid.funding.window_minutes": 481}, "grid[0].funding.window_minutes", "8 hours"),
    (
        "inventory above the leg's cap",
        {"grid.ladder.max_inventory_quote": 20001},
        "grid[0].ladder.max_inventory_quote",
        "20000",
    ),
    ("rung above the order's cap", {"grid.ladder.base_quote": 5001}, "grid[0].ladder.base_quote", "5001"),
    (
        "order cap below one rung",
        {"grid.ladder.base_quote": 100, "risk.max_order_notional_quote": 99},
        "risk.max_order_notional_quote",
        "99 is below one rung of 100: nothing is ever sent",
    ),
    (
        "leg cap below the smallest rung",
        {"grid.ladder.base_quote": 400, "grid.ladder.qty_scale": D("0.5"), "risk.max_notional_per_leg_quote": 3},
        "risk.max_notional_per_leg_quote",
        "below one rung of 3.12",
    ),
    (
        "inventory below one rung",
        {"grid.ladder.base_quote": 600, "grid.ladder.max_inventory_quote": 599},
        "grid[0].ladder.max_inventory_quote",
        "599 is below one rung of 600: nothing is ever sent",
    ),
    (
        "order cap below one rung of a known price",
        {"sim.synthetic": {"prices": {"BTC/USDT:USDT": 100_000}}, "risk.max_order_notional_quote": 999},
        "risk.max_order_notional_quote",
        "999 is below one rung of 1000 at the start price",
    ),
    (
        "more rungs than orders a minute",
        {"risk.max_orders_per_minute": 15},
        "risk.max_orders_per_minute",
        "15 is below the 16 rungs",
    ),
    ("amendments where there are none", {"venue.amend": True}, "venue.amend", 'does nothing in mode "sim"'),
    ("ladder above the position's cap", {"grid.max_position_qty": D("0.079")}, "grid[0].max_position_qty", "0.08"),
    ("more rungs than orders", {"risk.max_open_orders_per_leg": 7}, "grid[0].ladder.levels_long", "8 rungs"),
    ("ladder beyond the collar", {"risk.price_collar_bps": 95}, "grid[0].ladder.step_bps", "96 bps"),
    ("worst case above the wallet", {"account.wallet_quote": 7999}, "account.wallet_quote", "needs 8000 of margin"),
    ("worst case above the leverage", {"risk.max_leverage": D("3.9")}, "risk.max_leverage", "40000"),
    (
        "stops above the wallet",
        {"grid.exit.sl_steps": 100, "account.wallet_quote": 2000, "venue.leverage": 125, "risk.max_leverage": 125},
        "account.wallet_quote",
        "stopping out",
    ),
    (
        "order cap above the leg's",
        {"risk.max_order_notional_quote": 20001},
        "risk.max_order_notional_quote",
        "never binds",
    ),
    ("net cap above gross", {"risk.max_net_notional_quote": 40001}, "risk.max_net_notional_quote", "never binds"),
    ("leverage", {"risk.max_leverage": 1}, "risk.max_leverage", "is above 1 times the wallet of 10000"),
    (
        "initial margin",
        {"risk.max_position_ratio": D("0.5")},
        "risk.max_position_ratio",
        "needs 8000 of margin at leverage 5, above 0.5 of the wallet of 10000",
    ),
    (
        "liquidation",
        {"risk.min_liquidation_distance_ratio": D("0.6")},
        "risk.min_liquidation_distance_ratio",
        "a full leg of 20000 on a wallet of 10000 is liquidated nearer than 0.6 of the price",
    ),
    (
        "value at risk",
        {"risk.var.max_ratio": D("0.1")},
        "risk.var.max_ratio",
        "a full leg of 20000 on a wallet of 10000 is over the limit from an annualised volatility of 41.06 % on",
    ),
    (
        "rules of an untraded instrument",
        {"sim.instrument": {"XRP/USDT:USDT": {"tick": 1}}},
        'sim.instrument."XRP/USDT:USDT"',
        "no grid",
    ),
    (
        "isolated margin",
        {
            "account.mode": "testnet",
            "venue.margin_mode": "isolated",
            "venue.api_key": {"env": "A"},
            "venue.api_secret": {"env": "B"},
        },
        "venue.margin_mode",
        "isolated",
    ),
]


@pytest.mark.parametrize(("changes", "path", "figure"), [trap[1:] for trap in TRAPS], ids=[trap[0] for trap in TRAPS])
def test_traps_are_told(changes: dict[str, object], path: str, figure: str) -> None:
    """Settings that work against each other are named at the one to look at first, with the figures."""
    assert [each for each in advice(config_with(changes)) if each.path == path and figure in each.message]


SOUND: list[dict[str, object]] = [
    {},
    {"grid.ladder.recenter_trigger_bps": 96},
    {"grid.ladder.recenter_trigger_bps": 500, "grid.ladder.spacing": "atr"},
    {"grid.exit.tp_steps": D("0.67")},
    {"grid.exit.tp_steps": D("0.1"), "sim.maker_bps": D("-0.5")},
    {"grid.exit.sl_steps": D("1.01")},
    {"grid.policy.counter_levels": 8},
    {"grid.ladder.base_quote": 600},
    {"grid.ladder.base_quote": 600, "grid.ladder.max_inventory_quote": 600, "risk.max_order_notional_quote": 600},
    {"risk.max_orders_per_minute": 16},
    {"account.wallet_quote": 5000, "grid.ladder.base_quote": 600, "risk.max_leverage": 4},
]


@pytest.mark.parametrize("changes", SOUND)
def test_sound_settings_are_left_in_peace(changes: dict[str, object]) -> None:
    """A warning that is shown for sound settings is a warning that nobody reads."""
    assert advice(config_with(changes)) == ()


def test_the_example_is_sound(shared_dir: Path) -> None:
    """The file that everybody starts from draws no warning."""
    assert advice(load(shared_dir / "account.example.toml")) == ()


def test_geometric_spans_are_compounded() -> None:
    """A geometric ladder under the center is shorter than its steps added up."""
    changes: dict[str, object] = {
        "grid.ladder.geometric": True,
        "grid.ladder.step_bps": 100,
        "grid.ladder.recenter_trigger_bps": 795,
        "risk.price_collar_bps": 1000,
    }
    assert [each.path for each in advice(config_with(changes))] == ["grid[0].ladder.recenter_trigger_bps"]
    arithmetic = {**changes, "grid.ladder.geometric": False}
    assert advice(config_with(arithmetic)) == ()


def test_coverage_names_real_settings() -> None:
    """The table of what is not enforced cannot go stale: each path is a setting or a section of the schema."""
    paths = [info.path for info in fields()]
    for prefix in NOT_ENFORCED:
        assert any(path == prefix or path.startswith(f"{prefix}.") for path in paths), prefix


def test_coverage_follows_the_config(full: str, config: AccountConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` would name what a config asks for in vain, and is silent about what it does not ask for."""
    complete = loads(full, "f")
    assert not_enforced(complete) == ()
    monkeypatch.setattr(coverage, "NOT_ENFORCED", {"venue.amend": "it is not built", "risk.var": "nor is this"})
    assert "venue.amend" not in {each.path for each in not_enforced(config)}
    told = {each.path: each.message for each in not_enforced(complete)}
    assert told["venue.amend"] == "accepted, not enforced in this version: it is not built"


def test_figures_do_not_follow_the_process_rounding() -> None:
    """A library of the adapter sets how the whole process rounds: the same settings get the same words."""
    trap = {"grid.ladder.base_quote": 400, "grid.ladder.qty_scale": D("0.5"), "risk.max_notional_per_leg_quote": 3}
    with localcontext() as context:
        context.rounding = ROUND_HALF_UP
        assert any("below one rung of 3.12" in each.message for each in advice(config_with(dict(trap))))


def test_secrets_that_are_not_there_are_named(full: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`check` says what a start from here would be refused for: the setting and where its secret is not, no value."""
    config = loads(full, "f")
    monkeypatch.setenv("BINANCE_KEY", "s3cret-value")
    told = {one.path: one.message for one in unset_secrets(config)}
    assert "venue.api_key" not in told
    assert told["ops.control_token"].startswith("file secrets/control: ")
    monkeypatch.delenv("BINANCE_KEY")
    told = {one.path: one.message for one in unset_secrets(config)}
    assert told["venue.api_key"] == "environment variable BINANCE_KEY is not set: a run needs it"
