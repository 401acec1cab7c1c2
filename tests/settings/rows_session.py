"""Rows of [risk]'s session controls: when each trips, and what it leaves of entries and positions.

One lot of 1,000 quote loses 7.5 of a wallet of 10,000 when the market falls to 9,900. Only the row's control is on.
"""

from decimal import Decimal
from typing import Any

from hedgegrid.model.order import Purpose
from tests.actors.house import market
from tests.settings import markets
from tests.settings.simulated import LONG, SHORT, Played, Simulated
from tests.settings.table import Row, row

CONTROLS = ("drawdown", "daily_loss", "session_loss", "margin_kill", "volatility_halt", "funding_kill")
OFF = {f"risk.{name}.enabled": False for name in CONTROLS}
LOSING = Simulated(
    name="a LONG lot of 1,000 loses 7.5",
    tape=lambda: markets.after_warmth(markets.dip(9_970), *[markets.level(9_900)] * 3),
    changes={
        **OFF,
        "grid[].ladder.base_qty": 1,
        "grid[].ladder.levels_long": 1,
        "grid[].ladder.levels_short": 1,
    },
)
SHAKEN = Simulated(
    name="a LONG lot is held, and the price moves by 50 bps",
    tape=lambda: markets.after_warmth(markets.dip(9_970), *[markets.level(9_950)] * 3),
    changes=LOSING.changes,
)
DEAR_LATER = Simulated(
    name="a LONG lot is held, and funding becomes dear",
    tape=lambda: market(
        [*markets.WARM, markets.dip(9_970), *[markets.STILL] * 5], funding=[(-400, 10_000), (10, 90_000), (490, 90_000)]
    ),
    changes={**LOSING.changes, "grid[].funding.mode": "warn"},
)


def outcome(played: Played) -> tuple[list[str], int, int]:
    """The reasons of pauses, and what is there in the end: entries, lots of LONG."""
    last = played.looks[-1]
    return played.raised(), len(last.entries(LONG)) + len(last.entries(SHORT)), last.held[LONG]


OUTCOME = "the reasons of a pause, the entries, and the lots of LONG in the end"


def of_control(name: str, reason: str, scene: Simulated, limit: str, low: object, high: object) -> list[Row[Any]]:
    """The three rows of a control whose limit ``low`` is met in the scene and ``high`` is not."""
    on = {f"risk.{name}.enabled": True, f"risk.{name}.{limit}": low}
    calm: object = ([], 1, 1_000)
    quiet = ([reason], 0, 1_000)
    return [
        row(
            f"risk.{name}.enabled",
            scene,
            outcome,
            OUTCOME,
            (False, calm),
            (True, quiet),
            given={**on, f"risk.{name}.action": "cancel_entries"},
        ),
        row(
            f"risk.{name}.{limit}",
            scene,
            outcome,
            OUTCOME,
            (high, calm),
            (low, quiet),
            given={**on, f"risk.{name}.action": "cancel_entries"},
        ),
        row(
            f"risk.{name}.action",
            scene,
            outcome,
            OUTCOME,
            ("pause", ([reason], 1, 1_000)),
            ("cancel_entries", quiet),
            ("flatten", ([reason], 0, 0)),
            given=on,
        ),
    ]


ROWS = (
    *of_control("drawdown", "drawdown", LOSING, "max_ratio", Decimal("0.0005"), Decimal("0.002")),
    *of_control("daily_loss", "daily_loss", LOSING, "max_quote", 5, 20),
    *of_control("session_loss", "session_loss", LOSING, "max_quote", 5, 20),
    *of_control("margin_kill", "margin", LOSING, "max_ratio", Decimal("0.0003"), Decimal("0.01")),
    *of_control("volatility_halt", "volatility_halt", SHAKEN, "max_annualised", Decimal("0.5"), 3),
    *of_control("funding_kill", "funding_kill", DEAR_LATER, "max_cost_bps_8h", 9, Decimal("9.1")),
    row(
        "risk.flatten_slice_quote",
        LOSING,
        lambda played: [one.qty_lots for one in played.orders(LONG, Purpose.FLATTEN)],
        "the market reductions of 1,000 lots that are worth 990",
        (5_000, [1_000]),
        (400, [404, 404, 192]),
        given={
            "risk.drawdown.enabled": True,
            "risk.drawdown.max_ratio": Decimal("0.0005"),
            "risk.drawdown.action": "flatten",
        },
    ),
    row(
        "risk.var.lambda",
        SHAKEN,
        outcome,
        OUTCOME,
        (Decimal("0.97"), ([], 1, 1_000)),
        (Decimal("0.5"), (["volatility_halt"], 0, 1_000)),
        given={"risk.volatility_halt.enabled": True, "risk.volatility_halt.max_annualised": 1},
    ),
)
