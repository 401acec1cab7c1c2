"""An HTTP/1.1 answer read from the bytes of a connection, piece by piece.

Pure. Invariants: an answer is given once it is whole, and never before; what is no answer, is longer than its bounds,
or is coded in a way that was not asked for raises ``NoAnswerError``: it proves nothing of the request.

Source: RFC 9112, "Message Body Length" and "Chunked Transfer Coding".
"""

from typing import Final

import attrs
from multidict import CIMultiDict, CIMultiDictProxy

HEAD_MAX: Final = 32_768
BODY_MAX: Final = 16_777_216
_HEAD_END: Final = b"\r\n\r\n"
_LINE_END: Final = b"\r\n"
_BODILESS: Final = frozenset({204, 304})
_CONTINUES: Final = 100
_FINAL: Final = 200
_HEX_DIGITS_MAX: Final = 8


class NoAnswerError(Exception):
    """What came is no HTTP answer that can be read."""


@attrs.frozen(kw_only=True)
class Answer:
    """An answer as it came. ``lasts``: whether the connection may carry another request."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    lasts: bool


@attrs.frozen(kw_only=True)
class _Head:
    status: int
    headers: CIMultiDictProxy[str]
    lasts: bool
    length: int | None
    """Of the body in bytes; None where it is chunked, or lasts as long as the connection."""
    chunked: bool


class AnswerReader:
    """The answer to one request."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._bytes = bytearray()
        self._head: _Head | None = None
        self._chunks = bytearray()

    def feed(self, piece: bytes) -> Answer | None:
        """Take what came; give the answer where it is whole now. NoAnswerError, also for what comes after its end."""
        self._bytes += piece
        while self._head is None:
            end = self._bytes.find(_HEAD_END)
            if end < 0:
                _bound(len(self._bytes), HEAD_MAX)
                return None
            head = _read_head(bytes(self._bytes[:end]))
            del self._bytes[: end + len(_HEAD_END)]
            if head.status >= _FINAL:
                self._head = head
        head = self._head
        if head.chunked:
            return self._of_chunks(head)
        _bound(len(self._bytes), BODY_MAX)
        if head.length is None or len(self._bytes) < head.length:
            return None
        return self._whole(head, bytes(self._bytes[: head.length]), len(self._bytes) - head.length)

    def end(self) -> Answer | None:
        """Take the end of the connection: the end of an answer that has no other. None where the answer is cut."""
        head = self._head
        if head is None or head.chunked or head.length is not None:
            return None
        return self._whole(head, bytes(self._bytes), 0)

    def _of_chunks(self, head: _Head) -> Answer | None:
        while True:
            end = self._bytes.find(_LINE_END)
            if end < 0:
                _bound(len(self._bytes), HEAD_MAX)
                return None
            size = _chunk_size(bytes(self._bytes[:end]))
            if size == 0:
                return self._of_last_chunk(head, end)
            begin = end + len(_LINE_END)
            after = begin + size + len(_LINE_END)
            _bound(len(self._chunks) + size, BODY_MAX)
            if len(self._bytes) < after:
                return None
            if self._bytes[after - len(_LINE_END) : after] != _LINE_END:
                raise NoAnswerError("a chunk does not end where it says")
            self._chunks += self._bytes[begin : begin + size]
            del self._bytes[:after]

    def _of_last_chunk(self, head: _Head, end: int) -> Answer | None:
        """Give the answer where what may follow the last chunk (trailers, which nobody reads) is there too."""
        last = self._bytes.find(_HEAD_END, end)
        if last < 0:
            _bound(len(self._bytes), HEAD_MAX)
            return None
        return self._whole(head, bytes(self._chunks), len(self._bytes) - last - len(_HEAD_END))

    def _whole(self, head: _Head, body: bytes, beyond: int) -> Answer:
        if beyond:
            raise NoAnswerError("more came than the answer")
        return Answer(status=head.status, headers=head.headers, body=body, lasts=head.lasts)


def _read_head(head: bytes) -> _Head:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    code = rest[:3]
    if version not in {"HTTP/1.1", "HTTP/1.0"} or not (code.isascii() and code.isdigit()) or int(code) < _CONTINUES:
        raise NoAnswerError("no HTTP answer")
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise NoAnswerError("a header that is none")
        headers.add(name, value.strip())
    status, coding = int(code), headers.get("Transfer-Encoding", "").lower()
    if coding not in {"", "chunked"} or headers.get("Content-Encoding", "identity").lower() != "identity":
        raise NoAnswerError("a coding that was not asked for")
    length = 0 if status in _BODILESS or status < _FINAL else _length(headers, chunked=bool(coding))
    closes = headers.get("Connection", "" if version == "HTTP/1.1" else "close").lower() == "close"
    return _Head(
        status=status,
        headers=CIMultiDictProxy(headers),
        lasts=not closes and (length is not None or bool(coding)),
        length=length,
        chunked=bool(coding) and length is None,
    )


def _length(headers: CIMultiDict[str], *, chunked: bool) -> int | None:
    told = set(headers.getall("Content-Length", ()))
    if chunked or not told:
        return None
    length = told.pop()
    if told or not (length.isascii() and length.isdigit()) or len(length) > _HEX_DIGITS_MAX:
        raise NoAnswerError("a length that is none")
    return int(length)


def _chunk_size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if not digits or len(digits) > _HEX_DIGITS_MAX or digits.strip(b"0123456789abcdefABCDEF"):
        raise NoAnswerError("a chunk without a size")
    return int(digits, 16)


def _bound(count: int, most: int) -> None:
    if count > most:
        raise NoAnswerError("longer than any answer")
