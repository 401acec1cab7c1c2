"""What the stand-in says of when a request came, which is what latency is measured by."""

import asyncio
import time

import aiohttp
import pytest
from aiohttp import web

from tools.standin.serving import Standin, running_standin

TURN_S = 0.03


def delay_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have whatever is read wait for its turn: the loop is busy with something else by then."""
    read = web.RequestHandler.data_received

    def busy(self: web.RequestHandler, piece: bytes) -> None:
        asyncio.get_running_loop().call_soon(time.sleep, TURN_S)
        read(self, piece)

    monkeypatch.setattr(web.RequestHandler, "data_received", busy)


async def ask(standin: Standin, transport: str) -> None:
    """Ask for the time."""
    async with aiohttp.ClientSession() as client:
        if transport == "rest":
            async with client.get(f"{standin.url}/fapi/v1/time") as answer:
                await answer.read()
            return
        async with client.ws_connect(f"{standin.ws_url}/ws-fapi/v1") as socket:
            await socket.send_json({"id": "1", "method": "time", "params": {}})
            await socket.receive()


@pytest.mark.asyncio
@pytest.mark.parametrize("transport", ["rest", "ws"])
async def test_a_request_came_when_it_was_read_and_not_when_its_turn_was(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a client took to send is not mixed with how long the stand-in was busy with another's request."""
    delay_turns(monkeypatch)
    async with running_standin(still=True) as standin:
        await ask(standin, transport)
        (asked,) = standin.log.of("request", "GET /fapi/v1/time")
        (answered,) = standin.log.of("answer", "GET /fapi/v1/time")
        assert asked.facts["transport"] == transport
        assert answered.mono_ns - asked.mono_ns >= TURN_S * 1e9
