"""Trades: each is a step of its own and a jump; bars, made of them, end in steps between. Read ``walk_trades`` first.

Invariant: a trade that is skipped as calm is one at which nothing would have happened but that the marks move.
"""

from hedgegrid.backtest import logbook, permission, step, valuing
from hedgegrid.backtest.desk import Account, Desk, Floor
from hedgegrid.backtest.tape_columns import BarEnds, Settlements, Trades
from hedgegrid.core.codes import FILL_QUEUE, NO_PRICE


def walk_trades(
    desks: list[Desk],
    floor: Floor,
    trades: Trades,
    ends: BarEnds,
    due: Settlements,
    first: int,
    end: int,
    decide_from_ns: int,
    spare: int,
) -> int:
    """Walk the trades ``first`` to ``end`` (excluded) and the bars that end before them; give where to go on.

    Bars that end before ``decide_from_ns`` only warm the indicators up.
    A trade's step is its number plus the ends before it; an end's step is the trade before which it stands plus its own
    number.
    """
    account = floor.account
    i = first
    while i < end:
        if logbook.is_short_of_room(floor, spare) or account.fault != 0:
            return i
        while account.next_end < ends.times and ends.before[account.next_end] <= i:
            _end_bars(desks, floor, ends, due, decide_from_ns)
            if account.liquidated_ns != 0:
                return end
        i = _skip_calm(desks, floor, trades, i, _stop_at(account, ends, due, end))
        if i < end and not (account.next_end < ends.times and ends.before[account.next_end] <= i):
            _take_trade(desks, floor, trades, due, i)
            if account.liquidated_ns != 0:
                return end
            i += 1
    # Silent bars that end behind the last trade of a stretch: the trade that comes after them is in the next one.
    while account.next_end < ends.times and ends.before[account.next_end] <= i and account.liquidated_ns == 0:
        _end_bars(desks, floor, ends, due, decide_from_ns)
    return i


def _stop_at(account: Account, ends: BarEnds, due: Settlements, end: int) -> int:
    """Give the first trade before which a bar ends or at which a settlement is due, ``end`` at most."""
    stop = end
    if account.next_end < ends.times:
        stop = min(stop, ends.before[account.next_end])
    if account.next_settlement < len(due.step):
        stop = min(stop, due.step[account.next_settlement] - account.next_end)
    return stop


def _take_trade(desks: list[Desk], floor: Floor, trades: Trades, due: Settlements, i: int) -> None:
    """Let one trade happen, with all that it causes."""
    account = floor.account
    ts_ns = trades.ts_ns[i]
    if ts_ns >= account.next_timer_ns:
        permission.fire(desks, floor, ts_ns)
    account.points += 1
    desk = desks[trades.instrument[i]]
    market = desk.market
    market.ts_ns = ts_ns
    market.bid_ticks = trades.bid_ticks[i]
    market.ask_ticks = trades.ask_ticks[i]
    market.bid_qty_lots = trades.bid_qty_lots[i]
    market.ask_qty_lots = trades.ask_qty_lots[i]
    market.mark_ticks = trades.mark_ticks[i]
    step.move(desk, trades.price_ticks[i], 1, trades.qty_lots[i])
    account.ts_ns = ts_ns
    step.after_moves(desks, floor, due, i + account.next_end, ts_ns)
    if account.liquidated_ns == 0:
        step.fall_due(desks, floor)


# --- calm trades ------------------------------------------------------------------------------------------------------


def _skip_calm(desks: list[Desk], floor: Floor, trades: Trades, first: int, stop: int) -> int:
    """Walk the trades of one instrument that meet nothing and trip nothing; give the first that might.

    A trade is calm where its price lies inside every edge, no timer and no order is due, and the account's equity
    stays between the highest floor of its controls and its peak.
    """
    if first >= stop or not _may_skip(desks[trades.instrument[first]], floor):
        return first
    k = trades.instrument[first]
    desk = desks[k]
    market = desk.market
    account = floor.account
    low_price = max(market.down_edge, market.backstop_down)
    high_price = min(market.up_edge, market.backstop_up)
    low_bid, high_ask = 0, NO_PRICE
    if desk.rules.fill_model == FILL_QUEUE:
        low_bid, high_ask = market.join_down, market.join_up
    until_ns = min(account.next_timer_ns, market.next_due_ns, floor.session.next_day_ns)
    net_units = desk.pulse.net_units_e8
    rest = valuing.equity_of(desks, floor) - net_units * market.mark_ticks
    least = floor.session.floor_e8
    high_mark = NO_PRICE
    if account.open_units > 0:
        least = max(least, valuing.margin_bound(desks, floor, k))
        high_mark = market.mark_ticks + market.mark_ticks // valuing.MARK_ROOM
    peak = min(account.high_e8, floor.session.peak_e8)
    low_equity, low_ns = account.low_e8, account.low_ns
    equity = account.equity_e8
    i = first
    while i < stop:
        price = trades.price_ticks[i]
        if price <= low_price or price >= high_price or trades.ts_ns[i] >= until_ns or trades.instrument[i] != k:
            break
        if trades.bid_ticks[i] <= low_bid or trades.ask_ticks[i] >= high_ask:
            break
        mark = trades.mark_ticks[i]
        now = rest + net_units * mark
        if now <= least or now > peak or mark > high_mark:
            break
        equity = now
        if equity < low_equity:
            low_equity = equity
            low_ns = trades.ts_ns[i]
        i += 1
    if i > first:
        _leave_calm(desk, floor, trades, i - 1, i - first, equity, low_equity, low_ns)
    return i


def _may_skip(desk: Desk, floor: Floor) -> bool:
    """Tell whether trades of an instrument can be calm at all: it has a price, and its newest rate has been told."""
    pulse = desk.pulse
    known = desk.market.seen == 1 and pulse.shown != 0 and pulse.told_ns == pulse.settled_ns
    return known and not valuing.must_flatten(floor)


def _leave_calm(
    desk: Desk, floor: Floor, trades: Trades, last: int, count: int, equity: int, low_equity: int, low_ns: int
) -> None:
    """Write down where a run of calm trades has left the market and the account."""
    account = floor.account
    market = desk.market
    ts_ns = trades.ts_ns[last]
    market.ts_ns = ts_ns
    market.price_ticks = trades.price_ticks[last]
    market.bid_ticks = trades.bid_ticks[last]
    market.ask_ticks = trades.ask_ticks[last]
    market.bid_qty_lots = trades.bid_qty_lots[last]
    market.ask_qty_lots = trades.ask_qty_lots[last]
    market.mark_ticks = trades.mark_ticks[last]
    desk.pulse.last_ns = ts_ns
    account.points += count
    account.ts_ns = ts_ns
    account.balance_ns = ts_ns
    account.equity_e8 = equity
    account.low_e8 = low_equity
    account.low_ns = low_ns
    account.least_e8 = min(account.least_e8, low_equity)
    floor.session.last_e8 = equity


# --- ends of bars -----------------------------------------------------------------------------------------------------


def _end_bars(desks: list[Desk], floor: Floor, ends: BarEnds, due: Settlements, decide_from_ns: int) -> None:
    """Let the bars end that end at the same time: a step without a point, so nothing moves and nothing is judged."""
    account = floor.account
    e = account.next_end
    ts_ns = ends.ts_ns[e]
    if ts_ns >= account.next_timer_ns:
        permission.fire(desks, floor, ts_ns)
    account.next_end += 1
    account.ts_ns = ts_ns
    charged = step.settle_due(desks, floor, due, ends.before[e] + e)
    if charged > 0 and account.open_units > 0:
        valuing.check_margin(desks, floor, ts_ns)
        step.hear_all(desks, floor, ts_ns)
    if account.liquidated_ns != 0:
        return
    if ts_ns < decide_from_ns:
        for k in range(account.instruments):
            j = k * ends.times + e
            if ends.close_ticks[j] > 0:
                step.learn(desks[k], floor, ends.high_ticks[j], ends.low_ticks[j], ends.close_ticks[j])
        return
    step.fall_due(desks, floor)
    account.equity_e8 = valuing.equity_of(desks, floor)
    logbook.note_account(floor, desks, ts_ns)
    _decide_ends(desks, floor, ends, e, ts_ns)
    step.fall_due(desks, floor)


def _decide_ends(desks: list[Desk], floor: Floor, ends: BarEnds, e: int, ts_ns: int) -> None:
    """Decide for every instrument whose bar ends here."""
    for k in range(floor.account.instruments):
        close = ends.close_ticks[k * ends.times + e]
        if close > 0:
            step.hear_close(desks[k], floor, close)
    for k in range(floor.account.instruments):
        j = k * ends.times + e
        if ends.close_ticks[j] > 0:
            step.decide(desks, floor, k, ends.high_ticks[j], ends.low_ticks[j], ends.close_ticks[j], ts_ns)
