"""A recorded market: files in, Tape out. This is the one place that knows all the forms of files.

Invariant: one replay holds one form, bars or trades, of one timeframe, and its instruments overlap in time.
"""

from collections.abc import Sequence
from pathlib import Path

import attrs

from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Instrument
from hedgegrid.venues.simulated.arrays import BarArrays, FundingArrays, IntArray, TickArrays, no_funding
from hedgegrid.venues.simulated.recorded_bars import load_bars
from hedgegrid.venues.simulated.recorded_files import (
    Kind,
    kind_of,
    match_files,
    match_funding,
    utc_text,
)
from hedgegrid.venues.simulated.recorded_funding import load_funding
from hedgegrid.venues.simulated.recorded_ticks import load_ticks
from hedgegrid.venues.simulated.tape_bars import BarTape
from hedgegrid.venues.simulated.tape_ticks import TickTape


@attrs.frozen(kw_only=True, eq=False)
class Recorded:
    """A recorded market as columns, in the order of the instruments: bars, or ticks, and the funding of each."""

    bars: tuple[BarArrays, ...] = ()
    ticks: tuple[TickArrays, ...] = ()
    funding: tuple[FundingArrays, ...] = ()


def recorded_market(
    paths: Sequence[Path],
    instruments: Sequence[Instrument],
    bar_length_ns: int,
    *,
    allow_gaps: bool = False,
) -> Recorded:
    """Load the market of ``instruments`` from files and folders; funding files among them are used too.

    Raises Fatal in one line where a file is missing, ambiguous, damaged, implausible or has a gap (but for
    ``allow_gaps``), where bars and trades are mixed, and where two instruments share no time.
    """
    names = [instrument.name for instrument in instruments]
    files = match_files(paths, names)
    kinds = {name: kind_of(file) for name, file in files.items()}
    captures = [name for name, kind in kinds.items() if kind is Kind.CAPTURE]
    if captures and len(captures) < len(names):
        other = next(name for name in names if name not in captures)
        told = f"{files[captures[0]]} holds trades and {files[other]} bars"
        raise Fatal(f"{told}: one replay is of one form; give trades for all or bars for all")
    rates = {name: load_funding(file) for name, file in match_funding(paths, names).items()}
    funding = tuple(rates.get(name, no_funding()) for name in names)
    if captures:
        ticks = tuple(load_ticks(files[each.name], each) for each in instruments)
        _check_overlap(names, [arrays.ts_ns for arrays in ticks])
        return Recorded(ticks=ticks, funding=funding)
    bars = tuple(load_bars(files[each.name], each, bar_length_ns, allow_gaps=allow_gaps) for each in instruments)
    _check_overlap(names, [arrays.open_ns for arrays in bars])
    return Recorded(bars=bars, funding=funding)


def recorded_tape(
    paths: Sequence[Path],
    instruments: Sequence[Instrument],
    bar_length_ns: int,
    *,
    allow_gaps: bool = False,
) -> BarTape | TickTape:
    """Load a recorded market as the tape that ``run`` walks. Raises Fatal as ``recorded_market``."""
    names = [instrument.name for instrument in instruments]
    market = recorded_market(paths, instruments, bar_length_ns, allow_gaps=allow_gaps)
    if market.ticks:
        return TickTape(instruments=names, ticks=market.ticks, funding=market.funding, bar_length_ns=bar_length_ns)
    return BarTape(instruments=names, bars=market.bars, funding=market.funding, bar_length_ns=bar_length_ns)


def _check_overlap(names: Sequence[str], times: Sequence[IntArray]) -> None:
    """Raise Fatal where an instrument ends before another begins."""
    starts = [int(column[0]) for column in times]
    ends = [int(column[-1]) for column in times]
    latest, earliest = starts.index(max(starts)), ends.index(min(ends))
    if starts[latest] > ends[earliest]:
        raise Fatal(
            f"{names[earliest]} ends at {utc_text(ends[earliest])}, before {names[latest]} begins "
            f"at {utc_text(starts[latest])}; give files of the same days"
        )
