"""The commands `backtest` and `compare`.

Invariants: the answer goes to standard output, progress and remarks to standard error; bad input is one line and exit
code 2, a liquidated account exit code 3; an output folder appears whole or not at all.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from hedgegrid.data_commands import Day
from hedgegrid.errors import Fatal

if TYPE_CHECKING:
    from hedgegrid.backtest.fill_check import FillCheck
    from hedgegrid.backtesting import Outcome
    from hedgegrid.config.schema import AccountConfig

EXIT_BAD_INPUT: Final = 2
EXIT_LIQUIDATED: Final = 3
_path = click.Path(path_type=Path)


def _fail(message: str) -> NoReturn:
    """Say what is wrong on standard error and leave."""
    click.echo(f"hedgegrid: {message}", err=True)
    raise SystemExit(EXIT_BAD_INPUT)


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error, where somebody looks at it; it is told rows walked and rows in all."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not Console(stderr=True).is_terminal,
    )
    with bar:
        task = bar.add_task("backtest", total=None)

        def told(rows: int, whole: int) -> None:
            bar.update(task, advance=rows, total=whole)

        yield told


@click.command()
@click.option("--config", "config_path", type=_path, required=True, help="The account's TOML file.")
@click.option(
    "--data",
    "market",
    type=_path,
    multiple=True,
    help="A store (`hedgegrid data import` makes one), or files and folders as `run` takes them. May be repeated.",
)
@click.option(
    "--from-journal", "journal", type=_path, help="Instead of --data: the market that a run saw, and its fills."
)
@click.option(
    "--points",
    type=click.Choice(["auto", "bars", "quotes"]),
    default="auto",
    help="With --from-journal: closed bars, or recorded quotes; auto takes bars where the run walked bars.",
)
@click.option("--funding", type=_path, multiple=True, help="A funding file beside them. May be repeated.")
@click.option(
    "--from", "from_ns", type=Day(), default="1970-01-01", help="First decision (UTC); bars before it warm up."
)
@click.option("--to", "to_ns", type=Day(), help="End of the market that is walked (UTC, excluded).")
@click.option("--out", type=_path, help="Folder for summary, fills, orders, equity and report.html.")
@click.option("--force", is_flag=True, help="Replace what is in that folder.")
@click.option("--strict", is_flag=True, help="Refuse data with any warning: a gap, an outlier, silence.")
@click.option("--pessimistic", is_flag=True, help="Of two exits that one bar could have filled, the worse comes first.")
@click.option("--no-report", is_flag=True, help="Leave report.html out.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def backtest(**given: Any) -> None:  # noqa: ANN401 - click checked every option
    """Run a config over a recorded market, compiled, and write figures and a report.

    \b
    hedgegrid backtest --config configs/replay.toml --data BTCUSDT-1m.feather --out results/july
    hedgegrid backtest --config configs/replay.toml --data store/ --from 2025-01-01 --to 2025-07-01 --out results/half
    hedgegrid backtest --config configs/replay.toml --from-journal state/replay.db
    hedgegrid compare results/july results/half
    """  # noqa: D301 - \b keeps click from rewrapping the examples
    import attrs

    from hedgegrid.backtesting import check_journal, run_backtest
    from hedgegrid.config.load import load
    from hedgegrid.markets import EVER_NS, BacktestOptions

    checked: FillCheck | None = None
    try:
        _check_source(given)
        config = load(given["config_path"])
        if given["pessimistic"]:
            config = attrs.evolve(config, sim=attrs.evolve(config.sim, pessimistic=True))
        _check_target(given["out"], (*given["market"], *given["funding"]), force=given["force"])
        with _progress() as told:
            options = BacktestOptions(
                market_paths=(*given["market"], *given["funding"]),
                from_ns=given["from_ns"],
                to_ns=EVER_NS if given["to_ns"] is None else given["to_ns"],
                strict=given["strict"],
                tell=lambda text: click.echo(text, err=True),
                on_progress=told,
            )
            if given["journal"] is None:
                outcome = run_backtest(config, options)
            else:
                bound = given["out"] is not None
                outcome, checked = check_journal(config, given["journal"], options, points=given["points"], bound=bound)
        summary = _write(config, outcome, given, checked)
    except Fatal as error:
        _fail(str(error).replace("\n", " "))
    _tell(summary, checked, as_json=given["as_json"])
    if outcome.result.liquidated_ns:
        raise SystemExit(EXIT_LIQUIDATED)


def _check_source(given: dict[str, Any]) -> None:
    """Refuse two sources of one market, and none; what a journal says itself is not asked for beside it."""
    if given["journal"] is None:
        if not given["market"]:
            raise Fatal("a backtest needs a market: --data FILE or STORE, or --from-journal JOURNAL")
        if given["points"] != "auto":
            raise Fatal("--points goes with --from-journal")
        return
    beside = {
        "--data": given["market"],
        "--funding": given["funding"],
        "--from": given["from_ns"],
        "--to": given["to_ns"],
    }
    taken = [name for name, value in beside.items() if value]
    if taken:
        raise Fatal(f"--from-journal walks all that the run saw: leave {', '.join(taken)} out")


def _check_target(out: Path | None, sources: tuple[Path, ...], *, force: bool) -> None:
    """Refuse an output folder that is taken, or that the market lies in, before anything is walked."""
    from hedgegrid.backtest.folder import refuse_occupied

    if out is None:
        return
    refuse_occupied(out, force=force)
    target = out.resolve()
    for source in (path.resolve() for path in sources):
        if target == source or target in source.parents or source in target.parents:
            raise Fatal(f"--out {out} and --data {source} lie in each other: name an output folder elsewhere")


def _write(
    config: "AccountConfig", outcome: "Outcome", given: dict[str, Any], checked: "FillCheck | None"
) -> dict[str, Any]:
    """Write the output folder where one is named, and give the summary."""
    from hedgegrid import __version__
    from hedgegrid.backtest.files import write_folder
    from hedgegrid.backtest.report.page import write_report
    from hedgegrid.backtest.summary_json import RunFacts, summary_json
    from hedgegrid.config.render import render_effective

    settings = render_effective(config, comments=False)
    facts = RunFacts(settings=settings, code_version=__version__, pessimistic=outcome.pessimistic)
    summary = summary_json(outcome.result, outcome.measures, facts)
    out: Path | None = given["out"]
    if out is None:
        return summary

    def report(path: Path) -> None:
        write_report(
            path,
            outcome.result,
            outcome.measures,
            settings=settings,
            quality=[finding.line for finding in outcome.market.findings],
            title=f"{config.account.name}: {out.name}",
            pessimistic=outcome.pessimistic,
            code_version=__version__,
        )

    further = {} if given["no_report"] else {"report.html": report}
    shown = out / next(iter(further), "summary.json")
    if checked is not None:
        from hedgegrid.backtest.fill_check import write_csv

        further["fill_check.csv"] = partial(write_csv, checked)
    names = write_folder(outcome.result, outcome.measures, facts, out, force=given["force"], further=further)
    click.echo(f"wrote {len(names)} files to {out}: look at {shown}", err=True)
    return summary


def _tell(summary: dict[str, Any], checked: "FillCheck | None", *, as_json: bool) -> None:
    """Print the summary; of a check the check, as JSON with the summary beside it."""
    from hedgegrid.backtest.summary_text import summary_text

    if checked is None:
        click.echo(json.dumps(summary, indent=2) if as_json else summary_text(summary))
        return
    from hedgegrid.backtest.fill_check import check_json
    from hedgegrid.backtest.fill_check_text import check_text

    told = {"fill_check": check_json(checked), "summary": summary}
    click.echo(json.dumps(told, indent=2) if as_json else check_text(checked))


@click.command()
@click.argument("folders", type=_path, nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(folders: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001 - a flag of the command
    """Put the results of several backtests side by side.

    \b
    hedgegrid compare results/july results/half
    """  # noqa: D301 - as above
    from hedgegrid.backtest.compare import compare as side_by_side
    from hedgegrid.backtest.compare import compare_json, compare_text

    try:
        comparison = side_by_side(folders)
    except Fatal as error:
        _fail(str(error).replace("\n", " "))
    if as_json:
        click.echo(json.dumps(compare_json(comparison), indent=2))
    else:
        Console().print(compare_text(comparison))
