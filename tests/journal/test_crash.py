"""SIGKILL at any moment: what was committed is there, whole, and the next start goes on."""

import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hedgegrid.journal.reader import open_reader, walk_chain
from hedgegrid.journal.verify import verify
from tests.journal.life import opened

ROOT = Path(__file__).parents[2]


def run_and_kill(path: Path, seed: int, how: str, lines: int) -> int:
    """Run the child until it has reported some commits, kill it, and give the last row that it knew to be durable."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.journal.crash_child", str(path), str(seed), how],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        assert child.stdout is not None
        durable = 0
        for _ in range(lines):
            durable = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        # What it still said before it died was durable too.
        said = [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        return int(said[-1]) if said else durable


@pytest.mark.parametrize(("seed", "how"), [(1, "thread"), (2, "inline"), (3, "thread")])
def test_a_killed_writer_loses_nothing_that_was_committed(tmp_path: Path, seed: int, how: str) -> None:
    """Killed twice at random moments: the chain is whole, the tables are what the tape says, no durable row is gone."""
    rng = random.Random(seed)
    path = tmp_path / "a.db"
    for _ in range(2):
        durable = run_and_kill(path, seed, how, rng.randrange(5, 400))
        with open_reader(path) as connection:
            rows, _ = walk_chain(connection)
        assert rows >= durable
        failed = {check.name for check in verify(path).checks if not check.ok}
        # The second life is that of a fresh account: its samples and exits cannot agree with the first one's.
        assert failed <= {
            "every equity sample agrees with the fills before it",
            "realised profit is that of the average cost",
            "open lots add up to the positions (lots)",
        }
    journal = opened(path)
    assert [boot.clean_end for boot in journal.past_boots] == [False, False]
    assert journal.crash_boots() == 2
    journal.close("done")


def limit_files() -> None:
    """Let no file of this process grow beyond 600 kB, with an error instead of a signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))


@pytest.mark.parametrize("how", ["thread", "inline"])
def test_a_disk_that_refuses_ends_the_run_and_keeps_what_was_written(tmp_path: Path, how: str) -> None:
    """The kernel refuses to write: the run ends with one line, and all that was committed is there."""
    path = tmp_path / "a.db"
    child = subprocess.run(
        [sys.executable, "-m", "tests.journal.crash_child", str(path), "1", how],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit_files,
    )
    assert child.returncode == 1
    fatal = child.stderr.strip().splitlines()[-1]
    assert fatal.startswith("hedgegrid.errors.Fatal: journal ")
    assert "nothing is written any more" in fatal
    with open_reader(path) as connection:
        rows, _ = walk_chain(connection)
    assert rows >= int(child.stdout.splitlines()[-1])
    report = verify(path)
    assert report.ok, report.text()
