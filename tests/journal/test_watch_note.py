"""The watchdog's note on the disk: whole or not there, and read in doubt as the worse case."""

from pathlib import Path

import pytest

from hedgegrid.journal import watch_note
from hedgegrid.journal.watch_note import UNREADABLE, WatchNote, note_path


@pytest.mark.parametrize("ended", [False, True])
def test_note_comes_back_as_it_was_written(tmp_path: Path, ended: bool) -> None:
    """The next life reads what the last one left, over an older note too."""
    path = note_path(tmp_path / "a.db")
    watch_note.write(path, WatchNote(why="before", figures={}, ended=False))
    note = WatchNote(why="the loop is blocked", figures={"silence_ms": "3000"}, ended=ended)
    watch_note.write(path, note)
    assert watch_note.read(path) == note
    assert [each.name for each in tmp_path.iterdir()] == ["a.db.watchdog"]
    watch_note.clear(path)
    assert watch_note.read(path) is None
    watch_note.clear(path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"why": "x"}', '{"why": 1, "figures": 2, "ended": 3}', "\udc80"])
def test_note_that_cannot_be_read_is_the_worse_case(tmp_path: Path, text: str) -> None:
    """Half a note still says that something happened: the next life starts paused."""
    path = tmp_path / "note"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    found = watch_note.read(path)
    assert found is not None
    assert (found.why, found.ended) == (UNREADABLE, True)
