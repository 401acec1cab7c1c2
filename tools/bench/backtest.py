"""How fast the compiled backtest is beside three others from PyPI: the same grid on the same bars and trades, one run.

    python -m tools.bench.backtest --rounds 5 --peers-python build/peers/bin/python [--only bars|ticks|year]

It prints JSON. Parts: `bars` (a year of one-minute bars against vectorbt, with a narrow and a wide grid, and fewer of
them against the slow nautilus_trader), `ticks` (recorded trades, once with a grid that trades and once with one that
nothing reaches, against hftbacktest), `year` (the whole `hedgegrid backtest` as a process). Every contestant runs in a
process of its own on one core; medians, least and largest of the rounds after the first run; compilation shows in the
cold start, what is left of it in the warm start. Fill counts stand beside every figure, so that nobody compares
different work. Peers that are not installed are named and left out.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hedgegrid.units import NS_PER_MS
from tools.bench import markets, year
from tools.bench.contest import ROOT, Contest, Contestant, Json, write_market

SLOW_BARS = 20_000
TICKS = 4_000_000
PEERS_INSTALL = "make bench-peers, or: uv pip install --require-hashes -r tools/bench/peers/requirements.lock"


def hedgegrid() -> Contestant:
    """The project's own driver."""
    return Contestant(
        name="hedgegrid",
        module="tools.bench.hedgegrid_grid",
        python=Path(sys.executable),
        needs="tools.bench.hedgegrid_grid",
        install="it is part of this repository",
    )


def peer(name: str, python: Path, **overrides: int) -> Contestant:
    """A peer in its own environment; the first word of its name is its package."""
    package = name.partition(" ")[0]
    return Contestant(
        name=name,
        module=f"tools.bench.peers.{package.removesuffix('_trader')}_grid",
        python=python,
        needs=package,
        install=PEERS_INSTALL,
        overrides=overrides,
    )


def machine(core: int) -> Json:
    """Say what the figures were taken on, and how busy it was at the start."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "core_used": core,
        "load_average_at_start": os.getloadavg(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def quiet_core() -> int:
    """Give the last core that this process may use (the first serves most interrupts), -1 where nobody can choose."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else -1


def bars_part(contest: Contest, folder: Path, given: argparse.Namespace) -> Json:
    """Race on a year of bars, with a narrow and a wide grid, and on as many as the slow peer can take."""
    recorded = markets.bar_columns(given.recorded)
    parts: Json = {}
    for name, count, setup, rivals in (
        ("bars", given.bars, markets.BAR_SETUP, ("vectorbt",)),
        ("bars_wide", given.bars, markets.WIDE_SETUP, ("vectorbt",)),
        ("bars_for_the_slow", min(given.slow_bars, given.bars), markets.BAR_SETUP, ("vectorbt", "nautilus_trader")),
    ):
        told(f"{name}: {count} bars")
        market = write_market(folder, name, markets.there_and_back(recorded, count, setup.bar_ns))
        racers = [hedgegrid(), *(peer(rival, given.peers_python) for rival in rivals)]
        parts[name] = contest.race(racers, market, setup)
    return parts


def ticks_part(contest: Contest, folder: Path, given: argparse.Namespace) -> Json:
    """Race on trades: a grid that trades, and one that nothing reaches."""
    recorded, lap_ns = markets.tick_columns(given.recorded)
    market = write_market(folder, "ticks", markets.round_and_round(recorded, lap_ns, given.ticks))
    racers = [
        hedgegrid(),
        peer("hftbacktest", given.peers_python),
        peer("hftbacktest polling each second", given.peers_python, poll_ns=1000 * NS_PER_MS),
    ]
    parts: Json = {}
    for name, setup in (("ticks", markets.TICK_SETUP), ("ticks_quiet", markets.QUIET_SETUP)):
        told(f"{name}: {given.ticks} trades")
        parts[name] = contest.race(racers, market, setup)
    return parts


def told(line: str) -> None:
    """Say on standard error what comes next."""
    print(line, file=sys.stderr, flush=True)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", type=int, default=markets.YEAR_BARS, help="bars of a race (default a year's)")
    parser.add_argument("--slow-bars", type=int, default=SLOW_BARS, help=f"bars for the slow (default {SLOW_BARS})")
    parser.add_argument("--ticks", type=int, default=TICKS, help=f"trades of a race (default {TICKS})")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds; medians are reported (default 5)")
    parser.add_argument("--only", choices=("bars", "ticks", "year"), help="one part alone")
    parser.add_argument("--core", type=int, default=quiet_core(), help="the core to run on; -1 for any")
    parser.add_argument(
        "--peers-python",
        type=Path,
        default=ROOT / "build" / "peers" / "bin" / "python",
        help="the interpreter that has the peers (default build/peers/bin/python)",
    )
    parser.add_argument(
        "--recorded",
        type=Path,
        default=ROOT.parent / "shared" / "data",
        help="the folder of recorded markets (default ../shared/data beside the clone)",
    )
    return parser.parse_args(argv)


def report(given: argparse.Namespace) -> Json:
    """Run the parts that were asked for, in one temporary folder."""
    result: Json = {"machine": machine(given.core)}
    with tempfile.TemporaryDirectory(prefix="hedgegrid-bench-") as temporary:
        folder = Path(temporary)
        contest = Contest(folder=folder, core=given.core, rounds=given.rounds)
        if given.only in {None, "bars"}:
            result |= bars_part(contest, folder, given)
        if given.only in {None, "ticks"}:
            result |= ticks_part(contest, folder, given)
        if given.only in {None, "year"}:
            told(f"year: {given.bars} bars")
            bars = markets.there_and_back(markets.bar_columns(given.recorded), given.bars, markets.BAR_SETUP.bar_ns)
            result["year"] = year.run(bars, given.rounds, given.core, folder)
        result["versions"] = contest.versions
        result["cold_starts"] = contest.cold
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Race and print the report."""
    print(json.dumps(report(arguments(argv)), indent=2))


if __name__ == "__main__":
    main()
