"""The private stream's frames, and what REST tells of the account's money, positions, settings and rights.

Invariants: a payload is read whole or refused with ``BadPayloadError``; nothing is kept; amounts that were booked
(wallet, fee, income) are exact, valuations (unrealised profit, margins, an average entry's cost) the nearest 1e-8; what
the exchange did not tell is None or absent, never 0. A type of event that nobody here reads is ``Unknown``, no error.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from hedgegrid.model.order import Leg
from hedgegrid.venues.ccxtpro.account_rows import (
    AccountConfig,
    AccountRow,
    AssetRow,
    IncomeRow,
    KeyRights,
    PositionRow,
    PositionSeen,
    SymbolConfig,
    TradingLock,
    account,
    account_config,
    countdown,
    fee_burn,
    hedge_mode,
    income_rows,
    key_rights,
    listen_key,
    multi_assets,
    position_rows,
    seen,
    symbol_configs,
    trading_locks,
)
from hedgegrid.venues.ccxtpro.parse_market import Elsewhere, Unknown
from hedgegrid.venues.ccxtpro.parse_orders import (
    AlgoReport,
    OrderReport,
    TradeLite,
    TriggerReject,
    algo_report,
    order_report,
    trade_lite,
    trigger_reject,
)
from hedgegrid.venues.ccxtpro.payload import field, flag, leg, mapping, ms_ns, positive, rows, text, unwrapped
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError, Rounding, Scale, Scales, decimal_text, e8

__all__ = [
    "AccountConfig",
    "AccountReport",
    "AccountRow",
    "AssetRow",
    "IncomeRow",
    "KeyRights",
    "LeverageChanged",
    "ListenKeyExpired",
    "MarginCall",
    "MarginCallRow",
    "MultiAssetsChanged",
    "PositionRow",
    "PositionSeen",
    "PrivateUpdate",
    "SymbolConfig",
    "TradingLock",
    "WalletChange",
    "account",
    "account_config",
    "countdown",
    "fee_burn",
    "hedge_mode",
    "income_rows",
    "key_rights",
    "listen_key",
    "multi_assets",
    "parse_private",
    "position_rows",
    "symbol_configs",
    "trading_locks",
]

_EVENT_MAX: Final = 60


@attrs.frozen(kw_only=True)
class WalletChange:
    """A wallet after a change: balance, its part in cross margin, and the change that is no result of trading."""

    asset: str
    wallet_e8: int
    cross_e8: int
    change_e8: int


@attrs.frozen(kw_only=True)
class AccountReport:
    """Wallets and positions that changed, and the exchange's word for why (ACCOUNT_UPDATE).

    ``elsewhere`` are the symbols of positions in instruments that are not traded here and are not zero.
    """

    reason: str
    wallets: tuple[WalletChange, ...]
    positions: tuple[PositionSeen, ...]
    elsewhere: tuple[str, ...]
    ts_ns: int
    event_ns: int


@attrs.frozen(kw_only=True)
class MarginCallRow:
    """A position under a margin call, with what must be held for it, in quote x 1e8."""

    symbol: str
    leg: Leg | None
    maintenance_e8: int
    unrealised_e8: int


@attrs.frozen(kw_only=True)
class MarginCall:
    """Positions are near liquidation (MARGIN_CALL)."""

    positions: tuple[MarginCallRow, ...]
    ts_ns: int


@attrs.frozen(kw_only=True)
class LeverageChanged:
    """The leverage of an instrument was changed (ACCOUNT_CONFIG_UPDATE)."""

    symbol: str
    leverage: int
    ts_ns: int


@attrs.frozen(kw_only=True)
class MultiAssetsChanged:
    """Multi-assets mode was switched (ACCOUNT_CONFIG_UPDATE)."""

    on: bool
    ts_ns: int


@attrs.frozen(kw_only=True)
class ListenKeyExpired:
    """The stream is deaf from here on: its key has expired."""

    ts_ns: int


PrivateUpdate = (
    OrderReport
    | AlgoReport
    | TradeLite
    | TriggerReject
    | AccountReport
    | MarginCall
    | LeverageChanged
    | MultiAssetsChanged
    | ListenKeyExpired
    | Elsewhere
    | Unknown
)


def parse_private(payload: object, scales: Scales) -> PrivateUpdate:
    """Read one frame of the private stream, combined form included."""
    event = unwrapped(payload)
    kind = text(event, "e")
    if kind in _OF_ACCOUNT:
        return _OF_ACCOUNT[kind](event, scales)
    if kind not in _OF_INSTRUMENT:
        return Unknown(event=kind[:_EVENT_MAX])
    holder, read = _OF_INSTRUMENT[kind]
    symbol = text(mapping(field(event, holder), kind) if holder else event, "s")
    return read(event, scales[symbol]) if symbol in scales else Elsewhere(event=kind, symbol=symbol)


def _account_report(event: Mapping[str, Any], scales: Scales) -> AccountReport:
    body = mapping(field(event, "a"), "an account's report")
    positions: list[PositionSeen] = []
    elsewhere: set[str] = set()
    for entry in rows(body.get("P", []), "positions"):
        row = mapping(entry, "a position")
        symbol = text(row, "s")
        if symbol in scales:
            positions.append(seen(row, scales[symbol], ("pa", "ep", "up", "ps")))
        elif decimal_text(field(row, "pa"), "pa"):
            elsewhere.add(symbol)
    return AccountReport(
        reason=text(body, "m"),
        wallets=tuple(_wallet(mapping(one, "a wallet")) for one in rows(body.get("B", []), "wallets")),
        positions=tuple(positions),
        elsewhere=tuple(sorted(elsewhere)),
        ts_ns=ms_ns(event, "T"),
        event_ns=ms_ns(event, "E"),
    )


def _wallet(row: Mapping[str, Any]) -> WalletChange:
    return WalletChange(
        asset=text(row, "a"),
        wallet_e8=e8(field(row, "wb"), "wb"),
        cross_e8=e8(field(row, "cw"), "cw"),
        change_e8=e8(field(row, "bc"), "bc"),
    )


def _margin_call(event: Mapping[str, Any], _: Scales) -> MarginCall:
    listed = [mapping(one, "a position") for one in rows(field(event, "p"), "positions")]
    return MarginCall(positions=tuple(_called(row) for row in listed), ts_ns=ms_ns(event, "E"))


def _called(row: Mapping[str, Any]) -> MarginCallRow:
    return MarginCallRow(
        symbol=text(row, "s"),
        leg=leg(row, "ps"),
        maintenance_e8=e8(field(row, "mm"), "mm", Rounding.NEAREST),
        unrealised_e8=e8(field(row, "up"), "up", Rounding.NEAREST),
    )


def _config(event: Mapping[str, Any], _: Scales) -> LeverageChanged | MultiAssetsChanged:
    ts_ns = ms_ns(event, "E")
    if event.get("ac") is not None:
        row = mapping(event["ac"], "a leverage")
        return LeverageChanged(symbol=text(row, "s"), leverage=positive(row, "l"), ts_ns=ts_ns)
    if event.get("ai") is not None:
        return MultiAssetsChanged(on=flag(mapping(event["ai"], "an asset mode"), "j"), ts_ns=ts_ns)
    raise BadPayloadError("a change of settings that names none")


def _expired(event: Mapping[str, Any], _: Scales) -> ListenKeyExpired:
    return ListenKeyExpired(ts_ns=ms_ns(event, "E"))


_OF_ACCOUNT: Final[Mapping[str, Callable[[Mapping[str, Any], Scales], PrivateUpdate]]] = {
    "ACCOUNT_UPDATE": _account_report,
    "ACCOUNT_CONFIG_UPDATE": _config,
    "MARGIN_CALL": _margin_call,
    "listenKeyExpired": _expired,
}
_OF_INSTRUMENT: Final[Mapping[str, tuple[str, Callable[[Mapping[str, Any], Scale], PrivateUpdate]]]] = {
    "ORDER_TRADE_UPDATE": ("o", order_report),
    "ALGO_UPDATE": ("o", algo_report),
    "TRADE_LITE": ("", trade_lite),
    "CONDITIONAL_ORDER_TRIGGER_REJECT": ("or", trigger_reject),
}
"""By type of event: the field that holds the symbol (empty: the event itself), and the reader."""
