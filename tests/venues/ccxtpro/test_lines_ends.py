"""How lines end: by silence, by a word too many, by an answer that is none, by our own close, and never unnoticed.

Invariant: a line that has ended, or is about to, carries nothing any more; what was under way on it is lost.
"""

import asyncio
import socket
import struct
import time

import pytest

from hedgegrid.venues.ccxtpro import lines as lines_module
from hedgegrid.venues.ccxtpro.lines import LineRequest
from hedgegrid.venues.ccxtpro.wire import LostError, NotSentError
from tests.venues.ccxtpro.loopback import until
from tests.venues.ccxtpro.test_lines import ANSWER, ORDER, exchange


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
async def test_a_line_on_which_nonsense_came_is_closed_by_us() -> None:
    """Protects the next order: whatever else comes on that line is no answer to it."""
    async with exchange() as venue:
        made = await venue.line()
        venue.answer = b"nonsense\r\n\r\n"
        (peer,) = venue.untouched()
        with pytest.raises(LostError):
            await venue.wire.request(made)
        await until(peer.writer.transport.is_closing)
        assert made._line not in venue.wire._lines._lines


@pytest.mark.asyncio
async def test_closing_the_wire_ends_what_is_under_way_as_lost() -> None:
    """Protects a stop: nobody waits for an answer that cannot come any more, and the order is not taken for unsent."""
    async with exchange() as venue:
        made = await venue.line()
        venue.answer = b""
        (peer,) = venue.untouched()
        asking = asyncio.create_task(venue.wire.request(made))
        await until(lambda: bool(peer.pieces))
        await venue.wire.close()
        with pytest.raises(LostError):
            await asking
        await until(peer.writer.transport.is_closing)


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
async def test_a_word_that_nobody_asked_for_ends_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects answers: what an exchange says on a line at rest is no answer to what comes next."""
    monkeypatch.setattr(lines_module, "IDLE_S", 600.0)
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
        await until(lambda: made._line not in venue.wire._lines._lines)


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
@pytest.mark.parametrize("broken", [False, True])
async def test_an_answer_without_a_length_that_is_cut_is_lost(broken: bool) -> None:
    """It lasts as long as its connection, unless it was we who ended that, or something that broke it."""
    async with exchange() as venue:
        made = await venue.line()
        venue.answer = b'HTTP/1.1 200 OK\r\n\r\n{"orderId"'
        asking = asyncio.create_task(venue.wire.request(made))
        await until(lambda: made._line._dialogue is not None and bool(made._line._dialogue._body))
        peer = next(one for one in venue.peers if one.pieces == [made._dialogue.request])
        if broken:
            peer.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            peer.writer.transport.abort()
        else:
            made._line.end()
        with pytest.raises(LostError):
            await asking


@pytest.mark.asyncio
async def test_an_answer_makes_its_line_younger() -> None:
    """Its silence counts from the last byte: one that is spoken on stays."""
    async with exchange() as venue:
        made = await venue.line()
        before_s = made._line.fresh_until_s
        await venue.wire.request(made)
        assert made._line.fresh_until_s > before_s


@pytest.mark.asyncio
async def test_an_answer_that_comes_as_it_is_given_up_is_nobody_s() -> None:
    """Protects the loop: the last bytes may come in the very pass in which nobody waits any more."""
    async with exchange() as venue:
        made = await venue.line()
        venue.answer = b""
        asking = asyncio.create_task(made.answer())
        await until(lambda: made.has_left)
        asking.cancel()
        made._line.data_received(ANSWER)
        await asyncio.wait((asking,))
        assert asking.cancelled()
        await until(lambda: made._line not in venue.wire._lines._lines)


@pytest.mark.asyncio
async def test_a_line_whose_silence_a_busy_loop_overslept_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the bound of lines: it is neither used nor kept, and another is dialled."""
    monkeypatch.setattr(lines_module, "IDLE_S", 0.05)
    async with exchange() as venue:
        made = await venue.line()
        made.drop()
        time.sleep(0.06)  # noqa: ASYNC251 - a loop that is held up is what this is about
        assert venue.wire._on_line(venue.wire.prepared("fapiPrivatePostOrder", ORDER)) is None
        await until(lambda: made._line not in venue.wire._lines._lines)


@pytest.mark.asyncio
async def test_an_exchange_that_closes_lines_at_once_is_not_dialled_for_ever() -> None:
    """Protects the exchange, and our address there: what it ends young is not dialled again before the next order."""
    async with exchange() as venue:
        await venue.wire.request(venue.wire.prepared("fapiPrivatePostOrder", ORDER))
        await until(lambda: venue.resting() == 1 and len(venue.peers) == 2)
        (peer,) = venue.untouched()
        peer.writer.transport.abort()
        await until(lambda: not venue.wire._lines._lines)
        for _ in range(50):
            await asyncio.sleep(0)
        assert (len(venue.peers), venue.wire._lines._dialling) == (2, None)


@pytest.mark.asyncio
async def test_what_has_ended_does_not_rest() -> None:
    """A request is dropped whose connection is gone: nobody is given that one."""
    async with exchange() as venue:
        made = await venue.line()
        (peer,) = venue.untouched()
        peer.writer.transport.abort()
        await until(lambda: not made._line.stands)
        made.drop()
        assert made._line not in venue.wire._lines._resting
