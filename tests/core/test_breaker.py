"""The circuit breaker: when it trips, what counts, and when it is over."""

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core import breaker
from hedgegrid.core.breaker import Breaker, BreakerLimits
from hedgegrid.messages.events import EndReason, OrderEvent, OrderEventKind

LIMITS = BreakerLimits(enabled=True, max_errors=3, window_ns=100, cooldown_ns=500)
COUNTS = {EndReason.REFUSED, EndReason.MARGIN, EndReason.REDUCE_REFUSED, EndReason.MODE}


def made(*, enabled: bool = True) -> Breaker:
    """A breaker that three errors in 100 ns leave alone."""
    return Breaker(limits=attrs.evolve(LIMITS, enabled=enabled))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 3)), max_size=30))
def test_it_trips_at_one_more_than_the_limit_within_a_window(gaps: list[tuple[int, int]]) -> None:
    """The first trip is where a plain count over the last window is above the limit, and nowhere before."""
    one, now_ns, told = made(), 0, []
    for gap_ns, errors in gaps:
        now_ns += gap_ns
        told += [now_ns] * errors
        within = sum(at_ns > now_ns - LIMITS.window_ns for at_ns in told)
        figures = breaker.note(one, errors, now_ns)
        assert (figures is not None) == (within > LIMITS.max_errors)
        if figures is not None:
            assert figures["errors"] == within > figures["limit"] == 3
            assert figures["within_ns"] < figures["window_ns"] == 100
            return


def test_it_is_over_only_after_its_quiet() -> None:
    """Each error while it stands begins the quiet anew; then it counts from nothing."""
    one = made()
    assert breaker.note(one, 4, 1_000) is not None
    assert not breaker.ends(one, 1_499)
    assert breaker.note(one, 4, 1_499) is None, "it is told once"
    assert breaker.quiet_at_ns(one) == 1_999
    assert not breaker.ends(one, 1_998)
    assert breaker.ends(one, 1_999)
    assert not breaker.ends(one, 2_000), "it is over once"
    assert breaker.note(one, 3, 2_000) is None
    assert breaker.note(one, 1, 2_001) is not None


def test_a_trip_of_an_earlier_life_has_its_quiet_from_now() -> None:
    """Nobody counted while the process was down; a trip that this life knows keeps its own time."""
    one = made()
    breaker.take_up(one, 2_000)
    assert not breaker.ends(one, 2_499)
    breaker.take_up(one, 2_400)
    assert breaker.ends(one, 2_500)


def test_switched_off_it_counts_nothing_and_holds_nothing() -> None:
    """The switch is a switch: a trip that was kept goes too."""
    one = made(enabled=False)
    assert breaker.note(one, 1_000, 5) is None
    breaker.take_up(one, 10)
    assert breaker.ends(one, 10)


@pytest.mark.parametrize("reason", list(EndReason))
@pytest.mark.parametrize("kind", list(OrderEventKind))
def test_what_counts_is_the_exchanges_refusal_or_silence(kind: OrderEventKind, reason: EndReason) -> None:
    """Neither our own gate's word, nor a post-only rejection, nor a limit, nor an order's natural end counts."""
    expected = kind is OrderEventKind.UNKNOWN or (
        kind in (OrderEventKind.REJECTED, OrderEventKind.EXPIRED) and reason in COUNTS
    )
    assert breaker.is_error(OrderEvent(kind=kind, client_id="x", reason=reason)) == expected
