"""Requests and answers of the stand-in, whatever carries them, and what its two halves know of each other.

Invariants: a ``Call`` holds the request as it came (its signature can be checked); an ``Answer`` says all that is
sent, and how badly.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl

import attrs


@attrs.define(kw_only=True, slots=False, frozen=True)
class Call:
    """A request. ``query`` and ``body`` are raw; over a websocket ``body`` holds the sorted plain parameters."""

    method: str
    path: str
    query: str
    body: str
    api_key: str
    transport: Literal["rest", "ws"]
    received_ms: int
    arrived_ns: int
    """When its last bytes were read, by the machine's monotonic clock."""

    @cached_property
    def params(self) -> dict[str, str]:
        """The parameters of query and body together."""
        if self.transport == "ws":
            return dict(part.partition("=")[::2] for part in self.body.split("&") if part)
        return dict(parse_qsl(self.query, keep_blank_values=True) + parse_qsl(self.body, keep_blank_values=True))

    @property
    def name(self) -> str:
        """Method and path: "POST /fapi/v1/order"."""
        return f"{self.method} {self.path}"


@attrs.frozen(kw_only=True)
class Answer:
    """An answer. ``raw`` is sent in place of ``payload``; ``drop`` closes the connection without a word.

    ``short_by`` bytes of what Content-Length announces are not sent.
    """

    status: int
    payload: Any = None
    headers: Mapping[str, str] = attrs.field(factory=dict)
    raw: bytes | None = None
    drop: bool = False
    short_by: int = 0

    @classmethod
    def error(cls, status: int, code: int, msg: str) -> "Answer":
        """Make an error with a body of code and text."""
        return cls(status=status, payload={"code": code, "msg": msg})

    @classmethod
    def text(cls, status: int, text: str) -> "Answer":
        """Make an answer whose body is no JSON."""
        return cls(status=status, raw=text.encode())


class ListenKeys(Protocol):
    """The keys of the private stream and their lives."""

    def open(self, now_ms: int) -> str:
        """Give the live key, prolonged, or a new one."""
        ...

    def renew(self, now_ms: int) -> str | None:
        """Prolong the live key; None where there is none."""
        ...

    def close(self, now_ms: int) -> bool:
        """End the live key; False where there is none."""
        ...


class MarketSource(Protocol):
    """The market's past, in the wire's form."""

    def klines(
        self, symbol: str, interval: str, start_ms: int | None, end_ms: int | None, limit: int, *, mark: bool = False
    ) -> list[list[Any]]:
        """Give bars of 12 columns, the open one last."""
        ...

    def agg_trades(
        self, symbol: str, start_ms: int | None, end_ms: int | None, from_id: int | None, limit: int
    ) -> list[dict[str, Any]]:
        """Give aggregated trades."""
        ...

    def depth(self, symbol: str, limit: int) -> dict[str, Any]:
        """Give the order book."""
        ...

    def funding_rates(
        self, symbol: str | None, start_ms: int | None, end_ms: int | None, limit: int
    ) -> list[dict[str, Any]]:
        """Give settled funding rates."""
        ...
