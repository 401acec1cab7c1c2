"""Ladders trimmed to the inventory that may be held, then scaled by volatility and the operator's throttle.

Invariants: a leg's position at the mid, its entries outside the ladder and the kept rungs together stay within the
limit; rungs go from the far end; the floor to whole lots is made once, after the last factor.
"""

from hedgegrid.core.codes import FREE, LONG, NO_PRICE, SHORT
from hedgegrid.core.fixed import mul_ppm
from hedgegrid.core.grid import first_rung, rung_index
from hedgegrid.core.ledger import notional_e8
from hedgegrid.core.records import EntryOrder, GridParams, GridState, Rung
from hedgegrid.units import MICRO


def trim(params: GridParams, state: GridState, rungs: list[Rung], entries: list[EntryOrder]) -> None:
    """Drop each leg's rungs from the first that does not fit into the inventory limit on.

    ``trim_low`` and ``trim_high`` say between which mids the same rungs fit, all else being equal; ``trim_room_*`` what
    the rungs of a leg leave for its position.
    """
    state.trim_low = 0
    state.trim_high = NO_PRICE
    outside_long, outside_short = _outside_e8(params, state, rungs, entries)
    for leg in (LONG, SHORT):
        position = state.position_long_lots if leg == LONG else state.position_short_lots
        worth = notional_e8(1, position, params.unit_e8)
        room = params.max_inventory_e8 - (outside_long if leg == LONG else outside_short)
        first = first_rung(params, leg)
        levels = params.levels_long if leg == LONG else params.levels_short
        fits = True
        for i in range(levels):
            rung = rungs[first + i]
            if rung.in_ladder == 0:
                continue
            rung.trim_lots = rung.micro_lots // MICRO
            left = room - _rung_e8(params, rung, entries)
            if fits and worth * state.mid_ticks > left:
                fits = False
                if worth > 0:
                    state.trim_low = max(state.trim_low, left // worth + 1)
            if fits:
                room = left
                rung.counted = 1
            else:
                rung.in_ladder = 0
                rung.shut = 1
        if worth > 0 and room >= worth * state.mid_ticks:
            state.trim_high = min(state.trim_high, room // worth)
        if leg == LONG:
            state.trim_room_long = room if fits else -1
        else:
            state.trim_room_short = room if fits else -1


def _rung_e8(params: GridParams, rung: Rung, entries: list[EntryOrder]) -> int:
    """Give what a rung could add: the larger of its desired and its working notional."""
    desired = notional_e8(rung.price_ticks, rung.trim_lots, params.unit_e8)
    if rung.slot < 0:
        return desired
    order = entries[rung.slot]
    if order.filled_lots > 0:
        # The filled part is in the position already; only the remainder can still come.
        return notional_e8(order.price_ticks, order.qty_lots - order.filled_lots, params.unit_e8)
    return max(desired, notional_e8(order.price_ticks, order.qty_lots - order.filled_lots, params.unit_e8))


def _outside_e8(params: GridParams, state: GridState, rungs: list[Rung], entries: list[EntryOrder]) -> tuple[int, int]:
    """Give the notional of each leg's working entries whose rung is not in the present ladder: LONG, SHORT."""
    long_e8 = 0
    short_e8 = 0
    for i in range(len(entries)):
        order = entries[i]
        if order.state == FREE:
            continue
        if order.generation == state.generation and rungs[rung_index(params, order.leg, order.level)].in_ladder == 1:
            continue
        notional = notional_e8(order.price_ticks, order.qty_lots - order.filled_lots, params.unit_e8)
        if order.leg == LONG:
            long_e8 += notional
        else:
            short_e8 += notional
    return long_e8, short_e8


def finish(params: GridParams, state: GridState, rungs: list[Rung], vol_factor_ppm: int) -> None:
    """Apply volatility and throttle, floor to lots once, and drop (and count) rungs under the minimum."""
    for i in range(len(rungs)):
        rung = rungs[i]
        if rung.in_ladder == 0:
            continue
        rung.qty_lots = whole_lots(params, state, rung, vol_factor_ppm)
        if rung.qty_lots == 0:
            state.below_minimum += 1
            rung.in_ladder = 0
            rung.shut = 1


def whole_lots(params: GridParams, state: GridState, rung: Rung, vol_factor_ppm: int) -> int:
    """Give a rung's quantity after volatility and throttle, floored to lots once; 0 where it is under the minimum."""
    lots = mul_ppm(mul_ppm(rung.micro_lots, vol_factor_ppm), state.throttle_ppm) // MICRO
    small = notional_e8(rung.price_ticks, lots, params.unit_e8) < params.min_notional_e8
    return 0 if lots < params.min_qty_lots or lots <= 0 or small else lots
