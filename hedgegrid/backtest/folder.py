"""A folder that appears whole or not at all.

Everything is written into a hidden folder beside it, put on disk, and renamed. Invariants: under the folder's name
there is at any moment what was there before or all of the new, also where the program is killed (with ``force`` the
old folder is gone for the instant between two renames, and is put back if the second fails); what a killed program left
beside it is taken away by the next one, and never while its writer lives: the kernel holds a lock on it.
"""

import errno
import fcntl
import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from hedgegrid.errors import Fatal

SUMMARY: Final = "summary.json"


@contextmanager
def whole_folder(target: Path, *, force: bool = False) -> Iterator[Path]:
    """Give an empty folder to write into; it becomes ``target`` when the block ends without an error.

    Fatal, in one line, where ``target`` exists and is not an empty folder (unless ``force``, which replaces one that
    holds a ``summary.json``: the output of a backtest, nothing else), and where the disk refuses.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 a link in the path stays a link: the name is what counts
    refuse_occupied(target, force=force)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        part = target.with_name(f"{_prefix(target)}{os.getpid()}")
        part.mkdir()
        lock = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Fatal(f"cannot write {target}: {error.strerror or error}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield part
        for path in sorted(part.rglob("*")):
            _sync(path)
        _sync(part)
        _rename(part, target, force=force)
        _sync(target.parent)
    except OSError as error:
        raise Fatal(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        os.close(lock)
        shutil.rmtree(part, ignore_errors=True)


def _prefix(target: Path) -> str:
    return f".{target.name}.part-"


def refuse_occupied(target: Path, *, force: bool) -> None:
    """Fatal where something stands under the name that is not an empty folder, or may not be replaced."""
    try:
        if not target.is_dir():
            if target.exists() or target.is_symlink():
                raise Fatal(f"{target} is a file: name a folder for the output")
            return
        if not any(target.iterdir()):
            return
        if not force:
            raise Fatal(f"{target} is not empty: name another folder, or replace it (--force)")
        if not (target / SUMMARY).is_file():
            raise Fatal(f"{target} is no output of a backtest, it holds no {SUMMARY}: it is not replaced; name another")
    except OSError as error:
        raise Fatal(f"cannot look into {target}: {error.strerror or error}") from error


def _sweep(target: Path) -> None:
    """Take away what killed writers of this folder left: those that nobody has locked."""
    for left in target.parent.glob(f"{glob.escape(_prefix(target))}*"):
        # Another program may sweep at the same time, or end.
        with suppress(OSError):
            lock = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(lock)


def _rename(part: Path, target: Path, *, force: bool) -> None:
    """Put the folder under its name; an empty one there gives way, a full one only with ``force``."""
    try:
        part.rename(target)
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise
        if not force:
            raise Fatal(f"{target} was filled by another program meanwhile: name another folder") from error
        _replace(part, target)


def _replace(part: Path, target: Path) -> None:
    """Put the folder in the place of a full one; the old one goes back where that fails."""
    old = part.with_name(f"{part.name}-old")
    target.rename(old)
    try:
        part.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sync(path: Path) -> None:
    """Have a file or folder on disk before going on."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
