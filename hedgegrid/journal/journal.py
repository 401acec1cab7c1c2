"""The journal of an account as its actors see it: append, commit, and what is known.

Invariants: rows are numbered without a gap over all boots; what is read is the state after the last ``append``,
committed or not (it is kept in memory, so a read never waits and needs no flush, at the start and while running);
what fails once stays failed.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from hedgegrid.core.permission import LatchedEntry
from hedgegrid.core.reconcile_views import FillKey
from hedgegrid.errors import Fatal
from hedgegrid.journal import schema
from hedgegrid.journal.changes import Write
from hedgegrid.journal.entries import Row, StoredLot, StoredOrder
from hedgegrid.journal.projections import Projections
from hedgegrid.journal.quotes import QuoteTape
from hedgegrid.journal.reader import Boot, one_line
from hedgegrid.journal.tape import KINDS, Latched, SessionKept, ThrottleKept, encode, link
from hedgegrid.journal.writer import Batch, Writer
from hedgegrid.messages.events import ForeignSeen, GridMoved, MarkPrice, Message, Quote
from hedgegrid.model.account import Position, SessionMemory
from hedgegrid.model.grid import UnbookedEntry
from hedgegrid.model.order import Leg
from hedgegrid.model.trip import LastTrip
from hedgegrid.runtime.prompt import Prompt

PENDING_MAX: Final = 512
"""Rows that wait for a commit before they are handed over without one."""
BACKLOG_MAX: Final = 50_000
"""Rows that the disk may be behind before the journal gives up."""
ERRAND_DONE: Final = "errand: "
"""How the end of a boot begins that was started for one thing other than trading."""
_HALF_DONE: Final = "an append did not finish: the journal's state in memory cannot be trusted"
_END: Final = "UPDATE boots SET clean_end = ?, end_reason = ? WHERE epoch = ?"


@attrs.frozen(kw_only=True)
class Totals:
    """The account's money in quote x 1e8: sums since it began, and the wallet (None while that is unknown)."""

    realised_e8: int
    fees_e8: int
    funding_e8: int
    wallet_e8: int | None


@attrs.frozen(kw_only=True)
class LegTotals:
    """A leg: its position and its sums, in quote x 1e8; fees and funding are costs."""

    position: Position
    realised_e8: int
    fees_e8: int
    funding_e8: int


@attrs.frozen(kw_only=True)
class Start:
    """What a boot starts from: its epoch, the boots before it, and where the tape ends."""

    epoch: int
    past_boots: tuple[Boot, ...]
    rows: int
    chain: bytes


class _UnderWay:
    """A commit under way: awaited, it ends with ``then`` once the disk has it. Nobody need await it."""

    __slots__ = ("_then", "_waiting")

    def __init__(self, waiting: Prompt | None, then: Callable[[], None]) -> None:
        """``waiting``: what ends when the disk has it, None where it has it already."""
        self._waiting = waiting
        self._then = then

    def __await__(self) -> Generator[Any, None, None]:
        if self._waiting is not None:
            yield from self._waiting.__await__()
        self._then()


class SqliteJournal:
    """A journal that is open for writing; ``opening.open_journal`` makes it."""

    def __init__(
        self,
        path: Path,
        start: Start,
        state: Projections,
        writer: Writer,
        archive: sqlite3.Connection,
        quotes: QuoteTape | None,
    ) -> None:
        """Go on from ``start``; the journal owns the writer and the connection of the state's archive from now on."""
        self.path = path
        self.epoch = start.epoch
        self.past_boots = start.past_boots
        self._row = start.rows
        self._chain = start.chain
        self._state = state
        self._writer = writer
        self._archive = archive
        self._quotes = quotes
        self._tape: list[Row] = []
        self._broken = ""
        self._closed = False
        self._places = {one: _place(one) for one in (path, path.with_name(path.name + "-wal"))}

    # --- writing ----------------------------------------------------------------------------------------------------

    def append(self, message: Message) -> None:
        """Take a message into the tape; quotes and marks only where they are recorded, and never into the tape.

        It is durable after the next ``commit``. Raises Fatal where the journal has failed.
        """
        failure = self._broken or self._writer.failure
        if failure:
            raise Fatal(failure)
        if isinstance(message, Quote | MarkPrice):
            if self._quotes is not None:
                self._quotes.take(message)
            return
        kind = type(message).__name__
        assert kind in KINDS, f"{kind} is no message of the tape"
        payload = encode(message)
        row = self._row + 1
        # A fault inside leaves the state half changed: the mark stays, and nothing is written after it.
        self._broken = _HALF_DONE
        self._state.apply(row, message)
        self._chain = link(self._chain, kind, payload)
        self._tape.append((row, kind, message.ts_recv_ns, payload, self._chain))
        self._row = row
        self._broken = ""
        if len(self._tape) >= PENDING_MAX:
            self._writer.put(self._batch())
            self._after_write()

    def commit(self) -> Awaitable[None]:
        """Begin to write all that was appended; what is returned can be awaited, once, and returns once it is on disk.

        Raises Fatal (disk full, write error).
        """
        if self._broken:
            raise Fatal(self._broken)
        return _UnderWay(self._writer.begin(self._batch()), self._written)

    def _written(self) -> None:
        if self._writer.failure:
            raise Fatal(self._writer.failure)
        self._after_write()

    def set_latched(self, entries: Sequence[LatchedEntry]) -> None:
        """Take the latched reasons that stand from here on (``permission.export_latched``), for the boots to come."""
        if tuple(entries) != self._state.latched:
            now_ns = self._state.last_ts_ns
            self.append(Latched(seq=0, cause_seq=0, ts_venue_ns=now_ns, ts_recv_ns=now_ns, entries=tuple(entries)))

    def set_session(self, memory: SessionMemory) -> None:
        """Take what the session controls remember from here on, for the boots to come."""
        if memory != self._state.session:
            now_ns = self._state.last_ts_ns
            self.append(SessionKept(seq=0, cause_seq=0, ts_venue_ns=now_ns, ts_recv_ns=now_ns, memory=memory))

    def set_throttle(self, factor_ppm: int) -> None:
        """Take the operator's factor on the quantity of new entries from here on, for the boots to come."""
        if factor_ppm != self._state.throttle_ppm:
            now_ns = self._state.last_ts_ns
            kept = ThrottleKept(seq=0, cause_seq=0, ts_venue_ns=now_ns, ts_recv_ns=now_ns, factor_ppm=factor_ppm)
            self.append(kept)

    def displaced(self) -> str:
        """Say that the file, or its log, is not where it was when it was opened; "" where both are.

        What is written goes on into a file that nobody finds any more. May be called from any thread.
        """
        for path, opened in self._places.items():
            now = _place(path)
            if now != opened and not self._closed:
                what = "is gone" if now is None else "was replaced"
                return f"{path} {what} while it was written: put the file back, or see what became of it"
        return ""

    def give_up(self, words: str) -> None:
        """Write nothing from here on: every later append and commit says ``words``."""
        self._broken = self._broken or words

    def close(self, reason: str, *, clean: bool = True) -> None:
        """Write what waits, mark the boot's end (``clean``: it ended as it should) with its reason, and close the file.

        A second call does nothing. Raises Fatal where that could not be written; the file is closed all the same.
        """
        if self._closed:
            return
        self._closed = True
        failure = self._broken or self._writer.failure
        batch = None if failure else self._batch((_END, [(int(clean), reason, self.epoch)]))
        self._broken = self._broken or f"journal {self.path} is closed"
        with one_line(self.path):
            # The writer's connection closes last: it is the one that may fold the log into the file.
            self._archive.close()
            self._writer.stop(batch)

    # --- reading ----------------------------------------------------------------------------------------------------

    @property
    def books_row(self) -> int:
        """The newest row that may have changed fills, money, positions or grids; 0 for none in this life."""
        return self._state.books_row

    def live_orders(self) -> tuple[StoredOrder, ...]:
        """Give the orders that have not ended, oldest first: intents not heard of since and UNKNOWN ones too."""
        return tuple(entry.stored() for entry in self._state.orders.live.values())

    def open_lots(self, instrument: str) -> tuple[StoredLot, ...]:
        """Give an instrument's open lots, by leg, oldest first."""
        return self._state.positions.open_lots(instrument)

    def unbooked_entries(self, instrument: str) -> tuple[UnbookedEntry, ...]:
        """Give the entries that filled and that no LotOpened has told of yet, each with the quantity that is left.

        There are some where the last boot ended between a fill and its lot; a leg's position is its open lots plus
        these.
        """
        return self._state.positions.unbooked(instrument)

    def grid(self, instrument: str) -> GridMoved | None:
        """Give the last move of an instrument's grid, or None."""
        return self._state.grids.get(instrument)

    def legs(self) -> tuple[LegTotals, ...]:
        """Give the legs that ever held something, flat ones too, by instrument."""
        entries = sorted(self._state.positions.legs.items())
        return tuple(
            LegTotals(
                position=Position(
                    instrument=instrument, leg=leg, qty_lots=entry.account.qty_lots, cost_e8=entry.account.cost_e8
                ),
                realised_e8=entry.account.realised_e8,
                fees_e8=entry.account.fees_e8,
                funding_e8=entry.account.funding_e8,
            )
            for (instrument, leg), entry in entries
        )

    def held_lots(self, instrument: str, leg: Leg) -> int:
        """Give what a leg holds."""
        entry = self._state.positions.legs.get((instrument, leg))
        return 0 if entry is None else entry.account.qty_lots

    def fill_cursors(self) -> dict[str, int]:
        """Give the greatest trade id that was counted, by instrument; absent for none."""
        return self._state.positions.fill_cursors()

    def lagging_cursors(self) -> dict[str, int]:
        """Give the trade ids from which fills are to be read again: some before the greatest, for late ones."""
        return self._state.positions.lagging_cursors()

    def recent_fills(self) -> frozenset[FillKey]:
        """Give the keys of the newest fills that were counted, all from ``lagging_cursors`` on among them."""
        return self._state.positions.recent_fills()

    def has_fill(self, key: FillKey) -> bool:
        """Tell whether a fill was counted."""
        return self._state.positions.has_fill(key)

    def order(self, client_id: str) -> StoredOrder | None:
        """Give an order, ended or not, of any boot; None where it is not known."""
        entry = self._state.orders.find(client_id)
        return None if entry is None else entry.stored()

    def foreign(self) -> Mapping[str, ForeignSeen]:
        """Give what each instrument held that is not ours, as last seen."""
        return dict(self._state.foreign)

    def funding_cursor(self) -> int:
        """Give the time (ns) of the newest settlement that was counted, 0 for none."""
        return self._state.positions.funding_cursor()

    def settled_ns(self, instrument: str) -> int:
        """Give the time (ns) of an instrument's newest settlement that was counted, 0 for none."""
        return self._state.positions.settled_ns(instrument)

    def latched(self) -> tuple[LatchedEntry, ...]:
        """Give the latched reasons that stand, as ``permission.initial`` takes them."""
        return self._state.latched

    def session(self) -> SessionMemory | None:
        """Give what the session controls remember; None where no equity was ever judged or sampled.

        Its last equity is that of the newest sample. A journal from before there were session controls remembers
        what its samples tell.
        """
        return self._state.session

    def throttle_ppm(self) -> int:
        """Give the operator's factor on the quantity of new entries; a whole one where nobody has said any."""
        return self._state.throttle_ppm

    def last_trips(self) -> tuple[LastTrip, ...]:
        """Give the newest trip of every control that ever tripped, of this boot and of those before."""
        return self._state.tripped.last()

    def last_ts_ns(self) -> int:
        """Give the time at which the last message reached us, 0 for none."""
        return self._state.last_ts_ns

    def max_order_sequence(self) -> int:
        """Give the greatest sequence of our client ids, of any boot and state, 0 for none."""
        return self._state.orders.max_sequence

    def lot_counter(self, instrument: str) -> int:
        """Give the greatest lot id of an instrument, 0 for none."""
        return self._state.positions.lot_counters.get(instrument, 0)

    def totals(self) -> Totals:
        """Give the account's money."""
        sums, opening = self._state.positions.sums, self._state.opening
        return Totals(
            realised_e8=opening.realised_e8 + sums.realised_e8,
            fees_e8=opening.fees_e8 + sums.fees_e8,
            funding_e8=opening.funding_e8 + sums.funding_e8,
            wallet_e8=self._state.wallet_e8,
        )

    def counts(self) -> Mapping[str, int]:
        """Give how many there are of each thing; of the exceptional ones only those that happened."""
        state = self._state
        return {
            "rows": self._row,
            "boots": len(self.past_boots) + 1,
            "orders": state.orders.count,
            "live_orders": len(state.orders.live),
            "fills": state.positions.fills,
            "lots": state.positions.lots,
            "open_lots": sum(len(lots) for lots in state.positions.open.values()),
            "settlements": state.positions.settlements,
            "equity_samples": state.samples,
            "permission_changes": state.permission_changes,
            "incidents": state.notes.incidents,
            **state.notes.counters,
        }

    def crash_boots(self) -> int:
        """Give how many boots in a row, up to the one before this, did not end cleanly.

        One that only did an errand, such as taking the entries away after a crash, says nothing of the next.
        """
        crashed = 0
        for boot in reversed(self.past_boots):
            if boot.clean_end and not boot.end_reason.startswith(ERRAND_DONE):
                return crashed
            crashed += not boot.clean_end
        return crashed

    def hash(self) -> str:
        """Give the hash of the tape up to its last row, in hex; wall time is not in it."""
        return self._chain.hex()

    # --- inside -----------------------------------------------------------------------------------------------------

    def _batch(self, *last: Write) -> Batch:
        writes: list[Write] = [(schema.TAPE.write, self._tape)] if self._tape else []
        writes += self._state.drain()
        if self._quotes is not None:
            writes += self._quotes.drain()
        self._tape = []
        return Batch(last_row=self._row, writes=(*writes, *last))

    def _after_write(self) -> None:
        committed_row = self._writer.committed_row
        self._state.trim(committed_row)
        if self._row - committed_row > BACKLOG_MAX:
            self._broken = f"journal {self.path}: the disk is {BACKLOG_MAX} rows behind; nothing is written any more"


def _place(path: Path) -> tuple[int, int] | None:
    """Give which file a path names now; None where it names none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
