"""Batches of the store's columns, judged by the rules of ``quality``: the same for a file and for what is stored.

Invariant: a check sees each series of each instrument from its first row to its last, whatever the pieces.
"""

import numpy as np

from hedgegrid.backtest.quality import BarCheck, BookCheck, Finding, FundingCheck, TradeCheck
from hedgegrid.backtest.store.parquet_files import Ids
from hedgegrid.backtest.store.series import Batch, Kind, SeriesName
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, IntArray


class SeriesCheck:
    """Judges one series as its batches come."""

    def __init__(self, series: SeriesName, interval_ns: int | None = None) -> None:
        """Begin; ``interval_ns`` is the funding interval where it is known."""
        self.series = series
        name, kind = series.instrument, series.folder
        self._check: BarCheck | TradeCheck | BookCheck | FundingCheck
        match series.kind:
            case Kind.BARS | Kind.MARK_BARS:
                self._check = BarCheck(name, kind, series.length_ns, series.kind is Kind.BARS)
            case Kind.TRADES | Kind.AGG_TRADES | Kind.MARKS:
                self._check = TradeCheck(name, kind)
            case Kind.BOOK:
                self._check = BookCheck(name, kind)
            case Kind.FUNDING:
                self._check = FundingCheck(name, kind, interval_ns)

    def take(self, batch: Batch, ids: Ids, rows: IntArray | None = None) -> None:
        """Judge the next rows; ``rows`` number them, else they are counted."""
        times = batch["ts_ns"]
        match self._check:
            case BarCheck():
                self._check.take(_bars(batch), rows)
            case TradeCheck():
                qty = batch.get("qty_e8", np.ones_like(times))
                numbers = batch["trade_id"] if ids == "venue" and "trade_id" in batch else None
                self._check.take(times, batch["price_e8"], qty, numbers, rows)
            case BookCheck():
                self._check.take(times, batch["bid_e8"], batch["ask_e8"], rows)
            case FundingCheck():
                self._check.take(FundingArrays(ts_ns=times, rate_e8=batch["rate_e8"]), rows)

    def first_error(self) -> Finding | None:
        """Give the first error so far, if any."""
        return self._check.first_error()

    def findings(self) -> list[Finding]:
        """Give what was found; call it once, at the end."""
        return self._check.findings()


def _bars(batch: Batch) -> BarArrays:
    """Give bars in 1e-8: no rule depends on the unit."""
    return BarArrays(
        open_ns=batch["ts_ns"],
        open_ticks=batch["open_e8"],
        high_ticks=batch["high_e8"],
        low_ticks=batch["low_e8"],
        close_ticks=batch["close_e8"],
        volume_lots=batch.get("volume_e8", np.zeros_like(batch["ts_ns"])),
    )
