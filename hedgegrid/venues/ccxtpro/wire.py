"""The exchange object of ccxt.pro, made safe: what leaves this machine and what comes in, without a decision.

ccxt knows addresses, signs, and opens websockets. The rest of it is left aside: its parsing, its caches and futures
(updates between two awaits are lost there), its limiter, its retries, its classes of errors (they depend on the
address). An answer leaves here as the bytes that came; a message as the decoded frame, in order, every one.

Invariants:
- A ``PublicWire`` has no keys, and its exchange object refuses to make a request of any section but the public ones
  and a connection to any address but those of the market's streams: nothing is sent.
- ``NotSentError`` is raised only where no byte of the request can have left; whatever else goes wrong is ``LostError``.
- No error carries a query, a header or a key.
"""

import asyncio
import re
import ssl
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import aiohttp
import attrs
import certifi
import orjson
import yarl

from hedgegrid.errors import Fatal
from hedgegrid.venues.ccxtpro.endpoints import Endpoints
from hedgegrid.venues.ccxtpro.held import HeldBody, HeldRequest
from hedgegrid.venues.ccxtpro.lean_ccxt import BinanceUsdm, SocketClient
from hedgegrid.venues.ccxtpro.lines import LineEndedError, LineRequest, Lines

CONNECT_S: Final = 5.0
_CLOSE_S: Final = 0.5
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~=&-]+")
"""What no escaping changes, but for what stands between fields."""
_PUBLIC_SECTIONS: Final = frozenset({"fapiPublic", "fapiPublicV2", "fapiPublicV3"})
_KEYED_PATHS: Final = frozenset({"historicalTrades"})
"""Paths of the public sections that carry a key all the same."""


class NotSentError(Exception):
    """The request did not leave this machine."""


class LostError(Exception):
    """The request may have left, and there is no whole answer."""


@attrs.frozen(kw_only=True)
class Reply:
    """An answer as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@attrs.frozen(kw_only=True)
class Prepared:
    """A request as it will leave: addressed, and signed where it is for an account. It holds secrets."""

    method: str
    url: yarl.URL = attrs.field(repr=False)
    headers: Mapping[str, str] | None = attrs.field(repr=False)
    body: bytes | None = attrs.field(repr=False)


Held = HeldRequest[Reply] | LineRequest
"""A request that has its connection, and is held back."""
Ready = Prepared | Held
"""What ``PublicWire.request`` sends: a request that was made, or one that has its connection already."""


class _Exchange(BinanceUsdm):  # type: ignore[misc]  # ccxt ships no types
    """ccxt.pro's exchange with our HTTP and our tap."""

    stamp_ms: Callable[[], int]
    http: aiohttp.ClientSession

    @staticmethod
    def rawencode(params: Mapping[str, Any], *_: object) -> str:
        """Join fields unescaped, as ccxt does by escaping a batch of orders and taking all of that back again."""
        return "&".join(
            f"{key}={str(value).lower() if value is True or value is False else value}" for key, value in params.items()
        )

    @staticmethod
    def urlencode(params: Mapping[str, Any], doseq: bool = False, *_: object) -> str:  # noqa: FBT001, FBT002 - ccxt's
        """Join fields escaped, as ccxt does; where nothing is to be escaped, as in any order, in one look."""
        text = _Exchange.rawencode(params)
        fields = text.count("&") + 1
        if doseq or _PLAIN.fullmatch(text) is None or not fields == text.count("=") == len(params):
            escaped: str = BinanceUsdm.urlencode(params, doseq)
            return escaped
        return text

    def nonce(self) -> int:
        """Give the exchange's time in ms, for the timestamp of a signed request."""
        return self.stamp_ms()

    def request(
        self,
        path: str,
        api: Any = "public",  # noqa: ANN401 - ccxt passes a list that begins with the section's name
        method: str = "GET",
        params: Any = None,  # noqa: ANN401
        config: Any = None,  # noqa: ANN401, ARG002 - what ccxt's own limiter would charge
    ) -> Prepared:
        """Have ccxt address and sign a request; all of its implicit methods come here. Nothing is sent."""
        made = self.sign(path, api, method, params or {})
        body = made["body"]
        return Prepared(
            method=made["method"],
            url=yarl.URL(made["url"], encoded=True),
            headers=made["headers"],
            body=None if body is None else body.encode(),
        )

    async def send(self, made: Prepared, body: HeldBody | None = None) -> Reply:
        """Send what ccxt made and signed, with ``body`` in place of its own, and give the answer as it came."""
        async with self.http.request(
            made.method, made.url, data=body or made.body, headers=made.headers, allow_redirects=False
        ) as response:
            return Reply(status=response.status, headers=response.headers, body=await response.read())

    def handle_message(self, client: "Connection", message: object) -> None:
        """Hand every message of every socket to its owner, ccxt's own handlers to none."""
        client.tap(message)


class _KeylessExchange(_Exchange):
    """An exchange object that cannot make a request for an account."""

    def sign(
        self,
        path: str,
        api: Any = "public",  # noqa: ANN401 - ccxt passes the section's name, or a list that begins with it
        method: str = "GET",
        params: Any = None,  # noqa: ANN401
        *_: object,
    ) -> dict[str, Any]:
        """Make a request of a public section. Fatal for every other."""
        section = api if isinstance(api, str) else api[0]
        if section not in _PUBLIC_SECTIONS or path in _KEYED_PATHS or method != "GET":
            raise Fatal(f"{section} {path}: a wire without keys reads the market and nothing else")
        made: dict[str, Any] = super().sign(path, api, method, params or {})
        return made

    def sign_params(self, params: object = None) -> dict[str, Any]:  # noqa: ARG002 - ccxt's signature
        """Refuse to sign a message of the order socket."""
        raise Fatal("a wire without keys reads the market and nothing else")


class Connection(SocketClient):  # type: ignore[misc]  # ccxt ships no types
    """One websocket of ccxt's, read by whoever opened it.

    ccxt's own loop of reading dies silently with the first message that a handler or the decoder cannot take, and its
    own pings notice a dead peer after minutes; both are replaced by ``listen`` and by the owner's pings.
    """

    tap: Callable[[object], None]
    on_pong: Callable[[], None]
    on_bad: Callable[[str], None]

    def receive_loop(self) -> None:
        """Do nothing: ``listen`` reads."""

    async def listen(self) -> str:
        """Hand every frame on until the connection ends, and say why it did."""
        receive = self.connection.receive
        while True:
            frame = await receive()
            kind = frame.type
            if kind is aiohttp.WSMsgType.TEXT or kind is aiohttp.WSMsgType.BINARY:
                self._take(frame.data)
            elif kind is aiohttp.WSMsgType.PONG:
                self.on_pong()
            elif kind is aiohttp.WSMsgType.PING:
                await self.connection.pong(frame.data)
            elif kind is aiohttp.WSMsgType.ERROR:
                return f"broken: {type(frame.data).__name__}"
            else:
                return f"closed by the exchange, code {self.connection.close_code}"

    def _take(self, frame: str | bytes) -> None:
        """Decode one frame and hand it to the tap; neither may end the reading."""
        try:
            message = orjson.loads(frame)
        except orjson.JSONDecodeError:
            self.on_bad("a frame is not JSON")
            return
        self.on_message_callback(self, message)

    async def hang_up(self) -> None:
        """Close; a peer that does not answer is left after ``_CLOSE_S``."""
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self.aiohttp_close()
        except TimeoutError:
            return


class PublicWire:
    """The market's side of the exchange: no credentials, no request that needs them."""

    _exchange_class: type[_Exchange] = _KeylessExchange

    def __init__(self, *, endpoints: Endpoints) -> None:
        """Prepare inside the running loop; nothing is sent yet."""
        self.endpoints = endpoints
        self._tls = _tls(endpoints.rest, endpoints.ws, endpoints.ws_api)
        self._exchange = self._made({})
        self._streams = frozenset({endpoints.public(), endpoints.market()})
        self._connections: set[Connection] = set()
        self._held: weakref.WeakSet[Held] = weakref.WeakSet()
        self._lines = Lines(endpoints.rest, self._tls, CONNECT_S)

    def _made(self, options: dict[str, Any]) -> _Exchange:
        """Make ccxt's object with our addresses and none of its habits."""
        exchange = self._exchange_class(
            {
                "enableRateLimit": False,
                "session": None,
                "options": {"fetchCurrencies": False, "watchBalance": {"fetchBalanceSnapshot": False}},
                **options,
            }
        )
        exchange.urls["api"] = dict(self.endpoints.api())
        exchange.asyncio_loop = asyncio.get_running_loop()
        exchange.stamp_ms = lambda: time.time_ns() // 1_000_000  # ambient: until a session brings the exchange's time
        exchange.http = _http(self._tls)
        return exchange

    def stamp_with(self, stamp_ms: Callable[[], int]) -> None:
        """Have every signed request carry the time that ``stamp_ms`` gives, the exchange's in ms."""
        self._exchange.stamp_ms = stamp_ms

    def prepared(self, method: str, params: Mapping[str, Any]) -> Prepared:
        """Make a request of one of ccxt's implicit methods. Fatal for one that must not be made."""
        made: Prepared = getattr(self._exchange, method)(dict(params))
        return made

    def held(self, made: Prepared) -> Ready:
        """Make a request ready to leave, as far as that can be done: off a line only a body can be held back."""
        one: Held | None = self._on_line(made)
        if one is None and made.body is None:
            return made
        one = one or HeldRequest(made.body or b"", partial(self._exchange.send, made))
        self._held.add(one)
        return one

    def _on_line(self, made: Prepared) -> LineRequest | None:
        """Give a request that changes something its line, where one stands ready; reads are not urgent."""
        return None if made.method == "GET" else self._lines.request(made.method, made.url, made.headers, made.body)

    async def request(self, made: Ready) -> Reply:
        """Send a request. NotSentError, LostError."""
        one = (self._on_line(made) or made) if isinstance(made, Prepared) else made
        try:
            return await self._reply(one)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as error:
            raise NotSentError(f"no connection ({type(error).__name__})") from None
        except (aiohttp.ClientError, LineEndedError, OSError, TimeoutError) as error:
            if not isinstance(one, Prepared) and not one.has_left:
                raise NotSentError(f"the connection ended before the request left ({type(error).__name__})") from None
            raise LostError(f"the connection was lost ({type(error).__name__})") from None

    async def _reply(self, one: Ready) -> Reply:
        if isinstance(one, LineRequest):
            answer = await one.answer()
            return Reply(status=answer.status, headers=answer.headers, body=answer.body)
        return await (one.reply() if isinstance(one, HeldRequest) else self._exchange.send(one))

    async def dial(
        self, url: str, *, tap: Callable[[object], None], on_pong: Callable[[], None], on_bad: Callable[[str], None]
    ) -> Connection:
        """Open a websocket; its frames come once ``listen`` runs. NotSentError where it does not open."""
        self._permit(url)
        exchange = self._exchange
        failures: list[str] = []
        connection = Connection(
            url,
            exchange.handle_message,
            lambda _client, error: failures.append(type(error).__name__),
            lambda _client, _code: None,
            lambda _client: None,
            {
                "asyncio_loop": exchange.asyncio_loop,
                "keepAlive": 0,
                "compress": 0,
                "connectionTimeout": CONNECT_S * 1000,
            },
        )
        connection.tap, connection.on_pong, connection.on_bad = tap, on_pong, on_bad
        await connection.open(exchange.http)
        if not connection.isConnected:
            raise NotSentError(f"no connection ({', '.join(failures)})")
        self._connections.add(connection)
        return connection

    def _permit(self, url: str) -> None:
        """Fatal for a websocket that is not the market's."""
        if url not in self._streams:
            raise Fatal("a wire without keys opens the market's streams and nothing else")

    async def drop(self, connection: Connection) -> None:
        """Close a websocket and forget it."""
        self._connections.discard(connection)
        await connection.hang_up()

    async def close(self) -> None:
        """Close all connections; what was held back does not leave any more."""
        for one in tuple(self._held):
            one.drop()
        for connection in tuple(self._connections):
            await self.drop(connection)
        await self._lines.close()
        await self._exchange.http.close()


class TradingWire(PublicWire):
    """The whole exchange, with an account's keys."""

    _exchange_class = _Exchange

    def __init__(self, *, endpoints: Endpoints, api_key: str, api_secret: str, recv_window_ms: int) -> None:
        """Prepare inside the running loop; nothing is sent yet. ``recv_window_ms``: how long a request is valid."""
        super().__init__(endpoints=endpoints)
        self._exchange.apiKey, self._exchange.secret = api_key, api_secret
        self._exchange.options["recvWindow"] = recv_window_ms

    def signed(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Give the parameters of an order socket's message with key, timestamp and signature."""
        made: dict[str, Any] = self._exchange.sign_params(dict(params))
        return made

    def _permit(self, url: str) -> None:
        """Permit every address: all come from ``Endpoints``."""


def _tls(*urls: str) -> ssl.SSLContext | None:
    """Make what checks certificates, None where all addresses are this machine's.

    Reading the certificates costs time and memory that plain loopback can do without.
    """
    if not any(url.startswith(("https:", "wss:")) for url in urls):
        return None
    return ssl.create_default_context(cafile=certifi.where())


def _http(tls: ssl.SSLContext | None) -> aiohttp.ClientSession:
    """Make the session of one wire: certificates checked, no cookies, dead addresses given up early."""
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls or True),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
    )
    # aiohttp sends DELETE and PUT a second time where a kept connection breaks: a cancel would be sent twice.
    session._retry_connection = False  # noqa: SLF001 - it has no public switch
    return session
