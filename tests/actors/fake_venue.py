"""A venue that does what a test says: every call can hang, lose its answer or fail, every source can lag or contradict.

Invariants: it keeps its own truth (orders, fills, positions, wallet), which faults never bend; what a source shows of
it is the truth but for what a test hides or makes up; it knows nothing of the executor but what it is asked.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Sequence

import attrs

from hedgegrid.errors import OutcomeUnknown
from hedgegrid.messages.events import EndReason, FundingPaid, OrderEvent, OrderEventKind
from hedgegrid.model.account import Balance, Position
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Fill, Kind, Leg, OpenOrder, OrderRequest, Purpose, Side, side_of
from hedgegrid.ports import FillCursors, LookUp, OrderLook, PrivateEvent
from hedgegrid.runtime.clock import Clock
from tests.journal.life import BTC, INSTRUMENTS

HANG = "hang"
"""The call never comes back, and the venue never gets the request."""
TAKEN_HANG = "taken, then hang"
"""The venue takes the request, and the call never comes back."""
LOSE = "taken, answer lost"
NOT_TAKEN = "request lost"
Fault = str | Exception
"""What befalls one call: one of the above, or an error raised before anything is taken."""


@attrs.define(eq=False)
class FakeTrading:
    """The ``Trading`` port over a truth that a test moves."""

    clock: Clock
    exits_are_linked: bool = False
    amends: bool = False
    orders: dict[str, OpenOrder] = attrs.field(factory=dict)
    """What is open, by client id."""
    ended: dict[str, tuple[OrderEventKind, int]] = attrs.field(factory=dict)
    """What has ended: how, and what was filled of it."""
    fills: list[Fill] = attrs.field(factory=list)
    held: dict[tuple[str, Leg], int] = attrs.field(factory=lambda: defaultdict(int))
    wallet_e8: int = 1_000_000_000_000
    faults: dict[str, deque[Fault | None]] = attrs.field(factory=lambda: defaultdict(deque))
    """By call: what befalls the next ones; None: nothing. Without an entry nothing does."""
    hidden: set[str] = attrs.field(factory=set)
    """Orders that neither list shows."""
    shown: list[OpenOrder] = attrs.field(factory=list)
    """Orders that the lists show though they are not open."""
    hidden_fills: set[int] = attrs.field(factory=set)
    """Trades that the list of fills does not show yet."""
    off_lots: dict[tuple[str, Leg], int] = attrs.field(factory=dict)
    """By how much the positions are shown wrong."""
    looks: dict[str, LookUp] = attrs.field(factory=dict)
    """What is answered to a question for an order, in place of the truth."""
    answers: dict[str, OrderEvent] = attrs.field(factory=dict)
    """What is answered to a placement, in place of ACCEPTED; the order is not taken."""
    hooks: dict[str, Callable[[], None]] = attrs.field(factory=dict)
    """By call: what a test does as it comes in."""
    calls: list[tuple[str, object]] = attrs.field(factory=list)
    ready: dict[str, tuple[str, ...]] = attrs.field(factory=dict)
    """By instrument: what was made ready, and neither asked for nor let go of since."""
    trades: int = 0
    _sink: Callable[[PrivateEvent], None] | None = None

    def subscribe(self, sink: Callable[[PrivateEvent], None]) -> None:
        """Take the sink; tests speak to the executor themselves."""
        self._sink = sink

    def called(self, name: str) -> list[object]:
        """What a call was asked for, each time."""
        return [asked for call, asked in self.calls if call == name]

    async def _call(self, name: str, asked: object, act: Callable[[], None]) -> None:
        """Let the next fault of a call befall it."""
        self.calls.append((name, asked))
        if name in self.hooks:
            self.hooks[name]()
        fault = self.faults[name].popleft() if self.faults[name] else None
        if isinstance(fault, Exception):
            raise fault
        if fault not in (HANG, NOT_TAKEN):
            act()
        if fault in (HANG, TAKEN_HANG):
            await asyncio.Event().wait()
        if fault in (LOSE, NOT_TAKEN):
            raise OutcomeUnknown("no answer")

    # --- requests ---------------------------------------------------------------------------------------------------

    def prepare(self, instrument: str, requests: Sequence[OrderRequest], cancels: Sequence[str]) -> None:
        """Make ready what is asked for, in place of what was."""
        self.ready[instrument] = (*(one.client_id for one in requests), *cancels)

    def _asked_for(self, instrument: str, names: Sequence[str]) -> None:
        self.ready[instrument] = tuple(name for name in self.ready.get(instrument, ()) if name not in names)

    async def place(
        self, instrument: str, requests: Sequence[OrderRequest], retires: Sequence[str]
    ) -> tuple[OrderEvent, ...]:
        """Take orders, and end those that they replace."""
        self._asked_for(instrument, [one.client_id for one in requests])

        def act() -> None:
            for request in requests:
                assert request.client_id not in self.orders, "one id, two orders"
                assert request.client_id not in self.ended, "an id is used again"
                if request.client_id not in self.answers:
                    self.orders[request.client_id] = open_order(request)
            for name in retires:
                self.end(name)

        await self._call("place", (instrument, tuple(r.client_id for r in requests), tuple(retires)), act)
        return tuple(
            self.answers.get(r.client_id, OrderEvent(kind=OrderEventKind.ACCEPTED, client_id=r.client_id))
            for r in requests
        )

    async def amend(self, instrument: str, requests: Sequence[OrderRequest]) -> tuple[OrderEvent, ...]:
        """Refuse: nothing is amended here."""
        await self._call("amend", (instrument, tuple(requests)), lambda: None)
        return tuple(OrderEvent(kind=OrderEventKind.REJECTED, client_id=one.client_id) for one in requests)

    async def cancel(self, instrument: str, client_ids: Sequence[str]) -> None:
        """End orders."""
        self._asked_for(instrument, client_ids)

        def act() -> None:
            for name in client_ids:
                self.end(name)

        await self._call("cancel", (instrument, tuple(client_ids)), act)

    async def refresh_countdown(self, instrument: str, countdown_ms: int) -> None:
        """Take note of a countdown."""
        await self._call("countdown", (instrument, countdown_ms), lambda: None)

    # --- reads ------------------------------------------------------------------------------------------------------

    async def positions(self) -> tuple[Position, ...]:
        """Show the legs."""
        await self._call("positions", None, lambda: None)
        lots = {key: self.held[key] + self.off_lots.get(key, 0) for key in {*self.held, *self.off_lots}}
        return tuple(
            Position(instrument=name, leg=leg, qty_lots=qty, cost_e8=qty * 1_000)
            for (name, leg), qty in sorted(lots.items())
            if qty
        )

    async def open_orders(self) -> tuple[OpenOrder, ...]:
        """Show the list of limit orders."""
        await self._call("open_orders", None, lambda: None)
        return self._list(conditional=False)

    async def open_stops(self) -> tuple[OpenOrder, ...]:
        """Show the list of stops."""
        await self._call("open_stops", None, lambda: None)
        return self._list(conditional=True)

    def _list(self, *, conditional: bool) -> tuple[OpenOrder, ...]:
        orders = [one for name, one in self.orders.items() if name not in self.hidden] + self.shown
        return tuple(one for one in orders if (one.kind is Kind.STOP_MARKET) == conditional)

    async def look_up(self, instrument: str, client_id: str, *, conditional: bool) -> OrderLook:
        """Answer for one order."""
        await self._call("look_up", (instrument, client_id, conditional), lambda: None)
        kind, filled = self.ended.get(client_id, (None, 0))
        state = LookUp.ENDED if kind is not None else LookUp.ABSENT
        if client_id in self.orders:
            state, filled = LookUp.OPEN, self.orders[client_id].filled_lots
        state = self.looks.get(client_id, state)
        return OrderLook(state=state, read_ns=self.clock.now_ns(), filled_lots=filled, end=kind)

    async def fills_since(self, cursors: FillCursors) -> tuple[Fill, ...]:
        """Show the fills above the cursors."""
        await self._call("fills_since", dict(cursors), lambda: None)
        return tuple(
            one
            for one in self.fills
            if one.trade_id > cursors.get(one.instrument, 0) and one.trade_id not in self.hidden_fills
        )

    async def funding_since(self, ts_ns: int) -> tuple[FundingPaid, ...]:
        """Show no settlement."""
        assert ts_ns >= 0
        return ()

    async def balance(self) -> Balance:
        """Show the wallet; an exchange does not add up."""
        await self._call("balance", None, lambda: None)
        return Balance(wallet_e8=self.wallet_e8, realised_e8=0, fees_e8=0, funding_e8=0)

    def venue_ns(self) -> int:
        """The exchange's time is ours."""
        return self.clock.now_ns()

    async def mark_ticks(self, instrument: str) -> int | None:
        """Show a mark."""
        await self._call("mark", instrument, lambda: None)
        return 1_000

    def instruments(self) -> tuple[Instrument, ...]:
        """Both instruments of the journal's tests."""
        return INSTRUMENTS

    # --- the truth --------------------------------------------------------------------------------------------------

    def end(self, name: str, kind: OrderEventKind = OrderEventKind.CANCELLED) -> None:
        """End an order, if it is open."""
        order = self.orders.pop(name, None)
        if order is not None:
            self.ended[name] = (kind, order.filled_lots)

    def fill(self, name: str, qty_lots: int) -> Fill:
        """Fill a part of an open order, and give the trade as the wire tells it: no rung, no lots."""
        order = self.orders[name]
        done = order.filled_lots + qty_lots
        self.orders[name] = attrs.evolve(order, filled_lots=done)
        fill = self.trade(order.leg, side_of(order.leg, order.purpose), qty_lots, name, purpose=order.purpose)
        if done == order.qty_lots:
            self.end(name, OrderEventKind.FILLED)
        return fill

    def trade(
        self, leg: Leg, side: Side, qty_lots: int, name: str, *, purpose: Purpose = Purpose.ENTRY, instrument: str = BTC
    ) -> Fill:
        """Let a trade happen, of whomever."""
        self.trades += 1
        opens = side is side_of(leg, Purpose.ENTRY)
        self.held[instrument, leg] += qty_lots if opens else -qty_lots
        self.wallet_e8 -= 10
        made = Fill(
            trade_id=self.trades * 10,
            client_id=name,
            instrument=instrument,
            leg=leg,
            side=side,
            purpose=purpose,
            level=-1,
            generation=-1,
            price_ticks=1_000,
            qty_lots=qty_lots,
            fee_e8=10,
            realised_e8=0,
            maker=True,
            ts_ns=self.clock.now_ns(),
        )
        self.fills.append(made)
        return made


def open_order(request: OrderRequest) -> OpenOrder:
    """An order as a list shows it: nothing that only we know."""
    return OpenOrder(
        client_id=request.client_id,
        instrument=request.instrument,
        leg=request.leg,
        purpose=request.purpose,
        kind=request.kind,
        price_ticks=request.price_ticks,
        qty_lots=request.qty_lots,
        filled_lots=0,
        close_all=request.close_all,
        created_ns=request.decided_ns,
    )


def told(fill: Fill, left_lots: int) -> OrderEvent:
    """The stream's word on a fill."""
    return OrderEvent(kind=OrderEventKind.FILLED, client_id=fill.client_id, fill=fill, qty_lots=left_lots)


def said(kind: OrderEventKind, name: str, reason: EndReason = EndReason.NONE) -> OrderEvent:
    """The stream's word on an order."""
    return OrderEvent(kind=kind, client_id=name, reason=reason)
