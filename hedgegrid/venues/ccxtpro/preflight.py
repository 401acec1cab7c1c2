"""Pre-flight: whether an account is fit to be traded, one line for each thing that must be so.

Pure. Invariants: every line passes, or says what to do; what could not be read does not pass; nothing is judged by a
default. What is reported but does not stop a start (orders and positions that are not ours) passes with its words.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from hedgegrid.core.client_id import parse_client_id
from hedgegrid.model.account import Position
from hedgegrid.model.order import Leg, OpenOrder
from hedgegrid.units import NS_PER_MINUTE, quote_text
from hedgegrid.venues.ccxtpro.parse_account import AccountConfig, AssetRow, KeyRights, SymbolConfig
from hedgegrid.venues.ccxtpro.parse_rules import ExchangeRules, ListedInstrument

_LISTED_MAX: Final = 5
_ORDERS: Final = "ORDERS"


@attrs.frozen(kw_only=True)
class Line:
    """One thing that was looked at: whether it is as it must be, in words, and what to do where it is not.

    ``again``: it could not be looked at now, and may be later.
    """

    name: str
    passed: bool
    words: str
    remedy: str = ""
    again: bool = False


@attrs.frozen(kw_only=True)
class Unread:
    """A reading that could not be taken, and why; ``key_refused``: because the exchange takes nothing from our key.

    ``again``: it may be taken later, because the exchange was busy or not there.
    """

    why: str
    key_refused: bool = False
    again: bool = False


@attrs.frozen(kw_only=True)
class Readings:
    """What the exchange says of the account.

    ``skew_ms``: its clock minus ours; ``rights`` is None where the environment has no such question (the practice
    one). ``positions`` are the legs that are not flat.
    """

    skew_ms: int | Unread
    rights: KeyRights | Unread | None
    config: AccountConfig | Unread
    fee_burn: bool | Unread
    symbols: tuple[SymbolConfig, ...] | Unread
    rules: ExchangeRules | Unread
    wallet: AssetRow | Unread
    orders: tuple[OpenOrder, ...] | Unread
    positions: tuple[Position, ...] | Unread
    elsewhere: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Expected:
    """What the configuration asks for.

    ``instruments``: our names by symbol; ``stops_per_leg`` by symbol, the backstop not counted; money in quote x 1e8.
    ``worst_gross_e8``: both legs of all grids at their worst; ``own_lots``: what the books hold by instrument and leg,
    None where there are no books to ask.
    """

    account: str
    instruments: Mapping[str, str]
    cross_margin: bool
    leverage: int
    max_clock_skew_ms: int
    orders_per_minute: int
    stops_per_leg: Mapping[str, int]
    worst_gross_e8: int
    max_leverage_ppm: int
    own_lots: Mapping[tuple[str, Leg], int] | None = None


def judge(readings: Readings, expected: Expected, *, leverage_was_set: bool = True) -> tuple[Line, ...]:
    """Judge every reading; a leverage that differs passes where only a start would set it (``leverage_was_set``).

    Where the exchange refuses our key, that is one line, and nothing else that needs the key has one.
    """
    refused = [one for one in attrs.asdict(readings, recurse=False).values() if _is_refused(one)]
    lines = tuple(_lines(readings, expected, leverage_was_set=leverage_was_set))
    if not refused:
        return lines
    key = Line(name="key", passed=False, words=refused[0].why, remedy="mend the key or its secret, then check again")
    return (*(line for line in lines if line.passed), key)


def _is_refused(reading: object) -> bool:
    return isinstance(reading, Unread) and reading.key_refused


def differing_leverage(readings: Readings, expected: Expected) -> tuple[str, ...]:
    """Give the symbols whose leverage is not the configured one, as far as it was read."""
    if isinstance(readings.symbols, Unread):
        return ()
    return tuple(
        one.symbol
        for one in readings.symbols
        if one.symbol in expected.instruments and one.leverage != expected.leverage
    )


def _lines(readings: Readings, expected: Expected, *, leverage_was_set: bool) -> Iterator[Line]:
    yield _clock(readings.skew_ms, expected)
    yield _rights(readings.rights)
    yield from _account_modes(readings.config)
    yield _fee_burn(readings.fee_burn)
    yield from _symbols(readings.symbols, expected, leverage_was_set=leverage_was_set)
    yield from _rules(readings.rules, expected)
    yield from _money(readings.wallet, expected)
    yield _foreign_orders(readings.orders, readings.elsewhere, expected)
    yield _foreign_positions(readings.positions, expected)


def _unread(name: str, reading: Unread) -> Line:
    remedy = "look at the words, and run the check again"
    return Line(name=name, passed=False, words=f"could not be read: {reading.why}", remedy=remedy, again=reading.again)


# --- the account's settings -------------------------------------------------------------------------------------------


def _clock(skew_ms: int | Unread, expected: Expected) -> Line:
    if isinstance(skew_ms, Unread):
        return _unread("clock", skew_ms)
    words = f"the exchange's clock is {skew_ms:+d} ms from ours, {expected.max_clock_skew_ms} ms allowed"
    passed = abs(skew_ms) <= expected.max_clock_skew_ms
    return Line(name="clock", passed=passed, words=words, remedy="" if passed else "synchronise this machine's clock")


def _rights(rights: KeyRights | Unread | None) -> Line:
    name = "key rights"
    if rights is None:
        return Line(name=name, passed=True, words="the practice environment does not tell them")
    if isinstance(rights, Unread):
        return _unread(name, rights)
    too_much = {
        "withdrawals": rights.withdraws,
        "internal transfers": rights.internal_transfer,
        "universal transfers": rights.universal_transfer,
    }
    granted = [what for what, has in too_much.items() if has]
    if granted:
        remedy = "take these rights from the key, or make one that may only read and trade futures"
        return Line(name=name, passed=False, words=f"the key may do {', '.join(granted)}", remedy=remedy)
    missing = [what for what, has in {"reading": rights.reads, "futures": rights.futures}.items() if not has]
    if missing:
        remedy = "give the key the rights to read and to trade futures"
        return Line(name=name, passed=False, words=f"the key lacks {' and '.join(missing)}", remedy=remedy)
    bound = "bound to addresses" if rights.ip_bound else "not bound to an address: bind it, whoever has it can trade"
    return Line(name=name, passed=True, words=f"reads and trades futures, cannot move money, {bound}")


def _account_modes(config: AccountConfig | Unread) -> Iterator[Line]:
    if isinstance(config, Unread):
        yield _unread("account modes", config)
        return
    yield _switch(
        "trading",
        passed=config.can_trade,
        good="the account may trade",
        bad="the account may not trade",
        remedy="see the exchange's notices for this account",
    )
    yield _switch(
        "hedge mode",
        passed=config.hedge_mode,
        good="on",
        bad="off: positions are one-way",
        remedy="switch the position mode to hedge mode at the exchange, with no position and no order open",
    )
    yield _switch(
        "asset mode",
        passed=not config.multi_assets,
        good="single asset",
        bad="multi-assets mode is on",
        remedy="switch to single-asset mode at the exchange: other assets' worth is not modelled",
    )


def _switch(name: str, *, passed: bool, good: str, bad: str, remedy: str) -> Line:
    return Line(name=name, passed=passed, words=good if passed else bad, remedy="" if passed else remedy)


def _fee_burn(burns: bool | Unread) -> Line:  # noqa: FBT001 - a reading
    if isinstance(burns, Unread):
        return _unread("fees", burns)
    return _switch(
        "fees",
        passed=not burns,
        good="charged in the settlement asset",
        bad="charged in BNB",
        remedy="switch off paying futures fees with BNB at the exchange",
    )


def _symbols(
    symbols: tuple[SymbolConfig, ...] | Unread, expected: Expected, *, leverage_was_set: bool
) -> Iterator[Line]:
    if isinstance(symbols, Unread):
        yield _unread("margin mode", symbols)
        return
    told = {one.symbol: one for one in symbols}
    for symbol, name in expected.instruments.items():
        one = told.get(symbol)
        if one is None:
            yield _unread(f"margin mode {name}", Unread(why="the exchange does not tell it"))
            continue
        wanted, is_now = ("cross" if cross else "isolated" for cross in (expected.cross_margin, one.cross))
        yield _switch(
            f"margin mode {name}",
            passed=one.cross == expected.cross_margin,
            good=is_now,
            bad=f"{is_now} instead of {wanted}",
            remedy=f"set {symbol} to {wanted} margin at the exchange, with no position open",
        )
        same, unlike = one.leverage == expected.leverage, f"{one.leverage} x instead of {expected.leverage} x"
        yield _switch(
            f"leverage {name}",
            passed=same or not leverage_was_set,
            good=f"{one.leverage} x" if same else f"{unlike}: the next start sets it",
            bad=unlike,
            remedy="set it at the exchange, or change venue.leverage",
        )


# --- the exchange's rules ---------------------------------------------------------------------------------------------


def _rules(rules: ExchangeRules | Unread, expected: Expected) -> Iterator[Line]:
    if isinstance(rules, Unread):
        yield _unread("instrument rules", rules)
        return
    for symbol, name in expected.instruments.items():
        listed = rules.listed.get(symbol)
        if listed is None:
            why = rules.refused.get(symbol, "it is not listed")
            remedy = "take this grid out of the configuration"
            yield Line(name=f"instrument {name}", passed=False, words=why, remedy=remedy)
            continue
        yield _instrument(name, listed)
        yield _stops(name, listed, expected.stops_per_leg.get(symbol, 0))
    yield _rate_limits(rules, expected)


def _instrument(name: str, listed: ListedInstrument) -> Line:
    rules = listed.instrument
    words = (
        f"{listed.status}, tick {rules.tick.normalize():f}, lot {rules.lot.normalize():f}, "
        f"least {rules.qty_text(rules.min_qty_lots)} and {quote_text(rules.min_notional_e8)}, "
        f"{len(rules.tiers)} margin tiers"
    )
    passed = listed.tradable and bool(rules.tiers)
    remedy = "" if passed else "wait until it trades again" if not listed.tradable else "its margin tiers were not told"
    return Line(name=f"instrument {name}", passed=passed, words=words, remedy=remedy)


def _stops(name: str, listed: ListedInstrument, per_leg: int) -> Line:
    """Each leg may use half of what the exchange admits less two, its backstop beside it."""
    admitted = max(0, (listed.max_algo_orders - 2) // 2)
    words = f"{per_leg} a leg of {admitted}, as the exchange admits {listed.max_algo_orders} conditional orders"
    return _switch(
        f"stop orders {name}",
        passed=per_leg <= admitted,
        good=words,
        bad=words,
        remedy=f"lower exit.max_stop_orders to {admitted}",
    )


def _rate_limits(rules: ExchangeRules, expected: Expected) -> Line:
    """The tightest limit of orders, taken to a minute, is above what the bot may send."""
    admitted = [one.limit * NS_PER_MINUTE // one.interval_ns for one in rules.rate_limits if one.kind == _ORDERS]
    if not admitted:
        return _unread("rate limits", Unread(why="the exchange names no limit of orders"))
    words = f"{expected.orders_per_minute} orders a minute wanted, {min(admitted)} admitted"
    return _switch(
        "rate limits",
        passed=expected.orders_per_minute <= min(admitted),
        good=words,
        bad=words,
        remedy=f"lower risk.max_orders_per_minute to {min(admitted)}",
    )


# --- money and what is there already ----------------------------------------------------------------------------------


def _money(wallet: AssetRow | Unread, expected: Expected) -> Iterator[Line]:
    if isinstance(wallet, Unread):
        yield _unread("wallet", wallet)
        return
    margin_e8 = -(-expected.worst_gross_e8 // expected.leverage)
    missing_e8 = max(0, margin_e8 - wallet.initial_e8)
    free = f"{quote_text(wallet.available_e8)} free, {quote_text(missing_e8)} more margin at the worst case"
    yield _switch(
        "free margin",
        passed=wallet.available_e8 >= missing_e8 and wallet.available_e8 > 0,
        good=free,
        bad=free,
        remedy="transfer to the futures wallet, or lower the grids' inventory",
    )
    allowed_e8 = wallet.wallet_e8 * expected.max_leverage_ppm // 1_000_000
    worst = f"{quote_text(wallet.wallet_e8)} against a worst case of {quote_text(expected.worst_gross_e8)} on both legs"
    yield _switch(
        "wallet",
        passed=margin_e8 <= wallet.wallet_e8 and expected.worst_gross_e8 <= allowed_e8,
        good=worst,
        bad=f"{worst}: it needs {quote_text(margin_e8)} of margin, and {quote_text(allowed_e8)} is allowed "
        "by risk.max_leverage",
        remedy="lower max_inventory_quote or the risk limits",
    )


def _foreign_orders(orders: tuple[OpenOrder, ...] | Unread, elsewhere: tuple[str, ...], expected: Expected) -> Line:
    if isinstance(orders, Unread):
        return _unread("foreign orders", orders)
    foreign = [one for one in orders if not _is_ours(one.client_id, expected.account)]
    words = f"open orders: {len(orders) - len(foreign)} of ours, {len(foreign)} of others"
    if foreign:
        words += ": " + _few([f"{one.instrument} {one.leg.name} {one.client_id}" for one in foreign])
    if elsewhere:
        words += f"; orders or positions in {_few(list(elsewhere))}, which is not traded here"
    remedy = "they count in exposure and are not touched; cancel them at the exchange if nobody wants them"
    return Line(name="foreign orders", passed=True, words=words, remedy=remedy if foreign else "")


def _foreign_positions(positions: tuple[Position, ...] | Unread, expected: Expected) -> Line:
    name = "foreign positions"
    if isinstance(positions, Unread):
        return _unread(name, positions)
    if expected.own_lots is None:
        held = [f"{one.instrument} {one.leg.name} {one.qty_lots} lots" for one in positions]
        words = f"held: {_few(held)}; there are no books to compare with" if held else "both legs are flat"
        return Line(name=name, passed=True, words=words)
    theirs = {(one.instrument, one.leg): one.qty_lots for one in positions}
    foreign = {
        key: theirs.get(key, 0) - expected.own_lots.get(key, 0) for key in sorted({**theirs, **expected.own_lots})
    }
    unlike = [f"{name_} {leg.name} {lots:+d} lots" for (name_, leg), lots in foreign.items() if lots]
    short = any(lots < 0 for lots in foreign.values())
    words = f"beside ours: {_few(unlike)}" if unlike else "what is held is ours"
    remedy = "the exchange holds less than the books: the start reads the fills, and stops if they do not explain it"
    return Line(name=name, passed=True, words=words, remedy=remedy if short else "")


def _is_ours(name: str, account: str) -> bool:
    parts = parse_client_id(name)
    return parts is not None and parts.account == account


def _few(names: list[str]) -> str:
    more = len(names) - _LISTED_MAX
    return ", ".join(names[:_LISTED_MAX]) + (f" and {more} more" if more > 0 else "")
