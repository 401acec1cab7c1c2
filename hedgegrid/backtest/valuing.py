"""What the account is worth at a point, and what follows from that: peaks and troughs, controls, liquidation.

Invariants: the equity at a point is ``fixed_e8`` and each desk's net units at its mark, exact; a bound that is far
away (``bound_ppm`` of the gross notional) decides first, and only near to it is anything worked out by tiers.
"""

from typing import Final

from hedgegrid.backtest import permission
from hedgegrid.backtest.desk import Account, Desk, Floor
from hedgegrid.core import fixed, ledger, margin, session
from hedgegrid.core.codes import LONG, SHORT
from hedgegrid.units import PPM

RATIO_MAX: Final = 4_000_000_000_000_000
"""``fixed.ratio_ppm`` is exact below 9e15."""

MARK_ROOM: Final = 10
"""A mark may rise by a tenth before a bound on what must be held is worked out anew."""


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


def check_margin(desks: list[Desk], floor: Floor, ts_ns: int) -> None:
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


def value(desks: list[Desk], floor: Floor, ts_ns: int) -> None:
    """Value the account at this point: equity, drawdown, session controls."""
    account = floor.account
    equity = equity_of(desks, floor)
    _track(account, equity, ts_ns)
    short = 0
    if floor.session_limits.margin_on == 1 and account.open_units > 0:
        short = 1 if equity <= margin_bound(desks, floor, -1) else 0
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


def follow(floor: Floor, equity: int, ts_ns: int) -> None:
    """Let peak and trough follow an equity that trips nothing."""
    floor.session.last_e8 = equity
    _track(floor.account, equity, ts_ns)
    if equity > floor.session.peak_e8:
        # Above the peak no control of equity can trip, and what must be held is far below.
        session.observe(floor.session_limits, floor.session, equity, 0, ts_ns)


def _track(account: Account, equity: int, ts_ns: int) -> None:
    """Note the equity of a point, and whether it is a peak, which ends the fall since the last one, or a trough."""
    account.equity_e8 = equity
    if equity > account.high_e8:
        close_episode(account, ts_ns)
        account.high_e8 = equity
        account.high_ns = ts_ns
        account.low_e8 = equity
        account.low_ns = ts_ns
    elif equity < account.low_e8:
        account.low_e8 = equity
        account.low_ns = ts_ns
        account.least_e8 = min(account.least_e8, equity)


def close_episode(account: Account, ts_ns: int) -> None:
    """End the fall since the last peak: keep it where it is the deepest or the longest so far."""
    if account.low_e8 >= account.high_e8 or account.high_e8 <= 0:
        return
    fall = account.high_e8 - account.low_e8
    # Both are brought below what the ratio holds; an account of less than 40 million quote loses nothing by it.
    scale = max(fall, account.high_e8) // RATIO_MAX + 1
    ppm = fixed.ratio_ppm(fall // scale, account.high_e8 // scale)
    if ppm > account.worst_ppm:
        account.worst_ppm = ppm
        account.worst_peak_e8 = account.high_e8
        account.worst_peak_ns = account.high_ns
        account.worst_trough_e8 = account.low_e8
        account.worst_trough_ns = account.low_ns
    account.longest_ns = max(account.longest_ns, ts_ns - account.high_ns)


def margin_bound(desks: list[Desk], floor: Floor, moving: int) -> int:
    """Give an equity above which neither the margin control nor a liquidation is near, while marks rise a little."""
    gross = 0
    for k in range(floor.account.instruments):
        mark = desks[k].market.mark_ticks
        if k == moving:
            mark += mark // MARK_ROOM + 1
        gross += desks[k].pulse.gross_units_e8 * mark
    return (gross // PPM + 1) * floor.account.bound_ppm
