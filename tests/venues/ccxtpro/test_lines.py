"""Connections that stand ready: a request on one leaves as one write, when it is let go, and once."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest

from hedgegrid.venues.ccxtpro.endpoints import endpoints
from hedgegrid.venues.ccxtpro.lines import LINES_MAX, LineRequest
from hedgegrid.venues.ccxtpro.wire import NotSentError, TradingWire
from tests.venues.ccxtpro.loopback import until

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "newClientOrderId": "hg-1", "price": "100.1"}
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"orderId":1}'


@attrs.define
class Peer:
    """One connection as the exchange sees it."""

    writer: asyncio.StreamWriter
    pieces: list[bytes] = attrs.field(factory=list)


@attrs.define
class Exchange:
    """An exchange that keeps what came, and says ``answer`` to each piece; b"" is silence."""

    wire: TradingWire
    peers: list[Peer] = attrs.field(factory=list)
    answer: bytes = ANSWER

    def resting(self) -> int:
        """Give how many lines stand ready."""
        return len(self.wire._lines._resting)

    async def line(self) -> LineRequest:
        """Make an order ready on a line that stands."""
        await self.wire.request(self.wire.prepared("fapiPrivatePostOrder", ORDER))
        await until(lambda: self.resting() > 0)
        made = self.wire.held(self.wire.prepared("fapiPrivatePostOrder", ORDER))
        assert isinstance(made, LineRequest)
        return made

    def untouched(self) -> list[Peer]:
        """Give the connections on which nothing has come."""
        return [peer for peer in self.peers if not peer.pieces]


def written_by(made: LineRequest, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Give what is handed to a line's connection from now on, write by write."""
    writes: list[bytes] = []
    transport = made._line._transport
    assert transport is not None
    write = transport.write

    def written(piece: bytes) -> None:
        writes.append(piece)
        write(piece)

    monkeypatch.setattr(transport, "write", written)
    return writes


@asynccontextmanager
async def exchange(streams: str = "ws") -> AsyncIterator[Exchange]:
    """Run an exchange, whose streams are at the same place."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(writer)
        one.peers.append(peer)
        while piece := await reader.read(65_536):
            peer.pieces.append(piece)
            writer.write(one.answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    origin = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    where = endpoints("testnet", rest_url=f"http://{origin}", ws_url=f"{streams}://{origin}")
    one = Exchange(TradingWire(endpoints=where, api_key="the-key", api_secret="s3cret", recv_window_ms=2_000))
    try:
        yield one
    finally:
        await one.wire.close()
        server.close()
        for peer in one.peers:
            peer.writer.close()


@pytest.mark.asyncio
async def test_nothing_of_a_request_leaves_before_it_is_let_go_and_then_all_of_it_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Protects law 4: its connection stands and no byte has come; let go, it comes whole, once, in one piece."""
    async with exchange() as venue:
        made = await venue.line()
        (peer, *others) = venue.untouched()
        await venue.wire.request(venue.wire.prepared("fapiPublicGetTime", {}))
        assert (peer.pieces, others) == ([], [])
        writes = written_by(made, monkeypatch)
        reply = await venue.wire.request(made)
        assert (reply.status, reply.body) == (200, b'{"orderId":1}')
        assert writes == peer.pieces
        (piece,) = peer.pieces
        head, _, body = piece.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /fapi/v1/order HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"X-MBX-APIKEY: the-key" in head
        assert f"Content-Length: {len(body)}".encode() in head
        assert b"newClientOrderId=hg-1" in body
        assert b"signature=" in body


@pytest.mark.parametrize("method", ["fapiPrivateDeleteOrder", "fapiPrivateDeleteBatchOrders"])
@pytest.mark.asyncio
async def test_a_cancel_leaves_with_the_very_query_that_was_signed(method: str) -> None:
    """Protects cancels: a query that is written another way has no valid signature, and the order stays."""
    async with exchange() as venue:
        (await venue.line()).drop()
        (peer,) = venue.untouched()
        odd = ["hg-1:a/b", "hg-2"]
        names: dict[str, object] = {"origClientOrderId": odd[0]}
        batch: dict[str, object] = {"origClientOrderIdList": odd}
        one = venue.wire.prepared(method, {"symbol": "BTCUSDT", **(batch if "Batch" in method else names)})
        assert (await venue.wire.request(one)).status == 200
        (piece,) = peer.pieces
        verb, target, _ = piece.partition(b"\r\n")[0].decode().split(" ")
        assert (verb, target) == ("DELETE", str(one.url).partition(str(one.url.origin()))[2])
        signed, _, signature = target.partition("?")[2].partition("&signature=")
        assert signature == hmac.new(b"s3cret", signed.encode(), "sha256").hexdigest()
        assert "%" in signed, "something that could be written in another way"
        assert b"Content-Length: 0\r\n" in piece


@pytest.mark.asyncio
async def test_a_line_carries_one_request_after_the_other_and_never_two() -> None:
    """Protects answers from being taken for another's: requests at once have a line each, up to their bound."""
    async with exchange() as venue:
        for _ in range(3 * LINES_MAX):
            calls = [venue.wire.prepared("fapiPrivatePostOrder", ORDER) for _ in range(LINES_MAX + 2)]
            await asyncio.gather(*(venue.wire.request(one) for one in calls))
        await until(lambda: venue.resting() == LINES_MAX)
        used = len(venue.peers)
        for _ in range(5):
            await venue.wire.request(venue.wire.prepared("fapiPrivatePostOrder", ORDER))
        assert (len(venue.peers), venue.resting()) == (used, LINES_MAX)
        assert all(piece.count(b"POST /") == 1 for peer in venue.peers for piece in peer.pieces)


@pytest.mark.asyncio
async def test_a_request_that_is_dropped_never_leaves_and_gives_its_line_back() -> None:
    """Protects law 4: what was made ready and is not wanted any more says nothing, also where somebody asks."""
    async with exchange() as venue:
        made = await venue.line()
        (peer,) = venue.untouched()
        made.drop()
        made.drop()
        with pytest.raises(asyncio.CancelledError):
            await venue.wire.request(made)
        assert (peer.pieces, venue.resting()) == ([], 1)


@pytest.mark.asyncio
async def test_a_line_that_ends_before_the_request_left_proves_that_nothing_was_sent() -> None:
    """Protects law 4 the other way round: an order that cannot have left is not UNKNOWN."""
    async with exchange() as venue:
        made = await venue.line()
        (peer,) = venue.untouched()
        peer.writer.transport.abort()
        await until(lambda: not made._line.stands)
        with pytest.raises(NotSentError, match="ended before the request left"):
            await venue.wire.request(made)
        assert peer.pieces == []


@pytest.mark.asyncio
async def test_a_request_is_sent_once_whoever_asks_again() -> None:
    """Protects law 4: while its answer is awaited, and when it has come, the same order cannot leave once more."""
    async with exchange() as venue:
        made = await venue.line()
        whole, venue.answer = venue.answer, b""
        (peer,) = venue.untouched()
        asking = asyncio.create_task(venue.wire.request(made))
        await until(lambda: bool(peer.pieces))
        with pytest.raises(AssertionError, match="sent once"):
            await made.answer()
        venue.answer = whole
        peer.writer.write(whole)
        assert (await asking).status == 200
        with pytest.raises(AssertionError, match="sent once"):
            await made.answer()
        assert (await venue.wire.request(venue.wire.prepared("fapiPrivatePostOrder", ORDER))).status == 200
        sent = [piece.count(b"POST /") for one in venue.peers for piece in one.pieces]
        assert sent == [1, 1, 1], "the one that had the line dialled, this one, and the last"


@pytest.mark.asyncio
async def test_reads_and_other_servers_have_no_line() -> None:
    """Protects the account: a key goes to the origin that it was made for, and reads do not take a line from orders."""
    async with exchange() as venue:
        made = await venue.line()
        made.drop()
        read = venue.wire.prepared("fapiPublicGetTime", {})
        assert venue.wire._on_line(read) is None
        order = venue.wire.prepared("fapiPrivatePostOrder", ORDER)
        assert venue.wire._on_line(attrs.evolve(order, url=order.url.with_port(1))) is None
        assert venue.resting() == 1


@pytest.mark.asyncio
async def test_a_cancel_is_held_on_a_line_though_it_has_no_body() -> None:
    """It is written while the disk works, as an order is, and leaves as one piece when it is let go."""
    async with exchange() as venue:
        (await venue.line()).drop()
        made = venue.wire.held(venue.wire.prepared("fapiPrivateDeleteOrder", {"symbol": "BTCUSDT"}))
        assert isinstance(made, LineRequest)
        came = sum(len(peer.pieces) for peer in venue.peers)
        await asyncio.sleep(0.02)
        assert sum(len(peer.pieces) for peer in venue.peers) == came
        assert (await venue.wire.request(made)).status == 200
        (piece,) = [piece for peer in venue.peers for piece in peer.pieces if piece.startswith(b"DELETE ")]
        assert piece.endswith(b"\r\n\r\n")


@pytest.mark.asyncio
async def test_a_line_under_way_is_not_given_to_another_request() -> None:
    """Dropped while its answer is awaited, it stays with its request; one that has ended goes to nobody."""
    async with exchange() as venue:
        made = await venue.line()
        whole, venue.answer = venue.answer, b""
        asking = asyncio.create_task(made.answer())
        await until(lambda: made.has_left)
        made.drop()
        assert made._line not in venue.wire._lines._resting
        asking.cancel()
        await asyncio.wait((asking,))
        venue.answer = whole
        ended = await venue.line()
        ended.drop()
        ended._line.end()
        assert venue.wire._on_line(venue.wire.prepared("fapiPrivatePostOrder", ORDER)) is None


@pytest.mark.parametrize("key", ["key ", "k\u20acy"])
@pytest.mark.asyncio
async def test_a_request_that_cannot_be_written_keeps_no_line(key: str) -> None:
    """A header that is none is left to the way without lines, and the line rests again."""
    async with exchange() as venue:
        made = await venue.line()
        made.drop()
        odd = attrs.evolve(venue.wire.prepared("fapiPrivatePostOrder", ORDER), headers={"X-MBX-APIKEY": key})
        assert venue.wire._on_line(odd) is None
        assert made._line in venue.wire._lines._resting


@pytest.mark.asyncio
async def test_a_plain_server_has_lines_whatever_its_streams_speak() -> None:
    """Protects a test bench: where only the streams are behind TLS, orders do not lose their lines over it."""
    async with exchange("wss") as venue:
        assert (await venue.wire.request(await venue.line())).status == 200


def head_of(piece: bytes) -> dict[bytes, bytes]:
    """What a request says of itself."""
    lines = piece.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return {name: value for name, _, value in (line.partition(b": ") for line in lines)}


@pytest.mark.asyncio
async def test_a_request_says_the_same_of_itself_on_a_line() -> None:
    """Protects orders from a gate that judges heads: what it lets in without a line it lets in on one."""
    async with exchange() as venue:
        made = await venue.line()
        (without,) = [head_of(peer.pieces[0]) for peer in venue.peers if peer.pieces]
        (peer,) = venue.untouched()
        await venue.wire.request(made)
        # A line takes no coded answer, so it asks for none.
        del without[b"Accept-Encoding"]
        assert head_of(peer.pieces[0]) == without
