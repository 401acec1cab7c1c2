"""The journal's tables, and how an older file becomes a file of this version.

Invariants: a table's rows are written by its key, whole, so that writing one twice changes nothing; tape rows are
never rewritten, by migrations neither (the hash chain covers them): a message may only gain fields that have a
default.
"""

import sqlite3
from collections.abc import Mapping
from typing import Final

import attrs

from hedgegrid.errors import Fatal

APPLICATION_ID: Final = 0x48474A31
"""Marks an SQLite file as a journal of ours ("HGJ1")."""
SCHEMA_VERSION: Final = 5


@attrs.frozen(kw_only=True)
class Table:
    """A table: columns with their types, the key that rows are written by, and what a later write may change."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    changing: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return tuple(column.split()[0] for column in self.columns)

    @property
    def create(self) -> str:
        """The statement that makes the table."""
        parts = ", ".join((*self.columns, f"PRIMARY KEY ({', '.join(self.key)})"))
        # A single integer key is the row id; every other key is the table's own tree.
        integer = len(self.key) == 1 and f"{self.key[0]} INTEGER NOT NULL" in self.columns
        return f"CREATE TABLE {self.name} ({parts}){'' if integer else ' WITHOUT ROWID'}"

    @property
    def write(self) -> str:
        """The statement that writes a row, or changes the row of the same key."""
        marks = ", ".join("?" for _ in self.columns)
        changes = ", ".join(f"{name} = excluded.{name}" for name in self.changing)
        conflict = f" ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {changes}" if changes else ""
        return f"INSERT INTO {self.name} VALUES ({marks}){conflict}"  # noqa: S608 - names of this module alone

    @property
    def read(self) -> str:
        """The statement that reads all rows by key."""
        return self.select(f"ORDER BY {', '.join(self.key)}")

    def select(self, rest: str) -> str:
        """The statement that reads rows; ``rest`` says which and in what order, and never holds what a user wrote."""
        return f"SELECT {', '.join(self.names)} FROM {self.name} {rest}"  # noqa: S608 - see above


TAPE: Final = Table(
    name="tape",
    columns=(
        "row INTEGER NOT NULL",
        "kind TEXT NOT NULL",
        "ts_ns INTEGER NOT NULL",
        "payload BLOB NOT NULL",
        "chain BLOB NOT NULL",
    ),
    key=("row",),
)
BOOTS: Final = Table(
    name="boots",
    columns=(
        "epoch INTEGER NOT NULL",
        "wall_ns INTEGER NOT NULL",
        "config_hash TEXT NOT NULL",
        "code_version TEXT NOT NULL",
        "market TEXT NOT NULL",
        "rows_before INTEGER NOT NULL",
        "clean_end INTEGER NOT NULL",
        "end_reason TEXT NOT NULL",
    ),
    key=("epoch",),
    changing=("clean_end", "end_reason"),
)
INSTRUMENTS: Final = Table(
    name="instruments",
    columns=(
        "epoch INTEGER NOT NULL",
        "instrument TEXT NOT NULL",
        "tick TEXT NOT NULL",
        "lot TEXT NOT NULL",
        "unit_e8 INTEGER NOT NULL",
    ),
    key=("epoch", "instrument"),
)
ACCOUNT: Final = Table(
    name="account",
    columns=(
        "one INTEGER NOT NULL",
        "account TEXT NOT NULL",
        "mode TEXT NOT NULL",
        "given_e8 INTEGER",
        "wallet_e8 INTEGER",
        "realised_e8 INTEGER NOT NULL",
        "fees_e8 INTEGER NOT NULL",
        "funding_e8 INTEGER NOT NULL",
    ),
    key=("one",),
    changing=("wallet_e8", "realised_e8", "fees_e8", "funding_e8"),
)
ORDERS: Final = Table(
    name="orders",
    columns=(
        "no INTEGER NOT NULL",
        "client_id TEXT NOT NULL UNIQUE",
        "instrument TEXT NOT NULL",
        "leg INTEGER NOT NULL",
        "purpose INTEGER NOT NULL",
        "kind INTEGER NOT NULL",
        "price_ticks INTEGER NOT NULL",
        "qty_lots INTEGER NOT NULL",
        "filled_lots INTEGER NOT NULL",
        "state TEXT NOT NULL",
        "level INTEGER NOT NULL",
        "generation INTEGER NOT NULL",
        "post_only INTEGER NOT NULL",
        "close_all INTEGER NOT NULL",
        "covers TEXT NOT NULL",
        "tp_micro INTEGER NOT NULL",
        "step_micro INTEGER NOT NULL",
        "created_ns INTEGER NOT NULL",
        "updated_ns INTEGER NOT NULL",
        "cause TEXT NOT NULL",
        "cancel_ns INTEGER NOT NULL",
        "sequence INTEGER NOT NULL",
        "row INTEGER NOT NULL",
    ),
    key=("no",),
    changing=("qty_lots", "filled_lots", "state", "updated_ns", "cause", "cancel_ns"),
)
FILLS: Final = Table(
    name="fills",
    columns=(
        "instrument TEXT NOT NULL",
        "trade_id INTEGER NOT NULL",
        "client_id TEXT NOT NULL",
        "n INTEGER NOT NULL",
        "row INTEGER NOT NULL",
        "leg INTEGER NOT NULL",
        "side INTEGER NOT NULL",
        "purpose INTEGER NOT NULL",
        "level INTEGER NOT NULL",
        "generation INTEGER NOT NULL",
        "price_ticks INTEGER NOT NULL",
        "qty_lots INTEGER NOT NULL",
        "fee_e8 INTEGER NOT NULL",
        "realised_e8 INTEGER NOT NULL",
        "maker INTEGER NOT NULL",
        "ts_ns INTEGER NOT NULL",
        "covers TEXT NOT NULL",
        "lots TEXT NOT NULL",
        "booked_lots INTEGER NOT NULL",
        "gone_lots INTEGER NOT NULL",
    ),
    key=("instrument", "trade_id", "client_id"),
    changing=("lots", "booked_lots", "gone_lots"),
)
LOTS: Final = Table(
    name="lots",
    columns=(
        "instrument TEXT NOT NULL",
        "leg INTEGER NOT NULL",
        "lot_id INTEGER NOT NULL",
        "level INTEGER NOT NULL",
        "generation INTEGER NOT NULL",
        "entry_ticks INTEGER NOT NULL",
        "opened_lots INTEGER NOT NULL",
        "qty_lots INTEGER NOT NULL",
        "tp_ticks INTEGER NOT NULL",
        "stop_ticks INTEGER NOT NULL",
        "step_micro INTEGER NOT NULL",
        "opened_ns INTEGER NOT NULL",
        "closed_ns INTEGER",
    ),
    key=("instrument", "leg", "lot_id"),
    changing=("qty_lots", "closed_ns"),
)
LEGS: Final = Table(
    name="legs",
    columns=(
        "instrument TEXT NOT NULL",
        "leg INTEGER NOT NULL",
        "qty_lots INTEGER NOT NULL",
        "cost_e8 INTEGER NOT NULL",
        "realised_e8 INTEGER NOT NULL",
        "fees_e8 INTEGER NOT NULL",
        "funding_e8 INTEGER NOT NULL",
    ),
    key=("instrument", "leg"),
    changing=("qty_lots", "cost_e8", "realised_e8", "fees_e8", "funding_e8"),
)
FUNDING: Final = Table(
    name="funding",
    columns=(
        "instrument TEXT NOT NULL",
        "ts_ns INTEGER NOT NULL",
        "row INTEGER NOT NULL",
        "rate_e8 INTEGER NOT NULL",
        "mark_ticks INTEGER NOT NULL",
        "long_e8 INTEGER NOT NULL",
        "short_e8 INTEGER NOT NULL",
    ),
    key=("instrument", "ts_ns"),
)
EQUITY: Final = Table(
    name="equity",
    columns=(
        "row INTEGER NOT NULL",
        "ts_ns INTEGER NOT NULL",
        "wallet_e8 INTEGER NOT NULL",
        "unrealised_e8 INTEGER NOT NULL",
        "equity_e8 INTEGER NOT NULL",
        "realised_e8 INTEGER NOT NULL",
        "fees_e8 INTEGER NOT NULL",
        "funding_e8 INTEGER NOT NULL",
    ),
    key=("row",),
)
PERMISSION: Final = Table(
    name="permission",
    columns=(
        "row INTEGER NOT NULL",
        "ts_ns INTEGER NOT NULL",
        "before TEXT NOT NULL",
        "after TEXT NOT NULL",
        "change TEXT NOT NULL",
        "reason TEXT NOT NULL",
        "scope TEXT NOT NULL",
        "figures TEXT NOT NULL",
    ),
    key=("row",),
)
TRIPPED: Final = Table(
    name="tripped",
    columns=(
        "control TEXT NOT NULL",
        "scope TEXT NOT NULL",
        "row INTEGER NOT NULL",
        "ts_ns INTEGER NOT NULL",
        "times INTEGER NOT NULL",
        "figures TEXT NOT NULL",
    ),
    key=("control", "scope"),
    changing=("row", "ts_ns", "times", "figures"),
)
INCIDENTS: Final = Table(
    name="incidents",
    columns=(
        "n INTEGER NOT NULL",
        "row INTEGER NOT NULL",
        "ts_ns INTEGER NOT NULL",
        "kind TEXT NOT NULL",
        "actor TEXT NOT NULL",
        "text TEXT NOT NULL",
        "figures TEXT NOT NULL",
    ),
    key=("n",),
)
GRID: Final = Table(
    name="grid",
    columns=("instrument TEXT NOT NULL", "row INTEGER NOT NULL", "payload TEXT NOT NULL"),
    key=("instrument",),
    changing=("row", "payload"),
)
FOREIGN: Final = Table(
    name="foreign_holdings",
    columns=("instrument TEXT NOT NULL", "row INTEGER NOT NULL", "payload TEXT NOT NULL"),
    key=("instrument",),
    changing=("row", "payload"),
)
LATCHES: Final = Table(
    name="latches",
    columns=("one INTEGER NOT NULL", "row INTEGER NOT NULL", "entries TEXT NOT NULL"),
    key=("one",),
    changing=("row", "entries"),
)
SESSION: Final = Table(
    name="session",
    columns=(
        "one INTEGER NOT NULL",
        "row INTEGER NOT NULL",
        "peak_e8 INTEGER NOT NULL",
        "day_base_e8 INTEGER NOT NULL",
        "session_base_e8 INTEGER NOT NULL",
        "last_e8 INTEGER NOT NULL",
        "next_day_ns INTEGER NOT NULL",
    ),
    key=("one",),
    changing=("row", "peak_e8", "day_base_e8", "session_base_e8", "last_e8", "next_day_ns"),
)
THROTTLE: Final = Table(
    name="throttle",
    columns=("one INTEGER NOT NULL", "row INTEGER NOT NULL", "factor_ppm INTEGER NOT NULL"),
    key=("one",),
    changing=("row", "factor_ppm"),
)
COUNTERS: Final = Table(
    name="counters",
    columns=("name TEXT NOT NULL", "value INTEGER NOT NULL"),
    key=("name",),
    changing=("value",),
)
QUOTES: Final = Table(
    name="quotes",
    columns=("n INTEGER NOT NULL", "kind TEXT NOT NULL", "ts_ns INTEGER NOT NULL", "payload BLOB NOT NULL"),
    key=("n",),
)

PROJECTED: Final = (
    ACCOUNT,
    ORDERS,
    FILLS,
    LOTS,
    LEGS,
    FUNDING,
    EQUITY,
    PERMISSION,
    TRIPPED,
    INCIDENTS,
    GRID,
    FOREIGN,
    LATCHES,
    SESSION,
    THROTTLE,
    COUNTERS,
)
"""The tables that a replay of the tape gives."""
TABLES: Final = (TAPE, BOOTS, INSTRUMENTS, *PROJECTED, QUOTES)
_REASONS_THAT_ROSE: Final = """
INSERT INTO tripped
SELECT reason, scope, max(row), ts_ns, count(*), figures FROM permission
WHERE change IN ('raised', 'raised_again') AND reason != '' GROUP BY reason, scope
"""
_REFUSALS: Final = """
INSERT INTO tripped
SELECT control, scope, row, ts_ns, times, figures FROM (
    SELECT
        json_extract(one.value, '$.control') AS control,
        json_extract(batch.told, '$.instrument') AS scope,
        batch.row,
        coalesce(nullif(json_extract(batch.told, '$.ts_venue_ns'), 0), batch.ts_ns) AS ts_ns,
        count(*) OVER each_control AS times,
        json_object(
            'limit', json_extract(one.value, '$.limit'),
            'remedy', json_extract(one.value, '$.remedy'),
            'value', json_extract(one.value, '$.value')
        ) AS figures,
        row_number() OVER (each_control ORDER BY batch.row DESC, one.key DESC) AS place
    FROM (SELECT row, ts_ns, CAST(payload AS TEXT) AS told FROM tape WHERE kind = 'RefusedBatch') AS batch,
        json_each(batch.told, '$.refused') AS one
    WINDOW each_control AS (
        PARTITION BY json_extract(one.value, '$.control'), json_extract(batch.told, '$.instrument')
    )
) WHERE place = 1
"""
MIGRATIONS: Final[Mapping[int, tuple[str, ...]]] = {
    1: (SESSION.create,),
    2: (FOREIGN.create,),
    3: (TRIPPED.create, _REASONS_THAT_ROSE, _REFUSALS),
    4: (THROTTLE.create,),
}
"""Statements that lead from a version to the next one; a version that is not listed cannot be read any more."""


def create(connection: sqlite3.Connection) -> None:
    """Make the tables of an empty file."""
    for table in TABLES:
        connection.execute(table.create)


def stamp(connection: sqlite3.Connection) -> None:
    """Mark the file as a journal of this version."""
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def version_of(connection: sqlite3.Connection, path: object) -> int:
    """Give the file's version. Fatal for a file that is no journal, or one that a newer hedgegrid wrote."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise Fatal(f"{path} is not a hedgegrid journal: name another path under [journal]")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise Fatal(
            f"{path} is a journal of version {version}, this hedgegrid reads up to {SCHEMA_VERSION}: upgrade it"
        )
    return int(version)


def migrate(connection: sqlite3.Connection, path: object) -> None:
    """Bring an older file to this version, in one transaction. Fatal where no way leads there."""
    first = version_of(connection, path)
    if first == SCHEMA_VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    for version in range(first, SCHEMA_VERSION):
        if version not in MIGRATIONS:
            connection.execute("ROLLBACK")
            raise Fatal(
                f"{path} is a journal of version {first}, too old for this hedgegrid: use the one that wrote it"
            )
        for statement in MIGRATIONS[version]:
            connection.execute(statement)
    stamp(connection)
    connection.execute("COMMIT")
