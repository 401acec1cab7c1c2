"""The laws: what is never to happen, whatever goes wrong around the bot, and the limits that they are judged by.

Invariants: each has a name and says in a line what it demands; who judges it sees the wire, the exchange's truth and
the journal's file, and nothing of the bot; for each a bug is planted in a test that it has to find.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import attrs

from hedgegrid.config.schema import AccountConfig
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import cash_e8


class Law(StrEnum):
    """What is never to happen."""

    GATED = "an order is as the gate approved it"
    APPROVAL_YOUNG = "an entry leaves before its approval has expired"
    PAUSED = "paused, nothing leaves that can increase a leg"
    DANGER_CLEARS = "a pause of danger takes the resting entries away within the bound"
    UNREAD = "no order leaves before the exchange was read"
    REREAD = "after a gap nothing is added before the exchange was read anew"
    NOT_DURABLE = "an order is in the journal before it leaves"
    UNKNOWN_COUNTS = "an order in doubt counts as if it had been taken"
    DEAD_IS_DEAD = "an order that was called dead is never taken"
    ID_REUSED = "a client id is never used twice"
    FILLS_ADD_UP = "a leg is what its fills add up to"
    REDUCTION_PROVEN = "exits at a limit and at the market never exceed what the leg is known to hold"
    FLATTEN_SLICED = "a flatten closes no more at once than a slice"
    UNPROTECTED = "a held leg has its stop within the bound"
    EXCESS = "take-profits above the position are cancelled within the bound"
    FLAT_IS_FLAT = "flat is said only when the exchange is flat"
    STALE = "nothing is added on prices older than their limit"
    WALLET_TRUE = "after the calm the wallet that is told is the exchange's"
    SOUND_FIGURES = "prices and quantities are whole, positive and within the instrument's rules"
    TWO_ON_A_RUNG = "a rung never has two live orders"
    POSITION_CAP = "position and open entries stay within the leg's limit"
    ORDER_CAP = "an entry stays within the largest order"
    LEG_CAP = "nothing is added beyond the largest notional of a leg"
    GROSS_CAP = "nothing is added beyond the largest gross notional"
    NET_CAP = "nothing is added beyond the largest net notional"
    ORDER_RATE = "nothing is added beyond the orders of a minute"
    BAN_KEPT = "while a ban stands nothing is added"
    BOUNDED = "what is asked of the exchange is bounded, however bad the weather"
    COUNTDOWN = "the dead-man's switch fires on no life that is well"
    DISK_LOST = "what cannot be written is not risked"
    ONE_WRITER = "a second instance leaves the account alone"
    LIQUIDATED = "after a liquidation nothing is added before a person's word"
    LATCH_KEPT = "a latch outlives the process"
    BOOKS_AGREE = "after the calm the journal is the exchange"
    JOURNAL_SOUND = "the journal proves itself"
    QUIET_END = "after the calm the account is protected, and traded or paused for a reason that stands"
    LIVES_ON = "the bot ends only where it says why"
    ERROR_TAKEN = "an error finds somebody who takes it, and the bot comes to rest"


@attrs.frozen(kw_only=True)
class Violation:
    """A law that was broken, when, and how."""

    law: Law
    ts_ns: int
    how: str


@attrs.frozen(kw_only=True)
class Limits:
    """The limits that orders are judged by, from the settings: lots by instrument, money in quote x 1e8."""

    position_lots: Mapping[str, int]
    instruments: Mapping[str, Instrument]
    bar_ns: int
    order_e8: int
    leg_e8: int
    gross_e8: int
    net_e8: int
    slice_e8: int
    orders_a_minute: int


def limits_of(config: AccountConfig, instruments: Mapping[str, Instrument], bar_ns: int) -> Limits:
    """Read the limits from the settings, by no code of the bot's."""
    risk = config.risk
    lots = {grid.instrument: int(grid.max_position_qty / instruments[grid.instrument].lot) for grid in config.grid}
    return Limits(
        position_lots=lots,
        instruments=instruments,
        bar_ns=bar_ns,
        order_e8=cash_e8(risk.max_order_notional_quote),
        leg_e8=cash_e8(risk.max_notional_per_leg_quote),
        gross_e8=cash_e8(risk.max_gross_notional_quote),
        net_e8=cash_e8(risk.max_net_notional_quote),
        slice_e8=cash_e8(risk.flatten_slice_quote),
        orders_a_minute=risk.max_orders_per_minute,
    )


DANGERS: Final = frozenset(
    {"feed_stale", "heartbeat_missed", "loop_blocked", "clock_skew", "journal_failed", "overflow", "kill", "supervisor"}
)
"""Pauses that take the resting entries away, by the design."""
LASTING: Final = frozenset(
    {
        "circuit_breaker",
        "clock_skew",
        "daily_loss",
        "drawdown",
        "funding_kill",
        "funding_missing",
        "kill",
        "margin",
        "operator",
        "order_rate",
        "session_loss",
        "supervisor",
        "volatility_halt",
    }
)
"""Reasons that may stand after the calm: a person's, the market's, and a clock that is wrong."""
