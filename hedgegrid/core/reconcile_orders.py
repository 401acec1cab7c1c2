"""Judge each order by what the exchange shows of it: adopted, filled, alive, dead, or not known yet.

Invariants: nothing is concluded from silence before the evidence rule admits it; what the exchange shows as open is
never called ended; an event is planned only where it changes its order.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

import attrs

from hedgegrid.core.client_id import NO_LEVEL, parse_client_id
from hedgegrid.core.order_state import (
    IllegalTransition,
    LifeEvent,
    LifeEventKind,
    OrderRecord,
    OrderState,
    advance,
    fill_event,
    is_terminal,
)
from hedgegrid.core.reconcile_views import (
    Absence,
    Difference,
    DifferenceKind,
    EvidenceRule,
    Found,
    Looked,
    PlannedFill,
)
from hedgegrid.model.order import Fill, OpenOrder

NO_GENERATION: Final = -1
"""The generation of an adopted order: a client id does not carry it."""
_RESTING: Final = (OrderState.WORKING, OrderState.PARTIAL)


def adopted(known: dict[str, OrderRecord], ours: dict[str, OpenOrder], fills: list[Fill]) -> tuple[OrderRecord, ...]:
    """Make records of our orders that the journal does not know: open ones, then those that only their fills show."""
    filled_lots = Counter[str]()
    for fill in fills:
        filled_lots[fill.client_id] += fill.qty_lots
    records = {name: _adopt_open(order, filled_lots[name]) for name, order in ours.items() if name not in known}
    for fill in fills:
        name = fill.client_id
        if name not in known and name not in records and parse_client_id(name) is not None:
            records[name] = _adopt_filled(fill, filled_lots[name])
    return tuple(records.values())


def _level(name: str) -> int:
    parts = parse_client_id(name)
    return NO_LEVEL if parts is None else parts.level


def _adopt_open(order: OpenOrder, fresh_lots: int) -> OrderRecord:
    earlier_lots = max(0, order.filled_lots - fresh_lots)
    return OrderRecord(
        client_id=order.client_id,
        instrument=order.instrument,
        leg=order.leg,
        purpose=order.purpose,
        level=_level(order.client_id),
        generation=NO_GENERATION,
        price_ticks=order.price_ticks,
        qty_lots=order.qty_lots,
        close_all=order.close_all,
        filled_lots=earlier_lots,
        state=OrderState.PARTIAL if earlier_lots else OrderState.WORKING,
        created_ns=order.created_ns,
        ts_ns=order.created_ns,
        cause="adopted: open at the venue under our id",
    )


def _adopt_filled(fill: Fill, qty_lots: int) -> OrderRecord:
    return OrderRecord(
        client_id=fill.client_id,
        instrument=fill.instrument,
        leg=fill.leg,
        purpose=fill.purpose,
        level=_level(fill.client_id),
        generation=fill.generation,
        price_ticks=fill.price_ticks,
        qty_lots=qty_lots,
        state=OrderState.WORKING,
        created_ns=fill.ts_ns,
        ts_ns=fill.ts_ns,
        cause="adopted: filled at the venue under our id",
    )


def filled(
    before: dict[str, OrderRecord], ours: dict[str, OpenOrder], fills: list[Fill]
) -> tuple[tuple[PlannedFill, ...], dict[str, OrderRecord], list[Difference]]:
    """Apply the fills to the orders; one that its order cannot take is a difference, and moves the leg all the same."""
    table = dict(before)
    planned: list[PlannedFill] = []
    overfills: list[Difference] = []
    final = {fill.client_id: fill for fill in fills}
    for fill in fills:
        record = table.get(fill.client_id)
        event: LifeEvent | None = None
        if record is not None:
            last = fill.client_id not in ours and final[fill.client_id] is fill
            event = fill_event(record, fill.qty_lots, fill.ts_ns, f"trade {fill.trade_id}, read", last=last)
            after = advance(record, event)
            if isinstance(after, IllegalTransition):
                event = None
                filled_lots = record.filled_lots + fill.qty_lots
                overfills.append(_order_difference(DifferenceKind.OVERFILLED, record, filled_lots))
            else:
                table[fill.client_id] = after
        planned.append(PlannedFill(fill=fill, event=event))
    return tuple(planned), table, overfills


def _order_difference(kind: DifferenceKind, record: OrderRecord, venue_lots: int) -> Difference:
    return Difference(
        kind=kind,
        instrument=record.instrument,
        leg=record.leg,
        client_id=record.client_id,
        local_lots=record.filled_lots,
        venue_lots=venue_lots,
    )


@attrs.frozen(kw_only=True)
class Judged:
    """An order after this read, and how it came there."""

    record: OrderRecord
    events: tuple[LifeEvent, ...] = ()
    absence: Absence | None = None
    unresolved: bool = False
    ended_but_open: bool = False
    differences: tuple[Difference, ...] = ()


def judged(
    *,
    before: OrderRecord,
    record: OrderRecord,
    shown: OpenOrder | None,
    look: Looked | None,
    absence: Absence | None,
    read_ns: int,
    rule: EvidenceRule,
) -> Judged:
    """Judge one order: ``before`` this read's fills, ``record`` after them, ``shown`` as a list shows it.

    ``look`` is what the exchange says of this order alone; it was asked after the lists, so it wins over them.
    """
    in_flight = before.ts_ns + rule.validity_ns >= read_ns
    if look is not None and look.found is Found.ENDED and not is_terminal(record.state):
        return _ended(record, look)
    if shown is not None:
        return _found(record, shown.qty_lots, shown.filled_lots, in_flight, read_ns)
    if is_terminal(record.state):
        return Judged(record=record)
    if look is not None and look.found is Found.OPEN:
        return _found(record, record.qty_lots, look.filled_lots, in_flight, read_ns)
    if (in_flight and absence is None) or (rule.needs_look and look is None):
        return Judged(record=record, absence=absence, unresolved=True)
    return _missed(record, absence, read_ns, rule)


def _ended(record: OrderRecord, look: Looked) -> Judged:
    """Let an order end by the exchange's own word, once the fills that it speaks of are all here."""
    if look.filled_lots != record.filled_lots:
        missing = look.filled_lots > record.filled_lots
        difference = _order_difference(DifferenceKind.FILLED, record, look.filled_lots)
        return Judged(record=record, unresolved=True, differences=(difference,) if missing else ())
    cause = f"{look.end or 'ended'} at the venue, looked up at {look.read_ns}"
    after, told = _advanced(record, [LifeEvent(kind=LifeEventKind.FOUND_DEAD, ts_ns=look.read_ns, cause=cause)])
    return Judged(record=after, events=told)


def _found(record: OrderRecord, qty_lots: int, filled_lots: int, in_flight: bool, read_ns: int) -> Judged:
    """Judge an order that the exchange shows as open, with its quantity and what is filled of it."""
    if is_terminal(record.state):
        if in_flight:
            # The list may be older than the word of its end: the next read tells.
            return Judged(record=record, unresolved=True)
        difference = _order_difference(DifferenceKind.ENDED_BUT_OPEN, record, filled_lots)
        revived = record.state is not OrderState.FILLED
        return Judged(record=record, ended_but_open=revived, differences=(difference,))
    left_lots = qty_lots - filled_lots
    if (
        record.state in _RESTING
        and not record.close_all
        and left_lots == record.remaining_lots > 0
        and filled_lots == record.filled_lots
    ):
        return Judged(record=record)
    cancel_in_flight = record.state is OrderState.CANCELLING and in_flight
    kinds = [LifeEventKind.FOUND_WORKING]
    if record.state is OrderState.CANCELLING and not in_flight:
        kinds.insert(0, LifeEventKind.OUTCOME_UNKNOWN)
    events = [LifeEvent(kind=kind, ts_ns=read_ns, cause=f"open at {read_ns}") for kind in kinds]
    differences: tuple[Difference, ...] = ()
    if filled_lots != record.filled_lots or (left_lots <= 0 and not record.close_all):
        differences = (_order_difference(DifferenceKind.FILLED, record, filled_lots),)
    elif left_lots != record.remaining_lots and not record.close_all:
        cause = f"open at {read_ns} with {left_lots} lots left"
        events.append(LifeEvent(kind=LifeEventKind.AMENDED, ts_ns=read_ns, cause=cause, qty_lots=left_lots))
    after, told = _advanced(record, events)
    return Judged(record=after, events=told, unresolved=cancel_in_flight, differences=differences)


def _missed(record: OrderRecord, absence: Absence | None, read_ns: int, rule: EvidenceRule) -> Judged:
    if absence is None:
        absence = Absence(client_id=record.client_id, reads=1, last_ns=read_ns)
    elif read_ns > absence.last_ns and read_ns - absence.last_ns >= rule.interval_ns:
        absence = attrs.evolve(absence, reads=absence.reads + 1, last_ns=read_ns)
    dead = absence.reads >= rule.absences_min
    kind = LifeEventKind.FOUND_DEAD if dead else LifeEventKind.OUTCOME_UNKNOWN
    cause = f"in neither open list, {absence.reads} reads, last at {absence.last_ns}"
    after, told = _advanced(record, [LifeEvent(kind=kind, ts_ns=absence.last_ns, cause=cause)])
    return Judged(record=after, events=told, absence=None if dead else absence, unresolved=not dead)


def _advanced(record: OrderRecord, events: Iterable[LifeEvent]) -> tuple[OrderRecord, tuple[LifeEvent, ...]]:
    """Apply events that the state admits, and tell those that changed something."""
    told: list[LifeEvent] = []
    for event in events:
        after = advance(record, event)
        assert isinstance(after, OrderRecord), f"{event.kind} in state {record.state}"
        if after is not record:
            told.append(event)
        record = after
    return record, tuple(told)
