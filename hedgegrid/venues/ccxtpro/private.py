"""The private stream's life: its listen key, its socket, and the proof that it is not deaf.

Invariants: the listen key is renewed by ourselves long before it ends, and a dead one is replaced together with its
socket; after every loss of the socket, at its end and once it stands again, a ``StreamGap`` is told; what the stream
says of the legs is compared with the exchange each ``poll_ms``, so that a socket that answers pings and says nothing
is found out. The key is not deleted at the end: an account has one, and another of its programs may be listening.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from hedgegrid.errors import Fatal, HedgegridError, Rejected, Transient
from hedgegrid.ports import PrivateEvent
from hedgegrid.runtime.clock import Clock, TimerHandle
from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from hedgegrid.venues.ccxtpro.endpoints import Endpoints
from hedgegrid.venues.ccxtpro.leg_watch import LegKey
from hedgegrid.venues.ccxtpro.parse_account import PositionRow, listen_key
from hedgegrid.venues.ccxtpro.private_events import PrivateEvents, stream_gap
from hedgegrid.venues.ccxtpro.reads import read
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.sockets import KeptSocket, Report, SocketHealth

RENEW_NS: Final = 25 * NS_PER_MINUTE
KEY_LIFE_NS: Final = 60 * NS_PER_MINUTE
RENEW_AGAIN_NS: Final = 30 * NS_PER_S
UP_TIMEOUT_NS: Final = 30 * NS_PER_S
CONFIRM_NS: Final = NS_PER_S
_LOOK_NS: Final = 100 * NS_PER_MS

Legs = dict[LegKey, int]


class PrivateStream:
    """One account's private stream. Start it once, stop it once."""

    def __init__(
        self,
        *,
        session: Session,
        endpoints: Endpoints,
        clock: Clock,
        events: PrivateEvents,
        emit: Callable[[PrivateEvent], None],
        position_rows: Callable[[], Awaitable[Sequence[PositionRow]]],
        poll_ms: int,
        report: Report,
        ping_ms: int = 2_000,
    ) -> None:
        """``events`` reads what comes; ``position_rows`` asks the exchange for the legs."""
        self._session = session
        self._endpoints = endpoints
        self._clock = clock
        self._events = events
        self._emit = emit
        self._position_rows = position_rows
        self._poll_ns = poll_ms * NS_PER_MS
        self._report = report
        self._tasks: list[asyncio.Task[None]] = []
        self._timer: TimerHandle | None = None
        self._came_up = asyncio.Event()
        self._was_up = False
        self._refusal: HedgegridError | None = None
        self._renewed_ns = 0
        self._socket = KeptSocket(
            name="private",
            wire=session.wire,
            clock=clock,
            url=self._url,
            on_event=self._take,
            on_up=self._on_up,
            on_down=self._on_down,
            on_bad=self._on_bad,
            ping_ms=ping_ms,
            report=report,
        )

    async def start(self) -> None:
        """Return once the stream stands: only then may anything be read or sent.

        Raises Transient where it does not come up, Rejected or Fatal where the exchange gives no listen key.
        """
        self._came_up.clear()
        self._refusal = None
        self._socket.start()
        deadline = self._clock.call_at(self._clock.now_ns() + UP_TIMEOUT_NS, self._came_up.set)
        await self._came_up.wait()
        deadline.cancel()
        if not self._was_up:
            why = self._socket.health().last_error
            await self._socket.stop()
            if self._refusal is not None:
                raise self._refusal
            raise Transient(f"the private stream does not come up: {why or 'no answer'}")
        self._tasks = [self._carry("listen key", self._keep_key()), self._carry("account poll", self._poll())]

    async def stop(self) -> None:
        """Close the socket and end what runs beside it."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._socket.stop()

    def health(self) -> SocketHealth:
        """Tell how the socket is."""
        return self._socket.health()

    def rebuild(self, why: str) -> None:
        """Leave the socket and its key for new ones."""
        self._socket.rebuild(why)

    # --- the socket -------------------------------------------------------------------------------------------------

    async def _url(self) -> str:
        """Ask for a listen key (a live one is given again, and prolonged) and give the address of its stream."""
        try:
            key = await read(self._session, "fapiPrivatePostListenKey", {}, listen_key, weight=1)
        except (Rejected, Fatal) as error:
            self._refusal = error
            self._came_up.set()
            raise
        self._renewed_ns = self._clock.now_ns()
        return self._endpoints.private(key)

    async def _on_up(self) -> None:
        again, self._was_up = self._was_up, True
        self._events.start_over(self._clock.now_ns())
        self._came_up.set()
        if again:
            self._emit(stream_gap("the private stream stands again"))

    def _on_down(self, why: str) -> None:
        self._report("the private stream was lost", {"why": why})
        self._emit(stream_gap(f"the private stream was lost: {why}"))

    def _on_bad(self, why: str) -> None:
        self._emit(stream_gap(f"a private frame could not be read: {why}"))

    def _take(self, payload: dict[str, Any]) -> None:
        self._events.take(payload, self._clock.now_ns())
        self._look_later()

    def _look_later(self) -> None:
        """Come back while anything is held or missed."""
        if self._timer is None and self._events.waits:
            self._timer = self._clock.call_at(self._clock.now_ns() + _LOOK_NS, self._look)

    def _look(self) -> None:
        self._timer = None
        self._events.due(self._clock.now_ns())
        self._look_later()

    # --- the key ----------------------------------------------------------------------------------------------------

    async def _keep_key(self) -> None:
        """Renew the key, for ever; where that is refused, or fails for too long, take a new one."""
        while True:
            await self._clock.sleep_until(self._renewed_ns + RENEW_NS)
            if self._clock.now_ns() < self._renewed_ns + RENEW_NS:
                continue
            try:
                await self._session.call("fapiPrivatePutListenKey", weight=1)
                self._renewed_ns = self._clock.now_ns()
            except Rejected as error:
                self._dead_key(f"the listen key is not renewed: {error}")
            except HedgegridError as error:
                self._report("the listen key could not be renewed", {"why": str(error)})
                if self._clock.now_ns() > self._renewed_ns + KEY_LIFE_NS - RENEW_AGAIN_NS:
                    self._dead_key("the listen key was not renewed in time")
                await self._clock.sleep(RENEW_AGAIN_NS)

    def _dead_key(self, why: str) -> None:
        self._renewed_ns = self._clock.now_ns()
        self._socket.rebuild(why)

    # --- deafness ---------------------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        """Compare the legs with the exchange's, for ever; while the stream is down, say so each time."""
        while True:
            await self._clock.sleep(self._poll_ns)
            if not self._socket.connected:
                self._emit(stream_gap("the private stream is down"))
                continue
            try:
                why = await self._deaf()
            except HedgegridError as error:
                self._report("the account could not be read", {"why": str(error)})
                continue
            if why:
                self._report("the private stream is deaf", {"why": why})
                self._socket.rebuild(why)

    async def _deaf(self) -> str:
        """Say which leg the stream has wrong, by two reads apart; empty where it is right."""
        if not self._differing(await self._read_legs()):
            return ""
        await self._clock.sleep(CONFIRM_NS)
        read_legs = await self._read_legs()
        differing = self._differing(read_legs)
        self._events.read_legs({key: read_legs.get(key, 0) for key in differing}, self._session.venue_ns())
        return "; ".join(f"{name} {leg.name}" for name, leg in differing)

    async def _read_legs(self) -> Legs:
        rows = await self._position_rows()
        return {(row.instrument, row.leg): abs(row.signed_lots) for row in rows if row.leg is not None}

    def _differing(self, read_legs: Legs) -> list[LegKey]:
        """Give the legs that the stream and the exchange tell differently; one not told yet is taken as read."""
        known = self._events.legs
        new = {key: lots for key, lots in read_legs.items() if key not in known}
        self._events.read_legs(new, self._session.venue_ns())
        return sorted(key for key, lots in known.items() if read_legs.get(key, 0) != lots)

    # --- tasks ------------------------------------------------------------------------------------------------------

    def _carry(self, what: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"private stream: {what}")
        task.add_done_callback(lambda done: self._on_done(what, done))
        return task

    def _on_done(self, what: str, task: asyncio.Task[None]) -> None:
        """A task that ends by itself is a fault: told, and the stream is not trusted any more."""
        if task.cancelled():
            return
        error = task.exception()
        self._report(f"{what} has ended", {"error": type(error).__name__, "why": str(error)[:200]})
        self._emit(stream_gap(f"{what} has ended"))
