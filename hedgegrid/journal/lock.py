"""One writer an account: a lock on a file beside the journal.

Invariants: the kernel holds the lock, so it ends with its holder however that dies; the file itself is never deleted
(deleting it would let two holders lock two files of one name); its text is the holder's process id, for people.
"""

import fcntl
import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from hedgegrid.errors import Fatal

ENDING_S = 15.0
"""What a holder gets to stop by its policy before it is killed."""


def locks_folder() -> Path:
    """Give the folder of the locks that all accounts of this user share."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hedgegrid" / "accounts"


def end_holder(journal_path: Path) -> int:
    """End the process that holds the lock of a journal: asked first, then killed. Give its id, 0 where none holds it.

    Raises Fatal where it may not be ended or does not end.
    """
    path = journal_path.with_name(journal_path.name + ".lock")
    if not path.exists():
        return 0
    with path.open("rb") as file:
        if _is_free(file.fileno()):
            return 0
        text = file.read(32).decode(errors="replace").strip()
        holder = int(text) if text.isdecimal() else 0
        if holder <= 1:
            raise Fatal(f"{path} is held by an unnamed process: find it and stop it")
        try:
            for number, patience_s in ((signal.SIGTERM, ENDING_S), (signal.SIGKILL, ENDING_S)):
                os.kill(holder, number)
                if _freed(file.fileno(), patience_s):
                    return holder
        except ProcessLookupError:
            return holder
        except PermissionError as error:
            raise Fatal(f"process {holder} holds {path} and belongs to another user: stop it there") from error
    raise Fatal(f"process {holder} holds {path} and does not end")


def is_held(journal_path: Path) -> bool:
    """Tell whether a process holds the lock of a journal."""
    path = journal_path.with_name(journal_path.name + ".lock")
    if not path.exists():
        return False
    with path.open("rb") as file:
        return not _is_free(file.fileno())


def _is_free(file: int) -> bool:
    """Tell whether nobody holds the lock now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(file, fcntl.LOCK_UN)
    return True


def _freed(file: int, patience_s: float) -> bool:
    """Wait until nobody holds the lock; False where that takes longer than ``patience_s``."""
    until_s = time.monotonic() + patience_s  # ambient: a command that waits for a stranger
    while time.monotonic() < until_s:  # ambient: as above
        if _is_free(file):
            return True
        time.sleep(0.05)
    return False


class AccountHeldError(Fatal):
    """Another process trades this account."""


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
            words = f"{who} trades this account already (it holds {self.path}): stop it first"
            raise AccountHeldError(words) from error
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
