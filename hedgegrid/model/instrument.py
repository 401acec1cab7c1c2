"""The rules of an instrument: what a price, a quantity and a unit of it are worth.

Invariant: ``unit_e8`` (one tick on one lot, in quote x 1e8) is a whole number of at least one, so a notional is exact.
"""

from decimal import Decimal

import attrs

from hedgegrid.units import unit_e8


@attrs.frozen(kw_only=True)
class Tier:
    """A margin tier: up to ``max_notional_e8``, ``maintenance_ppm`` of the notional must be held as equity."""

    max_notional_e8: int
    maintenance_ppm: int


@attrs.frozen(kw_only=True)
class Instrument:
    """An instrument's rules. ``tiers`` ascend; quantities in lots, money in quote x 1e8, rates in ppm."""

    name: str
    tick: Decimal
    lot: Decimal
    min_qty_lots: int
    max_qty_lots: int
    min_notional_e8: int
    tiers: tuple[Tier, ...]
    liquidation_fee_ppm: int
    funding_interval_ns: int

    @property
    def unit_e8(self) -> int:
        """The value of one tick on one lot in quote x 1e8."""
        return unit_e8(self.tick, self.lot)

    def price_text(self, price_ticks: int) -> str:
        """Write a price in quote currency, at the tick's own precision."""
        return f"{self.tick * price_ticks:f}"

    def qty_text(self, qty_lots: int) -> str:
        """Write a quantity in base units, at the lot's own precision."""
        return f"{self.lot * qty_lots:f}"
