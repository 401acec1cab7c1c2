"""One websocket that is kept up: dialled, subscribed, pinged, and dialled anew when it ends or falls silent.

Invariants:
- Every message of the connection reaches ``on_event`` once and in order; one that cannot be decoded or taken is
  counted, told, and ends nothing.
- A peer that answers neither with frames nor with pongs for ``PINGS_MISSED`` pings is left, even where TCP still
  stands; so is one that does not acknowledge the subscription.
- ``on_down`` is called once for each connection that had come up, before the next one is dialled.
- Between two dials there is a pause that doubles up to ``BACKOFF_MAX_NS`` until a connection has held.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from hedgegrid.errors import HedgegridError
from hedgegrid.runtime.clock import Clock
from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.wire import Connection, LostError, NotSentError, PublicWire

Report = Callable[[str, Mapping[str, str]], None]

PINGS_MISSED: Final = 2
BACKOFF_MIN_NS: Final = NS_PER_S // 4
BACKOFF_MAX_NS: Final = 30 * NS_PER_S
HELD_NS: Final = NS_PER_MINUTE
"""A connection that lasted this long was a good one: the next pause is the shortest again."""
_ANSWER_S: Final = 5.0
_STREAMS_PER_REQUEST: Final = 100


def quiet(_text: str, _figures: Mapping[str, str]) -> None:
    """Tell nobody of a problem."""


def nobody(_why: str) -> None:
    """Tell nobody of a frame that could not be read."""


def is_told(count: int) -> bool:
    """Whether the ``count``-th problem of a kind is told: the first, and then each that doubles the count."""
    return count & (count - 1) == 0


class _EndedError(Exception):
    """The connection is over; the text says why."""


_KNOWN: Final = (_EndedError, NotSentError, LostError, HedgegridError)
"""What ends a connection in the ordinary way."""


@attrs.frozen(kw_only=True)
class SocketHealth:
    """How a socket is; times in ns of our clock, None where it never was.

    Quiet but alive: ``connected`` and a fresh ``last_pong_ns``. ``rebuilds`` counts the connections that came up after
    the first.
    """

    name: str
    connected: bool
    opened_ns: int | None
    last_message_ns: int | None
    last_pong_ns: int | None
    messages: int
    bad_frames: int
    rebuilds: int
    last_error: str


class KeptSocket:
    """A websocket with one owner. Start it once, stop it once."""

    def __init__(  # noqa: PLR0913 - the callbacks are one owner's
        self,
        *,
        name: str,
        wire: PublicWire,
        clock: Clock,
        url: Callable[[], Awaitable[str]],
        on_event: Callable[[dict[str, Any]], None],
        on_up: Callable[[], Awaitable[None]],
        on_down: Callable[[str], None] = nobody,
        on_bad: Callable[[str], None] = nobody,
        streams: Callable[[], Sequence[str]] = tuple,
        ping_ms: int = 2_000,
        report: Report = quiet,
    ) -> None:
        """Prepare; nothing is dialled yet.

        ``url`` is asked before every dial. ``on_event`` takes each decoded message, out of its combined form, and must
        not block. ``on_up`` is awaited when the connection stands and ``streams`` are acknowledged, while events
        already come: the place to read again what was missed; an error of ours from it ends the connection.
        """
        self._name, self._wire, self._clock = name, wire, clock
        self._url, self._streams, self._ping_ns = url, streams, ping_ms * NS_PER_MS
        self._on_event, self._on_up, self._on_down, self._on_bad = on_event, on_up, on_down, on_bad
        self._report = report
        self._task: asyncio.Task[None] | None = None
        self._connection: Connection | None = None
        self._ended: asyncio.Future[str] | None = None
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next_id = 0
        self._opened_ns: int | None = None
        self._last_message_ns: int | None = None
        self._last_pong_ns: int | None = None
        self._messages = self._bad_frames = self._came_up = 0
        self._last_error = ""

    def start(self) -> None:
        """Begin to dial; the running loop carries it."""
        self._task = asyncio.create_task(self._keep(), name=f"socket {self._name}")

    async def stop(self) -> None:
        """Close and dial no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def rebuild(self, why: str) -> None:
        """Leave the present connection and dial anew; nothing where there is none."""
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(why)

    @property
    def connected(self) -> bool:
        """Whether a connection stands and its streams are acknowledged."""
        return self._opened_ns is not None

    async def send(self, message: Mapping[str, Any] | str) -> None:
        """Send a message, or its text. NotSentError where no connection stands, LostError where it broke meanwhile."""
        connection = self._connection
        if connection is None or connection.closed():
            raise NotSentError(f"{self._name}: not connected")
        try:
            await connection.send(message if isinstance(message, str) else dict(message))
        except (OSError, RuntimeError) as error:
            raise LostError(f"{self._name}: the connection was lost ({type(error).__name__})") from None

    def health(self) -> SocketHealth:
        """Tell how the socket is."""
        return SocketHealth(
            name=self._name,
            connected=self.connected,
            opened_ns=self._opened_ns,
            last_message_ns=self._last_message_ns,
            last_pong_ns=self._last_pong_ns,
            messages=self._messages,
            bad_frames=self._bad_frames,
            rebuilds=max(0, self._came_up - 1),
            last_error=self._last_error,
        )

    async def _keep(self) -> None:
        """Hold one connection after the other, for ever."""
        pause_ns = BACKOFF_MIN_NS
        while True:
            dialled_ns = self._clock.now_ns()
            try:
                await self._hold()
            except Exception as error:  # broad: a fault of the owner's must not leave it deaf; it is told each time
                self._note(_words(error))
            if self._task is not asyncio.current_task():
                # Stopped in the moment in which the connection ended: the group then forgets that it was cancelled.
                raise asyncio.CancelledError
            held = self._clock.now_ns() - dialled_ns >= HELD_NS
            pause_ns = BACKOFF_MIN_NS if held else pause_ns
            await self._clock.sleep(pause_ns)
            pause_ns = min(2 * pause_ns, BACKOFF_MAX_NS)

    def _note(self, why: str) -> None:
        """Keep and tell why the last connection ended, or did not come up."""
        self._last_error = why
        self._report(
            "a websocket ended or did not open", {"socket": self._name, "why": why, "came_up": str(self._came_up)}
        )

    async def _hold(self) -> None:
        """Hold one connection, and tell the owner of its end. Raises why it ended or did not open."""
        came_up_before = self._came_up
        try:
            await self._hold_one()
        except Exception as error:  # broad: whatever ended it, the owner hears of it; raised again
            if self._came_up != came_up_before:
                self._on_down(_words(error))
            raise

    async def _hold_one(self) -> None:
        """Dial, and stay until the connection ends. _EndedError, NotSentError, or what ``url`` and ``on_up`` raise."""
        connection = await self._wire.dial(
            await self._url(), tap=self._take, on_pong=self._pong, on_bad=self._count_bad
        )
        self._connection = connection
        self._ended = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(connection))
                tasks.create_task(self._watch(connection))
                tasks.create_task(self._end_when_told(self._ended))
                tasks.create_task(self._begin())
        except* _KNOWN as group:
            raise _EndedError(_words(group)) from None
        finally:
            self._connection = self._ended = self._opened_ns = None
            self._waiting.clear()
            await self._wire.drop(connection)

    async def _listen(self, connection: Connection) -> None:
        raise _EndedError(await connection.listen())

    async def _end_when_told(self, ended: asyncio.Future[str]) -> None:
        raise _EndedError(await ended)

    async def _watch(self, connection: Connection) -> None:
        """Ping, and leave a peer that is silent for ``PINGS_MISSED`` pings; a late look of ours proves nothing."""
        silent = 0
        while True:
            before_ns, messages, pong_ns = self._clock.now_ns(), self._messages, self._last_pong_ns
            try:
                await connection.connection.ping()
            except (OSError, RuntimeError) as error:
                raise _EndedError(f"broken: {type(error).__name__}") from None
            await self._clock.sleep(self._ping_ns)
            late = self._clock.now_ns() - before_ns > 2 * self._ping_ns
            heard = self._messages != messages or self._last_pong_ns != pong_ns
            silent = 0 if heard or late else silent + 1
            if silent >= PINGS_MISSED:
                raise _EndedError(f"silent: neither frame nor pong for {silent} pings")

    async def _begin(self) -> None:
        """Subscribe, then let the owner read what it missed."""
        streams = self._streams()
        for start in range(0, len(streams), _STREAMS_PER_REQUEST):
            await self._subscribe(streams[start : start + _STREAMS_PER_REQUEST])
        self._opened_ns = self._clock.now_ns()
        self._came_up += 1
        await self._on_up()

    async def _subscribe(self, streams: Sequence[str]) -> None:
        """Ask for streams and wait for the acknowledgement. _EndedError where it is refused or does not come."""
        self._next_id += 1
        request_id = self._next_id
        answer = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        await self.send({"method": "SUBSCRIBE", "params": list(streams), "id": request_id})
        try:
            async with asyncio.timeout(_ANSWER_S):
                told = await answer
        except TimeoutError:
            raise _EndedError("the subscription was not acknowledged") from None
        finally:
            self._waiting.pop(request_id, None)
        if told.get("result", "") is not None:
            error = told.get("error")
            words = error.get("msg") if isinstance(error, dict) else told.get("msg")
            raise _EndedError(f"the subscription was refused: {str(words)[:80]}")

    def _pong(self) -> None:
        self._last_pong_ns = self._clock.now_ns()

    def _take(self, message: object) -> None:
        """Hand one message on; whatever goes wrong with it ends here."""
        self._messages += 1
        self._last_message_ns = self._clock.now_ns()
        if type(message) is not dict:
            self._count_bad("a frame is no object")
            return
        event: dict[str, Any] = message
        if "stream" in event and type(event.get("data")) is dict:
            event = event["data"]
        try:
            if self._waiting and self._is_answer(event):
                return
            self._on_event(event)
        except BadPayloadError as error:
            self._count_bad(str(error))
        except Exception as error:  # broad: one event's fault must not silence the socket; it is counted and told
            self._count_bad(f"{type(error).__name__}: {error}")

    def _is_answer(self, message: dict[str, Any]) -> bool:
        """Give an answer to whoever waits for it; False for what is none."""
        request_id = message.get("id")
        future = self._waiting.get(request_id) if type(request_id) is int else None
        if future is None:
            return False
        if not future.done():
            future.set_result(message)
        return True

    def _count_bad(self, why: str) -> None:
        self._bad_frames += 1
        if is_told(self._bad_frames):
            figures = {"socket": self._name, "why": why, "count": str(self._bad_frames)}
            self._report("a frame could not be read", figures)
        self._on_bad(why)


def _words(error: BaseException) -> str:
    """Give the words of an error, or of a group's first; a fault of our own is named by its class."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) if isinstance(error, _KNOWN) else f"{type(error).__name__}: {error}"
