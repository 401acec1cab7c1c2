"""The actors against the plain desk: the same decisions, the same fills, to the last figure.

Invariant: the desk knows nothing of actors, mailboxes, journal or ports; it shares the core with them and nothing else.
"""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hedgegrid.config.params import grid_params, instrument_of, venue_rules
from hedgegrid.config.schema import AccountConfig
from hedgegrid.units import NS_PER_MINUTE
from tests.actors.house import BTC, FIRST_BAR, assert_agrees, boot, fills, market, query, settings
from tests.core import made
from tests.core.desk import PLAIN, Desk, Sizes, as_lists

ROOMY = Sizes(entries=128, lots=512, stops=64, actions=512, orders=512, links=1024, cancels=256, events=2048)
Section = dict[str, Any]
SETTINGS: list[tuple[str, dict[str, Section]]] = [
    ("plain", {}),
    ("latency of a point", {"sim": {"latency_ms": 100}}),
    ("latency of two points", {"sim": {"latency_ms": 25_000}}),
    ("latency of a bar", {"sim": {"latency_ms": 60_000}, "ladder": {"recenter_trigger_bps": 5_000}}),
    ("touch and pessimistic", {"sim": {"fill": "touch", "pessimistic": True}}),
    ("taking entries", {"execution": {"post_only": False}, "sim": {"latency_ms": 100}}),
    (
        "retries",
        {
            "execution": {"retry_delay_ms": 7_000, "retry_max_price_deviation_bps": 50},
            "sim": {"latency_ms": 16_000},
            "ladder": {"step_bps": 6, "recenter_trigger_bps": 5_000},
        },
    ),
    ("atr steps", {"ladder": {"spacing": "atr", "atr_multiple": Decimal("1.5")}, "exit": {"tp_steps": Decimal("1.5")}}),
    ("geometric, growing", {"ladder": {"geometric": True, "qty_scale": Decimal("1.3"), "levels_long": 6}}),
    ("stop of the leg", {"exit": {"stop_scope": "leg", "sl_steps": 3}, "sim": {"latency_ms": 16_000}}),
    ("merged stops", {"exit": {"max_stop_orders": 1, "sl_steps": 4}}),
    ("throttled counter", {"policy": {"name": "throttled-counter", "counter_levels": 2}}),
    ("core and scalp", {"policy": {"name": "core-and-scalp", "core_levels": 1, "bias": "contrarian"}}),
    ("volatility", {"ladder": {"vol_target": Decimal("0.35"), "max_inventory_quote": 60}}),
]

SEEDS = {"latency of a bar": 1}
"""Markets on which the legs do not meet: the desk has no gate that would refuse that."""


async def both(config: AccountConfig, bars: Sequence[made.Ohlc]) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """The fills of the actors (by their journal) and of the desk, on the same bars."""
    one = await boot(config, market(bars))
    assert one.outcome.exit_code == 0
    assert one.outcome.view.refusals == {}
    assert_agrees(one)
    instrument = instrument_of(config, BTC)
    params, rules = grid_params(config.grid[0], instrument, config.risk), venue_rules(config, instrument)
    desk = Desk(PLAIN, as_lists, params, rules, ROOMY)
    for number, ohlc in enumerate(bars):
        desk.walk_bar(FIRST_BAR + number, ohlc, NS_PER_MINUTE)
    return fills(one.path), desk.fills


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "changes"), SETTINGS, ids=[name for name, _ in SETTINGS])
async def test_actors_fill_as_the_desk(name: str, changes: dict[str, Section], tmp_path: Path) -> None:
    """What the actors add around the core (ports, mailboxes, gate, journal) changes no fill, at any latency."""
    actors, desk = await both(settings(tmp_path, **changes), made.walk(SEEDS.get(name, 4), 150))
    assert len(desk) > 20
    assert actors == desk


@pytest.mark.asyncio
async def test_actors_fill_as_the_desk_on_recorded_bars(shared_dir: Path, tmp_path: Path) -> None:
    """The same on three thousand real bars."""
    ladder = {"step_bps": 12, "levels_long": 8, "levels_short": 8, "recenter_trigger_bps": 60}
    bars = made.real_bars(shared_dir, 3_000)
    changes: dict[str, Section] = {"ladder": ladder, "exit": {"sl_steps": 12}, "policy": {"name": "throttled-counter"}}
    actors, desk = await both(settings(tmp_path, **changes), bars)
    assert len(desk) > 200
    assert actors == desk


@pytest.mark.asyncio
async def test_funding_is_charged_and_guarded_as_at_the_desk(tmp_path: Path) -> None:
    """Settlements, the known rate and the ladders that shrink before an expensive one are the same, to the last e8."""
    bars, every = made.walk(3, 200), 480
    rates = [(-every + 3, 9_000), (3, 120_000), (60, -80_000), (120, 250_000)]
    guard = {"on_missing": "pause", "window_minutes": 480, "max_cost_bps_8h": 3}
    # The desk has no session controls, and the last rate is one that stops trading.
    config = settings(tmp_path, funding=guard, risk={"funding_kill": {"enabled": False}})
    one = await boot(config, market(bars, funding=rates))
    instrument = instrument_of(config, BTC)
    desk = Desk(
        PLAIN, as_lists, grid_params(config.grid[0], instrument, config.risk), venue_rules(config, instrument), ROOMY
    )
    due = dict(rates)

    def know(number: int) -> None:
        stamp = (FIRST_BAR + number) * NS_PER_MINUTE
        PLAIN.funding.remember_rate(
            desk.state, due[number], stamp + instrument.funding_interval_ns, every * NS_PER_MINUTE
        )

    know(-every + 3)
    for number, (opened, high, low, close) in enumerate(bars):
        inner = (low, high) if close >= opened else (high, low)
        for quarter, price in enumerate((opened, *inner, close)):
            ts_ns = (FIRST_BAR + number) * NS_PER_MINUTE + quarter * NS_PER_MINUTE // 4
            settled = due.get(number) if quarter == 0 else None
            desk.point(ts_ns, price, jump=quarter == 0, bar_no=number, low=low, high=high, rate_e8=settled)
            if settled is not None:
                know(number)
        desk.bar((FIRST_BAR + number) * NS_PER_MINUTE + 3 * NS_PER_MINUTE // 4, high, low, close)
    assert fills(one.path) == desk.fills
    assert_agrees(one)
    paid = query(one.path, "SELECT sum(long_e8 + short_e8), count(*) FROM funding")
    assert paid == [(sum(int(desk.venue_accounts[leg].funding_e8) for leg in (0, 1)), 3)]
    assert any(price and qty < 10 for _, _, purpose, _, _, price, qty, *_ in desk.fills if purpose == 0)
