"""Fills, lots and legs as the journal follows them, in the orders of events that hurt."""

from pathlib import Path

import attrs
import pytest

from hedgegrid.journal.journal import SqliteJournal
from hedgegrid.journal.positions import OVERLAP_FILLS
from hedgegrid.journal.verify import verify
from hedgegrid.messages.events import ExecutionBatch, OrderEvent, OrderEventKind
from hedgegrid.model.order import Cover, Fill, Leg, OrderRequest, Purpose
from tests.journal.life import BTC, ETH, Life, opened
from tests.journal.test_orders import approve, say

LONG, SHORT = Leg.LONG, Leg.SHORT


def entered(journal: SqliteJournal, life: Life, qty_lots: int, leg: Leg = LONG) -> Fill:
    """Have an entry approved and filled; nobody tells of its lot yet."""
    request = life.request(BTC, leg, Purpose.ENTRY, 10_000, qty_lots)
    approve(journal, life, request)
    return filled(journal, life, request, qty_lots)


def exited(journal: SqliteJournal, life: Life, qty_lots: int, *covers: Cover, leg: Leg = LONG) -> Fill:
    """Have a market reduction approved and filled, with a fill that says nothing of lots, as a real exchange's."""
    request = life.request(BTC, leg, Purpose.FLATTEN, 10_100, qty_lots, covers)
    approve(journal, life, request)
    life.lots.setdefault((BTC, leg), {}).update({cover.lot_id: 10**6 for cover in covers})
    return filled(journal, life, request, qty_lots)


def filled(journal: SqliteJournal, life: Life, request: OrderRequest, qty_lots: int) -> Fill:
    """Fill an order and append that."""
    if request.purpose is not Purpose.ENTRY and not request.covers:
        life.lots.setdefault((BTC, request.leg), {})[0] = 10**6
        life.working[request.client_id].request = attrs.evolve(request, covers=(Cover(lot_id=0, qty_lots=qty_lots),))
    event = life.fill(life.working[request.client_id], qty_lots)
    assert event.fill is not None
    fill = attrs.evolve(event.fill, covers=())
    say(journal, life, attrs.evolve(event, fill=fill))
    return fill


def held(journal: SqliteJournal) -> dict[tuple[str, Leg], int]:
    """Give the positions."""
    return {(leg.position.instrument, leg.position.leg): leg.position.qty_lots for leg in journal.legs()}


def lots(journal: SqliteJournal) -> dict[int, int]:
    """Give the open lots of BTC."""
    return {lot.lot_id: lot.qty_lots for lot in journal.open_lots(BTC)}


def close_and_verify(journal: SqliteJournal) -> None:
    """Close, and have the journal proved."""
    journal.close("done")
    report = verify(journal.path)
    assert report.ok, report.text()


def test_an_exit_closes_what_its_order_covers(tmp_path: Path) -> None:
    """A real exchange knows no lots: the order's own covers say which ones it closes, part by part."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    for qty_lots in (5, 5, 5):
        journal.append(life.lot(entered(journal, life, qty_lots)))
    exited(journal, life, 7, Cover(lot_id=3, qty_lots=5), Cover(lot_id=1, qty_lots=2))
    assert lots(journal) == {1: 3, 2: 5}
    assert held(journal) == {(BTC, LONG): 8}
    close_and_verify(journal)


def test_an_exit_without_covers_closes_the_oldest(tmp_path: Path) -> None:
    """A flatten, a backstop or a manual order closes something: lots and position must still agree."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    for qty_lots in (5, 5):
        journal.append(life.lot(entered(journal, life, qty_lots)))
    exited(journal, life, 7)
    assert lots(journal) == {2: 3}
    close_and_verify(journal)


def test_a_kill_between_a_fill_and_its_lot_loses_nothing(tmp_path: Path) -> None:
    """The strategy that takes over is told of the entries that became no lot, with the distances of their order."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    journal.append(life.lot(entered(journal, life, 4)))
    fill = entered(journal, life, 6)
    journal.close("killed", clean=False)
    again = opened(tmp_path / "a.db")
    (entry,) = again.unbooked_entries(BTC)
    assert (entry.trade_id, entry.leg, entry.price_ticks, entry.qty_lots) == (fill.trade_id, LONG, 10_000, 6)
    assert (entry.tp_micro, entry.step_micro) == (15_000_000, 12_000_000)
    assert again.unbooked_entries(ETH) == ()
    again.append(life.lot(fill))
    assert again.unbooked_entries(BTC) == ()
    assert lots(again) == {1: 4, 2: 6}
    close_and_verify(again)


def test_an_entry_that_was_closed_before_its_lot_was_told(tmp_path: Path) -> None:
    """A fill and a stop in one instant: the lot that is told afterwards is born as small as the position is."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    fill = entered(journal, life, 6)
    exited(journal, life, 4)
    assert [entry.qty_lots for entry in journal.unbooked_entries(BTC)] == [2]
    journal.append(life.lot(fill))
    assert lots(journal) == {1: 2}
    assert held(journal) == {(BTC, LONG): 2}
    close_and_verify(journal)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_restarted_strategy_tells_the_rest_of_a_closed_entry(tmp_path: Path, *, restarted: bool) -> None:
    """After a restart of the strategy alone, or of everything, the lot is told net of what had closed it."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    fill = entered(journal, life, 6)
    exited(journal, life, 4)
    if restarted:
        journal.close("killed", clean=False)
        journal = opened(tmp_path / "a.db")
    (entry,) = journal.unbooked_entries(BTC)
    journal.append(life.lot(attrs.evolve(fill, qty_lots=entry.qty_lots)))
    assert lots(journal) == {1: 2}
    assert journal.unbooked_entries(BTC) == ()
    close_and_verify(journal)


def test_what_was_gone_before_a_restart_stays_gone(tmp_path: Path) -> None:
    """A strategy that tells the whole lot after a restart, though part of it is closed, is found out."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    fill = entered(journal, life, 6)
    exited(journal, life, 4)
    journal.close("killed", clean=False)
    again = opened(tmp_path / "a.db")
    again.append(life.lot(fill))
    assert lots(again) == {1: 6}
    again.close("done")
    failed = [check.name for check in verify(tmp_path / "a.db").checks if not check.ok]
    assert failed == ["open lots add up to the positions (lots)"]


def test_an_entry_that_is_gone_whole_is_no_lot_of_the_next_boot(tmp_path: Path) -> None:
    """Nothing is left of it, so nobody may be told to give it exits."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    entered(journal, life, 6)
    exited(journal, life, 6)
    journal.close("killed", clean=False)
    again = opened(tmp_path / "a.db")
    assert again.unbooked_entries(BTC) == ()
    assert held(again) == {(BTC, LONG): 0}
    close_and_verify(again)


def test_a_liquidation_closes_every_lot_of_its_leg(tmp_path: Path) -> None:
    """The exchange closes what it likes, without an order of ours: lots, legs and money follow."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    for qty_lots, leg in ((5, LONG), (3, SHORT), (4, LONG)):
        journal.append(life.lot(entered(journal, life, qty_lots, leg)))
    unbooked = entered(journal, life, 2, SHORT)
    for message in life.liquidate(9_000):
        journal.append(message)
    assert lots(journal) == {}
    assert held(journal) == {(BTC, LONG): 0, (BTC, SHORT): 0}
    assert journal.totals().wallet_e8 == life.wallet_e8
    journal.append(life.lot(unbooked))
    assert lots(journal) == {}
    close_and_verify(journal)


def test_both_legs_may_have_a_lot_of_one_number(tmp_path: Path) -> None:
    """Our own legs can match each other: one trade id then opens a lot on each."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    first = entered(journal, life, 5, LONG)
    life.trade_id -= 1
    second = entered(journal, life, 5, SHORT)
    assert first.trade_id == second.trade_id
    for fill in (first, second):
        journal.append(life.lot(fill))
    assert [(lot.leg, lot.lot_id, lot.qty_lots) for lot in journal.open_lots(BTC)] == [(LONG, 1, 5), (SHORT, 1, 5)]
    close_and_verify(journal)


def test_repeated_fills_settlements_and_lots_change_nothing(tmp_path: Path) -> None:
    """Law 6: streams repeat themselves after a gap; what was counted is not counted again, in the next boot either."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    fill = entered(journal, life, 5)
    repeated = [
        ExecutionBatch(
            **life.head(),
            instrument=BTC,
            mark_ticks=1,
            events=(OrderEvent(kind=OrderEventKind.FILLED, client_id=fill.client_id, fill=fill),),
        ),
        life.lot(fill),
        life.settle(BTC, 10_000),
    ]
    for message in repeated[1:]:
        journal.append(message)
    before = (journal.totals(), journal.legs(), journal.open_lots(BTC))
    for message in repeated:
        journal.append(message)
    assert (journal.totals(), journal.legs(), journal.open_lots(BTC)) == before
    journal.close("killed", clean=False)
    again = opened(tmp_path / "a.db")
    for message in repeated:
        again.append(message)
    assert (again.totals(), again.legs(), again.open_lots(BTC)) == before
    counts = again.counts()
    assert (counts["duplicate_fills"], counts["duplicate_funding"], counts["incidents"]) == (2, 2, 2)
    close_and_verify(again)


def test_fills_may_come_in_any_order(tmp_path: Path) -> None:
    """A fill with a smaller trade id may arrive after a greater one: both count, once."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    life.trade_id = 10
    late = entered(journal, life, 5)
    life.trade_id = 5
    early = entered(journal, life, 4)
    for fill in (late, early):
        journal.append(life.lot(fill))
    assert lots(journal) == {11: 5, 6: 4}
    assert (journal.fill_cursors(), journal.lot_counter(BTC)) == ({BTC: 11}, 11)
    assert "duplicate_fills" not in journal.counts()
    close_and_verify(journal)


def test_what_does_not_add_up_is_noted_and_found(tmp_path: Path) -> None:
    """A fill beyond the position, or a lot without an entry, is not swallowed: an incident tells, and verify fails."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    fill = entered(journal, life, 5)
    journal.append(life.lot(fill))
    journal.append(attrs.evolve(life.lot(fill), lot_id=99))
    journal.append(life.sample())
    journal.close("done")
    texts = [text for (text,) in incidents(tmp_path / "a.db")]
    assert texts == ["a lot was told without an entry that filled"]
    failed = [check.name for check in verify(tmp_path / "a.db").checks if not check.ok]
    assert failed == ["open lots add up to the positions (lots)"]


def incidents(path: Path) -> list[tuple[str]]:
    """Give the texts of the incidents that the journal noted itself."""
    journal = opened(path)
    found: list[tuple[str]] = journal._archive.execute("SELECT text FROM incidents WHERE kind = 'journal'").fetchall()
    journal.close("done")
    return found


def test_cursors_lag_so_that_a_late_fill_is_read_again(tmp_path: Path) -> None:
    """Few fills: everything since the books began; many: from some before the newest, all of those above known."""
    journal, life = opened(tmp_path / "a.db"), Life(1)
    entered(journal, life, 1)
    assert journal.lagging_cursors() == {}
    known = {(one.instrument, one.trade_id, one.client_id) for one in (entered(journal, life, 1) for _ in range(300))}
    _assert_lags(journal, known)
    journal.close("done")
    again = opened(tmp_path / "a.db")
    _assert_lags(again, known)
    again.close("done")


def _assert_lags(journal: SqliteJournal, known: set[tuple[str, int, str]]) -> None:
    (cursor,) = journal.lagging_cursors().values()
    assert journal.fill_cursors()[BTC] - cursor == OVERLAP_FILLS
    assert {key for key in known if key[1] > cursor} <= journal.recent_fills()
    assert all(journal.has_fill(key) for key in known)
    assert not journal.has_fill((BTC, cursor + 1, "another"))
