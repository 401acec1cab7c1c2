"""Positions and the account, as read from a venue.

Invariant: figures that the venue did not give are absent (None), never zero.
"""

import attrs

from hedgegrid.model.order import Leg


@attrs.frozen(kw_only=True)
class Position:
    """A leg's position: quantity in lots (not signed) and its cost, price x quantity, in quote x 1e8."""

    instrument: str
    leg: Leg
    qty_lots: int
    cost_e8: int


@attrs.frozen(kw_only=True)
class Balance:
    """The wallet: money without unrealised profit, and what has been paid since the account began, in quote x 1e8."""

    wallet_e8: int
    realised_e8: int
    fees_e8: int
    funding_e8: int
