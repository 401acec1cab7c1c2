"""The simulated exchange behind the two ports that a real one uses.

Invariants: what has changed is on disk before it is said; a request takes effect one latency after the clock's now,
never at once inside a move; public and private events of one step come in the order in which they happened.
"""

from collections.abc import Callable, Sequence

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.messages.events import EndReason, FundingPaid, OrderEvent, OrderEventKind
from hedgegrid.model.account import Balance, Position
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Bar, MarketUpdate, Settlement, Step, Tape
from hedgegrid.model.order import Fill, Kind, Leg, OpenOrder, OrderRequest
from hedgegrid.ports import FillCursors, LookUp, OrderLook, PrivateEvent, VenueBatch
from hedgegrid.runtime.clock import Clock
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.store import VenueStore


class SimulatedMarket:
    """The public side: the ``MarketData`` port over a tape."""

    def __init__(self, tape: Tape, instruments: Sequence[Instrument]) -> None:
        """Show ``tape``, whose instruments are in the order of ``instruments``."""
        self._tape = tape
        self._instruments = tuple(instruments)
        self._rates: list[Settlement | None] = [None] * len(self._instruments)
        self._sink: Callable[[tuple[MarketUpdate, ...]], None] | None = None
        self.history_end_ns = 0
        """Bars that ended at or before this time have been shown."""

    def subscribe(self, sink: Callable[[tuple[MarketUpdate, ...]], None]) -> None:
        """Hand every update to ``sink``."""
        self._sink = sink

    async def history(self, instrument: str, count: int) -> tuple[Bar, ...]:
        """Give up to ``count`` closed bars that were shown already or lie before the start."""
        return self._tape.history(self._tape.instruments.index(instrument), self.history_end_ns, count)

    def begin(self, ts_ns: int) -> None:
        """Say from when on the tape is shown: what lies before is history, and the funding rate of then is known."""
        self.history_end_ns = ts_ns
        for index in range(len(self._instruments)):
            self._rates[index] = self._tape.last_rate(index, ts_ns)

    def show_points(self, step: Step) -> None:
        """Publish the prices of a step, with the last settled funding rate."""
        for settlement in step.settlements:
            self._rates[settlement.instrument_index] = settlement
        if self._sink is None or not step.points:
            return
        updates: list[MarketUpdate] = []
        for point in step.points:
            instrument = self._instruments[point.instrument_index]
            rate = self._rates[point.instrument_index]
            updates.append(
                MarketUpdate(
                    instrument=instrument.name,
                    ts_venue_ns=step.ts_ns,
                    bid_ticks=point.bid_ticks,
                    ask_ticks=point.ask_ticks,
                    mark_ticks=point.mark_ticks,
                    rate_e8=None if rate is None else rate.rate_e8,
                    next_funding_ns=None if rate is None else rate.ts_ns + instrument.funding_interval_ns,
                    funding_interval_ns=instrument.funding_interval_ns,
                    bar=None,
                )
            )
        self._sink(tuple(updates))

    def show_bars(self, step: Step, marks: Sequence[int]) -> None:
        """Publish the bars that end with a step; ``marks`` are the present marks by instrument."""
        self.history_end_ns = max(self.history_end_ns, *(bar.open_ns + bar.length_ns for _, bar in step.bars))
        if self._sink is None:
            return
        self._sink(
            tuple(
                MarketUpdate(
                    instrument=self._instruments[index].name,
                    ts_venue_ns=step.ts_ns,
                    bid_ticks=bar.close_ticks,
                    ask_ticks=bar.close_ticks,
                    mark_ticks=marks[index],
                    rate_e8=None,
                    next_funding_ns=None,
                    funding_interval_ns=self._instruments[index].funding_interval_ns,
                    bar=bar,
                )
                for index, bar in step.bars
            )
        )


class SimulatedTrading:
    """The private side: the ``Trading`` port over the exchange's account."""

    def __init__(self, exchange: Exchange, clock: Clock, store: VenueStore | None) -> None:
        """Trade on ``exchange``; ``store`` keeps it on disk."""
        self._exchange = exchange
        self.exits_are_linked = exchange.linked_exits
        self.amends = False
        self._clock = clock
        self._store = store
        self._sink: Callable[[PrivateEvent], None] | None = None
        self.next_step = 0

    def subscribe(self, sink: Callable[[PrivateEvent], None]) -> None:
        """Hand every private event to ``sink``."""
        self._sink = sink

    def say(self, events: Sequence[PrivateEvent]) -> None:
        """Keep what has changed, then tell it."""
        self.keep()
        if self._sink is not None:
            for event in events:
                self._sink(event)

    def keep(self, *, ended: str = "") -> None:
        """Write the exchange to disk if anything but prices has changed, or the run ends."""
        if self._store is None:
            self._exchange.mark_saved()
        elif self._exchange.changed or ended:
            self._store.save(self._exchange, self.next_step, ended)

    def keep_place(self) -> None:
        """Write how far the tape has been walked."""
        if self._store is not None:
            self._store.save_place(self.next_step)

    def prepare(self, instrument: str, requests: Sequence[OrderRequest], cancels: Sequence[str]) -> None:
        """Do nothing: an exchange in the process needs neither writing nor signing."""

    async def place(
        self, instrument: str, requests: Sequence[OrderRequest], retires: Sequence[str]
    ) -> tuple[OrderEvent, ...]:
        """Take orders and the cancels of the stops that they replace: both take effect at one point, as one.

        Without linked exits a stop is retired only where every new stop of its leg was taken.
        """
        now_ns = self._clock.now_ns()
        answers = tuple(self._exchange.place(request, now_ns) for request in requests)
        bare = {
            request.leg
            for request, answer in zip(requests, answers, strict=True)
            if answer.kind is not OrderEventKind.ACCEPTED and request.kind is Kind.STOP_MARKET
        }
        kept = [name for name in retires if not self.exits_are_linked and _leg_of(name) in bare]
        for client_id in retires:
            if client_id not in kept:
                self._exchange.cancel(instrument, client_id, now_ns)
        self.keep()
        if kept and self._sink is not None:
            failed = [OrderEvent(kind=OrderEventKind.CANCEL_FAILED, client_id=name) for name in kept]
            mark_ticks = self._exchange.by_name[instrument].market.mark_ticks
            self._sink(
                VenueBatch(instrument=instrument, ts_venue_ns=now_ns, mark_ticks=mark_ticks, events=tuple(failed))
            )
        return answers

    async def amend(self, instrument: str, requests: Sequence[OrderRequest]) -> tuple[OrderEvent, ...]:  # noqa: ARG002
        """Refuse amendments: this venue has none."""
        return tuple(
            OrderEvent(kind=OrderEventKind.REJECTED, client_id=one.client_id, reason=EndReason.NOT_SENT)
            for one in requests
        )

    async def cancel(self, instrument: str, client_ids: Sequence[str]) -> None:
        """Take cancels."""
        now_ns = self._clock.now_ns()
        for client_id in client_ids:
            self._exchange.cancel(instrument, client_id, now_ns)
        self.keep()

    async def positions(self) -> tuple[Position, ...]:
        """Read the legs that are not flat."""
        return tuple(position for book in self._exchange.books for position in book.positions())

    async def open_orders(self) -> tuple[OpenOrder, ...]:
        """Read the limit and market orders, those on their way included."""
        return tuple(order for book in self._exchange.books for order in book.open_orders(conditional=False))

    async def open_stops(self) -> tuple[OpenOrder, ...]:
        """Read the conditional orders, those on their way included."""
        return tuple(order for book in self._exchange.books for order in book.open_orders(conditional=True))

    async def look_up(self, instrument: str, client_id: str, *, conditional: bool) -> OrderLook:
        """Ask for one order: this exchange remembers the open ones and the fills."""
        book = self._exchange.by_name[instrument]
        listed = any(order.client_id == client_id for order in book.open_orders(conditional=conditional))
        filled = sum(fill.qty_lots for fill in self._exchange.fills if fill.client_id == client_id)
        state = LookUp.OPEN if listed else LookUp.ENDED if filled else LookUp.ABSENT
        end = OrderEventKind.FILLED if state is LookUp.ENDED else None
        return OrderLook(state=state, read_ns=self._clock.now_ns(), filled_lots=filled, end=end)

    async def fills_since(self, cursors: FillCursors) -> tuple[Fill, ...]:
        """Read the fills with a trade id above their instrument's cursor."""
        return tuple(fill for fill in self._exchange.fills if fill.trade_id > cursors.get(fill.instrument, 0))

    async def funding_since(self, ts_ns: int) -> tuple[FundingPaid, ...]:
        """Read the settlements after ``ts_ns``."""
        return tuple(row for row in self._exchange.settled if row.ts_venue_ns > ts_ns)

    async def balance(self) -> Balance:
        """Read the wallet."""
        return self._exchange.balance()

    async def refresh_countdown(self, instrument: str, countdown_ms: int) -> None:
        """Do nothing: this exchange dies with the bot."""

    def venue_ns(self) -> int:
        """Give the time, which is the exchange's own."""
        return self._clock.now_ns()

    async def mark_ticks(self, instrument: str) -> int | None:
        """Read an instrument's mark."""
        market = self._exchange.by_name[instrument].market
        return market.mark_ticks if market.seen else None

    def instruments(self) -> tuple[Instrument, ...]:
        """Give the rules of the instruments."""
        return tuple(book.instrument for book in self._exchange.books)


def _leg_of(client_id: str) -> Leg | None:
    """Give the leg of an order by its client id."""
    parts = parse_client_id(client_id)
    return None if parts is None else parts.leg
