"""Reading an order request: which parameters an order needs, and the refusals that the request alone earns.

Invariant: nothing here looks at the account's money or changes anything; parameters that the exchange does not know
are ignored, as it does.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, cast

import attrs

from tools.standin.account import PositionSide
from tools.standin.errors import refusal
from tools.standin.orders import Side
from tools.standin.rules import ORDER_TYPES, TIMES_IN_FORCE, InstrumentSpec

Params = Mapping[str, str]

CLIENT_ID: Final = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}")
_CLIENT_ID_TEXT: Final = r"^[\.A-Z\:/a-z0-9_-]{1,36}$"
_CLIENT_ID_MAX: Final = 36
CONDITIONALS: Final = frozenset({"STOP", "STOP_MARKET", "TAKE_PROFIT", "TAKE_PROFIT_MARKET", "TRAILING_STOP_MARKET"})
TRIGGERED_MARKETS: Final = ("STOP_MARKET", "TAKE_PROFIT_MARKET")
_GTD_MIN_MS: Final = 600_000


@attrs.frozen(kw_only=True)
class OrderForm:
    """A well-formed request for an ordinary order."""

    spec: InstrumentSpec
    side: Side
    position_side: PositionSide
    kind: str
    time_in_force: str
    price_ticks: int
    qty_lots: int
    client_id: str
    reduce_only: bool
    good_till_ms: int
    stp: str

    @property
    def buys(self) -> bool:
        """Whether it buys."""
        return self.side == "BUY"

    @property
    def reduces_leg(self) -> bool:
        """Whether it is a hedge-mode reduction, by its sides."""
        return (self.side, self.position_side) in {("SELL", "LONG"), ("BUY", "SHORT")}


@attrs.frozen(kw_only=True)
class AlgoForm:
    """A well-formed request for a conditional. ``qty_lots`` is 0 with ``close_position``."""

    spec: InstrumentSpec
    side: Side
    position_side: PositionSide
    kind: str
    time_in_force: str
    trigger: Decimal
    qty_lots: int
    client_id: str
    working_type: str
    close_position: bool
    price_protect: bool
    reduce_only: bool


def needed(params: Params, name: str) -> str:
    """Give a mandatory parameter; -1102 without it."""
    value = params.get(name, "")
    if not value:
        raise refusal(-1102, name=name.lower())
    return value


def flag(params: Params, name: str) -> bool:
    """Give a boolean parameter, false where it is not sent; -1130 for anything but true and false."""
    value = params.get(name, "false").lower()
    if value not in {"true", "false"}:
        raise refusal(-1130, name=name)
    return value == "true"


def whole(params: Params, name: str, default: int | None = None) -> int:
    """Give an integer parameter; -1102 where it is mandatory (no default) and missing, -1130 where it is none."""
    value = params.get(name, "")
    if not value:
        if default is None:
            raise refusal(-1102, name=name.lower())
        return default
    if not re.fullmatch(r"-?\d{1,19}", value):
        raise refusal(-1130, name=name)
    return int(value)


def symbol_of(params: Params, specs: Mapping[str, InstrumentSpec]) -> InstrumentSpec:
    """Give the instrument of a mandatory symbol; -1102 without it, -1121 for one that is not listed."""
    name = needed(params, "symbol")
    spec = specs.get(name)
    if spec is None:
        raise refusal(-1121)
    return spec


def client_id_of(params: Params, name: str) -> str:
    """Give a client id, empty where none is sent. -4015 where it is too long, -1100 where it has other characters."""
    value = params.get(name, "")
    if len(value) > _CLIENT_ID_MAX:
        raise refusal(-4015)
    if value and not CLIENT_ID.fullmatch(value):
        raise refusal(-1100, name=name.lower(), legal=_CLIENT_ID_TEXT)
    return value


def side_of(params: Params) -> Side:
    """Give the side; -1117 for anything but BUY and SELL."""
    side = needed(params, "side")
    if side not in {"BUY", "SELL"}:
        raise refusal(-1117)
    return cast("Side", side)


def position_side_of(params: Params, *, hedge: bool) -> PositionSide:
    """Give the position side. -4060 for an unknown one, -4061 where it is not of the account's mode."""
    side = params.get("positionSide", "BOTH")
    if side not in {"LONG", "SHORT", "BOTH"}:
        raise refusal(-4060)
    if (side == "BOTH") == hedge:
        raise refusal(-4061)
    return cast("PositionSide", side)


def check_open(spec: InstrumentSpec) -> None:
    """Refuse, with -4141, what a symbol that does not trade cannot take."""
    if spec.status != "TRADING":
        raise refusal(-4141)


def read_order(params: Params, specs: Mapping[str, InstrumentSpec], *, hedge: bool, now_ms: int) -> OrderForm:
    """Read the request for an ordinary order; a conditional one is refused with -4120."""
    spec = symbol_of(params, specs)
    side = side_of(params)
    kind = needed(params, "type")
    if kind not in ORDER_TYPES:
        raise refusal(-1116)
    if kind in CONDITIONALS:
        raise refusal(-4120)
    position_side = position_side_of(params, hedge=hedge)
    if hedge and "reduceOnly" in params:
        raise refusal(-1106, name="reduceonly")
    if flag(params, "closePosition"):
        raise refusal(-4136, type=kind, close="true")
    time_in_force, price_ticks = _limit_terms(params, spec, kind)
    check_open(spec)
    return OrderForm(
        spec=spec,
        side=side,
        position_side=position_side,
        kind=kind,
        time_in_force=time_in_force,
        price_ticks=price_ticks,
        qty_lots=spec.lots_of(needed(params, "quantity"), market=kind == "MARKET"),
        client_id=client_id_of(params, "newClientOrderId"),
        reduce_only=flag(params, "reduceOnly"),
        good_till_ms=_good_till(params, time_in_force, now_ms),
        stp=params.get("selfTradePreventionMode", "EXPIRE_MAKER"),
    )


def _limit_terms(params: Params, spec: InstrumentSpec, kind: str) -> tuple[str, int]:
    """Give time in force and price in ticks; a market order may have neither."""
    if kind == "MARKET":
        for name in ("timeInForce", "price"):
            if name in params:
                raise refusal(-1106, name=name.lower())
        return "GTC", 0
    time_in_force = needed(params, "timeInForce")
    if time_in_force not in TIMES_IN_FORCE:
        raise refusal(-1115)
    return time_in_force, spec.ticks_of(needed(params, "price"))


def _good_till(params: Params, time_in_force: str, now_ms: int) -> int:
    """Give the end of a GTD order: at least 600 s away, floored to the second."""
    if time_in_force != "GTD":
        return 0
    end = whole(params, "goodTillDate")
    if end < now_ms + _GTD_MIN_MS:
        raise refusal(-1130, name="goodTillDate")
    return end // 1000 * 1000


def read_algo(params: Params, specs: Mapping[str, InstrumentSpec], *, hedge: bool) -> AlgoForm:
    """Read the request for a conditional. Only the two that become market orders are known here."""
    if needed(params, "algoType") != "CONDITIONAL":
        raise refusal(-1130, name="algoType")
    spec = symbol_of(params, specs)
    side = side_of(params)
    kind = needed(params, "type")
    if kind not in TRIGGERED_MARKETS:
        raise refusal(-1116)
    position_side = position_side_of(params, hedge=hedge)
    close = flag(params, "closePosition")
    if hedge and "reduceOnly" in params:
        raise refusal(-1106, name="reduceonly")
    if close and params.get("quantity"):
        raise refusal(-4137)
    if close and (side, position_side) in {("BUY", "LONG"), ("SELL", "SHORT")}:
        raise refusal(-4061)
    working_type = params.get("workingType", "CONTRACT_PRICE")
    if working_type not in {"MARK_PRICE", "CONTRACT_PRICE"}:
        raise refusal(-4031, name=working_type)
    check_open(spec)
    return AlgoForm(
        spec=spec,
        side=side,
        position_side=position_side,
        kind=kind,
        time_in_force="GTE_GTC" if close else params.get("timeInForce", "GTC"),
        trigger=spec.trigger_of(needed(params, "triggerPrice")),
        qty_lots=0 if close else spec.lots_of(needed(params, "quantity"), market=True),
        client_id=client_id_of(params, "clientAlgoId"),
        working_type=working_type,
        close_position=close,
        price_protect=flag(params, "priceProtect"),
        reduce_only=close or flag(params, "reduceOnly"),
    )
