"""What the exchange says an account may do: instruments' rules, request limits, margin tiers, funding intervals, fees.

Invariants: an answer is read whole or refused with ``BadPayloadError``; an instrument whose rules cannot be counted in
our integers is refused by itself, with the reason, beside those that can; a minimum rounds up and a maximum down, so
that what passes our rules passes the exchange's.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import attrs

from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.units import CASH_SCALE, NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.ccxtpro.payload import (
    field,
    mapping,
    ms_ns,
    one_or_many,
    positive,
    rows,
    text,
    text_or,
    whole,
)
from hedgegrid.venues.ccxtpro.scaling import INT64_MAX, BadPayloadError, Rounding, Scale, decimal_text, e8, ppm

DEFAULT_INTERVAL_NS: Final = 8 * NS_PER_HOUR
"""Between settlements, of an instrument that fundingInfo does not list: it lists adjusted ones only."""
_TRADING: Final = "TRADING"
_INTERVALS_NS: Final[Mapping[str, int]] = {
    "SECOND": NS_PER_S,
    "MINUTE": NS_PER_MINUTE,
    "HOUR": NS_PER_HOUR,
    "DAY": NS_PER_DAY,
}
_UNBOUNDED: Final = INT64_MAX
_STEP_DIGITS_MAX: Final = 9
_HOURS_MAX: Final = 24
_INTERVALS_MAX: Final = 366


@attrs.frozen(kw_only=True)
class RateLimit:
    """At most ``limit`` of ``kind`` (REQUEST_WEIGHT by address, ORDERS by account) in ``interval_ns``."""

    kind: str
    interval_ns: int
    limit: int


@attrs.frozen(kw_only=True)
class ListedInstrument:
    """An instrument as it is listed: our rules of it, and the exchange's limits beside them.

    Quantities in lots, prices in ticks, ratios in ppm. ``price_up_ppm`` and ``price_down_ppm`` bound a limit price as
    multiples of the mark. ``max_orders`` and ``max_algo_orders`` are open orders at a time, of each list;
    ``trigger_protect_ppm`` how far last price and mark may differ for a price-protected trigger.
    """

    symbol: str
    status: str
    instrument: Instrument
    market_min_lots: int
    market_max_lots: int
    min_price_ticks: int
    max_price_ticks: int
    price_up_ppm: int
    price_down_ppm: int
    max_orders: int
    max_algo_orders: int
    trigger_protect_ppm: int
    market_take_bound_ppm: int
    order_types: frozenset[str]
    times_in_force: frozenset[str]

    @property
    def tradable(self) -> bool:
        """Whether it can be traded now, as far as the listing tells."""
        return self.status == _TRADING

    @property
    def scale(self) -> Scale:
        """What its figures on the wire count in."""
        return Scale.of(self.instrument, self.symbol)


@attrs.frozen(kw_only=True)
class ExchangeRules:
    """The rules at ``taken_ns``: limits of requests, instruments by symbol, and why a wanted symbol is not there."""

    taken_ns: int
    rate_limits: tuple[RateLimit, ...]
    listed: Mapping[str, ListedInstrument]
    refused: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Commission:
    """The account's fees on an instrument, in ppm of notional; a rebate is negative."""

    symbol: str
    maker_ppm: int
    taker_ppm: int


def exchange_rules(
    payload: object,
    instruments: Mapping[str, str],
    *,
    tiers: Mapping[str, tuple[Tier, ...]],
    intervals: Mapping[str, int],
) -> ExchangeRules:
    """Read an exchangeInfo for the instruments wanted (our names by symbol).

    ``tiers`` are of leverageBracket (empty where it was not read), ``intervals`` of fundingInfo: absent means 8 h.
    """
    table = mapping(payload, "exchangeInfo")
    listed: dict[str, ListedInstrument] = {}
    refused = dict.fromkeys(instruments, "the exchange does not list it")
    for entry in rows(field(table, "symbols"), "symbols"):
        row = mapping(entry, "a listed symbol")
        symbol = text(row, "symbol")
        if symbol not in instruments:
            continue
        interval_ns = intervals.get(symbol, DEFAULT_INTERVAL_NS)
        try:
            listed[symbol] = _listed(row, symbol, instruments[symbol], tiers.get(symbol, ()), interval_ns)
        except BadPayloadError as error:
            refused[symbol] = str(error)
        else:
            refused.pop(symbol, None)
    return ExchangeRules(
        taken_ns=ms_ns(table, "serverTime"),
        rate_limits=tuple(_rate_limit(mapping(row, "a limit")) for row in rows(field(table, "rateLimits"), "limits")),
        listed=listed,
        refused=refused,
    )


def leverage_tiers(payload: object) -> dict[str, tuple[Tier, ...]]:
    """Read margin tiers by symbol from a leverageBracket (a list, or one object), ascending."""
    return {text(row, "symbol"): _tiers(row) for row in _brackets_of(payload)}


def leverage_caps(payload: object) -> dict[str, int]:
    """Read the largest leverage by symbol from a leverageBracket."""
    return {
        text(row, "symbol"): max((positive(one, "initialLeverage") for one in _brackets(row)), default=1)
        for row in _brackets_of(payload)
    }


def funding_intervals(payload: object) -> dict[str, int]:
    """Read the time between settlements by symbol, in ns, from a fundingInfo."""
    listed = [mapping(one, "a funding rule") for one in rows(payload, "fundingInfo")]
    return {text(row, "symbol"): _hours(row) * NS_PER_HOUR for row in listed}


def commission(payload: object) -> Commission:
    """Read a commissionRate."""
    row = mapping(payload, "commissionRate")
    return Commission(
        symbol=text(row, "symbol"),
        maker_ppm=ppm(field(row, "makerCommissionRate"), "makerCommissionRate"),
        taker_ppm=ppm(field(row, "takerCommissionRate"), "takerCommissionRate"),
    )


def _listed(
    row: Mapping[str, Any], symbol: str, name: str, tiers: tuple[Tier, ...], interval_ns: int
) -> ListedInstrument:
    filters = _filters(row)
    prices, lots = _filter(filters, "PRICE_FILTER"), _filter(filters, "LOT_SIZE")
    market = filters.get("MARKET_LOT_SIZE", lots)
    percent = _filter(filters, "PERCENT_PRICE")
    scale = _countable(
        Scale(symbol=symbol, instrument=name, tick=_step(prices, "tickSize"), lot=_step(lots, "stepSize"))
    )
    return ListedInstrument(
        symbol=symbol,
        status=text(row, "status"),
        instrument=Instrument(
            name=name,
            tick=scale.tick,
            lot=scale.lot,
            min_qty_lots=scale.qty_lots(field(lots, "minQty"), "minQty", Rounding.CEILING),
            max_qty_lots=scale.qty_lots(field(lots, "maxQty"), "maxQty", Rounding.FLOOR),
            min_notional_e8=e8(_filter(filters, "MIN_NOTIONAL").get("notional"), "notional", Rounding.CEILING),
            tiers=tiers,
            liquidation_fee_ppm=ppm(field(row, "liquidationFee"), "liquidationFee"),
            funding_interval_ns=interval_ns,
        ),
        market_min_lots=scale.qty_lots(field(market, "minQty"), "minQty", Rounding.CEILING),
        market_max_lots=scale.qty_lots(field(market, "maxQty"), "maxQty", Rounding.FLOOR),
        min_price_ticks=scale.price_ticks(field(prices, "minPrice"), "minPrice", Rounding.CEILING),
        max_price_ticks=scale.price_ticks(field(prices, "maxPrice"), "maxPrice", Rounding.FLOOR) or _UNBOUNDED,
        price_up_ppm=ppm(field(percent, "multiplierUp"), "multiplierUp", Rounding.FLOOR),
        price_down_ppm=ppm(field(percent, "multiplierDown"), "multiplierDown", Rounding.CEILING),
        max_orders=positive(_filter(filters, "MAX_NUM_ORDERS"), "limit"),
        max_algo_orders=positive(_filter(filters, "MAX_NUM_ALGO_ORDERS"), "limit"),
        trigger_protect_ppm=ppm(field(row, "triggerProtect"), "triggerProtect", Rounding.NEAREST),
        market_take_bound_ppm=ppm(field(row, "marketTakeBound"), "marketTakeBound", Rounding.NEAREST),
        order_types=_words(row, "orderTypes"),
        times_in_force=_words(row, "timeInForce"),
    )


def _step(row: Mapping[str, Any], key: str) -> Decimal:
    """Read a tick or a lot without the zeros behind it: prices are written with its places, which are bounded."""
    step = decimal_text(field(row, key), key)
    if len(step.as_tuple().digits) > _STEP_DIGITS_MAX:
        raise BadPayloadError(f"{key!r} has too many digits")
    return step.normalize()


def _countable(scale: Scale) -> Scale:
    """Check that a tick on a lot is a whole number of 1e-8: every notional of ours rests on it."""
    unit = scale.tick * scale.lot * CASH_SCALE
    if unit != unit.to_integral_value() or not 1 <= unit <= INT64_MAX:
        raise BadPayloadError(f"{scale.symbol}: tick {scale.tick:f} x lot {scale.lot:f} is no whole number of 1e-8")
    return scale


def _filters(row: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    listed = [mapping(one, "a filter") for one in rows(field(row, "filters"), "filters")]
    return {text_or(one, "filterType", ""): one for one in listed}


def _filter(filters: Mapping[str, Mapping[str, Any]], kind: str) -> Mapping[str, Any]:
    if kind not in filters:
        raise BadPayloadError(f"the filter {kind} is missing")
    return filters[kind]


def _words(row: Mapping[str, Any], key: str) -> frozenset[str]:
    found = rows(field(row, key), key)
    if not all(type(one) is str for one in found):
        raise BadPayloadError(f"{key!r} is no list of words")
    return frozenset(found)


def _rate_limit(row: Mapping[str, Any]) -> RateLimit:
    interval = text(row, "interval")
    if interval not in _INTERVALS_NS:
        raise BadPayloadError(f"the interval {interval[:20]!r} of a limit is not known")
    count = _within(positive(row, "intervalNum"), _INTERVALS_MAX, "intervalNum")
    return RateLimit(
        kind=text(row, "rateLimitType"), interval_ns=count * _INTERVALS_NS[interval], limit=positive(row, "limit")
    )


def _hours(row: Mapping[str, Any]) -> int:
    return _within(positive(row, "fundingIntervalHours"), _HOURS_MAX, "fundingIntervalHours")


def _within(value: int, most: int, what: str) -> int:
    if value > most:
        raise BadPayloadError(f"{what} is {value}, over {most}")
    return value


def _brackets_of(payload: object) -> list[Mapping[str, Any]]:
    return [mapping(one, "leverageBracket") for one in one_or_many(payload, "leverageBracket")]


def _brackets(row: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [mapping(one, "a bracket") for one in rows(field(row, "brackets"), "brackets")]


def _tiers(row: Mapping[str, Any]) -> tuple[Tier, ...]:
    found = tuple(
        sorted(
            (
                Tier(
                    max_notional_e8=_whole_e8(one, "notionalCap"),
                    maintenance_ppm=ppm(field(one, "maintMarginRatio"), "maintMarginRatio", Rounding.CEILING),
                )
                for one in _brackets(row)
            ),
            key=lambda tier: tier.max_notional_e8,
        )
    )
    if not found or any(tier.maintenance_ppm <= 0 for tier in found):
        raise BadPayloadError("a leverageBracket without tiers, or with a tier that asks for no margin")
    return found


def _whole_e8(row: Mapping[str, Any], key: str) -> int:
    """Read a cap; one beyond 64 bits of 1e-8 (the last tier's, of some instruments) is as good as the largest."""
    count = whole(row, key) if type(row.get(key)) is int else None
    if count is not None and count > INT64_MAX // CASH_SCALE:
        return _UNBOUNDED
    value = e8(field(row, key), key, Rounding.FLOOR)
    if value <= 0:
        raise BadPayloadError(f"{key!r} is not above zero")
    return value
