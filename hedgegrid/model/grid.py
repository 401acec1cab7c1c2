"""What a grid leaves behind for the strategy that takes over after a restart."""

from typing import Final

import attrs

from hedgegrid.model.order import Leg

ADOPTED_LEVEL: Final = 0
ADOPTED_GENERATION: Final = -1
"""Level and generation of a lot that no rung of ours bought: rungs and generations count from 1."""


@attrs.frozen(kw_only=True)
class OpenLot:
    """A filled entry that is not closed, with the exits it was born with. Its number is the trade id of its fill."""

    lot_id: int
    leg: Leg
    level: int
    generation: int
    entry_ticks: int
    qty_lots: int
    tp_ticks: int
    stop_ticks: int
    step_micro: int


@attrs.frozen(kw_only=True)
class AdoptedLot:
    """A position that was not ours and is from now on, as a lot; its whole cost in quote x 1e8."""

    lot: OpenLot
    cost_e8: int


@attrs.frozen(kw_only=True)
class GridMemory:
    """Where a grid stands: regime code, center in ticks, step in millionths of a tick, generation."""

    regime: int
    center_ticks: int
    step_micro: int
    generation: int


@attrs.frozen(kw_only=True)
class UnbookedEntry:
    """A filled entry of which no lot was remembered (the process died in between): what its lot is made of.

    ``tp_micro`` and ``step_micro`` are what the order was sent with, in millionths of a tick.
    """

    trade_id: int
    leg: Leg
    level: int
    generation: int
    price_ticks: int
    qty_lots: int
    tp_micro: int
    step_micro: int
