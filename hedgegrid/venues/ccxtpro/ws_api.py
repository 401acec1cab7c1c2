"""Orders over the exchange's websocket API: one socket, each message signed, each answer given to its question.

Invariants: a message holds the raw parameters that the caller gave, the signature's, and nothing else; its id is text
and never used twice; a question whose socket is lost, or that is not answered before ``recv_window_ms`` + 1 s, is
OutcomeUnknown where it may have changed something; nothing is kept of it then.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
import orjson

from hedgegrid.errors import Transient
from hedgegrid.runtime.clock import Clock
from hedgegrid.units import NS_PER_DAY, NS_PER_HOUR, NS_PER_MINUTE, NS_PER_S
from hedgegrid.venues.ccxtpro.budget import CallKind
from hedgegrid.venues.ccxtpro.errors import classify
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.ccxtpro.sockets import KeptSocket, Report, SocketHealth, quiet
from hedgegrid.venues.ccxtpro.wire import LostError, NotSentError, TradingWire

_INTERVALS_NS: Final = {"SECOND": NS_PER_S, "MINUTE": NS_PER_MINUTE, "HOUR": NS_PER_HOUR, "DAY": NS_PER_DAY}
_OK: Final = 200


@attrs.frozen(kw_only=True)
class Written:
    """A message as it will leave, with the number by which its answer is known. It holds secrets."""

    number: str
    text: str = attrs.field(repr=False)


class OrderSocket:
    """The order socket of one account. Start it once, stop it once."""

    def __init__(
        self, *, wire: TradingWire, session: Session, clock: Clock, ping_ms: int = 2_000, report: Report = quiet
    ) -> None:
        """Prepare; nothing is dialled yet. Budget, clock offset and the length of a call are ``session``'s."""
        self._wire, self._session, self._clock = wire, session, clock
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._sent = 0
        self._socket = KeptSocket(
            name="orders",
            wire=wire,
            clock=clock,
            url=self._url,
            on_event=self._on_answer,
            on_up=self._on_up,
            on_down=self._on_down,
            ping_ms=ping_ms,
            report=report,
        )

    def start(self) -> None:
        """Begin to dial."""
        self._socket.start()

    async def stop(self) -> None:
        """Close; every open question is lost."""
        await self._socket.stop()
        self._on_down("stopped")

    @property
    def connected(self) -> bool:
        """Whether a question can be sent."""
        return self._socket.connected

    def health(self) -> SocketHealth:
        """Tell how the socket is."""
        return self._socket.health()

    def written(self, method: str, params: Mapping[str, object]) -> Written:
        """Write a message as it will leave: numbered, signed, in text."""
        self._sent += 1
        number = str(self._sent)
        message = {"id": number, "method": method, "params": self._wire.signed(params)}
        return Written(number=number, text=orjson.dumps(message).decode())

    async def call(
        self,
        method: str,
        params: Mapping[str, object],
        *,
        kind: CallKind,
        weight: int = 1,
        orders: int = 0,
        made: Callable[[], Written] | None = None,
    ) -> Any:  # noqa: ANN401 - an answer is any JSON
        """Ask ``method`` (order.place, order.cancel, order.status, algoOrder.place ..) with the exchange's own names.

        ``made`` gives the message where somebody has written it already; it is asked when it may leave.
        Gives the result. Raises what ``Session.call`` does; Transient where the socket is not up.
        """
        if not self.connected:
            raise Transient(f"{method}: the order socket is not connected")
        await self._session.admitted(kind, weight, orders, 0)
        message = self.written(method, params) if made is None else made()
        answer = self._waiting[message.number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._session.timeout_s):
                await self._socket.send(message.text)
                told = await answer
        except NotSentError as error:
            raise Transient(f"{method}: {error}") from None
        except LostError as error:
            raise self._session.lost(kind, f"{method}: {error}") from None
        except TimeoutError:
            raise self._session.lost(kind, f"{method}: no answer within {self._session.timeout_s:g} s") from None
        finally:
            self._waiting.pop(message.number, None)
        return self._result(method, kind, told)

    def _result(self, method: str, kind: CallKind, told: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any JSON
        """Read an answer, or raise what it proves."""
        self._hear_limits(told.get("rateLimits"))
        status = told.get("status")
        if status == _OK and told.get("error") is None and "result" in told:
            self._session.counts.answered += 1
            return told["result"]
        verdict = classify(
            json.dumps(told.get("error")),
            status=status if type(status) is int else None,
            sent_order=kind is not CallKind.READ,
        )
        raise self._session.error(method, verdict)

    def _hear_limits(self, limits: object) -> None:
        """Take the counts that an answer carries; what cannot be read is left out."""
        now_ns = self._clock.now_ns()
        for row in limits if type(limits) is list else ():
            if type(row) is not dict:
                continue
            unit_ns, number, count = (
                _INTERVALS_NS.get(str(row.get("interval"))),
                row.get("intervalNum"),
                row.get("count"),
            )
            if unit_ns is not None and type(number) is int and type(count) is int:
                self._session.budget.heard_count(str(row.get("rateLimitType")), unit_ns * number, count, now_ns)

    async def _url(self) -> str:
        return self._wire.endpoints.ws_api

    async def _on_up(self) -> None:
        """Nothing is to be read again: answers of a lost connection are lost."""

    def _on_answer(self, message: dict[str, Any]) -> None:
        """Give an answer to its question; one that nobody waits for any more came too late."""
        answer = self._waiting.get(str(message.get("id")))
        if answer is not None and not answer.done():
            answer.set_result(message)

    def _on_down(self, why: str) -> None:
        """Tell every open question that its answer will not come."""
        waiting, self._waiting = self._waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(LostError(f"the connection was lost ({why})"))
