"""The account as REST and the private stream write it.

Invariant: writing is pure; a list shows the legs of the account's present mode, v3 lists only those with a position
or an order.
"""

from collections.abc import Mapping
from typing import Any

from tools.standin.account import Account, Income, Position
from tools.standin.rules import InstrumentSpec, money_text

Row = dict[str, Any]
ZERO = "0.00000000"


def account_update(
    account: Account,
    specs: Mapping[str, InstrumentSpec],
    legs: list[Position],
    reason: str,
    now_ms: int,
    change_e8: int = 0,
) -> Row:
    """Write ACCOUNT_UPDATE; ``change_e8`` is the change that is neither profit nor commission."""
    balance = {
        "a": "USDT",
        "wb": money_text(account.wallet_e8),
        "cw": money_text(account.wallet_e8),
        "bc": money_text(change_e8) if change_e8 else "0",
    }
    rows = [_leg_event(account, specs[leg.symbol], leg) for leg in legs]
    body: Row = {"B": [balance], "P": rows, "m": reason}
    return {"e": "ACCOUNT_UPDATE", "T": now_ms, "E": now_ms, "a": body}


def _leg_event(account: Account, spec: InstrumentSpec, leg: Position) -> Row:
    mark = account.mark(leg.symbol)
    return {
        "s": leg.symbol,
        "pa": spec.qty_text(leg.qty_lots),
        "ep": _entry(spec, leg),
        "bep": _break_even(spec, leg),
        "cr": money_text(leg.realised_e8),
        "up": money_text(leg.unrealised_e8(mark, spec.unit_e8)),
        "mt": "cross",
        "iw": "0",
        "ps": leg.side,
        "ma": "USDT",
    }


def _entry(spec: InstrumentSpec, leg: Position) -> str:
    return spec.entry_text(leg.cost_e8, leg.qty_lots)


def _break_even(spec: InstrumentSpec, leg: Position) -> str:
    """The price at which closing pays back the entry's taker fee."""
    fee = leg.cost_e8 * spec.taker_ppm // 1_000_000
    return spec.entry_text(leg.cost_e8 + (fee if leg.qty_lots > 0 else -fee), leg.qty_lots)


def margin_call(account: Account, specs: Mapping[str, InstrumentSpec], now_ms: int) -> Row:
    """Write MARGIN_CALL for all legs."""
    rows = [
        {
            "s": leg.symbol,
            "ps": leg.side,
            "pa": specs[leg.symbol].qty_text(leg.qty_lots),
            "mt": "CROSSED",
            "iw": "0",
            "mp": specs[leg.symbol].mark_text(account.mark(leg.symbol)),
            "up": money_text(leg.unrealised_e8(account.mark(leg.symbol), specs[leg.symbol].unit_e8)),
            "mm": money_text(account.maintenance_of_e8(leg)),
        }
        for leg in account.positions()
    ]
    return {"e": "MARGIN_CALL", "E": now_ms, "cw": money_text(account.wallet_e8), "p": rows}


def config_update(now_ms: int, *, symbol: str = "", leverage: int = 0, multi_assets: bool | None = None) -> Row:
    """Write ACCOUNT_CONFIG_UPDATE: a symbol's leverage, or the multi-assets mode."""
    body: Row = {"ac": {"s": symbol, "l": leverage}} if symbol else {"ai": {"j": multi_assets}}
    return {"e": "ACCOUNT_CONFIG_UPDATE", "E": now_ms, "T": now_ms, **body}


def position_v3(account: Account, spec: InstrumentSpec, leg: Position, order_margin_e8: int) -> Row:
    """Write a leg as positionRisk v3 lists it."""
    signed = account.notional_e8(leg) if leg.qty_lots >= 0 else -account.notional_e8(leg)
    margin = account.initial_margin_e8(leg)
    mark = account.mark(leg.symbol)
    return {
        "symbol": leg.symbol,
        "positionSide": leg.side,
        "positionAmt": spec.qty_text(leg.qty_lots),
        "entryPrice": _entry(spec, leg),
        "breakEvenPrice": _break_even(spec, leg),
        "markPrice": spec.mark_text(mark),
        "unRealizedProfit": money_text(leg.unrealised_e8(mark, spec.unit_e8)),
        "liquidationPrice": "0",
        "isolatedMargin": "0",
        "notional": money_text(signed),
        "marginAsset": "USDT",
        "isolatedWallet": "0",
        "initialMargin": money_text(margin + order_margin_e8),
        "maintMargin": money_text(account.maintenance_of_e8(leg)),
        "positionInitialMargin": money_text(margin),
        "openOrderInitialMargin": money_text(order_margin_e8),
        "adl": 1 if leg.qty_lots else 0,
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": leg.updated_ms,
    }


def position_v2(account: Account, spec: InstrumentSpec, leg: Position) -> Row:
    """Write a leg as positionRisk v2 lists it."""
    row = position_v3(account, spec, leg, 0)
    kept = ("symbol", "positionSide", "positionAmt", "entryPrice", "breakEvenPrice", "markPrice", "unRealizedProfit")
    return {
        **{name: row[name] for name in kept},
        "liquidationPrice": "0",
        "leverage": str(account.leverage[leg.symbol]),
        "maxNotionalValue": str(spec.notional_cap_e8(account.leverage[leg.symbol]) // 100_000_000),
        "marginType": "cross" if account.margin_type[leg.symbol] == "CROSSED" else "isolated",
        "isolatedMargin": ZERO,
        "isAutoAddMargin": "false",
        "notional": row["notional"],
        "isolatedWallet": "0",
        "updateTime": leg.updated_ms,
        "isolated": account.margin_type[leg.symbol] != "CROSSED",
        "adlQuantile": row["adl"],
    }


def income_row(income: Income) -> Row:
    """Write an income row."""
    return {
        "symbol": income.symbol,
        "incomeType": income.kind,
        "income": money_text(income.amount_e8),
        "asset": "USDT",
        "time": income.time_ms,
        "info": income.kind if not income.trade_id else income.trade_id,
        "tranId": income.tran_id,
        "tradeId": income.trade_id,
    }


class AccountPages:
    """account and balance, v2 and v3, of one account with ``orders_margin_e8`` bound in open orders."""

    def __init__(self, account: Account, specs: Mapping[str, InstrumentSpec], orders_margin_e8: int) -> None:
        self._account = account
        self._specs = specs
        self._orders_e8 = orders_margin_e8
        self._legs_e8 = account.positions_margin_e8()
        self._open_profit_e8 = account.unrealised_e8()
        self._available_e8 = max(0, account.equity_e8() - self._legs_e8 - orders_margin_e8)

    def _figures(self) -> dict[str, str]:
        wallet = money_text(self._account.wallet_e8)
        return {
            "walletBalance": wallet,
            "unrealizedProfit": money_text(self._open_profit_e8),
            "marginBalance": money_text(self._account.equity_e8()),
            "maintMargin": money_text(self._account.maintenance_e8()),
            "initialMargin": money_text(self._legs_e8 + self._orders_e8),
            "positionInitialMargin": money_text(self._legs_e8),
            "openOrderInitialMargin": money_text(self._orders_e8),
            "crossWalletBalance": wallet,
            "crossUnPnl": money_text(self._open_profit_e8),
            "availableBalance": money_text(self._available_e8),
            "maxWithdrawAmount": money_text(min(self._available_e8, max(0, self._account.wallet_e8))),
        }

    def account(self, *, version: int) -> Row:
        """Write GET account."""
        figures = self._figures()
        names = {
            "totalInitialMargin": "initialMargin",
            "totalMaintMargin": "maintMargin",
            "totalWalletBalance": "walletBalance",
            "totalUnrealizedProfit": "unrealizedProfit",
            "totalMarginBalance": "marginBalance",
            "totalPositionInitialMargin": "positionInitialMargin",
            "totalOpenOrderInitialMargin": "openOrderInitialMargin",
            "totalCrossWalletBalance": "crossWalletBalance",
            "totalCrossUnPnl": "crossUnPnl",
            "availableBalance": "availableBalance",
            "maxWithdrawAmount": "maxWithdrawAmount",
        }
        asset: Row = {"asset": "USDT", **figures, "updateTime": self._account.updated_ms}
        page: Row = {name: figures[source] for name, source in names.items()}
        if version == 2:  # noqa: PLR2004 - the endpoint's version
            asset["marginAvailable"] = True
            page = {**self.config(), **page}
        return {**page, "assets": [asset], "positions": self._positions(version)}

    def config(self) -> Row:
        """Write what accountConfig says."""
        return {
            "feeTier": 0,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": True,
            "dualSidePosition": self._account.hedge,
            "updateTime": 0,
            "multiAssetsMargin": self._account.multi_assets,
            "tradeGroupId": -1,
        }

    def _positions(self, version: int) -> list[Row]:
        account = self._account
        rows = []
        if version == 3:  # noqa: PLR2004 - the endpoint's version
            legs = list(account.positions())
        else:
            legs = [leg for symbol in self._specs for leg in account.listed(symbol)]
        for leg in legs:
            row = position_v3(account, self._specs[leg.symbol], leg, 0)
            kept = ("symbol", "positionSide", "positionAmt", "isolatedMargin", "notional", "isolatedWallet")
            out = {name: row[name] for name in (*kept, "initialMargin", "maintMargin", "updateTime")}
            out["unrealizedProfit"] = row["unRealizedProfit"]
            if version != 3:  # noqa: PLR2004 - the endpoint's version
                out |= {name: row[name] for name in ("entryPrice", "breakEvenPrice")}
                out |= {name: row[name] for name in ("positionInitialMargin", "openOrderInitialMargin")}
                out |= {"leverage": str(account.leverage[leg.symbol]), "isolated": False}
            rows.append(out)
        return rows

    def balance(self, *, version: int) -> list[Row]:
        """Write GET balance; both versions have the same columns."""
        figures = self._figures()
        names = ("crossWalletBalance", "crossUnPnl", "availableBalance", "maxWithdrawAmount")
        return [
            {
                "accountAlias": "SgsR" if version == 2 else "FzsR",  # noqa: PLR2004 - the endpoint's version
                "asset": "USDT",
                "balance": figures["walletBalance"],
                **{name: figures[name] for name in names},
                "marginAvailable": True,
                "updateTime": self._account.updated_ms,
            }
        ]
