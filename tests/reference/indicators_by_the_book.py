"""EMA, ATR, ADX and EWMA variance as their authors' books have them, for the reference simulator.

Invariant: a figure is None until it is defined: EMA at bar n-1, ATR at n, ADX at 2n-1, variance at bar 1.
"""

from itertools import pairwise

from hedgegrid.config.grid import RegimeConfig

Candle = tuple[int, int, int]  # high, low, close


class Indicators:
    """Keeps the whole history and the latest figures, in ticks."""

    def __init__(self, regime: RegimeConfig, vol_lambda: float) -> None:
        """Start cold."""
        self.regime, self.vol_lambda = regime, vol_lambda
        self.candles: list[Candle] = []
        self.fast: float | None = None
        self.slow: float | None = None
        self.atr: float | None = None
        self.adx: float | None = None
        self.variance: float | None = None
        self._dx: list[float] = []
        self._plus = self._minus = self._range = 0.0

    def add(self, high: int, low: int, close: int) -> None:
        """Take a closed bar."""
        self.candles.append((high, low, close))
        self.fast = self._ema(self.fast, self.regime.ema_fast)
        self.slow = self._ema(self.slow, self.regime.ema_slow)
        if len(self.candles) > 1:
            self._atr()
            self._adx()
            change = close / self.candles[-2][2] - 1.0
            before = change * change if self.variance is None else self.variance
            self.variance = self.vol_lambda * before + (1.0 - self.vol_lambda) * change * change

    def _ema(self, before: float | None, n: int) -> float | None:
        """Seeded with the simple average of the first n, then k = 2 / (n + 1)."""
        count, close = len(self.candles), self.candles[-1][2]
        if count < n:
            return None
        if before is None:
            return sum(candle[2] for candle in self.candles) / n
        return before + 2.0 / (n + 1) * (close - before)

    def _atr(self) -> None:
        """Wilder: the mean of the first n true ranges, then (n - 1 parts old, 1 part new)."""
        n = self.regime.atr_len
        if len(self.candles) == n + 1:
            self.atr = sum(true_range(a, b) for a, b in pairwise(self.candles)) / n
        elif self.atr is not None:
            self.atr = (self.atr * (n - 1) + true_range(*self.candles[-2:])) / n

    def _adx(self) -> None:
        """Wilder's directional movement: sums that lose 1/n and gain the new; DX averaged over n, then smoothed."""
        n, (before, now) = self.regime.adx_len, self.candles[-2:]
        up, down, bar = now[0] - before[0], before[1] - now[1], len(self.candles) - 1
        keep = 1.0 if bar < n else 1.0 - 1.0 / n
        self._plus = self._plus * keep + (up if up > down and up > 0 else 0)
        self._minus = self._minus * keep + (down if down > up and down > 0 else 0)
        self._range = self._range * keep + true_range(before, now)
        if bar < n:
            return
        total = self._plus + self._minus
        dx = 100.0 * abs(self._plus - self._minus) / total if total and self._range else None
        if self.adx is not None:
            self.adx = self.adx if dx is None else (self.adx * (n - 1) + dx) / n
            return
        self._dx.append(dx or 0.0)
        if len(self._dx) == n:
            self.adx = sum(self._dx) / n


def true_range(before: Candle, now: Candle) -> int:
    """Give the bar's range, the gap from the last close included."""
    return max(now[0], before[2]) - min(now[1], before[2])
