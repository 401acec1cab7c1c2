"""Desired rungs against working entries: what to keep, cancel and add.

Invariants: a rung never has two live orders (a replacement waits until the cancel is confirmed, and any fill before
that drops it); an order within tolerance is kept and takes over the latest take-profit; every order of an older
generation is unwanted.
"""

from hedgegrid.core.actions import CANCEL, PLACE, RETRY_AT, put, sort
from hedgegrid.core.codes import ENTRY, FREE, LONG
from hedgegrid.core.fixed import mul_ppm
from hedgegrid.core.grid import rung_index
from hedgegrid.core.records import Action, Counter, EntryOrder, GridParams, GridState, Rung
from hedgegrid.units import PPM

WORKING = 1
"""Sent: in flight or live; an order whose outcome is unknown stays here and blocks its rung."""
CANCELLING = 2
"""A cancel is under way."""
RETRYING = 3
"""Rejected as post-only and waiting to be sent again one tick further out; counts as working."""


def apply(
    params: GridParams,
    state: GridState,
    rungs: list[Rung],
    entries: list[EntryOrder],
    out: list[Action],
    used: Counter,
) -> int:
    """Write the actions that turn the working entries into the desired ladder.

    Give how many entries were let go without one: retries that are not wanted any more.
    """
    state.settled = 0
    state.freed = 0
    first = used.n
    dropped = 0
    for slot in range(used_end(entries)):
        if entries[slot].state != FREE:
            _compare(params, state, rungs, entries, slot, out, used)
            dropped += 1 if entries[slot].state == FREE else 0
    if state.may_add == 1:
        for i in range(len(rungs)):
            rung = rungs[i]
            if rung.qty_lots > 0 and rung.slot < 0 and rung.crossing == 0:
                add(state, rungs, entries, i, out, used)
    sort(out, first, used.n)
    return dropped


def _compare(
    params: GridParams,
    state: GridState,
    rungs: list[Rung],
    entries: list[EntryOrder],
    slot: int,
    out: list[Action],
    used: Counter,
) -> None:
    """Keep, drop, cancel or replace one working entry."""
    order = entries[slot]
    if order.generation != state.generation:
        _unwant(state, rungs, params, order, out, used)
        return
    rung = rungs[rung_index(params, order.leg, order.level)]
    if rung.qty_lots == 0:
        _unwant(state, rungs, params, order, out, used)
        return
    # An order on a rung that would cross now is kept as it is: its replacement could not be added.
    kept = rung.crossing == 1 or is_within_tolerance(params, rung, order)
    if kept and order.state != CANCELLING:
        order.tp_micro = rung.tp_micro
        return
    if order.state == RETRYING:
        free(params, state, rungs, order)
        return
    if order.state == WORKING:
        _cancel(state, order, out, used)
    wait = state.may_add == 1 and order.filled_lots == 0 and rung.crossing == 0
    order.wait_qty_lots = rung.qty_lots if wait else 0
    order.wait_price_ticks = rung.price_ticks
    order.wait_tp_micro = rung.tp_micro


def is_within_tolerance(params: GridParams, rung: Rung, order: EntryOrder) -> bool:
    """Tell whether an order's own price and quantity are near enough to the desired ones (inclusive)."""
    price_off = abs(order.price_ticks - rung.price_ticks) * PPM
    qty_off = abs(order.qty_lots - rung.qty_lots) * PPM
    near = price_off <= params.price_tolerance_ppm * rung.price_ticks
    return near and qty_off <= params.qty_tolerance_ppm * rung.qty_lots


def _unwant(
    state: GridState, rungs: list[Rung], params: GridParams, order: EntryOrder, out: list[Action], used: Counter
) -> None:
    """Let an entry go: cancel it, forget its retry, or drop what waits behind its cancel."""
    if order.state == RETRYING:
        free(params, state, rungs, order)
        return
    order.wait_qty_lots = 0
    if order.state == WORKING:
        _cancel(state, order, out, used)


def _cancel(state: GridState, order: EntryOrder, out: list[Action], used: Counter) -> None:
    """Ask for the cancel of a working entry."""
    order.state = CANCELLING
    _describe(state, order, out[put(state, out, used, CANCEL, order.no)])


def add(
    state: GridState, rungs: list[Rung], entries: list[EntryOrder], index: int, out: list[Action], used: Counter
) -> None:
    """Place an order on an empty rung; a full table of entries leaves the rung for the next decision, counted."""
    slot = free_slot(entries)
    if slot < 0:
        state.overflowed += 1
        return
    rung = rungs[index]
    rung.slot = slot
    order = entries[slot]
    order.leg = rung.leg
    order.level = rung.level
    order.generation = state.generation
    order.rung_price_ticks = rung.price_ticks
    order.step_micro = state.step_micro
    order.attempt = 0
    send(state, order, rung.price_ticks, rung.qty_lots, rung.tp_micro, out, used)


def send(
    state: GridState,
    order: EntryOrder,
    price_ticks: int,
    qty_lots: int,
    tp_micro: int,
    out: list[Action],
    used: Counter,
) -> None:
    """Send an order on its rung under a number never used before."""
    state.settled = 0
    order.state = WORKING
    order.no = state.next_order_no
    state.next_order_no += state.order_no_stride
    order.price_ticks = price_ticks
    order.qty_lots = qty_lots
    order.filled_lots = 0
    order.tp_micro = tp_micro
    order.wait_qty_lots = 0
    order.retry_ns = 0
    _describe(state, order, out[put(state, out, used, PLACE, order.no)])


def _describe(state: GridState, order: EntryOrder, action: Action) -> None:
    """Fill an action in from its entry."""
    action.leg = order.leg
    action.purpose = ENTRY
    action.level = order.level
    action.generation = order.generation
    action.price_ticks = order.price_ticks
    action.qty_lots = order.qty_lots
    action.distance = abs(order.price_ticks - state.mid_ticks)


def free_slot(entries: list[EntryOrder]) -> int:
    """Give the first unused slot of the table of entries, or -1."""
    for i in range(len(entries)):
        if entries[i].state == FREE:
            return i
    return -1


def count(entries: list[EntryOrder]) -> int:
    """Give how many entries there are, whatever their state."""
    total = 0
    for i in range(len(entries)):
        if entries[i].state != FREE:
            total += 1
    return total


def used_end(entries: list[EntryOrder]) -> int:
    """Give the end of the part of the table that is in use."""
    end = len(entries)
    while end > 0 and entries[end - 1].state == FREE:
        end -= 1
    return end


def find(entries: list[EntryOrder], no: int) -> int:
    """Give the slot of the entry with this order number, or -1."""
    for i in range(len(entries)):
        if entries[i].no == no and entries[i].state != FREE:
            return i
    return -1


def free(params: GridParams, state: GridState, rungs: list[Rung], order: EntryOrder) -> None:
    """Give an entry's slot back, and its rung where it is of the present generation."""
    if order.generation == state.generation:
        rungs[rung_index(params, order.leg, order.level)].slot = -1
    order.state = FREE
    order.no = 0
    order.wait_qty_lots = 0
    state.settled = 0


def on_cancelled(
    params: GridParams,
    state: GridState,
    rungs: list[Rung],
    entries: list[EntryOrder],
    no: int,
    out: list[Action],
    used: Counter,
) -> None:
    """An entry is gone (cancelled, expired, or a cancel found nothing).

    Send what waits behind it, else free its rung.
    """
    slot = find(entries, no)
    if slot < 0:
        return
    order = entries[slot]
    if (
        order.wait_qty_lots > 0
        and order.filled_lots == 0
        and order.generation == state.generation
        and state.may_add == 1
    ):
        order.attempt = 0
        send(state, order, order.wait_price_ticks, order.wait_qty_lots, order.wait_tp_micro, out, used)
        return
    free(params, state, rungs, order)


def on_post_only_rejected(
    params: GridParams,
    state: GridState,
    rungs: list[Rung],
    entries: list[EntryOrder],
    no: int,
    ts_ns: int,
    out: list[Action],
    used: Counter,
) -> None:
    """An entry would have taken: wait to send it one tick further out, while the attempts and the deviation allow."""
    slot = find(entries, no)
    if slot < 0 or entries[slot].state == CANCELLING:
        # With a cancel under way its answer ends the order; nothing is retried.
        return
    state.settled = 0
    order = entries[slot]
    attempt = order.attempt + 1
    allowed_ticks = mul_ppm(order.rung_price_ticks, params.retry_deviation_ppm)
    if attempt > params.retry_attempts or attempt > allowed_ticks or state.may_add == 0:
        free(params, state, rungs, order)
        return
    order.state = RETRYING
    order.attempt = attempt
    order.retry_ns = ts_ns + params.retry_delay_ns
    order.price_ticks = order.rung_price_ticks - attempt if order.leg == LONG else order.rung_price_ticks + attempt
    out[put(state, out, used, RETRY_AT, order.no)].distance = order.retry_ns


def on_wake(
    params: GridParams,
    state: GridState,
    rungs: list[Rung],
    entries: list[EntryOrder],
    ts_ns: int,
    out: list[Action],
    used: Counter,
) -> None:
    """Send every retry that is due; where nothing may be added any more, its rung waits for the next decision."""
    for i in range(len(entries)):
        order = entries[i]
        if order.state != RETRYING or order.retry_ns > ts_ns:
            continue
        if state.may_add == 1:
            send(state, order, order.price_ticks, order.qty_lots, order.tp_micro, out, used)
        else:
            free(params, state, rungs, order)


def on_refused(params: GridParams, state: GridState, rungs: list[Rung], entries: list[EntryOrder], no: int) -> None:
    """The gate refused an entry: it was never sent, and its rung waits for the next decision."""
    slot = find(entries, no)
    if slot >= 0:
        free(params, state, rungs, entries[slot])
