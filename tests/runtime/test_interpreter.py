"""The interpreter's settings of a run in real time end with it."""

import ctypes
import gc
import sys
import threading

import pytest

from hedgegrid.runtime import interpreter
from hedgegrid.runtime.interpreter import SWITCH_S, THRESHOLDS, real_time, settle_memory


def test_settings_hold_inside_and_are_given_back() -> None:
    """Protects whoever runs several lives in one process: none leaves its settings, or frozen garbage, behind."""
    before = (sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count())
    with real_time():
        settle_memory()
        assert abs(sys.getswitchinterval() - SWITCH_S) < SWITCH_S / 10
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() > before[2]
    assert (sys.getswitchinterval(), gc.get_threshold(), gc.get_freeze_count()) == before


def test_free_memory_is_given_back_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects a run of days: what C's allocator holds for nothing goes back, and the thread ends with the run."""
    given, enough = [], threading.Event()

    class Library:
        """C's library, which counts."""

        def malloc_trim(self, keep: int) -> None:
            """Note a call."""
            given.append(keep)
            if len(given) == 3:
                enough.set()

    monkeypatch.setattr(interpreter, "GIVE_BACK_S", 0.001)
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Library())
    before = threading.active_count()
    with real_time():
        assert enough.wait(20.0)
    assert threading.active_count() == before
    assert set(given) == {0}
