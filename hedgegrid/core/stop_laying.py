"""A leg's protective stops, laid anew from its open lots once per batch of fills.

Invariants: equal stop prices share an order, and a leg has at most ``max_stop_orders`` of them, merged toward the
earlier trigger; a stop on the wrong side of the mark goes as a market reduction at once; what would stay the same is
kept.
"""

from hedgegrid.core.actions import PLACE, RETIRE, put
from hedgegrid.core.codes import FREE, LONG, NO_PRICE, STOP
from hedgegrid.core.exits import OPEN, next_no
from hedgegrid.core.fixed import ceil_div, mul_ppm
from hedgegrid.core.ledger import average_micro
from hedgegrid.core.records import Action, Counter, GridParams, GridState, LegAccount, Lot, StopOrder
from hedgegrid.units import MICRO

STANDING = 1


def lay(
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
    elif _only_adds(params, lots, stops, leg, mark_ticks):
        bare_lot = _bare_lot(lots, leg)
        if bare_lot >= 0:
            _stand(state, lots, stops, leg, lots[bare_lot].stop_ticks, mark_ticks, out, used)
        return
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


def _only_adds(params: GridParams, lots: list[Lot], stops: list[StopOrder], leg: int, mark_ticks: int) -> bool:
    """Tell whether all that a leg's lots want beside their standing stops is a new one for at most one lot.

    It is so where every other lot stands behind a stop at its own price, no stop is on the wrong side or without a lot,
    and there is room for one more: then nothing is to be merged, moved or taken away.
    """
    for i in range(len(stops)):
        stops[i].covers = 0
    asked = 0
    bare = 0
    bare_ticks = 0
    for i in range(len(lots)):
        lot = lots[i]
        if lot.state != OPEN or lot.leg != leg:
            continue
        lot.group_ticks = lot.stop_ticks
        if not _stands(lot, leg):
            continue
        asked += 1
        if lot.stop_no == 0:
            bare += 1
            bare_ticks = lot.stop_ticks
            continue
        slot = _stop_of(lot, stops)
        if slot < 0 or stops[slot].price_ticks != lot.stop_ticks:
            return False
        stops[slot].covers += 1
    if asked > params.max_stop_orders or bare > 1 or (bare == 1 and is_wrong_side(leg, bare_ticks, mark_ticks)):
        return False
    return _all_stand(stops, leg, bare_ticks, mark_ticks)


def _all_stand(stops: list[StopOrder], leg: int, bare_ticks: int, mark_ticks: int) -> bool:
    """Tell whether each stop of a leg covers a lot, right of the mark and alone at its price (no bare lot's either)."""
    for i in range(len(stops)):
        stop = stops[i]
        if stop.state == FREE or stop.leg != leg:
            continue
        price = stop.price_ticks
        if stop.covers == 0 or price == bare_ticks or is_wrong_side(leg, price, mark_ticks) or _has_twin(stops, i):
            return False
    return True


def _bare_lot(lots: list[Lot], leg: int) -> int:
    """Give the first lot of a leg that wants a stop and has none, or -1."""
    for i in range(len(lots)):
        if _stands(lots[i], leg) and lots[i].stop_no == 0:
            return i
    return -1


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
