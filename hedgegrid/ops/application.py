"""The ASGI application behind the port, and the server that runs it inside our event loop.

Litestar, because it serves the attrs values that the house is made of and writes OpenAPI 3.1 from them, without a
second schema language; uvicorn, because it runs in a loop that is already there. Importing both takes half a second.

Invariants: a request for a foreign host name never reaches a route (DNS rebinding), nor one without the token where one
is set; a route that fails answers 500 without a word of the error, and the log has it; no signal handler is installed.
"""

import asyncio
import hmac
import re
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
import uvicorn
from litestar import Litestar, Request, Response, get
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.response.base import ASGIResponse
from litestar.serialization import encode_json
from litestar.types import ASGIApp, Receive, Scope, Send
from loguru import logger

from hedgegrid import __version__
from hedgegrid.ops.client import ACCOUNT_HEADER
from hedgegrid.ops.health import Health
from hedgegrid.ops.metrics import CONTENT_TYPE

CONNECTIONS_MAX: Final = 64
"""More at once are answered 503."""
KEEP_ALIVE_S: Final = 5
HEADER_S: Final = 5.0
"""What a connection gets to send a whole request."""
IDLE_MAX: Final = 32
"""Of more connections those that have waited longest without a request are cut."""
REAP_S: Final = 0.1
_READS: Final = frozenset({"GET", "HEAD"})
HOST_HEADER: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([0-9A-Za-z._-]+))(?::[0-9]{1,5})?")
"""An IPv6 address in brackets or a name, with or without a port."""


def routes(
    *, metrics: Callable[[], bytes], health: Callable[[], Health], more: Sequence[HTTPRouteHandler] = ()
) -> Litestar:
    """Make the application: what each route answers is asked for at each request; ``more`` are further routes."""

    @get("/metrics", include_in_schema=False)
    async def get_metrics() -> Response[bytes]:
        return Response(metrics(), headers={"content-type": CONTENT_TYPE})

    @get("/api/v1/health")
    async def get_health() -> Health:
        return health()

    return Litestar(
        route_handlers=[get_metrics, get_health, *more],
        openapi_config=OpenAPIConfig(title="hedgegrid", version=__version__, path="/api/v1/openapi"),
        logging_config=None,
        exception_handlers={HTTPStatus.INTERNAL_SERVER_ERROR: _failed},
    )


def _failed(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, object]]:
    """Log what a route raised; the answer does not repeat it."""
    logger.opt(exception=error).error("{} {} failed", request.method, request.url.path)
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return Response({"status_code": status, "detail": status.phrase}, status_code=status)


@attrs.frozen(kw_only=True)
class Tokens:
    """The bearer tokens of the port: one that reads (None: anybody may), one that controls and reads (None: nobody)."""

    read: str | None = attrs.field(default=None, repr=False)
    control: str | None = attrs.field(default=None, repr=False)


def guarded(app: ASGIApp, *, hosts: frozenset[str] | None, tokens: Tokens, account: str) -> ASGIApp:
    """Answer in place of ``app`` where Host or Origin is none of ``hosts`` (None: any), or the token is not given.

    Who names an account means no other than ``account``: accounts of one machine take each other's ports.
    """

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        given = list(scope["headers"])
        fault = (
            _host_fault(given, hosts)
            or _origin_fault(given, hosts)
            or _account_fault(given, account)
            or _token_fault(given, tokens, scope["method"] if scope["type"] == ScopeType.HTTP else "")
        )
        if fault is None:
            await app(scope, receive, send)
            return
        status, text = fault
        headers = {"www-authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else {}
        body = encode_json({"status_code": status, "detail": text})
        await ASGIResponse(body=body, status_code=status, headers=headers)(scope, receive, send)

    return guard


_Headers = list[tuple[bytes, bytes]]
_Fault = tuple[HTTPStatus, str]


def _host_fault(headers: _Headers, hosts: frozenset[str] | None) -> _Fault | None:
    named = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if len(named) != 1 or (match := HOST_HEADER.fullmatch(named[0])) is None:
        return HTTPStatus.BAD_REQUEST, "one Host header with a name is needed"
    if hosts is not None and (match[1] or match[2]).lower() not in hosts:
        return HTTPStatus.FORBIDDEN, "the Host header names another host"
    return None


def _origin_fault(headers: _Headers, hosts: frozenset[str] | None) -> _Fault | None:
    """Refuse a page of another origin: a browser names it, whatever it was tricked into."""
    named = [value.decode("latin-1") for name, value in headers if name == b"origin"]
    if not named or hosts is None:
        return None
    try:
        host = urlsplit(named[0]).hostname if len(named) == 1 else None
    except ValueError:  # no address at all
        host = None
    if host is None or host.lower() not in hosts:
        return HTTPStatus.FORBIDDEN, "the Origin header names another host"
    return None


def _account_fault(headers: _Headers, account: str) -> _Fault | None:
    """Refuse what is meant for another account, before its token is looked at: which one this is stays untold."""
    named = [value for name, value in headers if name == ACCOUNT_HEADER.encode()]
    if named and named != [account.encode()]:
        return HTTPStatus.MISDIRECTED_REQUEST, "another account listens here"
    return None


def _token_fault(headers: _Headers, tokens: Tokens, method: str) -> _Fault | None:
    if method in _READS:
        wanted = [token for token in (tokens.read, tokens.control) if token is not None]
        if tokens.read is None:
            return None
    elif tokens.control is None:
        return HTTPStatus.FORBIDDEN, "no control over HTTP: set [ops] control_token"
    else:
        wanted = [tokens.control]
    given = [value for name, value in headers if name == b"authorization"]
    if len(given) == 1:
        # Every token is compared: the time taken must not tell which one was near.
        matches = [hmac.compare_digest(given[0], b"Bearer " + token.encode()) for token in wanted]
        if any(matches):
            return None
    return HTTPStatus.UNAUTHORIZED, "a bearer token is needed"


class Server(uvicorn.Server):
    """A uvicorn server as a guest: the signals stay the run's, and ``listening`` tells when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        """Make a server that does not listen yet."""
        super().__init__(config)
        self.listening = asyncio.Event()
        self._reaper: asyncio.Task[None] | None = None

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none: a signal ends the run by its stop policy, and the run stops this server."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer on the bound sockets, and say so."""
        await super().startup(sockets)
        self._reaper = asyncio.get_running_loop().create_task(self._reap(), name="http-reaper")
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop to answer."""
        if self._reaper is not None:
            self._reaper.cancel()
            await asyncio.gather(self._reaper, return_exceptions=True)
        await super().shutdown(sockets)

    async def _reap(self) -> None:
        """Cut connections that ask for nothing: after a while, or at once where there are too many.

        A request that never comes must lock nobody out, and take no file from the exchange's sockets.
        """
        loop = asyncio.get_running_loop()
        idle_since: dict[Any, float] = {}
        while True:
            await asyncio.sleep(REAP_S)
            now_s = loop.time()
            idle = [one for one in self.server_state.connections if _asks_nothing(one)]
            idle_since = {one: idle_since.get(one, now_s) for one in idle}
            surplus = len(self.server_state.connections) - IDLE_MAX
            for place, (one, since_s) in enumerate(sorted(idle_since.items(), key=lambda item: item[1])):
                if place < surplus or now_s - since_s > HEADER_S:
                    one.transport.abort()

    def drop_connections(self) -> None:
        """Cut what is still connected, such as a client that does not read its answer."""
        for connection in tuple(self.server_state.connections):
            connection.transport.abort()


def _asks_nothing(connection: Any) -> bool:  # noqa: ANN401 - any of the server's protocols
    """Tell whether no request of a connection is being answered."""
    cycle = getattr(connection, "cycle", None)
    return cycle is None or cycle.response_complete


def serving(app: ASGIApp, *, tls: tuple[str, str] | None) -> Server:
    """Make a server of ``app``; ``tls`` names certificate and key. Raises OSError (an ssl.SSLError) for bad ones."""
    certificate, key = tls if tls is not None else (None, None)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=CONNECTIONS_MAX,
        timeout_keep_alive=KEEP_ALIVE_S,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    config.load()
    return Server(config)
