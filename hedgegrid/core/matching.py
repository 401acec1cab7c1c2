"""The market meets the orders: section 9's fills, for the simulated venue, paper and backtest alike.

One instrument's state is a ``Market``, a table of orders, links between orders and lots, cancels on their way, and
two leg accounts. What happens is written as ``VenueEvent`` rows (see
``venue_tables``).

Invariants: no order becomes live inside a move; the exits of a lot never close more than the lot (a fill of one
shrinks the others in the same instant); along a move orders fill in the order in which the price meets them, at one
price oldest first; an event table that is full is a broken invariant (its capacity exceeds what one point can cause).
"""

from hedgegrid.core.codes import (
    ENTRY,
    FILL_QUEUE,
    FREE,
    LIMIT,
    MARKET,
    NEVER_NS,
    STOP,
    STOP_MARKET,
    TAKE_PROFIT,
)
from hedgegrid.core.filling import fill
from hedgegrid.core.queue_fills import trade
from hedgegrid.core.records import CancelRequest, Counter, LegAccount, Link, Market, VenueEvent, VenueOrder, VenueRules
from hedgegrid.core.venue_tables import (
    ACCEPTED,
    BY_REQUEST,
    CANCEL_FAILED,
    FALLING,
    LIVE,
    NOTHING_TO_CLOSE,
    PENDING,
    POST_ONLY,
    REJECTED,
    RISING,
    add_link,
    drop,
    end,
    event,
    find,
    is_buy,
    is_met,
    leave,
    met_earlier,
    note_joins,
    rest,
    set_edges,
    worsened,
)


def due_class(order: VenueOrder) -> int:
    """Give when a pending order's turn comes: stops and market reductions, then take-profits, then entries."""
    if order.kind != LIMIT:
        return 1
    return 2 if order.purpose == TAKE_PROFIT else 3


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
    index = _line_up(market, orders, cancels)
    while index >= 0:
        order = orders[index]
        following = order.after
        # Nothing becomes pending in here, but some may end before their turn.
        if order.state == PENDING:
            leg = order.leg
            is_stop = order.purpose == STOP and order.kind == STOP_MARKET
            _go_live(market, orders, links, accounts, rules, index, events, used)
            done += 1
            if is_stop:
                _renew_stops(market, orders, leg)
        index = following
    if rules.fill_model == FILL_QUEUE:
        note_joins(market, orders)
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
            end(market, orders, links, index, BY_REQUEST, events, used)
        else:
            failed = events[used.n]
            used.n += 1
            failed.kind = CANCEL_FAILED
            failed.no = request.no
            failed.lot_id = 0
            failed.reason = BY_REQUEST


def _line_up(market: Market, orders: list[VenueOrder], cancels: list[CancelRequest]) -> int:
    """Chain the pending orders that have reached their time, by class and creation; give the first, or -1.

    What has not reached it says when something next falls due.
    """
    first = -1
    next_due_ns = NEVER_NS
    for i in range(len(orders)):
        order = orders[i]
        if order.state != PENDING:
            continue
        if order.live_ns > market.ts_ns:
            next_due_ns = min(next_due_ns, order.live_ns)
            continue
        before = -1
        after = first
        while after >= 0 and _comes_before(orders[after], order):
            before = after
            after = orders[after].after
        order.after = after
        if before >= 0:
            orders[before].after = i
        else:
            first = i
    for i in range(len(cancels)):
        if cancels[i].state != FREE:
            next_due_ns = min(next_due_ns, cancels[i].due_ns)
    market.next_due_ns = next_due_ns
    return first


def _comes_before(order: VenueOrder, other: VenueOrder) -> bool:
    """Tell whether a due order's turn comes before another's: by class, then by creation."""
    own, others = due_class(order), due_class(other)
    return own < others or (own == others and order.seq < other.seq)


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
            event(events, used, REJECTED, order, POST_ONLY)
            drop(market, orders, links, index)
            return
        _rest(market, orders, index, events, used)
        if crosses:
            taken = worsened(market.price_ticks, buys, rules.slippage_ppm)
            taken = min(taken, order.price_ticks) if buys else max(taken, order.price_ticks)
            fill(market, orders, links, accounts, rules, index, order.qty_lots, taken, 0, events, used)
        return
    _rest(market, orders, index, events, used)
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
            if order.after >= 0 and orders[order.after].price_ticks == order.price_ticks:
                leave(market, orders, i)
                rest(market, orders, i)


def _rest(market: Market, orders: list[VenueOrder], index: int, events: list[VenueEvent], used: Counter) -> None:
    """Make an order live, the youngest of its price."""
    order = orders[index]
    order.state = LIVE
    order.age = market.next_age
    market.next_age += 1
    order.queue_lots = -1
    rest(market, orders, index)
    event(events, used, ACCEPTED, order, 0)


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
    fills = 0
    if rules.fill_model == FILL_QUEUE and trade_lots > 0:
        fills = trade(market, orders, links, accounts, rules, start, trade_lots, events, used)
        note_joins(market, orders)
    elif end_ticks < start and end_ticks <= market.down_edge:
        fills = _walk(market, orders, links, accounts, rules, start, FALLING, jump, events, used)
    elif end_ticks > start and end_ticks >= market.up_edge:
        fills = _walk(market, orders, links, accounts, rules, start, RISING, jump, events, used)
    return fills


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
    if market.held > 0:
        return _next_met_of_all(market, orders, links, rules, start, direction, jump)
    end = market.price_ticks
    index = market.falling_first if direction == FALLING else market.rising_first
    while index >= 0:
        order = orders[index]
        if order.price_ticks < end if direction == FALLING else order.price_ticks > end:
            return -1
        # Where the move ends at a price, a stop there is met and a limit may not be.
        is_next = is_met(market, order, rules, start, direction)
        if is_next and not (rules.pessimistic == 1 and _is_held(market, orders, links, order, jump)):
            return index
        index = order.after
    return -1


def _next_met_of_all(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    rules: VenueRules,
    start: int,
    direction: int,
    jump: int,
) -> int:
    """Look through all live orders: a held take-profit may fill in a move that would not meet it otherwise."""
    best = -1
    for i in range(len(orders)):
        order = orders[i]
        if order.state != LIVE or order.close_all == 1:
            continue
        if not is_met(market, order, rules, start, direction):
            continue
        if best >= 0 and not met_earlier(order, orders[best], direction):
            continue
        if rules.pessimistic == 1 and _is_held(market, orders, links, order, jump):
            continue
        best = i
    return best


def _other_exit_inside(market: Market, orders: list[VenueOrder], links: list[Link], order: VenueOrder) -> bool:
    """Tell whether another live exit of a lot that this exit closes lies inside the present bar's range."""
    if order.purpose == TAKE_PROFIT and not _is_far_side_inside(market, orders, order):
        return False
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


def _is_far_side_inside(market: Market, orders: list[VenueOrder], order: VenueOrder) -> bool:
    """Tell whether the bar reaches anything that a move away from a take-profit meets, such as its lot's stop."""
    first = market.rising_first if is_buy(order) else market.falling_first
    if first < 0:
        return False
    price = orders[first].price_ticks
    return price <= market.bar_high_ticks if is_buy(order) else price >= market.bar_low_ticks


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
    if order.held_bar < 0:
        market.held += 1
        set_edges(market, orders)
    order.held_bar = market.bar_no
    _count_ambiguity(market, orders, links, order)
    return True


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
            end(market, orders, links, i, NOTHING_TO_CLOSE, events, used)
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
