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


@attrs.frozen(kw_only=True)
class SessionMemory:
    """What the session controls remember over restarts, in quote x 1e8.

    The highest equity, where the UTC day that ends at ``next_day_ns`` and the operator's session began, and the
    equity seen last.
    """

    peak_e8: int
    day_base_e8: int
    session_base_e8: int
    last_e8: int
    next_day_ns: int
