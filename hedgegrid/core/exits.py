"""Lots and the orders that close them.

Invariants: a lot keeps the take-profit and the stop that it was born with, whatever the grid does later; the exits of
a kind never exceed the leg's open lots; equal stop prices share an order, and a leg has at most ``max_stop_orders``
of them, merged toward the earlier trigger; a stop on the wrong side of the mark goes as a market reduction at once.
"""

from hedgegrid.core.actions import PLACE, RETIRE, put
from hedgegrid.core.codes import BACKSTOP, FREE, LONG, NO_PRICE, STOP, TAKE_PROFIT
from hedgegrid.core.fixed import ceil_div, mul_ppm
from hedgegrid.core.grid import first_rung, rung_index
from hedgegrid.core.ledger import average_micro
from hedgegrid.core.records import (
    Action,
    Counter,
    GridParams,
    GridState,
    LegAccount,
    Lot,
    Rung,
    StopOrder,
)
from hedgegrid.units import MICRO

OPEN = 1
STANDING = 1


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
) -> None:
    """Take a filled exit's quantity from a lot; a lot with nothing left is closed and its rung is free again."""
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
        return


def lay_stops(
    params: GridParams,
    state: GridState,
    account: LegAccount,
    lots: list[Lot],
    stops: list[StopOrder],
    leg: int,
    mark_ticks: int,
    out: list[Action],
    used: Counter,
) -> None:
    """Lay a leg's stops anew from its open lots, once per batch of fills; stops that would stay the same are kept.

    The new ones are placed before the old ones are retired, earliest trigger first.
    """
    if params.leg_stop == 1:
        # The close-everything stop follows the leg's one stop where that lies further out than its lots' own.
        state.settled = 0
    bare = _group(params, state, account, lots, leg)
    if bare > params.max_stop_orders:
        _merge(params, lots, leg, mark_ticks)
    bare -= _keep(lots, stops, leg, mark_ticks)
    if bare > 0:
        _mark_kept(lots, stops, leg)
    price = _next_trigger(lots, leg, NO_PRICE if leg == LONG else 0) if bare > 0 else 0
    while price > 0:
        bare -= _stand(state, lots, stops, leg, price, mark_ticks, out, used)
        price = _next_trigger(lots, leg, price) if bare > 0 else 0
    for i in range(len(stops)):
        stop = stops[i]
        if stop.state == FREE or stop.leg != leg or stop.kept == 1:
            continue
        action = out[put(state, out, used, RETIRE, stop.no)]
        action.leg = leg
        action.purpose = STOP
        action.price_ticks = stop.price_ticks
        stop.state = FREE


def _group(params: GridParams, state: GridState, account: LegAccount, lots: list[Lot], leg: int) -> int:
    """Give every lot of the leg the trigger it asks for, its own or the leg's one stop; tell how many want a stop."""
    shared = 0
    if params.leg_stop == 1 and account.qty_lots > 0:
        shared = leg_stop_ticks(params, state, account, leg)
    count = 0
    for i in range(len(lots)):
        lot = lots[i]
        if lot.state == OPEN and lot.leg == leg:
            lot.group_ticks = shared if params.leg_stop == 1 else lot.stop_ticks
            lot.laid = 0
            if lot.closing == 0 and lot.group_ticks > 0:
                count += 1
    return count


def _keep(lots: list[Lot], stops: list[StopOrder], leg: int, mark_ticks: int) -> int:
    """Keep each standing stop that covers exactly the lots that ask for its price; tell how many lots those cover."""
    _count_covers(lots, stops, leg)
    covered = 0
    for i in range(len(stops)):
        stop = stops[i]
        if stop.state == FREE or stop.leg != leg:
            continue
        if stop.covers == 0 or _has_twin(stops, i) or is_wrong_side(leg, stop.price_ticks, mark_ticks):
            stop.kept = 0
        if stop.kept == 1:
            covered += stop.covers
    return covered


def _count_covers(lots: list[Lot], stops: list[StopOrder], leg: int) -> None:
    """Count the lots that each stop covers at the price they ask for; one that a lot asks more of is not kept."""
    for i in range(len(stops)):
        stops[i].covers = 0
        stops[i].kept = 1
    for i in range(len(lots)):
        lot = lots[i]
        if not _stands(lot, leg):
            continue
        slot = _stop_of(lot, stops)
        if slot >= 0 and stops[slot].price_ticks == lot.group_ticks:
            stops[slot].covers += 1
            continue
        if slot >= 0:
            stops[slot].kept = 0
        for j in range(len(stops)):
            # What stands at the price that this lot asks for does not cover it.
            if stops[j].price_ticks == lot.group_ticks and stops[j].leg == leg:
                stops[j].kept = 0


def _stop_of(lot: Lot, stops: list[StopOrder]) -> int:
    """Give the row of the standing stop that covers a lot, -1 where none does."""
    if lot.stop_no == 0:
        return -1
    if lot.stop_slot < len(stops) and stops[lot.stop_slot].no == lot.stop_no:
        return lot.stop_slot if stops[lot.stop_slot].state != FREE else -1
    for i in range(len(stops)):
        if stops[i].state != FREE and stops[i].no == lot.stop_no:
            return i
    return -1


def _has_twin(stops: list[StopOrder], index: int) -> bool:
    """Tell whether another stop with lots of its own stands at a stop's price: one order is to cover them all."""
    price = stops[index].price_ticks
    for i in range(len(stops)):
        if stops[i].price_ticks == price and i != index and stops[i].covers > 0 and stops[i].leg == stops[index].leg:
            return True
    return False


def _mark_kept(lots: list[Lot], stops: list[StopOrder], leg: int) -> None:
    """Mark the lots that a kept stop covers as laid."""
    for i in range(len(lots)):
        if _stands(lots[i], leg):
            slot = _stop_of(lots[i], stops)
            lots[i].laid = stops[slot].kept if slot >= 0 else 0


def leg_stop_ticks(params: GridParams, state: GridState, account: LegAccount, leg: int) -> int:
    """Give a leg's one stop: average entry -/+ sl_steps of its newest step, toward the earlier trigger."""
    average = average_micro(account, params.unit_e8)
    if leg == LONG:
        return ceil_div(average - max(MICRO, mul_ppm(state.newest_step_long, params.sl_ppm)), MICRO)
    return (average + max(MICRO, mul_ppm(state.newest_step_short, params.sl_ppm))) // MICRO


def is_wrong_side(leg: int, trigger_ticks: int, mark_ticks: int) -> bool:
    """Tell whether a stop would trigger at this mark already (equality included)."""
    return trigger_ticks >= mark_ticks if leg == LONG else trigger_ticks <= mark_ticks


def _stands(lot: Lot, leg: int) -> bool:
    """Tell whether a lot of this leg wants a stop.

    No market reduction is under way for it, and its trigger is a price.
    """
    return lot.state == OPEN and lot.leg == leg and lot.closing == 0 and lot.group_ticks > 0


def _next_trigger(lots: list[Lot], leg: int, from_ticks: int) -> int:
    """Give the next trigger after ``from_ticks`` without a stop, earliest first (LONG falls, SHORT rises), or 0."""
    best = 0
    for i in range(len(lots)):
        lot = lots[i]
        if lot.laid == 1 or not _stands(lot, leg):
            continue
        price = lot.group_ticks
        if leg == LONG:
            if price < from_ticks and price > best:
                best = price
        elif price > from_ticks and (best == 0 or price < best):
            best = price
    return best


def _merge(params: GridParams, lots: list[Lot], leg: int, mark_ticks: int) -> None:
    """Join the two nearest stops until the leg has no more than it may; ties go farthest from the mark."""
    while True:
        count = 0
        best_gap = NO_PRICE
        near = 0
        far = 0
        last = 0
        price = _next_trigger(lots, leg, NO_PRICE if leg == LONG else 0)
        while price > 0:
            count += 1
            gap = abs(last - price)
            farther = abs(price - mark_ticks) > abs(far - mark_ticks)
            if last > 0 and (gap < best_gap or (gap == best_gap and farther)):
                best_gap = gap
                near = last
                far = price
            last = price
            price = _next_trigger(lots, leg, price)
        if count <= params.max_stop_orders:
            return
        for i in range(len(lots)):
            if _stands(lots[i], leg) and lots[i].group_ticks == far:
                lots[i].group_ticks = near


def _stand(
    state: GridState,
    lots: list[Lot],
    stops: list[StopOrder],
    leg: int,
    price: int,
    mark_ticks: int,
    out: list[Action],
    used: Counter,
) -> int:
    """Give the lots with this trigger their one stop, or their market reduction where it is too late; tell how many."""
    wrong = is_wrong_side(leg, price, mark_ticks)
    no = next_no(state)
    slot = 0 if wrong else _remember(state, stops, no, leg, price)
    action = out[put(state, out, used, PLACE, no)]
    members = 0
    for i in range(len(lots)):
        member = lots[i]
        if _stands(member, leg) and member.group_ticks == price:
            members += 1
            member.stop_no = no
            member.stop_slot = slot
            member.laid = 1
            action.qty_lots += member.qty_lots
            action.level = member.level if members == 1 else -1
            action.generation = member.generation if members == 1 else -1
            if wrong:
                member.closing = member.qty_lots
    action.leg = leg
    action.purpose = STOP
    # A market reduction has no trigger: price 0 says so.
    action.price_ticks = 0 if wrong else price
    return members


def _remember(state: GridState, stops: list[StopOrder], no: int, leg: int, price: int) -> int:
    """Write a stop into the table of standing stops and give its row."""
    for i in range(len(stops)):
        if stops[i].state == FREE:
            stops[i].state = STANDING
            stops[i].no = no
            stops[i].leg = leg
            stops[i].price_ticks = price
            stops[i].kept = 1
            return i
    state.overflowed += 1
    return 0


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
