"""The exits of one instrument where nothing links them: on a real exchange a lot's take-profit and stop race.

It is interpreted alone: the simulated venue links its exits, so no backtest comes here. ``core.exits`` sends
take-profits and ``core.stop_laying`` lays stops; this module knows which orders of them the exchange still has, and
what a race left behind.

Invariants: an exit is in the book from its sending until the exchange says that it ended; what a fill takes beyond the
lots that its order covers is cut from the leg's oldest lots (the journal cuts by the same rule), never below zero; an
exit that is more than its lots is cancelled (take-profit) or laid anew (stop) in the batch that made it so; what the
exchange refuses is sent again after a growing pause, and a stop ends in a market reduction.
"""

from collections.abc import Iterable, Sequence

from hedgegrid.core import closing, exits, stop_laying
from hedgegrid.core.actions import CANCEL, PLACE, RETIRE, put
from hedgegrid.core.codes import BACKSTOP, ENTRY, FREE, LONG, SHORT, STOP, TAKE_PROFIT
from hedgegrid.core.exit_book import DOUBLINGS_MAX, ExitBook, ExitOrder
from hedgegrid.core.records import Action, Counter, GridParams, GridState, Lot, Rung, StopOrder
from hedgegrid.model.order import Cover

RESENDS_MAX = 3
"""Refusals in a row of a leg's stops after which what is bare is reduced at the market."""
ATTEMPTS_MAX = 6
"""Refusals in a row, market reductions included, after which a person is called; it goes on at the longest pause."""
CANCELS_MAX = 5
"""Cancels of one exit without an answer after which the exchange is read anew."""

# --- fills ----------------------------------------------------------------------------------------------------------


def close_lots(
    params: GridParams,
    state: GridState,
    rungs: list[Rung],
    lots: list[Lot],
    leg: int,
    covers: Iterable[Cover],
    qty_lots: int,
) -> tuple[int, int]:
    """Take an exit's fill off the lots that it covers, then off the leg's oldest.

    Give what was taken beyond its own lots (a lost race), and what no lot was left for.
    """
    by_id = {lot.lot_id: lot for lot in lots if lot.state == exits.OPEN and lot.leg == leg}
    rest = qty_lots
    for cover in covers:
        rest -= _cut(params, state, rungs, by_id.get(cover.lot_id), min(rest, cover.qty_lots))
    lost = rest
    for lot_id in sorted(by_id):
        rest -= _cut(params, state, rungs, by_id[lot_id], rest)
    return lost - rest, rest


def _cut(params: GridParams, state: GridState, rungs: list[Rung], lot: Lot | None, wanted: int) -> int:
    """Close up to ``wanted`` of a lot and give how much that was."""
    if lot is None or lot.state != exits.OPEN or wanted <= 0:
        return 0
    gone = min(wanted, lot.qty_lots)
    exits.cut_lot(params, state, rungs, [lot], lot.lot_id, gone)
    return gone


def cut_to(
    params: GridParams, state: GridState, rungs: list[Rung], lots: list[Lot], leg: int, position_lots: int
) -> int:
    """Cut the leg's oldest lots down to what the exchange holds; give how much went."""
    held = state.position_long_lots if leg == LONG else state.position_short_lots
    if held <= position_lots:
        return 0
    return close_lots(params, state, rungs, lots, leg, (), held - position_lots)[0]


# --- what has to go -------------------------------------------------------------------------------------------------


def shed(
    book: ExitBook, state: GridState, lots: list[Lot], stops: list[StopOrder], out: list[Action], used: Counter
) -> None:
    """Cancel each take-profit that is not its lot's quantity, and have each stop that is not its lots' laid anew.

    A cancelled take-profit is sent again for what is left once its cancel is confirmed; a stop is replaced first.
    Where the exchange refuses to reduce a leg, its take-profits make way.
    """
    for leg in (LONG, SHORT):
        book.crowded[leg] = book.crowded[leg] and _must_reduce(book, lots, leg)
    by_profit = {lot.tp_no: lot for lot in lots if lot.state == exits.OPEN and lot.tp_no > 0}
    for order in book.orders.values():
        if order.purpose != TAKE_PROFIT or order.leaving_ns > 0:
            continue
        lot = by_profit.get(order.no)
        if lot is None or lot.qty_lots != order.qty_lots or book.crowded[order.leg]:
            _cancel(state, order, out, used)
    for stop in stops:
        if stop.state == FREE:
            continue
        mine = [lot for lot in lots if lot.state == exits.OPEN and lot.stop_no == stop.no]
        known = book.orders.get(stop.no)
        if known is None or known.qty_lots != sum(lot.qty_lots for lot in mine):
            strip(state, mine, stop.leg)


def _must_reduce(book: ExitBook, lots: list[Lot], leg: int) -> bool:
    """Tell whether a lot of the leg is being closed at the market, or has no stop that is known to rest."""
    resting = book.protected_lots(lots)
    mine = [lot for lot in lots if lot.state == exits.OPEN and lot.leg == leg]
    return any(lot.closing > 0 or resting.get((leg, lot.lot_id), 0) < lot.qty_lots for lot in mine)


def strip(state: GridState, lots: Iterable[Lot], leg: int) -> None:
    """Let lots ask for a new stop; the one that they have is retired once that stands."""
    for lot in lots:
        lot.stop_no = 0
    make_dirty(state, leg)


def make_dirty(state: GridState, leg: int) -> None:
    """Have a leg's stops laid anew at the end of this batch."""
    state.settled = 0
    if leg == LONG:
        state.dirty_long = 1
    else:
        state.dirty_short = 1


def _cancel(state: GridState, order: ExitOrder, out: list[Action], used: Counter) -> None:
    action = out[put(state, out, used, CANCEL, order.no)]
    action.leg = order.leg
    action.purpose = order.purpose
    action.price_ticks = order.price_ticks
    action.qty_lots = order.qty_lots


def cancel_again(
    book: ExitBook,
    state: GridState,
    lots: list[Lot],
    stops: list[StopOrder],
    excess_ns: int,
    overlap_ns: int,
    now_ns: int,
    out: list[Action],
    used: Counter,
) -> list[ExitOrder]:
    """Ask once more for the cancels that nobody answered in their time, or that the exchange proved not to have taken.

    Give the exits that nobody answered for. A stop that alone protects a lot stays one of the leg's stops instead,
    until the next laying.
    """
    late: list[ExitOrder] = []
    for order in book.orders.values():
        if order.leaving_ns == 0 or _again_ns(order, excess_ns, overlap_ns) > now_ns:
            continue
        if _is_needed(book, lots, order):
            _take_back(state, lots, stops, order)
            continue
        _cancel(state, order, out, used)
        late += [] if order.again_ns else [order]
    return late


def _again_ns(order: ExitOrder, excess_ns: int, overlap_ns: int) -> int:
    """Give when the cancel of an exit that leaves is to be asked for again."""
    wait_ns = (overlap_ns if order.is_stop else excess_ns) << min(max(order.cancels - 1, 0), DOUBLINGS_MAX)
    return order.again_ns or order.leaving_ns + wait_ns


def next_cancel_ns(book: ExitBook, excess_ns: int, overlap_ns: int) -> int:
    """Give when ``cancel_again`` has something to do if nobody says anything meanwhile (0: never)."""
    leaving = [order for order in book.orders.values() if order.leaving_ns > 0]
    return min((_again_ns(order, excess_ns, overlap_ns) for order in leaving), default=0)


def keep(book: ExitBook, state: GridState, lots: list[Lot], stops: list[StopOrder], no: int) -> None:
    """Let a stop that nobody has asked to leave, though it was to, be one of its leg's stops again at once."""
    order = book.orders.get(no)
    if order is not None and order.leaving_ns > 0:
        order.cancels -= 1
        _take_back(state, lots, stops, order)


def _take_back(state: GridState, lots: list[Lot], stops: list[StopOrder], order: ExitOrder) -> None:
    """Let a stop that was to leave be one of its leg's stops again; a full table leaves it to the next look."""
    for stop in stops:
        if stop.state == FREE:
            stop.state = stop_laying.STANDING
            stop.no = order.no
            stop.leg = order.leg
            stop.price_ticks = order.price_ticks
            order.leaving_ns = 0
            break
    mine = {cover.lot_id for cover in order.covers}
    for lot in lots:
        if lot.state == exits.OPEN and lot.leg == order.leg and lot.lot_id in mine and lot.stop_no == 0:
            lot.stop_no = order.no
    make_dirty(state, order.leg)


def _is_needed(book: ExitBook, lots: list[Lot], order: ExitOrder) -> bool:
    """Tell whether an open lot has no other stop that is known to rest."""
    if not order.is_stop:
        return False
    others = book.protected_lots(lots, without=order.no)
    mine = {cover.lot_id for cover in order.covers}
    return any(
        others.get((lot.leg, lot.lot_id), 0) < lot.qty_lots
        for lot in lots
        if lot.state == exits.OPEN and lot.leg == order.leg and lot.lot_id in mine
    )


def earlier(a_ns: int, b_ns: int) -> int:
    """Give the earlier of two times, where 0 means none."""
    if a_ns == 0 or b_ns == 0:
        return max(a_ns, b_ns)
    return min(a_ns, b_ns)


# --- what has to come -----------------------------------------------------------------------------------------------


def hold_back(book: ExitBook, state: GridState, now_ns: int) -> int:
    """Keep a leg whose stops or reductions were just refused from sending them before its pause is over.

    Give when that is (0: nothing waits).
    """
    next_ns = 0
    for leg in (LONG, SHORT):
        again_ns = book.stop_setbacks[leg].again_ns
        if (state.close_long if leg == LONG else state.close_short) != 0:
            closing.ask(state, leg, closing.HELD_BACK if again_ns > now_ns else closing.WANTED)
        dirty = state.dirty_long if leg == LONG else state.dirty_short
        wanted = book.held[leg] or dirty == 1
        book.held[leg] = wanted and again_ns > now_ns
        if book.held[leg]:
            next_ns = earlier(next_ns, again_ns)
            if leg == LONG:
                state.dirty_long = 0
            else:
                state.dirty_short = 0
        elif wanted:
            make_dirty(state, leg)
    return next_ns


def resend_profits(
    book: ExitBook, state: GridState, lots: list[Lot], now_ns: int, out: list[Action], used: Counter
) -> int:
    """Send the take-profits that are missing and may be sent; give when a refused one may be tried again (0: none).

    A leg whose older take-profits are still on their way out has no room for more: their end makes some.
    """
    next_ns = 0
    room = [state.position_long_lots, state.position_short_lots]
    for order in book.orders.values():
        if order.purpose == TAKE_PROFIT:
            room[order.leg] -= order.qty_lots
    fresh = {out[i].no for i in range(used.n) if out[i].kind == PLACE and out[i].purpose == TAKE_PROFIT}
    for lot in lots:
        if lot.state == exits.OPEN and lot.tp_no in fresh:
            room[lot.leg] -= lot.qty_lots
    for lot in lots:
        missing = lot.state == exits.OPEN and lot.tp_no == 0 and lot.tp_ticks > 0 and lot.closing == 0
        if not missing or book.crowded[lot.leg] or lot.qty_lots > room[lot.leg]:
            continue
        setback = book.profit_setbacks.get((lot.leg, lot.lot_id))
        if setback is not None and setback.again_ns > now_ns:
            # A lot without a take-profit is guarded by its stop: after some refusals it waits for the next decision.
            next_ns = earlier(next_ns, setback.again_ns) if setback.count <= RESENDS_MAX else next_ns
            continue
        if setback is None or setback.count <= RESENDS_MAX:
            room[lot.leg] -= lot.qty_lots
            exits.send_take_profit(state, lot, out, used)
    return next_ns


def reduce_lots(state: GridState, lots: Sequence[Lot], leg: int, out: list[Action], used: Counter) -> None:
    """Send one market reduction for these lots of a leg, none of which has one under way."""
    if not lots:
        return
    state.settled = 0
    no = exits.next_no(state)
    action = out[put(state, out, used, PLACE, no)]
    action.leg = leg
    action.purpose = STOP
    for lot in lots:
        lot.stop_no = no
        lot.closing = lot.qty_lots
        action.qty_lots += lot.qty_lots
    if len(lots) == 1:
        action.level = lots[0].level
        action.generation = lots[0].generation


def bare_lots(book: ExitBook, lots: Sequence[Lot], leg: int, validity_ns: int, now_ns: int) -> list[Lot]:
    """Give the lots of a leg that no stop is known to protect and nothing is under way for.

    A stop whose outcome is not known is under way for ``validity_ns``: until then its request may still arrive.
    """
    protected = book.protected_lots(lots)
    awaited = {
        cover.lot_id
        for order in book.orders.values()
        if order.is_stop and order.leg == leg and not order.protects and order.sent_ns + validity_ns > now_ns
        for cover in order.covers
    }
    return [
        lot
        for lot in lots
        if lot.state == exits.OPEN
        and lot.leg == leg
        and lot.stop_no == 0
        and lot.lot_id not in awaited
        and protected.get((leg, lot.lot_id), 0) < lot.qty_lots
    ]


# --- the book -------------------------------------------------------------------------------------------------------


def covers_of(lots: Sequence[Lot], no: int, purpose: int) -> tuple[Cover, ...]:
    """Give the parts of lots that an exit closes; a backstop closes whatever there is."""
    if purpose == BACKSTOP:
        return ()
    return tuple(
        Cover(
            lot_id=lot.lot_id,
            qty_lots=lot.qty_lots if lot.closing == 0 or purpose == TAKE_PROFIT else lot.closing,
            level=lot.level,
            generation=lot.generation,
        )
        for lot in lots
        if lot.state == exits.OPEN and (lot.tp_no if purpose == TAKE_PROFIT else lot.stop_no) == no
    )


def note_actions(book: ExitBook, lots: Sequence[Lot], out: Sequence[Action], first: int, end: int, now_ns: int) -> None:
    """Write the exits that a decision places, and the cancels that it asks for, into the book."""
    for i in range(first, end):
        action = out[i]
        if action.kind in (CANCEL, RETIRE):
            book.leave(action.no, now_ns)
        elif action.kind == PLACE and action.purpose != ENTRY:
            book.orders[action.no] = ExitOrder(
                no=action.no,
                leg=action.leg,
                purpose=action.purpose,
                price_ticks=action.price_ticks,
                qty_lots=action.qty_lots,
                covers=covers_of(lots, action.no, action.purpose),
                sent_ns=now_ns,
            )
