"""A made-up order book around the best prices, for the depth streams and the REST snapshot.

Invariants: what stands at a price is a function of the price and the seed; the changes that were given since a snapshot
lead from it to the next one, and their ids follow each other without a gap.
"""

from collections.abc import Callable
from typing import Any

import attrs

LEVELS = 20
_MIX = 2_654_435_761
_KINDS = 997


@attrs.frozen(kw_only=True)
class Change:
    """What changed: first, last and previous update id, price -> quantity ("0": gone) of bids and asks."""

    ids: tuple[int, int, int]
    sides: tuple[dict[str, str], dict[str, str]]


class MadeBook:
    """The levels of one instrument; prices in ticks, quantities in lots, both written by the given functions."""

    def __init__(
        self, *, price_text: Callable[[int], str], qty_text: Callable[[int], str], seed: int, usual_lots: int
    ) -> None:
        self._price_text = price_text
        self._qty_text = qty_text
        self._seed = seed
        self._usual = max(1, usual_lots)
        self._levels: tuple[dict[int, int], dict[int, int]] = ({}, {})
        self.update_id = 1

    def lots_at(self, ticks: int) -> int:
        """Give what stands at a price."""
        return 1 + self._usual * (1 + (ticks * _MIX + self._seed * _KINDS) % _KINDS) // _KINDS

    def refresh(self, bid_ticks: int, ask_ticks: int) -> Change | None:
        """Move the book to new best prices; None where nothing changed."""
        bids = {bid_ticks - i: self.lots_at(bid_ticks - i) for i in range(LEVELS) if bid_ticks > i}
        asks = {ask_ticks + i: self.lots_at(ask_ticks + i) for i in range(LEVELS)}
        before, self._levels = self._levels, (bids, asks)
        if before == self._levels:
            return None
        sides = tuple(self._changed(old, new) for old, new in zip(before, self._levels, strict=True))
        last = self.update_id
        self.update_id += len(sides[0]) + len(sides[1])
        return Change(ids=(last + 1, self.update_id, last), sides=(sides[0], sides[1]))

    def snapshot(self, limit: int, now_ms: int) -> dict[str, Any]:
        """Give the book as REST answers it."""
        bids, asks = self._levels
        return {
            "lastUpdateId": self.update_id,
            "E": now_ms,
            "T": now_ms,
            "bids": self._rows(sorted(bids.items(), reverse=True)[:limit]),
            "asks": self._rows(sorted(asks.items())[:limit]),
        }

    def _changed(self, old: dict[int, int], new: dict[int, int]) -> dict[str, str]:
        gone = {self._price_text(ticks): "0" for ticks in old if ticks not in new}
        return gone | {
            self._price_text(ticks): self._qty_text(lots) for ticks, lots in new.items() if old.get(ticks) != lots
        }

    def _rows(self, levels: list[tuple[int, int]]) -> list[list[str]]:
        return [[self._price_text(ticks), self._qty_text(lots)] for ticks, lots in levels]
