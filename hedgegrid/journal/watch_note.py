"""What the watchdog leaves on the disk beside the journal: it must be told also by a process that could tell nobody.

Invariants: a note is whole or not there (it is renamed into its place), and durable when ``write`` returns; it says
nothing secret; one that cannot be read counts as one of a process that was ended.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

UNREADABLE: Final = "the watchdog's note cannot be read"
_TEXT_MAX: Final = 400


@attrs.frozen(kw_only=True)
class WatchNote:
    """``why`` the watchdog acted and with what ``figures``; ``ended``: it ended the process, or the run, for it."""

    why: str
    figures: Mapping[str, str]
    ended: bool


def note_path(journal: Path) -> Path:
    """Give where the note of a journal's account lies."""
    return journal.with_name(journal.name + ".watchdog")


def write(path: Path, note: WatchNote) -> None:
    """Put a note into its place, over an older one. Raises OSError."""
    text = json.dumps({"why": note.why, "figures": dict(note.figures), "ended": note.ended}, indent=1)
    new = path.with_name(path.name + ".new")
    with new.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def read(path: Path) -> WatchNote | None:
    """Give the note; None where there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        return WatchNote(why=UNREADABLE, figures={"error": str(error)[:_TEXT_MAX]}, ended=True)
    try:
        found = json.loads(text)
        figures = {str(name): str(value)[:_TEXT_MAX] for name, value in found["figures"].items()}
        return WatchNote(why=str(found["why"])[:_TEXT_MAX], figures=figures, ended=found["ended"] is not False)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        return WatchNote(why=UNREADABLE, figures={"error": repr(error)[:_TEXT_MAX]}, ended=True)


def clear(path: Path) -> None:
    """Take the note away; harmless where there is none. Raises OSError."""
    path.unlink(missing_ok=True)
