"""The driver interpreted and compiled: one source, equal tables, to the last bit.

Invariant: the machine code is compiled once for all workers of a session; every function of the driver takes part.
"""

import fcntl
import sys
from decimal import Decimal
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import attrs
import pytest

from hedgegrid.backtest import driver
from hedgegrid.backtest.desk import Account, Floor
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.backtest.twins import DRIVER_MODULES, hot_functions
from hedgegrid.config.schema import AccountConfig
from hedgegrid.units import NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.simulated.recorded import recorded_market
from tests.actors.house import FIRST_BAR, checked, document, settings
from tests.backtest.lanes import Lane, backtest, made_bars, made_funding, made_lane, made_ticks
from tests.core.made import walk

TABLES = ("fills", "cuts", "orders", "equity", "holdings", "funding", "grids", "pauses")
FUNDED = [(3, 120_000), (60, -80_000), (120, 250_000), (600, 900_000)]


@pytest.fixture(scope="session")
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> driver.Execution:
    """The compiled driver; a second worker waits for the first to fill the cache, then loads."""
    cache = getattr(request.config, "cache", None)
    folder = tmp_path_factory.mktemp("driver") if cache is None else cache.mkdir("driver")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        execution = driver.compiled(folder)
        for lane in (made_lane(4, 10), Lane(ticks=(made_ticks(3, 100),), funding=(made_funding(()),))):
            backtest(settings(folder), lane, execution)
    return execution


def two_instruments(folder: Path) -> tuple[AccountConfig, Lane]:
    """Two grids under one limit that both meet, a hole in one, funding on the other."""
    text = document(folder, risk={"max_gross_notional_quote": 150, "max_notional_per_leg_quote": 100})
    eth = "ETH/USDT:USDT"
    first = text["grid"][0]
    text["grid"] = [first, {**first, "instrument": eth, "ladder": {**first["ladder"], "step_bps": 35}}]
    text["sim"]["instrument"][eth] = {"min_notional": 0, "tick": Decimal("0.1")}
    numbers = [*range(80), *range(84, 150)]
    bars = (made_bars(walk(4, 150)), made_bars(walk(9, len(numbers)), numbers))
    return checked(text), Lane(bars=bars, funding=(made_funding(FUNDED), made_funding(())))


def scenes(folder: Path) -> list[tuple[str, AccountConfig, Lane]]:
    """Settings and markets that between them call every function of the driver."""
    guard = {"on_missing": "pause", "window_minutes": 480, "max_cost_bps_8h": 3}
    tight = {
        "drawdown": {"max_ratio": Decimal("0.00002"), "action": "flatten"},
        "volatility_halt": {"max_annualised": 9},
    }
    holes = [*range(60), *range(75, 110), *range(112, 150), *range(153, 700)]
    slow: dict[str, Any] = {
        "sim": {"latency_ms": 16_000},
        "execution": {"retry_delay_ms": 7_000, "retry_max_price_deviation_bps": 50},
        "ladder": {"step_bps": 6, "recenter_trigger_bps": 5_000},
    }
    broke: dict[str, Any] = {
        "account": {"wallet_quote": 12},
        "ladder": {"base_qty": Decimal("0.3"), "levels_long": 6},
        "exit": {"sl_steps": 400, "backstop_steps": 400},
        "risk": {name: {"enabled": False} for name in ("drawdown", "daily_loss", "session_loss", "margin_kill")},
    }
    ticks = Lane(ticks=(made_ticks(3, 3_000),), funding=(made_funding(FUNDED),))
    queue = settings(folder, sim={"fill": "queue", "latency_ms": 150}, ladder={"base_qty": Decimal("0.02")})
    late, soon = (FIRST_BAR + 40) * NS_PER_MINUTE, (FIRST_BAR + 3) * NS_PER_MINUTE
    return [
        ("warmed up", settings(folder), attrs.evolve(made_lane(4, 200, funding=FUNDED), decide_from_ns=late)),
        ("warmed up on trades", settings(folder), attrs.evolve(ticks, decide_from_ns=soon)),
        ("funding and holes", settings(folder, funding=guard), made_lane(5, numbers=holes, funding=FUNDED)),
        ("controls", settings(folder, risk=tight), made_lane(4, 200)),
        ("orders a minute", settings(folder, risk={"max_orders_per_minute": 4}), made_lane(4, 200)),
        ("leg stops", settings(folder, exit={"stop_scope": "leg", "sl_steps": 3}), made_lane(4, 200)),
        ("retries", settings(folder, **slow), made_lane(4, 200)),
        ("liquidation", settings(folder, **broke), made_lane(7, 400)),
        ("two instruments", *two_instruments(folder)),
        ("queue", queue, ticks),
        ("through", settings(folder, sim={"latency_ms": 150}), ticks),
    ]


NAMES = [name for name, _, _ in scenes(Path("unused"))]


def differences(one: BacktestResult, other: BacktestResult) -> list[str]:
    """The names of what differs between two results."""
    found = [name for name in TABLES if getattr(one, name).tobytes() != getattr(other, name).tobytes()]
    plain = ("points", "ambiguous_bars", "below_minimum", "liquidated_ns", "liquidation_equity_e8", "is_ticks")
    found += [name for name in plain if getattr(one, name) != getattr(other, name)]
    return found + (["extremes"] if attrs.astuple(one.extremes) != attrs.astuple(other.extremes) else [])


@pytest.mark.parametrize("name", NAMES)
def test_executions_agree(compiled: driver.Execution, name: str, tmp_path: Path) -> None:
    """Every table and figure is equal between the executions."""
    (scene,) = [scene for scene in scenes(tmp_path) if scene[0] == name]
    plain = backtest(scene[1], scene[2], driver.interpreted())
    assert len(plain.fills) > 5, "a scene in which nothing happens proves nothing"
    assert differences(plain, backtest(scene[1], scene[2], compiled)) == []


def test_real_bars_agree(compiled: driver.Execution, shared_dir: Path, tmp_path: Path) -> None:
    """The same on recorded bars, whose floats are not made up."""
    ladder = {"step_bps": 12, "levels_long": 8, "levels_short": 8, "recenter_trigger_bps": 60}
    off: dict[str, Any] = {name: {"enabled": False} for name in ("drawdown", "daily_loss", "session_loss")}
    config = settings(tmp_path, ladder=ladder, exit={"sl_steps": 12}, policy={"name": "core-and-scalp"}, risk=off)
    lane = recorded_lane(config, shared_dir / "data/um_1m/2025-07-06_2025-07-17/BTCUSDT-1m.feather", 60 * NS_PER_S)
    plain = backtest(config, lane, driver.interpreted())
    assert len(plain.fills) > 1_000
    assert differences(plain, backtest(config, lane, compiled)) == []


def test_real_trades_agree(compiled: driver.Execution, shared_dir: Path, tmp_path: Path) -> None:
    """The same on a recorded capture, through the queue."""
    ladder = {"step_bps": 1, "levels_long": 8, "levels_short": 8, "recenter_trigger_bps": 10, "base_qty": 1}
    text = document(tmp_path, ladder=ladder, sim={"fill": "queue", "latency_ms": 50}, exit={"sl_steps": 5})
    text["grid"][0]["timeframe"] = "1s"
    config = checked(text)
    lane = recorded_lane(config, shared_dir / "data/ticks_raw_ws/usdm_btcusdt_20230404.dat.gz", NS_PER_S)
    plain = backtest(config, lane, driver.interpreted())
    assert len(plain.fills) > 50
    assert differences(plain, backtest(config, lane, compiled)) == []


def recorded_lane(config: AccountConfig, path: Path, length_ns: int) -> Lane:
    """A recorded file as a lane."""
    from hedgegrid.config.params import instrument_of

    instrument = instrument_of(config, config.grid[0].instrument)
    market = recorded_market([path], [instrument], length_ns)
    return Lane(bars=market.bars, ticks=market.ticks, funding=market.funding, length_ns=length_ns)


def test_the_drawdown_of_the_largest_account_is_exact(compiled: driver.Execution) -> None:
    """Compiled integers wrap in silence: the ratio of two figures of 1e18 must not."""
    for execution in (driver.interpreted(), compiled):
        account = execution.contain([Floor(account=Account(high_e8=10**18, low_e8=8 * 10**17))])[0].account
        execution.close_episode(account, 1)
        assert int(account.worst_ppm) == 200_000


def test_the_scenes_call_every_function_of_the_driver(tmp_path: Path) -> None:
    """A function that no scene calls would be compared by nobody."""
    seen: set[CodeType] = set()

    def notice(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            seen.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(notice)
    try:
        for _, config, lane in scenes(tmp_path):
            backtest(config, lane, driver.interpreted())
    finally:
        sys.setprofile(before)
    functions = hot_functions(DRIVER_MODULES)
    assert [name for name, function in functions.items() if function.__code__ not in seen] == []
