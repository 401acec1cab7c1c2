"""The gate's book of orders, and what those of a leg come to.

Invariants: an order is booked before it is sent, and counts until the exchange says that it ended; counting one by one
and counting anew agree; ``newest_no`` never falls; whoever takes quantity off a booked order says so (``count_out``) or
counts anew before the next order is judged. What entries come to moves with the mark: ``mark_anew`` follows it.
"""

from hedgegrid.core.codes import BACKSTOP, ENTRY, FREE, LONG, SHORT, STOP, TAKE_PROFIT
from hedgegrid.core.gate_records import Booked, Exposure, InstrumentRisk
from hedgegrid.core.worst_case import entry_e8

LEVEL_BITS = 62
"""Levels below this have a bit of their own in ``Exposure.levels``."""


def recount(rules: list[InstrumentRisk], exposures: list[Exposure], booked: list[Booked], instrument: int) -> None:
    """Work out both legs' exposures of an instrument anew from the book, at its present mark. Positions are kept."""
    rule = rules[instrument]
    long, short = exposures[2 * instrument + LONG], exposures[2 * instrument + SHORT]
    clear(long)
    clear(short)
    for i in range(len(booked)):
        if booked[i].state != FREE and booked[i].instrument == instrument:
            _count(rule, long, short, booked[i])


def clear(exposure: Exposure) -> None:
    """Forget what was counted in; what is held, and what the account's sums were told, stays."""
    exposure.entry_lots = 0
    exposure.entry_worst_e8 = 0
    exposure.take_profit_lots = 0
    exposure.stop_lots = 0
    exposure.market_lots = 0
    exposure.open_orders = 0
    exposure.best_own_ticks = 0
    exposure.best_gone = 0
    exposure.entry_limits_e8 = 0
    exposure.entry_low_ticks = 0
    exposure.entry_high_ticks = 0
    exposure.generation = 0
    exposure.levels = 0


def count_in(rule: InstrumentRisk, exposures: list[Exposure], order: Booked) -> None:
    """Add one booked order to its leg's exposure."""
    _count(rule, exposures[2 * order.instrument + LONG], exposures[2 * order.instrument + SHORT], order)


def _count(rule: InstrumentRisk, long: Exposure, short: Exposure, order: Booked) -> None:
    """Add an order to the exposure of its leg, and its price to the side on which it rests."""
    exposure = long if order.leg == LONG else short
    exposure.open_orders += 1
    exposure.newest_no = max(exposure.newest_no, order.no)
    if order.purpose == ENTRY:
        if order.generation > exposure.generation:
            exposure.generation = order.generation
            exposure.levels = 0
        if order.generation == exposure.generation and 0 <= order.level < LEVEL_BITS:
            exposure.levels |= 1 << order.level
        exposure.entry_lots += order.qty_lots
        exposure.entry_worst_e8 += entry_e8(order.price_ticks, order.qty_lots, rule.mark_ticks, rule.unit_e8)
        exposure.entry_limits_e8 += order.price_ticks * order.qty_lots * rule.unit_e8
        first = exposure.entry_high_ticks == 0
        exposure.entry_low_ticks = order.price_ticks if first else min(exposure.entry_low_ticks, order.price_ticks)
        exposure.entry_high_ticks = max(exposure.entry_high_ticks, order.price_ticks)
    elif order.purpose == TAKE_PROFIT:
        exposure.take_profit_lots += order.qty_lots
    elif order.purpose == STOP and order.price_ticks > 0:
        exposure.stop_lots += order.qty_lots
        return
    elif order.purpose != BACKSTOP:
        exposure.market_lots += order.qty_lots
        return
    else:
        return
    _count_best(long, short, order)


def _count_best(long: Exposure, short: Exposure, order: Booked) -> None:
    """Note the price of a limit order where none of its side rests nearer to the market."""
    if order.purpose != ENTRY and order.purpose != TAKE_PROFIT:
        return
    buys = (order.leg == LONG) == (order.purpose == ENTRY)
    own = long if buys else short
    nearer = order.price_ticks > own.best_own_ticks if buys else order.price_ticks < own.best_own_ticks
    if own.best_own_ticks == 0 or nearer:
        own.best_own_ticks = order.price_ticks
        own.best_gone = 0


def mark_anew(rules: list[InstrumentRisk], exposures: list[Exposure], booked: list[Booked], instrument: int) -> None:
    """Bring what an instrument's entries come to up to its present mark; only one among their limits needs the book."""
    if not (
        _follow(rules[instrument], exposures[2 * instrument + LONG])
        and _follow(rules[instrument], exposures[2 * instrument + SHORT])
    ):
        recount(rules, exposures, booked, instrument)


def _follow(rule: InstrumentRisk, leg: Exposure) -> bool:
    """Let a leg's entries follow the mark where it is on one side of them all; False where it is among them."""
    if leg.entry_lots == 0:
        leg.entry_low_ticks = 0
        leg.entry_high_ticks = 0
    if rule.mark_ticks >= leg.entry_high_ticks:
        leg.entry_worst_e8 = leg.entry_lots * rule.mark_ticks * rule.unit_e8
        return True
    leg.entry_worst_e8 = leg.entry_limits_e8
    return rule.mark_ticks <= leg.entry_low_ticks


def best_own_ticks(exposures: list[Exposure], booked: list[Booked], instrument: int, leg: int) -> int:
    """Give an instrument's highest resting buy (``leg`` LONG) or lowest resting sell (SHORT), 0 for none."""
    own = exposures[2 * instrument + leg]
    if own.best_gone == 1:
        own.best_gone = 0
        own.best_own_ticks = 0
        for i in range(len(booked)):
            if booked[i].state != FREE and booked[i].instrument == instrument:
                _count_best(exposures[2 * instrument + LONG], exposures[2 * instrument + SHORT], booked[i])
    return own.best_own_ticks


def take_out(rules: list[InstrumentRisk], exposures: list[Exposure], order: Booked) -> None:
    """Free an order that has ended, and take all that it came to out of the exposures."""
    count_out(rules, exposures, order, order.qty_lots)
    order.state = FREE
    leg = exposures[2 * order.instrument + order.leg]
    leg.open_orders -= 1
    if order.purpose == ENTRY and order.generation == leg.generation and 0 <= order.level < LEVEL_BITS:
        leg.levels &= ~(1 << order.level)
    for side in (LONG, SHORT):
        own = exposures[2 * order.instrument + side]
        if own.best_own_ticks == order.price_ticks:
            own.best_gone = 1


def count_out(rules: list[InstrumentRisk], exposures: list[Exposure], order: Booked, qty_lots: int) -> None:
    """Take a quantity of a booked order off what its leg's orders of that class come to.

    What its entries come to at their worst is not known before the next ``mark_anew``.
    """
    leg = exposures[2 * order.instrument + order.leg]
    if order.purpose == ENTRY:
        leg.entry_lots -= qty_lots
        leg.entry_limits_e8 -= order.price_ticks * qty_lots * rules[order.instrument].unit_e8
    elif order.purpose == TAKE_PROFIT:
        leg.take_profit_lots -= qty_lots
    elif order.purpose == STOP and order.price_ticks > 0:
        leg.stop_lots -= qty_lots
    elif order.purpose != BACKSTOP:
        leg.market_lots -= qty_lots


def book(rule: InstrumentRisk, exposures: list[Exposure], booked: list[Booked], order: Booked) -> bool:
    """Reserve an order before it is sent, in the first free slot; False where the book is full."""
    for i in range(len(booked)):
        if booked[i].state == FREE:
            put(rule, exposures, booked[i], order)
            return True
    return False


def put(rule: InstrumentRisk, exposures: list[Exposure], slot: Booked, order: Booked) -> None:
    """Reserve an order in a free slot."""
    slot.state = 1
    slot.no = order.no
    slot.instrument = order.instrument
    slot.leg = order.leg
    slot.purpose = order.purpose
    slot.price_ticks = order.price_ticks
    slot.qty_lots = order.qty_lots
    slot.level = order.level
    slot.generation = order.generation
    count_in(rule, exposures, slot)


def find(booked: list[Booked], no: int) -> int:
    """Give the slot of a booked order, or -1."""
    for i in range(len(booked)):
        if booked[i].state != FREE and booked[i].no == no:
            return i
    return -1
