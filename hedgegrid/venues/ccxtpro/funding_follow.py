"""Funding as it is charged: the stream says that it was, the income records say of whom.

Invariants: a settlement of an instrument is told once; it is told when two reads in a row say the same of it, because
its records are listed a little after the charge and not all at once.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from hedgegrid.errors import HedgegridError
from hedgegrid.messages.events import FundingPaid
from hedgegrid.runtime.clock import Clock
from hedgegrid.units import NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.ccxtpro.money import MoneyReads
from hedgegrid.venues.ccxtpro.sockets import Report

WAIT_NS: Final = 2 * NS_PER_S
READS_MAX: Final = 15
_BACK_NS: Final = 10 * NS_PER_MINUTE
_KEPT: Final = 1_000


class FundingFollow:
    """Reads funding each time it is charged. Start it once, stop it once."""

    def __init__(
        self,
        *,
        money: MoneyReads,
        clock: Clock,
        venue_ns: Callable[[], int],
        emit: Callable[[FundingPaid], None],
        report: Report,
    ) -> None:
        """``venue_ns`` is the exchange's clock."""
        self._money = money
        self._clock = clock
        self._venue_ns = venue_ns
        self._emit = emit
        self._report = report
        self._due = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._told: dict[tuple[str, int], None] = {}

    def start(self) -> None:
        """Begin to wait for charges."""
        self._task = asyncio.create_task(self._follow(), name="funding")
        self._task.add_done_callback(self._on_done)

    async def stop(self) -> None:
        """End; a read under way is dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def charged(self) -> None:
        """Take the stream's word that funding was charged."""
        self._due.set()

    async def _follow(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            charged_ns = self._venue_ns()
            if not await self._tell(charged_ns - _BACK_NS):
                self._report("funding was charged, and its records are not listed", {"ts_ns": str(charged_ns)})

    async def _tell(self, since_ns: int) -> bool:
        """Read until two reads say the same of something new, and tell it; False where that does not come."""
        before: tuple[FundingPaid, ...] = ()
        for _ in range(READS_MAX):
            await self._clock.sleep(WAIT_NS)
            try:
                found = await self._money.funding_since(since_ns)
            except HedgegridError as error:
                self._report("funding could not be read", {"why": str(error)})
                continue
            fresh = tuple(paid for paid in found if (paid.instrument, paid.ts_venue_ns) not in self._told)
            if fresh and fresh == before:
                for paid in fresh:
                    self._told[paid.instrument, paid.ts_venue_ns] = None
                    self._emit(paid)
                for old in tuple(self._told)[:-_KEPT]:
                    del self._told[old]
                return True
            before = fresh
        return False

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """A task that ends by itself is a fault: told."""
        if not task.cancelled():
            error = task.exception()
            self._report("funding is not followed any more", {"error": type(error).__name__, "why": str(error)[:200]})
