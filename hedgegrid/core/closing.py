"""Closing legs at the market, slice by slice: what a flatten does with the lots that are still open.

Invariants: a leg has one market reduction under way, of at most the slice's notional at the mark, and the next goes out
once that is resolved; whatever becomes of those under way, |LONG - SHORT| never exceeds a slice or, if that is more,
what it is now: so a leg waits for one that lags behind. Lots outside the slice keep their stops; reductions only
shrink the leg that they name.
"""

from hedgegrid.core.actions import PLACE, put
from hedgegrid.core.codes import FLATTEN, LONG, SHORT
from hedgegrid.core.exits import OPEN, next_no
from hedgegrid.core.records import Action, Counter, GridParams, GridState, Lot

WANTED = 1
"""``GridState.close_long``/``close_short``: the leg is being closed."""
HELD_BACK = 2
"""It is being closed, but may send nothing now: the exchange has just refused to reduce it."""


def ask(state: GridState, leg: int, wish: int) -> None:
    """Let a leg be closed (WANTED, HELD_BACK), or not any more (0)."""
    if leg == LONG:
        state.close_long = wish
    else:
        state.close_short = wish


def go_on(
    params: GridParams, state: GridState, lots: list[Lot], mark_ticks: int, out: list[Action], used: Counter
) -> None:
    """Send the next slice of each leg that is being closed and may go on; a flat leg is closed."""
    if state.position_long_lots == 0:
        state.close_long = 0
    if state.position_short_lots == 0:
        state.close_short = 0
    if state.close_long == 0 and state.close_short == 0:
        return
    most = slice_lots(params, lots, mark_ticks)
    first = LONG if state.position_long_lots >= state.position_short_lots else SHORT
    # A leg that just falls behind is as far as the other may run ahead.
    room = max(most, abs(state.position_long_lots - state.position_short_lots))
    for turn in range(2):
        leg = first if turn == 0 else LONG + SHORT - first
        wish = state.close_long if leg == LONG else state.close_short
        if wish != WANTED or _under_way(lots, leg) > 0:
            continue
        qty_lots = _next_lots(params, lots, leg, most)
        if qty_lots > 0 and _leaves_balance(state, lots, leg, qty_lots, max(room, qty_lots)):
            _send(state, lots, leg, qty_lots, out, used)


def slice_lots(params: GridParams, lots: list[Lot], mark_ticks: int) -> int:
    """Give a slice in whole lots at the mark, never under the exchange's minimum; where no mark is known, at cost."""
    if params.flatten_slice_e8 == 0:
        return 1 << 62
    price = mark_ticks
    if price == 0:
        for i in range(len(lots)):
            if lots[i].state == OPEN:
                price = max(price, lots[i].entry_ticks)
    return max(1, params.min_qty_lots, params.flatten_slice_e8 // (max(1, price) * params.unit_e8))


def _under_way(lots: list[Lot], leg: int) -> int:
    """Give what market reductions under way would at most take off a leg."""
    qty_lots = 0
    for i in range(len(lots)):
        if lots[i].state == OPEN and lots[i].leg == leg:
            qty_lots += lots[i].closing
    return qty_lots


def _next_lots(params: GridParams, lots: list[Lot], leg: int, most: int) -> int:
    """Give the quantity of a leg's next slice: what is left after it is nothing, or an order that can be sent."""
    free = 0
    for i in range(len(lots)):
        if lots[i].state == OPEN and lots[i].leg == leg:
            free += lots[i].qty_lots
    if free <= most:
        return free
    take = min(most, free - params.min_qty_lots)
    return take if take >= params.min_qty_lots else free


def _leaves_balance(state: GridState, lots: list[Lot], leg: int, qty_lots: int, room: int) -> bool:
    """Tell whether a slice keeps the legs within ``room`` of each other, whichever of those under way fill.

    A leg that stays open whatever happens is no reason to wait.
    """
    if (state.close_short if leg == LONG else state.close_long) == 0:
        return True
    mine = state.position_long_lots if leg == LONG else state.position_short_lots
    other = state.position_short_lots if leg == LONG else state.position_long_lots
    others_under_way = _under_way(lots, LONG + SHORT - leg)
    return mine - (other - others_under_way) <= room and other - (mine - qty_lots) <= room


def _send(state: GridState, lots: list[Lot], leg: int, qty_lots: int, out: list[Action], used: Counter) -> None:
    """Send a market reduction for the oldest lots of a leg; of the last one perhaps a part."""
    no = next_no(state)
    action = out[put(state, out, used, PLACE, no)]
    action.leg = leg
    action.purpose = FLATTEN
    action.qty_lots = qty_lots
    left = qty_lots
    while left > 0:
        oldest = -1
        for i in range(len(lots)):
            mine = lots[i].state == OPEN and lots[i].leg == leg and lots[i].closing == 0
            if mine and (oldest < 0 or lots[i].lot_id < lots[oldest].lot_id):
                oldest = i
        lot = lots[oldest]
        lot.closing = min(left, lot.qty_lots)
        lot.stop_no = no
        left -= lot.closing
