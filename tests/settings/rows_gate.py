"""Rows of [risk]'s gate: which entries reach the exchange, and which control refuses the others in the journal."""

from decimal import Decimal
from typing import Any

from hedgegrid.actors.risk import Risk
from hedgegrid.app import House
from hedgegrid.messages.commands import IntentBatch
from hedgegrid.units import NS_PER_S
from tests.actors.house import Script, market, simulation
from tests.settings import markets
from tests.settings.rows_ladder import STILL
from tests.settings.simulated import LONG, SHORT, Played, Simulated
from tests.settings.table import Changes, Row, row

SUSPENDED_NS = 3 * NS_PER_S


def suspended() -> Script:
    """A script in which the machine stands still for three seconds between a decision and the gate."""

    def hook(house: House, actor: Any, message: Any) -> None:
        if isinstance(actor, Risk) and isinstance(message, IntentBatch):
            clock = simulation(house).clock
            clock.advance_to(clock.now_ns() + SUSPENDED_NS)

    return Script(before_handle=hook)


SUSPENDED = Simulated(
    name="the machine is suspended between a decision and the gate", tape=markets.still, script=suspended
)
SILENT = Simulated(
    name="a post-only entry is tried again when the market has been silent for four seconds",
    tape=lambda: market(
        [*[markets.STILL] * 4, (9_960, 10_000, 9_960, 10_000), markets.STILL],
        numbers=[*range(5), 20],
        length_ns=NS_PER_S,
    ),
    changes={
        "grid[].timeframe": "1s",
        "grid[].execution.retry_delay_ms": 5_000,
        "grid[].execution.price_tolerance_bps": 5,
        "sim.latency_ms": 100,
        "watchdog.feed_stale_ms": 60_000,
        "risk.max_quote_age_ms": 60_000,
        "risk.max_mark_age_ms": 60_000,
        "risk.max_balance_age_ms": 60_000,
    },
)


def passed(played: Played) -> tuple[int, int, list[str]]:
    """What came through: the entries of LONG and SHORT, and who refused others."""
    return len(played.orders(LONG)), len(played.orders(SHORT)), played.refusals()


PASSED = "the entries of LONG and SHORT that reach the exchange, and the controls that refuse others"
WIDE: tuple[object, object] = (1_000_000, (3, 3, []))


def capped(name: str, limit: object, long: int, short: int, wide: tuple[object, object] = WIDE) -> Row[Any]:
    """A row of a limit on the still market's three rungs of 10 quote a leg."""
    return row(f"risk.{name}", STILL, passed, PASSED, wide, (limit, (long, short, [name])))


def aged(name: str) -> Row[Any]:
    """A row of the age of something to decide on."""
    tried: tuple[object, object] = (60_000, (4, 3, []))
    return row(f"risk.{name}", SILENT, passed, PASSED, tried, (2_000, (4, 3, [name])))


UP_TEN, DOWN_TEN = (10_000, 10_010, 10_000, 10_010), (10_010, 10_010, 10_000, 10_000)
SWINGING = Simulated(name="each close is ten ticks from the one before", tape=lambda: market([UP_TEN, DOWN_TEN] * 8))
POOR: Changes = {"account.wallet_quote": 20}
"""Twice the first rung of both legs."""


def of_equity(name: str, wide: object, limit: object, sees: tuple[int, int], given: Changes) -> Row[Any]:
    """A row of a limit on what the still market's rungs come to beside an equity of 20."""
    tried: tuple[object, object] = (wide, (3, 3, []))
    return row(f"risk.{name}", STILL, passed, PASSED, tried, (limit, (*sees, [name])), given={**POOR, **given})


def at_risk(name: str, *tried: tuple[object, int]) -> Row[Any]:
    """A row of the value at risk, of what an hour of such minutes may take from an equity of 20: entries a leg."""
    given: Changes = {**POOR, "risk.var.confidence": Decimal("0.99"), "risk.var.max_ratio": Decimal("0.021")}
    given = {path: value for path, value in given.items() if path != f"risk.var.{name}"}
    cases = [(value, (legs, legs, ["var"] if legs < 3 else [])) for value, legs in tried]
    return row(f"risk.var.{name}", SWINGING, passed, PASSED, *cases, given=given)


ROWS = (
    capped("max_order_notional_quote", 9, 0, 0),
    capped("max_notional_per_leg_quote", 25, 2, 2),
    capped("max_gross_notional_quote", 45, 2, 2),
    capped("max_net_notional_quote", 25, 2, 2),
    of_equity("max_leverage", 125, 2, (2, 1), {}),
    of_equity("max_position_ratio", 1, Decimal("0.6"), (2, 2), {"venue.leverage": 4}),
    of_equity("max_margin_ratio", 1, Decimal("0.01"), (2, 2), {}),
    of_equity("min_liquidation_distance_ratio", Decimal("0.1"), Decimal("0.9"), (2, 2), {}),
    at_risk("max_ratio", (1, 3), (Decimal("0.021"), 2)),
    at_risk("confidence", (Decimal("0.9"), 3), (Decimal("0.99"), 2)),
    at_risk("horizon_hours", (1, 2), (2, 1)),
    capped("max_open_orders_per_leg", 2, 2, 2, (1_000, (3, 3, []))),
    capped("max_orders_per_minute", 4, 3, 3, (100, (3, 3, []))),
    capped("price_collar_bps", 30, 1, 1, (5_000, (3, 3, []))),
    aged("max_quote_age_ms"),
    aged("max_mark_age_ms"),
    aged("max_balance_age_ms"),
    row(
        "risk.approval_ttl_ms",
        SUSPENDED,
        passed,
        PASSED,
        (4_000, (3, 3, [])),
        (2_000, (0, 0, ["approval_ttl_ms"])),
    ),
)
