"""The exchange of a simulation: it lives on whatever becomes of the bot, and knows the truth.

Its market walks by itself, in virtual time; every request arrives at a moment of its own and takes effect then. Exits
race each other, as on a real exchange.

Invariants: nothing here waits for the bot; an order that was taken once is never taken again under its id; what a
reader is shown is a copy.
"""

from collections.abc import Callable, Iterator, Sequence

import attrs

from hedgegrid.core.records import VenueRules
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind
from hedgegrid.model.account import Balance, Position
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import MarketUpdate, Point, Settlement, Step, Tape
from hedgegrid.model.order import Fill, Kind, OpenOrder, OrderRequest
from hedgegrid.ports import LookUp, OrderLook, PrivateEvent
from hedgegrid.runtime.clock import Clock
from hedgegrid.simulation.shares import Shares
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.venue import SimulatedMarket

ROUNDS_MAX = 1_000
_ENDS = (OrderEventKind.CANCELLED, OrderEventKind.REJECTED, OrderEventKind.EXPIRED)


@attrs.frozen(kw_only=True)
class Account:
    """The whole account as a read shows it, from ``ts_ns`` on."""

    ts_ns: int
    positions: tuple[Position, ...]
    orders: tuple[OpenOrder, ...]
    stops: tuple[OpenOrder, ...]
    fills: tuple[Fill, ...]
    balance: Balance


class Venue:
    """One account's exchange, and the market that it lives in."""

    def __init__(
        self, tape: Tape, instruments: Sequence[Instrument], rules: Sequence[VenueRules], wallet_e8: int, clock: Clock
    ) -> None:
        """Open the account with ``wallet_e8``; nothing moves before ``walk``."""
        self.exchange = Exchange(instruments, rules, wallet_e8, linked_exits=False)
        self.tape = tape
        self.clock = clock
        self.market = SimulatedMarket(tape, instruments)
        self.names = tuple(one.name for one in instruments)
        self.shares = Shares(self.exchange)
        self.ended: dict[str, tuple[OrderEventKind, int]] = {}
        """By client id of an order that ended: how, and what had been filled."""
        self.taken: dict[str, OrderRequest] = {}
        """Every order that was ever taken, by its client id."""
        self.hear: Callable[[list[PrivateEvent]], None] = lambda _: None
        """Takes what the exchange says about the account."""
        self.moved: Callable[[], None] = lambda: None
        """Hears that something may have changed."""
        self.bars_done = 0
        self._points: list[Point | None] = [None] * len(self.names)
        self._filled: dict[str, int] = {}
        self._number = 0
        self._shown: Account | None = None
        """The account since it changed last; None where it has to be made anew."""

    # --- time -------------------------------------------------------------------------------------------------------

    def show_to(self, sink: Callable[[tuple[MarketUpdate, ...]], None]) -> None:
        """Have the market shown to ``sink``."""
        self.market.subscribe(sink)

    async def walk(self, until_ns: int) -> None:
        """Walk the market to its end, or to ``until_ns``."""
        steps = self._steps()
        first = next(steps)
        self.market.begin(first.ts_ns)
        await self._reach(first)
        for step in steps:
            if step.ts_ns > until_ns or self.exchange.liquidated:
                return
            await self._reach(step)

    def _steps(self) -> Iterator[Step]:
        return iter(self.tape.steps(0))

    async def _reach(self, step: Step) -> None:
        await self.clock.sleep_until(step.ts_ns)
        for point in step.points:
            self._points[point.instrument_index] = point
        self._happen(step.ts_ns, step.points, step.settlements)
        self.market.show_points(step)
        if step.bars:
            self.bars_done += len(step.bars)
            self.market.show_bars(step, [book.market.mark_ticks for book in self.exchange.books])

    def _happen(self, ts_ns: int, points: tuple[Point, ...], settlements: tuple[Settlement, ...]) -> None:
        """Let one instant happen: moves, settlements, the margin, then what falls due until nothing is due."""
        exchange = self.exchange
        step = Step(
            number=self._number, ts_ns=max(ts_ns, exchange.ts_ns), points=points, settlements=settlements, bars=()
        )
        self._number += 1
        charged, liquidated = exchange.walk(step, step.ts_ns // self.tape.bar_length_ns)
        said: list[PrivateEvent] = [*self._drained(), *charged]
        if liquidated is not None:
            said.append(liquidated)
        for _ in range(ROUNDS_MAX):
            done = exchange.fall_due()
            if not done:
                exchange.backstops()
            more = self._drained()
            said += more
            if not more and not done:
                break
        if exchange.changed:
            self._shown = None
        exchange.mark_saved()
        if said:
            self.hear(said)
        self.moved()

    def pass_time(self) -> None:
        """Bring the exchange to this moment, at the prices that stand: what has arrived takes effect."""
        # Each point stands still from now on, until the next one is reached.
        points = self._points[:] = [point and _still(point) for point in self._points]
        self._happen(self.clock.now_ns(), tuple(point for point in points if point is not None), ())

    def _drained(self) -> list[PrivateEvent]:
        batches = self.exchange.drain()
        for batch in batches:
            for event in batch.events:
                self._note(event)
        return list(batches)

    def _note(self, event: OrderEvent) -> None:
        """Remember how an order ended."""
        name = event.client_id
        if event.fill is not None:
            self._filled[name] = self._filled.get(name, 0) + event.fill.qty_lots
            if event.qty_lots == 0:
                self.ended[name] = (OrderEventKind.FILLED, self._filled[name])
        elif event.kind in _ENDS:
            self.ended[name] = (event.kind, self._filled.get(name, 0))

    # --- requests, at the moment when they arrive -------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether every instrument has a price, so that orders can be judged."""
        return all(point is not None for point in self._points)

    def place(self, request: OrderRequest) -> OrderEvent:
        """Take an order now."""
        if request.client_id in self.taken:
            return OrderEvent(
                kind=OrderEventKind.REJECTED, client_id=request.client_id, reason=EndReason.REFUSED, detail="id in use"
            )
        answer = self.exchange.place(request, self.clock.now_ns())
        if answer.kind is OrderEventKind.ACCEPTED:
            self.taken[request.client_id] = request
        return answer

    def cancel(self, instrument: str, client_id: str) -> None:
        """Take a cancel now; its outcome comes as an event."""
        self.exchange.cancel(instrument, client_id, self.clock.now_ns())

    # --- reads ------------------------------------------------------------------------------------------------------

    def account(self) -> Account:
        """Show the account as it is now, since when it has been so."""
        if self._shown is None or self.exchange.changed:
            self._shown = self._account()
        return self._shown

    def _account(self) -> Account:
        books = self.exchange.books
        return Account(
            ts_ns=self.clock.now_ns(),
            positions=tuple(position for book in books for position in book.positions()),
            orders=tuple(order for book in books for order in book.open_orders(conditional=False)),
            stops=tuple(order for book in books for order in book.open_orders(conditional=True)),
            fills=tuple(self.exchange.fills),
            balance=self.exchange.balance(),
        )

    def look_up(self, instrument: str, client_id: str) -> OrderLook:
        """Show one order as it is now."""
        book = self.exchange.by_name[instrument]
        now_ns = self.clock.now_ns()
        if client_id in book.number_of:
            return OrderLook(state=LookUp.OPEN, read_ns=now_ns, filled_lots=self._filled.get(client_id, 0))
        if client_id in self.ended:
            end, filled_lots = self.ended[client_id]
            return OrderLook(state=LookUp.ENDED, read_ns=now_ns, filled_lots=filled_lots, end=end)
        return OrderLook(state=LookUp.ABSENT, read_ns=now_ns)

    def is_stop(self, client_id: str) -> bool:
        """Tell whether an order that was taken is a stop."""
        return self.taken[client_id].kind is Kind.STOP_MARKET


def _still(point: Point) -> Point:
    """Give a point to which the market has come: nothing is traded there any more."""
    return point if point.jump and point.qty_lots == 0 else attrs.evolve(point, jump=True, qty_lots=0)
