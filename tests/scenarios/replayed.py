"""A journal walked again on a wire of the test's own: what the account could have come to at each entry that left.

Invariants: it reads messages alone, in the order in which they were made; sums are the wire's, never the gate's.
"""

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from statistics import NormalDist
from typing import Final

import attrs
import msgspec

from hedgegrid.config.load import load
from hedgegrid.config.params import instrument_of
from hedgegrid.config.schema import AccountConfig
from hedgegrid.journal.tape import decode
from hedgegrid.messages.events import (
    ApprovedBatch,
    BarClosed,
    ExecutionBatch,
    MarkPrice,
    Message,
    OrderEvent,
    OrderEventKind,
)
from hedgegrid.model.order import OrderRequest, Purpose
from hedgegrid.units import CASH_SCALE
from tests.actors.gate_wire import Caps, Fate, Terms, Wire, Wired

MUCH: Final = 10**17
WIDE: Final = Caps(
    wallet_e8=0,
    leg_e8=MUCH,
    gross_e8=MUCH,
    net_e8=MUCH,
    order_e8=MUCH,
    order_lots=10**9,
    position_lots=10**9,
    open_orders=10**6,
    leverage_ppm=10**9,
    position_ppm=10**9,
    margin_ppm=10**9,
    distance_ppm=1,
    var_ppm=10**9,
    orders_per_minute=10**6,
)
"""Caps that nothing meets; the wallet is the config's."""
_ENDS: Final = (OrderEventKind.CANCELLED, OrderEventKind.REJECTED, OrderEventKind.EXPIRED)
_PER_DAY: Final = 1_440
_MARK: Final = msgspec.json.Decoder(MarkPrice)


@attrs.frozen(kw_only=True)
class Entry:
    """An entry that left: the mark at that moment, and each figure as it was without it, with it, and its cap."""

    request: OrderRequest
    mark_ticks: int
    figures: dict[str, tuple[int, int, int]]


class Replay(Wire):
    """The wire of one journal."""

    def __init__(self, config: AccountConfig, caps: Caps) -> None:
        """Begin as the account does: flat, with its wallet, at no price."""
        (grid,) = config.grid
        instrument = instrument_of(config, grid.instrument)
        self.config, self.caps, self.closes = config, caps, list[int]()
        terms = Terms(
            units_e8={instrument.name: instrument.unit_e8},
            tiers=tuple((tier.max_notional_e8, tier.maintenance_ppm) for tier in instrument.tiers),
            leverage=config.venue.leverage,
            loss_ratio=0.0,
        )
        super().__init__(terms, 0, int(config.account.wallet_quote * CASH_SCALE))

    def take(self, message: Message) -> Iterator[Entry]:
        """Take the next message, and give the entries that left with it."""
        match message:
            case MarkPrice():
                self.marks[message.instrument] = message.mark_ticks
            case BarClosed():
                self._measure(message.bar.close_ticks)
            case ExecutionBatch():
                for event in message.events:
                    self._heard(event)
            case ApprovedBatch():
                for approved in message.approved:
                    yield from self._left(approved.request)
            case _:
                return

    def _left(self, request: OrderRequest) -> Iterator[Entry]:
        before = self.figures(self.caps)
        self.orders.append(Wired(request))
        if request.purpose is Purpose.ENTRY:
            figures = {what: (before[what][0], value, cap) for what, (value, cap) in self.figures(self.caps).items()}
            yield Entry(request=request, mark_ticks=self.marks[request.instrument], figures=figures)

    def _heard(self, event: OrderEvent) -> None:
        found = [order for order in self.orders if order.request.client_id == event.client_id]
        if event.fill is not None:
            fill = event.fill
            side = self.sides[fill.instrument, fill.leg]
            lots = fill.qty_lots if fill.purpose is Purpose.ENTRY else -fill.qty_lots
            for holding in (side, side.told):
                holding.move(fill.leg, lots, fill.price_ticks * self.units_e8[fill.instrument])
            self.told_wallet_e8 += fill.realised_e8 - fill.fee_e8
        for order in found:
            order.filled_lots += 0 if event.fill is None else event.fill.qty_lots
            over = event.kind in _ENDS or (event.fill is not None and event.qty_lots == 0)
            order.fate = Fate.DEAD if over else Fate.LIVE
        self.orders = [order for order in self.orders if order.fate is not Fate.DEAD]

    def _measure(self, close_ticks: int) -> None:
        """What a unit of net notional could lose: z x sigma x root of the bars in the horizon."""
        self.closes.append(close_ticks)
        limits = self.config.risk.var
        decay, variance = float(limits.lambda_), None
        for before, after in zip(self.closes, self.closes[1:], strict=False):
            square = (after / before - 1) ** 2
            variance = square if variance is None else decay * variance + (1 - decay) * square
        z = NormalDist().inv_cdf(float(limits.confidence))
        bars = limits.horizon_hours * _PER_DAY / 24
        self.terms = attrs.evolve(self.terms, loss_ratio=z * math.sqrt((variance or 0.0) * bars))


def entries(journal: Path, config: Path, caps: Caps) -> list[Entry]:
    """Every entry of a journal of one life, with what the account could have come to by it."""
    replay = Replay(load(config), caps)
    told: list[Message] = []
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
        told += [decode(kind, payload) for kind, payload in connection.execute("SELECT kind, payload FROM tape")]
        marks = connection.execute("SELECT payload FROM quotes WHERE kind = 'MarkPrice'")
        told += [_MARK.decode(payload) for (payload,) in marks]
    told.sort(key=lambda message: message.seq)
    return [entry for message in told for entry in replay.take(message)]
