"""One HTTP/1.1 request as bytes, and its answer read from the bytes that come back (h11 knows the protocol).

Pure. Invariants: an answer is given once it is whole, and never before; what is no answer, is longer than its bounds,
or is coded in a way that was not asked for raises ``NoAnswerError``: it proves nothing of the request.
"""

from collections.abc import Mapping
from typing import Final

import attrs
import h11
from multidict import CIMultiDict, CIMultiDictProxy

HEAD_MAX: Final = 32_768
BODY_MAX: Final = 16_777_216


class NoAnswerError(Exception):
    """What came is no HTTP answer that can be read."""


@attrs.frozen(kw_only=True)
class Answer:
    """An answer as it came. ``lasts``: whether the connection may carry another request."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    lasts: bool


class Dialogue:
    """One request and the answer to it; ``request`` is all that leaves."""

    def __init__(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> None:
        """Write the request. h11.LocalProtocolError for a header that is none, or would be two."""
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_MAX)
        fields = {**headers, "Content-Length": str(len(body))}
        head = h11.Request(method=method, target=target, headers=list(fields.items()))
        parts = (self._http.send(head), self._http.send(h11.Data(data=body)), self._http.send(h11.EndOfMessage()))
        self.request: Final = b"".join(part for part in parts if part)
        self._head: h11.Response | None = None
        self._body = bytearray()

    def feed(self, piece: bytes) -> Answer | None:
        """Take what came; give the answer where it is whole now. NoAnswerError, also for what comes after its end."""
        return self._read(piece) if piece else None

    def end(self) -> Answer | None:
        """Take the end of the connection: the end of an answer that has no other. None where the answer is cut."""
        try:
            return self._read(b"")
        except NoAnswerError:
            return None

    def _read(self, piece: bytes) -> Answer | None:
        try:
            self._http.receive_data(piece)
            return self._whole()
        except h11.RemoteProtocolError as error:
            raise NoAnswerError(f"no HTTP answer: {error}") from None

    def _whole(self) -> Answer | None:
        while True:
            event = self._http.next_event()
            match event:
                case h11.Response():
                    self._head = event
                case h11.Data():
                    self._body += event.data
                    if len(self._body) > BODY_MAX:
                        raise NoAnswerError("longer than any answer")
                case h11.EndOfMessage() if self._head is not None:
                    return self._answer(self._head)
                case h11.InformationalResponse():
                    """Not the answer yet."""
                case _:
                    return None

    def _answer(self, head: h11.Response) -> Answer:
        headers = CIMultiDict((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers)
        if headers.get("Content-Encoding", "identity").lower() != "identity":
            raise NoAnswerError("a coding that was not asked for")
        if self._http.trailing_data[0]:
            raise NoAnswerError("more came than the answer")
        return Answer(
            status=head.status_code,
            headers=CIMultiDictProxy(headers),
            body=bytes(self._body),
            lasts=self._http.their_state is h11.DONE and self._http.our_state is h11.DONE,
        )
