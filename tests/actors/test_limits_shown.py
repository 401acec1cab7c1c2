"""`risk` shows each limit of the gate beside its present value: what the exchange's own account comes to.

Invariant: the values are worked out anew here, from the exchange's positions and orders, never from the gate's book.
"""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hedgegrid.app import House
from hedgegrid.core import worst_case
from hedgegrid.core.gate_records import AccountRisk, Exposure, InstrumentRisk, RiskLimits
from hedgegrid.core.records import MarginTier
from hedgegrid.core.risk import CONTROL_NAMES
from hedgegrid.core.risk_figures import figures
from hedgegrid.journal.verify import verify
from hedgegrid.messages.events import BarClosed
from hedgegrid.model.order import Leg, OpenOrder, Purpose
from hedgegrid.ops.control import ControlReading
from tests.actors.house import BTC, WIDE_VAR, Script, boot, market, query, settings, simulation
from tests.core.test_var import Z99, ewma

SESSION = (
    "drawdown",
    "daily_loss",
    "session_loss",
    "margin_kill",
    "volatility_halt",
    "funding_kill",
    "circuit_breaker",
    "kill_switch",
)
NUMBERLESS = {"permission", "approval_ttl_ms", "duplicate", "self_cross", "reduce_only_proof"}
UNIT_E8, CASH = 10_000, 10**8
LEVERAGE, LAMBDA, MAINTENANCE = 20, 0.97, 0.004
"""As the config has them, and the first margin tier of the instrument."""


def expected(house: House) -> dict[str, float | None]:
    """What each control comes to, by the exchange's account."""
    (book,) = simulation(house).exchange.books
    mark = book.market.mark_ticks
    every = [one for kind in (False, True) for one in book.open_orders(conditional=kind)]
    entries = [one for one in every if one.purpose is Purpose.ENTRY]

    def worst(leg: Leg) -> int:
        return sum(max(one.price_ticks, mark) * one.qty_lots for one in entries if one.leg is leg) * UNIT_E8

    def of_leg(leg: Leg) -> list[OpenOrder]:
        return [one for one in every if one.leg is leg]

    held = {leg: book.accounts[leg].qty_lots * mark * UNIT_E8 for leg in Leg}
    full = {leg: held[leg] + worst(leg) for leg in Leg}
    lots = {leg: book.accounts[leg].qty_lots + sum(one.qty_lots for one in entries if one.leg is leg) for leg in Leg}
    notional = [one.price_ticks * one.qty_lots * UNIT_E8 / CASH for one in entries]
    net = max(abs(full[Leg.LONG] - held[Leg.SHORT]), abs(full[Leg.SHORT] - held[Leg.LONG]))
    return {
        "max_quote_age_ms": 0,
        "max_mark_age_ms": 0,
        "max_balance_age_ms": 0,
        "max_order_notional_quote": max(notional, default=None),
        "min_notional": min(notional, default=None),
        "max_order_qty": max((one.qty_lots / 1_000 for one in entries), default=None),
        "max_position_qty": max(lots.values()) / 1_000,
        "max_notional_per_leg_quote": max(full.values()) / CASH,
        "max_gross_notional_quote": sum(full.values()) / CASH,
        "max_net_notional_quote": net / CASH,
        "max_open_orders_per_leg": max(len(of_leg(leg)) for leg in Leg),
    }


@pytest.mark.asyncio
async def test_values_are_the_exchanges_own(tmp_path: Path) -> None:
    """At every bar's decision each value is what positions and orders of the exchange come to at its mark."""
    seen: list[tuple[dict[str, float | None], tuple[ControlReading, ...]]] = []

    def hook(house: House, actor: Any, message: Any) -> None:
        if actor.name == "journal" and isinstance(message, BarClosed):
            seen.append((expected(house), house.controls()))

    one = await boot(settings(tmp_path), market(seed=1, count=60), Script(before_handle=hook))
    assert one.outcome.exit_code == 0
    assert len(seen) > 50
    for worked_out, readings in seen:
        values = {reading.control: reading.value for reading in readings if reading.control in worked_out}
        assert values == pytest.approx(worked_out)
    assert any((worked_out["max_notional_per_leg_quote"] or 0) > 0 for worked_out, _ in seen)


def ratios(house: House, closes: list[int]) -> dict[str, float | None]:
    """What each control of the equity comes to, by the exchange's account and the bars that have closed."""
    (book,) = simulation(house).exchange.books
    mark, legs = book.market.mark_ticks, {leg: book.accounts[leg] for leg in Leg}
    signs = {Leg.LONG: 1, Leg.SHORT: -1}
    worth = {leg: legs[leg].qty_lots * mark * UNIT_E8 for leg in Leg}
    unrealised = sum(signs[leg] * (worth[leg] - legs[leg].cost_e8) for leg in Leg)
    equity = simulation(house).exchange.balance().wallet_e8 + unrealised
    entries = [one for one in book.open_orders(conditional=False) if one.purpose is Purpose.ENTRY]
    full = {
        leg: worth[leg] + sum(max(one.price_ticks, mark) * one.qty_lots * UNIT_E8 for one in entries if one.leg is leg)
        for leg in Leg
    }
    gross, margin = sum(full.values()), sum(full.values()) * MAINTENANCE
    fall, rise = full[Leg.LONG] - worth[Leg.SHORT] - margin, full[Leg.SHORT] - worth[Leg.LONG] + margin
    room = equity - margin
    distances = [room / rise] if rise > 0 else []
    distances += [room / fall] if fall > room else []
    sigma = ewma(np.array(closes, np.float64), LAMBDA) ** 0.5 if len(closes) > 1 else None
    net = max(abs(full[Leg.LONG] - worth[Leg.SHORT]), abs(full[Leg.SHORT] - worth[Leg.LONG]))
    at_risk = None if sigma is None else net * sigma * Z99 * 60**0.5 / equity
    return {
        "max_leverage": gross / equity,
        "max_position_ratio": gross / LEVERAGE / equity,
        "max_margin_ratio": margin / equity,
        "min_liquidation_distance_ratio": min(distances, default=None),
        "var": at_risk if at_risk is not None or entries or any(worth.values()) else 0.0,
    }


@pytest.mark.asyncio
async def test_ratios_of_the_equity_are_the_exchanges_own(tmp_path: Path) -> None:
    """A small account, whose worst case is several times its equity, at every bar: to the millionth, from outside."""
    seen: list[tuple[dict[str, float | None], tuple[ControlReading, ...]]] = []
    closes: list[int] = []

    def hook(house: House, actor: Any, message: Any) -> None:
        if actor.name == "journal" and isinstance(message, BarClosed):
            closes.append(message.bar.close_ticks)
            seen.append((ratios(house, closes), house.controls()))

    config = settings(
        tmp_path,
        account={"wallet_quote": 25},
        venue={"leverage": LEVERAGE},
        risk={"var": {**WIDE_VAR, "confidence": Decimal("0.99"), "lambda": Decimal(str(LAMBDA))}},
    )
    one = await boot(config, market(seed=1, count=60), Script(before_handle=hook))
    assert one.outcome.exit_code == 0
    for worked_out, readings in seen:
        values = {reading.control: reading.value for reading in readings if reading.control in worked_out}
        for name, figure in worked_out.items():
            told = values[name]
            assert told == figure or (told is not None and figure is not None and abs(told - figure) < 5e-6), name
    assert max(worked_out["max_leverage"] or 0.0 for worked_out, _ in seen) > 1.5
    assert sum(worked_out["min_liquidation_distance_ratio"] is not None for worked_out, _ in seen) > 30


@pytest.mark.asyncio
async def test_limits_are_the_configs(tmp_path: Path) -> None:
    """Every control is there once, in the unit of its setting, with its limit and its refusals."""
    limits = {"max_open_orders_per_leg": 4, "max_quote_age_ms": 700_000, "price_collar_bps": 123}
    one = await boot(settings(tmp_path, risk=limits), market(seed=1, count=40))
    readings = {reading.control: reading for reading in one.house.controls()}
    assert list(readings) == [*CONTROL_NAMES.values(), *SESSION]
    assert len(readings) == len(one.house.controls())
    assert {name for name, reading in readings.items() if reading.limit is None} == NUMBERLESS | {"kill_switch"}
    assert (readings["max_open_orders_per_leg"].limit, readings["max_open_orders_per_leg"].unit) == (4, "orders")
    assert (readings["max_quote_age_ms"].limit, readings["max_quote_age_ms"].unit) == (700_000, "ms")
    assert (readings["price_collar_bps"].limit, readings["price_collar_bps"].unit) == (123, "bps")
    assert (readings["max_position_qty"].limit, readings["max_position_qty"].unit) == (1_000, "base")
    assert readings["max_position_qty"].scope == BTC
    refusals = one.house.view.refusals
    assert refusals["max_open_orders_per_leg"] > 0
    assert readings["max_open_orders_per_leg"].refusals == refusals["max_open_orders_per_leg"]
    assert readings["max_gross_notional_quote"].scope == ""


@pytest.mark.asyncio
async def test_a_last_trip_outlives_the_run(tmp_path: Path) -> None:
    """After a restart the operator still sees when each control tripped, how often, and with which figures."""
    limits = {"max_open_orders_per_leg": 2, "drawdown": {"max_ratio": Decimal("0.00001"), "action": "cancel_entries"}}
    config = settings(tmp_path, risk=limits, account={"on_stop": "keep"})
    tape = market(seed=2, count=60)
    one = await boot(config, tape, duration_s=2_400)
    first = {reading.control: reading for reading in one.house.controls()}
    rows = query(one.path, "SELECT ts_ns, figures FROM permission WHERE reason = 'drawdown' AND change = 'raised'")
    trip = first["drawdown"].last_trip
    assert trip is not None
    assert [(trip.ts_ns, trip.figures)] == [(ts_ns, json.loads(told)) for ts_ns, told in rows]
    assert first["drawdown"].stands
    two = await boot(config, tape)
    second = {reading.control: reading for reading in two.house.controls()}
    assert second["drawdown"].stands, "it latched"
    assert two.house.view.reasons["drawdown", ""] == trip.ts_ns, "it has stood since then, not since the start"
    for name in ("drawdown", "max_open_orders_per_leg"):
        before, after = first[name].last_trip, second[name].last_trip
        assert before is not None
        assert after is not None
        assert (after.ts_ns, after.figures) >= (before.ts_ns, before.figures)
        assert after.times >= before.times > 0
    report = verify(two.path)
    assert report.ok, report.text()


def test_nothing_is_shown_before_it_is_known() -> None:
    """Law 9: before a quote, a mark, a balance or an entry the value is missing, not zero."""
    held, rules, account = [Exposure(position_lots=3), Exposure()], [InstrumentRisk(unit_e8=1)], AccountRisk()
    worst_case.weigh(RiskLimits(), account, rules, held, [MarginTier(max_notional_e8=1, maintenance_ppm=1)], 0)
    told = figures(RiskLimits(), account, rules, held, [], now_ns=5)
    values = {CONTROL_NAMES[one.code]: one.value for one in told}
    known = {"max_position_qty": 3, "max_open_orders_per_leg": 0, "max_orders_per_minute": 0}
    assert {name: value for name, value in values.items() if value is not None} == known
