"""Ordinary orders: placing, amending, cancelling, and what an execution does.

Invariants: a refused request changes nothing; an order's events are emitted in the order of its life, an execution as
TRADE_LITE, ACCOUNT_UPDATE, ORDER_TRADE_UPDATE; a hedge-mode reduction never fills beyond its leg, whatever the
switches accept.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from tools.standin import account_wire
from tools.standin.account import Account, PositionSide
from tools.standin.book import Book, Match
from tools.standin.errors import refusal
from tools.standin.intake import OrderForm
from tools.standin.ledger import Ids, OrderLedger
from tools.standin.orders import Order, Trade
from tools.standin.rules import E8, InstrumentSpec
from tools.standin.switches import Switches

Emit = Callable[[dict[str, Any]], None]
_DEAD = "EXPIRED"
_UNFILLED: Final = {"IOC": "2", "FOK": "10"}
"""Expiry reasons ("er") of what could not be filled at once, by time in force; 9 is a market order's remainder."""


class Trading:
    """The order desk of one account."""

    def __init__(
        self,
        specs: Mapping[str, InstrumentSpec],
        switches: Switches,
        account: Account,
        books: Mapping[str, Book],
        ids: Ids,
        emit: Emit,
    ) -> None:
        self.specs = specs
        self.switches = switches
        self.account = account
        self.books = books
        self.ids = ids
        self.emit = emit
        self.ledger = OrderLedger()
        self.on_order: Callable[[Order, int], None] = lambda _order, _now_ms: None
        """Called whenever an order has filled or ended."""
        self.on_flat: Callable[[str, PositionSide, int], None] = lambda _symbol, _side, _now_ms: None
        """Called when a leg has become flat."""
        self.has_algo_named: Callable[[str], bool] = lambda _client_id: False

    # --- placing ----------------------------------------------------------------------------------------------------

    def place(self, form: OrderForm, now_ms: int, *, algo_id: int | None = None, original: str = "") -> Order:
        """Accept an order and say so; ``execute`` brings it to the market. Refusals by ``ExchangeError``."""
        if algo_id is None:
            self._check_name(form)
        self.check(form)
        order = Order(
            spec=form.spec,
            order_id=self.ids.order_id(),
            client_id=form.client_id or self.ids.fresh_name(),
            side=form.side,
            position_side=form.position_side,
            kind=form.kind,
            original_kind=original or form.kind,
            time_in_force=form.time_in_force,
            price_ticks=form.price_ticks,
            qty_lots=form.qty_lots,
            time_ms=now_ms,
            update_ms=now_ms,
            reduce_only=form.reduce_only,
            good_till_ms=form.good_till_ms,
            stp=form.stp,
            algo_id=algo_id,
        )
        self.ledger.add(order)
        self.emit(order.event("NEW", now_ms))
        return order

    def execute(self, order: Order, now_ms: int) -> None:
        """Bring a new order to the market: it takes, rests or expires."""
        book = self.books[order.symbol]
        taking = order.kind == "MARKET" or book.crosses(order.price_ticks, buys=order.buys)
        if taking and order.time_in_force == "GTX":
            self.end(order, _DEAD, now_ms, expiry="11")
            return
        if taking:
            limit = None if order.kind == "MARKET" else order.price_ticks
            for match in book.take(order.order_id, order.left_lots, buys=order.buys, limit_ticks=limit):
                self.apply(match, now_ms)
        if not order.is_open:
            return
        if order.kind == "MARKET" or order.time_in_force in {"IOC", "FOK"}:
            self.end(order, _DEAD, now_ms, expiry=_UNFILLED.get(order.time_in_force, "9"))
            return
        book.rest(order.order_id, order.price_ticks, order.left_lots, buys=order.buys)

    def check(self, form: OrderForm) -> None:
        """Refuse what the account, the market or the switches do not allow."""
        spec, book = form.spec, self.books[form.spec.symbol]
        if len(self.ledger.of(spec.symbol)) >= spec.max_num_orders:
            raise refusal(-2025)
        self._check_prices(form, book)
        self.check_notional(form, form.price_ticks or book.mark_ticks)
        if form.reduces_leg or form.reduce_only:
            self._check_reduction(form)
        elif spec.reduce_only:
            raise refusal(-4140)
        else:
            self._check_margin(form, form.price_ticks or (book.ask_ticks if form.buys else book.bid_ticks))
        refuses_takers = form.time_in_force == "GTX" and self.switches.gtx_cross == "reject"
        if refuses_takers and book.crosses(form.price_ticks, buys=form.buys):
            raise refusal(-5022)
        if form.time_in_force == "FOK" and not self._fillable(form, book):
            raise refusal(-5021)

    def _check_name(self, form: OrderForm) -> None:
        """-4116 for a client id that is in use, by the switches' scope."""
        if not form.client_id:
            return
        known = self.ledger.named(form.spec.symbol, form.client_id)
        if known is not None and (known.is_open or self.switches.duplicate_scope == "ever"):
            raise refusal(-4116)
        if self.switches.duplicate_shared and self.has_algo_named(form.client_id):
            raise refusal(-4116)

    @staticmethod
    def _check_prices(form: OrderForm, book: Book) -> None:
        """PERCENT_PRICE for limits; -4131 for a market order whose best price is too far from the mark, or missing."""
        if form.kind != "MARKET":
            form.spec.check_percent_price(form.price_ticks, book.mark_ticks, buys=form.buys)
            return
        best = book.ask_ticks if form.buys else book.bid_ticks
        if not book.is_open or abs(best - book.mark_ticks) > book.mark_ticks * form.spec.market_take_bound:
            raise refusal(-4131)

    def check_notional(self, form: OrderForm, price_ticks: int) -> None:
        """-4164 under the minimum; reduce-only is exempt, and a hedge-mode reduction by the switch."""
        if form.reduce_only or (form.reduces_leg and self.switches.min_notional_exempt):
            return
        spec = form.spec
        if form.qty_lots * price_ticks * spec.unit_e8 < spec.min_notional * E8:
            raise refusal(-4164, bound=f"{spec.min_notional.normalize():f}")

    def _check_reduction(self, form: OrderForm) -> None:
        """-2022 for a reduction that the switches do not let pass; reduce-only is capped, refused only when flat."""
        held = self.closable(form.spec.symbol, form.position_side, buys=form.buys)
        if form.reduce_only:
            if not held:
                raise refusal(-2022)
            return
        if self.switches.over_close == "cap":
            return
        waiting = 0
        if self.switches.over_close == "refuse_sum":
            same = (form.side, form.position_side)
            open_ones = self.ledger.of(form.spec.symbol)
            waiting = sum(o.left_lots for o in open_ones if (o.side, o.position_side) == same)
        if form.qty_lots + waiting > held:
            raise refusal(-2022)

    def closable(self, symbol: str, side: PositionSide, *, buys: bool) -> int:
        """Give how much of a leg an order of this side can close."""
        held = self.account.position(symbol, side).qty_lots
        return max(0, -held if buys else held)

    def _check_margin(self, form: OrderForm, price_ticks: int) -> None:
        """-2019 where the free margin does not carry what opens, -2027 beyond the leverage's largest position."""
        spec, account = form.spec, self.account
        opening = form.qty_lots
        if form.position_side == "BOTH":
            opening -= min(opening, self.closable(spec.symbol, "BOTH", buys=form.buys))
        if not opening:
            return
        notional = opening * price_ticks * spec.unit_e8
        needed = -(-notional // account.leverage[spec.symbol])
        if needed > account.equity_e8() - account.positions_margin_e8() - self.orders_margin_e8():
            raise refusal(-2019)
        leg = account.position(spec.symbol, form.position_side)
        waiting = sum(
            o.left_lots * o.price_ticks * spec.unit_e8
            for o in self.ledger.of(spec.symbol)
            if o.position_side == form.position_side and o.side == form.side
        )
        if account.notional_e8(leg) + waiting + notional > spec.notional_cap_e8(account.leverage[spec.symbol]):
            raise refusal(-2027)

    @staticmethod
    def _fillable(form: OrderForm, book: Book) -> bool:
        enough = book.liquidity_lots is None or book.liquidity_lots >= form.qty_lots
        return enough and book.crosses(form.price_ticks, buys=form.buys)

    def orders_margin_e8(self, symbol: str | None = None) -> int:
        """Give the initial margin that open orders which open positions bind, rounded up each."""
        total = 0
        for order in self.ledger.of(symbol):
            if order.reduces_leg or order.reduce_only:
                continue
            notional = order.left_lots * order.price_ticks * order.spec.unit_e8
            total += -(-notional // self.account.leverage[order.symbol])
        return total

    # --- executions and ends ----------------------------------------------------------------------------------------

    def apply(self, match: Match, now_ms: int) -> None:
        """Carry out an execution of the core: what a reduction has no position for expires instead."""
        order = self.ledger.open.get(match.no)
        if order is None:
            return
        qty = min(match.qty_lots, order.left_lots)
        if order.reduces_leg or order.reduce_only:
            qty = min(qty, self.closable(order.symbol, order.position_side, buys=order.buys))
        if qty:
            fee = self.account.fee_e8(order.symbol, qty, match.price_ticks, maker=match.maker)
            self.execution(order, qty, match.price_ticks, fee, now_ms, maker=match.maker)
        if order.is_open and qty < match.qty_lots:
            self.end(order, _DEAD, now_ms, expiry="4")

    def execution(
        self,
        order: Order,
        qty_lots: int,
        price_ticks: int,
        fee_e8: int,
        now_ms: int,
        *,
        maker: bool = False,
        kind: str = "TRADE",
        fee_income: str = "COMMISSION",
    ) -> None:
        """Book an execution of an open order: position, money, trade, events."""
        symbol = order.symbol
        leg = self.account.position(symbol, order.position_side)
        realised = self.account.fill(leg, qty_lots if order.buys else -qty_lots, price_ticks, now_ms)
        leg.fees_e8 += fee_e8
        trade = Trade(
            spec=order.spec,
            trade_id=self.ids.trade_id(symbol),
            order_id=order.order_id,
            client_id=order.client_id,
            side=order.side,
            position_side=order.position_side,
            price_ticks=price_ticks,
            qty_lots=qty_lots,
            fee_e8=fee_e8,
            realised_e8=realised,
            maker=maker,
            time_ms=now_ms,
        )
        self.account.earn(symbol, "REALIZED_PNL", realised, now_ms, str(trade.trade_id))
        self.account.earn(symbol, fee_income, -fee_e8, now_ms, str(trade.trade_id))
        self.ledger.trades.append(trade)
        order.filled_lots += qty_lots
        order.quote_e8 += qty_lots * price_ticks * order.spec.unit_e8
        order.update_ms = now_ms
        order.status = "PARTIALLY_FILLED" if order.left_lots else "FILLED"
        self.emit(trade.lite(order, now_ms))
        self.emit(account_wire.account_update(self.account, self.specs, [leg], "ORDER", now_ms))
        self.emit(order.event(kind, now_ms, trade))
        if not order.is_open:
            self.ledger.close(order)
        self.on_order(order, now_ms)
        if not leg.qty_lots:
            self.on_flat(symbol, order.position_side, now_ms)

    def end(self, order: Order, status: str, now_ms: int, *, expiry: str = "0") -> None:
        """End an open order as CANCELED or EXPIRED."""
        self.books[order.symbol].drop(order.order_id)
        order.status = status
        order.update_ms = now_ms
        order.expiry = expiry
        self.ledger.close(order)
        self.emit(order.event(status, now_ms))
        self.on_order(order, now_ms)

    # --- cancelling and amending ------------------------------------------------------------------------------------

    def cancel(self, symbol: str, order_id: int | None, client_id: str | None, now_ms: int) -> Order:
        """Cancel an open order; -2011 where there is none."""
        order = self.ledger.find(symbol, order_id, client_id)
        if order is None or not order.is_open:
            raise refusal(-2011)
        self.end(order, "CANCELED", now_ms)
        return order

    def cancel_all(self, symbol: str, now_ms: int) -> None:
        """Cancel all ordinary orders of a symbol."""
        for order in self.ledger.of(symbol):
            self.end(order, "CANCELED", now_ms)

    def amend(self, order: Order, form: OrderForm, now_ms: int) -> None:
        """Change price and quantity of an open limit order; it loses its place.

        -5027 where nothing changes. It is cancelled instead where it has filled as much as it shall have, or where a
        post-only order would take.
        """
        if (form.price_ticks, form.qty_lots) == (order.price_ticks, order.qty_lots):
            raise refusal(-5027)
        book = self.books[order.symbol]
        form.spec.check_percent_price(form.price_ticks, book.mark_ticks, buys=form.buys)
        self.check_notional(form, form.price_ticks)
        if form.reduces_leg and self.switches.over_close != "cap":
            held = self.closable(order.symbol, order.position_side, buys=order.buys)
            if form.qty_lots - order.filled_lots > held:
                raise refusal(-2022)
        takes = book.crosses(form.price_ticks, buys=order.buys)
        if form.qty_lots <= order.filled_lots or (takes and order.time_in_force == "GTX"):
            self.end(order, "CANCELED", now_ms)
            return
        book.drop(order.order_id)
        order.price_ticks, order.qty_lots, order.update_ms = form.price_ticks, form.qty_lots, now_ms
        self.emit(order.event("AMENDMENT", now_ms))
        self.execute(order, now_ms)
