"""A strategy and the gate against an exchange that a test plays by hand: every order, answer and cancel on its own.

Invariants: strategy and gate are the real ones; the exchange knows no lots and links no exits; nothing reaches the bot
before the test lets it be heard; the journal's own rules say which lots are open.
"""

from collections import deque
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any

import attrs

from hedgegrid.actors.grid_memory import room_for_actions
from hedgegrid.actors.order_names import Numbering
from hedgegrid.actors.post import EXECUTOR, RISK, Post, strategy_name
from hedgegrid.actors.risk import Risk
from hedgegrid.actors.risk_session import SessionSettings
from hedgegrid.actors.risk_settings import Counted, RiskSettings
from hedgegrid.actors.strategy import Strategy
from hedgegrid.core.breaker import Breaker, BreakerLimits
from hedgegrid.core.exits import OPEN
from hedgegrid.core.gate_records import InstrumentRisk, RiskLimits, SessionLimits
from hedgegrid.core.protection import ProtectionLimits
from hedgegrid.journal.changes import Moment
from hedgegrid.journal.positions import Positions
from hedgegrid.messages import commands as c
from hedgegrid.messages import events as e
from hedgegrid.messages.events import Message, OrderEventKind
from hedgegrid.model.account import Balance, Position
from hedgegrid.model.grid import GridMemory, OpenLot
from hedgegrid.model.instrument import Tier
from hedgegrid.model.market import Bar
from hedgegrid.model.order import Fill, Kind, Leg, OpenOrder, OrderRequest, Purpose
from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.runtime.mailbox import Mailbox
from hedgegrid.units import PPM
from tests.actors.played import BTC, Order, PlayedExchange
from tests.core import made

MS = 1_000_000
LIMITS = ProtectionLimits(
    max_unprotected_ns=2_000 * MS, stop_overlap_ns=2_000 * MS, exit_excess_ns=1_000 * MS, validity_ns=5_000 * MS
)
START_NS = 1_800_000_000_000_000_000


class Ring(PlayedExchange):
    """The bot's two actors, and the exchange's side as plain calls."""

    def __init__(self, *, refuse: bool = True, **changes: Any) -> None:
        """``refuse``: a reduction above the position is refused whole, else filled as far as it goes."""
        super().__init__(VirtualClock(START_NS), refuse=refuse)
        self.params = made.params(**{"recenter_ppm": 500_000, **changes})
        self.bars = 0
        self.mail: deque[tuple[str, Any]] = deque()
        self.told: list[Message] = []
        self.grid: e.GridMoved | None = None
        self.rehydrations: list[c.Rehydrate] = []
        self.sent_while_paused: list[OrderRequest] = []
        self.paused = False
        self._row = 0
        nothing = SimpleNamespace(put=lambda *_: None, has_fill=lambda *_: False, has_lot=lambda *_: False)
        self.journal_notes: list[str] = []
        notes: Any = SimpleNamespace(
            incident=lambda _at, text, figures: self.journal_notes.append(f"{text} {figures}"), count=lambda _name: None
        )
        changes_of: Any = nothing
        self.journal = Positions(changes_of, notes, changes_of)
        self.journal.boot({BTC: made.UNIT_E8})
        router: Any = SimpleNamespace(send=self._send, relay=None)
        journal: Any = SimpleNamespace(append=self.told.append)
        self.post = Post(router=router, journal=journal, clock=self.clock, tap=self._tap)
        self.risk = self._risk(router)
        self.router = router
        self.strategy = self._strategy()
        self.hydrate_all()

    # --- the actors -------------------------------------------------------------------------------------------------

    def _mailbox(self, name: str) -> Any:
        return Mailbox(name, capacity=10, control_capacity=10, policies={}, control=(), activity=Activity())

    def _risk(self, router: Any) -> Risk:
        wide = {**dict.fromkeys((one.name for one in attrs.fields(RiskLimits)), 10**15), "min_distance_ppm": 0}
        rule = InstrumentRisk(
            unit_e8=made.UNIT_E8,
            min_qty_lots=1,
            max_qty_lots=10**9,
            max_position_lots=10**9,
            cadence_ns=10**15,
            var_ppm=1,
        )
        memory: Any = SimpleNamespace(
            latched=lambda: (),
            session=lambda: None,
            set_latched=lambda _: None,
            set_session=lambda _: None,
            throttle_ppm=lambda: PPM,
        )
        return Risk(
            mailbox=self._mailbox(RISK),
            router=router,
            clock=self.clock,
            post=self.post,
            instruments=[attrs.evolve(made.BTC, tiers=(Tier(max_notional_e8=10**17, maintenance_ppm=5_000),))],
            rules=[rule],
            settings=RiskSettings(
                limits=RiskLimits(**wide),
                limits_version="test",
                session=SessionSettings(limits=SessionLimits(), bars_per_year={BTC: 525_600.0}),
                resume_after_ns=0,
                start_halted=False,
                stop_overlap_ns=LIMITS.stop_overlap_ns,
            ),
            memory=memory,
            counted=Counted(breaker=Breaker(limits=BreakerLimits())),
            on_liquidated=lambda: None,
        )

    def _strategy(self) -> Strategy:
        return Strategy(
            mailbox=self._mailbox(strategy_name(BTC)),
            router=self.router,
            clock=self.clock,
            post=self.post,
            instrument=BTC,
            numbering=Numbering(account="race", epoch=1, first=0, stride=64),
            params=self.params,
            actions=room_for_actions(),
            amends=False,
            unlinked=LIMITS,
        )

    def hydrate_all(self) -> None:
        """Begin: the account is read, the strategy asks, and both get their answers."""
        run(self.risk.on_start())
        run(self.strategy.on_start())
        self.settle()
        head = self.post.head()
        run(self.strategy.handle(e.HistoryLoaded(**head, instrument=BTC, bars=tuple(self._bar(0) for _ in range(8)))))
        self.settle()

    def restart(self) -> None:
        """Let the strategy die and a fresh one take its place."""
        for reminder in tuple(self.strategy._reminders):
            reminder.cancel()
        self.mail = deque(one for one in self.mail if one[0] != strategy_name(BTC))
        self.strategy = self._strategy()
        run(self.strategy.on_start())
        self.settle()
        bars = tuple(self._bar(0) for _ in range(8))
        run(self.strategy.handle(e.HistoryLoaded(**self.post.head(), instrument=BTC, bars=bars)))
        self.settle()

    @property
    def tables(self) -> Any:
        """The strategy's own tables."""
        return self.strategy._tables

    # --- mail -------------------------------------------------------------------------------------------------------

    def _send(self, name: str, message: Any) -> bool:
        self.mail.append((name, message))
        return True

    def _tap(self, message: Message) -> None:
        self._row += 1
        at = Moment(row=self._row, ts_ns=message.ts_venue_ns)
        match message:
            case e.LotOpened():
                self.journal.lot_opened(at, message)
            case e.GridMoved():
                self.grid = message
            case e.ExecutionBatch():
                for event in message.events:
                    if event.fill is not None:
                        self._journal_fill(at, event.fill)
            case _:
                return

    def _journal_fill(self, at: Moment, fill: Fill) -> None:
        order = self.orders.get(fill.client_id)
        entry: Any = None
        if order is not None:
            request = order.request
            entry = SimpleNamespace(tp_micro=request.tp_micro, step_micro=request.step_micro, covers=request.covers)
        self.journal.fill(at, fill, entry)

    def settle(self) -> None:
        """Let every message be handled."""
        for _ in range(100_000):
            if not self.mail:
                return
            name, message = self.mail.popleft()
            if name == RISK:
                run(self.risk.handle(message))
            elif name == EXECUTOR:
                self._execute(message)
            elif name == strategy_name(BTC):
                run(self.strategy.handle(message))
        raise AssertionError("messages cause each other without end")

    def _execute(self, message: Any) -> None:
        """Be the executor: take what was approved, or tell where things stand."""
        if isinstance(message, c.Rehydrate):
            self._tell_state(message)
            return
        assert isinstance(message, e.ApprovedBatch), message
        for name in message.cancels:
            self._ask_cancel(name)
        fresh: list[OrderRequest] = []
        for approved in message.approved:
            request = approved.request
            assert request.client_id not in self.orders, "a client id was used twice"
            self.orders[request.client_id] = Order(request=request, left=request.qty_lots)
            fresh.append(request)
            if self.paused and request.purpose is Purpose.ENTRY:
                self.sent_while_paused.append(request)
        for name in message.retires:
            if name not in self.orders:
                continue
            leg = self.orders[name].request.leg
            self.retiring[name] = [
                one.client_id for one in fresh if one.leg is leg and one.kind is Kind.STOP_MARKET and not one.close_all
            ]
        self._retire()

    def _tell_state(self, message: c.Rehydrate) -> None:
        """Read the exchange: whatever it said and nobody heard is applied first."""
        self.rehydrations.append(message)
        self.hear(len(self.words), settle=False)
        legs = {(one.leg): one for one in self.journal.legs.values()}
        positions = tuple(
            Position(instrument=BTC, leg=leg, qty_lots=self.position[leg], cost_e8=one.account.cost_e8)
            for leg, one in legs.items()
            if self.position[leg]
        )
        lots = tuple(
            OpenLot(
                lot_id=one.lot_id,
                leg=one.leg,
                level=one.level,
                generation=one.generation,
                entry_ticks=one.entry_ticks,
                qty_lots=one.qty_lots,
                tp_ticks=one.tp_ticks,
                stop_ticks=one.stop_ticks,
                step_micro=one.step_micro,
            )
            for one in self.journal.open_lots(BTC)
        )
        word = e.Hydrated(
            **self.post.head(message),
            instrument=BTC,
            positions=positions,
            orders=tuple(self._open(one) for one in self.orders.values() if one.where != "ended"),
            lots=lots,
            unbooked=self.journal.unbooked(BTC),
            grid=self._grid(),
            mark_ticks=self.mark,
            next_order_no=64 * (self._sequence() + 1),
        )
        self.post.publish(word, strategy_name(BTC) if message.instrument else RISK)
        if not message.instrument:
            balance = Balance(wallet_e8=10**15, realised_e8=0, fees_e8=0, funding_e8=0)
            self.post.publish(e.AccountHydrated(**self.post.head(message), balance=balance, foreign_orders=0), RISK)

    def _grid(self) -> GridMemory | None:
        told = self.grid
        if told is None:
            return None
        return GridMemory(
            regime=told.regime, center_ticks=told.center_ticks, step_micro=told.step_micro, generation=told.generation
        )

    def _sequence(self) -> int:
        return max((int(one.rpartition(".")[2], 36) // 64 for one in self.orders), default=0)

    def _open(self, order: Order) -> OpenOrder:
        one = order.request
        return OpenOrder(
            client_id=one.client_id,
            instrument=BTC,
            leg=one.leg,
            purpose=one.purpose,
            kind=one.kind,
            price_ticks=one.price_ticks,
            qty_lots=order.left + order.filled,
            filled_lots=order.filled,
            close_all=one.close_all,
            created_ns=one.decided_ns,
            acknowledged=order.heard and order.known,
            level=one.level,
            generation=one.generation,
            covers=one.covers,
            tp_micro=one.tp_micro,
            step_micro=one.step_micro,
        )

    # --- time and words ---------------------------------------------------------------------------------------------

    def hear(self, count: int, *, settle: bool = True) -> None:
        """Let the bot hear the next words, as one batch."""
        events = tuple(self.words.popleft() for _ in range(min(count, len(self.words))))
        if not events:
            return
        for event in events:
            if event.kind is OrderEventKind.ACCEPTED:
                self.orders[event.client_id].heard = True
        batch = e.ExecutionBatch(**self.post.head(), instrument=BTC, mark_ticks=self.mark, events=events)
        self.post.publish(batch, RISK, strategy_name(BTC))
        if settle:
            self.settle()

    def wait(self, ms: int) -> None:
        """Let time pass."""
        until = self.clock.now_ns() + ms * MS
        while (due := self.clock.next_timer_ns()) is not None and due <= until:
            self.clock.fire_next()
            self.settle()
        self.clock.advance_to(until)

    def _bar(self, move: int) -> Bar:
        opened, self.mark = self.mark, self.mark + move
        self.bars += 1
        return Bar(
            open_ns=START_NS + self.bars * made.BAR_NS,
            length_ns=made.BAR_NS,
            open_ticks=opened,
            high_ticks=max(opened, self.mark) + 5,
            low_ticks=min(opened, self.mark) - 5,
            close_ticks=self.mark,
            volume_lots=1,
        )

    def bar(self, move: int) -> None:
        """Close a bar."""
        head = self.post.head()
        bar = self._bar(move)
        marked = e.MarkPrice(
            **head, instrument=BTC, mark_ticks=self.mark, rate_e8=None, next_funding_ns=None, funding_interval_ns=0
        )
        run(self.risk.handle(marked))
        run(self.risk.handle(e.Quote(**head, instrument=BTC, bid_ticks=self.mark, ask_ticks=self.mark)))
        run(self.strategy.handle(e.BarClosed(**head, instrument=BTC, bar=bar)))
        self.settle()

    def pause(self) -> None:
        """Let the operator pause."""
        run(self.risk.handle(c.Pause(**self.post.head())))
        self.settle()
        self.paused = True

    def resume(self) -> None:
        """Let the operator resume."""
        self.paused = False
        run(self.risk.handle(c.Resume(**self.post.head(), new_peak=True)))
        self.settle()

    def calm(self) -> None:
        """Let everything that is on its way arrive, well, until nothing is and no time is waited for."""
        for _ in range(60):
            for name in self.named("sent"):
                self.arrive(name)
            for name, one in self.orders.items():
                if not one.known:
                    self.find(name)
                while one.cancels:
                    self.cancel_arrives(name)
            self.hear(len(self.words))
            self.wait(1_000)

    # --- what is asked of all of it ---------------------------------------------------------------------------------

    def lots(self, leg: Leg) -> list[Any]:
        """The strategy's open lots of a leg."""
        return [lot for lot in self.tables.lots if lot.state == OPEN and lot.leg == leg]

    def resting(self, leg: Leg, purpose: Purpose) -> list[Order]:
        """What the exchange has of one kind of exits."""
        return [
            one
            for one in self.orders.values()
            if one.where != "ended" and one.request.leg is leg and one.request.purpose is purpose
        ]


def run(body: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that never waits."""
    try:
        body.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")
