"""The exchange's engine: one account, its markets, and what time and operators do to them.

It is synchronous and has no clock: each call brings the time, a seed makes the ids. User events leave through
``emit`` as the wire has them.

Invariants: prices move, then orders fill, then conditionals trigger, then the margin is looked at; the wallet is the
initial wallet plus all income rows.
"""

from collections.abc import Sequence
from typing import Any, Final, cast

import attrs

from tools.standin import account_wire, intake
from tools.standin.account import HEDGE_SIDES, Account, Income, Position, PositionSide
from tools.standin.algo import AlgoService
from tools.standin.book import Book, Match
from tools.standin.errors import refusal
from tools.standin.forced import ForcedCloser
from tools.standin.intake import Params
from tools.standin.ledger import Ids
from tools.standin.orders import Order, Trade
from tools.standin.rules import InstrumentSpec, money_text
from tools.standin.switches import Switches
from tools.standin.trading import Emit, Trading

_LEVERAGE_MAX: Final = 125


def say_nothing(_event: dict[str, Any]) -> None:
    """Drop an event: nobody listens yet."""


@attrs.frozen(kw_only=True)
class Quote:
    """What a symbol's market shows: prices in ticks, quantities in lots, the funding rate x 1e8."""

    bid_ticks: int
    ask_ticks: int
    bid_qty_lots: int
    ask_qty_lots: int
    last_ticks: int
    last_qty_lots: int
    mark_ticks: int
    index_ticks: int
    rate_e8: int
    next_funding_ms: int
    ts_ms: int


class Exchange:
    """One account on the stand-in."""

    def __init__(
        self,
        specs: Sequence[InstrumentSpec],
        *,
        wallet_e8: int,
        seed: int = 0,
        switches: Switches | None = None,
        emit: Emit = say_nothing,
        hedge: bool = True,
        leverage: int = 20,
    ) -> None:
        """Open an account of ``wallet_e8`` (quote x 1e8) with no position."""
        self.specs = {spec.symbol: spec for spec in specs}
        self.switches = switches or Switches()
        self.emit = emit
        self.books = {spec.symbol: Book(spec, self.switches) for spec in specs}
        self.account = Account(
            self.specs,
            lambda symbol: self.books[symbol].mark_ticks,
            wallet_e8=wallet_e8,
            hedge=hedge,
            leverage=leverage,
        )
        self.trading = Trading(self.specs, self.switches, self.account, self.books, Ids(seed), self._send)
        self.algos = AlgoService(self.trading)
        self._forced = ForcedCloser(self.trading, self.algos)
        self._funding: dict[str, tuple[int, int]] = {}
        self._countdowns: dict[str, int] = {}

    def _send(self, event: dict[str, Any]) -> None:
        """Emit through whoever listens at this moment."""
        self.emit(event)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, in the order of the specs."""
        return tuple(self.specs)

    # --- the market and time ----------------------------------------------------------------------------------------

    def move(
        self,
        symbol: str,
        bid_ticks: int,
        ask_ticks: int,
        last_ticks: int,
        qty_lots: int,
        mark_ticks: int,
        now_ms: int,
        *,
        bid_qty_lots: int = 0,
        ask_qty_lots: int = 0,
        index_ticks: int | None = None,
    ) -> None:
        """Move a market: a trade has ``qty_lots`` > 0, a quote keeps the last price."""
        book = self.books[symbol]
        watched = mark_ticks != book.mark_ticks
        book.bid_qty_lots, book.ask_qty_lots = bid_qty_lots, ask_qty_lots
        book.index_ticks = mark_ticks if index_ticks is None else index_ticks
        for match in book.move(bid_ticks, ask_ticks, last_ticks, qty_lots, mark_ticks, now_ms):
            self.trading.apply(match, now_ms)
            watched = True
        self.algos.look(symbol, now_ms)
        if watched:
            self._forced.watch_margin(now_ms)

    def set_funding(self, symbol: str, rate_e8: int, next_ms: int) -> None:
        """Set the rate and the time of the next settlement that premiumIndex shows."""
        self._funding[symbol] = (rate_e8, next_ms)

    def settle_funding(self, symbol: str, rate_e8: int, now_ms: int) -> None:
        """Charge a settlement to the symbol's legs at the mark."""
        legs = list(self.account.positions(symbol))
        if not legs:
            return
        change = sum(self.account.charge_funding(leg, rate_e8, now_ms) for leg in legs)
        event = account_wire.account_update(self.account, self.specs, [], "FUNDING_FEE", now_ms, change)
        event["a"]["S"] = symbol
        self.emit(event)
        self._forced.watch_margin(now_ms)

    def tick(self, now_ms: int) -> None:
        """Do what time alone does: countdowns that have run out, orders whose time has ended."""
        late = self.switches.countdown_late_ms
        for symbol in [s for s, end in self._countdowns.items() if end + late <= now_ms]:
            del self._countdowns[symbol]
            self.trading.cancel_all(symbol, now_ms)
            if self.switches.countdown_strips_stops:
                self.algos.cancel_all(symbol, now_ms)
        for order in [o for o in self.trading.ledger.open.values() if 0 < o.good_till_ms <= now_ms]:
            self.trading.end(order, "EXPIRED", now_ms)

    def quote(self, symbol: str) -> Quote:
        """Give what a symbol's market shows."""
        book = self.books[symbol]
        rate_e8, next_ms = self._funding.get(symbol, (0, 0))
        return Quote(
            bid_ticks=book.bid_ticks,
            ask_ticks=book.ask_ticks,
            bid_qty_lots=book.bid_qty_lots,
            ask_qty_lots=book.ask_qty_lots,
            last_ticks=book.last_ticks,
            last_qty_lots=book.last_qty_lots,
            mark_ticks=book.mark_ticks,
            index_ticks=book.index_ticks,
            rate_e8=rate_e8,
            next_funding_ms=next_ms,
            ts_ms=book.ts_ms,
        )

    # --- requests ---------------------------------------------------------------------------------------------------

    def place(self, params: Params, now_ms: int) -> dict[str, Any]:
        """Place an order from raw parameters; give the answer of the asked response type. Raises ExchangeError."""
        form = intake.read_order(params, self.specs, hedge=self.account.hedge, now_ms=now_ms)
        order = self.trading.place(form, now_ms)
        accepted = order.rest()
        self.trading.execute(order, now_ms)
        return order.rest() if params.get("newOrderRespType") == "RESULT" else accepted

    def amend(self, params: Params, now_ms: int) -> dict[str, Any]:
        """Amend a limit order from raw parameters."""
        spec = intake.symbol_of(params, self.specs)
        order = self._order_named(params, spec)
        if order is None or not order.is_open:
            raise refusal(-2013)
        if order.kind != "LIMIT":
            raise refusal(-5025)
        if intake.side_of(params) != order.side:
            raise refusal(-1117)
        form = intake.OrderForm(
            spec=spec,
            side=order.side,
            position_side=order.position_side,
            kind="LIMIT",
            time_in_force=order.time_in_force,
            price_ticks=spec.ticks_of(intake.needed(params, "price")),
            qty_lots=spec.lots_of(intake.needed(params, "quantity"), market=False),
            client_id=order.client_id,
            reduce_only=order.reduce_only,
            good_till_ms=order.good_till_ms,
            stp=order.stp,
        )
        self.trading.amend(order, form, now_ms)
        return order.rest()

    def cancel_order(self, params: Params, now_ms: int) -> dict[str, Any]:
        """Cancel an order from raw parameters."""
        spec = intake.symbol_of(params, self.specs)
        order = self._order_named(params, spec)
        if order is None or not order.is_open:
            raise refusal(-2011)
        self.trading.end(order, "CANCELED", now_ms)
        return order.rest()

    def _order_named(self, params: Params, spec: InstrumentSpec) -> Order | None:
        """Give the order that orderId or origClientOrderId names; -1102 without either."""
        if params.get("orderId"):
            return self.trading.ledger.find(spec.symbol, intake.whole(params, "orderId"), None)
        return self.trading.ledger.find(spec.symbol, None, intake.needed(params, "origClientOrderId"))

    def query_order(self, params: Params, now_ms: int) -> Order:
        """Give the order that a query names; -2013 for one that is not shown."""
        spec = intake.symbol_of(params, self.specs)
        order_id = intake.whole(params, "orderId") if params.get("orderId") else None
        client_id = None if order_id is not None else intake.needed(params, "origClientOrderId")
        return self.trading.ledger.query(spec.symbol, order_id, client_id, now_ms)

    def cancel(
        self, symbol: str, now_ms: int, *, order_id: int | None = None, client_id: str | None = None
    ) -> dict[str, Any]:
        """Cancel an order by hand."""
        return self.trading.cancel(symbol, order_id, client_id, now_ms).rest()

    def place_algo(self, params: Params, now_ms: int) -> dict[str, Any]:
        """Place a conditional from raw parameters."""
        return self.algos.place(intake.read_algo(params, self.specs, hedge=self.account.hedge), now_ms).rest()

    def arm_countdown(self, symbol: str, countdown_ms: int, now_ms: int) -> None:
        """Arm a symbol's countdown, or disarm it with 0."""
        self._countdowns.pop(symbol, None)
        if countdown_ms:
            self._countdowns[symbol] = now_ms + countdown_ms

    # --- settings ---------------------------------------------------------------------------------------------------

    def set_position_mode(self, now_ms: int, *, hedge: bool, force: bool = True) -> None:
        """Change the position mode; unforced, -4059 where it is so already and -4067, -4068 with orders, positions."""
        if not force:
            if hedge == self.account.hedge:
                raise refusal(-4059)
            if self.trading.ledger.open or self.algos.open:
                raise refusal(-4067)
            if any(self.account.positions()):
                raise refusal(-4068)
        self.account.hedge = hedge
        self.account.updated_ms = now_ms

    def set_leverage(self, symbol: str, leverage: int, now_ms: int) -> None:
        """Change a symbol's leverage; -4028 for one that the symbol has not, -2027 where the position is too large."""
        spec = self.specs[symbol]
        if not 1 <= leverage <= min(_LEVERAGE_MAX, max(b.leverage for b in spec.brackets)):
            raise refusal(-4028, leverage=leverage)
        if any(
            self.account.notional_e8(leg) > spec.notional_cap_e8(leverage) for leg in self.account.positions(symbol)
        ):
            raise refusal(-2027)
        self.account.leverage[symbol] = leverage
        self.emit(account_wire.config_update(now_ms, symbol=symbol, leverage=leverage))

    def set_margin_type(self, symbol: str, kind: str) -> None:
        """Change a symbol's margin type; -4046, -4047, -4048 where it cannot change. Isolation is a name only."""
        if kind == self.account.margin_type[symbol]:
            raise refusal(-4046)
        if self.account.multi_assets and kind == "ISOLATED":
            raise refusal(-4168)
        if self.trading.ledger.of(symbol):
            raise refusal(-4047)
        if any(self.account.positions(symbol)):
            raise refusal(-4048)
        self.account.margin_type[symbol] = kind

    def set_multi_assets(self, now_ms: int, *, on: bool) -> None:
        """Change the multi-assets mode; -4171 where it is so already."""
        if on == self.account.multi_assets:
            raise refusal(-4171)
        self.account.multi_assets = on
        self.emit(account_wire.config_update(now_ms, multi_assets=on))

    # --- operators --------------------------------------------------------------------------------------------------

    def liquidate(self, now_ms: int, symbol: str | None = None) -> None:
        """Liquidate the account, or one symbol, now."""
        self._forced.liquidate(now_ms, symbol)

    def adl(self, symbol: str, position_side: str, qty_lots: int, now_ms: int) -> None:
        """Auto-deleverage one leg."""
        leg = self.account.position(symbol, cast("PositionSide", position_side))
        self._forced.deleverage(leg, qty_lots, now_ms)

    def settle(self, symbol: str, now_ms: int) -> None:
        """Settle a symbol that is delisted."""
        self._forced.settle(symbol, now_ms)

    def transfer(self, amount_e8: int, now_ms: int) -> None:
        """Move money into the account (negative: out of it)."""
        self.account.earn("", "TRANSFER", amount_e8, now_ms)
        reason = "DEPOSIT" if amount_e8 > 0 else "WITHDRAW"
        self.emit(account_wire.account_update(self.account, self.specs, [], reason, now_ms, amount_e8))

    def change_spec(self, symbol: str, **changes: Any) -> None:  # noqa: ANN401 - any field of the spec
        """Change a symbol's rules; precision, tick and lot must stay, since what is open counts in them."""
        fixed = {"symbol", "tick", "lot", "price_precision", "quantity_precision"} & set(changes)
        assert not fixed, f"these cannot change under open orders: {sorted(fixed)}"
        self.specs[symbol] = attrs.evolve(self.specs[symbol], **changes)

    def set_liquidity(self, symbol: str, qty_lots: int | None) -> None:
        """Bound what one taker order can take; None lifts the bound."""
        self.books[symbol].liquidity_lots = qty_lots

    def expire_order(self, order_id: int, now_ms: int, reason: str = "0") -> None:
        """End an open order by the exchange's own will."""
        self.trading.end(self.trading.ledger.open[order_id], "EXPIRED", now_ms, expiry=reason)

    def fill_order(self, order_id: int, now_ms: int, qty_lots: int | None = None) -> None:
        """Fill an open limit order at its own price as maker, whole or by a quantity, whatever the market does."""
        order = self.trading.ledger.open[order_id]
        qty = order.left_lots if qty_lots is None else min(qty_lots, order.left_lots)
        book = self.books[order.symbol]
        book.drop(order_id)
        self.trading.apply(Match(no=order_id, price_ticks=order.price_ticks, qty_lots=qty, maker=True), now_ms)
        if order.is_open:
            book.rest(order_id, order.price_ticks, order.left_lots, buys=order.buys)

    # --- reads ------------------------------------------------------------------------------------------------------

    @property
    def wallet_e8(self) -> int:
        """The wallet."""
        return self.account.wallet_e8

    @property
    def initial_e8(self) -> int:
        """The wallet at the start."""
        return self.account.initial_e8

    def equity_e8(self) -> int:
        """Give the wallet plus the unrealised profit."""
        return self.account.equity_e8()

    def position(self, symbol: str, side: str) -> Position:
        """Give a leg."""
        return self.account.position(symbol, cast("PositionSide", side))

    def open_orders(self, symbol: str | None = None) -> list[dict[str, Any]]:
        """Give the open ordinary orders as openOrders lists them."""
        return [order.rest(query=True) for order in self.trading.ledger.of(symbol)]

    def open_algos(self, symbol: str | None = None) -> list[dict[str, Any]]:
        """Give the open conditionals as openAlgoOrders lists them."""
        return [algo.rest(query=True) for algo in self.algos.of(symbol)]

    @property
    def trades(self) -> Sequence[Trade]:
        """All trades, oldest first."""
        return self.trading.ledger.trades

    @property
    def income(self) -> Sequence[Income]:
        """All changes of the wallet, oldest first."""
        return self.account.income

    def summary(self) -> dict[str, Any]:
        """Give the account as one JSON value: wallet, legs, open orders and conditionals."""
        legs = [leg for symbol in self.specs for leg in self.account.listed(symbol)]
        return {
            "walletBalance": money_text(self.wallet_e8),
            "initialBalance": money_text(self.initial_e8),
            "hedge": self.account.hedge,
            "positions": [
                {
                    "symbol": leg.symbol,
                    "positionSide": leg.side,
                    "positionAmt": self.specs[leg.symbol].qty_text(leg.qty_lots),
                    "cost": money_text(leg.cost_e8),
                    "realised": money_text(leg.realised_e8),
                    "fees": money_text(leg.fees_e8),
                    "funding": money_text(leg.funding_e8),
                }
                for leg in legs
                if leg.side in HEDGE_SIDES or leg.qty_lots or not self.account.hedge
            ],
            "orders": self.open_orders(),
            "algoOrders": self.open_algos(),
            "trades": len(self.trades),
        }
