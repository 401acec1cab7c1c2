"""Connections that stand ready for what changes something at the exchange: a request on one leaves as a single write.

Between an order and its connection aiohttp needs over half a millisecond, and after a pause of some seconds a whole
new connection. A line is dialled ahead and kept fresh; a request for which none stands ready is left to aiohttp.

Invariants: a line carries one request at a time; one whose answer did not come whole, or was not waited for, carries
no other; nothing is sent twice; no line is used after ``IDLE_S`` of silence, held or at rest, far before an exchange
closes it, so that no request meets that end; there are never more than ``LINES_MAX``.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Mapping
from typing import Final

import h11
import yarl
from aiohttp.http import SERVER_SOFTWARE

from hedgegrid.venues.ccxtpro.answer import Answer, Dialogue, NoAnswerError

LINES_MAX: Final = 4
"""What a decision sends at once: cancels, orders, and the stops of both legs."""
IDLE_S: Final = 12.0
"""How long a line may rest; then the last one is dialled anew, the others are closed."""
_LASTED_S: Final = 1.0
"""A line that ended before this is not dialled anew at once: whoever takes it does not want to be asked."""


class LineEndedError(Exception):
    """The connection ended: before the request left, or before its answer was whole, which ``LineRequest`` tells."""


class Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, lines: "Lines") -> None:
        """Belong to ``lines``."""
        self._lines = lines
        self._transport: asyncio.Transport | None = None
        self._dialogue: Dialogue | None = None
        self._answer: asyncio.Future[Answer] | None = None
        self.began_s = asyncio.get_running_loop().time()
        self._cut = False
        self.fresh_until_s = 0.0
        """On the loop's clock: until then the other side has not closed it for its silence."""
        self.rest: asyncio.TimerHandle | None = None
        """Set while it rests: what ends that."""

    @property
    def stands(self) -> bool:
        """Whether a request can be written: it has not ended, nor been silent for longer than it may."""
        fresh = asyncio.get_running_loop().time() < self.fresh_until_s
        return fresh and self._transport is not None and not self._transport.is_closing()

    def ask(self, dialogue: Dialogue) -> "asyncio.Future[Answer]":
        """Send a request. LineEndedError where nothing of it left."""
        assert self._answer is None, "one request at a time"
        if self._transport is None or not self.stands:
            self.end()
            raise LineEndedError("the connection ended before the request left")
        self._transport.write(dialogue.request)
        self._dialogue = dialogue
        self._answer = asyncio.get_running_loop().create_future()
        return self._answer

    def end(self) -> None:
        """Close the connection at once; an answer under way is cut short by it."""
        self._cut = True
        if self._transport is not None:
            self._transport.abort()

    # --- what asyncio calls -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport), "a stream"
        self._transport = transport
        self._refresh()

    def _refresh(self) -> None:
        self.fresh_until_s = asyncio.get_running_loop().time() + IDLE_S

    def data_received(self, piece: bytes) -> None:
        """Take a piece of the answer; what comes without a question ends the line."""
        answer, dialogue = self._answer, self._dialogue
        if answer is None or dialogue is None or answer.done():
            self.end()
            return
        try:
            whole = dialogue.feed(piece)
        except NoAnswerError as error:
            self._fail(str(error))
            return
        if whole is None:
            return
        self._answer = self._dialogue = None
        answer.set_result(whole)
        self._refresh()
        if whole.lasts:
            self._lines.rested(self)
        else:
            self.end()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take the end: of an answer that lasts as long as its connection, or of a request whose answer is lost."""
        self._lines.ended(self)
        self._transport = None  # they know each other: as a circle they would wait for the garbage collector
        answer, dialogue = self._answer, self._dialogue
        self._answer = self._dialogue = None
        if answer is None or dialogue is None or answer.done():
            return
        whole = dialogue.end() if exc is None and not self._cut else None
        if whole is None:
            answer.set_exception(LineEndedError("the answer is cut short"))
        else:
            answer.set_result(whole)

    def _fail(self, why: str) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.set_exception(LineEndedError(why))
        self.end()


class LineRequest:
    """One request that has its line. Either its answer is asked for, or it is dropped."""

    def __init__(self, lines: "Lines", line: Line, dialogue: Dialogue) -> None:
        """Hold the request of ``dialogue``; nothing leaves yet."""
        self._lines, self._line, self._dialogue = lines, line, dialogue
        self._dropped = False
        self.has_left = False
        """Whether a byte of it may have left."""

    async def answer(self) -> Answer:
        """Send it now, and give the answer. LineEndedError; CancelledError where it was dropped."""
        if self._dropped:
            raise asyncio.CancelledError("dropped")
        assert not self.has_left, "it is sent once"
        coming = self._line.ask(self._dialogue)
        self.has_left = True
        try:
            return await coming
        finally:
            if coming.cancelled():
                self._line.end()

    def drop(self) -> None:
        """Give it up where it has not left; its line is for another."""
        if not self.has_left and not self._dropped:
            self._dropped = True
            self._lines.rested(self._line)


class Lines:
    """The lines to one origin."""

    def __init__(self, origin: str, tls: ssl.SSLContext | None, connect_s: float) -> None:
        """Prepare inside the running loop; nothing is dialled before the first request."""
        self._origin = yarl.URL(origin)
        self._tls = tls if self._origin.scheme == "https" else None
        self._connect_s = connect_s
        self._resting: list[Line] = []
        self._lines: set[Line] = set()
        self._dialling: asyncio.Task[None] | None = None
        self._closed = False

    def request(
        self, method: str, url: yarl.URL, headers: Mapping[str, str] | None, body: bytes | None
    ) -> LineRequest | None:
        """Give a request its line; None where none stands ready, or the address is of another server."""
        if url.origin() != self._origin:
            return None
        line = None
        while self._resting and line is None:
            line = self._woken(self._resting.pop())
        if not self._resting:
            self._dial()
        if line is None:
            return None
        # As aiohttp has it: an exchange's gate makes the same of a request on both ways.
        fields = {"Host": url.raw_authority, "Accept": "*/*", "User-Agent": SERVER_SOFTWARE, **(headers or {})}
        try:
            dialogue = Dialogue(method, url.raw_path_qs, fields, body or b"")
        except (h11.LocalProtocolError, UnicodeError):
            # What h11 does not write is aiohttp's to send, or to refuse.
            self.rested(line)
            return None
        return LineRequest(self, line, dialogue)

    @staticmethod
    def _woken(line: Line) -> Line | None:
        if line.rest is not None:
            line.rest.cancel()
            line.rest = None
        if line.stands:
            return line
        line.end()
        return None

    def rested(self, line: Line) -> None:
        """Take a line back that carries nothing any more."""
        if not line.stands:
            line.end()
            return
        line.rest = asyncio.get_running_loop().call_at(line.fresh_until_s, line.end)
        self._resting.append(line)

    def ended(self, line: Line) -> None:
        """Forget a line that has ended; where it was the last that rested, and not at once, another takes its place."""
        self._lines.discard(line)
        if line in self._resting:
            self._resting.remove(line)
            if not self._resting and asyncio.get_running_loop().time() - line.began_s >= _LASTED_S:
                self._dial()

    def _dial(self) -> None:
        if not self._closed and self._dialling is None and len(self._lines) < LINES_MAX:
            self._dialling = asyncio.create_task(self._dialled(), name="a line to the exchange")

    async def _dialled(self) -> None:
        """Dial one line. Where that fails nothing is said: the requests' own way finds out, and tells."""
        host, port = self._origin.raw_host, self._origin.port
        assert host is not None, "an origin has a host"
        assert port is not None, "and a port"
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(self._connect_s):
                    _, line = await asyncio.get_running_loop().create_connection(
                        lambda: Line(self), host, port, ssl=self._tls
                    )
                self._lines.add(line)
                self.rested(line)
        finally:
            self._dialling = None

    async def close(self) -> None:
        """End all lines; what was not sent does not leave any more."""
        self._closed = True
        dialling, self._dialling = self._dialling, None
        if dialling is not None:
            dialling.cancel()
            await asyncio.wait((dialling,))
        for line in tuple(self._lines):
            line.end()
