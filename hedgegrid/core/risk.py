"""The gate that every order passes: section 6's checks, in its order, and the one place that makes an ``Approved``.

``check`` is of the hot path and gives a code; ``approve`` wraps a pass into a message that the executor will send.
What the catalogue names and is not here yet is listed in ARCHITECTURE.md.

Invariants: working, reserved and unknown orders count at their worst case; an order is booked before it is sent; a
reducing order is never refused for comfort, only where it would not reduce, is a duplicate, or may not be sent at
all.
"""

from hedgegrid.core.codes import BACKSTOP, ENTRY, FREE, LONG, SHORT, STOP, TAKE_PROFIT
from hedgegrid.core.gate_records import Booked, Exposure, InstrumentRisk, RiskLimits
from hedgegrid.messages.events import Approved
from hedgegrid.model.order import OrderRequest
from hedgegrid.units import PPM, quote_text

PASS = 0
PERMISSION = 1
EXPIRED_APPROVAL = 2
QUOTE_AGE = 3
MARK_AGE = 4
BALANCE_AGE = 5
PRICE_COLLAR = 6
MAX_ORDER_NOTIONAL = 7
MAX_ORDER_QTY = 8
MIN_NOTIONAL = 9
MAX_POSITION = 10
MAX_LEG_NOTIONAL = 11
MAX_GROSS_NOTIONAL = 12
MAX_NET_NOTIONAL = 13
MAX_OPEN_ORDERS = 14
DUPLICATE = 15
SELF_CROSS = 16
REDUCE_PROOF = 17

LEVEL_BITS = 62
"""Levels below this have a bit of their own in ``Exposure.levels``."""

CONTROL_NAMES = {
    PERMISSION: "permission",
    EXPIRED_APPROVAL: "approval_ttl_ms",
    QUOTE_AGE: "max_quote_age_ms",
    MARK_AGE: "max_mark_age_ms",
    BALANCE_AGE: "max_balance_age_ms",
    PRICE_COLLAR: "price_collar_bps",
    MAX_ORDER_NOTIONAL: "max_order_notional_quote",
    MAX_ORDER_QTY: "max_order_qty",
    MIN_NOTIONAL: "min_notional",
    MAX_POSITION: "max_position_qty",
    MAX_LEG_NOTIONAL: "max_notional_per_leg_quote",
    MAX_GROSS_NOTIONAL: "max_gross_notional_quote",
    MAX_NET_NOTIONAL: "max_net_notional_quote",
    MAX_OPEN_ORDERS: "max_open_orders_per_leg",
    DUPLICATE: "duplicate",
    SELF_CROSS: "self_cross",
    REDUCE_PROOF: "reduce_only_proof",
}
"""The name of each control, as in configuration, refusals, metrics and the journal."""


def check(
    limits: RiskLimits,
    rules: list[InstrumentRisk],
    exposures: list[Exposure],
    booked: list[Booked],
    order: Booked,
    kind_has_price: int,
    may_send: int,
    decided_ns: int,
    now_ns: int,
    balance_ns: int,
) -> int:
    """Give PASS or the code of the first control that refuses ``order``.

    ``exposures`` holds two records an instrument (LONG, SHORT) at the present marks; ``may_send`` is the permission's
    answer for this order; ``kind_has_price`` is 0 for market orders.
    """
    if may_send == 0:
        return PERMISSION
    if order.purpose != ENTRY:
        return _check_reducing(exposures, booked, order, kind_has_price)
    if now_ns - decided_ns > limits.approval_ttl_ns:
        return EXPIRED_APPROVAL
    code = _check_ages(limits, rules[order.instrument], now_ns, balance_ns)
    if code == PASS:
        code = _check_order(limits, rules[order.instrument], order)
    if code == PASS:
        code = _check_exposure(limits, rules, exposures, order)
    if code == PASS:
        code = _check_book(limits, exposures, booked, order)
    return code


def _check_ages(limits: RiskLimits, rule: InstrumentRisk, now_ns: int, balance_ns: int) -> int:
    """Refuse on data older than its limit; the limit is never under two beats of the source."""
    floor_ns = 2 * rule.cadence_ns
    if rule.quote_ns == 0 or now_ns - rule.quote_ns > max(limits.max_quote_age_ns, floor_ns):
        return QUOTE_AGE
    if rule.mark_ns == 0 or now_ns - rule.mark_ns > max(limits.max_mark_age_ns, floor_ns):
        return MARK_AGE
    if balance_ns == 0 or now_ns - balance_ns > max(limits.max_balance_age_ns, floor_ns):
        return BALANCE_AGE
    return PASS


def _check_order(limits: RiskLimits, rule: InstrumentRisk, order: Booked) -> int:
    """Refuse an order that is wrong by itself: its price, its size."""
    mark = rule.mark_ticks
    quote = rule.bid_ticks if order.leg == LONG else rule.ask_ticks
    allowed = limits.price_collar_ppm
    if abs(order.price_ticks - mark) * PPM > allowed * mark or abs(order.price_ticks - quote) * PPM > allowed * quote:
        return PRICE_COLLAR
    notional = order.price_ticks * order.qty_lots * rule.unit_e8
    if notional > limits.max_order_notional_e8:
        return MAX_ORDER_NOTIONAL
    if order.qty_lots > rule.max_qty_lots:
        return MAX_ORDER_QTY
    if notional < rule.min_notional_e8 or order.qty_lots < rule.min_qty_lots:
        return MIN_NOTIONAL
    return PASS


def worst_entry_e8(price_ticks: int, qty_lots: int, mark_ticks: int, unit_e8: int) -> int:
    """Give an entry's notional at its worst case: the larger of its limit and the mark."""
    return max(price_ticks, mark_ticks) * qty_lots * unit_e8


def _check_exposure(limits: RiskLimits, rules: list[InstrumentRisk], exposures: list[Exposure], order: Booked) -> int:
    """Refuse an order that could take a leg, the gross or the net position of the account over its limit."""
    rule = rules[order.instrument]
    leg = exposures[2 * order.instrument + order.leg]
    if leg.position_lots + leg.foreign_lots + leg.entry_lots + order.qty_lots > rule.max_position_lots:
        return MAX_POSITION
    held_long = 0
    held_short = 0
    worst_long = 0
    worst_short = 0
    for i in range(len(rules)):
        unit = rules[i].unit_e8 * rules[i].mark_ticks
        held_long += (exposures[2 * i].position_lots + exposures[2 * i].foreign_lots) * unit
        held_short += (exposures[2 * i + 1].position_lots + exposures[2 * i + 1].foreign_lots) * unit
        worst_long += exposures[2 * i].entry_worst_e8
        worst_short += exposures[2 * i + 1].entry_worst_e8
    added = worst_entry_e8(order.price_ticks, order.qty_lots, rule.mark_ticks, rule.unit_e8)
    if order.leg == LONG:
        worst_long += added
        leg_total = held_long + worst_long
    else:
        worst_short += added
        leg_total = held_short + worst_short
    if leg_total > limits.max_leg_notional_e8:
        return MAX_LEG_NOTIONAL
    if held_long + worst_long + held_short + worst_short > limits.max_gross_notional_e8:
        return MAX_GROSS_NOTIONAL
    net = max(abs(held_long + worst_long - held_short), abs(held_short + worst_short - held_long))
    if net > limits.max_net_notional_e8:
        return MAX_NET_NOTIONAL
    return PASS


def _check_book(limits: RiskLimits, exposures: list[Exposure], booked: list[Booked], order: Booked) -> int:
    """Refuse an entry that its leg's open orders leave no room for, that is already live, or that meets our own."""
    leg = exposures[2 * order.instrument + order.leg]
    if leg.open_orders >= limits.max_open_orders_per_leg:
        return MAX_OPEN_ORDERS
    # ``best_own_ticks`` of the LONG record is our highest resting buy, of the SHORT record our lowest resting sell.
    rival = exposures[2 * order.instrument + (SHORT if order.leg == LONG else LONG)].best_own_ticks
    if _may_be_booked(leg, order):
        for i in range(len(booked)):
            other = booked[i]
            same = other.state != FREE and other.instrument == order.instrument and other.purpose == ENTRY
            if same and other.leg == order.leg and other.level == order.level and other.generation == order.generation:
                return DUPLICATE
    if rival > 0 and (order.price_ticks >= rival if order.leg == LONG else order.price_ticks <= rival):
        return SELF_CROSS
    return PASS


def _may_be_booked(leg: Exposure, order: Booked) -> bool:
    """Tell whether an entry could stand on the rung of ``order``, by what was counted in; True where one does."""
    if leg.levels == 0 or order.generation < leg.generation:
        return True
    if order.generation > leg.generation:
        return False
    return not 0 <= order.level < LEVEL_BITS or leg.levels & (1 << order.level) != 0


def _check_reducing(exposures: list[Exposure], booked: list[Booked], order: Booked, kind_has_price: int) -> int:
    """Refuse a reducing order only where it is a duplicate or more than its leg holds for its class."""
    # Numbers only grow: one above all that were counted in is new.
    newest_no = 0
    for i in range(len(exposures)):
        newest_no = max(newest_no, exposures[i].newest_no)
    if (newest_no == 0 or order.no <= newest_no) and find(booked, order.no) >= 0:
        return DUPLICATE
    leg = exposures[2 * order.instrument + order.leg]
    if order.purpose == BACKSTOP:
        return PASS
    if order.purpose == TAKE_PROFIT:
        room = leg.position_lots - leg.take_profit_lots
    elif order.purpose == STOP and kind_has_price == 1:
        room = leg.position_lots - leg.stop_lots
    else:
        room = leg.position_lots - leg.market_lots
    return REDUCE_PROOF if order.qty_lots > room else PASS


def recount(rules: list[InstrumentRisk], exposures: list[Exposure], booked: list[Booked], instrument: int) -> None:
    """Work out both legs' exposures of an instrument anew from the book, at its present mark. Positions are kept."""
    rule = rules[instrument]
    long, short = exposures[2 * instrument + LONG], exposures[2 * instrument + SHORT]
    _clear(long)
    _clear(short)
    for i in range(len(booked)):
        if booked[i].state != FREE and booked[i].instrument == instrument:
            _count(rule, long, short, booked[i])


def _clear(exposure: Exposure) -> None:
    """Forget what was counted in."""
    exposure.entry_lots = 0
    exposure.entry_worst_e8 = 0
    exposure.take_profit_lots = 0
    exposure.stop_lots = 0
    exposure.market_lots = 0
    exposure.open_orders = 0
    exposure.best_own_ticks = 0
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
        exposure.entry_worst_e8 += worst_entry_e8(order.price_ticks, order.qty_lots, rule.mark_ticks, rule.unit_e8)
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
    buys = (order.leg == LONG) == (order.purpose == ENTRY)
    own = long if buys else short
    if own.best_own_ticks == 0:
        own.best_own_ticks = order.price_ticks
    elif buys:
        own.best_own_ticks = max(own.best_own_ticks, order.price_ticks)
    else:
        own.best_own_ticks = min(own.best_own_ticks, order.price_ticks)


def book(rule: InstrumentRisk, exposures: list[Exposure], booked: list[Booked], order: Booked) -> bool:
    """Reserve an order before it is sent; False where the book is full."""
    for i in range(len(booked)):
        slot = booked[i]
        if slot.state == FREE:
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
            return True
    return False


def find(booked: list[Booked], no: int) -> int:
    """Give the slot of a booked order, or -1."""
    for i in range(len(booked)):
        if booked[i].state != FREE and booked[i].no == no:
            return i
    return -1


def explain(
    code: int, limits: RiskLimits, rules: list[InstrumentRisk], exposures: list[Exposure], order: Booked
) -> tuple[str, str, str]:
    """Give the limit, the value that met it, and what would help, in words, for a refusal of ``order``."""
    rule = rules[order.instrument]
    leg = exposures[2 * order.instrument + order.leg]
    notional = order.price_ticks * order.qty_lots * rule.unit_e8
    held = (leg.position_lots + leg.foreign_lots) * rule.mark_ticks * rule.unit_e8 + leg.entry_worst_e8
    texts: dict[int, tuple[str, str, str]] = {
        PERMISSION: (
            "active",
            "paused",
            "see the reasons of the pause; nothing that adds risk is sent until they are gone",
        ),
        EXPIRED_APPROVAL: (f"{limits.approval_ttl_ns} ns", "older", "the machine is too slow or was suspended"),
        QUOTE_AGE: (
            f"{limits.max_quote_age_ns} ns",
            f"since {rule.quote_ns}",
            "the feed is silent; it resumes by itself",
        ),
        MARK_AGE: (f"{limits.max_mark_age_ns} ns", f"since {rule.mark_ns}", "the feed is silent; it resumes by itself"),
        BALANCE_AGE: (f"{limits.max_balance_age_ns} ns", "older", "the account stream is silent; it is polled"),
        PRICE_COLLAR: (
            f"{limits.price_collar_ppm} ppm",
            f"{order.price_ticks} ticks at mark {rule.mark_ticks}",
            "widen risk.price_collar_bps or narrow the ladder",
        ),
        MAX_ORDER_NOTIONAL: (quote_text(limits.max_order_notional_e8), quote_text(notional), "lower the base quantity"),
        MAX_ORDER_QTY: (f"{rule.max_qty_lots} lots", f"{order.qty_lots} lots", "lower the base quantity"),
        MIN_NOTIONAL: (quote_text(rule.min_notional_e8), quote_text(notional), "raise the base quantity"),
        MAX_POSITION: (
            f"{rule.max_position_lots} lots",
            f"{leg.position_lots + leg.foreign_lots + leg.entry_lots + order.qty_lots} lots",
            "the leg is full; raise max_position_qty or wait for exits",
        ),
        MAX_LEG_NOTIONAL: (quote_text(limits.max_leg_notional_e8), quote_text(held + notional), "the leg is full"),
        MAX_GROSS_NOTIONAL: (
            quote_text(limits.max_gross_notional_e8),
            quote_text(held + notional),
            "the account is full",
        ),
        MAX_NET_NOTIONAL: (
            quote_text(limits.max_net_notional_e8),
            quote_text(held + notional),
            "one side is too large",
        ),
        MAX_OPEN_ORDERS: (f"{limits.max_open_orders_per_leg}", f"{leg.open_orders + 1}", "use fewer levels"),
        DUPLICATE: ("one order a rung", "one is live", "none: the live order stands"),
        SELF_CROSS: ("no meeting of own orders", f"{order.price_ticks} ticks", "none: the resting order stands"),
        REDUCE_PROOF: (
            f"{leg.position_lots} lots held",
            f"{order.qty_lots} lots more",
            "none: an exit never exceeds what is held",
        ),
    }
    return texts[code]


def approve(request: OrderRequest, *, limits_version: str, expires_ns: int) -> Approved:
    """Wrap a request that passed ``check``. Nothing else in the house may make an ``Approved``."""
    return Approved(request=request, limits_version=limits_version, expires_ns=expires_ns)
