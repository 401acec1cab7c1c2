"""One writer an account, whatever happens to it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hedgegrid.errors import Fatal
from hedgegrid.journal.lock import AccountLock

ROOT = Path(__file__).parents[2]
HOLD = """
import sys
from pathlib import Path
from hedgegrid.journal.lock import AccountLock
lock = AccountLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def holder(journal: Path) -> "subprocess.Popen[str]":
    """Start a child that holds the lock until it is told to end."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(journal)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def test_a_second_process_is_told_who_holds_the_account(tmp_path: Path) -> None:
    """Two bots on one account would send every order twice."""
    journal = tmp_path / "state" / "demo.db"
    with holder(journal) as child:
        with pytest.raises(
            Fatal, match=rf"^process {child.pid} trades this account already \(it holds .*demo.db.lock\)"
        ):
            AccountLock(journal)
        child.communicate("")
    with AccountLock(journal) as lock:
        assert lock.path.read_text() == f"{os.getpid()}\n"


def test_a_killed_holder_frees_the_account(tmp_path: Path) -> None:
    """After a crash the next start must not need a person to remove a file."""
    journal = tmp_path / "demo.db"
    with holder(journal) as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
        AccountLock(journal).release()


def test_the_same_process_cannot_lock_twice(tmp_path: Path) -> None:
    """A lock of the process instead of the file would let two journals of one program write."""
    with AccountLock(tmp_path / "demo.db"), pytest.raises(Fatal, match="trades this account already"):
        AccountLock(tmp_path / "demo.db")


def test_release_is_final_and_may_be_repeated(tmp_path: Path) -> None:
    """A clean stop releases once more than needed, and the file says that nobody holds it."""
    lock = AccountLock(tmp_path / "demo.db")
    lock.release()
    lock.release()
    assert lock.path.read_text() == ""


def test_an_impossible_place_is_one_line(tmp_path: Path) -> None:
    """Bad input gets one clear line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Fatal, match=r"^cannot open the account lock .*: (File exists|Not a directory)$"):
        AccountLock(tmp_path / "file" / "demo.db")
