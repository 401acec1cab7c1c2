"""The disk under the journal: it fills up, it fails, others lock its files, and the process dies around its writes.

Invariants: faults come out of SQLite as SQLite raises them; what was committed and told is on the disk of the next
life, always; of a transaction that nobody was told of, all, nothing, or a torn part is.
"""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

from hedgegrid.runtime.clock import Clock
from hedgegrid.simulation.weather import Fault, Weather
from hedgegrid.units import NS_PER_S

RUBBISH_MAX: Final = 5_000
_SPELLS: Final = {Fault.DISK_FULL: (5, 300), Fault.DISK_BUSY: (1, 60)}
"""For how many seconds."""


class Disk:
    """One run's disk; ``folder`` holds a folder for each life."""

    def __init__(self, folder: Path, weather: Weather, clock: Clock) -> None:
        """Begin with an empty first folder."""
        self._folder = folder
        self._weather = weather
        self._clock = clock
        self._number = 0
        self._until_ns: dict[Fault, int] = {}
        self._kept: Path | None = None
        self._log_before = 0
        self.crash: Callable[[str], None] = lambda _: None
        """Lets the process die here."""
        self.commits = 0
        """Transactions that were committed, over all lives."""
        self.failed_ns: int | None = None
        """Since when nothing can be written any more in this life."""
        self.is_torn = False
        """Whether the last life's last write is there in part, or rubbish stands behind it."""
        self.path = self._place()

    def _place(self) -> Path:
        path = self._folder / str(self._number) / "journal.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def opens(self) -> type[sqlite3.Connection]:
        """Give what opens the journal's file for writing."""
        return type("_Connection", (_Connection,), {"disk": self})

    # --- lives ------------------------------------------------------------------------------------------------------

    def keep(self, *, torn: bool = False) -> None:
        """Keep the files as they are at this moment, which is the process's last; ``torn``: its last write in part."""
        if self._kept is not None:
            return
        self._kept = self._folder / str(self._number + 1)
        shutil.copytree(self.path.parent, self._kept)
        log = self._kept / f"{self.path.name}-wal"
        struck = self._weather.strikes_now(Fault.TORN_WRITE, self._clock.now_ns(), "journal")
        self.is_torn = struck
        if torn and struck and log.exists() and log.stat().st_size > self._log_before:
            with log.open("rb+") as file:
                file.truncate(self._weather.between(Fault.TORN_WRITE, self._log_before, log.stat().st_size))
        elif struck:
            count = self._weather.between(Fault.TORN_WRITE, 1, RUBBISH_MAX)
            rubbish = bytes(self._weather.between(Fault.TORN_WRITE, 0, 255) for _ in range(count))
            with log.open("ab") as file:
                file.write(rubbish)

    def turn(self) -> None:
        """Give the next life the disk as the last one left it."""
        self.keep()
        self._kept = None
        self._number += 1
        self.failed_ns = None
        self.path = self._place()

    @property
    def left(self) -> Path:
        """Where the journal is that the last life left: what it wrote after its death is on no disk."""
        return self.path if self._kept is None else self._kept / self.path.name

    # --- writes -----------------------------------------------------------------------------------------------------

    def _lasts(self, fault: Fault) -> bool:
        now_ns = self._clock.now_ns()
        if now_ns < self._until_ns.get(fault, 0):
            return True
        if not self._weather.strikes_now(fault, now_ns, "journal"):
            return False
        shortest_s, longest_s = _SPELLS[fault]
        self._until_ns[fault] = now_ns + self._weather.between(fault, shortest_s, longest_s) * NS_PER_S
        return True

    def _fails(self, words: str) -> sqlite3.OperationalError:
        self.note_failure()
        return sqlite3.OperationalError(words)

    def note_failure(self) -> None:
        """Take note that something could not be written."""
        self.failed_ns = self._clock.now_ns() if self.failed_ns is None else self.failed_ns

    def begin(self, pragma: Callable[[str], object]) -> None:
        """A transaction begins. Raises sqlite3.OperationalError."""
        if self._lasts(Fault.DISK_BUSY):
            raise self._fails("database is locked")
        if self._lasts(Fault.DISK_FULL):
            # SQLite itself then says so at the first page that it needs; what needs none is written.
            pragma("PRAGMA max_page_count = 1")

    def commit(self, act: Callable[[str], Any]) -> Any:  # noqa: ANN401 - SQLite's cursor
        """A transaction is to be committed. Raises sqlite3.OperationalError."""
        now_ns = self._clock.now_ns()
        if self._weather.strikes_now(Fault.DISK_FAILS, now_ns, "journal"):
            act("ROLLBACK")
            raise self._fails("disk I/O error")
        dies = self._weather.strikes_now(Fault.CRASH_AT_WRITE, now_ns, "journal")
        if dies and self._weather.between(Fault.CRASH_AT_WRITE, 0, 1) == 0:
            self.keep()
            self.crash("before a commit")
            return act("COMMIT")
        log = self.path.with_name(f"{self.path.name}-wal")
        self._log_before = log.stat().st_size if dies and log.exists() else 0
        done = act("COMMIT")
        if dies:
            self.keep(torn=True)
            self.crash("after a commit")
        return done


class _Connection(sqlite3.Connection):
    """A connection whose transactions meet the disk."""

    disk: ClassVar[Disk]

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:  # noqa: ANN401 - as SQLite takes them
        """Execute a statement."""
        plain = super().execute
        if sql.startswith("BEGIN"):
            self.disk.begin(plain)
        if sql == "COMMIT":
            done: sqlite3.Cursor = self._noted(lambda: self.disk.commit(plain))
            self.disk.commits += 1
            return done
        return plain(sql, *parameters)

    def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:  # noqa: ANN401 - as SQLite takes them
        """Execute a statement for every row."""
        plain = super().executemany
        done: sqlite3.Cursor = self._noted(lambda: plain(sql, rows))
        return done

    def _noted(self, act: Callable[[], Any]) -> Any:  # noqa: ANN401 - SQLite's cursor
        try:
            return act()
        except sqlite3.OperationalError:
            self.disk.note_failure()
            raise
