"""The algo service: conditionals that wait for their trigger and then become market orders.

Invariants: a conditional is checked for margin and position only when it triggers; each change of its state is an
ALGO_UPDATE; a closePosition conditional closes what its leg holds at the trigger.
"""

from collections import OrderedDict
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final

import attrs

from tools.standin.account import PositionSide
from tools.standin.book import Book
from tools.standin.errors import ExchangeError, refusal
from tools.standin.intake import AlgoForm, OrderForm
from tools.standin.orders import Order, Side
from tools.standin.rules import InstrumentSpec
from tools.standin.trading import Trading

_TOTAL_MAX: Final = 200
"""Conditionals of the account over all symbols."""
_ENDED_KEPT: Final = 100_000
_OPEN: Final = ("NEW", "TRIGGERING", "TRIGGERED")


@attrs.define(kw_only=True)
class AlgoOrder:
    """A conditional, from its acceptance on."""

    spec: InstrumentSpec
    algo_id: int
    client_id: str
    side: Side
    position_side: PositionSide
    kind: str
    time_in_force: str
    trigger: Decimal
    qty_lots: int
    working_type: str
    close_position: bool
    price_protect: bool
    reduce_only: bool
    time_ms: int
    update_ms: int
    status: str = "NEW"
    trigger_ms: int = 0
    actual: Order | None = None
    reason: str = ""
    _upwards: bool = attrs.field(init=False)
    _bound_ticks: int = attrs.field(init=False)

    @property
    def waits(self) -> bool:
        """Whether it still waits for its trigger."""
        return self.status == "NEW"

    def __attrs_post_init__(self) -> None:
        """Find the first price in ticks that reaches the trigger, which may lie between two."""
        self._upwards = (self.side == "BUY") == (self.kind == "STOP_MARKET")
        rounding = ROUND_CEILING if self._upwards else ROUND_FLOOR
        self._bound_ticks = int((self.trigger / self.spec.tick).to_integral_value(rounding))

    def is_reached(self, book: Book) -> bool:
        """Tell whether the working price has reached the trigger, and price protection lets it act."""
        price = book.mark_ticks if self.working_type == "MARK_PRICE" else book.last_ticks
        if price <= 0 or (price < self._bound_ticks if self._upwards else price > self._bound_ticks):
            return False
        if not self.price_protect:
            return True
        return abs(book.mark_ticks - book.last_ticks) <= book.mark_ticks * self.spec.trigger_protect

    def _trigger_text(self) -> str:
        return f"{self.trigger:.{self.spec.price_precision}f}"

    def _actual_figures(self) -> tuple[str, str, str]:
        """Give average price, quantity and type in the matching engine."""
        order = self.actual
        if order is None:
            return "0.00000", "0.00000", "0"
        average = self.spec.average_text(order.quote_e8, order.filled_lots)
        return average, self.spec.qty_text(order.filled_lots), order.kind

    def rest(self, *, query: bool = False) -> dict[str, Any]:
        """Write it as REST answers it; a query tells what became of it too."""
        row: dict[str, Any] = {
            "algoId": self.algo_id,
            "clientAlgoId": self.client_id,
            "algoType": "CONDITIONAL",
            "orderType": self.kind,
            "symbol": self.spec.symbol,
            "side": self.side,
            "positionSide": self.position_side,
            "timeInForce": self.time_in_force,
            "quantity": self.spec.qty_text(self.qty_lots),
            "algoStatus": self.status,
            "triggerPrice": self._trigger_text(),
            "price": self.spec.price_text(0),
            "icebergQuantity": None,
            "selfTradePreventionMode": "EXPIRE_MAKER",
            "workingType": self.working_type,
            "priceMatch": "NONE",
            "closePosition": self.close_position,
            "priceProtect": self.price_protect,
            "reduceOnly": self.reduce_only,
            "createTime": self.time_ms,
            "updateTime": self.update_ms,
            "triggerTime": self.trigger_ms,
            "goodTillDate": 0,
        }
        if query:
            average, qty, kind = self._actual_figures()
            row["actualOrderId"] = str(self.actual.order_id) if self.actual else ""
            row["actualPrice"] = average
            row["actualType"] = kind
            row["actualQty"] = qty
            row |= {"tpTriggerPrice": "0.000", "tpPrice": "0.000", "slTriggerPrice": "0.000", "slPrice": "0.000"}
            row["tpOrderType"] = ""
        else:
            row |= {"activatePrice": "", "callbackRate": ""}
        return row

    def event(self, now_ms: int) -> dict[str, Any]:
        """Write ALGO_UPDATE; the figures of the matching engine stand in it only once it is there."""
        row: dict[str, Any] = {
            "caid": self.client_id,
            "aid": self.algo_id,
            "at": "CONDITIONAL",
            "o": self.kind,
            "s": self.spec.symbol,
            "S": self.side,
            "ps": self.position_side,
            "f": self.time_in_force,
            "q": self.spec.qty_text(self.qty_lots) if self.qty_lots else "0",
            "X": self.status,
            "ai": str(self.actual.order_id) if self.actual else "",
            "tp": self._trigger_text(),
            "p": "0",
            "V": "EXPIRE_MAKER",
            "wt": self.working_type,
            "pm": "NONE",
            "cp": self.close_position,
            "pP": self.price_protect,
            "R": self.reduce_only,
            "tt": self.trigger_ms,
            "gtd": 0,
            "ia": False,
        }
        if self.actual is not None:
            row["ap"], row["aq"], row["act"] = self._actual_figures()
        if self.reason:
            row["rm"] = self.reason
        return {"e": "ALGO_UPDATE", "T": now_ms, "E": now_ms, "o": row}


class AlgoService:
    """The conditionals of the account, in front of the order desk."""

    def __init__(self, trading: Trading) -> None:
        self._trading = trading
        self.open: dict[int, AlgoOrder] = {}
        self.ended: OrderedDict[int, AlgoOrder] = OrderedDict()
        self._named: dict[str, int] = {}
        self._waiting: dict[str, dict[int, AlgoOrder]] = {}
        trading.on_order = self._order_changed
        trading.on_flat = self._leg_flat
        trading.has_algo_named = self._has_open_named

    # --- requests ---------------------------------------------------------------------------------------------------

    def place(self, form: AlgoForm, now_ms: int) -> AlgoOrder:
        """Take a conditional. -2021 where it would trigger at once, -4045 too many, -4116 name in use, -4130 second."""
        self._check(form)
        algo = AlgoOrder(
            spec=form.spec,
            algo_id=self._trading.ids.algo_id(),
            client_id=form.client_id or self._trading.ids.fresh_name(),
            side=form.side,
            position_side=form.position_side,
            kind=form.kind,
            time_in_force=form.time_in_force,
            trigger=form.trigger,
            qty_lots=form.qty_lots,
            working_type=form.working_type,
            close_position=form.close_position,
            price_protect=form.price_protect,
            reduce_only=form.reduce_only,
            time_ms=now_ms,
            update_ms=now_ms,
        )
        if algo.is_reached(self._trading.books[form.spec.symbol]):
            raise refusal(-2021)
        self.open[algo.algo_id] = algo
        self._waiting.setdefault(form.spec.symbol, {})[algo.algo_id] = algo
        self._named[algo.client_id] = algo.algo_id
        self._trading.emit(algo.event(now_ms))
        return algo

    def _check(self, form: AlgoForm) -> None:
        switches, symbol = self._trading.switches, form.spec.symbol
        if form.client_id:
            known = self.named(form.client_id)
            if known is not None and (known.status in _OPEN or switches.duplicate_scope == "ever"):
                raise refusal(-4116)
            order = self._trading.ledger.named(symbol, form.client_id)
            if switches.duplicate_shared and order is not None and order.is_open:
                raise refusal(-4116)
        mine = self._waiting.get(symbol, {})
        limit = form.spec.max_num_algo_orders
        if len(self.open) >= _TOTAL_MAX or (limit is not None and len(mine) >= limit):
            raise refusal(-4045)
        if not form.close_position:
            return
        same = (form.kind, form.side, form.position_side)
        if switches.gte_single and any(
            a.close_position and (a.kind, a.side, a.position_side) == same for a in mine.values()
        ):
            raise refusal(-4130)
        held = self._trading.closable(symbol, form.position_side, buys=form.side == "BUY")
        if switches.gte_needs_position and not held:
            raise refusal(-4509)

    def cancel(self, algo_id: int | None, client_id: str | None, now_ms: int) -> AlgoOrder:
        """Cancel a waiting conditional; -2011 where there is none."""
        algo = self.find(algo_id, client_id)
        if algo is None or not algo.waits:
            raise refusal(-2011)
        self._end(algo, "CANCELED", now_ms)
        return algo

    def cancel_all(self, symbol: str, now_ms: int) -> None:
        """Cancel all waiting conditionals of a symbol."""
        for algo in self.of(symbol):
            if algo.waits:
                self._end(algo, "CANCELED", now_ms)

    # --- reads ------------------------------------------------------------------------------------------------------

    def of(self, symbol: str | None = None) -> list[AlgoOrder]:
        """Give the open conditionals, oldest first."""
        return [algo for algo in self.open.values() if symbol is None or algo.spec.symbol == symbol]

    def named(self, client_id: str) -> AlgoOrder | None:
        """Give the newest conditional of a client id."""
        algo_id = self._named.get(client_id)
        return None if algo_id is None else self.open.get(algo_id) or self.ended.get(algo_id)

    def find(self, algo_id: int | None, client_id: str | None) -> AlgoOrder | None:
        """Give a conditional by its id, or by its client id where no id is given."""
        if algo_id is None:
            return self.named(client_id or "")
        return self.open.get(algo_id) or self.ended.get(algo_id)

    def _has_open_named(self, client_id: str) -> bool:
        algo = self.named(client_id)
        return algo is not None and algo.status in _OPEN

    # --- triggers ---------------------------------------------------------------------------------------------------

    def look(self, symbol: str, now_ms: int) -> None:
        """Trigger what the market has reached, oldest first."""
        waiting = self._waiting.get(symbol)
        if not waiting:
            return
        book = self._trading.books[symbol]
        for algo in [algo for algo in waiting.values() if algo.is_reached(book)]:
            # One that triggers can end another: the leg may be flat by now.
            if algo.waits:
                self._trigger(algo, now_ms)

    def _trigger(self, algo: AlgoOrder, now_ms: int) -> None:
        """Turn a conditional into a market order."""
        trading = self._trading
        del self._waiting[algo.spec.symbol][algo.algo_id]
        algo.status, algo.trigger_ms, algo.update_ms = "TRIGGERING", now_ms, now_ms
        trading.emit(algo.event(now_ms))
        form = self._order_form(algo)
        try:
            if trading.switches.fail_triggers:
                raise refusal(-2019)
            if not form.qty_lots:
                raise refusal(-2022)
            order = trading.place(form, now_ms, algo_id=algo.algo_id, original=algo.kind)
        except ExchangeError as refused:
            self._reject(algo, refused, now_ms)
            return
        order.stop_price = algo.rest()["triggerPrice"]
        order.working_type, order.close_position = algo.working_type, algo.close_position
        algo.actual, algo.status = order, "TRIGGERED"
        trading.emit(algo.event(now_ms))
        trading.execute(order, now_ms)

    def _order_form(self, algo: AlgoOrder) -> OrderForm:
        """Give the market order that a conditional becomes."""
        trading = self._trading
        qty = algo.qty_lots
        if algo.close_position:
            qty = trading.closable(algo.spec.symbol, algo.position_side, buys=algo.side == "BUY")
        keeps_name = trading.switches.triggered_id == "client_algo_id"
        return OrderForm(
            spec=algo.spec,
            side=algo.side,
            position_side=algo.position_side,
            kind="MARKET",
            time_in_force="GTC",
            price_ticks=0,
            qty_lots=qty,
            client_id=algo.client_id if keeps_name else trading.ids.fresh_name(),
            reduce_only=algo.reduce_only,
            good_till_ms=0,
            stp="EXPIRE_MAKER",
        )

    def _reject(self, algo: AlgoOrder, refused: ExchangeError, now_ms: int) -> None:
        algo.reason = refused.msg
        self._end(algo, "REJECTED", now_ms)
        if self._trading.switches.legacy_trigger_reject:
            body = {"s": algo.spec.symbol, "i": algo.algo_id, "r": refused.msg}
            self._trading.emit({"e": "CONDITIONAL_ORDER_TRIGGER_REJECT", "E": now_ms, "T": now_ms, "or": body})

    # --- what happens elsewhere -------------------------------------------------------------------------------------

    def _order_changed(self, order: Order, now_ms: int) -> None:
        """Finish a conditional whose order has ended."""
        if order.algo_id is not None and not order.is_open:
            self._end(self.open[order.algo_id], "FINISHED", now_ms)

    def _leg_flat(self, symbol: str, side: PositionSide, now_ms: int) -> None:
        """End the closePosition conditionals of a leg that has become flat."""
        if not self._trading.switches.gte_expires:
            return
        for algo in self.of(symbol):
            if algo.waits and algo.close_position and algo.position_side == side:
                self._end(algo, "EXPIRED", now_ms)

    def _end(self, algo: AlgoOrder, status: str, now_ms: int) -> None:
        algo.status, algo.update_ms = status, now_ms
        self.open.pop(algo.algo_id)
        self._waiting[algo.spec.symbol].pop(algo.algo_id, None)
        self.ended[algo.algo_id] = algo
        if len(self.ended) > _ENDED_KEPT:
            _, gone = self.ended.popitem(last=False)
            if self._named.get(gone.client_id) == gone.algo_id:
                del self._named[gone.client_id]
        self._trading.emit(algo.event(now_ms))
