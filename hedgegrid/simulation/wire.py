"""The network between one life of the bot and the exchange: both ports, with delays and whatever the weather brings.

Every boot has a wire of its own. When the process dies the wire is cut: nothing is heard or said any more, and what
was on its way to the exchange arrives there all the same.

Invariants: an answer says what a real adapter's would (the port's contract), never more than the bot could know;
everything that passes is noted in ``log``, by the moment at which the bot said it.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

import attrs

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.errors import OutcomeUnknown, Transient
from hedgegrid.messages.events import EndReason, FundingPaid, OrderEvent, OrderEventKind, StreamGap
from hedgegrid.model.account import Balance, Position
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Bar, MarketUpdate
from hedgegrid.model.order import Fill, Kind, OpenOrder, OrderRequest
from hedgegrid.ports import FillCursors, OrderLook, PrivateEvent, VenueBatch
from hedgegrid.runtime.clock import Clock
from hedgegrid.simulation.venue import Account, Venue
from hedgegrid.simulation.weather import Fault, Weather
from hedgegrid.units import NS_PER_MS, NS_PER_S

PATIENCE_NS: Final = 2 * NS_PER_S
"""How long an answer is waited for."""
VALIDITY_NS: Final = 4 * NS_PER_S
"""How long after it was sent a request may still be taken."""
POLL_NS: Final = 20 * NS_PER_S
"""How long a lost event can go unnoticed."""
ACCOUNTS_KEPT: Final = 64


@attrs.frozen(kw_only=True)
class Word:
    """One thing that the bot said on the wire: ``kind`` of ``place``, ``cancel`` or a read's name."""

    ts_ns: int
    boot: int
    kind: str
    instrument: str = ""
    requests: tuple[OrderRequest, ...] = ()
    names: tuple[str, ...] = ()


class Wire:
    """Both ports of one life."""

    exits_are_linked = False
    amends = False

    def __init__(
        self, venue: Venue, weather: Weather, clock: Clock, *, boot: int, seed: int, log: Callable[[Word], None]
    ) -> None:
        """Connect a life to ``venue``; delays come from ``seed``."""
        self._venue = venue
        self._weather = weather
        self._clock = clock
        self._boot = boot
        self._log = log
        self._delays = random.Random(f"{seed} wire {boot}")  # noqa: S311 - repeatable is the point
        self._sink: Callable[[PrivateEvent], None] | None = None
        self._show: Callable[[tuple[MarketUpdate, ...]], None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._accounts: deque[Account] = deque(maxlen=ACCOUNTS_KEPT)
        self._silent_until_ns = 0
        self._dark_until_ns = 0
        self._throttled_until_ns = 0
        self._last_event_ns = 0
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

    def seen(self, updates: tuple[MarketUpdate, ...]) -> None:
        """Bring prices and bars to the bot."""
        now_ns = self._clock.now_ns()
        if self.cut or self._show is None:
            return
        if now_ns < self._dark_until_ns:
            return
        if self._weather.strikes_now(Fault.MARKET_SILENT, now_ns, "market stream"):
            self._dark_until_ns = now_ns + self._weather.between(Fault.MARKET_SILENT, 10, 400) * NS_PER_S
            return
        if updates[0].bar is None and self._weather.strikes_now(Fault.MARKET_OUTLIER, now_ns, "quote"):
            # One quote far away; the mark, which comes from an index, stays.
            factor = self._weather.between(Fault.MARKET_OUTLIER, 80, 120)
            updates = tuple(
                attrs.evolve(one, bid_ticks=one.bid_ticks * factor // 100, ask_ticks=one.ask_ticks * factor // 100)
                for one in updates
            )
        self._show(updates)

    def heard(self, events: Sequence[PrivateEvent]) -> None:
        """Bring what the exchange says about the account, one event after the other unless the weather is bad."""
        now_ns = self._clock.now_ns()
        for event in events:
            if self._weather.strikes_now(Fault.STREAM_BREAKS, now_ns, "private stream"):
                self._break_stream(now_ns)
            if now_ns < self._silent_until_ns:
                continue
            if self._weather.strikes_now(Fault.EVENT_LOST, now_ns, _what(event)):
                self._later(POLL_NS, lambda: self._tell(_gap("an event was lost")))
                continue
            when_ns = max(self._last_event_ns, now_ns + self._delay_ns())
            if self._weather.strikes_now(Fault.EVENT_LATE, now_ns, _what(event)):
                late_ns = self._weather.between(Fault.EVENT_LATE, 50, 3_000) * NS_PER_MS
                self._at(when_ns + late_ns, event)
                continue
            self._last_event_ns = when_ns
            self._at(when_ns, event)
            if self._weather.strikes_now(Fault.EVENT_TWICE, now_ns, _what(event)):
                self._at(when_ns + self._delay_ns(), event)

    def _break_stream(self, now_ns: int) -> None:
        self._silent_until_ns = now_ns + self._weather.between(Fault.STREAM_BREAKS, 1, 60) * NS_PER_S
        self._tell(_gap("the stream broke off"))
        self._later(self._silent_until_ns - now_ns, lambda: self._tell(_gap("the stream stands again")))

    def _at(self, when_ns: int, event: PrivateEvent) -> None:
        self._clock.call_at(when_ns, lambda: self._tell(event))

    def _later(self, delay_ns: int, callback: Callable[[], None]) -> None:
        self._clock.call_at(self._clock.now_ns() + delay_ns, callback)

    def _tell(self, event: PrivateEvent) -> None:
        if not self.cut and self._sink is not None:
            self._sink(event)

    def _delay_ns(self) -> int:
        return self._delays.randint(1, 40) * NS_PER_MS

    # --- orders -----------------------------------------------------------------------------------------------------

    def prepare(self, instrument: str, requests: Sequence[OrderRequest]) -> None:
        """Do nothing: there is nothing to write or sign."""

    async def place(
        self, instrument: str, requests: Sequence[OrderRequest], retires: Sequence[str]
    ) -> tuple[OrderEvent, ...]:
        """Send orders; retire stops once their successors stand. One answer a request."""
        self._say("place", instrument, tuple(requests), tuple(retires))
        await self._alive()
        answers = await asyncio.gather(*(self._place_one(request) for request in requests))
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

    async def _place_one(self, request: OrderRequest) -> OrderEvent:
        """Send one order, and say what its sender would know."""
        refused = self._refusal(request.client_id)
        if refused is not None:
            await self._clock.sleep(self._delay_ns())
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
        await self._clock.sleep(self._delay_ns())
        await self._alive()
        return answer

    def _refusal(self, name: str) -> OrderEvent | None:
        """Give the answer of an exchange that does not take an order, or None."""
        now_ns, weather = self._clock.now_ns(), self._weather
        if now_ns < self._throttled_until_ns:
            return _refused(name, EndReason.RATE_LIMITED, "429")
        for fault, reason in _REFUSALS.items():
            if weather.strikes_now(fault, now_ns, name):
                return _refused(name, reason, fault.value)
        if weather.strikes_now(Fault.THROTTLED, now_ns, name):
            self._throttled_until_ns = now_ns + weather.between(Fault.THROTTLED, 1, 30) * NS_PER_S
            return _refused(name, EndReason.RATE_LIMITED, "429")
        if weather.strikes_now(Fault.BUSY_UNKNOWN, now_ns, name):
            return OrderEvent(kind=OrderEventKind.UNKNOWN, client_id=name, detail="503")
        return None

    async def _no_answer(self, name: str) -> OrderEvent:
        """Wait in vain."""
        await self._clock.sleep(PATIENCE_NS)
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
        return tuple(_refused(one.client_id, EndReason.NOT_SENT, "no amendments") for one in requests)

    async def cancel(self, instrument: str, client_ids: Sequence[str]) -> None:
        """Ask for cancels. Raises OutcomeUnknown where one was lost, after all were tried; Transient where none was."""
        self._say("cancel", instrument, names=tuple(client_ids))
        await self._alive()
        now_ns = self._clock.now_ns()
        if self._weather.strikes_now(Fault.BUSY, now_ns, "cancel"):
            await self._clock.sleep(self._delay_ns())
            raise Transient("503: busy")
        lost = [name for name in client_ids if not await self._cancel_one(instrument, name)]
        if lost:
            raise OutcomeUnknown(f"{len(lost)} cancels without an answer")

    async def _cancel_one(self, instrument: str, name: str) -> bool:
        """Send one cancel; False where nobody knows what became of it."""
        now_ns, weather = self._clock.now_ns(), self._weather
        if weather.strikes_now(Fault.REQUEST_LOST, now_ns, f"cancel of {name}"):
            await self._clock.sleep(PATIENCE_NS)
            return False
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._later(self._delay_ns(), lambda: self._arrive_cancel(instrument, name, arrived))
        if weather.strikes_now(Fault.ANSWER_LOST, now_ns, f"cancel of {name}"):
            await self._clock.sleep(PATIENCE_NS)
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
        """Take note of nothing: this exchange has no countdown."""

    # --- reads ------------------------------------------------------------------------------------------------------

    async def _read(self, what: str) -> Account:
        """Read the account: late, stale or not at all, as the weather is."""
        self._say(what)
        await self._alive()
        now_ns, weather = self._clock.now_ns(), self._weather
        if weather.strikes_now(Fault.READ_FAILS, now_ns, what):
            await self._clock.sleep(self._delay_ns())
            raise Transient(f"{what}: 503")
        await self._clock.sleep(self._delay_ns())
        shown = self._venue.account()
        if weather.strikes_now(Fault.READ_STALE, self._clock.now_ns(), what):
            shown = self._older(weather.between(Fault.READ_STALE, 100, 3_000) * NS_PER_MS) or shown
        if weather.strikes_now(Fault.READ_SLOW, now_ns, what):
            await self._clock.sleep(weather.between(Fault.READ_SLOW, 200, 1_900) * NS_PER_MS)
        await self._clock.sleep(self._delay_ns())
        await self._alive()
        self.account_ns = self._clock.now_ns()
        return shown

    def remember(self) -> None:
        """Keep the account as it is, for reads that will be stale; called after everything that changes it."""
        if Fault.READ_STALE in self._weather.on:
            self._accounts.append(self._venue.account())

    def _older(self, age_ns: int) -> Account | None:
        """Give the account as it was ``age_ns`` ago, as far as it is remembered."""
        limit_ns = self._clock.now_ns() - age_ns
        return next((one for one in reversed(self._accounts) if one.ts_ns <= limit_ns), None)

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
        await self._alive()
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
        return tuple(fill for fill in fills if fill.trade_id > cursors.get(fill.instrument, 0))

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

    async def _alive(self) -> None:
        """Never return to a life that is over."""
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
                Word(ts_ns=now_ns, boot=self._boot, kind=kind, instrument=instrument, requests=requests, names=names)
            )

    def _batch(self, instrument: str, events: tuple[OrderEvent, ...]) -> VenueBatch:
        mark_ticks = self._venue.exchange.by_name[instrument].market.mark_ticks
        return VenueBatch(instrument=instrument, ts_venue_ns=self._clock.now_ns(), mark_ticks=mark_ticks, events=events)


class MarketSide:
    """The public port of a wire."""

    def __init__(self, wire: Wire) -> None:
        """Show what comes over ``wire``."""
        self._wire = wire

    def subscribe(self, sink: Callable[[tuple[MarketUpdate, ...]], None]) -> None:
        """Hand every update to ``sink``."""
        self._wire.subscribe_market(sink)

    async def history(self, instrument: str, count: int) -> tuple[Bar, ...]:
        """Give closed bars up to now. Raises Transient."""
        return await self._wire.history(instrument, count)


_REFUSALS: Final = {Fault.BUSY: EndReason.RATE_LIMITED, Fault.MARGIN_REFUSED: EndReason.MARGIN}


def _refused(client_id: str, reason: EndReason, detail: str) -> OrderEvent:
    return OrderEvent(kind=OrderEventKind.REJECTED, client_id=client_id, reason=reason, detail=detail)


def _gap(why: str) -> StreamGap:
    return StreamGap(seq=0, cause_seq=0, ts_venue_ns=0, ts_recv_ns=0, why=why)


def _what(event: PrivateEvent) -> str:
    """Say what an event is about."""
    if isinstance(event, VenueBatch):
        return ", ".join(f"{one.kind.value} {one.client_id}" for one in event.events)
    return type(event).__name__


def _leg_of(client_id: str) -> object:
    parts = parse_client_id(client_id)
    return None if parts is None else parts.leg
