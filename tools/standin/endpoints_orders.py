"""Order endpoints: ordinary orders, batches, conditionals, the countdown, and the lists of all of them.

Invariant: a batch is answered row by row in the order in which it was asked; one row's refusal leaves the others be.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from tools.standin import intake
from tools.standin.endpoints import (
    OK,
    Endpoint,
    Shop,
    batch_rows,
    limit_of,
    maybe,
    ordering,
    signed,
    times,
    trading,
    window,
)
from tools.standin.errors import ExchangeError, refusal
from tools.standin.intake import Params, needed, symbol_of, whole
from tools.standin.ledger import is_forgotten
from tools.standin.orders import Order

Row = dict[str, Any]
_BATCH_MAX: Final = 5
_CANCEL_BATCH_MAX: Final = 10
_CLEARED: Final = {"code": 200, "msg": "The operation of cancel all open order is done."}


# --- ordinary orders --------------------------------------------------------------------------------------------------


def _place(shop: Shop, params: Params, now_ms: int) -> Row:
    return shop.exchange.place(params, now_ms)


def _test(shop: Shop, params: Params, now_ms: int) -> Row:
    """Check an order without taking it."""
    exchange = shop.exchange
    form = intake.read_order(params, exchange.specs, hedge=exchange.account.hedge, now_ms=now_ms)
    exchange.trading.check(form)
    return {}


def _amend(shop: Shop, params: Params, now_ms: int) -> Row:
    return shop.exchange.amend(params, now_ms)


def _cancel(shop: Shop, params: Params, now_ms: int) -> Row:
    return shop.exchange.cancel_order(params, now_ms)


def _query(shop: Shop, params: Params, now_ms: int) -> Row:
    return shop.exchange.query_order(params, now_ms).rest(query=True)


def _query_open(shop: Shop, params: Params, now_ms: int) -> Row:
    order = shop.exchange.query_order(params, now_ms)
    if not order.is_open:
        raise refusal(-2013)
    return order.rest(query=True)


def _cancel_all(shop: Shop, params: Params, now_ms: int) -> Row:
    shop.exchange.trading.cancel_all(symbol_of(params, shop.exchange.specs).symbol, now_ms)
    return dict(_CLEARED)


def _wanted_symbol(shop: Shop, params: Params) -> str | None:
    return symbol_of(params, shop.exchange.specs).symbol if params.get("symbol") else None


def _open_orders(shop: Shop, params: Params, _now_ms: int) -> list[Row]:
    return shop.exchange.open_orders(_wanted_symbol(shop, params))


def _all_orders(shop: Shop, params: Params, now_ms: int) -> list[Row]:
    """All orders of a symbol that are still shown, oldest first, from an id or within a time."""
    symbol = symbol_of(params, shop.exchange.specs).symbol
    ledger = shop.exchange.trading.ledger
    orders: list[Order] = [o for o in (*ledger.ended.values(), *ledger.open.values()) if o.symbol == symbol]
    rows = [o.rest(query=True) for o in sorted(orders, key=lambda o: o.order_id) if not is_forgotten(o, now_ms)]
    first = maybe(params, "orderId")
    if first is not None:
        return [row for row in rows if row["orderId"] >= first][: limit_of(params)]
    return window(rows, params, "time")


def _user_trades(shop: Shop, params: Params, _now_ms: int) -> list[Row]:
    """A symbol's trades, oldest first: of an order, from an id, or within a time."""
    symbol = symbol_of(params, shop.exchange.specs).symbol
    order_id, first = maybe(params, "orderId"), maybe(params, "fromId")
    if first is not None and any(t is not None for t in times(params)):
        raise refusal(-1128)
    trades = [t for t in shop.exchange.trades if t.spec.symbol == symbol]
    if order_id is not None:
        trades = [t for t in trades if t.order_id == order_id]
    if first is not None:
        return [t.rest() for t in trades if t.trade_id >= first][: limit_of(params)]
    return window([t.rest() for t in trades], params, "time")


# --- batches ----------------------------------------------------------------------------------------------------------


def _rows_of(params: Params, name: str, most: int) -> list[Any]:
    """Read a list parameter; -1130 for none, -4082 for a wrong number of rows."""
    try:
        rows = json.loads(params.get(name) or params.get(name.lower(), ""))
    except ValueError:
        raise refusal(-1130, name=name) from None
    if not isinstance(rows, list):
        raise refusal(-1130, name=name)
    if not 1 <= len(rows) <= most:
        raise refusal(-4082, count=len(rows))
    return rows


def _row_params(row: object) -> dict[str, str]:
    """Give a batch's row as parameters: text stays, everything else is spelled as JSON spells it."""
    if not isinstance(row, Mapping):
        raise refusal(-1130, name="batchOrders")
    return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in row.items()}


def _each(act: Callable[[Params], Row], rows: list[Any]) -> list[Row]:
    """Do one thing for each row; a refusal is that row's answer."""
    answers: list[Row] = []
    for row in rows:
        try:
            answers.append(act(_row_params(row)))
        except ExchangeError as refused:
            answers.append(dict(refused.payload))
    return answers


def _place_batch(shop: Shop, params: Params, now_ms: int) -> list[Row]:
    rows = _rows_of(params, "batchOrders", _BATCH_MAX)
    return _each(lambda row: shop.exchange.place(row, now_ms), rows)


def _amend_batch(shop: Shop, params: Params, now_ms: int) -> list[Row]:
    rows = _rows_of(params, "batchOrders", _BATCH_MAX)
    return _each(lambda row: shop.exchange.amend(row, now_ms), rows)


def _cancel_batch(shop: Shop, params: Params, now_ms: int) -> list[Row]:
    """Cancel by a list of ids or of client ids."""
    symbol = symbol_of(params, shop.exchange.specs).symbol
    name, key = "orderIdList", "orderId"
    if not (params.get(name) or params.get(name.lower())):
        name, key = "origClientOrderIdList", "origClientOrderId"
    wanted = _rows_of(params, name, _CANCEL_BATCH_MAX)
    rows = [{"symbol": symbol, key: str(one)} for one in wanted]
    return _each(lambda row: shop.exchange.cancel_order(row, now_ms), rows)


# --- conditionals -----------------------------------------------------------------------------------------------------


def _place_algo(shop: Shop, params: Params, now_ms: int) -> Row:
    return shop.exchange.place_algo(params, now_ms)


def _algo_ids(params: Params) -> tuple[int | None, str | None]:
    algo_id = maybe(params, "algoId")
    return algo_id, None if algo_id is not None else needed(params, "clientAlgoId")


def _cancel_algo(shop: Shop, params: Params, now_ms: int) -> Row:
    algo = shop.exchange.algos.cancel(*_algo_ids(params), now_ms)
    return {"algoId": algo.algo_id, "clientAlgoId": algo.client_id, "code": "200", "msg": "success"}


def _query_algo(shop: Shop, params: Params, _now_ms: int) -> Row:
    algo = shop.exchange.algos.find(*_algo_ids(params))
    if algo is None:
        raise refusal(-2013)
    return algo.rest(query=True)


def _open_algos(shop: Shop, params: Params, _now_ms: int) -> list[Row]:
    wanted = maybe(params, "algoId")
    rows = shop.exchange.open_algos(_wanted_symbol(shop, params))
    return [row for row in rows if wanted in {None, row["algoId"]}]


def _all_algos(shop: Shop, params: Params, _now_ms: int) -> list[Row]:
    symbol = symbol_of(params, shop.exchange.specs).symbol
    algos = shop.exchange.algos
    found = [a for a in (*algos.ended.values(), *algos.open.values()) if a.spec.symbol == symbol]
    rows = [a.rest(query=True) for a in sorted(found, key=lambda a: a.algo_id)]
    first = maybe(params, "algoId")
    if first is not None:
        return [row for row in rows if row["algoId"] >= first][: limit_of(params)]
    return window(rows, params, "createTime")


def _cancel_algos(shop: Shop, params: Params, now_ms: int) -> Row:
    shop.exchange.algos.cancel_all(symbol_of(params, shop.exchange.specs).symbol, now_ms)
    return dict(OK)


def _countdown(shop: Shop, params: Params, now_ms: int) -> Row:
    symbol = symbol_of(params, shop.exchange.specs).symbol
    countdown_ms = whole(params, "countdownTime")
    if countdown_ms < 0:
        raise refusal(-1130, name="countdownTime")
    shop.exchange.arm_countdown(symbol, countdown_ms, now_ms)
    return {"symbol": symbol, "countdownTime": str(countdown_ms)}


ENDPOINTS: Final[dict[str, Endpoint]] = {
    "POST /fapi/v1/order": ordering(_place),
    "POST /fapi/v1/order/test": ordering(_test),
    "PUT /fapi/v1/order": ordering(_amend),
    "DELETE /fapi/v1/order": trading(_cancel),
    "GET /fapi/v1/order": signed(_query),
    "GET /fapi/v1/openOrder": signed(_query_open),
    "GET /fapi/v1/openOrders": signed(_open_orders),
    "GET /fapi/v1/allOrders": signed(_all_orders),
    "DELETE /fapi/v1/allOpenOrders": trading(_cancel_all),
    "GET /fapi/v1/userTrades": signed(_user_trades),
    "POST /fapi/v1/batchOrders": ordering(_place_batch, batch_rows),
    "PUT /fapi/v1/batchOrders": ordering(_amend_batch, batch_rows),
    "DELETE /fapi/v1/batchOrders": trading(_cancel_batch),
    "POST /fapi/v1/algoOrder": ordering(_place_algo),
    "DELETE /fapi/v1/algoOrder": trading(_cancel_algo),
    "GET /fapi/v1/algoOrder": signed(_query_algo),
    "GET /fapi/v1/openAlgoOrders": signed(_open_algos),
    "GET /fapi/v1/allAlgoOrders": signed(_all_algos),
    "DELETE /fapi/v1/algoOpenOrders": trading(_cancel_algos),
    "POST /fapi/v1/countdownCancelAll": trading(_countdown),
}
