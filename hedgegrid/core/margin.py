"""What time and the margin do to the venue's account: funding, unrealised profit, liquidation.

Invariant: a liquidation ends every order and closes both legs at the mark, with its own fee and without slippage.
"""

from hedgegrid.core import ledger
from hedgegrid.core.codes import FREE, LIQUIDATION, LONG, SHORT
from hedgegrid.core.records import Counter, LegAccount, Link, Market, VenueEvent, VenueOrder, VenueRules
from hedgegrid.core.venue_tables import BY_LIQUIDATION, FILLED, end


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
            end(market, orders, links, i, BY_LIQUIDATION, events, used)
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
