"""A small account in the simulation, for tests: it warms up in minutes and fills often."""

from decimal import Decimal
from pathlib import Path
from typing import Any

from hedgegrid.config.schema import AccountConfig
from hedgegrid.simulation.run import Plan, Result, Simulation
from hedgegrid.simulation.weather import Fault
from tests.actors.house import checked

BTC = "BTC/USDT:USDT"
LADDER: dict[str, Any] = {
    "step_bps": 12,
    "levels_long": 4,
    "levels_short": 4,
    "base_qty": Decimal("0.01"),
    "recenter_trigger_bps": 60,
    "max_inventory_quote": 20_000,
}


def account(**changes: dict[str, Any]) -> AccountConfig:
    """Settings of the small account, with ``changes`` over its sections (``grid``: over the grid's own)."""
    grid: dict[str, Any] = {
        "instrument": BTC,
        "timeframe": "1m",
        "max_position_qty": 1,
        "ladder": LADDER,
        "exit": {"sl_steps": 8},
        "regime": {"ema_fast": 3, "ema_slow": 6, "adx_len": 3, "atr_len": 3},
        "funding": {"on_missing": "ignore"},
        **changes.pop("grid", {}),
    }
    made: dict[str, Any] = {"account": {"name": "storm", "mode": "sim", "wallet_quote": 10_000}, "grid": [grid]}
    for name, change in changes.items():
        made[name] = {**made.get(name, {}), **change}
    return checked(made)


def storm(
    folder: Path,
    seed: int,
    *faults: Fault,
    hours: float = 1.0,
    force: float = 1.0,
    config: AccountConfig | None = None,
    without: frozenset[str] = frozenset(),
) -> Result:
    """Run one seed; ``faults`` alone are on, none of them: a random half."""
    plan = Plan(
        seed=seed,
        hours=hours,
        only=frozenset(faults) if faults else None,
        force_ppm=round(force * 1_000_000),
        without=without,
    )
    return Simulation(config or account(), plan, folder).run()
