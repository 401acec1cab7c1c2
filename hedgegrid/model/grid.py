"""What a grid leaves behind for the strategy that takes over after a restart."""

import attrs

from hedgegrid.model.order import Leg


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
