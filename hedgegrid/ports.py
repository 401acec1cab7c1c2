"""What the actors need from the world, and nothing more: a market, a place to trade, a journal.

Two venues stand behind these protocols: the simulated one and a real exchange. Errors are of ``hedgegrid.errors``'s
four kinds.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

import attrs

from hedgegrid.core.order_state import OrderRecord
from hedgegrid.core.permission import LatchedEntry
from hedgegrid.core.reconcile_views import FillKey
from hedgegrid.messages.events import (
    AccountChanged,
    ForeignSeen,
    FundingPaid,
    Liquidated,
    Message,
    OrderEvent,
    OrderEventKind,
    StreamGap,
)
from hedgegrid.model.account import Balance, Position, SessionMemory
from hedgegrid.model.grid import GridMemory, OpenLot, UnbookedEntry
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Bar, MarketUpdate
from hedgegrid.model.order import Fill, Leg, OpenOrder, OrderRequest


@attrs.frozen(kw_only=True)
class VenueBatch:
    """What the venue says at one instant about one instrument's orders."""

    instrument: str
    ts_venue_ns: int
    mark_ticks: int
    events: tuple[OrderEvent, ...]


PrivateEvent = VenueBatch | FundingPaid | Liquidated | AccountChanged | StreamGap
"""What a venue says about the account."""

FillCursors = Mapping[str, int]
"""The newest trade id that is in the books, by instrument; an instrument that is absent has none."""


class LookUp(StrEnum):
    """What the exchange says of one order that it was asked for by our id."""

    OPEN = "open"
    ENDED = "ended"
    ABSENT = "absent"
    """It does not know the id: never taken, or ended without a fill long ago."""


@attrs.frozen(kw_only=True)
class OrderLook:
    """The answer to one question for one order: its state at ``read_ns`` (the exchange's clock), and what was filled.

    ``end`` is why an ENDED order ended; its kind is CANCELLED, EXPIRED, REJECTED or FILLED.
    """

    state: LookUp
    read_ns: int
    filled_lots: int = 0
    end: OrderEventKind | None = None


class MarketData(Protocol):
    """The public side of a venue."""

    def subscribe(self, sink: Callable[[tuple[MarketUpdate, ...]], None]) -> None:
        """Have every update handed to ``sink``, in order, without blocking. One sink.

        A second call replaces the first.
        """
        ...

    async def history(self, instrument: str, count: int) -> tuple[Bar, ...]:
        """Give up to ``count`` closed bars up to now, oldest first. Raises Transient."""
        ...


class Trading(Protocol):
    """The private side of a venue: one account."""

    exits_are_linked: bool
    """Whether the fill of one exit of a lot ends the other in the same instant (a simulated venue), or races it."""
    amends: bool
    """Whether the quantity of an order that rests may be changed in one step."""

    def subscribe(self, sink: Callable[[PrivateEvent], None]) -> None:
        """Have every private event handed to ``sink``, in order, without blocking."""
        ...

    def prepare(self, instrument: str, requests: Sequence[OrderRequest], cancels: Sequence[str]) -> None:
        """Make ready what ``place`` and ``cancel`` will soon be asked to send, as far as that can be done unsent.

        Nothing is promised by it: what is asked for need not have been made ready, nor the other way round. What was
        made ready for the instrument before, and not asked for, is let go of: with nothing to make ready, all of it.
        """
        ...

    async def place(
        self, instrument: str, requests: Sequence[OrderRequest], retires: Sequence[str]
    ) -> tuple[OrderEvent, ...]:
        """Send one instrument's orders in one batch, and retire stops once the new ones stand.

        One answer a request, by index.

        An answer is ACCEPTED (taken by the venue, not necessarily live), REJECTED or UNKNOWN. Raises Transient,
        OutcomeUnknown.
        """
        ...

    async def amend(self, instrument: str, requests: Sequence[OrderRequest]) -> tuple[OrderEvent, ...]:
        """Give entries that rest the whole quantity of their requests, where ``amends``. One answer each, by index.

        ACCEPTED: it has it now; REJECTED: it stands as it did (NOT_FOUND: it rests no more); UNKNOWN: one of the two.
        """
        ...

    async def cancel(self, instrument: str, client_ids: Sequence[str]) -> None:
        """Ask for cancels; the outcomes come as events. Raises Transient, OutcomeUnknown."""
        ...

    async def positions(self) -> tuple[Position, ...]:
        """Read both legs of every instrument that is not flat."""
        ...

    async def open_orders(self) -> tuple[OpenOrder, ...]:
        """Read the list of resting limit orders (those on their way included)."""
        ...

    async def open_stops(self) -> tuple[OpenOrder, ...]:
        """Read the list of conditional orders."""
        ...

    async def look_up(self, instrument: str, client_id: str, *, conditional: bool) -> OrderLook:
        """Ask for one order by our id; ``conditional`` where it is a stop. Raises Transient."""
        ...

    async def fills_since(self, cursors: FillCursors) -> tuple[Fill, ...]:
        """Read the fills with a trade id above their instrument's cursor, oldest first. Raises Transient."""
        ...

    async def funding_since(self, ts_ns: int) -> tuple[FundingPaid, ...]:
        """Read the settlements after ``ts_ns``, oldest first."""
        ...

    async def balance(self) -> Balance:
        """Read the wallet. Raises Transient."""
        ...

    async def refresh_countdown(self, instrument: str, countdown_ms: int) -> None:
        """Have the exchange cancel the instrument's orders after this silence; 0 disarms. Raises Transient."""
        ...

    def venue_ns(self) -> int:
        """Give the exchange's time as far as it is known here, in ns."""
        ...

    async def mark_ticks(self, instrument: str) -> int | None:
        """Read an instrument's mark, or None where there is none yet."""
        ...

    def instruments(self) -> tuple[Instrument, ...]:
        """Give the rules of the instruments that are traded."""
        ...


@attrs.frozen(kw_only=True)
class Taken:
    """What came of taking entries away: those that were asked to go, and what went wrong, in words."""

    asked: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


class LastResort(Protocol):
    """Takes the account's entries away by a way of its own. Made, used and closed in one event loop of a thread."""

    async def take(self) -> Taken:
        """Cancel every entry of ours that rests; nothing is raised."""
        ...

    async def close(self) -> None:
        """Break its connections off."""
        ...


@attrs.frozen(kw_only=True)
class RememberedOrder:
    """An order of ours that may still change, by the journal: its life so far and the request it was sent with."""

    record: OrderRecord
    request: OrderRequest


@attrs.frozen(kw_only=True)
class Books:
    """What every reading of the exchange is compared with.

    ``fill_cursors`` lag behind the newest fills, so that one that came out of order is read again; ``applied`` are the
    fills from there on that the journal has. ``positions`` are what its fills add up to; ``first_boot``: this account
    has no past. ``grids`` and ``foreign`` are by instrument; ``balance`` is None while nobody has said what the account
    began with.
    """

    first_boot: bool
    applied: frozenset[FillKey]
    fill_cursors: FillCursors
    positions: tuple[Position, ...]
    foreign: Mapping[str, ForeignSeen]
    balance: Balance | None
    grids: Mapping[str, GridMemory]


@attrs.frozen(kw_only=True)
class Recollection(Books):
    """All that the journal remembers of the account: ``lots`` and ``unbooked`` are by instrument."""

    orders: tuple[RememberedOrder, ...]
    lots: Mapping[str, tuple[OpenLot, ...]]
    unbooked: Mapping[str, tuple[UnbookedEntry, ...]]
    next_sequence: int


class Memory(Protocol):
    """What is read back from the journal at a start or a restart."""

    async def recall(self) -> Recollection:
        """Read what the journal holds, everything appended so far included. Raises Fatal."""
        ...

    def books(self) -> Books:
        """Give the part of it that a reading is compared with; it is in memory, and cheap. Raises Fatal."""
        ...

    def order(self, client_id: str) -> RememberedOrder | None:
        """Give an order of ours, ended or not; None where the journal does not know it."""
        ...

    def held_lots(self, instrument: str, leg: Leg) -> int:
        """Give what a leg of ours holds by everything appended so far."""
        ...

    def has_fill(self, key: FillKey) -> bool:
        """Tell whether the journal has counted a fill."""
        ...

    def newest_trades(self) -> Mapping[str, int]:
        """Give the greatest trade id that was counted, by instrument."""
        ...


class RiskMemory(Protocol):
    """What the risk actor remembers over restarts; what is set is durable with the next commit. Raises Fatal."""

    def latched(self) -> tuple[LatchedEntry, ...]:
        """Give the latched reasons that stand."""
        ...

    def set_latched(self, entries: Sequence[LatchedEntry]) -> None:
        """Take the latched reasons that stand from here on."""
        ...

    def session(self) -> SessionMemory | None:
        """Give what the session controls remember; None where the account has no past."""
        ...

    def set_session(self, memory: SessionMemory) -> None:
        """Take what the session controls remember from here on."""
        ...

    def throttle_ppm(self) -> int:
        """Give the operator's factor on the quantity of new entries, as it was said last."""
        ...


class Journal(Protocol):
    """The durable record of a run."""

    def append(self, message: Message) -> None:
        """Take a message into the tape; it is durable after ``commit``. Raises Fatal where the journal failed."""
        ...

    def commit(self) -> Awaitable[None]:
        """Begin to bring all that was appended to disk; what is returned can be awaited, and ends once it is there.

        Raises Fatal (disk full, write error).
        """
        ...
