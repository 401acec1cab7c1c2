"""The outbox: what waits to be sent for one instrument, sent one after the other beside the executor's mailbox.

Invariants: first in, first out, one at a time; what waits or is being sent counts in the activity until its answer is
in the mailbox, so that virtual time waits for it; it never holds more than its capacity; a call that outlives its
limit is given up, and nobody knows then what became of it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from hedgegrid.errors import OutcomeUnknown
from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.clock import Clock, TimerHandle

J = TypeVar("J")
R = TypeVar("R")

OUTBOX_MAX: Final = 64
"""Batches that may wait before entries are refused: at one a decision, far above what an answering exchange leaves."""
OUTBOX_HARD_MAX: Final = 4 * OUTBOX_MAX
"""Batches that may wait at all. More means that even what reduces is stuck: the executor starts anew and reads."""


class Outbox(Generic[J]):
    """The queue of one instrument and the loop that empties it."""

    def __init__(self, send: Callable[[J], Awaitable[None]], activity: Activity) -> None:
        """Hand each job to ``send``, whose answer is in a mailbox when it returns; count in ``activity``."""
        self._send = send
        self._activity = activity
        self._jobs: deque[J] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self.peak = 0
        """The most that ever waited."""

    @property
    def depth(self) -> int:
        """Jobs that wait or are being sent."""
        return len(self._jobs)

    @property
    def is_full(self) -> bool:
        """Whether entries are to be refused."""
        return len(self._jobs) >= OUTBOX_MAX

    def put(self, job: J) -> None:
        """Take a job. AssertionError beyond the hard limit: whoever sends is restarted and reads the exchange."""
        assert len(self._jobs) < OUTBOX_HARD_MAX, "an outbox overflows with orders that reduce"
        self._jobs.append(job)
        self._activity.begin()
        self.peak = max(self.peak, len(self._jobs))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def work(self) -> None:
        """Send for as long as the actor lives."""
        while True:
            if not self._jobs:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
            try:
                await self._send(self._jobs[0])
            finally:
                self._jobs.popleft()
                self._activity.end()

    def close(self) -> None:
        """Let go of what was not sent; the intents stay in the journal for whoever comes next."""
        self._activity.end(len(self._jobs))
        self._jobs.clear()


class Limit:
    """One limit of time for calls that follow each other: each of them has all of it.

    One scope and one timer serve them all, since nearly no call comes near its limit.
    """

    def __init__(self, clock: Clock, limit_ns: int | None) -> None:
        """Give each call ``limit_ns`` of the injected clock; None: without limit. It serves once."""
        self._clock = clock
        self._limit_ns = limit_ns
        self._until_ns = 0
        self._scope = asyncio.timeout(None)
        self._timer: TimerHandle | None = None

    async def over(self, calls: Awaitable[R]) -> R:
        """Await calls, between which there is an ``again`` each time.

        Raises OutcomeUnknown where one of them did not end in time, and whatever they raise.
        """
        if self._limit_ns is None:
            return await calls
        self.again()
        self._timer = self._clock.call_at(self._until_ns, self._look)
        try:
            async with self._scope:
                return await calls
        except TimeoutError as error:
            if not self._scope.expired():
                raise
            raise OutcomeUnknown(f"no answer within {self._limit_ns // 1_000_000} ms") from error
        finally:
            self._timer.cancel()

    def again(self) -> None:
        """Give the call that begins now all of the time."""
        if self._limit_ns is not None:
            self._until_ns = self._clock.now_ns() + self._limit_ns

    def _look(self) -> None:
        """End the calls where the time is up; else look again when it will be."""
        if self._clock.now_ns() >= self._until_ns:
            self._scope.reschedule(asyncio.get_running_loop().time())
        else:
            self._timer = self._clock.call_at(self._until_ns, self._look)


async def within(clock: Clock, limit_ns: int | None, call: Awaitable[R]) -> R:
    """Await a call for at most ``limit_ns`` of the injected clock (None: without limit).

    Raises OutcomeUnknown where it did not end in time, and whatever the call raises.
    """
    return await (call if limit_ns is None else Limit(clock, limit_ns).over(call))
