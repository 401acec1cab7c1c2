"""Memory that is free within this process and yet held: by Arrow's pool, and by C's allocator between blocks that live.

Invariant: giving it back changes nothing but how large the process is.
"""

import ctypes
import sys


def give_back() -> None:
    """Give free memory back to the system, C's where its library can (glibc); it takes about a millisecond."""
    # Who has no Arrow yet has nothing in its pool, and shall not import it for this.
    arrow = sys.modules.get("pyarrow")
    if arrow is not None:
        arrow.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
