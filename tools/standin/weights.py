"""The exchange's limits: request weight by minute, orders by 10 seconds and by minute, and what crossing them earns.

Invariants: a refused order counts too; a request after the refusal that goes on refusing to wait earns a ban, whose
length doubles from two minutes up to three days.
"""

from typing import Final

import attrs

from tools.standin.errors import ExchangeError, refusal

MINUTE_MS: Final = 60_000
TEN_SECONDS_MS: Final = 10_000
_BAN_FIRST_MS: Final = 120_000
_BAN_LAST_MS: Final = 259_200_000
_PATIENCE: Final = 20
"""Requests under a 429 that are forgiven."""
_TOO_MANY: Final = 429
_BANNED: Final = 418

DEFAULT_WEIGHT: Final = 1
WEIGHTS: Final[dict[str, int]] = {
    "GET /fapi/v1/allAlgoOrders": 5,
    "GET /fapi/v1/allOrders": 5,
    "GET /fapi/v1/aggTrades": 20,
    "GET /fapi/v1/commissionRate": 20,
    "GET /fapi/v1/depth": 10,
    "GET /fapi/v1/fundingInfo": 0,
    "GET /fapi/v1/income": 30,
    "GET /fapi/v1/klines": 5,
    "GET /fapi/v1/markPriceKlines": 5,
    "GET /fapi/v1/indexPriceKlines": 5,
    "GET /fapi/v1/openAlgoOrders": 1,
    "GET /fapi/v1/positionSide/dual": 30,
    "GET /fapi/v1/multiAssetsMargin": 30,
    "GET /fapi/v1/feeBurn": 30,
    "GET /fapi/v1/ticker/bookTicker": 2,
    "GET /fapi/v1/ticker/24hr": 1,
    "GET /fapi/v1/trades": 5,
    "GET /fapi/v1/userTrades": 5,
    "GET /fapi/v1/accountConfig": 5,
    "GET /fapi/v1/symbolConfig": 5,
    "GET /fapi/v2/account": 5,
    "GET /fapi/v2/balance": 5,
    "GET /fapi/v2/positionRisk": 5,
    "GET /fapi/v3/account": 5,
    "GET /fapi/v3/balance": 5,
    "GET /fapi/v3/positionRisk": 5,
    "POST /fapi/v1/batchOrders": 5,
    "POST /fapi/v1/countdownCancelAll": 10,
    "POST /fapi/v1/order": 0,
    "POST /fapi/v1/algoOrder": 0,
}
WHOLE_MARKET: Final[dict[str, int]] = {
    "GET /fapi/v1/openOrders": 40,
    "GET /fapi/v1/openAlgoOrders": 40,
    "GET /fapi/v1/ticker/bookTicker": 5,
    "GET /fapi/v1/ticker/24hr": 40,
    "GET /fapi/v1/premiumIndex": 10,
}
"""Weights of requests without a symbol."""


@attrs.frozen(kw_only=True)
class RateLimits:
    """What a minute and ten seconds admit."""

    weight_minute: int = 2_400
    orders_minute: int = 1_200
    orders_ten_seconds: int = 300

    def exchange_info(self) -> list[dict[str, object]]:
        """Give them as exchangeInfo lists them."""
        rows = (
            ("REQUEST_WEIGHT", "MINUTE", 1, self.weight_minute),
            ("ORDERS", "MINUTE", 1, self.orders_minute),
            ("ORDERS", "SECOND", 10, self.orders_ten_seconds),
        )
        names = ("rateLimitType", "interval", "intervalNum", "limit")
        return [dict(zip(names, row, strict=True)) for row in rows]


class Window:
    """A count that begins anew with each interval of the clock."""

    def __init__(self, length_ms: int) -> None:
        self._length_ms = length_ms
        self._number = -1
        self._used = 0

    def used(self, now_ms: int) -> int:
        """Give the count of the interval that ``now_ms`` lies in."""
        if now_ms // self._length_ms != self._number:
            self._number, self._used = now_ms // self._length_ms, 0
        return self._used

    def add(self, count: int, now_ms: int) -> int:
        """Add to it and give it."""
        self._used = self.used(now_ms) + count
        return self._used


class Meter:
    """What one address has used; ``banned_until_ms`` and ``throttled_until_ms`` may be set from outside."""

    def __init__(self, limits: RateLimits) -> None:
        self.limits = limits
        self.banned_until_ms = 0
        self.throttled_until_ms = 0
        self._weight = Window(MINUTE_MS)
        self._orders_minute = Window(MINUTE_MS)
        self._orders_ten_seconds = Window(TEN_SECONDS_MS)
        self._pushed = 0
        self._ban_ms = _BAN_FIRST_MS

    def admit(self, weight: int, now_ms: int) -> None:
        """Count a request; 429 beyond the limit, 418 for who goes on."""
        if now_ms < self.banned_until_ms:
            raise self._ban()
        used = self._weight.add(weight, now_ms)
        if now_ms >= self.throttled_until_ms and used <= self.limits.weight_minute:
            self._pushed = 0
            return
        self._pushed += 1
        if self._pushed > _PATIENCE:
            self.banned_until_ms = now_ms + self._ban_ms
            self._ban_ms = min(_BAN_LAST_MS, 2 * self._ban_ms)
            self._pushed = 0
            raise self._ban()
        text = (
            f"Too many requests; current limit of IP(127.0.0.1) is {self.limits.weight_minute} requests per minute. "
            "Please use the websocket for live updates to avoid polling the API."
        )
        raise ExchangeError(-1003, text, _TOO_MANY)

    def _ban(self) -> ExchangeError:
        text = (
            f"Way too many requests; IP(127.0.0.1) banned until {self.banned_until_ms}. "
            "Please use the websocket for live updates to avoid bans."
        )
        return ExchangeError(-1003, text, _BANNED)

    def retry_after_s(self, now_ms: int) -> int:
        """Give the seconds until a refused request may be tried again."""
        end = self.banned_until_ms if now_ms < self.banned_until_ms else self.throttled_until_ms
        if end <= now_ms:
            end = (now_ms // MINUTE_MS + 1) * MINUTE_MS
        return max(1, -(-(end - now_ms) // 1000))

    def count_orders(self, count: int, now_ms: int) -> None:
        """Count orders; -1015 beyond either limit."""
        limits = self.limits
        if self._orders_ten_seconds.add(count, now_ms) > limits.orders_ten_seconds:
            self._orders_minute.add(count, now_ms)
            raise self._orders_refused(limits.orders_ten_seconds, "10 SECOND")
        if self._orders_minute.add(count, now_ms) > limits.orders_minute:
            raise self._orders_refused(limits.orders_minute, "MINUTE")

    @staticmethod
    def _orders_refused(limit: int, interval: str) -> ExchangeError:
        return ExchangeError(-1015, refusal(-1015, limit=limit, interval=interval).msg, _TOO_MANY)

    def headers(self, now_ms: int, *, orders: bool) -> dict[str, str]:
        """Give what the answer's headers say of the use."""
        rows = {"X-MBX-USED-WEIGHT-1M": str(self._weight.used(now_ms))}
        if orders:
            rows["X-MBX-ORDER-COUNT-10S"] = str(self._orders_ten_seconds.used(now_ms))
            rows["X-MBX-ORDER-COUNT-1M"] = str(self._orders_minute.used(now_ms))
        return rows

    def rate_limits(self, now_ms: int) -> list[dict[str, object]]:
        """Give the same as websocket answers list it."""
        used = {"REQUEST_WEIGHT1": self._weight.used(now_ms), "ORDERS10": self._orders_ten_seconds.used(now_ms)}
        used["ORDERS1"] = self._orders_minute.used(now_ms)
        return [
            {**row, "count": used[f"{row['rateLimitType']}{row['intervalNum']}"]} for row in self.limits.exchange_info()
        ]
