"""A position that is not ours becomes a lot of ours (``account.adopt_foreign``): what it is born with.

Invariants: the lot is the whole foreign part of a leg at its average entry; its exits are those of a rung of the
present grid, measured from there; it stands for no rung, so level and generation tell how it came to be.
"""

from hedgegrid.core import exits, grid
from hedgegrid.core.fixed import mul_ppm, mul_ppm_up
from hedgegrid.core.records import GridParams, Indicators
from hedgegrid.model.account import Position
from hedgegrid.model.grid import ADOPTED_GENERATION, ADOPTED_LEVEL, AdoptedLot, OpenLot


def adopted(params: GridParams, step_micro: int, position: Position, lot_id: int) -> AdoptedLot:
    """Give the lot of a position, whose cost is known; ``step_micro`` 0: the grid has no center yet.

    Its step is then the settings' own in bps of the entry, which is the least that any grid would have.
    """
    unit_e8 = params.unit_e8 * position.qty_lots
    entry_ticks = max(1, (2 * position.cost_e8 + unit_e8) // (2 * unit_e8))
    step = step_micro or grid.step_micro(params, Indicators(), entry_ticks)
    return AdoptedLot(
        lot=OpenLot(
            lot_id=lot_id,
            leg=position.leg,
            level=ADOPTED_LEVEL,
            generation=ADOPTED_GENERATION,
            entry_ticks=entry_ticks,
            qty_lots=position.qty_lots,
            tp_ticks=exits.take_profit_ticks(position.leg, entry_ticks, mul_ppm_up(step, params.tp_ppm)),
            stop_ticks=exits.stop_ticks(position.leg, entry_ticks, mul_ppm(step, params.sl_ppm)),
            step_micro=step,
        ),
        cost_e8=position.cost_e8,
    )
