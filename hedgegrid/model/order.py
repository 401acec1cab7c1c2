"""Orders and fills as the whole house speaks of them.

Invariants: a quantity is positive; a LONG leg is opened by BUY and reduced by SELL, a SHORT leg the other way round, so
side follows from leg and purpose and is never stored apart from them.
"""

from enum import IntEnum

import attrs


class Leg(IntEnum):
    """One of the two positions of an instrument in hedge mode."""

    LONG = 0
    SHORT = 1


class Side(IntEnum):
    """The side of an order."""

    BUY = 0
    SELL = 1


class Purpose(IntEnum):
    """Why an order exists; everything but ENTRY reduces its leg."""

    ENTRY = 0
    TAKE_PROFIT = 1
    STOP = 2
    FLATTEN = 3
    BACKSTOP = 4
    LIQUIDATION = 5


class Kind(IntEnum):
    """How an order meets the market."""

    LIMIT = 0
    STOP_MARKET = 1
    MARKET = 2


def side_of(leg: Leg, purpose: Purpose) -> Side:
    """Give the side that an order of this leg and purpose has in hedge mode."""
    opens = purpose is Purpose.ENTRY
    return Side.BUY if (leg is Leg.LONG) == opens else Side.SELL


@attrs.frozen(kw_only=True)
class Cover:
    """The part of a lot that an exit closes: the lot's number, lots of quantity, and the rung that it came from.

    A simulated venue uses it to end one exit by the other in the same instant; a real one cannot know it.
    """

    lot_id: int
    qty_lots: int
    level: int = -1
    generation: int = -1


@attrs.frozen(kw_only=True)
class OrderRequest:
    """An order as a venue is asked for it. ``price_ticks`` is the limit, or the trigger of a stop.

    Or 0 for a market order.

    ``close_all`` asks for a stop that closes whatever the leg holds (quantity 0). ``tp_micro`` and ``step_micro``
    (millionths of a tick) are what a lot born of this entry takes its exits from, so that a restart can give a filled
    entry its exits.
    """

    client_id: str
    instrument: str
    leg: Leg
    purpose: Purpose
    kind: Kind
    price_ticks: int
    qty_lots: int
    post_only: bool
    close_all: bool = False
    level: int
    generation: int
    covers: tuple[Cover, ...] = ()
    tp_micro: int = 0
    step_micro: int = 0
    decided_ns: int

    @property
    def side(self) -> Side:
        """The side, which follows from leg and purpose."""
        return side_of(self.leg, self.purpose)


@attrs.frozen(kw_only=True)
class OpenOrder:
    """An order that the venue holds; level, generation, covers and birth distances are added by the executor.

    ``acknowledged`` False: it was sent and the exchange has not said that it stands, or its outcome is not known.
    ``surplus_lots``: how many of ``qty_lots`` only an amendment under way would bring.
    """

    client_id: str
    instrument: str
    leg: Leg
    purpose: Purpose
    kind: Kind
    price_ticks: int
    qty_lots: int
    filled_lots: int
    close_all: bool
    created_ns: int
    acknowledged: bool = True
    level: int = -1
    generation: int = -1
    covers: tuple[Cover, ...] = ()
    tp_micro: int = 0
    step_micro: int = 0
    surplus_lots: int = 0


@attrs.frozen(kw_only=True)
class Fill:
    """One execution. ``fee_e8`` is a cost (a rebate is negative); ``realised_e8`` is by average cost of the leg."""

    trade_id: int
    client_id: str
    instrument: str
    leg: Leg
    side: Side
    purpose: Purpose
    level: int
    generation: int
    price_ticks: int
    qty_lots: int
    fee_e8: int
    realised_e8: int
    maker: bool
    ts_ns: int
    covers: tuple[Cover, ...] = ()
