"""A stop that was to leave and was never asked to: it is one of its leg's stops again, with its place and its lots."""

import attrs
import pytest

from hedgegrid.core import exit_race, exits, stop_laying
from hedgegrid.core.codes import FREE, LONG, SHORT, STOP
from hedgegrid.core.exit_book import ExitBook, ExitOrder
from hedgegrid.core.records import GridState, Lot, StopOrder
from hedgegrid.model.order import Cover

NO, OTHER = 7, 9
NOW_NS = 1_000


def lot(lot_id: int, leg: int = LONG, stop_no: int = 0, state: int = exits.OPEN) -> Lot:
    """An open lot of ten."""
    return Lot(state=state, lot_id=lot_id, leg=leg, qty_lots=10, stop_no=stop_no)


@attrs.define
class Scene:
    """A leg whose stop of two lots was to be replaced; neither lot has another yet."""

    leg: int = LONG
    book: ExitBook = attrs.field(factory=ExitBook)
    state: GridState = attrs.field(factory=lambda: GridState(settled=1))
    lots: list[Lot] = attrs.field(factory=list)
    stops: list[StopOrder] = attrs.field(factory=lambda: [StopOrder(), StopOrder()])

    def __attrs_post_init__(self) -> None:
        """Let it be asked to leave, as far as the strategy knows."""
        covers = tuple(Cover(lot_id=each, qty_lots=10, level=1, generation=1) for each in (1, 2))
        self.book.orders[NO] = ExitOrder(
            no=NO, leg=self.leg, purpose=STOP, price_ticks=95, qty_lots=20, covers=covers, sent_ns=1, acknowledged=True
        )
        self.book.leave(NO, NOW_NS)
        self.lots = [lot(1, self.leg), lot(2, self.leg)]

    def keep(self, no: int = NO) -> None:
        """Let our gate have kept it."""
        exit_race.keep(self.book, self.state, self.lots, self.stops, no)

    def of_lots(self) -> list[int]:
        """Which stop each lot has."""
        return [one.stop_no for one in self.lots]


@pytest.mark.parametrize("leg", [LONG, SHORT])
def test_it_stands_again_for_its_lots_at_its_price(leg: int) -> None:
    """In one row, the first that is free; the leg is laid anew, and it counts as never asked to go."""
    scene = Scene(leg)
    scene.stops[0] = StopOrder(state=stop_laying.STANDING, no=OTHER, leg=leg, price_ticks=90)
    scene.stops += [StopOrder()]
    scene.keep()
    rows = [(row.no, row.leg, row.price_ticks) for row in scene.stops if row.state == stop_laying.STANDING]
    assert rows == [(OTHER, leg, 90), (NO, leg, 95)]
    assert scene.of_lots() == [NO, NO]
    order = scene.book.orders[NO]
    assert (order.leaving_ns, order.cancels) == (0, 0)
    assert exit_race.next_cancel_ns(scene.book, 1, 1) == 0, "nobody asks for its cancel again"
    assert (scene.state.dirty_long, scene.state.dirty_short) == (int(leg == LONG), int(leg == SHORT))
    assert scene.state.settled == 0


def test_only_its_own_lots_that_are_open_and_bare_come_back_to_it() -> None:
    """Not the other leg's lot of that number, nor what it never covered, has closed, or has another stop."""
    scene = Scene()
    scene.lots = [lot(1), lot(1, SHORT), lot(2, stop_no=OTHER), lot(2, state=FREE), lot(3)]
    scene.keep()
    assert scene.of_lots() == [NO, 0, OTHER, 0, 0]


def test_where_no_row_is_free_it_goes_on_leaving_and_covers_its_lots_meanwhile() -> None:
    """A full table leaves the row to the next look: its cancel is due as before, and what stands is not overwritten."""
    scene = Scene()
    scene.stops = [StopOrder(state=stop_laying.STANDING, no=OTHER, leg=SHORT, price_ticks=110)]
    scene.keep()
    (row,) = scene.stops
    assert (row.no, row.leg, row.price_ticks) == (OTHER, SHORT, 110)
    assert scene.book.orders[NO].leaving_ns == NOW_NS
    assert scene.of_lots() == [NO, NO]


def test_what_stays_anyway_or_is_gone_is_left_alone() -> None:
    """A stop that nobody asked to leave has its row already; of one that has ended there is nothing to keep."""
    scene = Scene()
    scene.book.orders[NO].leaving_ns = 0
    scene.keep()
    scene.keep(OTHER)
    assert all(row.state == FREE for row in scene.stops)
    assert (scene.of_lots(), scene.book.orders[NO].cancels, scene.state.dirty_long) == ([0, 0], 1, 0)
