"""Between strategy, gate and venue of one instrument: wishes go out, words come back. The compiled subset.

Invariants: every order passes ``core.risk.check`` and is booked before the venue has it; the strategy learns of its
orders from the venue's rows alone; what a row says is booked by the gate before any answer to it is judged.
"""

from hedgegrid.backtest import logbook
from hedgegrid.backtest.desk import Desk, Floor
from hedgegrid.backtest.result import FILLED as ORDER_FILLED
from hedgegrid.backtest.result import REFUSED
from hedgegrid.core import actions, diff, exits, gate_book, order_rate, pipeline, risk, var, venue_tables, worst_case
from hedgegrid.core.codes import (
    BACKSTOP,
    ENTRY,
    FREE,
    LIMIT,
    LONG,
    MARKET,
    NEVER_NS,
    SHORT,
    STOP_MARKET,
    TAKE_PROFIT,
)
from hedgegrid.core.records import Action, VenueEvent


def hear(desks: list[Desk], floor: Floor, k: int) -> None:
    """Carry the venue's rows to gate, log and strategy of instrument ``k``, then the strategy's answers back."""
    desk = desks[k]
    ts_ns = desk.market.ts_ns
    count = desk.said.n
    desk.said.n = 0
    money = 0
    for i in range(count):
        row = desk.events[i]
        if row.kind == venue_tables.FILLED:
            money = 1
            _on_fill(desk, floor, k, row, ts_ns)
        elif row.kind == venue_tables.CUT:
            logbook.note_cut(floor, k, row.lot_id, row.qty_lots)
            _on_cut(desk, row)
        else:
            _on_word(desk, floor, k, row, ts_ns)
    if money == 1:
        recount_money(desk, floor)
    answer(desks, floor, k, desk.market.mark_ticks, ts_ns)


def answer(desks: list[Desk], floor: Floor, k: int, mark_ticks: int, ts_ns: int) -> None:
    """Lay the stops of legs that changed, and send what the strategy wants."""
    desk = desks[k]
    if desk.state.dirty_long == 1 or desk.state.dirty_short == 1:
        trim_used(desk)
        # No lot gets more than one new stop.
        stops = desk.stops[: min(len(desk.stops), desk.stops_used + desk.lots_used)]
        pipeline.after_batch(
            desk.params,
            desk.state,
            desk.accounts,
            desk.lots[: desk.lots_used],
            stops,
            mark_ticks,
            desk.actions,
            desk.used,
        )
        desk.stops_used = _used_stops(desk, len(stops))
    if desk.used.n > 0:
        send(desks, floor, k, ts_ns)


def _used_stops(desk: Desk, bound: int) -> int:
    """Give how far the table of standing stops is in use."""
    used = bound
    while used > 0 and desk.stops[used - 1].state == FREE:
        used -= 1
    return used


def trim_used(desk: Desk) -> None:
    """Draw the bounds of use back over rows that have become free."""
    while desk.lots_used > 0 and desk.lots[desk.lots_used - 1].state == FREE:
        desk.lots_used -= 1
    while desk.orders_used > 0 and desk.orders[desk.orders_used - 1].state == FREE:
        desk.orders_used -= 1
    while desk.links_used > 0 and desk.links[desk.links_used - 1].state == FREE:
        desk.links_used -= 1
    while desk.cancels_used > 0 and desk.cancels[desk.cancels_used - 1].state == FREE:
        desk.cancels_used -= 1
    while desk.entries_used > 0 and desk.entries[desk.entries_used - 1].state == FREE:
        desk.entries_used -= 1


def recount_money(desk: Desk, floor: Floor) -> None:
    """Bring the account's figures in line after a leg of this desk has changed."""
    account = floor.account
    pulse = desk.pulse
    long, short = desk.venue_accounts[LONG], desk.venue_accounts[SHORT]
    cost = long.cost_e8 - short.cost_e8
    gross = (long.qty_lots + short.qty_lots) * desk.rules.unit_e8
    account.fixed_e8 += pulse.cost_e8 - cost
    account.open_units += gross - pulse.gross_units_e8
    pulse.cost_e8 = cost
    pulse.gross_units_e8 = gross
    pulse.net_units_e8 = (long.qty_lots - short.qty_lots) * desk.rules.unit_e8


# --- what the venue said ----------------------------------------------------------------------------------------------


def _on_fill(desk: Desk, floor: Floor, k: int, row: VenueEvent, ts_ns: int) -> None:
    """Book a fill in the gate, the log and the strategy."""
    account = floor.account
    logbook.note_fill(floor, k, row, ts_ns)
    change = row.realised_e8 - row.fee_e8
    account.realised_e8 += row.realised_e8
    account.fees_e8 += row.fee_e8
    account.wallet_e8 += change
    account.fixed_e8 += change
    exposure = floor.exposures[2 * k + row.leg]
    exposure.position_lots = desk.venue_accounts[row.leg].qty_lots
    if row.no > 0:
        _book_fill(desk, floor, k, row, ts_ns)
    if row.purpose != ENTRY:
        pipeline.on_exit_fill(desk.params, desk.accounts, row.leg, row.price_ticks, row.qty_lots)
        return
    if desk.lots_used < len(desk.lots):
        desk.lots_used += 1
    pipeline.on_entry_fill(
        desk.params,
        desk.state,
        desk.rungs[: desk.rungs_used],
        desk.entries[: desk.entries_used],
        desk.accounts,
        desk.lots[: desk.lots_used],
        row.no,
        row.trade_id,
        row.price_ticks,
        row.qty_lots,
        desk.actions,
        desk.used,
    )


def _book_fill(desk: Desk, floor: Floor, k: int, row: VenueEvent, ts_ns: int) -> None:
    """Take a fill's quantity out of the gate's book; a whole fill ends the order there and in the log."""
    booked = desk.booked[row.slot]
    _leave_booked(desk, floor, row.slot, max(0, booked.qty_lots - row.qty_lots))
    order = desk.orders[row.slot]
    if order.state == FREE or order.no != row.no:
        _take_out(desk, floor, row.slot)
        logbook.note_ended(floor, k, row.no, ts_ns, ORDER_FILLED)


def _on_cut(desk: Desk, row: VenueEvent) -> None:
    """Tell the strategy that an exit closed part of a lot, and that the exit has ended where nothing is left of it."""
    lots = desk.lots[: desk.lots_used]
    pipeline.on_exit_cut(desk.params, desk.state, desk.rungs[: desk.rungs_used], lots, row.lot_id, row.qty_lots)
    order = desk.orders[row.slot]
    if order.state == FREE or order.no != row.no:
        exits.forget_exit(desk.state, lots, desk.stops[: desk.stops_used], row.no)


def _on_word(desk: Desk, floor: Floor, k: int, row: VenueEvent, ts_ns: int) -> None:
    """Tell gate, log and strategy of an order that was taken, changed or ended without a fill."""
    if row.kind == venue_tables.ACCEPTED:
        return
    if row.kind == venue_tables.SHRUNK:
        _leave_booked(desk, floor, row.slot, row.qty_lots)
        return
    rungs = desk.rungs[: desk.rungs_used]
    entries = desk.entries[: desk.entries_used]
    if row.kind == venue_tables.REJECTED:
        _end_booked(desk, floor, k, row, ts_ns)
        diff.on_post_only_rejected(desk.params, desk.state, rungs, entries, row.no, ts_ns, desk.actions, desk.used)
        return
    if row.kind == venue_tables.CANCELLED:
        _end_booked(desk, floor, k, row, ts_ns)
    if row.purpose == ENTRY or row.kind == venue_tables.CANCEL_FAILED:
        diff.on_cancelled(desk.params, desk.state, rungs, entries, row.no, desk.actions, desk.used)
    if row.purpose != ENTRY or row.kind == venue_tables.CANCEL_FAILED:
        exits.forget_exit(desk.state, desk.lots[: desk.lots_used], desk.stops[: desk.stops_used], row.no)


def _end_booked(desk: Desk, floor: Floor, k: int, row: VenueEvent, ts_ns: int) -> None:
    """Free an order in the gate's book and write its end down."""
    _take_out(desk, floor, row.slot)
    logbook.note_ended(floor, k, row.no, ts_ns, logbook.outcome_of(row.reason))


def _leave_booked(desk: Desk, floor: Floor, slot: int, qty_lots: int) -> None:
    """Leave ``qty_lots`` of an order in the gate's book."""
    booked = desk.booked[slot]
    count = floor.account.instruments
    gate_book.count_out(floor.rules[:count], floor.exposures[: 2 * count], booked, booked.qty_lots - qty_lots)
    booked.qty_lots = qty_lots


def _take_out(desk: Desk, floor: Floor, slot: int) -> None:
    """Take an order that has ended out of the gate's book."""
    count = floor.account.instruments
    gate_book.take_out(floor.rules[:count], floor.exposures[: 2 * count], desk.booked[slot])


# --- what the strategy wants ------------------------------------------------------------------------------------------


def send(desks: list[Desk], floor: Floor, k: int, ts_ns: int) -> None:
    """Carry a decision's actions through the gate to the venue, effective one latency later."""
    desk = desks[k]
    count = desk.used.n
    desk.used.n = 0
    live_ns = ts_ns + desk.rules.latency_ns
    fresh = 0
    weighed = 0
    for i in range(count):
        if desk.actions[i].kind == actions.RETIRE:
            _retire(desk, floor, desk.actions[i].no)
    for i in range(count):
        action = desk.actions[i]
        if action.kind == actions.CANCEL or action.kind == actions.RETIRE:
            _cancel(desk, floor, action.no, live_ns)
        elif action.kind == actions.RETRY_AT:
            desk.pulse.wake_ns = min(desk.pulse.wake_ns, action.distance)
            floor.account.next_timer_ns = min(floor.account.next_timer_ns, action.distance)
        else:
            if fresh == 0:
                fresh = 1
                order_rate.advance(floor.pace, floor.beats, ts_ns)
            if action.purpose == ENTRY:
                # Only an entry is judged by what the whole account comes to.
                if weighed == 0:
                    weighed = 1
                    _weigh_account(desks, floor)
                else:
                    _weigh(desk, floor, k)
            _place(desk, floor, k, action, ts_ns, live_ns)
    trim_used(desk)


def _refresh(desk: Desk, floor: Floor, k: int) -> None:
    """Bring the gate's view of an instrument up to its present mark and book."""
    count = floor.account.instruments
    market = desk.market
    rule = floor.rules[k]
    rule.mark_ticks = market.mark_ticks
    rule.mark_ns = market.ts_ns
    rule.bid_ticks = market.bid_ticks
    rule.ask_ticks = market.ask_ticks
    rule.quote_ns = market.ts_ns
    gate_book.mark_anew(floor.rules[:count], floor.exposures[: 2 * count], desk.booked[: desk.orders_used], k)


def _weigh_account(desks: list[Desk], floor: Floor) -> None:
    """Bring the account's sums up to the present marks, books and volatilities."""
    equity = floor.account.fixed_e8
    for j in range(floor.account.instruments):
        desk = desks[j]
        _refresh(desk, floor, j)
        floor.rules[j].var_ppm = var.rate_ppm(desk.realised, floor.rules[j].var_scale)
        equity += desk.pulse.net_units_e8 * desk.market.mark_ticks
        _weigh(desk, floor, j)
    floor.risk.equity_e8 = equity
    floor.risk.balance_ns = floor.account.balance_ns


def _weigh(desk: Desk, floor: Floor, k: int) -> None:
    """Bring the account's sums in line with what an instrument holds and has resting."""
    count = floor.account.instruments
    tiers = desk.tiers[: desk.pulse.tier_count]
    worst_case.weigh(floor.limits, floor.risk, floor.rules[:count], floor.exposures[: 2 * count], tiers, k)


def _retire(desk: Desk, floor: Floor, no: int) -> None:
    """A stop that is being replaced no longer stands in the way of its successor's proof."""
    slot = venue_tables.find(desk.orders[: desk.orders_used], no)
    if slot >= 0:
        _leave_booked(desk, floor, slot, 0)


def _cancel(desk: Desk, floor: Floor, no: int, live_ns: int) -> None:
    """Send a cancel to the venue."""
    if desk.cancels_used < len(desk.cancels):
        desk.cancels_used += 1
    if not venue_tables.request_cancel(desk.market, desk.cancels[: desk.cancels_used], no, live_ns):
        floor.account.fault += 1


def _place(desk: Desk, floor: Floor, k: int, action: Action, ts_ns: int, live_ns: int) -> None:
    """Have the gate judge an order; book it and hand it to the venue, or tell the strategy that it was refused."""
    purpose = action.purpose
    kind = LIMIT
    if purpose != ENTRY and purpose != TAKE_PROFIT:
        kind = STOP_MARKET if action.price_ticks > 0 else MARKET
    candidate = desk.candidate
    candidate.no = action.no
    candidate.instrument = k
    candidate.leg = action.leg
    candidate.purpose = purpose
    candidate.price_ticks = action.price_ticks
    candidate.qty_lots = action.qty_lots
    candidate.level = action.level
    candidate.generation = action.generation
    count = floor.account.instruments
    floor.risk.orders_in_minute = floor.pace.orders
    code = risk.check(
        floor.limits,
        floor.risk,
        floor.rules[:count],
        floor.exposures[: 2 * count],
        desk.booked[: desk.orders_used],
        desk.tiers[: desk.pulse.tier_count],
        candidate,
        0 if kind == MARKET else 1,
        desk.pulse.may_add if purpose == ENTRY else 1,
        ts_ns,
        ts_ns,
    )
    if code == risk.PASS:
        order_rate.note_sent(floor.pace, floor.beats)
    elif code == risk.ORDERS_PER_MINUTE:
        order_rate.note_breach(floor.pace, ts_ns)
    held = desk.venue_accounts[action.leg].qty_lots
    if code != risk.PASS or (purpose != ENTRY and purpose != BACKSTOP and held == 0):
        logbook.note_placed(floor, k, action, kind, ts_ns, code)
        logbook.note_ended(floor, k, action.no, ts_ns, REFUSED)
        diff.on_refused(
            desk.params, desk.state, desk.rungs[: desk.rungs_used], desk.entries[: desk.entries_used], action.no
        )
        exits.forget_exit(desk.state, desk.lots[: desk.lots_used], desk.stops[: desk.stops_used], action.no)
        return
    logbook.note_placed(floor, k, action, kind, ts_ns, 0)
    slot = venue_tables.free_order(desk.orders[: desk.orders_used], desk.market.free_from)
    if slot < 0:
        slot = desk.orders_used
        desk.orders_used += 1
        if slot >= len(desk.orders):
            floor.account.fault += 1
            desk.orders_used -= 1
            return
    desk.market.free_from = slot + 1
    _reserve(desk, floor, slot)
    _write_order(desk, slot, action, kind, live_ns)
    if purpose != ENTRY and purpose != BACKSTOP:
        _link_lots(desk, floor, action)


def _reserve(desk: Desk, floor: Floor, slot: int) -> None:
    """Book the candidate beside its order's slot."""
    count = floor.account.instruments
    k = desk.candidate.instrument
    gate_book.put(floor.rules[k], floor.exposures[: 2 * count], desk.booked[slot], desk.candidate)


def _write_order(desk: Desk, slot: int, action: Action, kind: int, live_ns: int) -> None:
    """Write an order into the venue's table, pending until ``live_ns``."""
    market = desk.market
    order = desk.orders[slot]
    order.state = venue_tables.PENDING
    order.no = action.no
    order.leg = action.leg
    order.purpose = action.purpose
    order.kind = kind
    order.price_ticks = action.price_ticks
    order.qty_lots = action.qty_lots
    order.filled_lots = 0
    order.post_only = desk.params.post_only if action.purpose == ENTRY else 0
    order.close_all = 1 if action.purpose == BACKSTOP else 0
    order.level = action.level
    order.generation = action.generation
    order.live_ns = live_ns
    order.seq = market.next_seq
    order.age = 0
    order.queue_lots = -1
    order.held_bar = -1
    order.slot = slot
    market.next_seq += 1
    market.next_due_ns = min(market.next_due_ns, live_ns)


def _link_lots(desk: Desk, floor: Floor, action: Action) -> None:
    """Write down which lots an exit closes."""
    by_take_profit = action.purpose == TAKE_PROFIT
    for i in range(desk.lots_used):
        lot = desk.lots[i]
        no = lot.tp_no if by_take_profit else lot.stop_no
        if lot.state == FREE or no != action.no:
            continue
        if desk.links_used < len(desk.links):
            desk.links_used += 1
        links = desk.links[: desk.links_used]
        qty_lots = lot.qty_lots if lot.closing == 0 or by_take_profit else lot.closing
        if not venue_tables.add_link(links, action.no, lot.lot_id, qty_lots, lot.level, lot.generation):
            floor.account.fault += 1
        while desk.links_used > 0 and desk.links[desk.links_used - 1].state == FREE:
            desk.links_used -= 1


def wake(desks: list[Desk], floor: Floor, k: int, now_ns: int) -> None:
    """Let instrument ``k`` send the post-only retries that are due, and remember the next one."""
    desk = desks[k]
    entries = desk.entries[: desk.entries_used]
    diff.on_wake(desk.params, desk.state, desk.rungs[: desk.rungs_used], entries, now_ns, desk.actions, desk.used)
    due_ns = NEVER_NS
    for i in range(len(entries)):
        if entries[i].state == diff.RETRYING:
            due_ns = min(due_ns, entries[i].retry_ns)
    desk.pulse.wake_ns = due_ns
    send(desks, floor, k, now_ns)


def drop_entries(desks: list[Desk], floor: Floor, k: int, now_ns: int) -> None:
    """Take the resting entries of instrument ``k`` away."""
    desk = desks[k]
    entries = desk.entries[: desk.entries_used]
    pipeline.drop_entries(desk.params, desk.state, desk.rungs[: desk.rungs_used], entries, desk.actions, desk.used)
    send(desks, floor, k, now_ns)


def flatten(desks: list[Desk], floor: Floor, k: int, now_ns: int) -> None:
    """Take the entries of instrument ``k`` away and close both its legs at the market."""
    desk = desks[k]
    pipeline.flatten(
        desk.params,
        desk.state,
        desk.rungs[: desk.rungs_used],
        desk.entries[: desk.entries_used],
        desk.lots[: desk.lots_used],
        desk.market.mark_ticks,
        desk.actions,
        desk.used,
    )
    send(desks, floor, k, now_ns)


def is_flat(desk: Desk) -> bool:
    """Tell whether both legs are zero."""
    return desk.venue_accounts[LONG].qty_lots == 0 and desk.venue_accounts[SHORT].qty_lots == 0
