"""One step of a simulated exchange, and what it causes, in the order of section 14.2.

Invariants: the move with its fills, funding, the margin check, told before the prices are shown; then what falls due,
until nothing is due; at a bar's end the bar, and again what falls due. The bot gets to finish what it has to do before
the next thing happens.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from hedgegrid.model.market import Step
from hedgegrid.ports import PrivateEvent
from hedgegrid.venues.simulated.exchange import Exchange
from hedgegrid.venues.simulated.venue import SimulatedTrading

ROUNDS_MAX = 1_000
"""Passes over what falls due at one point; more means that orders cause each other without end."""


class Shown(Protocol):
    """The public side of a simulated exchange: it shows what the account has been told of."""

    def show_points(self, step: Step) -> None:
        """Publish the prices of a step."""
        ...

    def show_bars(self, step: Step, marks: Sequence[int]) -> None:
        """Publish the bars that end with a step; ``marks`` are the present marks by instrument."""
        ...


class Stepper:
    """Lets steps happen to one exchange."""

    def __init__(
        self,
        *,
        exchange: Exchange,
        market: Shown,
        trading: SimulatedTrading,
        bar_length_ns: int,
        settle: Callable[[], Awaitable[object]],
    ) -> None:
        """``settle`` returns once nobody has anything left to do at this moment."""
        self._exchange = exchange
        self._market = market
        self._trading = trading
        self._bar_length_ns = bar_length_ns
        self._settle = settle

    async def take(self, step: Step) -> None:
        """Let one step happen."""
        exchange, trading = self._exchange, self._trading
        charged, liquidated = exchange.walk(step, step.ts_ns // self._bar_length_ns)
        trading.next_step = step.number + 1
        said: list[PrivateEvent] = [*exchange.drain(), *charged]
        if liquidated is not None:
            said.append(liquidated)
        if said:
            trading.say(said)
            await self._settle()
        # The account first: whoever judges it at these marks must have its fills and payments in the books.
        self._market.show_points(step)
        await self._settle()
        await self.fall_due()
        if step.bars:
            trading.keep_place()
            self._market.show_bars(step, [book.market.mark_ticks for book in exchange.books])
            await self._settle()
            await self.fall_due()

    async def fall_due(self) -> None:
        """Let fall due what is due at the present point, and what that causes, until nothing is due."""
        for _ in range(ROUNDS_MAX):
            done = self._exchange.fall_due()
            if not done:
                self._exchange.backstops()
            said = self._exchange.drain()
            if not said and not done:
                return
            self._trading.say(said)
            await self._settle()
        message = f"more than {ROUNDS_MAX} rounds at one point: orders cause each other without end"
        raise AssertionError(message)
