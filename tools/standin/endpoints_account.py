"""Account endpoints: money, legs, modes, fees, limits, and the few wallet calls that clients make with keys.

Invariant: a setting that is so already is refused with its own code, as the exchange does.
"""

from typing import Any, Final

from tools.standin import account_wire
from tools.standin.account_wire import AccountPages
from tools.standin.endpoints import OK, Endpoint, Handler, Shop, keyed, limit_of, maybe, signed, times, trading
from tools.standin.errors import refusal
from tools.standin.intake import Params, flag, needed, symbol_of, whole
from tools.standin.rules import scaled_text

Row = dict[str, Any]


def _pages(shop: Shop) -> AccountPages:
    exchange = shop.exchange
    return AccountPages(exchange.account, exchange.specs, exchange.trading.orders_margin_e8())


def _account_of(version: int) -> Handler:
    def handle(shop: Shop, _params: Params, _now_ms: int) -> Row:
        return _pages(shop).account(version=version)

    return handle


def _balance_of(version: int) -> Handler:
    def handle(shop: Shop, _params: Params, _now_ms: int) -> list[Row]:
        return _pages(shop).balance(version=version)

    return handle


def _account_config(shop: Shop, _params: Params, _now_ms: int) -> Row:
    return _pages(shop).config()


def _symbols(shop: Shop, params: Params) -> list[str]:
    return [symbol_of(params, shop.exchange.specs).symbol] if params.get("symbol") else list(shop.exchange.specs)


def _position_risk_v3(shop: Shop, params: Params, _now_ms: int) -> list[Row]:
    """List the legs that have a position or an order."""
    exchange = shop.exchange
    rows: list[Row] = []
    for symbol in _symbols(shop, params):
        for leg in exchange.account.listed(symbol):
            mine = [o for o in exchange.trading.ledger.of(symbol) if o.position_side == leg.side]
            if not leg.qty_lots and not mine:
                continue
            opening = [o for o in mine if not o.reduces_leg and not o.reduce_only]
            notional = sum(o.left_lots * o.price_ticks * o.spec.unit_e8 for o in opening)
            margin = -(-notional // exchange.account.leverage[symbol])
            rows.append(account_wire.position_v3(exchange.account, exchange.specs[symbol], leg, margin))
    return rows


def _position_risk_v2(shop: Shop, params: Params, _now_ms: int) -> list[Row]:
    account, specs = shop.exchange.account, shop.exchange.specs
    return [
        account_wire.position_v2(account, specs[symbol], leg)
        for symbol in _symbols(shop, params)
        for leg in account.listed(symbol)
    ]


def _income(shop: Shop, params: Params, _now_ms: int) -> list[Row]:
    """Income rows, oldest first: from a start on, else the last ones; a page number steps on."""
    start, end = times(params)
    symbol, kind = params.get("symbol"), params.get("incomeType")
    kept = [
        row
        for row in shop.exchange.income
        if (not symbol or row.symbol == symbol)
        and (not kind or row.kind == kind)
        and (start is None or row.time_ms >= start)
        and (end is None or row.time_ms <= end)
    ]
    limit = limit_of(params, 100)
    page = maybe(params, "page")
    if page is not None:
        kept = kept[(max(1, page) - 1) * limit :]
    chosen = kept[-limit:] if start is None and page is None else kept[:limit]
    return [account_wire.income_row(row) for row in chosen]


def _mode(shop: Shop, _params: Params, _now_ms: int) -> Row:
    return {"dualSidePosition": shop.exchange.account.hedge}


def _set_mode(shop: Shop, params: Params, now_ms: int) -> Row:
    needed(params, "dualSidePosition")
    shop.exchange.set_position_mode(now_ms, hedge=flag(params, "dualSidePosition"), force=False)
    return dict(OK)


def _multi_assets(shop: Shop, _params: Params, _now_ms: int) -> Row:
    return {"multiAssetsMargin": shop.exchange.account.multi_assets}


def _set_multi_assets(shop: Shop, params: Params, now_ms: int) -> Row:
    needed(params, "multiAssetsMargin")
    shop.exchange.set_multi_assets(now_ms, on=flag(params, "multiAssetsMargin"))
    return dict(OK)


def _fee_burn(shop: Shop, _params: Params, _now_ms: int) -> Row:
    return {"feeBurn": shop.exchange.account.fee_burn}


def _set_fee_burn(shop: Shop, params: Params, _now_ms: int) -> Row:
    needed(params, "feeBurn")
    shop.exchange.account.fee_burn = flag(params, "feeBurn")
    return dict(OK)


def _set_leverage(shop: Shop, params: Params, now_ms: int) -> Row:
    spec = symbol_of(params, shop.exchange.specs)
    leverage = whole(params, "leverage")
    shop.exchange.set_leverage(spec.symbol, leverage, now_ms)
    cap = spec.notional_cap_e8(leverage) // 100_000_000
    return {"symbol": spec.symbol, "leverage": leverage, "maxNotionalValue": str(cap)}


def _set_margin_type(shop: Shop, params: Params, _now_ms: int) -> Row:
    spec = symbol_of(params, shop.exchange.specs)
    kind = needed(params, "marginType")
    if kind not in {"ISOLATED", "CROSSED"}:
        raise refusal(-1130, name="marginType")
    shop.exchange.set_margin_type(spec.symbol, kind)
    return dict(OK)


def _brackets(shop: Shop, params: Params, _now_ms: int) -> Row | list[Row]:
    specs = shop.exchange.specs
    if params.get("symbol"):
        spec = symbol_of(params, specs)
        # The exchange answers one symbol with a list too.
        return [{"symbol": spec.symbol, "notionalCoef": 1.0, "brackets": spec.bracket_rows()}]
    return [{"symbol": s.symbol, "notionalCoef": 1.0, "brackets": s.bracket_rows()} for s in specs.values()]


def _symbol_config(shop: Shop, params: Params, _now_ms: int) -> list[Row]:
    account, specs = shop.exchange.account, shop.exchange.specs
    return [
        {
            "symbol": symbol,
            "marginType": account.margin_type[symbol],
            "isAutoAddMargin": False,
            "leverage": account.leverage[symbol],
            "maxNotionalValue": str(specs[symbol].notional_cap_e8(account.leverage[symbol]) // 100_000_000),
        }
        for symbol in _symbols(shop, params)
    ]


def _commission(shop: Shop, params: Params, _now_ms: int) -> Row:
    spec = symbol_of(params, shop.exchange.specs)
    return {
        "symbol": spec.symbol,
        "makerCommissionRate": scaled_text(spec.maker_ppm, 6),
        "takerCommissionRate": scaled_text(spec.taker_ppm, 6),
        "rpiCommissionRate": "0.000050",
    }


def _adl_quantile(shop: Shop, params: Params, _now_ms: int) -> list[Row]:
    rows = []
    for symbol in _symbols(shop, params):
        legs: dict[str, int] = {leg.side: 1 for leg in shop.exchange.account.positions(symbol)}
        if legs:
            rows.append({"symbol": symbol, "adlQuantile": {"LONG": 0, "SHORT": 0, "BOTH": 0, **legs}})
    return rows


def _force_orders(shop: Shop, params: Params, _now_ms: int) -> list[Row]:
    wanted = set(_symbols(shop, params))
    ended = shop.exchange.trading.ledger.ended.values()
    return [o.rest(query=True) for o in ended if o.forced and o.symbol in wanted][-limit_of(params, 50, 100) :]


def _trading_status(_shop: Shop, _params: Params, now_ms: int) -> Row:
    return {"indicators": {}, "updateTime": now_ms}


def _order_limits(shop: Shop, _params: Params, _now_ms: int) -> list[dict[str, object]]:
    return [row for row in shop.limits.exchange_info() if row["rateLimitType"] == "ORDERS"]


def _coins(shop: Shop, _params: Params, _now_ms: int) -> list[Row]:
    """The wallet's coins, without networks: nothing can be moved from here."""
    return [
        {
            "coin": name,
            "name": name,
            "depositAllEnable": False,
            "withdrawAllEnable": False,
            "free": "0",
            "freeze": "0",
            "ipoable": "0",
            "ipoing": "0",
            "isLegalMoney": False,
            "locked": "0",
            "storage": "0",
            "trading": True,
            "withdrawing": "0",
            "networkList": [],
        }
        for name in ("USDT", *(spec.base for spec in shop.exchange.specs.values()))
    ]


def _nothing(_shop: Shop, _params: Params, _now_ms: int) -> list[Row]:
    return []


def _restrictions(shop: Shop, _params: Params, _now_ms: int) -> Row:
    return dict(shop.permissions)


ENDPOINTS: Final[dict[str, Endpoint]] = {
    "GET /fapi/v2/account": signed(_account_of(2)),
    "GET /fapi/v3/account": signed(_account_of(3)),
    "GET /fapi/v2/balance": signed(_balance_of(2)),
    "GET /fapi/v3/balance": signed(_balance_of(3)),
    "GET /fapi/v1/accountConfig": signed(_account_config),
    "GET /fapi/v2/positionRisk": signed(_position_risk_v2),
    "GET /fapi/v3/positionRisk": signed(_position_risk_v3),
    "GET /fapi/v1/income": signed(_income),
    "GET /fapi/v1/positionSide/dual": signed(_mode),
    "POST /fapi/v1/positionSide/dual": trading(_set_mode),
    "GET /fapi/v1/multiAssetsMargin": signed(_multi_assets),
    "POST /fapi/v1/multiAssetsMargin": trading(_set_multi_assets),
    "GET /fapi/v1/feeBurn": signed(_fee_burn),
    "POST /fapi/v1/feeBurn": trading(_set_fee_burn),
    "POST /fapi/v1/leverage": trading(_set_leverage),
    "POST /fapi/v1/marginType": trading(_set_margin_type),
    "GET /fapi/v1/leverageBracket": signed(_brackets),
    "GET /fapi/v1/symbolConfig": signed(_symbol_config),
    "GET /fapi/v1/commissionRate": signed(_commission),
    "GET /fapi/v1/adlQuantile": signed(_adl_quantile),
    "GET /fapi/v1/forceOrders": signed(_force_orders),
    "GET /fapi/v1/apiTradingStatus": signed(_trading_status),
    "GET /fapi/v1/rateLimit/order": signed(_order_limits),
    "GET /sapi/v1/capital/config/getall": signed(_coins),
    "GET /sapi/v1/account/apiRestrictions": signed(_restrictions),
    "GET /sapi/v1/margin/allPairs": keyed(_nothing),
    "GET /sapi/v1/margin/allAssets": keyed(_nothing),
}
