"""Settings, markets and real bars for the tests of the hot path.

Invariant: the same seed makes the same market; prices are ticks, times nanoseconds.
"""

from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from hedgegrid.core.codes import FUNDING_WARN
from hedgegrid.core.records import GridParams, VenueRules
from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.units import CASH_SCALE, NS_PER_DAY, NS_PER_MINUTE, PPM
from hedgegrid.venues.simulated.recorded import recorded_tape

BAR_NS = NS_PER_MINUTE
UNIT_E8 = 10_000
"""One tick on one lot in quote x 1e8, as of BTC/USDT:USDT (0.1 x 0.001)."""
Ohlc = tuple[int, int, int, int]
"""Open, high, low, close in ticks."""


def params(**changes: Any) -> GridParams:
    """A grid of three rungs a leg, 10 lots each, that warms up in four bars and never runs out of room; changed."""
    settings: dict[str, Any] = {
        "unit_e8": UNIT_E8,
        "min_qty_lots": 1,
        "min_notional_e8": 0,
        "step_ppm": 5_000,
        "atr_multiple_ppm": PPM,
        "levels_long": 3,
        "levels_short": 3,
        "base_micro_lots": 10 * PPM,
        "qty_scale_ppm": PPM,
        "recenter_ppm": 30_000,
        "max_inventory_e8": 10**15,
        "vol_lambda": 0.9,
        "bars_per_year": 365 * NS_PER_DAY / BAR_NS,
        "tp_ppm": PPM,
        "sl_ppm": 6 * PPM,
        "max_stop_orders": 4,
        "backstop_ppm": 2 * PPM,
        "ema_fast": 2,
        "ema_slow": 4,
        "adx_len": 2,
        "atr_len": 2,
        "adx_threshold": 25.0,
        "hysteresis_bps": 2.0,
        "counter_levels": 2,
        "counter_qty_ppm": PPM // 2,
        "core_levels": 1,
        "core_tp_ppm": 2 * PPM,
        "funding_mode": FUNDING_WARN,
        "funding_max_e8": 30_000,
        "funding_window_ns": 30 * NS_PER_MINUTE,
        "post_only": 1,
        "retry_attempts": 3,
        "retry_delay_ns": BAR_NS // 8,
        "retry_deviation_ppm": 5_000,
        "price_tolerance_ppm": 50,
        "qty_tolerance_ppm": 10_000,
    }
    return GridParams(**{**settings, **changes})


def rules(**changes: Any) -> VenueRules:
    """A venue without latency, with everyday fees; changed."""
    settings = {
        "unit_e8": UNIT_E8,
        "slippage_ppm": 100,
        "maker_ppm": 200,
        "taker_ppm": 500,
        "liquidation_fee_ppm": 12_500,
    }
    return VenueRules(**{**settings, **changes})


def walk(seed: int, count: int, *, start: int = 10_000, reach: int = 60, gap: int = 25) -> list[Ohlc]:
    """A market of ``count`` bars in which moves of up to ``reach`` ticks, trends, jumps and standstills happen."""
    dice = Random(seed)
    bars: list[Ohlc] = []
    close, drift = start, 0
    for _ in range(count):
        if dice.random() < 0.1:
            drift = dice.randint(-reach // 2, reach // 2)
        opened = max(start // 2, close + (dice.randint(-gap, gap) if dice.random() < 0.3 else 0))
        close = max(start // 2, opened + dice.randint(-reach, reach) // 2 + drift * dice.randint(0, 1))
        if dice.random() < 0.05:
            close = opened
        high = max(opened, close) + dice.randint(0, reach // 3)
        low = min(opened, close) - dice.randint(0, reach // 3)
        bars.append((opened, high, low, close))
    return bars


BTC = Instrument(
    name="BTC/USDT:USDT",
    tick=Decimal("0.1"),
    lot=Decimal("0.001"),
    min_qty_lots=1,
    max_qty_lots=10**6,
    min_notional_e8=5 * CASH_SCALE,
    tiers=(Tier(max_notional_e8=10**18, maintenance_ppm=5_000),),
    liquidation_fee_ppm=12_500,
    funding_interval_ns=480 * NS_PER_MINUTE,
)


def real_bars(shared_dir: Path, count: int, *, skip: int = 0) -> list[Ohlc]:
    """``count`` recorded one-minute bars of BTC after the first ``skip``."""
    path = shared_dir / "data" / "um_1m" / "2025-07-06_2025-07-17" / "BTCUSDT-1m.feather"
    bars: list[Ohlc] = []
    for step in recorded_tape([path], [BTC], BAR_NS).steps(4 * skip):
        for _, bar in step.bars:
            bars.append((bar.open_ticks, bar.high_ticks, bar.low_ticks, bar.close_ticks))
        if len(bars) == count:
            break
    return bars
