"""Connections that stand ready: a request on one leaves as one write, when it is let go, and once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest

from hedgegrid.venues.ccxtpro import lines as lines_module
from hedgegrid.venues.ccxtpro.endpoints import endpoints
from hedgegrid.venues.ccxtpro.lines import LINES_MAX, LineRequest
from hedgegrid.venues.ccxtpro.wire import LostError, NotSentError, TradingWire
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


@asynccontextmanager
async def exchange() -> AsyncIterator[Exchange]:
    """Run an exchange."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(writer)
        one.peers.append(peer)
        while piece := await reader.read(65_536):
            peer.pieces.append(piece)
            writer.write(one.answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    origin = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    where = endpoints("testnet", rest_url=f"http://{origin}", ws_url=f"ws://{origin}")
    one = Exchange(TradingWire(endpoints=where, api_key="the-key", api_secret="s3cret", recv_window_ms=2_000))
    try:
        yield one
    finally:
        await one.wire.close()
        server.close()
        for peer in one.peers:
            peer.writer.close()


@pytest.mark.asyncio
async def test_nothing_of_a_request_leaves_before_it_is_let_go_and_then_all_of_it_at_once() -> None:
    """Protects law 4: its connection stands and no byte has come; let go, it comes whole, once, in one piece."""
    async with exchange() as venue:
        made = await venue.line()
        (peer, *others) = venue.untouched()
        await venue.wire.request(venue.wire.prepared("fapiPublicGetTime", {}))
        assert (peer.pieces, others) == ([], [])
        reply = await venue.wire.request(made)
        assert (reply.status, reply.body) == (200, b'{"orderId":1}')
        (piece,) = peer.pieces
        head, _, body = piece.partition(b"\r\n\r\n")
        assert head.startswith(b"POST /fapi/v1/order HTTP/1.1\r\nHost: 127.0.0.1:")
        assert b"X-MBX-APIKEY: the-key" in head
        assert f"Content-Length: {len(body)}".encode() in head
        assert b"newClientOrderId=hg-1" in body
        assert b"signature=" in body


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


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{", b"nonsense\r\n\r\n", ANSWER * 2]
)
@pytest.mark.asyncio
async def test_an_answer_that_is_not_whole_leaves_the_outcome_unknown(said: bytes) -> None:
    """Protects law 4: an answer that was cut, is none, or is too much proves nothing, and its line carries no more."""
    async with exchange() as venue:
        made = await venue.line()
        venue.answer = said
        (peer,) = venue.untouched()
        coming = asyncio.create_task(venue.wire.request(made))
        await until(lambda: bool(peer.pieces))
        peer.writer.close()
        with pytest.raises(LostError):
            await coming
        assert made.has_left
        await until(lambda: made._line not in venue.wire._lines._lines)


@pytest.mark.asyncio
async def test_a_line_whose_answer_is_given_up_carries_nothing_any_more() -> None:
    """Protects the next order from the answer of the one before it, which may come late."""
    async with exchange() as venue:
        made = await venue.line()
        venue.answer = b""
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await made.answer()
        assert not made._line.stands
        assert made._line not in venue.wire._lines._resting


@pytest.mark.asyncio
async def test_a_line_that_the_exchange_wants_closed_carries_nothing_any_more() -> None:
    """Protects the next order: a connection that is about to end would lose it, and leave it UNKNOWN."""
    async with exchange() as venue:
        made = await venue.line()
        venue.answer = ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        assert (await venue.wire.request(made)).status == 200
        assert not made._line.stands
        assert made._line not in venue.wire._lines._resting


@pytest.mark.asyncio
async def test_a_word_that_nobody_asked_for_ends_a_line() -> None:
    """Protects answers: what an exchange says on a line at rest is no answer to what comes next."""
    async with exchange() as venue:
        made = await venue.line()
        (peer,) = venue.untouched()
        made.drop()
        peer.writer.write(ANSWER)
        await until(lambda: not made._line.stands)
        assert (await venue.wire.request(venue.wire.prepared("fapiPrivatePostOrder", ORDER))).status == 200
        assert peer.pieces == []


@pytest.mark.asyncio
async def test_a_line_does_not_rest_for_long_and_another_takes_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects orders from an exchange that closes an old connection just when they leave on it."""
    monkeypatch.setattr(lines_module, "IDLE_S", 0.02)
    monkeypatch.setattr(lines_module, "_LASTED_S", 0.0)
    async with exchange() as venue:
        await venue.wire.request(venue.wire.prepared("fapiPrivatePostOrder", ORDER))
        await until(lambda: len(venue.peers) > 3)
        await until(lambda: venue.resting() == 1)
        assert len(venue.wire._lines._lines) <= 2


@pytest.mark.asyncio
async def test_an_exchange_that_wants_no_line_is_not_dialled_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the exchange, and our address there: a line that ends at once is not dialled again by itself."""
    monkeypatch.setattr(lines_module, "IDLE_S", 0.0)
    async with exchange() as venue:
        await venue.wire.request(venue.wire.prepared("fapiPrivatePostOrder", ORDER))
        await until(lambda: len(venue.peers) == 2 and not venue.wire._lines._lines)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(venue.peers) == 2
        assert venue.wire._lines._dialling is None


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
async def test_closing_the_wire_ends_its_lines_and_what_was_held_on_them() -> None:
    """Protects a stop: afterwards nothing can leave."""
    async with exchange() as venue:
        made = await venue.line()
        (peer,) = venue.untouched()
        await venue.wire.close()
        with pytest.raises(asyncio.CancelledError):
            await venue.wire.request(made)
        await until(peer.writer.transport.is_closing)
        assert (peer.pieces, venue.wire._lines._dialling) == ([], None)


@pytest.mark.asyncio
async def test_a_line_that_was_silent_for_too_long_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held as well as at rest: the other side may have closed it; nothing of the request leaves, and that is told."""
    monkeypatch.setattr(lines_module, "IDLE_S", 0.05)
    async with exchange() as venue:
        made = await venue.line()
        await asyncio.sleep(0.1)
        with pytest.raises(NotSentError):
            await venue.wire.request(made)
        assert not made.has_left


@pytest.mark.asyncio
async def test_dropping_a_held_request_makes_its_line_no_younger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its silence counts from the last byte, however often it was held meanwhile."""
    monkeypatch.setattr(lines_module, "IDLE_S", 0.2)
    async with exchange() as venue:
        first = await venue.line()
        until_s = first._line.fresh_until_s
        first.drop()
        again = venue.wire.held(venue.wire.prepared("fapiPrivatePostOrder", ORDER))
        assert isinstance(again, LineRequest)
        assert (again._line, again._line.fresh_until_s) == (first._line, until_s)


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


@pytest.mark.asyncio
async def test_an_answer_that_our_own_close_cuts_is_lost() -> None:
    """What has no length lasts as long as its connection, unless it was we who ended that."""
    async with exchange() as venue:
        made = await venue.line()
        venue.answer = b'HTTP/1.1 200 OK\r\n\r\n{"orderId"'
        asking = asyncio.create_task(venue.wire.request(made))
        await until(lambda: made._line._dialogue is not None and bool(made._line._dialogue._body))
        made._line.end()
        with pytest.raises(LostError):
            await asking


@pytest.mark.asyncio
async def test_a_request_that_cannot_be_written_keeps_no_line() -> None:
    """A header that is none is left to the way without lines, and the line rests again."""
    async with exchange() as venue:
        made = await venue.line()
        made.drop()
        odd = attrs.evolve(venue.wire.prepared("fapiPrivatePostOrder", ORDER), headers={"X-MBX-APIKEY": "key "})
        assert venue.wire._on_line(odd) is None
        assert made._line in venue.wire._lines._resting
