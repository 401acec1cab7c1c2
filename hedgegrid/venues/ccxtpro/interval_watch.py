"""The time between settlements of each instrument, which the exchange changes while the bot runs.

Invariants: fundingInfo lists adjusted instruments only, so an absent one has the usual 8 h, but only after a read that
succeeded: after one that failed the last word stands; a change is told once, with both figures.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from hedgegrid.errors import HedgegridError
from hedgegrid.runtime.clock import Clock
from hedgegrid.units import NS_PER_HOUR, NS_PER_MINUTE
from hedgegrid.venues.ccxtpro.parse_rules import DEFAULT_INTERVAL_NS, funding_intervals
from hedgegrid.venues.ccxtpro.reads import read
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.sockets import Report

LOOK_NS: Final = 5 * NS_PER_MINUTE
"""Between two reads, where nothing hints at a change."""


class IntervalWatch:
    """Reads fundingInfo now and then, and when an instrument's next settlement moves. Start it once, stop it once."""

    def __init__(
        self,
        *,
        session: Session,
        clock: Clock,
        intervals_ns: Mapping[str, int],
        changed: Callable[[str, int], None],
        report: Report,
    ) -> None:
        """``intervals_ns`` by symbol, as read at the start; ``changed(symbol, ns)`` is told of a new one."""
        self._session = session
        self._clock = clock
        self._intervals_ns = dict(intervals_ns)
        self._changed = changed
        self._report = report
        self._next_ns: dict[str, int] = {}
        self._due = asyncio.Event()
        self._failed = False
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._watch(), name="funding intervals")

    async def stop(self) -> None:
        """End; a read under way is dropped."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def seen(self, symbol: str, next_ns: int | None) -> None:
        """Take the time of a next settlement; one that moved hints at a new interval."""
        if next_ns is None or self._next_ns.get(symbol) == next_ns:
            return
        if symbol in self._next_ns:
            self._due.set()
        self._next_ns[symbol] = next_ns

    async def _watch(self) -> None:
        while True:
            pause = asyncio.create_task(self._clock.sleep(LOOK_NS), name="intervals pause")
            hint = asyncio.create_task(self._due.wait(), name="intervals hint")
            try:
                await asyncio.wait((pause, hint), return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
                hint.cancel()
                await asyncio.gather(pause, hint, return_exceptions=True)
            self._due.clear()
            await self._look()

    async def _look(self) -> None:
        try:
            listed = await read(self._session, "fapiPublicGetFundingInfo", {}, funding_intervals, weight=1)
        except HedgegridError as error:
            if not self._failed:
                self._report("the funding intervals could not be read: the last ones stand", {"why": str(error)})
            self._failed = True
            return
        self._failed = False
        for symbol, before_ns in self._intervals_ns.items():
            after_ns = listed.get(symbol, DEFAULT_INTERVAL_NS)
            if after_ns != before_ns:
                self._intervals_ns[symbol] = after_ns
                hours = f"{before_ns // NS_PER_HOUR} h -> {after_ns // NS_PER_HOUR} h"
                self._report("the exchange changed a funding interval", {"symbol": symbol, "interval": hours})
                self._changed(symbol, after_ns)
