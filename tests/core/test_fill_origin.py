"""What a fill is of: the exchange names our order, its rung and its lots are in the request."""

import attrs
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core.fill_origin import allocated, explained
from hedgegrid.model.order import Cover, Kind, Leg, OrderRequest, Purpose
from tests.core.reconcile_cases import fill, name, order


def request(purpose: Purpose, covers: tuple[Cover, ...] = (), level: int = 3, generation: int = 8) -> OrderRequest:
    """A request of 10 lots."""
    return OrderRequest(
        client_id=name(1, purpose=purpose),
        instrument="BTC/USDT:USDT",
        leg=Leg.LONG,
        purpose=purpose,
        kind=Kind.LIMIT,
        price_ticks=5,
        qty_lots=10,
        post_only=False,
        level=level,
        generation=generation,
        covers=covers,
        decided_ns=1,
    )


@given(st.lists(st.integers(1, 9), max_size=5), st.lists(st.integers(1, 9), max_size=8))
def test_shares_of_one_order_never_overlap_and_never_exceed_its_lots(lots: list[int], fills: list[int]) -> None:
    """However an order fills, each lot is closed by what covers it, at most once, in the order of the request."""
    covers = tuple(Cover(lot_id=place, qty_lots=qty) for place, qty in enumerate(lots))
    closed = [0] * len(lots)
    done = 0
    for qty in fills:
        parts = allocated(covers, done, qty)
        assert sum(part.qty_lots for part in parts) == max(0, min(qty, sum(lots) - done))
        for part in parts:
            closed[part.lot_id] += part.qty_lots
        done += qty
    rest = sum(fills)
    for place, qty in enumerate(lots):
        assert closed[place] == min(qty, rest)
        rest -= closed[place]


def test_the_request_explains_what_the_wire_leaves_out() -> None:
    """Rung, purpose and lots come from the request; a simulated venue's own word is left as it is."""
    covers = (Cover(lot_id=4, qty_lots=6), Cover(lot_id=5, qty_lots=4))
    bare = fill(order(1), 1, 5, level=-1, generation=-1)
    full = explained(bare, request(Purpose.TAKE_PROFIT, covers), 3)
    assert (full.purpose, full.level, full.generation) == (Purpose.TAKE_PROFIT, 3, 8)
    assert full.covers == (Cover(lot_id=4, qty_lots=3), Cover(lot_id=5, qty_lots=2))
    assert explained(full, request(Purpose.TAKE_PROFIT, covers), 0) is full
    entry = explained(bare, request(Purpose.ENTRY), 0)
    assert (entry.level, entry.generation, entry.covers) == (3, 8, ())
    assert explained(entry, request(Purpose.ENTRY), 0) is entry


def test_without_a_request_the_client_id_says_what_it_can() -> None:
    """An order that nobody remembers: purpose and level from its id; a foreign one, or a forced one, stays as told."""
    bare = fill(order(1, client_id=name(9, purpose=Purpose.STOP, level=-1)), 1, 5, level=-1, generation=-1)
    assert explained(bare, None, 0).purpose is Purpose.STOP
    known = fill(order(1, client_id=name(9, level=7)), 1, 5, level=-1, generation=-1)
    assert explained(known, None, 0).level == 7
    for stranger in (attrs.evolve(bare, client_id="web_1"), attrs.evolve(bare, purpose=Purpose.LIQUIDATION)):
        assert explained(stranger, None, 0) is stranger


def test_an_adopted_order_does_not_unsay_what_a_venue_knows() -> None:
    """A request made up of an open order has no generation: the venue's own stays."""
    knows = fill(order(1), 1, 5, generation=6)
    assert explained(knows, request(Purpose.ENTRY, generation=-1), 0).generation == 6
