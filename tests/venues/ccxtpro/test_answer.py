"""An HTTP answer is read the same however it is cut on the way, and what is none raises one error."""

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hedgegrid.venues.ccxtpro import answer as answer_module
from hedgegrid.venues.ccxtpro.answer import Answer, Dialogue, NoAnswerError

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\nX-MBX-USED-WEIGHT-1M: 7\r\n\r\n" + b'{"orderId":1}'
CHUNKED = b"""HTTP/1.1 400 Bad\r
Transfer-Encoding: chunked\r
\r
4;x=1\r
{"co\r
A\r
de":-2011}\r
0\r
Trailer: no\r
\r
"""
CONTINUED = b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN
EMPTY = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"


def asked() -> Dialogue:
    """Begin a dialogue."""
    return Dialogue("POST", "/fapi/v1/order?a=1", {"Host": "h"}, b"b=2")


def test_a_request_is_written_whole() -> None:
    """Protects the signature: address, headers and body are what they were given as, and a header is one line."""
    head, _, body = asked().request.partition(b"\r\n\r\n")
    assert head.split(b"\r\n") == [b"POST /fapi/v1/order?a=1 HTTP/1.1", b"Host: h", b"Content-Length: 3"]
    assert body == b"b=2"
    with pytest.raises(h11.LocalProtocolError):
        Dialogue("POST", "/", {"Host": "h", "X-MBX-APIKEY": "key\r\nX: y"}, b"")


def read(whole: bytes, cuts: list[int]) -> Answer | None:
    """Read an answer that comes in pieces; nothing may be given before its last byte."""
    reader = asked()
    edges = [0, *sorted(cut % len(whole) for cut in cuts), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(edges) if end > start]
    for piece in pieces[:-1]:
        assert reader.feed(piece) is None
    return reader.feed(pieces[-1])


@given(cuts=st.lists(st.integers(0, 1_000), max_size=6))
def test_an_answer_is_the_same_in_however_many_pieces(cuts: list[int]) -> None:
    """Protects what is known of orders: no cut of the network makes another answer of one, or an early one."""
    for whole, status, body in (
        (PLAIN, 200, b'{"orderId":1}'),
        (CONTINUED, 200, b'{"orderId":1}'),
        (CHUNKED, 400, b'{"code":-2011}'),
        (EMPTY, 204, b""),
    ):
        found = read(whole, cuts)
        assert found is not None
        assert (found.status, found.body) == (status, body)
        assert found.lasts is (whole is not EMPTY)
    assert read(PLAIN, cuts).headers["x-mbx-used-weight-1m"] == "7"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "raw",
    [
        b"no answer\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        PLAIN + b"H",
        CHUNKED + b"H",
        b"a" * (answer_module.HEAD_MAX + 1),
    ],
)
def test_what_is_no_answer_raises_one_error(raw: bytes) -> None:
    """Protects law 4: whatever cannot be read proves nothing, and is never taken for an answer."""
    with pytest.raises(NoAnswerError):
        asked().feed(raw)


@given(raw=st.binary(max_size=200), head=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n", CHUNKED[:60]]))
def test_any_bytes_end_in_an_answer_or_in_that_error(raw: bytes, head: bytes) -> None:
    """Protects the loop: no bytes of a broken exchange raise anything else."""
    try:
        asked().feed(head + raw)
    except NoAnswerError:
        return


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    """An answer that was cut short is none; only one that has no other end may end so."""
    reader = asked()
    assert reader.feed(b"HTTP/1.1 503 Busy\r\n\r\nService ") is None
    assert reader.feed(b"Unavailable") is None
    found = reader.end()
    assert found is not None
    assert (found.status, found.body) == (503, b"Service Unavailable")
    for cut in (PLAIN[:-1], CHUNKED[:-2], PLAIN[:20], b""):
        reader = asked()
        assert reader.feed(cut) is None
        assert reader.end() is None


def test_a_body_without_end_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects memory: whatever length it tells, or none, no more than the bound is kept."""
    monkeypatch.setattr(answer_module, "BODY_MAX", 12)
    for whole in (PLAIN, CHUNKED, b"HTTP/1.1 200 OK\r\n\r\n" + bytes(13)):
        with pytest.raises(NoAnswerError, match="longer"):
            asked().feed(whole)
