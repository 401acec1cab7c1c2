"""The processes of the live bench: a stand-in and a contestant at it, each in a folder that is thrown away."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

from tools.rehearsal.processes import KEY, ROOT, NotStartedError, end, wait_until

SECRETS: Final = {"BINANCE_KEY": KEY, "BINANCE_SECRET": "standin-secret", "HEDGEGRID_CONTROL_TOKEN": "bench-token"}
READY_S: Final = 60.0
_METRICS: Final = re.compile(r"metrics at (http://\S+)")
_SAMPLE: Final = re.compile(r"^(\w+?)(?:\{[^}]*\})? ([-+.\deE]+)$", re.MULTILINE)


class Bot:
    """The bot that runs; ``pid`` is its process."""

    def __init__(self, folder: Path, child: "subprocess.Popen[bytes]") -> None:
        """Watch a bot that was started in ``folder``."""
        self.folder = folder
        self.pid = child.pid
        self._child = child

    def words(self) -> str:
        """Give all that it has said."""
        return (self.folder / "bot.log").read_text(encoding="utf-8", errors="replace")

    def is_alive(self) -> bool:
        """Tell whether it runs."""
        return self._child.poll() is None

    def is_active(self) -> bool:
        """Tell whether it has begun to trade."""
        return "-> active" in self.words()

    def counts(self) -> dict[str, float]:
        """Give its own counters, summed over their labels."""
        found = _METRICS.search(self.words())
        if found is None:
            return {}
        with urlopen(found[1], timeout=10.0) as answer:  # noqa: S310 - loopback, by construction
            text = answer.read().decode()
        sums: dict[str, float] = {}
        for name, value in _SAMPLE.findall(text):
            if name.endswith("_total"):
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums


@contextmanager
def running_bot(folder: Path, origin: str, config: str, *, journal: Path, times: Path | None = None) -> Iterator[Bot]:
    """Run the bot until the block is left; it trades when the block begins. Raises NotStartedError.

    ``times``: where the times of its journal's commits are written to, if they are wanted.

    """
    own = folder / "account.toml"
    own.write_text(config, encoding="utf-8")
    arguments = ["--config", str(own), "--journal", str(journal), "--listen", "127.0.0.1:0"]
    program = ["hedgegrid"] if times is None else ["tools.bench.live_stopwatch", str(times)]
    command = [sys.executable, "-m", *program, "run", "--exchange", origin, *arguments]
    with (folder / "bot.log").open("wb") as out:
        child = subprocess.Popen(
            command, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT), **SECRETS}, stdout=out, stderr=out
        )
    one = Bot(folder, child)
    try:
        came = wait_until(lambda: one.is_active() or not one.is_alive(), READY_S, 0.1)
        if came is None or not one.is_alive():
            raise NotStartedError(f"the bot does not trade: {one.words()[-500:]}")
        yield one
    finally:
        end(child, signal.SIGTERM)


def run_script(origin: str, timeframe: str, seconds: float, options: Sequence[str]) -> None:
    """Run the bare script, with these of its options, to its end. CalledProcessError where it failed."""
    command = [sys.executable, "-m", "tools.bench.live_bare", "--origin", origin, "--timeframe", timeframe]
    command += ["--seconds", str(seconds), *(f"--{name}" for name in options)]
    subprocess.run(command, cwd=ROOT, check=True)


def standin_arguments(bases: Sequence[str], *, quotes_per_s: float, speed: int, **more: Any) -> list[str]:  # noqa: ANN401
    """Give the arguments of a stand-in that streams so many best quotes a second in all."""
    words = ["--symbols", ",".join(f"{base}USDT" for base in bases)]
    words += ["--book-rate", str(quotes_per_s / len(bases)), "--speed", str(speed), "--wallet", "100000000"]
    for name, value in more.items():
        words += [f"--{name}", str(value)]
    return words
