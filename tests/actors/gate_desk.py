"""The risk actor alone on a played wire, driven message by message in virtual time; it may die and begin anew.

Invariants: the actor is the real one, with a real post; executor and strategies are ears; what it approves goes on the
wire at once and is judged by the wire's own sums; which pauses stand is reckoned here from what was said to it.
"""

from collections.abc import Coroutine, Iterable
from decimal import Decimal
from typing import Any, Final, cast

import attrs

from hedgegrid.actors.mailboxes import mailbox_maker
from hedgegrid.actors.post import EXECUTOR, RISK, Post, strategy_name
from hedgegrid.actors.risk import Risk
from hedgegrid.actors.risk_session import SessionSettings
from hedgegrid.actors.risk_settings import Counted, RiskSettings
from hedgegrid.core.breaker import Breaker, BreakerLimits
from hedgegrid.core.client_id import client_id
from hedgegrid.core.gate_records import InstrumentRisk, RiskLimits, SessionLimits
from hedgegrid.core.pause import ACCOUNT, Reason, is_latched
from hedgegrid.core.permission import LatchedEntry
from hedgegrid.messages.commands import ClearReason, IntentBatch, RaiseReason, Resume
from hedgegrid.messages.events import (
    AccountHydrated,
    ApprovedBatch,
    ExecutionBatch,
    ForeignSeen,
    Hydrated,
    MarkPrice,
    Message,
    Quote,
    RefusedBatch,
    StrategyReady,
)
from hedgegrid.model.account import Balance, Position, SessionMemory
from hedgegrid.model.instrument import Instrument, Tier
from hedgegrid.model.order import Kind, Leg, OpenOrder, OrderRequest, Purpose
from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.clock import VirtualClock
from hedgegrid.runtime.mailbox import Delivery
from hedgegrid.runtime.router import Router
from tests.actors.gate_wire import Caps, Fate, Side, Wire, Wired

SECOND: Final = 1_000_000_000
START_NS: Final = 1_700_000_000 * SECOND
MARK: Final = 1_000
NAMES: Final = ("BTC/USDT:USDT", "ETH/USDT:USDT")
UNITS_E8: Final = {"BTC/USDT:USDT": 10_000, "ETH/USDT:USDT": 20_000}
"""One lot of the first is worth 0.1 at the mark of the start, of the second 0.2."""
QUOTE: Final = 10**8
WALLET_E8: Final = 10 * QUOTE
CAPS: Final = Caps(
    leg_e8=35 * QUOTE // 10,
    gross_e8=5 * QUOTE,
    net_e8=3 * QUOTE,
    order_e8=12 * QUOTE // 10,
    order_lots=9,
    position_lots=22,
    open_orders=10,
)
RESUME_AFTER_NS: Final = 5 * SECOND
TTL_NS: Final = 3 * SECOND
MAX_AGE_NS: Final = 10 * SECOND
STOP_OVERLAP_NS: Final = 2 * SECOND
LIMITS: Final = RiskLimits(
    max_order_notional_e8=CAPS.order_e8,
    max_leg_notional_e8=CAPS.leg_e8,
    max_gross_notional_e8=CAPS.gross_e8,
    max_net_notional_e8=CAPS.net_e8,
    max_leverage_ppm=10**9,
    max_position_ppm=10**9,
    max_margin_ppm=10**9,
    min_distance_ppm=0,
    max_var_ppm=10**9,
    max_open_orders_per_leg=CAPS.open_orders,
    max_orders_per_minute=10**9,
    price_collar_ppm=300_000,
    max_quote_age_ns=MAX_AGE_NS,
    max_mark_age_ns=MAX_AGE_NS,
    max_balance_age_ns=MAX_AGE_NS,
    approval_ttl_ns=TTL_NS,
)
_ROLE: Final = {
    Purpose.TAKE_PROFIT: Kind.LIMIT,
    Purpose.STOP: Kind.STOP_MARKET,
    Purpose.FLATTEN: Kind.MARKET,
}


@attrs.define(eq=False)
class _Ears:
    """Stands where an actor would."""

    name: str
    heard: list[Message] = attrs.field(factory=list)
    closed: bool = False

    def put(self, message: Message) -> Delivery:
        """Take a message."""
        self.heard.append(message)
        return Delivery.TAKEN


@attrs.define(eq=False)
class _Memory:
    """What outlives the actor, and takes the place of the journal."""

    entries: tuple[LatchedEntry, ...] = ()
    kept: SessionMemory | None = None

    def latched(self) -> tuple[LatchedEntry, ...]:
        """What was latched."""
        return self.entries

    def set_latched(self, entries: Iterable[LatchedEntry]) -> None:
        """Remember what is latched."""
        self.entries = tuple(entries)

    def session(self) -> SessionMemory | None:
        """What the session controls remember."""
        return self.kept

    def set_session(self, memory: SessionMemory) -> None:
        """Remember it."""
        self.kept = memory

    def append(self, message: Message) -> None:
        """Take a message, as the journal's tape does."""


def _instruments() -> list[Instrument]:
    lots = {10_000: Decimal("0.001"), 20_000: Decimal("0.002")}
    return [
        Instrument(
            name=name,
            tick=Decimal("0.1"),
            lot=lots[unit_e8],
            min_qty_lots=1,
            max_qty_lots=CAPS.order_lots,
            min_notional_e8=0,
            tiers=(Tier(max_notional_e8=10**15, maintenance_ppm=4_000),),
            liquidation_fee_ppm=0,
            funding_interval_ns=8 * 3_600 * SECOND,
        )
        for name, unit_e8 in UNITS_E8.items()
    ]


class GateDesk:
    """One risk actor, its exchange, and the judge between them."""

    def __init__(self) -> None:
        """Start the actor, unhydrated."""
        self.clock = VirtualClock(START_NS)
        self.wire = Wire(UNITS_E8, MARK, WALLET_E8)
        self.memory = _Memory()
        self.numbers = 0
        self.generation = 1
        self.refused: dict[str, int] = {}
        self.approved: dict[Purpose, int] = dict.fromkeys(Purpose, 0)
        self.reasons: dict[tuple[Reason, str], int | None] = {}
        """What stands by what was said: None, or since when an automatic one's cause is gone."""
        self.halted = False
        self.priced_ns: dict[str, int] = {}
        self.begin()

    # --- a life of the actor ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Let a new actor begin, which knows nothing but what was latched."""
        self.hydrated = False
        self.ready = False
        self.halted = False
        self.priced_ns = {}
        self.reasons = {key: None for key in self.reasons if is_latched(key[0])}
        router = Router(on_dead_letter=lambda _: None, on_overflow=lambda _name, _message: None)
        self.ears = {name: _Ears(name) for name in (EXECUTOR, RISK, *map(strategy_name, NAMES))}
        for ear in self.ears.values():
            router.register(cast("Any", ear))
        self.post = Post(router=router, journal=cast("Any", self.memory), clock=self.clock, tap=self._take)
        self.risk = Risk(
            mailbox=mailbox_maker(Activity())(RISK),
            router=router,
            clock=self.clock,
            post=self.post,
            instruments=_instruments(),
            rules=[
                InstrumentRisk(
                    unit_e8=UNITS_E8[name],
                    min_qty_lots=1,
                    max_qty_lots=CAPS.order_lots,
                    max_position_lots=CAPS.position_lots,
                    var_ppm=20_000,
                )
                for name in NAMES
            ],
            settings=RiskSettings(
                limits=LIMITS,
                limits_version="caps",
                session=SessionSettings(limits=SessionLimits(), bars_per_year=dict.fromkeys(NAMES, 1.0)),
                resume_after_ns=RESUME_AFTER_NS,
                start_halted=False,
                stop_overlap_ns=STOP_OVERLAP_NS,
            ),
            memory=self.memory,
            counted=Counted(breaker=Breaker(limits=BreakerLimits(enabled=False))),
            on_liquidated=lambda: None,
        )
        _now(self.risk.on_start())
        self._wake()

    def tell(self, message: Message) -> None:
        """Let the actor handle a message, and what it sends to itself by that."""
        _now(self.risk.handle(cast("Any", message)))
        self._wake()

    def _wake(self) -> None:
        while self.ears[RISK].heard:
            _now(self.risk.handle(cast("Any", self.ears[RISK].heard.pop(0))))

    def wait(self, duration_ns: int) -> None:
        """Let time pass, with every timer at its own time."""
        until_ns = self.clock.now_ns() + duration_ns
        while (due_ns := self.clock.next_timer_ns()) is not None and due_ns <= until_ns:
            self.clock.fire_next()
            self._wake()
        self.clock.advance_to(until_ns)

    # --- what the actor is told -------------------------------------------------------------------------------------

    def price(self, name: str, mark_ticks: int) -> None:
        """Move an instrument's price, and tell quote and mark."""
        self.wire.marks[name] = mark_ticks
        self.priced_ns[name] = self.clock.now_ns()
        bid, ask = mark_ticks - 1, mark_ticks + 1
        self.tell(Quote(**self.post.head(), instrument=name, bid_ticks=bid, ask_ticks=ask))
        self.tell(
            MarkPrice(
                **self.post.head(),
                instrument=name,
                mark_ticks=mark_ticks,
                rate_e8=None,
                next_funding_ns=None,
                funding_interval_ns=0,
            )
        )

    def hear(self, count: int) -> None:
        """Tell the oldest words of the exchange."""
        words = self.wire.take_words(count)
        if words:
            name = words[0].order.request.instrument
            events = tuple(word.event for word in words)
            self.tell(ExecutionBatch(**self.post.head(), instrument=name, mark_ticks=0, events=events))

    def foreign(self, name: str) -> None:
        """Tell what an instrument holds that is not ours."""
        self.tell(self._foreign_seen(name))

    def hydrate(self, *, foreign_first: bool) -> None:
        """Tell what is known of the account, as the executor does when it is asked."""
        seen = [self._foreign_seen(name) for name in NAMES]
        words = [self._word_on(name) for name in NAMES]
        for message in (*seen, *words) if foreign_first else (*words, *seen):
            self.tell(message)
        balance = Balance(wallet_e8=self.wire.wallet_e8, realised_e8=0, fees_e8=0, funding_e8=0)
        self.tell(AccountHydrated(**self.post.head(), balance=balance, foreign_orders=0))
        self.hydrated = True

    def warm(self) -> None:
        """Tell that every strategy is ready."""
        for name in NAMES:
            self.tell(StrategyReady(**self.post.head(), instrument=name))
        self.ready = True

    def _foreign_seen(self, name: str) -> ForeignSeen:
        sides = {leg: self.wire.sides[name, leg] for leg in Leg}
        return ForeignSeen(
            **self.post.head(),
            instrument=name,
            positions=tuple(
                Position(instrument=name, leg=leg, qty_lots=side.foreign_lots, cost_e8=0)
                for leg, side in sides.items()
                if side.foreign_lots
            ),
            orders=tuple(one for side in sides.values() for one in side.foreign_orders),
        )

    def _word_on(self, name: str) -> Hydrated:
        """What the executor's books say of an instrument: what may still live is in it, acknowledged or not."""
        sides: dict[Leg, Side] = {leg: self.wire.sides[name, leg] for leg in Leg}
        return Hydrated(
            **self.post.head(),
            instrument=name,
            positions=tuple(
                Position(
                    instrument=name, leg=leg, qty_lots=side.told_lots, cost_e8=side.told_lots * MARK * UNITS_E8[name]
                )
                for leg, side in sides.items()
                if side.told_lots
            ),
            orders=tuple(
                _open_order(order)
                for order in self.wire.orders
                if order.request.instrument == name and _may_live(order)
            ),
            lots=(),
            unbooked=(),
            grid=None,
            mark_ticks=self.wire.marks[name],
            next_order_no=self.numbers + 1,
        )

    # --- pauses -----------------------------------------------------------------------------------------------------

    def pause(self, reason: Reason, scope: str) -> None:
        """Note that a reason stands from now on."""
        self.reasons[reason, scope] = None

    def raise_reason(self, reason: Reason, scope: str) -> None:
        """Tell that a cause is there."""
        self.pause(reason, scope)
        self.tell(RaiseReason(**self.post.head(), reason=reason.value, scope=scope, figures={}))

    def clear_reason(self, reason: Reason, scope: str) -> None:
        """Tell that a cause is gone: an automatic reason stands for a while yet, a latched one for good."""
        if not is_latched(reason) and (reason, scope) in self.reasons and self.reasons[reason, scope] is None:
            self.reasons[reason, scope] = self.clock.now_ns()
        self.tell(ClearReason(**self.post.head(), reason=reason.value, scope=scope, figures={}))

    def resume(self, *, new_peak: bool) -> None:
        """Have the operator lift what is latched; a drawdown stays unless its peak is given up."""
        stays = {Reason.DRAWDOWN} if not new_peak else set()
        self.reasons = {key: since for key, since in self.reasons.items() if not is_latched(key[0]) or key[0] in stays}
        self.halted = False
        self.tell(Resume(**self.post.head(), new_peak=new_peak))

    def pausing(self, name: str) -> list[str]:
        """Say what forbids that a leg of an instrument grows now."""
        now_ns = self.clock.now_ns()
        standing = [
            f"{reason.value} of {scope or 'the account'}"
            for (reason, scope), gone_ns in self.reasons.items()
            if scope in (ACCOUNT, name) and (gone_ns is None or now_ns - gone_ns < RESUME_AFTER_NS)
        ]
        facts = {"not hydrated": not self.hydrated, "not warm": not self.ready, "halted": self.halted}
        return standing + [fact for fact, stands in facts.items() if stands]

    # --- orders -----------------------------------------------------------------------------------------------------

    def request(
        self, name: str, leg: Leg, purpose: Purpose, price_ticks: int, qty_lots: int, **changes: Any
    ) -> OrderRequest:
        """An order that a strategy could want."""
        self.numbers += 1
        level = changes.pop("level", 1)
        made = OrderRequest(
            client_id=client_id(account="gate", epoch=1, leg=leg, purpose=purpose, level=level, sequence=self.numbers),
            instrument=name,
            leg=leg,
            purpose=purpose,
            kind=_ROLE.get(purpose, Kind.LIMIT),
            price_ticks=0 if purpose is Purpose.FLATTEN else price_ticks,
            qty_lots=qty_lots,
            post_only=purpose is Purpose.ENTRY,
            level=level,
            generation=self.generation,
            decided_ns=self.clock.now_ns(),
        )
        return attrs.evolve(made, **changes)

    def ask(self, name: str, orders: Iterable[OrderRequest], retires: tuple[str, ...] = ()) -> None:
        """Let a strategy ask for orders."""
        batch = IntentBatch(**self.post.head(), instrument=name, orders=tuple(orders), cancels=(), retires=retires)
        self.tell(batch)

    def _take(self, message: Message) -> None:
        """Put on the wire what was approved, order by order, and judge it there."""
        match message:
            case RefusedBatch():
                for refused in message.refused:
                    self.refused[refused.control] = self.refused.get(refused.control, 0) + 1
            case ApprovedBatch():
                for approved in message.approved:
                    self._send(approved.request)
            case _:
                return

    def _send(self, request: OrderRequest) -> None:
        before = self.wire.figures(CAPS)
        self.approved[request.purpose] += 1
        if request.purpose is Purpose.ENTRY:
            self._judge_alone(request)
        else:
            self._judge_reduction(request)
        self.wire.orders.append(Wired(request))
        if request.purpose is not Purpose.ENTRY:
            return
        for what, (value, cap) in self.wire.figures(CAPS).items():
            assert value <= max(cap, before[what][0]), f"{what}: {value} over {cap} by an order that was approved"

    def _judge_alone(self, request: OrderRequest) -> None:
        """What an entry must keep whatever else there is: permission, fresh figures, its own size, its own rung."""
        name, now_ns = request.instrument, self.clock.now_ns()
        assert not self.pausing(name), f"an entry left while {self.pausing(name)}"
        assert now_ns - request.decided_ns <= TTL_NS, "an entry left on a decision that is too old"
        assert now_ns - self.priced_ns.get(name, 0) <= MAX_AGE_NS, "an entry left on prices that are too old"
        assert request.qty_lots <= CAPS.order_lots
        assert request.qty_lots * request.price_ticks * UNITS_E8[name] <= CAPS.order_e8
        for other in self.wire.live(name, request.leg, Purpose.ENTRY):
            rung = (other.request.level, other.request.generation)
            assert rung != (request.level, request.generation), "two entries on one rung"

    def _judge_reduction(self, request: OrderRequest) -> None:
        """A take-profit and a market reduction never exceed what is held beyond those that may still fill."""
        assert self.hydrated, "an order left before hydration"
        if request.purpose is Purpose.STOP:
            return
        rivals = sum(
            order.left_as_told
            for order in self.wire.orders
            if (order.request.instrument, order.request.leg, order.request.purpose)
            == (request.instrument, request.leg, request.purpose)
        )
        held = self.wire.sides[request.instrument, request.leg].told_lots
        assert rivals + request.qty_lots <= held, f"{rivals} and {request.qty_lots} to close of {held}"


def _may_live(order: Wired) -> bool:
    """Whether the executor's books still hold an order, by what it was told."""
    return order.left_as_told > 0


def _open_order(order: Wired) -> OpenOrder:
    """An order as the executor tells it."""
    request = order.request
    return OpenOrder(
        client_id=request.client_id,
        instrument=request.instrument,
        leg=request.leg,
        purpose=request.purpose,
        kind=request.kind,
        price_ticks=request.price_ticks,
        qty_lots=request.qty_lots,
        filled_lots=order.told_lots,
        close_all=False,
        created_ns=request.decided_ns,
        acknowledged=order.fate is Fate.LIVE,
        level=request.level,
        generation=request.generation,
    )


def _now(work: Coroutine[Any, Any, None]) -> None:
    """Run what never waits to its end."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("the risk actor waits for something")
