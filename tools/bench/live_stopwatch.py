"""The bot with a stopwatch at its journal: ``python -m tools.bench.live_stopwatch TIMES run --config ...``.

It is the ordinary command in every other way. When the process ends, TIMES holds a line for each commit: when it began
and ended, in ns of the machine's monotonic clock, which the stand-in's log uses too.
"""

import atexit
import sqlite3
import sys
import time
from pathlib import Path

from hedgegrid.cli import main as hedgegrid
from hedgegrid.journal import writer


def watch(path: Path) -> None:
    """Time every commit from here on, and write the times at the end."""
    times: list[tuple[int, int]] = []
    commit = writer.make_durable

    def timed(connection: sqlite3.Connection) -> None:
        began_ns = time.monotonic_ns()
        commit(connection)
        times.append((began_ns, time.monotonic_ns()))

    def keep() -> None:
        path.write_text("".join(f"{began_ns} {ended_ns}\n" for began_ns, ended_ns in times), encoding="utf-8")

    writer.make_durable = timed
    atexit.register(keep)


if __name__ == "__main__":
    watch(Path(sys.argv.pop(1)))
    hedgegrid()
