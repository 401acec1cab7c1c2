"""Compare what we believe with what the exchange says, and plan how to agree (law 3, law 4, law 6).

Invariants:
- a fill is applied once, by (instrument, trade id, client id), and in the order of the exchange's time;
- an order is dead only by the evidence rule: its request can no longer arrive, and enough reads do not show it;
- applying a plan twice, or reconciling again with the same readings, changes nothing;
- a leg agrees, our position and the foreign one together being the venue's, or the difference is named with its figures;
- in doubt nothing that protects is cancelled, and what is not ours is never touched.
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
    is_live,
    is_terminal,
)
from hedgegrid.core.reconcile_views import (
    Absence,
    CancelWhy,
    Difference,
    DifferenceKind,
    EvidenceRule,
    FillKey,
    LegLots,
    LocalView,
    Mark,
    Plan,
    PlannedCancel,
    PlannedFill,
    VenueView,
    fill_key,
)
from hedgegrid.model.order import Fill, Leg, OpenOrder, Purpose, side_of

NO_GENERATION: Final = -1
"""The generation of an adopted order: a client id does not carry it."""

_LegKey = tuple[str, Leg]
_PROTECTING: Final = (Purpose.TAKE_PROFIT, Purpose.STOP)


def reconcile(local: LocalView, venue: VenueView, rule: EvidenceRule) -> Plan:
    """Plan how ``local`` comes to agree with ``venue``."""
    known = {record.client_id: record for record in local.orders}
    listed = {order.client_id: order for order in (*venue.limit_orders, *venue.stop_orders)}
    ours = {name: order for name, order in listed.items() if name in known or _is_ours(local.account, name)}
    fresh = _fresh_fills(local, venue)
    own_fills = [fill for fill in fresh if _is_own_fill(local.account, known, fill)]
    foreign_fills = [fill for fill in fresh if not _is_own_fill(local.account, known, fill)]

    adopted = _adopted(known, ours, own_fills)
    before = known | {record.client_id: record for record in adopted}
    fills, table, overfills = _filled(before, ours, own_fills)
    marked = [_judged(before[name], record, ours.get(name), _absence(local, name), venue.read_ns, rule)
              for name, record in table.items()]  # fmt: skip
    after = {one.record.client_id: one.record for one in marked}
    own, foreign, leg_differences = _legs(local, venue, own_fills, foreign_fills)
    doubtful = {(one.instrument, one.leg) for one in leg_differences}
    return Plan(
        adopted=adopted,
        fills=fills,
        marks=tuple(Mark(client_id=one.record.client_id, event=event) for one in marked for event in one.events),
        cancels=(
            *(_cancel(one.record, CancelWhy.ENDED) for one in marked if one.ended_but_open),
            *_duplicates(after, ours),
            *_orphans(after, ours, own, doubtful, local.open_lot_ids),
        ),
        foreign_orders=tuple(order for name, order in listed.items() if name not in ours),
        foreign_fills=tuple(foreign_fills),
        foreign=foreign,
        absences=tuple(one.absence for one in marked if one.absence is not None),
        unresolved=tuple(one.record.client_id for one in marked if one.unresolved),
        differences=(*leg_differences, *overfills, *(diff for one in marked for diff in one.differences)),
    )


def applied(local: LocalView, plan: Plan) -> LocalView:
    """Give what we believe once ``plan`` is applied; cancels are requests and change nothing by themselves."""
    table = {record.client_id: record for record in local.orders}
    for record in plan.adopted:
        table.setdefault(record.client_id, record)
    fills = [one for one in plan.fills if fill_key(one.fill) not in local.applied]
    events = [(one.fill.client_id, one.event) for one in fills if one.event is not None]
    events += [(mark.client_id, mark.event) for mark in plan.marks]
    for name, event in events:
        after = advance(table[name], event)
        assert isinstance(after, OrderRecord), "a plan holds legal events only"
        table[name] = after
    moved = _moved(_lots(local.positions), (one.fill for one in fills))
    keys = {fill_key(one.fill) for one in plan.fills} | {fill_key(fill) for fill in plan.foreign_fills}
    return attrs.evolve(
        local,
        orders=tuple(table.values()),
        applied=local.applied | keys,
        positions=_leg_lots(moved),
        foreign=plan.foreign,
        absences=plan.absences,
    )


# --- whose it is ---------------------------------------------------------------------------------------------------


def _is_ours(account: str, name: str) -> bool:
    parts = parse_client_id(name)
    return parts is not None and parts.account == account


def _is_own_fill(account: str, known: dict[str, OrderRecord], fill: Fill) -> bool:
    """Whether a fill moves our part of the leg; the exchange's forced orders close ours."""
    return fill.client_id in known or fill.purpose is Purpose.LIQUIDATION or _is_ours(account, fill.client_id)


def _fresh_fills(local: LocalView, venue: VenueView) -> list[Fill]:
    unique: dict[FillKey, Fill] = {}
    for fill in sorted(venue.fills, key=lambda one: (one.ts_ns, one.trade_id, one.client_id)):
        if fill_key(fill) not in local.applied:
            unique.setdefault(fill_key(fill), fill)
    return list(unique.values())


# --- orders --------------------------------------------------------------------------------------------------------


def _adopted(known: dict[str, OrderRecord], ours: dict[str, OpenOrder], fills: list[Fill]) -> tuple[OrderRecord, ...]:
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


def _filled(
    before: dict[str, OrderRecord], ours: dict[str, OpenOrder], fills: list[Fill]
) -> tuple[tuple[PlannedFill, ...], dict[str, OrderRecord], list[Difference]]:
    """Apply the fills to the orders; one that its order cannot take is a difference, and moves the leg all the same."""
    table = dict(before)
    planned: list[PlannedFill] = []
    overfills: list[Difference] = []
    for fill in fills:
        record = table.get(fill.client_id)
        event: LifeEvent | None = None
        if record is not None:
            last = fill.client_id not in ours
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
class _Judged:
    """An order after this read, and how it came there."""

    record: OrderRecord
    events: tuple[LifeEvent, ...] = ()
    absence: Absence | None = None
    unresolved: bool = False
    ended_but_open: bool = False
    differences: tuple[Difference, ...] = ()


def _absence(local: LocalView, name: str) -> Absence | None:
    return next((one for one in local.absences if one.client_id == name), None)


def _judged(
    before: OrderRecord,
    record: OrderRecord,
    shown: OpenOrder | None,
    absence: Absence | None,
    read_ns: int,
    rule: EvidenceRule,
) -> _Judged:
    """Judge one order: ``before`` this read's fills, ``record`` after them, ``shown`` as a list shows it."""
    in_flight = before.ts_ns + rule.validity_ns >= read_ns
    if shown is not None:
        return _found(record, shown, in_flight, read_ns)
    if is_terminal(record.state):
        return _Judged(record=record)
    if in_flight and absence is None:
        return _Judged(record=record, unresolved=True)
    return _missed(record, absence, read_ns, rule)


def _found(record: OrderRecord, shown: OpenOrder, in_flight: bool, read_ns: int) -> _Judged:
    if is_terminal(record.state):
        difference = _order_difference(DifferenceKind.ENDED_BUT_OPEN, record, shown.filled_lots)
        revived = record.state is not OrderState.FILLED
        return _Judged(record=record, ended_but_open=revived, differences=(difference,))
    cancel_in_flight = record.state is OrderState.CANCELLING and in_flight
    kinds = [LifeEventKind.FOUND_WORKING]
    if record.state is OrderState.CANCELLING and not in_flight:
        kinds.insert(0, LifeEventKind.OUTCOME_UNKNOWN)
    events = [LifeEvent(kind=kind, ts_ns=read_ns, cause=f"in the open list at {read_ns}") for kind in kinds]
    differences: tuple[Difference, ...] = ()
    if shown.filled_lots != record.filled_lots:
        differences = (_order_difference(DifferenceKind.FILLED, record, shown.filled_lots),)
    elif shown.qty_lots != record.qty_lots and not record.close_all:
        left_lots = shown.qty_lots - shown.filled_lots
        cause = f"in the open list at {read_ns} with {left_lots} lots left"
        events.append(LifeEvent(kind=LifeEventKind.AMENDED, ts_ns=read_ns, cause=cause, qty_lots=left_lots))
    after, told = _advanced(record, events)
    return _Judged(record=after, events=told, unresolved=cancel_in_flight, differences=differences)


def _missed(record: OrderRecord, absence: Absence | None, read_ns: int, rule: EvidenceRule) -> _Judged:
    if absence is None:
        absence = Absence(client_id=record.client_id, reads=1, last_ns=read_ns)
    elif read_ns > absence.last_ns and read_ns - absence.last_ns >= rule.interval_ns:
        absence = attrs.evolve(absence, reads=absence.reads + 1, last_ns=read_ns)
    dead = absence.reads >= rule.absences_min
    kind = LifeEventKind.FOUND_DEAD if dead else LifeEventKind.OUTCOME_UNKNOWN
    cause = f"in neither open list, {absence.reads} reads, last at {absence.last_ns}"
    after, told = _advanced(record, [LifeEvent(kind=kind, ts_ns=absence.last_ns, cause=cause)])
    return _Judged(record=after, events=told, absence=None if dead else absence, unresolved=not dead)


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


# --- legs ----------------------------------------------------------------------------------------------------------


def _lots(legs: Iterable[LegLots]) -> Counter[_LegKey]:
    return Counter({(one.instrument, one.leg): one.qty_lots for one in legs})


def _leg_lots(lots: Counter[_LegKey]) -> tuple[LegLots, ...]:
    return tuple(
        LegLots(instrument=instrument, leg=leg, qty_lots=qty_lots)
        for (instrument, leg), qty_lots in sorted(lots.items())
        if qty_lots != 0
    )


def _moved(lots: Counter[_LegKey], fills: Iterable[Fill]) -> Counter[_LegKey]:
    moved = Counter(lots)
    for fill in fills:
        opens = fill.side is side_of(fill.leg, Purpose.ENTRY)
        moved[fill.instrument, fill.leg] += fill.qty_lots if opens else -fill.qty_lots
    return moved


def _legs(
    local: LocalView, venue: VenueView, own_fills: list[Fill], foreign_fills: list[Fill]
) -> tuple[Counter[_LegKey], tuple[LegLots, ...], tuple[Difference, ...]]:
    """Give our lots after the fills, the foreign ones, and where the two do not make the venue's."""
    own = _moved(_lots(local.positions), own_fills)
    theirs = _lots(venue.positions)
    if local.foreign is None:
        foreign = Counter({key: theirs[key] - own[key] for key in sorted({**own, **theirs})})
    else:
        foreign = _moved(_lots(local.foreign), foreign_fills)
    differences: list[Difference] = []
    for key in sorted({**own, **foreign, **theirs}):
        instrument, leg = key
        sums = [(DifferenceKind.POSITION, own[key] + foreign[key])] if own[key] + foreign[key] != theirs[key] else []
        sums += [(DifferenceKind.NEGATIVE, lots) for lots in (own[key], foreign[key]) if lots < 0]
        differences += [
            Difference(kind=kind, instrument=instrument, leg=leg, client_id="", local_lots=lots, venue_lots=theirs[key])
            for kind, lots in sums
        ]
    return own, _leg_lots(foreign), tuple(differences)


# --- what has to go ------------------------------------------------------------------------------------------------


def _cancel(record: OrderRecord, why: CancelWhy) -> PlannedCancel:
    return PlannedCancel(client_id=record.client_id, instrument=record.instrument, why=why)


def _can_cancel(record: OrderRecord) -> bool:
    """Whether a cancel says anything new: the venue may hold the order, and none is in flight."""
    return is_live(record.state) and record.state is not OrderState.CANCELLING


def _duplicates(after: dict[str, OrderRecord], ours: dict[str, OpenOrder]) -> list[PlannedCancel]:
    """Leave one entry a rung: of those that the venue shows the oldest.

    The generation of an adopted entry is not known: beside a known entry of its level it is a second one or an old one.
    """
    levels: dict[tuple[str, Leg, int], list[OrderRecord]] = {}
    for record in after.values():
        if record.purpose is Purpose.ENTRY and record.level != NO_LEVEL and not is_terminal(record.state):
            levels.setdefault((record.instrument, record.leg, record.level), []).append(record)
    cancels: list[PlannedCancel] = []
    for entries in levels.values():
        entries.sort(key=lambda one: (one.client_id not in ours, one.created_ns, one.client_id))
        known = [record for record in entries if record.generation != NO_GENERATION]
        kept = {record.generation: record for record in reversed(known or entries)}
        extra = [record for record in entries if kept.get(record.generation) is not record]
        cancels += [_cancel(record, CancelWhy.DUPLICATE) for record in extra if _can_cancel(record)]
    return cancels


def _orphans(
    after: dict[str, OrderRecord],
    ours: dict[str, OpenOrder],
    own: Counter[_LegKey],
    doubtful: set[_LegKey],
    open_lot_ids: frozenset[int] | None,
) -> list[PlannedCancel]:
    """Find resting exits of a position or of lots that are gone; a leg in doubt keeps its exits."""
    cancels: list[PlannedCancel] = []
    for name in ours:
        record = after[name]
        leg = (record.instrument, record.leg)
        if record.purpose not in _PROTECTING or record.close_all or leg in doubtful or not _can_cancel(record):
            continue
        lots_gone = bool(record.lot_ids) and open_lot_ids is not None and open_lot_ids.isdisjoint(record.lot_ids)
        if own[leg] == 0 or lots_gone:
            cancels.append(_cancel(record, CancelWhy.ORPHAN))
    return cancels
