"""The laws, judged by one who sees the wire, the exchange's truth and the journal's file, and nothing of the bot.

Invariants: each violation bears the name of its law and the moment; a law is judged with arithmetic of its own; what
the network may still hide from the bot is never held against it, so every bound in time counts only while a life could
act.
"""

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Final

import attrs
import msgspec

from hedgegrid.core.codes import FREE
from hedgegrid.journal.verify import verify
from hedgegrid.model.order import Kind, Leg, OrderRequest, Purpose
from hedgegrid.simulation.venue import Venue
from hedgegrid.simulation.wire import Word
from hedgegrid.units import NS_PER_S

READS: Final = frozenset({"fills", "open_orders", "open_stops", "positions"})
"""What has to be read of the exchange before the first order of a life."""
UNPROTECTED_STORM_NS: Final = 120 * NS_PER_S
"""How long a leg may be without its stop while faults strike: every request can be lost, and be in doubt for long."""
READ_NS: Final = 5 * NS_PER_S
"""How old the read can be by which flat is said."""
EXCESS_STORM_NS: Final = 120 * NS_PER_S
AUTOMATIC: Final = frozenset({"circuit_breaker"})
"""Kept over a crash with the latches, but lifted by time."""
_LIVE_STATES: Final = ("sent", "working", "partial", "unknown")


class Law(StrEnum):
    """What is never to happen."""

    ID_REUSED = "a client id is never used twice"
    UNREAD = "no order leaves before the exchange was read"
    NOT_DURABLE = "an order is in the journal before it leaves"
    PAUSED = "paused, nothing leaves that can increase a leg"
    TWO_ON_A_RUNG = "a rung never has two live orders"
    POSITION_CAP = "position and open entries stay within the leg's limit"
    ORDER_CAP = "an entry stays within the largest order"
    UNPROTECTED = "a held leg has its stop within the bound"
    EXCESS = "take-profits above the position are cancelled within the bound"
    FLAT_IS_FLAT = "flat is said only when the exchange is flat"
    LATCH_KEPT = "a latch outlives the process"
    BOOKS_AGREE = "after the calm the journal is the exchange"
    JOURNAL_SOUND = "the journal proves itself"
    ONE_WRITER = "a second instance leaves the account alone"
    DISK_LOST = "what cannot be written is not risked"
    LIVES_ON = "the bot ends only where it says why"


@attrs.frozen(kw_only=True)
class Violation:
    """A law that was broken, when, and how."""

    law: Law
    ts_ns: int
    how: str


@attrs.frozen(kw_only=True)
class Caps:
    """The limits that orders are judged by: position by instrument in lots, the largest entry in quote x 1e8."""

    position_lots: Mapping[str, int]
    order_e8: int


class JournalReader:
    """The journal's file, read by a connection of our own."""

    def __init__(self, path: Path) -> None:
        """Open the journal of one life for reading."""
        self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def mode(self) -> str:
        """Give the permission that stands by the newest committed word; "" before the first."""
        row = self._db.execute("SELECT after FROM permission ORDER BY row DESC LIMIT 1").fetchone()
        return "" if row is None else str(row[0])

    def knows(self, client_id: str) -> bool:
        """Tell whether an order is on disk."""
        return self._db.execute("SELECT 1 FROM orders WHERE client_id = ?", (client_id,)).fetchone() is not None

    def said_flat(self) -> list[tuple[int, list[int]]]:
        """Give every moment at which flat was said, and of which legs."""
        rows = self._db.execute("SELECT ts_ns, payload FROM tape WHERE kind = 'FlatConfirmed' ORDER BY row")
        return [(int(ts_ns), msgspec.json.decode(bytes(payload))["legs"]) for ts_ns, payload in rows]

    def resumes(self) -> int:
        """Count the words that lift latches."""
        return int(self._db.execute("SELECT count(*) FROM tape WHERE kind = 'Resume'").fetchone()[0])

    def standing(self) -> set[str]:
        """Give the latched reasons that stand by the newest word."""
        row = self._db.execute("SELECT payload FROM tape WHERE kind = 'Latched' ORDER BY row DESC LIMIT 1").fetchone()
        return set() if row is None else {str(one) for one in _reasons(bytes(row[0]))} - AUTOMATIC


def _reasons(payload: bytes) -> list[str]:
    """Give the names of the latched reasons of a row."""
    return [entry[0] for entry in msgspec.json.decode(payload)["entries"]]


def _last_mode(db: sqlite3.Connection) -> str:
    """Give the permission before the stop that ended the run, with the reasons that were raised and never went."""
    rows = db.execute("SELECT change, reason, after, figures FROM permission ORDER BY row").fetchall()
    standing: dict[str, None] = {}
    mode = ""
    for change, reason, after, figures in rows:
        if change == "halted" and "stopping" in figures:
            break
        mode = str(after)
        if reason and change in ("raised", "still_latched"):
            standing[reason] = None
        elif change == "cleared":
            standing.pop(reason, None)
    return mode if not standing or mode == "active" else f"{mode} ({', '.join(sorted(standing))})"


class Judge:
    """Watches one run."""

    def __init__(self, venue: Venue, caps: Caps) -> None:
        """Judge what reaches ``venue``."""
        self._venue = venue
        self._caps = caps
        self._ids: set[str] = set()
        self._read: set[str] = set()
        self._boot = 0
        self._alive_since_ns: int | None = None
        self._bare_since_ns: dict[tuple[str, Leg], int] = {}
        self._over_since_ns: dict[tuple[str, Leg], int] = {}
        self._reader: JournalReader | None = None
        self._told: set[tuple[Law, str]] = set()
        self._latched: set[str] = set()
        self._resumes = 0
        """Words that lift latches, by the journals of the lives before."""
        self._held: list[tuple[int, int, int]] = []
        """Since when (ns) each leg of the account has held how much, over all instruments."""
        self._last_held: dict[Leg, int] = {}
        self._flat_words = 0
        self._path = Path()
        self.barred: Callable[[], bool] = lambda: False
        """Tells whether the exchange takes nothing from this life now: what cannot be done is not held against it."""
        self.disk_failed: Callable[[], bool] = lambda: False
        """Tells whether the journal's disk has failed in this life."""
        self.violations: list[Violation] = []
        self.longest_bare_ns = 0
        """The longest that a leg stood without its stop while a life could act."""

    # --- lives ------------------------------------------------------------------------------------------------------

    def born(self, boot: int, path: Path) -> None:
        """A life begins: its journal is at ``path``."""
        self._boot = boot
        self._path = path
        self._read = set()
        self._alive_since_ns = None

    def died(self, left: Path) -> None:
        """The life is over, and its journal is ``left``; what latched before it must stand in the next."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._path = left
        if left.exists():
            self._latched = self._journal().standing()
            self._resumes = self._journal().resumes()
            self._judge_flat(self._journal().said_flat())
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        self._alive_since_ns = None
        self._bare_since_ns.clear()
        self._over_since_ns.clear()

    def _judge_flat(self, said: list[tuple[int, list[int]]]) -> None:
        """Compare each word that legs are flat with what they held when they were last read, shortly before it."""
        for ts_ns, legs in said[self._flat_words :]:
            for leg in legs:
                held = [(since_ns, lots) for since_ns, place, lots in self._held if place == leg and since_ns <= ts_ns]
                recent = [lots for since_ns, lots in held if since_ns > ts_ns - READ_NS]
                before = [lots for since_ns, lots in held if since_ns <= ts_ns - READ_NS][-1:]
                if 0 not in [*before, *recent] and held:
                    self._break(Law.FLAT_IS_FLAT, ts_ns, f"leg {leg} held {held[-1][1]}")
        self._flat_words = len(said)

    def _journal(self) -> JournalReader:
        if self._reader is None:
            self._reader = JournalReader(self._path)
        return self._reader

    def second(self, word: Word) -> None:
        """A second instance has said something to the exchange."""
        self._break(Law.ONE_WRITER, word.ts_ns, f"boot {self._boot}: {word.kind}")

    # --- the wire ---------------------------------------------------------------------------------------------------

    def word(self, word: Word) -> None:
        """Judge what the bot says."""
        if word.kind != "place":
            self._read.add(word.kind)
            if self._alive_since_ns is None and self._read >= READS:
                self._alive_since_ns = word.ts_ns
            return
        if not self._read >= READS:
            self._break(Law.UNREAD, word.ts_ns, f"boot {self._boot} read {sorted(self._read)}")
        for request in word.requests:
            if request.client_id in self._ids:
                self._break(Law.ID_REUSED, word.ts_ns, request.client_id)
            self._ids.add(request.client_id)
            if not self._journal().knows(request.client_id):
                self._break(Law.NOT_DURABLE, word.ts_ns, request.client_id)
            if request.purpose is Purpose.ENTRY:
                self._judge_entry(request, word.ts_ns)

    def _judge_entry(self, request: OrderRequest, ts_ns: int) -> None:
        """Judge an order that can increase a leg."""
        if self.disk_failed():
            self._break(Law.DISK_LOST, ts_ns, f"{request.client_id}, boot {self._boot}")
        journal = self._journal()
        standing = journal.standing()
        if standing or (self._latched - standing and journal.resumes() == self._resumes):
            self._break(Law.LATCH_KEPT, ts_ns, f"{sorted(standing | self._latched)} latched, boot {self._boot}")
        mode = journal.mode()
        if mode != "active":
            self._break(Law.PAUSED, ts_ns, f"{request.client_id} in {mode}")
        unit_e8 = self._venue.exchange.by_name[request.instrument].rules.unit_e8
        if request.price_ticks * request.qty_lots * unit_e8 > self._caps.order_e8:
            self._break(Law.ORDER_CAP, ts_ns, request.client_id)

    # --- the exchange -----------------------------------------------------------------------------------------------

    def moved(self) -> None:
        """Judge the account as it is now."""
        now_ns = self._venue.clock.now_ns()
        self._note_held(now_ns)
        for book in self._venue.exchange.books:
            name = book.instrument.name
            rungs: set[tuple[int, int, int]] = set()
            entries = [0, 0]
            profits = [0, 0]
            stops = [0, 0]
            for order in book.orders:
                if order.state == FREE:
                    continue
                if order.purpose == Purpose.ENTRY:
                    rung = (order.leg, order.level, order.generation)
                    if rung in rungs:
                        self._break(Law.TWO_ON_A_RUNG, now_ns, f"{name} {rung}")
                    rungs.add(rung)
                    entries[order.leg] += order.qty_lots
                elif order.purpose == Purpose.TAKE_PROFIT:
                    profits[order.leg] += order.qty_lots
                elif order.purpose == Purpose.STOP and order.kind == Kind.STOP_MARKET:
                    stops[order.leg] += order.qty_lots
            for leg in (Leg.LONG, Leg.SHORT):
                held = book.accounts[leg].qty_lots
                if held + entries[leg] > self._caps.position_lots[name]:
                    self._break(Law.POSITION_CAP, now_ns, f"{name} {leg.name} {held} + {entries[leg]}")
                self._time((name, leg), now_ns, bare=held > stops[leg], over=profits[leg] > held)

    def _note_held(self, now_ns: int) -> None:
        """Remember when what a leg holds has changed."""
        for leg in (Leg.LONG, Leg.SHORT):
            lots = sum(book.accounts[leg].qty_lots for book in self._venue.exchange.books)
            if self._last_held.get(leg) != lots:
                self._last_held[leg] = lots
                self._held.append((now_ns, int(leg), lots))

    def _time(self, key: tuple[str, Leg], now_ns: int, *, bare: bool, over: bool) -> None:
        """Count how long a leg has been without its whole stop, or with more take-profits than it holds."""
        if self._alive_since_ns is None:
            return
        for bad, since, law, bound_ns in (
            (bare, self._bare_since_ns, Law.UNPROTECTED, UNPROTECTED_STORM_NS),
            (over, self._over_since_ns, Law.EXCESS, EXCESS_STORM_NS),
        ):
            if not bad or self.barred():
                since.pop(key, None)
                continue
            age_ns = now_ns - since.setdefault(key, now_ns)
            if law is Law.UNPROTECTED:
                self.longest_bare_ns = max(self.longest_bare_ns, age_ns)
            if age_ns > bound_ns:
                self._break(law, now_ns, f"{key[0]} {key[1].name} for {age_ns // NS_PER_S} s")
                since[key] = now_ns

    # --- the end ----------------------------------------------------------------------------------------------------

    def ended(self, path: Path) -> str:
        """Judge what is left after the calm: the journal proves itself, and is the exchange; give its last mode."""
        now_ns = self._venue.clock.now_ns()
        report = verify(path)
        if not report.ok:
            failed = [check.text() for check in report.checks if not check.ok]
            self._break(Law.JOURNAL_SOUND, now_ns, "; ".join(failed))
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            ours = set(db.execute("SELECT instrument, trade_id, leg, price_ticks, qty_lots FROM fills"))
            legs = {(name, leg): lots for name, leg, lots in db.execute("SELECT instrument, leg, qty_lots FROM legs")}
            marks = ", ".join("?" for _ in _LIVE_STATES)
            orders = db.execute(
                f"SELECT client_id, cancel_ns FROM orders WHERE state IN ({marks})",  # noqa: S608 - our own words
                _LIVE_STATES,
            ).fetchall()
            mode = _last_mode(db)
        theirs = {
            (fill.instrument, fill.trade_id, int(fill.leg), fill.price_ticks, fill.qty_lots)
            for fill in self._venue.exchange.fills
        }
        if ours != theirs:
            self._break(
                Law.BOOKS_AGREE, now_ns, f"fills: missing {sorted(theirs - ours)[:3]}, more {sorted(ours - theirs)[:3]}"
            )
        for book in self._venue.exchange.books:
            for leg in (Leg.LONG, Leg.SHORT):
                held, known = book.accounts[leg].qty_lots, legs.get((book.instrument.name, int(leg)), 0)
                if held != known:
                    self._break(Law.BOOKS_AGREE, now_ns, f"{book.instrument.name} {leg.name}: {known}, is {held}")
        resting = {name for book in self._venue.exchange.books for name in book.number_of}
        # What was cancelled as the last word of the run may have no answer yet.
        gone = {str(name) for name, cancel_ns in orders if cancel_ns == 0} - resting
        strange = resting - {str(name) for name, _ in orders}
        if gone or strange:
            self._break(Law.BOOKS_AGREE, now_ns, f"orders: not there {sorted(gone)[:3]}, unknown {sorted(strange)[:3]}")
        return mode

    def failed(self, how: str) -> None:
        """A life ended by itself."""
        self._break(Law.LIVES_ON, self._venue.clock.now_ns(), how)

    def _break(self, law: Law, ts_ns: int, how: str) -> None:
        if (law, how) not in self._told:
            self._told.add((law, how))
            self.violations.append(Violation(law=law, ts_ns=ts_ns, how=how))
