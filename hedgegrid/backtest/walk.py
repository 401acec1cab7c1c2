"""The driver: it walks an account's desks over the columns of a market, without a Python object per event.

Read ``walk_bars`` first: the order of things at a point is DESIGN section 14's, and the same as the actors' pump.

Invariants: at a step all moves come first, then all funding, one liquidation check, the words of the venue and the
answers to them, one judgement of the session controls, then what falls due until nothing is; at a bar's last point the
equity sample, the decisions in the order of the instruments, and what falls due again.
"""

from typing import Final, NamedTuple

from hedgegrid.backtest import dealing, logbook, permission
from hedgegrid.backtest.desk import Account, Desk, Floor
from hedgegrid.core import fixed, ledger, margin, matching, pipeline, regime, session, venue_tables
from hedgegrid.core.codes import FILL_QUEUE, LONG, NO_PRICE, SHORT
from hedgegrid.units import PPM

POINTS: Final = 4
ROUNDS_MAX: Final = 1_000
"""Passes over what falls due at one point; more means that orders cause each other without end."""

FAULT_ENDLESS: Final = 1 << 32

NOT_CALM: Final = 9_000_000_000_000_000_000
"""Above every equity."""

MARK_ROOM: Final = 10
"""A mark may rise by a tenth before a bound on what must be held is worked out anew."""


class Settlements(NamedTuple):
    """The settlements of a market in order: the step in which each happens, its instrument, its stamp and rate."""

    step: list[int]
    instrument: list[int]
    ts_ns: list[int]
    rate_e8: list[int]


class Bars(NamedTuple):
    """Bars as points: ``points[4 x (instrument x rows + row) + phase]`` in ticks, 0 where the instrument has no bar."""

    open_ns: list[int]
    points: list[int]
    rows: int
    length_ns: int


class Trades(NamedTuple):
    """Trades of all instruments in one order, each with the book and the mark known before it."""

    ts_ns: list[int]
    instrument: list[int]
    price_ticks: list[int]
    qty_lots: list[int]
    bid_ticks: list[int]
    ask_ticks: list[int]
    bid_qty_lots: list[int]
    ask_qty_lots: list[int]
    mark_ticks: list[int]


class BarEnds(NamedTuple):
    """The times at which bars end between trades: ``before[e]`` is the trade that comes next.

    ``high_ticks[instrument x count + e]`` and so on are 0 where that instrument has no bar that ends then.
    """

    before: list[int]
    ts_ns: list[int]
    high_ticks: list[int]
    low_ticks: list[int]
    close_ticks: list[int]
    count: int


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
            step = POINTS * row + phase
            if ts_ns >= account.next_timer_ns:
                permission.fire(desks, floor, ts_ns)
            _move_bars(desks, floor, bars, row, phase, ts_ns)
            account.ts_ns = ts_ns
            _after_moves(desks, floor, due, step, ts_ns)
            if account.liquidated_ns != 0:
                return end
            _fall_due(desks, floor)
        _decide_bars(desks, floor, bars, row, opened_ns + (POINTS - 1) * bars.length_ns // POINTS)
        row += 1
    return row


def _walk_calm(desks: list[Desk], floor: Floor, bars: Bars, due: Settlements, row: int) -> int:
    """Walk the points of a bar that meet nothing and trip nothing; give how many there are from its first on.

    A bar is calm where every price of it lies inside every edge and no order or settlement is due in it; a point ends
    that where a timer changes something, or the equity comes down to a floor of the controls or near to what must be held.
    """
    account = floor.account
    opened_ns = bars.open_ns[row]
    last_ns = opened_ns + (POINTS - 1) * bars.length_ns // POINTS
    if last_ns >= floor.session.next_day_ns or must_flatten(floor):
        return 0
    if account.next_settlement < len(due.step) and due.step[account.next_settlement] < POINTS * (row + 1):
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
        _follow(floor, equity, ts_ns)
    _leave_bar(desks, floor, bars, row, POINTS)
    return POINTS


def _rest(desk: Desk, floor: Floor, bars: Bars, row: int, bound: int) -> bool:
    """Walk a calm bar of the only instrument at once where equity makes no new peak or trough in it; else do nothing."""
    account = floor.account
    first = POINTS * row
    rest, net_units = account.fixed_e8, desk.pulse.net_units_e8
    one, two = rest + net_units * bars.points[first], rest + net_units * bars.points[first + 1]
    three, four = rest + net_units * bars.points[first + 2], rest + net_units * bars.points[first + 3]
    least = min(min(one, two), min(three, four))
    most = max(max(one, two), max(three, four))
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
    market = desk.market
    market.ts_ns = ts_ns
    market.price_ticks = price
    market.bid_ticks = price
    market.ask_ticks = price
    market.mark_ticks = price
    desk.pulse.last_ns = ts_ns
    return True


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
    return (gross // PPM + 1) * floor.account.bound_ppm if floor.account.open_units > 0 else session.NO_FLOOR_E8


def _is_inside(desk: Desk, low: int, high: int, last_ns: int) -> bool:
    """Tell whether prices from ``low`` to ``high`` meet nothing of an instrument and nothing of it is due by then."""
    market = desk.market
    pulse = desk.pulse
    if low <= market.down_edge or high >= market.up_edge or market.next_due_ns <= last_ns or market.seen == 0:
        return False
    if low <= market.backstop_down or high >= market.backstop_up or desk.rules.pessimistic == 1:
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
        market = desks[k].market
        market.ts_ns = ts_ns
        market.price_ticks = price
        market.bid_ticks = price
        market.ask_ticks = price
        market.mark_ticks = price
        desks[k].pulse.last_ns = ts_ns


def _follow(floor: Floor, equity: int, ts_ns: int) -> None:
    """Let peak and trough follow an equity that trips nothing."""
    account = floor.account
    account.equity_e8 = equity
    floor.session.last_e8 = equity
    if equity > account.high_e8:
        _rise(floor, equity, ts_ns)
    elif equity < account.low_e8:
        account.low_e8 = equity
        account.low_ns = ts_ns
        account.least_e8 = min(account.least_e8, equity)
    if equity > floor.session.peak_e8:
        # Above the peak no control of equity can trip, and what must be held is far below.
        session.observe(floor.session_limits, floor.session, equity, 0, ts_ns)


def _rise(floor: Floor, equity: int, ts_ns: int) -> None:
    """End the fall since the last peak: a new one begins here."""
    account = floor.account
    close_episode(account, ts_ns)
    account.high_e8 = equity
    account.high_ns = ts_ns
    account.low_e8 = equity
    account.low_ns = ts_ns


def _warm_up(desks: list[Desk], floor: Floor, bars: Bars, due: Settlements, row: int) -> None:
    """Feed a bar from before the first decision to the indicators, and take note of the rates of its time."""
    points = bars.points
    for k in range(floor.account.instruments):
        first = POINTS * (k * bars.rows + row)
        if points[first] > 0:
            high = max(points[first + 1], points[first + 2])
            low = min(points[first + 1], points[first + 2])
            _learn(desks[k], floor, high, low, points[first + 3])
    account = floor.account
    while account.next_settlement < len(due.step) and due.step[account.next_settlement] < POINTS * (row + 1):
        i = account.next_settlement
        account.next_settlement += 1
        desks[due.instrument[i]].pulse.settled_ns = due.ts_ns[i]
        desks[due.instrument[i]].pulse.settled_rate_e8 = due.rate_e8[i]


def _learn(desk: Desk, floor: Floor, high: int, low: int, close: int) -> None:
    """Feed a bar that nothing is decided on to the indicators and to the volatility halt."""
    regime.update(desk.ind, desk.params, high, low, close)
    session.feed_volatility(desk.realised, close, floor.session_limits.volatility_lambda)


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
        _move(desk, price, 1 if phase == 0 else 0, 0)


def _move(desk: Desk, price: int, jump: int, trade_lots: int) -> None:
    """Move one market to a price and refresh its edges where something filled."""
    orders = desk.orders[: desk.orders_used]
    fills = matching.move(
        desk.market,
        orders,
        desk.links[: desk.links_used],
        desk.venue_accounts,
        desk.rules,
        price,
        jump,
        trade_lots,
        desk.events,
        desk.said,
    )
    if fills > 0:
        venue_tables.refresh(desk.market, orders, desk.cancels[: desk.cancels_used])


def _after_moves(desks: list[Desk], floor: Floor, due: Settlements, step: int, ts_ns: int) -> None:
    """What follows the moves of a step: funding, the margin, the venue's words, the rates, the session controls."""
    account = floor.account
    _settle_due(desks, floor, due, step, ts_ns)
    # A fill of this move has not been booked yet: the venue's own books know of it.
    if account.open_units > 0 or desks[0].said.n > 0 or account.instruments > 1:
        _check_margin(desks, floor, ts_ns)
    _hear_all(desks, floor, ts_ns)
    account.balance_ns = ts_ns
    for k in range(account.instruments):
        pulse = desks[k].pulse
        if desks[k].market.ts_ns != ts_ns:
            continue
        pulse.last_ns = ts_ns
        if pulse.told_ns != pulse.settled_ns or pulse.shown == 0:
            permission.show_rate(desks, floor, k, ts_ns)
    _value(desks, floor, ts_ns)


def _hear_all(desks: list[Desk], floor: Floor, ts_ns: int) -> None:
    """Carry what the venue has said to every desk that it speaks of, in the order of the instruments."""
    for k in range(floor.account.instruments):
        if desks[k].said.n > 0:
            dealing.hear(desks, floor, k)
            permission.report_overflow(desks, floor, k, ts_ns)


def _settle_due(desks: list[Desk], floor: Floor, due: Settlements, step: int, ts_ns: int) -> int:
    """Charge the settlements of a step; give how many there were."""
    account = floor.account
    first = account.next_settlement
    while account.next_settlement < len(due.step) and due.step[account.next_settlement] <= step:
        _settle(desks, floor, due, account.next_settlement, ts_ns)
        account.next_settlement += 1
    return account.next_settlement - first


def _settle(desks: list[Desk], floor: Floor, due: Settlements, index: int, ts_ns: int) -> None:
    """Charge one settlement to both legs of its instrument; the rate is known from now on."""
    k = due.instrument[index]
    desk = desks[k]
    desk.pulse.settled_ns = due.ts_ns[index]
    desk.pulse.settled_rate_e8 = due.rate_e8[index]
    if desk.market.seen == 0:
        return
    long_e8 = desk.venue_accounts[LONG].funding_e8
    short_e8 = desk.venue_accounts[SHORT].funding_e8
    charged = margin.settle_funding(desk.market, desk.venue_accounts, desk.rules, due.rate_e8[index])
    floor.account.funding_e8 += charged
    floor.account.wallet_e8 -= charged
    floor.account.fixed_e8 -= charged
    logbook.note_funding(
        floor,
        k,
        due.ts_ns[index],
        due.rate_e8[index],
        desk.market.mark_ticks,
        desk.venue_accounts[LONG].funding_e8 - long_e8,
        desk.venue_accounts[SHORT].funding_e8 - short_e8,
    )


# --- money ------------------------------------------------------------------------------------------------------------


def equity_of(desks: list[Desk], floor: Floor) -> int:
    """Give the equity at the present marks, by the figures that fills and settlements keep."""
    equity = floor.account.fixed_e8
    for k in range(floor.account.instruments):
        equity += desks[k].pulse.net_units_e8 * desks[k].market.mark_ticks
    return equity


def maintenance_of(desks: list[Desk], floor: Floor) -> int:
    """Give the maintenance margin of every open leg at the present marks."""
    needed = 0
    for k in range(floor.account.instruments):
        desk = desks[k]
        gross = margin.gross_notional_e8(desk.market, desk.venue_accounts, desk.rules)
        if gross > 0:
            needed += ledger.maintenance_e8(gross, desk.tiers[: desk.pulse.tier_count])
    return needed


def _venue_equity(desks: list[Desk], floor: Floor) -> int:
    """Give the equity by the venue's own books: what it liquidates by, before anybody has heard of its fills."""
    equity = floor.account.initial_e8
    for k in range(floor.account.instruments):
        desk = desks[k]
        for leg in (LONG, SHORT):
            row = desk.venue_accounts[leg]
            equity += row.realised_e8 - row.fees_e8 - row.funding_e8
        equity += margin.unrealised_e8(desk.market, desk.venue_accounts, desk.rules)
    return equity


def _check_margin(desks: list[Desk], floor: Floor, ts_ns: int) -> None:
    """Liquidate the account where its equity has fallen under the maintenance margin of all its legs."""
    account = floor.account
    fresh = 0
    gross = 0
    for k in range(account.instruments):
        fresh += desks[k].said.n
        gross += desks[k].pulse.gross_units_e8 * desks[k].market.mark_ticks
    # The heaviest tier bounds what could be asked for; only near to that is it worked out.
    if fresh == 0 and equity_of(desks, floor) > (gross // PPM + 1) * account.bound_ppm:
        return
    needed = maintenance_of(desks, floor)
    equity = _venue_equity(desks, floor)
    if needed == 0 or equity >= needed:
        return
    account.liquidated_ns = ts_ns
    account.liquidation_equity_e8 = equity
    account.liquidation_needed_e8 = needed
    for k in range(account.instruments):
        desk = desks[k]
        margin.liquidate(
            desk.market,
            desk.orders[: desk.orders_used],
            desk.links[: desk.links_used],
            desk.venue_accounts,
            desk.rules,
            desk.events,
            desk.said,
        )
        # What follows is only booked: a liquidated account takes no orders.
        desk.pulse.may_add = 0


def _value(desks: list[Desk], floor: Floor, ts_ns: int) -> None:
    """Value the account at this point: equity, drawdown, session controls."""
    account = floor.account
    equity = equity_of(desks, floor)
    account.equity_e8 = equity
    if equity > account.high_e8:
        _rise(floor, equity, ts_ns)
    elif equity < account.low_e8:
        account.low_e8 = equity
        account.low_ns = ts_ns
        account.least_e8 = min(account.least_e8, equity)
    short = 0
    if floor.session_limits.margin_on == 1 and account.open_units > 0:
        short = 1 if equity <= _margin_bound(desks, floor, -1) else 0
    if short == 0 and session.is_calm(floor.session, equity, ts_ns):
        floor.session.last_e8 = equity
    else:
        permission.judge_session(desks, floor, equity, maintenance_of(desks, floor), ts_ns)
    if must_flatten(floor):
        permission.flatten_what_must(desks, floor, ts_ns)
    if floor.standing.flattening == 1:
        permission.end_flatten(desks, floor, ts_ns)


def must_flatten(floor: Floor) -> bool:
    """Tell whether a reason stands that closes legs while any is held, or a flattening is under way."""
    return floor.standing.flattening == 1 or (floor.standing.flattens > 0 and floor.account.open_units > 0)


def close_episode(account: Account, ts_ns: int) -> None:
    """End the fall since the last peak: keep it where it is the deepest or the longest so far."""
    if account.low_e8 >= account.high_e8 or account.high_e8 <= 0:
        return
    ppm = fixed.ratio_ppm(account.high_e8 - account.low_e8, account.high_e8)
    if ppm > account.worst_ppm:
        account.worst_ppm = ppm
        account.worst_peak_e8 = account.high_e8
        account.worst_peak_ns = account.high_ns
        account.worst_trough_e8 = account.low_e8
        account.worst_trough_ns = account.low_ns
    account.longest_ns = max(account.longest_ns, ts_ns - account.high_ns)


# --- what falls due ---------------------------------------------------------------------------------------------------


def _fall_due(desks: list[Desk], floor: Floor) -> None:
    """Let fall due what is due, and what that causes, until nothing is."""
    count = floor.account.instruments
    for _ in range(ROUNDS_MAX):
        done = 0
        said = 0
        for k in range(count):
            desk = desks[k]
            if desk.market.next_due_ns <= desk.market.ts_ns:
                done += matching.fall_due(
                    desk.market,
                    desk.orders[: desk.orders_used],
                    desk.links[: desk.links_used],
                    desk.cancels[: desk.cancels_used],
                    desk.venue_accounts,
                    desk.rules,
                    desk.events,
                    desk.said,
                )
        for k in range(count):
            desk = desks[k]
            if done == 0 and not (desk.market.backstop_down < desk.market.price_ticks < desk.market.backstop_up):
                _trigger_backstops(desk)
            said += desk.said.n
        if done == 0 and said == 0:
            return
        for k in range(count):
            if desks[k].said.n > 0:
                dealing.hear(desks, floor, k)
                permission.report_overflow(desks, floor, k, floor.account.ts_ns)
        if floor.standing.flattening == 1:
            permission.end_flatten(desks, floor, floor.account.ts_ns)
    floor.account.fault += FAULT_ENDLESS


def _trigger_backstops(desk: Desk) -> None:
    """Trigger the close-everything stops; a link for each lot may be needed."""
    desk.links_used = min(len(desk.links), desk.links_used + desk.lots_used)
    matching.backstops(
        desk.market,
        desk.orders[: desk.orders_used],
        desk.links[: desk.links_used],
        desk.venue_accounts,
        desk.rules,
        desk.events,
        desk.said,
    )


# --- decisions --------------------------------------------------------------------------------------------------------


def _decide_bars(desks: list[Desk], floor: Floor, bars: Bars, row: int, ts_ns: int) -> None:
    """Sample the account and decide for every instrument whose bar ends here."""
    floor.account.equity_e8 = equity_of(desks, floor)
    logbook.note_account(floor, desks, ts_ns)
    points = bars.points
    for k in range(floor.account.instruments):
        first = POINTS * (k * bars.rows + row)
        if points[first] == 0:
            continue
        high = max(points[first + 1], points[first + 2])
        low = min(points[first + 1], points[first + 2])
        _decide(desks, floor, k, high, low, points[first + 3], ts_ns)
    _fall_due(desks, floor)


def _decide(desks: list[Desk], floor: Floor, k: int, high: int, low: int, close: int, ts_ns: int) -> None:
    """Decide on a closed bar of one instrument and send what that wants."""
    desk = desks[k]
    permission.judge_volatility(desks, floor, k, close, ts_ns)
    permission.clear_overflow(desks, floor, k, ts_ns)
    entries_used = desk.entries_used
    desk.entries_used = min(desk.pulse.entry_room, entries_used + desk.rungs_used)
    pipeline.on_bar(
        desk.params,
        desk.state,
        desk.ind,
        desk.rungs[: desk.rungs_used],
        desk.entries[: desk.entries_used],
        desk.lots[: desk.lots_used],
        high,
        low,
        close,
        ts_ns,
        desk.actions,
        desk.used,
    )
    floor.account.below_minimum += desk.state.below_minimum
    desk.state.below_minimum = 0
    if desk.state.settled == 1 and desk.state.dirty_long == 0 and desk.state.dirty_short == 0:
        # It asked for nothing: there is nothing to answer, and no table has changed.
        desk.entries_used = entries_used
    else:
        dealing.answer(desks, floor, k, close, ts_ns)
        dealing.trim_used(desk)
        permission.report_overflow(desks, floor, k, ts_ns)
    logbook.note_grid(floor, k, desk, ts_ns)


# --- trades -----------------------------------------------------------------------------------------------------------


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
        while account.next_end < ends.count and ends.before[account.next_end] <= i:
            _end_bars(desks, floor, ends, due, decide_from_ns)
            if account.liquidated_ns != 0:
                return end
        stop = end
        if account.next_end < ends.count:
            stop = min(stop, ends.before[account.next_end])
        if account.next_settlement < len(due.step):
            stop = min(stop, due.step[account.next_settlement] - account.next_end)
        i = _skip_calm(desks, floor, trades, i, stop)
        if i >= stop and i < end and account.next_end < ends.count and ends.before[account.next_end] <= i:
            continue
        if i < end:
            _take_trade(desks, floor, trades, due, i)
            if account.liquidated_ns != 0:
                return end
            i += 1
    return i


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
    _move(desk, trades.price_ticks[i], 1, trades.qty_lots[i])
    if desk.rules.fill_model == FILL_QUEUE:
        venue_tables.refresh(market, desk.orders[: desk.orders_used], desk.cancels[: desk.cancels_used])
    account.ts_ns = ts_ns
    _after_moves(desks, floor, due, i + account.next_end, ts_ns)
    if account.liquidated_ns == 0:
        _fall_due(desks, floor)


def _skip_calm(desks: list[Desk], floor: Floor, trades: Trades, first: int, stop: int) -> int:
    """Walk the trades of one instrument that meet nothing and trip nothing; give the first that might.

    A trade is calm where its price lies inside every edge, no timer and no order is due, and the account's equity
    stays between the highest floor of its controls and its peak.
    """
    if first >= stop:
        return first
    k = trades.instrument[first]
    desk = desks[k]
    market = desk.market
    account = floor.account
    if market.seen == 0 or desk.rules.pessimistic == 1 or desk.pulse.shown == 0 or must_flatten(floor):
        return first
    low_price = max(market.down_edge, market.backstop_down)
    high_price = min(market.up_edge, market.backstop_up)
    low_bid, high_ask = 0, NO_PRICE
    if desk.rules.fill_model == FILL_QUEUE:
        low_bid, high_ask = market.join_down, market.join_up
    until_ns = min(account.next_timer_ns, market.next_due_ns, floor.session.next_day_ns)
    net_units = desk.pulse.net_units_e8
    rest = equity_of(desks, floor) - net_units * market.mark_ticks
    least = floor.session.floor_e8
    high_mark = NO_PRICE
    if account.open_units > 0:
        least = max(least, _margin_bound(desks, floor, k))
        high_mark = market.mark_ticks + market.mark_ticks // MARK_ROOM
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


def _margin_bound(desks: list[Desk], floor: Floor, moving: int) -> int:
    """Give an equity above which neither the margin control nor a liquidation is near, while marks rise a little."""
    gross = 0
    for k in range(floor.account.instruments):
        mark = desks[k].market.mark_ticks
        if k == moving:
            mark += mark // MARK_ROOM + 1
        gross += desks[k].pulse.gross_units_e8 * mark
    return (gross // PPM + 1) * floor.account.bound_ppm


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


def _end_bars(desks: list[Desk], floor: Floor, ends: BarEnds, due: Settlements, decide_from_ns: int) -> None:
    """Let the bars end that end at the same time: a step without a point, so nothing moves and nothing is judged."""
    account = floor.account
    e = account.next_end
    ts_ns = ends.ts_ns[e]
    if ts_ns >= account.next_timer_ns:
        permission.fire(desks, floor, ts_ns)
    account.next_end += 1
    account.ts_ns = ts_ns
    charged = _settle_due(desks, floor, due, ends.before[e] + e, ts_ns)
    if charged > 0 and account.open_units > 0:
        _check_margin(desks, floor, ts_ns)
        _hear_all(desks, floor, ts_ns)
    if account.liquidated_ns != 0:
        return
    if ts_ns < decide_from_ns:
        for k in range(account.instruments):
            j = k * ends.count + e
            if ends.close_ticks[j] > 0:
                _learn(desks[k], floor, ends.high_ticks[j], ends.low_ticks[j], ends.close_ticks[j])
        return
    _fall_due(desks, floor)
    account.equity_e8 = equity_of(desks, floor)
    logbook.note_account(floor, desks, ts_ns)
    for k in range(account.instruments):
        j = k * ends.count + e
        if ends.close_ticks[j] > 0:
            _decide(desks, floor, k, ends.high_ticks[j], ends.low_ticks[j], ends.close_ticks[j], ts_ns)
    _fall_due(desks, floor)
