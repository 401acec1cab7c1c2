"""What an operator does to single orders by hand: find one, fill one.

Invariant: a fill by hand is an execution like any other: same events, same money, at the order's own price.
"""

from collections.abc import Mapping

from tools.standin.book import Match
from tools.standin.exchange import Exchange
from tools.standin.orders import Order


def order_named(exchange: Exchange, params: Mapping[str, str]) -> Order | None:
    """Give the open order that orderId or origClientOrderId of a request name, or None."""
    for order in exchange.trading.ledger.of(params.get("symbol")):
        if str(order.order_id) == params.get("orderId") or order.client_id == params.get("origClientOrderId"):
            return order
    return None


def fill_now(exchange: Exchange, order: Order, now_ms: int, lots: int | None = None) -> None:
    """Fill a resting order as maker, whole or for some lots; the rest goes on resting."""
    book = exchange.books[order.symbol]
    qty_lots = order.left_lots if lots is None else min(lots, order.left_lots)
    book.drop(order.order_id)
    match = Match(no=order.order_id, price_ticks=order.price_ticks, qty_lots=qty_lots, maker=True)
    exchange.trading.apply(match, now_ms)
    if order.is_open:
        book.rest(order.order_id, order.price_ticks, order.left_lots, buys=order.buys)
