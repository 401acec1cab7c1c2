"""Compare what we believe with what the exchange says, and plan how to agree (law 3, law 4, law 6).

Invariants:
- a fill is applied once, by (instrument, trade id, client id), and in the order of the exchange's time;
- an order is dead only by the evidence rule: its request can no longer arrive, and enough reads do not show it;
- applying a plan twice, or reconciling again with the same readings, changes nothing;
- a leg agrees (our position and the foreign one together are the venue's), or the difference is named with its figures;
- what an order of ours, or a forced close, takes beyond our part of a leg, it takes of what others hold there; such a
  fill is applied only together with their part, by a reading that agrees;
- in doubt nothing that protects is cancelled, and what is not ours is never touched.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

import attrs

from hedgegrid.core.client_id import NO_LEVEL, parse_client_id
from hedgegrid.core.order_state import OrderRecord, OrderState, advance, is_live, is_terminal
from hedgegrid.core.reconcile_orders import NO_GENERATION, adopted, filled, judged
from hedgegrid.core.reconcile_views import (
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
    VenueView,
    fill_key,
)
from hedgegrid.model.order import Fill, Leg, OpenOrder, Purpose, side_of

_LegKey = tuple[str, Leg]
_PROTECTING: Final = (Purpose.TAKE_PROFIT, Purpose.STOP)


def reconcile(local: LocalView, venue: VenueView, rule: EvidenceRule) -> Plan:
    """Plan how ``local`` comes to agree with ``venue``."""
    plan, beyond = _plan(local, venue, rule)
    if plan.agreed or not beyond:
        return plan
    waiting = tuple(fill for fill in venue.fills if fill_key(fill) not in beyond)
    without, _ = _plan(local, attrs.evolve(venue, fills=waiting), rule)
    return attrs.evolve(without, differences=plan.differences)


def _plan(local: LocalView, venue: VenueView, rule: EvidenceRule) -> tuple[Plan, frozenset[FillKey]]:
    """Give the plan, and the fresh fills of ours that close more than we hold, with those of their legs after them."""
    known = {record.client_id: record for record in local.orders}
    listed = {order.client_id: order for order in (*venue.limit_orders, *venue.stop_orders)}
    ours = {name: order for name, order in listed.items() if name in known or _is_ours(local.account, name)}
    fresh = _fresh_fills(local, venue)
    own_fills = [fill for fill in fresh if _is_own_fill(local.account, known, fill)]
    foreign_fills = [fill for fill in fresh if not _is_own_fill(local.account, known, fill)]

    newcomers = adopted(known, ours, own_fills)
    before = known | {record.client_id: record for record in newcomers}
    fills, table, overfills = filled(before, ours, own_fills)
    absences = {one.client_id: one for one in local.absences}
    looks = {one.client_id: one for one in venue.looks}
    marked = [
        judged(
            before=before[name],
            record=record,
            shown=ours.get(name),
            look=looks.get(name),
            absence=absences.get(name),
            read_ns=venue.read_ns,
            rule=rule,
        )
        for name, record in table.items()
        # Most have ended long ago: of one that nobody shows any more there is nothing to say.
        if name in ours or not is_terminal(record.state)
    ]
    after = {one.record.client_id: one.record for one in marked}
    own, foreign, beyond = _parts(local, venue, fresh, own_fills)
    leg_differences = _leg_differences(own, foreign, venue)
    doubtful = {(one.instrument, one.leg) for one in leg_differences}
    plan = Plan(
        adopted=newcomers,
        fills=fills,
        marks=tuple(Mark(client_id=one.record.client_id, event=event) for one in marked for event in one.events),
        cancels=(
            *(_cancel(one.record, CancelWhy.ENDED) for one in marked if one.ended_but_open),
            *_duplicates(after, ours),
            *_orphans(after, ours, own, doubtful, local.open_lot_ids),
        ),
        foreign_orders=tuple(order for name, order in listed.items() if name not in ours),
        foreign_fills=tuple(foreign_fills),
        foreign=_leg_lots(foreign),
        absences=tuple(one.absence for one in marked if one.absence is not None),
        unresolved=tuple(one.record.client_id for one in marked if one.unresolved),
        differences=(*leg_differences, *overfills, *(diff for one in marked for diff in one.differences)),
    )
    return plan, beyond


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
    moved = _lots(local.positions)
    for one in fills:
        _move(moved, one.fill)
        # What went beyond ours was others': the plan has their part already.
        moved[one.fill.instrument, one.fill.leg] = max(0, moved[one.fill.instrument, one.fill.leg])
    keys = {fill_key(one.fill) for one in plan.fills} | {fill_key(fill) for fill in plan.foreign_fills}
    return attrs.evolve(
        local,
        orders=tuple(table.values()),
        applied=local.applied | keys,
        positions=_leg_lots(moved),
        foreign=plan.foreign,
        absences=plan.absences,
    )


# --- whose it is ----------------------------------------------------------------------------------------------------


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


# --- legs -----------------------------------------------------------------------------------------------------------


def _lots(legs: Iterable[LegLots]) -> Counter[_LegKey]:
    return Counter({(one.instrument, one.leg): one.qty_lots for one in legs})


def _leg_lots(lots: Counter[_LegKey]) -> tuple[LegLots, ...]:
    return tuple(
        LegLots(instrument=instrument, leg=leg, qty_lots=qty_lots)
        for (instrument, leg), qty_lots in sorted(lots.items())
        if qty_lots != 0
    )


def _move(lots: Counter[_LegKey], fill: Fill) -> None:
    opens = fill.side is side_of(fill.leg, Purpose.ENTRY)
    lots[fill.instrument, fill.leg] += fill.qty_lots if opens else -fill.qty_lots


def _parts(
    local: LocalView, venue: VenueView, fresh: list[Fill], own_fills: list[Fill]
) -> tuple[Counter[_LegKey], Counter[_LegKey], frozenset[FillKey]]:
    """Give our lots and the foreign ones after the fresh fills, in the exchange's order.

    And those of ours that took of what others hold, with the later ones of their legs.
    """
    own, theirs = _lots(local.positions), _lots(venue.positions)
    foreign = Counter[_LegKey]() if local.foreign is None else _lots(local.foreign)
    ours = {fill_key(fill) for fill in own_fills}
    legs_beyond: set[_LegKey] = set()
    beyond: list[FillKey] = []
    for fill in fresh:
        key = (fill.instrument, fill.leg)
        if fill_key(fill) not in ours:
            _move(foreign, fill)
            continue
        _move(own, fill)
        if own[key] < 0 and local.foreign is not None:
            legs_beyond.add(key)
            foreign[key] += own[key]
            own[key] = 0
        if key in legs_beyond:
            beyond.append(fill_key(fill))
    if local.foreign is None:
        foreign = Counter({key: theirs[key] - own[key] for key in sorted({**own, **theirs})})
    return own, foreign, frozenset(beyond)


def _leg_differences(own: Counter[_LegKey], foreign: Counter[_LegKey], venue: VenueView) -> tuple[Difference, ...]:
    """Name the legs of which our part and the foreign one do not make the venue's."""
    theirs = _lots(venue.positions)
    differences: list[Difference] = []
    for key in sorted({**own, **foreign, **theirs}):
        instrument, leg = key
        sums = [(DifferenceKind.POSITION, own[key] + foreign[key])] if own[key] + foreign[key] != theirs[key] else []
        sums += [(DifferenceKind.NEGATIVE, lots) for lots in (own[key], foreign[key]) if lots < 0]
        differences += [
            Difference(kind=kind, instrument=instrument, leg=leg, client_id="", local_lots=lots, venue_lots=theirs[key])
            for kind, lots in sums
        ]
    return tuple(differences)


# --- what has to go -------------------------------------------------------------------------------------------------


def _cancel(record: OrderRecord, why: CancelWhy) -> PlannedCancel:
    return PlannedCancel(client_id=record.client_id, instrument=record.instrument, why=why)


def _can_cancel(record: OrderRecord) -> bool:
    """Whether a cancel says anything new: the venue may hold the order, and none is in flight."""
    return is_live(record.state) and record.state is not OrderState.CANCELLING


def _duplicates(after: dict[str, OrderRecord], ours: dict[str, OpenOrder]) -> list[PlannedCancel]:
    """Leave one entry a rung: of those that the venue shows the oldest, unless it is being cancelled.

    The generation of an adopted entry is not known: beside a known entry of its level it is a second one or an old one.
    """
    levels: dict[tuple[str, Leg, int], list[OrderRecord]] = {}
    for record in after.values():
        if record.purpose is Purpose.ENTRY and record.level != NO_LEVEL and not is_terminal(record.state):
            levels.setdefault((record.instrument, record.leg, record.level), []).append(record)
    cancels: list[PlannedCancel] = []
    for entries in levels.values():
        entries.sort(
            key=lambda one: (
                one.client_id not in ours,
                one.state is OrderState.CANCELLING,
                one.created_ns,
                one.client_id,
            )
        )
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
