"""Names to mailboxes, and what happens to a message that no mailbox took.

Invariants:
- At most one open mailbox has a name; a restarted actor brings a fresh one.
- A message that could not be delivered is handed to exactly one sink and counted. What a sink itself cannot deliver
  does not call the same sink again: a dead letter inside the dead-letter sink is only counted (`unreported`), an
  overflow inside the overflow sink becomes a dead letter. So sinks may send, and never recurse.
"""

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any

import attrs

from hedgegrid.runtime.mailbox import Delivery, Mailbox, MailboxStatistics
from hedgegrid.runtime.relay import Relay


class DeadReason(Enum):
    """Why nobody could take a message."""

    UNKNOWN_NAME = "unknown_name"
    CLOSED = "closed"
    UNKNOWN_TYPE = "unknown_type"
    UNDELIVERED = "undelivered"
    """It waited in the mailbox of an actor that ended."""
    OVERFLOW = "overflow"
    """It met a full mailbox while the overflow sink was at work."""


@attrs.frozen(kw_only=True)
class DeadLetter:
    """A message that nobody could take."""

    to: str
    message: object
    reason: DeadReason


@attrs.frozen(kw_only=True)
class RouterStatistics:
    """Counts of messages since the router was made."""

    sent: int
    dead_letters: int
    overflows: int
    unreported: int


class Router:
    """The one way by which actors send."""

    def __init__(
        self,
        *,
        on_dead_letter: Callable[[DeadLetter], None],
        on_overflow: Callable[[str, object], None],
        relay: Relay | None = None,
    ) -> None:
        """Make a router without names; with a `relay`, what is sent is taken on within the same pass of the loop.

        `on_dead_letter` gets every message that nobody could take. `on_overflow(name, message)` gets a message that
        a full mailbox refused: it pauses the sender's side and has it rehydrate. What a sink raises reaches the
        sender.
        """
        self._on_dead_letter = on_dead_letter
        self._on_overflow = on_overflow
        self.relay = relay
        self._mailboxes: dict[str, Mailbox[Any]] = {}
        self._sent = self._dead_letters = self._overflows = self._unreported = 0
        self._in_dead_letter = self._in_overflow = False
        self.closings = 0
        """Mailboxes closed since the router was made: how a driver of time notices at once that an actor has ended."""

    def register(self, mailbox: Mailbox[Any]) -> None:
        """Let messages to `mailbox.name` go there. Raises ValueError when another open mailbox has the name."""
        current = self._mailboxes.get(mailbox.name)
        if current is not None and not current.closed:
            msg = f"two open mailboxes with the name {mailbox.name!r}: the first must be closed before"
            raise ValueError(msg)
        self._mailboxes[mailbox.name] = mailbox

    def unregister(self, mailbox: Mailbox[Any]) -> None:
        """Close `mailbox`; what it still held becomes dead letters, as does what is sent to it from now on."""
        self.closings += 1
        for message in mailbox.close():
            self._bury(mailbox.name, message, DeadReason.UNDELIVERED)

    def send(self, to: str, message: object) -> bool:
        """Deliver at once or hand the message to a sink; True when a mailbox took it. Never waits."""
        self._sent += 1
        mailbox = self._mailboxes.get(to)
        if mailbox is None:
            self._bury(to, message, DeadReason.UNKNOWN_NAME)
            return False
        delivery = mailbox.put(message)
        if delivery is Delivery.TAKEN or delivery is Delivery.CONFLATED:
            return True
        if delivery is Delivery.FULL:
            self._overflow(to, message)
        elif delivery is Delivery.CLOSED:
            self._bury(to, message, DeadReason.CLOSED)
        else:
            self._bury(to, message, DeadReason.UNKNOWN_TYPE)
        return False

    def hand_over(self, to: str, message: object) -> None:
        """Deliver as `send` does; in a relay, return when all that follows from it without awaiting has been done."""
        if self.relay is None:
            self.send(to, message)
        else:
            self.relay.run(partial(self.send, to, message))

    def probe(self) -> None:
        """Ask every actor for a sign of life."""
        for mailbox in self._mailboxes.values():
            mailbox.probe()

    def statistics(self) -> RouterStatistics:
        """Return the counts as they are now."""
        return RouterStatistics(
            sent=self._sent,
            dead_letters=self._dead_letters,
            overflows=self._overflows,
            unreported=self._unreported,
        )

    def mailboxes(self) -> tuple[MailboxStatistics, ...]:
        """Return the statistics of the current mailbox of every name, in order of registration."""
        return tuple(mailbox.statistics() for mailbox in self._mailboxes.values())

    def _overflow(self, to: str, message: object) -> None:
        self._overflows += 1
        if self._in_overflow:
            self._bury(to, message, DeadReason.OVERFLOW)
            return
        self._in_overflow = True
        try:
            self._on_overflow(to, message)
        finally:
            self._in_overflow = False

    def _bury(self, to: str, message: object, reason: DeadReason) -> None:
        self._dead_letters += 1
        if self._in_dead_letter:
            self._unreported += 1
            return
        self._in_dead_letter = True
        try:
            self._on_dead_letter(DeadLetter(to=to, message=message, reason=reason))
        finally:
            self._in_dead_letter = False
