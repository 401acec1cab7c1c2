"""How fast the simulation goes: `python -m tools.bench.simulate [--seeds A..B] [--hours H] [--config F]` prints JSON.

One instrument on one-minute bars, every kind of fault on, one process. The figure is hours of market for a second of
this process's CPU, journals, judgement and proof of the journal at the end included. Beside it stands what was done in
these hours: a simulation in which nothing happens is fast.
"""

import json
import time
from pathlib import Path
from typing import Any

import attrs
import click

from hedgegrid.config.load import load
from hedgegrid.simulation.run import Plan
from hedgegrid.simulation.series import simulate, summed
from hedgegrid.simulation.weather import Fault
from hedgegrid.simulation_commands import Seeds

CONFIG = Path(__file__).parents[2] / "configs" / "replay.toml"
SPIN = 2_000_000


def spin_s() -> float:
    """Give the CPU-seconds of a fixed piece of work: by it the figures of two machines, or two hours, compare."""
    began_s = time.process_time()
    total = 0
    for number in range(SPIN):
        total += number & 7
    return time.process_time() - began_s


def measured(config_path: Path, seeds: range, hours: float) -> dict[str, Any]:
    """Run the seeds one after the other; give the figures."""
    config = load(config_path)
    plan = Plan(seed=0, hours=hours, only=frozenset(Fault))
    simulate(config, attrs.evolve(plan, seed=seeds[0], hours=0.5))
    before_s, began_s = spin_s(), time.process_time()
    results = [simulate(config, attrs.evolve(plan, seed=seed)) for seed in seeds]
    cpu_s = time.process_time() - began_s
    total = summed(results)
    return {
        "config": config_path.name,
        "seeds": len(results),
        "hours": total.hours,
        "cpu_s": round(cpu_s, 3),
        "hours_per_cpu_s": round(total.hours / cpu_s, 3),
        "spin_s": round((before_s + spin_s()) / 2, 4),
        "by_hour": {
            "orders": round(total.orders / total.hours, 1),
            "fills": round(total.fills / total.hours, 1),
            "words_on_the_wire": round(sum(one.words for one in results) / total.hours, 1),
            "judgements": round(sum(one.judgements for one in results) / total.hours, 1),
            "faults": round(sum(total.strikes.values()) / total.hours, 1),
            "lives": round(total.boots / total.hours, 2),
        },
        "kinds_of_fault": len(total.strikes),
        "never_struck": list(total.unseen),
        "broken": total.broken,
        "traces": [one.trace for one in results],
    }


@click.command()
@click.option("--config", "config_path", type=click.Path(path_type=Path, exists=True), default=CONFIG)
@click.option("--seeds", type=Seeds(), default="1..6", show_default=True)
@click.option("--hours", type=click.FloatRange(0.5, 24 * 365), default=6.0, show_default=True)
def main(config_path: Path, seeds: range, hours: float) -> None:
    """Measure, and print JSON."""
    click.echo(json.dumps(measured(config_path, seeds, hours), indent=2))


if __name__ == "__main__":
    main()
