"""Requests made ready while the journal's disk works that have no line: nothing of them leaves before its time.

What has a line (``test_lines``) needs none of this; here none is ever dialled.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest

from hedgegrid.venues.ccxtpro import lines as lines_module
from hedgegrid.venues.ccxtpro.endpoints import endpoints
from hedgegrid.venues.ccxtpro.held import HeldRequest
from hedgegrid.venues.ccxtpro.wire import NotSentError, Reply, TradingWire
from tests.venues.ccxtpro.loopback import until

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "newClientOrderId": "hg-1", "price": "100.1"}
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"orderId":1}'


@pytest.fixture(autouse=True)
def no_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no line dialled."""
    monkeypatch.setattr(lines_module, "LINES_MAX", 0)


@attrs.define
class Line:
    """One connection as the exchange sees it: the pieces that came, and how to answer or end it."""

    writer: asyncio.StreamWriter
    pieces: list[bytes] = attrs.field(factory=list)


@asynccontextmanager
async def exchange() -> AsyncIterator[tuple[TradingWire, list[Line]]]:
    """Run an exchange that keeps every byte and answers each piece; give a wire to it."""
    lines: list[Line] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(writer)
        lines.append(line)
        while piece := await reader.read(65_536):
            line.pieces.append(piece)
            writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    origin = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    where = endpoints("testnet", rest_url=f"http://{origin}", ws_url=f"ws://{origin}")
    wire = TradingWire(endpoints=where, api_key="the-key", api_secret="s3cret", recv_window_ms=2_000)
    try:
        yield wire, lines
    finally:
        await wire.close()
        server.close()
        for line in lines:
            line.writer.close()


def held(wire: TradingWire) -> HeldRequest[Reply]:
    """Make an order ready."""
    made = wire.held(wire.prepared("fapiPrivatePostOrder", ORDER))
    assert isinstance(made, HeldRequest)
    return made


async def at_the_connection(wire: TradingWire, lines: list[Line], count: int = 1) -> None:
    """Wait until the connection stands, and for as long as another request takes to go and come back."""
    await until(lambda: len(lines) == count)
    await wire.request(wire.prepared("fapiPublicGetTime", {}))


@pytest.mark.asyncio
async def test_nothing_of_a_held_request_leaves_before_it_is_let_go() -> None:
    """Protects law 4: its connection stands and no byte has come; let go, it comes whole, once, in one piece."""
    async with exchange() as (wire, lines):
        one = held(wire)
        await at_the_connection(wire, lines)
        assert [line.pieces for line in lines if not b"".join(line.pieces).startswith(b"GET")] == [[]]
        reply = await wire.request(one)
        assert (reply.status, reply.body) == (200, b'{"orderId":1}')
        (sent,) = [line.pieces for line in lines if not b"".join(line.pieces).startswith(b"GET")]
        assert len(sent) == 1
        assert sent[0].startswith(b"POST /fapi/v1/order HTTP/1.1\r\n")
        assert b"newClientOrderId=hg-1" in sent[0].partition(b"\r\n\r\n")[2]


@pytest.mark.asyncio
async def test_a_request_that_is_let_go_at_once_leaves_when_its_connection_is_ready() -> None:
    """Protects orders whose disk was faster than their connection: they wait for nothing else."""
    async with exchange() as (wire, lines):
        assert (await wire.request(held(wire))).status == 200
        assert [len(line.pieces) for line in lines] == [1]


@pytest.mark.asyncio
async def test_a_request_that_is_dropped_never_leaves() -> None:
    """Protects law 4: what was made ready and is not wanted any more ends with its connection, and says nothing."""
    async with exchange() as (wire, lines):
        one = held(wire)
        await at_the_connection(wire, lines)
        one.drop()
        with pytest.raises(asyncio.CancelledError):
            await wire.request(one)
        await until(lambda: any(line.writer.transport.is_closing() for line in lines))
        assert [line.pieces for line in lines if not b"".join(line.pieces).startswith(b"GET")] == [[]]


@pytest.mark.asyncio
async def test_a_connection_that_ends_under_a_held_request_proves_that_nothing_was_sent() -> None:
    """Protects law 4 the other way round: an order that cannot have left is not UNKNOWN, it may be asked for again."""
    async with exchange() as (wire, lines):
        one = held(wire)
        await until(lambda: len(lines) == 1)
        lines[0].writer.transport.abort()
        await wire.request(wire.prepared("fapiPublicGetTime", {}))
        with pytest.raises(NotSentError, match="ended before the request left"):
            await wire.request(one)
        assert lines[0].pieces == []
