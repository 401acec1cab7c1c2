"""When a decision would repeat the last one: most bars change nothing, and need not build a ladder to find that out.

After a decision that has every order where it wants it, or asked for what was missing, ``remember`` notes how far the
mid may move, and until when, before a rung would cross or uncross, fit or not fit into the inventory, or the funding
guard would act. ``holds`` compares.

Invariants: it never says so where anything that the ladder depends on has changed (``GridState.settled`` is cleared by
every answer, refusal and new center, and by every fill but an entry's that ``outlasts`` knows to change nothing); it
only ever saves work: with and without it every order is the same.
"""

from hedgegrid.core import diff, funding, grid, inventory, regime
from hedgegrid.core.actions import sort
from hedgegrid.core.codes import FREE, LONG, NEVER_NS, POLICY_BOTH
from hedgegrid.core.diff import WORKING, is_within_tolerance
from hedgegrid.core.exits import stop_ticks
from hedgegrid.core.fixed import mul_ppm
from hedgegrid.core.grid import first_rung, rung_index
from hedgegrid.core.ledger import notional_e8
from hedgegrid.core.records import Action, Counter, EntryOrder, GridParams, GridState, Indicators, Lot, Rung
from hedgegrid.units import MICRO


def holds(params: GridParams, state: GridState, ind: Indicators, ts_ns: int) -> bool:
    """Tell whether a decision at the present mid would ask for nothing again."""
    if state.settled == 0 or not state.repeat_low <= state.mid_ticks <= state.repeat_high:
        return False
    same = state.repeat_regime == state.regime or params.policy == POLICY_BOTH
    same = same and state.repeat_may_add == state.may_add
    same = same and state.repeat_rate_known == state.rate_known and state.repeat_throttle_ppm == state.throttle_ppm
    if not same or ts_ns > state.repeat_until_ns:
        return False
    return params.vol_target_ppm == 0 or regime.volatility_factor_ppm(ind, params) == state.repeat_vol_ppm


def remember(
    params: GridParams, state: GridState, ind: Indicators, rungs: list[Rung], entries: list[EntryOrder], ts_ns: int
) -> None:
    """Note within which bounds the decision after the one that was just made would ask for nothing.

    What was just asked for works by then, or an answer has cleared ``settled``.
    """
    for i in range(len(entries)):
        order = entries[i]
        if order.state == FREE:
            continue
        # One that waits for an answer, or is kept only since its rung crosses, is looked at again at every bar.
        if order.state != WORKING or order.generation != state.generation:
            return
        if not is_within_tolerance(params, rungs[rung_index(params, order.leg, order.level)], order):
            return
    state.repeat_until_ns = _until_ns(params, state, ts_ns)
    if state.repeat_until_ns < ts_ns:
        return
    # Of the inventory only the position's worth moves with the mid; ``inventory.trim`` noted how far it may.
    state.repeat_low = state.trim_low
    state.repeat_high = state.trim_high
    for i in range(len(rungs)):
        _bound_by_crossing(state, rungs[i])
    state.repeat_regime = state.regime
    state.repeat_may_add = state.may_add
    state.repeat_rate_known = state.rate_known
    state.repeat_throttle_ppm = state.throttle_ppm
    state.repeat_vol_ppm = regime.volatility_factor_ppm(ind, params)
    state.settled = 1


def outlasts(params: GridParams, state: GridState, rungs: list[Rung], lot: Lot) -> bool:
    """Tell whether the last decision, settled until now, outlasts that an entry has filled whole and become ``lot``.

    It does where the rung is of the present ladder: that is not offered while its lot is open, and nothing else changes
    as long as what the leg holds now fits beside all its rungs (``repeat_high`` says up to which mid; the filled rung
    still counts, to be on the safe side), and as long as the close-everything stop stays where the ladder wants it.
    """
    if params.leg_stop == 1 or lot.generation != state.generation or state.overflowed > 0:
        return False
    if state.repeat_may_add == 0:
        # Where nothing may be added, a leg's close-everything stop goes with the last entry that works.
        return False
    room = state.trim_room_long if lot.leg == LONG else state.trim_room_short
    if room < 0 or _is_deepest(params, state, rungs, lot):
        return False
    rung = rungs[rung_index(params, lot.leg, lot.level)]
    rung.in_ladder = 0
    rung.trim_lots = 0
    rung.qty_lots = 0
    held_lots = state.position_long_lots if lot.leg == LONG else state.position_short_lots
    state.repeat_high = min(state.repeat_high, room // notional_e8(1, held_lots, params.unit_e8))
    return True


def outlasts_exit(params: GridParams, state: GridState, rungs: list[Rung], lot: Lot) -> bool:
    """Tell whether the last decision, settled until now, outlasts that ``lot`` was closed, but for the lot's own rung.

    What the leg holds only became less, so all that fitted still does; ``offer_freed`` looks at the rung. The
    close-everything stop stays where the ladder wants it.
    """
    if params.leg_stop == 1 or lot.qty_lots > 0 or state.overflowed > 0 or state.repeat_may_add == 0:
        return False
    room = state.trim_room_long if lot.leg == LONG else state.trim_room_short
    # What did not fit may fit now.
    return room >= 0 and not _is_deepest(params, state, rungs, lot)


def _is_deepest(params: GridParams, state: GridState, rungs: list[Rung], lot: Lot) -> bool:
    """Tell whether a lot's stop lies beyond all that its leg's ladder could need, and so moves the backstop."""
    levels = params.levels_long if lot.leg == LONG else params.levels_short
    if levels == 0:
        return True
    farthest = rungs[first_rung(params, lot.leg) + levels - 1].price_ticks
    deepest = stop_ticks(lot.leg, farthest, mul_ppm(state.step_micro, params.sl_ppm))
    asked = lot.group_ticks if lot.group_ticks > 0 else lot.stop_ticks
    if lot.leg == LONG:
        return min(lot.stop_ticks, asked) < deepest
    return max(lot.stop_ticks, asked) > deepest


def offer_freed(
    params: GridParams, state: GridState, rungs: list[Rung], entries: list[EntryOrder], out: list[Action], used: Counter
) -> bool:
    """Offer again, at the present mid, what closed lots have set free; all else is as the last decision left it.

    False, and nothing is asked for, where the whole ladder has to be built to know.
    """
    state.freed = 0
    for i in range(len(rungs)):
        if _is_vacant(rungs[i]) and not _take_in(params, state, rungs[i]):
            return False
    first = used.n
    overflowed = state.overflowed
    for i in range(len(rungs)):
        if rungs[i].slot < 0 and rungs[i].qty_lots > 0 and rungs[i].crossing == 0:
            diff.add(state, rungs, entries, i, out, used)
    sort(out, first, used.n)
    state.settled = 1 if state.overflowed == overflowed else 0
    return True


def _is_vacant(rung: Rung) -> bool:
    """Tell whether a rung is not in the ladder although no order and no lot is there."""
    return rung.in_ladder == 0 and rung.slot < 0 and rung.open_lots == 0


def _take_in(params: GridParams, state: GridState, rung: Rung) -> bool:
    """Take a vacant rung into the ladder where that has a place for it and it does not cross.

    False where it does not fit, or is under the minimum.
    """
    grid.note_crossing(state, rung)
    if rung.crossing == 1 or rung.shut == 1:
        _bound_by_crossing(state, rung)
        return True
    rung.qty_lots = inventory.whole_lots(params, state, rung, state.repeat_vol_ppm)
    rung.trim_lots = rung.micro_lots // MICRO
    if rung.counted == 0 and rung.qty_lots > 0:
        rung.qty_lots = rung.qty_lots if _has_room(params, state, rung) else 0
    rung.in_ladder = 1
    return rung.qty_lots > 0


def _has_room(params: GridParams, state: GridState, rung: Rung) -> bool:
    """Leave room for a rung beside its leg's others and what the leg holds; False where there is not enough."""
    held_lots = state.position_long_lots if rung.leg == LONG else state.position_short_lots
    room = state.trim_room_long if rung.leg == LONG else state.trim_room_short
    worth = notional_e8(1, held_lots, params.unit_e8)
    room -= notional_e8(rung.price_ticks, rung.trim_lots, params.unit_e8)
    if room < worth * state.mid_ticks:
        return False
    rung.counted = 1
    if worth > 0:
        state.repeat_high = min(state.repeat_high, room // worth)
    if rung.leg == LONG:
        state.trim_room_long = room
    else:
        state.trim_room_short = room
    return True


def _until_ns(params: GridParams, state: GridState, ts_ns: int) -> int:
    """Give the last time at which the funding guard would do what it does at ``ts_ns``; before it where it moves."""
    if state.rate_known == 0:
        return NEVER_NS
    if funding.is_missing(params, state, ts_ns):
        return NEVER_NS
    if not funding.is_expensive(params, state):
        return state.next_funding_ns
    opens_ns = state.next_funding_ns - params.funding_window_ns - 1
    return opens_ns if ts_ns <= opens_ns else ts_ns - 1


def _bound_by_crossing(state: GridState, rung: Rung) -> None:
    """Keep the mid where a rung that is free to be offered does not begin or cease to cross."""
    if rung.slot >= 0 or rung.open_lots > 0 or rung.price_ticks <= 0:
        return
    price = rung.price_ticks
    if rung.leg == LONG and rung.crossing == 1:
        state.repeat_high = min(state.repeat_high, price)
    elif rung.leg == LONG:
        state.repeat_low = max(state.repeat_low, price + 1)
    elif rung.crossing == 1:
        state.repeat_low = max(state.repeat_low, price)
    else:
        state.repeat_high = min(state.repeat_high, price - 1)
