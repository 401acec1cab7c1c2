"""A strategy's tables, rebuilt from the exchange's word and the journal's memory.

Invariants: nothing here sends; after ``restore`` a lot is known for every filled entry, a slot for every resting one,
and an order that fits neither is named so that it can be cancelled.
"""

import attrs

from hedgegrid.core import grid
from hedgegrid.core.codes import FREE, LONG
from hedgegrid.core.diff import WORKING, free_slot
from hedgegrid.core.exits import OPEN
from hedgegrid.core.ledger import increase, notional_e8
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
    table,
)
from hedgegrid.core.stop_laying import STANDING
from hedgegrid.messages.events import Hydrated
from hedgegrid.model.grid import AdoptedLot, OpenLot
from hedgegrid.model.order import Kind, OpenOrder, Purpose

LOTS_MAX = 1_024
"""Open lots an instrument can have; an entry that would need one more is not booked as a lot and pauses the grid."""
ACTIONS_MAX = 4_096


@attrs.define
class GridTables:
    """All that the core works on for one instrument."""

    params: GridParams
    state: GridState
    indicators: Indicators
    rungs: list[Rung]
    entries: list[EntryOrder]
    accounts: list[LegAccount]
    lots: list[Lot]
    stops: list[StopOrder]
    actions: list[Action]
    used: Counter


def room_for_actions() -> list[Action]:
    """Make the table of what one decision asks for."""
    return table(Action, ACTIONS_MAX)


def fresh_tables(params: GridParams, *, order_no_stride: int, actions: list[Action]) -> GridTables:
    """Make the tables of a grid that has never traded. Room for two generations of entries and a margin.

    ``actions`` are written over at every decision: they serve other tables too.
    """
    levels = params.levels_long + params.levels_short
    return GridTables(
        params=params,
        state=GridState(order_no_stride=order_no_stride),
        indicators=Indicators(),
        rungs=table(Rung, levels),
        entries=table(EntryOrder, 3 * levels + 8),
        accounts=table(LegAccount, 2),
        lots=table(Lot, 2 * levels + 16),
        stops=table(StopOrder, 4 * params.max_stop_orders + 8),
        actions=actions,
        used=Counter(),
    )


def go_on(tables: GridTables) -> GridTables:
    """Make fresh tables that keep what the exchange does not know: indicators, funding, and what may be done."""
    before, stride = tables.state, tables.state.order_no_stride
    fresh = fresh_tables(tables.params, order_no_stride=stride, actions=tables.actions)
    fresh.indicators = tables.indicators
    state = fresh.state
    state.rate_known = before.rate_known
    state.rate_e8 = before.rate_e8
    state.next_funding_ns = before.next_funding_ns
    state.funding_interval_ns = before.funding_interval_ns
    state.throttle_ppm = before.throttle_ppm
    state.may_add = before.may_add
    state.hold_entries = before.hold_entries
    state.overflowed = before.overflowed
    return fresh


def make_room(tables: GridTables) -> None:
    """Grow the table of lots while it is nearly full: passes walk it whole, so it begins small."""
    free = sum(1 for lot in tables.lots if lot.state == FREE)
    if free < len(tables.rungs) and len(tables.lots) < LOTS_MAX:
        tables.lots.extend(table(Lot, min(len(tables.lots), LOTS_MAX - len(tables.lots))))


def restore(tables: GridTables, word: Hydrated, number_of: dict[str, int]) -> tuple[str, ...]:
    """Fill fresh tables from a hydration; give the client ids of orders that belong to nothing and must go.

    ``number_of`` holds the order number of every client id in ``word.orders``.
    """
    params, state = tables.params, tables.state
    if word.grid is not None:
        state.regime = word.grid.regime
        state.center_ticks = word.grid.center_ticks
        state.step_micro = word.grid.step_micro
        state.generation = word.grid.generation
        state.mid_ticks = word.grid.center_ticks
        grid.place_rungs(params, state, tables.rungs)
    _restore_lots(tables, word)
    orphans = tuple(order.client_id for order in word.orders if not _adopt(tables, order, number_of[order.client_id]))
    # Whatever a lot lacks is asked for by the next laying of stops.
    state.dirty_long = 1
    state.dirty_short = 1
    return orphans


def _restore_lots(tables: GridTables, word: Hydrated) -> None:
    """Book every open lot, its position and its rung."""
    params = tables.params
    while len(tables.lots) < len(word.lots) + len(tables.rungs):
        tables.lots.extend(table(Lot, len(tables.rungs) + 16))
    for slot, lot in zip(tables.lots, word.lots, strict=False):
        _put_lot(tables, slot, lot)
    for position in word.positions:
        account = tables.accounts[position.leg]
        account.qty_lots = position.qty_lots
        account.cost_e8 = position.cost_e8
    if not word.positions:
        for lot in word.lots:
            increase(tables.accounts[lot.leg], lot.qty_lots, notional_e8(lot.entry_ticks, lot.qty_lots, params.unit_e8))


def _put_lot(tables: GridTables, slot: Lot, lot: OpenLot) -> None:
    """Write an open lot into a free row, and count it in the position and on its rung."""
    params, state = tables.params, tables.state
    slot.state = OPEN
    slot.lot_id = lot.lot_id
    slot.leg = int(lot.leg)
    slot.level = lot.level
    slot.generation = lot.generation
    slot.entry_ticks = lot.entry_ticks
    slot.qty_lots = lot.qty_lots
    slot.tp_ticks = lot.tp_ticks
    slot.stop_ticks = lot.stop_ticks
    slot.step_micro = lot.step_micro
    slot.tp_no = slot.stop_no = slot.closing = slot.group_ticks = 0
    if slot.leg == LONG:
        state.position_long_lots += lot.qty_lots
        state.newest_step_long = lot.step_micro
        state.dirty_long = 1
    else:
        state.position_short_lots += lot.qty_lots
        state.newest_step_short = lot.step_micro
        state.dirty_short = 1
    if lot.generation == state.generation and has_rung(params, slot.leg, lot.level):
        tables.rungs[grid.rung_index(params, slot.leg, lot.level)].open_lots += 1


def adopt_lot(tables: GridTables, one: AdoptedLot) -> None:
    """Take a position that was not ours as a lot; its exits are asked for by the next laying."""
    make_room(tables)
    tables.state.settled = 0
    if all(lot.state != FREE for lot in tables.lots):
        tables.lots.append(Lot())
    _put_lot(tables, next(lot for lot in tables.lots if lot.state == FREE), one.lot)
    increase(tables.accounts[one.lot.leg], one.lot.qty_lots, one.cost_e8)


def has_rung(params: GridParams, leg: int, level: int) -> bool:
    """Tell whether the present settings have this level (they may have changed while the order lived)."""
    return 1 <= level <= (params.levels_long if leg == LONG else params.levels_short)


def _adopt(tables: GridTables, order: OpenOrder, no: int) -> bool:
    """Find an open order's place; False where it has none."""
    match order.purpose:
        case Purpose.ENTRY:
            return _adopt_entry(tables, order, no)
        case Purpose.TAKE_PROFIT:
            for lot in tables.lots:
                if lot.state == OPEN and any(cover.lot_id == lot.lot_id for cover in order.covers) and lot.tp_no == 0:
                    lot.tp_no = no
                    return lot.qty_lots == order.qty_lots - order.filled_lots
            return False
        case Purpose.BACKSTOP:
            return _adopt_backstop(tables.state, order, no)
        case Purpose.STOP | Purpose.FLATTEN:
            return _adopt_stop(tables, order, no)
        case Purpose.LIQUIDATION:
            return False


def _adopt_entry(tables: GridTables, order: OpenOrder, no: int) -> bool:
    params, state = tables.params, tables.state
    if not has_rung(params, order.leg, order.level) or order.generation > state.generation:
        return False
    slot = free_slot(tables.entries)
    if slot < 0:
        return False
    present = order.generation == state.generation
    rung = tables.rungs[grid.rung_index(params, order.leg, order.level)]
    if present and rung.slot >= 0:
        # Two live entries on one rung: the older keeps it.
        return False
    entry = tables.entries[slot]
    entry.state = WORKING
    entry.no = no
    entry.leg = int(order.leg)
    entry.level = order.level
    entry.generation = order.generation
    entry.price_ticks = order.price_ticks
    entry.rung_price_ticks = rung.price_ticks if present else order.price_ticks
    entry.qty_lots = order.qty_lots
    entry.filled_lots = order.filled_lots
    entry.tp_micro = order.tp_micro
    entry.step_micro = order.step_micro
    if present:
        rung.slot = slot
    return True


def _adopt_backstop(state: GridState, order: OpenOrder, no: int) -> bool:
    if order.leg == LONG and state.backstop_long_no == 0:
        state.backstop_long_no = no
        state.backstop_long = order.price_ticks
        return True
    if order.leg != LONG and state.backstop_short_no == 0:
        state.backstop_short_no = no
        state.backstop_short = order.price_ticks
        return True
    return False


def _adopt_stop(tables: GridTables, order: OpenOrder, no: int) -> bool:
    """Give a stop (or a market reduction on its way) back to its lots.

    A stop whose lots are gone belongs to nothing.
    """
    covered = {cover.lot_id: cover.qty_lots for cover in order.covers}
    mine = [lot for lot in tables.lots if lot.state == OPEN and lot.lot_id in covered and lot.stop_no == 0]
    if not mine:
        return False
    for lot in mine:
        lot.stop_no = no
        lot.closing = min(covered[lot.lot_id], lot.qty_lots) if order.kind is Kind.MARKET else 0
    if order.kind is Kind.MARKET:
        return True
    for stop in tables.stops:
        if stop.state == FREE:
            stop.state = STANDING
            stop.no = no
            stop.leg = int(order.leg)
            stop.price_ticks = order.price_ticks
            return True
    return False
