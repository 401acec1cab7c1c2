"""Rows of [account] and of an account's margin: what a start finds and does, what a stop leaves, when it is over."""

from decimal import Decimal

from hedgegrid.model.order import Purpose
from tests.actors.house import fills
from tests.settings import markets
from tests.settings.rows_sim import TWICE
from tests.settings.simulated import LONG, SHORT, Played, Simulated, look
from tests.settings.table import row

UNGUARDED = {
    **{f"risk.{name}.enabled": False for name in ("drawdown", "daily_loss", "session_loss", "margin_kill")},
    "risk.max_leverage": 125,
    "risk.max_position_ratio": 1,
    "risk.max_margin_ratio": 1,
    "risk.min_liquidation_distance_ratio": Decimal("0.001"),
    "risk.var.max_ratio": 1,
    "venue.leverage": 125,
}
"""Nothing saves the account before the exchange closes it."""
HOLDING = Simulated(name="the first LONG rung fills", tape=lambda: markets.after_warmth(markets.dip(9_970)))


def falling(to: int) -> Simulated:
    """A wallet of 30 holds LONG for 100, and the market falls far."""
    return Simulated(
        name=f"a wallet of 30 holds LONG for 100, and the market falls to {to}",
        tape=lambda: markets.after_warmth(markets.dip(9_970), markets.level(to), markets.level(to)),
        changes={
            **UNGUARDED,
            "account.wallet_quote": 30,
            "grid[].ladder.base_qty": Decimal("0.1"),
            "grid[].ladder.levels_long": 1,
            "grid[].ladder.levels_short": 1,
            "grid[].exit.sl_steps": 300,
        },
    )


SHORT_OF_MARGIN = falling(7_200)
BROKE = falling(6_000)
TIERS = [
    {"max_notional_quote": 50, "maintenance_margin_ratio": Decimal("0.004")},
    {"max_notional_quote": 1_000, "maintenance_margin_ratio": Decimal("0.05")},
]


def left(played: Played) -> tuple[int, int, int]:
    """What is there in the end: the lots of LONG, the entries, the stops."""
    end = look(played.exchange, 0)
    entries = sum(len(end.entries(leg)) for leg in (LONG, SHORT))
    return end.held[LONG], entries, len(played.resting(LONG, Purpose.STOP))


def is_over(played: Played) -> bool:
    """Whether the exchange has closed the account."""
    return played.exchange.liquidated


LEFT = "the lots of LONG, the entries and the stops in the end"
OVER = "whether the exchange closes what 2.25 of equity hold of 72"

ROWS = (
    row(
        "account.name",
        HOLDING,
        lambda played: {one.order.client_id.partition(".")[0] for one in played.asked},
        "the name in the ids of the orders",
        ("house", {"house"}),
        ("other-1", {"other-1"}),
    ),
    row(
        "account.wallet_quote",
        HOLDING,
        lambda played: played.exchange.balance().wallet_e8 + played.fills[0].fee_e8,
        "the wallet before its first fee in quote x 1e8",
        (10_000, 10_000 * 10**8),
        (5_000, 5_000 * 10**8),
    ),
    row(
        "account.on_start",
        TWICE,
        left,
        LEFT,
        ("resume", (10, 5, 1)),
        ("halt", (10, 0, 1)),
        ("flatten", (0, 0, 0)),
    ),
    row(
        "account.on_stop",
        HOLDING,
        left,
        LEFT,
        ("keep", (10, 5, 1)),
        ("cancel_entries", (10, 0, 1)),
        ("flatten", (0, 0, 0)),
    ),
    row(
        "sim.instrument.*.maintenance_margin_ratio",
        SHORT_OF_MARGIN,
        is_over,
        OVER,
        (Decimal("0.004"), False),
        (Decimal("0.05"), True),
    ),
    row(
        "sim.instrument.*.tiers[].max_notional_quote",
        SHORT_OF_MARGIN,
        is_over,
        OVER,
        (500, False),
        (50, True),
        given={"sim.instrument.*.tiers": TIERS},
    ),
    row(
        "sim.instrument.*.tiers[].maintenance_margin_ratio",
        SHORT_OF_MARGIN,
        is_over,
        OVER,
        (Decimal("0.004"), False),
        (Decimal("0.05"), True),
        given={"sim.instrument.*.tiers": [{**TIERS[0], "max_notional_quote": 500}, TIERS[1]]},
    ),
    row(
        "sim.instrument.*.liquidation_fee_bps",
        BROKE,
        lambda played: [fee for *_, fee, _, maker in fills(played.one.path) if not maker],
        "the fee of closing 60 quote by force, in quote x 1e8",
        (125, [75_000_000]),
        (200, [120_000_000]),
    ),
)
