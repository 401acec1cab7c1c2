"""Markets for races: recorded bars and trades, made as long as a race needs, and the grid that is traded on them.

Invariants: every contestant of a race reads the same file of int64 columns; what is repeated keeps its order and moves
only in time. Bars are repeated there and back (a bar walked backwards swaps open and close), so that no seam jumps;
trades are repeated as they came, since a book walked backwards is no book.
"""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np

from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS
from hedgegrid.venues.simulated.recorded_bars import load_bars
from hedgegrid.venues.simulated.recorded_ticks import load_ticks
from tools.bench.peers.measuring import IntArray, Setup

Columns = Mapping[str, IntArray]

BARS_FILE = Path("um_1m/2025-01-27_2025-02-26/BTCUSDT-1m.feather")
CAPTURE_FILES = (
    Path("ticks_raw_ws/usdm_btcusdt_20230404.dat.gz"),
    Path("ticks_raw_ws/usdm_btcusdt_20230405.dat.gz"),
)
SEAM_NS = 40 * NS_PER_MS
"""Between two captures: about what lies between two of their trades."""

YEAR_BARS = 525_600

BTC = Instrument(
    name="BTC/USDT:USDT",
    tick=Decimal("0.1"),
    lot=Decimal("0.001"),
    min_qty_lots=1,
    max_qty_lots=1_000_000,
    min_notional_e8=0,
    tiers=(),
    liquidation_fee_ppm=0,
    funding_interval_ns=0,
)

BAR_SETUP = Setup(
    levels=8,
    step_ppm=1_200,
    recenter_ppm=6_000,
    tp_steps=1,
    sl_steps=12,
    qty_lots=10,
    maker_ppm=200,
    taker_ppm=500,
    slippage_ppm=100,
    first_decision=59,
    bar_ns=NS_PER_MINUTE,
    tick="0.1",
    lot="0.001",
    wallet_quote=10_000_000,
    poll_ns=100 * NS_PER_MS,
)
"""The grid of configs/replay.toml, both legs always offered; the first decision is the first that is not cold."""

WIDE_SETUP = replace(BAR_SETUP, step_ppm=5_000, recenter_ppm=25_000)
"""The same grid with four times the step: a fill in forty bars in place of one in three."""

TICK_SETUP = replace(BAR_SETUP, step_ppm=100, recenter_ppm=400, sl_steps=3)
"""On nine minutes that move by 8 bps: a grid so narrow that it trades, and stops out, in every lap."""

QUIET_SETUP = replace(BAR_SETUP, step_ppm=50_000, recenter_ppm=1_000_000)
"""A grid so wide that nothing ever reaches a rung."""


def bar_columns(folder: Path) -> Columns:
    """Load the recorded bars below the folder of recorded markets. Raises Fatal where they are missing or damaged."""
    bars = load_bars(folder / BARS_FILE, BTC, NS_PER_MINUTE)
    return {
        "ts_ns": bars.open_ns,
        "open_ticks": bars.open_ticks,
        "high_ticks": bars.high_ticks,
        "low_ticks": bars.low_ticks,
        "close_ticks": bars.close_ticks,
        "volume_lots": bars.volume_lots,
    }


def there_and_back(bars: Columns, count: int, bar_ns: int) -> Columns:
    """Give ``count`` bars without a gap: the bars, the same walked backwards, and so on."""
    length = len(bars["ts_ns"])
    laps = -(-count // length)
    mirror = {"open_ticks": "close_ticks", "close_ticks": "open_ticks"}
    made: dict[str, IntArray] = {}
    for name, column in bars.items():
        back = bars[mirror.get(name, name)][::-1]
        made[name] = np.concatenate([back if lap % 2 else column for lap in range(laps)])[:count]
    made["ts_ns"] = bars["ts_ns"][0] + np.arange(count, dtype=np.int64) * bar_ns
    return made


def tick_columns(folder: Path) -> tuple[Columns, int]:
    """Load the recorded trades, one capture behind the other, and give with them how long one lap takes in ns.

    Times start at that of the first capture. Raises Fatal where a capture is missing or damaged.
    """
    captures = [load_ticks(folder / file, BTC) for file in CAPTURE_FILES]
    names = ("price_ticks", "qty_lots", "bid_ticks", "ask_ticks", "bid_qty_lots", "ask_qty_lots", "mark_ticks")
    made: dict[str, IntArray] = {name: np.concatenate([getattr(one, name) for one in captures]) for name in names}
    times, next_ns = [], int(captures[0].ts_ns[0])
    for one in captures:
        times.append(one.ts_ns - one.ts_ns[0] + next_ns)
        next_ns = int(times[-1][-1]) + SEAM_NS
    made["ts_ns"] = np.concatenate(times)
    return made, next_ns - int(captures[0].ts_ns[0])


def round_and_round(ticks: Columns, lap_ns: int, count: int) -> Columns:
    """Give ``count`` trades: the trades, the same a lap later, and so on."""
    length = len(ticks["ts_ns"])
    laps = -(-count // length)
    made: dict[str, IntArray] = {name: np.tile(column, laps)[:count] for name, column in ticks.items()}
    made["ts_ns"] += (np.repeat(np.arange(laps, dtype=np.int64), length) * lap_ns)[:count]
    return made
