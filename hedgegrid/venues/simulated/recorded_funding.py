"""Funding settlements from files of the freqtrade kind, where the rate stands in the column ``open``.

Invariants: stamps are floored to the minute (files carry them some milliseconds late) and grow strictly; every rate
is a number under 100 %. Rows are settlements, not bars: the last one is complete and is kept.
"""

from pathlib import Path

import numpy as np

from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.venues.simulated.arrays import FundingArrays
from hedgegrid.venues.simulated.recorded_feather import read_feather
from hedgegrid.venues.simulated.recorded_files import Kind, kind_of, refusal
from hedgegrid.venues.simulated.recorded_units import rates_e8

_REPAIR = "repair the row or fetch the file again"


def load_funding(path: Path) -> FundingArrays:
    """Read the settlements of one instrument. Raises Fatal with file, row, rule and remedy."""
    if kind_of(path) is not Kind.FEATHER:
        raise refusal(path, "it is not a feather file", "give funding as a freqtrade feather file")
    times, (rates,) = read_feather(path, ("open",))
    stamps = times // NS_PER_MINUTE * NS_PER_MINUTE
    broken = ~(np.abs(rates) < 1)
    if broken.any():
        row = int(np.argmax(broken)) + 1
        raise refusal(path, "the rate is missing or not under 100 %", _REPAIR, row)
    back = np.diff(stamps) <= 0
    if back.any():
        row = int(np.argmax(back)) + 2
        raise refusal(path, "the time is not after that of the row before", _REPAIR, row)
    return FundingArrays(ts_ns=stamps, rate_e8=rates_e8(rates))
