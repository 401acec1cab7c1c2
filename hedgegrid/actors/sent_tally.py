"""How many orders were handed to the exchange in this run, whatever came of them.

Invariant: it lives as long as the run, not as an executor: a restart forgets nothing.
"""

from collections import Counter

from hedgegrid.model.order import Leg, OrderRequest, Purpose


class SentTally:
    """Orders that were sent, by instrument, leg and purpose."""

    def __init__(self) -> None:
        """Nothing was sent yet."""
        self._counts: Counter[tuple[str, Leg, Purpose]] = Counter()

    def note(self, request: OrderRequest) -> None:
        """Count an order whose request goes out now."""
        self._counts[request.instrument, request.leg, request.purpose] += 1

    def count(self, instrument: str, leg: Leg, purpose: Purpose) -> int:
        """Give how many were sent."""
        return self._counts[instrument, leg, purpose]
