"""Each fault of a request or its answer: that it fires, what is said, and whether the order was taken."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from tests.standin.clients import eventually, private, rest, wire
from tools.standin.fault_kinds import KINDS, Moment
from tools.standin.serving import Standin, running_standin

UNKNOWN = "Unknown error, please check your request or try again later."
REFUSED: dict[str, tuple[int, int | str]] = {
    "503-unknown": (503, UNKNOWN),
    "503-unavailable": (503, "Service Unavailable."),
    "1006": (503, -1006),
    "1007": (408, -1007),
    "1008": (503, -1008),
    "408": (408, ""),
    "429": (429, -1003),
    "418": (418, -1003),
    "1021": (400, -1021),
    "2015": (401, -2015),
    "2019": (400, -2019),
    "2022": (400, -2022),
    "4061": (400, -4061),
    "5022": (400, -5022),
    "maintenance": (503, -1016),
}
DONE: dict[str, tuple[int, int | str]] = {
    "503-unknown-done": (503, UNKNOWN),
    "1006-done": (503, -1006),
    "1007-done": (408, -1007),
    "bad-json-answer": (200, "<html><body>Bad gateway</body></html>"),
}
OTHERS = {
    "request-lost",
    "response-lost",
    "truncated",
    "late-accept",
    "slow-request",
    "slow-answer",
    "batch-partial",
    "cancel-race-fill",
    "stale-read",
    "empty-read",
}


def held(standin: Standin) -> int:
    """How many orders the exchange has taken."""
    return len(standin.exchange.open_orders())


def test_every_fault_of_the_wire_has_a_test() -> None:
    """A fault that nobody has seen fire is a promise, not a fault."""
    wanted = {name for name, kind in KINDS.items() if kind.moment in {Moment.BEFORE, Moment.AFTER}}
    assert wanted == REFUSED.keys() | DONE.keys() | OTHERS


@pytest.mark.asyncio
@pytest.mark.parametrize("name", sorted(REFUSED | DONE))
async def test_a_fault_speaks_as_the_exchange_does(name: str) -> None:
    """Status, code and text are the exchange's, and the order was taken only by those that say so."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        standin.faults.arm(name)
        reply = await client.place()
        status, said = (REFUSED | DONE)[name]
        assert reply.status == status
        assert (reply.json["code"] if isinstance(said, int) else reply.text) == said
        assert held(standin) == (name in DONE)
        assert standin.faults.fired == {name: 1}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ["503-unavailable", "response-lost", "2019"])
async def test_the_next_order_alone_suffers(name: str) -> None:
    """A count is a count: the order after it passes."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        standin.faults.arm(f"{name}:1:on=place:skip=1")
        assert (await client.place()).status == 200
        try:
            assert (await client.place()).status != 200
        except aiohttp.ClientError:
            assert name == "response-lost"
        assert (await client.place()).status == 200


@pytest.mark.asyncio
@pytest.mark.parametrize(("name", "taken"), [("request-lost", 0), ("response-lost", 1), ("truncated", 1)])
async def test_a_broken_connection_leaves_the_outcome_open(name: str, taken: int) -> None:
    """The client sees the same broken connection whether or not the exchange has the order."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        standin.faults.arm(name)
        with pytest.raises(aiohttp.ClientError):
            await client.place()
        assert held(standin) == taken
        assert standin.faults.fired == {name: 1}


@pytest.mark.asyncio
async def test_a_late_acceptance_comes_after_the_client_gave_up() -> None:
    """The order appears although its sender has long closed the connection."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        standin.faults.arm("late-accept:1:ms=600")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await client.place(recv_window=300)
        assert held(standin) == 0
        await eventually(lambda: held(standin) == 1)


@pytest.mark.asyncio
async def test_a_small_window_fences_a_late_arrival() -> None:
    """A request that reaches the door late is refused by its own recvWindow."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        standin.faults.arm("slow-request:1:ms=400")
        assert (await client.place(recv_window=200)).json["code"] == -1021
        assert held(standin) == 0


@pytest.mark.asyncio
async def test_a_fill_may_come_before_its_acknowledgement() -> None:
    """With a slow answer the private stream tells the order and its fill first."""
    async with running_standin(still=True) as standin, rest(standin) as client, private(client) as stream:
        standin.faults.arm("slow-answer:1:ms=1000")
        asking = asyncio.create_task(client.market(newClientOrderId="mine"))
        await stream.event("ORDER_TRADE_UPDATE", x="TRADE", c="mine")
        assert not asking.done()
        assert (await asking).json["clientOrderId"] == "mine"


@pytest.mark.asyncio
@pytest.mark.parametrize("rows", [1, 2])
async def test_a_batch_fails_in_part(rows: int) -> None:
    """The refused rows stand in their places of the answer, the others are at the exchange."""
    order = {"symbol": "BTCUSDT", "side": "BUY", "positionSide": "LONG", "type": "LIMIT", "timeInForce": "GTC"}
    batch = [order | {"quantity": "0.010", "price": "98000.00"}, order | {"quantity": "0.010", "price": "97000.00"}]
    async with running_standin(still=True) as standin, rest(standin) as client:
        standin.faults.arm(f"batch-partial:1:rows={rows}:code=-2019")
        reply = await client.call("POST", "/fapi/v1/batchOrders", batchOrders=json.dumps(batch))
        assert [row.get("code") for row in reply.json] == [None] * (2 - rows) + [-2019] * rows
        assert held(standin) == 2 - rows


@pytest.mark.asyncio
async def test_a_fill_wins_against_its_cancel() -> None:
    """The cancel is told that there is no such order, and the private stream tells the fill."""
    async with running_standin(still=True) as standin, rest(standin) as client, private(client) as stream:
        await client.place(newClientOrderId="mine")
        standin.faults.arm("cancel-race-fill")
        reply = await client.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="mine")
        assert reply.json["code"] == -2011
        fill = await stream.event("ORDER_TRADE_UPDATE", x="TRADE")
        assert (fill["o"]["c"], fill["o"]["X"]) == ("mine", "FILLED")
        assert standin.exchange.position("BTCUSDT", "LONG").qty_lots == 10


@pytest.mark.asyncio
async def test_a_read_may_be_stale() -> None:
    """An old answer is given again: the order that was placed since is not in it."""
    async with running_standin(still=True) as standin, rest(standin) as client:

        async def listed() -> list[Any]:
            reply = await client.call("GET", "/fapi/v1/openOrders", symbol="BTCUSDT")
            return list(reply.json)

        assert await listed() == []
        await client.place()
        standin.faults.arm("stale-read:2")
        assert [len(await listed()) for _ in range(3)] == [0, 0, 1]
        standin.faults.arm("empty-read")
        assert [len(await listed()) for _ in range(2)] == [0, 1]


@pytest.mark.asyncio
async def test_a_ban_holds_until_it_ends() -> None:
    """After 418 every request is refused, with the end of the ban in the text, and then none."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        standin.faults.arm("418:1:ms=500")
        banned = await client.place()
        assert "banned until" in banned.json["msg"]
        assert (await client.place()).status == 418
        await eventually(lambda: standin.clock.now_ms() > standin.gateway.banned_until_ms)
        assert (await client.place()).status == 200


@pytest.mark.asyncio
async def test_reductions_pass_a_throttled_exchange() -> None:
    """-1008 spares cancels and orders that shrink a leg."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        await client.place(newClientOrderId="mine")
        await client.market()
        standin.faults.arm("1008:always")
        assert (await client.place()).json["code"] == -1008
        assert (await client.market(side="SELL")).status == 200
        reply = await client.call("DELETE", "/fapi/v1/order", symbol="BTCUSDT", origClientOrderId="mine")
        assert reply.status == 200


@pytest.mark.asyncio
async def test_orders_over_the_websocket_suffer_too() -> None:
    """One set of faults for both ways of sending an order: refused with the code, or never answered."""
    async with running_standin(still=True) as standin, wire(standin, "/ws-fapi/v1") as socket:
        standin.faults.arm("2019")
        assert (await socket.ask("order.place", {"symbol": "BTCUSDT"}, "a"))["error"]["code"] == -2019
        standin.faults.arm("request-lost")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await socket.ask("order.place", {"symbol": "BTCUSDT"}, "b")


@pytest.mark.asyncio
async def test_the_log_tells_request_and_answer_without_secrets() -> None:
    """A latency can be measured from the log, and nobody can sign with it."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        await client.place(newClientOrderId="mine")
        (asked,) = standin.log.of("request", "POST /fapi/v1/order")
        (answered,) = standin.log.of("answer", "POST /fapi/v1/order")
        assert asked.mono_ns <= answered.mono_ns
        assert asked.facts["params"]["newClientOrderId"] == "mine"
        assert "signature" not in asked.facts["params"]
