"""The private side of Binance USD-M futures: the ``Trading`` port of one account.

Invariants: what the exchange says of an order's life comes from its private stream, or from a read of the exchange
where the stream lost it; the answers here say only whether a request was taken; every figure is an integer made of
exact text. ``start`` returns when the stream stands, so that no event between a read and the stream is lost.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import attrs

from hedgegrid.errors import HedgegridError
from hedgegrid.messages.events import FundingPaid, OrderEvent, StreamGap
from hedgegrid.model.account import Balance, Position
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Fill, Leg, OpenOrder, OrderRequest
from hedgegrid.ports import FillCursors, OrderLook, PrivateEvent
from hedgegrid.runtime.clock import Clock
from hedgegrid.units import PPM
from hedgegrid.venues.ccxtpro.amending import AmendDesk
from hedgegrid.venues.ccxtpro.endpoints import Endpoints
from hedgegrid.venues.ccxtpro.fills import FillReads
from hedgegrid.venues.ccxtpro.funding_follow import FundingFollow
from hedgegrid.venues.ccxtpro.money import MoneyReads
from hedgegrid.venues.ccxtpro.order_requests import StopTrigger
from hedgegrid.venues.ccxtpro.parse_account import PositionRow
from hedgegrid.venues.ccxtpro.parse_market import premium_index
from hedgegrid.venues.ccxtpro.parse_orders import OrderReport, Trade
from hedgegrid.venues.ccxtpro.parse_rules import Commission, ListedInstrument, commission
from hedgegrid.venues.ccxtpro.private import PrivateStream
from hedgegrid.venues.ccxtpro.private_events import Hearers, PrivateEvents
from hedgegrid.venues.ccxtpro.reads import AccountReads, read
from hedgegrid.venues.ccxtpro.rules_watch import RulesWatch
from hedgegrid.venues.ccxtpro.sending import OrderDesk
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.sockets import Report, SocketHealth
from hedgegrid.venues.ccxtpro.traded import Traded
from hedgegrid.venues.ccxtpro.ws_api import OrderSocket

_COMMISSION_WEIGHT: Final = 20
_COUNTDOWN_WEIGHT: Final = 10


@attrs.frozen(kw_only=True)
class TradingSettings:
    """How this account trades. ``books_from_ns``: when its books began, by the exchange's clock; None: now.

    ``account_poll_ms``: how often the stream is compared with the exchange. ``amend``: whether orders are amended.
    """

    stop_trigger: StopTrigger = "mark"
    amend: bool = False
    account_poll_ms: int = 20_000
    books_from_ns: int | None = None
    ping_ms: int = 2_000


class CcxtTrading:
    """One account at the exchange. Start it once, stop it once; the session's clock must be measured before."""

    exits_are_linked = False

    def __init__(
        self,
        *,
        session: Session,
        endpoints: Endpoints,
        clock: Clock,
        listed: Sequence[ListedInstrument],
        socket: OrderSocket | None,
        mark_of: Callable[[str], int | None],
        report: Report,
        settings: TradingSettings,
    ) -> None:
        """Trade the instruments ``listed``, all settled in one asset.

        ``socket``: where orders go while it is connected, None for REST alone; it is started and stopped here.
        ``mark_of`` gives the mark that the public streams told last. ``report`` takes what a person should know.
        """
        traded = Traded.of(session, listed, report)
        self._session = session
        self._traded = traded
        self._clock = clock
        self._socket = socket
        self._mark_of = mark_of
        self._commissions: dict[str, Commission] = {}
        self._sink: Callable[[PrivateEvent], None] | None = None
        self._reads = AccountReads(traded)
        self.read_ns: int | None = None
        """When the exchange last told what is held, by our clock; None before it has."""
        self._events = self._make_events(traded)
        self._make_books(traded, settings.books_from_ns, clock)
        self._rules = RulesWatch(traded, clock)
        self._desk = OrderDesk(
            traded=traded,
            rules=self._rules,
            socket=socket,
            stop_trigger=settings.stop_trigger,
            say=self._say,
            note_sent=self._events.sent,
        )
        self.amends = settings.amend
        self._amendments = AmendDesk(traded, self._rules)
        self._stream = PrivateStream(
            session=session,
            endpoints=endpoints,
            clock=clock,
            events=self._events,
            emit=self._emit,
            position_rows=self._position_rows,
            poll_ms=settings.account_poll_ms,
            report=report,
            ping_ms=settings.ping_ms,
        )

    def _make_events(self, traded: Traded) -> PrivateEvents:
        hearers = Hearers(
            emit=self._emit,
            report=traded.report,
            funding_paid=self._on_funding,
            key_expired=self._on_key_expired,
        )
        return PrivateEvents(traded=traded, hearers=hearers, mark_of=self._mark_of, fee_of=self._fee_of_report)

    def _on_funding(self) -> None:
        self._funding.charged()

    def _on_funding_seen(self) -> None:
        self._funding.lost()

    def _on_key_expired(self) -> None:
        self._stream.rebuild("the listen key has expired")

    def _make_books(self, traded: Traded, books_from_ns: int | None, clock: Clock) -> None:
        now_ns = self._session.venue_ns()
        from_ns = now_ns if books_from_ns is None else books_from_ns
        self._fills = FillReads(
            traded=traded, events=self._events, books_from_ns=from_ns, heard_from_ns=now_ns, fee_of=self._fee_of
        )
        self._money = MoneyReads(
            traded=traded, books_from_ns=from_ns, lots_of=self._lots_of, funding_seen=self._on_funding_seen
        )
        self._funding = FundingFollow(
            money=self._money, clock=clock, venue_ns=self.venue_ns, emit=self._emit, report=traded.report
        )

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read the account's fees, and return when the private stream stands. Raises Transient, Rejected, Fatal.

        After an error nothing runs: it may be called again.
        """
        for name, listed in self._traded.listed.items():
            self._commissions[name] = await read(
                self._session,
                "fapiPrivateGetCommissionRate",
                {"symbol": listed.symbol},
                commission,
                weight=_COMMISSION_WEIGHT,
            )
        if self._socket is not None:
            self._socket.start()
        self._funding.start()
        try:
            await self._stream.start()
        except HedgegridError:
            await self._funding.stop()
            if self._socket is not None:
                await self._socket.stop()
            raise

    async def stop(self) -> None:
        """Close the sockets; nothing is said any more. The session is its owner's to close."""
        await self._funding.stop()
        await self._rules.stop()
        await self._stream.stop()
        if self._socket is not None:
            await self._socket.stop()

    def sockets(self) -> tuple[SocketHealth, ...]:
        """Tell how the private sockets are."""
        own = (self._stream.health(),)
        return own if self._socket is None else (*own, self._socket.health())

    def heard(self) -> Mapping[str, int]:
        """Give how many private payloads of each kind came."""
        return dict(self._events.heard)

    def subscribe(self, sink: Callable[[PrivateEvent], None]) -> None:
        """Hand every private event to ``sink``; before ``start``."""
        self._sink = sink

    def _emit(self, event: PrivateEvent) -> None:
        if isinstance(event, StreamGap):
            self._funding.lost()
        if self._sink is not None:
            self._sink(event)

    def _say(self, instrument: str, events: Sequence[OrderEvent]) -> None:
        self._events.tell(instrument, self._session.venue_ns(), tuple(events))

    # --- orders -----------------------------------------------------------------------------------------------------

    def prepare(self, instrument: str, requests: Sequence[OrderRequest], cancels: Sequence[str]) -> None:
        """Make ready to leave what will be asked for next, while the caller waits for something else."""
        self._desk.prepare(instrument, requests, cancels)

    async def place(
        self, instrument: str, requests: Sequence[OrderRequest], retires: Sequence[str]
    ) -> tuple[OrderEvent, ...]:
        """Send orders, and retire stops once their successors stand; one answer a request, by index.

        Nothing is raised for what became of one order: that is its answer. A stop that stays because its successor
        does not stand is said as CANCEL_FAILED, one whose cancel was lost as UNKNOWN.
        """
        return await self._desk.place(instrument, requests, retires)

    async def amend(self, instrument: str, requests: Sequence[OrderRequest]) -> tuple[OrderEvent, ...]:
        """Give entries that rest another quantity; one answer a request, by index."""
        return await self._amendments.amend(instrument, requests)

    async def cancel(self, instrument: str, client_ids: Sequence[str]) -> None:
        """Ask for cancels; refused ones are said as CANCEL_FAILED (NOT_FOUND: it may be filled).

        OutcomeUnknown where a request was lost, after all were tried; Transient where none was taken at all and all
        may be tried again.
        """
        await self._desk.cancel(instrument, client_ids)

    async def refresh_countdown(self, instrument: str, countdown_ms: int) -> None:
        """Have the exchange cancel the instrument's orders after this silence; 0 disarms. Raises Transient."""
        params = {"symbol": self._traded.listed[instrument].symbol, "countdownTime": countdown_ms}
        await self._session.call("fapiPrivatePostCountdownCancelAll", params, weight=_COUNTDOWN_WEIGHT)

    # --- reads ------------------------------------------------------------------------------------------------------

    async def positions(self) -> tuple[Position, ...]:
        """Read both legs of every instrument that is not flat. Raises Transient."""
        found = await self._reads.positions()
        self.read_ns = self._clock.now_ns()
        held = {(one.instrument, one.leg): one.qty_lots for one in found}
        legs = ((name, leg) for name in self._traded.listed for leg in Leg)
        new = {key: held.get(key, 0) for key in legs if key not in self._events.legs}
        self._events.read_legs(new, self.venue_ns())
        return found

    async def _position_rows(self) -> tuple[PositionRow, ...]:
        found = await self._reads.position_rows()
        self.read_ns = self._clock.now_ns()
        return found

    async def open_orders(self) -> tuple[OpenOrder, ...]:
        """Read the resting orders. Raises Transient."""
        return await self._reads.open_orders()

    async def open_stops(self) -> tuple[OpenOrder, ...]:
        """Read the conditional orders. Raises Transient."""
        return await self._reads.open_stops()

    async def look_up(self, instrument: str, client_id: str, *, conditional: bool) -> OrderLook:
        """Ask for one order by our id; of a triggered stop, for the order that it became. Raises Transient."""
        return await self._reads.look_up(instrument, client_id, conditional=conditional)

    async def fills_since(self, cursors: FillCursors) -> tuple[Fill, ...]:
        """Read the fills above their instrument's cursor, and older ones that the stream has lost. Raises Transient.

        An instrument without a cursor is read from when the books began. A fill is given, and from then on the stream
        does not tell it again; an order that the exchange does not name any more is called by its number.
        """
        return await self._fills.since(cursors)

    async def funding_since(self, ts_ns: int) -> tuple[FundingPaid, ...]:
        """Read the settlements after ``ts_ns`` and since the books began, oldest first. Raises Transient.

        The exchange charges each leg and does not always say which record is whose: the legs' shares are then what
        they are expected to pay, and always add up to what was charged.
        """
        return await self._funding.since(ts_ns)

    async def balance(self) -> Balance:
        """Read the wallet, and what income says was realised, charged and paid since the books began.

        Raises Transient. Income tells nothing of more than three months ago, nor of fees in other assets.
        """
        return await self._money.balance()

    async def mark_ticks(self, instrument: str) -> int | None:
        """Give the mark that the public stream told last, else ask. Raises Transient."""
        known = self._mark_of(instrument)
        if known is not None:
            return known
        found = await read(
            self._session,
            "fapiPublicGetPremiumIndex",
            {"symbol": self._traded.listed[instrument].symbol},
            lambda answer: premium_index(answer, self._traded.scales),
            weight=1,
        )
        return next((mark.mark_ticks for mark in found if mark.instrument == instrument), None)

    def venue_ns(self) -> int:
        """Give the exchange's time as far as it is known here, in ns."""
        return self._session.venue_ns()

    def instruments(self) -> tuple[Instrument, ...]:
        """Give the rules of the instruments that are traded."""
        return tuple(one.instrument for one in self._traded.listed.values())

    # --- figures ----------------------------------------------------------------------------------------------------

    def _lots_of(self, instrument: str, leg: Leg) -> int | None:
        return self._events.legs.get((instrument, leg))

    def _fee_of_report(self, report: OrderReport) -> int:
        return 0 if report.trade is None else self._fee_of(report.instrument, report.trade)

    def _fee_of(self, instrument: str, trade: Trade) -> int:
        """Estimate a fee that was taken in another asset, by the account's own rates."""
        rates = self._commissions[instrument]
        ppm = rates.maker_ppm if trade.maker else rates.taker_ppm
        notional_e8 = trade.price_ticks * trade.qty_lots * self._traded.listed[instrument].instrument.unit_e8
        return (2 * notional_e8 * ppm + PPM) // (2 * PPM)
