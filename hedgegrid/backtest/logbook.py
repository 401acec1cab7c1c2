"""What the driver writes down while it walks, in the compiled subset: one row appended at a time.

Invariant: a log that is full loses nothing in silence: the fault is counted in ``Account.fault`` and the run fails.
"""

from typing import Final

from hedgegrid.backtest.desk import Desk, Floor
from hedgegrid.backtest.result import (
    CANCELLED,
    ENDED_BY_EXIT,
    LIQUIDATED,
    NOTHING_LEFT,
    REJECTED,
)
from hedgegrid.core import venue_tables
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.core.records import Action, VenueEvent

RAISED: Final = 1
RECOVERING: Final = 2
CLEARED: Final = 3
FLATTEN_STARTED: Final = 4
FLATTEN_DONE: Final = 5


def note_fill(floor: Floor, instrument: int, row: VenueEvent, ts_ns: int) -> None:
    """Write a fill down."""
    fill = floor.fills[floor.fills_used]
    floor.fills_used += 1
    floor.account.fill_count += 1
    fill.ts_ns = ts_ns
    fill.instrument = instrument
    fill.leg = row.leg
    fill.purpose = row.purpose
    fill.level = row.level
    fill.generation = row.generation
    fill.price_ticks = row.price_ticks
    fill.qty_lots = row.qty_lots
    fill.fee_e8 = row.fee_e8
    fill.maker = row.maker
    fill.realised_e8 = row.realised_e8
    fill.no = row.no
    fill.trade_id = row.trade_id


def note_cut(floor: Floor, instrument: int, lot_id: int, qty_lots: int) -> None:
    """Write down the part of a lot that the newest fill closed."""
    cut = floor.cuts[floor.cuts_used]
    floor.cuts_used += 1
    cut.fill = floor.account.fill_count - 1
    cut.lot_id = lot_id
    cut.instrument = instrument
    cut.qty_lots = qty_lots


def note_placed(floor: Floor, instrument: int, action: Action, kind: int, ts_ns: int, control: int) -> None:
    """Write down an order that was decided, sent or refused."""
    row = floor.placed[floor.placed_used]
    floor.placed_used += 1
    row.no = action.no
    row.instrument = instrument
    row.leg = action.leg
    row.purpose = action.purpose
    row.kind = kind
    row.level = action.level
    row.generation = action.generation
    row.price_ticks = action.price_ticks
    row.qty_lots = action.qty_lots
    row.placed_ns = ts_ns
    row.ended_ns = 0
    row.outcome = 0
    row.filled_lots = 0
    row.control = control


def note_ended(floor: Floor, instrument: int, no: int, ts_ns: int, outcome: int) -> None:
    """Write down how an order ended."""
    row = floor.ended[floor.ended_used]
    floor.ended_used += 1
    row.no = no
    row.instrument = instrument
    row.ended_ns = ts_ns
    row.outcome = outcome


def outcome_of(reason: int) -> int:
    """Give the outcome of an order that ended without filling, by the venue's reason."""
    if reason == venue_tables.BY_OTHER_EXIT:
        return ENDED_BY_EXIT
    if reason == venue_tables.BY_LIQUIDATION:
        return LIQUIDATED
    if reason == venue_tables.POST_ONLY:
        return REJECTED
    return NOTHING_LEFT if reason == venue_tables.NOTHING_TO_CLOSE else CANCELLED


def note_account(floor: Floor, desks: list[Desk], ts_ns: int) -> None:
    """Write down the account and every holding, as the decision of this instant sees them."""
    account = floor.account
    row = floor.equity[floor.equity_used]
    floor.equity_used += 1
    row.ts_ns = ts_ns
    row.wallet_e8 = account.wallet_e8
    row.unrealised_e8 = account.equity_e8 - account.wallet_e8
    row.realised_e8 = account.realised_e8
    row.fees_e8 = account.fees_e8
    row.funding_e8 = account.funding_e8
    for k in range(account.instruments):
        desk = desks[k]
        held = floor.holdings[floor.holdings_used]
        floor.holdings_used += 1
        held.mark_ticks = desk.market.mark_ticks
        held.long_lots = desk.venue_accounts[LONG].qty_lots
        held.long_cost_e8 = desk.venue_accounts[LONG].cost_e8
        held.short_lots = desk.venue_accounts[SHORT].qty_lots
        held.short_cost_e8 = desk.venue_accounts[SHORT].cost_e8


def note_funding(
    floor: Floor, instrument: int, ts_ns: int, rate_e8: int, mark_ticks: int, long_e8: int, short_e8: int
) -> None:
    """Write a settlement down."""
    row = floor.funding[floor.funding_used]
    floor.funding_used += 1
    row.ts_ns = ts_ns
    row.instrument = instrument
    row.rate_e8 = rate_e8
    row.mark_ticks = mark_ticks
    row.long_e8 = long_e8
    row.short_e8 = short_e8


def note_grid(floor: Floor, instrument: int, desk: Desk, ts_ns: int) -> None:
    """Write down that a grid's center, step, generation or regime changed since it was last told."""
    state = desk.state
    pulse = desk.pulse
    same = pulse.told_regime == state.regime and pulse.told_center == state.center_ticks
    if same and pulse.told_step == state.step_micro and pulse.told_generation == state.generation:
        return
    pulse.told_regime = state.regime
    pulse.told_center = state.center_ticks
    pulse.told_step = state.step_micro
    pulse.told_generation = state.generation
    row = floor.grids[floor.grids_used]
    floor.grids_used += 1
    row.ts_ns = ts_ns
    row.instrument = instrument
    row.regime = state.regime
    row.center_ticks = state.center_ticks
    row.step_micro = state.step_micro
    row.generation = state.generation


def note_change(floor: Floor, ts_ns: int, reason: int, instrument: int, change: int, value: int, limit: int) -> None:
    """Write down that a pause came or went."""
    row = floor.changes[floor.changes_used]
    floor.changes_used += 1
    row.ts_ns = ts_ns
    row.reason = reason
    row.instrument = instrument
    row.change = change
    row.value = value
    row.limit = limit


def is_short_of_room(floor: Floor, spare: int) -> bool:
    """Tell whether a log could have less than ``spare`` rows left: by the sum of all, which no single one exceeds."""
    used = floor.fills_used + floor.cuts_used + floor.placed_used + floor.ended_used + floor.equity_used
    used += floor.holdings_used + floor.funding_used + floor.grids_used + floor.changes_used
    return used + spare > len(floor.fills)
