"""The account as REST answers tell it: positions, money, income, settings, the key's rights, locks.

Invariants: an answer is read whole or refused with ``BadPayloadError``; booked amounts are exact, valuations the
nearest 1e-8; hedge mode's sign rule (LONG is not below zero, SHORT not above) is checked, since a leg that is read the
wrong way round would be traded the wrong way round.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from hedgegrid.model.account import Position
from hedgegrid.model.order import Leg
from hedgegrid.venues.ccxtpro.order_rows import Read
from hedgegrid.venues.ccxtpro.payload import (
    field,
    figure_or_zero,
    flag,
    flag_or,
    leg,
    mapping,
    ms_ns,
    one_or_many,
    positive,
    rows,
    text,
    text_or,
    whole,
    whole_of,
)
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError, Rounding, Scale, Scales, decimal_text, e8

_CROSS_WORDS: Final = frozenset({"CROSSED", "CROSS", "cross"})
_ISOLATED_WORDS: Final = frozenset({"ISOLATED", "isolated"})


@attrs.frozen(kw_only=True)
class PositionSeen:
    """A leg's position as told: lots below zero are SHORT; cost is entry price x quantity, in quote x 1e8.

    ``leg`` is None in one-way mode.
    """

    instrument: str
    leg: Leg | None
    signed_lots: int
    cost_e8: int
    unrealised_e8: int

    def position(self) -> Position:
        """Give it as the house speaks of it. BadPayloadError in one-way mode, where it has no leg."""
        return _position(self.instrument, self.leg, self.signed_lots, self.cost_e8)


@attrs.frozen(kw_only=True)
class PositionRow:
    """A position with its margins, in quote x 1e8, the mark (nearest tick) and the liquidation price, None where none.

    ``adl`` is its place in the queue of auto-deleveraging, None where not told.
    """

    instrument: str
    leg: Leg | None
    signed_lots: int
    cost_e8: int
    unrealised_e8: int
    mark_ticks: int
    liquidation_ticks: int | None
    maintenance_e8: int
    initial_e8: int
    adl: int | None
    updated_ns: int

    def position(self) -> Position:
        """Give it as the house speaks of it. BadPayloadError in one-way mode, where it has no leg."""
        return _position(self.instrument, self.leg, self.signed_lots, self.cost_e8)


@attrs.frozen(kw_only=True)
class AssetRow:
    """One asset of the account: its wallet, what is free, and the margins that it carries, x 1e8 of the asset."""

    asset: str
    wallet_e8: int
    available_e8: int
    unrealised_e8: int
    margin_e8: int
    maintenance_e8: int
    initial_e8: int


@attrs.frozen(kw_only=True)
class AccountRow:
    """The account's assets by name. It does not tell the multi-assets mode: ``account_config`` does."""

    assets: Mapping[str, AssetRow]

    def asset(self, name: str) -> AssetRow:
        """Give one asset. BadPayloadError where the account does not list it: its balance is unknown, not zero."""
        if name not in self.assets:
            raise BadPayloadError(f"the account lists no {name}")
        return self.assets[name]


@attrs.frozen(kw_only=True)
class AccountConfig:
    """Settings of the account as a whole."""

    hedge_mode: bool
    multi_assets: bool
    can_trade: bool


@attrs.frozen(kw_only=True)
class SymbolConfig:
    """Margin mode and leverage of an instrument."""

    symbol: str
    cross: bool
    leverage: int


@attrs.frozen(kw_only=True)
class IncomeRow:
    """A booking: ``amount_e8`` x 1e8 of ``asset``, above zero when received. ``symbol`` is empty for the account."""

    symbol: str
    kind: str
    amount_e8: int
    asset: str
    tran_id: int
    trade_id: int | None
    ts_ns: int


@attrs.frozen(kw_only=True)
class KeyRights:
    """What the API key may do; ``ip_bound``: only from listed addresses."""

    reads: bool
    futures: bool
    withdraws: bool
    internal_transfer: bool
    universal_transfer: bool
    ip_bound: bool


@attrs.frozen(kw_only=True)
class TradingLock:
    """A quantitative rule locks new positions of ``symbol`` ("ACCOUNT": all); until when is None where not told."""

    symbol: str
    indicator: str
    until_ns: int | None


def position_rows(payload: object, scales: Scales) -> Read[PositionRow]:
    """Read positionRisk v3; ``elsewhere`` are symbols that are not traded here and hold something."""
    found: list[PositionRow] = []
    elsewhere: set[str] = set()
    for entry in one_or_many(payload, "positionRisk"):
        row = mapping(entry, "a position")
        symbol = text(row, "symbol")
        if symbol in scales:
            found.append(_position_row(row, scales[symbol]))
        elif decimal_text(field(row, "positionAmt"), "positionAmt"):
            elsewhere.add(symbol)
    return Read(rows=tuple(found), elsewhere=tuple(sorted(elsewhere)))


def account(payload: object) -> AccountRow:
    """Read account v3 (v2 has the same assets)."""
    listed = rows(field(mapping(payload, "account"), "assets"), "assets")
    found = [_asset(mapping(one, "an asset")) for one in listed]
    return AccountRow(assets={one.asset: one for one in found})


def account_config(payload: object) -> AccountConfig:
    """Read accountConfig."""
    row = mapping(payload, "accountConfig")
    return AccountConfig(
        hedge_mode=flag(row, "dualSidePosition"),
        multi_assets=flag(row, "multiAssetsMargin"),
        can_trade=flag(row, "canTrade"),
    )


def symbol_configs(payload: object) -> tuple[SymbolConfig, ...]:
    """Read symbolConfig."""
    return tuple(_symbol_config(mapping(one, "symbolConfig")) for one in one_or_many(payload, "symbolConfig"))


def income_rows(payload: object) -> tuple[IncomeRow, ...]:
    """Read income, by time."""
    found = [_income(mapping(one, "an income")) for one in rows(payload, "income")]
    return tuple(sorted(found, key=lambda one: (one.ts_ns, one.tran_id)))


def hedge_mode(payload: object) -> bool:
    """Read positionSide/dual: whether both legs can be held."""
    return flag(mapping(payload, "positionSide/dual"), "dualSidePosition")


def multi_assets(payload: object) -> bool:
    """Read multiAssetsMargin: whether other assets than the quote currency are margin."""
    return flag(mapping(payload, "multiAssetsMargin"), "multiAssetsMargin")


def fee_burn(payload: object) -> bool:
    """Read feeBurn: whether fees are paid in BNB."""
    return flag(mapping(payload, "feeBurn"), "feeBurn")


def key_rights(payload: object) -> KeyRights:
    """Read apiRestrictions. A right that is not told of is taken as given, but for reading and futures."""
    row = mapping(payload, "apiRestrictions")
    return KeyRights(
        reads=flag_or(row, "enableReading", default=False),
        futures=flag_or(row, "enableFutures", default=False),
        withdraws=flag_or(row, "enableWithdrawals", default=True),
        internal_transfer=flag_or(row, "enableInternalTransfer", default=True),
        universal_transfer=flag_or(row, "permitsUniversalTransfer", default=True),
        ip_bound=flag_or(row, "ipRestrict", default=False),
    )


def trading_locks(payload: object) -> tuple[TradingLock, ...]:
    """Read apiTradingStatus: the rules that lock, by symbol."""
    indicators = mapping(field(mapping(payload, "apiTradingStatus"), "indicators"), "indicators")
    found: list[TradingLock] = []
    for symbol in sorted(indicators):
        for entry in rows(indicators[symbol], "indicators"):
            row = mapping(entry, "an indicator")
            if flag(row, "isLocked"):
                until_ns = ms_ns(row, "plannedRecoverTime") if row.get("plannedRecoverTime") is not None else 0
                found.append(TradingLock(symbol=symbol, indicator=text(row, "indicator"), until_ns=until_ns or None))
    return tuple(found)


def countdown(payload: object) -> tuple[str, int]:
    """Read countdownCancelAll: symbol and ms; 0 is disarmed."""
    row = mapping(payload, "countdownCancelAll")
    time_ms = whole(row, "countdownTime")
    if time_ms < 0:
        raise BadPayloadError("a countdown below zero")
    return text(row, "symbol"), time_ms


def listen_key(payload: object) -> str:
    """Read a listen key: a secret, never to be logged."""
    row = mapping(payload, "listenKey")
    key = row.get("listenKey")
    if type(key) is not str or not key.isascii() or not key.isalnum():
        raise BadPayloadError("the answer has no listen key")
    return key


def seen(row: Mapping[str, Any], scale: Scale, keys: Sequence[str]) -> PositionSeen:
    """Read a position from the fields that hold amount, entry price, unrealised profit and side."""
    amount, entry, unrealised, position_side = keys
    held_leg = leg(row, position_side)
    signed_lots = scale.signed_lots(field(row, amount), amount)
    if (held_leg is Leg.LONG and signed_lots < 0) or (held_leg is Leg.SHORT and signed_lots > 0):
        raise BadPayloadError(f"{scale.symbol}: a {held_leg.name} position of the wrong sign")
    cost_e8 = scale.cost_e8(field(row, entry), field(row, amount))
    if signed_lots and not cost_e8:
        raise BadPayloadError(f"{scale.symbol}: a position without an entry price")
    return PositionSeen(
        instrument=scale.instrument,
        leg=held_leg,
        signed_lots=signed_lots,
        cost_e8=cost_e8,
        unrealised_e8=e8(field(row, unrealised), unrealised, Rounding.NEAREST),
    )


def _position(instrument: str, held_leg: Leg | None, signed_lots: int, cost_e8: int) -> Position:
    if held_leg is None:
        raise BadPayloadError(f"{instrument}: a position in one-way mode has no leg")
    return Position(instrument=instrument, leg=held_leg, qty_lots=abs(signed_lots), cost_e8=cost_e8)


def _position_row(row: Mapping[str, Any], scale: Scale) -> PositionRow:
    told = seen(row, scale, ("positionAmt", "entryPrice", "unRealizedProfit", "positionSide"))
    liquidation = figure_or_zero(row, "liquidationPrice")
    far_away = decimal_text(liquidation, "liquidationPrice") <= 0
    return PositionRow(
        instrument=told.instrument,
        leg=told.leg,
        signed_lots=told.signed_lots,
        cost_e8=told.cost_e8,
        unrealised_e8=told.unrealised_e8,
        mark_ticks=scale.price_ticks(field(row, "markPrice"), "markPrice", Rounding.NEAREST),
        liquidation_ticks=None if far_away else scale.price_ticks(liquidation, "liquidationPrice", Rounding.NEAREST),
        maintenance_e8=_valued(row, "maintMargin"),
        initial_e8=_valued(row, "initialMargin"),
        adl=None if row.get("adl") is None else whole(row, "adl"),
        updated_ns=ms_ns(row, "updateTime"),
    )


def _valued(row: Mapping[str, Any], key: str) -> int:
    return e8(field(row, key), key, Rounding.NEAREST)


def _asset(row: Mapping[str, Any]) -> AssetRow:
    return AssetRow(
        asset=text(row, "asset"),
        wallet_e8=e8(field(row, "walletBalance"), "walletBalance"),
        available_e8=e8(field(row, "availableBalance"), "availableBalance", Rounding.FLOOR),
        unrealised_e8=_valued(row, "unrealizedProfit"),
        margin_e8=_valued(row, "marginBalance"),
        maintenance_e8=_valued(row, "maintMargin"),
        initial_e8=_valued(row, "initialMargin"),
    )


def _symbol_config(row: Mapping[str, Any]) -> SymbolConfig:
    mode = text(row, "marginType")
    if mode not in _CROSS_WORDS | _ISOLATED_WORDS:
        raise BadPayloadError(f"the margin mode {mode[:20]!r} is not known")
    return SymbolConfig(symbol=text(row, "symbol"), cross=mode in _CROSS_WORDS, leverage=positive(row, "leverage"))


def _income(row: Mapping[str, Any]) -> IncomeRow:
    return IncomeRow(
        symbol=text_or(row, "symbol", ""),
        kind=text(row, "incomeType"),
        amount_e8=e8(field(row, "income"), "income"),
        asset=text(row, "asset"),
        tran_id=whole(row, "tranId"),
        trade_id=whole_of(figure_or_zero(row, "tradeId"), "tradeId") or None,
        ts_ns=ms_ns(row, "time"),
    )
