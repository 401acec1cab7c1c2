"""When a request came in: the moment at which its last bytes were read from the connection.

A stand-in is one event loop, so a request that was read may wait for its turn while another is dealt with, or while
streams are told what that one did. What a client took to send it is over by then.

Invariant: a stamp is taken as the loop reads, before anything is done about what was read.
"""

import asyncio
import time
from functools import partial
from typing import Any

from aiohttp import web


class Stamped(web.RequestHandler):
    """aiohttp's connection, which also knows when it was read last."""

    __slots__ = ("read_ns",)

    def __init__(self, server: web.Server, **settings: Any) -> None:  # noqa: ANN401 - aiohttp's own settings
        """Belong to ``server``."""
        super().__init__(server, **settings)
        self.read_ns = time.monotonic_ns()

    def data_received(self, piece: bytes) -> None:
        """Take note of the time, then do what aiohttp does."""
        self.read_ns = time.monotonic_ns()
        super().data_received(piece)


async def listen(runner: web.AppRunner, host: str, port: int) -> asyncio.Server:
    """Listen for a runner that is set up, with stamped connections. OSError where the port is taken."""
    assert runner.server is not None, "it is set up"
    loop = asyncio.get_running_loop()
    return await loop.create_server(partial(Stamped, runner.server, loop=loop, access_log=None), host, port)


def arrived_ns(request: web.Request) -> int:
    """Give when the connection of a request was read last, by the monotonic clock; now where nobody has noted it."""
    connection = request.protocol
    return connection.read_ns if isinstance(connection, Stamped) else time.monotonic_ns()
