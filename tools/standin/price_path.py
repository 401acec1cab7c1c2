"""The price of an instrument as a function of the exchange's time, over minute bars of a tape.

Invariants: the price at a time is the same however often and from wherever it is asked, so bars that are asked for
later equal the bars that were streamed; a bar of the tape is walked through its four points in straight lines, and
every point is met; at speed n a minute of the exchange holds n minutes of the tape, so bars keep their labels and real
length and the market is n times as busy. Gaps of the tape and the time after its end are flat.
"""

from bisect import bisect_right
from collections.abc import Iterator

import attrs

from hedgegrid.model.market import Bar, Tape
from hedgegrid.units import NS_PER_MINUTE
from hedgegrid.venues.simulated.tape_bars import POINTS, path_of

BAR_NS = NS_PER_MINUTE
_SIDE_NS = BAR_NS // POINTS
_CHUNK = 256
_CHUNKS_KEPT = 64


@attrs.frozen(kw_only=True)
class Move:
    """The price from ``ts_ns`` on, in ticks, and what was traded on the way there, in lots."""

    ts_ns: int
    ticks: int
    qty_lots: int


@attrs.frozen(kw_only=True)
class Span:
    """What happened in a stretch of time: prices in ticks, volume in lots."""

    open_ticks: int
    high_ticks: int
    low_ticks: int
    close_ticks: int
    volume_lots: int


class TapeBars:
    """The minute bars of one instrument of a tape, counted from the bar that opens at ``first_open_ns``."""

    def __init__(self, tape: Tape, index: int, first_open_ns: int) -> None:
        if tape.bar_length_ns != BAR_NS or first_open_ns % BAR_NS:
            raise ValueError("the stand-in's market is made of minute bars")
        self._tape = tape
        self._index = index
        self.first_open_ns = first_open_ns
        self._chunks: dict[int, list[Bar | None]] = {}

    def bar(self, number: int) -> Bar | None:
        """Give a bar by its number, which may be negative; None before the tape begins."""
        chunk, place = divmod(number, _CHUNK)
        bars = self._chunks.get(chunk)
        if bars is None:
            bars = self._chunks[chunk] = self._loaded(chunk)
            if len(self._chunks) > _CHUNKS_KEPT:
                del self._chunks[next(iter(self._chunks))]
        return bars[place]

    def _loaded(self, chunk: int) -> list[Bar | None]:
        """Read a chunk of bars, flat where the tape has none."""
        begin_ns = self.first_open_ns + chunk * _CHUNK * BAR_NS
        end_ns = begin_ns + _CHUNK * BAR_NS
        known = {bar.open_ns: bar for bar in self._tape.history(self._index, end_ns, _CHUNK)}
        before = self._tape.history(self._index, begin_ns, 1)
        last = before[-1] if before else None
        bars: list[Bar | None] = []
        for open_ns in range(begin_ns, end_ns, BAR_NS):
            bar = known.get(open_ns)
            last = bar if bar is not None else last and _flat(last, open_ns)
            bars.append(last)
        return bars


def _flat(bar: Bar, open_ns: int) -> Bar:
    """Give a bar without a trade at another's close."""
    close = bar.close_ticks
    return attrs.evolve(
        bar, open_ns=open_ns, open_ticks=close, high_ticks=close, low_ticks=close, close_ticks=close, volume_lots=0
    )


class PricePath:
    """The price over the exchange's time: at ``start_ns`` (a whole minute) the tape's bar 0 opens."""

    def __init__(self, bars: TapeBars, *, start_ns: int, speed: int) -> None:
        if speed < 1 or start_ns % BAR_NS:
            raise ValueError("speed is a whole number from 1 on, and a market starts on a whole minute")
        self._bars = bars
        self._start_ns = start_ns
        self._speed = speed
        self._shift_ns: list[int] = []
        self._shift_ticks: list[int] = []

    def tape_ns(self, ts_ns: int) -> int:
        """Give the tape's own time at the exchange's time."""
        return self._bars.first_open_ns + (ts_ns - self._start_ns) * self._speed

    def begins_ns(self, at_least_ns: int) -> int:
        """Give the first minute at or after a time that the tape knows, by halving."""
        low, high = at_least_ns // BAR_NS, self._start_ns // BAR_NS
        while low < high:
            middle = (low + high) // 2
            if self._bars.bar((middle * BAR_NS - self._start_ns) * self._speed // BAR_NS) is None:
                low = middle + 1
            else:
                high = middle
        return low * BAR_NS

    def shift(self, ts_ns: int, ticks: int) -> None:
        """Move the whole market by ``ticks`` from a time on, which is not before an earlier shift."""
        if self._shift_ns and ts_ns < self._shift_ns[-1]:
            raise ValueError("shifts are in growing order of time")
        self._shift_ticks.append(self._shifted(ts_ns) + ticks)
        self._shift_ns.append(ts_ns)

    def ticks_at(self, ts_ns: int) -> int:
        """Give the price; ValueError before the tape begins."""
        number, within = divmod((ts_ns - self._start_ns) * self._speed, BAR_NS)
        points = path_of(self._known(number))
        side, part = divmod(within, _SIDE_NS)
        ticks = points[side]
        if side < POINTS - 1:
            rise = points[side + 1] - ticks
            # Toward the point behind: a time that rounds to just after a bend still has the bend's price.
            ticks += abs(rise) * part // _SIDE_NS * (1 if rise > 0 else -1)
        return max(1, ticks + self._shifted(ts_ns))

    def moves(self, after_ns: int, until_ns: int) -> Iterator[Move]:
        """Walk every point of the path after one time up to another; the last move is at ``until_ns`` itself."""
        last_x = (after_ns - self._start_ns) * self._speed
        for ts_ns in self._turns(after_ns, until_ns):
            x = (ts_ns - self._start_ns) * self._speed
            yield Move(ts_ns=ts_ns, ticks=self.ticks_at(ts_ns), qty_lots=self._volume(last_x, x))
            last_x = x

    def span(self, open_ns: int, end_ns: int) -> Span | None:
        """Give what happens from ``open_ns`` until just before ``end_ns``; None before the tape begins."""
        begin, end = (open_ns - self._start_ns) * self._speed, (end_ns - self._start_ns) * self._speed
        if self._bars.bar(begin // BAR_NS) is None:
            return None
        shift_places = bisect_right(self._shift_ns, open_ns), bisect_right(self._shift_ns, end_ns - 1)
        if begin % BAR_NS or end % BAR_NS or shift_places[0] != shift_places[1]:
            return self._walked(open_ns, end_ns)
        bars = [self._known(number) for number in range(begin // BAR_NS, end // BAR_NS)]
        shift = self._shifted(open_ns)
        return Span(
            open_ticks=max(1, bars[0].open_ticks + shift),
            high_ticks=max(1, max(bar.high_ticks for bar in bars) + shift),
            low_ticks=max(1, min(bar.low_ticks for bar in bars) + shift),
            close_ticks=max(1, bars[-1].close_ticks + shift),
            volume_lots=sum(bar.volume_lots for bar in bars),
        )

    def _walked(self, open_ns: int, end_ns: int) -> Span:
        """Give a span point by point."""
        prices = [self.ticks_at(open_ns)]
        volume = 0
        for move in self.moves(open_ns, end_ns - 1):
            prices.append(move.ticks)
            volume += move.qty_lots
        return Span(
            open_ticks=prices[0],
            high_ticks=max(prices),
            low_ticks=min(prices),
            close_ticks=prices[-1],
            volume_lots=volume,
        )

    def _turns(self, after_ns: int, until_ns: int) -> list[int]:
        """Give the times after one and up to another at which the path bends, and the last one itself."""
        first = (after_ns - self._start_ns) * self._speed // _SIDE_NS + 1
        last = (until_ns - self._start_ns) * self._speed // _SIDE_NS
        turns = {self._start_ns - (-side * _SIDE_NS // self._speed) for side in range(first, last + 1)}
        turns.update(self._shift_ns[bisect_right(self._shift_ns, after_ns) :])
        return sorted({turn for turn in turns if after_ns < turn < until_ns} | {until_ns})

    def _volume(self, begin: int, end: int) -> int:
        """Give the lots traded between two places of the tape, each bar's spread evenly."""
        lots = 0
        while begin < end:
            number, within = divmod(begin, BAR_NS)
            stop = min(end, (number + 1) * BAR_NS)
            volume = self._known(number).volume_lots
            lots += volume * (within + stop - begin) // BAR_NS - volume * within // BAR_NS
            begin = stop
        return lots

    def _known(self, number: int) -> Bar:
        bar = self._bars.bar(number)
        if bar is None:
            raise ValueError("the tape begins later")
        return bar

    def _shifted(self, ts_ns: int) -> int:
        """Give the shift in force at a time."""
        place = bisect_right(self._shift_ns, ts_ns)
        return self._shift_ticks[place - 1] if place else 0
