"""Plain clients of the stand-in: signed REST calls and websockets, without any library of an exchange.

Invariant: nothing here sleeps for a fixed time to see something; it waits for the thing, with a bound.
"""

import asyncio
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from urllib.parse import urlencode

import aiohttp
import attrs

from tools.standin.serving import Standin

BOUND_S = 20.0


@attrs.frozen(kw_only=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)


class Rest:
    """A signed REST client of one stand-in."""

    def __init__(self, standin: Standin, session: aiohttp.ClientSession) -> None:
        self.standin = standin
        self.session = session

    async def call(
        self, method: str, path: str, *, recv_window: int = 5_000, sent_ms: int | None = None, **params: Any
    ) -> Reply:
        """Send a signed request. aiohttp.ClientError where the connection breaks."""
        options = self.standin.options
        now_ms = self.standin.clock.now_ms() if sent_ms is None else sent_ms
        text = urlencode(params | {"recvWindow": recv_window, "timestamp": now_ms})
        signature = hmac.new(options.secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        url = f"{self.standin.url}{path}?{text}&signature={signature}"
        headers = {"X-MBX-APIKEY": options.key}
        async with asyncio.timeout(BOUND_S), self.session.request(method, url, headers=headers) as response:
            return Reply(status=response.status, headers=dict(response.headers), text=await response.text())

    async def place(self, **changes: Any) -> Reply:
        """Send a resting buy, well under the market, changed as asked."""
        quote = self.standin.exchange.quote("BTCUSDT")
        spec = self.standin.exchange.specs["BTCUSDT"]
        usual = {
            "symbol": "BTCUSDT",
            "side": "BUY",
            "positionSide": "LONG",
            "type": "LIMIT",
            "timeInForce": "GTX",
            "quantity": "0.010",
            "price": spec.price_text(quote.bid_ticks - 1_000),
            "newClientOrderId": f"c{time.monotonic_ns()}",
        }
        return await self.call("POST", "/fapi/v1/order", **(usual | changes))

    async def market(self, **changes: Any) -> Reply:
        """Buy at the market."""
        order = {"symbol": "BTCUSDT", "side": "BUY", "positionSide": "LONG", "type": "MARKET", "quantity": "0.010"}
        return await self.call("POST", "/fapi/v1/order", **(order | changes))

    async def listen_key(self) -> str:
        """Ask for the listen key."""
        reply = await self.call("POST", "/fapi/v1/listenKey")
        return str(reply.json["listenKey"])


@contextlib.asynccontextmanager
async def rest(standin: Standin) -> AsyncIterator[Rest]:
    """Open a REST client."""
    async with aiohttp.ClientSession() as session:
        yield Rest(standin, session)


class Wire:
    """One websocket and what came over it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[Any] = []
        self.bad: list[str] = []

    async def ask(self, method: str, params: Any = None, number: Any = 1) -> Any:
        """Send a request and give its answer; frames before it are kept."""
        body = {"method": method, "id": number} | ({} if params is None else {"params": params})
        await self.socket.send_str(json.dumps(body))
        return await self.until(lambda frame: isinstance(frame, dict) and frame.get("id") == number)

    async def until(self, wanted: Callable[[Any], bool], bound_s: float = BOUND_S) -> Any:
        """Read on until a frame is as wanted. TimeoutError, or ConnectionError where the socket ends."""
        async with asyncio.timeout(bound_s):
            while True:
                message = await self.socket.receive()
                if message.type is not aiohttp.WSMsgType.TEXT:
                    raise ConnectionError(f"the socket ended: {message.type!r} {message.data!r}")
                try:
                    frame = json.loads(message.data)
                except ValueError:
                    self.bad.append(message.data)
                    continue
                self.frames.append(frame)
                if wanted(frame):
                    return frame

    async def event(self, name: str, **members: Any) -> Any:
        """Read on until an event of a name whose order part has these members."""

        def is_it(frame: Any) -> bool:
            order = frame.get("o", {})
            return frame.get("e") == name and all(order.get(key) == value for key, value in members.items())

        return await self.until(is_it)

    async def silence(self, seconds: float = 0.4) -> list[Any]:
        """Read for a while and give what came."""
        before = len(self.frames)
        with contextlib.suppress(TimeoutError):
            await self.until(lambda _: False, seconds)
        return self.frames[before:]

    async def end(self) -> int | None:
        """Read on until the socket is closed from the other side; give the close code."""
        with contextlib.suppress(ConnectionError):
            await self.until(lambda _: False)
        return self.socket.close_code


@contextlib.asynccontextmanager
async def wire(standin: Standin, path: str) -> AsyncIterator[Wire]:
    """Open a websocket."""
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{standin.ws_url}{path}") as socket:
        yield Wire(socket)


@contextlib.asynccontextmanager
async def private(client: Rest) -> AsyncIterator[Wire]:
    """Open the private stream."""
    key = await client.listen_key()
    async with wire(client.standin, f"/private/ws?listenKey={key}") as socket:
        await eventually(lambda: any(key in each.streams for each in client.standin.hub.listeners.values()))
        yield socket


async def eventually(holds: Callable[[], bool]) -> None:
    """Wait until something holds. TimeoutError where it never does."""
    async with asyncio.timeout(BOUND_S):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event of its own
            await asyncio.sleep(0.005)
