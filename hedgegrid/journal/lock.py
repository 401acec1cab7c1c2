"""One writer an account: a lock on a file beside the journal.

Invariants: the kernel holds the lock, so it ends with its holder however that dies; the file itself is never deleted
(deleting it would let two holders lock two files of one name); its text is the holder's process id, for people.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from hedgegrid.errors import Fatal


class AccountLock:
    """Holds the lock of a journal from construction until ``release``, or the end of the program."""

    def __init__(self, journal_path: Path) -> None:
        """Take the lock, making the folder where it is absent. Fatal where another holds it, or on an I/O error."""
        self.path = journal_path.with_name(journal_path.name + ".lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Fatal(f"cannot open the account lock {self.path}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip()
            os.close(self._file)
            who = f"process {holder}" if holder else "another process"
            raise Fatal(f"{who} trades this account already (it holds {self.path}): stop it first") from error
        except OSError as error:
            os.close(self._file)
            raise Fatal(f"cannot lock {self.path}: {error.strerror}") from error
        try:
            self._write(f"{os.getpid()}\n")
        except Fatal:
            os.close(self._file)
            raise

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._file < 0:
            return
        self._write("")
        os.close(self._file)
        self._file = -1

    def _write(self, text: str) -> None:
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, text.encode(), 0)
        except OSError as error:
            raise Fatal(f"cannot write {self.path}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
