"""Reading a journal file: opening it without changing it, proving it whole, and taking its state back into memory.

Invariants: a file that is read here is never written, its log beside it neither; everything that is wrong with a file
is one line of ``Fatal``.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import msgspec

from hedgegrid.core.order_state import OrderState, is_terminal
from hedgegrid.core.permission import LatchedEntry
from hedgegrid.core.reconcile_views import FillKey
from hedgegrid.core.records import LegAccount
from hedgegrid.errors import Fatal
from hedgegrid.journal import schema
from hedgegrid.journal.entries import Cell, FillEntry, LegEntry, LotEntry, OrderEntry
from hedgegrid.journal.positions import RESTORED_FILLS
from hedgegrid.journal.projections import Opening, Projections
from hedgegrid.journal.tape import GENESIS, link
from hedgegrid.messages.events import ForeignSeen, GridMoved
from hedgegrid.model.account import SessionMemory
from hedgegrid.model.order import Leg, Purpose

_HEADER = b"SQLite format 3\0"
_NEWEST = "SELECT instrument, trade_id, client_id, row FROM fills ORDER BY row DESC LIMIT ?"
_ENDED = ", ".join(f"'{state.value}'" for state in OrderState if is_terminal(state))


@attrs.frozen(kw_only=True)
class Boot:
    """A start of the bot on this journal. ``rows_before``: the rows of the tape that are older than it."""

    epoch: int
    wall_ns: int
    config_hash: str
    code_version: str
    market: str
    rows_before: int
    clean_end: bool
    end_reason: str


@contextmanager
def open_reader(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a journal for reading, as of one moment. Fatal for a file that is none, of another version, or torn."""
    require_file(path)
    with one_line(path), closing(connect(path, read_only=True)) as connection:
        version = schema.version_of(connection, path)
        if version != schema.SCHEMA_VERSION:
            raise Fatal(
                f"{path} is a journal of the older version {version}: start the bot once to bring it up to date"
            )
        connection.execute("BEGIN")
        yield connection


def require_file(path: Path) -> None:
    """Tell whether there is a database to open at all. Fatal where there is none."""
    try:
        with path.open("rb") as file:
            header = file.read(len(_HEADER))
    except OSError as error:
        raise Fatal(f"cannot read the journal {path}: {error.strerror}") from error
    if header != _HEADER:
        raise Fatal(f"{path} is torn or no journal: put a copy back or move it away (nothing was changed)")


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one line of Fatal."""
    try:
        yield
    except sqlite3.Error as error:
        raise Fatal(f"journal {path}: {error} (nothing was deleted)") from error


def connect(path: Path, *, read_only: bool, opens: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    """Open a connection that commits when told to, and waits a few seconds for other connections."""
    mode = "ro" if read_only else "rw"
    uri = f"file:{quote(str(path))}?mode={mode}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0, factory=opens)


def first_damage(connection: sqlite3.Connection) -> str:
    """Give what is wrong with the pages of the file, or nothing."""
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return "" if found == "ok" else " ".join(str(found).split())


def walk_chain(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """Recompute the chain of hashes; give the number of rows and the last hash. Fatal where a row breaks it."""
    rows, chain = 0, GENESIS
    for row, kind, payload, stored in connection.execute("SELECT row, kind, payload, chain FROM tape ORDER BY row"):
        rows += 1
        # What was edited by hand may have become a text: it is no payload of ours, whatever it says.
        chain = link(chain, kind, payload) if isinstance(payload, bytes) and isinstance(kind, str) else GENESIS
        if row != rows or chain != stored:
            raise Fatal(f"the chain of hashes breaks at row {rows}: the journal was changed or is torn")
    return rows, chain


def read_boots(connection: sqlite3.Connection) -> tuple[Boot, ...]:
    """Give the boots, oldest first."""
    return tuple(
        Boot(**{**dict(zip(schema.BOOTS.names, row, strict=True)), "clean_end": bool(row[6])})
        for row in connection.execute(schema.BOOTS.read)
    )


def read_units(connection: sqlite3.Connection, epoch: int) -> dict[str, int]:
    """Give the units (one tick on one lot, in quote x 1e8) of the instruments up to a boot, the newest of each."""
    statement = "SELECT instrument, unit_e8 FROM instruments WHERE epoch <= ? ORDER BY epoch"
    return dict(connection.execute(statement, (epoch,)).fetchall())


def read_account(connection: sqlite3.Connection) -> tuple[str, str, Opening]:
    """Give the account's name, its mode and what it began with."""
    row = connection.execute(schema.ACCOUNT.read).fetchone()
    if row is None:
        raise Fatal("the journal names no account: it is torn")
    _, account, mode, given_e8, wallet_e8, realised_e8, fees_e8, funding_e8 = row
    opening = Opening(
        given_e8=given_e8, wallet_e8=wallet_e8, realised_e8=realised_e8, fees_e8=fees_e8, funding_e8=funding_e8
    )
    return account, mode, opening


class SqliteArchive:
    """The past that is on disk, for the projections."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Read through ``connection``, which belongs to the caller's thread."""
        self._connection = connection

    def order(self, client_id: str) -> OrderEntry | None:
        """Give an order by its client id."""
        row = self._connection.execute(schema.ORDERS.select("WHERE client_id = ?"), (client_id,)).fetchone()
        return None if row is None else OrderEntry.read(row)

    def has_fill(self, key: FillKey) -> bool:
        """Tell whether a fill is known."""
        statement = "SELECT 1 FROM fills WHERE instrument = ? AND trade_id = ? AND client_id = ?"
        return self._connection.execute(statement, key).fetchone() is not None

    def has_lot(self, instrument: str, leg: Leg, lot_id: int) -> bool:
        """Tell whether a lot is known, open or closed."""
        statement = "SELECT 1 FROM lots WHERE instrument = ? AND leg = ? AND lot_id = ?"
        return self._connection.execute(statement, (instrument, int(leg), lot_id)).fetchone() is not None

    def has_funding(self, instrument: str, ts_ns: int) -> bool:
        """Tell whether a settlement is known."""
        statement = "SELECT 1 FROM funding WHERE instrument = ? AND ts_ns = ?"
        return self._connection.execute(statement, (instrument, ts_ns)).fetchone() is not None


def restore(projections: Projections, connection: sqlite3.Connection) -> None:
    """Take the state of a file back into memory."""
    archive = SqliteArchive(connection)

    def rows(table: schema.Table, rest: str) -> Iterator[tuple[Cell, ...]]:
        return connection.execute(table.select(rest))

    def one(statement: str) -> int:
        return int(connection.execute(statement).fetchone()[0])

    projections.orders.restore(
        [OrderEntry.read(row) for row in rows(schema.ORDERS, f"WHERE state NOT IN ({_ENDED}) ORDER BY no")],
        count=one("SELECT coalesce(max(no), 0) FROM orders"),
        max_sequence=one("SELECT max(0, coalesce(max(sequence), 0)) FROM orders"),
    )
    unbooked = f"WHERE purpose = {int(Purpose.ENTRY)} AND booked_lots < qty_lots ORDER BY n"
    positions = projections.positions
    positions.restore(
        legs=[_leg(row) for row in connection.execute(schema.LEGS.read)],
        lots=[
            LotEntry.read(row) for row in rows(schema.LOTS, "WHERE closed_ns IS NULL ORDER BY instrument, leg, lot_id")
        ],
        unbooked=[_unbooked(row, archive) for row in rows(schema.FILLS, unbooked)],
        trade_ids=dict(connection.execute("SELECT instrument, max(trade_id) FROM fills GROUP BY 1").fetchall()),
        settled_ns=dict(connection.execute("SELECT instrument, max(ts_ns) FROM funding GROUP BY 1").fetchall()),
        keys={row[:3]: row[3] for row in reversed(connection.execute(_NEWEST, (RESTORED_FILLS,)).fetchall())},
    )
    positions.lot_counters.update(connection.execute("SELECT instrument, max(lot_id) FROM lots GROUP BY 1").fetchall())
    positions.fills = one("SELECT count(*) FROM fills")
    positions.lots = one("SELECT count(*) FROM lots")
    positions.settlements = one("SELECT count(*) FROM funding")
    projections.samples = one("SELECT count(*) FROM equity")
    projections.permission_changes = one("SELECT count(*) FROM permission")
    projections.notes.incidents = one("SELECT coalesce(max(n), 0) FROM incidents")
    projections.notes.counters.update(dict(connection.execute(schema.COUNTERS.read).fetchall()))
    for row in connection.execute(schema.TRIPPED.read):
        projections.tripped.restore(row)
    for payload in connection.execute("SELECT payload FROM grid ORDER BY instrument"):
        moved = msgspec.json.decode(payload[0], type=GridMoved)
        projections.grids[moved.instrument] = moved
    for payload in connection.execute("SELECT payload FROM foreign_holdings ORDER BY instrument"):
        seen = msgspec.json.decode(payload[0], type=ForeignSeen)
        projections.foreign[seen.instrument] = seen
    latched = connection.execute("SELECT entries FROM latches").fetchone()
    if latched is not None:
        projections.latched = msgspec.json.decode(latched[0], type=tuple[LatchedEntry, ...])
    projections.session = _session(connection, projections.opening)
    throttled = connection.execute("SELECT factor_ppm FROM throttle").fetchone()
    if throttled is not None:
        (projections.throttle_ppm,) = throttled
    projections.last_ts_ns = one("SELECT coalesce((SELECT ts_ns FROM tape ORDER BY row DESC LIMIT 1), 0)")


def _session(connection: sqlite3.Connection, opening: Opening) -> SessionMemory | None:
    """Give what the session controls remember; a file from before there were any has its equity samples alone."""
    sampled = connection.execute("SELECT row, equity_e8 FROM equity ORDER BY row DESC LIMIT 1").fetchone()
    kept = connection.execute(schema.SESSION.read).fetchone()
    if kept is not None:
        memory = SessionMemory(**dict(zip(schema.SESSION.names[2:], kept[2:], strict=True)))
        newer = sampled is not None and sampled[0] > kept[1]
        return attrs.evolve(memory, last_e8=sampled[1]) if newer else memory
    if sampled is None or opening.wallet_e8 is None:
        return None
    (highest_e8,) = connection.execute("SELECT max(equity_e8) FROM equity").fetchone()
    return SessionMemory(
        peak_e8=max(opening.wallet_e8, highest_e8),
        day_base_e8=sampled[1],
        session_base_e8=opening.wallet_e8,
        last_e8=sampled[1],
        next_day_ns=0,
    )


def _unbooked(row: tuple[Cell, ...], archive: SqliteArchive) -> FillEntry:
    """Give a fill with what its order was sent with."""
    entry = FillEntry.read(row)
    order = archive.order(entry.fill.client_id)
    if order is not None:
        entry.tp_micro, entry.step_micro = order.tp_micro, order.step_micro
    return entry


def _leg(row: tuple[Any, ...]) -> LegEntry:
    instrument, leg, qty_lots, cost_e8, realised_e8, fees_e8, funding_e8 = row
    account = LegAccount(
        qty_lots=qty_lots, cost_e8=cost_e8, realised_e8=realised_e8, fees_e8=fees_e8, funding_e8=funding_e8
    )
    return LegEntry(instrument=instrument, leg=Leg(leg), account=account)
