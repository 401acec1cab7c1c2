"""Proving a journal: its pages, its chain of hashes, and that its tables are what its tape says.

Three independent looks: the tape replayed through fresh projections must give the same tables, row by row; simple
sums over the messages (``audit``) must give the same money and positions; sums over the tables must agree with each
other.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import attrs

from hedgegrid.core import ledger
from hedgegrid.core.records import LegAccount
from hedgegrid.errors import Fatal
from hedgegrid.journal import schema
from hedgegrid.journal.audit import Audit, Check
from hedgegrid.journal.projections import Opening, Projections
from hedgegrid.journal.reader import (
    Boot,
    SqliteArchive,
    first_damage,
    open_reader,
    read_account,
    read_boots,
    read_units,
)
from hedgegrid.journal.tape import GENESIS, decode, link
from hedgegrid.journal.writer import Batch, transact
from hedgegrid.model.order import Leg, Purpose
from hedgegrid.units import quote_text

_REPLAY_ROWS: Final = 2_000
"""Rows of a replay between two writes."""
_CELL_MAX: Final = 60
_EXACT_MODES: Final = ("sim", "paper")


@attrs.frozen(kw_only=True)
class VerifyReport:
    """The outcome: what the journal is, every check in order, and what it counted beside (repeated fills, refusals)."""

    title: str
    checks: tuple[Check, ...]
    noted: str

    @property
    def ok(self) -> bool:
        """Whether every check agrees."""
        return all(check.ok for check in self.checks)

    def text(self) -> str:
        """Give the report as lines: the journal, one a check, and the verdict."""
        failed = sum(not check.ok for check in self.checks)
        verdict = f"FAILED: {failed} of {len(self.checks)} checks" if failed else f"OK: {len(self.checks)} checks"
        return "\n".join((self.title, *(check.text() for check in self.checks), f"noted: {self.noted}", verdict))


def verify(path: Path) -> VerifyReport:
    """Prove a journal, which may be in use. Fatal where it cannot be read at all."""
    with open_reader(path) as stored, closing(sqlite3.connect("", isolation_level=None)) as fresh:
        damage = first_damage(stored)
        pages = Check(name="the pages of the file", ok=not damage, figures=damage or "no damage found")
        try:
            account, mode, _ = read_account(stored)
            boots = read_boots(stored)
            fresh.execute("PRAGMA journal_mode = OFF")
            fresh.execute("PRAGMA synchronous = OFF")
            schema.create(fresh)
            replay = _Replay(stored, fresh, boots)
            replay.run()
        except Fatal as error:
            unread = Check(name="the tape", ok=False, figures=str(error))
            return VerifyReport(title=f"journal {path}", checks=(pages, unread), noted="nothing")
        checks = [
            pages,
            replay.chain_check(),
            _boots_check(boots, replay.rows),
            *(_same_rows(table, stored, fresh) for table in schema.PROJECTED),
            *replay.audit.checks(),
            *_table_checks(stored, replay),
        ]
        rows, hashed = replay.rows, replay.chain.hex()
        title = f"journal {path}: account {account}, mode {mode}, {len(boots):,} boots, {rows:,} rows, hash {hashed}"
        counted = stored.execute(schema.COUNTERS.read).fetchall()
        noted = ", ".join(f"{name} {value:,}" for name, value in counted) or "nothing"
        return VerifyReport(title=title, checks=tuple(checks), noted=noted)


class _Replay:
    """Walks the tape once: the chain, fresh projections in a file of their own, and the audit."""

    def __init__(self, stored: sqlite3.Connection, fresh: sqlite3.Connection, boots: tuple[Boot, ...]) -> None:
        account, mode, opening = read_account(stored)
        self._stored = stored
        self._fresh = fresh
        self._boots = list(reversed(boots))
        # What was learned from the exchange is learned anew.
        opening = Opening(given_e8=opening.given_e8, wallet_e8=opening.given_e8)
        self._state = Projections(account, mode, opening, SqliteArchive(fresh))
        self._state.write_account()
        self.audit = Audit(opening)
        self.rows = 0
        self.chain = GENESIS
        self._break = ""
        self._times = 0

    def run(self) -> None:
        """Replay all rows. Fatal for a row that cannot be read."""
        for row, kind, ts_ns, payload, stored in self._stored.execute(schema.TAPE.read):
            self._begin_boots()
            self.rows += 1
            self.chain = link(self.chain, kind, payload)
            if (row != self.rows or self.chain != stored) and not self._break:
                self._break = f"it breaks at row {row}"
            message = decode(kind, payload)
            self._times += message.ts_recv_ns != ts_ns
            try:
                self._state.apply(self.rows, message)
            except (AssertionError, KeyError, ValueError) as error:
                raise Fatal(f"row {row}, a {kind}, cannot be applied: {error}") from error
            self.audit.see(self.rows, message)
            if self.rows % _REPLAY_ROWS == 0:
                self._write()
        self._begin_boots()
        self._write()

    def _begin_boots(self) -> None:
        while self._boots and self._boots[-1].rows_before <= self.rows:
            epoch = self._boots.pop().epoch
            self._state.boot(epoch, read_units(self._stored, epoch))

    def _write(self) -> None:
        transact(self._fresh, (Batch(last_row=self.rows, writes=self._state.drain()),))
        self._state.trim(self.rows)

    def chain_check(self) -> Check:
        """Give what the chain of hashes and the rows' times say."""
        wrong = self._break or (f"{self._times:,} rows carry another time than their message" if self._times else "")
        figures = wrong or f"{self.rows:,} rows, ends in {self.chain.hex()[:16]}"
        return Check(name="the chain of hashes", ok=not wrong, figures=figures)


def _boots_check(boots: tuple[Boot, ...], rows: int) -> Check:
    """Epochs are in the order of their rows, and every boot says how it ended but the last, which may be running."""
    before = [boot.rows_before for boot in boots]
    ordered = before == sorted(before) and all(0 <= one <= rows for one in before)
    named = all(boot.config_hash and boot.code_version for boot in boots)
    ended = all(boot.end_reason for boot in boots if boot.clean_end)
    first = not boots or before[0] == 0
    clean = sum(boot.clean_end for boot in boots)
    figures = f"{len(boots):,} boots, {clean:,} ended cleanly"
    return Check(name="the boots", ok=ordered and named and ended and first and bool(boots), figures=figures)


def _same_rows(table: schema.Table, stored: sqlite3.Connection, fresh: sqlite3.Connection) -> Check:
    """Compare a table with its replay, row by row."""
    rows, wrong, first = 0, 0, ""
    pairs: Iterator[tuple[Any, Any]] = zip_longest(stored.execute(table.read), fresh.execute(table.read))
    for is_row, should in pairs:
        rows += 1
        if is_row != should:
            wrong += 1
            first = first or _difference(table, is_row, should)
    figures = f"{rows:,} rows as replayed"
    if wrong:
        figures = f"{wrong:,} of {rows:,} rows differ from the replay; {first}"
    return Check(name=f"the table {table.name}", ok=not wrong, figures=figures)


def _difference(table: schema.Table, is_row: tuple[Any, ...] | None, should: tuple[Any, ...] | None) -> str:
    if is_row is None or should is None:
        where = should if is_row is None else is_row
        keys = ", ".join(str(cell) for name, cell in zip(table.names, where or (), strict=True) if name in table.key)
        return f"row {keys} is {'missing' if is_row is None else 'not of the tape'}"
    keys = ", ".join(str(cell) for name, cell in zip(table.names, should, strict=True) if name in table.key)
    for name, found, right in zip(table.names, is_row, should, strict=True):
        if found != right:
            return f"row {keys}: {name} is {str(found)[:_CELL_MAX]!r}, replayed {str(right)[:_CELL_MAX]!r}"
    return f"row {keys}"


def _table_checks(stored: sqlite3.Connection, replay: _Replay) -> Iterator[Check]:
    """Compare the tables with each other and with the audit's sums."""
    audit = replay.audit
    legs = _by_leg(stored, "SELECT instrument, leg, qty_lots FROM legs")
    entry = int(Purpose.ENTRY)
    signed = (
        "SELECT instrument, leg, sum(CASE WHEN purpose = ? THEN qty_lots ELSE -qty_lots END) FROM fills GROUP BY 1, 2"
    )
    fills = _by_leg(stored, signed, entry)
    lots = _by_leg(stored, "SELECT instrument, leg, sum(qty_lots) FROM lots GROUP BY 1, 2")
    left = "SELECT instrument, leg, sum(qty_lots - booked_lots - gone_lots) FROM fills WHERE purpose = ? GROUP BY 1, 2"
    unbooked = _by_leg(stored, left, entry)
    yield from _leg_checks(legs, fills, lots, unbooked, audit)
    (count,) = stored.execute("SELECT count(*) FROM fills").fetchone()
    yield Check(
        name="no fill is counted twice",
        ok=count == audit.fills,
        figures=f"{count:,} fills stored, {audit.fills:,} in the tape, {audit.repeated:,} repeated and ignored",
    )
    (orders,) = stored.execute("SELECT count(*) FROM orders").fetchone()
    yield Check(
        name="every approved order is kept",
        ok=orders == audit.approvals,
        figures=f"{orders:,} orders stored, {audit.approvals:,} approved",
    )
    yield _realised_check(stored, audit, count)
    yield _wallet_check(stored, replay)


def _realised_check(stored: sqlite3.Connection, audit: Audit, count: int) -> Check:
    """Where an exchange of ours made the fills, each realised what the average cost says, in the exchange's order."""
    (differs,) = stored.execute(
        "SELECT coalesce(max(value), 0) FROM counters WHERE name = 'realised_differs'"
    ).fetchone()
    simulated = read_account(stored)[1] in _EXACT_MODES
    if differs and simulated and not audit.adopted:
        # They were counted as they were told; a word that came late stands behind a younger one.
        differs = _differing(stored)
    return Check(
        name="realised profit is that of the average cost",
        ok=differs == 0 or not simulated,
        figures=f"{differs:,} of {count:,} fills differ" + ("" if simulated else " (an exchange rounds its own way)"),
    )


def _differing(stored: sqlite3.Connection) -> int:
    """Count the fills that realised something else than the average cost of their leg at their trade."""
    (epoch,) = stored.execute("SELECT max(epoch) FROM boots").fetchone()
    units = read_units(stored, epoch)
    legs: dict[tuple[str, int], LegAccount] = {}
    differing = 0
    rows = (
        "SELECT instrument, leg, purpose, price_ticks, qty_lots, realised_e8 FROM fills ORDER BY instrument, trade_id"
    )
    for name, leg, purpose, price_ticks, qty_lots, told_e8 in stored.execute(rows):
        account = legs.setdefault((name, leg), LegAccount())
        held_lots = qty_lots if purpose == Purpose.ENTRY else min(qty_lots, account.qty_lots)
        notional_e8 = ledger.notional_e8(price_ticks, held_lots, units[name])
        realised_e8 = 0
        if purpose == Purpose.ENTRY:
            ledger.increase(account, qty_lots, notional_e8)
        elif held_lots:
            realised_e8 = ledger.reduce(account, leg, held_lots, notional_e8)
        differing += realised_e8 != told_e8
    return differing


def _by_leg(stored: sqlite3.Connection, statement: str, *cells: int) -> dict[tuple[str, Leg], int]:
    return {(instrument, Leg(leg)): lots for instrument, leg, lots in stored.execute(statement, cells)}


def _leg_checks(
    legs: dict[tuple[str, Leg], int],
    fills: dict[tuple[str, Leg], int],
    lots: dict[tuple[str, Leg], int],
    unbooked: dict[tuple[str, Leg], int],
    audit: Audit,
) -> Iterator[Check]:
    every = sorted({*legs, *fills, *lots, *audit.positions, *audit.adopted})
    traded = {leg: legs.get(leg, 0) - audit.adopted.get(leg, 0) for leg in every}
    # What an order of ours closes beyond our part of a leg is others', where there were any.
    beyond = {leg: lots for leg, lots in audit.beyond.items() if leg[0] in audit.shared}
    made = {leg: fills.get(leg, 0) + beyond.get(leg, 0) for leg in every}
    wrong = [leg for leg in every if not traded[leg] == made[leg] == audit.positions.get(leg, 0)]
    sums = ", ".join(f"{leg[0]} {leg[1].name} {legs.get(leg, 0):,}" for leg in (wrong or every)) or "no legs"
    taken = sum(audit.adopted.values())
    told = f"; {taken:,} of them adopted" if taken else ""
    told += f"; {sum(beyond.values()):,} of others' closed by orders of ours" if beyond else ""
    told += f"; of the first the fills make {fills.get(wrong[0], 0):,}" if wrong else ""
    yield Check(name="fills add up to the positions (lots)", ok=not wrong, figures=sums + told)
    wrong = [leg for leg in every if lots.get(leg, 0) + unbooked.get(leg, 0) != legs.get(leg, 0)]
    figures = f"{sum(lots.values()):,} lots open, {sum(unbooked.values()):,} filled and not yet told as lots"
    if wrong:
        instrument, leg = wrong[0]
        figures += f"; {instrument} {leg.name} holds {legs.get(wrong[0], 0):,}, its lots {lots.get(wrong[0], 0):,}"
    yield Check(name="open lots add up to the positions (lots)", ok=not wrong, figures=figures)


def _wallet_check(stored: sqlite3.Connection, replay: _Replay) -> Check:
    """Wallet at the end = what it began with + realised - fees - funding, by the tables, and by the tape."""
    _, _, opening = read_account(stored)
    realised, fees = stored.execute(
        "SELECT coalesce(sum(realised_e8), 0), coalesce(sum(fee_e8), 0) FROM fills"
    ).fetchone()
    (funding,) = stored.execute("SELECT coalesce(sum(long_e8 + short_e8), 0) FROM funding").fetchone()
    by_legs = stored.execute(
        "SELECT coalesce(sum(realised_e8), 0), coalesce(sum(fees_e8), 0), coalesce(sum(funding_e8), 0) FROM legs"
    ).fetchone()
    began = opening.wallet_e8 or 0
    wallet = began + realised - fees - funding
    (sampled,) = stored.execute(
        "SELECT coalesce((SELECT wallet_e8 FROM equity ORDER BY row DESC LIMIT 1), ?)", (wallet,)
    ).fetchone()
    ok = (realised, fees, funding) == by_legs and wallet == replay.audit.wallet_e8
    figures = (
        f"{quote_text(began)} + realised {quote_text(realised)} - fees {quote_text(fees)}"
        f" - funding {quote_text(funding)} = {quote_text(wallet)};"
        f" by the tape {quote_text(replay.audit.wallet_e8)}, last sampled {quote_text(sampled)}"
    )
    return Check(name="the wallet", ok=ok, figures=figures)
