"""Round trips and days, made of the journal's tables.

Invariants: a fee that several lots share is split into whole units of 1e-8 that add up to it; the realised profit of
a round trip is that of its own entry and exits (the leg's average cost decides when, not how much: over all trips of
a leg that ended flat both sums agree).
"""

import sqlite3
from collections.abc import Iterator

import attrs

from hedgegrid.errors import Fatal
from hedgegrid.journal import schema
from hedgegrid.journal.entries import FillEntry, LotEntry, StoredLot
from hedgegrid.journal.reader import read_account
from hedgegrid.journal.rules import RulesAt
from hedgegrid.journal.tape import decode
from hedgegrid.messages.events import AccountChanged, AccountHydrated, WalletRead
from hedgegrid.model.grid import ADOPTED_GENERATION, ADOPTED_LEVEL
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.units import NS_PER_DAY

_LotKey = tuple[str, Leg, int]


@attrs.define(kw_only=True)
class Trip:
    """A lot from its entry to the end of its last exit. Prices in ticks, money in quote x 1e8, times in ns.

    ``row`` is its first fill's tape row; ``exits`` are (price, quantity, purpose), oldest first, ``exit_e8`` what they
    came to.
    """

    lot: StoredLot
    row: int
    exits: list[tuple[int, int, Purpose]] = attrs.Factory(list)
    entry_e8: int = 0
    exit_e8: int = 0
    fees_e8: int = 0
    closed_lots: int = 0
    closed_ns: int = 0

    @property
    def realised_e8(self) -> int:
        """What the trip made, before fees and funding."""
        made = self.exit_e8 - self.entry_e8
        return made if self.lot.leg is Leg.LONG else -made


@attrs.define(kw_only=True)
class Day:
    """A UTC day, numbered from 1970-01-01: money in quote x 1e8, fees and funding as costs."""

    number: int
    fills: int = 0
    realised_e8: int = 0
    fees_e8: int = 0
    funding_e8: int = 0
    transfers_e8: int = 0
    """What came (negative: went) beside all results: transfers, and what nobody has explained."""

    @property
    def change_e8(self) -> int:
        """What the day's trading made of the wallet; its transfers are no part of it."""
        return self.realised_e8 - self.fees_e8 - self.funding_e8


def split(amount_e8: int, quantities: list[int], whole: int) -> list[int]:
    """Split an amount by quantities out of ``whole``, in whole units: shares of all of it add up to it exactly."""
    shares: list[int] = []
    done = 0
    for quantity in quantities:
        before = amount_e8 * done // whole
        done += quantity
        shares.append(amount_e8 * done // whole - before)
    return shares


def read_fills(connection: sqlite3.Connection) -> Iterator[FillEntry]:
    """Give all fills in the order of the tape."""
    for row in connection.execute(schema.FILLS.select("ORDER BY n")):
        yield FillEntry.read(row)


def read_trips(connection: sqlite3.Connection, rules: RulesAt) -> Iterator[Trip]:
    """Give the round trips in the order in which they ended; lots that are open are none yet.

    A lot is told after its entry has filled and before its exits, so one walk over the fills is enough. What was
    closed before it became a lot (see ``positions``) is in no trip.
    """
    trips: dict[_LotKey, Trip] = {}
    for entry in read_fills(connection):
        fill = entry.fill
        unit_e8 = rules.at(fill.instrument, entry.tape_row).unit_e8
        fees = split(fill.fee_e8, [qty_lots for _, qty_lots in entry.lots], fill.qty_lots)
        for (lot_id, qty_lots), fee_e8 in zip(entry.lots, fees, strict=True):
            key = (fill.instrument, fill.leg, lot_id)
            trip = trips.get(key) or trips.setdefault(key, _begun(_lot(connection, key), entry.tape_row, unit_e8))
            trip.fees_e8 += fee_e8
            notional_e8 = fill.price_ticks * qty_lots * unit_e8
            if fill.purpose is Purpose.ENTRY:
                trip.entry_e8 += notional_e8
                continue
            trip.exits.append((fill.price_ticks, qty_lots, fill.purpose))
            trip.exit_e8 += notional_e8
            trip.closed_lots += qty_lots
            trip.closed_ns = fill.ts_ns
            if trip.closed_lots == trip.lot.opened_lots:
                yield trips.pop(key)


def _begun(lot: StoredLot, row: int, unit_e8: int) -> Trip:
    """Begin a trip; a lot that was adopted has no entry of its own among the fills, but its average entry."""
    adopted = (lot.level, lot.generation) == (ADOPTED_LEVEL, ADOPTED_GENERATION)
    return Trip(lot=lot, row=row, entry_e8=lot.entry_ticks * lot.opened_lots * unit_e8 if adopted else 0)


def _lot(connection: sqlite3.Connection, key: _LotKey) -> StoredLot:
    instrument, leg, lot_id = key
    statement = schema.LOTS.select("WHERE instrument = ? AND leg = ? AND lot_id = ?")
    row = connection.execute(statement, (instrument, int(leg), lot_id)).fetchone()
    if row is None:
        raise Fatal(f"the journal has no lot {lot_id} of {instrument}: verify it")
    return LotEntry.read(row).lot


def read_days(connection: sqlite3.Connection) -> list[Day]:
    """Give the UTC days on which something moved the wallet, in order."""
    days: dict[int, Day] = {}
    paid = "SELECT ts_ns / ?, count(*), sum(realised_e8), sum(fee_e8) FROM fills GROUP BY 1"
    for number, fills, realised_e8, fees_e8 in connection.execute(paid, (NS_PER_DAY,)):
        days[number] = Day(number=number, fills=fills, realised_e8=realised_e8, fees_e8=fees_e8)
    settled = "SELECT ts_ns / ?, sum(long_e8 + short_e8) FROM funding GROUP BY 1"
    for number, funding_e8 in connection.execute(settled, (NS_PER_DAY,)):
        days.setdefault(number, Day(number=number)).funding_e8 = funding_e8
    for ts_ns, amount_e8 in read_transfers(connection):
        days.setdefault(ts_ns // NS_PER_DAY, Day(number=ts_ns // NS_PER_DAY)).transfers_e8 += amount_e8
    return [days[number] for number in sorted(days)]


def read_transfers(connection: sqlite3.Connection) -> Iterator[tuple[int, int]]:
    """Give what moved the wallet beside all results, as (time in ns, quote x 1e8), in the order of the tape.

    What came before the exchange told the wallet for the first time is in what the account began with.
    """
    _, _, opening = read_account(connection)
    told = opening.given_e8 is not None
    kinds = "('AccountHydrated', 'AccountChanged', 'WalletRead')"
    rows = connection.execute(f"SELECT kind, payload FROM tape WHERE kind IN {kinds} ORDER BY row")  # noqa: S608 - names of ours
    for kind, payload in rows:
        match decode(kind, payload):
            case AccountHydrated():
                told = True
            case AccountChanged(delta_e8=amount_e8) | WalletRead(unexplained_e8=amount_e8) as message if told:
                if amount_e8 != 0:
                    yield message.ts_venue_ns or message.ts_recv_ns, amount_e8
