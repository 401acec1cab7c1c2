"""Rows of [grid.regime] and [grid.policy]: what a market that rises does to the resting entries of the SHORT leg."""

from decimal import Decimal

from hedgegrid.model.order import Purpose
from tests.actors.house import market
from tests.settings import markets
from tests.settings.simulated import LONG, SHORT, Played, Simulated
from tests.settings.table import row

WIDE = {"grid[].ladder.step_bps": 200, "grid[].ladder.recenter_trigger_bps": 1_000}
"""Rungs so far apart that the trend meets none."""
RISING = Simulated(
    name="it rises by 10 ticks a minute",
    tape=lambda: market([*markets.WARM, *markets.rising(16, 10)]),
    changes={**WIDE, "grid[].policy.name": "throttled-counter", "grid[].policy.counter_levels": 1},
)
CHOPPY = Simulated(
    name="it rises with setbacks",
    tape=lambda: market([*markets.WARM, *[markets.level(10_000 + 15 * i - 40 * (i % 2)) for i in range(1, 24)]]),
    changes=RISING.changes,
)
RISE_AND_DIP = Simulated(
    name="it rises, and a wick fills every LONG rung",
    tape=lambda: market([*markets.WARM, *markets.rising(6, 10), (10_060, 10_070, 9_920, 10_070)]),
    changes={"grid[].policy.name": "core-and-scalp", "grid[].policy.counter_levels": 1, "grid[].policy.core_levels": 1},
)


def held_back_after(played: Played) -> int | None:
    """How many minutes it takes until the SHORT leg loses entries; None where it never does."""
    for number, look in enumerate(played.looks):
        if any(one.entries(SHORT) for one in played.looks[:number]) and len(look.entries(SHORT)) < 3:
            return round((look.ts_ns - played.looks[0].ts_ns) / 60e9)
    return None


def begins_after(played: Played) -> int:
    """How many minutes it takes until the first entry rests."""
    first = next(look for look in played.looks if look.entries(LONG))
    return round((first.ts_ns - played.looks[0].ts_ns) / 60e9)


def ladders(played: Played) -> dict[str, list[int]]:
    """The quantities of the entries that rest in the end."""
    last = played.looks[-1]
    return {leg.name: [one.qty_lots for one in last.entries(leg)] for leg in (LONG, SHORT)}


def profits(played: Played) -> list[int]:
    """How many ticks away the LONG lots of the three rungs take profit."""
    asked = played.orders(LONG, Purpose.TAKE_PROFIT)
    return [one.price_ticks - (markets.CENTER - 25 * one.level) for one in asked]


HELD = "the minutes until the SHORT leg is held back"
LADDERS = "the quantities that rest"
PROFITS = "the distances of the three take-profits in ticks"

ROWS = (
    row("grid[].regime.ema_fast", CHOPPY, held_back_after, HELD, (2, 10), (3, 12)),
    row("grid[].regime.ema_slow", RISING, begins_after, "the minutes until the first entry", (4, 4), (6, 6)),
    row("grid[].regime.adx_len", CHOPPY, held_back_after, HELD, (2, 10), (6, 12)),
    row(
        "grid[].regime.atr_len",
        Simulated(
            name="bars of 100 ticks, then of 40",
            tape=lambda: market([markets.wide(100 if i < 2 else 40) for i in range(12)]),
            changes={"grid[].ladder.spacing": "atr"},
        ),
        lambda played: played.prices(LONG)[0],
        "the price of the first rung, one ATR under the center",
        (2, 9_945),
        (3, 9_940),
    ),
    row("grid[].regime.adx_threshold", CHOPPY, held_back_after, HELD, (25, 10), (60, 21)),
    row("grid[].regime.hysteresis_bps", RISING, held_back_after, HELD, (3, 10), (11, None)),
    row(
        "grid[].policy.name",
        RISING,
        ladders,
        LADDERS,
        ("both", {"LONG": [10, 10, 10], "SHORT": [10, 10, 10]}),
        ("throttled-counter", {"LONG": [10, 10, 10], "SHORT": [5]}),
        ("core-and-scalp", {"LONG": [10, 10, 10], "SHORT": [10]}),
    ),
    row(
        "grid[].policy.bias",
        RISING,
        ladders,
        LADDERS,
        ("trend", {"LONG": [10, 10, 10], "SHORT": [5]}),
        ("contrarian", {"LONG": [5], "SHORT": [10, 10, 10]}),
    ),
    row(
        "grid[].policy.counter_levels",
        RISING,
        ladders,
        LADDERS,
        (1, {"LONG": [10, 10, 10], "SHORT": [5]}),
        (2, {"LONG": [10, 10, 10], "SHORT": [5, 5]}),
    ),
    row(
        "grid[].policy.counter_qty_scale",
        RISING,
        ladders,
        LADDERS,
        (Decimal("0.5"), {"LONG": [10, 10, 10], "SHORT": [5]}),
        (Decimal("0.2"), {"LONG": [10, 10, 10], "SHORT": [2]}),
    ),
    row("grid[].policy.core_levels", RISE_AND_DIP, profits, PROFITS, (1, [25, 25, 63]), (2, [25, 63, 63])),
    row(
        "grid[].policy.core_tp_multiple",
        RISE_AND_DIP,
        profits,
        PROFITS,
        (Decimal("2.5"), [25, 25, 63]),
        (Decimal("2.0"), [25, 25, 50]),
    ),
)
