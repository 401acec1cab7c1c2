"""Trades against the queue: ``fill = "queue"`` on trade ticks.

Invariants: an order waits behind the quantity shown at its price when the book first shows it there; a trade's quantity
bounds what it fills; what stood ahead of several of our orders is eaten once.
"""

from hedgegrid.core.codes import LIMIT, STOP_MARKET
from hedgegrid.core.filling import fill
from hedgegrid.core.records import Counter, LegAccount, Link, Market, VenueEvent, VenueOrder, VenueRules
from hedgegrid.core.venue_tables import FALLING, LIVE, RISING, is_buy, is_met, met_earlier, worsened


def trade(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    accounts: list[LegAccount],
    rules: VenueRules,
    start: int,
    trade_lots: int,
    events: list[VenueEvent],
    used: Counter,
) -> int:
    """Let one trade eat the queues at its price and fill what stands behind them, bounded by its quantity.

    Stops as in a jump.
    """
    price = market.price_ticks
    _join_queues(market, orders)
    left = trade_lots
    eaten = 0
    fills = 0
    while left > 0:
        index = _best_resting(orders, price)
        if index < 0:
            break
        order = orders[index]
        if order.price_ticks == price:
            # What stood ahead of several of our orders is the same quantity: it is eaten once.
            ahead = min(left, max(0, order.queue_lots - eaten))
            eaten += ahead
            left -= ahead
        qty = min(left, order.qty_lots)
        if qty == 0:
            break
        left -= qty
        fills += 1
        fill(market, orders, links, accounts, rules, index, qty, order.price_ticks, 1, events, used)
    _shorten_queues(orders, price, eaten)
    if price != start:
        fills += _stops_met(market, orders, links, accounts, rules, start, events, used)
    return fills


def _join_queues(market: Market, orders: list[VenueOrder]) -> None:
    """Put every order whose price the book now shows behind the quantity shown there.

    Away from the best it is not known.
    """
    for i in range(len(orders)):
        order = orders[i]
        if order.state != LIVE or order.kind != LIMIT or order.queue_lots >= 0:
            continue
        buys = is_buy(order)
        best = market.bid_ticks if buys else market.ask_ticks
        shown = market.bid_qty_lots if buys else market.ask_qty_lots
        if order.price_ticks == best:
            order.queue_lots = shown
        elif (order.price_ticks > best) == buys:
            # Inside the spread it is first in line.
            order.queue_lots = 0


def _shorten_queues(orders: list[VenueOrder], price: int, eaten: int) -> None:
    """Take what a trade ate of the line at its price off every queue there."""
    for i in range(len(orders)):
        order = orders[i]
        if order.state == LIVE and order.kind == LIMIT and order.price_ticks == price and order.queue_lots > 0:
            order.queue_lots = max(0, order.queue_lots - eaten)


def _best_resting(orders: list[VenueOrder], price: int) -> int:
    """Give the limit order that a trade reaches first, through it or at it with a known queue, or -1."""
    best = -1
    for i in range(len(orders)):
        order = orders[i]
        if order.state != LIVE or order.kind != LIMIT:
            continue
        buys = is_buy(order)
        through = order.price_ticks > price if buys else order.price_ticks < price
        at = order.price_ticks == price and order.queue_lots >= 0
        if not through and not at:
            continue
        if best < 0 or _has_priority(order, orders[best], price):
            best = i
    return best


def _has_priority(order: VenueOrder, other: VenueOrder, price: int) -> bool:
    """Tell whether a trade at ``price`` fills ``order`` before ``other``: further through first, then the older."""
    reach = abs(order.price_ticks - price)
    other_reach = abs(other.price_ticks - price)
    if reach != other_reach:
        return reach > other_reach
    return order.age < other.age


def _stops_met(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    accounts: list[LegAccount],
    rules: VenueRules,
    start: int,
    events: list[VenueEvent],
    used: Counter,
) -> int:
    """Trigger the stops that the move from ``start`` touches; they fill as takers at its end."""
    direction = FALLING if market.price_ticks < start else RISING
    fills = 0
    while True:
        best = -1
        for i in range(len(orders)):
            order = orders[i]
            if order.state != LIVE or order.kind != STOP_MARKET or order.close_all == 1:
                continue
            if is_buy(order) == (direction == FALLING) or not is_met(market, order, rules, start, direction):
                continue
            if best < 0 or met_earlier(order, orders[best], direction):
                best = i
        if best < 0:
            return fills
        price = worsened(market.price_ticks, is_buy(orders[best]), rules.slippage_ppm)
        fill(market, orders, links, accounts, rules, best, orders[best].qty_lots, price, 0, events, used)
        fills += 1
