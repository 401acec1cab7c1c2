"""A service that takes alerts over HTTP, on loopback, in a thread of its own: what apprise's json:// speaks to.

Invariant: what a test proves of an alert it proves from what arrived here.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import attrs

LOOK_S = 0.01
BOUND_S = 20.0


@attrs.define
class AlertService:
    """What arrived, and what is answered to it; while ``gate`` is closed nothing is answered at all."""

    port: int = 0
    status: int = 200
    gate: threading.Event = attrs.field(factory=threading.Event)
    arrived: list[dict[str, Any]] = attrs.field(factory=list)

    @property
    def url(self) -> str:
        """Its address for apprise, with a credential in it."""
        return f"json://watcher:pa55word@127.0.0.1:{self.port}/alerts"

    def events(self) -> list[str]:
        """The names of the events that arrived, in order, as their titles end."""
        return [one["title"].partition(": ")[2] for one in self.arrived]

    def until(self, count: int) -> None:
        """Wait until so many have arrived. AssertionError where they do not."""
        until_s = time.monotonic() + BOUND_S
        while len(self.arrived) < count:
            assert time.monotonic() < until_s, self.arrived
            time.sleep(LOOK_S)


@contextmanager
def alert_service() -> Iterator[AlertService]:
    """Serve on a free port of loopback."""
    service = AlertService()
    service.gate.set()

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            service.gate.wait(BOUND_S)
            service.arrived.append(json.loads(body))
            self.send_response(service.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": LOOK_S})
    thread.start()
    try:
        yield service
    finally:
        service.gate.set()
        server.shutdown()
        server.server_close()
        thread.join()
