"""The public port of one life: what comes over its wire of the market."""

from collections.abc import Callable

from hedgegrid.model.market import Bar, MarketUpdate
from hedgegrid.simulation.wire import Wire


class MarketSide:
    """The public port of a wire."""

    def __init__(self, wire: Wire) -> None:
        """Show what comes over ``wire``."""
        self._wire = wire

    def subscribe(self, sink: Callable[[tuple[MarketUpdate, ...]], None]) -> None:
        """Hand every update to ``sink``."""
        self._wire.subscribe_market(sink)

    async def history(self, instrument: str, count: int) -> tuple[Bar, ...]:
        """Give closed bars up to now. Raises Transient."""
        return await self._wire.history(instrument, count)
