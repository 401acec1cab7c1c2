"""Opening a journal to write: making a new one, proving an old one, and beginning a boot.

Invariants: a journal appears under its name only when it is whole; a file that is torn, broken, newer or somebody
else's is refused before anything is written to it; every boot has an epoch that no boot before it had.
"""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final, Literal

import attrs

from hedgegrid.errors import Fatal
from hedgegrid.journal import schema
from hedgegrid.journal.changes import Write
from hedgegrid.journal.entries import Row
from hedgegrid.journal.journal import SqliteJournal, Start
from hedgegrid.journal.projections import Projections
from hedgegrid.journal.quotes import QuoteTape
from hedgegrid.journal.reader import (
    Boot,
    SqliteArchive,
    connect,
    first_damage,
    one_line,
    read_account,
    read_boots,
    read_units,
    require_file,
    restore,
    walk_chain,
)
from hedgegrid.journal.writer import Batch, InlineWriter, ThreadWriter, explain, transact
from hedgegrid.model.instrument import Instrument
from hedgegrid.units import NS_PER_S, quote_text

WAL_PAGES: Final = 4096
"""Pages in the log before they are moved into the file (16 MiB): fewer interruptions than SQLite's own choice."""


@attrs.frozen(kw_only=True)
class Identity:
    """Whose journal it is, and what starts on it."""

    account: str
    mode: str
    config_hash: str
    code_version: str
    market: str
    wallet_e8: int | None
    boot_wall_ns: int


def open_journal(  # noqa: PLR0913 - a boot has this many facts, each with its name
    path: Path,
    *,
    account: str,
    mode: str,
    config_hash: str,
    code_version: str,
    synchronous: Literal["full", "normal"],
    threaded: bool,
    instruments: Sequence[Instrument],
    wallet_e8: int | None,
    boot_wall_ns: int,
    market: str = "",
    quotes_kept: int = 0,
    opens: type[sqlite3.Connection] = sqlite3.Connection,
) -> SqliteJournal:
    """Open an account's journal and begin a boot on it; the caller holds the account's lock.

    ``wallet_e8`` is what the account began with (None: the first AccountHydrated tells), ``boot_wall_ns`` the wall
    time, ``market`` the identity of a simulated market; ``threaded`` writes in a thread (real time), else inline
    (virtual time); ``quotes_kept`` > 0 records quotes and marks and keeps about that many; ``opens`` is the connection
    that writes. Fatal, in one line, for a file that is torn, broken, newer, of another account or mode, or that cannot
    be written; nothing is deleted.
    """
    identity = Identity(
        account=account,
        mode=mode,
        config_hash=config_hash,
        code_version=code_version,
        market=market,
        wallet_e8=wallet_e8,
        boot_wall_ns=boot_wall_ns,
    )
    with one_line(path), ExitStack() as undo:
        if not path.exists():
            _make(path, identity)
        rows, chain = _prove(path, identity)
        archive = undo.enter_context(closing(connect(path, read_only=True)))
        connection = undo.enter_context(closing(connect(path, read_only=False, opens=opens)))
        _configure(connection, synchronous)
        boots = read_boots(connection)
        start = Start(epoch=_next_epoch(identity, boots), past_boots=boots, rows=rows, chain=chain)
        state = Projections(*read_account(connection), SqliteArchive(archive))
        restore(state, connection)
        _refuse_changed_rules(connection, path, instruments, state)
        state.boot(
            start.epoch, {**read_units(connection, start.epoch), **{one.name: one.unit_e8 for one in instruments}}
        )
        first = (*_boot_rows(start, identity, instruments), *state.drain())
        quotes = QuoteTape(connection, quotes_kept) if quotes_kept else None
        try:
            transact(connection, (Batch(last_row=rows, writes=first),))
        except sqlite3.Error as error:
            raise Fatal(explain(path, error)) from error
        writer = (ThreadWriter if threaded else InlineWriter)(connection, path, rows)
        undo.pop_all()
    return SqliteJournal(path, start, state, writer, archive, quotes)


def _configure(connection: sqlite3.Connection, synchronous: str) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous.upper()}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")


def _next_epoch(identity: Identity, boots: Sequence[Boot]) -> int:
    """Give the epoch of a new boot: one more than ever, and outside sim the unix time where that is more."""
    following = max((boot.epoch for boot in boots), default=0) + 1
    return following if identity.mode == "sim" else max(following, identity.boot_wall_ns // NS_PER_S)


def _boot_rows(start: Start, identity: Identity, instruments: Sequence[Instrument]) -> tuple[Write, ...]:
    """Give what a new boot writes of itself."""
    wall_ns, rows = identity.boot_wall_ns, start.rows
    boot = (start.epoch, wall_ns, identity.config_hash, identity.code_version, identity.market, rows, 0, "")
    rules: list[Row] = [(start.epoch, one.name, f"{one.tick:f}", f"{one.lot:f}", one.unit_e8) for one in instruments]
    return ((schema.BOOTS.write, [boot]), (schema.INSTRUMENTS.write, rules))


def _refuse_changed_rules(
    connection: sqlite3.Connection, path: Path, instruments: Sequence[Instrument], state: Projections
) -> None:
    """Fatal where something that is open is counted in another tick or lot than the instrument has now."""
    busy = {entry.record.instrument: "an order" for entry in state.orders.live.values()}
    busy |= {leg.instrument: "a position" for leg in state.positions.legs.values() if leg.account.qty_lots > 0}
    statement = "SELECT instrument, tick || ' / ' || lot FROM instruments ORDER BY epoch"
    newest = dict(connection.execute(statement).fetchall())
    for one in instruments:
        rules = f"{one.tick:f} / {one.lot:f}"
        if one.name in busy and newest.get(one.name, rules) != rules:
            raise Fatal(
                f"{path}: {one.name} has {busy[one.name]} counted in tick / lot {newest[one.name]}, now {rules}:"
                " close it first, or move the journal away"
            )


def _make(path: Path, identity: Identity) -> None:
    """Make an empty journal beside its name, and put it there when it is whole."""
    log = path.with_name(path.name + "-wal")
    # Readers leave an empty log behind; one with rows in it belongs to a file that somebody took away.
    if log.exists() and log.stat().st_size > 0:
        raise Fatal(f"{path} is gone but its log {log.name} is there: put the file back, or move the log away")
    new = path.with_name(path.name + ".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for leftover in (new, new.with_name(new.name + "-journal"), new.with_name(new.name + "-wal")):
            leftover.unlink(missing_ok=True)
        with closing(sqlite3.connect(new, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            schema.create(connection)
            account = (1, identity.account, identity.mode, identity.wallet_e8, identity.wallet_e8, 0, 0, 0)
            connection.execute(schema.ACCOUNT.write, account)
            schema.stamp(connection)
            connection.execute("COMMIT")
            connection.execute("PRAGMA journal_mode = WAL")
        new.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Fatal(f"cannot make the journal {path}: {error.strerror}") from error


def _prove(path: Path, identity: Identity) -> tuple[int, bytes]:
    """Prove that the file is whole, ours and of this version (migrating it); give its rows and last hash."""
    require_file(path)
    with closing(connect(path, read_only=True)) as connection:
        version = schema.version_of(connection, path)
        damage = first_damage(connection)
        if damage:
            raise Fatal(f"{path} is corrupt ({damage}): put a copy back or move it away (nothing was deleted)")
    if version < schema.SCHEMA_VERSION:
        with closing(connect(path, read_only=False)) as connection:
            schema.migrate(connection, path)
    with closing(connect(path, read_only=True)) as connection:
        _refuse_foreign(connection, path, identity)
        try:
            return walk_chain(connection)
        except Fatal as error:
            raise Fatal(f"{path}: {error}; trading does not start on it (nothing was deleted)") from error


def _refuse_foreign(connection: sqlite3.Connection, path: Path, identity: Identity) -> None:
    account, mode, opening = read_account(connection)
    if (account, mode) != (identity.account, identity.mode):
        raise Fatal(
            f"{path} belongs to account {account!r} in mode {mode},"
            f" not to {identity.account!r} in mode {identity.mode}: name another path under [journal]"
        )
    if opening.given_e8 != identity.wallet_e8 and None not in (opening.given_e8, identity.wallet_e8):
        began, wanted = quote_text(opening.given_e8 or 0), quote_text(identity.wallet_e8 or 0)
        raise Fatal(
            f"{path} began with a wallet of {began}, the config says {wanted}: name another path, or set it back"
        )
