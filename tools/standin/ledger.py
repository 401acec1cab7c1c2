"""Names, numbers and memory of orders: which are open, which have ended, and who bears which client id.

Invariants: an order id is never given twice; a client id names its newest order; ended orders and trades are kept to
a bound, and an order that ended without a fill is forgotten after three days, as on the exchange.
"""

import hashlib
from collections import OrderedDict, deque
from typing import Final

from tools.standin.errors import refusal
from tools.standin.orders import Order, Trade

_ENDED_KEPT: Final = 100_000
_TRADES_KEPT: Final = 200_000
_UNFILLED_KEPT_MS: Final = 3 * 86_400_000
_ORDER_ID_BASE: Final = 8_389_765_000_000_000_000
"""Above 2^53, as ids of some symbols are: a reader that goes through floats loses them."""
_ALGO_ID_BASE: Final = 1_000_000_202_000_000
_FRESH_ID_CHARS: Final = 22


class Ids:
    """Ids that depend on a seed alone."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._given = 0
        self._order_id = _ORDER_ID_BASE + seed % 1_000_000 * 1_000_000_000
        self._algo_id = _ALGO_ID_BASE + seed % 1_000_000 * 1_000_000
        self._trade_ids: dict[str, int] = {}

    def order_id(self) -> int:
        """Give a new order id, of the whole exchange."""
        self._order_id += 1
        return self._order_id

    def algo_id(self) -> int:
        """Give a new algo id."""
        self._algo_id += 1
        return self._algo_id

    def trade_id(self, symbol: str) -> int:
        """Give a new trade id, of the symbol."""
        trade_id = self._trade_ids.get(symbol, 536_962_000) + 1
        self._trade_ids[symbol] = trade_id
        return trade_id

    def fresh_name(self) -> str:
        """Give a client id of the exchange's own making."""
        self._given += 1
        return hashlib.sha256(f"{self._seed}/{self._given}".encode()).hexdigest()[:_FRESH_ID_CHARS]


class OrderLedger:
    """All orders and trades of the account."""

    def __init__(self) -> None:
        self.open: dict[int, Order] = {}
        self.ended: OrderedDict[int, Order] = OrderedDict()
        self.trades: deque[Trade] = deque(maxlen=_TRADES_KEPT)
        self._named: dict[tuple[str, str], int] = {}

    def add(self, order: Order) -> None:
        """Take up an open order."""
        self.open[order.order_id] = order
        self._named[order.symbol, order.client_id] = order.order_id

    def close(self, order: Order) -> None:
        """Move an order that has ended to the memory."""
        self.open.pop(order.order_id, None)
        self.ended[order.order_id] = order
        if len(self.ended) > _ENDED_KEPT:
            _, gone = self.ended.popitem(last=False)
            if self._named.get((gone.symbol, gone.client_id)) == gone.order_id:
                del self._named[gone.symbol, gone.client_id]

    def of(self, symbol: str | None = None) -> list[Order]:
        """Give the open orders, oldest first."""
        return [order for order in self.open.values() if symbol is None or order.symbol == symbol]

    def named(self, symbol: str, client_id: str) -> Order | None:
        """Give the newest order of a client id, open or not."""
        order_id = self._named.get((symbol, client_id))
        if order_id is None:
            return None
        return self.open.get(order_id) or self.ended.get(order_id)

    def find(self, symbol: str, order_id: int | None, client_id: str | None) -> Order | None:
        """Give an order of a symbol by its id, or by its client id where no id is given."""
        if order_id is None:
            return self.named(symbol, client_id or "")
        order = self.open.get(order_id) or self.ended.get(order_id)
        return order if order is not None and order.symbol == symbol else None

    def query(self, symbol: str, order_id: int | None, client_id: str | None, now_ms: int) -> Order:
        """Give an order that the exchange still shows; -2013 for any other."""
        order = self.find(symbol, order_id, client_id)
        if order is None or is_forgotten(order, now_ms):
            raise refusal(-2013)
        return order


def is_forgotten(order: Order, now_ms: int) -> bool:
    """Tell whether an order that ended without a fill is too old to be shown."""
    return not order.is_open and not order.filled_lots and now_ms - order.update_ms > _UNFILLED_KEPT_MS
