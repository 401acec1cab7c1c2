"""What bars from a file must satisfy before anything trades on them.

Invariant: bars that pass are complete figures on whole ticks and lots, strictly growing in time on whole multiples of
their length, with low <= open, close <= high, and below the bounds that the core's int64 arithmetic is proven for.
"""

from pathlib import Path

import attrs
import numpy as np
from numpy.typing import NDArray

from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.venues.simulated.arrays import BarArrays, FloatArray, IntArray
from hedgegrid.venues.simulated.recorded_files import length_text, refusal, utc_text
from hedgegrid.venues.simulated.recorded_units import floored, in_units, nearest

FIGURES = ("open", "high", "low", "close", "volume")
PRICES = FIGURES[:4]
TICKS_BELOW = 2**40
LOTS_BELOW = 2**40
_GAPS_TOLD = 10
_REPAIR = "repair the row or fetch the file again"
_RULES = "check that the file is this instrument's and that its tick and lot are right"


@attrs.frozen(kw_only=True, eq=False)
class RawBars:
    """Bars as a file gave them: times in ns, ``FIGURES`` as floats; ``first_row`` numbers the first for messages."""

    open_ns: IntArray
    figures: list[FloatArray]
    first_row: int


@attrs.frozen(kw_only=True, eq=False)
class _Place:
    """Where bars came from, to say which row breaks a rule."""

    path: Path
    raw: RawBars

    def refuse_any(self, broken: NDArray[np.bool_], rule: str, remedy: str) -> None:
        """Raise Fatal for the first row in which ``broken`` holds, if any."""
        if broken.any():
            raise self.refused(int(np.argmax(broken)), rule, remedy)

    def refused(self, index: int, rule: str, remedy: str) -> Fatal:
        """Give the error for a row by its place in the columns."""
        moment = utc_text(int(self.raw.open_ns[index]))
        return refusal(self.path, f"{rule} (bar of {moment})", remedy, index + self.raw.first_row)


def checked_bars(
    path: Path, raw: RawBars, instrument: Instrument, bar_length_ns: int, *, allow_gaps: bool
) -> BarArrays:
    """Give the bars in ticks and lots, or raise Fatal for the first rule that a row breaks."""
    place = _Place(path=path, raw=raw)
    for name, column in zip(FIGURES, raw.figures, strict=True):
        place.refuse_any(~np.isfinite(column), f"the {name} is missing or not a number", _REPAIR)
    for name, column in zip(PRICES, raw.figures, strict=False):
        place.refuse_any(column <= 0, f"the {name} is not above zero", _REPAIR)
    place.refuse_any(raw.figures[-1] < 0, "the volume is negative", _REPAIR)
    notes = _check_times(place, bar_length_ns, allow_gaps=allow_gaps)
    _check_shape(place)
    ticks = [_whole_ticks(place, name, column, instrument) for name, column in zip(PRICES, raw.figures, strict=False)]
    lots = in_units(raw.figures[-1], instrument.lot)
    place.refuse_any(lots >= LOTS_BELOW, f"the volume is over {LOTS_BELOW} lots", _RULES)
    return BarArrays(
        open_ns=raw.open_ns,
        open_ticks=ticks[0],
        high_ticks=ticks[1],
        low_ticks=ticks[2],
        close_ticks=ticks[3],
        volume_lots=floored(lots),
        notes=notes,
    )


def _check_shape(place: _Place) -> None:
    """Refuse a bar whose high or low is not the furthest of its prices."""
    opened, high, low, close = place.raw.figures[:4]
    bad_high = high < np.maximum(np.maximum(opened, close), low)
    place.refuse_any(bad_high, "the high is below another price of the bar", _REPAIR)
    bad_low = low > np.minimum(opened, close)
    place.refuse_any(bad_low, "the low is above another price of the bar", _REPAIR)


def _check_times(place: _Place, bar_length_ns: int, *, allow_gaps: bool) -> tuple[str, ...]:
    """Refuse times that do not grow, another timeframe and, unless allowed, gaps; give the gaps as notes."""
    open_ns = place.raw.open_ns
    spans = np.diff(open_ns)
    place.refuse_any(np.append(False, spans == 0), "the time is that of the row before", _REPAIR)
    place.refuse_any(np.append(False, spans < 0), "the time is before that of the row before", _REPAIR)
    if (spans != bar_length_ns).any():
        lengths, counts = np.unique(spans, return_counts=True)
        found_ns = int(lengths[np.argmax(counts)])
        if found_ns != bar_length_ns:
            rule = f"the bars are {length_text(found_ns)} long, not {length_text(bar_length_ns)}"
            raise refusal(place.path, rule, "set the timeframe of the file, or give another file")
    off = open_ns % bar_length_ns != 0
    place.refuse_any(off, f"the bar opens off the {length_text(bar_length_ns)} grid", _REPAIR)
    gaps = np.flatnonzero(spans > bar_length_ns)
    missing = (spans[gaps] // bar_length_ns - 1).tolist()
    told = [
        f"{count} bars are missing from {utc_text(int(open_ns[gap]) + bar_length_ns)} on"
        for gap, count in zip(gaps[:_GAPS_TOLD].tolist(), missing, strict=False)
    ]
    if not told:
        return ()
    total = f"{len(missing)} gaps, {sum(missing)} bars in all"
    if not allow_gaps:
        rule = f"{told[0]} ({total})"
        remedy = "fill the gap, or take each gap as one jump with --allow-gaps"
        raise refusal(place.path, rule, remedy, int(gaps[0]) + 1 + place.raw.first_row)
    more = [f"{place.path.name}: {total}"] if len(missing) > 1 else []
    return (*(f"{place.path.name}: {line}, taken as one jump" for line in told), *more)


def _whole_ticks(place: _Place, name: str, column: FloatArray, instrument: Instrument) -> IntArray:
    """Give prices in ticks; refuse those that round to nothing or lie beyond the bound."""
    multiples = in_units(column, instrument.tick)
    beyond = multiples >= TICKS_BELOW - 1
    place.refuse_any(beyond, f"the {name} is over {TICKS_BELOW} ticks", _RULES)
    ticks = nearest(multiples)
    place.refuse_any(ticks == 0, f"the {name} is under half a tick", _RULES)
    return ticks
