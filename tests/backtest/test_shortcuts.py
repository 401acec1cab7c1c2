"""The shortcuts only ever save work: calm bars, calm trades and decisions that would repeat themselves.

Invariant: the same random market and settings are walked with and without each shortcut, and every table and every
figure is equal; the draw favours what shortcuts could miss: midnights, controls near their limits, settlements.
"""

from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from hedgegrid.backtest import driver, walk_bars, walk_trades
from hedgegrid.backtest.result import BacktestResult
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core import repeat
from hedgegrid.core.standing import DAILY_LOSS
from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.venues.simulated.arrays import TickArrays, no_funding
from tests.actors.house import FIRST_BAR, WIDE_VAR, settings
from tests.backtest.lanes import Lane, backtest, made_bars, made_funding, made_ticks
from tests.backtest.test_executions import differences
from tests.core.made import walk

MINUTES_OF_A_DAY = 1_440
TO_MIDNIGHT = MINUTES_OF_A_DAY - FIRST_BAR % MINUTES_OF_A_DAY
RATES = (9_000, 120_000, -80_000, 250_000, 5_000_000)


def drawn_settings(dice: Random, path: Path) -> AccountConfig:
    """Random settings whose controls and limits are often met."""
    actions = ("pause", "cancel_entries", "flatten")

    def control(**limit: Any) -> dict[str, Any]:
        return {"enabled": dice.random() < 0.3, "action": dice.choice(actions), **limit}

    risk: dict[str, Any] = {
        "drawdown": control(max_ratio=dice.choice([Decimal("0.00002"), Decimal("0.0001"), Decimal("0.01")])),
        "daily_loss": control(max_quote=dice.choice([Decimal("0.1"), Decimal("0.5"), 2])),
        "session_loss": control(max_quote=dice.choice([Decimal("0.3"), 3])),
        "margin_kill": control(max_ratio=dice.choice([Decimal("0.01"), Decimal("0.3")])),
        "volatility_halt": control(max_annualised=dice.choice([2, 9])),
        "var": {**WIDE_VAR, "lambda": Decimal("0.8")},
    }
    ladder = {
        "step_bps": dice.choice([3, 6, 12, 25]),
        "levels_long": dice.choice([1, 3, 6]),
        "base_qty": dice.choice([Decimal("0.01"), Decimal("0.3")]),
        "recenter_trigger_bps": dice.choice([20, 150, 5_000]),
        "max_inventory_quote": dice.choice([1_000_000, 60, 30]),
    }
    if dice.random() < 0.3:
        ladder["vol_target"] = dice.choice([Decimal("0.35"), Decimal(2)])
    stops = dice.choice([2, 3, 6, 400])
    guard = {"mode": dice.choice(["scale", "halt"]), "window_minutes": dice.choice([1, 5, 30]), "max_cost_bps_8h": 3}
    return settings(
        path,
        account={"wallet_quote": dice.choice([10_000, 10_000, 30, 6])},
        ladder=ladder,
        exit={
            "sl_steps": stops,
            "stop_scope": dice.choice(["rung", "leg"]),
            "backstop_steps": dice.choice([1, 2, 400]),
        },
        policy={"name": dice.choice(["both", "throttled-counter"]), "counter_levels": 1},
        funding={**guard, "on_missing": dice.choice(["ignore", "pause"])},
        sim={"latency_ms": dice.choice([0, 100, 16_000, 60_000]), "fill": dice.choice(["through", "touch"])},
        risk=risk,
    )


def drawn_bars(dice: Random) -> Lane:
    """Random bars, half of them over a midnight, some with holes, with settlements on bars and between them."""
    first = dice.choice([0, TO_MIDNIGHT - 60])
    numbers = list(range(first, first + 140))
    for _ in range(dice.randint(0, 3)):
        hole = dice.randrange(first + 2, first + 130)
        numbers = [number for number in numbers if not hole <= number < hole + dice.choice([1, 3, 8])]
    rows = walk(dice.randrange(10**6), len(numbers), reach=dice.choice([2, 10, 60]), gap=dice.choice([1, 25, 100]))
    stamps = {dice.randrange(first - 20, first + 140): dice.choice(RATES) for _ in range(dice.randint(0, 4))}
    return Lane(bars=(made_bars(rows, numbers),), funding=(made_funding(sorted(stamps.items())),))


def drawn_trades(dice: Random) -> Lane:
    """Random trades with settlements among them."""
    ticks = made_ticks(dice.randrange(10**6), 1_200, spread=dice.choice([1, 2, 6]))
    stamps = sorted({dice.randrange(-20, 7): dice.choice(RATES) for _ in range(dice.randint(0, 3))}.items())
    return Lane(ticks=(ticks,), funding=(made_funding(stamps),))


def without(shortcut: str, config: AccountConfig, lane: Lane) -> BacktestResult:
    """Walk with one kind of shortcut switched off."""
    with pytest.MonkeyPatch.context() as patch:
        if shortcut == "calm":
            patch.setattr(walk_bars, "_walk_calm", lambda *_: 0)
            patch.setattr(walk_bars, "_pass_by", lambda *_: False)
            patch.setattr(walk_trades, "_skip_calm", lambda *given: given[3])
        else:
            patch.setattr(repeat, "holds", lambda *_: False)
        return backtest(config, lane, driver.interpreted())


@pytest.mark.parametrize("seed", range(40))
def test_bars_are_the_same_without_shortcuts(seed: int, tmp_path: Path) -> None:
    """On bars, neither the calm walk nor the repeat bound changes a row."""
    dice = Random(seed)
    config, lane = drawn_settings(dice, tmp_path), drawn_bars(dice)
    plain = backtest(config, lane, driver.interpreted())
    assert differences(plain, without("calm", config, lane)) == []
    assert differences(plain, without("repeat", config, lane)) == []


def test_single_points_of_a_lively_bar_are_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shortcut that is never taken would be compared with nothing: most points of bars with fills meet nothing."""
    passes, taken = walk_bars._pass_by, list[bool]()

    def noted(*given: Any) -> bool:
        taken.append(passes(*given))
        return taken[-1]

    monkeypatch.setattr(walk_bars, "_pass_by", noted)
    lane = Lane(bars=(made_bars(walk(4, 200)),), funding=(made_funding(()),))
    result = backtest(settings(tmp_path), lane, driver.interpreted())
    assert len(result.fills) > 5
    assert 0.3 < sum(taken) / len(taken) < 1


@pytest.mark.parametrize("seed", range(16))
def test_trades_are_the_same_without_shortcuts(seed: int, tmp_path: Path) -> None:
    """On trades, neither skipping calm ones nor the repeat bound changes a row."""
    dice = Random(1_000 + seed)
    config, lane = drawn_settings(dice, tmp_path), drawn_trades(dice)
    plain = backtest(config, lane, driver.interpreted())
    assert differences(plain, without("calm", config, lane)) == []
    assert differences(plain, without("repeat", config, lane)) == []


def test_the_draw_meets_what_it_is_for(tmp_path: Path) -> None:
    """Between them the random runs trade, pause for every kind of reason and settle funding."""
    fills, reasons, settled = 0, set(), 0
    for seed in range(40):
        dice = Random(seed)
        result = backtest(drawn_settings(dice, tmp_path), drawn_bars(dice), driver.interpreted())
        fills += len(result.fills)
        reasons |= set(result.pauses["reason"].tolist())
        settled += len(result.funding)
    assert fills > 250
    assert {1, 2, 4, 6, 7, 8, 9} <= reasons
    assert settled > 20


def over_midnight() -> list[int]:
    """Prices, one a minute: a LONG lot is opened, nearly won, falls, is less nearly won at midnight, falls less deep.

    So neither the peak nor the trough of the first day is reached again.
    """
    calm = [10_000] * 6
    first = [9_974, 9_999, *range(9_970, 9_883, -5), 9_884, *range(9_885, 9_995, 5)]
    return [*calm, *first, *[9_996] * 6, *range(9_990, 9_890, -4), *[9_892] * 4]


def day_lane(*, trades: bool) -> Lane:
    """That path as flat bars, or as a trade every ten seconds, so that its peak lies on a midnight."""
    prices = over_midnight()
    first = TO_MIDNIGHT - prices.index(9_996) - 3
    if not trades:
        rows = [(price, price, price, price) for price in prices]
        return Lane(bars=(made_bars(rows, range(first, first + len(rows))),), funding=(made_funding([]),))
    column = np.repeat(np.array(prices, np.int64), 6)
    opened = (FIRST_BAR + first) * NS_PER_MINUTE
    ones = np.ones(len(column), np.int64)
    ticks = TickArrays(
        ts_ns=opened + np.arange(len(column), dtype=np.int64) * (NS_PER_MINUTE // 6),
        price_ticks=column,
        qty_lots=100 * ones,
        bid_ticks=column,
        ask_ticks=column,
        bid_qty_lots=ones,
        ask_qty_lots=ones,
        mark_ticks=column,
        funding=no_funding(),
    )
    return Lane(ticks=(ticks,), funding=(made_funding([]),))


@pytest.mark.parametrize("trades", [False, True], ids=["bars", "trades"])
def test_a_loss_of_the_second_day_is_seen_while_all_is_calm(trades: bool, tmp_path: Path) -> None:
    """Nothing is met but the daily floor, which has risen at midnight above the trough of the day before."""
    risk = {name: {"enabled": False} for name in ("drawdown", "session_loss", "margin_kill", "volatility_halt")}
    config = settings(
        tmp_path,
        risk={**risk, "daily_loss": {"enabled": True, "max_quote": Decimal("0.1"), "action": "pause"}},
        ladder={"levels_long": 1, "levels_short": 1},
    )
    lane = day_lane(trades=trades)
    plain = backtest(config, lane, driver.interpreted())
    midnight = (FIRST_BAR + TO_MIDNIGHT) * NS_PER_MINUTE
    raised = plain.pauses[plain.pauses["change"] == 1]
    assert raised["reason"].tolist() == [DAILY_LOSS]
    assert raised["ts_ns"][0] > midnight
    assert len(plain.fills) == 1
    assert differences(plain, without("calm", config, lane)) == []
    assert differences(plain, without("repeat", config, lane)) == []
