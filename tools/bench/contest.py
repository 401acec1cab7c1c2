"""Races between backtests: each contestant runs in a process of its own and answers with one line of JSON.

Invariants: a contestant that is not installed is told with what to install, one that fails with its own last words, and
the race goes on; a cold start has an empty cache for compiled code, every later start the one that the first one left.
A contestant is a module that calls ``peers.measuring.main``.
"""

import json
import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np

from tools.bench.markets import Columns
from tools.bench.peers.measuring import Setup

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 900
"""The longest that one contestant may take."""

Json = dict[str, Any]


class ContestError(Exception):
    """A contestant failed; the text is one line for the report."""


@attrs.frozen(kw_only=True)
class Contestant:
    """Who races: its module, the interpreter that has it, what it imports, and what to do where it is absent.

    ``overrides`` replace settings of the case for this contestant alone.
    """

    name: str
    module: str
    python: Path
    needs: str
    install: str
    overrides: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Entry:
    """What a contestant measured on one case: seconds, MiB, and the proof of its work.

    Where ``cpus_s`` lies well under ``walls_s`` the machine was busy with something else.
    """

    name: str
    versions: Mapping[str, str]
    pinned: bool
    events: int
    ready_s: float
    first_run_s: float
    walls_s: tuple[float, ...]
    cpus_s: tuple[float, ...]
    peak_memory_mib: float
    fills: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def wall_s(self) -> float:
        """The median of the runs after the first; the first where there is no other."""
        return statistics.median(self.walls_s or (self.first_run_s,))

    @property
    def events_per_s(self) -> float:
        """Bars or trades in a second of the median run."""
        return self.events / self.wall_s

    @property
    def events_per_cpu_s(self) -> float:
        """The same for the processor's own seconds, which a busy machine does not stretch."""
        return self.events / (statistics.median(self.cpus_s) if self.cpus_s else self.wall_s)

    def figures(self) -> Json:
        """Give the entry as the report shows it."""
        return {
            "name": self.name,
            "events": self.events,
            "events_per_s": round(self.events_per_s),
            "events_per_cpu_s": round(self.events_per_cpu_s),
            "wall_s": spread(self.walls_s or (self.first_run_s,)),
            "cpu_s": spread(self.cpus_s) if self.cpus_s else None,
            "warm_start_s": {"ready": self.ready_s, "first_run": self.first_run_s},
            "peak_memory_mib": round(self.peak_memory_mib, 1),
            "fills": dict(self.fills),
            "fills_per_event": round(sum(self.fills.values()) / self.events, 4),
            "pinned": self.pinned,
            "notes": list(self.notes),
        }


def spread(values: Sequence[float]) -> Json:
    """Give median, least, largest and number of some measurements."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": len(values)}


def parse(name: str, printed: str) -> Entry:
    """Read a contestant's last line. Raises ContestError where it is no entry."""
    line = (printed.strip().splitlines() or [""])[-1]
    try:
        told = json.loads(line)
        lists = {field: tuple(told[field]) for field in ("walls_s", "cpus_s", "notes")}
        return Entry(**{**told, **lists, "name": name})
    except (ValueError, TypeError, KeyError) as error:
        raise ContestError(f"{name} printed no measurement ({error}): {line[:200]!r}") from error


def absence(contestant: Contestant) -> str | None:
    """Say why a contestant cannot race; None where it can."""
    if not contestant.python.exists():
        return f"there is no {contestant.python}"
    finds = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({contestant.needs!r}) is None)"
    asked = subprocess.run([contestant.python, "-c", finds], cwd=ROOT, check=False, capture_output=True)
    return f"{contestant.python} has no {contestant.needs}" if asked.returncode else None


def write_market(folder: Path, name: str, columns: Columns) -> Path:
    """Lay a market down for the contestants."""
    path = folder / f"{name}.npz"
    np.savez(path, **columns)  # type: ignore[arg-type]
    return path


@attrs.define(kw_only=True)
class Contest:
    """A series of races in one folder, on one core. ``cold`` keeps each contestant's first start, by its name."""

    folder: Path
    core: int
    rounds: int
    cold: dict[str, Json] = attrs.field(factory=dict)
    versions: dict[str, Mapping[str, str]] = attrs.field(factory=dict)

    def race(self, contestants: Sequence[Contestant], market: Path, setup: Setup) -> Json:
        """Run each on the market, one after the other; give entries, absent ones and ratios."""
        entries: list[Entry] = []
        absent: list[Json] = []
        for one in contestants:
            why = absence(one)
            if why is not None:
                absent.append({"name": one.name, "absent": why, "install": one.install})
                continue
            try:
                entries.append(self._entry(one, market, setup))
            except ContestError as error:
                absent.append({"name": one.name, "failed": str(error)})
        return {
            "setup": vars(setup),
            "contestants": [entry.figures() for entry in entries],
            "absent": absent,
            "ratios": ratios(entries),
        }

    def _entry(self, contestant: Contestant, market: Path, setup: Setup) -> Entry:
        settings = self.folder / f"{contestant.name.replace(' ', '_')}.json"
        settings.write_text(json.dumps({**vars(setup), **contestant.overrides}))
        if contestant.name not in self.cold:
            first = self._started(contestant, market, settings, rounds=0)
            self.versions[contestant.name] = first.versions
            self.cold[contestant.name] = {
                "cold_start_s": {"ready": first.ready_s, "first_run": first.first_run_s, "events": first.events}
            }
        return self._started(contestant, market, settings, rounds=self.rounds)

    def _started(self, contestant: Contestant, market: Path, settings: Path, *, rounds: int) -> Entry:
        cache = self.folder / f"cache-{contestant.name.replace(' ', '_')}"
        cache.mkdir(exist_ok=True)
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "XDG_CACHE_HOME": str(cache)}
        command = [str(contestant.python), "-m", contestant.module, str(market), str(settings)]
        options = [f"--rounds={rounds}", f"--core={self.core}", f"--launched-ns={time.monotonic_ns()}"]
        try:
            ended = subprocess.run(
                [*command, *options],
                cwd=ROOT,
                env=environment,
                check=False,
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            raise ContestError(f"{contestant.name} took more than {LIMIT_S} s") from None
        if ended.returncode:
            said = (ended.stderr.strip().splitlines() or ["nothing"])[-1]
            raise ContestError(f"{contestant.name} ended with {ended.returncode}: {said}")
        return parse(contestant.name, ended.stdout)


def ratios(entries: Sequence[Entry]) -> Json:
    """Compare the first entry with each other one: its rates and its memory over theirs, and whether fills agree."""
    if not entries:
        return {}
    ours, *others = entries
    return {
        f"{ours.name} / {other.name}": {
            "events_per_s": round(ours.events_per_s / other.events_per_s, 2),
            "events_per_cpu_s": round(ours.events_per_cpu_s / other.events_per_cpu_s, 2),
            "peak_memory": round(ours.peak_memory_mib / other.peak_memory_mib, 2),
            "same_fills": ours.fills == other.fills,
        }
        for other in others
    }
