"""Raw order requests for tests, as a client would send them."""

import hashlib
import hmac
from typing import Any
from urllib.parse import urlencode

import attrs

from tests.standin.shop import BTC, KEY, SECRET, START_MS
from tools.standin.exchange import Exchange
from tools.standin.wire import Call


def limit(side: str, leg: str, price: str, qty: str = "0.010", name: str = "", **more: str) -> dict[str, str]:
    """Give the parameters of a limit order of BTC."""
    params = {"symbol": BTC, "side": side, "positionSide": leg, "type": "LIMIT", "timeInForce": "GTC"}
    params |= {"quantity": qty, "price": price, **more}
    if name:
        params["newClientOrderId"] = name
    return params


def market(side: str, leg: str, qty: str = "0.010", **more: str) -> dict[str, str]:
    """Give the parameters of a market order of BTC, answered with its result."""
    params = {"symbol": BTC, "side": side, "positionSide": leg, "type": "MARKET", "quantity": qty}
    return {**params, "newOrderRespType": "RESULT", **more}


def stop(side: str, leg: str, trigger: str, qty: str = "0.010", name: str = "", **more: str) -> dict[str, str]:
    """Give the parameters of a conditional of BTC on the mark price; a quantity of "" closes the leg."""
    params = {"algoType": "CONDITIONAL", "symbol": BTC, "side": side, "positionSide": leg, "type": "STOP_MARKET"}
    params |= {"triggerPrice": trigger, "workingType": "MARK_PRICE", **more}
    params |= {"quantity": qty} if qty else {"closePosition": "true"}
    if name:
        params["clientAlgoId"] = name
    return params


def opened(exchange: Exchange, long: str = "0.010", short: str = "") -> None:
    """Open legs at the market."""
    for side, leg, qty in (("BUY", "LONG", long), ("SELL", "SHORT", short)):
        if qty:
            exchange.place(market(side, leg, qty), START_MS)


def held(exchange: Exchange, leg: str) -> int:
    """Give a leg of BTC in lots."""
    return exchange.position(BTC, leg).qty_lots


def states(rows: list[dict[str, Any]], key: str = "clientOrderId") -> list[str]:
    """Give the names of a list of orders."""
    return [row[key] for row in rows]


def call(method: str, path: str, params: dict[str, str], **changes: Any) -> Call:
    """Give a signed call, sent at the start time."""
    text = urlencode({"timestamp": str(START_MS), **params})
    signature = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).hexdigest()
    made = Call(
        method=method,
        path=f"/fapi/{path}",
        query=f"{text}&signature={signature}",
        body="",
        api_key=KEY,
        transport="rest",
        received_ms=START_MS,
        arrived_ns=0,
    )
    return attrs.evolve(made, **changes)
