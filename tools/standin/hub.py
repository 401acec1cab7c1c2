"""Who hears which stream.

Invariants: a stream reaches each socket that asked for it on the right path, once; one asked for on the wrong path is
listed and silent, as at the exchange since it split its paths; sending never waits: each socket has its own bounded
outbox, and one that overflows is closed.
"""

import asyncio
import enum
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

import attrs

from tools.standin.stream_texts import wrapped

OUTBOX_MAX = 200_000
PRIVATE_KEY_LENGTH = 64
_PUBLIC_STREAMS = ("bookTicker", "depth", "rpiDepth", "trade")


class Path(enum.Enum):
    """The group of streams that an address serves; ANY is the old, undivided one, ORDERS the websocket API."""

    PUBLIC = "public"
    MARKET = "market"
    PRIVATE = "private"
    ANY = "any"
    ORDERS = "orders"


def path_of(stream: str) -> Path:
    """Give the path on which a stream speaks."""
    if len(stream) == PRIVATE_KEY_LENGTH and "@" not in stream:
        return Path.PRIVATE
    channel = stream.partition("@")[2] if "@" in stream else ""
    name = channel.partition("@")[0]
    is_public = name.startswith(_PUBLIC_STREAMS) or stream == "!bookTicker"
    return Path.PUBLIC if is_public else Path.MARKET


@attrs.frozen
class Note:
    """What to log when a frame is sent: the stream, the event's name, and figures that identify it."""

    stream: str
    event: str
    facts: dict[str, object] = attrs.field(factory=dict)


class Connection(Protocol):
    """What the socket under a listener must be able to do."""

    async def send_str(self, text: str, /) -> None:
        """Send one text frame."""
        ...


class Listener:
    """One websocket as the hub sees it: what it asked for, and what waits to be sent to it.

    ``deaf``: half-open, it takes frames and sends none. ``overflowed``: it was too slow and must be closed.
    ``heard_s``: when the other side last said anything, on the event loop's clock.
    """

    def __init__(
        self, *, number: int, path: Path, in_envelopes: bool, on_sent: Callable[[int, Note], None] | None = None
    ) -> None:
        self.number = number
        self.path = path
        self.in_envelopes = in_envelopes
        self.streams: dict[str, None] = {}
        self.deaf = False
        self.overflowed = False
        self.sent = 0
        self.heard_s = asyncio.get_running_loop().time()
        self.closing = asyncio.Event()
        self._on_sent = on_sent
        self._outbox: deque[tuple[str, Note | None]] = deque()
        self._ready = asyncio.Event()

    def offer(self, text: str, note: Note | None = None) -> None:
        """Queue a frame."""
        if self.deaf:
            return
        if len(self._outbox) >= OUTBOX_MAX:
            self.overflowed = True
            self.closing.set()
            return
        self._outbox.append((text, note))
        self._ready.set()

    async def write(self, connection: Connection) -> None:
        """Send what is queued, until cancelled. ConnectionError where the other side is gone."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._outbox:
                text, note = self._outbox.popleft()
                if self.deaf:
                    continue
                if note is not None and self._on_sent is not None:
                    self._on_sent(self.number, note)
                await connection.send_str(text)
                self.sent += 1


class Hub:
    """The listeners by stream. ``on_subscribe`` is told each stream that somebody begins to hear."""

    def __init__(self) -> None:
        self.listeners: dict[int, Listener] = {}
        self.on_subscribe: Callable[[str], None] | None = None
        self._by_stream: dict[str, dict[int, Listener]] = {}

    def join(self, listener: Listener, streams: Iterable[str] = ()) -> None:
        """Take a new listener in, with the streams of its address."""
        self.listeners[listener.number] = listener
        self.subscribe(listener, streams)

    def leave(self, listener: Listener) -> None:
        """Forget a listener."""
        self.unsubscribe(listener, tuple(listener.streams))
        self.listeners.pop(listener.number, None)

    def subscribe(self, listener: Listener, streams: Iterable[str]) -> None:
        """Add streams to what a listener hears; those of another path are only listed."""
        for stream in streams:
            listener.streams[stream] = None
            if listener.path in {Path.ANY, path_of(stream)}:
                self._by_stream.setdefault(stream, {})[listener.number] = listener
                if self.on_subscribe is not None:
                    self.on_subscribe(stream)

    def unsubscribe(self, listener: Listener, streams: Iterable[str]) -> None:
        """Take streams away from what a listener hears."""
        for stream in streams:
            listener.streams.pop(stream, None)
            hearing = self._by_stream.get(stream, {})
            hearing.pop(listener.number, None)
            if not hearing:
                self._by_stream.pop(stream, None)

    def wanted(self, stream: str) -> bool:
        """Tell whether anybody hears a stream."""
        return stream in self._by_stream

    def streams(self) -> tuple[str, ...]:
        """Give the streams that somebody hears."""
        return tuple(self._by_stream)

    def publish(self, stream: str, text: str, note: Note | None = None) -> int:
        """Queue a frame for everybody who hears the stream; give how many do."""
        hearing = self._by_stream.get(stream)
        if not hearing:
            return 0
        for listener in hearing.values():
            listener.offer(wrapped(stream, text) if listener.in_envelopes else text, note)
        return len(hearing)

    def on_path(self, path: Path | None) -> list[Listener]:
        """Give the listeners of a path (those of the undivided address belong to each), or all of them."""
        chosen = {path} if path is Path.ORDERS else {path, Path.ANY}
        return [each for each in self.listeners.values() if path is None or each.path in chosen]
