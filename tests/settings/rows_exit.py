"""Rows of [grid.exit]: what stands at the exchange for a leg that holds something."""

from decimal import Decimal

from hedgegrid.model.order import Purpose
from tests.settings import markets
from tests.settings.simulated import LONG, Played, Simulated
from tests.settings.table import row

ONE_FILLED = Simulated(name="the first LONG rung fills", tape=lambda: markets.after_warmth(markets.dip(9_970)))
ALL_FILLED = Simulated(
    name="all three LONG rungs fill", tape=lambda: markets.after_warmth(markets.dip(9_920, 9_930), markets.level(9_930))
)
STOPS = "the stops of the LONG leg in ticks"


def stops(played: Played) -> list[int]:
    """What rests against a loss of the LONG leg, the backstop aside."""
    return played.resting(LONG, Purpose.STOP)


ROWS = (
    row(
        "grid[].exit.tp_steps",
        ONE_FILLED,
        lambda played: played.prices(LONG, Purpose.TAKE_PROFIT),
        "the take-profit of a fill at 9975",
        (1, [10_000]),
        (Decimal("1.4"), [10_010]),
    ),
    row("grid[].exit.sl_steps", ONE_FILLED, stops, STOPS, (6, [9_825]), (4, [9_875])),
    row("grid[].exit.stop_scope", ALL_FILLED, stops, STOPS, ("rung", [9_775, 9_800, 9_825]), ("leg", [9_800])),
    row("grid[].exit.max_stop_orders", ALL_FILLED, stops, STOPS, (3, [9_775, 9_800, 9_825]), (2, [9_800, 9_825])),
    row(
        "grid[].exit.backstop_steps",
        ONE_FILLED,
        lambda played: played.resting(LONG, Purpose.BACKSTOP),
        "the stop beyond the deepest one (9775) that the ladder could need",
        (4, [9_675]),
        (2, [9_725]),
    ),
)
