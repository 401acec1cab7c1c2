"""The relay: actors that become ready while another is at work take their turns right after it, in the same pass.

An actor usually hears of a message in the next pass of the event loop, behind whatever else has become ready there:
of five actors on the way of one decision each waits so. Where time goes on by itself nothing is gained by it. In a
relay the same mailboxes are put to and read from, in the order in which they became ready; only the passes in between
are left out. It is one of the orders in which the loop could have run them.

Invariants:
- A turn handles only what needs no awaiting, of an actor that waits for its mailbox; all else is left to its task.
- An error of a turn is the actor's whose turn it was: it ends through its own task, and nobody else notices.
- A relay ends after ``STEPS_MAX`` messages; who is ready by then goes on in the next pass.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

STEPS_MAX: Final = 64
"""Messages that one relay handles before it lets the event loop look at sockets and timers."""


class Runner(Protocol):
    """Who can take a turn."""

    def turn(self, most: int) -> int:
        """Handle up to ``most`` messages, and say how many; what is left is for the runner's own task."""
        ...


class Relay:
    """The runners that have become ready, in order."""

    __slots__ = ("_open", "_ready")

    def __init__(self) -> None:
        """Start with nobody at work."""
        self._ready: deque[Runner] = deque()
        self._open = False

    def join(self, runner: Runner) -> bool:
        """Take a runner in that has become ready; False where no relay is under way."""
        if self._open:
            self._ready.append(runner)
        return self._open

    def run(self, first: Callable[[], object]) -> None:
        """Do ``first``, and give everybody who becomes ready by it their turn before returning.

        Raises what ``first`` does, after the turns. Within a relay ``first`` is just done: its own goes on.
        """
        if self._open:
            first()
            return
        self._open = True
        try:
            first()
        finally:
            left = STEPS_MAX
            try:
                while self._ready:
                    left -= self._ready.popleft().turn(left)
            finally:
                self._open = False
