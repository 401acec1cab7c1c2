"""Made markets, bar by bar: one minute a bar, prices in ticks around 10,000 (1,000 quote; a lot is 1 quote there).

With the small account of ``tests.actors.house`` the rungs lie 25 ticks apart, the nearest at 9,975 and 10,025.
"""

from hedgegrid.venues.simulated.tape_bars import BarTape
from tests.actors.house import market
from tests.core.made import Ohlc

CENTER = 10_000
STILL: Ohlc = (CENTER, CENTER, CENTER, CENTER)
WARM = [STILL] * 8
"""The indicators of the small account are warm well before the last of them."""


def dip(low: int, close: int = CENTER) -> Ohlc:
    """A bar that falls from the center to ``low`` and comes back."""
    return (CENTER, max(CENTER, close), low, close)


def wide(reach: int, close: int = CENTER) -> Ohlc:
    """A bar of some reach around the center."""
    return (CENTER, CENTER + reach // 2, CENTER - reach // 2, close)


def level(price: int) -> Ohlc:
    """A bar that stands still at a price."""
    return (price, price, price, price)


def rising(count: int, by: int, start: int = CENTER) -> list[Ohlc]:
    """Bars that close ``by`` ticks above the one before, without a wick."""
    return [(start + by * i, start + by * (i + 1), start + by * i, start + by * (i + 1)) for i in range(count)]


def still(count: int = 12) -> BarTape:
    """Nothing moves."""
    return market([STILL] * count)


def after_warmth(*bars: Ohlc) -> BarTape:
    """A market that stands still until the bot is warm, and then goes so."""
    return market([*WARM, *bars])
