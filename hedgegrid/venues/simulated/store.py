"""The simulated exchange on disk, so that it lives on when the bot dies.

A small SQLite file beside the journal holds the whole account: one row of state and one row a fill or settlement. It
is written before the exchange says anything of what has changed, so a killed run finds the exchange at least as far
as its own journal.

Invariants: a state is whole (one transaction); the file belongs to one market (seed or recorded files, and rules),
told by its identity.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import attrs
import msgspec

from hedgegrid.core import venue_tables
from hedgegrid.core.codes import FILL_QUEUE, FREE
from hedgegrid.core.records import CancelRequest, LegAccount, Link, Market, VenueOrder
from hedgegrid.errors import Fatal
from hedgegrid.messages.events import FundingPaid
from hedgegrid.model.order import Fill
from hedgegrid.venues.simulated.book import Book
from hedgegrid.venues.simulated.exchange import FILLS_KEPT, Exchange

_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (market TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    saved_step INTEGER NOT NULL,
    step INTEGER NOT NULL,
    ended TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS fills (trade_id INTEGER PRIMARY KEY, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS settled (id INTEGER PRIMARY KEY, payload BLOB NOT NULL);
"""


def _getter(record: type) -> Callable[[Any], tuple[Any, ...]]:
    """Give a quick reader of all fields of a record."""
    return attrgetter(*(field.name for field in attrs.fields(record)))


_READ: dict[type, Callable[[Any], tuple[Any, ...]]] = {
    record: _getter(record) for record in (Market, VenueOrder, Link, CancelRequest, LegAccount)
}


def _used(rows: list[Any], record: type) -> list[tuple[Any, ...]]:
    """Give the slots in use with their index."""
    read = _READ[record]
    return [(index, *read(row)) for index, row in enumerate(rows) if row.state != FREE]


def _book_state(book: Book) -> dict[str, Any]:
    return {
        "market": _READ[Market](book.market),
        "orders": _used(book.orders, VenueOrder),
        "links": _used(book.links, Link),
        "cancels": _used(book.cancels, CancelRequest),
        "accounts": [_READ[LegAccount](account) for account in book.accounts],
        "tables": [len(book.orders), len(book.links), len(book.cancels)],
        "numbers": list(book.client_of.items()),
        "created": list(book.created_ns.items()),
        # Only a cancel that is still on its way can ask for the name of an order that has ended.
        "ended": [(c.no, book.ended[c.no]) for c in book.cancels if c.state != FREE and c.no in book.ended],
        "next_no": book.next_no,
    }


def _fill_rows(rows: list[Any], record: type, capacity: int, used: list[list[Any]]) -> None:
    rows.extend(record() for _ in range(capacity - len(rows)))
    for index, *values in used:
        rows[index] = record(*values)


def _restore_book(book: Book, state: dict[str, Any]) -> None:
    orders, links, cancels = state["tables"]
    book.market = Market(*state["market"])
    _fill_rows(book.orders, VenueOrder, orders, state["orders"])
    _fill_rows(book.links, Link, links, state["links"])
    _fill_rows(book.cancels, CancelRequest, cancels, state["cancels"])
    book.accounts = [LegAccount(*values) for values in state["accounts"]]
    book.client_of = dict(state["numbers"])
    live = {order.no for order in book.orders if order.state != FREE}
    book.number_of = {client_id: no for no, client_id in book.client_of.items() if no in live}
    book.created_ns = dict(state["created"])
    book.ended = OrderedDict(state["ended"])
    book.next_no = state["next_no"]
    join_down, join_up = book.market.join_down, book.market.join_up
    venue_tables.refresh(book.market, book.orders, book.cancels)
    if book.rules.fill_model != FILL_QUEUE:
        # Only the queue asks where orders join it: elsewhere nobody keeps these two, and they stay as they were.
        book.market.join_down, book.market.join_up = join_down, join_up


@attrs.frozen(kw_only=True)
class Kept:
    """Where a kept exchange stands: the state is as of ``saved_step``.

    Up to ``next_step`` only prices have moved since.

    ``ended`` says how the last run ended, "" where it was cut off.
    """

    saved_step: int
    next_step: int
    ended: str


class VenueStore:
    """The file of a kept exchange."""

    def __init__(self, path: Path, identity: str) -> None:
        """Open or make the file. Raises Fatal where it is unreadable or the disk refuses."""
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            # The kernel keeps what a killed process wrote; only a machine that dies could lose the last steps.
            self._db.execute("PRAGMA synchronous = OFF")
            # In one transaction: whoever is killed here leaves either no tables or whole ones.
            self._db.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";"):
                self._db.execute(statement)
            row = self._db.execute("SELECT market FROM identity").fetchone()
            if row is None:
                self._db.execute("INSERT INTO identity VALUES (?)", (identity,))
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise Fatal(
                f"the simulated exchange's file {path} cannot be used: {error}; move it away to start anew"
            ) from error
        self.identity = identity if row is None else str(row[0])

    def load(self, exchange: Exchange) -> Kept | None:
        """Bring an exchange back to where it was last saved; None where the file is new."""
        row = self._db.execute("SELECT saved_step, step, ended, payload FROM state").fetchone()
        if row is None:
            return None
        try:
            return self._restore(exchange, row)
        except (msgspec.DecodeError, sqlite3.Error, KeyError, TypeError, ValueError) as error:
            raise Fatal(f"the simulated exchange's file {self.path} is damaged: {error}; move it away") from error

    def _restore(self, exchange: Exchange, row: tuple[Any, ...]) -> Kept:
        """Fill the exchange from the row of its state."""
        state = msgspec.msgpack.decode(row[3])
        for book, saved in zip(exchange.books, state["books"], strict=True):
            _restore_book(book, saved)
        exchange.initial_wallet_e8 = state["wallet"]
        exchange.next_trade_id = state["next_trade_id"]
        exchange.liquidated = state["liquidated"]
        exchange.ts_ns = state["ts_ns"]
        exchange.last_settled_ns = state["last_settled_ns"]
        fills = self._db.execute("SELECT payload FROM fills ORDER BY trade_id DESC LIMIT ?", (FILLS_KEPT,)).fetchall()
        exchange.fills = [msgspec.json.decode(payload, type=Fill) for (payload,) in reversed(fills)]
        settled = self._db.execute("SELECT payload FROM settled ORDER BY id DESC LIMIT ?", (FILLS_KEPT,)).fetchall()
        exchange.settled = [msgspec.json.decode(payload, type=FundingPaid) for (payload,) in reversed(settled)]
        return Kept(saved_step=int(row[0]), next_step=int(row[1]), ended=str(row[2]))

    def save(self, exchange: Exchange, next_step: int, ended: str = "") -> None:
        """Write the whole account in one transaction. Raises Fatal where the disk refuses."""
        state = {
            "books": [_book_state(book) for book in exchange.books],
            "wallet": exchange.initial_wallet_e8,
            "next_trade_id": exchange.next_trade_id,
            "liquidated": exchange.liquidated,
            "ts_ns": exchange.ts_ns,
            "last_settled_ns": exchange.last_settled_ns,
        }
        try:
            self._db.execute("BEGIN")
            self._db.execute(
                "INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?)",
                (next_step, next_step, ended, msgspec.msgpack.encode(state)),
            )
            self._db.executemany(
                "INSERT INTO fills VALUES (?, ?)",
                [(fill.trade_id, msgspec.json.encode(fill)) for fill in exchange.unsaved_fills],
            )
            self._db.executemany(
                "INSERT INTO settled (payload) VALUES (?)",
                [(msgspec.json.encode(row),) for row in exchange.unsaved_settled],
            )
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._refused(error) from error
        exchange.mark_saved()

    def save_place(self, next_step: int) -> None:
        """Write only how far the tape has been walked: nothing but prices has changed since the last ``save``."""
        try:
            self._db.execute("UPDATE state SET step = ?", (next_step,))
        except sqlite3.Error as error:
            raise self._refused(error) from error

    def _refused(self, error: sqlite3.Error) -> Fatal:
        return Fatal(f"the simulated exchange's file {self.path} cannot be written: {error}; free some disk space")

    def close(self) -> None:
        """Close the file."""
        self._db.close()
