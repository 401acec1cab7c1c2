"""What the reference simulator remembers. Comments name the paragraph of the design's section 14 unless said otherwise.

Invariant: prices are ticks, quantities lots, money quote x 1e8, times ns; what is finer is a Fraction or says so.
"""

from dataclasses import dataclass, field
from fractions import Fraction

from hedgegrid.config.grid import GridConfig
from hedgegrid.config.sim import SimConfig
from hedgegrid.model.instrument import Instrument
from tests.reference.indicators_by_the_book import Indicators

MILLION = 1_000_000
LONG, SHORT = 0, 1
SIGN = (1, -1)
ENTRY, TAKE_PROFIT, STOP, LIQUIDATION = 0, 1, 2, 5
SIDEWAYS, UP, DOWN = 0, 1, 2

Row = tuple[int, int, int, int, int, int, int, int, int, int]
"""Time, leg, purpose, level, generation, price, quantity, fee, realised, maker."""
Rung = tuple[int, int, int]
"""Leg, level, generation."""
Bar = tuple[int, int, int, int, int]
"""Opening time, open, high, low, close."""


@dataclass
class Lot:
    """A filled entry: its exits' prices in ticks, and whether a market reduction is on its way."""

    rung: Rung
    price: int
    qty: int
    step: int
    tp_price: int
    stop_price: int
    leaving: bool = False


@dataclass
class Order:
    """An order of any purpose; ``where`` is waiting (a retry), flying, live or over."""

    no: int
    purpose: int
    leg: int
    price: int
    qty: int
    live_ns: int
    where: str = "flying"
    market: bool = False
    age: int = 0
    rung: Rung = (0, -1, -1)
    rung_price: int = 0
    tp: Fraction = Fraction(0)
    step: int = 0
    attempt: int = 0
    send_ns: int = 0
    cancelling: bool = False
    held_bar: int = -1
    set_no: int = 0
    lots: list[Lot] = field(default_factory=list)


@dataclass
class Wish:
    """A rung that the ladder offers: price in ticks, quantity in millionths of a lot, take-profit distance in ticks."""

    price: int
    micro: int
    tp: Fraction
    crossing: bool
    lots: int = 0


def ceil_div(a: int, b: int) -> int:
    """Divide, rounded up."""
    return -((-a) // b)


class State:
    """One instrument's market, account, orders and grid."""

    def __init__(self, grid: GridConfig, sim: SimConfig, instrument: Instrument, wallet_e8: int, bar_ns: int) -> None:
        """Read the settings as exact figures."""
        self.grid, self.sim, self.instrument, self.bar_ns = grid, sim, instrument, bar_ns
        self.unit = instrument.unit_e8
        self.latency = sim.latency_ms * MILLION
        self.slip = int(sim.slippage_bps * 100)
        self.wallet = wallet_e8
        self.ind = Indicators(grid.regime, float(grid.ladder.vol_lambda))
        self.regime = SIDEWAYS
        self.center = self.step = self.generation = 0
        self.price, self.ts, self.bar_no, self.low, self.high = 0, 0, -1, 0, 0
        self.position, self.cost = [0, 0], [0, 0]
        self.newest_step, self.newest_set = [0, 0], [0, 0]
        self.orders: list[Order] = []
        self.cancels: list[tuple[int, Order]] = []
        self.changes: list[tuple[int, int, int]] = []  # (live_ns, leg, set_no): a leg's stops change as one set
        self.lots: list[Lot] = []
        self.wanted: dict[Rung, Wish] = {}
        self.rate: tuple[int, int] | None = None  # (stamp, rate x 1e8) of the last settlement
        self.settlements: list[tuple[int, int]] = []
        self.no = self.age = self.sets = 0
        self.touched: list[int] = []  # legs with fills since the strategy last answered
        self.rejected: list[Order] = []
        self.confirmed: list[Order] = []
        self.born: list[Lot] = []
        self.rows: list[Row] = []
        self.ambiguous: set[int] = set()
        self.seen: dict[str, int] = {}
        self.liquidated = False
        self.throttle = MILLION
        self.keeps_unchanged_stops = False
        self.merges_wrong_side = True

    def send(self, order: Order) -> None:
        """Send an order now: it is live one latency later."""
        self.no += 1
        order.no, order.live_ns, order.where = self.no, self.ts + self.latency, "flying"
        self.orders.append(order)
