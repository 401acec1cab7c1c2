"""The end of a process, bounded: what is armed ends it, what is disarmed does not, and a second signal is at once."""

import os
import signal
import threading
import time

import pytest

from hedgegrid.runtime import ending
from hedgegrid.runtime.ending import Ending
from hedgegrid.runtime.specs import EXIT_UNSTOPPABLE


class Exit:
    """Stands for the end of the process."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.came = threading.Event()

    def __call__(self, code: int) -> None:
        """Be told how it would have ended."""
        self.codes.append(code)
        self.came.set()


@pytest.fixture
def leave() -> Exit:
    """An end that can be looked at."""
    return Exit()


def test_end_that_takes_too_long_is_cut(leave: Exit) -> None:
    """A loop that is blocked does not matter: the time runs in a thread. It runs once."""
    one = Ending(seconds=0.05, leave=leave)
    one.begin()
    one.begin()
    assert leave.came.wait(5)
    time.sleep(0.1)
    assert leave.codes == [EXIT_UNSTOPPABLE]


def test_end_in_time_is_left_alone(leave: Exit) -> None:
    """What has ended by itself is not ended again."""
    one = Ending(seconds=0.05, leave=leave)
    one.begin()
    one.disarm()
    assert not leave.came.wait(0.15)
    # A word that comes after the end, to a life that is over, begins no other.
    late = Ending(seconds=0.05, leave=leave)
    late.disarm()
    late.begin()
    assert not leave.came.wait(0.15)


@pytest.mark.parametrize(
    ("second", "later", "codes"),
    [(signal.SIGTERM, True, [EXIT_UNSTOPPABLE]), (signal.SIGTERM, False, []), (signal.SIGHUP, True, [])],
    ids=["another", "the same, passed on", "a terminal that hangs up twice"],
)
def test_second_signal_is_at_once(
    second: signal.Signals, later: bool, codes: list[int], leave: Exit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks twice does not want to wait, though the loop may never come to hear of it."""
    monkeypatch.setattr(ending, "SECOND_S", 0.02 if later else 60.0)
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    one = Ending(seconds=60, leave=leave)
    try:
        one.hear(numbers)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.05)
        os.kill(os.getpid(), second)
        time.sleep(0.05)
    finally:
        one.disarm()
        for number, handler in before.items():
            signal.signal(number, handler)
    assert leave.codes == codes
