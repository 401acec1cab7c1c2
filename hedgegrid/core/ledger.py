"""A leg's position at average cost, and what fees, funding and liquidation make of money. All in quote x 1e8, exact.

Invariants: position >= 0; cost is 0 when the position is 0; the sum of realised - fees - funding over all fills
equals the change of the wallet, to the last unit.
"""

from hedgegrid.core.codes import LONG
from hedgegrid.core.fixed import half_up, mul_div, mul_ppm_up
from hedgegrid.core.records import LegAccount, MarginTier
from hedgegrid.units import CASH_SCALE, MICRO, PPM


def notional_e8(price_ticks: int, qty_lots: int, unit_e8: int) -> int:
    """Give price x quantity in quote x 1e8."""
    return price_ticks * qty_lots * unit_e8


def fee_e8(notional: int, fee_ppm: int) -> int:
    """Give the fee on a notional, rounded half up; negative for a rebate."""
    return half_up(notional, fee_ppm, PPM)


def increase(account: LegAccount, qty_lots: int, notional: int) -> None:
    """Add a filled entry to the leg."""
    account.qty_lots += qty_lots
    account.cost_e8 += notional


def reduce(account: LegAccount, leg: int, qty_lots: int, notional: int) -> int:
    """Take a filled exit from the leg and give the realised profit; the last reduction takes the rest of the cost."""
    whole = qty_lots == account.qty_lots
    released = account.cost_e8 if whole else mul_div(account.cost_e8, qty_lots, account.qty_lots)
    account.qty_lots -= qty_lots
    account.cost_e8 -= released
    realised = notional - released if leg == LONG else released - notional
    account.realised_e8 += realised
    return realised


def unrealised_e8(account: LegAccount, leg: int, mark_ticks: int, unit_e8: int) -> int:
    """Give the profit that closing the leg at the mark would realise, before fees."""
    value = notional_e8(mark_ticks, account.qty_lots, unit_e8)
    return value - account.cost_e8 if leg == LONG else account.cost_e8 - value


def average_micro(account: LegAccount, unit_e8: int) -> int:
    """Give the average entry in millionths of a tick: floor(cost x 1e6 / (position x unit)).

    The position must not be 0.
    """
    divisor = account.qty_lots * unit_e8
    return mul_div(account.cost_e8, MICRO, divisor)


def funding_charge_e8(leg: int, notional: int, rate_e8: int) -> int:
    """Give what a settlement costs the leg (negative: it receives), rounded half up. Longs pay a positive rate."""
    signed = notional if leg == LONG else -notional
    return half_up(signed, rate_e8, CASH_SCALE)


def tier_ppm(gross_notional: int, tiers: list[MarginTier]) -> int:
    """Give the maintenance ratio of the tier that a gross notional falls into; beyond the last, the last one's."""
    for i in range(len(tiers)):
        if gross_notional <= tiers[i].max_notional_e8:
            return tiers[i].maintenance_ppm
    return tiers[len(tiers) - 1].maintenance_ppm


def maintenance_e8(gross_notional: int, tiers: list[MarginTier]) -> int:
    """Give the equity that must be held for a gross notional, by the tier that it falls into."""
    # Equity is compared as "less than" in whole units, so rounding up keeps the comparison exact.
    return mul_ppm_up(gross_notional, tier_ppm(gross_notional, tiers))
