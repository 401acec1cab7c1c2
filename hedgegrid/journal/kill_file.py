"""The kill switch's file beside the journal: the word that no crash and no missing token can lose.

It is placed by `hedgegrid kill` before anybody is asked, or by hand (``touch state/NAME.db.kill``). A running account
looks for it, a start reads it first; whoever has latched the kill durably takes it away.

Invariants: once ``place`` has returned the file is on disk; it is removed only after the journal has the latch on disk.
"""

import os
from pathlib import Path
from typing import Final

from hedgegrid.errors import Fatal

SUFFIX: Final = ".kill"


def kill_file(journal_path: Path) -> Path:
    """Give the file's place."""
    return journal_path.with_name(journal_path.name + SUFFIX)


def place(journal_path: Path) -> None:
    """Write the file, and have it on disk. Raises Fatal where that cannot be done."""
    path = kill_file(journal_path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8") as file:
            file.write("hedgegrid kill\n")
            file.flush()
            os.fsync(file.fileno())
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise Fatal(f"cannot write the kill file {path}: {error.strerror}") from error


def is_placed(journal_path: Path) -> bool:
    """Tell whether the word stands there: whatever bears the name says it, a link that leads nowhere too."""
    return os.path.lexists(kill_file(journal_path))


def remove(journal_path: Path) -> None:
    """Take the file away: the journal has the latch. Raises Fatal where that cannot be done."""
    path = kill_file(journal_path)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise Fatal(f"cannot remove the kill file {path}: {error.strerror}") from error
