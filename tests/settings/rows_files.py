"""Rows of [journal]: the file, what is in it, and how it is written to the disk."""

import sqlite3
from pathlib import Path
from typing import Any

import attrs
import pytest

from hedgegrid.app import House
from hedgegrid.messages.events import BarClosed
from tests.actors.house import Script, query
from tests.settings import markets
from tests.settings.simulated import Played, Simulated
from tests.settings.table import Changes, row

STILL = Simulated(name="a market that stands still, and a journal", tape=markets.still)


@attrs.frozen(kw_only=True)
class Journaled(Simulated):
    """A life in which SQLite itself is asked, as it runs, how it writes to the disk."""

    async def play(self, changes: Changes, folder: Path) -> Played:
        """Live it; what the connections that write say is kept as the words of its refusal are."""
        opened: list[sqlite3.Connection] = []
        connect = sqlite3.connect
        said: list[int] = []

        def noted(*parts: Any, **named: Any) -> sqlite3.Connection:
            opened.append(connect(*parts, **named))
            return opened[-1]

        def hook(_house: House, message: Any) -> None:
            if isinstance(message, BarClosed) and not said:
                writing = [one for one in opened if _writes(one)]
                said.extend(level for one in writing for (level,) in one.execute("PRAGMA synchronous"))

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite3, "connect", noted)
            scene = attrs.evolve(self, script=lambda: Script(after_publish=hook))
            played = await Simulated.play(scene, changes, folder)
        played.seen = said
        return played


def _writes(connection: sqlite3.Connection) -> bool:
    """Whether a connection is open, and of the journal, and writes."""
    try:
        names = [name for _, _, name in connection.execute("PRAGMA database_list")]
        total = connection.total_changes
    except sqlite3.ProgrammingError:
        return False
    return total > 0 and any(name.endswith("house.db") for name in names)


DURABLE = Journaled(name="a market that stands still, and its disk", tape=markets.still)


def databases(played: Played) -> list[str]:
    """The journals in the life's folder."""
    return sorted(
        str(path.relative_to(played.folder)) for path in played.folder.rglob("*.db") if "venue" not in path.name
    )


def recorded(played: Played) -> bool:
    """Whether the journal has the market."""
    return query(played.one.path, "SELECT count(*) FROM quotes") != [(0,)]


ROWS = (
    row(
        "journal.path",
        STILL,
        databases,
        "the journals in the folder",
        ("{folder}/house.db", ["house.db"]),
        ("{folder}/deep/other.db", ["deep/other.db"]),
    ),
    row(
        "journal.record_quotes",
        STILL,
        recorded,
        "whether the journal has the market's prices",
        (False, False),
        (True, True),
    ),
    row(
        "journal.synchronous",
        DURABLE,
        lambda played: played.seen,
        "SQLite's level of synchronous writing (2: each commit reaches the disk)",
        ("full", [2]),
        ("normal", [1]),
    ),
)
