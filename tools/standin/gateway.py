"""The front door: who asks, whether the signature and the time are right, what it weighs, and who answers.

Checks come in the exchange's order: ban, path, weight, key, signature, time, order count, then the endpoint itself.

Invariant: a request that is refused here has not reached the exchange.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from tools.standin import endpoints_account, endpoints_market, endpoints_orders
from tools.standin.endpoints import Endpoint, Security, Shop
from tools.standin.errors import ExchangeError, refusal
from tools.standin.exchange import Exchange
from tools.standin.intake import whole
from tools.standin.weights import DEFAULT_WEIGHT, WEIGHTS, WHOLE_MARKET, Meter, RateLimits
from tools.standin.wire import Answer, Call, ListenKeys, MarketSource

__all__ = ["Answer", "Call", "Gateway", "ListenKeys", "MarketSource", "RateLimits"]

_RECV_WINDOW_MS: Final = 5_000
_RECV_WINDOW_MAX_MS: Final = 60_000
_AHEAD_MS: Final = 1_000
_SIGNATURE: Final = re.compile(r"(^|&)signature=([^&]*)")
_LIMITED: Final = (418, 429)

ENDPOINTS: Final[dict[str, Endpoint]] = {
    **endpoints_market.ENDPOINTS,
    **endpoints_orders.ENDPOINTS,
    **endpoints_account.ENDPOINTS,
}


class Gateway:
    """One address's view of the exchange. ``keys`` maps API keys to their secrets."""

    def __init__(
        self,
        exchange: Exchange,
        *,
        clock_ms: Callable[[], int],
        keys: Mapping[str, str],
        listen_keys: ListenKeys,
        market: MarketSource,
        limits: RateLimits | None = None,
    ) -> None:
        self.exchange = exchange
        self.meter = Meter(limits or RateLimits())
        self.keys = dict(keys)
        self._clock_ms = clock_ms
        self.shop = Shop(exchange=exchange, listen_keys=listen_keys, market=market, limits=self.meter.limits)

    def now_ms(self) -> int:
        """Give the exchange's time."""
        return self._clock_ms()

    @property
    def can_trade(self) -> bool:
        """Whether keys may trade; without it trading calls are answered -2015."""
        return self.shop.can_trade

    @can_trade.setter
    def can_trade(self, allowed: bool) -> None:
        self.shop.can_trade = allowed

    @property
    def permissions(self) -> dict[str, Any]:
        """What apiRestrictions says of the key; change its items."""
        return self.shop.permissions

    @property
    def banned_until_ms(self) -> int:
        """Until when everything is answered 418."""
        return self.meter.banned_until_ms

    @banned_until_ms.setter
    def banned_until_ms(self, until_ms: int) -> None:
        self.meter.banned_until_ms = until_ms

    @property
    def throttled_until_ms(self) -> int:
        """Until when everything is answered 429."""
        return self.meter.throttled_until_ms

    @throttled_until_ms.setter
    def throttled_until_ms(self, until_ms: int) -> None:
        self.meter.throttled_until_ms = until_ms

    def answer(self, call: Call) -> Answer:
        """Answer a request."""
        now_ms = self.now_ms()
        endpoint = ENDPOINTS.get(call.name)
        counts_orders = endpoint is not None and endpoint.orders
        try:
            self.meter.admit(self._weight(call), now_ms)
            if endpoint is None:
                raise refusal(-5000, path=call.path, method=call.method)
            self._admit(endpoint, call, now_ms)
            if counts_orders:
                self.meter.count_orders(endpoint.count(call.params), now_ms)
            payload = endpoint.handle(self.shop, call.params, now_ms)
            answer = Answer(status=200, payload=payload)
        except ExchangeError as refused:
            answer = Answer(status=refused.status, payload=refused.payload)
        headers = self.meter.headers(now_ms, orders=counts_orders)
        if answer.status in _LIMITED:
            headers["Retry-After"] = str(self.meter.retry_after_s(now_ms))
        return attrs.evolve(answer, headers=headers)

    @staticmethod
    def _weight(call: Call) -> int:
        if call.name in WHOLE_MARKET and not call.params.get("symbol"):
            return WHOLE_MARKET[call.name]
        return WEIGHTS.get(call.name, DEFAULT_WEIGHT)

    def _admit(self, endpoint: Endpoint, call: Call, now_ms: int) -> None:
        """Check key, signature and time as the endpoint asks for them."""
        if endpoint.security is Security.NONE:
            return
        if not call.api_key:
            raise refusal(-2014)
        secret = self.keys.get(call.api_key)
        if secret is None or (endpoint.trades and not self.can_trade):
            raise refusal(-2015)
        if endpoint.security is Security.KEY:
            return
        self._check_signature(call, secret)
        self._check_time(call, now_ms)

    @staticmethod
    def _check_signature(call: Call, secret: str) -> None:
        """-1102 without a signature, -1022 with a wrong one: it covers query and body as they were sent."""
        found = [match[2] for text in (call.query, call.body) for match in _SIGNATURE.finditer(text)]
        if not found:
            raise refusal(-1102, name="signature")
        signed = "".join(_SIGNATURE.sub("", text).removeprefix("&") for text in (call.query, call.body))
        right = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
        if len(found) != 1 or not hmac.compare_digest(right, found[0]):
            raise refusal(-1022)

    @staticmethod
    def _check_time(call: Call, now_ms: int) -> None:
        """-1021 for a request from the future or one that came too late."""
        sent_ms = whole(call.params, "timestamp")
        window_ms = whole(call.params, "recvWindow", _RECV_WINDOW_MS)
        if not 0 < window_ms <= _RECV_WINDOW_MAX_MS:
            raise refusal(-1130, name="recvWindow")
        if sent_ms >= now_ms + _AHEAD_MS:
            ahead = "Timestamp for this request was 1000ms ahead of the server's time."
            raise ExchangeError(-1021, ahead)
        if now_ms - sent_ms > window_ms:
            raise refusal(-1021)
