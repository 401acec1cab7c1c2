"""Whose part of a leg is whose, by the exchange's fills alone.

Invariants: an order takes off its owner's part first, then off the other's; so does a forced close, which is the bot's,
for nobody tells whose part it takes; both parts together are the leg.
"""

from typing import Final

from hedgegrid.model.order import Fill, Leg, Purpose
from hedgegrid.venues.simulated.exchange import Exchange

BY_HAND: Final = "by-hand-"
"""How the orders of other people are named."""


class Shares:
    """The parts of one account's legs."""

    def __init__(self, exchange: Exchange) -> None:
        """Count from the first fill of ``exchange`` on."""
        self._exchange = exchange
        self._seen = 0
        self._parts: dict[tuple[str, Leg], list[int]] = {}
        self._shared: set[tuple[str, Leg]] = set()
        self._adopted: set[tuple[str, Leg, int]] = set()

    def _follow(self) -> None:
        fills = self._exchange.fills
        for fill in fills[self._seen :]:
            self._take(fill)
        self._seen = len(fills)

    def _take(self, fill: Fill) -> None:
        key = (fill.instrument, fill.leg)
        parts = self._parts.setdefault(key, [0, 0])
        mine = fill.client_id.startswith(BY_HAND)
        if mine:
            self._shared.add(key)
        if fill.purpose is Purpose.ENTRY:
            parts[mine] += fill.qty_lots
            return
        taken = min(fill.qty_lots, parts[mine])
        parts[mine] -= taken
        parts[not mine] -= fill.qty_lots - taken

    def adopt(self, instrument: str, leg: Leg, lot_id: int, qty_lots: int) -> None:
        """Make a part of others the bot's, once a lot: its settings say so, and no more than there is."""
        self._follow()
        if (instrument, leg, lot_id) not in self._adopted:
            self._adopted.add((instrument, leg, lot_id))
            parts = self._parts.setdefault((instrument, leg), [0, 0])
            moved = min(qty_lots, parts[1])
            parts[0] += moved
            parts[1] -= moved

    def of_others(self, instrument: str, leg: Leg) -> int:
        """Give how much of a leg is other people's."""
        self._follow()
        return self._parts.get((instrument, leg), (0, 0))[1]

    def were_shared(self, instrument: str, leg: Leg) -> bool:
        """Tell whether others ever traded in a leg."""
        self._follow()
        return (instrument, leg) in self._shared
