"""How Python itself is set where time goes on by itself: short waits, few pauses, and free memory that goes back.

Invariant: whoever leaves ``real_time`` finds every setting as it was, and no thread of it is left.
"""

import ctypes
import gc
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SWITCH_S: Final = 50e-6
"""How long a thread that waits for the interpreter lets another go on: one that is to write must not wait for
the event loop to rest before it may begin."""
THRESHOLDS: Final = (5_000, 20, 20)
"""Of the three generations of the collector; few of our objects refer to each other in circles."""


GIVE_BACK_S: Final = 60.0
"""How often free memory is given back: C's allocator keeps what lies between blocks that live, and a run of days would
hold ever more of it. It takes a fifth of a millisecond, in a thread."""


@contextmanager
def real_time() -> Iterator[None]:
    """Set the interpreter for a run in real time, until the block is left."""
    switch_s, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*THRESHOLDS)
    over = threading.Event()
    giver = threading.Thread(target=_give_back, args=(over,), name="memory", daemon=True)
    giver.start()
    try:
        yield
    finally:
        over.set()
        giver.join()
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(switch_s)


def _give_back(over: threading.Event) -> None:
    """Give free memory back now and then, where C's library can (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while trim is not None and not over.wait(GIVE_BACK_S):
        trim(0)


def settle_memory() -> None:
    """Take out what the start left over, and have the collector look past all that stays: code and settings.

    A collection of the oldest objects would otherwise walk hundreds of thousands of them while something urgent waits.
    """
    gc.collect()
    gc.freeze()
