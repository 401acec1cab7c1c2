"""The proof that an exit reduces: what is left of what is out of its own class, leg and instrument counts."""

import attrs
import pytest

from hedgegrid.core.order_state import OrderRecord, OrderState, intent_of
from hedgegrid.core.reduction_proof import is_proven, needs_proof
from hedgegrid.model.order import Kind, Leg, OrderRequest, Purpose

HELD = 10


def asked(purpose: Purpose, qty_lots: int, kind: Kind = Kind.LIMIT) -> OrderRequest:
    """An order of the LONG leg."""
    return OrderRequest(
        client_id="one",
        instrument="BTC",
        leg=Leg.LONG,
        purpose=purpose,
        kind=kind,
        price_ticks=0 if kind is Kind.MARKET else 100,
        qty_lots=qty_lots,
        post_only=False,
        level=1,
        generation=1,
        decided_ns=1,
    )


PROFIT = asked(Purpose.TAKE_PROFIT, 4)
MARKET = asked(Purpose.FLATTEN, 4, Kind.MARKET)


def out(request: OrderRequest, qty_lots: int, filled_lots: int = 0) -> OrderRecord:
    """The same, for another quantity, sent before and perhaps filled in part."""
    sent = attrs.evolve(request, client_id="other", qty_lots=qty_lots)
    return attrs.evolve(intent_of(sent, 1, ""), state=OrderState.PARTIAL, filled_lots=filled_lots)


@pytest.mark.parametrize("request_", [PROFIT, MARKET], ids=["profit", "market"])
def test_what_is_left_of_its_own_class_counts(request_: OrderRequest) -> None:
    """To the last lot: six are out, four fit and five do not; of what is out only the rest can still fill."""
    assert is_proven(request_, HELD, [out(request_, 6)])
    assert not is_proven(request_, HELD, [out(request_, 7)])
    assert not is_proven(request_, HELD, [out(request_, 3), out(request_, 4)])
    assert is_proven(request_, HELD, [out(request_, 12, filled_lots=6)])
    assert not is_proven(request_, HELD, [out(request_, 13, filled_lots=6)])


@pytest.mark.parametrize("request_", [PROFIT, MARKET], ids=["profit", "market"])
def test_another_leg_instrument_or_class_does_not(request_: OrderRequest) -> None:
    """Each class of exits has the whole leg: of several the exchange lets only one close it. Entries close nothing."""
    other = MARKET if request_ is PROFIT else PROFIT
    entry = asked(Purpose.ENTRY, 4)
    elsewhere = [
        attrs.evolve(out(request_, HELD), leg=Leg.SHORT),
        attrs.evolve(out(request_, HELD), instrument="ETH"),
        out(other, HELD),
        out(entry, HELD),
        attrs.evolve(out(entry, HELD), price_ticks=0),
        out(asked(Purpose.STOP, 4, Kind.STOP_MARKET), HELD),
    ]
    assert is_proven(request_, HELD, elsewhere)


def test_stops_and_entries_need_no_proof() -> None:
    """A lot never loses its stop over a count; whatever leaves at the market closes something."""
    assert [needs_proof(one) for one in (PROFIT, MARKET)] == [True, True]
    stop = asked(Purpose.STOP, 4, Kind.MARKET)
    assert needs_proof(stop), "a reduction at the market in a stop's place"
    resting = (asked(Purpose.STOP, 4, Kind.STOP_MARKET), asked(Purpose.BACKSTOP, 0, Kind.STOP_MARKET))
    assert not any(needs_proof(one) for one in (*resting, asked(Purpose.ENTRY, 4)))
