"""The market as a path of points, which is what every execution of hedgegrid runs on.

Invariants: steps come in growing (ts_ns, number) order, the number strictly; a step holds at most one point an
instrument; a bar is
announced in the step of its last point (bars) or in a step of its own at its end (ticks), never earlier.
"""

from collections.abc import Iterator
from typing import Protocol

import attrs


@attrs.frozen(kw_only=True)
class Bar:
    """A closed bar: opening time and length in ns, prices in ticks, volume in lots."""

    open_ns: int
    length_ns: int
    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int


@attrs.frozen(kw_only=True)
class Point:
    """One point of an instrument's path.

    ``jump``: the move into this point skips the prices between. ``bar_low_ticks``/``bar_high_ticks``: the range of
    the bar that the point belongs to (the venue counts ambiguity with it, nobody else may look); 0 on ticks.
    ``qty_lots``: the traded quantity of a trade tick, 0 where unbounded; ``bid_qty_lots``/``ask_qty_lots``: what the
    best bid and ask show (0 where unknown). ``bid``, ``ask`` and ``mark`` equal ``price`` on bars without a mark
    series.
    """

    instrument_index: int
    price_ticks: int
    jump: bool
    qty_lots: int
    bid_ticks: int
    ask_ticks: int
    bid_qty_lots: int = 0
    ask_qty_lots: int = 0
    mark_ticks: int
    bar_low_ticks: int
    bar_high_ticks: int


@attrs.frozen(kw_only=True)
class MarketUpdate:
    """What the venue shows at one instant of one instrument; ``bar`` where one closed then.

    ``mark_ticks``, ``rate_e8`` and ``next_funding_ns`` are None where the venue did not say. ``quote_ts_ns`` is the
    time that bid and ask speak of, where it is another than ``ts_venue_ns``: they are told again beside a newer mark.
    """

    instrument: str
    ts_venue_ns: int
    quote_ts_ns: int | None = None
    bid_ticks: int
    ask_ticks: int
    mark_ticks: int | None
    rate_e8: int | None
    next_funding_ns: int | None
    funding_interval_ns: int
    bar: Bar | None


@attrs.frozen(kw_only=True)
class Settlement:
    """A funding settlement that is due at ``ts_ns`` (floored to the minute): rate x 1e8 for one interval."""

    instrument_index: int
    ts_ns: int
    rate_e8: int


@attrs.frozen(kw_only=True)
class Step:
    """Everything that happens at one instant: points, settlements due, then bars that end here, by instrument index.

    ``number`` counts the steps of a tape from 0, so that a kept exchange can go on where it stopped.
    """

    number: int
    ts_ns: int
    points: tuple[Point, ...]
    settlements: tuple[Settlement, ...]
    bars: tuple[tuple[int, Bar], ...]


class Tape(Protocol):
    """A market that can be walked from any step; two tapes of equal ``identity`` are equal to the last point."""

    identity: str
    bar_length_ns: int
    instruments: tuple[str, ...]
    notes: tuple[str, ...]
    """What a person should know of this market: gaps, filtered prints."""

    def steps(self, first: int) -> Iterator[Step]:
        """Walk the tape from step ``first`` on, in order."""
        ...

    def history(self, instrument_index: int, before_ns: int, count: int) -> tuple[Bar, ...]:
        """Give up to ``count`` closed bars that ended at or before ``before_ns``, oldest first."""
        ...

    def last_rate(self, instrument_index: int, ts_ns: int) -> Settlement | None:
        """Give the last settlement at or before ``ts_ns``, or None where the tape knows none."""
        ...

    def total_steps(self) -> int | None:
        """Give the number of steps, or None where the market never ends."""
        ...
