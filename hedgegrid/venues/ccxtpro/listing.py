"""What the exchange lists of the instruments that are traded: rules, margin tiers, funding intervals, rate limits.

Invariant: nothing is taken from constants; what only signed requests are told (the tiers) is empty without keys.
"""

from collections.abc import Sequence

from hedgegrid.errors import Fatal
from hedgegrid.model.instrument import Tier
from hedgegrid.venues.ccxtpro.parse_rules import (
    ExchangeRules,
    ListedInstrument,
    exchange_rules,
    funding_intervals,
    leverage_tiers,
)
from hedgegrid.venues.ccxtpro.session import Session
from hedgegrid.venues.simulated.recorded_files import symbol_of


async def read_rules(session: Session, names: Sequence[str], *, signed: bool) -> ExchangeRules:
    """Read the rules of the instruments ``names``; ``signed`` where keys are there. Raises Fatal, Transient."""
    wanted = {symbol_of(name): name for name in names}
    listed = await session.call("fapiPublicGetExchangeInfo", weight=1)
    intervals = funding_intervals(await session.call("fapiPublicGetFundingInfo", weight=0))
    tiers: dict[str, tuple[Tier, ...]] = {}
    if signed:
        for symbol in wanted:
            tiers |= leverage_tiers(await session.call("fapiPrivateGetLeverageBracket", {"symbol": symbol}, weight=1))
    rules = exchange_rules(listed, wanted, tiers=tiers, intervals=intervals)
    for symbol, why in rules.refused.items():
        raise Fatal(f"{wanted[symbol]}: {why}")
    return rules


def in_order(rules: ExchangeRules, names: Sequence[str]) -> tuple[ListedInstrument, ...]:
    """Give the listed instruments in the order of ``names``."""
    return tuple(rules.listed[symbol_of(name)] for name in names)
