"""The market meets the orders: section 9's fills, for the simulated venue, paper and backtest alike.

One instrument's state is a ``Market``, a table of orders, links between orders and lots, cancels on their way, and
two leg accounts. What happens is written as ``VenueEvent`` rows (see
``venue_tables``).

Invariants: no order becomes live inside a move; the exits of a lot never close more than the lot (a fill of one
shrinks the others in the same instant); along a move orders fill in the order in which the price meets them, at one
price oldest first; an event table that is full is a broken invariant (its capacity exceeds what one point can cause).
"""

from hedgegrid.core.codes import ENTRY, FILL_QUEUE, FREE, LIMIT, MARKET, STOP, STOP_MARKET, TAKE_PROFIT
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
    met_earlier,
    refresh,
    worsened,
)

CLASS_BITS = 15
CLASS_MASK = (1 << CLASS_BITS) - 1
"""A count of orders fits into these bits: no table holds as many."""


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
    waiting = _count_due(orders, market.ts_ns)
    for due in (1, 2, 3):
        last = 0
        # Nothing becomes pending in here: no more than these can come, though some may end before their turn.
        for _ in range((waiting >> (CLASS_BITS * due)) & CLASS_MASK):
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
            end(orders, links, index, BY_REQUEST, events, used)
        else:
            failed = events[used.n]
            used.n += 1
            failed.kind = CANCEL_FAILED
            failed.no = request.no
            failed.lot_id = 0
            failed.reason = BY_REQUEST


def _count_due(orders: list[VenueOrder], ts_ns: int) -> int:
    """Count the pending orders of each class that have reached their time; a class's count lies at its own bits."""
    counts = 0
    for i in range(len(orders)):
        if orders[i].state == PENDING and orders[i].live_ns <= ts_ns:
            counts += 1 << (CLASS_BITS * due_class(orders[i]))
    return counts


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
            event(events, used, REJECTED, order, POST_ONLY)
            drop(orders, links, index)
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
    if rules.fill_model == FILL_QUEUE and trade_lots > 0:
        return trade(market, orders, links, accounts, rules, start, trade_lots, events, used)
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
            end(orders, links, i, NOTHING_TO_CLOSE, events, used)
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
