"""The decision of the watchdog's thread: when silence and blockage are too long, and when they are nobody's fault."""

from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.core.vigil import WEDGED_SILENCES, Deed, Seen, VigilLimits, deed, looked

LIMITS = VigilLimits(look_ns=100, silence_ns=1_000)
FIRST = Seen(at_ns=0, beats=0, moves=0)


def after(looks: list[tuple[int, bool, bool]]) -> list[Deed]:
    """What is to be done after each look: (ns since the last, the loop came round, the executor moved)."""
    seen, deeds = FIRST, []
    for step_ns, beat, moved in looks:
        seen = looked(LIMITS, seen, beats=seen.beats + beat, moves=seen.moves + moved, now_ns=seen.at_ns + step_ns)
        deeds.append(deed(LIMITS, seen))
    return deeds


def test_silence_takes_the_entries_at_its_limit_and_not_before() -> None:
    """Heartbeats that are missed pause when their time is up: the tenth look of a tenth each."""
    deeds = after([(100, True, False)] * 12)
    assert deeds == [Deed.NOTHING] * 9 + [Deed.TAKE_ENTRIES] * 3


def test_sign_of_life_ends_a_silence() -> None:
    """Nine silent looks, one move, and the count begins anew."""
    assert set(after(([(100, True, False)] * 9 + [(100, True, True)]) * 3)) == {Deed.NOTHING}


def test_blocked_loop_is_ended_only_after_the_entries_are_taken() -> None:
    """A loop that stays blocked: entries first, the process much later."""
    deeds = after([(100, False, False)] * (10 * WEDGED_SILENCES + 1))
    assert deeds.index(Deed.TAKE_ENTRIES) == 9
    assert deeds.index(Deed.END) == 10 * WEDGED_SILENCES - 1


def test_silent_executor_in_a_living_loop_ends_no_process() -> None:
    """While the loop comes round its supervisor can act: however long the executor is silent."""
    assert Deed.END not in after([(100, True, False)] * (20 * WEDGED_SILENCES))


def test_machine_that_slept_is_no_silence() -> None:
    """An hour between two looks: the thread was not there itself, so it counts as two."""
    assert after([(3_600_000_000_000, False, False)] * 2) == [Deed.NOTHING] * 2


@given(st.lists(st.tuples(st.integers(1, 500), st.booleans(), st.booleans()), max_size=60))
def test_no_alarm_without_a_whole_silence(looks: list[tuple[int, bool, bool]]) -> None:
    """Whatever is seen: nothing is done unless the newest looks without a move span the limit."""
    for place, due in enumerate(after(looks)):
        span_ns = 0
        for step_ns, _, moved in reversed(looks[: place + 1]):
            if moved:
                break
            span_ns += min(step_ns, 200)
        assert (due is Deed.NOTHING) == (span_ns < 1_000), (place, span_ns)
