"""The gate's own book under races: replaced stops, late words, and reductions of more than is held."""

from typing import Any

import attrs
import pytest

from hedgegrid.actors.risk_book import RiskBook
from hedgegrid.core import risk
from hedgegrid.core.gate_records import InstrumentRisk, RiskLimits
from hedgegrid.messages.events import EndReason, Hydrated, OrderEvent, OrderEventKind
from hedgegrid.model.account import Position
from hedgegrid.model.order import Fill, Kind, Leg, OpenOrder, OrderRequest, Purpose, Side
from tests.core import made

BTC = made.BTC.name
OLD, NEW = "race.1LS1.1", "race.1LS1.2"
OVERLAP_NS = 2_000
HELD = Hydrated(
    seq=1,
    cause_seq=0,
    ts_venue_ns=0,
    ts_recv_ns=0,
    instrument=BTC,
    positions=(Position(instrument=BTC, leg=Leg.LONG, qty_lots=10, cost_e8=10**9),),
    orders=(),
    lots=(),
    unbooked=(),
    grid=None,
    mark_ticks=1_000,
    next_order_no=64,
)


def stop(client_id: str, qty_lots: int = 10, **changes: Any) -> OrderRequest:
    """A stop of the LONG leg; changed."""
    settings: dict[str, Any] = {
        "client_id": client_id,
        "instrument": BTC,
        "leg": Leg.LONG,
        "purpose": Purpose.STOP,
        "kind": Kind.STOP_MARKET,
        "price_ticks": 900,
        "qty_lots": qty_lots,
        "post_only": False,
        "level": 1,
        "generation": 1,
        "decided_ns": 0,
    }
    return OrderRequest(**{**settings, **changes})


def book() -> RiskBook:
    """A book of ten lots of LONG under one stop."""
    made_book = RiskBook([made.BTC], [InstrumentRisk(unit_e8=made.UNIT_E8)], RiskLimits(), stop_overlap_ns=OVERLAP_NS)
    made_book.set_instrument(HELD)
    made_book.reserve(made_book.candidate(stop(OLD)))
    return made_book


def verdict(one: RiskBook, request: OrderRequest) -> int:
    """The gate's answer to a reducing order."""
    has_price = 0 if request.kind is Kind.MARKET else 1
    order, rows = one.candidate(request), (one.booked[0], one.tiers[0])
    return risk.check(RiskLimits(), one.account, one.rules, one.exposures, *rows, order, has_price, 1, 0, 0)


def said(client_id: str, kind: OrderEventKind, reason: EndReason = EndReason.NONE, left: int = 0) -> OrderEvent:
    """A word of the exchange."""
    return OrderEvent(kind=kind, client_id=client_id, reason=reason, qty_lots=left)


def fill(purpose: Purpose, qty_lots: int, client_id: str = "race.1LS1.1") -> Fill:
    """A fill of the LONG leg."""
    return Fill(
        trade_id=1,
        client_id=client_id,
        instrument=BTC,
        leg=Leg.LONG,
        side=Side.SELL,
        purpose=purpose,
        level=1,
        generation=1,
        price_ticks=1_000,
        qty_lots=qty_lots,
        fee_e8=0,
        realised_e8=0,
        maker=False,
        ts_ns=0,
    )


def test_a_second_stop_passes_only_as_a_replacement() -> None:
    """Beside a stop over the whole position there is no room, unless that one is being retired."""
    one = book()
    assert verdict(one, stop(NEW)) == risk.REDUCE_PROOF
    one.retire([OLD], 0)
    assert verdict(one, stop(NEW)) == risk.PASS


def test_the_overlap_of_a_replacement_is_bounded_in_time() -> None:
    """A stop that should be gone by now counts again, so stops do not pile up."""
    one = book()
    one.retire([OLD], 1_000)
    one.lapse(1_000 + OVERLAP_NS)
    assert verdict(one, stop(NEW)) == risk.PASS
    one.lapse(1_001 + OVERLAP_NS)
    assert verdict(one, stop(NEW)) == risk.REDUCE_PROOF


@pytest.mark.parametrize(
    ("word", "code"),
    [
        (said(OLD, OrderEventKind.CANCEL_FAILED, EndReason.RATE_LIMITED), risk.REDUCE_PROOF),
        (said(OLD, OrderEventKind.CANCEL_FAILED, EndReason.NOT_FOUND), risk.PASS),
        (said(OLD, OrderEventKind.CANCELLED), risk.PASS),
        (said(OLD, OrderEventKind.UNKNOWN), risk.PASS),
    ],
)
def test_a_retired_stop_counts_again_when_it_stays(word: OrderEvent, code: int) -> None:
    """A cancel that was not carried out leaves the old stop where it was."""
    one = book()
    one.retire([OLD], 0)
    one.apply(BTC, [word])
    assert verdict(one, stop(NEW)) == code


def test_a_retired_stop_that_fills_in_part_counts_with_what_is_left() -> None:
    """Its fill moves the position; if it stays after that, its rest counts."""
    one = book()
    one.retire([OLD], 0)
    part = OrderEvent(kind=OrderEventKind.FILLED, client_id=OLD, qty_lots=6, fill=fill(Purpose.STOP, 4))
    one.apply(BTC, [part])
    one.keep([OLD])
    assert (one.exposures[0].position_lots, one.exposures[0].stop_lots) == (6, 6)


def test_an_unknown_stop_still_counts_in_the_proof() -> None:
    """Nobody knows whether it stands: the proof takes it for one that does."""
    one = book()
    one.apply(BTC, [said(OLD, OrderEventKind.UNKNOWN)])
    assert verdict(one, stop(NEW, 1)) == risk.REDUCE_PROOF


def test_an_unknown_market_reduction_leaves_no_room_for_another() -> None:
    """Unresolved, it counts as filled: two of them could close more than there is."""
    one = book()
    first = stop("race.1LF.3", kind=Kind.MARKET, price_ticks=0, purpose=Purpose.FLATTEN)
    assert verdict(one, first) == risk.PASS
    one.reserve(one.candidate(first))
    one.apply(BTC, [said("race.1LF.3", OrderEventKind.UNKNOWN)])
    assert verdict(one, stop("race.1LF.4", 1, kind=Kind.MARKET, price_ticks=0)) == risk.REDUCE_PROOF
    assert one.exposures[0].position_lots == 10


def test_take_profits_never_exceed_the_confirmed_position() -> None:
    """An excess that a stop's fill left is no room for more."""
    one = book()
    profit = stop("race.1LT1.3", purpose=Purpose.TAKE_PROFIT, kind=Kind.LIMIT, price_ticks=1_100)
    assert verdict(one, profit) == risk.PASS
    one.reserve(one.candidate(profit))
    part = OrderEvent(kind=OrderEventKind.FILLED, client_id=OLD, qty_lots=6, fill=fill(Purpose.STOP, 4))
    one.apply(BTC, [part])
    more = stop("race.1LT1.4", 1, purpose=Purpose.TAKE_PROFIT, kind=Kind.LIMIT, price_ticks=1_100)
    assert verdict(one, more) == risk.REDUCE_PROOF


def test_a_reduction_of_more_than_is_held_leaves_nothing() -> None:
    """A position is never below zero, whatever a late word says."""
    one = book()
    late = OrderEvent(kind=OrderEventKind.FILLED, client_id="x", fill=fill(Purpose.STOP, 14, "x"))
    one.apply(BTC, [late, late])
    assert (one.accounts[0].qty_lots, one.accounts[0].cost_e8, one.exposures[0].position_lots) == (0, 0, 0)


ENTRY = "race.1LE1.3"


@pytest.mark.parametrize(("asked", "parts", "left"), [
    (0, ((1, 0), (3, 1)), [3, 0]),
    (0, ((2, 2), (2, 0)), [2, 0]),
    (9, ((1, 3), (3, 0)), [8, 0]),
    (9, ((1, 0), (3, 1)), [8, 0]),
    (2, ((3, 0), (1, 3)), [1, 0]),
])  # fmt: skip
def test_an_entry_counts_until_every_fill_is_told(
    asked: int, parts: tuple[tuple[int, int], ...], left: list[int]
) -> None:
    """The last fill may come before the first; lots that only an amendment would have brought go with the order."""
    one = book()
    request = stop(ENTRY, 4, purpose=Purpose.ENTRY, kind=Kind.LIMIT)
    one.reserve(one.candidate(request))
    if asked:
        lifted = one.lift(ENTRY)
        assert lifted is not None
        one.reserve(one.candidate(attrs.evolve(request, qty_lots=asked)))
        one.put_back(lifted)
    told = []
    for qty_lots, left_lots in parts:
        filled = fill(Purpose.ENTRY, qty_lots, ENTRY)
        kind = OrderEventKind.FILLED
        one.apply(BTC, [OrderEvent(kind=kind, client_id=ENTRY, qty_lots=left_lots, fill=filled)])
        told.append(one.exposures[Leg.LONG].entry_lots)
    assert told == left
    assert (one.exposures[Leg.LONG].position_lots, one.exposures[Leg.LONG].open_orders) == (14, 1)


def test_a_hydration_tells_what_only_an_amendment_would_bring() -> None:
    """An entry that filled at its old quantity is over for a gate that began while its amendment was under way."""
    one = book()
    order = OpenOrder(
        client_id=ENTRY,
        instrument=BTC,
        leg=Leg.LONG,
        purpose=Purpose.ENTRY,
        kind=Kind.LIMIT,
        price_ticks=900,
        qty_lots=9,
        filled_lots=0,
        close_all=False,
        created_ns=0,
        surplus_lots=5,
    )
    one.set_instrument(attrs.evolve(HELD, orders=(order,)))
    assert one.exposures[Leg.LONG].entry_lots == 9
    filled = fill(Purpose.ENTRY, 4, ENTRY)
    one.apply(BTC, [OrderEvent(kind=OrderEventKind.FILLED, client_id=ENTRY, qty_lots=0, fill=filled)])
    assert (one.exposures[Leg.LONG].entry_lots, one.exposures[Leg.LONG].open_orders) == (0, 0)


def test_an_exit_goes_with_its_last_fill() -> None:
    """The exchange cut it to what there was to close: nothing of it stands in the way of the next one."""
    one = book()
    event = OrderEvent(kind=OrderEventKind.FILLED, client_id=OLD, qty_lots=0, fill=fill(Purpose.STOP, 6))
    one.apply(BTC, [event])
    assert (one.exposures[Leg.LONG].position_lots, one.exposures[Leg.LONG].stop_lots) == (4, 0)
    assert verdict(one, stop(NEW, 4)) == risk.PASS
