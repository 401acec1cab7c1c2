"""The port that people and Prometheus read the run at.

Invariants: the socket is bound before anything else, so that a port in use is one clear error at the start; an address
that others can reach needs TLS and a token; only requests for a loopback name or the configured host are answered;
``stop`` is bounded whatever the clients do.
"""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final

from hedgegrid.errors import Fatal
from hedgegrid.ops.client import identity
from hedgegrid.ops.control import Control
from hedgegrid.ops.health import Health, health
from hedgegrid.ops.metrics import registry, render
from hedgegrid.ops.readings import RuntimeReading
from hedgegrid.ops.view import AccountView

if TYPE_CHECKING:
    from hedgegrid.ops.application import Server

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
GRACE_S: Final = 1.0
"""What a response in flight gets to end when the server stops; then its connection is cut."""
STOP_TIMEOUT_S: Final = 3.0
"""What the server then gets to end; after that its task is cancelled."""
BACKLOG: Final = 64


class HttpServer:
    """Serves one account's metrics and health from the event loop that it was started in. Lives once."""

    def __init__(
        self,
        view: AccountView,
        *,
        now_ns: Callable[[], int],
        read_runtime: Callable[[], RuntimeReading],
        mode: str,
        control: Control | None = None,
        read_token: str | None = None,
        control_token: str | None = None,
        tls: tuple[str, str] | None = None,
    ) -> None:
        """Make a server that does not listen.

        ``now_ns`` is the clock of the view's times; ``mode`` the account's (sim, paper, testnet, live); ``control`` the
        running account (None: nothing but figures); ``read_token`` is the bearer token that reading needs (None: none),
        ``control_token`` the one that controls need, and that reads too (None: no controls); ``tls`` the paths of
        certificate and key.
        """
        self._view = view
        self._now_ns = now_ns
        self._read_runtime = read_runtime
        self._mode = mode
        self._control = control
        self._read_token = read_token
        self._control_token = control_token
        self._tls = tls
        self._server: Server | None = None
        self._task: asyncio.Task[None] | None = None
        self._port: int | None = None

    @property
    def port(self) -> int:
        """The port that answers. Raises RuntimeError before ``start``."""
        if self._port is None:
            raise RuntimeError("the server has not been started")
        return self._port

    async def start(self, host: str, port: int) -> None:
        """Listen on ``host`` and ``port`` (0: any free one), and return once requests are answered.

        Raises Fatal where the address cannot be listened on, is open to others without TLS and a token, or where
        certificate and key do not load.
        """
        self._refuse_unprotected(host)
        listener = _listen(host, port)
        try:
            # In a thread: the first import takes half a second, and whoever watches the loop must not see it blocked.
            await asyncio.to_thread(import_module, "hedgegrid.ops.application")
            self._server = server = self._made(host)
        except Fatal:
            listener.close()
            raise
        self._port = listener.getsockname()[1]
        self._task = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]), name="http")
        ready = asyncio.get_running_loop().create_task(server.listening.wait(), name="http-ready")
        await asyncio.wait((self._task, ready), return_when=asyncio.FIRST_COMPLETED)
        if self._task.done():
            ready.cancel()
            listener.close()
            self._task.result()

    async def stop(self) -> None:
        """Stop listening, let responses in flight end within a second, cut the rest. Harmless when not started.

        Raises what the server failed with, if it did.
        """
        server, task = self._server, self._task
        self._server = self._task = None
        if server is None or task is None:
            return
        server.should_exit = True
        await asyncio.wait((task,), timeout=GRACE_S)
        server.drop_connections()
        await asyncio.wait((task,), timeout=STOP_TIMEOUT_S)
        if not task.done():
            task.cancel("the server did not end in time")
            await asyncio.wait((task,), timeout=STOP_TIMEOUT_S)
        elif not task.cancelled() and (error := task.exception()) is not None:
            raise error

    def _made(self, host: str) -> "Server":
        # Half a second of imports that only a run that listens pays for.
        from hedgegrid.ops.api import control_routes, reading_routes  # noqa: PLC0415
        from hedgegrid.ops.application import Tokens, guarded, routes, serving  # noqa: PLC0415

        metrics = registry(self._view, now_ns=self._now_ns, read_runtime=self._read_runtime)

        def health_now() -> Health:
            return health(self._view, self._read_runtime(), self._now_ns())

        control = self._control
        more = []
        if control is not None:
            reading = reading_routes(self._view, control, self._read_runtime, self._now_ns)
            more = [*reading, *control_routes(control)]
        app = routes(metrics=lambda: render(metrics), health=health_now, more=more)
        tokens = Tokens(read=self._read_token, control=self._control_token)
        # A wildcard address has no name of its own; a rebound name fails at its certificate and its token instead.
        hosts = None if _is_wildcard(host) else frozenset((*LOOPBACK_NAMES, host.lower()))
        try:
            return serving(
                guarded(app, hosts=hosts, tokens=tokens, account=identity(self._view.account, self._mode)),
                tls=self._tls,
            )
        except OSError as fault:  # ssl.SSLError is one
            raise Fatal(f"[ops] tls_cert and tls_key: {fault}: give a PEM certificate and its private key") from fault

    def _refuse_unprotected(self, host: str) -> None:
        if not _is_loopback(host) and (self._tls is None or self._read_token is None):
            raise Fatal(
                f"[ops] listen: others can reach {host}: set tls_cert, tls_key and read_token, "
                "or listen on 127.0.0.1 and use a tunnel"
            )


def _listen(host: str, port: int) -> socket.socket:
    """Bind and listen. Raises Fatal with what to do."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError as fault:  # a name that does not resolve, an address family that the machine lacks
        raise Fatal(f"[ops] listen: {host} is no address of this machine: {fault.strerror}") from fault
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as fault:
        listener.close()
        if fault.errno == errno.EADDRINUSE:
            remedy = "change [ops] listen or stop the other process"
            raise Fatal(f"cannot serve metrics: port {port} is in use: {remedy}") from fault
        raise Fatal(f"[ops] listen: cannot listen on {host} port {port}: {fault.strerror}") from fault
    return listener


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
