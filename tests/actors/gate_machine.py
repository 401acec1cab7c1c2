"""Every interleaving of orders, words, pauses, prices and restarts that Hypothesis finds, on one gate desk.

Invariant: a rule does what can happen at an exchange or in the house; the judging is the desk's, at every order that
leaves.
"""

from itertools import permutations, product
from typing import Any, Final

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from hedgegrid.core.pause import ACCOUNT, Reason
from hedgegrid.messages.commands import Flatten, Halt, Pause
from hedgegrid.messages.events import EndReason, FlatConfirmed, OrderEventKind
from hedgegrid.model.order import Kind, Leg, OpenOrder, Purpose
from tests.actors.gate_desk import GateDesk
from tests.actors.gate_terms import CAPS, MARK, NAMES, SECOND, TIGHT, UNITS_E8
from tests.actors.gate_wire import Fate, Wired

PLACES: Final = st.integers(0, 999)
"""Picks one of what there is, however many there are."""
INSTRUMENTS: Final = st.sampled_from(NAMES)
LEGS: Final = st.sampled_from(Leg)
SCOPES: Final = st.sampled_from((ACCOUNT, *NAMES))
AUTOMATIC: Final = (Reason.FEED_STALE, Reason.UNKNOWN_ORDER)
PAIRS: Final = tuple(permutations(product(AUTOMATIC, (ACCOUNT, *NAMES)), 2))
"""Two causes that go by themselves, each in its own time."""
LATCHED: Final = (Reason.MARGIN, Reason.KILL, Reason.DRAWDOWN)
REASONS: Final = st.sampled_from((*AUTOMATIC, *AUTOMATIC, *LATCHED))
SHAPES: Final = st.sampled_from(((9, 9, 6, 4, 2, 1, 1), (6, 6, 6, 3, 2, 1), (1,) * 12))
"""Lots of the orders of a leg that nobody could afford."""
AGES: Final = st.sampled_from((0, 0, 0, 3, 4))
"""Seconds since a decision."""
MOVES: Final = st.sampled_from((-250, -100, -3, 5, 100, 250))
"""Ticks."""
MOSTLY: Final = st.sampled_from((True, True, True, False))
RUNGS: Final = st.tuples(
    st.integers(1, 5), st.sampled_from((1, 30, 30, 90, 200, 310)), st.sampled_from((1, 2, 4, 7, 9, 10))
)
"""Level, distance from the mark in ticks, lots."""
STEPS: Final = st.sampled_from(("gone", "gone", "back", "back", 1, 3))
"""What becomes of a cause; or the seconds that pass."""
_REDUCING: Final = (Purpose.TAKE_PROFIT, Purpose.STOP, Purpose.FLATTEN)


@attrs.define(eq=False)
class Tally:
    """What happened in all runs of a machine, so that a test can show that it was about something."""

    approved: dict[Purpose, int] = attrs.field(factory=lambda: dict.fromkeys(Purpose, 0))
    refused: dict[str, int] = attrs.field(factory=dict)

    def add(self, desk: GateDesk) -> None:
        """Add a desk's counts."""
        for purpose, count in desk.approved.items():
            self.approved[purpose] += count
        for control, count in desk.refused.items():
            self.refused[control] = self.refused.get(control, 0) + count


class GateMachine(RuleBasedStateMachine):
    """What can happen to an account and its gate."""

    tally = Tally()

    short_of = ""
    """The control that the account is short of room for; "" for none."""

    @initialize(foreign_first=st.booleans())
    def start(self, foreign_first: bool) -> None:
        """Come up on an account that trades."""
        self.desk = GateDesk(TIGHT.get(self.short_of, CAPS))
        self.desk.hydrate(foreign_first=foreign_first)
        self.desk.warm()
        for name in NAMES:
            self.desk.price(name, MARK)

    def teardown(self) -> None:
        """Count, and see that nothing is left to count."""
        if hasattr(self, "desk"):
            self.desk.end_all()
            self.tally.add(self.desk)

    # --- what strategies ask for ------------------------------------------------------------------------------------

    @rule(
        name=INSTRUMENTS,
        leg=LEGS,
        rungs=st.lists(RUNGS, min_size=1, max_size=4),
        age_s=AGES,
        calm=MOSTLY,
    )
    def entries(self, name: str, leg: Leg, rungs: list[tuple[int, int, int]], age_s: int, calm: bool) -> None:
        """Want entries, in one batch, on prices that may be old."""
        if calm:
            self._calm()
        self._want(name, leg, rungs, age_s)

    def _calm(self) -> None:
        """Let whatever pauses be over, and prices be fresh."""
        if any(self.desk.pausing(name) for name in NAMES):
            self.heal(new_peak=True, seconds=6)
        for name in NAMES:
            self.desk.price(name, self.desk.wire.marks[name])

    def _want_one(self, name: str) -> None:
        """Want the least there is, on a fresh price and on a rung of its own."""
        self.desk.price(name, self.desk.wire.marks[name])
        self.desk.generation += 1
        self._want(name, Leg.SHORT, [(1, 1, 1)])

    def _want(self, name: str, leg: Leg, rungs: list[tuple[int, int, int]], age_s: int = 0) -> None:
        sign = -1 if leg is Leg.LONG else 1
        orders = [
            self.desk.request(
                name,
                leg,
                Purpose.ENTRY,
                self.desk.wire.marks[name] + sign * distance,
                lots,
                level=level,
                decided_ns=self.desk.clock.now_ns() - age_s * SECOND,
            )
            for level, distance, lots in rungs
        ]
        self.desk.ask(name, orders)

    @rule(
        place=PLACES,
        purpose=st.sampled_from(_REDUCING),
        spare=st.sampled_from((-1, 0, 0, 1, 3)),
        replaces=st.booleans(),
    )
    def exit(self, place: int, purpose: Purpose, spare: int, replaces: bool) -> None:
        """Want to close what a leg holds, or more, or less; a stop perhaps in place of those that rest."""
        wire = self.desk.wire
        held = [key for key, side in wire.sides.items() if side.told.lots > spare]
        if not held:
            return
        name, leg = held[place % len(held)]
        away = 40 if (leg is Leg.LONG) == (purpose is Purpose.TAKE_PROFIT) else -40
        lots = wire.sides[name, leg].told.lots - spare
        order = self.desk.request(name, leg, purpose, wire.marks[name] + away, lots)
        old = [one.request.client_id for one in wire.live(name, leg, Purpose.STOP)]
        self.desk.ask(name, [order], tuple(old) if replaces and purpose is Purpose.STOP else ())

    @rule(name=INSTRUMENTS, leg=LEGS, lots=st.integers(1, 6), new=st.booleans(), age_s=AGES)
    def ladder(self, name: str, leg: Leg, lots: int, new: bool, age_s: int) -> None:
        """Want a whole ladder, a new one or the same again."""
        self._calm()
        self.desk.generation += int(new)
        self._want(name, leg, [(level, 30 * level, lots) for level in range(1, 4)], age_s)

    @rule(name=INSTRUMENTS, leg=LEGS, lots=st.integers(1, 8))
    def hold(self, name: str, leg: Leg, lots: int) -> None:
        """Want an entry that fills at once; the bot hears of everything."""
        self._calm()
        self.desk.generation += 1
        self._want(name, leg, [(1, 1, lots)])
        newest = self.desk.wire.orders[-1:]
        if newest and newest[0].request.generation == self.desk.generation:
            newest[0].fate = Fate.LIVE
            self.desk.wire.fill(newest[0], lots, self.desk.clock.now_ns())
        self._hear_all()

    @rule(name=INSTRUMENTS, leg=LEGS, distance=st.sampled_from((1, 1, 40, 250)), lots=SHAPES, sweeps=st.booleans())
    def press(self, name: str, leg: Leg, distance: int, lots: tuple[int, ...], sweeps: bool) -> None:
        """Want more of a leg than any limit allows, in ever smaller orders; perhaps everything goes then."""
        self._calm()
        self.desk.generation += 1
        self._want(name, leg, [(level, distance, each) for level, each in enumerate(lots, 1)])
        if sweeps:
            self._sweep()

    @rule(name=INSTRUMENTS, leg=LEGS)
    def unwind(self, name: str, leg: Leg) -> None:
        """All entries go, and a leg is closed: there is room again."""
        self._sweep()
        held = self.desk.wire.sides[name, leg].told.lots
        if held:
            self.desk.ask(name, [self.desk.request(name, leg, Purpose.FLATTEN, 0, held)])
            for order in list(self.desk.wire.live(name, leg, Purpose.FLATTEN)):
                self.desk.wire.fill(order, held, self.desk.clock.now_ns())
            self._hear_all()

    def _sweep(self) -> None:
        for order in self.desk.wire.orders:
            if order.fate is not Fate.DEAD and order.request.purpose is Purpose.ENTRY:
                self.desk.wire.end(order, OrderEventKind.CANCELLED, EndReason.BY_REQUEST)
        self._hear_all()

    def _hear_all(self) -> None:
        while self.desk.wire.words:
            self.desk.hear(len(self.desk.wire.words))

    @rule(
        name=INSTRUMENTS,
        leg=LEGS,
        place=PLACES,
        lots=st.integers(1, 9),
        calm=MOSTLY,
        fills=MOSTLY,
        more=MOSTLY,
        outcome=st.sampled_from((None, True, False)),
    )
    def amend(
        self, name: str, leg: Leg, place: int, lots: int, calm: bool, fills: bool, more: bool, outcome: bool | None
    ) -> None:
        """Want another quantity of an entry for which none is under way, and perhaps more of its leg at once.

        Some of the order may fill before the amendment is settled, and more may be wanted once it is.
        """
        if calm:
            self._calm()
            self.desk.generation += 1
            self._want(name, leg, [(1, 30, 3)])
        found = [
            order
            for order in self.desk.wire.orders
            if order.request.purpose is Purpose.ENTRY and order.left_as_told and not order.unsettled_lots
        ]
        if not found:
            return
        order = found[place % len(found)]
        self.desk.amend(order, lots)
        if fills and order.resting_lots > 1:
            order.fate = Fate.LIVE
            self.desk.wire.fill(order, 1, self.desk.clock.now_ns())
            self._hear_all()
        if more:
            self._more_of(order)
        if outcome is not None and order.asked_lots and order.fate is not Fate.DEAD:
            self._settle(order, carried_out=outcome)

    def _settle(self, order: Wired, *, carried_out: bool) -> None:
        """End an amendment; the bot hears of it, and wants more."""
        order.fate = Fate.LIVE
        self.desk.wire.amend(order, carried_out=carried_out)
        self._hear_all()
        self._more_of(order)

    def _more_of(self, order: Wired) -> None:
        """Want more of an order's leg than any limit allows."""
        self.press(order.request.instrument, order.request.leg, 1, (9, 6, 4, 2, 1, 1), sweeps=False)

    @rule(place=PLACES, carried_out=st.booleans(), hear=st.booleans())
    def settle(self, place: int, carried_out: bool, hear: bool) -> None:
        """An amendment is carried out, or not; the bot hears of it now or later."""
        found = [order for order in self.desk.wire.orders if order.asked_lots and order.fate is not Fate.DEAD]
        if found:
            order = found[place % len(found)]
            order.fate = Fate.LIVE
            self.desk.wire.amend(order, carried_out=carried_out)
        if hear:
            self._hear_all()

    # --- what the exchange does -------------------------------------------------------------------------------------

    def _one(self, place: int, *fates: Fate) -> Wired | None:
        found = [order for order in self.desk.wire.orders if order.fate in fates]
        return found[place % len(found)] if found else None

    @rule(places=st.lists(PLACES, min_size=1, max_size=4), hear=st.booleans())
    def arrive(self, places: list[int], hear: bool) -> None:
        """Orders reach the exchange and rest."""
        for place in places:
            if (order := self._one(place, Fate.TRAVELLING)) is not None:
                order.fate = Fate.LIVE
                self.desk.wire.say(order, OrderEventKind.ACCEPTED)
        if hear:
            self._hear_all()

    @rule(place=PLACES)
    def lose(self, place: int) -> None:
        """An order never arrives: nobody is told but that its outcome is not known."""
        if (order := self._one(place, Fate.TRAVELLING)) is not None:
            order.fate = Fate.DEAD
            self.desk.wire.say(order, OrderEventKind.UNKNOWN)

    @rule(place=PLACES, hear=st.booleans())
    def doubt(self, place: int, hear: bool) -> None:
        """The answer to an order is lost; whether it arrives shows later."""
        if (order := self._one(place, Fate.TRAVELLING, Fate.LIVE)) is not None:
            self.desk.wire.say(order, OrderEventKind.UNKNOWN)
        if hear:
            self._hear_all()

    @rule(place=PLACES)
    def resolve(self, place: int) -> None:
        """The exchange's evidence ends a doubt: it stands, or it is dead."""
        doubtful = [
            order for order in self.desk.wire.orders if order.left_as_told and order.fate is not Fate.TRAVELLING
        ]
        if not doubtful:
            return
        order = doubtful[place % len(doubtful)]
        if order.fate is Fate.LIVE:
            self.desk.wire.say(order, OrderEventKind.ACCEPTED, EndReason.FOUND)
        elif not any(word.order is order for word in self.desk.wire.words):
            self.desk.wire.say(order, OrderEventKind.CANCELLED, EndReason.NOT_FOUND)

    @rule(place=PLACES, reason=st.sampled_from((EndReason.POST_ONLY, EndReason.MARGIN, EndReason.RATE_LIMITED)))
    def reject(self, place: int, reason: EndReason) -> None:
        """The exchange does not take an order."""
        if (order := self._one(place, Fate.TRAVELLING)) is not None:
            self.desk.wire.end(order, OrderEventKind.REJECTED, reason)

    @rule(place=PLACES, expires=st.booleans())
    def cancel(self, place: int, expires: bool) -> None:
        """A resting order goes, and with it what had not filled."""
        if (order := self._one(place, Fate.LIVE)) is not None:
            kind = OrderEventKind.EXPIRED if expires else OrderEventKind.CANCELLED
            self.desk.wire.end(order, kind, EndReason.BY_REQUEST)

    @rule(place=PLACES, reason=st.sampled_from((EndReason.NOT_FOUND, EndReason.REFUSED)), hear=st.booleans())
    def fail_to_cancel(self, place: int, reason: EndReason, hear: bool) -> None:
        """A cancel is not carried out, be it because the order has not arrived yet."""
        if (order := self._one(place, Fate.TRAVELLING, Fate.LIVE)) is not None:
            self.desk.wire.say(order, OrderEventKind.CANCEL_FAILED, reason)
        if hear:
            self._hear_all()

    @rule(places=st.lists(PLACES, min_size=1, max_size=4), lots=st.sampled_from((1, 1, 2, 9)), hear=MOSTLY)
    def fill(self, places: list[int], lots: int, hear: bool) -> None:
        """Orders fill in part or whole; an acknowledgement may come after that, or never."""
        for place in places:
            if (order := self._one(place, Fate.LIVE, Fate.TRAVELLING)) is not None:
                order.fate = Fate.LIVE
                self.desk.wire.fill(order, lots, self.desk.clock.now_ns())
        if hear:
            self._hear_all()

    @rule(place=PLACES, lots=st.integers(1, 8), more=st.booleans())
    def cross(self, place: int, lots: int, more: bool) -> None:
        """A cancel and a fill meet on the way: the end is told before the fill; perhaps more is wanted then."""
        order = self._one(place, Fate.LIVE)
        if order is None or order.resting_lots <= 1:
            return
        self._hear_all()
        self.desk.wire.cross(order, min(lots, order.resting_lots - 1), self.desk.clock.now_ns())
        self._hear_all()
        if more:
            self._more_of(order)

    @rule(place=PLACES, lots=st.integers(1, 8), more=MOSTLY)
    def overtake(self, place: int, lots: int, more: bool) -> None:
        """The last fill of an entry is told before the one that came before it; perhaps more is wanted in between."""
        order = self._one(place, Fate.LIVE)
        if order is None or order.resting_lots <= 1 or order.request.purpose is not Purpose.ENTRY:
            return
        self._hear_all()
        for part in (min(lots, order.resting_lots - 1), order.resting_lots):
            self.desk.wire.fill(order, part, self.desk.clock.now_ns())
        self.desk.wire.words.reverse()
        self.desk.hear(1)
        if more:
            self._more_of(order)

    @rule(count=st.integers(1, 12))
    def hear(self, count: int) -> None:
        """The bot hears what was said."""
        self.desk.hear(count)

    @rule(name=INSTRUMENTS, leg=LEGS, lots=st.integers(0, 12), entries=st.lists(st.integers(1, 6), max_size=2))
    def foreign(self, name: str, leg: Leg, lots: int, entries: list[int]) -> None:
        """Somebody else's position and orders are seen, changed or gone."""
        side = self.desk.wire.sides[name, leg]
        side.foreign_lots = lots
        side.foreign_cost_e8 = lots * self.desk.wire.marks[name] * UNITS_E8[name]
        price = self.desk.wire.marks[name] + (-50 if leg is Leg.LONG else 50)
        side.foreign_orders = tuple(_foreign_order(name, leg, price, left, i) for i, left in enumerate(entries))
        self.desk.foreign(name)

    # --- prices and time --------------------------------------------------------------------------------------------

    @rule(moves=st.tuples(MOVES, MOVES), both=st.booleans(), name=INSTRUMENTS, leg=LEGS, lots=SHAPES, holds=MOSTLY)
    def prices(
        self, moves: tuple[int, int], both: bool, name: str, leg: Leg, lots: tuple[int, ...], holds: bool
    ) -> None:
        """Marks move, far at times, with something held, and a strategy wants what was room for before."""
        if holds:
            self.hold(name, leg, 6)
        for moved, move in tuple(zip(NAMES, moves, strict=True))[: 2 if both else 1]:
            self.desk.price(moved, min(2 * MARK, max(MARK // 2, self.desk.wire.marks[moved] + move)))
        self.press(name, leg, 1, lots, sweeps=False)

    @rule(seconds=st.sampled_from((1, 1, 2, 4, 11)))
    def wait(self, seconds: int) -> None:
        """Time passes without a price, and somebody wants an entry."""
        self.desk.wait(seconds * SECOND)
        self.desk.generation += 1
        self._want(NAMES[0], Leg.LONG, [(1, 1, 1)])

    # --- pauses and restarts ----------------------------------------------------------------------------------------

    @rule(
        causes=st.one_of(st.tuples(st.tuples(REASONS, SCOPES)), st.sampled_from(PAIRS)),
        steps=st.lists(st.tuples(PLACES, STEPS), max_size=6),
        name=INSTRUMENTS,
        calm=MOSTLY,
    )
    def reasons(
        self, causes: tuple[tuple[Reason, str], ...], steps: list[tuple[int, str | int]], name: str, calm: bool
    ) -> None:
        """Causes of pauses are there, are said to be gone, come back; all the while and after it entries are wanted."""
        if calm:
            self._calm()
        for cause in causes:
            self.desk.raise_reason(*cause)
        self._want_one(name)
        for place, step in (*steps, (0, 3), (0, 4)):
            cause = causes[place % len(causes)]
            match step:
                case "gone":
                    self.desk.clear_reason(*cause)
                case "back":
                    self.desk.raise_reason(*cause)
                case int():
                    self.desk.wait(step * SECOND)
            self._want_one(name)

    @rule(what=st.sampled_from((Pause, Flatten, FlatConfirmed, Halt)))
    def operator(self, what: Any) -> None:
        """The operator pauses, flattens or stops, or the executor says that all is flat: what is latched stays."""
        if what in (Pause, Flatten):
            self.desk.pause(Reason.OPERATOR, ACCOUNT)
        self.desk.halted |= what is Halt
        legs = {"legs": tuple(Leg), "foreign": ()} if what is FlatConfirmed else {}
        self.desk.tell(what(**self.desk.post.head(), **legs))
        self._want_one(NAMES[0])

    @rule(new_peak=st.booleans(), seconds=st.sampled_from((4, 5, 6, 7)))
    def heal(self, new_peak: bool, seconds: int) -> None:
        """All causes go, and once they have been gone for a while the operator lifts what is latched."""
        for reason, scope in list(self.desk.reasons):
            self.desk.clear_reason(reason, scope)
        self.desk.wait(seconds * SECOND)
        self.desk.resume(new_peak=new_peak)
        for name in NAMES:
            self.desk.price(name, self.desk.wire.marks[name])

    @rule(reads=st.booleans(), foreign_first=st.booleans(), asked=st.booleans())
    def restart(self, reads: bool, foreign_first: bool, asked: bool) -> None:
        """The actor dies and comes back; what it is told then is fresh, or what the executor knew before."""
        self.desk.begin()
        if asked:
            self._want(NAMES[0], Leg.LONG, [(1, 1, 1)])
        if reads:
            self.desk.wire.read()
        self.desk.hydrate(foreign_first=foreign_first)
        if asked:
            self._want(NAMES[0], Leg.LONG, [(1, 1, 1)])
        self.desk.warm()
        for name in NAMES:
            self._want_one(name)


def _foreign_order(name: str, leg: Leg, price_ticks: int, qty_lots: int, place: int) -> OpenOrder:
    return OpenOrder(
        client_id=f"web_{place}",
        instrument=name,
        leg=leg,
        purpose=Purpose.ENTRY,
        kind=Kind.LIMIT,
        price_ticks=price_ticks,
        qty_lots=qty_lots,
        filled_lots=0,
        close_all=False,
        created_ns=0,
    )
