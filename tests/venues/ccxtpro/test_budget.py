"""The rate budget: the exchange's limits hold whatever is asked for, and cancels always have their share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from hedgegrid.venues.ccxtpro.budget import ORDERS, WEIGHT, Admitted, Budget, CallKind, Wait
from hedgegrid.venues.ccxtpro.parse_rules import RateLimit

LIMITS = (
    RateLimit(kind=WEIGHT, interval_ns=NS_PER_MINUTE, limit=100),
    RateLimit(kind=ORDERS, interval_ns=10 * NS_PER_S, limit=10),
)
SHARE_PPM = 200_000
T0 = 1_700_000_000_000_000_000

ASKED = st.lists(
    st.tuples(
        st.sampled_from(list(CallKind)),
        st.integers(0, 30),
        st.integers(0, 5),
        st.one_of(st.just(0), st.integers(0, 3 * NS_PER_S), st.integers(0, 70 * NS_PER_S)),
    ),
    max_size=120,
)


def small() -> Budget:
    """Make a budget that is soon used up."""
    return Budget(limits=LIMITS, share_ppm=SHARE_PPM)


def fill(budget: Budget, kind: CallKind, now_ns: int = T0) -> int:
    """Ask for one unit of weight after the other; give how many were admitted."""
    count = 0
    while isinstance(budget.admit(kind, weight=1, orders=0, now_ns=now_ns), Admitted):
        count += 1
    return count


@given(ASKED, st.integers(0, NS_PER_MINUTE))
def test_no_window_of_the_exchange_is_ever_overrun(asked: list[tuple[CallKind, int, int, int]], phase_ns: int) -> None:
    """Protects against 429: wherever the exchange's windows begin, none holds more than its limit."""
    budget = small()
    now_ns = T0 + phase_ns
    admitted: list[tuple[int, dict[str, int]]] = []
    for kind, weight, orders, pause_ns in asked:
        now_ns += pause_ns
        if isinstance(budget.admit(kind, weight=weight, orders=orders, now_ns=now_ns), Admitted):
            admitted.append((now_ns, {WEIGHT: weight, ORDERS: orders}))
    for limit in LIMITS:
        for start_ns, _ in admitted:
            inside = [cost[limit.kind] for ts_ns, cost in admitted if start_ns <= ts_ns < start_ns + limit.interval_ns]
            assert sum(inside) <= limit.limit


def test_a_burst_counts_for_a_whole_window_wherever_it_began() -> None:
    """Protects against 429 at the edges: parts of a window never make it shorter."""
    for phase_ns in range(0, 6 * NS_PER_S, NS_PER_S // 2):
        budget = small()
        assert fill(budget, CallKind.CANCEL, T0 + phase_ns) == 100
        assert fill(budget, CallKind.CANCEL, T0 + phase_ns + NS_PER_MINUTE) == 0
        assert fill(budget, CallKind.CANCEL, T0 + phase_ns + NS_PER_MINUTE + 6 * NS_PER_S) == 100


@given(ASKED)
def test_entries_and_reads_never_use_the_share_of_cancels(asked: list[tuple[CallKind, int, int, int]]) -> None:
    """Protects the way out: whatever entries and reads did, a cancel fits at any moment."""
    budget = small()
    now_ns = T0
    for kind, weight, orders, pause_ns in asked:
        now_ns += pause_ns
        if kind in {CallKind.ENTRY, CallKind.READ}:
            budget.admit(kind, weight=weight, orders=orders, now_ns=now_ns)
        used, limit = budget.used(now_ns)["X-MBX-USED-WEIGHT-1M"]
        assert limit - used >= limit * SHARE_PPM // 1_000_000
    assert fill(budget, CallKind.CANCEL, now_ns) >= 20


@given(ASKED)
def test_the_wait_that_is_told_is_enough(asked: list[tuple[CallKind, int, int, int]]) -> None:
    """Protects against waiting in vain: what fits at all fits when the budget said it would."""
    budget = small()
    now_ns = T0
    for kind, weight, orders, pause_ns in asked:
        now_ns += pause_ns
        answer = budget.admit(kind, weight=weight, orders=orders, now_ns=now_ns)
        if isinstance(answer, Wait):
            assert answer.until_ns > now_ns
            now_ns = answer.until_ns
            assert isinstance(budget.admit(kind, weight=weight, orders=orders, now_ns=now_ns), Admitted)


def test_the_exchanges_own_count_only_adds() -> None:
    """Protects against another program on the same address: its requests count, and a low count frees nothing."""
    budget = small()
    budget.admit(CallKind.READ, weight=40, orders=0, now_ns=T0)
    for _ in range(3):
        budget.heard({"X-MBX-USED-WEIGHT-1M": "75"}, T0)
    assert fill(budget, CallKind.READ) == 5
    budget.heard({"X-MBX-USED-WEIGHT-1M": "3"}, T0 + NS_PER_S)
    assert fill(budget, CallKind.READ, T0 + NS_PER_S) == 0
    assert fill(budget, CallKind.CANCEL, T0 + NS_PER_S) == 20


@pytest.mark.parametrize("told", ["", "x", "-5", "1e3", "9" * 40, "\u0663"])
def test_a_header_that_is_no_number_changes_nothing(told: str) -> None:
    """Protects the budget from a header that cannot be read."""
    budget = small()
    budget.heard({"X-MBX-USED-WEIGHT-1M": told}, T0)
    assert fill(budget, CallKind.READ) == 80


def test_order_counts_are_heard_by_their_window() -> None:
    """Protects the order limit: the header of ten seconds speaks of the window of ten seconds."""
    budget = small()
    budget.heard({"X-MBX-ORDER-COUNT-10S": "8", "X-MBX-ORDER-COUNT-1M": "900"}, T0)
    assert isinstance(budget.admit(CallKind.ENTRY, weight=0, orders=1, now_ns=T0), Wait)
    assert isinstance(budget.admit(CallKind.REDUCE, weight=0, orders=2, now_ns=T0), Admitted)
    assert isinstance(budget.admit(CallKind.REDUCE, weight=0, orders=1, now_ns=T0), Wait)


def test_nothing_at_all_is_sent_before_a_ban_ends() -> None:
    """Protects against a longer ban: cancels wait too, and a shorter pause does not end a longer one."""
    budget = small()
    budget.pause(T0 + 90 * NS_PER_S, orders_only=False)
    budget.pause(T0 + NS_PER_S, orders_only=False)
    for kind in CallKind:
        answer = budget.admit(kind, weight=1, orders=0, now_ns=T0 + 90 * NS_PER_S - 1)
        assert answer == Wait(until_ns=T0 + 90 * NS_PER_S, why="the exchange asked for a pause")
        assert isinstance(budget.admit(kind, weight=1, orders=0, now_ns=T0 + 90 * NS_PER_S), Admitted)


def test_too_many_orders_stops_orders_alone() -> None:
    """Protects cancels and reads from a refusal that speaks of orders only."""
    budget = small()
    budget.pause(T0 + 10 * NS_PER_S, orders_only=True)
    for kind, stopped in [
        (CallKind.ENTRY, True),
        (CallKind.REDUCE, True),
        (CallKind.CANCEL, False),
        (CallKind.READ, False),
    ]:
        assert (budget.paused_until_ns(kind, T0) is not None) == stopped


def test_new_limits_keep_what_was_counted() -> None:
    """Protects against a burst after exchangeInfo was read: the same window goes on."""
    budget = small()
    assert fill(budget, CallKind.READ) == 80
    budget.set_limits((RateLimit(kind=WEIGHT, interval_ns=NS_PER_MINUTE, limit=110),))
    assert fill(budget, CallKind.READ) == 8
    budget.set_limits((RateLimit(kind="RAW_REQUESTS", interval_ns=NS_PER_MS, limit=1),))
    assert budget.used(T0) == {}
