"""The count of messages that are waiting or being handled, over all mailboxes.

Invariants: a message is counted from the moment a mailbox takes it until its handler has returned or failed, or
until its mailbox is closed; a conflated message is counted once; the count is never negative. So a count of zero
means that every mailbox is empty and every actor waits, which is when virtual time may move on.
"""

import asyncio
from typing import Final

QUIET_PASSES: Final = 8
"""Passes of the event loop without a message before it counts as settled: futures, restarts and timers need some."""
STALL_PASSES: Final = 256
"""Passes in which no handler ended before a busy system counts as stalled."""

MENDING_PASSES: Final = 64
"""Quiet passes of the event loop after which a restarting tree has done what it can without time moving on."""


class Activity:
    """Counts messages in flight; one is shared by all mailboxes of a system."""

    __slots__ = ("_idle_waiters", "busy", "ended")

    def __init__(self) -> None:
        """Start idle."""
        self.busy = 0
        """Messages waiting or being handled."""
        self.ended = 0
        """Messages whose counting has ended, since the start."""
        self._idle_waiters: list[asyncio.Future[None]] = []

    def begin(self) -> None:
        """Count a message that a mailbox has just taken."""
        self.busy += 1

    def end(self, count: int = 1) -> None:
        """Release `count` messages that were handled, failed or given up. Raises RuntimeError below zero."""
        self.busy -= count
        self.ended += count
        if self.busy <= 0:
            if self.busy < 0:
                msg = "more messages ended than began: a message was released twice"
                raise RuntimeError(msg)
            if self._idle_waiters:
                self._wake()

    async def idle(self) -> None:
        """Return once no message is waiting or being handled; at once where that is so already."""
        while self.busy:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._idle_waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._idle_waiters:
                    self._idle_waiters.remove(waiter)

    async def settle(self, *, quiet_passes: int = QUIET_PASSES, stall_passes: int = STALL_PASSES) -> bool:
        """Let everything run that can run without time moving on; True when all of it came to rest.

        Settled means `quiet_passes` passes of the event loop in a row with no message counted. False means that a
        handler waits for something that only time can bring (it sleeps, or hangs): no handler has ended for
        `stall_passes` passes, and the driver may move time. A wait on another thread is not seen as either.
        """
        quiet = stalled = 0
        ended = self.ended
        while quiet < quiet_passes and stalled < stall_passes:
            await asyncio.sleep(0)
            if self.ended != ended:
                ended = self.ended
                quiet = stalled = 0
            elif self.busy:
                quiet = 0
                stalled += 1
            else:
                quiet += 1
        return quiet >= quiet_passes

    def _wake(self) -> None:
        waiters, self._idle_waiters = self._idle_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
