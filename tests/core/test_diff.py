"""Desired against working: what is kept, cancelled and added, in which order, and the retries of post-only entries."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import actions, diff, grid
from hedgegrid.core.actions import CANCEL, PLACE, RETRY_AT
from hedgegrid.core.codes import ENTRY, FREE, LONG, SHORT
from hedgegrid.core.diff import CANCELLING, RETRYING, WORKING
from hedgegrid.core.records import Action, Counter, EntryOrder, GridState, Indicators, Rung, table
from tests.core import made

MID = 10_000
STEP = 50


class Ladder:
    """Rungs of 10 lots at 9,950 9,900 9,850 and 10,050 10,100 10,150, and what works on them."""

    def __init__(self, **changes: Any) -> None:
        """Everything is wanted, nothing works."""
        self.params = made.params(**changes)
        self.state = GridState(mid_ticks=MID, may_add=1, next_order_no=1)
        self.rungs = table(Rung, 6)
        self.entries = table(EntryOrder, 12)
        self.out, self.used = table(Action, 24), Counter()
        self.recenter()

    def recenter(self) -> None:
        """Begin a generation at the mid that wants everything."""
        grid.recenter(self.params, self.state, Indicators(), self.rungs)
        self.want(10)

    def want(self, lots: int) -> None:
        """Want this quantity on every rung."""
        grid.build(self.params, self.state, self.rungs)
        for rung in self.rungs:
            rung.qty_lots = lots

    def sent(self) -> list[Action]:
        """What was asked for since the last time."""
        count, self.used.n = self.used.n, 0
        rows = self.out[:count]
        self.out = [*self.out[count:], *table(Action, count)]
        return rows

    def decide(self) -> list[tuple[int, int, int, int, int]]:
        """Compare; give kind, leg, level, price and quantity of each action in order of sending."""
        diff.apply(self.params, self.state, self.rungs, self.entries, self.out, self.used)
        return [(a.kind, a.leg, a.level, a.price_ticks, a.qty_lots) for a in self.sent()]

    def entry(self, leg: int = LONG, level: int = 1) -> EntryOrder:
        """The entry that works on a rung."""
        return self.entries[self.rungs[grid.rung_index(self.params, leg, level)].slot]

    def reject(self, ts_ns: int = 0) -> None:
        """The nearest LONG entry would have taken."""
        no = self.entry().no
        diff.on_post_only_rejected(self.params, self.state, self.rungs, self.entries, no, ts_ns, self.out, self.used)

    def wake(self, ts_ns: int) -> list[Action]:
        """The time of a retry."""
        diff.on_wake(self.params, self.state, self.rungs, self.entries, ts_ns, self.out, self.used)
        return self.sent()

    def confirm(self, no: int) -> list[Action]:
        """The venue says that a cancel is done, or found nothing."""
        diff.on_cancelled(self.params, self.state, self.rungs, self.entries, no, self.out, self.used)
        return self.sent()


def test_a_whole_ladder_is_added_nearest_first() -> None:
    """Ties in order of sending: distance from the mid, then LONG, then level; every order has a number of its own."""
    ladder = Ladder()
    expected = []
    for level in (1, 2, 3):
        expected.append((PLACE, LONG, level, MID - level * STEP, 10))
        expected.append((PLACE, SHORT, level, MID + level * STEP, 10))
    assert ladder.decide() == expected
    assert sorted(entry.no for entry in ladder.entries if entry.state == WORKING) == [1, 2, 3, 4, 5, 6]
    assert ladder.decide() == [], "what works within tolerance is kept"


def test_cancels_go_before_adds() -> None:
    """A new generation cancels every old entry first, nearest first, and does not wait for it to add its own."""
    ladder = Ladder()
    ladder.decide()
    ladder.state.mid_ticks = MID + 200
    ladder.recenter()
    rows = ladder.decide()
    kinds = [row[0] for row in rows]
    assert kinds == [CANCEL] * 6 + [PLACE] * 6
    distances = [abs(row[3] - MID - 200) for row in rows]
    assert distances == sorted(distances[:6]) + sorted(distances[6:])
    assert [row[1] for row in rows[6:8]] == [LONG, SHORT]


KEYS = st.tuples(
    st.sampled_from([PLACE, CANCEL]),
    st.integers(0, 3),
    st.sampled_from([LONG, SHORT]),
    st.integers(0, 2),
    st.integers(1, 3),
)


@given(st.lists(KEYS, max_size=20), st.integers(0, 5))
def test_actions_sort_by_kind_distance_leg_generation_level(
    keys: list[tuple[int, int, int, int, int]], first: int
) -> None:
    """Cancels, then placements; nearest, then LONG, generation, level; whole rows move, those before stay."""
    out, used = table(Action, 30), Counter()
    state = GridState()
    for number, (kind, distance, leg, generation, level) in enumerate([(PLACE, 9, 1, 9, 9)] * first + keys):
        action = out[actions.put(state, out, used, kind, number)]
        action.distance, action.leg, action.generation, action.level = distance, leg, generation, level
        action.price_ticks = action.qty_lots = number
        action.purpose = ENTRY
    actions.sort(out, first, used.n)
    rows = [(-a.kind, a.distance, a.leg, a.generation, a.level) for a in out[first : used.n]]
    assert rows == sorted((-kind, *rest) for kind, *rest in keys)
    assert [a.no for a in out[:first]] == list(range(first))
    assert all(a.no == a.price_ticks == a.qty_lots for a in out[: used.n])
    assert sorted(a.no for a in out[: used.n]) == list(range(first + len(keys)))


def test_a_full_table_of_actions_is_counted() -> None:
    """Nothing is lost in silence: the overflow is counted and the table's end is not passed."""
    out, used, state = table(Action, 2), Counter(), GridState()
    assert [actions.put(state, out, used, PLACE, no) for no in (1, 2, 3)] == [0, 1, 1]
    assert (state.overflowed, used.n) == (1, 2)


def test_a_full_table_of_entries_is_counted() -> None:
    """Rungs beyond the table wait for the next decision."""
    ladder = Ladder()
    ladder.entries = table(EntryOrder, 4)
    assert len(ladder.decide()) == 4
    assert ladder.state.overflowed == 2


def test_a_crossing_rung_is_not_added_but_kept() -> None:
    """A rung at or beyond the mid gets no order; an order that already works there stays."""
    ladder = Ladder()
    ladder.state.mid_ticks = MID - STEP
    ladder.want(10)
    assert (PLACE, LONG, 1, MID - STEP, 10) not in ladder.decide()
    ladder = Ladder()
    ladder.decide()
    ladder.state.mid_ticks = MID - STEP
    ladder.want(10)
    assert ladder.decide() == []


def test_a_crossing_rungs_order_is_kept_even_out_of_tolerance() -> None:
    """Replacing it would give a good place away for an order that has to be rejected."""
    ladder = Ladder()
    ladder.decide()
    ladder.state.mid_ticks = MID - STEP
    ladder.want(20)
    assert (CANCEL, LONG, 1, MID - STEP, 10) not in ladder.decide()


@pytest.mark.parametrize(
    ("wanted", "kept"), [(100, True), (101, True), (99, True), (102, False), (98, False), (0, False)]
)
def test_quantities_within_tolerance_are_kept(wanted: int, kept: bool) -> None:
    """The tolerance is relative to the desired quantity and inclusive."""
    ladder = Ladder(qty_tolerance_ppm=10_102, levels_long=1, levels_short=0)
    ladder.rungs = ladder.rungs[:1]
    ladder.want(100)
    ladder.decide()
    ladder.want(wanted)
    rows = ladder.decide()
    assert rows == [] if kept else rows == [(CANCEL, LONG, 1, MID - STEP, 100)]
    assert ladder.entry().state == (WORKING if kept else CANCELLING)


@pytest.mark.parametrize(("moved", "kept"), [(0, True), (4, True), (5, False)])
def test_prices_within_tolerance_are_kept(moved: int, kept: bool) -> None:
    """A post-only retry moved the order: within price_tolerance of the rung it stays, inclusive."""
    ladder = Ladder(price_tolerance_ppm=403)
    ladder.decide()
    ladder.entry().price_ticks -= moved
    ladder.want(10)
    rows = ladder.decide()
    assert rows == ([] if kept else [(CANCEL, LONG, 1, MID - STEP - moved, 10)])


def test_a_kept_order_takes_over_the_latest_take_profit() -> None:
    """The take-profit is settled at the fill: the latest decision's distance counts."""
    ladder = Ladder()
    ladder.decide()
    ladder.want(10)
    ladder.rungs[0].tp_micro = 123_456_789
    assert ladder.decide() == []
    assert ladder.entry().tp_micro == 123_456_789


def test_a_waiting_rung_is_sent_at_the_confirm() -> None:
    """Cancel, confirm, add: the new order has what the last decision wanted, and there was never a second one."""
    ladder = Ladder()
    ladder.decide()
    old = ladder.entry().no
    for lots in (20, 30):
        ladder.want(lots)
        rows = ladder.decide()
        assert all(row[0] != PLACE for row in rows)
    ladder.want(30)
    ladder.rungs[0].tp_micro = 77_000_000
    assert ladder.decide() == []
    (sent,) = ladder.confirm(old)
    assert (sent.kind, sent.price_ticks, sent.qty_lots, sent.level) == (PLACE, MID - STEP, 30, 1)
    assert sent.no > old
    entry = ladder.entry()
    assert (entry.no, entry.state, entry.tp_micro, entry.wait_qty_lots) == (sent.no, WORKING, 77_000_000, 0)


def test_a_waiting_rung_that_is_wanted_as_it_was_still_goes_the_whole_way() -> None:
    """A cancel cannot be taken back: wanting the old quantity again waits for the confirm and sends it then."""
    ladder = Ladder()
    ladder.decide()
    old = ladder.entry().no
    for lots in (20, 10):
        ladder.want(lots)
        ladder.decide()
    assert [(a.qty_lots, a.level) for a in ladder.confirm(old)] == [(10, 1)]


@pytest.mark.parametrize("why", ["unwanted", "recentered", "filled", "paused"])
def test_nothing_follows_a_cancel_that_lost_its_reason(why: str) -> None:
    """A fill before the confirm wins; a dropped rung, a new generation and a pause send nothing either."""
    ladder = Ladder()
    ladder.decide()
    entry, old = ladder.entry(), ladder.entry().no
    ladder.want(20)
    ladder.decide()
    if why == "unwanted":
        ladder.want(0)
        ladder.decide()
    elif why == "recentered":
        ladder.recenter()
    elif why == "filled":
        entry.filled_lots = 3
    else:
        ladder.state.may_add = 0
    assert ladder.confirm(old) == []
    assert entry.state == FREE
    assert ladder.rungs[0].slot == -1


def test_a_pause_adds_nothing_and_does_not_replace() -> None:
    """Paused: entries that are wanted unchanged stay, others are cancelled, and nothing is sent at the confirm."""
    ladder = Ladder()
    ladder.decide()
    old = ladder.entry().no
    ladder.state.may_add = 0
    ladder.want(10)
    assert ladder.decide() == []
    ladder.want(20)
    assert {row[0] for row in ladder.decide()} == {CANCEL}
    ladder.state.may_add = 1
    assert ladder.confirm(old) == [], "the decision that cancelled it wanted no replacement"
    ladder.want(20)
    assert (PLACE, LONG, 1, MID - STEP, 20) in ladder.decide()


def test_a_dropped_rungs_order_is_cancelled() -> None:
    """What the ladder no longer wants goes away, once."""
    ladder = Ladder()
    ladder.decide()
    ladder.want(10)
    ladder.rungs[0].qty_lots = 0
    assert ladder.decide() == [(CANCEL, LONG, 1, MID - STEP, 10)]
    ladder.want(10)
    ladder.rungs[0].qty_lots = 0
    assert ladder.decide() == []


def test_retries_step_away_from_the_spread() -> None:
    """Attempt k is k ticks from the rung, retry_delay after the rejection, each under a new number."""
    ladder = Ladder(retry_attempts=3, retry_delay_ns=70)
    ladder.decide()
    seen = [ladder.entry().no]
    for attempt in (1, 2, 3):
        ladder.reject(ts_ns=1_000 * attempt)
        (wait,) = ladder.sent()
        assert (wait.kind, wait.distance) == (RETRY_AT, 1_000 * attempt + 70)
        assert ladder.wake(1_000 * attempt + 69) == []
        (sent,) = ladder.wake(1_000 * attempt + 70)
        assert (sent.kind, sent.price_ticks, sent.qty_lots) == (PLACE, MID - STEP - attempt, 10)
        assert sent.no > max(seen)
        seen.append(sent.no)
    ladder.reject()
    assert ladder.sent() == []
    assert ladder.rungs[0].slot == -1, "after the last attempt the rung waits for the next decision"


def test_a_short_retry_goes_up() -> None:
    """Away from the spread is up for sells."""
    ladder = Ladder(levels_long=1, levels_short=1)
    ladder.decide()
    no = ladder.entry(SHORT).no
    diff.on_post_only_rejected(
        ladder.params, ladder.state, ladder.rungs, ladder.entries, no, 0, ladder.out, ladder.used
    )
    assert ladder.entry(SHORT).price_ticks == MID + STEP + 1


@pytest.mark.parametrize(("deviation_ppm", "allowed"), [(0, 0), (100, 0), (101, 1), (250, 2), (10_000, 5)])
def test_retries_stay_within_the_deviation(deviation_ppm: int, allowed: int) -> None:
    """A retry's k ticks may not exceed the allowed deviation of the rung's price, floored, nor the attempts."""
    ladder = Ladder(retry_attempts=5, retry_deviation_ppm=deviation_ppm)
    ladder.decide()
    for _ in range(allowed):
        ladder.reject()
        assert ladder.entry().state == RETRYING
        ladder.wake(10**18)
    ladder.reject()
    assert ladder.rungs[0].slot == -1


def test_an_unwanted_retry_is_dropped() -> None:
    """A pending retry counts as working; unwanted at the next decision it is dropped without a cancel."""
    ladder = Ladder(price_tolerance_ppm=1_000)
    ladder.decide()
    ladder.reject()
    ladder.sent()
    ladder.want(10)
    assert ladder.decide() == [], "a wanted retry keeps its rung"
    ladder.want(0)
    assert all(row[:3] != (CANCEL, LONG, 1) for row in ladder.decide())
    assert ladder.wake(10**18) == []
    assert ladder.rungs[0].slot == -1


def test_a_retry_of_another_quantity_starts_over() -> None:
    """Out of tolerance, a waiting retry makes way for an order at the rung itself, in the same decision."""
    ladder = Ladder()
    ladder.decide()
    ladder.reject()
    ladder.sent()
    ladder.want(20)
    assert (PLACE, LONG, 1, MID - STEP, 20) in ladder.decide()


def test_an_order_with_a_cancel_under_way_is_not_retried() -> None:
    """Its cancel's answer ends it: the waiting rung is sent then."""
    ladder = Ladder()
    ladder.decide()
    old = ladder.entry().no
    ladder.want(20)
    ladder.decide()
    ladder.reject()
    assert ladder.sent() == []
    assert [a.qty_lots for a in ladder.confirm(old)] == [20]


def test_a_rejection_while_paused_frees_the_rung() -> None:
    """Paused, nothing is retried: the rung waits for a decision."""
    ladder = Ladder()
    ladder.decide()
    ladder.state.may_add = 0
    ladder.reject()
    assert ladder.sent() == []
    assert ladder.rungs[0].slot == -1


def test_a_retry_whose_time_came_during_a_pause_does_not_block_its_rung() -> None:
    """After the pause the rung is offered again: either the retry goes out or a new order does."""
    ladder = Ladder(price_tolerance_ppm=1_000)
    ladder.decide()
    ladder.reject()
    ladder.sent()
    ladder.state.may_add = 0
    assert ladder.wake(10**18) == []
    ladder.want(10)
    ladder.decide()
    ladder.state.may_add = 1
    ladder.want(10)
    assert [row[:3] for row in ladder.decide()] == [(PLACE, LONG, 1)]


def test_a_crossing_rung_does_not_wait_behind_a_cancel() -> None:
    """A crossing rung is not added, so nothing is sent at the confirm of its cancel either."""
    ladder = Ladder()
    ladder.decide()
    old = ladder.entry().no
    ladder.want(20)
    ladder.decide()
    ladder.state.mid_ticks = MID - STEP
    ladder.want(20)
    ladder.decide()
    assert ladder.confirm(old) == []


def test_a_refused_entry_waits_for_the_next_decision() -> None:
    """The gate's no frees the rung; the next decision offers it again under a new number."""
    ladder = Ladder()
    ladder.decide()
    old = ladder.entry().no
    diff.on_refused(ladder.params, ladder.state, ladder.rungs, ladder.entries, old)
    diff.on_refused(ladder.params, ladder.state, ladder.rungs, ladder.entries, old)
    ladder.want(10)
    assert ladder.decide() == [(PLACE, LONG, 1, MID - STEP, 10)]
    assert ladder.entry().no > old
