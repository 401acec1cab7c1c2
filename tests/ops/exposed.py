"""An account's exposure worked out anew from what an exchange holds: plain arithmetic, for tests of what is published.

Invariant: nothing of the bot is used; the legs, the wallet and the closes come from the exchange.
"""

from collections.abc import Sequence
from statistics import NormalDist

import attrs
import numpy as np

PPM = 1_000_000
NO_MOVE_PPM = 10**12


@attrs.frozen(kw_only=True)
class Held:
    """What an exchange holds of one instrument, in quote x 1e8, and what must be held for it."""

    equity_e8: int
    maintenance_e8: int
    long_e8: int
    short_e8: int

    @property
    def gross_e8(self) -> int:
        """Both legs."""
        return self.long_e8 + self.short_e8

    def stands_after(self, move_ppm: int) -> bool:
        """Tell whether the account still holds what it must once the mark has moved so far."""
        equity = self.equity_e8 * PPM + (self.long_e8 - self.short_e8) * move_ppm
        return equity >= self.maintenance_e8 * (PPM + move_ppm)

    def distance_ratio(self) -> float | None:
        """Give the largest move of whole ppm that the account survives either way; None where it survives all."""
        falls, rises = self._survives(-1, PPM), self._survives(1, NO_MOVE_PPM)
        deadly = [one for one, most in ((falls, PPM), (rises, NO_MOVE_PPM)) if one < most]
        return min(deadly) / PPM if deadly else None

    def _survives(self, sign: int, most_ppm: int) -> int:
        low, high = 0, most_ppm
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self.stands_after(sign * middle) else (low, middle - 1)
        return low


def value_at_risk(
    net_e8: int, closes: Sequence[float], *, lam: float, confidence: float, horizon_bars: float
) -> float | None:
    """Give |net| x z x EWMA volatility x sqrt(bars), each rounded up as a bound is; None before a return."""
    if not net_e8:
        return 0.0
    if len(closes) < 2:
        return None
    prices = np.array(closes, np.float64)
    returns = prices[1:] / prices[:-1] - 1.0
    weights = np.append(lam ** (len(returns) - 1), (1.0 - lam) * lam ** np.arange(len(returns) - 2, -1, -1))
    sigma = np.sqrt(weights @ returns**2)
    rate_ppm = int(np.ceil(sigma * NormalDist().inv_cdf(confidence) * np.sqrt(horizon_bars) * PPM))
    return -(-abs(net_e8) * rate_ppm // PPM) / 10**8
