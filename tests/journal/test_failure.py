"""A disk that is full: the journal fails once, in one line, and stays failed."""

import asyncio
import sqlite3
import threading
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from hedgegrid.errors import Fatal
from hedgegrid.journal import writer
from hedgegrid.journal.journal import SqliteJournal
from hedgegrid.journal.reader import connect
from hedgegrid.journal.verify import verify
from hedgegrid.journal.writer import Batch, ThreadWriter, _Job
from tests.journal.life import Life, opened, write

FULL = (
    r"^journal .*a.db cannot be written: database or disk is full; nothing is written any more: free space, then start"
)


def fill_up(journal: SqliteJournal) -> None:
    """Let the file grow by a few pages only."""
    connection = journal._writer._connection  # type: ignore[attr-defined]
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 8}")


@pytest.mark.asyncio
@pytest.mark.parametrize("threaded", [False, True])
async def test_a_full_disk_is_fatal_and_latches(tmp_path: Path, threaded: bool) -> None:
    """No journal write, no new risk: every later append and commit says the same, and nothing more is written."""
    journal = opened(tmp_path / "a.db", threaded=threaded)
    life = Life(1)
    await write(journal, life.run(5))
    durable = journal.counts()["rows"]
    fill_up(journal)
    with pytest.raises(Fatal, match=FULL):
        await write(journal, life.run(500))
    with pytest.raises(Fatal, match=FULL):
        journal.append(life.sample())
    with pytest.raises(Fatal, match=FULL):
        await journal.commit()
    if threaded:
        with pytest.raises(Fatal, match=FULL):
            journal.close("failed")
    else:
        journal.close("failed")
    report = verify(tmp_path / "a.db")
    assert report.ok, report.text()
    again = opened(tmp_path / "a.db")
    assert durable <= again.counts()["rows"] < life.seq
    assert not again.past_boots[0].clean_end
    again.close("done")


@pytest.mark.asyncio
async def test_a_failure_without_a_commit_surfaces_at_the_next_append(tmp_path: Path) -> None:
    """The thread fails while nobody waits: whoever comes next is told."""
    journal = opened(tmp_path / "a.db", threaded=True)
    fill_up(journal)

    async def live() -> None:
        for message in Life(1).run(100_000):
            journal.append(message)
            await asyncio.sleep(0)

    with pytest.raises(Fatal, match=FULL):
        await live()
    with pytest.raises(Fatal, match=FULL):
        journal.close("failed")


def test_what_waited_behind_a_failure_is_not_written(tmp_path: Path) -> None:
    """A gap in the tape would be worse than its end: what was handed over before the error was known stays out."""
    opened(tmp_path / "a.db").close("done")
    connection = connect(tmp_path / "a.db", read_only=False)
    writer = ThreadWriter(connection, tmp_path / "a.db", 0)
    counter = "INSERT INTO counters VALUES (?, ?)"
    for number, statement in enumerate([counter, "INSERT INTO nowhere VALUES (?, ?)", counter]):
        writer._jobs.put(_Job(batch=Batch(last_row=number, writes=[(statement, [(f"n{number}", number)])])))
        while not writer._jobs.empty():
            threading.Event().wait(0.001)
    with pytest.raises(Fatal, match="no such table: nowhere"):
        writer.stop(None)
    with closing(connect(tmp_path / "a.db", read_only=True)) as after:
        assert after.execute("SELECT name FROM counters WHERE name LIKE 'n_'").fetchall() in ([("n0",)], [])


@pytest.mark.asyncio
async def test_a_file_that_somebody_holds_is_waited_for_beside_the_loop(tmp_path: Path) -> None:
    """Another program's transaction delays what is durable, and neither holds up the event loop nor ends the run."""
    journal = opened(tmp_path / "a.db", threaded=True)
    life = Life(1)
    await write(journal, life.run(3))
    with closing(connect(tmp_path / "a.db", read_only=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        journal.append(life.sample())

        async def commit() -> None:
            await journal.commit()

        waiting = asyncio.create_task(commit())
        await asyncio.wait([waiting], timeout=0.05)
        assert not waiting.done()
        other.execute("ROLLBACK")
    await waiting
    journal.append(life.sample())
    await journal.commit()
    assert journal.counts()["rows"] == life.seq
    journal.close("done")
    report = verify(tmp_path / "a.db")
    assert report.ok, report.text()


@pytest.mark.asyncio
async def test_whoever_commits_goes_on_when_the_disk_was_reached_and_not_much_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread comes to the disk undisturbed; one that is held up holds up nobody, and what follows is as before."""
    journal = opened(tmp_path / "a.db", threaded=True)
    life, said, free = Life(1), list[str](), threading.Event()
    caller, fill = threading.current_thread(), writer.fill

    def watched(connection: sqlite3.Connection, batches: Iterable[Batch]) -> None:
        fill(connection, batches)
        if threading.current_thread() is not caller:
            assert free.wait(10.0)
            said.append("at the disk")

    monkeypatch.setattr(writer, "fill", watched)
    monkeypatch.setattr(writer, "ASIDE_S", 0.002)
    journal.append(life.sample())
    waiting = journal.commit()
    said.append("held up")
    free.set()
    await waiting
    monkeypatch.setattr(writer, "ASIDE_S", 60.0)
    for _ in range(2):
        journal.append(life.sample())
        waiting = journal.commit()
        said.append("goes on")
        await waiting
    assert said == ["held up", "at the disk", *["at the disk", "goes on"] * 2]
    journal.close("done")


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_dies_of_a_fault_leaves_nobody_waiting(tmp_path: Path) -> None:
    """A bug in the thread must end the run, not hang it."""
    journal = opened(tmp_path / "a.db", threaded=True)
    journal.append(next(Life(1).run(1)))
    journal._writer._write = None  # type: ignore[attr-defined]
    with pytest.raises(Fatal, match="its writer has ended"):
        await journal.commit()
    with pytest.raises(Fatal, match="its writer has ended"):
        journal.close("failed")


@pytest.mark.asyncio
async def test_a_figure_beyond_64_bits_is_refused_in_one_line(tmp_path: Path) -> None:
    """SQLite cannot hold it: the journal fails instead of writing another figure."""
    journal = opened(tmp_path / "a.db")
    life = Life(1)
    life.wallet_e8 = 2**63
    journal.append(life.sample())
    with pytest.raises(Fatal, match="too large to convert to SQLite INTEGER"):
        await journal.commit()
    journal.close("failed")
