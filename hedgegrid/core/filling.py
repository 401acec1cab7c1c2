"""One execution: money, position, the event, and what it does to the other exits of its lots.

Invariants: the exits of a lot never close more than the lot; a fill of one shrinks the others in the same instant.
Exits that no link ties to a lot race each other, and what comes too late never closes more than the leg holds.
"""

from hedgegrid.core import ledger
from hedgegrid.core.codes import ENTRY, FREE, TAKE_PROFIT
from hedgegrid.core.records import Counter, LegAccount, Link, Market, VenueEvent, VenueOrder, VenueRules
from hedgegrid.core.venue_tables import (
    BY_OTHER_EXIT,
    CANCELLED,
    CUT,
    FILLED,
    REDUCE_REFUSED,
    REJECTED,
    SHRUNK,
    drop,
    end,
    event,
    find,
)


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
    over = order.purpose != ENTRY and qty_lots > account.qty_lots
    if over:
        qty_lots = 0 if rules.refuse_over == 1 else account.qty_lots
        if qty_lots == 0:
            _end_over(market, orders, links, index, events, used)
            return
    notional = ledger.notional_e8(price_ticks, qty_lots, rules.unit_e8)
    fee = ledger.fee_e8(notional, rules.maker_ppm if maker == 1 else rules.taker_ppm)
    realised = 0
    if order.purpose == ENTRY:
        ledger.increase(account, qty_lots, notional)
    else:
        realised = ledger.reduce(account, order.leg, qty_lots, notional)
    account.fees_e8 += fee
    row = events[event(events, used, FILLED, order, 0)]
    row.price_ticks = price_ticks
    row.qty_lots = qty_lots
    row.fee_e8 = fee
    row.realised_e8 = realised
    row.maker = maker
    row.trade_id = market.next_trade
    market.next_trade += 1
    if order.purpose not in (ENTRY, TAKE_PROFIT):
        _name_by_lot(links, order.no, row)
    order.qty_lots -= qty_lots
    order.filled_lots += qty_lots
    if order.purpose != ENTRY:
        _cut_lots(market, orders, links, index, qty_lots, events, used)
    if over:
        _end_over(market, orders, links, index, events, used)
    elif order.qty_lots == 0:
        drop(market, orders, links, index)


def _end_over(
    market: Market, orders: list[VenueOrder], links: list[Link], index: int, events: list[VenueEvent], used: Counter
) -> None:
    """End an exit whose position other exits have closed before it: refused, or cancelled where it closed a part."""
    kind = REJECTED if orders[index].filled_lots == 0 else CANCELLED
    event(events, used, kind, orders[index], REDUCE_REFUSED)
    drop(market, orders, links, index)


def _name_by_lot(links: list[Link], no: int, row: VenueEvent) -> None:
    """Give a stop's fill the level and generation of its lot where it covers exactly one by now, -1 where several.

    Without links it keeps those that it was sent with.
    """
    lots = 0
    for i in range(len(links)):
        if links[i].state != FREE and links[i].no == no and links[i].qty_lots > 0:
            lots += 1
            row.level = links[i].level if lots == 1 else -1
            row.generation = links[i].generation if lots == 1 else -1


def _cut_lots(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    index: int,
    qty_lots: int,
    events: list[VenueEvent],
    used: Counter,
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
        row = events[event(events, used, CUT, orders[index], 0)]
        row.lot_id = lot_id
        row.qty_lots = cut
        _shrink_rivals(market, orders, links, no, lot_id, cut, events, used)


def _shrink_rivals(
    market: Market,
    orders: list[VenueOrder],
    links: list[Link],
    no: int,
    lot_id: int,
    cut: int,
    events: list[VenueEvent],
    used: Counter,
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
            end(market, orders, links, index, BY_OTHER_EXIT, events, used)
        elif gone > 0:
            event(events, used, SHRUNK, orders[index], BY_OTHER_EXIT)
