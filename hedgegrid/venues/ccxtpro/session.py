"""Requests over REST: one call, one answer, every error one of ours.

Invariants:
- A call ends before ``recv_window_ms`` + 1 s, counted from when it is sent.
- A request that may have changed something and whose answer did not come whole is OutcomeUnknown; nothing is sent
  twice, and nothing at all before the budget admits it.
- No error's text carries an address, a parameter or a key.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final

import attrs

from hedgegrid.errors import Fatal, HedgegridError, OutcomeUnknown, Rejected, Transient
from hedgegrid.messages.events import EndReason
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.fence import Fence
from hedgegrid.units import NS_PER_MINUTE, NS_PER_MS, NS_PER_S
from hedgegrid.venues.ccxtpro.budget import BAN_NS, Admitted, Budget, CallKind
from hedgegrid.venues.ccxtpro.errors import CLOCK, KEYS, Verdict, classify
from hedgegrid.venues.ccxtpro.parse_market import server_ns
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError, read_json
from hedgegrid.venues.ccxtpro.wire import LostError, NotSentError, PublicWire, Ready, Reply

TIME_SAMPLES: Final = 5
READ_PATIENCE_MS: Final = 5_000
_TIMEOUT_MARGIN_MS: Final = 900
_TIME_EVERY_S: Final = 60.0
_TIME_PAUSE_S: Final = 1.0
_KEY_REMEDY: Final = " (the exchange refuses our key: look at the key, its rights and its addresses there)"
_SIGNATURE_REMEDY: Final = " (the exchange knows the key, and our signature is wrong: look at venue.api_secret)"
_BAD_SIGNATURE: Final = -1022
_TOO_MANY_ORDERS: Final = -1015
_ORDERS_PAUSE_NS: Final = 10 * NS_PER_S
_WEIGHT_PAUSE_NS: Final = NS_PER_MINUTE
_FIRST_ERROR_STATUS: Final = 300
_NOTHING: Final[Mapping[str, object]] = {}


class Refused(Rejected):
    """The exchange said no; ``verdict`` says how."""

    def __init__(self, verdict: Verdict) -> None:
        """Carry what the exchange's code means."""
        super().__init__(verdict.words)
        self.verdict = verdict


class KeyRefused(Fatal):
    """The exchange takes nothing from us: the key, its secret, its rights or our address are at fault."""


class Throttled(Transient):
    """It was not sent, or refused for being too much: not before ``until_ns`` of our clock."""

    until_ns: int

    def __init__(self, words: str, until_ns: int) -> None:
        """Say until when."""
        super().__init__(words)
        self.until_ns = until_ns


@attrs.define(kw_only=True)
class CallCounts:
    """How calls ended, since the start."""

    answered: int = 0
    refused: int = 0
    transient: int = 0
    throttled: int = 0
    unknown: int = 0


class Session:
    """Calls to one exchange on behalf of one account, or of nobody."""

    def __init__(self, *, wire: PublicWire, budget: Budget, clock: Clock, recv_window_ms: int) -> None:
        """Speak over ``wire``; requests are valid for ``recv_window_ms``."""
        self.wire = wire
        self.budget = budget
        self.counts = CallCounts()
        self._clock = clock
        self.timeout_s = (recv_window_ms + _TIMEOUT_MARGIN_MS) / 1000
        self._offset_ns: int | None = None
        self._measured_ns = 0
        self._time_doubted = asyncio.Event()
        self._fence = Fence()
        self._time_task: asyncio.Task[None] | None = None
        wire.stamp_with(lambda: self.venue_ns() // NS_PER_MS)

    def keep_behind(self, fence: Fence) -> None:
        """Send no entry while ``fence`` is up, whoever has asked for it and however far it has come."""
        self._fence = fence

    def go_by(self, offset_ns: int) -> None:
        """Take the exchange's clock, less ours, as another session has measured it."""
        self._time_doubted.clear()
        self._offset_ns = offset_ns
        self._measured_ns = self._clock.now_ns()

    async def start(self) -> None:
        """Measure the exchange's clock, and keep measuring it from here on; may be called again. Raises Transient."""
        await self.sync_time()
        if self._time_task is None:
            self._time_task = asyncio.create_task(self._keep_time(), name="exchange time")

    async def close(self) -> None:
        """Close the connections."""
        task, self._time_task = self._time_task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self.wire.close()

    async def _keep_time(self) -> None:
        """Measure again each minute, and soon after a request was refused for its time."""
        while True:
            self._time_doubted.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TIME_EVERY_S):
                    await self._time_doubted.wait()
            # An exchange that does not answer now is asked again; the age of the last measure tells of it.
            with contextlib.suppress(HedgegridError):
                await self.sync_time()
            await asyncio.sleep(_TIME_PAUSE_S)

    @property
    def skew_ms(self) -> int | None:
        """How far the exchange's clock is ahead of ours, None until measured."""
        return None if self._offset_ns is None else self._offset_ns // NS_PER_MS

    @property
    def is_time_doubted(self) -> bool:
        """Whether a request was refused for its time since the clock was measured."""
        return self._time_doubted.is_set()

    def skew_age_ns(self) -> int | None:
        """How long ago that was measured, None until it was."""
        return None if self._offset_ns is None else self._clock.now_ns() - self._measured_ns

    def venue_ns(self) -> int:
        """Give the exchange's time, ours until it is measured."""
        return self._clock.now_ns() + (self._offset_ns or 0)

    async def sync_time(self) -> None:
        """Measure the exchange's clock: the median of several, each at the middle of its question. Raises Transient."""
        offsets: list[int] = []
        for _ in range(TIME_SAMPLES):
            before_ns = self._clock.now_ns()
            answer = await self.call("fapiPublicGetTime")
            after_ns = self._clock.now_ns()
            try:
                offsets.append(server_ns(answer) - (before_ns + after_ns) // 2)
            except BadPayloadError as error:
                raise Transient(f"the exchange's time cannot be read: {error}") from None
        self._offset_ns = int(median(offsets))
        self._measured_ns = self._clock.now_ns()

    async def call(
        self,
        method: str,
        params: Mapping[str, object] = _NOTHING,
        *,
        kind: CallKind = CallKind.READ,
        weight: int = 1,
        orders: int = 0,
        patience_ms: int | None = None,
        made: Callable[[], Ready] | None = None,
    ) -> Any:  # noqa: ANN401 - an answer is any JSON
        """Call one of ccxt's implicit methods with raw parameters and give the answer's JSON, fractions as text.

        ``made`` gives the request where somebody has made it already; it is asked when the request may leave.

        A READ may be repeated, so a lost answer is Transient, and it waits up to ``patience_ms`` for the budget. All
        other kinds change something: a lost answer is OutcomeUnknown, and they wait only where ``patience_ms`` says so.
        Raises Throttled (Transient), Transient, Refused (Rejected), OutcomeUnknown, Fatal.
        """
        if patience_ms is None:
            patience_ms = READ_PATIENCE_MS if kind is CallKind.READ else 0
        await self.admitted(kind, weight, orders, patience_ms)
        try:
            async with asyncio.timeout(self.timeout_s):
                reply = await self.wire.request(self.wire.prepared(method, params) if made is None else made())
        except NotSentError as error:
            self.counts.transient += 1
            raise Transient(f"{method}: {error}") from None
        except LostError as error:
            raise self.lost(kind, f"{method}: {error}") from None
        except TimeoutError:
            raise self.lost(kind, f"{method}: no answer within {self.timeout_s:g} s") from None
        return self._answer(method, kind, reply)

    async def admitted(self, kind: CallKind, weight: int, orders: int, patience_ms: int) -> None:
        """Return once the budget admits a request. Throttled where that is further off than ``patience_ms``.

        Transient for an entry while the fence is up.
        """
        give_up_ns = self._clock.now_ns() + patience_ms * NS_PER_MS
        while True:
            if kind is CallKind.ENTRY and self._fence.is_up:
                self.counts.transient += 1
                raise Transient(f"not sent: {self._fence.why}")
            verdict = self.budget.admit(kind, weight=weight, orders=orders, now_ns=self._clock.now_ns())
            if isinstance(verdict, Admitted):
                return
            if verdict.until_ns > give_up_ns:
                self.counts.throttled += 1
                raise Throttled(f"not sent: {verdict.why}", verdict.until_ns)
            await self._clock.sleep_until(verdict.until_ns)

    def _answer(self, method: str, kind: CallKind, reply: Reply) -> Any:  # noqa: ANN401 - an answer is any JSON
        """Read an answer, or raise what it proves."""
        self.budget.heard(reply.headers, self._clock.now_ns())
        try:
            answer = read_json(reply.body)
        except BadPayloadError:
            if reply.status < _FIRST_ERROR_STATUS:
                raise self.lost(kind, f"{method}: the answer is not whole") from None
            answer = None
        if reply.status < _FIRST_ERROR_STATUS and not _is_error(answer):
            self.counts.answered += 1
            return answer
        verdict = classify(
            reply.body.decode(errors="replace"),
            status=reply.status,
            sent_order=kind is not CallKind.READ,
            retry_after=reply.headers.get("Retry-After"),
        )
        raise self.error(method, verdict)

    def error(self, method: str, verdict: Verdict) -> Exception:
        """Give the error that a verdict means, counted; a pause that the exchange asks for begins."""
        words = f"{method}: {verdict.words}"
        if verdict.code in KEYS:
            words += _SIGNATURE_REMEDY if verdict.code == _BAD_SIGNATURE else _KEY_REMEDY
        if verdict.code in CLOCK:
            self._time_doubted.set()
        if verdict.reason is EndReason.RATE_LIMITED and issubclass(verdict.kind, Transient):
            self.counts.throttled += 1
            return Throttled(words, self._pause(verdict))
        if issubclass(verdict.kind, Rejected):
            self.counts.refused += 1
            return Refused(attrs.evolve(verdict, words=words))
        if issubclass(verdict.kind, OutcomeUnknown):
            self.counts.unknown += 1
        else:
            self.counts.transient += 1
        return KeyRefused(words) if verdict.code in KEYS and issubclass(verdict.kind, Fatal) else verdict.kind(words)

    def _pause(self, verdict: Verdict) -> int:
        """Stop sending for as long as the exchange asks, or as its own windows last; give the end."""
        now_ns = self._clock.now_ns()
        orders_only = verdict.code == _TOO_MANY_ORDERS and not verdict.banned
        until_ns = now_ns + (BAN_NS if verdict.banned else _ORDERS_PAUSE_NS if orders_only else _WEIGHT_PAUSE_NS)
        if verdict.wait_s is not None:
            until_ns = now_ns + max(1, verdict.wait_s) * NS_PER_S
        if verdict.until_ms is not None:
            until_ns = max(until_ns, verdict.until_ms * NS_PER_MS - (self._offset_ns or 0))
        self.budget.pause(until_ns, orders_only=orders_only)
        return until_ns

    def lost(self, kind: CallKind, words: str) -> Exception:
        """Give the error of an answer that did not come whole."""
        if kind is CallKind.READ:
            self.counts.transient += 1
            return Transient(words)
        self.counts.unknown += 1
        return OutcomeUnknown(words)


def _is_error(answer: object) -> bool:
    """Whether an answer with a status of success is an error all the same: ``{"code": -2011, "msg": ..}``."""
    if not isinstance(answer, dict) or "msg" not in answer:
        return False
    code = answer.get("code")
    return isinstance(code, int) and code < 0
