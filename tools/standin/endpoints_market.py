"""Market endpoints: what anybody may ask.

Invariant: a symbol that is not listed is -1121; without a symbol the whole market is listed.
"""

from collections.abc import Callable
from typing import Any, Final

from hedgegrid.units import TIMEFRAMES_NS
from tools.standin.endpoints import Endpoint, Shop, keyed, limit_of, maybe, public, times
from tools.standin.errors import refusal
from tools.standin.intake import Params, needed, symbol_of
from tools.standin.rules import InstrumentSpec, scaled_text

Row = dict[str, Any]
_FUNDING_CAP: Final = "0.02000000"
_USUAL_INTERVAL_H: Final = 8
_KLINES_MAX: Final = 1_500
_DEPTHS: Final = (5, 10, 20, 50, 100, 500, 1_000)
INTERVALS: Final = tuple(TIMEFRAMES_NS)
"""What the market can make: the exchange's own up to a day, and 1s, 5s, 15s for those who cannot wait for a minute."""


def _ping(_shop: Shop, _params: Params, _now_ms: int) -> Row:
    return {}


def _time(_shop: Shop, _params: Params, now_ms: int) -> Row:
    return {"serverTime": now_ms}


def _exchange_info(shop: Shop, _params: Params, now_ms: int) -> Row:
    specs = shop.exchange.specs.values()
    return {
        "timezone": "UTC",
        "serverTime": now_ms,
        "futuresType": "U_MARGINED",
        "rateLimits": shop.limits.exchange_info(),
        "exchangeFilters": [],
        "assets": [
            {"asset": name, "marginAvailable": True, "autoAssetExchange": None if name != "USDT" else "-10000"}
            for name in ("USDT", *(spec.base for spec in specs))
        ],
        "symbols": [spec.exchange_info() for spec in specs],
    }


def _listed(shop: Shop, params: Params, one: Callable[[InstrumentSpec], Row]) -> Row | list[Row]:
    """Give one symbol's row, or all of them where none is named."""
    if params.get("symbol"):
        return one(symbol_of(params, shop.exchange.specs))
    return [one(spec) for spec in shop.exchange.specs.values()]


def _book_ticker(shop: Shop, params: Params, _now_ms: int) -> Row | list[Row]:
    def row(spec: InstrumentSpec) -> Row:
        quote = shop.exchange.quote(spec.symbol)
        return {
            "symbol": spec.symbol,
            "bidPrice": spec.price_text(quote.bid_ticks),
            "bidQty": spec.qty_text(quote.bid_qty_lots),
            "askPrice": spec.price_text(quote.ask_ticks),
            "askQty": spec.qty_text(quote.ask_qty_lots),
            "time": quote.ts_ms,
            "lastUpdateId": quote.ts_ms,
        }

    return _listed(shop, params, row)


def _price(shop: Shop, params: Params, _now_ms: int) -> Row | list[Row]:
    def row(spec: InstrumentSpec) -> Row:
        quote = shop.exchange.quote(spec.symbol)
        return {"symbol": spec.symbol, "price": spec.price_text(quote.last_ticks), "time": quote.ts_ms}

    return _listed(shop, params, row)


def _day(shop: Shop, params: Params, now_ms: int) -> Row | list[Row]:
    """The rolling day, from its hourly bars."""

    def row(spec: InstrumentSpec) -> Row:
        quote = shop.exchange.quote(spec.symbol)
        bars = shop.market.klines(spec.symbol, "1h", now_ms - 86_400_000, now_ms, 25)
        last = spec.price_text(quote.last_ticks)
        first = bars[0][1] if bars else last
        return {
            "symbol": spec.symbol,
            "priceChange": "0.00",
            "priceChangePercent": "0.000",
            "weightedAvgPrice": last,
            "lastPrice": last,
            "lastQty": spec.qty_text(quote.last_qty_lots),
            "openPrice": first,
            "highPrice": max((bar[2] for bar in bars), key=float, default=last),
            "lowPrice": min((bar[3] for bar in bars), key=float, default=last),
            "volume": spec.qty_text(0),
            "quoteVolume": "0.00",
            "openTime": bars[0][0] if bars else now_ms,
            "closeTime": now_ms,
            "firstId": 0,
            "lastId": 0,
            "count": 0,
        }

    return _listed(shop, params, row)


def _premium_index(shop: Shop, params: Params, _now_ms: int) -> Row | list[Row]:
    def row(spec: InstrumentSpec) -> Row:
        quote = shop.exchange.quote(spec.symbol)
        return {
            "symbol": spec.symbol,
            "markPrice": spec.mark_text(quote.mark_ticks),
            "indexPrice": spec.mark_text(quote.index_ticks),
            "estimatedSettlePrice": spec.mark_text(quote.index_ticks),
            "lastFundingRate": scaled_text(quote.rate_e8, 8),
            "interestRate": "0.00010000",
            "nextFundingTime": quote.next_funding_ms,
            "time": quote.ts_ms,
        }

    return _listed(shop, params, row)


def _funding_info(shop: Shop, _params: Params, _now_ms: int) -> list[Row]:
    """List only the symbols whose funding is not the usual one, as the exchange does."""
    return [
        {
            "symbol": spec.symbol,
            "adjustedFundingRateCap": _FUNDING_CAP,
            "adjustedFundingRateFloor": f"-{_FUNDING_CAP}",
            "fundingIntervalHours": spec.funding_interval_h,
            "disclaimer": False,
        }
        for spec in shop.exchange.specs.values()
        if spec.funding_interval_h != _USUAL_INTERVAL_H
    ]


def _funding_rate(shop: Shop, params: Params, _now_ms: int) -> list[Row]:
    symbol = symbol_of(params, shop.exchange.specs).symbol if params.get("symbol") else None
    return shop.market.funding_rates(symbol, *times(params), limit_of(params, 100))


def _klines_of(*, mark: bool) -> Callable[[Shop, Params, int], list[list[Any]]]:
    def handle(shop: Shop, params: Params, _now_ms: int) -> list[list[Any]]:
        name = needed(params, "pair") if "pair" in params and "symbol" not in params else needed(params, "symbol")
        spec = symbol_of({"symbol": name}, shop.exchange.specs)
        interval = needed(params, "interval")
        if interval not in INTERVALS:
            raise refusal(-1120)
        limit = limit_of(params, 500, _KLINES_MAX)
        return shop.market.klines(spec.symbol, interval, *times(params), limit, mark=mark)

    return handle


def _depth(shop: Shop, params: Params, _now_ms: int) -> Row:
    spec = symbol_of(params, shop.exchange.specs)
    limit = maybe(params, "limit") or 500
    if limit not in _DEPTHS:
        raise refusal(-4021, limit=limit)
    return shop.market.depth(spec.symbol, limit)


def _agg_trades(shop: Shop, params: Params, _now_ms: int) -> list[Row]:
    spec = symbol_of(params, shop.exchange.specs)
    return shop.market.agg_trades(spec.symbol, *times(params), maybe(params, "fromId"), limit_of(params))


def _trades(shop: Shop, params: Params, now_ms: int) -> list[Row]:
    """Recent trades, each aggregated one as one trade."""
    spec = symbol_of(params, shop.exchange.specs)
    return [
        {
            "id": row["a"],
            "price": row["p"],
            "qty": row["q"],
            "quoteQty": "0",
            "time": row["T"],
            "isBuyerMaker": row["m"],
            "isRPITrade": False,
        }
        for row in shop.market.agg_trades(spec.symbol, None, now_ms, None, limit_of(params))
    ]


def _open_interest(shop: Shop, params: Params, now_ms: int) -> Row:
    spec = symbol_of(params, shop.exchange.specs)
    return {"symbol": spec.symbol, "openInterest": spec.qty_text(1_000_000), "time": now_ms}


def _listen_key_open(shop: Shop, _params: Params, now_ms: int) -> Row:
    return {"listenKey": shop.listen_keys.open(now_ms)}


def _listen_key_renew(shop: Shop, _params: Params, now_ms: int) -> Row:
    key = shop.listen_keys.renew(now_ms)
    if key is None:
        raise refusal(-1125)
    return {"listenKey": key}


def _listen_key_close(shop: Shop, _params: Params, now_ms: int) -> Row:
    shop.listen_keys.close(now_ms)
    return {}


ENDPOINTS: Final[dict[str, Endpoint]] = {
    "GET /fapi/v1/ping": public(_ping),
    "GET /fapi/v1/time": public(_time),
    "GET /fapi/v1/exchangeInfo": public(_exchange_info),
    "GET /fapi/v1/ticker/bookTicker": public(_book_ticker),
    "GET /fapi/v1/ticker/price": public(_price),
    "GET /fapi/v2/ticker/price": public(_price),
    "GET /fapi/v1/ticker/24hr": public(_day),
    "GET /fapi/v1/premiumIndex": public(_premium_index),
    "GET /fapi/v1/fundingInfo": public(_funding_info),
    "GET /fapi/v1/fundingRate": public(_funding_rate),
    "GET /fapi/v1/klines": public(_klines_of(mark=False)),
    "GET /fapi/v1/continuousKlines": public(_klines_of(mark=False)),
    "GET /fapi/v1/markPriceKlines": public(_klines_of(mark=True)),
    "GET /fapi/v1/indexPriceKlines": public(_klines_of(mark=True)),
    "GET /fapi/v1/depth": public(_depth),
    "GET /fapi/v1/aggTrades": public(_agg_trades),
    "GET /fapi/v1/trades": public(_trades),
    "GET /fapi/v1/openInterest": public(_open_interest),
    "POST /fapi/v1/listenKey": keyed(_listen_key_open),
    "PUT /fapi/v1/listenKey": keyed(_listen_key_renew),
    "DELETE /fapi/v1/listenKey": keyed(_listen_key_close),
}
