"""How Python itself is set where time goes on by itself: short waits for its lock, and few pauses for its garbage.

Invariant: whoever leaves ``real_time`` finds every setting as it was.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

SWITCH_S: Final = 50e-6
"""How long a thread that waits for the interpreter lets another go on: one that is to write must not wait for
the event loop to rest before it may begin."""
THRESHOLDS: Final = (5_000, 20, 20)
"""Of the three generations of the collector; few of our objects refer to each other in circles."""


@contextmanager
def real_time() -> Iterator[None]:
    """Set the interpreter for a run in real time, until the block is left."""
    switch_s, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(SWITCH_S)
    gc.set_threshold(*THRESHOLDS)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        sys.setswitchinterval(switch_s)


def settle_memory() -> None:
    """Take out what the start left over, and have the collector look past all that stays: code and settings.

    A collection of the oldest objects would otherwise walk hundreds of thousands of them while something urgent waits.
    """
    gc.collect()
    gc.freeze()
