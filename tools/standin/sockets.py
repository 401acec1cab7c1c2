"""The websockets: market and private streams on the split and the combined paths, and the websocket API.

Invariants: the answer to SUBSCRIBE is sent before the first frame of its streams; a socket ends at its life's end,
after an unanswered ping, after too many incoming messages, or when its outbox overflows, each with a close code; a
half-open socket keeps its connection, answers nothing and sends nothing.
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
from aiohttp import WSCloseCode, WSMsgType, web

from tools.standin.arrivals import arrived_ns
from tools.standin.hub import Hub, Listener, Path
from tools.standin.request_log import RequestLog
from tools.standin.stream_texts import json_text

STREAMS_MAX = 1024
ORDERS_PER_S_MAX = 1_000


@attrs.define(kw_only=True)
class SocketRules:
    """How long a socket lives and what it bears; may be changed at any time, for sockets that open later."""

    life_s: float = 24 * 3600
    ping_s: float = 180
    pong_s: float = 600
    incoming_max_per_s: int = 10


class Pace:
    """Counts incoming messages; more than ``most`` in a second are too many."""

    def __init__(self, most: int, now_s: Callable[[], float]) -> None:
        self._most = most
        self._now_s = now_s
        self._times: deque[float] = deque()

    def too_fast(self) -> bool:
        """Count a message and tell whether it is one too many."""
        now = self._now_s()
        self._times.append(now)
        while now - self._times[0] >= 1:
            self._times.popleft()
        return len(self._times) > self._most


class Sockets:
    """Serves the websocket addresses.

    ``order_frame`` answers a frame of the websocket API, by when it came; None: it is not answered.
    """

    def __init__(
        self,
        *,
        hub: Hub,
        log: RequestLog,
        rules: SocketRules,
        order_frame: Callable[[str, int], Awaitable[str | None]],
    ) -> None:
        self.rules = rules
        self._order_frame = order_frame
        self._hub = hub
        self._log = log
        self._opened = 0

    def add_routes(self, app: web.Application) -> None:
        """Register /public, /market, /private, /ws, /stream and /ws-fapi/v1."""
        for path in (Path.PUBLIC, Path.MARKET, Path.PRIVATE, Path.ANY):
            head = "" if path is Path.ANY else f"/{path.value}"
            for tail in ("/ws", "/ws/{streams:.*}", "/stream"):
                app.router.add_get(f"{head}{tail}", self._handler(path))
        app.router.add_get("/ws-fapi/v1", self._handler(Path.ORDERS))

    def _handler(self, path: Path) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.WebSocketResponse:
            return await self._serve(request, path)

        return serve

    async def _serve(self, request: web.Request, path: Path) -> web.WebSocketResponse:
        """Carry one socket from its opening to its end."""
        response = web.WebSocketResponse(autoping=False, autoclose=True, compress=False, max_msg_size=1 << 20)
        await response.prepare(request)
        self._opened += 1
        envelopes = request.path.endswith("/stream")
        listener = Listener(
            number=self._opened,
            path=path,
            in_envelopes=envelopes,
            on_sent=lambda number, note: self._sent(number, note.stream, note.event, note.facts),
        )
        streams = _streams_of(request)
        self._hub.join(listener, streams)
        self._log.note("socket", "open", socket=listener.number, path=request.path, streams=streams)
        tasks = [
            asyncio.create_task(self._write(listener, response), name="stand-in socket writer"),
            asyncio.create_task(self._keep(listener, response), name="stand-in socket keeper"),
        ]
        try:
            await self._read(listener, response, partial(arrived_ns, request))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._hub.leave(listener)
            self._log.note("socket", "close", socket=listener.number, code=response.close_code or 0)
        return response

    def _sent(self, socket: int, stream: str, event: str, facts: dict[str, object]) -> None:
        self._log.note("event", event, socket=socket, stream=stream, **facts)

    async def _write(self, listener: Listener, response: web.WebSocketResponse) -> None:
        """Send what the hub gives; a connection that is gone ends in the reader."""
        with contextlib.suppress(ConnectionError):
            await listener.write(response)

    async def _keep(self, listener: Listener, response: web.WebSocketResponse) -> None:
        """Ping, and end the socket when its time has come."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.rules.life_s
        while True:
            pause = min(self.rules.ping_s, max(0.0, ends - loop.time()))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await listener.closing.wait()
            if listener.overflowed:
                await response.close(code=WSCloseCode.POLICY_VIOLATION, message=b"too slow")
                return
            if listener.closing.is_set():
                await response.close(code=WSCloseCode.GOING_AWAY, message=b"closed by the stand-in")
                return
            if loop.time() >= ends:
                await response.close(code=WSCloseCode.POLICY_VIOLATION, message=b"24 h")
                return
            if not listener.deaf:
                with contextlib.suppress(ConnectionError):
                    await response.ping(str(int(loop.time() * 1000)).encode())
            if loop.time() - listener.heard_s > self.rules.pong_s:
                await response.close(code=WSCloseCode.POLICY_VIOLATION, message=b"pong timeout")
                return

    async def _read(self, listener: Listener, response: web.WebSocketResponse, came_ns: Callable[[], int]) -> None:
        """Answer what comes in, until the socket closes; ``came_ns``: when the newest of it was read."""
        loop = asyncio.get_running_loop()
        is_orders = listener.path is Path.ORDERS
        pace = Pace(ORDERS_PER_S_MAX if is_orders else self.rules.incoming_max_per_s, loop.time)
        listener.heard_s = loop.time()
        async with asyncio.TaskGroup() as answering:
            async for message in response:
                if listener.deaf:
                    continue
                listener.heard_s = loop.time()
                if pace.too_fast():
                    self._log.note("socket", "too many messages", socket=listener.number)
                    await response.close(code=WSCloseCode.POLICY_VIOLATION, message=b"Too many requests")
                    return
                if message.type is WSMsgType.PING:
                    with contextlib.suppress(ConnectionError):
                        await response.pong(message.data)
                elif message.type is WSMsgType.TEXT and is_orders:
                    answering.create_task(self._answer_order(listener, message.data, came_ns()))
                elif message.type is WSMsgType.TEXT:
                    listener.offer(json_text(self._reply(listener, message.data)))

    async def _answer_order(self, listener: Listener, text: str, frame_ns: int) -> None:
        """Answer one frame of the websocket API, in its own time."""
        answer = await self._order_frame(text, frame_ns)
        if answer is not None:
            listener.offer(answer)

    def _reply(self, listener: Listener, text: str) -> dict[str, Any]:
        """Do what a request asks and give the answer; refusals have the exchange's codes."""
        try:
            request = json.loads(text)
        except ValueError as error:
            return {"error": {"code": 3, "msg": f"Invalid JSON: {error}"}}
        if not isinstance(request, dict):
            return {"error": {"code": 3, "msg": "Invalid JSON: expected an object"}}
        number = request.get("id")
        if isinstance(number, bool) or not isinstance(number, int | str) or (isinstance(number, int) and number < 0):
            return {"error": {"code": 2, "msg": "Invalid request: request ID must be an unsigned integer"}}
        self._log.note("socket", str(request.get("method")), socket=listener.number, params=request.get("params"))
        return self._done(listener, request) | {"id": number}

    def _done(self, listener: Listener, request: dict[str, Any]) -> dict[str, Any]:
        """Do a well-formed request and give its result or error."""
        method, params = request.get("method"), request.get("params", [])
        problem = None
        match method:
            case "SUBSCRIBE" | "UNSUBSCRIBE":
                problem = self._subscribe(listener, method, params)
            case "LIST_SUBSCRIPTIONS":
                return {"result": list(listener.streams)}
            case "SET_PROPERTY" if isinstance(params, list) and params[:1] == ["combined"] and len(params) > 1:
                listener.in_envelopes = bool(params[1])
            case "GET_PROPERTY":
                return {"result": listener.in_envelopes}
            case _:
                known = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"
                problem = f"Invalid request: unknown variant `{method}`, expected one of {known}"
        return {"result": None} if problem is None else {"error": {"code": 2, "msg": problem}}

    def _subscribe(self, listener: Listener, method: str, params: object) -> str | None:
        """Change what a listener hears; give what is wrong with the request, if anything."""
        if not isinstance(params, list) or not params or not all(isinstance(name, str) for name in params):
            return "Invalid request: params must be an array of strings"
        if method == "UNSUBSCRIBE":
            self._hub.unsubscribe(listener, params)
            return None
        if len({*listener.streams, *params}) > STREAMS_MAX:
            return f"Invalid request: at most {STREAMS_MAX} streams"
        self._hub.subscribe(listener, params)
        return None


def _streams_of(request: web.Request) -> list[str]:
    """Give the streams that an address names: in its path, as ``streams=``, or as ``listenKey=``.

    The part after /ws may also be a bare number, with which clients keep their sockets apart.
    """
    named = request.match_info.get("streams", "").split("/")
    asked = request.query.get("streams", "").split("/")
    keys = request.query.get("listenKey", "").split("/")
    return [name for name in (*named, *asked, *keys) if name and not name.isdigit()]
