"""What the actors need from the world, and nothing more: a market, a place to trade, a journal.

Two venues stand behind these protocols: the simulated one and a real exchange. Errors are of ``hedgegrid.errors``'s four kinds.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from hedgegrid.messages.events import FundingPaid, Liquidated, Message, OrderEvent
from hedgegrid.model.account import Balance, Position
from hedgegrid.model.instrument import Instrument
from hedgegrid.model.market import Bar
from hedgegrid.model.order import Fill, OpenOrder, OrderRequest


@attrs.frozen(kw_only=True)
class VenueBatch:
    """What the venue says at one instant about one instrument's orders."""

    instrument: str
    ts_venue_ns: int
    mark_ticks: int
    events: tuple[OrderEvent, ...]


@attrs.frozen(kw_only=True)
class MarketUpdate:
    """What the venue shows at one instant of one instrument; ``bar`` where one closed then.

    ``mark_ticks``, ``rate_e8`` and ``next_funding_ns`` are None where the venue did not say.
    """

    instrument: str
    ts_venue_ns: int
    bid_ticks: int
    ask_ticks: int
    mark_ticks: int | None
    rate_e8: int | None
    next_funding_ns: int | None
    funding_interval_ns: int
    bar: Bar | None


class MarketData(Protocol):
    """The public side of a venue."""

    def subscribe(self, sink: Callable[[tuple[MarketUpdate, ...]], None]) -> None:
        """Have every update handed to ``sink``, in order, without blocking. One sink; a second call replaces the first."""
        ...

    async def history(self, instrument: str, count: int) -> tuple[Bar, ...]:
        """Give up to ``count`` closed bars up to now, oldest first. Raises Transient."""
        ...


class Trading(Protocol):
    """The private side of a venue: one account."""

    def subscribe(self, sink: Callable[[VenueBatch | FundingPaid | Liquidated], None]) -> None:
        """Have every private event handed to ``sink``, in order, without blocking."""
        ...

    async def place(self, requests: Sequence[OrderRequest], retires: Sequence[str]) -> tuple[OrderEvent, ...]:
        """Send orders in one batch, and retire stops once the new ones stand; one answer a request, by index.

        An answer is ACCEPTED (taken by the venue, not necessarily live), REJECTED or UNKNOWN. Raises Transient, OutcomeUnknown.
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

    async def fills_since(self, cursor: int) -> tuple[Fill, ...]:
        """Read the fills with a trade id above ``cursor``, oldest first."""
        ...

    async def funding_since(self, ts_ns: int) -> tuple[FundingPaid, ...]:
        """Read the settlements after ``ts_ns``, oldest first."""
        ...

    async def balance(self) -> Balance:
        """Read the wallet."""
        ...

    async def mark_ticks(self, instrument: str) -> int | None:
        """Read an instrument's mark, or None where there is none yet."""
        ...

    def instruments(self) -> tuple[Instrument, ...]:
        """Give the rules of the instruments that are traded."""
        ...


class Journal(Protocol):
    """The durable record of a run."""

    def append(self, message: Message) -> None:
        """Take a message into the tape; it is durable after the next ``commit``. Raises Fatal where the journal has failed."""
        ...

    async def commit(self) -> None:
        """Return once all that was appended is on disk. Raises Fatal (disk full, write error)."""
        ...


