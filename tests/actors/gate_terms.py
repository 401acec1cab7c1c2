"""The account of the gate's desk: its instruments, its caps, the exchange's terms, and the bars before its start.

Invariant: ``TIGHT`` has a set of caps for each control that measures by something else than notional, in which that
one is met first.
"""

import math
from collections.abc import Iterable, Iterator
from decimal import Decimal
from itertools import pairwise
from typing import Final

import attrs

from hedgegrid.core.gate_records import RiskLimits
from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.model.market import Bar
from tests.actors.gate_wire import Caps, Terms

SECOND: Final = 1_000_000_000
START_NS: Final = 1_700_000_000 * SECOND
MARK: Final = 1_000
NAMES: Final = ("BTC/USDT:USDT", "ETH/USDT:USDT")
UNITS_E8: Final = {"BTC/USDT:USDT": 10_000, "ETH/USDT:USDT": 20_000}
"""One lot of the first is worth 0.1 at the mark of the start, of the second 0.2."""
QUOTE: Final = 10**8
LAMBDA: Final = 0.5
VAR_SCALE: Final = 3.0


def loss_ratio(closes: Iterable[int]) -> float:
    """What a unit of net notional could lose, by the mean of squared returns that forgets half at each bar."""
    returns = [after / before - 1 for before, after in pairwise(closes)]
    variance = returns[0] ** 2
    for one in returns[1:]:
        variance = LAMBDA * variance + (1 - LAMBDA) * one**2
    return math.sqrt(variance) * VAR_SCALE


CAPS: Final = Caps(
    wallet_e8=5 * QUOTE,
    leg_e8=35 * QUOTE // 10,
    gross_e8=5 * QUOTE,
    net_e8=3 * QUOTE,
    order_e8=12 * QUOTE // 10,
    order_lots=9,
    position_lots=22,
    open_orders=10,
    leverage_ppm=3_000_000,
    position_ppm=2_000_000,
    margin_ppm=900_000,
    distance_ppm=1_000,
    var_ppm=900_000,
    orders_per_minute=10**9,
)
TIGHT: Final = {
    "max_leverage": attrs.evolve(CAPS, leverage_ppm=700_000),
    "max_position_ratio": attrs.evolve(CAPS, position_ppm=300_000),
    "max_margin_ratio": attrs.evolve(CAPS, margin_ppm=60_000),
    "min_liquidation_distance_ratio": attrs.evolve(CAPS, distance_ppm=900_000, wallet_e8=5 * QUOTE // 2),
    "var": attrs.evolve(CAPS, var_ppm=20_000),
    "max_orders_per_minute": attrs.evolve(CAPS, orders_per_minute=12),
}
"""Caps of which one measure is the first to be met, by its control."""
CLOSES: Final = (1_000, 1_010, 990, 1_005)
"""Of the bars before the start, in ticks."""
TERMS: Final = Terms(
    units_e8=UNITS_E8, tiers=((QUOTE, 50_000), (10**15, 100_000)), leverage=2, loss_ratio=loss_ratio(CLOSES)
)
RESUME_AFTER_NS: Final = 5 * SECOND
TTL_NS: Final = 3 * SECOND
MAX_AGE_NS: Final = 10 * SECOND
STOP_OVERLAP_NS: Final = 2 * SECOND


def limits(caps: Caps) -> RiskLimits:
    """The caps as the gate is told them."""
    return RiskLimits(
        max_order_notional_e8=caps.order_e8,
        max_leg_notional_e8=caps.leg_e8,
        max_gross_notional_e8=caps.gross_e8,
        max_net_notional_e8=caps.net_e8,
        max_leverage_ppm=caps.leverage_ppm,
        max_position_ppm=caps.position_ppm,
        leverage=TERMS.leverage,
        max_margin_ppm=caps.margin_ppm,
        min_distance_ppm=caps.distance_ppm,
        max_var_ppm=caps.var_ppm,
        max_open_orders_per_leg=caps.open_orders,
        max_orders_per_minute=caps.orders_per_minute,
        price_collar_ppm=300_000,
        max_quote_age_ns=MAX_AGE_NS,
        max_mark_age_ns=MAX_AGE_NS,
        max_balance_age_ns=MAX_AGE_NS,
        approval_ttl_ns=TTL_NS,
    )


def instruments() -> list[Instrument]:
    """What is traded."""
    lots = {10_000: Decimal("0.001"), 20_000: Decimal("0.002")}
    return [
        Instrument(
            name=name,
            tick=Decimal("0.1"),
            lot=lots[unit_e8],
            min_qty_lots=1,
            max_qty_lots=CAPS.order_lots,
            min_notional_e8=0,
            tiers=tuple(Tier(max_notional_e8=most_e8, maintenance_ppm=ppm) for most_e8, ppm in TERMS.tiers),
            liquidation_fee_ppm=0,
            funding_interval_ns=8 * 3_600 * SECOND,
        )
        for name, unit_e8 in UNITS_E8.items()
    ]


def bars() -> Iterator[Bar]:
    """The bars before the start."""
    for number, close in enumerate(CLOSES):
        yield Bar(
            open_ns=START_NS + (number - len(CLOSES)) * 60 * SECOND,
            length_ns=60 * SECOND,
            volume_lots=1,
            open_ticks=close,
            high_ticks=close,
            low_ticks=close,
            close_ticks=close,
        )
