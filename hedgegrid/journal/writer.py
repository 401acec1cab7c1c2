"""The two ways in which rows reach the disk: inline (virtual time), and through a thread of their own (real time).

Invariants: one connection writes, and one thread at a time uses it; a batch is one transaction, or part of one with
its neighbours; after the first error nothing is written any more, and everyone who waits or comes later is told in
one line.
"""

import asyncio
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

GROUP_MAX: Final = 64
"""Batches that are committed together at most."""
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

    async def commit(self, batch: Batch) -> None:
        """Return once this batch and all before it are on disk. Fatal where they are not."""
        ...

    def stop(self, batch: Batch | None) -> None:
        """Write a last batch, and close the connection. Fatal where the batch did not reach the disk."""
        ...


def transact(connection: sqlite3.Connection, batches: Iterable[Batch]) -> None:
    """Write batches in one transaction. Raises sqlite3.Error, and OverflowError beyond 64 bits.

    A connection that raised is to be closed, which takes back what was written of the transaction.
    """
    connection.execute("BEGIN IMMEDIATE")
    for batch in batches:
        for statement, rows in batch.writes:
            connection.executemany(statement, rows)
    make_durable(connection)


def make_durable(connection: sqlite3.Connection) -> None:
    """Commit, which at full durability waits for the disk. Raises sqlite3.Error."""
    connection.execute("COMMIT")


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

    async def commit(self, batch: Batch) -> None:
        """Write a batch and commit it."""
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
    """A batch and who waits for it; None for ``batch`` ends the thread."""

    batch: Batch | None
    done: asyncio.Future[None] | None = None


class ThreadWriter:
    """Writes in a thread; batches that wait are committed together."""

    def __init__(self, connection: sqlite3.Connection, path: Path, committed_row: int) -> None:
        """Own ``connection`` from now on, and start the thread."""
        self._connection = connection
        self._path = path
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self.failure = ""
        self.committed_row = committed_row
        self._thread = threading.Thread(target=self._run, name=f"journal {path.name}", daemon=True)
        self._thread.start()

    def put(self, batch: Batch) -> None:
        """Hand a batch over."""
        if self.failure:
            raise Fatal(self.failure)
        self._jobs.put(_Job(batch=batch))

    async def commit(self, batch: Batch) -> None:
        """Hand a batch over and wait until it is on disk."""
        if not self.failure:
            done = asyncio.get_running_loop().create_future()
            self._jobs.put(_Job(batch=batch, done=done))
            await done
        if self.failure:
            raise Fatal(self.failure)

    def stop(self, batch: Batch | None) -> None:
        """Write a last batch, end the thread, and close the connection."""
        if batch is not None:
            self._jobs.put(_Job(batch=batch))
        self._jobs.put(_Job(batch=None))
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
                self._write([job.batch for job in jobs if job.batch is not None])
                self._answer(jobs)
                if any(job.batch is None for job in jobs):
                    return
        finally:
            # Whoever waits at a fault of ours, or comes after it, must not wait for ever.
            if not any(job.batch is None for job in jobs):
                self.failure = self.failure or f"journal {self._path}: its writer has ended"
                self._answer(jobs)

    def _write(self, batches: list[Batch]) -> None:
        if self.failure or not batches:
            return
        try:
            if any(batch.writes for batch in batches):
                transact(self._connection, batches)
        except (sqlite3.Error, OverflowError) as error:
            self.failure = explain(self._path, error)
        else:
            self.committed_row = batches[-1].last_row

    def _answer(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if job.done is not None:
                with contextlib.suppress(RuntimeError):  # its loop has ended: nobody waits
                    job.done.get_loop().call_soon_threadsafe(_resolve, job.done)


def _resolve(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
