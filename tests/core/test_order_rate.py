"""The limit of orders in a minute: what counts, for how long, and when meeting it latches."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import order_rate
from hedgegrid.core.gate_records import Beat, Pace
from hedgegrid.units import NS_PER_MINUTE, NS_PER_S

START_NS = 1_738_546_785_123_456_789


def beats() -> list[Beat]:
    """An empty minute."""
    return [Beat() for _ in range(order_rate.SECONDS)]


@given(st.lists(st.tuples(st.integers(0, 20 * NS_PER_S), st.integers(0, 4)), max_size=60))
def test_no_order_of_the_last_minute_is_left_out(steps: list[tuple[int, int]]) -> None:
    """What counts is at least the orders of the last 60 s, at most those of the last 61, whatever the gaps."""
    pace, slots, now_ns, sent = Pace(), beats(), START_NS, deque[int]()
    for gap_ns, orders in steps:
        now_ns += gap_ns
        order_rate.advance(pace, slots, now_ns)
        minute = sum(now_ns - at_ns < NS_PER_MINUTE for at_ns in sent)
        longer = sum(now_ns - at_ns < NS_PER_MINUTE + NS_PER_S for at_ns in sent)
        assert minute <= pace.orders <= longer
        assert pace.orders == sum(slot.orders for slot in slots)
        for _ in range(orders):
            order_rate.note_sent(pace, slots)
            sent.append(now_ns)


def test_a_long_silence_and_a_clock_that_goes_back_are_no_trouble() -> None:
    """After days nothing counts; an earlier time counts as the newest."""
    pace, slots = Pace(), beats()
    order_rate.advance(pace, slots, START_NS)
    order_rate.note_sent(pace, slots)
    order_rate.advance(pace, slots, START_NS - 5 * NS_PER_S)
    order_rate.note_sent(pace, slots)
    assert pace.orders == 2
    order_rate.advance(pace, slots, START_NS + 10**15)
    assert pace.orders == 0


@pytest.mark.parametrize(
    ("minutes", "latches"),
    [
        ([0, 0, 0, 0], False),
        ([0, 1], False),
        ([0, 1, 2], True),
        ([0, 5, 9], True),
        ([0, 5, 10], False),
        ([0, 5, 10, 14], True),
        ([0, 10, 20, 30], False),
    ],
)
def test_three_minutes_of_ten_latch(minutes: list[int], latches: bool) -> None:
    """Many refusals of one minute are one breach; three minutes with one, within ten, are too many."""
    pace = Pace()
    for minute in minutes:
        order_rate.note_breach(pace, START_NS + minute * NS_PER_MINUTE)
    assert pace.latches == int(latches)
    order_rate.forget_breaches(pace)
    order_rate.note_breach(pace, START_NS + 100 * NS_PER_MINUTE)
    assert pace.latches == 0


def test_the_first_minute_of_all_counts_as_one() -> None:
    """Time that begins at zero is no breach before there was one."""
    pace = Pace()
    for minute in (0, 1):
        order_rate.note_breach(pace, minute * NS_PER_MINUTE)
    assert pace.latches == 0
    order_rate.note_breach(pace, 2 * NS_PER_MINUTE)
    assert pace.latches == 1
