"""The network between one life of the bot and the exchange: both ports, with delays and whatever the weather brings.

Every boot has a wire of its own. When the process dies the wire is cut: nothing is heard or said any more, and what
was on its way to the exchange arrives there all the same.

Invariants: an answer says what a real adapter's would (the port's contract), never more than the bot could know;
everything that passes is noted in ``log``, by the moment at which the bot said it.
"""

import asyncio
import random
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.errors import OutcomeUnknown, Transient
from hedgegrid.messages.events import EndReason, FundingPaid, OrderEvent, OrderEventKind, StreamGap
from hedgegrid.model.account import Balance, Position
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Bar, MarketUpdate
from hedgegrid.model.order import Fill, Kind, OpenOrder, OrderRequest
from hedgegrid.ports import FillCursors, OrderLook, PrivateEvent, VenueBatch
from hedgegrid.runtime.clock import Clock
from hedgegrid.simulation.life_clock import LifeClock
from hedgegrid.simulation.mishaps import Countdowns
from hedgegrid.simulation.outages import Outages, refused
from hedgegrid.simulation.prices import Prices
from hedgegrid.simulation.venue import Account, Venue
from hedgegrid.simulation.weather import Fault, Weather
from hedgegrid.simulation.words import Word, gap_of, what_of
from hedgegrid.units import NS_PER_MS, NS_PER_S

PATIENCE_NS: Final = 2 * NS_PER_S
"""How long an answer is waited for."""
VALIDITY_NS: Final = 4 * NS_PER_S
"""How long after it was sent a request may still be taken."""
POLL_NS: Final = 20 * NS_PER_S
"""How long a lost event can go unnoticed."""
ACCOUNTS_KEPT: Final = 64
DELAY_MS: Final = 40
"""The longest that one way takes, of what is not late."""
FLOOD_EVENTS: Final = 6_000
"""More than any mailbox holds."""


class Wire:
    """Both ports of one life."""

    exits_are_linked = False
    amends = False

    def __init__(
        self,
        venue: Venue,
        weather: Weather,
        clock: Clock,
        *,
        boot: int,
        seed: int,
        log: Callable[[Word], None],
        life_clock: LifeClock,
        crash: Callable[[str], None],
        countdowns: Countdowns,
    ) -> None:
        """Connect a life, whose own clock is ``life_clock``, to ``venue``; delays come from ``seed``.

        ``crash`` lets the process die where it stands.
        """
        self._venue = venue
        self._weather = weather
        self._clock = clock
        self._boot = boot
        self._life_clock = life_clock
        self._crash = crash
        self._countdowns = countdowns
        self._log = log
        self._delays = random.Random(f"{seed} wire {boot}")  # noqa: S311 - repeatable is the point
        self._sink: Callable[[PrivateEvent], None] | None = None
        self._show: Callable[[tuple[MarketUpdate, ...]], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._accounts: deque[Account] = deque((venue.account(),), maxlen=ACCOUNTS_KEPT)
        self._silent_until_ns = 0
        self._last_event_ns = 0
        self.shown_ns = clock.now_ns()
        """When the bot was last shown a price."""
        self._listens_ns: int | None = None
        self._outages = Outages(weather, clock, life_clock, banned=self._banned)
        self._prices = Prices(weather, clock, self._show_now)
        self.account_ns: int | None = None
        """When the bot was last shown the account."""
        self.cut = False
        """Whether this life is over: nothing comes in or out."""

    # --- what comes in ----------------------------------------------------------------------------------------------

    def subscribe(self, sink: Callable[[Any], None]) -> None:
        """Hear of the account; ``MarketSide`` has the market's."""
        self._sink = sink

    def subscribe_market(self, sink: Callable[[tuple[MarketUpdate, ...]], None]) -> None:
        """Hear of the market."""
        self._show = sink
        self._listens_ns = self._listens_ns or self._clock.now_ns()

    @property
    def silent_since_ns(self) -> int:
        """Since when this life hears nothing of the market; now, as long as it has not begun to listen."""
        return self._clock.now_ns() if self._listens_ns is None else max(self.shown_ns, self._listens_ns)

    def seen(self, updates: tuple[MarketUpdate, ...]) -> None:
        """Bring prices and bars to the bot."""
        if not self.cut and self._show is not None and not self._outages.dark:
            self._prices.seen(updates)

    def _show_now(self, updates: tuple[MarketUpdate, ...]) -> None:
        """Show prices as soon as the process takes anything in."""

        def show() -> None:
            if not self.cut and self._show is not None:
                self.shown_ns = self._clock.now_ns()
                self._show(updates)

        self._life_clock.when_it_goes_on(show)

    def heard(self, events: Sequence[PrivateEvent]) -> None:
        """Bring what the exchange says about the account, one event after the other unless the weather is bad."""
        now_ns = self._clock.now_ns()
        for event in events:
            self._break_stream(now_ns)
            if now_ns < self._silent_until_ns or self._outages.dark:
                continue
            if isinstance(event, FundingPaid) and self._weather.strikes_now(Fault.FUNDING_LATE, now_ns, "settlement"):
                late_s = self._weather.between(Fault.FUNDING_LATE, 30, 900)
                self._at(now_ns + late_s * NS_PER_S, event)
                continue
            if self._weather.strikes_now(Fault.FLOOD, now_ns, what_of(event)):
                self._later(self._delay_ns(), lambda event=event: self._flood(event))  # type: ignore[misc]
            if self._weather.strikes_now(Fault.EVENT_LOST, now_ns, what_of(event)):
                self._later(POLL_NS, lambda: self._tell(gap_of("an event was lost")))
                continue
            when_ns = max(self._last_event_ns, now_ns + self._delay_ns())
            if self._weather.strikes_now(Fault.EVENT_LATE, now_ns, what_of(event)):
                late_ns = self._weather.between(Fault.EVENT_LATE, 50, 3_000) * NS_PER_MS
                self._at(when_ns + late_ns, event)
                continue
            self._last_event_ns = when_ns
            self._at(when_ns, event)
            if self._weather.strikes_now(Fault.EVENT_TWICE, now_ns, what_of(event)):
                self._at(when_ns + self._delay_ns(), event)

    def _break_stream(self, now_ns: int) -> None:
        """Let the private stream end, if so drawn: by what sign the bot learns of it differs."""
        for fault, (shortest_s, longest_s, told) in _BREAKS.items():
            if not self._weather.strikes_now(fault, now_ns, "private stream"):
                continue
            self._silent_until_ns = now_ns + self._weather.between(fault, shortest_s, longest_s) * NS_PER_S
            if told:
                self._tell(gap_of("the stream broke off"))
            self._later(self._silent_until_ns - now_ns, lambda: self._tell(gap_of("the stream stands again")))

    def _flood(self, event: PrivateEvent) -> None:
        for _ in range(FLOOD_EVENTS):
            self._tell(event)

    def _at(self, when_ns: int, event: PrivateEvent) -> None:
        self._clock.call_at(when_ns, lambda: self._tell(event))

    def _later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        self._clock.call_at(self._clock.now_ns() + delay_ns, callback)

    def _tell(self, event: PrivateEvent) -> None:
        """Tell an event as soon as the process takes anything in."""

        def tell() -> None:
            if not self.cut and self._sink is not None:
                if isinstance(event, StreamGap):
                    self._say("gap")
                self._sink(event)

        self._life_clock.when_it_goes_on(tell)

    def _delay_ns(self) -> int:
        return (1 + int(self._delays.random() * DELAY_MS)) * NS_PER_MS

    # --- orders -----------------------------------------------------------------------------------------------------

    def prepare(self, instrument: str, requests: Sequence[OrderRequest], cancels: Sequence[str]) -> None:
        """Do nothing: there is nothing to write or sign."""

    async def place(
        self, instrument: str, requests: Sequence[OrderRequest], retires: Sequence[str]
    ) -> tuple[OrderEvent, ...]:
        """Send orders; retire stops once their successors stand. One answer a request."""
        now_ns = self._clock.now_ns()
        dies = self._weather.strikes_now(Fault.CRASH_AT_SEND, now_ns, "orders")
        if dies and self._weather.between(Fault.CRASH_AT_SEND, 0, 1) == 0:
            self._crash("before orders left")
            await self._alive()
        self._say("place", instrument, tuple(requests), tuple(retires))
        await self._passed("orders")
        taken = self._part_of(requests)
        if dies:
            self._later(1, lambda: self._crash("behind orders that left"))
        answers = [
            *await asyncio.gather(*(self._place_one(request) for request in requests[:taken])),
            *(refused(one.client_id, EndReason.REFUSED, "the rest of the batch") for one in requests[taken:]),
        ]
        not_taken = tuple(one.client_id for one in answers if one.kind is OrderEventKind.REJECTED)
        if not_taken:
            self._say("refused", instrument, names=not_taken)
        bare = {
            request.leg
            for request, answer in zip(requests, answers, strict=True)
            if answer.kind is not OrderEventKind.ACCEPTED and request.kind is Kind.STOP_MARKET
        }
        kept = [name for name in retires if _leg_of(name) in bare]
        gone = [name for name in retires if name not in kept]
        lost = [name for name in gone if not await self._cancel_one(instrument, name)]
        said = [OrderEvent(kind=OrderEventKind.CANCEL_FAILED, client_id=name) for name in kept]
        said += [OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=name) for name in lost]
        if said:
            self._tell(self._batch(instrument, tuple(said)))
        return tuple(answers)

    def _part_of(self, requests: Sequence[OrderRequest]) -> int:
        """Give how many of a batch are taken up at all."""
        if len(requests) < 2 or not self._weather.strikes_now(  # noqa: PLR2004 - a batch has two
            Fault.BATCH_IN_PART, self._clock.now_ns(), f"batch of {len(requests)}"
        ):
            return len(requests)
        return self._weather.between(Fault.BATCH_IN_PART, 1, len(requests) - 1)

    async def _place_one(self, request: OrderRequest) -> OrderEvent:
        """Send one order, and say what its sender would know."""
        refused = self._outages.refuses(request)
        if refused is not None:
            await self._clock.sleep(self._delay_ns())
            await self._alive()
            return refused
        now_ns, weather, name = self._clock.now_ns(), self._weather, request.client_id
        if weather.strikes_now(Fault.REQUEST_LOST, now_ns, name):
            return await self._no_answer(name)
        if weather.strikes_now(Fault.ARRIVES_LATE, now_ns, name):
            late_ms = weather.between(Fault.ARRIVES_LATE, PATIENCE_NS // NS_PER_MS, VALIDITY_NS // NS_PER_MS - 1)
            self._later(late_ms * NS_PER_MS, lambda: self._arrive(request))
            return await self._no_answer(name)
        answered: asyncio.Future[OrderEvent] = asyncio.get_running_loop().create_future()
        self._later(self._delay_ns(), lambda: self._arrive(request, answered))
        if weather.strikes_now(Fault.ANSWER_LOST, now_ns, name):
            return await self._no_answer(name)
        answer = await answered
        if weather.strikes_now(Fault.ANSWER_TORN, now_ns, name):
            answer = OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=name, detail="the answer breaks off")
        if weather.strikes_now(Fault.CRASH_AT_ANSWER, self._clock.now_ns(), name):
            self._crash("with an answer in hand")
            await self._alive()
        await self._clock.sleep(self._delay_ns())
        await self._alive()
        return answer

    async def _no_answer(self, name: str) -> OrderEvent:
        """Wait in vain."""
        await self._clock.sleep(PATIENCE_NS)
        await self._alive()
        return OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=name, detail="no answer")

    def _arrive(self, request: OrderRequest, answered: "asyncio.Future[OrderEvent] | None" = None) -> None:
        """Let an order reach the exchange, whatever has become of its sender."""
        answer = self._venue.place(request)
        if answered is not None and not answered.done():
            answered.set_result(answer)
        self._venue.pass_time()

    async def amend(self, instrument: str, requests: Sequence[OrderRequest]) -> tuple[OrderEvent, ...]:
        """Refuse amendments: this exchange has none."""
        self._say("amend", instrument, names=tuple(one.client_id for one in requests))
        return tuple(refused(one.client_id, EndReason.NOT_SENT, "no amendments") for one in requests)

    async def cancel(self, instrument: str, client_ids: Sequence[str]) -> None:
        """Ask for cancels. Raises OutcomeUnknown where one was lost, after all were tried; Transient where none was."""
        self._say("cancel", instrument, names=tuple(client_ids))
        await self._passed("cancel")
        now_ns = self._clock.now_ns()
        if self._weather.strikes_now(Fault.BUSY, now_ns, "cancel"):
            await self._clock.sleep(self._delay_ns())
            await self._alive()
            raise Transient("503: busy")
        lost = [name for name in client_ids if not await self._cancel_one(instrument, name)]
        if lost:
            raise OutcomeUnknown(f"{len(lost)} cancels without an answer")

    async def _cancel_one(self, instrument: str, name: str) -> bool:
        """Send one cancel; False where nobody knows what became of it."""
        now_ns, weather = self._clock.now_ns(), self._weather
        if weather.strikes_now(Fault.REQUEST_LOST, now_ns, f"cancel of {name}"):
            await self._clock.sleep(PATIENCE_NS)
            await self._alive()
            return False
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._later(self._delay_ns(), lambda: self._arrive_cancel(instrument, name, arrived))
        if weather.strikes_now(Fault.ANSWER_LOST, now_ns, f"cancel of {name}"):
            await self._clock.sleep(PATIENCE_NS)
            await self._alive()
            return False
        await arrived
        await self._clock.sleep(self._delay_ns())
        await self._alive()
        return True

    def _arrive_cancel(self, instrument: str, name: str, arrived: "asyncio.Future[None]") -> None:
        self._venue.cancel(instrument, name)
        self._venue.pass_time()
        if not arrived.done():
            arrived.set_result(None)

    async def refresh_countdown(self, instrument: str, countdown_ms: int) -> None:
        """Set the dead-man's switch. Raises Transient, OutcomeUnknown."""
        self._say("countdown", instrument)
        await self._passed("countdown")
        weather, now_ns = self._weather, self._clock.now_ns()
        if weather.strikes_now(Fault.REQUEST_LOST, now_ns, "countdown"):
            await self._clock.sleep(PATIENCE_NS)
            await self._alive()
            raise OutcomeUnknown("no answer")
        self._later(self._delay_ns(), lambda: self._countdowns.set(instrument, countdown_ms))
        await self._clock.sleep(3 * self._delay_ns())
        await self._alive()

    # --- reads ------------------------------------------------------------------------------------------------------

    async def _read(self, what: str) -> Account:
        """Read the account: late, stale or not at all, as the weather is."""
        self._say(what)
        await self._passed(what)
        now_ns, weather = self._clock.now_ns(), self._weather
        if weather.strikes_now(Fault.READ_FAILS, now_ns, what):
            await self._clock.sleep(self._delay_ns())
            await self._alive()
            raise Transient(f"{what}: 503")
        # One wait in place of three: what is shown is the account as it was when the request arrived.
        arrives_ns = shown_ns = now_ns + self._delay_ns()
        if weather.strikes_now(Fault.READ_STALE, arrives_ns, what):
            shown_ns -= weather.between(Fault.READ_STALE, 100, 3_000) * NS_PER_MS
        answers_ns = arrives_ns + self._delay_ns()
        if weather.strikes_now(Fault.READ_SLOW, now_ns, what):
            answers_ns += weather.between(Fault.READ_SLOW, 200, 1_900) * NS_PER_MS
        await self._clock.sleep_until(answers_ns)
        await self._alive()
        shown = self._shown_at(shown_ns)
        self.account_ns = self._life_clock.now_ns()
        return shown

    def remember(self) -> None:
        """Keep the account as it is from now on; called after everything that changes it."""
        account = self._venue.account()
        if self._accounts[-1] is not account:
            self._accounts.append(account)

    def _shown_at(self, ts_ns: int) -> Account:
        """Give the account as it was at a moment, as far as it is remembered; else the oldest that is."""
        return next((one for one in reversed(self._accounts) if one.ts_ns <= ts_ns), self._accounts[0])

    async def positions(self) -> tuple[Position, ...]:
        """Read both legs of every instrument that is not flat. Raises Transient."""
        return (await self._read("positions")).positions

    async def open_orders(self) -> tuple[OpenOrder, ...]:
        """Read the resting orders. Raises Transient."""
        return (await self._read("open_orders")).orders

    async def open_stops(self) -> tuple[OpenOrder, ...]:
        """Read the conditional orders. Raises Transient."""
        return (await self._read("open_stops")).stops

    async def look_up(self, instrument: str, client_id: str, *, conditional: bool) -> OrderLook:  # noqa: ARG002
        """Ask for one order. Raises Transient."""
        self._say("look_up", instrument, names=(client_id,))
        await self._passed("look_up")
        await self._clock.sleep(self._delay_ns())
        if self._weather.strikes_now(Fault.READ_FAILS, self._clock.now_ns(), f"look at {client_id}"):
            raise Transient("look_up: 503")
        answer = self._venue.look_up(instrument, client_id)
        await self._clock.sleep(self._delay_ns())
        await self._alive()
        return answer

    async def fills_since(self, cursors: FillCursors) -> tuple[Fill, ...]:
        """Read the fills above their instrument's cursor. Raises Transient."""
        fills = (await self._read("fills")).fills
        lowest, highest = (end(cursors.get(name, 0) for name in self._venue.names) for end in (min, max))
        first = bisect_right(fills, lowest, key=_trade_id) if lowest else 0
        if lowest == highest:
            return fills[first:]
        return tuple(fill for fill in fills[first:] if fill.trade_id > cursors.get(fill.instrument, 0))

    async def funding_since(self, ts_ns: int) -> tuple[FundingPaid, ...]:
        """Read the settlements after ``ts_ns``. Raises Transient."""
        await self._read("funding")
        return tuple(row for row in self._venue.exchange.settled if row.ts_venue_ns > ts_ns)

    async def balance(self) -> Balance:
        """Read the wallet. Raises Transient."""
        return (await self._read("balance")).balance

    def venue_ns(self) -> int:
        """Give the exchange's time."""
        return self._clock.now_ns()

    async def mark_ticks(self, instrument: str) -> int | None:
        """Read an instrument's mark."""
        await self._alive()
        market = self._venue.exchange.by_name[instrument].market
        return market.mark_ticks if market.seen else None

    def instruments(self) -> tuple[Instrument, ...]:
        """Give the rules of the instruments."""
        return tuple(book.instrument for book in self._venue.exchange.books)

    async def history(self, instrument: str, count: int) -> tuple[Bar, ...]:
        """Give closed bars up to now. Raises Transient."""
        await self._alive()
        await self._clock.sleep(self._delay_ns())
        if self._weather.strikes_now(Fault.HISTORY_FAILS, self._clock.now_ns(), instrument):
            raise Transient("history: 503")
        return await self._venue.market.history(instrument, count)

    # --- the line ---------------------------------------------------------------------------------------------------

    async def _passed(self, what: str) -> None:
        """Return where the exchange takes requests at all. Raises Transient, Fatal."""
        if self.cut:
            await self._alive()
        error = self._outages.hinders(what)
        if error is not None:
            await self._clock.sleep(self._delay_ns())
            await self._alive()
            raise error

    @property
    def is_barred(self) -> bool:
        """Whether the exchange takes nothing at all now, or this life is over, or stands still."""
        return self.cut or self._life_clock.stands or self._outages.hinders_all

    def _banned(self, until_ns: int) -> None:
        """Let the log have until when nothing may be asked for."""
        self._log(Word(ts_ns=self._clock.now_ns(), boot=self._boot, kind="banned", until_ns=until_ns))

    async def _alive(self) -> None:
        """Return as soon as the process does anything; never to a life that is over."""
        if self._life_clock.stands:
            goes_on: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._life_clock.when_it_goes_on(lambda: None if goes_on.done() else goes_on.set_result(None))
            await goes_on
        if self.cut:
            await asyncio.get_running_loop().create_future()

    def _say(
        self,
        kind: str,
        instrument: str = "",
        requests: tuple[OrderRequest, ...] = (),
        names: tuple[str, ...] = (),
    ) -> None:
        if not self.cut:
            now_ns = self._clock.now_ns()
            self._log(
                Word(
                    ts_ns=now_ns,
                    boot=self._boot,
                    kind=kind,
                    instrument=instrument,
                    requests=requests,
                    names=names,
                    own_ns=self._life_clock.now_ns(),
                    prices_ns=self.shown_ns,
                )
            )

    def _batch(self, instrument: str, events: tuple[OrderEvent, ...]) -> VenueBatch:
        mark_ticks = self._venue.exchange.by_name[instrument].market.mark_ticks
        return VenueBatch(instrument=instrument, ts_venue_ns=self._clock.now_ns(), mark_ticks=mark_ticks, events=events)


_BREAKS: Final = {
    Fault.STREAM_BREAKS: (1, 60, True),
    Fault.STREAM_HALF_OPEN: (20, 60, False),
    Fault.LISTEN_KEY_EXPIRED: (1, 5, True),
}
"""How a private stream ends: for how long (seconds), and whether the bot is told as it happens."""


def _trade_id(fill: Fill) -> int:
    return fill.trade_id


def _leg_of(client_id: str) -> object:
    parts = parse_client_id(client_id)
    return None if parts is None else parts.leg
