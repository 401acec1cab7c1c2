"""Orders and trades as the exchange keeps them, and as REST and the private stream write them.

Invariant: writing is pure; every figure on the wire is text of the symbol's own precision, ids and times are numbers.
"""

from typing import Any, Final, Literal

import attrs

from tools.standin.account import PositionSide
from tools.standin.rules import InstrumentSpec, money_text

Side = Literal["BUY", "SELL"]
OPEN_STATES: Final = ("NEW", "PARTIALLY_FILLED")


@attrs.define(kw_only=True)
class Order:
    """An ordinary order, from its acceptance on. ``price_ticks`` is 0 for a market order."""

    spec: InstrumentSpec
    order_id: int
    client_id: str
    side: Side
    position_side: PositionSide
    kind: str
    original_kind: str
    time_in_force: str
    price_ticks: int
    qty_lots: int
    time_ms: int
    update_ms: int
    reduce_only: bool = False
    close_position: bool = False
    working_type: str = "CONTRACT_PRICE"
    price_protect: bool = False
    stop_price: str = "0"
    stp: str = "EXPIRE_MAKER"
    good_till_ms: int = 0
    status: str = "NEW"
    filled_lots: int = 0
    quote_e8: int = 0
    algo_id: int | None = None
    forced: str = ""
    expiry: str = "0"

    @property
    def symbol(self) -> str:
        """The symbol."""
        return self.spec.symbol

    @property
    def is_open(self) -> bool:
        """Whether it can still fill."""
        return self.status in OPEN_STATES

    @property
    def buys(self) -> bool:
        """Whether it buys."""
        return self.side == "BUY"

    @property
    def left_lots(self) -> int:
        """What has not filled."""
        return self.qty_lots - self.filled_lots

    @property
    def reduces_leg(self) -> bool:
        """Whether it is a hedge-mode reduction, by its sides."""
        return (self.side, self.position_side) in {("SELL", "LONG"), ("BUY", "SHORT")}

    def rest(self, *, query: bool = False) -> dict[str, Any]:
        """Write it as REST answers it; a query's answer has the time of creation too, and average and cost."""
        spec = self.spec
        row: dict[str, Any] = {
            "orderId": self.order_id,
            "symbol": spec.symbol,
            "status": self.status,
            "clientOrderId": self.client_id,
            "price": spec.price_text(self.price_ticks),
            "avgPrice": spec.average_text(self.quote_e8, self.filled_lots),
            "origQty": spec.qty_text(self.qty_lots),
            "executedQty": spec.qty_text(self.filled_lots),
            "cumQty": spec.qty_text(self.filled_lots),
            "cumQuote": money_text(self.quote_e8),
            "timeInForce": self.time_in_force,
            "type": self.kind,
            "reduceOnly": self.reduce_only,
            "closePosition": self.close_position,
            "side": self.side,
            "positionSide": self.position_side,
            "stopPrice": self.stop_price if self.stop_price != "0" else spec.price_text(0),
            "workingType": self.working_type,
            "priceProtect": self.price_protect,
            "origType": self.original_kind,
            "priceMatch": "NONE",
            "selfTradePreventionMode": self.stp,
            "goodTillDate": self.good_till_ms,
            "updateTime": self.update_ms,
        }
        if query:
            del row["cumQty"]
            row["time"] = self.time_ms
        return row

    def event(self, execution: str, now_ms: int, trade: "Trade | None" = None) -> dict[str, Any]:
        """Write ORDER_TRADE_UPDATE; ``execution`` is its x: NEW, TRADE, CANCELED, EXPIRED, AMENDMENT, CALCULATED."""
        spec = self.spec
        row: dict[str, Any] = {
            "s": spec.symbol,
            "c": self.client_id,
            "S": self.side,
            "o": self.kind,
            "f": self.time_in_force,
            "q": spec.qty_text(self.qty_lots),
            "p": spec.price_text(self.price_ticks),
            "ap": spec.average_text(self.quote_e8, self.filled_lots),
            "sp": self.stop_price,
            "x": execution,
            "X": self.status,
            "i": self.order_id,
            "l": spec.qty_text(trade.qty_lots if trade else 0),
            "z": spec.qty_text(self.filled_lots),
            "L": spec.price_text(trade.price_ticks) if trade else "0",
            "n": money_text(trade.fee_e8) if trade else "0",
            "N": "USDT",
            "T": now_ms,
            "t": trade.trade_id if trade else 0,
            "b": "0",
            "a": "0",
            "m": trade.maker if trade else False,
            "R": self.reduce_only,
            "wt": self.working_type,
            "ot": self.original_kind,
            "ps": self.position_side,
            "cp": self.close_position,
            "rp": money_text(trade.realised_e8) if trade else "0",
            "pP": self.price_protect,
            "si": 0,
            "ss": 0,
            "V": self.stp,
            "pm": "NONE",
            "gtd": self.good_till_ms,
            "er": self.expiry,
        }
        return {"e": "ORDER_TRADE_UPDATE", "T": now_ms, "E": now_ms, "o": row}


@attrs.frozen(kw_only=True)
class Trade:
    """One execution of an order: money in quote x 1e8, the fee a cost."""

    spec: InstrumentSpec
    trade_id: int
    order_id: int
    client_id: str
    side: Side
    position_side: PositionSide
    price_ticks: int
    qty_lots: int
    fee_e8: int
    realised_e8: int
    maker: bool
    time_ms: int

    def rest(self) -> dict[str, Any]:
        """Write it as userTrades lists it."""
        spec = self.spec
        return {
            "symbol": spec.symbol,
            "id": self.trade_id,
            "orderId": self.order_id,
            "side": self.side,
            "price": spec.price_text(self.price_ticks),
            "qty": spec.qty_text(self.qty_lots),
            "realizedPnl": money_text(self.realised_e8),
            "quoteQty": money_text(self.price_ticks * self.qty_lots * spec.unit_e8),
            "commission": money_text(self.fee_e8),
            "commissionAsset": "USDT",
            "time": self.time_ms,
            "positionSide": self.position_side,
            "buyer": self.side == "BUY",
            "maker": self.maker,
        }

    def lite(self, order: Order, now_ms: int) -> dict[str, Any]:
        """Write TRADE_LITE."""
        spec = self.spec
        return {
            "e": "TRADE_LITE",
            "E": now_ms,
            "T": now_ms,
            "s": spec.symbol,
            "q": spec.qty_text(order.qty_lots),
            "p": spec.price_text(order.price_ticks),
            "m": self.maker,
            "c": order.client_id,
            "S": order.side,
            "L": spec.price_text(self.price_ticks),
            "l": spec.qty_text(self.qty_lots),
            "t": self.trade_id,
            "i": order.order_id,
        }
