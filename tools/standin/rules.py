"""What an instrument of the stand-in allows: precision, filters, margin brackets, and how its figures are written.

Invariants: prices are int ticks, quantities int lots, money int quote x 1e8; text on the wire has the symbol's own
precision ("0.100", "43000.50"); a check raises the exchange's own refusal and changes nothing.
"""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from functools import cached_property
from typing import Any, Final

import attrs

from tools.standin.errors import refusal

E8: Final = 100_000_000
PPM: Final = 1_000_000
ORDER_TYPES: Final = [
    "LIMIT",
    "MARKET",
    "STOP",
    "STOP_MARKET",
    "TAKE_PROFIT",
    "TAKE_PROFIT_MARKET",
    "TRAILING_STOP_MARKET",
]
TIMES_IN_FORCE: Final = ["GTC", "IOC", "FOK", "GTX", "GTD"]
_ENTRY_PLACES: Final = Decimal("1e-12")
_ONBOARD_MS: Final = 1_569_398_400_000
_DELIVERY_MS: Final = 4_133_404_800_000


def scaled_text(value: int, places: int) -> str:
    """Write ``value`` x 10^-places with all its places: (1234, 2) is "12.34"."""
    sign = "-" if value < 0 else ""
    if places == 0:
        return f"{value}"
    whole, part = divmod(abs(value), 10**places)
    return f"{sign}{whole}.{part:0{places}d}"


def money_text(amount_e8: int) -> str:
    """Write an amount of quote x 1e8 with its eight places."""
    return scaled_text(amount_e8, 8)


@attrs.frozen(kw_only=True)
class Bracket:
    """Up to ``notional_cap`` (whole quote) at most ``leverage``; maintenance is notional x ratio - cum."""

    notional_cap: int
    leverage: int
    maint_ratio: Decimal
    cum: Decimal


USUAL_BRACKETS: Final = (
    Bracket(notional_cap=50_000, leverage=125, maint_ratio=Decimal("0.004"), cum=Decimal(0)),
    Bracket(notional_cap=600_000, leverage=100, maint_ratio=Decimal("0.005"), cum=Decimal(50)),
    Bracket(notional_cap=3_000_000, leverage=75, maint_ratio=Decimal("0.0065"), cum=Decimal(950)),
    Bracket(notional_cap=12_000_000, leverage=50, maint_ratio=Decimal("0.01"), cum=Decimal(11_450)),
    Bracket(notional_cap=70_000_000, leverage=25, maint_ratio=Decimal("0.02"), cum=Decimal(131_450)),
    Bracket(notional_cap=100_000_000, leverage=20, maint_ratio=Decimal("0.025"), cum=Decimal(481_450)),
    Bracket(notional_cap=230_000_000, leverage=10, maint_ratio=Decimal("0.05"), cum=Decimal(2_981_450)),
    Bracket(notional_cap=480_000_000, leverage=5, maint_ratio=Decimal("0.1"), cum=Decimal(14_481_450)),
    Bracket(notional_cap=1_800_000_000, leverage=1, maint_ratio=Decimal("0.5"), cum=Decimal(206_481_450)),
)


@attrs.frozen(kw_only=True)
class InstrumentSpec:
    """One perpetual's rules. Quantities and prices as Decimals of base and quote, rates in ppm."""

    symbol: str
    base: str
    tick: Decimal
    lot: Decimal
    price_precision: int
    quantity_precision: int
    min_qty: Decimal
    max_qty: Decimal
    market_max_qty: Decimal
    min_price: Decimal
    max_price: Decimal
    min_notional: Decimal = Decimal(5)
    max_num_orders: int = 200
    max_num_algo_orders: int | None = 10
    multiplier_up: Decimal = Decimal("1.05")
    multiplier_down: Decimal = Decimal("0.95")
    liquidation_fee: Decimal = Decimal("0.0125")
    market_take_bound: Decimal = Decimal("0.05")
    trigger_protect: Decimal = Decimal("0.05")
    maker_ppm: int = 200
    taker_ppm: int = 500
    funding_interval_h: int = 8
    status: str = "TRADING"
    reduce_only: bool = False
    brackets: tuple[Bracket, ...] = USUAL_BRACKETS

    @property
    def unit_e8(self) -> int:
        """The value of one tick on one lot in quote x 1e8."""
        return int(self.tick * self.lot * E8)

    def price_text(self, ticks: int) -> str:
        """Write a price given in ticks."""
        return scaled_text(ticks * int(self.tick.scaleb(self.price_precision)), self.price_precision)

    def qty_text(self, lots: int) -> str:
        """Write a quantity given in lots."""
        return scaled_text(lots * int(self.lot.scaleb(self.quantity_precision)), self.quantity_precision)

    def mark_text(self, ticks: int) -> str:
        """Write a mark or index price with eight places, as the exchange does."""
        return f"{self.tick * ticks:.8f}"

    def average_text(self, cost_e8: int, lots: int) -> str:
        """Write an average price: cost over quantity, floored three places beyond the symbol's own; "0.00" for none."""
        places = self.price_precision + 3
        if lots == 0:
            return scaled_text(0, self.price_precision)
        price = Decimal(cost_e8) / E8 / (self.lot * abs(lots))
        return f"{price.quantize(Decimal(1).scaleb(-places), ROUND_FLOOR):f}"

    def entry_text(self, cost_e8: int, lots: int) -> str:
        """Write a position's entry price: to twelve places, without the zeros at its end; "0.0" for no position."""
        if lots == 0:
            return "0.0"
        price = Decimal(cost_e8) / E8 / (self.lot * abs(lots))
        whole, _, part = f"{price.quantize(_ENTRY_PLACES):f}".partition(".")
        return f"{whole}.{part.rstrip('0') or '0'}"

    # --- reading requests -------------------------------------------------------------------------------------------

    def ticks_of(self, text: str) -> int:
        """Read a price. -1111 finer than the precision, -4014 off the tick, -4013 and -4016 outside the bounds."""
        price = decimal_of(text, "price")
        if price <= 0 or price < self.min_price:
            raise refusal(-4013)
        if price != round(price, self.price_precision):
            raise refusal(-1111)
        if price > self.max_price:
            raise refusal(-4016, bound=f"{self.max_price:f}")
        if price % self.tick:
            raise refusal(-4014)
        return int(price / self.tick)

    def trigger_of(self, text: str) -> Decimal:
        """Read a trigger price; it may lie off the tick (seen on the exchange), but not be finer than the precision."""
        price = decimal_of(text, "triggerPrice")
        if price <= 0:
            raise refusal(-1102, name="triggerprice")
        if price != round(price, self.price_precision):
            raise refusal(-1111)
        return price

    def lots_of(self, text: str, *, market: bool) -> int:
        """Read a quantity. -1111 too fine, -4003 not positive, -4004, -4005 outside the filter, -4023 off the step."""
        qty = decimal_of(text, "quantity")
        if qty != round(qty, self.quantity_precision):
            raise refusal(-1111)
        if qty <= 0:
            raise refusal(-4003)
        if qty < self.min_qty:
            raise refusal(-4004)
        if qty > (self.market_max_qty if market else self.max_qty):
            raise refusal(-4005)
        if qty % self.lot:
            raise refusal(-4023)
        return int(qty / self.lot)

    def check_percent_price(self, ticks: int, mark_ticks: int, *, buys: bool) -> None:
        """PERCENT_PRICE: -4016 for a buy too far above the mark, -4024 for a sell too far below it."""
        if mark_ticks == 0:
            return
        if buys and Decimal(ticks) > mark_ticks * self.multiplier_up:
            bound = int((mark_ticks * self.multiplier_up).to_integral_value(ROUND_FLOOR))
            raise refusal(-4016, bound=self.price_text(bound))
        if not buys and Decimal(ticks) < mark_ticks * self.multiplier_down:
            bound = int((mark_ticks * self.multiplier_down).to_integral_value(ROUND_CEILING))
            raise refusal(-4024, bound=self.price_text(bound))

    # --- the wire ---------------------------------------------------------------------------------------------------

    def exchange_info(self) -> dict[str, Any]:
        """Give the symbol's part of exchangeInfo."""
        return {
            "symbol": self.symbol,
            "pair": self.symbol,
            "contractType": "PERPETUAL",
            "deliveryDate": _DELIVERY_MS,
            "onboardDate": _ONBOARD_MS,
            "status": self.status,
            "maintMarginPercent": "2.5000",
            "requiredMarginPercent": "5.0000",
            "baseAsset": self.base,
            "quoteAsset": "USDT",
            "marginAsset": "USDT",
            "pricePrecision": self.price_precision,
            "quantityPrecision": self.quantity_precision,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "underlyingType": "COIN",
            "underlyingSubType": ["PoW"],
            "triggerProtect": f"{self.trigger_protect:.4f}",
            "liquidationFee": f"{self.liquidation_fee:.6f}",
            "marketTakeBound": f"{self.market_take_bound:.2f}",
            "maxMoveOrderLimit": 10_000,
            "filters": self._filters(),
            "orderTypes": ORDER_TYPES,
            "timeInForce": TIMES_IN_FORCE,
            "permissionSets": ["GRID", "COPY"],
        }

    def _filters(self) -> list[dict[str, Any]]:
        """Give the filters as exchangeInfo lists them."""
        rows: list[dict[str, Any]] = [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": f"{self.min_price:f}",
                "maxPrice": f"{self.max_price:f}",
                "tickSize": f"{self.tick:.{self.price_precision}f}",
            },
            {"filterType": "LOT_SIZE", **self._quantities(self.max_qty)},
            {"filterType": "MARKET_LOT_SIZE", **self._quantities(self.market_max_qty)},
            {"filterType": "MAX_NUM_ORDERS", "limit": self.max_num_orders},
            {"filterType": "MIN_NOTIONAL", "notional": f"{self.min_notional:f}"},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": f"{self.multiplier_up:.4f}",
                "multiplierDown": f"{self.multiplier_down:.4f}",
                "multiplierDecimal": "4",
            },
            {"filterType": "POSITION_RISK_CONTROL", "positionControlSide": "NONE", "allowedSides": "BOTH"},
        ]
        if self.max_num_algo_orders is not None:
            rows.insert(4, {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": self.max_num_algo_orders})
        return rows

    def _quantities(self, most: Decimal) -> dict[str, str]:
        return {"minQty": f"{self.min_qty:f}", "maxQty": f"{most:f}", "stepSize": f"{self.lot:f}"}

    def bracket_rows(self) -> list[dict[str, Any]]:
        """Give the margin brackets as leverageBracket lists them."""
        floor = 0
        rows: list[dict[str, Any]] = []
        for number, bracket in enumerate(self.brackets, 1):
            rows.append(
                {
                    "bracket": number,
                    "initialLeverage": bracket.leverage,
                    "notionalCap": bracket.notional_cap,
                    "notionalFloor": floor,
                    "maintMarginRatio": float(bracket.maint_ratio),
                    "cum": float(bracket.cum),
                }
            )
            floor = bracket.notional_cap
        return rows

    @cached_property
    def _maintenance(self) -> tuple[tuple[int, int, int], ...]:
        """The brackets as integers: cap in quote x 1e8, ratio in ppm, cum in quote x 1e8."""
        return tuple((b.notional_cap * E8, int(b.maint_ratio * PPM), int(b.cum * E8)) for b in self.brackets)

    def maintenance_e8(self, notional_e8: int) -> int:
        """Give the maintenance margin of one position's notional, rounded up."""
        for cap_e8, ratio_ppm, cum_e8 in self._maintenance:
            if notional_e8 <= cap_e8:
                return max(0, -(-notional_e8 * ratio_ppm // PPM) - cum_e8)
        _, ratio_ppm, cum_e8 = self._maintenance[-1]
        return max(0, -(-notional_e8 * ratio_ppm // PPM) - cum_e8)

    def notional_cap_e8(self, leverage: int) -> int:
        """Give the largest position that a leverage admits."""
        return max((b.notional_cap for b in self.brackets if b.leverage >= leverage), default=0) * E8


def decimal_of(text: str, name: str) -> Decimal:
    """Read a decimal parameter; -1102 where it is missing, -1130 where it is no finite number."""
    if not text:
        raise refusal(-1102, name=name)
    try:
        value = Decimal(text)
    except InvalidOperation:
        raise refusal(-1130, name=name) from None
    if not value.is_finite():
        raise refusal(-1130, name=name)
    return value


# symbol: tick, lot, price precision, quantity precision, largest quantity, largest market quantity, min notional
_KNOWN: Final[dict[str, tuple[str, str, int, int, str, str, str]]] = {
    "BTCUSDT": ("0.10", "0.001", 2, 3, "1000", "120", "100"),
    "ETHUSDT": ("0.01", "0.001", 2, 3, "10000", "2000", "20"),
    "SOLUSDT": ("0.0100", "0.01", 4, 2, "1000000", "5000", "5"),
    "BNBUSDT": ("0.010", "0.01", 3, 2, "10000", "2000", "5"),
    "XRPUSDT": ("0.0001", "0.1", 4, 1, "10000000", "2000000", "5"),
    "DOGEUSDT": ("0.000010", "1", 6, 0, "50000000", "30000000", "5"),
    "ADAUSDT": ("0.00010", "1", 5, 0, "2000000", "300000", "5"),
    "AVAXUSDT": ("0.0010", "1", 4, 0, "1000000", "5000", "5"),
    "NEARUSDT": ("0.0010", "1", 4, 0, "2000000", "100000", "5"),
    "LINKUSDT": ("0.001", "0.01", 3, 2, "200000", "20000", "20"),
}
_GENERAL: Final = ("0.0001", "0.1", 4, 1, "10000000", "1000000", "5")


def default_spec(symbol: str, **overrides: Any) -> InstrumentSpec:  # noqa: ANN401 - any field of the spec
    """Give a symbol's rules as the exchange had them; one that is not known gets general ones."""
    tick, lot, price_precision, quantity_precision, most, market_most, notional = _KNOWN.get(symbol, _GENERAL)
    spec = InstrumentSpec(
        symbol=symbol,
        base=symbol.removesuffix("USDT"),
        tick=Decimal(tick),
        lot=Decimal(lot),
        price_precision=price_precision,
        quantity_precision=quantity_precision,
        min_qty=Decimal(lot),
        max_qty=Decimal(most),
        market_max_qty=Decimal(market_most),
        min_price=Decimal(tick),
        max_price=Decimal(tick) * 50_000_000,
        min_notional=Decimal(notional),
    )
    return attrs.evolve(spec, **overrides)
