"""A market as columns of int64: what the loaders give and the tapes walk.

Invariants: all columns of one value have the same length and the same order, oldest first; prices are positive ticks,
quantities lots, times nanoseconds since the Unix epoch.
"""

import hashlib
from collections.abc import Iterable

import attrs
import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@attrs.frozen(kw_only=True, eq=False)
class BarArrays:
    """The bars of one instrument. ``notes`` say in a line each what was accepted with a warning, such as a gap."""

    open_ns: IntArray
    open_ticks: IntArray
    high_ticks: IntArray
    low_ticks: IntArray
    close_ticks: IntArray
    volume_lots: IntArray
    notes: tuple[str, ...] = ()

    def columns(self) -> tuple[IntArray, ...]:
        """Give open, high, low, close in ticks and the volume in lots."""
        return (
            self.open_ticks,
            self.high_ticks,
            self.low_ticks,
            self.close_ticks,
            self.volume_lots,
        )


@attrs.frozen(kw_only=True, eq=False)
class FundingArrays:
    """The funding settlements of one instrument: stamps floored to the minute, rate x 1e8 for one interval."""

    ts_ns: IntArray
    rate_e8: IntArray


@attrs.frozen(kw_only=True, eq=False)
class TickArrays:
    """The trades of one instrument, each with the book and the mark that were known before it; times may repeat.

    Where no book was known the price stands in for both its sides, which then show 0 lots; likewise for the mark.
    ``funding`` holds the settlements that the capture saw; ``notes`` say what was left out, with counts.
    """

    ts_ns: IntArray
    price_ticks: IntArray
    qty_lots: IntArray
    bid_ticks: IntArray
    ask_ticks: IntArray
    bid_qty_lots: IntArray
    ask_qty_lots: IntArray
    mark_ticks: IntArray
    funding: FundingArrays
    notes: tuple[str, ...] = ()

    def columns(self) -> tuple[IntArray, ...]:
        """Give price, quantity, bid, ask, the quantities that those show, and the mark."""
        return (
            self.price_ticks,
            self.qty_lots,
            self.bid_ticks,
            self.ask_ticks,
            self.bid_qty_lots,
            self.ask_qty_lots,
            self.mark_ticks,
        )


def no_funding() -> FundingArrays:
    """Give a series without a settlement, which means that the rate is not known."""
    return FundingArrays(ts_ns=np.empty(0, np.int64), rate_e8=np.empty(0, np.int64))


def content_hash(parts: Iterable[str | IntArray]) -> str:
    """Give the sha256 over texts and columns in order; each part is hashed behind its own length."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part.astype("<i8").tobytes()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()
