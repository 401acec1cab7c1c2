"""One contestant's measurement: it reads a case, runs it cold and then again and again, and prints one line of JSON.

    python -m tools.bench.peers.vectorbt_grid CASE.npz SETUP.json --rounds 5 --core 1

Invariants: only ``run`` is inside the clock, from an untouched state each time, and it gives the fills that it made;
the process is pinned to one core before anything is timed; peak memory is this process's own (the kernel's high-water
mark, which, unlike ``ru_maxrss``, does not remember the process that started this one).
"""

import argparse
import gc
import importlib
import importlib.metadata
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
Function = TypeVar("Function", bound=Callable[..., object])

MICRO = 1_000_000
"""A step is an integer in millionths of a tick; rates are ppm."""

NS_PER_S = 1_000_000_000
KIB_PER_MIB = 1024


@dataclass(frozen=True, kw_only=True)
class Setup:
    """The grid that every contestant trades, and the account that it trades on.

    ``levels`` rungs a leg, LONG below and SHORT above the center, ``step_ppm`` of the center apart; the center follows
    the close once it is more than ``recenter_ppm`` away. A fill opens a lot with a take-profit ``tp_steps`` and a stop
    ``sl_steps`` away. Decisions fall on the ends of bars of ``bar_ns``, the first on bar ``first_decision`` (from 0).
    Fees and slippage in ppm; ``tick`` and ``lot`` are decimals in quote and base units, ``qty_lots`` a rung's quantity.
    ``poll_ns`` is how often a contestant looks for fills that its engine cannot wake it for.
    """

    levels: int
    step_ppm: int
    recenter_ppm: int
    tp_steps: int
    sl_steps: int
    qty_lots: int
    maker_ppm: int
    taker_ppm: int
    slippage_ppm: int
    first_decision: int
    bar_ns: int
    tick: str
    lot: str
    wallet_quote: int
    poll_ns: int

    def scalars(self) -> IntArray:
        """Give what a compiled grid needs, in the order of ``SCALARS``."""
        return np.array([getattr(self, name) for name in SCALARS], np.int64)


SCALARS = ("levels", "step_ppm", "recenter_ppm", "tp_steps", "sl_steps", "slippage_ppm", "first_decision")


@dataclass(frozen=True, kw_only=True)
class Fills:
    """How many entries, take-profits and stops one run filled: the proof of what work was done."""

    entries: int
    take_profits: int
    stops: int


@dataclass(frozen=True, kw_only=True)
class Case:
    """A market as columns of int64 by name, and the grid to trade on it."""

    columns: dict[str, IntArray]
    setup: Setup

    @classmethod
    def read(cls, market: Path, setup: Path) -> "Case":
        """Read both files of a case. Raises OSError where one is missing, TypeError where a setting is."""
        with np.load(market) as stored:
            columns = {name: np.ascontiguousarray(stored[name]) for name in stored.files}
        return cls(columns=columns, setup=Setup(**json.loads(setup.read_text())))

    @property
    def events(self) -> int:
        """Bars or trades."""
        return len(self.columns["ts_ns"])


class Contestant(Protocol):
    """A backtest that can be raced. ``notes`` say where its meaning differs, ``packages`` whose releases to name."""

    name: str
    packages: tuple[str, ...]
    notes: tuple[str, ...]

    def prepare(self) -> None:
        """Lay out what the next run needs; called before each run, outside the clock."""

    def run(self) -> Fills:
        """Trade the whole case from an untouched state."""


def compiled(function: Function) -> Function:
    """Compile with numba, and keep the type that the source says."""
    from numba import njit  # noqa: PLC0415 - not every contestant's environment has a compiler

    twin: Function = njit(function)
    return twin


def release_of(package: str) -> str:
    """Give a package's release; a clone that is not installed knows its own."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return str(importlib.import_module(package).__version__)


def peak_memory_mib() -> float:
    """Give the largest resident memory that this process ever had, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / KIB_PER_MIB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB_PER_MIB


def pin(core: int) -> bool:
    """Keep this process on one core; False where the system cannot."""
    if core < 0 or not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, {core})
    return True


def timed(contestant: Contestant) -> tuple[float, float, Fills]:
    """Run once from an untouched state: wall seconds, seconds of this process on a processor, and fills."""
    contestant.prepare()
    gc.collect()
    began, began_cpu = time.perf_counter(), time.process_time()
    fills = contestant.run()
    return time.perf_counter() - began, time.process_time() - began_cpu, fills


def main(make: Callable[[Case], Contestant], argv: Sequence[str] | None = None) -> None:
    """Measure what ``make`` gives for the case on the command line, and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("market", type=Path, help="columns of int64 (.npz)")
    parser.add_argument("setup", type=Path, help="the grid (.json)")
    parser.add_argument("--rounds", type=int, default=5, help="runs after the first (default 5)")
    parser.add_argument("--core", type=int, default=-1, help="the core to stay on (default: any)")
    parser.add_argument(
        "--launched-ns", type=int, default=0, help="when the caller started this, on the monotonic clock"
    )
    given = parser.parse_args(argv)
    launched_ns = given.launched_ns or time.monotonic_ns()
    pinned = pin(given.core)
    case = Case.read(given.market, given.setup)
    contestant = make(case)
    ready_s = (time.monotonic_ns() - launched_ns) / NS_PER_S
    first_run_s, _, fills = timed(contestant)
    walls_s, cpus_s = [], []
    for _ in range(given.rounds):
        wall_s, cpu_s, again = timed(contestant)
        if again != fills:
            raise SystemExit(f"{contestant.name}: two runs of one case differ: {fills}, then {again}")
        walls_s.append(wall_s)
        cpus_s.append(cpu_s)
    print(
        json.dumps(
            {
                "name": contestant.name,
                "versions": {
                    "python": platform.python_version(),
                    **{package: release_of(package) for package in contestant.packages},
                },
                "pinned": pinned,
                "events": case.events,
                "ready_s": ready_s,
                "first_run_s": first_run_s,
                "walls_s": walls_s,
                "cpus_s": cpus_s,
                "peak_memory_mib": peak_memory_mib(),
                "fills": vars(fills),
                "notes": contestant.notes,
            }
        )
    )
