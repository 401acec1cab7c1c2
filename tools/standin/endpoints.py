"""What an endpoint is: its security, whether it trades or counts as orders, and the function that answers it.

Invariant: a handler is a plain function of (shop, parameters, time); it refuses by raising ``ExchangeError``.
"""

import enum
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from tools.standin.exchange import Exchange
from tools.standin.intake import Params, whole
from tools.standin.weights import RateLimits
from tools.standin.wire import ListenKeys, MarketSource


class Security(enum.Enum):
    """What a request must prove."""

    NONE = "none"
    KEY = "key"
    SIGNED = "signed"


def usual_permissions() -> dict[str, Any]:
    """Give what a key made for trading futures may do."""
    return {
        "ipRestrict": True,
        "createTime": 1_700_000_000_000,
        "enableReading": True,
        "enableWithdrawals": False,
        "enableInternalTransfer": False,
        "enableMargin": False,
        "enableFutures": True,
        "permitsUniversalTransfer": False,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enableSpotAndMarginTrading": False,
        "enablePortfolioMarginTrading": False,
    }


@attrs.define(kw_only=True)
class Shop:
    """What handlers reach."""

    exchange: Exchange
    listen_keys: ListenKeys
    market: MarketSource
    limits: RateLimits
    can_trade: bool = True
    permissions: dict[str, Any] = attrs.field(factory=usual_permissions)


Handler = Callable[[Shop, Params, int], Any]


def one_order(_params: Params) -> int:
    """Count a request as one order."""
    return 1


def batch_rows(params: Params) -> int:
    """Count the rows of a batch; one that cannot be read counts as one."""
    try:
        rows = json.loads(params.get("batchOrders", "[]"))
    except ValueError:
        return 1
    return len(rows) if isinstance(rows, list) else 1


@attrs.frozen(kw_only=True)
class Endpoint:
    """One method and path."""

    handle: Handler
    security: Security = Security.SIGNED
    trades: bool = False
    orders: bool = False
    count: Callable[[Params], int] = one_order


def public(handle: Handler) -> Endpoint:
    """Make an endpoint that anybody may ask."""
    return Endpoint(handle=handle, security=Security.NONE)


def keyed(handle: Handler) -> Endpoint:
    """Make an endpoint that asks for a key alone."""
    return Endpoint(handle=handle, security=Security.KEY)


def signed(handle: Handler) -> Endpoint:
    """Make an endpoint that asks for a signature."""
    return Endpoint(handle=handle)


def trading(handle: Handler) -> Endpoint:
    """Make a signed endpoint that needs the right to trade."""
    return Endpoint(handle=handle, trades=True)


def ordering(handle: Handler, count: Callable[[Params], int] = one_order) -> Endpoint:
    """Make a trading endpoint that counts as orders."""
    return Endpoint(handle=handle, trades=True, orders=True, count=count)


LIMIT_MAX: Final = 1_000


def maybe(params: Params, name: str) -> int | None:
    """Give an integer parameter, or None where it is not sent."""
    return whole(params, name) if params.get(name) else None


def times(params: Params) -> tuple[int | None, int | None]:
    """Give startTime and endTime."""
    return maybe(params, "startTime"), maybe(params, "endTime")


def limit_of(params: Params, default: int = 500, most: int = LIMIT_MAX) -> int:
    """Give the limit of a list, between 1 and ``most``."""
    return max(1, min(most, whole(params, "limit", default)))


def window(rows: list[dict[str, Any]], params: Params, key: str, default: int = 500) -> list[dict[str, Any]]:
    """Give the rows between startTime and endTime: the first ones from a start, else the last."""
    start, end = times(params)
    kept = [r for r in rows if (start is None or r[key] >= start) and (end is None or r[key] <= end)]
    limit = limit_of(params, default)
    return kept[:limit] if start is not None else kept[-limit:]


OK: Final[Mapping[str, Any]] = {"code": 200, "msg": "success"}
