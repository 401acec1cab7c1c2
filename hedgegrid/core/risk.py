"""The gate that every order passes: section 6's checks, in its order, and the one place that makes an ``Approved``.

``check`` is of the hot path and gives a code; ``approve`` wraps a pass into a message that the executor will send;
``core.refusal`` puts a refusal into words.

Invariants: working, reserved and unknown orders count at their worst case; an order is booked before it is sent; a
reducing order is never refused for comfort, only where it would not reduce, is a duplicate, or may not be sent at
all; a figure that a control needs and nobody has told refuses, it is never taken for zero.
"""

from hedgegrid.core import var, worst_case
from hedgegrid.core.codes import BACKSTOP, ENTRY, FREE, LONG, SHORT, STOP, TAKE_PROFIT
from hedgegrid.core.gate_book import LEVEL_BITS, best_own_ticks, find
from hedgegrid.core.gate_records import UNMEASURED, AccountRisk, Booked, Exposure, InstrumentRisk, RiskLimits
from hedgegrid.core.ledger import maintenance_e8
from hedgegrid.core.records import MarginTier
from hedgegrid.messages.events import Approved, claim_approval_seal
from hedgegrid.model.order import OrderRequest
from hedgegrid.units import PPM

_SEAL = claim_approval_seal()
"""What makes an ``Approved``: it is given once, to whoever asks first."""

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
MAX_LEVERAGE = 14
MAX_POSITION_RATIO = 15
MAX_MARGIN_RATIO = 16
LIQUIDATION_DISTANCE = 17
VAR = 18
MAX_OPEN_ORDERS = 19
ORDERS_PER_MINUTE = 20
DUPLICATE = 21
SELF_CROSS = 22
REDUCE_PROOF = 23

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
    MAX_LEVERAGE: "max_leverage",
    MAX_POSITION_RATIO: "max_position_ratio",
    MAX_MARGIN_RATIO: "max_margin_ratio",
    LIQUIDATION_DISTANCE: "min_liquidation_distance_ratio",
    VAR: "var",
    MAX_OPEN_ORDERS: "max_open_orders_per_leg",
    ORDERS_PER_MINUTE: "max_orders_per_minute",
    DUPLICATE: "duplicate",
    SELF_CROSS: "self_cross",
    REDUCE_PROOF: "reduce_only_proof",
}
"""The name of each control, as in configuration, refusals, metrics and the journal."""


def check(
    limits: RiskLimits,
    account: AccountRisk,
    rules: list[InstrumentRisk],
    exposures: list[Exposure],
    booked: list[Booked],
    tiers: list[MarginTier],
    order: Booked,
    kind_has_price: int,
    may_send: int,
    decided_ns: int,
    now_ns: int,
) -> int:
    """Give PASS or the code of the first control that refuses ``order``.

    ``account`` and ``exposures`` (two records an instrument: LONG, SHORT) are at the present marks, as
    ``worst_case.weigh`` left them; ``booked`` and ``tiers`` are those of the order's instrument; ``may_send`` is the
    permission's answer for this order; ``kind_has_price`` is 0 for market orders.
    """
    if may_send == 0:
        return PERMISSION
    long, short = exposures[2 * order.instrument + LONG], exposures[2 * order.instrument + SHORT]
    leg = long if order.leg == LONG else short
    if order.purpose != ENTRY:
        return _check_reducing(long, short, leg, booked, order, kind_has_price)
    if now_ns - decided_ns > limits.approval_ttl_ns:
        return EXPIRED_APPROVAL
    rule = rules[order.instrument]
    code = _check_ages(limits, account, rule, now_ns)
    if code == PASS:
        code = _check_order(limits, rule, order)
    if code == PASS:
        code = _check_exposure(limits, account, rule, leg, order)
    if code == PASS:
        code = _check_equity(limits, account, rule, long, short, tiers, order)
    if code == PASS:
        code = _check_book(limits, account, exposures, leg, booked, order)
    return code


def _check_ages(limits: RiskLimits, account: AccountRisk, rule: InstrumentRisk, now_ns: int) -> int:
    """Refuse on data older than its limit, which is never under two beats of the source, and on what never came.

    The limits of the account need the mark of every instrument that counts in them.
    """
    floor_ns = 2 * rule.cadence_ns
    if rule.quote_ns == 0 or now_ns - rule.quote_ns > max(limits.max_quote_age_ns, floor_ns):
        return QUOTE_AGE
    if rule.mark_ns == 0 or now_ns - rule.mark_ns > max(limits.max_mark_age_ns, floor_ns) or account.unmarked > 0:
        return MARK_AGE
    if account.balance_ns == 0 or now_ns - account.balance_ns > max(limits.max_balance_age_ns, floor_ns):
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


def added_e8(rule: InstrumentRisk, order: Booked, leg: int) -> int:
    """Give what an entry brings to a leg at its worst: nothing to the one that it is not of."""
    if order.leg != leg:
        return 0
    return worst_case.entry_e8(order.price_ticks, order.qty_lots, rule.mark_ticks, rule.unit_e8)


def _check_exposure(
    limits: RiskLimits, account: AccountRisk, rule: InstrumentRisk, leg: Exposure, order: Booked
) -> int:
    """Refuse an order that could take a leg, the gross or the net position of the account over its limit."""
    if leg.position_lots + leg.foreign_lots + leg.entry_lots + order.qty_lots > rule.max_position_lots:
        return MAX_POSITION
    long, short = added_e8(rule, order, LONG), added_e8(rule, order, SHORT)
    leg_total = account.worst_long_e8 + long if order.leg == LONG else account.worst_short_e8 + short
    if leg_total > limits.max_leg_notional_e8:
        return MAX_LEG_NOTIONAL
    if worst_case.gross_e8(account, long, short) > limits.max_gross_notional_e8:
        return MAX_GROSS_NOTIONAL
    if worst_case.net_e8(account, long, short) > limits.max_net_notional_e8:
        return MAX_NET_NOTIONAL
    return PASS


def _check_equity(
    limits: RiskLimits,
    account: AccountRisk,
    rule: InstrumentRisk,
    long: Exposure,
    short: Exposure,
    tiers: list[MarginTier],
    order: Booked,
) -> int:
    """Refuse an order whose worst case is too much for the equity of the account; none is enough for anything."""
    equity = account.equity_e8
    to_long, to_short = added_e8(rule, order, LONG), added_e8(rule, order, SHORT)
    gross = worst_case.gross_e8(account, to_long, to_short)
    if gross > worst_case.share_e8(equity, limits.max_leverage_ppm):
        return MAX_LEVERAGE
    if worst_case.initial_margin_e8(gross, limits.leverage) > worst_case.share_e8(equity, limits.max_position_ppm):
        return MAX_POSITION_RATIO
    own = long.worst_e8 + to_long + short.worst_e8 + to_short
    margin = account.margin_e8 - rule.margin_e8 + maintenance_e8(own, tiers)
    if margin > worst_case.share_e8(equity, limits.max_margin_ppm):
        return MAX_MARGIN_RATIO
    distance = limits.min_distance_ppm
    far_margin = account.far_margin_e8 - rule.far_margin_e8 + worst_case.far_margin_e8(own, distance, tiers)
    falling, rising = worst_case.falling_net_e8(account, to_long), worst_case.rising_net_e8(account, to_short)
    if worst_case.is_near_liquidation(equity, far_margin, falling, rising, distance):
        return LIQUIDATION_DISTANCE
    if account.unmeasured > 0 or rule.var_ppm == UNMEASURED:
        return VAR
    net = worst_case.instrument_net_e8(long, short, to_long, to_short)
    at_risk = account.var_e8 - rule.var_e8 + var.part_e8(net, rule.var_ppm)
    return VAR if at_risk > worst_case.share_e8(equity, limits.max_var_ppm) else PASS


def _check_book(
    limits: RiskLimits,
    account: AccountRisk,
    exposures: list[Exposure],
    leg: Exposure,
    booked: list[Booked],
    order: Booked,
) -> int:
    """Refuse an entry that other orders leave no room or no time for, that is already live, or that meets our own."""
    if leg.open_orders >= limits.max_open_orders_per_leg:
        return MAX_OPEN_ORDERS
    if account.orders_in_minute >= limits.max_orders_per_minute:
        return ORDERS_PER_MINUTE
    if _may_be_booked(leg, order):
        for i in range(len(booked)):
            other = booked[i]
            # The level tells most apart, so it is looked at first.
            same_rung = other.level == order.level and other.generation == order.generation and other.leg == order.leg
            if same_rung and other.state != FREE and other.purpose == ENTRY and other.instrument == order.instrument:
                return DUPLICATE
    return SELF_CROSS if _meets_own(exposures, booked, order) else PASS


def _meets_own(exposures: list[Exposure], booked: list[Booked], order: Booked) -> bool:
    """Tell whether an entry would meet a resting order of ours; the nearest that ever rested tells most apart."""
    other_leg = SHORT if order.leg == LONG else LONG
    nearest = exposures[2 * order.instrument + other_leg].best_own_ticks
    if nearest == 0 or (order.price_ticks < nearest if order.leg == LONG else order.price_ticks > nearest):
        return False
    rival = best_own_ticks(exposures, booked, order.instrument, other_leg)
    return rival > 0 and (order.price_ticks >= rival if order.leg == LONG else order.price_ticks <= rival)


def _may_be_booked(leg: Exposure, order: Booked) -> bool:
    """Tell whether an entry could stand on the rung of ``order``, by what was counted in; True where one does."""
    if leg.levels == 0 or order.generation < leg.generation:
        return True
    if order.generation > leg.generation:
        return False
    return not 0 <= order.level < LEVEL_BITS or leg.levels & (1 << order.level) != 0


def _check_reducing(
    long: Exposure, short: Exposure, leg: Exposure, booked: list[Booked], order: Booked, kind_has_price: int
) -> int:
    """Refuse a reducing order only where it is a duplicate or more than its leg holds for its class."""
    # Numbers only grow: one above all that were counted in is new.
    newest_no = max(long.newest_no, short.newest_no)
    if order.no <= newest_no and find(booked, order.no) >= 0:
        return DUPLICATE
    if order.purpose == BACKSTOP:
        return PASS
    return REDUCE_PROOF if order.qty_lots > reducible_lots(leg, order.purpose, kind_has_price) else PASS


def reducible_lots(leg: Exposure, purpose: int, kind_has_price: int) -> int:
    """Give what of a leg no order of a reducing order's class covers yet."""
    if purpose == TAKE_PROFIT:
        return leg.position_lots - leg.take_profit_lots
    if purpose == STOP and kind_has_price == 1:
        return leg.position_lots - leg.stop_lots
    return leg.position_lots - leg.market_lots


def approve(code: int, request: OrderRequest, *, limits_version: str, expires_ns: int) -> Approved:
    """Wrap a request that passed: ``code`` is what ``check`` said of it. Raises ValueError for any other than PASS.

    Nothing else in the house may make an ``Approved``, or can.
    """
    if code != PASS:
        raise ValueError(f"{request.client_id} was refused by {CONTROL_NAMES[code]}: it cannot be approved")
    return Approved(request=request, limits_version=limits_version, expires_ns=expires_ns, seal=_SEAL)
