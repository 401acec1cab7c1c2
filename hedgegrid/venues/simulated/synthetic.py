"""A seeded market that never ends: the same seed gives the same steps on every machine, from any step on.

Invariants: a block of 1,024 bars is a function of (seed, instrument's name, block number, settings), so adding an
instrument leaves the others' markets as they are; blocks join without a break; there are blocks before the start too,
so any warm-up history exists. The logarithm of the price returns to the start with a standard deviation of about one
half, however long the market runs, and is bounded at four; the last settled rate follows the market of the interval
before it and looks at closed bars only.
"""

import hashlib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from math import floor, sqrt

import numpy as np

from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Bar, Settlement, Step
from hedgegrid.units import CASH_SCALE, NS_PER_DAY, NS_PER_HOUR, ticks_nearest
from hedgegrid.venues.simulated.arrays import BarArrays, FloatArray, IntArray, content_hash
from hedgegrid.venues.simulated.bar_rules import LOTS_BELOW, TICKS_BELOW
from hedgegrid.venues.simulated.settlements import BY_STEP
from hedgegrid.venues.simulated.synthetic_path import (
    BLOCK_BARS,
    DAYS_PER_YEAR,
    VOL_OF_LOG_VOL,
    LogBars,
    Scale,
    SyntheticSettings,
    block_bars,
    exp,
)
from hedgegrid.venues.simulated.tape_bars import (
    POINTS,
    bars_between,
    place_on_bars,
    point_offsets,
    steps_of_bar,
)

_FORM = "synthetic/1"
_LOG_SPREAD = 0.5
_LOG_BOUND = 4.0
# The usual volatility: the path takes the square off, so that the variance is one on average.
_FIRST_LOG_VOLATILITY = VOL_OF_LOG_VOL * VOL_OF_LOG_VOL
_ENDS_PER_DRAW = 256
_BLOCKS_KEPT = 8
_DAILY_TURNOVER_QUOTE = 1e9
_FUNDING_UNIT_NS = 8 * NS_PER_HOUR
_FUNDING_BASE = 1e-4
_FUNDING_PER_DEVIATION = 3.5e-4
_FUNDING_BOUND = 75e-4


def stream_of(seed: int, *parts: object) -> np.random.Generator:
    """Give the random stream that belongs to a seed and a place, independent of every other place's."""
    text = "/".join(str(part) for part in (_FORM, seed, *parts))
    return np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(text.encode()).digest(), "little")))


class _Ends:
    """Where blocks meet: log price and log volatility at the start of each block, both ways from block 0."""

    def __init__(self, seed: int, name: str, settings: SyntheticSettings, block_days: float) -> None:
        self._place = (seed, name)
        # The pull that makes _LOG_SPREAD the spread of the log price in the long run.
        pull_years = 2 * (_LOG_SPREAD / settings.annual_volatility) ** 2
        self._keep = pull_years / (pull_years + block_days / DAYS_PER_YEAR)
        self._shock = _LOG_SPREAD * sqrt(1.0 - self._keep * self._keep)
        start = (0.0, _FIRST_LOG_VOLATILITY)
        self._known: dict[int, list[tuple[float, float]]] = {1: [start], -1: [start]}

    def at(self, block: int) -> tuple[float, float]:
        """Give log price and log volatility at the start of ``block``."""
        way = 1 if block >= 0 else -1
        known = self._known[way]
        while len(known) <= abs(block):
            seed, name = self._place
            stream = stream_of(seed, name, "ends", way, len(known) // _ENDS_PER_DRAW)
            level = known[-1][0]
            for shock, volatility in stream.standard_normal((_ENDS_PER_DRAW, 2)).tolist():
                level = self._keep * level + self._shock * shock
                known.append((level, VOL_OF_LOG_VOL * volatility))
        return known[abs(block)]


class _Market:
    """The endless bars of one instrument."""

    def __init__(
        self,
        instrument: Instrument,
        start_ticks: int,
        seed: int,
        bar_length_ns: int,
        settings: SyntheticSettings,
    ) -> None:
        self.instrument = instrument
        self.scale = Scale.of(settings, NS_PER_DAY / bar_length_ns)
        self._start_ticks = float(start_ticks)
        self._seed = seed
        self._bar_days = bar_length_ns / NS_PER_DAY
        self._ends = _Ends(seed, instrument.name, settings, BLOCK_BARS * self._bar_days)
        self._blocks: dict[int, tuple[IntArray, ...]] = {}

    def block(self, number: int) -> tuple[IntArray, ...]:
        """Give open, high, low, close in ticks and volume in lots of a block's bars."""
        columns = self._blocks.pop(number, None) or self._made(number)
        self._blocks[number] = columns
        if len(self._blocks) > _BLOCKS_KEPT:
            del self._blocks[next(iter(self._blocks))]
        return columns

    def close_ticks(self, bar: int) -> int:
        """Give the close of a bar by its number from the start, which may be negative."""
        number, place = divmod(bar, BLOCK_BARS)
        return int(self.block(number)[3][place])

    def _made(self, number: int) -> tuple[IntArray, ...]:
        """Make a block."""
        stream = stream_of(self._seed, self.instrument.name, "block", number)
        (level, volatility), (level_end, volatility_end) = (
            self._ends.at(number),
            self._ends.at(number + 1),
        )
        logs = block_bars(stream, self.scale, (level, level_end), (volatility, volatility_end))
        opened, high, low, close = (self._ticks(column) for column in (logs.opened, logs.high, logs.low, logs.close))
        # The bound on the log price may move two neighbouring floats past each other, so the range is taken anew.
        high = np.maximum(np.maximum(opened, close), high)
        low = np.minimum(np.minimum(opened, close), low)
        return opened, high, low, close, self._volume(stream, logs, close)

    def _ticks(self, logs: FloatArray) -> IntArray:
        """Give prices in ticks; the log price is bent smoothly to stay under _LOG_BOUND."""
        share = logs / _LOG_BOUND
        prices = self._start_ticks * exp(logs / np.sqrt(1.0 + share * share))
        return np.clip(np.floor(prices + 0.5).astype(np.int64), 1, TICKS_BELOW - 1)

    def _volume(self, stream: np.random.Generator, logs: LogBars, close: IntArray) -> IntArray:
        """Give volumes: more of it where the market is nervous or the bar wide."""
        lot_quote = close * (self.instrument.unit_e8 / CASH_SCALE)
        usual = _DAILY_TURNOVER_QUOTE * self._bar_days / lot_quote
        width = (logs.high - logs.low) / self.scale.bar_volatility
        lots = usual * logs.volatility * (0.5 + width) * (0.25 + stream.random(BLOCK_BARS))
        return np.minimum(np.floor(lots), LOTS_BELOW - 1).astype(np.int64)


class SyntheticTape:
    """A Tape over a made-up market of one or many instruments, starting at ``start_ns`` near ``start_prices`` (quote).

    Every instrument has every bar. Settlements fall on whole multiples of each instrument's funding interval.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        instruments: Sequence[Instrument],
        start_prices: Sequence[Decimal],
        seed: int,
        start_ns: int,
        bar_length_ns: int,
        settings: SyntheticSettings,
    ) -> None:
        if not instruments or len(instruments) != len(start_prices):
            raise ValueError("a synthetic market needs a start price for each of its instruments")
        if bar_length_ns < POINTS or start_ns % bar_length_ns:
            raise ValueError("a synthetic market starts on a whole multiple of its bars' length")
        ticks = [
            ticks_nearest(price, instrument.tick) for instrument, price in zip(instruments, start_prices, strict=True)
        ]
        if any(not 0 < price < TICKS_BELOW for price in ticks):
            raise ValueError(f"a start price must be above zero and under {TICKS_BELOW} ticks")
        self.instruments = tuple(instrument.name for instrument in instruments)
        self.bar_length_ns = bar_length_ns
        self._start_ns = start_ns
        self._offsets = point_offsets(bar_length_ns)
        self._markets = [
            _Market(instrument, price, seed, bar_length_ns, settings)
            for instrument, price in zip(instruments, ticks, strict=True)
        ]
        self.identity = content_hash(
            [_FORM, str(seed), str(start_ns), str(bar_length_ns), repr(settings)]
            + [
                f"{each.name} {each.tick} {each.lot} {each.funding_interval_ns} {price}"
                for each, price in zip(instruments, ticks, strict=True)
            ]
        )

    def steps(self, first: int) -> Iterator[Step]:
        """Walk the market from step ``first`` on, without end; ValueError where that is negative."""
        if first < 0:
            raise ValueError(f"steps are counted from 0, not from {first}")
        row, phase = divmod(first, POINTS)
        block, place = divmod(row, BLOCK_BARS)
        while True:
            number = POINTS * (block * BLOCK_BARS + place)
            settled = self._settled(block)
            columns = [
                bars_between(self._arrays(market, block), self.bar_length_ns, place, BLOCK_BARS)
                for market in self._markets
            ]
            for bars in zip(*columns, strict=True):
                indexed = tuple(enumerate(bars))
                yield from steps_of_bar(number, bars[0].open_ns, self._offsets, indexed, settled)[phase:]
                phase = 0
                number += POINTS
            block, place = block + 1, 0

    def history(self, instrument_index: int, before_ns: int, count: int) -> tuple[Bar, ...]:
        """Give the ``count`` bars that ended at or before ``before_ns``; those from before the start exist too."""
        market = self._markets[instrument_index]
        stop = (before_ns - self._start_ns) // self.bar_length_ns
        bars: list[Bar] = []
        for block in range((stop - count) // BLOCK_BARS, stop // BLOCK_BARS + 1):
            first = block * BLOCK_BARS
            start, end = max(stop - count - first, 0), min(stop - first, BLOCK_BARS)
            if start < end:
                arrays = self._arrays(market, block)
                bars.extend(bars_between(arrays, self.bar_length_ns, start, end))
        return tuple(bars)

    def last_rate(self, instrument_index: int, ts_ns: int) -> Settlement:
        """Give the last settlement at or before ``ts_ns``: there always is one."""
        interval_ns = self._markets[instrument_index].instrument.funding_interval_ns
        return self._settlement(instrument_index, ts_ns // interval_ns * interval_ns)

    def total_steps(self) -> None:
        """Give None: the market never ends."""

    def _opens(self, block: int) -> IntArray:
        """Give the opening times of a block's bars."""
        first = self._start_ns + block * BLOCK_BARS * self.bar_length_ns
        return first + np.arange(BLOCK_BARS, dtype=np.int64) * self.bar_length_ns

    def _arrays(self, market: _Market, block: int) -> BarArrays:
        """Give a block with its times."""
        opened, high, low, close, volume = market.block(block)
        return BarArrays(
            open_ns=self._opens(block),
            open_ticks=opened,
            high_ticks=high,
            low_ticks=low,
            close_ticks=close,
            volume_lots=volume,
        )

    def _settled(self, block: int) -> BY_STEP:
        """Give the settlements of a block's steps: those after the last step of the block before."""
        opens = self._opens(block).tolist()
        after_ns = opens[0] - self.bar_length_ns + self._offsets[-1] if block else opens[0] - 1
        until_ns = opens[-1] + self._offsets[-1]
        due: list[Settlement] = []
        for index, market in enumerate(self._markets):
            interval_ns = market.instrument.funding_interval_ns
            stamps = range((after_ns // interval_ns + 1) * interval_ns, until_ns + 1, interval_ns)
            due.extend(self._settlement(index, stamp) for stamp in stamps)
        due.sort(key=lambda row: (row.ts_ns, row.instrument_index))
        return place_on_bars(opens, self._offsets, POINTS * block * BLOCK_BARS, due)

    def _settlement(self, instrument_index: int, ts_ns: int) -> Settlement:
        """Price a settlement: a base, and more the further the price has come in the interval before."""
        market = self._markets[instrument_index]
        interval_ns = market.instrument.funding_interval_ns
        now = (ts_ns - self._start_ns) // self.bar_length_ns - 1
        bars = max(interval_ns // self.bar_length_ns, 1)
        moved = market.close_ticks(now) / market.close_ticks(now - bars) - 1.0
        deviations = moved / (market.scale.bar_volatility * sqrt(bars))
        rate = _FUNDING_BASE + _FUNDING_PER_DEVIATION * deviations
        bounded = min(max(rate, -_FUNDING_BOUND), _FUNDING_BOUND)
        rate_e8 = floor(bounded * (interval_ns / _FUNDING_UNIT_NS) * CASH_SCALE + 0.5)
        return Settlement(instrument_index=instrument_index, ts_ns=ts_ns, rate_e8=rate_e8)
