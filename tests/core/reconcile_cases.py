"""Records, readings and whole histories for the tests of reconciliation."""

from collections import Counter

import attrs
from hypothesis import strategies as st

from hedgegrid.core.client_id import client_id
from hedgegrid.core.order_state import OrderRecord, OrderState
from hedgegrid.core.reconcile import applied, reconcile
from hedgegrid.core.reconcile_views import EvidenceRule, LegLots, LocalView, Plan, VenueView, fill_key
from hedgegrid.model.order import Fill, Kind, Leg, OpenOrder, Purpose, side_of

S = OrderState
BTC = "BTC/USDT:USDT"
NOW_NS = 10_000
AT_ONCE = EvidenceRule(validity_ns=0, absences_min=1, interval_ns=0)
CAREFUL = EvidenceRule(validity_ns=1_000, absences_min=3, interval_ns=500)


def name(sequence: int, *, purpose: Purpose = Purpose.ENTRY, leg: Leg = Leg.LONG, level: int = 3) -> str:
    """A client id of ours."""
    return client_id(account="demo", epoch=1, leg=leg, purpose=purpose, level=level, sequence=sequence)


def order(sequence: int = 1, **changes: object) -> OrderRecord:
    """A working entry of 10 lots, changed."""
    record = OrderRecord(
        client_id=name(sequence),
        instrument=BTC,
        leg=Leg.LONG,
        purpose=Purpose.ENTRY,
        level=3,
        generation=1,
        price_ticks=1_000,
        qty_lots=10,
        state=S.WORKING,
        created_ns=100 + sequence,
        ts_ns=200,
        cause="journal",
    )
    return attrs.evolve(record, **changes)  # type: ignore[arg-type]


def shown(record: OrderRecord, **changes: object) -> OpenOrder:
    """The order as the venue's open list shows it, changed."""
    stop = record.purpose in (Purpose.STOP, Purpose.BACKSTOP)
    open_order = OpenOrder(
        client_id=record.client_id,
        instrument=record.instrument,
        leg=record.leg,
        purpose=record.purpose,
        kind=Kind.STOP_MARKET if stop else Kind.LIMIT,
        price_ticks=record.price_ticks,
        qty_lots=record.qty_lots,
        filled_lots=record.filled_lots,
        close_all=record.close_all,
        created_ns=record.created_ns,
    )
    return attrs.evolve(open_order, **changes)  # type: ignore[arg-type]


def fill(record: OrderRecord, trade_id: int, qty_lots: int, **changes: object) -> Fill:
    """A fill of an order, changed."""
    made = Fill(
        trade_id=trade_id,
        client_id=record.client_id,
        instrument=record.instrument,
        leg=record.leg,
        side=record.side,
        purpose=record.purpose,
        level=record.level,
        generation=record.generation,
        price_ticks=record.price_ticks,
        qty_lots=qty_lots,
        fee_e8=1,
        realised_e8=0,
        maker=True,
        ts_ns=1_000 + trade_id,
    )
    return attrs.evolve(made, **changes)  # type: ignore[arg-type]


def lots(qty_lots: int, leg: Leg = Leg.LONG) -> LegLots:
    """A quantity of one leg."""
    return LegLots(instrument=BTC, leg=leg, qty_lots=qty_lots)


def local(*orders: OrderRecord, **changes: object) -> LocalView:
    """What we believe."""
    return attrs.evolve(LocalView(account="demo", orders=orders), **changes)  # type: ignore[arg-type]


def venue(*limit_orders: OpenOrder, **changes: object) -> VenueView:
    """What the exchange says."""
    return attrs.evolve(VenueView(read_ns=NOW_NS, limit_orders=limit_orders), **changes)  # type: ignore[arg-type]


def states(view: LocalView) -> dict[str, OrderState]:
    """The state of every order."""
    return {record.client_id: record.state for record in view.orders}


def settled(before: LocalView, seen: VenueView, rule: EvidenceRule = AT_ONCE) -> tuple[Plan, LocalView]:
    """The plan and the view after it; proves on the way that doing it again changes nothing."""
    plan = reconcile(before, seen, rule)
    after = applied(before, plan)
    assert applied(after, plan) == after
    again = reconcile(after, seen, rule)
    assert again.fills == ()
    assert again.marks == ()
    assert again.adopted == ()
    assert applied(after, again) == after
    return plan, after


LIVE = (S.INTENT, S.SENT, S.WORKING, S.CANCELLING, S.UNKNOWN)


@st.composite
def worlds(draw: st.DrawFn) -> tuple[LocalView, VenueView, Counter[tuple[str, Leg]]]:
    """A true history, a journal that knows a part of it, and what the exchange shows; with the true positions."""
    records: list[OrderRecord] = []
    open_orders: list[OpenOrder] = []
    fills: list[Fill] = []
    done: set[tuple[str, int, str]] = set()
    held_lots, told_lots = Counter[tuple[str, Leg]](), Counter[tuple[str, Leg]]()
    for leg in Leg:
        held_lots[BTC, leg] = told_lots[BTC, leg] = 500
    trade_id = 0
    for sequence in range(draw(st.integers(0, 8))):
        leg = draw(st.sampled_from(Leg))
        purpose = draw(st.sampled_from([Purpose.ENTRY, Purpose.TAKE_PROFIT, Purpose.STOP]))
        text = name(sequence, purpose=purpose, leg=leg, level=sequence)
        record = order(sequence, client_id=text, leg=leg, purpose=purpose, level=sequence)
        parts = draw(st.lists(st.integers(1, 4), max_size=2))
        known = draw(st.booleans())
        journaled = draw(st.integers(0, len(parts))) if known else 0
        for place, qty_lots in enumerate(parts):
            # Our own legs can match each other: two orders then share a trade id.
            trade_id += draw(st.integers(0, 1)) or place
            one = fill(record, trade_id * 10 + place, qty_lots)
            fills.append(one)
            step_lots = qty_lots if record.side is side_of(leg, Purpose.ENTRY) else -qty_lots
            held_lots[BTC, leg] += step_lots
            if place < journaled:
                done.add(fill_key(one))
                told_lots[BTC, leg] += step_lots
        filled_lots = sum(parts[:journaled])
        if draw(st.booleans()):
            open_orders.append(shown(record, filled_lots=sum(parts)))
        if known:
            state = draw(st.sampled_from(LIVE))
            if filled_lots and state in (S.INTENT, S.SENT, S.WORKING):
                state = S.PARTIAL
            records.append(attrs.evolve(record, state=state, filled_lots=filled_lots))
    shuffled = draw(st.permutations(fills + fills[:2]))
    cut = draw(st.integers(0, len(open_orders)))
    return (
        local(*records, applied=frozenset(done), positions=leg_lots(told_lots)),
        venue(
            *open_orders[:cut],
            stop_orders=tuple(open_orders[cut:]),
            fills=tuple(shuffled),
            positions=leg_lots(held_lots),
        ),
        held_lots,
    )


def leg_lots(counted: Counter[tuple[str, Leg]]) -> tuple[LegLots, ...]:
    """Positions as both views hold them."""
    return tuple(
        LegLots(instrument=instrument, leg=leg, qty_lots=qty)
        for (instrument, leg), qty in sorted(counted.items())
        if qty
    )
