"""How actors speak: numbering, journaling and sending in one place.

Invariants: a message that is published is in the journal's tape before any mailbox has it; it stands there once,
however many receive it; numbers grow without gaps within a boot.
"""

from collections.abc import Callable
from typing import TypedDict

from hedgegrid.core.pause import Reason
from hedgegrid.messages.events import Message
from hedgegrid.ports import Journal
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.router import Router

EXECUTOR = "executor"
RISK = "risk"
FEED = "feed"
FUNDING = "funding"
WATCHDOG = "watchdog"
JOURNAL = "journal"


def strategy_name(instrument: str) -> str:
    """Give the name of an instrument's strategy actor."""
    return f"strategy:{instrument}"


class Head(TypedDict):
    """The fields that every message carries."""

    seq: int
    cause_seq: int
    ts_venue_ns: int
    ts_recv_ns: int


def _nothing(_: Reason, __: str) -> bool:
    return False


class Post:
    """The one way by which a message comes into being and goes out."""

    def __init__(
        self,
        *,
        router: Router,
        journal: Journal,
        clock: Clock,
        tap: Callable[[Message], None],
        stands: Callable[[Reason, str], bool] = _nothing,
    ) -> None:
        """Send through ``router``; hand every published message to ``journal``, then to ``tap`` (the figures).

        ``stands(reason, scope)``: whether trading pauses for a reason, by what was published. Who raises reasons and
        starts anew asks: what it raised before may have gone while it was away, and nobody else would say so.
        """
        self.stands = stands
        self._router = router
        self._journal = journal
        self._clock = clock
        self._taps = [tap]
        self._seq = 0

    def also_show(self, tap: Callable[[Message], None]) -> None:
        """Hand every message that is published from now on to ``tap`` too; it must return at once."""
        self._taps.append(tap)

    def head(self, cause: Message | None = None, ts_venue_ns: int | None = None) -> Head:
        """Give the next number with a cause and times: the venue's is the cause's unless it is given."""
        self._seq += 1
        now_ns = self._clock.now_ns()
        if ts_venue_ns is None:
            ts_venue_ns = now_ns if cause is None else cause.ts_venue_ns
        return {
            "seq": self._seq,
            "cause_seq": 0 if cause is None else cause.seq,
            "ts_venue_ns": ts_venue_ns,
            "ts_recv_ns": now_ns,
        }

    def publish(self, message: Message, *to: str) -> None:
        """Journal a message, show it to the figures, and send it. Raises Fatal where the journal has failed."""
        self._journal.append(message)
        for tap in self._taps:
            tap(message)
        for name in to:
            self._router.send(name, message)

    def show(self, message: Message, *to: str) -> None:
        """Send a price, which the journal keeps only where quotes are recorded, and show it to the figures."""
        self._journal.append(message)
        self._taps[0](message)
        for name in to:
            self._router.send(name, message)

    def hand_over(self, message: Message, to: str) -> None:
        """Send a message that is neither kept nor counted; in a relay, return when all that is quick of it is done."""
        self._router.hand_over(to, message)

    def send(self, message: Message, *to: str) -> None:
        """Send a message that is neither kept nor counted (plumbing between two actors)."""
        for name in to:
            self._router.send(name, message)
