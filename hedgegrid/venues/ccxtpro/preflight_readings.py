"""Taking the readings that pre-flight judges, and setting the leverage where a start asks for it.

Invariants: a reading that fails is ``Unread`` with its reason and stops no other; nothing but ``set_leverage`` changes
anything; the rights of a key are asked only of the environment that the key belongs to.
"""

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, TypeVar

from hedgegrid.errors import HedgegridError, Rejected, Transient
from hedgegrid.model.order import OpenOrder
from hedgegrid.venues.ccxtpro import parse_account
from hedgegrid.venues.ccxtpro.listing import read_rules
from hedgegrid.venues.ccxtpro.parse_rules import ExchangeRules
from hedgegrid.venues.ccxtpro.preflight import Expected, Line, Readings, Unread, differing_leverage, judge
from hedgegrid.venues.ccxtpro.reads import AccountReads, read
from hedgegrid.venues.ccxtpro.scaling import BadPayloadError
from hedgegrid.venues.ccxtpro.session import KeyRefused, Session
from hedgegrid.venues.ccxtpro.traded import Traded

_T = TypeVar("_T")


async def preflight(
    session: Session, expected: Expected, *, settle_asset: str, ask_rights: bool, sets_leverage: bool
) -> tuple[Line, ...]:
    """Read and judge. ``sets_leverage``: a start in testnet or live mode sets it where it differs, then reads again.

    ``ask_rights``: whether this environment tells the rights of a key (production, or a stand-in).
    """
    readings = await take_readings(session, expected, settle_asset=settle_asset, ask_rights=ask_rights)
    wrong = differing_leverage(readings, expected)
    if not (sets_leverage and wrong):
        return judge(readings, expected, leverage_was_set=sets_leverage)
    refused = await set_leverage(session, wrong, expected.leverage)
    readings = await take_readings(session, expected, settle_asset=settle_asset, ask_rights=ask_rights)
    return (*judge(readings, expected), *refused)


async def set_leverage(session: Session, symbols: Sequence[str], leverage: int) -> tuple[Line, ...]:
    """Set the leverage of instruments; give a line for each that the exchange refused."""
    refused: list[Line] = []
    for symbol in symbols:
        try:
            await session.call("fapiPrivatePostLeverage", {"symbol": symbol, "leverage": leverage}, weight=1)
        except HedgegridError as error:
            remedy = "lower venue.leverage, or set it at the exchange"
            name, again = f"set leverage {symbol}", isinstance(error, Transient)
            refused.append(Line(name=name, passed=False, words=str(error), remedy=remedy, again=again))
    return tuple(refused)


async def take_readings(session: Session, expected: Expected, *, settle_asset: str, ask_rights: bool) -> Readings:
    """Take every reading, one after the other."""
    rules = await _tried(read_rules(session, list(expected.instruments.values()), signed=True))
    elsewhere: set[str] = set()
    again = isinstance(rules, Unread) and rules.again
    orders: tuple[OpenOrder, ...] | Unread = Unread(why="the instruments' rules are not known", again=again)
    positions: Any = orders
    if isinstance(rules, ExchangeRules):
        reads = _account_reads(session, rules, elsewhere)
        orders = await _tried(_both_lists(reads))
        positions = await _tried(reads.positions())
    return Readings(
        skew_ms=await _tried(_skew_ms(session)),
        rights=await _tried(_ask(session, "sapiGetAccountApiRestrictions", parse_account.key_rights, 1))
        if ask_rights
        else None,
        config=await _tried(_ask(session, "fapiPrivateGetAccountConfig", parse_account.account_config, 5)),
        fee_burn=await _tried(_ask(session, "fapiPrivateGetFeeBurn", parse_account.fee_burn, 30)),
        symbols=await _tried(_ask(session, "fapiPrivateGetSymbolConfig", parse_account.symbol_configs, 5)),
        rules=rules,
        wallet=await _tried(_wallet(session, settle_asset)),
        orders=orders,
        positions=positions,
        elsewhere=tuple(sorted(elsewhere)),
    )


async def _tried(reading: Awaitable[_T]) -> _T | Unread:
    """Take a reading, or say why not."""
    try:
        return await reading
    except HedgegridError as error:
        return Unread(why=str(error), key_refused=isinstance(error, KeyRefused), again=isinstance(error, Transient))


async def _ask(session: Session, method: str, parse: Any, weight: int) -> Any:  # noqa: ANN401 - as the parser gives it
    return await read(session, method, {}, parse, weight=weight)


async def _skew_ms(session: Session) -> int:
    await session.sync_time()
    if session.skew_ms is None:
        raise Transient("the exchange's clock was not measured")
    return session.skew_ms


async def _wallet(session: Session, asset: str) -> parse_account.AssetRow:
    account = await read(session, "fapiPrivateV3GetAccount", {}, parse_account.account, weight=5)
    try:
        return account.asset(asset)
    except BadPayloadError as error:
        # The answer came: an account without the asset is for a person.
        raise Rejected(str(error)) from error


def _account_reads(session: Session, rules: ExchangeRules, elsewhere: set[str]) -> AccountReads:
    def report(_: str, figures: Mapping[str, str]) -> None:
        elsewhere.update(figures["symbols"].split(", "))

    return AccountReads(Traded.of(session, tuple(rules.listed.values()), report))


async def _both_lists(reads: AccountReads) -> tuple[OpenOrder, ...]:
    return (*await reads.open_orders(), *await reads.open_stops())
