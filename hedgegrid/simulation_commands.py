"""The command `simulate`: torture a config before it is trusted with money.

Invariants: the answer goes to standard output, progress to standard error; bad input is one line and exit code 2, a
broken law exit code 1, with the command that shows it again.
"""

import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hedgegrid.errors import Fatal

if TYPE_CHECKING:
    from hedgegrid.simulation.run import Plan, Result
    from hedgegrid.simulation.series import Sum

EXIT_BROKEN: Final = 1
EXIT_BAD_INPUT: Final = 2
SEEDS: Final = re.compile(r"(\d{1,9})(?:\.\.(\d{1,9}))?")
SEEDS_MAX: Final = 100_000
STORY_MAX: Final = 40
PPM: Final = 1_000_000


class Seeds(click.ParamType):  # type: ignore[type-arg]  # its base is generic for checkers alone
    """One seed or a span of them, both ends included: 7 or 1..100."""

    name = "A..B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:  # noqa: ANN401
        """Give the seeds as a range."""
        if isinstance(value, range):
            return value
        match = SEEDS.fullmatch(str(value))
        if match is None:
            self.fail(f"{value!r} is no seed: give one, or a span like 1..100", param, ctx)
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < first + SEEDS_MAX:
            self.fail(f"{value!r}: give the smaller seed first, and at most {SEEDS_MAX}", param, ctx)
        return range(first, last + 1)


def _fail(message: str) -> NoReturn:
    """Say what is wrong on standard error and leave."""
    click.echo(f"hedgegrid: {message}", err=True)
    raise SystemExit(EXIT_BAD_INPUT)


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    required=True,
    help="The account's TOML file, of any mode; nothing is sent anywhere.",
)
@click.option(
    "--data",
    "market_files",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="A recorded market for all seeds; without it every seed invents its own.",
)
@click.option("--seeds", type=Seeds(), default="1..10", show_default=True, help="Which runs.")
@click.option(
    "--hours", type=click.FloatRange(0.5, 24 * 365), default=6.0, show_default=True, help="Market time of each run."
)
@click.option("--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Runs side by side.")
@click.option(
    "--force",
    type=click.FloatRange(0.0, 100.0),
    default=1.0,
    show_default=True,
    help="How often faults strike, as a multiple; 0: never.",
)
@click.option("--only", multiple=True, metavar="FAULT", help="Switch on this kind of fault alone (again for more).")
@click.option("--without", multiple=True, metavar="FAULT:N", help="Leave one strike out, as a replay line says.")
@click.option("--shrink", is_flag=True, help="Leave out what a broken law does not need, one strike after the other.")
@click.option(
    "--report",
    "report_folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write report.html there: the worst runs, the faults, the rare states, what was broken.",
)
@click.option("--json", "as_json", is_flag=True, help="Say everything as JSON.")
def simulate(  # noqa: PLR0913, PLR0917 - an option each
    config_path: Path,
    market_files: tuple[Path, ...],
    seeds: range,
    hours: float,
    jobs: int,
    force: float,
    only: tuple[str, ...],
    without: tuple[str, ...],
    shrink: bool,  # noqa: FBT001 - click gives flags so
    report_folder: Path | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    """Let the whole bot live through bad weather, in virtual time, and judge it by the laws.

    Every seed is a market, an exchange, and a random half of all faults: requests and answers that get lost or come
    late, refusals, bans, maintenance, events lost, late or doubled, streams that break off, silent markets, partial
    fills, liquidations, other people's orders, actors that fail or hang, a disk that fills up, wrong clocks, crashes
    around every write, send and answer. The laws are judged from outside: from the wire, from the exchange's own
    account and from the journal's file. The same seed shows the same run, always.

    \b
    hedgegrid simulate --config configs/replay.toml --seeds 1..100 --hours 24 --jobs 4
    hedgegrid simulate --config configs/replay.toml --seeds 7 --hours 6 --only crash --force 5
    """  # noqa: D301 - \b keeps click from rewrapping the examples
    plan = _plan(hours, market_files, force, only, without)
    plans = [attrs.evolve(plan, seed=seed) for seed in seeds]
    _report(config_path, plans, jobs, shrink=shrink, as_json=as_json, folder=report_folder)


def _plan(
    hours: float, market_files: tuple[Path, ...], force: float, only: tuple[str, ...], without: tuple[str, ...]
) -> "Plan":
    """Give what all runs have in common."""
    from hedgegrid.simulation.run import Plan  # noqa: PLC0415
    from hedgegrid.simulation.weather import Fault  # noqa: PLC0415

    unknown = [name for name in only if name not in set(Fault)]
    if unknown:
        _fail(f"--only {unknown[0]}: no such fault; there are {', '.join(sorted(Fault))}")
    return Plan(
        seed=0,
        hours=hours,
        market_files=market_files,
        without=frozenset(without),
        only=frozenset(Fault(name) for name in only) if only else None,
        force_ppm=round(force * PPM),
    )


def _report(
    config_path: Path, plans: "list[Plan]", jobs: int, *, shrink: bool, as_json: bool, folder: Path | None
) -> None:
    """Run all plans and say what came of them; a broken law is exit code 1."""
    from hedgegrid.config.load import ConfigError, load  # noqa: PLC0415
    from hedgegrid.simulation.series import run_all, summed  # noqa: PLC0415

    began_s = time.monotonic()  # ambient: how long a person waited
    results: list[Result] = []
    try:
        config = load(config_path)
        with _progress(len(plans)) as bar:
            for result in run_all(config, plans, jobs=jobs, shrink=shrink):
                results.append(result)
                bar.advance(bar.task_ids[0])
    except (ConfigError, Fatal) as error:
        _fail(str(error))
    total = summed(results)
    wall_s = time.monotonic() - began_s  # ambient: as above
    if as_json:
        click.echo(json.dumps(_as_json(results, total, wall_s), indent=2))
    else:
        _show(results, total, wall_s, config_path)
    if folder is not None:
        _write_report(folder, results, total, config_path)
    if total.broken:
        raise SystemExit(EXIT_BROKEN)


def _write_report(folder: Path, results: "list[Result]", total: "Sum", config_path: Path) -> None:
    """Write the report; a folder that cannot be written is one line."""
    from hedgegrid.simulation.report import write_report  # noqa: PLC0415

    try:
        path = write_report(folder, results, total, lambda plan: _replay(plan, config_path))
    except OSError as error:
        _fail(f"--report {folder}: {error.strerror}")
    click.echo(f"report: {path}", err=True)


def _progress(count: int) -> Progress:
    """A bar on standard error, where somebody looks at it."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    bar.add_task("seeds", total=count)
    return bar


def _show(results: "list[Result]", total: "Sum", wall_s: float, config_path: Path) -> None:
    """Say what came of it: broken laws first, each with its story and the command that shows it again."""
    console = Console(width=110, highlight=False)
    for result in results:
        if result.violations:
            _tell_story(console, result, config_path)
    table = Table(title=f"{total.runs} seeds, {total.hours:g} hours of market in {wall_s:.1f} s")
    for name in ("lives", "orders", "fills", "faults that struck", "laws broken"):
        table.add_column(name, justify="right")
    table.add_row(
        str(total.boots),
        str(total.orders),
        str(total.fills),
        str(sum(total.strikes.values())),
        str(sum(total.broken.values())),
    )
    console.print(table)
    console.print("faults: " + ", ".join(f"{name} {count}" for name, count in total.strikes.items()))
    if total.unseen:
        console.print(f"never struck: {', '.join(total.unseen)}")
    console.print("reached: " + (", ".join(f"{name} {n}" for name, n in total.rare.items() if n) or "no rare state"))
    never = [name for name, count in total.rare.items() if not count]
    if never:
        console.print(f"never reached: {', '.join(never)}")
    console.print("at the end: " + ", ".join(f"{mode or 'never started'} {n}" for mode, n in total.modes.items()))
    console.print("broken: " + (", ".join(f"{law} {n}" for law, n in total.broken.items()) or "none"))


def _tell_story(console: Console, result: "Result", config_path: Path) -> None:
    """Tell one run that broke a law."""
    console.print(f"[bold]seed {result.plan.seed}[/bold]: {_replay(result.plan, config_path)}")
    story = sorted(
        [(one.ts_ns, f"{one.fault.value}: {one.what}") for one in result.strikes]
        + [(one.ts_ns, f"BROKEN {one.law.name}: {one.law.value}: {one.how}") for one in result.violations]
    )
    for ts_ns, words in story[-STORY_MAX:]:
        stamp = time.strftime("%H:%M:%S", time.gmtime(ts_ns // 1_000_000_000))
        console.print(f"  {stamp}.{ts_ns // 1_000_000 % 1000:03d} {words}", markup=False)


def _replay(plan: "Plan", config_path: Path) -> str:
    """Give the command that shows a run again."""
    words = [f"hedgegrid simulate --config {config_path} --seeds {plan.seed} --hours {plan.hours:g}"]
    words += [f"--force {plan.force_ppm / PPM:g}"] if plan.force_ppm != PPM else []
    words += [f"--only {one.value}" for one in sorted(plan.only or ())]
    words += [f"--without {name}" for name in sorted(plan.without)]
    return " ".join(words)


def _as_json(results: "list[Result]", total: "Sum", wall_s: float) -> dict[str, Any]:
    """Give everything as plain values."""
    return {
        "runs": [
            {
                "seed": one.plan.seed,
                "trace": one.trace,
                "lives": one.boots,
                "orders": one.orders,
                "fills": one.fills,
                "mode": one.mode,
                "longest_unprotected_ms": one.longest_bare_ns // 1_000_000,
                "violations": [{"law": item.law.name, "ts_ns": item.ts_ns, "how": item.how} for item in one.violations],
                "strikes": [item.name for item in one.strikes],
                "rare": one.rare,
            }
            for one in results
        ],
        "hours": total.hours,
        "strikes": total.strikes,
        "never_struck": list(total.unseen),
        "modes": total.modes,
        "rare": total.rare,
        "broken": total.broken,
        "wall_s": round(wall_s, 3),
    }
