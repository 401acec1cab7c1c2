"""How lines come to stand: a dial that fails or hangs is bounded, holds up no order, and says nothing of its own.

Invariant: orders go their own way meanwhile, and what became of them is told as without any line.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from hedgegrid.venues.ccxtpro import wire as wire_module
from hedgegrid.venues.ccxtpro.endpoints import endpoints
from hedgegrid.venues.ccxtpro.lines import Lines
from hedgegrid.venues.ccxtpro.wire import NotSentError, TradingWire
from tests.venues.ccxtpro.loopback import until
from tests.venues.ccxtpro.test_lines import ORDER, exchange


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[str, list[asyncio.StreamWriter]]]:
    """Run a server that takes connections and says nothing on them; give where it is, and who came."""
    came: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.append(writer)
        await reader.read()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}", came
    finally:
        server.close()
        for writer in came:
            writer.close()


def trading(origin: str, scheme: str) -> TradingWire:
    """Make a wire to a server."""
    ws = "wss" if scheme == "https" else "ws"
    where = endpoints("testnet", rest_url=f"{scheme}://{origin}", ws_url=f"{ws}://{origin}")
    return TradingWire(endpoints=where, api_key="the-key", api_secret="s3cret", recv_window_ms=2_000)


@pytest.mark.asyncio
async def test_a_dial_that_is_refused_is_given_up_in_silence() -> None:
    """The order's own way says that there is no connection; the next order has another dialled."""
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    async with silent() as (origin, _):
        wire = trading(origin, "http")
    for _ in range(2):
        with pytest.raises(NotSentError, match="no connection"):
            await wire.request(wire.prepared("fapiPrivatePostOrder", ORDER))
        await until(lambda: wire._lines._dialling is None)
    await wire.close()
    assert (errors, wire._lines._lines) == ([], set())


@pytest.mark.asyncio
async def test_a_dial_that_hangs_is_given_up_in_its_time_and_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never agrees to its certificate: each order hears of it in time, and no dial outlasts its bound."""
    monkeypatch.setattr(wire_module, "CONNECT_S", 0.05)
    async with silent() as (origin, came):
        wire = trading(origin, "https")
        order = wire.prepared("fapiPrivatePostOrder", ORDER)
        for _ in range(2):
            assert wire._on_line(order) is None
            assert wire._lines._dialling is not None, "it is dialled anew"
            with pytest.raises(NotSentError, match="no connection"):
                await wire.request(order)
            await until(lambda: wire._lines._dialling is None)
        assert came
        assert wire._lines._lines == set()
        await wire.close()


@pytest.mark.asyncio
async def test_an_order_waits_for_no_dial(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a line is dialled and does not come, orders leave as if there were none; one dial at a time."""
    async with exchange() as venue:
        dials: list[asyncio.Future[None]] = []

        async def never(*_: object, **__: object) -> None:
            dials.append(asyncio.get_running_loop().create_future())
            await dials[-1]

        venue.wire._lines = Lines(venue.wire.endpoints.rest, None, 60.0)
        first = venue.wire.prepared("fapiPrivatePostOrder", ORDER)
        loop = asyncio.get_running_loop()
        made = loop.create_connection
        monkeypatch.setattr(loop, "create_connection", never)
        assert venue.wire._on_line(first) is None
        await until(lambda: bool(dials))
        monkeypatch.setattr(loop, "create_connection", made)
        for _ in range(3):
            assert (await venue.wire.request(first)).status == 200
        assert len(dials) == 1
        await venue.wire.close()
        assert dials[0].cancelled()
