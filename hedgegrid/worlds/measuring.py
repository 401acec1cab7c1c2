"""What is measured beside the messages of a live world: the loop's lag, the exchange's clock, the sockets' pongs."""

import asyncio
import gc
from typing import Final

from hedgegrid.core.health import VenueProbe
from hedgegrid.units import NS_PER_MS
from hedgegrid.venues.ccxtpro.public import CcxtMarket
from hedgegrid.venues.ccxtpro.session import Session

BEAT_S: Final = 0.05
KEPT_S: Final = 2.0
"""The longest delay of the last moments counts: one look must not miss a stall that has just ended."""


class LoopLag:
    """Measures the loop that it was started in."""

    def __init__(self) -> None:
        """Measure nothing yet."""
        self._task: asyncio.Task[None] | None = None
        self._worst: list[tuple[float, float]] = []

    def start(self) -> None:
        """Begin to measure, and put aside what the loop would stop for.

        All that was loaded by now stays: a collector that walks through it once more would stop the loop for a
        quarter of a second.
        """
        gc.collect()
        gc.freeze()
        self._task = asyncio.get_running_loop().create_task(self._beat(), name="loop lag")

    async def stop(self) -> None:
        """Stop measuring; harmless when not started."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def lag_ns(self) -> int | None:
        """Give the longest delay of the last two seconds in ns; None before the first beat."""
        if not self._worst:
            return None
        return round(max(lag_s for _, lag_s in self._worst) * 1e9)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + BEAT_S
            await asyncio.sleep(BEAT_S)
            now_s = loop.time()
            self._worst = [beat for beat in self._worst if beat[0] > now_s - KEPT_S]
            self._worst.append((now_s, max(0.0, now_s - due_s)))


def measured(lag: LoopLag, session: Session, market: CcxtMarket) -> VenueProbe:
    """Give what was measured by now; of several sockets the one that has been silent longest counts."""
    pongs = [socket.last_pong_ns for socket in market.sockets()]
    known = [pong_ns for pong_ns in pongs if pong_ns is not None]
    skew_ms = session.skew_ms
    return VenueProbe(
        loop_lag_ns=lag.lag_ns(),
        clock_skew_ns=None if skew_ms is None else skew_ms * NS_PER_MS,
        last_pong_ns=min(known) if pongs and len(known) == len(pongs) else None,
    )
