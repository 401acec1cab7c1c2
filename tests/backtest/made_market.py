"""The market of a made backtest: two instruments and a seeded walk of hourly bars.

Invariant: the same arguments make the same bars.
"""

from decimal import Decimal
from random import Random
from typing import Final

import attrs
import numpy as np

from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.units import CASH_SCALE, NS_PER_HOUR
from hedgegrid.venues.simulated.arrays import BarArrays

START_NS: Final = 1_704_067_200_000_000_000
"""2024-01-01 00:00 UTC."""
BAR_NS: Final = NS_PER_HOUR
BTC: Final = Instrument(
    name="BTC/USDT:USDT",
    tick=Decimal("0.1"),
    lot=Decimal("0.001"),
    min_qty_lots=1,
    max_qty_lots=1_000_000,
    min_notional_e8=5 * CASH_SCALE,
    tiers=(
        Tier(max_notional_e8=5_000 * CASH_SCALE, maintenance_ppm=4_000),
        Tier(max_notional_e8=10**18, maintenance_ppm=10_000),
    ),
    liquidation_fee_ppm=12_500,
    funding_interval_ns=8 * NS_PER_HOUR,
)
ETH: Final = attrs.evolve(
    BTC, name="ETH/USDT:USDT", tick=Decimal("0.01"), tiers=(Tier(max_notional_e8=10**18, maintenance_ppm=5_000),)
)
STARTS_TICKS: Final = (420_000, 230_000)


def made_bars(seed: int, bars: int, start_ticks: int, *, drop_bar: int = -1) -> BarArrays:
    """A walk of hourly bars from ``START_NS``; at ``drop_bar`` the price loses half of its value in one bar."""
    dice = Random(seed)
    close, columns = start_ticks, np.empty((4, bars), np.int64)
    for i in range(bars):
        opened = close
        path = [opened]
        for _ in range(6):
            path.append(max(10, round(path[-1] * (1 + dice.gauss(0.00001, 0.0025)))))
        if i == drop_bar:
            path.append(path[-1] // 2)
        close = path[-1]
        columns[:, i] = opened, max(path), min(path), close
    return BarArrays(
        open_ns=START_NS + BAR_NS * np.arange(bars, dtype=np.int64),
        open_ticks=columns[0],
        high_ticks=columns[1],
        low_ticks=columns[2],
        close_ticks=columns[3],
        volume_lots=np.array([dice.randrange(1_000, 9_000) for _ in range(bars)], np.int64),
    )
