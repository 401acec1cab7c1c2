"""Pauses in the compiled execution: what raises and lifts them between the points of a market and at them.

The same rules as the actors' watchdog, funding actor and risk actor, at the same nanoseconds: data that is too old, a
funding rate that is missing, tables that are full, the session controls.

Invariants: timers fire before the point at or after their time; a change of what may be done is told to a desk at once,
and where entries must not stay they go then.
"""

from hedgegrid.backtest import dealing, logbook
from hedgegrid.backtest.desk import Desk, Floor
from hedgegrid.core import funding, order_rate, session, standing
from hedgegrid.core.codes import FREE, NEVER_NS
from hedgegrid.core.standing import (
    ACCOUNT,
    DAILY_LOSS,
    DRAWDOWN,
    FEED_STALE,
    FUNDING_KILL,
    FUNDING_MISSING,
    MARGIN,
    ORDER_RATE,
    OVERFLOW,
    SESSION_LOSS,
    VOLATILITY_HALT,
)

TOLD_MISSING = 1
TOLD_RATE = 2


def fire(desks: list[Desk], floor: Floor, until_ns: int) -> None:
    """Fire what is due up to ``until_ns``, in the order of time."""
    account = floor.account
    while account.next_timer_ns <= until_ns:
        now_ns = account.next_timer_ns
        if standing.next_tick_ns(floor.standing, floor.pauses) <= now_ns:
            _tick(desks, floor, now_ns)
        if account.look_ns <= now_ns:
            _look(desks, floor, now_ns)
        for k in range(account.instruments):
            pulse = desks[k].pulse
            if pulse.expire_ns <= now_ns:
                pulse.expire_ns = NEVER_NS
                _lose_rate(desks, floor, k, now_ns)
            if pulse.wake_ns <= now_ns:
                dealing.wake(desks, floor, k, now_ns)
                report_rate(desks, floor, now_ns)
        set_timer(desks, floor)


def set_timer(desks: list[Desk], floor: Floor) -> None:
    """Work out when the next timer is due."""
    due_ns = min(floor.account.look_ns, standing.next_tick_ns(floor.standing, floor.pauses))
    for k in range(floor.account.instruments):
        pulse = desks[k].pulse
        due_ns = min(due_ns, pulse.expire_ns, pulse.wake_ns)
    floor.account.next_timer_ns = due_ns


# --- reasons ----------------------------------------------------------------------------------------------------------


def raise_reason(
    desks: list[Desk], floor: Floor, reason: int, instrument: int, action: int, value: int, limit: int, now_ns: int
) -> None:
    """Let a reason stand, and act on it: ``action`` is one of ``session``'s."""
    latched = 1 if reason >= DRAWDOWN else 0
    if not standing.begin(floor.standing, floor.pauses, reason, instrument, action, latched, now_ns):
        return
    logbook.note_change(floor, now_ns, reason, instrument, logbook.RAISED, value, limit)
    _tell_views(desks, floor, now_ns)
    set_timer(desks, floor)


def lift_reason(desks: list[Desk], floor: Floor, reason: int, instrument: int, now_ns: int) -> None:
    """The cause of an automatic reason is gone: it recovers from now on."""
    if standing.cease(floor.standing, floor.pauses, reason, instrument, now_ns):
        logbook.note_change(floor, now_ns, reason, instrument, logbook.RECOVERING, 0, 0)
        set_timer(desks, floor)


def flatten_what_must(desks: list[Desk], floor: Floor, now_ns: int) -> None:
    """Close what is held in the scope of every reason whose action is to flatten.

    It is asked at every judged point while one stands: an entry may fill while its cancel travels.
    """
    for i in range(len(floor.pauses)):
        pause = floor.pauses[i]
        if pause.state == FREE or pause.flattens == 0:
            continue
        for k in range(floor.account.instruments):
            if (pause.instrument == ACCOUNT or pause.instrument == k) and not dealing.is_flat(desks[k]):
                if pause.instrument == ACCOUNT and floor.standing.flattening == 0:
                    floor.standing.flattening = 1
                    logbook.note_change(floor, now_ns, pause.reason, ACCOUNT, logbook.FLATTEN_STARTED, 0, 0)
                    _tell_views(desks, floor, now_ns)
                dealing.flatten(desks, floor, k, now_ns)


def end_flatten(desks: list[Desk], floor: Floor, now_ns: int) -> None:
    """End the flattening once every leg of the account is zero."""
    for k in range(floor.account.instruments):
        if not dealing.is_flat(desks[k]):
            return
    floor.standing.flattening = 0
    logbook.note_change(floor, now_ns, 0, ACCOUNT, logbook.FLATTEN_DONE, 0, 0)
    _tell_views(desks, floor, now_ns)


def _tick(desks: list[Desk], floor: Floor, now_ns: int) -> None:
    """Clear what has recovered."""
    for i in range(len(floor.pauses)):
        pause = floor.pauses[i]
        gone = pause.state == standing.RECOVERING and now_ns - pause.gone_ns >= floor.standing.resume_after_ns
        if gone:
            logbook.note_change(floor, now_ns, pause.reason, pause.instrument, logbook.CLEARED, 0, 0)
    if standing.tick(floor.standing, floor.pauses, now_ns) > 0:
        _tell_views(desks, floor, now_ns)


def _tell_views(desks: list[Desk], floor: Floor, now_ns: int) -> None:
    """Tell every desk what it may do now, where that has changed; entries that must not stay go."""
    for k in range(floor.account.instruments):
        desk = desks[k]
        if not standing.closes(floor.standing, floor.pauses, k):
            desk.state.close_long = 0
            desk.state.close_short = 0
        may_add = 1 if standing.may_add(floor.standing, floor.pauses, k) else 0
        holds = 1 if standing.holds_entries(floor.standing, floor.pauses, k) else 0
        if desk.pulse.may_add == may_add and desk.pulse.holds == holds:
            continue
        desk.pulse.may_add = may_add
        desk.pulse.holds = holds
        desk.state.may_add = may_add
        desk.state.hold_entries = holds
        if holds == 1:
            dealing.drop_entries(desks, floor, k, now_ns)


# --- the age of data --------------------------------------------------------------------------------------------------


def _look(desks: list[Desk], floor: Floor, now_ns: int) -> None:
    """Judge the age of every instrument's data, and set the next look: when the oldest would become stale."""
    account = floor.account
    next_ns = NEVER_NS
    any_stale = 0
    for k in range(account.instruments):
        pulse = desks[k].pulse
        age_ns = now_ns - (pulse.last_ns if pulse.last_ns > 0 else account.since_ns)
        if age_ns > pulse.stale_ns:
            pulse.is_stale = 1
            raise_reason(desks, floor, FEED_STALE, k, session.CANCEL_ENTRIES, age_ns, pulse.stale_ns, now_ns)
        elif pulse.is_stale == 1:
            pulse.is_stale = 0
            lift_reason(desks, floor, FEED_STALE, k, now_ns)
        if pulse.is_stale == 1:
            any_stale = 1
        else:
            next_ns = min(next_ns, now_ns + max(1, pulse.stale_ns - age_ns + 1))
    if any_stale == 1:
        next_ns = min(next_ns, now_ns + account.heartbeat_ns)
    account.look_ns = next_ns


def put_off_look(desks: list[Desk], floor: Floor) -> None:
    """Skip the looks that would find all data fresh: the next one is due when the oldest becomes stale.

    A look finds the same whenever it is made before that, so this changes nothing but how often one is made.
    """
    account = floor.account
    look_ns = NEVER_NS
    for k in range(account.instruments):
        pulse = desks[k].pulse
        if pulse.is_stale == 1 or pulse.last_ns == 0:
            return
        look_ns = min(look_ns, pulse.last_ns + pulse.stale_ns + 1)
    if look_ns > account.look_ns:
        account.look_ns = look_ns
        set_timer(desks, floor)


# --- funding rates ----------------------------------------------------------------------------------------------------


def show_rate(desks: list[Desk], floor: Floor, k: int, now_ns: int) -> None:
    """Tell a desk the newest settled rate where that is news; one that never was is missing, not zero."""
    desk = desks[k]
    pulse = desk.pulse
    if pulse.settled_ns == 0:
        if pulse.shown == 0:
            pulse.shown = TOLD_MISSING
            _lose_rate(desks, floor, k, now_ns)
        return
    if pulse.shown == TOLD_RATE and pulse.told_ns == pulse.settled_ns:
        return
    pulse.shown = TOLD_RATE
    pulse.told_ns = pulse.settled_ns
    next_ns = pulse.settled_ns + pulse.funding_interval_ns
    was_known = desk.state.rate_known
    funding.remember_rate(desk.state, pulse.settled_rate_e8, next_ns, pulse.funding_interval_ns)
    if was_known == 0 and pulse.pause_missing == 1:
        lift_reason(desks, floor, FUNDING_MISSING, k, now_ns)
    pulse.expire_ns = max(next_ns + 1, now_ns)
    if session.is_funding_dear(floor.session_limits, pulse.settled_rate_e8, pulse.funding_interval_ns):
        action = floor.session_limits.funding_action
        limit = floor.session_limits.funding_max_e8
        raise_reason(desks, floor, FUNDING_KILL, k, action, pulse.settled_rate_e8, limit, now_ns)
    else:
        lift_reason(desks, floor, FUNDING_KILL, k, now_ns)
    set_timer(desks, floor)


def _lose_rate(desks: list[Desk], floor: Floor, k: int, now_ns: int) -> None:
    """A rate is missing or has expired."""
    desk = desks[k]
    desk.state.rate_known = 0
    if desk.pulse.pause_missing == 1:
        raise_reason(desks, floor, FUNDING_MISSING, k, session.PAUSE, 0, 0, now_ns)


# --- the core's own tables --------------------------------------------------------------------------------------------


def report_overflow(desks: list[Desk], floor: Floor, k: int, now_ns: int) -> None:
    """A table of the core was full: pause the instrument."""
    desk = desks[k]
    if desk.state.overflowed > desk.pulse.told_overflow:
        desk.pulse.told_overflow = desk.state.overflowed
        raise_reason(desks, floor, OVERFLOW, k, session.CANCEL_ENTRIES, desk.state.overflowed, 0, now_ns)


def report_rate(desks: list[Desk], floor: Floor, now_ns: int) -> None:
    """The limit of orders in a minute was met again and again: pause until a person looks."""
    if floor.pace.latches == 1:
        order_rate.forget_breaches(floor.pace)
        value, limit = floor.pace.orders, floor.limits.max_orders_per_minute
        raise_reason(desks, floor, ORDER_RATE, ACCOUNT, session.CANCEL_ENTRIES, value, limit, now_ns)


def clear_overflow(desks: list[Desk], floor: Floor, k: int, now_ns: int) -> None:
    """The tables have room again, a bar after they last had none."""
    desk = desks[k]
    if desk.state.overflowed > 0:
        desk.state.overflowed = 0
        desk.pulse.told_overflow = 0
        lift_reason(desks, floor, OVERFLOW, k, now_ns)


# --- session controls -------------------------------------------------------------------------------------------------


def judge_session(desks: list[Desk], floor: Floor, equity_e8: int, maintenance_e8: int, now_ns: int) -> None:
    """Let the account's controls judge this point."""
    limits, state = floor.session_limits, floor.session
    newly = session.observe(limits, state, equity_e8, maintenance_e8, now_ns)
    if newly & session.DRAWDOWN_BIT:
        fall_e8 = state.peak_e8 - equity_e8
        action, limit = limits.drawdown_action, state.peak_e8 - session.drawdown_at_e8(limits, state)
        raise_reason(desks, floor, DRAWDOWN, ACCOUNT, action, fall_e8, limit, now_ns)
    if newly & session.DAILY_BIT:
        loss_e8 = state.day_base_e8 - equity_e8
        raise_reason(desks, floor, DAILY_LOSS, ACCOUNT, limits.daily_action, loss_e8, limits.daily_e8, now_ns)
    if newly & session.SESSION_BIT:
        loss_e8 = state.session_base_e8 - equity_e8
        raise_reason(desks, floor, SESSION_LOSS, ACCOUNT, limits.session_action, loss_e8, limits.session_e8, now_ns)
    if newly & session.MARGIN_BIT:
        raise_reason(desks, floor, MARGIN, ACCOUNT, limits.margin_action, maintenance_e8, equity_e8, now_ns)


def judge_volatility(desks: list[Desk], floor: Floor, k: int, now_ns: int) -> None:
    """Let the volatility halt judge one instrument, whose closed bar has been fed."""
    desk = desks[k]
    limits = floor.session_limits
    if session.is_wild(limits, desk.realised, desk.pulse.bars_per_year):
        value = int(session.volatility_ppm(desk.realised, desk.pulse.bars_per_year))
        action, limit = limits.volatility_action, limits.volatility_ppm
        raise_reason(desks, floor, VOLATILITY_HALT, k, action, value, limit, now_ns)
        if action == session.FLATTEN and not dealing.is_flat(desk):
            dealing.flatten(desks, floor, k, now_ns)
    elif floor.standing.count > 0:
        lift_reason(desks, floor, VOLATILITY_HALT, k, now_ns)
