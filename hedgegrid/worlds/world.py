"""What a run needs of the world around it, whatever that world is: a market, an account, and whose time it is.

Invariants: ``prepare`` comes first and opens nothing that a journal would have to know of; ``begin`` comes after the
journal is open; nothing moves before ``attach``; after ``close`` nothing is sent.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import attrs

from hedgegrid.core.health import VenueProbe
from hedgegrid.core.reconcile_views import EvidenceRule
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.order import Leg
from hedgegrid.ops.terminal import Progress
from hedgegrid.ports import LastResort, MarketData, Trading
from hedgegrid.runtime.activity import Activity
from hedgegrid.runtime.clock import Clock
from hedgegrid.runtime.fence import Fence


class ErrandKind(StrEnum):
    """What a run can be started for, other than trading."""

    FLATTEN = "flatten"
    CANCEL_ENTRIES = "cancel-entries"
    KILL = "kill"


@attrs.frozen(kw_only=True)
class Errand:
    """One thing to be done for an account that does not run; the run ends with it, or after ``timeout_s``.

    ``legs`` are closed; where there are none, the entries alone go.
    """

    kind: ErrandKind
    legs: tuple[Leg, ...] = (Leg.LONG, Leg.SHORT)
    timeout_s: float = 120.0


@attrs.frozen(kw_only=True)
class RunOptions:
    """What a run is asked for beside its config.

    ``speed`` None: as fast as possible. ``duration_s``: seconds of wall time, at full speed of market time.
    """

    market_files: tuple[Path, ...] = ()
    allow_gaps: bool = False
    speed: float | None = 1.0
    duration_s: float | None = None
    resume: bool = False
    """Lift the latched reasons of a pause at the start: the operator's word."""
    new_peak: bool = False
    """Let the equity of then be the new peak: without it ``resume`` does not lift a drawdown."""
    live: bool = False
    """Real money may be traded: ``--live``."""
    allow_production_data: bool = False
    """Paper may watch the real market: ``--allow-production-data``."""
    errand: Errand | None = None
    """Do this and end, in place of trading."""
    listen: tuple[str, int]
    journal_opens: type[sqlite3.Connection] = sqlite3.Connection
    """What opens the journal's file for writing; a simulation puts a disk under it that fails."""


@attrs.frozen(kw_only=True)
class Past:
    """What the journal knows of the time before: its newest moment, and when its books began (None: only now)."""

    last_ns: int
    began_ns: int | None


@attrs.frozen(kw_only=True)
class Bound:
    """What a world is told of the bot that lives in it.

    ``settle`` returns once nobody has anything left to do at this moment; ``quiet`` tells whether nothing that was
    asked of the exchange is still on its way; ``left`` says what a stop must wait for beside that, in words (a flatten
    that is not confirmed, entries whose outcome is not known); ``report`` takes a problem of a connection, in words and
    figures.
    """

    settle: Callable[[], Awaitable[object]]
    quiet: Callable[[], bool]
    left: Callable[[], Sequence[str]]
    activity: Activity
    report: Callable[[str, Mapping[str, str]], None]
    fence: Fence = attrs.field(factory=Fence)
    """While it is up no entry may leave."""


class World(Protocol):
    """The market and the account that a run is about."""

    market: MarketData
    trading: Trading
    instruments: tuple[Instrument, ...]
    identity: str
    """Names the market: a journal goes on only on its own."""
    lock_name: str
    """Names the account at the exchange without telling it; "" where the account is the journal's own."""
    evidence: EvidenceRule
    """When an order that no source shows counts as dead here."""
    wallet_e8: int | None
    """The wallet that a new journal begins with, in quote x 1e8; None: what the exchange says first."""
    polled: bool
    """Whether the wallet must be read now and then, because quotes say nothing of it."""
    streamed: bool
    """Whether prices come as a stream: their age counts in itself, and not in bars."""

    @property
    def clock(self) -> Clock:
        """Whose time everybody goes by."""
        ...

    async def prepare(self, tell: Callable[[str], None]) -> None:
        """Find out what is traded and under which rules; ``tell`` gets what a person should know. Raises Fatal.

        Transient where the exchange cannot be asked now: it may be called again.
        """
        ...

    def begin(self, stack: ExitStack, past: Past, tell: Callable[[str], None]) -> None:
        """Open the account, whose journal knows ``past``; what has to be closed goes on ``stack``."""
        ...

    def attach(self, bound: Bound) -> None:
        """Get to know the bot."""
        ...

    async def connect(self) -> None:
        """Begin to hear the exchange, before anybody reads it. Transient as ``prepare`` has it. Raises Fatal."""
        ...

    async def run(self, until_ns: int | None) -> bool:
        """Let the market go on; True where it has ended, False where it was stopped or ``until_ns`` came."""
        ...

    def stop(self) -> None:
        """Return from ``run`` soon."""
        ...

    async def follow(self, done: Callable[[], bool]) -> None:
        """Let time pass until ``done``, while the market stands (a start, a stop)."""
        ...

    async def finish(self, ended: str, *, entries_gone: bool) -> None:
        """Let the last requests take effect; where ``entries_gone``, none of ours may rest then. Raises Fatal."""
        ...

    async def close(self) -> None:
        """Break the connections off."""
        ...

    def probe(self) -> VenueProbe:
        """Give what the watchdog cannot see from inside: the exchange's clock, the loop, the sockets."""
        ...

    @property
    def liquidated(self) -> bool:
        """Whether the exchange has closed everything."""
        ...

    @property
    def steps_done(self) -> int:
        """Steps of a recorded or invented market that were walked; 0 elsewhere."""
        ...

    def last_resort(self) -> Callable[[], LastResort] | None:
        """Give what makes, in another thread's loop, a way to take entries away; None where there is no exchange."""
        ...

    def ambiguous_bars(self) -> int:
        """Give how many bars left open which of two fills came first; 0 where fills are real."""
        ...

    def walked(self) -> Progress | None:
        """Give how far the market is, None where it has no end."""
        ...
