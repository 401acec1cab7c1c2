"""The tables of the simulated venue and the small things done to them; what happens is written as ``VenueEvent`` rows.

Invariants: a number names one order for ever; an event table that is full is a broken invariant (its capacity exceeds
what one point can cause); every live order but the close-everything stops stands in one of two lists, in the order in
which a falling or a rising move meets them; ``down_edge`` and ``up_edge`` never hide an order that a move could touch.
"""

from hedgegrid.core.codes import ENTRY, FILL_TOUCH, FREE, LIMIT, LONG, NEVER_NS, NO_PRICE, STOP_MARKET
from hedgegrid.core.fixed import ceil_div
from hedgegrid.core.records import CancelRequest, Counter, Link, Market, VenueEvent, VenueOrder, VenueRules
from hedgegrid.units import PPM

PENDING = 1
LIVE = 2

ACCEPTED = 1
FILLED = 2
CUT = 3
CANCELLED = 4
REJECTED = 5
CANCEL_FAILED = 6
SHRUNK = 7

BY_REQUEST = 1
BY_OTHER_EXIT = 2
BY_LIQUIDATION = 3
POST_ONLY = 4
NOTHING_TO_CLOSE = 5
REDUCE_REFUSED = 6

RISING = 1
FALLING = -1


def worsened(price_ticks: int, buys: bool, slippage_ppm: int) -> int:
    """Give a taker's price: worse by the slippage, rounded to the tick against the taker."""
    slip = ceil_div(price_ticks * slippage_ppm, PPM)
    return price_ticks + slip if buys else max(1, price_ticks - slip)


def is_buy(order: VenueOrder) -> bool:
    """Tell an order's side: LONG entries and SHORT exits buy."""
    return (order.leg == LONG) == (order.purpose == ENTRY)


def event(events: list[VenueEvent], used: Counter, kind: int, order: VenueOrder, reason: int) -> int:
    """Write an event about an order and give its index."""
    index = used.n
    used.n += 1
    event = events[index]
    event.kind = kind
    event.no = order.no
    event.leg = order.leg
    event.purpose = order.purpose
    event.level = order.level
    event.generation = order.generation
    event.price_ticks = order.price_ticks
    event.qty_lots = order.qty_lots
    event.fee_e8 = 0
    event.realised_e8 = 0
    event.maker = 0
    event.lot_id = 0
    event.trade_id = 0
    event.reason = reason
    event.slot = order.slot
    return index


def find(orders: list[VenueOrder], no: int) -> int:
    """Give the index of the order with this number, or -1."""
    for i in range(len(orders)):
        if orders[i].no == no and orders[i].state != FREE:
            return i
    return -1


def free_order(orders: list[VenueOrder], first: int = 0) -> int:
    """Give an unused slot of the order table, or -1; ``first``: one below which none is free."""
    for i in range(first, len(orders)):
        if orders[i].state == FREE:
            return i
    return -1


def add_link(links: list[Link], no: int, lot_id: int, qty_lots: int, level: int, generation: int) -> bool:
    """Write that an order closes part of a lot; False where the table is full."""
    for i in range(len(links)):
        if links[i].state == FREE:
            links[i].state = 1
            links[i].no = no
            links[i].lot_id = lot_id
            links[i].qty_lots = qty_lots
            links[i].level = level
            links[i].generation = generation
            return True
    return False


def request_cancel(market: Market, cancels: list[CancelRequest], no: int, due_ns: int) -> bool:
    """Take a cancel on its way; False where too many are under way."""
    for i in range(len(cancels)):
        if cancels[i].state == FREE:
            cancels[i].state = 1
            cancels[i].no = no
            cancels[i].due_ns = due_ns
            cancels[i].seq = market.next_seq
            market.next_seq += 1
            market.next_due_ns = min(market.next_due_ns, due_ns)
            return True
    return False


# --- live orders in the order in which a move meets them --------------------------------------------------------------


def rest(market: Market, orders: list[VenueOrder], index: int) -> None:
    """Put a live order into its list: behind what a move meets before it."""
    order = orders[index]
    falling = is_buy(order) == (order.kind == LIMIT)
    if order.close_all == 1:
        if falling:
            market.backstop_down = max(market.backstop_down, order.price_ticks)
        else:
            market.backstop_up = min(market.backstop_up, order.price_ticks)
        return
    direction = FALLING if falling else RISING
    before = -1
    after = market.falling_first if falling else market.rising_first
    while after >= 0 and met_earlier(orders[after], order, direction):
        before = after
        after = orders[after].after
    order.before = before
    order.after = after
    if after >= 0:
        orders[after].before = index
    if before >= 0:
        orders[before].after = index
    elif falling:
        market.falling_first = index
    else:
        market.rising_first = index
    set_edges(market, orders)


def leave(market: Market, orders: list[VenueOrder], index: int) -> None:
    """Take a live order out of its list."""
    order = orders[index]
    if order.close_all == 1:
        _set_backstops(market, orders, index)
        return
    before, after = order.before, order.after
    if after >= 0:
        orders[after].before = before
    if before >= 0:
        orders[before].after = after
    elif market.falling_first == index:
        market.falling_first = after
    else:
        market.rising_first = after
    if order.held_bar >= 0:
        market.held -= 1
    set_edges(market, orders)


def set_edges(market: Market, orders: list[VenueOrder]) -> None:
    """Let the edges stand at the first order of each list; a held take-profit may fill in any move."""
    if market.held > 0:
        market.down_edge = NO_PRICE
        market.up_edge = 0
        return
    market.down_edge = orders[market.falling_first].price_ticks if market.falling_first >= 0 else 0
    market.up_edge = orders[market.rising_first].price_ticks if market.rising_first >= 0 else NO_PRICE


def _set_backstops(market: Market, orders: list[VenueOrder], left_out: int) -> None:
    """Work out anew which prices reach a close-everything stop, one of them left out."""
    market.backstop_down = 0
    market.backstop_up = NO_PRICE
    for i in range(len(orders)):
        order = orders[i]
        if order.state != LIVE or order.close_all == 0 or i == left_out:
            continue
        if is_buy(order):
            market.backstop_up = min(market.backstop_up, order.price_ticks)
        else:
            market.backstop_down = max(market.backstop_down, order.price_ticks)


def refresh(market: Market, orders: list[VenueOrder], cancels: list[CancelRequest]) -> None:
    """Work out anew, from the orders alone, their lists, which prices can touch one and when something falls due.

    All of it is kept as orders come and go; this is for tables that were read from elsewhere.
    """
    market.falling_first = -1
    market.rising_first = -1
    market.held = 0
    market.free_from = 0
    due = NEVER_NS
    for i in range(len(orders)):
        if orders[i].state == PENDING:
            due = min(due, orders[i].live_ns)
        elif orders[i].state == LIVE and orders[i].held_bar >= 0:
            market.held += 1
    for i in range(len(orders)):
        if orders[i].state == LIVE:
            rest(market, orders, i)
    for i in range(len(cancels)):
        if cancels[i].state != FREE:
            due = min(due, cancels[i].due_ns)
    set_edges(market, orders)
    _set_backstops(market, orders, -1)
    note_joins(market, orders)
    market.next_due_ns = due


def note_joins(market: Market, orders: list[VenueOrder]) -> None:
    """Work out anew which prices of the book tell an order the quantity ahead of it."""
    market.join_down = 0
    market.join_up = NO_PRICE
    for i in range(len(orders)):
        order = orders[i]
        if order.state == LIVE and order.kind == LIMIT and order.queue_lots < 0:
            if is_buy(order):
                market.join_down = max(market.join_down, order.price_ticks)
            else:
                market.join_up = min(market.join_up, order.price_ticks)


# --- orders that end --------------------------------------------------------------------------------------------------


def end(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    index: int,
    reason: int,
    events: list[VenueEvent],
    used: Counter,
) -> None:
    """End an order and say so."""
    event(events, used, CANCELLED, orders[index], reason)
    drop(market, orders, links, index)


def drop(market: Market, orders: list[VenueOrder], links: list[Link], index: int) -> None:
    """Take an order and its links off the books without a word."""
    order = orders[index]
    no = order.no
    if order.state == LIVE:
        leave(market, orders, index)
    order.state = FREE
    order.no = 0
    market.free_from = min(market.free_from, index)
    if order.purpose == ENTRY:
        return
    for i in range(len(links)):
        if links[i].state != FREE and links[i].no == no:
            links[i].state = FREE


# --- what a move meets ------------------------------------------------------------------------------------------------


def is_met(market: Market, order: VenueOrder, rules: VenueRules, start: int, direction: int) -> bool:
    """Tell whether the move reaches the order: stops by a touch, limits through or by a touch as the rules say.

    A pessimistic take-profit that was held in its bar fills where a later move starts or ends beyond it, whichever
    way it goes.
    """
    end = market.price_ticks
    buys = is_buy(order)
    if order.held_bar >= 0 and order.held_bar != market.bar_no:
        return min(start, end) < order.price_ticks if buys else max(start, end) > order.price_ticks
    if (buys == (order.kind == LIMIT)) != (direction == FALLING):
        return False
    past = order.price_ticks - end if direction == FALLING else end - order.price_ticks
    if order.kind == STOP_MARKET or rules.fill_model == FILL_TOUCH:
        return past >= 0
    return past > 0


def met_earlier(order: VenueOrder, other: VenueOrder, direction: int) -> bool:
    """Tell whether the move meets ``order`` before ``other``."""
    if order.price_ticks != other.price_ticks:
        return (order.price_ticks > other.price_ticks) == (direction == FALLING)
    return order.age < other.age
