"""A whole backtest as a user starts it: a year of one-minute bars, from the command to the files on disk.

Invariants: each round is a process of its own with an out folder of its own; the first one starts with an empty cache
and is told apart from the warm ones.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import attrs
import numpy as np

from tools.bench.contest import LIMIT_S, ROOT, ContestError, Json, spread
from tools.bench.markets import BTC, Columns

CONFIG = ROOT / "configs" / "replay.toml"
WALLET = ("wallet_quote = 10000\n", "wallet_quote = 10000000\n")
"""A looped market wears a small account out; a run that ends early would be timed on less than a year."""


@attrs.frozen(kw_only=True)
class WholeRun:
    """One process: wall seconds and largest memory in MiB."""

    wall_s: float
    peak_memory_mib: float


def write_feather(path: Path, bars: Columns) -> None:
    """Write bars as freqtrade keeps them: a UTC date, prices in quote currency, volume in base units."""
    import pyarrow as pa  # noqa: PLC0415 - only this part of the bench writes a table
    from pyarrow import feather  # noqa: PLC0415 - the same

    digits = -int(BTC.tick.as_tuple().exponent)
    table = {"date": pa.array(bars["ts_ns"], pa.timestamp("ns", tz="UTC"))}
    for name in ("open", "high", "low", "close"):
        table[name] = pa.array(np.round(bars[f"{name}_ticks"] * float(BTC.tick), digits))
    table["volume"] = pa.array(bars["volume_lots"] * float(BTC.lot))
    feather.write_feather(pa.table(table), path)


def measured(command: list[str], core: int, folder: Path, environment: dict[str, str]) -> WholeRun:
    """Run a command from a small process. Raises ContestError with its last words where it fails."""
    stderr = folder / "stderr.txt"
    launcher = [sys.executable, "-S", "-m", "tools.bench.whole_run", str(core), str(stderr), *command]
    ended = subprocess.run(
        launcher, cwd=ROOT, env=environment, check=True, capture_output=True, text=True, timeout=LIMIT_S
    )
    told = json.loads(ended.stdout)
    if told["exit"]:
        said = (stderr.read_text().strip().splitlines() or ["nothing"])[-1]
        raise ContestError(f"{' '.join(command[1:4])} ended with {told['exit']}: {said}")
    return WholeRun(wall_s=told["wall_s"], peak_memory_mib=told["peak_memory_mib"])


def run(bars: Columns, rounds: int, core: int, folder: Path) -> Json:
    """Measure ``hedgegrid backtest`` on the bars; the report says where it failed."""
    market = folder / "BTCUSDT-1m.feather"
    write_feather(market, bars)
    config = folder / CONFIG.name
    config.write_text(CONFIG.read_text().replace(*WALLET))
    cache = folder / "cache-year"
    cache.mkdir()
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "XDG_CACHE_HOME": str(cache)}
    # An installed program keeps its own bytecode; a shell that forbids it would have each round compile anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = str(cache / "bytecode")
    runs: list[WholeRun] = []
    for number in range(rounds + 1):
        out = folder / f"out-{number}"
        command = [sys.executable, "-m", "hedgegrid", "backtest", "--config", str(config), "--data", str(market)]
        try:
            runs.append(measured([*command, "--out", str(out)], core, folder, environment))
        except ContestError as error:
            return {"bars": len(bars["ts_ns"]), "failed": str(error)}
    cold, *warm = runs
    fills = folder / "out-0" / "fills.csv"
    return {
        "bars": len(bars["ts_ns"]),
        "config": f"{CONFIG.relative_to(ROOT)} with {WALLET[1].strip()}",
        "fills": sum(1 for _ in fills.open()) - 1 if fills.exists() else None,
        "cold": attrs.asdict(cold),
        "wall_s": spread([each.wall_s for each in warm]),
        "peak_memory_mib": spread([each.peak_memory_mib for each in warm]),
    }
