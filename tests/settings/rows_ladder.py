"""Rows of [[grid]] itself and of [grid.ladder]: where the entries lie at the exchange, and how large they are."""

from decimal import Decimal

from tests.actors.house import market
from tests.settings import markets
from tests.settings.simulated import LONG, SHORT, Played, Simulated
from tests.settings.table import ABSENT, row

STILL = Simulated(name="a market that stands still", tape=markets.still)
WIDE = Simulated(
    name="bars of 100 ticks",
    tape=lambda: market([markets.wide(100, markets.CENTER + 10 * (i % 2)) for i in range(12)]),
)
SHAKEN = Simulated(
    name="one close that is 50 bps off, two bars before the first ladder",
    tape=lambda: market([markets.STILL, *[markets.level(10_050)] * 8]),
    changes={"grid[].ladder.base_qty": 1, "risk.volatility_halt.enabled": False},
)
STEP_UP = Simulated(
    name="a price that moves by 60 bps and stays",
    tape=lambda: markets.after_warmth(*[markets.level(10_060)] * 4),
    changes={"grid[].ladder.step_bps": 100},
)


def gap(played: Played) -> int:
    """The distance of the second LONG rung from the first, in ticks."""
    first, second, *_ = played.prices(LONG)
    return first - second


def first_ladder(played: Played) -> list[int]:
    """The first LONG ladder's quantities in lots."""
    first = played.asked[0].ts_ns
    return [one.order.qty_lots for one in played.asked if one.order in played.orders(LONG) and one.ts_ns == first]


def generations(played: Played) -> int:
    """How often the grid was centered."""
    return max(one.generation for leg in (LONG, SHORT) for one in played.orders(leg))


STEPS = "the distance of two rungs in ticks"
LOTS = "the quantities of the LONG rungs in lots"

ROWS = (
    row(
        "grid[].max_position_qty",
        STILL,
        lambda played: (len(played.orders(LONG)) > 2, played.refusals()),
        "whether the third rung is placed, and the control that refuses it",
        (Decimal(1000), (True, [])),
        (Decimal("0.02"), (False, ["max_position_qty"])),
    ),
    row("grid[].ladder.step_bps", STILL, gap, STEPS, (25, 25), (40, 40)),
    row("grid[].ladder.spacing", WIDE, gap, STEPS, ("bps", 25), ("atr", 100)),
    row(
        "grid[].ladder.atr_multiple",
        WIDE,
        gap,
        STEPS,
        (1, 100),
        (Decimal("1.5"), 150),
        given={"grid[].ladder.spacing": "atr"},
    ),
    row(
        "grid[].ladder.geometric",
        STILL,
        lambda played: played.prices(LONG),
        "the prices of the LONG rungs in ticks",
        (False, [9_900, 9_800, 9_700]),
        (True, [9_900, 9_801, 9_702]),
        given={"grid[].ladder.step_bps": 100},
    ),
    row(
        "grid[].ladder.levels_long",
        STILL,
        lambda played: (len(played.orders(LONG)), len(played.orders(SHORT))),
        "how many rungs each leg has",
        (3, (3, 3)),
        (5, (5, 3)),
    ),
    row(
        "grid[].ladder.levels_short",
        STILL,
        lambda played: (len(played.orders(LONG)), len(played.orders(SHORT))),
        "how many rungs each leg has",
        (3, (3, 3)),
        (5, (3, 5)),
    ),
    row("grid[].ladder.base_qty", STILL, first_ladder, LOTS, (Decimal("0.01"), [10] * 3), (Decimal("0.02"), [20] * 3)),
    row(
        "grid[].ladder.base_quote",
        STILL,
        first_ladder,
        LOTS,
        (20, [20, 20, 20]),
        (30, [30, 30, 30]),
        given={"grid[].ladder.base_qty": ABSENT},
    ),
    row("grid[].ladder.qty_scale", STILL, first_ladder, LOTS, (1, [10, 10, 10]), (2, [10, 20, 40])),
    row(
        "grid[].ladder.recenter_trigger_bps",
        STEP_UP,
        generations,
        "how often the grid is centered",
        (61, 1),
        (59, 2),
    ),
    row("grid[].ladder.max_inventory_quote", STILL, first_ladder, LOTS, (1_000, [10, 10, 10]), (25, [10, 10])),
    # 50 bps in one of the year's 525,600 minutes come to 352 % a year, decayed by two further bars.
    row(
        "grid[].ladder.vol_target",
        SHAKEN,
        first_ladder,
        LOTS,
        (ABSENT, [1_000] * 3),
        (1, [284] * 3),
        (2, [568] * 3),
    ),
    row(
        "grid[].ladder.vol_lambda",
        SHAKEN,
        first_ladder,
        LOTS,
        (Decimal("0.97"), [284] * 3),
        (Decimal("0.5"), [551] * 3),
        given={"grid[].ladder.vol_target": 1},
    ),
)
