"""The two ways in which rows reach the disk: inline (virtual time), and through a thread of their own (real time).

Invariants: one connection writes, and one thread at a time uses it; a batch is one transaction, or part of one with
its neighbours; after the first error nothing is written any more, and everyone who waits or comes later is told in
one line.
"""

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

import attrs

from hedgegrid.errors import Fatal
from hedgegrid.journal.changes import Write
from hedgegrid.runtime.prompt import Prompt

GROUP_MAX: Final = 64
"""Batches that are committed together at most."""
OPENED_MAX: Final = 64
"""Rows of a batch that go into their transaction where it is handed over; the rows of larger ones go in the thread."""
LOCK_WAIT_MS: Final = 5_000
ASIDE_S: Final = 500e-6
"""How long a caller waits at most until the thread has come to the disk: it is a tenth of this where a core is free."""
STOP_TIMEOUT_S: Final = 30.0
"""How long a stop waits for the disk."""


@attrs.frozen(kw_only=True)
class Batch:
    """Statements with their rows; ``last_row`` is the tape row that they reach."""

    last_row: int
    writes: Sequence[Write]


class Writer(Protocol):
    """Where batches go."""

    failure: str
    committed_row: int

    def put(self, batch: Batch) -> None:
        """Take a batch, to be on disk soon. Fatal where it is known to have failed."""
        ...

    def begin(self, batch: Batch) -> Prompt | None:
        """Begin to bring a batch to disk: give what to wait for, None where it is done.

        ``failure`` says then whether this batch and all before it are on disk.
        """
        ...

    def stop(self, batch: Batch | None) -> None:
        """Write a last batch, and close the connection. Fatal where the batch did not reach the disk."""
        ...


def transact(connection: sqlite3.Connection, batches: Iterable[Batch]) -> None:
    """Write batches in one transaction. Raises sqlite3.Error, and OverflowError beyond 64 bits.

    A connection that raised is to be closed, which takes back what was written of the transaction.
    """
    connection.execute("BEGIN IMMEDIATE")
    fill(connection, batches)
    make_durable(connection)


def fill(connection: sqlite3.Connection, batches: Iterable[Batch]) -> None:
    """Put the rows of batches into the transaction that is open. Raises sqlite3.Error, OverflowError."""
    for batch in batches:
        for statement, rows in batch.writes:
            connection.executemany(statement, rows)


def make_durable(connection: sqlite3.Connection) -> None:
    """Commit, which at full durability waits for the disk. Raises sqlite3.Error."""
    connection.execute("COMMIT")


def _wait_for_lock(connection: sqlite3.Connection, wait_ms: int) -> None:
    """Say how long a statement waits for another process that holds the file."""
    connection.execute(f"PRAGMA busy_timeout = {wait_ms}")


def explain(path: Path, error: Exception) -> str:
    """Say in one line what became of the journal."""
    advice = "free space, then start again" if "full" in str(error) else "see to the disk, then start again"
    return f"journal {path} cannot be written: {error}; nothing is written any more: {advice}"


class InlineWriter:
    """Writes where it is called; for virtual time, where a thread would make two runs differ."""

    def __init__(self, connection: sqlite3.Connection, path: Path, committed_row: int) -> None:
        """Own ``connection`` from now on."""
        self._connection = connection
        self._path = path
        self.failure = ""
        self.committed_row = committed_row

    def put(self, batch: Batch) -> None:
        """Write a batch and commit it."""
        if self.failure:
            raise Fatal(self.failure)
        if batch.writes:
            try:
                transact(self._connection, (batch,))
            except (sqlite3.Error, OverflowError) as error:
                self.failure = explain(self._path, error)
                raise Fatal(self.failure) from error
        self.committed_row = batch.last_row

    def begin(self, batch: Batch) -> None:
        """Write a batch and commit it. Fatal where it cannot be."""
        self.put(batch)

    def stop(self, batch: Batch | None) -> None:
        """Write a last batch, and close the connection."""
        try:
            if batch is not None:
                self.put(batch)
        finally:
            self._connection.close()


@attrs.frozen(kw_only=True)
class _Job:
    """A batch and who waits for it; None for ``batch`` ends the thread. ``opened``: its rows are in, uncommitted."""

    batch: Batch | None
    done: Prompt | None = None
    opened: bool = False


class ThreadWriter:
    """Commits in a thread; batches that wait are committed together.

    While the thread has nothing to do, a small batch's statements run where ``begin`` is called: they only fill pages
    in memory, and a thread would contend with its caller for the interpreter at every row. What waits for the disk is
    the commit, and that is the thread's: the caller steps aside until it begins, so that the thread need not wait for
    the interpreter in between; what the caller does next has all of the disk's time.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, committed_row: int) -> None:
        """Own ``connection`` from now on, and start the thread."""
        self._connection = connection
        self._path = path
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._handed = self._finished = 0
        self._at_the_disk = threading.Lock()
        """Held but for when a commit has begun of which the caller has not taken note."""
        self._at_the_disk.acquire()
        self.failure = ""
        self.committed_row = committed_row
        _wait_for_lock(connection, 0)
        self._thread = threading.Thread(target=self._run, name=f"journal {path.name}", daemon=True)
        self._thread.start()

    def put(self, batch: Batch) -> None:
        """Hand a batch over."""
        if self.failure:
            raise Fatal(self.failure)
        self._hand(_Job(batch=batch))

    def begin(self, batch: Batch) -> Prompt | None:
        """Hand a batch over, and give what ends when it is on disk."""
        idle = self._handed == self._finished
        if self.failure or (idle and not batch.writes):
            return None
        done = Prompt()
        opened = idle and sum(len(rows) for _, rows in batch.writes) <= OPENED_MAX and self._open(batch)
        if self.failure:
            return None
        self._at_the_disk.acquire(blocking=False)
        self._hand(_Job(batch=batch, done=done, opened=opened))
        if opened:
            self._at_the_disk.acquire(timeout=ASIDE_S)
        return done

    def _open(self, batch: Batch) -> bool:
        """Put a batch's rows into a transaction, without waiting for anybody; False where that cannot be done now."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error:
            # Somebody else holds the file for a moment, or it is lost: the thread may wait, and tell.
            return False
        try:
            fill(self._connection, (batch,))
        except (sqlite3.Error, OverflowError) as error:
            self.failure = explain(self._path, error)
        return True

    def _hand(self, job: _Job) -> None:
        self._handed += 1
        self._jobs.put(job)

    def stop(self, batch: Batch | None) -> None:
        """Write a last batch, end the thread, and close the connection."""
        if batch is not None:
            self._hand(_Job(batch=batch))
        self._hand(_Job(batch=None))
        self._thread.join(STOP_TIMEOUT_S)
        if self._thread.is_alive():
            raise Fatal(f"journal {self._path}: the disk did not answer for {STOP_TIMEOUT_S:.0f} s")
        self._connection.close()
        if self.failure:
            raise Fatal(self.failure)

    def _run(self) -> None:
        jobs: list[_Job] = []
        try:
            while True:
                jobs = [self._jobs.get()]
                while len(jobs) < GROUP_MAX and not self._jobs.empty():
                    jobs.append(self._jobs.get())
                self._write(jobs)
                self._finished += len(jobs)
                self._answer(jobs)
                if any(job.batch is None for job in jobs):
                    return
        finally:
            # Whoever waits at a fault of ours, or comes after it, must not wait for ever.
            if not any(job.batch is None for job in jobs):
                self.failure = self.failure or f"journal {self._path}: its writer has ended"
                self._answer(jobs)

    def _write(self, jobs: list[_Job]) -> None:
        """Commit what some jobs bring; only the first can have been opened, since nobody opens one while this runs."""
        batches = [job.batch for job in jobs if job.batch is not None]
        if self.failure or not batches:
            return
        try:
            if jobs[0].opened:
                fill(self._connection, batches[1:])
                if self._at_the_disk.locked():
                    self._at_the_disk.release()
                make_durable(self._connection)
            elif any(batch.writes for batch in batches):
                _wait_for_lock(self._connection, LOCK_WAIT_MS)
                transact(self._connection, batches)
                _wait_for_lock(self._connection, 0)
        except (sqlite3.Error, OverflowError) as error:
            self.failure = explain(self._path, error)
        else:
            self.committed_row = batches[-1].last_row

    def _answer(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if job.done is not None:
                with contextlib.suppress(RuntimeError):  # its loop has ended: nobody waits
                    job.done.get_loop().call_soon_threadsafe(job.done.settle)
