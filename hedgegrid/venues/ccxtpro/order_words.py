"""The exchange's words for an order's life, and what an order is to us by its id, leg, side and type.

Invariants: an id of ours counts only where leg and side of the wire agree with it; a fee that was not charged in the
settlement asset is unknown (None), never 0; only quantities and prices that were traded become a ``Fill``.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import attrs

from hedgegrid.core.client_id import ClientId, parse_client_id
from hedgegrid.messages.events import EndReason
from hedgegrid.model.order import Fill, Kind, Leg, Purpose, Side, side_of
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError, Rounding

FORCED_PREFIXES: Final = ("autoclose-", "adl_autoclose", "settlement_autoclose-")
"""How the client ids of liquidations, auto-deleveraging and settlements of delisted instruments begin."""
POST_ONLY: Final = "GTX"
_KINDS: Final[Mapping[str, Kind]] = {"LIMIT": Kind.LIMIT, "MARKET": Kind.MARKET, "LIQUIDATION": Kind.MARKET}


class OrderStatus(StrEnum):
    """Where an order of the matching engine stands."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"
    EXPIRED_IN_MATCH = "EXPIRED_IN_MATCH"
    """Ended by self-trade prevention."""

    @property
    def ended(self) -> bool:
        """Whether nothing more can be filled of it."""
        return self not in {OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED}


class Execution(StrEnum):
    """What happened to an order."""

    NEW = "NEW"
    TRADE = "TRADE"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    CALCULATED = "CALCULATED"
    """An execution of the liquidation engine."""
    AMENDMENT = "AMENDMENT"
    REJECTED = "REJECTED"


class AlgoStatus(StrEnum):
    """Where a conditional order stands in the algo service."""

    NEW = "NEW"
    TRIGGERING = "TRIGGERING"
    """The condition is met; the order is on its way to the matching engine."""
    TRIGGERED = "TRIGGERED"
    """Its actual order is in the matching engine."""
    FINISHED = "FINISHED"
    """Its actual order was filled or cancelled there."""
    CANCELED = "CANCELED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"


EXPIRY: Final[Mapping[str, EndReason]] = {
    "1": EndReason.REFUSED,
    "3": EndReason.REFUSED,
    "4": EndReason.REDUCE_REFUSED,
    "5": EndReason.LIQUIDATION,
    "6": EndReason.NOTHING_TO_CLOSE,
    "7": EndReason.REFUSED,
    "10": EndReason.REFUSED,
    "11": EndReason.POST_ONLY,
}
"""Expiry reasons of the order stream: 1 and 3 self-trade prevention, 4 knocked out by another reduction or because it
would have reversed the position, 5 liquidation, 6 good-till-existing without a position, 7 delisting, 10 fill-or-kill,
11 post-only. The others (2 IOC, 8 a stop that became its order, 9 a market order's remainder) are no refusals."""


@attrs.frozen(kw_only=True)
class Trade:
    """One execution. ``fee_e8`` is a cost in quote x 1e8 (a rebate is negative).

    It is None where the fee was charged in ``fee_asset``, another asset. ``realised_e8`` is the exchange's own, by
    average cost of the leg, to the nearest 1e-8.
    """

    trade_id: int
    price_ticks: int
    qty_lots: int
    fee_e8: int | None
    fee_asset: str
    realised_e8: int
    maker: bool
    ts_ns: int


def is_forced(client_id: str) -> bool:
    """Tell whether the exchange itself ordered: liquidation, auto-deleveraging, settlement."""
    return client_id.startswith(FORCED_PREFIXES)


def rounding_of(client_id: str) -> Rounding:
    """Give the rounding for an order's prices: ours lie on the tick; forced ones and others' need not."""
    return Rounding.NEAREST if parse_client_id(client_id) is None else Rounding.EXACT


def kind_of(type_name: str) -> Kind:
    """Give how an order of a type meets the market; every conditional one is a stop here."""
    return _KINDS.get(type_name, Kind.STOP_MARKET)


def ours(client_id: str, leg: Leg, side: Side) -> ClientId | None:
    """Give the parts of an id of ours, None where it is foreign or the order on the wire is another than it says."""
    parts = parse_client_id(client_id)
    return parts if parts is not None and parts.leg is leg and side_of(leg, parts.purpose) is side else None


def purpose_of(client_id: str, leg: Leg, side: Side, type_name: str) -> Purpose:
    """Give an order's purpose: by our id; of a forced one LIQUIDATION; of a foreign one by what it does to the leg."""
    parts = ours(client_id, leg, side)
    if parts is not None:
        return parts.purpose
    if is_forced(client_id):
        return Purpose.LIQUIDATION
    if side is side_of(leg, Purpose.ENTRY):
        return Purpose.ENTRY
    if type_name == "MARKET":
        return Purpose.FLATTEN
    return Purpose.TAKE_PROFIT if type_name == "LIMIT" or type_name.startswith("TAKE_PROFIT") else Purpose.STOP


def leg_of(leg: Leg | None, side: Side, *, reduces: bool) -> Leg:
    """Give the leg that an order acts on; in one-way mode (None) the one that its side opens, or reduces."""
    if leg is not None:
        return leg
    return Leg.LONG if (side is Side.BUY) != reduces else Leg.SHORT


def fill(
    trade: Trade,
    *,
    client_id: str,
    instrument: str,
    leg: Leg | None,
    side: Side,
    type_name: str = "MARKET",
    fee_if_unknown_e8: int,
) -> Fill:
    """Make a trade into a fill of ``client_id``; level, generation and covers are the executor's to add.

    ``fee_if_unknown_e8`` stands where the fee was charged in another asset: the caller's estimate, and its incident.
    BadPayloadError in one-way mode (``leg`` None), where a fill has no leg.
    """
    if leg is None:
        raise BadPayloadError(f"{instrument}: a fill in one-way mode has no leg")
    return Fill(
        trade_id=trade.trade_id,
        client_id=client_id,
        instrument=instrument,
        leg=leg,
        side=side,
        purpose=purpose_of(client_id, leg, side, type_name),
        level=-1,
        generation=-1,
        price_ticks=trade.price_ticks,
        qty_lots=trade.qty_lots,
        fee_e8=fee_if_unknown_e8 if trade.fee_e8 is None else trade.fee_e8,
        realised_e8=trade.realised_e8,
        maker=trade.maker,
        ts_ns=trade.ts_ns,
    )
