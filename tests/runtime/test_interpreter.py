"""The interpreter's settings of a run in real time end with it."""

import gc
import sys

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
