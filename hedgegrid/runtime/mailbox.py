"""Bounded mailboxes: two lanes, and per message type what happens when there is more than can be read.

Invariants:
- A mailbox never holds more than its two capacities, and putting never waits.
- The control lane is read first; within a lane first in, first out; a conflated message keeps the place of the one
  that it replaces.
- A message is taken, conflated, or not taken, and the answer says which: nothing is lost without a word.
- A mailbox has one reader.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Hashable, Mapping
from enum import Enum
from typing import Any, Final, Generic, TypeVar

import attrs

from hedgegrid.runtime.activity import Activity

M = TypeVar("M")


class Overflow(Enum):
    """What happens when messages of a type arrive faster than they are read."""

    CONFLATE = "conflate"
    """The latest of each key replaces the one that waits; counted. A new key in a full lane is refused."""
    REFUSE = "refuse"
    """Never dropped: a full lane says so, and the sender's side has to act on it."""


class Delivery(Enum):
    """What became of a message that was put into a mailbox."""

    TAKEN = "taken"
    CONFLATED = "conflated"
    FULL = "full"
    CLOSED = "closed"
    UNKNOWN_TYPE = "unknown_type"


class MailboxClosedError(Exception):
    """The reader waits on a mailbox that has been closed."""


@attrs.frozen(kw_only=True)
class Policy:
    """How a mailbox takes one message type. Raises ValueError when `key` does not fit `overflow`."""

    overflow: Overflow
    key: Callable[[Any], Hashable] | None = None
    """Of a conflating policy: which messages of the type replace each other."""

    def __attrs_post_init__(self) -> None:
        """Refuse a key without conflation, and conflation without a key."""
        if (self.key is not None) != (self.overflow is Overflow.CONFLATE):
            msg = "a conflating policy needs a key, and no other policy has one"
            raise ValueError(msg)


def _leave_it() -> None:
    """Leave a probe without answer."""


def _by_its_task() -> bool:
    """Leave a message to the reader that waits for it."""
    return False


REFUSE: Final = Policy(overflow=Overflow.REFUSE)


def conflate(key: Callable[[Any], Hashable]) -> Policy:
    """Return the policy in which the latest message of each key wins."""
    return Policy(overflow=Overflow.CONFLATE, key=key)


@attrs.frozen(kw_only=True)
class MailboxStatistics:
    """Counts since the mailbox was made; depths and capacities are messages."""

    name: str
    depth: int
    peak_depth: int
    capacity: int
    control_depth: int
    control_peak_depth: int
    control_capacity: int
    received: int
    conflated: int
    refused: int


@attrs.define
class _Lane:
    capacity: int = attrs.field(validator=attrs.validators.ge(1))
    queue: deque[Any] = attrs.field(factory=deque)
    peak: int = 0


@attrs.define(eq=False)
class _Place:
    """A place in a lane whose message may be replaced while it waits."""

    key: Hashable
    message: Any


class Mailbox(Generic[M]):
    """The bounded queue from which one actor reads; `M` is the closed union of what it takes."""

    def __init__(
        self,
        name: str,
        *,
        capacity: int,
        control_capacity: int,
        policies: Mapping[type, Policy],
        control: Collection[type],
        activity: Activity,
    ) -> None:
        """Make an open, empty mailbox.

        `policies` names what the ordinary lane takes, by exact type. `control` names the types of the control lane;
        one that has no policy is never dropped. Raises ValueError for a capacity under 1.
        """
        self.name = name
        self.activity = activity
        self._ordinary = _Lane(capacity)
        self._control = _Lane(control_capacity)
        self._routes: dict[type, tuple[_Lane, Callable[[Any], Hashable] | None]] = {
            kind: (self._control if kind in control else self._ordinary, policy.key)
            for kind, policy in {**dict.fromkeys(control, REFUSE), **policies}.items()
        }
        self._places: dict[Hashable, _Place] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._error: BaseException | None = None
        self._received = self._conflated = self._refused = 0
        self.probed = False
        """Whether a probe waits for its answer: a question that asks for nothing but a sign of life."""
        self.on_ready: Callable[[], bool] = _by_its_task
        """Asked when a message has come for a reader that waits: True where somebody sees to it without its task."""

    @property
    def depth(self) -> int:
        """Messages waiting, both lanes."""
        return len(self._ordinary.queue) + len(self._control.queue)

    @property
    def closed(self) -> bool:
        """Whether nothing is taken any more."""
        return self._closed

    def put(self, message: object) -> Delivery:
        """Take a message, or say why it was not taken; never waits."""
        if self._closed:
            return Delivery.CLOSED
        kind = type(message)
        route = self._routes.get(kind)
        if route is None:
            return Delivery.UNKNOWN_TYPE
        lane, key_of = route
        place: _Place | None = None
        if key_of is not None:
            key = (kind, key_of(message))
            waiting = self._places.get(key)
            if waiting is not None:
                waiting.message = message
                self._received += 1
                self._conflated += 1
                return Delivery.CONFLATED
            place = _Place(key, message)
        depth = len(lane.queue)
        if depth >= lane.capacity:
            self._refused += 1
            return Delivery.FULL
        if place is not None:
            self._places[place.key] = place
        lane.queue.append(message if place is None else place)
        if depth >= lane.peak:
            lane.peak = depth + 1
        self._received += 1
        self.activity.begin()
        if self._waiter is not None and not self._waiter.done() and not self.on_ready():
            self._waiter.set_result(None)
        return Delivery.TAKEN

    def peek(self) -> M | None:
        """Return the message that is next, and leave it where it is. Raises the error of `interrupt`."""
        if self._error is not None:
            raise self._error
        queue = self._control.queue or self._ordinary.queue
        if not queue:
            return None
        entry = queue[0]
        message: M = entry.message if type(entry) is _Place else entry
        return message

    @property
    def is_awaited(self) -> bool:
        """Whether the reader waits, and nothing has woken it yet."""
        return self._waiter is not None and not self._waiter.done()

    def get_nowait(self) -> M | None:
        """Return the next message, or None when none waits.

        The message stays counted in `activity`: whoever takes it calls `activity.end()` when it has been handled.
        Raises the error of `interrupt`.
        """
        if self._error is not None:
            raise self._error
        queue = self._control.queue or self._ordinary.queue
        if not queue:
            return None
        entry = queue.popleft()
        if type(entry) is _Place:
            del self._places[entry.key]
            entry = entry.message
        message: M = entry
        return message

    async def get(self, on_probe: Callable[[], None] = _leave_it) -> M:
        """Wait for the next message; like `get_nowait` it stays counted.

        Raises MailboxClosedError when the mailbox is or gets closed, and the error of `interrupt`. A probe that comes
        meanwhile is handed to `on_probe`.
        """
        while (message := self.get_nowait()) is None:
            if self._closed:
                raise MailboxClosedError(self.name)
            if self.probed:
                on_probe()
                if not self.probed:
                    continue
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return message

    def probe(self) -> None:
        """Ask the reader for a sign of life; it is no message, and is not counted in `activity`."""
        if not self._closed and not self.probed:
            self.probed = True
            self.wake()

    def interrupt(self, error: BaseException) -> None:
        """Make the reader's next (or waiting) get raise `error`; the first error stays."""
        if self._error is None:
            self._error = error
        self.wake()

    def close(self) -> tuple[M, ...]:
        """Take nothing more, and return what was not delivered, in reading order, no longer counted."""
        self._closed = True
        entries = (*self._control.queue, *self._ordinary.queue)
        self._control.queue.clear()
        self._ordinary.queue.clear()
        self._places.clear()
        if entries:
            self.activity.end(len(entries))
        self.wake()
        return tuple(entry.message if type(entry) is _Place else entry for entry in entries)

    def statistics(self) -> MailboxStatistics:
        """Return depths, peaks and counts as they are now."""
        return MailboxStatistics(
            name=self.name,
            depth=len(self._ordinary.queue),
            peak_depth=self._ordinary.peak,
            capacity=self._ordinary.capacity,
            control_depth=len(self._control.queue),
            control_peak_depth=self._control.peak,
            control_capacity=self._control.capacity,
            received=self._received,
            conflated=self._conflated,
            refused=self._refused,
        )

    def wake(self) -> None:
        """Have the reader look again, where it waits."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
