"""What the exchange does to an account without being asked: liquidation, auto-deleveraging, settlement.

Invariants: a forced order bears the exchange's own client id (``autoclose-``, ``adl_autoclose``,
``settlement_autoclose-``); it closes at the mark and money is conserved through it.
"""

from typing import Final

from tools.standin import account_wire
from tools.standin.account import Position
from tools.standin.algo import AlgoService
from tools.standin.orders import Order
from tools.standin.rules import E8
from tools.standin.trading import Trading

_CALL_AT: Final = (5, 4)
"""A margin call is sent while equity is under this many quarters of the maintenance margin."""


class ForcedCloser:
    """The exchange's hand on one account."""

    def __init__(self, trading: Trading, algos: AlgoService) -> None:
        self._trading = trading
        self._algos = algos
        self._called = False

    def watch_margin(self, now_ms: int) -> None:
        """Liquidate where the equity has fallen under the maintenance margin; call before that."""
        account = self._trading.account
        needed = account.maintenance_e8()
        if not needed:
            self._called = False
            return
        equity = account.equity_e8()
        if equity < needed:
            self.liquidate(now_ms)
        elif equity * _CALL_AT[1] >= needed * _CALL_AT[0]:
            self._called = False
        elif not self._called:
            self._called = True
            self._trading.emit(account_wire.margin_call(account, self._trading.specs, now_ms))

    def liquidate(self, now_ms: int, symbol: str | None = None) -> None:
        """End all orders and close all legs, or one symbol's, at the mark with the liquidation fee."""
        trading = self._trading
        for name in [symbol] if symbol else list(trading.specs):
            trading.cancel_all(name, now_ms)
            self._algos.cancel_all(name, now_ms)
        for leg in list(trading.account.positions(symbol)):
            spec = trading.specs[leg.symbol]
            fee = int(trading.account.notional_e8(leg) * spec.liquidation_fee * E8 + E8 // 2) // E8
            name = f"autoclose-{now_ms}{trading.ids.fresh_name()[:6]}"
            self._close(leg, abs(leg.qty_lots), name, "LIQUIDATION", fee, now_ms)
        self._called = False

    def deleverage(self, leg: Position, qty_lots: int, now_ms: int) -> None:
        """Auto-deleverage a leg by a quantity, at most what it holds."""
        qty = min(qty_lots, abs(leg.qty_lots))
        if qty:
            self._close(leg, qty, "adl_autoclose", "LIQUIDATION", 0, now_ms)

    def settle(self, symbol: str, now_ms: int) -> None:
        """Settle a symbol that is delisted: its orders end, its legs close without a fee."""
        self._trading.cancel_all(symbol, now_ms)
        self._algos.cancel_all(symbol, now_ms)
        for leg in list(self._trading.account.positions(symbol)):
            name = f"settlement_autoclose-{now_ms}"
            self._close(leg, abs(leg.qty_lots), name, "MARKET", 0, now_ms)

    def _close(self, leg: Position, qty_lots: int, client_id: str, kind: str, fee_e8: int, now_ms: int) -> None:
        """Send one forced order and fill it at the mark."""
        trading = self._trading
        order = Order(
            spec=trading.specs[leg.symbol],
            order_id=trading.ids.order_id(),
            client_id=client_id,
            side="SELL" if leg.qty_lots > 0 else "BUY",
            position_side=leg.side,
            kind=kind,
            original_kind=kind,
            time_in_force="IOC",
            price_ticks=trading.account.mark(leg.symbol),
            qty_lots=qty_lots,
            time_ms=now_ms,
            update_ms=now_ms,
            forced=client_id,
        )
        trading.ledger.add(order)
        trading.emit(order.event("NEW", now_ms))
        trading.execution(
            order,
            qty_lots,
            order.price_ticks,
            fee_e8,
            now_ms,
            kind=trading.switches.forced_execution,
            fee_income="INSURANCE_CLEAR",
        )
