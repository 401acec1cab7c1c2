"""Lots and the orders that close them; how a leg's stops are laid is in ``core.stop_laying``.

Invariants: a lot keeps the take-profit and the stop that it was born with, whatever the grid does later; the exits of
a kind never exceed the leg's open lots.
"""

from hedgegrid.core.actions import PLACE, RETIRE, put
from hedgegrid.core.codes import BACKSTOP, FREE, LONG, TAKE_PROFIT
from hedgegrid.core.fixed import ceil_div, mul_ppm
from hedgegrid.core.grid import first_rung, rung_index
from hedgegrid.core.records import (
    Action,
    Counter,
    GridParams,
    GridState,
    Lot,
    Rung,
    StopOrder,
)
from hedgegrid.units import MICRO

OPEN = 1


def take_profit_ticks(leg: int, entry_ticks: int, tp_micro: int) -> int:
    """Give a take-profit's limit: rounded away from the spread, at least one tick from the entry."""
    ticks = max(1, ceil_div(tp_micro, MICRO))
    return entry_ticks + ticks if leg == LONG else entry_ticks - ticks


def stop_ticks(leg: int, entry_ticks: int, sl_micro: int) -> int:
    """Give a stop's trigger: rounded toward the earlier trigger, at least one tick from the entry."""
    ticks = max(1, sl_micro // MICRO)
    return entry_ticks - ticks if leg == LONG else entry_ticks + ticks


def next_no(state: GridState) -> int:
    """Give an order number never used before."""
    no = state.next_order_no
    state.next_order_no += state.order_no_stride
    return no


def open_lot(
    params: GridParams,
    state: GridState,
    rungs: list[Rung],
    lots: list[Lot],
    lot_id: int,
    leg: int,
    level: int,
    generation: int,
    price_ticks: int,
    qty_lots: int,
    tp_micro: int,
    step_micro: int,
    out: list[Action],
    used: Counter,
) -> int:
    """Book a filled entry as a lot with its birth prices and send its take-profit.

    Give its index, -1 where the table is full.
    """
    index = -1
    for i in range(len(lots)):
        if lots[i].state == FREE:
            index = i
            break
    if index < 0:
        state.overflowed += 1
        return -1
    lot = lots[index]
    lot.state = OPEN
    lot.lot_id = lot_id
    lot.leg = leg
    lot.level = level
    lot.generation = generation
    lot.entry_ticks = price_ticks
    lot.qty_lots = qty_lots
    lot.tp_ticks = take_profit_ticks(leg, price_ticks, tp_micro)
    lot.stop_ticks = stop_ticks(leg, price_ticks, mul_ppm(step_micro, params.sl_ppm))
    lot.step_micro = step_micro
    lot.stop_no = 0
    lot.closing = 0
    lot.group_ticks = 0
    if generation == state.generation:
        rungs[rung_index(params, leg, level)].open_lots += 1
    _count_position(state, leg, qty_lots)
    if leg == LONG:
        state.newest_step_long = step_micro
    else:
        state.newest_step_short = step_micro
    send_take_profit(state, lot, out, used)
    return index


def send_take_profit(state: GridState, lot: Lot, out: list[Action], used: Counter) -> None:
    """Send the take-profit of a lot's open quantity. A target at or below zero cannot rest.

    The stop alone guards such a lot.
    """
    lot.tp_no = 0
    if lot.tp_ticks <= 0:
        return
    lot.tp_no = next_no(state)
    action = out[put(state, out, used, PLACE, lot.tp_no)]
    action.leg = lot.leg
    action.purpose = TAKE_PROFIT
    action.level = lot.level
    action.generation = lot.generation
    action.price_ticks = lot.tp_ticks
    action.qty_lots = lot.qty_lots
    action.lot_id = lot.lot_id


def _count_position(state: GridState, leg: int, change_lots: int) -> None:
    """Add to the leg's position and mark its stops, and the last decision, as out of date."""
    state.settled = 0
    if leg == LONG:
        state.position_long_lots += change_lots
        state.dirty_long = 1
    else:
        state.position_short_lots += change_lots
        state.dirty_short = 1


def cut_lot(
    params: GridParams, state: GridState, rungs: list[Rung], lots: list[Lot], lot_id: int, qty_lots: int
) -> int:
    """Take a filled exit's quantity from a lot; a lot with nothing left is closed and its rung is free again.

    Give the lot's index, -1 where no such lot is open.
    """
    for i in range(len(lots)):
        lot = lots[i]
        if lot.state != OPEN or lot.lot_id != lot_id:
            continue
        cut = min(qty_lots, lot.qty_lots)
        lot.qty_lots -= cut
        if lot.closing > 0:
            lot.closing = min(lot.closing, lot.qty_lots)
            state.reduced = 1
        _count_position(state, lot.leg, -cut)
        if lot.qty_lots == 0:
            if lot.generation == state.generation:
                rungs[rung_index(params, lot.leg, lot.level)].open_lots -= 1
            lot.state = FREE
            lot.stop_no = 0
            lot.tp_no = 0
        return i
    return -1


def forget_exit(state: GridState, lots: list[Lot], stops: list[StopOrder], no: int) -> None:
    """An exit has ended (filled, cancelled, refused, rejected).

    Whatever it still covered counts as bare and the leg as out of date.
    """
    for i in range(len(stops)):
        if stops[i].state != FREE and stops[i].no == no:
            stops[i].state = FREE
    if no == state.backstop_long_no or no == state.backstop_short_no:
        state.settled = 0
    if no == state.backstop_long_no:
        state.backstop_long_no = 0
        state.backstop_long = 0
    if no == state.backstop_short_no:
        state.backstop_short_no = 0
        state.backstop_short = 0
    for i in range(len(lots)):
        lot = lots[i]
        if lot.state != OPEN:
            continue
        if lot.stop_no == no:
            lot.stop_no = 0
            lot.closing = 0
            _count_position(state, lot.leg, 0)
        if lot.tp_no == no:
            lot.tp_no = 0
            state.settled = 0


def resend_take_profits(state: GridState, lots: list[Lot], out: list[Action], used: Counter) -> None:
    """Send the take-profit of every open lot that lost it (a refusal, a rejection, a restart)."""
    for i in range(len(lots)):
        if lots[i].state == OPEN and lots[i].tp_no == 0 and lots[i].closing == 0:
            send_take_profit(state, lots[i], out, used)


def lay_backstop(
    params: GridParams,
    state: GridState,
    rungs: list[Rung],
    lots: list[Lot],
    leg: int,
    working: int,
    out: list[Action],
    used: Counter,
) -> None:
    """Keep the leg's one close-everything stop beyond the deepest stop that its ladder or its lots could need.

    ``working`` counts the entries of the instrument: where none may be added, none works and nothing is held, there is
    nothing to guard.
    """
    price = 0
    if state.may_add == 1 or working > 0 or _holds(lots, leg):
        price = _backstop_ticks(params, state, rungs, lots, leg)
    old_price = state.backstop_long if leg == LONG else state.backstop_short
    old_no = state.backstop_long_no if leg == LONG else state.backstop_short_no
    if price == old_price:
        return
    no = 0
    if price > 0:
        no = next_no(state)
        action = out[put(state, out, used, PLACE, no)]
        action.leg = leg
        action.purpose = BACKSTOP
        action.price_ticks = price
    if old_no > 0:
        action = out[put(state, out, used, RETIRE, old_no)]
        action.leg = leg
        action.purpose = BACKSTOP
        action.price_ticks = old_price
    if leg == LONG:
        state.backstop_long = price
        state.backstop_long_no = no
    else:
        state.backstop_short = price
        state.backstop_short_no = no


def _holds(lots: list[Lot], leg: int) -> bool:
    """Tell whether a leg has an open lot."""
    held = 0
    for i in range(len(lots)):
        if lots[i].state == OPEN and lots[i].leg == leg:
            held += 1
    return held > 0


def _backstop_ticks(params: GridParams, state: GridState, rungs: list[Rung], lots: list[Lot], leg: int) -> int:
    """Give the backstop's trigger, or 0 where the leg has no ladder or the price would not be one."""
    levels = params.levels_long if leg == LONG else params.levels_short
    if levels == 0 or state.generation == 0 or params.backstop_ppm == 0:
        return 0
    deepest = stop_ticks(
        leg, rungs[first_rung(params, leg) + levels - 1].price_ticks, mul_ppm(state.step_micro, params.sl_ppm)
    )
    for i in range(len(lots)):
        if lots[i].state == OPEN and lots[i].leg == leg:
            own = lots[i].stop_ticks
            deepest = min(deepest, own) if leg == LONG else max(deepest, own)
            # The leg's one stop may lie further out than its lots' own.
            asked = lots[i].group_ticks
            if asked > 0:
                deepest = min(deepest, asked) if leg == LONG else max(deepest, asked)
    beyond = max(1, mul_ppm(state.step_micro, params.backstop_ppm) // MICRO)
    return max(0, deepest - beyond) if leg == LONG else deepest + beyond
