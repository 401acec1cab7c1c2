"""The executor and what it reads: gaps, late fills, what is not ours, the wallet, the dead-man's switch.

Invariants: what is compared is the venue's truth, what risk was told, and what the journal holds.
"""

from collections import deque
from pathlib import Path

import attrs
import pytest

from hedgegrid.actors.hydration import READS_MAX
from hedgegrid.actors.post import EXECUTOR
from hedgegrid.core.countdown import Arming, CountdownRule
from hedgegrid.core.reconcile_views import EvidenceRule
from hedgegrid.core.records import GridParams
from hedgegrid.errors import Fatal, OutcomeUnknown, Transient
from hedgegrid.messages.commands import Rehydrate, StandDown
from hedgegrid.messages.events import (
    AccountHydrated,
    ExecutionBatch,
    ForeignSeen,
    Hydrated,
    Incident,
    OrderEventKind,
    StreamGap,
)
from hedgegrid.model.order import Cover, Leg, Purpose, Side
from hedgegrid.ports import LookUp
from tests.actors.desk import REAL, SECOND, Desk, covers, desk
from tests.actors.fake_venue import HANG, FakeTrading, open_order, said, told
from tests.journal.life import BTC

K = OrderEventKind
MANUAL = "web_1"


def gap(at: Desk) -> None:
    """The stream was lost for a moment."""
    at.post.send(StreamGap(**at.post.head(), why="reconnected"), EXECUTOR)


# --- gaps -----------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_a_gap_swallowed_is_found_and_told(tmp_path: Path) -> None:
    """A fill, an end and an acknowledgement that the stream lost: told once each, by a reading, with their rungs."""
    async with desk(tmp_path) as at:
        filled, ended, open_one = at.request(), at.request(level=2), at.request(level=3)
        at.approve(filled, ended, open_one)
        await at.wait(2)
        fill = at.venue.fill(filled.client_id, 10)
        at.venue.end(ended.client_id)
        gap(at)
        await at.wait(1)
        assert at.kinds(filled.client_id) == ["filled"]
        assert at.kinds(ended.client_id) == ["cancelled"]
        assert at.kinds(open_one.client_id) == ["accepted"]
        at.report(told(fill, 0))
        await at.rest()
        assert at.kinds(filled.client_id) == ["filled"], "the stream's late word changes nothing"
        assert at.reasons("stream_gap") == ["raised", "gone"]


@pytest.mark.asyncio
async def test_a_reading_like_the_last_one_is_followed_by_one_that_is_not(tmp_path: Path) -> None:
    """Polls that find nothing new are passed over quickly; a fill, an end and a stranger after them are found."""
    async with desk(tmp_path) as at:
        filled, ended = at.request(), at.request(level=2)
        await at.resting(filled, ended)
        await at.wait(65)
        at.venue.fill(filled.client_id, 4)
        await at.wait(21)
        assert at.kinds(filled.client_id)[-1] == "filled"
        await at.wait(41)
        at.venue.end(ended.client_id)
        await at.wait(21)
        assert at.kinds(ended.client_id)[-1] == "cancelled"
        await at.wait(41)
        at.venue.orders[MANUAL] = attrs.evolve(open_order(at.request(qty_lots=3)), client_id=MANUAL)
        await at.wait(21)
        assert [one.client_id for one in at.heard(ForeignSeen)[-1].orders] == [MANUAL]
        assert at.reasons("stream_gap") == []


@pytest.mark.asyncio
async def test_nothing_is_added_between_a_gap_and_a_reading_that_agrees(tmp_path: Path) -> None:
    """Law 3: entries that were approved before the pause are not sent either; reductions are."""
    async with desk(tmp_path) as at:
        await at.held()
        at.venue.faults["positions"] = deque([Transient("busy")] * 2)
        gap(at)
        await at.rest()
        entry, stop = at.request(level=2), at.request(Purpose.STOP)
        at.approve(entry, stop)
        await at.rest()
        assert at.kinds(entry.client_id) == ["rejected"]
        assert stop.client_id in at.venue.orders
        assert at.reasons("stream_gap") == ["raised"]
        await at.wait(4)
        assert at.reasons("stream_gap") == ["raised", "gone"]
        later = at.request(level=2)
        at.approve(later)
        await at.rest()
        assert later.client_id in at.venue.orders


@pytest.mark.asyncio
async def test_a_reading_from_before_the_gap_does_not_end_it(tmp_path: Path) -> None:
    """What was asked before the stream was lost knows nothing of what was lost: another reading has to agree."""
    async with desk(tmp_path) as at:
        await at.wait(19.9)

        def once() -> None:
            at.venue.hooks.clear()
            gap(at)

        at.venue.hooks["positions"] = once
        before = len(at.venue.called("positions"))
        await at.wait(0.2)
        assert len(at.venue.called("positions")) == before + 1
        assert at.reasons("stream_gap") == ["raised"]
        await at.wait(2)
        assert len(at.venue.called("positions")) >= before + 2
        assert at.reasons("stream_gap") == ["raised", "gone"]


@pytest.mark.asyncio
async def test_a_reading_between_two_fills_is_no_difference(tmp_path: Path) -> None:
    """Positions that lag are read again; nobody is paused for it, and nobody is told."""
    async with desk(tmp_path) as at:
        request = at.request()
        await at.resting(request)
        at.venue.off_lots[BTC, Leg.LONG] = -10
        at.report(told(at.venue.fill(request.client_id, 10), 0))
        await at.wait(20.5)
        at.venue.off_lots.clear()
        await at.wait(5)
        assert at.reasons("stream_gap") == []
        assert at.incidents() == []


@pytest.mark.asyncio
async def test_a_difference_that_stays_pauses_and_is_told_once(tmp_path: Path) -> None:
    """Several readings in a row that disagree: paused until one agrees, one incident with both figures."""
    async with desk(tmp_path) as at:
        await at.held()
        at.venue.off_lots[BTC, Leg.LONG] = -4
        await at.wait(60)
        assert at.reasons("stream_gap") == ["raised"]
        (incident,) = [one for one in at.published if isinstance(one, Incident)]
        assert "ours 10 theirs 6" in incident.figures["differences"]
        at.venue.off_lots.clear()
        await at.wait(10)
        assert at.reasons("stream_gap") == ["raised", "gone"]


@pytest.mark.asyncio
async def test_a_start_that_never_agrees_fails(tmp_path: Path) -> None:
    """Law 3: nothing is sent on an account that nobody understands; an exchange that never comes back is no better."""
    async with desk(tmp_path) as at:
        await at.held()
        venue = at.venue
    for way, why, after_s in (("off", "disagree after 10 reads", 30), ("down", "cannot be read", 1_500)):
        venue.off_lots = {(BTC, Leg.LONG): -1} if way == "off" else {}
        venue.faults["positions"] = deque([Transient("busy")] * 1_000 if way == "down" else [])
        async with desk(tmp_path, venue=venue, started=False) as again:
            with pytest.raises(Fatal, match=why):
                await again.wait(after_s)
            assert again.executor.progress > READS_MAX, "a start that waits for the exchange does not hang"


@pytest.mark.asyncio
async def test_a_start_waits_for_an_exchange_that_is_down(tmp_path: Path) -> None:
    """Minutes of maintenance end no start, nor the run whose executor was restarted in them; a ban is sat out."""
    async with desk(tmp_path) as at:
        await at.held()
        venue = at.venue
    venue.faults["positions"] = deque([Transient("maintenance")] * 4 * READS_MAX)
    async with desk(tmp_path, venue=venue, started=False) as again:
        await again.wait(400)
        assert not venue.faults["positions"]
        await again.resting(again.request())
    banned = Transient("418")
    banned.until_ns = venue.clock.now_ns() + 100 * SECOND
    venue.faults["positions"] = deque([banned])
    before = len(venue.called("positions"))
    async with desk(tmp_path, venue=venue, started=False) as again:
        await again.wait(99)
        assert len(venue.called("positions")) == before + 1
        await again.wait(2)
        assert len(venue.called("positions")) > before + 1


@pytest.mark.asyncio
async def test_a_liquidation_that_was_read_calls_for_a_person(tmp_path: Path) -> None:
    """Its word was lost: what a reading finds of it pauses until a person has looked, as the stream's word would."""
    async with desk(tmp_path) as at:
        request = at.request()
        await at.resting(request)
        at.report(told(at.venue.fill(request.client_id, 10), 0))
        await at.rest()
        at.venue.trade(Leg.LONG, Side.SELL, 10, "autoclose-1", purpose=Purpose.LIQUIDATION)
        gap(at)
        await at.wait(10)
        assert at.reasons("margin") == ["raised"]


@pytest.mark.asyncio
async def test_duplicates_and_orphans_are_cancelled(tmp_path: Path) -> None:
    """A second entry on a rung and an exit of nothing go, whoever left them there; the oldest entry stays."""
    async with desk(tmp_path) as at:
        first = at.request()
        await at.resting(first)
        second = at.request(decided_ns=first.decided_ns + 5)
        orphan = at.request(Purpose.TAKE_PROFIT)
        for one in (second, orphan):
            at.venue.orders[one.client_id] = open_order(one)
        gap(at)
        await at.wait(10)
        assert list(at.venue.orders) == [first.client_id]
        assert at.kinds(first.client_id) == ["accepted"]


# --- fills ----------------------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_fill_below_the_cursor_is_found_over_a_restart(tmp_path: Path) -> None:
    """Trade 20 came, trade 10 was lost: the cursor must not hide it, and neither is booked twice."""
    async with desk(tmp_path) as at:
        request = at.request()
        await at.resting(request)
        lost = at.venue.fill(request.client_id, 4)
        heard = at.venue.fill(request.client_id, 6)
        at.report(told(heard, 4))
        await at.rest()
        at.venue.hidden_fills.add(lost.trade_id)
        venue = at.venue
    venue.hidden_fills.clear()
    async with desk(tmp_path, venue=venue) as again:
        (leg,) = again.journal.legs()
        assert leg.position.qty_lots == 10
        again.report(told(lost, 0), told(heard, 0))
        await again.rest()
        assert [one for one in again.events() if one.fill is not None] == [], "both are in the books"
        (leg,) = again.journal.legs()
        assert leg.position.qty_lots == 10


@pytest.mark.asyncio
@pytest.mark.parametrize("told_first", ["closing", "entry"])
async def test_a_forced_close_that_is_told_before_its_entry_waits_for_it(told_first: str, tmp_path: Path) -> None:
    """Whatever comes first: the entry is booked before what closes it, both once, and nothing is held."""
    async with desk(tmp_path) as at:
        request = at.request(qty_lots=10)
        await at.resting(request)
        entry = at.venue.fill(request.client_id, 10)
        closing = at.venue.trade(Leg.LONG, Side.SELL, 10, "autoclose-1", purpose=Purpose.LIQUIDATION)
        for fill in (closing, entry) if told_first == "closing" else (entry, closing):
            at.report(told(fill, 0))
            await at.rest()
        await at.wait(25)
        assert [one.client_id for one in at.events() if one.fill is not None] == [request.client_id, "autoclose-1"]
        assert [leg.position.qty_lots for leg in at.journal.legs()] == [0]
        assert at.reasons("stream_gap") == []
        assert at.reasons("margin") == ["raised"], "a person is called, whoever told of it"


@pytest.mark.asyncio
async def test_fills_close_the_lots_that_their_order_covers(tmp_path: Path) -> None:
    """Partial fills of a merged exit share its lots out: no lot twice, none beyond its part, in the order's order."""
    async with desk(tmp_path) as at:
        await at.held()
        stop = at.request(Purpose.STOP, covers=covers((10, 4), (20, 6)))
        await at.resting(stop)
        for lots, left in ((3, 7), (3, 4), (4, 0)):
            at.report(told(at.venue.fill(stop.client_id, lots), left))
        await at.rest()
        parts = [one.fill.covers for one in at.events() if one.fill is not None and one.client_id == stop.client_id]
        assert parts == [covers((10, 3)), covers((10, 1), (20, 2)), covers((20, 4))]


@pytest.mark.asyncio
@pytest.mark.parametrize("read", [False, True], ids=["by the stream", "by a reading"])
async def test_a_fill_of_a_forgotten_order_is_explained_by_the_journal(read: bool, tmp_path: Path) -> None:
    """After a restart an order that had ended is in no table: its late fill still knows its rung and its lots."""
    async with desk(tmp_path) as at:
        await at.held()
        exit_ = at.request(Purpose.TAKE_PROFIT, covers=covers((10, 10)), generation=7)
        await at.resting(exit_)
        at.report(said(K.CANCELLED, exit_.client_id))
        await at.rest()
        venue = at.venue
    fill = venue.fill(exit_.client_id, 10)
    if not read:
        venue.held[BTC, Leg.LONG] += 10
        venue.hidden_fills.add(fill.trade_id)
    async with desk(tmp_path, venue=venue) as again:
        if not read:
            again.report(told(fill, 0))
        await again.rest()
        batches = [one for one in again.published if isinstance(one, ExecutionBatch)]
        (found,) = [event.fill for batch in batches for event in batch.events if event.fill is not None]
        assert (found.level, found.generation) == (1, 7)
        assert found.covers == (Cover(lot_id=10, qty_lots=10),)


# --- what is not ours -----------------------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_what_is_not_ours_is_counted_told_once_and_left_alone(tmp_path: Path) -> None:
    """Orders and positions of others: to risk with their figures, one incident, no cancel; over a restart too."""
    async with desk(tmp_path) as at:
        await at.held()
        fill = at.venue.trade(Leg.SHORT, Side.SELL, 7, MANUAL)
        order = attrs.evolve(open_order(at.request(qty_lots=3)), client_id=MANUAL)
        at.venue.orders[MANUAL] = order
        at.report(told(fill, 0))
        await at.wait(1)
        (seen,) = at.heard(ForeignSeen)
        assert [(one.leg, one.qty_lots) for one in seen.positions] == [(Leg.SHORT, 7)]
        assert [one.client_id for one in seen.orders] == [MANUAL]
        assert [one for one in at.events() if one.client_id == MANUAL] == [], "a foreign fill is none of ours"
        await at.wait(60)
        assert len(at.incidents()) == 1
        assert at.venue.called("cancel") == []
        venue = at.venue
    async with desk(tmp_path, venue=venue) as again:
        again.post.send(Rehydrate(**again.post.head(), instrument="", why="risk started"), EXECUTOR)
        await again.rest()
        (seen,) = again.heard(ForeignSeen)
        assert [(one.leg, one.qty_lots) for one in seen.positions] == [(Leg.SHORT, 7)]
        words = {one.instrument: one for one in again.heard(Hydrated)}
        assert [(one.leg, one.qty_lots) for one in words[BTC].positions] == [(Leg.LONG, 10)], "ours alone"
        (done,) = again.heard(AccountHydrated)
        assert done.foreign_orders == 1
        await again.wait(25)
        assert again.incidents() == []
        venue.trade(Leg.SHORT, Side.BUY, 7, MANUAL)
        venue.end(MANUAL)
        await again.wait(25)
        assert again.heard(ForeignSeen)[-1].positions == ()
        assert again.reasons("stream_gap") == []


@pytest.mark.asyncio
async def test_foreign_orders_are_cancelled_where_the_settings_say_so(tmp_path: Path) -> None:
    """``adopt_foreign``: what rests under another name goes."""
    async with desk(tmp_path, attrs.evolve(REAL, adopting={BTC: GridParams(unit_e8=1, step_ppm=1_000)})) as at:
        at.venue.orders[MANUAL] = attrs.evolve(open_order(at.request()), client_id=MANUAL)
        await at.wait(21)
        assert at.venue.called("cancel") == [(BTC, (MANUAL,))]


@pytest.mark.asyncio
async def test_a_first_boot_takes_what_is_there_for_foreign(tmp_path: Path) -> None:
    """An account that others have used before: nothing of it is ours, and it agrees."""
    async with desk(tmp_path) as at:
        path, clock = tmp_path / "second", at.clock
    path.mkdir()
    venue = FakeTrading(clock)
    venue.held[BTC, Leg.LONG] = 5
    async with desk(path, venue=venue) as again:
        (seen,) = [one for one in again.published if isinstance(one, ForeignSeen)]
        assert [(one.leg, one.qty_lots) for one in seen.positions] == [(Leg.LONG, 5)]


# --- the dead-man's switch ------------------------------------------------------------------------------------------

COUNTDOWN = CountdownRule(countdown_ms=120_000, strips_stops=True, arming=Arming.WHEN_SAFE)
SWITCHED = attrs.evolve(REAL, countdown=COUNTDOWN)


def countdowns(at: Desk) -> list[int]:
    """What was asked for BTC, in ms."""
    return [asked[1] for asked in at.venue.called("countdown") if asked[0] == BTC]  # type: ignore[index]


@pytest.mark.asyncio
async def test_the_switch_is_refreshed_while_flat_and_off_while_something_is_held(tmp_path: Path) -> None:
    """Every quarter of the countdown while flat; a fill takes it off at once; flat again arms it again."""
    async with desk(tmp_path, SWITCHED) as at:
        await at.wait(61)
        assert countdowns(at) == [120_000] * 3
        await at.held()
        assert countdowns(at)[3:] == [0]
        exit_ = at.request(Purpose.TAKE_PROFIT)
        await at.resting(exit_)
        await at.wait(31)
        assert countdowns(at)[4:] == []
        at.report(told(at.venue.fill(exit_.client_id, 10), 0))
        await at.wait(31)
        assert countdowns(at)[4:5] == [120_000]


@pytest.mark.asyncio
async def test_a_switch_that_was_left_armed_is_taken_off_at_a_start(tmp_path: Path) -> None:
    """The last life may have armed it and died: with a position it must not fire, and it is asked until it is off."""
    async with desk(tmp_path) as at:
        await at.held()
        venue = at.venue
    venue.faults["countdown"] = deque([Transient("busy"), OutcomeUnknown("lost"), None])
    async with desk(tmp_path, SWITCHED, venue=venue) as again:
        await again.wait(10)
        assert set(countdowns(again)) == {0}
        assert len(countdowns(again)) >= 2
        assert BTC not in again.executor._switch.armed


@pytest.mark.asyncio
async def test_an_executor_that_cannot_read_lets_the_switch_run_out(tmp_path: Path) -> None:
    """Armed implies refreshed by a healthy executor: one that is deaf or blind does not refresh."""
    async with desk(tmp_path, SWITCHED) as at:
        await at.wait(19)
        before = len(countdowns(at))
        at.venue.faults["positions"] = deque([Transient("busy")] * 100)
        await at.wait(100)
        assert len(countdowns(at)) == before
        at.venue.faults["positions"].clear()
        await at.wait(60)
        assert len(countdowns(at)) > before


@pytest.mark.asyncio
async def test_a_lost_refresh_may_arrive_after_the_switch_was_taken_off(tmp_path: Path) -> None:
    """Off counts only once no older request can turn it on again: it is asked for once more after that."""
    async with desk(tmp_path, SWITCHED) as at:
        await at.wait(29)
        at.venue.faults["countdown"] = deque([OutcomeUnknown("lost"), OutcomeUnknown("lost")])
        await at.wait(1.5)
        before = len(countdowns(at))
        await at.held()
        assert countdowns(at)[before:] == [0]
        await at.wait(4)
        assert countdowns(at)[before:] == [0, 0]
        await at.wait(60)
        assert countdowns(at)[before:] == [0, 0]


@pytest.mark.asyncio
async def test_a_clean_stop_takes_the_switch_off(tmp_path: Path) -> None:
    """What the run keeps must outlive it; a refresh that hangs does not keep it on."""
    async with desk(tmp_path, SWITCHED) as at:
        await at.wait(29)
        at.venue.faults["countdown"] = deque([HANG, HANG])
        await at.wait(2)
        at.post.send(StandDown(**at.post.head()), EXECUTOR)
        await at.wait(15)
        assert countdowns(at)[-1] == 0
        assert at.executor._switch.armed == ()


@pytest.mark.asyncio
async def test_the_evidence_waits_for_the_validity_of_a_request(tmp_path: Path) -> None:
    """Each part of the rule counts: without the wait an order would be buried that may still arrive."""
    found: dict[int, str] = {}
    for validity_s in (0, 30):
        rule = EvidenceRule(validity_ns=validity_s * SECOND, absences_min=2, interval_ns=SECOND, needs_look=True)
        folder = tmp_path / str(validity_s)
        folder.mkdir()
        async with desk(folder, attrs.evolve(REAL, evidence=rule)) as at:
            request = at.request()
            at.venue.faults["place"] = deque([OutcomeUnknown("lost")])
            at.venue.looks[request.client_id] = LookUp.ABSENT
            at.approve(request)
            await at.wait(20)
            found[validity_s] = at.state(request.client_id)
    assert found == {0: "cancelled", 30: "unknown"}
