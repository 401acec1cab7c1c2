"""Faults of requests and their answers, on REST and on the websocket API alike.

Invariants: a fault that says "not done" never lets the exchange see the request, and one that says "done" never keeps
it away; the answer is word for word what the exchange says in that case, as far as its documents and answers seen tell.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Final

import attrs

from tools.standin.errors import refusal
from tools.standin.exchange import Exchange
from tools.standin.faults import Fault, Faults, is_reduction
from tools.standin.gateway import Gateway
from tools.standin.hand import fill_now, order_named
from tools.standin.resign import resigned, without_rows
from tools.standin.wire import Answer, Call

UNKNOWN_TEXT: Final = "Unknown error, please check your request or try again later."
UNAVAILABLE_TEXT: Final = "Service Unavailable."
_1006: Final = "An unexpected response was received from the message bus. Execution status unknown."
_1007: Final = "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
_1008: Final = (
    "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. Please try again."
)
_MAINTENANCE: Final = "This service is no longer available."
_TOO_MANY: Final = (
    "Too many requests; current limit is 2400 requests per minute. Please use the websocket for live updates."
)
_BANNED: Final = (
    "Way too many requests; IP banned until {until}. Please use the websocket for live updates to avoid bans."
)
_REFUSALS: Final = ("1021", "2015", "2019", "2022", "4061", "5022")
_DEAD_ENDS: Final[dict[str, Answer]] = {
    "request-lost": Answer(status=0, payload=None, drop=True),
    "503-unknown": Answer.text(503, UNKNOWN_TEXT),
    "503-unavailable": Answer.text(503, UNAVAILABLE_TEXT),
    "1006": Answer.error(503, -1006, _1006),
    "1007": Answer.error(408, -1007, _1007),
    "408": Answer.text(408, ""),
    "maintenance": Answer.error(503, -1016, _MAINTENANCE),
}
_LOST_ENDS: Final[dict[str, Answer]] = {
    "response-lost": Answer(status=0, payload=None, drop=True),
    "503-unknown-done": Answer.text(503, UNKNOWN_TEXT),
    "1006-done": Answer.error(503, -1006, _1006),
    "1007-done": Answer.error(408, -1007, _1007),
    "bad-json-answer": Answer.text(200, "<html><body>Bad gateway</body></html>"),
}
_READS_KEPT: Final = 256


class WireFaults:
    """What rest.py asks before and after each request. Set ``gateway`` before the first one."""

    def __init__(
        self, *, faults: Faults, exchange: Exchange, clock_ms: Callable[[], int], keys: Mapping[str, str]
    ) -> None:
        self.gateway: Gateway | None = None
        self._faults = faults
        self._exchange = exchange
        self._clock_ms = clock_ms
        self._keys = keys
        self._reads: dict[str, Answer] = {}

    async def before(self, call: Call) -> Answer | None:
        """Give the answer of a fault that keeps the request away, or None to let it through."""
        if not self._faults.any_armed():
            return None
        return self._turned_away(call) or self._limited(call) or await self._queued(call) or self._meddled(call)

    def _turned_away(self, call: Call) -> Answer | None:
        """Give the answer of a fault that only says no, or says nothing."""
        for name, answer in _DEAD_ENDS.items():
            if self._fires(name, call):
                return answer
        for name in _REFUSALS:
            if self._fires(name, call):
                return _refused(name)
        spared = call.method == "DELETE" or is_reduction(call.params)
        if not spared and self._fires("1008", call):
            return Answer.error(503, -1008, _1008)
        return None

    async def _queued(self, call: Call) -> Answer | None:
        """Let a request wait: outside the door, or inside it, where its timestamp has been judged already."""
        if fault := self._fires("slow-request", call):
            await asyncio.sleep(fault.number("ms", 500) / 1000)
        if fault := self._fires("late-accept", call):
            await asyncio.sleep(fault.number("ms", 8_000) / 1000)
            return self._gateway().answer(resigned(call, self._keys, {"timestamp": str(self._clock_ms())}))
        return None

    def _meddled(self, call: Call) -> Answer | None:
        """Change what a request finds: a batch that is cut, an order that is gone."""
        if call.name == "POST /fapi/v1/batchOrders" and (fault := self._fires("batch-partial", call)):
            return self._part_of_batch(call, fault)
        if call.method == "DELETE" and (fault := self._fires("cancel-race-fill", call)):
            self._fill(call, fault)
        return None

    async def after(self, call: Call, answer: Answer) -> Answer:
        """Give what is sent in place of an answer."""
        is_read = call.name.startswith("GET")
        if not self._faults.any_armed():
            self._keep(call, answer, is_read=is_read)
            return answer
        earlier = self._reads.get(_read_key(call)) if is_read else None
        if earlier is not None and self._fires("stale-read", call):
            return earlier
        self._keep(call, answer, is_read=is_read)
        if is_read and isinstance(answer.payload, list) and self._fires("empty-read", call):
            return attrs.evolve(answer, payload=[])
        for name, dead in _LOST_ENDS.items():
            if self._fires(name, call):
                return dead
        if self._fires("truncated", call):
            return attrs.evolve(answer, short_by=max(1, len(json.dumps(answer.payload)) // 2))
        if fault := self._fires("slow-answer", call):
            await asyncio.sleep(fault.number("ms", 500) / 1000)
        return answer

    def _fires(self, name: str, call: Call) -> Fault | None:
        return self._faults.fires(name, call.params, call.name)

    def _keep(self, call: Call, answer: Answer, *, is_read: bool) -> None:
        """Remember the first answer to each read since the last time one was given again."""
        if is_read and answer.status == 200:  # noqa: PLR2004 - HTTP's own number
            self._reads[_read_key(call)] = answer
            if len(self._reads) > _READS_KEPT:
                del self._reads[next(iter(self._reads))]

    def _limited(self, call: Call) -> Answer | None:
        """Give 429 or 418; the gateway goes on with it by itself until it is over."""
        gateway = self._gateway()
        now_ms = self._clock_ms()
        if fault := self._fires("429", call):
            lasts_ms = fault.number("ms", 0)
            gateway.throttled_until_ms = now_ms + lasts_ms
            answer = Answer.error(429, -1003, _TOO_MANY)
            return attrs.evolve(answer, headers={"Retry-After": str(max(1, -(-lasts_ms // 1000)))})
        if fault := self._fires("418", call):
            lasts_ms = fault.number("ms", 120_000)
            gateway.banned_until_ms = now_ms + lasts_ms
            answer = Answer.error(418, -1003, _BANNED.format(until=now_ms + lasts_ms))
            return attrs.evolve(answer, headers={"Retry-After": str(max(1, -(-lasts_ms // 1000)))})
        return None

    def _part_of_batch(self, call: Call, fault: Fault) -> Answer:
        """Let the first rows of a batch through and refuse the others, each in its own row."""
        code = fault.number("code", -2019)
        kept, lost = without_rows(call, fault.number("rows", 1), self._keys)
        row = {"code": code, "msg": refusal(code).msg}
        if kept is None:
            return Answer(status=200, payload=[row] * lost)
        answer = self._gateway().answer(kept)
        if not isinstance(answer.payload, list):
            return answer
        return attrs.evolve(answer, payload=[*answer.payload, *([row] * lost)])

    def _fill(self, call: Call, fault: Fault) -> None:
        """Fill the order that a cancel is about."""
        order = order_named(self._exchange, call.params)
        if order is not None:
            fill_now(self._exchange, order, self._clock_ms())
            self._faults.told(fault, filled=order.client_id)

    def _gateway(self) -> Gateway:
        assert self.gateway is not None
        return self.gateway


def _refused(name: str) -> Answer:
    """Give the plain refusal that a fault is named after."""
    error = refusal(-int(name))
    return Answer.error(error.status, error.code, error.msg)


def _read_key(call: Call) -> str:
    """Give what makes two reads the same: everything but time and signature."""
    plain = {key: value for key, value in call.params.items() if key not in {"timestamp", "signature", "recvWindow"}}
    return f"{call.name} {sorted(plain.items())}"
