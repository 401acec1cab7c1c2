"""The decision of one instrument: what happens on a closed bar, on the exchange's answers, and on a wake-up.

Read this file first: it is the order of the steps, and every step is a function of its own module.

Invariants: nothing here sends; every wish is an ``Action`` and passes the risk gate; entries are decided on closed
bars alone (a rung that waits for a confirmed cancel, and a post-only retry, go out between bars); exits are decided
at once on fills.
"""

from hedgegrid.core import closing, diff, exits, funding, grid, inventory, ledger, policy, regime, repeat, stop_laying
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.core.records import (
    Action,
    Counter,
    EntryOrder,
    GridParams,
    GridState,
    Indicators,
    LegAccount,
    Lot,
    Rung,
    StopOrder,
)


def on_bar(
    params: GridParams,
    state: GridState,
    ind: Indicators,
    rungs: list[Rung],
    entries: list[EntryOrder],
    lots: list[Lot],
    high_ticks: int,
    low_ticks: int,
    close_ticks: int,
    ts_ns: int,
    out: list[Action],
    used: Counter,
) -> None:
    """Decide on a closed bar: indicators, regime, center, ladders and their shaping, diff, exits, backstops."""
    regime.update(ind, params, high_ticks, low_ticks, close_ticks)
    state.mid_ticks = close_ticks
    if regime.is_cold(ind, params):
        clear_ladder(rungs)
        diff.apply(params, state, rungs, entries, out, used)
        return
    state.regime = regime.classify(ind, params, state.regime)
    if grid.must_recenter(params, state, close_ticks):
        grid.recenter(params, state, ind, rungs)
        state.settled = 0
    repeats = state.hold_entries == 0 and repeat.holds(params, state, ind, ts_ns)
    if repeats and (state.freed == 0 or repeat.offer_freed(params, state, rungs, entries, out, used)):
        state.below_minimum += state.repeat_below
        return
    standing = entries[: diff.used_end(entries)]
    below = state.below_minimum
    overflowed = state.overflowed
    if state.hold_entries == 1:
        clear_ladder(rungs)
    else:
        build_ladder(params, state, ind, rungs, standing, ts_ns)
    dropped = diff.apply(params, state, rungs, entries, out, used)
    # What a refusal or a rejection stripped from a lot is asked for again at every decision, until it stands.
    exits.resend_take_profits(state, lots, out, used)
    working = diff.count(entries[: diff.used_end(entries)])
    for leg in (LONG, SHORT):
        exits.lay_backstop(params, state, rungs, lots, leg, working, out, used)
    # A retry that is given up leaves the next ladder without its order; what found no room is asked for again.
    if state.hold_entries == 0 and dropped == 0 and state.overflowed == overflowed:
        state.repeat_below = state.below_minimum - below
        repeat.remember(params, state, ind, rungs, standing, ts_ns)


def flatten(
    params: GridParams,
    state: GridState,
    rungs: list[Rung],
    entries: list[EntryOrder],
    lots: list[Lot],
    mark_ticks: int,
    out: list[Action],
    used: Counter,
) -> None:
    """Take every entry away and begin to close both legs, or go on with it: ``after_batch`` sends what follows."""
    drop_entries(params, state, rungs, entries, out, used)
    for leg in (LONG, SHORT):
        closing.ask(state, leg, closing.WANTED)
    closing.go_on(params, state, lots, mark_ticks, out, used)


def build_ladder(
    params: GridParams, state: GridState, ind: Indicators, rungs: list[Rung], entries: list[EntryOrder], ts_ns: int
) -> None:
    """Build the desired ladders of both legs, from bare rungs to whole lots."""
    grid.build(params, state, rungs)
    policy.apply(params, state, rungs)
    funding.apply(params, state, rungs, ts_ns)
    inventory.trim(params, state, rungs, entries)
    inventory.finish(params, state, rungs, regime.volatility_factor_ppm(ind, params))


def clear_ladder(rungs: list[Rung]) -> None:
    """Want nothing."""
    for i in range(len(rungs)):
        rungs[i].in_ladder = 0
        rungs[i].qty_lots = 0


def drop_entries(
    params: GridParams, state: GridState, rungs: list[Rung], entries: list[EntryOrder], out: list[Action], used: Counter
) -> None:
    """Take every resting entry away now, between bars (a pause of danger, cancel-entries, a clean stop)."""
    clear_ladder(rungs)
    diff.apply(params, state, rungs, entries, out, used)


def on_entry_fill(
    params: GridParams,
    state: GridState,
    rungs: list[Rung],
    entries: list[EntryOrder],
    accounts: list[LegAccount],
    lots: list[Lot],
    no: int,
    lot_id: int,
    price_ticks: int,
    qty_lots: int,
    out: list[Action],
    used: Counter,
) -> int:
    """Book an entry's fill as lot ``lot_id`` and send its take-profit.

    Give the lot's index, -1 where no order of ours filled.

    A fill drops whatever waits behind a cancel of the same order; the remainder of a partial fill keeps working.
    """
    settled = state.settled
    slot = diff.find(entries, no)
    if slot < 0:
        return -1
    order = entries[slot]
    order.filled_lots += qty_lots
    order.wait_qty_lots = 0
    leg = order.leg
    ledger.increase(accounts[leg], qty_lots, ledger.notional_e8(price_ticks, qty_lots, params.unit_e8))
    lot = exits.open_lot(
        params,
        state,
        rungs,
        lots,
        lot_id,
        leg,
        order.level,
        order.generation,
        price_ticks,
        qty_lots,
        order.tp_micro,
        order.step_micro,
        out,
        used,
    )
    if order.filled_lots >= order.qty_lots:
        diff.free(params, state, rungs, order)
        if settled == 1 and lot >= 0 and repeat.outlasts(params, state, rungs, lots[lot]):
            state.settled = 1
    return lot


def on_exit_fill(params: GridParams, accounts: list[LegAccount], leg: int, price_ticks: int, qty_lots: int) -> None:
    """Take an exit's fill out of the leg's account; its lots follow, one ``on_exit_cut`` each."""
    ledger.reduce(accounts[leg], leg, qty_lots, ledger.notional_e8(price_ticks, qty_lots, params.unit_e8))


def on_exit_cut(
    params: GridParams, state: GridState, rungs: list[Rung], lots: list[Lot], lot_id: int, qty_lots: int
) -> None:
    """Take from a lot what an exit's fill closed of it; the next decision may have to offer no more than its rung."""
    settled = state.settled
    lot = exits.cut_lot(params, state, rungs, lots, lot_id, qty_lots)
    if settled == 1 and lot >= 0 and repeat.outlasts_exit(params, state, rungs, lots[lot]):
        state.settled = 1
        state.freed = 1


def after_batch(
    params: GridParams,
    state: GridState,
    accounts: list[LegAccount],
    lots: list[Lot],
    stops: list[StopOrder],
    mark_ticks: int,
    out: list[Action],
    used: Counter,
) -> None:
    """Go on closing what is being closed, and lay the stops of every leg that the batch of fills changed.

    Both at the mark of the batch's point.
    """
    if state.reduced == 1:
        # After a fill alone: what was refused is asked for again at the next judged point.
        state.reduced = 0
        closing.go_on(params, state, lots, mark_ticks, out, used)
    if state.dirty_long == 1:
        state.dirty_long = 0
        stop_laying.lay(params, state, accounts[LONG], lots, stops, LONG, mark_ticks, out, used)
    if state.dirty_short == 1:
        state.dirty_short = 0
        stop_laying.lay(params, state, accounts[SHORT], lots, stops, SHORT, mark_ticks, out, used)
