"""What is known of an account, from the messages that its actors publish: the one source of every display.

Invariants:
- A figure that nobody has told yet is None, never zero; each group of figures keeps the time (``*_ns``, by the run's
  clock) at which it was told.
- A position starts with a hydration and follows the fills from there; one that the fills contradict (a reduction of
  more than is held) is not known until the next hydration. Fills come once: the executor sees to that.
- ``observe`` is called for every message of a replay: it stores, counts and returns, and its memory is bounded.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from hedgegrid.messages import commands, events
from hedgegrid.messages.events import OrderEvent, OrderEventKind
from hedgegrid.model.grid import GridMemory
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Fill, Leg, Purpose
from hedgegrid.ops.control import FlattenStage
from hedgegrid.ops.figure_words import written
from hedgegrid.ops.open_orders import End, OpenOrders
from hedgegrid.units import PPM

NOTICES_MAX: Final = 64
"""Notices kept; older ones are in the journal."""
ACTIVE: Final = "active"
"""The mode in which no pause reason stands."""
CLEARED: Final = "cleared"
"""The change in which a reason goes."""
STARTED: Final = "started"
"""How a change begins an account's risk anew: what it does not latch is forgotten."""
STILL_LATCHED: Final = "still_latched"
"""What is told at a start of a reason that has outlived the last life."""


@attrs.frozen(kw_only=True)
class Notice:
    """Something to tell a person at once; time in ns by the run's clock."""

    at_ns: int
    text: str


@attrs.frozen(kw_only=True)
class LastFill:
    """The newest fill, and when it was told, in ns by the run's clock."""

    fill: Fill
    at_ns: int


@attrs.define(eq=False, kw_only=True)
class LegView:
    """One leg: quantity in lots, cost (price x quantity) in quote x 1e8; None while not known."""

    qty_lots: int | None = None
    cost_e8: int | None = None
    at_ns: int | None = None

    def put(self, qty_lots: int | None, cost_e8: int | None, at_ns: int) -> None:
        """Set the whole position."""
        self.qty_lots, self.cost_e8, self.at_ns = qty_lots, cost_e8, at_ns

    def fill(self, fill: Fill, unit_e8: int, at_ns: int) -> None:
        """Apply a fill at average cost, rounding the released cost down; the last reduction takes the rest."""
        qty_lots, cost_e8 = self.qty_lots, self.cost_e8
        if qty_lots is None or cost_e8 is None:
            return
        if fill.purpose is Purpose.ENTRY:
            self.put(qty_lots + fill.qty_lots, cost_e8 + fill.price_ticks * fill.qty_lots * unit_e8, at_ns)
        elif fill.qty_lots == qty_lots or fill.purpose is Purpose.LIQUIDATION:
            self.put(0, 0, at_ns)
        elif fill.qty_lots < qty_lots:
            self.put(qty_lots - fill.qty_lots, cost_e8 - cost_e8 * fill.qty_lots // qty_lots, at_ns)
        else:
            self.put(None, None, at_ns)


@attrs.define(eq=False, kw_only=True)
class InstrumentView:
    """What is known of one instrument. Counts are of this run, ``fills`` and ``approved`` by leg and purpose."""

    rules: Instrument
    unit_e8: int
    legs: tuple[LegView, LegView] = attrs.field(factory=lambda: (LegView(), LegView()))
    fills: list[list[int]] = attrs.field(factory=lambda: [[0] * len(Purpose) for _ in Leg])
    approved: list[list[int]] = attrs.field(factory=lambda: [[0] * len(Purpose) for _ in Leg])
    orders_ns: int | None = None
    """When the open orders were last told; None before the first hydration."""
    bid_ticks: int | None = None
    ask_ticks: int | None = None
    quote_ns: int | None = None
    mark_ticks: int | None = None
    mark_ns: int | None = None
    event_ns: int | None = None
    """What the newest quote or mark speaks of, in the exchange's time."""
    event_told_ns: int | None = None
    """When that was told."""
    rate_e8: int | None = None
    """The rate of the next settlement, for one interval."""
    next_funding_ns: int | None = None
    funding_interval_ns: int | None = None
    funding_ns: int | None = None
    """When the rate, or that there is none, was told."""
    bars: int = 0
    """Bars that closed in this run; history does not count."""
    bar_end_ns: int | None = None
    """When the newest bar ended, in the exchange's time."""
    bar_ns: int | None = None
    center_ticks: int | None = None
    step_micro: int | None = None
    generation: int | None = None
    grid_ns: int | None = None

    foreign_lots: list[int] = attrs.field(factory=lambda: [0] * len(Leg))
    """What each leg holds that is not ours."""
    foreign_orders: int = 0
    foreign_ns: int | None = None
    """When the two were told; None while there was never anything to tell."""

    def prices(self, message: events.Quote | events.MarkPrice) -> None:
        """Take a quote or a mark."""
        at_ns = message.ts_recv_ns
        if isinstance(message, events.Quote):
            self.bid_ticks, self.ask_ticks, self.quote_ns = message.bid_ticks, message.ask_ticks, at_ns
        else:
            self.mark_ticks, self.mark_ns = message.mark_ticks, at_ns
        self.event_ns, self.event_told_ns = message.ts_venue_ns, at_ns

    def funding(self, told: events.FundingRate | events.FundingRateMissing) -> None:
        """Take the rate of the next settlement, or the word that there is none."""
        self.rate_e8 = self.next_funding_ns = self.funding_interval_ns = None
        if isinstance(told, events.FundingRate):
            self.rate_e8, self.next_funding_ns = told.rate_e8, told.next_funding_ns
            self.funding_interval_ns = told.funding_interval_ns
        self.funding_ns = told.ts_recv_ns

    def grid(self, told: events.GridMoved | GridMemory, at_ns: int) -> None:
        """Take where the grid stands."""
        self.center_ticks, self.step_micro, self.generation = told.center_ticks, told.step_micro, told.generation
        self.grid_ns = at_ns


@attrs.frozen(kw_only=True)
class FlattenView:
    """A flatten as last told; ``asked_ns`` None where nobody asked since the account was last resumed."""

    stage: FlattenStage = FlattenStage.NONE
    legs: tuple[Leg, ...] = ()
    left: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    asked_ns: int | None = None


@attrs.define(eq=False, init=False)
class AccountView:
    """The account as last told. Money is in quote x 1e8; fees and funding are costs since the account began."""

    account: str
    instruments: dict[str, InstrumentView]
    orders: OpenOrders
    wallet_e8: int | None
    realised_e8: int | None
    fees_e8: int | None
    funding_e8: int | None
    balance_ns: int | None
    """When the four above were told."""
    equity_e8: int | None
    unrealised_e8: int | None
    equity_ns: int | None
    first_equity_e8: int | None
    """The first sample of this run."""
    before: tuple[int, int, int]
    """Realised, fees and funding before this run, in quote x 1e8."""
    foreign_orders: int | None
    foreign_ns: int | None
    """When that was last told."""
    hydrated_ns: int | None
    """When the whole account was last read from the exchange."""
    mode: str | None
    mode_ns: int | None
    mode_since_ns: int | None
    """When the account came into its mode; ``mode_ns`` is when it was told last."""
    throttle_ppm: int
    """The operator's factor on the quantity of new entries; whole until he says otherwise."""
    throttle_ns: int | None
    """When he said so, or when the account was first told of."""
    last_fill: LastFill | None
    """The newest fill of this run."""
    reasons: dict[tuple[str, str], int]
    """(reason, scope) of every standing pause, in order of rise, with the time it rose."""
    refusals: dict[str, int]
    """Refusals of the risk gate in this run, by control."""
    rejections: dict[str, int]
    """Refusals of the exchange in this run, by reason."""
    cancels: int
    """Cancels that were sent in this run."""
    restarts: dict[str, int]
    incidents: int
    liquidated: bool
    flatten: FlattenView
    steps: int | None
    """Steps of a recorded market, once it has ended."""
    market_first_ns: int | None
    market_ns: int | None
    """First and newest time of the exchange that this run saw."""
    notices: deque[Notice]
    notices_total: int
    _handlers: dict[type, Callable[[Any], None]]

    def __init__(self, account: str, instruments: Iterable[Instrument], *, throttle_ppm: int = PPM) -> None:
        """Know nothing yet of ``account`` but the rules of what it trades, and the throttle of an earlier run."""
        self.account = account
        self.instruments = {one.name: InstrumentView(rules=one, unit_e8=one.unit_e8) for one in instruments}
        self.orders = OpenOrders(self.instruments)
        self.wallet_e8 = self.realised_e8 = self.fees_e8 = self.funding_e8 = self.balance_ns = None
        self.equity_e8 = self.unrealised_e8 = self.equity_ns = self.first_equity_e8 = None
        self.before = (0, 0, 0)
        self.foreign_orders = self.foreign_ns = self.hydrated_ns = self.mode = self.mode_ns = None
        self.mode_since_ns = None
        self.reasons, self.refusals, self.rejections, self.restarts = {}, {}, {}, {}
        self.cancels = self.incidents = 0
        self.throttle_ppm, self.throttle_ns, self.last_fill = throttle_ppm, None, None
        self.liquidated = False
        self.flatten = FlattenView()
        self.steps = self.market_first_ns = self.market_ns = None
        self.notices = deque(maxlen=NOTICES_MAX)
        self.notices_total = 0
        self._handlers = {
            events.Quote: self._quote,
            events.MarkPrice: self._mark_price,
            events.BarClosed: self._bar_closed,
            events.FundingRate: self._funding_rate,
            events.FundingRateMissing: self._funding_rate_missing,
            events.ApprovedBatch: self._approved_batch,
            events.RefusedBatch: self._refused_batch,
            events.ExecutionBatch: self._execution_batch,
            events.EquitySampled: self._equity_sampled,
            events.GridMoved: self._grid_moved,
            events.Hydrated: self._hydrated,
            events.AccountHydrated: self._account_hydrated,
            events.ForeignSeen: self._foreign_seen,
            events.PermissionChanged: self._permission_changed,
            events.ActorRestarted: self._actor_restarted,
            events.Incident: self._incident,
            events.Liquidated: self._liquidated,
            events.MarketEnded: self._market_ended,
            commands.Throttle: self._throttle,
            commands.Flatten: self._flatten,
            commands.Kill: self._flatten,
            commands.Resume: self._resume,
            events.FlatConfirmed: self._flat_confirmed,
            events.StillHeld: self._still_held,
        }

    def observe(self, message: object) -> None:
        """Take one published message; types that no display needs are passed over.

        Raises KeyError for an instrument that the view was not made with: the wiring is wrong.
        """
        handler = self._handlers.get(type(message))
        if handler is not None:
            handler(message)

    def unprotected_lots(self, instrument: str, leg: Leg) -> int | None:
        """Give what a leg holds beyond its acknowledged stops, in lots; None where the position is not known."""
        held_lots = self.instruments[instrument].legs[leg].qty_lots
        return None if held_lots is None else max(0, held_lots - self.orders.stop_lots(instrument, leg))

    def fills(self, purpose: Purpose) -> int:
        """Fills of one purpose in this run, all instruments and legs."""
        return sum(leg[purpose] for one in self.instruments.values() for leg in one.fills)

    def fills_total(self) -> int:
        """Fills in this run."""
        return sum(self.fills(purpose) for purpose in Purpose)

    def approved_total(self) -> int:
        """Orders that passed the risk gate in this run."""
        return sum(sum(leg) for one in self.instruments.values() for leg in one.approved)

    def open_total(self) -> int | None:
        """Open orders of all instruments, or None where one has not been hydrated."""
        if any(one.orders_ns is None for one in self.instruments.values()):
            return None
        return sum(self.orders.total(name) for name in self.instruments)

    # Market

    def _at_market(self, ts_venue_ns: int) -> None:
        if self.market_first_ns is None:
            self.market_first_ns = ts_venue_ns
        self.market_ns = ts_venue_ns

    def _quote(self, message: events.Quote) -> None:
        self.instruments[message.instrument].prices(message)

    def _mark_price(self, message: events.MarkPrice) -> None:
        self.instruments[message.instrument].prices(message)
        self._at_market(message.ts_venue_ns)

    def _bar_closed(self, message: events.BarClosed) -> None:
        one = self.instruments[message.instrument]
        one.bars += 1
        one.bar_end_ns = message.bar.open_ns + message.bar.length_ns
        one.bar_ns = message.ts_recv_ns
        self._at_market(message.ts_venue_ns)

    def _funding_rate(self, message: events.FundingRate) -> None:
        self.instruments[message.instrument].funding(message)

    def _funding_rate_missing(self, message: events.FundingRateMissing) -> None:
        self.instruments[message.instrument].funding(message)

    def _grid_moved(self, message: events.GridMoved) -> None:
        self.instruments[message.instrument].grid(message, message.ts_recv_ns)

    def _market_ended(self, message: events.MarketEnded) -> None:
        self.steps = message.steps
        self._notice(message, f"the market ended after {message.steps} steps")

    # Orders

    def _approved_batch(self, message: events.ApprovedBatch) -> None:
        approved = self.instruments[message.instrument].approved
        for one in message.approved:
            approved[one.request.leg][one.request.purpose] += 1
        self.orders.approved(message.approved)
        self.cancels += len(message.cancels)

    def _refused_batch(self, message: events.RefusedBatch) -> None:
        for one in message.refused:
            self.refusals[one.control] = self.refusals.get(one.control, 0) + 1

    def _execution_batch(self, message: events.ExecutionBatch) -> None:
        one = self.instruments[message.instrument]
        if one.orders_ns is not None:
            one.orders_ns = message.ts_recv_ns
        for event in message.events:
            self._order_event(one, event, message.ts_recv_ns)
        self._at_market(message.ts_venue_ns)

    def _order_event(self, one: InstrumentView, event: OrderEvent, at_ns: int) -> None:
        kind, orders = event.kind, self.orders
        if kind is OrderEventKind.ACCEPTED:
            orders.accepted(event.client_id)
        elif kind is OrderEventKind.FILLED:
            fill = event.fill
            assert fill is not None, f"a fill without its figures: {event.client_id}"
            one.fills[fill.leg][fill.purpose] += 1
            self.last_fill = LastFill(fill=fill, at_ns=at_ns)
            leg = one.legs[fill.leg]
            leg.fill(fill, one.unit_e8, at_ns)
            orders.filled(event.client_id, fill.qty_lots, leg_is_flat=not leg.qty_lots)
        elif kind is OrderEventKind.AMENDED:
            orders.amended(event.client_id, event.qty_lots)
        elif kind is OrderEventKind.UNKNOWN:
            orders.lost(event.client_id)
        elif kind is not OrderEventKind.CANCEL_FAILED:
            orders.ended(event.client_id, End.REFUSED if kind is OrderEventKind.REJECTED else End.CANCELLED)
            if kind is OrderEventKind.REJECTED:
                reason = event.reason.value
                self.rejections[reason] = self.rejections.get(reason, 0) + 1

    def _hydrated(self, message: events.Hydrated) -> None:
        one, at_ns = self.instruments[message.instrument], message.ts_recv_ns
        for leg in one.legs:
            leg.put(0, 0, at_ns)
        for position in message.positions:
            one.legs[position.leg].put(position.qty_lots, position.cost_e8, at_ns)
        self.orders.hydrated(message.instrument, message.orders)
        one.orders_ns = at_ns
        if message.grid is not None:
            one.grid(message.grid, at_ns)

    # Account

    def _equity_sampled(self, message: events.EquitySampled) -> None:
        self.wallet_e8, self.realised_e8 = message.wallet_e8, message.realised_e8
        self.fees_e8, self.funding_e8 = message.fees_e8, message.funding_e8
        self.equity_e8, self.unrealised_e8 = message.equity_e8, message.unrealised_e8
        self.balance_ns = self.equity_ns = message.ts_recv_ns
        if self.first_equity_e8 is None:
            self.first_equity_e8 = message.equity_e8

    def _account_hydrated(self, message: events.AccountHydrated) -> None:
        balance = message.balance
        if self.hydrated_ns is None:
            self.before = (balance.realised_e8, balance.fees_e8, balance.funding_e8)
        self.wallet_e8, self.realised_e8 = balance.wallet_e8, balance.realised_e8
        self.fees_e8, self.funding_e8 = balance.fees_e8, balance.funding_e8
        self.balance_ns = self.hydrated_ns = message.ts_recv_ns
        self.foreign_orders = message.foreign_orders
        self.foreign_ns = message.ts_recv_ns
        for one in self.instruments.values():
            one.foreign_ns = message.ts_recv_ns

    def _foreign_seen(self, message: events.ForeignSeen) -> None:
        one = self.instruments[message.instrument]
        self.foreign_orders = (self.foreign_orders or 0) + len(message.orders) - one.foreign_orders
        one.foreign_orders = len(message.orders)
        one.foreign_lots = [0] * len(Leg)
        for position in message.positions:
            one.foreign_lots[position.leg] = position.qty_lots
        for taken in message.adopted:
            leg = one.legs[taken.lot.leg]
            if leg.qty_lots is not None and leg.cost_e8 is not None:
                leg.put(leg.qty_lots + taken.lot.qty_lots, leg.cost_e8 + taken.cost_e8, message.ts_recv_ns)
        one.foreign_ns = self.foreign_ns = message.ts_recv_ns

    def stands(self, reason: str, scope: str) -> bool:
        """Tell whether trading pauses for a reason ("" as ``scope``: the whole account), by what was published."""
        return (reason, scope) in self.reasons

    def _permission_changed(self, message: events.PermissionChanged) -> None:
        if self.throttle_ns is None:
            self.throttle_ns = message.ts_recv_ns
        if message.after != self.mode:
            self.mode_since_ns = message.ts_recv_ns
        self.mode, self.mode_ns = message.after, message.ts_recv_ns
        standing = (message.reason, message.scope)
        if message.after == ACTIVE or message.change == STARTED:
            self.reasons.clear()
        elif message.change == CLEARED:
            self.reasons.pop(standing, None)
        elif message.reason:
            self.reasons.setdefault(standing, message.since_ns or message.ts_recv_ns)
        if message.change == STILL_LATCHED and (legs := commands.named_legs(message.figures)):
            # A flatten of an earlier life, which goes on.
            self._flatten_of(legs, message.ts_recv_ns)
        cause = f" {message.reason}" if message.reason else ""
        scope = f" of {message.scope}" if message.scope else ""
        figures = _figures(message.figures)
        moved = message.after if message.after == message.before else f"{message.before} -> {message.after}"
        self._notice(message, f"permission {moved}: {message.change}{cause}{scope}{figures}")

    def _actor_restarted(self, message: events.ActorRestarted) -> None:
        self.restarts[message.actor] = self.restarts.get(message.actor, 0) + 1
        self._notice(message, f"restart {message.attempt} of {message.actor}: {message.error}")

    def _incident(self, message: events.Incident) -> None:
        self.incidents += 1
        self._notice(message, f"incident in {message.actor}: {message.text}{_figures(message.figures)}")

    def _liquidated(self, message: events.Liquidated) -> None:
        self.liquidated = True
        for one in self.instruments.values():
            for leg in one.legs:
                leg.put(0, 0, message.ts_recv_ns)
        self._notice(message, "LIQUIDATED: equity fell under the maintenance margin")

    def _throttle(self, message: commands.Throttle) -> None:
        self.throttle_ppm, self.throttle_ns = message.factor_ppm, message.ts_recv_ns

    def _flatten(self, message: commands.Flatten | commands.Kill) -> None:
        if message.legs:
            self._flatten_of(message.legs, message.ts_recv_ns)

    def _flatten_of(self, legs: Iterable[Leg], at_ns: int) -> None:
        """Take what is being closed, with what was to be closed before: the word stands until a resume."""
        wanted = tuple(sorted({*self.flatten.legs, *legs}))
        self.flatten = FlattenView(stage=FlattenStage.UNDER_WAY, legs=wanted, asked_ns=at_ns)

    def _resume(self, message: commands.Resume) -> None:  # noqa: ARG002 - that it came is all that counts
        self.flatten = FlattenView()

    def _flat_confirmed(self, message: events.FlatConfirmed) -> None:
        if not set(message.legs) >= set(self.flatten.legs):
            # Another leg was asked for since: flat is what all of them are.
            return
        asked_ns = self.flatten.asked_ns or message.ts_recv_ns
        self.flatten = FlattenView(
            stage=FlattenStage.FLAT, legs=message.legs, foreign=message.foreign, asked_ns=asked_ns
        )
        self._notice(message, f"FLAT: {' and '.join(leg.name for leg in message.legs)}")

    def _still_held(self, message: events.StillHeld) -> None:
        if not self.flatten.legs:
            # A control closes the account: it goes on by itself, and no person waits for it.
            return
        asked_ns = self.flatten.asked_ns or message.ts_recv_ns
        self.flatten = FlattenView(
            stage=FlattenStage.LEFT,
            legs=message.legs,
            left=message.left,
            foreign=message.foreign,
            asked_ns=asked_ns,
        )

    def _notice(self, message: events.Message, text: str) -> None:
        self.notices.append(Notice(at_ns=message.ts_recv_ns, text=text))
        self.notices_total += 1


def _figures(figures: Mapping[str, str]) -> str:
    return f", {written(figures)}" if figures else ""
