"""The bot on the wire: how late its orders are, what its market costs in CPU, and what it holds in memory.

    python -m tools.bench.live
    python -m tools.bench.live --only latency --rounds 6 --priority
    python -m tools.bench.live --soak 60

It runs the stand-in exchange and the real command in testnet mode, over real sockets on this machine, and prints JSON.
Latency is measured beside a bare script with ccxt.pro at the same load, in turns; orders are counted, so that nobody
compares different work. Every part says what it was held to and whether that holds. On a machine that others use too,
``--priority`` puts all contestants before them (it needs the right to).
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from typing import Any, Final

from tools.bench.live_cpu import load
from tools.bench.live_latency import CHANNELS, WORKS, races
from tools.bench.live_memory import soak

PARTS: Final = ("latency", "cpu", "memory")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is asked for and print JSON; exit status 1 where a target does not hold."""
    given = parsed(argv)
    report: dict[str, Any] = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "load_at_start": os.getloadavg()},
        "priority": put_first() if given.priority else "as everybody's",
    }
    if "latency" in given.only:
        report["latency"] = races(given.rounds, given.bars, given.works, given.channels, say)
    if "cpu" in given.only:
        report["cpu"] = load(given.cpu_seconds)
    if "memory" in given.only:
        report["memory"] = soak(given.soak, say)
    report["machine"]["load_at_end"] = os.getloadavg()
    print(json.dumps(report, indent=2))
    sys.exit(0 if holds(report) else 1)


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PARTS, default=None, help="a part; may be repeated")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of the race (default 4)")
    parser.add_argument("--bars", type=int, default=40, help="bars of a second in a round (default 40)")
    parser.add_argument("--works", nargs="+", choices=WORKS, default=list(WORKS), help="what a decision is made of")
    parser.add_argument("--channels", nargs="+", choices=CHANNELS, default=list(CHANNELS), help="the bot's channels")
    parser.add_argument("--cpu-seconds", type=int, default=60, help="seconds of 5,000 quotes each (default 60)")
    parser.add_argument("--soak", type=int, default=3, metavar="MINUTES", help="minutes of the soak (default 3)")
    parser.add_argument("--priority", action="store_true", help="run before all others on this machine")
    given = parser.parse_args(argv)
    given.only = PARTS if given.only is None else given.only
    return given


def put_first() -> str:
    """Have this process, and those that it starts, run before all others; say what came of it."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return "asked for and not permitted"
    return "before all others (SCHED_RR), every contestant alike"


def holds(report: dict[str, Any]) -> bool:
    """Tell whether every target that was measured holds; of the order channels one has to."""
    races_hold = all(any(one["bot"]["holds"] for one in work.values()) for work in report.get("latency", {}).values())
    return races_hold and all(report[part]["holds"] for part in ("cpu", "memory") if part in report)


def say(text: str) -> None:
    """Tell how far it is, beside the report."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
