"""Stops that were to be replaced, and the gate: only where their successor is refused do they stay, leg by leg.

Invariant: outcomes are what the executor and the strategy were told.
"""

from hedgegrid.actors.post import EXECUTOR, strategy_name
from hedgegrid.messages.events import ApprovedBatch, RefusedBatch
from hedgegrid.model.order import Leg, Purpose
from tests.actors.gate_desk import GateDesk
from tests.actors.gate_machine import GateMachine
from tests.actors.gate_terms import CAPS, NAMES
from tests.actors.gate_wire import Fate

BTC = NAMES[0]
LOTS = 5


def held_with_stops() -> tuple[GateDesk, dict[Leg, str]]:
    """An account that holds both legs, each under a stop that rests."""
    machine = GateMachine()
    machine.start(foreign_first=False)
    stops: dict[Leg, str] = {}
    for leg in Leg:
        machine.hold(name=BTC, leg=leg, lots=LOTS)
    for leg in Leg:
        away = -40 if leg is Leg.LONG else 40
        machine.desk.ask(BTC, [machine.desk.request(BTC, leg, Purpose.STOP, machine.desk.wire.marks[BTC] + away, LOTS)])
        stops[leg] = machine.desk.wire.orders[-1].request.client_id
    machine.arrive(places=[0, 0], hear=True)
    assert [order.fate for order in machine.desk.wire.orders] == [Fate.LIVE, Fate.LIVE]
    return machine.desk, stops


def newest(desk: GateDesk) -> tuple[ApprovedBatch, RefusedBatch | None]:
    """What came of the last batch: what may go, and what was refused."""
    approved, refused = desk.ears[EXECUTOR].heard[-1], desk.ears[strategy_name(BTC)].heard[-1:]
    assert isinstance(approved, ApprovedBatch)
    word = refused[0] if refused else None
    return approved, word if isinstance(word, RefusedBatch) else None


def test_a_refused_successor_keeps_the_stops_of_its_own_leg_alone() -> None:
    """The other leg's stop has its successor, and is retired; the strategy hears which one stays."""
    desk, stops = held_with_stops()
    mark = desk.wire.marks[BTC]
    too_much = desk.request(BTC, Leg.LONG, Purpose.STOP, mark - 30, LOTS + 1)
    fits = desk.request(BTC, Leg.SHORT, Purpose.STOP, mark + 30, LOTS)
    desk.ask(BTC, [too_much, fits], (stops[Leg.LONG], stops[Leg.SHORT]))
    approved, refused = newest(desk)
    assert [one.request.client_id for one in approved.approved] == [fits.client_id]
    assert approved.retires == (stops[Leg.SHORT],)
    assert refused is not None
    assert refused.kept == (stops[Leg.LONG],)


def test_a_refused_entry_or_take_profit_keeps_no_stop() -> None:
    """Neither was to take its place: it is retired for the successor that stands."""
    desk, stops = held_with_stops()
    mark = desk.wire.marks[BTC]
    entry = desk.request(BTC, Leg.LONG, Purpose.ENTRY, mark - 30, CAPS.order_lots + 1)
    profit = desk.request(BTC, Leg.LONG, Purpose.TAKE_PROFIT, mark + 30, LOTS + 1)
    fits = desk.request(BTC, Leg.LONG, Purpose.STOP, mark - 30, LOTS)
    desk.ask(BTC, [entry, profit, fits], (stops[Leg.LONG],))
    approved, refused = newest(desk)
    assert [one.request.client_id for one in approved.approved] == [fits.client_id]
    assert approved.retires == (stops[Leg.LONG],)
    assert refused is not None
    assert (len(refused.refused), refused.kept) == (2, ())
