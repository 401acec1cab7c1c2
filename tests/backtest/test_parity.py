"""The actors in virtual time and the backtest's driver: the same fills, to the last figure, on the same market.

Invariant: between them the settings use every policy, spacing, stop scope and fill model; the driver runs interpreted
here, and ``test_executions`` proves its compiled twin equal.
"""

from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.backtest import driver
from hedgegrid.backtest.logbook import RAISED
from hedgegrid.config.schema import AccountConfig
from hedgegrid.core import standing
from hedgegrid.messages.events import RefusedBatch
from tests.actors.house import BTC, Boot, assert_agrees, boot, checked, document, messages, query, settings
from tests.actors.test_parity import SETTINGS as SHARED
from tests.backtest.lanes import (
    Lane,
    actor_fills,
    backtest,
    driver_fills,
    first_difference,
    made_bars,
    made_funding,
    made_lane,
    made_ticks,
)
from tests.core.made import walk

Section = dict[str, Any]
OF_EQUITY: dict[str, Section] = {
    "leverage": {"max_leverage": Decimal("1.6")},
    "initial margin": {"max_position_ratio": Decimal("0.013")},
    "maintenance": {"max_margin_ratio": Decimal("0.0064")},
    "distance": {"min_liquidation_distance_ratio": Decimal("0.97")},
    "value at risk": {"var": {"max_ratio": Decimal("0.3"), "lambda": Decimal("0.9")}},
}
"""Limits that refuse part of what two grids want of an account of 40."""
SETTINGS = [
    *SHARED,
    ("orders a minute", {"risk": {"max_orders_per_minute": 8}}),
    ("limits that refuse", {"risk": {"max_notional_per_leg_quote": 40, "max_open_orders_per_leg": 5}}),
]
FUNDED = [(-477, 9_000), (3, 120_000), (60, -80_000), (120, 250_000)]


async def difference(config: AccountConfig, lane: Lane) -> tuple[Boot, str, int]:
    """Run both executions; give the actors' life, where the fills part ("" nowhere), and how many there were."""
    names = [grid.instrument for grid in config.grid]
    one = await boot(config, lane.tape(names))
    assert_agrees(one)
    result = backtest(config, lane, driver.interpreted())
    ours = driver_fills(result)
    told = first_difference(actor_fills(one.path, names), ours, result)
    if not told:
        wallet = one.house.journal.totals().wallet_e8
        money = result.fills["realised_e8"].sum() - result.fills["fee_e8"].sum()
        paid = result.funding["long_e8"].sum() + result.funding["short_e8"].sum()
        assert wallet == result.initial_wallet_e8 + money - paid
        orders = query(one.path, "SELECT count(*) FROM orders")[0][0]
        assert orders == int((result.orders["control"] == 0).sum())
    return one, told, len(ours)


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "changes"), SETTINGS, ids=[name for name, _ in SETTINGS])
async def test_the_backtest_fills_as_the_actors(name: str, changes: dict[str, Section], tmp_path: Path) -> None:
    """What trades is what the backtest ran: every fill, the wallet and the number of orders, at every setting."""
    _, told, count = await difference(settings(tmp_path, **changes), made_lane(1 if name == "latency of a bar" else 4))
    assert told == ""
    assert count > 15


@pytest.mark.asyncio
async def test_funding_and_its_guard_agree(tmp_path: Path) -> None:
    """Settlements, a rate that is missing at the start and expires, and ladders that shrink before it."""
    guard = {"on_missing": "pause", "window_minutes": 480, "max_cost_bps_8h": 3}
    config = settings(tmp_path, funding=guard, risk={"funding_kill": {"max_cost_bps_8h": 22}})
    one, told, count = await difference(config, made_lane(3, 700, funding=FUNDED[1:]))
    assert told == ""
    assert count > 20
    raised = {row[0] for row in query(one.path, "SELECT reason FROM permission WHERE change = 'raised'")}
    assert {"funding_missing", "funding_kill"} <= raised


@pytest.mark.asyncio
async def test_a_hole_in_the_market_pauses_both(tmp_path: Path) -> None:
    """Data older than two bars is stale: entries go, and trading resumes after it has come back, at the same points."""
    numbers = [*range(60), *range(75, 110), *range(112, 150), *range(153, 200)]
    one, told, count = await difference(settings(tmp_path, sim={"latency_ms": 20_000}), made_lane(5, numbers=numbers))
    assert told == ""
    assert count > 20
    assert ("feed_stale",) in query(one.path, "SELECT reason FROM permission WHERE change = 'raised'")


@pytest.mark.asyncio
@pytest.mark.parametrize("action", ["pause", "cancel_entries", "flatten"])
async def test_session_controls_act_at_the_same_point(action: str, tmp_path: Path) -> None:
    """A drawdown trips both at the same point, and what follows is the same."""
    risk = {"drawdown": {"enabled": True, "max_ratio": Decimal("0.00002"), "action": action}}
    one, told, count = await difference(settings(tmp_path, risk=risk), made_lane(4, 150))
    assert told == ""
    assert count > 4
    assert ("drawdown",) in query(one.path, "SELECT reason FROM permission WHERE change = 'raised'")


@pytest.mark.asyncio
@pytest.mark.parametrize("seed", [3, 6])
async def test_a_flatten_goes_on_until_flat(seed: int, tmp_path: Path) -> None:
    """Entries that fill while their cancels travel are closed too, at the same points."""
    risk = {"drawdown": {"enabled": True, "max_ratio": Decimal("0.00004"), "action": "flatten"}}
    _, told, count = await difference(settings(tmp_path, risk=risk, sim={"latency_ms": 50_000}), made_lane(seed, 150))
    assert told == ""
    assert count > 12


@pytest.mark.asyncio
@pytest.mark.parametrize("latency_ms", [0, 100, 50_000])
async def test_a_flatten_goes_in_slices(latency_ms: int, tmp_path: Path) -> None:
    """A flatten of several slices sends them at the same points, and cuts the same lots."""
    risk = {
        "drawdown": {"enabled": True, "max_ratio": Decimal("0.00004"), "action": "flatten"},
        "flatten_slice_quote": Decimal("3.2"),
    }
    config = settings(tmp_path, risk=risk, sim={"latency_ms": latency_ms})
    one, told, count = await difference(config, made_lane(6, 150))
    assert told == ""
    assert count > 12
    slices = query(one.path, "SELECT qty_lots FROM fills WHERE purpose = 3")
    assert len(slices) > 2
    assert max(qty for (qty,) in slices) <= 3


@pytest.mark.asyncio
@pytest.mark.parametrize("action", ["pause", "cancel_entries", "flatten"])
async def test_a_wild_market_halts_both(action: str, tmp_path: Path) -> None:
    """The volatility halt is judged before the decision of its bar, comes and goes, and acts the same."""
    risk = {"volatility_halt": {"max_annualised": Decimal(2), "action": action}, "var": {"lambda": Decimal("0.8")}}
    one, told, count = await difference(settings(tmp_path, risk=risk), made_lane(4, 200))
    assert told == ""
    assert count > 8
    assert query(one.path, "SELECT count(*) FROM permission WHERE change = 'cleared'")[0][0] > 0


@pytest.mark.asyncio
@pytest.mark.parametrize("limit", [3, 4])
async def test_a_habit_of_the_rate_limit_latches_both(limit: int, tmp_path: Path) -> None:
    """The same orders are refused for their rate, and the same one of them latches at the same point."""
    one, told, count = await difference(settings(tmp_path, risk={"max_orders_per_minute": limit}), made_lane(4))
    assert told == ""
    assert count > 0
    raised = query(one.path, "SELECT ts_ns FROM permission WHERE change = 'raised' AND reason = 'order_rate'")
    result = backtest(settings(tmp_path, risk={"max_orders_per_minute": limit}), made_lane(4), driver.interpreted())
    latched = result.pauses[(result.pauses["reason"] == standing.ORDER_RATE) & (result.pauses["change"] == RAISED)]
    assert [ts_ns for (ts_ns,) in raised] == [int(ts_ns) for ts_ns in latched["ts_ns"]]
    assert len(raised) == 1


@pytest.mark.asyncio
async def test_two_instruments_share_an_account(tmp_path: Path) -> None:
    """Two grids, one of which has holes, under one limit that both meet."""
    limits = {"max_gross_notional_quote": 150, "max_notional_per_leg_quote": 100}
    _, told, count = await difference(*two_instruments(tmp_path, risk=limits))
    assert told == ""
    assert count > 40


@pytest.mark.asyncio
@pytest.mark.parametrize("name", OF_EQUITY)
async def test_what_is_left_of_the_equity_is_judged_alike(name: str, tmp_path: Path) -> None:
    """Account-wide limits of an equity that moves with both markets: the same refusals at the same points."""
    off = {one: {"enabled": False} for one in ("drawdown", "daily_loss", "session_loss", "margin_kill")}
    risk = {**off, **OF_EQUITY[name]}
    one, told, count = await difference(*two_instruments(tmp_path, account={"wallet_quote": 40}, risk=risk))
    assert told == ""
    assert count > 15
    (control,) = OF_EQUITY[name]
    refused = {each.control for batch in messages(one.path, RefusedBatch) for each in batch.refused}
    assert control in refused


def two_instruments(tmp_path: Path, **changes: Section) -> tuple[AccountConfig, Lane]:
    """Two grids of other steps; one market has holes, the other funding."""
    text = document(tmp_path, **changes)
    eth = "ETH/USDT:USDT"
    first = text["grid"][0]
    text["grid"] = [first, {**first, "instrument": eth, "ladder": {**first["ladder"], "step_bps": 35}}]
    text["sim"]["instrument"][eth] = {"min_notional": 0, "tick": Decimal("0.1")}
    numbers = [*range(80), *range(84, 150)]
    lane = Lane(
        bars=(made_bars(walk(4, 150)), made_bars(walk(9, len(numbers)), numbers)),
        funding=(made_funding(FUNDED), made_funding(())),
    )
    return checked(text), lane


@pytest.mark.asyncio
@pytest.mark.parametrize("fill", ["through", "touch", "queue"])
async def test_trades_agree(fill: str, tmp_path: Path) -> None:
    """Trades with a book, a mark of their own and quantities that bound fills; bars are made of them."""
    config = settings(tmp_path, sim={"fill": fill, "latency_ms": 150}, ladder={"base_qty": Decimal("0.02")})
    lane = Lane(ticks=(made_ticks(3, 4_000),), funding=(made_funding(FUNDED),))
    _, told, count = await difference(config, lane)
    assert told == ""
    assert count > 15


@pytest.mark.asyncio
async def test_a_rate_that_comes_between_trades_is_known_at_once(tmp_path: Path) -> None:
    """A settlement on the end of a bar has no point of its own: its rate is told with the next trade, calm or not."""
    guard = {"mode": "halt", "max_cost_bps_8h": 3, "window_minutes": 480, "on_missing": "pause"}
    config = settings(tmp_path, funding=guard, sim={"latency_ms": 150}, risk={"funding_kill": {"enabled": False}})
    lane = Lane(ticks=(made_ticks(3, 4_000),), funding=(made_funding([(2, 10), (7, 90_000), (11, -90_000)]),))
    one, told, count = await difference(config, lane)
    assert told == ""
    assert count > 4
    assert ("funding_missing",) in query(one.path, "SELECT reason FROM permission WHERE change = 'cleared'")


@pytest.mark.asyncio
async def test_a_liquidation_ends_both(tmp_path: Path) -> None:
    """An account that cannot carry its legs is liquidated at the same point at the same price."""
    config = settings(
        tmp_path,
        account={"wallet_quote": 12},
        ladder={"base_qty": Decimal("0.3"), "levels_long": 6},
        exit={"sl_steps": 400, "backstop_steps": 400},
        risk={name: {"enabled": False} for name in ("drawdown", "daily_loss", "session_loss", "margin_kill")},
    )
    one, told, _ = await difference(config, made_lane(7, 400))
    assert told == ""
    assert one.exchange.liquidated


@pytest.mark.asyncio
async def test_recorded_bars_agree(shared_dir: Path, tmp_path: Path) -> None:
    """The same on three thousand real bars with real settings and real funding."""
    from hedgegrid.markets import BacktestOptions, open_market
    from hedgegrid.venues.simulated.recorded import recorded_market

    root = shared_dir / "data"
    paths = (
        root / "um_1m" / "2025-07-06_2025-07-17" / f"{BTC.split('/')[0]}USDT-1m.feather",
        root / "funding" / "2024-12-31_2026-02-19" / "BTCUSDT-funding.feather",
    )
    ladder = {"step_bps": 12, "levels_long": 8, "levels_short": 8, "recenter_trigger_bps": 60}
    config = settings(tmp_path, ladder=ladder, exit={"sl_steps": 12}, policy={"name": "throttled-counter"})
    instruments = open_market(config, BacktestOptions(market_paths=paths)).instruments
    recorded = recorded_market(paths, instruments, 60 * 10**9)
    names = ("open_ns", "open_ticks", "high_ticks", "low_ticks", "close_ticks", "volume_lots")
    bars = attrs.evolve(recorded.bars[0], **{name: getattr(recorded.bars[0], name)[:3_000] for name in names})
    _, told, count = await difference(config, Lane(bars=(bars,), funding=recorded.funding))
    assert told == ""
    assert count > 200


def test_a_difference_is_told_with_both_states() -> None:
    """Where the two part, the first differing fill is printed with what each side held."""
    result = backtest(settings(Path("unused")), made_lane(4, 60), driver.interpreted())
    ours = driver_fills(result)
    theirs = [*ours[:3], (*ours[3][:6], ours[3][6] + 1, *ours[3][7:]), *ours[4:]]
    told = first_difference(theirs, ours, result)
    assert told.startswith("fill 3 differs")
    assert "actors held" in told
    assert "driver held" in told
    assert first_difference(ours, ours, result) == ""
    assert first_difference(ours[:-1], ours, result).startswith(f"fill {len(ours) - 1} differs")
