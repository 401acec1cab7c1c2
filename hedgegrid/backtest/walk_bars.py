"""Bars: each is four points, of which only the first is a jump. Read ``walk_bars`` first.

Invariant: a bar that is walked at once, or point by point without the full step, is one in which nothing would have
happened but that marks move.
"""

from typing import Final

from hedgegrid.backtest import logbook, permission, step, valuing
from hedgegrid.backtest.desk import Account, Desk, Floor
from hedgegrid.backtest.tape_columns import POINTS, Bars, Settlements
from hedgegrid.core import session
from hedgegrid.units import PPM

NOT_CALM: Final = 9_000_000_000_000_000_000
"""Above every equity."""


def walk_bars(
    desks: list[Desk], floor: Floor, bars: Bars, due: Settlements, first: int, end: int, decide_from_ns: int, spare: int
) -> int:
    """Walk the rows ``first`` to ``end`` (excluded); give the row to go on with, earlier where a log needs emptying.

    Bars that open before ``decide_from_ns`` only warm the indicators up.
    """
    account = floor.account
    row = first
    while row < end:
        if logbook.is_short_of_room(floor, spare) or account.fault != 0:
            return row
        opened_ns = bars.open_ns[row]
        if opened_ns < decide_from_ns:
            _warm_up(desks, floor, bars, due, row)
            row += 1
            continue
        for phase in range(_walk_calm(desks, floor, bars, due, row), POINTS):
            ts_ns = opened_ns + phase * bars.length_ns // POINTS
            if ts_ns >= account.next_timer_ns:
                permission.fire(desks, floor, ts_ns)
            if account.instruments == 1 and _pass_by(desks[0], floor, bars, due, row, phase, ts_ns):
                continue
            _move_bars(desks, floor, bars, row, phase, ts_ns)
            account.ts_ns = ts_ns
            step.after_moves(desks, floor, due, POINTS * row + phase, ts_ns)
            if account.liquidated_ns != 0:
                return end
            step.fall_due(desks, floor)
        _decide_bars(desks, floor, bars, row, opened_ns + (POINTS - 1) * bars.length_ns // POINTS)
        row += 1
    return row


def _decide_bars(desks: list[Desk], floor: Floor, bars: Bars, row: int, ts_ns: int) -> None:
    """Sample the account and decide for every instrument whose bar ends here."""
    floor.account.equity_e8 = valuing.equity_of(desks, floor)
    logbook.note_account(floor, desks, ts_ns)
    points = bars.points
    for k in range(floor.account.instruments):
        first = POINTS * (k * bars.rows + row)
        if points[first] > 0:
            step.hear_close(desks[k], floor, points[first + 3])
    for k in range(floor.account.instruments):
        first = POINTS * (k * bars.rows + row)
        if points[first] == 0:
            continue
        high = max(points[first + 1], points[first + 2])
        low = min(points[first + 1], points[first + 2])
        step.decide(desks, floor, k, high, low, points[first + 3], ts_ns)
    step.fall_due(desks, floor)


def _warm_up(desks: list[Desk], floor: Floor, bars: Bars, due: Settlements, row: int) -> None:
    """Feed a bar from before the first decision to the indicators, and take note of the rates of its time."""
    points = bars.points
    for k in range(floor.account.instruments):
        first = POINTS * (k * bars.rows + row)
        if points[first] > 0:
            high = max(points[first + 1], points[first + 2])
            low = min(points[first + 1], points[first + 2])
            step.learn(desks[k], floor, high, low, points[first + 3])
    account = floor.account
    while account.next_settlement < len(due.step) and due.step[account.next_settlement] < POINTS * (row + 1):
        i = account.next_settlement
        account.next_settlement += 1
        desks[due.instrument[i]].pulse.settled_ns = due.ts_ns[i]
        desks[due.instrument[i]].pulse.settled_rate_e8 = due.rate_e8[i]


def _move_bars(desks: list[Desk], floor: Floor, bars: Bars, row: int, phase: int, ts_ns: int) -> None:
    """Move every market that has a point here, and fill what the moves meet."""
    points = bars.points
    for k in range(floor.account.instruments):
        first = POINTS * (k * bars.rows + row)
        price = points[first + phase]
        if price == 0:
            continue
        floor.account.points += 1
        desk = desks[k]
        market = desk.market
        market.ts_ns = ts_ns
        market.bid_ticks = price
        market.ask_ticks = price
        market.mark_ticks = price
        market.bar_no = bars.open_ns[row] // bars.length_ns
        market.bar_low_ticks = min(points[first + 1], points[first + 2])
        market.bar_high_ticks = max(points[first + 1], points[first + 2])
        step.move(desk, price, 1 if phase == 0 else 0, 0)


# --- calm bars --------------------------------------------------------------------------------------------------------


def _walk_calm(desks: list[Desk], floor: Floor, bars: Bars, due: Settlements, row: int) -> int:
    """Walk the points of a bar that meet nothing and trip nothing; give how many there are from its first on.

    A bar is calm where every price of it lies inside every edge and no order or settlement is due in it; a point ends
    that where a timer changes something, or the equity comes down to a floor of the controls or near to what is held.
    """
    account = floor.account
    opened_ns = bars.open_ns[row]
    last_ns = opened_ns + (POINTS - 1) * bars.length_ns // POINTS
    if last_ns >= account.look_ns:
        permission.put_off_look(desks, floor)
    if last_ns >= floor.session.next_day_ns or _settles(account, due, row) or valuing.must_flatten(floor):
        return 0
    bound = _calm_bound(desks, floor, bars, row, last_ns)
    if bound == NOT_CALM:
        return 0
    if account.instruments == 1 and last_ns < account.next_timer_ns and _rest(desks[0], floor, bars, row, bound):
        return POINTS
    for phase in range(POINTS):
        ts_ns = opened_ns + phase * bars.length_ns // POINTS
        if ts_ns >= account.next_timer_ns and bound != NOT_CALM:
            _leave_bar(desks, floor, bars, row, phase)
            permission.fire(desks, floor, ts_ns)
            bound = _calm_bound(desks, floor, bars, row, last_ns)
        if bound == NOT_CALM:
            return phase
        equity = account.fixed_e8
        for k in range(account.instruments):
            price = bars.points[POINTS * (k * bars.rows + row) + phase]
            equity += desks[k].pulse.net_units_e8 * (price if price > 0 else desks[k].market.mark_ticks)
        if equity <= bound or equity <= floor.session.floor_e8:
            _leave_bar(desks, floor, bars, row, phase)
            return phase
        valuing.follow(floor, equity, ts_ns)
    _leave_bar(desks, floor, bars, row, POINTS)
    return POINTS


def _settles(account: Account, due: Settlements, row: int) -> bool:
    """Tell whether a settlement is due in a bar."""
    return account.next_settlement < len(due.step) and due.step[account.next_settlement] < POINTS * (row + 1)


def _rest(desk: Desk, floor: Floor, bars: Bars, row: int, bound: int) -> bool:
    """Walk a calm bar of the only instrument at once, where its equity makes no new peak or trough; else do nothing."""
    account = floor.account
    first = POINTS * row
    rest, net_units = account.fixed_e8, desk.pulse.net_units_e8
    one, two = rest + net_units * bars.points[first], rest + net_units * bars.points[first + 1]
    three, four = rest + net_units * bars.points[first + 2], rest + net_units * bars.points[first + 3]
    least = min(one, two, three, four)
    most = max(one, two, three, four)
    if least <= max(bound, floor.session.floor_e8) or least < account.low_e8:
        return False
    if most > account.high_e8 or most > floor.session.peak_e8:
        return False
    ts_ns = bars.open_ns[row] + (POINTS - 1) * bars.length_ns // POINTS
    price = bars.points[first + 3]
    account.equity_e8 = four
    floor.session.last_e8 = four
    account.points += POINTS
    account.ts_ns = ts_ns
    account.balance_ns = ts_ns
    _stand_at(desk, price, ts_ns)
    return True


def _pass_by(desk: Desk, floor: Floor, bars: Bars, due: Settlements, row: int, phase: int, ts_ns: int) -> bool:
    """Walk one point of the only instrument at once where it meets nothing and trips nothing; else do nothing."""
    account = floor.account
    price = bars.points[POINTS * row + phase]
    if ts_ns >= floor.session.next_day_ns or _settles(account, due, row) or valuing.must_flatten(floor):
        return False
    if price == 0 or not _is_inside(desk, price, price, ts_ns):
        return False
    equity = account.fixed_e8 + desk.pulse.net_units_e8 * price
    if equity <= max(_bound(floor, desk.pulse.gross_units_e8 * price), floor.session.floor_e8):
        return False
    valuing.follow(floor, equity, ts_ns)
    account.points += 1
    account.ts_ns = ts_ns
    account.balance_ns = ts_ns
    _stand_at(desk, price, ts_ns)
    return True


def _stand_at(desk: Desk, price: int, ts_ns: int) -> None:
    """Write down where a market stands after a point that met nothing."""
    market = desk.market
    market.ts_ns = ts_ns
    market.price_ticks = price
    market.bid_ticks = price
    market.ask_ticks = price
    market.mark_ticks = price
    desk.pulse.last_ns = ts_ns


def _calm_bound(desks: list[Desk], floor: Floor, bars: Bars, row: int, last_ns: int) -> int:
    """Give the equity above which a bar is calm, NOT_CALM where some price of it meets something."""
    gross = 0
    for k in range(floor.account.instruments):
        first = POINTS * (k * bars.rows + row)
        high = desks[k].market.mark_ticks
        if bars.points[first] > 0:
            high = max(bars.points[first + 1], bars.points[first + 2])
            low = min(bars.points[first + 1], bars.points[first + 2])
            if not _is_inside(desks[k], low, high, last_ns):
                return NOT_CALM
        gross += desks[k].pulse.gross_units_e8 * high
    return _bound(floor, gross)


def _bound(floor: Floor, gross: int) -> int:
    """Give the equity above which a gross notional is far from the margin control and from a liquidation."""
    return (gross // PPM + 1) * floor.account.bound_ppm if floor.account.open_units > 0 else session.NO_FLOOR_E8


def _is_inside(desk: Desk, low: int, high: int, last_ns: int) -> bool:
    """Tell whether prices from ``low`` to ``high`` meet nothing of an instrument and nothing of it is due by then."""
    market = desk.market
    pulse = desk.pulse
    if low <= market.down_edge or high >= market.up_edge or market.next_due_ns <= last_ns or market.seen == 0:
        return False
    if low <= market.backstop_down or high >= market.backstop_up:
        return False
    return pulse.shown != 0 and pulse.told_ns == pulse.settled_ns


def _leave_bar(desks: list[Desk], floor: Floor, bars: Bars, row: int, done: int) -> None:
    """Write down where the first ``done`` points of a bar, all calm, have left the markets."""
    account = floor.account
    ts_ns = bars.open_ns[row] + (done - 1) * bars.length_ns // POINTS
    if done == 0 or account.ts_ns >= ts_ns:
        return
    fresh = done
    if account.ts_ns >= bars.open_ns[row]:
        fresh = done - 1 - (account.ts_ns - bars.open_ns[row]) * POINTS // bars.length_ns
    account.ts_ns = ts_ns
    account.balance_ns = ts_ns
    for k in range(account.instruments):
        price = bars.points[POINTS * (k * bars.rows + row) + done - 1]
        if price == 0:
            continue
        account.points += fresh
        _stand_at(desks[k], price, ts_ns)
