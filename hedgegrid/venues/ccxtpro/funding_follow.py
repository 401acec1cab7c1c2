"""Funding as it is charged: the stream says that it was, the income records say of whom.

The stream can lose that word. So the records are looked at after each loss of the stream, and after each full hour,
when every interval of the exchange (1, 4 and 8 h) ends.

Invariants: a settlement of an instrument is told once; one that is young is told when two reads in a row say the same
of it, because its records are listed a little after the charge and not all at once; a look reaches back to before the
last one that ended well, however long that is ago.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from hedgegrid.errors import HedgegridError, Transient
from hedgegrid.messages.events import FundingPaid
from hedgegrid.runtime.clock import Clock
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.ccxtpro.money import MoneyReads
from hedgegrid.venues.ccxtpro.sockets import Report

WAIT_NS: Final = 2 * NS_PER_S
READS_MAX: Final = 15
QUIET_READS: Final = 3
"""Reads of a look that nobody has announced a charge for."""
YOUNG_NS: Final = 2 * NS_PER_MINUTE
"""What was charged this little ago may not be listed whole."""
_BACK_NS: Final = 10 * NS_PER_MINUTE
_KEPT: Final = 1_000


class FundingFollow:
    """Reads funding each time it is charged, or may have been. Start it once, stop it once."""

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
        self._charged = False
        self._task: asyncio.Task[None] | None = None
        self._told: dict[tuple[str, int], None] = {}
        self._from_ns = 0

    def start(self) -> None:
        """Begin to wait for charges; what came before now is the books' own to read."""
        self._from_ns = self._venue_ns()
        self._task = asyncio.create_task(self._follow(), name="funding")
        self._task.add_done_callback(self._on_done)

    async def stop(self) -> None:
        """End; a read under way is dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def charged(self) -> None:
        """Take the stream's word that funding was charged."""
        self._charged = True
        self._due.set()

    def lost(self) -> None:
        """Take the word that the stream may have lost something: a charge among it."""
        self._due.set()

    async def since(self, ts_ns: int) -> tuple[FundingPaid, ...]:
        """Read the settlements after ``ts_ns``, oldest first, the young ones whole. Raises Transient."""
        found = await self._money.funding_since(ts_ns)
        for _ in range(READS_MAX):
            if not any(self._venue_ns() - paid.ts_venue_ns < YOUNG_NS for paid in found):
                return found
            await self._clock.sleep(WAIT_NS)
            before, found = found, await self._money.funding_since(ts_ns)
            if found == before:
                return found
        raise Transient("the records of a settlement change from read to read")

    async def _follow(self) -> None:
        while True:
            await self._wait()
            self._due.clear()
            charged, self._charged = self._charged, False
            began_ns = self._venue_ns()
            told, whole = await self._look(READS_MAX if charged else QUIET_READS)
            if whole:
                self._from_ns = began_ns
            if charged and not told:
                self._report("funding was charged, and its records are not listed", {"ts_ns": str(began_ns)})

    async def _wait(self) -> None:
        """Return when something is due: a word of the stream, or a full hour that has passed."""
        left_ns = NS_PER_HOUR - self._venue_ns() % NS_PER_HOUR
        hour = asyncio.create_task(self._clock.sleep(left_ns), name="funding hour")
        word = asyncio.create_task(self._due.wait(), name="funding word")
        try:
            await asyncio.wait((hour, word), return_when=asyncio.FIRST_COMPLETED)
        finally:
            hour.cancel()
            word.cancel()
            await asyncio.gather(hour, word, return_exceptions=True)

    async def _look(self, reads: int) -> tuple[bool, bool]:
        """Read until two reads say the same of something new, and tell it; whether there was, and all was read."""
        before: tuple[FundingPaid, ...] | None = None
        for _ in range(reads):
            await self._clock.sleep(WAIT_NS)
            try:
                found = await self._money.funding_since(self._from_ns - _BACK_NS)
            except HedgegridError as error:
                self._report("funding could not be read", {"why": str(error)})
                before = None
                continue
            fresh = tuple(paid for paid in found if (paid.instrument, paid.ts_venue_ns) not in self._told)
            if fresh and fresh == before:
                self._tell(fresh)
                return True, True
            before = fresh
        return False, before == ()

    def _tell(self, fresh: tuple[FundingPaid, ...]) -> None:
        for paid in fresh:
            self._told[paid.instrument, paid.ts_venue_ns] = None
            self._emit(paid)
        for old in tuple(self._told)[:-_KEPT]:
            del self._told[old]

    def _on_done(self, task: asyncio.Task[None]) -> None:
        """A task that ends by itself is a fault: told."""
        if not task.cancelled():
            error = task.exception()
            self._report("funding is not followed any more", {"error": type(error).__name__, "why": str(error)[:200]})
