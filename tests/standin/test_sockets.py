"""The websockets of the stand-in, spoken to frame by frame."""

import asyncio
import itertools

import aiohttp
import pytest

from tests.standin.clients import eventually, private, rest, wire
from tools.standin.hub import Path, path_of
from tools.standin.serving import running_standin
from tools.standin.sockets import SocketRules


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("path", "stream"),
    [("/market/ws", "btcusdt@bookTicker"), ("/public/ws/3", "btcusdt@markPrice@1s"), ("/private/ws", "btcusdt@trade")],
)
async def test_a_stream_on_the_wrong_path_is_acknowledged_and_silent(path: str, stream: str) -> None:
    """A client that mixes the split paths up hears nothing and gets no error, as on the real exchange."""
    async with running_standin(still=True, book_rate=100) as standin, wire(standin, path) as socket:
        assert await socket.ask("SUBSCRIBE", [stream], 7) == {"result": None, "id": 7}
        assert await socket.silence() == []
        assert await socket.ask("LIST_SUBSCRIPTIONS", None, 8) == {"result": [stream], "id": 8}


@pytest.mark.asyncio
@pytest.mark.parametrize("path", ["/public/ws", "/public/ws/0", "/ws", "/public/ws/btcusdt@bookTicker"])
async def test_best_quotes_come_on_their_path(path: str) -> None:
    """Quotes have the exchange's form, and both the split and the old path carry them."""
    async with running_standin(still=True, book_rate=100) as standin, wire(standin, path) as socket:
        if "@" not in path:
            await socket.ask("SUBSCRIBE", ["btcusdt@bookTicker"])
        frame = await socket.until(lambda each: each.get("e") == "bookTicker")
        assert float(frame["b"]) < float(frame["a"])
        assert frame["s"] == "BTCUSDT"
        assert set(frame) == {"e", "u", "s", "b", "B", "a", "A", "T", "E"}


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "path", ["/stream?streams=btcusdt@markPrice@1s", "/market/stream?streams=btcusdt@markPrice@1s"]
)
async def test_combined_streams_come_in_envelopes(path: str) -> None:
    """/stream wraps each event with its stream's name; the mark carries rate and next settlement."""
    async with running_standin(still=True) as standin, wire(standin, path) as socket:
        frame = await socket.until(lambda each: "stream" in each)
        assert frame["stream"] == "btcusdt@markPrice@1s"
        assert frame["data"]["T"] == standin.market.lanes["BTCUSDT"].next_funding_ms
        assert float(frame["data"]["r"]) == standin.market.lanes["BTCUSDT"].rate_e8 / 1e8


@pytest.mark.asyncio
async def test_requests_are_answered_with_their_id() -> None:
    """The request-answer protocol: unsubscribing silences, wrong requests are refused with a code."""
    async with running_standin(still=True, book_rate=100) as standin, wire(standin, "/public/ws") as socket:
        await socket.ask("SUBSCRIBE", ["btcusdt@bookTicker"], 1)
        await socket.until(lambda each: each.get("e") == "bookTicker")
        assert await socket.ask("UNSUBSCRIBE", ["btcusdt@bookTicker"], 2) == {"result": None, "id": 2}
        assert await socket.silence() == []
        assert (await socket.ask("SING", [], 3))["error"]["code"] == 2
        assert (await socket.ask("SUBSCRIBE", "btcusdt", 4))["error"]["code"] == 2
        await socket.ask("SET_PROPERTY", ["combined", True], 5)
        assert (await socket.ask("GET_PROPERTY", ["combined"], 6))["result"] is True


@pytest.mark.asyncio
async def test_closed_bars_follow_each_other_and_equal_the_past() -> None:
    """What the kline stream closed is what REST tells of the same bars afterwards, without a gap."""
    async with running_standin(speed=60) as standin, wire(standin, "/market/ws") as socket, rest(standin) as client:
        await socket.ask("SUBSCRIBE", ["btcusdt@kline_1s"])
        closed = [await socket.until(lambda each: each.get("k", {}).get("x") is True) for _ in range(3)]
        opens = [frame["k"]["t"] for frame in closed]
        assert opens == list(range(opens[0], opens[0] + 3000, 1000))
        reply = await client.call(
            "GET", "/fapi/v1/klines", symbol="BTCUSDT", interval="1s", startTime=opens[0], limit=3
        )
        told = [[k["t"], k["o"], k["h"], k["l"], k["c"], k["v"], k["T"]] for k in (frame["k"] for frame in closed)]
        assert [row[:7] for row in reply.json] == told


@pytest.mark.asyncio
async def test_there_is_history_before_the_start() -> None:
    """A client can warm up at once: 500 closed bars and more, ending at the present."""
    async with running_standin(speed=7) as standin, rest(standin) as client:
        rows = (await client.call("GET", "/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=1000)).json
        assert len(rows) == 1000
        assert [b[0] - a[0] for a, b in itertools.pairwise(rows)] == [60_000] * 999
        assert rows[-1][0] == standin.clock.now_ms() // 60_000 * 60_000


@pytest.mark.asyncio
async def test_the_private_stream_tells_an_order_and_its_fill() -> None:
    """Placing, filling by the market and the account's change arrive in the exchange's own forms."""
    async with running_standin(still=True) as standin, rest(standin) as client, private(client) as stream:
        placed = (await client.place(newClientOrderId="mine")).json
        assert (await stream.event("ORDER_TRADE_UPDATE", x="NEW"))["o"]["i"] == placed["orderId"]
        standin.market.move_by_bps("BTCUSDT", -100)
        fill = await stream.event("ORDER_TRADE_UPDATE", x="TRADE")
        assert (fill["o"]["c"], fill["o"]["X"], fill["o"]["m"]) == ("mine", "FILLED", True)
        assert any(frame["e"] == "ACCOUNT_UPDATE" for frame in stream.frames)


@pytest.mark.asyncio
async def test_the_account_is_heard_in_an_envelope_too() -> None:
    """A listen key may be subscribed like a stream on /private/stream, as the exchange's own library does."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        key = await client.listen_key()
        async with wire(standin, "/private/stream") as socket:
            await socket.ask("SUBSCRIBE", [key])
            await client.place()
            frame = await socket.until(lambda each: each.get("stream") == key)
            assert frame["data"]["e"] == "ORDER_TRADE_UPDATE"


@pytest.mark.asyncio
async def test_an_expired_key_is_told_and_then_silent() -> None:
    """After its life a key says listenKeyExpired once; neither its socket nor a new one on it hears any more."""
    async with (
        running_standin(still=True, listen_key_ms=400) as standin,
        rest(standin) as client,
        private(client) as stream,
    ):
        key = (await stream.until(lambda each: each["e"] == "listenKeyExpired"))["listenKey"]
        assert (await client.call("PUT", "/fapi/v1/listenKey")).json["code"] == -1125
        assert await client.listen_key() != key
        async with wire(standin, f"/private/ws?listenKey={key}") as again:
            await client.place()
            assert await again.silence() == []
            assert await stream.silence(0.1) == []


@pytest.mark.asyncio
async def test_renewing_keeps_a_key_alive() -> None:
    """Renewal prolongs the life; asking again gives the same key."""
    async with running_standin(still=True) as standin, rest(standin) as client:
        key = await client.listen_key()
        assert await client.listen_key() == key
        assert (await client.call("PUT", "/fapi/v1/listenKey")).status == 200
        assert (await client.call("DELETE", "/fapi/v1/listenKey")).status == 200
        assert standin.listen_keys.alive is None


@pytest.mark.asyncio
async def test_too_many_messages_end_a_socket() -> None:
    """More than ten messages in a second are answered with a close, so a client has to bundle its streams."""
    async with running_standin(still=True) as standin, wire(standin, "/public/ws") as socket:
        for number in range(12):
            await socket.socket.send_str(f'{{"method": "LIST_SUBSCRIPTIONS", "id": {number}}}')
        assert await socket.end() == aiohttp.WSCloseCode.POLICY_VIOLATION


@pytest.mark.asyncio
async def test_a_socket_ends_with_its_life() -> None:
    """The 24 hours of a socket, here half a second."""
    rules = SocketRules(life_s=0.5)
    async with running_standin(still=True, sockets=rules) as standin, wire(standin, "/public/ws") as socket:
        assert await socket.end() == aiohttp.WSCloseCode.POLICY_VIOLATION


@pytest.mark.asyncio
async def test_a_socket_that_never_answers_pings_is_closed() -> None:
    """The exchange drops clients that do not pong."""
    rules = SocketRules(ping_s=0.1, pong_s=0.3)
    async with (
        running_standin(still=True, sockets=rules) as standin,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{standin.ws_url}/public/ws", autoping=False) as socket,
    ):
        kinds = [message.type async for message in socket]
        assert aiohttp.WSMsgType.PING in kinds
        assert socket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION


@pytest.mark.asyncio
async def test_pings_of_a_client_are_answered() -> None:
    """A client's own ping gets its pong, with the same content."""
    async with (
        running_standin(still=True) as standin,
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{standin.ws_url}/public/ws", autoping=False) as socket,
    ):
        await socket.ping(b"hello")
        async with asyncio.timeout(5):
            message = await socket.receive()
        assert (message.type, bytes(message.data)) == (aiohttp.WSMsgType.PONG, b"hello")


@pytest.mark.asyncio
async def test_the_websocket_api_trades() -> None:
    """Orders go over /ws-fapi/v1 too; a session cannot be logged on with an HMAC key."""
    async with running_standin(still=True) as standin, wire(standin, "/ws-fapi/v1") as socket:
        assert (await socket.ask("time", {}, "a"))["status"] == 200
        assert (await socket.ask("session.logon", {}, "b"))["error"]["code"] == -4056
        assert (await socket.ask("session.status", {}, "c"))["result"]["apiKey"] is None
        assert (await socket.ask("order.place", {"symbol": "BTCUSDT"}, "d"))["status"] != 200
        await socket.socket.send_str("no json")
        assert (await socket.until(lambda each: each["id"] is None))["error"]["code"] == -1135


@pytest.mark.asyncio
async def test_leaving_is_noticed() -> None:
    """A socket that is gone is forgotten with its streams."""
    async with running_standin(still=True) as standin:
        async with wire(standin, "/public/ws/btcusdt@bookTicker"):
            await eventually(lambda: standin.hub.wanted("btcusdt@bookTicker"))
        await eventually(lambda: not standin.hub.listeners)
        assert not standin.hub.wanted("btcusdt@bookTicker")


@pytest.mark.parametrize(
    ("stream", "path"),
    [
        ("btcusdt@bookTicker", Path.PUBLIC),
        ("btcusdt@depth@100ms", Path.PUBLIC),
        ("btcusdt@depth5", Path.PUBLIC),
        ("btcusdt@trade", Path.PUBLIC),
        ("!bookTicker", Path.PUBLIC),
        ("btcusdt@kline_1m", Path.MARKET),
        ("btcusdt@aggTrade", Path.MARKET),
        ("!markPrice@arr@1s", Path.MARKET),
        ("btcusdt@forceOrder", Path.MARKET),
        ("a" * 64, Path.PRIVATE),
    ],
)
def test_each_stream_has_its_path(stream: str, path: Path) -> None:
    """The split of 2026: quotes, depth and trades are public, all else of the market is market."""
    assert path_of(stream) is path
