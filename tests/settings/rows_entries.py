"""Rows of [grid.funding] and [grid.execution]: which entries are sent, when, and how large."""

from decimal import Decimal

from tests.actors.house import market
from tests.settings import markets
from tests.settings.simulated import LONG, SHORT, Played, Simulated
from tests.settings.table import row

DUE_MINUTE = 20
RATE_E8 = 90_000
"""9 bps for the 8 hours that end in minute 20."""
DEAR = Simulated(
    name="LONG pays 9 bps in minute 20",
    tape=lambda: market([markets.STILL] * 8, funding=[(DUE_MINUTE - 480, RATE_E8), (DUE_MINUTE, RATE_E8)]),
    changes={"grid[].ladder.base_qty": 1},
)
UNKNOWN = Simulated(name="nobody tells the funding rate", tape=markets.still)
FALLEN = Simulated(
    name="the price jumps below the first rung before its order is live",
    tape=lambda: market([*[markets.STILL] * 4, *[markets.level(9_960)] * 4]),
    changes={"sim.latency_ms": 1_000, "grid[].execution.retry_delay_ms": 500},
)
BACK = Simulated(
    name="the price jumps below the first rung and comes back",
    tape=lambda: market([*[markets.STILL] * 4, (9_970, 10_000, 9_970, 10_000), *[markets.STILL] * 3]),
    changes={"sim.latency_ms": 1_000, "grid[].execution.retry_delay_ms": 500},
)


def first_lots(played: Played) -> tuple[list[int], list[int]]:
    """The quantities of the first ladders, LONG and SHORT."""
    first = played.asked[0].ts_ns if played.asked else 0
    long, short = (
        [one.order.qty_lots for one in played.asked if one.ts_ns == first and one.order in played.orders(leg)]
        for leg in (LONG, SHORT)
    )
    return long, short


def first_rung(played: Played) -> list[int]:
    """What was asked for on the first LONG rung, in ticks."""
    return [one.price_ticks for one in played.orders(LONG) if one.level == 1]


def takers(played: Played) -> int:
    """How many entries took."""
    return sum(not one.maker for one in played.fills)


def retried_after(played: Played) -> int:
    """How long after the first order of the first LONG rung it is tried again, in ms."""
    first, again, *_ = [one.ts_ns for one in played.asked if one.order.leg is LONG and one.order.level == 1]
    return (again - first) // 10**6


FIRST = "the quantities of the first ladders, LONG and SHORT"
RUNG = "the prices that are tried on the first LONG rung"
FULL = [1_000] * 3

ROWS = (
    # The first ladder is decided in minute 3.75: 16.25 of the 30 minutes are left.
    row(
        "grid[].funding.mode",
        DEAR,
        first_lots,
        FIRST,
        ("scale", ([541] * 3, FULL)),
        ("halt", ([], FULL)),
        ("warn", (FULL, FULL)),
    ),
    row(
        "grid[].funding.max_cost_bps_8h",
        DEAR,
        first_lots,
        FIRST,
        (Decimal("8.9"), ([541] * 3, FULL)),
        (9, (FULL, FULL)),
    ),
    row(
        "grid[].funding.window_minutes",
        DEAR,
        first_lots,
        FIRST,
        (30, ([541] * 3, FULL)),
        (65, ([250] * 3, FULL)),
        (16, (FULL, FULL)),
    ),
    row(
        "grid[].funding.on_missing",
        UNKNOWN,
        lambda played: (first_lots(played), played.raised()),
        "the first ladders, and the reasons of a pause",
        ("ignore", (([10] * 3, [10] * 3), [])),
        ("pause", (([], []), ["funding_missing"])),
    ),
    row("grid[].execution.post_only", FALLEN, takers, "the number of entries that took", (True, 0), (False, 1)),
    row(
        "grid[].execution.retry_attempts",
        FALLEN,
        first_rung,
        RUNG,
        (0, [9_975]),
        (2, [9_975, 9_974, 9_973]),
    ),
    row(
        "grid[].execution.retry_delay_ms",
        FALLEN,
        retried_after,
        "the ms until it is tried again",
        (500, 15_500),
        (2_000, 17_000),
    ),
    row(
        "grid[].execution.retry_max_price_deviation_bps",
        FALLEN,
        first_rung,
        RUNG,
        (5, [9_975, 9_974, 9_973, 9_972]),
        (Decimal("1.5"), [9_975, 9_974]),
    ),
    row(
        "grid[].execution.price_tolerance_bps",
        BACK,
        first_rung,
        RUNG,
        (Decimal("0.5"), [9_975, 9_974, 9_973, 9_975]),
        (3, [9_975, 9_974, 9_973]),
    ),
    row(
        "grid[].execution.qty_tolerance_ratio",
        DEAR,
        lambda played: [one.qty_lots for one in played.orders(LONG) if one.level == 1],
        "the quantities that are asked for on the first LONG rung as it shrinks",
        (Decimal("0.01"), [541, 508, 475, 441, 408]),
        (Decimal("0.1"), [541, 475, 408]),
    ),
)
