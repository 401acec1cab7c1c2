"""The clocks of doubts: each order its own, looks at growing intervals, a pause only past the limit."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core.doubt import (
    LOOK_MAX_NS,
    LOOK_NS,
    begun,
    looked,
    next_look_ns,
    next_pause_ns,
    overdue,
)

PAUSE_NS = 10 * LOOK_NS


def test_looks_come_at_growing_intervals_with_a_longest_one() -> None:
    """An exchange that does not answer is not asked more and more, and never forgotten."""
    one = begun("a", "BTC", 0)
    times = [one.next_ns]
    for _ in range(20):
        one = looked(one, one.next_ns)
        times.append(one.next_ns)
    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert waits[:4] == [LOOK_NS, 2 * LOOK_NS, 4 * LOOK_NS, 8 * LOOK_NS]
    assert set(waits[4:]) == {LOOK_MAX_NS}


def test_an_instrument_pauses_by_its_oldest_doubt_alone() -> None:
    """At the limit a doubt is still young; the figures name the oldest order and how many there are."""
    old, young, other = begun("a", "BTC", 0), begun("b", "BTC", LOOK_NS), begun("c", "ETH", 5 * LOOK_NS)
    doubts = (young, old, other)
    assert overdue(doubts, PAUSE_NS, PAUSE_NS) == ()
    (found,) = overdue(doubts, PAUSE_NS, PAUSE_NS + 1)
    assert (found.instrument, found.orders, found.oldest, found.age_ns) == ("BTC", 2, "a", PAUSE_NS + 1)


@given(st.lists(st.integers(0, 50), max_size=6), st.integers(0, 80))
def test_the_next_pause_is_the_first_moment_at_which_something_more_is_overdue(since_s: list[int], now_s: int) -> None:
    """A timer at that moment misses nothing: before it no further instrument's doubt becomes too old."""
    doubts = [begun(str(place), str(place), at * LOOK_NS) for place, at in enumerate(since_s)]
    now_ns = now_s * LOOK_NS
    due_ns = next_pause_ns(doubts, PAUSE_NS, now_ns)
    before = len(overdue(doubts, PAUSE_NS, now_ns))
    if due_ns is None:
        assert before == len(doubts)
    else:
        assert len(overdue(doubts, PAUSE_NS, due_ns - 1)) == before
        assert len(overdue(doubts, PAUSE_NS, due_ns)) > before
    assert next_look_ns(doubts) == min((one.next_ns for one in doubts), default=None)
