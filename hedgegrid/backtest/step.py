"""What happens at a step of the market, once its prices are set, in the order that the actors' pump has too.

Invariants: after the moves all funding, one liquidation check, the words of the venue and the answers to them, one
judgement of the session controls; then what falls due, until nothing is; decisions in the order of the instruments.
"""

from typing import Final

from hedgegrid.backtest import dealing, logbook, permission, valuing
from hedgegrid.backtest.desk import Desk, Floor
from hedgegrid.backtest.tape_columns import Settlements
from hedgegrid.core import margin, matching, pipeline, regime, session
from hedgegrid.core.codes import LONG, SHORT

ROUNDS_MAX: Final = 1_000
"""Passes over what falls due at one point; more means that orders cause each other without end."""
FAULT_ENDLESS: Final = 1 << 32


def move(desk: Desk, price: int, jump: int, trade_lots: int) -> None:
    """Move one market to a price and fill what the move meets."""
    matching.move(
        desk.market,
        desk.orders[: desk.orders_used],
        desk.links[: desk.links_used],
        desk.venue_accounts,
        desk.rules,
        price,
        jump,
        trade_lots,
        desk.events,
        desk.said,
    )


def after_moves(desks: list[Desk], floor: Floor, due: Settlements, step: int, ts_ns: int) -> None:
    """What follows the moves of a step: funding, the margin, the venue's words, the rates, the session controls."""
    account = floor.account
    settle_due(desks, floor, due, step)
    # A fill of this move has not been booked yet: the venue's own books know of it.
    if account.open_units > 0 or desks[0].said.n > 0 or account.instruments > 1:
        valuing.check_margin(desks, floor, ts_ns)
    hear_all(desks, floor, ts_ns)
    account.balance_ns = ts_ns
    for k in range(account.instruments):
        pulse = desks[k].pulse
        if desks[k].market.ts_ns != ts_ns:
            continue
        pulse.last_ns = ts_ns
        if pulse.told_ns != pulse.settled_ns or pulse.shown == 0:
            permission.show_rate(desks, floor, k, ts_ns)
    valuing.value(desks, floor, ts_ns)


def hear_all(desks: list[Desk], floor: Floor, ts_ns: int) -> None:
    """Carry what the venue has said to every desk that it speaks of, in the order of the instruments."""
    for k in range(floor.account.instruments):
        if desks[k].said.n > 0:
            dealing.hear(desks, floor, k)
            permission.report_overflow(desks, floor, k, ts_ns)
            permission.report_rate(desks, floor, ts_ns)


def settle_due(desks: list[Desk], floor: Floor, due: Settlements, step: int) -> int:
    """Charge the settlements of a step; give how many there were."""
    account = floor.account
    first = account.next_settlement
    while account.next_settlement < len(due.step) and due.step[account.next_settlement] <= step:
        _settle(desks, floor, due, account.next_settlement)
        account.next_settlement += 1
    return account.next_settlement - first


def _settle(desks: list[Desk], floor: Floor, due: Settlements, index: int) -> None:
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


def fall_due(desks: list[Desk], floor: Floor) -> None:
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
        hear_all(desks, floor, floor.account.ts_ns)
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


def hear_close(desk: Desk, floor: Floor, close: int) -> None:
    """Feed a bar that is decided on to the realised volatility, before the decision of any instrument.

    The account's value at risk is of all of them.
    """
    session.feed_volatility(desk.realised, close, floor.session_limits.volatility_lambda)


def decide(desks: list[Desk], floor: Floor, k: int, high: int, low: int, close: int, ts_ns: int) -> None:
    """Decide on a closed bar of one instrument and send what that wants."""
    desk = desks[k]
    permission.judge_volatility(desks, floor, k, ts_ns)
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
    settled = desk.state.settled == 1 and desk.used.n == 0
    if settled and desk.state.dirty_long == 0 and desk.state.dirty_short == 0:
        # It asked for nothing: there is nothing to answer, and no table has changed.
        desk.entries_used = entries_used
    else:
        dealing.answer(desks, floor, k, close, ts_ns)
        dealing.trim_used(desk)
        permission.report_overflow(desks, floor, k, ts_ns)
        permission.report_rate(desks, floor, ts_ns)
    logbook.note_grid(floor, k, desk, ts_ns)


def learn(desk: Desk, floor: Floor, high: int, low: int, close: int) -> None:
    """Feed a bar that nothing is decided on to the indicators and to the volatility halt."""
    regime.update(desk.ind, desk.params, high, low, close)
    session.feed_volatility(desk.realised, close, floor.session_limits.volatility_lambda)
