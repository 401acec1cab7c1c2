"""What the account comes to at its worst: sums of all instruments, margin, distance to a liquidation.

The worst case: every working, reserved and unknown entry fills, at the larger of its limit and the mark, and no exit
does. ``added_long`` and ``added_short`` are what an order that is being judged would bring on top, 0 for none; with no
entries either, the same functions tell the account as it is held.

**Distance to the liquidation price.** Cross margin: the account has one, and its legs fall together. All marks move by
one ratio x against the account (correlation one). Falling, the LONG entries fill and the SHORT ones do not, and the
account loses x times (long with its entries - short as held); rising, the mirror. What must be held moves with the
notional of the full worst case, so with E the equity and M the maintenance margin the exchange closes everything at

    falling: x = (E - M) / (falling net - M)        rising: x = (E - M) / (rising net + M)

The distance is the smaller of both; a direction whose divisor is not positive, or a fall of more than the whole price,
has none. M is taken at the tiers of a notional grown by the limit itself, so that a rise within the limit meets no
heavier tier than was counted.

Invariants: the sums in ``AccountRisk`` are each instrument's part added up, and ``weigh`` keeps both in step; ratios
are never divided, so a limit is met to the last unit; an equity of zero or less leaves room for nothing.
"""

from hedgegrid.core import var
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.core.fixed import ceil_div, mul_div, mul_ppm, mul_ppm_up
from hedgegrid.core.gate_records import UNMEASURED, AccountRisk, Exposure, InstrumentRisk, RiskLimits
from hedgegrid.core.ledger import maintenance_e8, tier_ppm
from hedgegrid.core.records import MarginTier
from hedgegrid.units import PPM

LARGEST_E8 = 9_000_000_000_000_000_000
"""More than any notional."""

USUAL_E8 = 70_000_000_000_000_000
"""An equity below this times the largest multiple in settings, 125, is within 64 bits."""

RATIO_MAX_E8 = LARGEST_E8 // PPM
"""The largest divisor of a ratio in ppm that 64 bits admit."""

NO_LIQUIDATION = 1_000_000_000_000
"""A distance in ppm beyond all others: no move liquidates."""


# --- an account's sums ------------------------------------------------------------------------------------------------


def weigh(
    limits: RiskLimits,
    account: AccountRisk,
    rules: list[InstrumentRisk],
    exposures: list[Exposure],
    tiers: list[MarginTier],
    instrument: int,
) -> None:
    """Bring the account's sums in line with what an instrument holds and has resting, at its present mark."""
    rule = rules[instrument]
    long, short = exposures[2 * instrument + LONG], exposures[2 * instrument + SHORT]
    value_e8 = rule.unit_e8 * rule.mark_ticks
    held_long, held_short = _held_lots(long) * value_e8, _held_lots(short) * value_e8
    worst_long, worst_short = held_long + long.entry_worst_e8, held_short + short.entry_worst_e8
    account.held_long_e8 += held_long - long.held_e8
    account.held_short_e8 += held_short - short.held_e8
    account.worst_long_e8 += worst_long - long.worst_e8
    account.worst_short_e8 += worst_short - short.worst_e8
    long.held_e8, long.worst_e8 = held_long, worst_long
    short.held_e8, short.worst_e8 = held_short, worst_short
    gross = worst_long + worst_short
    margin = maintenance_e8(gross, tiers)
    far_margin = far_margin_e8(gross, limits.min_distance_ppm, tiers)
    account.margin_e8 += margin - rule.margin_e8
    account.far_margin_e8 += far_margin - rule.far_margin_e8
    rule.margin_e8, rule.far_margin_e8 = margin, far_margin
    _weigh_risk(account, rule, long, short)


def _weigh_risk(account: AccountRisk, rule: InstrumentRisk, long: Exposure, short: Exposure) -> None:
    """Bring the value at risk in line, and what is missing: the mark or the volatility of what counts."""
    lots = _held_lots(long) + long.entry_lots + _held_lots(short) + short.entry_lots
    unmarked = 1 if rule.mark_ticks == 0 and lots > 0 else 0
    unmeasured = 1 if rule.var_ppm == UNMEASURED and lots > 0 else 0
    part = 0
    if rule.var_ppm != UNMEASURED:
        part = var.part_e8(instrument_net_e8(long, short, 0, 0), rule.var_ppm)
    account.var_e8 += part - rule.var_e8
    account.unmarked += unmarked - rule.unmarked
    account.unmeasured += unmeasured - rule.unmeasured
    rule.var_e8, rule.unmarked, rule.unmeasured = part, unmarked, unmeasured


def _held_lots(leg: Exposure) -> int:
    """Give what a leg holds, ours and others'."""
    return leg.position_lots + leg.foreign_lots


def entry_e8(price_ticks: int, qty_lots: int, mark_ticks: int, unit_e8: int) -> int:
    """Give an entry's notional at its worst: at the larger of its limit and the mark."""
    return max(price_ticks, mark_ticks) * qty_lots * unit_e8


# --- notional ---------------------------------------------------------------------------------------------------------


def gross_e8(account: AccountRisk, added_long: int, added_short: int) -> int:
    """Give both legs of all instruments, not offset against each other."""
    return account.worst_long_e8 + added_long + account.worst_short_e8 + added_short


def falling_net_e8(account: AccountRisk, added_long: int) -> int:
    """Give what a fall of all marks costs: the LONG legs with their entries, less the SHORT ones as held."""
    return account.worst_long_e8 + added_long - account.held_short_e8


def rising_net_e8(account: AccountRisk, added_short: int) -> int:
    """Give what a rise of all marks costs: the SHORT legs with their entries, less the LONG ones as held."""
    return account.worst_short_e8 + added_short - account.held_long_e8


def net_e8(account: AccountRisk, added_long: int, added_short: int) -> int:
    """Give the larger difference of the legs that the entries of one side alone could leave."""
    return max(abs(falling_net_e8(account, added_long)), abs(rising_net_e8(account, added_short)))


def instrument_net_e8(long: Exposure, short: Exposure, added_long: int, added_short: int) -> int:
    """Give the same of one instrument."""
    return max(abs(long.worst_e8 + added_long - short.held_e8), abs(short.worst_e8 + added_short - long.held_e8))


# --- margin -----------------------------------------------------------------------------------------------------------


def share_e8(equity_e8: int, ppm: int) -> int:
    """Give floor(equity x ppm / 1e6), at most LARGEST_E8; nothing of an equity of zero or less."""
    if equity_e8 <= 0:
        # A large loss times a multiple would leave 64 bits, and come back as room.
        return 0
    # No multiple that the settings admit takes a smaller equity out of 64 bits, and dividing by it costs most of this.
    if equity_e8 >= USUAL_E8 and equity_e8 // PPM >= LARGEST_E8 // max(1, ppm):
        return LARGEST_E8
    return mul_ppm(equity_e8, ppm)


def initial_margin_e8(gross: int, leverage: int) -> int:
    """Give the initial margin of a notional at the leverage that is set at the exchange, rounded up."""
    return ceil_div(gross, leverage)


def far_margin_e8(gross: int, distance_ppm: int, tiers: list[MarginTier]) -> int:
    """Give the maintenance margin of an instrument's notional, at the tier of one that has grown by a distance."""
    return mul_ppm_up(gross, tier_ppm(gross + mul_ppm(gross, distance_ppm), tiers))


# --- liquidation ------------------------------------------------------------------------------------------------------


def is_near_liquidation(equity_e8: int, margin: int, falling_net: int, rising_net: int, distance_ppm: int) -> bool:
    """Tell whether the account is liquidated nearer than a distance, or would be at the present marks."""
    room = equity_e8 - margin
    least = max(mul_ppm_up(falling_net - margin, distance_ppm), mul_ppm_up(rising_net + margin, distance_ppm))
    return room < 0 or room < least


def liquidation_distance_ppm(equity_e8: int, margin: int, falling_net: int, rising_net: int) -> int:
    """Give by how much all marks may move against the account before it is liquidated, rounded down.

    0 where it is already due; NO_LIQUIDATION where no move does it. Money below 9e18.
    """
    room = equity_e8 - margin
    if room < 0:
        return 0
    distance = NO_LIQUIDATION
    fall, rise = falling_net - margin, rising_net + margin
    if fall > room:
        distance = min(distance, _ratio_ppm(room, fall))
    if rise > 0:
        distance = min(distance, _ratio_ppm(room, rise))
    return distance


def _ratio_ppm(part: int, whole: int) -> int:
    """Give part / whole in ppm, rounded down, at most NO_LIQUIDATION."""
    if part // whole >= NO_LIQUIDATION // PPM:
        return NO_LIQUIDATION
    if whole <= RATIO_MAX_E8:
        return mul_div(part, PPM, whole)
    scale = whole // RATIO_MAX_E8 + 1
    return mul_div(part // scale, PPM, whole // scale + 1)
