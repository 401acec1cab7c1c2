"""Many seeds, side by side: each in a folder and, where asked for, a process of its own.

Invariants: a result depends on its plan alone, never on how many run beside it; results come in the order of their
seeds; a seed whose run fails itself is a result too, with what it failed of.
"""

import gc
import multiprocessing
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import attrs
from loguru import logger

from hedgegrid.config.schema import AccountConfig
from hedgegrid.simulation.laws import Law
from hedgegrid.simulation.rare import Rare
from hedgegrid.simulation.run import Plan, Result, Simulation, shrunk
from hedgegrid.simulation.weather import Fault

MEMORY: Path = Path("/dev/shm")  # noqa: S108 - where there is memory in place of a disk, journals are written there
SHRINK_TRIES = 60
GARBAGE = 50_000
"""Objects that may be new before the collector looks for cycles."""


@attrs.frozen(kw_only=True)
class Sum:
    """What many runs come to. ``unseen``: kinds of fault that were on nowhere, or never struck."""

    runs: int
    hours: float
    boots: int
    fills: int
    orders: int
    strikes: dict[str, int]
    unseen: tuple[str, ...]
    modes: dict[str, int]
    broken: dict[str, int]
    rare: dict[str, int]
    """How often each rare state was reached, 0 too."""


def simulate(config: AccountConfig, plan: Plan, *, shrink: bool = False) -> Result:
    """Run one plan in a folder of its own; with ``shrink``, a run that breaks a law is made as small as it gets."""
    where = MEMORY if MEMORY.is_dir() else None
    # The bot's own words are the bot's: here only what the laws say counts.
    logger.disable("hedgegrid")
    try:
        with tempfile.TemporaryDirectory(prefix="hedgegrid-simulation-", dir=where) as name, _few_collections():
            result = Simulation(config, plan, Path(name) / "first").run()
            if shrink and result.violations:
                result = shrunk(config, plan, result, Path(name), SHRINK_TRIES)
            return result
    finally:
        logger.enable("hedgegrid")


@contextmanager
def _few_collections() -> Iterator[None]:
    """Have the collector look at what a run makes alone, and seldom: it took a tenth of the time."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(GARBAGE, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


def run_all(config: AccountConfig, plans: Iterable[Plan], *, jobs: int, shrink: bool) -> Iterator[Result]:
    """Run plans, ``jobs`` at a time, and give their results in order."""
    one = partial(simulate, config, shrink=shrink)
    if jobs == 1:
        yield from map(one, plans)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(one, plans)


def summed(results: Iterable[Result]) -> Sum:
    """Add up results."""
    all_of_them = tuple(results)
    strikes = Counter(one.fault.value for result in all_of_them for one in result.strikes)
    broken = Counter(one.law.name for result in all_of_them for one in result.violations)
    return Sum(
        runs=len(all_of_them),
        hours=sum(one.plan.hours for one in all_of_them),
        boots=sum(one.boots for one in all_of_them),
        fills=sum(one.fills for one in all_of_them),
        orders=sum(one.orders for one in all_of_them),
        strikes=dict(sorted(strikes.items())),
        unseen=tuple(kind.value for kind in Fault if kind.value not in strikes),
        modes=dict(Counter(one.mode for one in all_of_them)),
        rare={one.name: sum(result.rare.get(one.name, 0) for result in all_of_them) for one in Rare},
        broken={law.name: broken[law.name] for law in Law if broken[law.name]},
    )
