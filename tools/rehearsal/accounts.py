"""The bot's journal against the stand-in's own account: fills, legs, wallet and open orders, figure by figure.

Invariant: each side is read from where it is kept (a file, the engine's own state), never through the other; every
difference is a line of words, and no line means that there is none. The parts of an order that went in several stand in
the journal under the order's own id.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import attrs

from hedgegrid.venues.ccxtpro.order_requests import whole_id

E8: Final = Decimal(10) ** 8
LEGS: Final = ("LONG", "SHORT")
LIVE: Final = ("sent", "working", "partial", "cancelling", "unknown")
FORCED: Final = ("autoclose-", "adl_autoclose", "settlement_autoclose-")


@attrs.frozen(kw_only=True)
class Rules:
    """An instrument in the journal's words: the exchange's symbol, and what a tick and a lot are."""

    symbol: str
    tick: Decimal
    lot: Decimal


@attrs.frozen(kw_only=True)
class Journal:
    """What a journal says at its end."""

    fills: Mapping[tuple[str, int, str], tuple[str, Decimal, Decimal, Decimal]]
    """(symbol, trade id, client id) -> leg, price, quantity, fee."""
    legs: Mapping[tuple[str, str], Decimal]
    wallet: Decimal | None
    live: frozenset[str]
    orders: int
    duplicates: int


def read_journal(path: Path) -> Journal:
    """Read a journal's tables. sqlite3.Error where it is none."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        rules = {
            name: Rules(symbol=name.split("/")[0] + "USDT", tick=Decimal(tick), lot=Decimal(lot))
            for name, tick, lot in db.execute("SELECT instrument, tick, lot FROM instruments ORDER BY epoch")
        }
        fills = {
            (rules[name].symbol, trade_id, client_id): (
                LEGS[leg],
                rules[name].tick * price,
                rules[name].lot * qty,
                Decimal(fee) / E8,
            )
            for name, trade_id, client_id, leg, price, qty, fee in db.execute(
                "SELECT instrument, trade_id, client_id, leg, price_ticks, qty_lots, fee_e8 FROM fills"
            )
        }
        legs = {
            (rules[name].symbol, LEGS[leg]): rules[name].lot * qty
            for name, leg, qty in db.execute("SELECT instrument, leg, qty_lots FROM legs")
        }
        # The account's row holds what it began with, transfers included, and the result since.
        (began,) = db.execute("SELECT wallet_e8 FROM account").fetchone()
        sums = db.execute("SELECT sum(realised_e8), sum(fees_e8), sum(funding_e8) FROM legs").fetchone()
        states = db.execute("SELECT client_id, state FROM orders").fetchall()
        (twice,) = db.execute("SELECT count(*) - count(DISTINCT client_id) FROM orders").fetchone()
    return Journal(
        fills=fills,
        legs=legs,
        wallet=None if began is None else Decimal(began + _result(sums)) / E8,
        live=frozenset(client_id for client_id, state in states if state in LIVE),
        orders=len(states),
        duplicates=twice,
    )


def _result(sums: tuple[int | None, ...]) -> int:
    """Give what trading did to the wallet, of the sums of realised profit, fees and funding."""
    realised, fees, funding = (0 if one is None else one for one in sums)
    return realised - fees - funding


def differences(journal: Journal, state: Mapping[str, Any], trades: list[dict[str, Any]]) -> Iterator[str]:
    """Say where journal and stand-in part; ``state`` and ``trades`` are what its control endpoints gave."""
    yield from _fills(journal, trades)
    yield from _legs(journal, state)
    wallet = Decimal(state["walletBalance"])
    if journal.wallet is None or abs(journal.wallet - wallet) > Decimal("0.00000001") * max(1, len(trades)):
        yield f"wallet: journal {journal.wallet}, exchange {wallet}"
    open_there = {whole_id(row["clientOrderId"]) for row in state["orders"]}
    open_there |= {whole_id(row["clientAlgoId"]) for row in state["algoOrders"]}
    for client_id in sorted(open_there - journal.live):
        yield f"order {client_id}: open at the exchange, ended or unknown in the journal"
    for client_id in sorted(journal.live - open_there):
        yield f"order {client_id}: live in the journal, not open at the exchange"
    if journal.duplicates:
        yield f"{journal.duplicates} client ids stand twice in the journal"


def _fills(journal: Journal, trades: list[dict[str, Any]]) -> Iterator[str]:
    there: dict[tuple[str, int, str], tuple[str, Decimal, Decimal, Decimal]] = {}
    for row in trades:
        key = (row["symbol"], int(row["id"]), whole_id(row["clientOrderId"]))
        figures = (
            row["positionSide"],
            Decimal(row["price"]),
            Decimal(row["qty"]),
            Decimal(row["commission"]),
        )
        there[key] = figures
    for key in sorted(there.keys() - journal.fills.keys()):
        yield f"fill {key}: at the exchange, not in the journal: {there[key]}"
    for key in sorted(journal.fills.keys() - there.keys()):
        yield f"fill {key}: in the journal, not at the exchange: {journal.fills[key]}"
    for key in sorted(there.keys() & journal.fills.keys()):
        if there[key] != journal.fills[key]:
            yield f"fill {key}: journal {journal.fills[key]}, exchange {there[key]}"


def _legs(journal: Journal, state: Mapping[str, Any]) -> Iterator[str]:
    there = {
        (row["symbol"], row["positionSide"]): abs(Decimal(row["positionAmt"]))
        for row in state["positions"]
        if row["positionSide"] in LEGS
    }
    for key in sorted(there.keys() | journal.legs.keys()):
        ours, theirs = journal.legs.get(key, Decimal(0)), there.get(key, Decimal(0))
        if ours != theirs:
            yield f"leg {key}: journal {ours}, exchange {theirs}"


def doubled_rungs(state: Mapping[str, Any]) -> list[str]:
    """Give the entries at the exchange that stand twice on one price of one leg."""
    seen: dict[tuple[str, str, str], str] = {}
    doubled: list[str] = []
    for row in state["orders"]:
        opens = (row["positionSide"], row["side"]) in {("LONG", "BUY"), ("SHORT", "SELL")}
        key = (row["symbol"], row["positionSide"], row["price"])
        if opens and seen.setdefault(key, row["clientOrderId"]) != row["clientOrderId"]:
            doubled.append(f"{key}: {seen[key]} and {row['clientOrderId']}")
    return doubled


def unprotected(state: Mapping[str, Any]) -> list[str]:
    """Give the legs at the exchange whose stops do not cover what they hold; the backstop does not count."""
    bare: list[str] = []
    for row in state["positions"]:
        held = abs(Decimal(row["positionAmt"]))
        covered = Decimal(0)
        for stop in state["algoOrders"]:
            if (stop["symbol"], stop["positionSide"]) == (row["symbol"], row["positionSide"]) and not _closes_all(stop):
                covered += Decimal(stop["quantity"])
        if covered < held:
            bare.append(f"{row['symbol']} {row['positionSide']}: holds {held}, stops over {covered}")
    return bare


def _closes_all(stop: Mapping[str, Any]) -> bool:
    return str(stop.get("closePosition", "false")).lower() == "true"
