"""What the executor tells risk of the limits that it meets, and of words after which only a person may let it go on.

Invariants: a reason is raised once an episode and cleared once, when its cause is gone; a rate limit is gone when its
time is up, never before.
"""

from collections.abc import Iterable
from typing import Final

from hedgegrid.actors.agenda import Agenda
from hedgegrid.actors.executor_notes import Sent
from hedgegrid.actors.post import RISK, Post
from hedgegrid.core.pause import ACCOUNT, Reason
from hedgegrid.messages.commands import ClearReason, RaiseReason
from hedgegrid.messages.events import EndReason, Message, OrderEvent
from hedgegrid.runtime.clock import Clock

LIMITED: Final = "limited"
"""In the agenda: a rate limit may be over."""
LIQUIDATED: Final = "autoclose-"
"""How the exchange's own orders of a liquidation are named."""
BACK_OFF_NS: Final = 10_000_000_000
"""How long a rate limit stands whose end nobody told."""


class LimitsTold:
    """The reasons ``rate_limited`` and ``overflow``, and the pauses that only a person ends."""

    def __init__(self, *, post: Post, clock: Clock, agenda: Agenda) -> None:
        """Begin without any."""
        self._post = post
        self._clock = clock
        self._agenda = agenda
        self._until_ns = 0
        self._full: set[str] = set()

    def note_sent(self, sent: Sent) -> None:
        """Pause where what was sent met a limit, until the time that was named for it."""
        kept = [one for one in (*sent.events, *sent.amends) if one.reason is EndReason.RATE_LIMITED]
        if kept:
            self.raise_limited(sent, max(one.until_ns for one in kept) or None)

    def raise_limited(self, cause: Message, until_ns: int | None) -> None:
        """Pause until the exchange takes something again; a later end replaces an earlier one."""
        now_ns = self._clock.now_ns()
        until_ns = now_ns + BACK_OFF_NS if until_ns is None else until_ns
        standing = self._until_ns > now_ns
        self._until_ns = max(until_ns, self._until_ns)
        if self._until_ns <= now_ns:
            return
        self._agenda.put(LIMITED, self._until_ns)
        if not standing:
            figures = {"until_ns": str(self._until_ns), "wait_ns": str(self._until_ns - now_ns)}
            self._raise(cause, Reason.RATE_LIMITED, ACCOUNT, figures)

    def clear_limited(self, cause: Message) -> None:
        """Say that the limit is over, once its time is up."""
        if self._until_ns <= self._clock.now_ns():
            self._clear(cause, Reason.RATE_LIMITED, ACCOUNT)

    def raise_overflow(self, cause: Message, instrument: str, refused: int) -> None:
        """Pause an instrument whose outbox is full."""
        if instrument not in self._full:
            self._full.add(instrument)
            self._raise(cause, Reason.OVERFLOW, instrument, {"actor": "executor", "refused": str(refused)})

    def clear_overflow(self, cause: Message, instrument: str) -> None:
        """Say that an outbox has room again."""
        if instrument in self._full:
            self._full.discard(instrument)
            self._clear(cause, Reason.OVERFLOW, instrument)

    def call_for_a_person(self, cause: Message, events: Iterable[OrderEvent]) -> None:
        """Latch a pause where the account is not what the bot may trade on: liquidated, or out of hedge mode."""
        for event in events:
            if event.reason is EndReason.MODE:
                why = "the account's position mode or margin mode is not the bot's"
                self._raise(cause, Reason.SUPERVISOR, ACCOUNT, {"why": why, "exchange": event.detail})
            elif event.fill is not None and event.fill.client_id.startswith(LIQUIDATED):
                figures = {"leg": event.fill.leg.name, "lots": str(event.fill.qty_lots)}
                self._raise(cause, Reason.MARGIN, ACCOUNT, {"why": "the exchange liquidated", **figures})

    def _raise(self, cause: Message, reason: Reason, scope: str, figures: dict[str, str]) -> None:
        raised = RaiseReason(**self._post.head(cause), reason=reason, scope=scope, figures=figures)
        self._post.publish(raised, RISK)

    def _clear(self, cause: Message, reason: Reason, scope: str) -> None:
        self._post.publish(ClearReason(**self._post.head(cause), reason=reason, scope=scope, figures={}), RISK)
