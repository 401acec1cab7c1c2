"""The market meets the orders: section 9's fills, for the simulated venue, paper and backtest alike.

One instrument's state is a ``Market``, a table of orders, links between orders and lots, cancels on their way, and
two leg accounts. What happens is written as ``VenueEvent`` rows.

Invariants: no order becomes live inside a move; the exits of a lot never close more than the lot (a fill of one
shrinks the others in the same instant); along a move orders fill in the order in which the price meets them, at one
price oldest first; an event table that is full is a broken invariant (its capacity exceeds what one point can cause).
"""

from hedgegrid.core import ledger
from hedgegrid.core.codes import (
    ENTRY,
    FILL_QUEUE,
    FILL_TOUCH,
    FREE,
    LIMIT,
    LIQUIDATION,
    LONG,
    MARKET,
    NEVER_NS,
    NO_PRICE,
    SHORT,
    STOP,
    STOP_MARKET,
    TAKE_PROFIT,
)
from hedgegrid.core.fixed import ceil_div
from hedgegrid.core.records import (
    CancelRequest,
    Counter,
    LegAccount,
    Link,
    Market,
    VenueEvent,
    VenueOrder,
    VenueRules,
)
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

RISING = 1
FALLING = -1


def worsened(price_ticks: int, buys: bool, slippage_ppm: int) -> int:
    """Give a taker's price: worse by the slippage, rounded to the tick against the taker."""
    slip = ceil_div(price_ticks * slippage_ppm, PPM)
    return price_ticks + slip if buys else max(1, price_ticks - slip)


def is_buy(order: VenueOrder) -> bool:
    """Tell an order's side: LONG entries and SHORT exits buy."""
    return (order.leg == LONG) == (order.purpose == ENTRY)


def _event(events: list[VenueEvent], used: Counter, kind: int, order: VenueOrder, reason: int) -> int:
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
    return index


# --- what falls due -------------------------------------------------------------------------------------------------


def due_class(order: VenueOrder) -> int:
    """Give when a pending order's turn comes: stops and market reductions, then take-profits, then entries."""
    if order.kind != LIMIT:
        return 1
    return 2 if order.purpose == TAKE_PROFIT else 3


def refresh(market: Market, orders: list[VenueOrder], cancels: list[CancelRequest]) -> None:
    """Work out anew which prices can touch an order and when something next falls due."""
    down = 0
    up = NO_PRICE
    back_down = 0
    back_up = NO_PRICE
    due = NEVER_NS
    for i in range(len(orders)):
        order = orders[i]
        if order.state == PENDING:
            due = min(due, order.live_ns)
        elif order.state == LIVE:
            falling = is_buy(order) == (order.kind == LIMIT)
            if order.close_all == 1 and falling:
                back_down = max(back_down, order.price_ticks)
            elif order.close_all == 1:
                back_up = min(back_up, order.price_ticks)
            elif falling:
                down = max(down, order.price_ticks)
            else:
                up = min(up, order.price_ticks)
    for i in range(len(cancels)):
        if cancels[i].state != FREE:
            due = min(due, cancels[i].due_ns)
    market.down_edge = down
    market.up_edge = up
    market.backstop_down = back_down
    market.backstop_up = back_up
    market.next_due_ns = due


def fall_due(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    cancels: list[CancelRequest],
    accounts: list[LegAccount],
    rules: VenueRules,
    events: list[VenueEvent],
    used: Counter,
) -> int:
    """Do one pass over what is due at the market's present point; give how many things fell due."""
    if market.next_due_ns > market.ts_ns:
        return 0
    done = _cancels_due(market, orders, links, cancels, events, used)
    for due in (1, 2, 3):
        last = 0
        while True:
            index = _next_pending(orders, market.ts_ns, due, last)
            if index < 0:
                break
            last = orders[index].seq
            leg = orders[index].leg
            is_stop = orders[index].purpose == STOP and orders[index].kind == STOP_MARKET
            _go_live(market, orders, links, accounts, rules, index, events, used)
            done += 1
            if is_stop:
                _renew_stops(market, orders, leg)
    refresh(market, orders, cancels)
    return done


def _cancels_due(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    cancels: list[CancelRequest],
    events: list[VenueEvent],
    used: Counter,
) -> int:
    """Carry out the cancels that are due, by creation."""
    done = 0
    while True:
        best = -1
        for i in range(len(cancels)):
            request = cancels[i]
            is_due = request.state != FREE and request.due_ns <= market.ts_ns
            if is_due and (best < 0 or request.seq < cancels[best].seq):
                best = i
        if best < 0:
            return done
        request = cancels[best]
        request.state = FREE
        done += 1
        index = find(orders, request.no)
        if index >= 0:
            _end(orders, links, index, BY_REQUEST, events, used)
        else:
            failed = events[used.n]
            used.n += 1
            failed.kind = CANCEL_FAILED
            failed.no = request.no
            failed.lot_id = 0
            failed.reason = BY_REQUEST


def find(orders: list[VenueOrder], no: int) -> int:
    """Give the index of the order with this number, or -1."""
    for i in range(len(orders)):
        if orders[i].no == no and orders[i].state != FREE:
            return i
    return -1


def _next_pending(orders: list[VenueOrder], ts_ns: int, due: int, after_seq: int) -> int:
    """Give the oldest pending order of a due class that has reached its time, created after ``after_seq``, or -1."""
    best = -1
    for i in range(len(orders)):
        order = orders[i]
        ready = order.state == PENDING and order.live_ns <= ts_ns and order.seq > after_seq
        if ready and due_class(order) == due and (best < 0 or order.seq < orders[best].seq):
            best = i
    return best


def _go_live(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    accounts: list[LegAccount],
    rules: VenueRules,
    index: int,
    events: list[VenueEvent],
    used: Counter,
) -> None:
    """Bring a pending order to the market: it rests, takes at once, or is rejected as post-only."""
    order = orders[index]
    buys = is_buy(order)
    if order.kind == LIMIT:
        crosses = order.price_ticks >= market.ask_ticks if buys else order.price_ticks <= market.bid_ticks
        if crosses and order.post_only == 1:
            _event(events, used, REJECTED, order, POST_ONLY)
            _drop(orders, links, index)
            return
        _rest(market, order, events, used)
        if crosses:
            taken = worsened(market.price_ticks, buys, rules.slippage_ppm)
            taken = min(taken, order.price_ticks) if buys else max(taken, order.price_ticks)
            fill(market, orders, links, accounts, rules, index, order.qty_lots, taken, 0, events, used)
        return
    _rest(market, order, events, used)
    if order.close_all == 1:
        return
    crossed = order.price_ticks <= market.price_ticks if buys else order.price_ticks >= market.price_ticks
    if order.kind == MARKET or crossed:
        taken = worsened(market.price_ticks, buys, rules.slippage_ppm)
        fill(market, orders, links, accounts, rules, index, order.qty_lots, taken, 0, events, used)


def _renew_stops(market: Market, orders: list[VenueOrder], leg: int) -> None:
    """A leg's stops change as one set: with a new one, all of them are as young as it."""
    for i in range(len(orders)):
        order = orders[i]
        if order.state == LIVE and order.leg == leg and order.purpose == STOP and order.kind == STOP_MARKET:
            order.age = market.next_age
            market.next_age += 1


def _rest(market: Market, order: VenueOrder, events: list[VenueEvent], used: Counter) -> None:
    """Make an order live, the youngest of its price."""
    order.state = LIVE
    order.age = market.next_age
    market.next_age += 1
    order.queue_lots = -1
    _event(events, used, ACCEPTED, order, 0)


def _end(
    orders: list[VenueOrder], links: list[Link], index: int, reason: int, events: list[VenueEvent], used: Counter
) -> None:
    """End an order and say so."""
    _event(events, used, CANCELLED, orders[index], reason)
    _drop(orders, links, index)


def _drop(orders: list[VenueOrder], links: list[Link], index: int) -> None:
    """Take an order and its links off the books without a word."""
    no = orders[index].no
    orders[index].state = FREE
    orders[index].no = 0
    for i in range(len(links)):
        if links[i].state != FREE and links[i].no == no:
            links[i].state = FREE


# --- a move ---------------------------------------------------------------------------------------------------------


def move(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    accounts: list[LegAccount],
    rules: VenueRules,
    end_ticks: int,
    jump: int,
    trade_lots: int,
    events: list[VenueEvent],
    used: Counter,
) -> int:
    """Move the price to ``end_ticks``, filling what it meets; give the number of fills.

    The caller has set bid, ask, mark, time and the bar's range of the point that the move ends in.
    """
    start = market.price_ticks
    market.price_ticks = end_ticks
    if market.seen == 0:
        market.seen = 1
        return 0
    if rules.fill_model == FILL_QUEUE and trade_lots > 0:
        return _trade(market, orders, links, accounts, rules, start, trade_lots, events, used)
    if end_ticks < start:
        # Under the pessimistic bound a held take-profit may fill in a move that leads away from it.
        if end_ticks > market.down_edge and rules.pessimistic == 0:
            return 0
        return _walk(market, orders, links, accounts, rules, start, FALLING, jump, events, used)
    if end_ticks > start and (end_ticks >= market.up_edge or rules.pessimistic == 1):
        return _walk(market, orders, links, accounts, rules, start, RISING, jump, events, used)
    return 0


def _walk(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    accounts: list[LegAccount],
    rules: VenueRules,
    start: int,
    direction: int,
    jump: int,
    events: list[VenueEvent],
    used: Counter,
) -> int:
    """Fill, one after the other, the orders that a move meets."""
    fills = 0
    while True:
        index = _next_met(market, orders, links, rules, start, direction, jump)
        if index < 0:
            return fills
        order = orders[index]
        if jump == 0:
            _count_ambiguity(market, orders, links, order)
        if order.kind == LIMIT:
            price = order.price_ticks
            maker = 1
        else:
            met = market.price_ticks if jump == 1 else order.price_ticks
            price = worsened(met, is_buy(order), rules.slippage_ppm)
            maker = 0
        fill(market, orders, links, accounts, rules, index, order.qty_lots, price, maker, events, used)
        fills += 1


def _next_met(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    rules: VenueRules,
    start: int,
    direction: int,
    jump: int,
) -> int:
    """Give the next live order that the move from ``start`` meets (nearest to its start, then oldest), or -1."""
    best = -1
    for i in range(len(orders)):
        order = orders[i]
        if order.state != LIVE or order.close_all == 1:
            continue
        if not _is_met(market, order, rules, start, direction):
            continue
        if best >= 0 and not _met_earlier(order, orders[best], direction):
            continue
        if rules.pessimistic == 1 and _is_held(market, orders, links, order, jump):
            continue
        best = i
    return best


def _is_met(market: Market, order: VenueOrder, rules: VenueRules, start: int, direction: int) -> bool:
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


def _met_earlier(order: VenueOrder, other: VenueOrder, direction: int) -> bool:
    """Tell whether the move meets ``order`` before ``other``."""
    if order.price_ticks != other.price_ticks:
        return (order.price_ticks > other.price_ticks) == (direction == FALLING)
    return order.age < other.age


def _other_exit_inside(market: Market, orders: list[VenueOrder], links: list[Link], order: VenueOrder) -> bool:
    """Tell whether another live exit of a lot that this exit closes lies inside the present bar's range."""
    for i in range(len(links)):
        if links[i].state == FREE or links[i].no != order.no:
            continue
        for j in range(len(links)):
            if links[j].state == FREE or links[j].lot_id != links[i].lot_id or links[j].no == order.no:
                continue
            index = find(orders, links[j].no)
            if index < 0 or orders[index].state != LIVE or orders[index].kind == MARKET:
                continue
            price = orders[index].price_ticks
            if market.bar_low_ticks <= price <= market.bar_high_ticks:
                return True
    return False


def _count_ambiguity(market: Market, orders: list[VenueOrder], links: list[Link], order: VenueOrder) -> None:
    """Count the present bar once if this exit's rival could have filled in it too."""
    if order.purpose == ENTRY or market.last_ambiguous_bar == market.bar_no:
        return
    if _other_exit_inside(market, orders, links, order):
        market.last_ambiguous_bar = market.bar_no
        market.ambiguous_bars += 1


def _is_held(market: Market, orders: list[VenueOrder], links: list[Link], order: VenueOrder, jump: int) -> bool:
    """Under the pessimistic bound: tell whether a take-profit must not fill since its stop lies inside the bar too."""
    if order.purpose != TAKE_PROFIT:
        return False
    if order.held_bar == market.bar_no:
        return True
    if jump == 1 or not _other_exit_inside(market, orders, links, order):
        return False
    order.held_bar = market.bar_no
    _count_ambiguity(market, orders, links, order)
    return True


# --- trades against the queue ---------------------------------------------------------------------------------------


def _trade(
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
    """Give the resting limit order that a trade at ``price`` reaches first, or -1.

    Through it, or at it with a known queue.
    """
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
            if is_buy(order) == (direction == FALLING) or not _is_met(market, order, rules, start, direction):
                continue
            if best < 0 or _met_earlier(order, orders[best], direction):
                best = i
        if best < 0:
            return fills
        price = worsened(market.price_ticks, is_buy(orders[best]), rules.slippage_ppm)
        fill(market, orders, links, accounts, rules, best, orders[best].qty_lots, price, 0, events, used)
        fills += 1


# --- a fill ---------------------------------------------------------------------------------------------------------


def fill(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    accounts: list[LegAccount],
    rules: VenueRules,
    index: int,
    qty_lots: int,
    price_ticks: int,
    maker: int,
    events: list[VenueEvent],
    used: Counter,
) -> None:
    """Execute ``qty_lots`` of an order: money, position, the event, and what it does to the other exits of its lots."""
    order = orders[index]
    account = accounts[order.leg]
    notional = ledger.notional_e8(price_ticks, qty_lots, rules.unit_e8)
    fee = ledger.fee_e8(notional, rules.maker_ppm if maker == 1 else rules.taker_ppm)
    realised = 0
    if order.purpose == ENTRY:
        ledger.increase(account, qty_lots, notional)
    else:
        realised = ledger.reduce(account, order.leg, qty_lots, notional)
    account.fees_e8 += fee
    row = events[_event(events, used, FILLED, order, 0)]
    row.price_ticks = price_ticks
    row.qty_lots = qty_lots
    row.fee_e8 = fee
    row.realised_e8 = realised
    row.maker = maker
    row.trade_id = market.next_trade
    market.next_trade += 1
    if order.purpose != ENTRY and order.purpose != TAKE_PROFIT:
        _name_by_lot(links, order.no, row)
    order.qty_lots -= qty_lots
    order.filled_lots += qty_lots
    if order.purpose != ENTRY:
        _cut_lots(orders, links, index, qty_lots, events, used)
    if order.qty_lots == 0:
        _drop(orders, links, index)


def _name_by_lot(links: list[Link], no: int, row: VenueEvent) -> None:
    """Give a stop's fill the level and generation of its lot where it covers exactly one by now, else -1."""
    row.level = -1
    row.generation = -1
    lots = 0
    for i in range(len(links)):
        if links[i].state != FREE and links[i].no == no and links[i].qty_lots > 0:
            lots += 1
            row.level = links[i].level if lots == 1 else -1
            row.generation = links[i].generation if lots == 1 else -1


def _cut_lots(
    orders: list[VenueOrder], links: list[Link], index: int, qty_lots: int, events: list[VenueEvent], used: Counter
) -> None:
    """Take an exit's filled quantity off its lots, oldest lot first, and off every other exit of those lots."""
    left = qty_lots
    no = orders[index].no
    while left > 0:
        best = -1
        for i in range(len(links)):
            mine = links[i].state != FREE and links[i].no == no and links[i].qty_lots > 0
            if mine and (best < 0 or links[i].lot_id < links[best].lot_id):
                best = i
        if best < 0:
            return
        lot_id = links[best].lot_id
        cut = min(left, links[best].qty_lots)
        left -= cut
        links[best].qty_lots -= cut
        row = events[_event(events, used, CUT, orders[index], 0)]
        row.lot_id = lot_id
        row.qty_lots = cut
        _shrink_rivals(orders, links, no, lot_id, cut, events, used)


def _shrink_rivals(
    orders: list[VenueOrder], links: list[Link], no: int, lot_id: int, cut: int, events: list[VenueEvent], used: Counter
) -> None:
    """Take ``cut`` lots of a closed lot off its other exits; one with nothing left ends."""
    for i in range(len(links)):
        link = links[i]
        if link.state == FREE or link.lot_id != lot_id or link.no == no:
            continue
        index = find(orders, link.no)
        if index < 0:
            link.state = FREE
            continue
        gone = min(cut, link.qty_lots)
        link.qty_lots -= gone
        orders[index].qty_lots -= gone
        if link.qty_lots == 0:
            link.state = FREE
        if orders[index].qty_lots == 0:
            _end(orders, links, index, BY_OTHER_EXIT, events, used)
        elif gone > 0:
            _event(events, used, SHRUNK, orders[index], BY_OTHER_EXIT)


# --- backstops, funding, liquidation --------------------------------------------------------------------------------


def backstops(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    accounts: list[LegAccount],
    rules: VenueRules,
    events: list[VenueEvent],
    used: Counter,
) -> int:
    """Trigger the close-everything stops at or beyond the price, for the quantity that no stop and no reduction covers.

    It runs after all that falls due, so it never comes before a lot's own stop: it acts only where nobody watches.
    """
    fills = 0
    if market.backstop_down < market.price_ticks < market.backstop_up:
        return 0
    for i in range(len(orders)):
        order = orders[i]
        if order.state != LIVE or order.close_all == 0:
            continue
        buys = is_buy(order)
        reached = order.price_ticks <= market.price_ticks if buys else order.price_ticks >= market.price_ticks
        if not reached:
            continue
        bare = accounts[order.leg].qty_lots - _covered(orders, order.leg)
        if bare > 0:
            order.qty_lots = bare
            _link_bare(orders, links, i, bare)
            taken = worsened(market.price_ticks, buys, rules.slippage_ppm)
            fill(market, orders, links, accounts, rules, i, bare, taken, 0, events, used)
            fills += 1
        elif accounts[order.leg].qty_lots == 0:
            _end(orders, links, i, NOTHING_TO_CLOSE, events, used)
    return fills


def _covered(orders: list[VenueOrder], leg: int) -> int:
    """Give the quantity of a leg that stops and market reductions, live or on their way, will close."""
    total = 0
    for i in range(len(orders)):
        order = orders[i]
        if order.state != FREE and order.leg == leg and order.kind != LIMIT and order.close_all == 0:
            total += order.qty_lots
    return total


def _link_bare(orders: list[VenueOrder], links: list[Link], index: int, bare: int) -> None:
    """Point a backstop at the lots that only take-profits cover, so that those end with it."""
    no = orders[index].no
    leg = orders[index].leg
    left = bare
    for i in range(len(links)):
        if left == 0 or links[i].state == FREE:
            continue
        other = find(orders, links[i].no)
        if other < 0 or orders[other].leg != leg or orders[other].purpose != TAKE_PROFIT:
            continue
        if _has_stop(orders, links, links[i].lot_id):
            continue
        take = min(left, links[i].qty_lots)
        if add_link(links, no, links[i].lot_id, take, links[i].level, links[i].generation):
            left -= take


def _has_stop(orders: list[VenueOrder], links: list[Link], lot_id: int) -> bool:
    """Tell whether a lot has a stop or a market reduction, live or on its way."""
    for i in range(len(links)):
        if links[i].state == FREE or links[i].lot_id != lot_id:
            continue
        index = find(orders, links[i].no)
        if index >= 0 and orders[index].kind != LIMIT:
            return True
    return False


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


def settle_funding(market: Market, accounts: list[LegAccount], rules: VenueRules, rate_e8: int) -> int:
    """Charge a settlement to both legs at the present mark; give what was charged (negative: received)."""
    charged = 0
    for leg in (LONG, SHORT):
        account = accounts[leg]
        notional = ledger.notional_e8(market.mark_ticks, account.qty_lots, rules.unit_e8)
        charge = ledger.funding_charge_e8(leg, notional, rate_e8)
        account.funding_e8 += charge
        charged += charge
    return charged


def unrealised_e8(market: Market, accounts: list[LegAccount], rules: VenueRules) -> int:
    """Give the unrealised profit of both legs at the mark."""
    total = 0
    for leg in (LONG, SHORT):
        total += ledger.unrealised_e8(accounts[leg], leg, market.mark_ticks, rules.unit_e8)
    return total


def gross_notional_e8(market: Market, accounts: list[LegAccount], rules: VenueRules) -> int:
    """Give the notional of both legs at the mark, not offset against each other."""
    return ledger.notional_e8(market.mark_ticks, accounts[LONG].qty_lots + accounts[SHORT].qty_lots, rules.unit_e8)


def liquidate(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    accounts: list[LegAccount],
    rules: VenueRules,
    events: list[VenueEvent],
    used: Counter,
) -> None:
    """End all orders and close both legs at the mark, with the liquidation fee in place of the taker fee."""
    for i in range(len(orders)):
        if orders[i].state != FREE:
            _end(orders, links, i, BY_LIQUIDATION, events, used)
    for leg in (LONG, SHORT):
        qty = accounts[leg].qty_lots
        if qty == 0:
            continue
        notional = ledger.notional_e8(market.mark_ticks, qty, rules.unit_e8)
        fee = ledger.fee_e8(notional, rules.liquidation_fee_ppm)
        realised = ledger.reduce(accounts[leg], leg, qty, notional)
        accounts[leg].fees_e8 += fee
        row = events[used.n]
        used.n += 1
        row.kind = FILLED
        row.no = 0
        row.leg = leg
        row.purpose = LIQUIDATION
        row.level = -1
        row.generation = -1
        row.price_ticks = market.mark_ticks
        row.qty_lots = qty
        row.fee_e8 = fee
        row.realised_e8 = realised
        row.maker = 0
        row.lot_id = 0
        row.trade_id = market.next_trade
        row.reason = BY_LIQUIDATION
        market.next_trade += 1


def free_order(orders: list[VenueOrder]) -> int:
    """Give an unused slot of the order table, or -1."""
    for i in range(len(orders)):
        if orders[i].state == FREE:
            return i
    return -1


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
