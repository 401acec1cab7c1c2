"""From the store's 1e-8 to an instrument's ticks and lots, whole columns at a time.

Invariants: prices round to the nearest tick (half up), quantities down to the lot, in integers throughout; what the
core's arithmetic cannot hold is refused in one line.
"""

from decimal import Decimal

import numpy as np

from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import CASH_SCALE
from hedgegrid.venues.simulated.arrays import IntArray
from hedgegrid.venues.simulated.bar_rules import LOTS_BELOW, TICKS_BELOW
from hedgegrid.venues.simulated.recorded_files import utc_text

_RULES = "check that the instrument's tick and lot are right"


def in_ticks(price_e8: IntArray, instrument: Instrument, times: IntArray) -> IntArray:
    """Give prices to the nearest tick. Fatal for one under half a tick or beyond the core's bound."""
    tick_e8 = _whole_e8(instrument.tick, instrument, "tick")
    ticks = (price_e8 + tick_e8 // 2) // tick_e8  # half up, for an odd number of 1e-8 a tick too
    if len(ticks) and (ticks.min() < 1 or ticks.max() >= TICKS_BELOW):
        _refuse(ticks < 1, instrument, times, "a price is under half a tick")
        _refuse(ticks >= TICKS_BELOW, instrument, times, f"a price is over {TICKS_BELOW} ticks")
    return ticks


def in_lots(qty_e8: IntArray, instrument: Instrument, times: IntArray) -> IntArray:
    """Give quantities down to the lot. Fatal for one beyond the core's bound."""
    lots = qty_e8 // _whole_e8(instrument.lot, instrument, "lot")
    if len(lots) and lots.max() >= LOTS_BELOW:
        _refuse(lots >= LOTS_BELOW, instrument, times, f"a quantity is over {LOTS_BELOW} lots")
    return lots


def _whole_e8(step: Decimal, instrument: Instrument, what: str) -> int:
    """Give a tick or a lot as a whole number of 1e-8."""
    scaled = step * CASH_SCALE
    if scaled < 1 or scaled != scaled.to_integral_value():
        raise Fatal(f"{instrument.name}: its {what} {step:f} is finer than the store's 1e-8")
    return int(scaled)


def _refuse(broken: np.typing.NDArray[np.bool_], instrument: Instrument, times: IntArray, rule: str) -> None:
    if broken.any():
        moment = utc_text(int(times[int(np.argmax(broken))]))
        raise Fatal(f"{instrument.name}: {rule} at {moment}; {_RULES}")
