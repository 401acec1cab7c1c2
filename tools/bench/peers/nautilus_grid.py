# mypy: disable-error-code="import-not-found, import-untyped, misc"
"""The grid in nautilus_trader: a strategy in Python on its event-driven engine, a hedging account, the same bars.

Every rung is a limit order on the engine's exchange, every lot a position of its own with a limit and a stop order. The
engine walks open, then the extreme nearer to it, the other, and close; limits fill where the price went through them.
Logging, the engine's own risk checks and the analysis after the run are off: what is left is the simulation.

Invariant: each run has an engine of its own, built outside the clock.
"""

from decimal import Decimal

import numpy as np
import pandas as pd
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.backtest.models import FillModel
from nautilus_trader.config import BacktestEngineConfig, LoggingConfig, RiskEngineConfig, StrategyConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.events import OrderEvent, OrderFilled
from nautilus_trader.model.identifiers import ClientOrderId, InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.model.orders import Order
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy

from tools.bench.peers.measuring import MICRO, Case, Fills, Setup, main

LONG, SHORT = 0, 1
VENUE = Venue("BINANCE")
Rung = tuple[int, int, int]
"""Leg, level, generation."""


class Grid(Strategy):
    """The grid: decides on each bar, answers each fill with its exits, and each exit's fill by ending the other."""

    def __init__(self, setup: Setup, instrument: CryptoPerpetual, bar_type: BarType) -> None:
        super().__init__(StrategyConfig(strategy_id="GRID-001"))
        self.setup, self.instrument, self.bar_type = setup, instrument, bar_type
        self.tick = float(setup.tick)
        self.qty = Quantity(setup.qty_lots * float(setup.lot), instrument.size_precision)
        self.bars = self.center = self.step = self.generation = 0
        self.entries = self.take_profits = self.stops = 0
        self.working: dict[ClientOrderId, tuple[Rung, Order]] = {}
        self.taken: set[Rung] = set()
        self.exits: dict[ClientOrderId, tuple[Rung, Order, bool]] = {}

    def on_start(self) -> None:
        """Ask for the bars."""
        self.subscribe_bars(self.bar_type)

    def on_bar(self, bar: Bar) -> None:
        """Recenter where the close left the center, and rest every rung that is free."""
        self.bars += 1
        if self.bars <= self.setup.first_decision:
            return
        close = round(float(bar.close) / self.tick)
        if not self.center or abs(close - self.center) * MICRO > self.center * self.setup.recenter_ppm:
            self.center, self.step = close, max(MICRO, close * self.setup.step_ppm)
            self.generation += 1
            for _, order in self.working.values():
                self.cancel_order(order)
            self.working.clear()
            self.taken.clear()
        for leg in (LONG, SHORT):
            for level in range(1, self.setup.levels + 1):
                rung = (leg, level, self.generation)
                if rung not in self.taken:
                    self.rest(rung, close)

    def rest(self, rung: Rung, close: int) -> None:
        """Send a rung's order where it would not cross the close."""
        leg, level, _ = rung
        if leg == LONG:
            price = (self.center * MICRO - level * self.step) // MICRO
        else:
            price = -((-self.center * MICRO - level * self.step) // MICRO)
        if (price >= close) if leg == LONG else (price <= close):
            return
        side = OrderSide.BUY if leg == LONG else OrderSide.SELL
        order = self.order_factory.limit(self.instrument.id, side, self.qty, self.price(price), post_only=True)
        self.taken.add(rung)
        self.working[order.client_order_id] = (rung, order)
        self.submit_order(order)

    def price(self, price_ticks: int) -> Price:
        """Give a price in the engine's own type."""
        return Price(price_ticks * self.tick, self.instrument.price_precision)

    def on_order_filled(self, event: OrderFilled) -> None:
        """Open a lot's exits, or end what an exit leaves behind."""
        if event.client_order_id in self.working:
            rung, _ = self.working.pop(event.client_order_id)
            self.entries += 1
            self.open_exits(rung, event)
            return
        rung, other, is_stop = self.exits.pop(event.client_order_id)
        self.exits.pop(other.client_order_id, None)
        self.stops += is_stop
        self.take_profits += not is_stop
        self.taken.discard(rung)
        if other.is_open or other.is_inflight:
            self.cancel_order(other)

    def open_exits(self, rung: Rung, event: OrderFilled) -> None:
        """Send the take-profit and the stop of the lot that an entry opened."""
        sign = 1 if rung[0] == LONG else -1
        side = OrderSide.SELL if rung[0] == LONG else OrderSide.BUY
        entry = round(float(event.last_px) / self.tick)
        target = entry + sign * -(-self.setup.tp_steps * self.step // MICRO)
        trigger = entry - sign * (self.setup.sl_steps * self.step // MICRO)
        take = self.order_factory.limit(self.instrument.id, side, self.qty, self.price(target), reduce_only=True)
        stop = self.order_factory.stop_market(self.instrument.id, side, self.qty, self.price(trigger), reduce_only=True)
        self.exits[take.client_order_id] = (rung, stop, False)
        self.exits[stop.client_order_id] = (rung, take, True)
        self.submit_order(take, position_id=event.position_id)
        self.submit_order(stop, position_id=event.position_id)

    def on_order_rejected(self, event: OrderEvent) -> None:
        """Offer the rung again at the next decision: the price ran through it before it rested."""
        if event.client_order_id in self.working:
            rung, _ = self.working.pop(event.client_order_id)
            self.taken.discard(rung)


def instrument_of(setup: Setup) -> CryptoPerpetual:
    """Give the engine the instrument of the case."""
    tick, lot = Decimal(setup.tick), Decimal(setup.lot)
    price_precision, size_precision = -int(tick.as_tuple().exponent), -int(lot.as_tuple().exponent)
    symbol = Symbol("BTCUSDT-PERP")
    return CryptoPerpetual(
        instrument_id=InstrumentId(symbol, VENUE),
        raw_symbol=symbol,
        base_currency=BTC,
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=price_precision,
        size_precision=size_precision,
        price_increment=Price(float(tick), price_precision),
        size_increment=Quantity(float(lot), size_precision),
        ts_event=0,
        ts_init=0,
        margin_init=Decimal("0.05"),
        margin_maint=Decimal("0.025"),
        maker_fee=Decimal(setup.maker_ppm) / MICRO,
        taker_fee=Decimal(setup.taker_ppm) / MICRO,
    )


class NautilusGrid:
    """nautilus_trader on the case's bars."""

    name = "nautilus_trader"
    packages: tuple[str, ...] = ("nautilus_trader", "numpy", "pandas")
    notes: tuple[str, ...] = (
        "orders sent in answer to a fill are live after the bar, not within it",
        "the extreme nearer to the open comes first; stops fill at their trigger, without slippage",
        "every lot is a position of its own; a bar shows so much volume that every order fills whole",
        "no funding, liquidation, limits or pauses; logging, risk checks and analysis are off",
        "timed: BacktestEngine.run alone",
    )

    def __init__(self, case: Case) -> None:
        self.setup = case.setup
        self.instrument = instrument_of(case.setup)
        minutes = case.setup.bar_ns // 60_000_000_000
        self.bar_type = BarType.from_str(f"{self.instrument.id}-{minutes}-MINUTE-LAST-EXTERNAL")
        frame = pd.DataFrame(
            {
                name: np.round(case.columns[f"{name}_ticks"] * float(case.setup.tick), self.instrument.price_precision)
                for name in ("open", "high", "low", "close")
            },
            index=pd.to_datetime(case.columns["ts_ns"] + case.setup.bar_ns, utc=True),
        )
        self.bars = BarDataWrangler(self.bar_type, self.instrument).process(frame)
        self.engine: BacktestEngine | None = None
        self.grid: Grid | None = None

    def prepare(self) -> None:
        """Build an engine with the bars loaded."""
        if self.engine is not None:
            self.engine.dispose()
        self.engine = BacktestEngine(
            BacktestEngineConfig(
                logging=LoggingConfig(bypass_logging=True),
                risk_engine=RiskEngineConfig(bypass=True),
                run_analysis=False,
            )
        )
        self.engine.add_venue(
            venue=VENUE,
            oms_type=OmsType.HEDGING,
            account_type=AccountType.MARGIN,
            starting_balances=[Money(self.setup.wallet_quote, USDT)],
            base_currency=USDT,
            fill_model=FillModel(prob_fill_on_limit=0.0),
            bar_adaptive_high_low_ordering=True,
        )
        self.engine.add_instrument(self.instrument)
        self.engine.add_data(self.bars)
        self.grid = Grid(self.setup, self.instrument, self.bar_type)
        self.engine.add_strategy(self.grid)

    def run(self) -> Fills:
        """Trade all bars."""
        assert self.engine is not None, "prepare comes first"
        assert self.grid is not None, "prepare comes first"
        self.engine.run()
        return Fills(entries=self.grid.entries, take_profits=self.grid.take_profits, stops=self.grid.stops)


if __name__ == "__main__":
    main(NautilusGrid)
