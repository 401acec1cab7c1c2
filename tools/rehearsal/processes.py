"""The two programs of a rehearsal, the stand-in and the bot, each a process of its own that is ended by its id."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

ROOT: Final = Path(__file__).parents[2]
KEY: Final = "standin-key"
START_S: Final = 60.0
STOP_S: Final = 60.0


class NotStartedError(Exception):
    """A program ended, or said nothing, before it was up."""


@contextmanager
def standin(log: Path, arguments: Sequence[str]) -> Iterator[str]:
    """Run a stand-in and give its origin. Raises NotStartedError."""
    command = [sys.executable, "-m", "tools.standin", "--port", "0", "--log", str(log), *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            if " on http" not in line:
                raise NotStartedError(f"the stand-in did not start: {line.strip() or 'see above'}")
            yield line.split(" on ", 1)[1].split(" ", 1)[0]
        finally:
            end(child, signal.SIGTERM)


def bot(folder: Path, origin: str, arguments: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the bot against the server at ``origin``; what it says goes to ``bot.log`` in ``folder``."""
    with (folder / "bot.log").open("ab") as out:
        return subprocess.Popen(
            [sys.executable, "-m", "hedgegrid", "run", "--exchange", origin, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=out,
            stderr=out,
        )


def end(child: "subprocess.Popen[Any]", number: signal.Signals) -> int:
    """Send a signal, wait, kill what does not end; give the exit code."""
    if child.poll() is None:
        child.send_signal(number)
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait()


def ask(origin: str, path: str) -> Any:  # noqa: ANN401 - JSON
    """Read one of the stand-in's control endpoints."""
    with urlopen(origin + path, timeout=10.0) as answer:  # noqa: S310 - loopback, by construction
        return json.load(answer)


def wait_until(seen: Any, timeout_s: float, step_s: float = 0.02) -> float | None:  # noqa: ANN401 - a callable
    """Wait until ``seen()``; give the seconds that it took, None where it did not come."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < timeout_s:
        if seen():
            return time.monotonic() - began_s
        time.sleep(step_s)
    return None
