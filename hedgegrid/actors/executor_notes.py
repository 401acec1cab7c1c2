"""What the executor's own tasks bring back to its mailbox: plumbing, neither journaled nor counted.

Invariant: a task changes nothing of the executor's state; it asks the exchange and brings a note.
"""

from collections.abc import Mapping

import attrs

from hedgegrid.core.reconcile_views import VenueView
from hedgegrid.messages.commands import Rehydrate
from hedgegrid.messages.events import Approved, Message, OrderEvent
from hedgegrid.model.account import Balance, Position


@attrs.frozen(kw_only=True)
class Job:
    """What is to be sent for one instrument, in this order: cancels, placements, retirements once those stand."""

    cause: Message
    instrument: str
    approved: tuple[Approved, ...] = ()
    cancels: tuple[str, ...] = ()
    retires: tuple[str, ...] = ()
    amends: tuple[Approved, ...] = ()


@attrs.frozen(kw_only=True)
class Sent(Message):
    """A job is done. ``lost_cancels``: orders of whose cancel nobody knows whether it was taken.

    ``amends``: the answers to its amendments, by the port's words. What a limit of the exchange, or our own, kept
    back says so in its event, and until when.
    """

    job: Job
    events: tuple[OrderEvent, ...]
    lost_cancels: tuple[str, ...] = ()
    amends: tuple[OrderEvent, ...] = ()


@attrs.frozen(kw_only=True)
class ExchangeRead(Message):
    """A reading of the exchange, or why there is none (``error``).

    ``fills_before``: how many fills had been told when it began; those told since may be in it or not.
    """

    view: VenueView | None
    positions: tuple[Position, ...] = ()
    balance: Balance | None = None
    fills_before: int = 0
    error: str = ""
    until_ns: int | None = None


@attrs.frozen(kw_only=True)
class StateGathered(Message):
    """What is told beside our own books when somebody asks where things stand: marks (0: none), and the balance."""

    asked: Rehydrate
    marks: Mapping[str, int]
    balance: Balance | None


@attrs.frozen(kw_only=True)
class CountdownSet(Message):
    """The exchange was asked to set an instrument's dead-man's switch (0: to take it off); ``taken``: it has."""

    instrument: str
    countdown_ms: int
    taken: bool
    error: str = ""
