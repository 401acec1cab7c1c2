"""How a filled entry becomes a lot outside the core's ordinary way: after a restart, or after its order was forgotten.

Invariant: a lot takes its exits from what its order was sent with, whatever the grid does by then; where nobody knows
that any more, from the grid as it stands.
"""

from hedgegrid.actors.grid_memory import GridTables, has_rung, make_room
from hedgegrid.core import exits, ledger
from hedgegrid.core.fixed import mul_ppm, mul_ppm_up
from hedgegrid.core.records import GridParams
from hedgegrid.model.grid import OpenLot, UnbookedEntry
from hedgegrid.model.order import Fill, OrderRequest

NO_GENERATION = -1
"""The generation of a lot whose order nobody remembers: it stands for no rung."""


def lot_of(params: GridParams, entry: UnbookedEntry) -> OpenLot:
    """Give the lot of an entry that filled while nobody could book it."""
    return OpenLot(
        lot_id=entry.trade_id,
        leg=entry.leg,
        level=entry.level,
        generation=entry.generation,
        entry_ticks=entry.price_ticks,
        qty_lots=entry.qty_lots,
        tp_ticks=exits.take_profit_ticks(entry.leg, entry.price_ticks, entry.tp_micro),
        stop_ticks=exits.stop_ticks(entry.leg, entry.price_ticks, mul_ppm(entry.step_micro, params.sl_ppm)),
        step_micro=entry.step_micro,
    )


def book_late_fill(t: GridTables, fill: Fill, sent: OrderRequest | None) -> int:
    """Book the fill of an entry that was forgotten (a cancel crossed it) as a lot; give its index, -1 without room."""
    make_room(t)
    generation = fill.generation if sent is None else sent.generation
    level = fill.level if sent is None else sent.level
    if not has_rung(t.params, fill.leg, level):
        generation = NO_GENERATION
    known = sent is not None and sent.step_micro > 0
    step_micro = sent.step_micro if sent is not None and known else t.state.step_micro
    tp_micro = sent.tp_micro if sent is not None and known else mul_ppm_up(step_micro, t.params.tp_ppm)
    notional_e8 = ledger.notional_e8(fill.price_ticks, fill.qty_lots, t.params.unit_e8)
    ledger.increase(t.accounts[fill.leg], fill.qty_lots, notional_e8)
    return exits.open_lot(
        t.params,
        t.state,
        t.rungs,
        t.lots,
        fill.trade_id,
        int(fill.leg),
        level,
        generation,
        fill.price_ticks,
        fill.qty_lots,
        tp_micro,
        step_micro,
        t.actions,
        t.used,
    )
