"""The simulated exchange without links: every exit is an order of its own, and none closes more than there is."""

from typing import Any

import pytest

from hedgegrid.messages.events import EndReason, OrderEventKind
from hedgegrid.model.order import Cover, Kind, Leg, Purpose
from tests.venues.test_exchange import Walked, request


def profit(client_id: str, price: int, qty_lots: int = 10) -> Any:
    """A take-profit of the LONG leg that says which lot it is for."""
    cover = (Cover(lot_id=1, qty_lots=qty_lots, level=1, generation=1),)
    return request(client_id, price, purpose=Purpose.TAKE_PROFIT, post_only=False, qty_lots=qty_lots, covers=cover)


def stop(client_id: str, price: int, qty_lots: int = 10) -> Any:
    """A stop of the LONG leg that says which lot it is for."""
    cover = (Cover(lot_id=1, qty_lots=qty_lots, level=1, generation=1),)
    return request(
        client_id,
        price,
        purpose=Purpose.STOP,
        kind=Kind.STOP_MARKET,
        post_only=False,
        qty_lots=qty_lots,
        covers=cover,
    )


def holding(*prices: int, refuse: bool) -> Walked:
    """An account that holds ten lots of LONG, on a market that goes on with ``prices``."""
    world = Walked(1_000, 980, *prices, linked=False, refuse=refuse)
    world.bar()
    world.place(request("a.1LE1.1", 990))
    world.bar()
    assert [position.qty_lots for position in world.exchange.books[0].positions()] == [10]
    world.told.clear()
    return world


def said(world: Walked) -> list[tuple[str, OrderEventKind, EndReason, int]]:
    """What was said since."""
    return [(event.client_id, event.kind, event.reason, event.qty_lots) for event in world.told]


@pytest.mark.parametrize("refuse", [True, False])
def test_a_filled_exit_touches_no_other(refuse: bool) -> None:
    """The take-profit closes the position; the stop of the same lot rests on, and is refused when it triggers."""
    world = holding(1_010, 960, refuse=refuse)
    world.place(profit("a.1LT1.2", 1_000))
    world.place(stop("a.1LS1.3", 970))
    world.bar()
    assert [fill.client_id for fill in world.exchange.fills] == ["a.1LE1.1", "a.1LT1.2"]
    assert world.exchange.fills[-1].covers == ()
    assert [order.client_id for order in world.exchange.books[0].open_orders(conditional=True)] == ["a.1LS1.3"]
    world.told.clear()
    world.bar()
    assert said(world) == [("a.1LS1.3", OrderEventKind.REJECTED, EndReason.REDUCE_REFUSED, 0)]
    assert len(world.exchange.fills) == 2
    assert list(world.exchange.books[0].positions()) == []


def test_more_than_the_position_is_refused_whole_where_that_is_so() -> None:
    """A stop for ten lots meets four: nothing is closed."""
    world = holding(1_010, 960, refuse=True)
    world.place(profit("a.1LT1.2", 1_000, 6))
    world.place(stop("a.1LS1.3", 970))
    world.bar()
    world.told.clear()
    world.bar()
    assert said(world) == [("a.1LS1.3", OrderEventKind.REJECTED, EndReason.REDUCE_REFUSED, 0)]
    assert [position.qty_lots for position in world.exchange.books[0].positions()] == [4]


def test_more_than_the_position_is_capped_where_that_is_so() -> None:
    """A stop for ten lots meets four: it closes them, says what is left, and ends."""
    world = holding(1_010, 960, refuse=False)
    world.place(profit("a.1LT1.2", 1_000, 6))
    world.place(stop("a.1LS1.3", 970))
    world.bar()
    world.told.clear()
    world.bar()
    assert said(world) == [
        ("a.1LS1.3", OrderEventKind.FILLED, EndReason.NONE, 6),
        ("a.1LS1.3", OrderEventKind.CANCELLED, EndReason.REDUCE_REFUSED, 0),
    ]
    assert world.exchange.fills[-1].qty_lots == 4
    assert list(world.exchange.books[0].positions()) == []
    assert world.exchange.books[0].open_orders(conditional=True) == ()


@pytest.mark.parametrize(("refuse", "kind"), [(True, OrderEventKind.REJECTED), (False, OrderEventKind.ACCEPTED)])
def test_a_limit_above_the_position_is_refused_when_placed(refuse: bool, kind: OrderEventKind) -> None:
    """Only where the exchange refuses; a conditional order is judged when it triggers, in both."""
    world = holding(1_010, refuse=refuse)
    assert world.place(profit("a.1LT1.2", 1_000, 11)).kind is kind
    assert world.place(stop("a.1LS1.3", 970, 11)).kind is OrderEventKind.ACCEPTED


def test_linked_books_are_as_ever() -> None:
    """With links the same orders end each other, and nothing is ever too much."""
    world = Walked(1_000, 980, 1_010, 960)
    world.bar()
    world.place(request("a.1LE1.1", 990))
    world.bar()
    world.place(profit("a.1LT1.2", 1_000))
    world.place(stop("a.1LS1.3", 970))
    world.told.clear()
    world.bar()
    assert said(world)[-1] == ("a.1LS1.3", OrderEventKind.CANCELLED, EndReason.OTHER_EXIT, 0)
    assert world.exchange.books[0].accounts[Leg.LONG].qty_lots == 0
