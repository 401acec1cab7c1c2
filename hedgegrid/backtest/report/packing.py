"""Rows on their way into the page: whole numbers as differences, which text holds in a third of the room.

Invariant: nothing is lost; the page adds the differences up and multiplies once.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from hedgegrid.units import CASH_SCALE, PPM

Packed = dict[str, Any]
Spec = dict[str, Any]

NS_PER_MS: Final = 1_000_000
CENT_E8: Final = CASH_SCALE // 100


def packed(values: ArrayLike, unit: float = 1.0) -> Packed:
    """Pack whole numbers; the page reads each times ``unit``."""
    whole = np.asarray(values, np.int64)
    if len(whole) == 0:
        return {"d": [], "u": unit}
    differences = np.diff(whole, prepend=0)
    step = int(np.gcd.reduce(differences)) or 1
    return {"d": (differences // step).tolist(), "u": unit * step}


def times(ts_ns: ArrayLike) -> Packed:
    """Pack times; the page reads milliseconds since the epoch, as its plots do."""
    return packed(np.asarray(ts_ns, np.int64) // NS_PER_MS)


def amounts(values_e8: ArrayLike) -> Packed:
    """Pack money, rounded down to the cent; the page reads quote currency."""
    return packed(np.asarray(values_e8, np.int64) // CENT_E8, 0.01)


def percents(values_ppm: ArrayLike) -> Packed:
    """Pack shares in ppm; the page reads percent."""
    return packed(values_ppm, 100 / PPM)
