"""The `data` commands: recorded markets into a store, and what is in it.

Invariants: answers go to standard output, progress and warnings to standard error; bad input is one line and exit code
2, something found wrong is exit code 1; nothing heavy is imported before a command needs it.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import attrs
import click
from rich.console import Console

from hedgegrid.errors import Fatal
from hedgegrid.units import NS_PER_DAY, NS_PER_S, TIMEFRAMES_NS

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table

    from hedgegrid.backtest.quality import Finding
    from hedgegrid.backtest.store.importing import ImportReport
    from hedgegrid.backtest.store.sources import Reading

EXIT_FAILED: Final = 1
EXIT_BAD_INPUT: Final = 2
_KINDS: Final = ("bars", "trades", "aggtrades", "mark-bars", "marks", "book", "funding")
_TOLD_NOTES: Final = 20

_store_option = click.option(
    "--store", type=click.Path(path_type=Path), required=True, help="The store's folder; `import` makes it."
)
_instrument_option = click.option("--instrument", help="Such as BTC/USDT:USDT; without it the file's name tells it.")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
_timeframe_option = click.option(
    "--timeframe", type=click.Choice(list(TIMEFRAMES_NS)), help="How long a bar is, where the file does not tell."
)
_kind_option = click.option(
    "--kind", type=click.Choice(_KINDS), help="What the files hold, where the content does not tell."
)
_columns_option = click.option(
    "--columns", help="Where a csv keeps what: ts=time,open=o,high=h,low=l,close=c,volume=v (ours=its header)."
)
_unit_option = click.option(
    "--time-unit", type=click.Choice(["s", "ms", "us", "ns", "iso"]), help="How that csv writes times."
)
_strict_option = click.option("--strict", is_flag=True, help="Take a warning (a gap, an outlier) as a failure.")


def _fail(message: str, code: int) -> NoReturn:
    """Say what is wrong on standard error and leave."""
    click.echo(f"hedgegrid: {message}", err=True)
    raise SystemExit(code)


@contextmanager
def _one_line() -> Iterator[None]:
    """Turn bad input into one line and exit code 2."""
    try:
        yield
    except Fatal as error:
        _fail(str(error).replace("\n", " "), EXIT_BAD_INPUT)


class Day(click.ParamType[int]):
    """A day or a moment in UTC, such as 2025-01-31 or 2025-01-31T12:00, in ns."""

    name = "day"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:  # noqa: ANN401
        """Give the ns."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no day: write 2025-01-31, or 2025-01-31T12:00 (UTC)", param, ctx)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp()) * NS_PER_S


@click.group("data")
def store_commands() -> None:
    """Recorded markets: import, download, list and verify what backtests stand on."""


@store_commands.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@_store_option
@_instrument_option
@_kind_option
@_timeframe_option
@_columns_option
@_unit_option
@click.option("--replace", is_flag=True, help="Where files and store disagree, let the files win.")
@_strict_option
@_json_option
def import_command(**given: Any) -> None:  # noqa: ANN401 - click checked every option
    """Bring files into a store: none of them where one is bad. Run it again to finish one that was cut off.

    \b
    Binance archive csv, gz, zip (klines, aggTrades, trades, fundingRate, markPriceKlines, bookTicker),
    freqtrade feather and json, raw websocket captures, any csv with --columns; files or folders.
    """  # noqa: D301 - \b keeps click from rewrapping the list
    from hedgegrid.backtest.store.importing import files_of, import_files

    with _one_line(), _progress() as progress:
        paths = files_of(given["paths"])
        task = progress.add_task("importing", total=len(paths), told="")
        seen: dict[Path, None] = {}

        def tell(path: Path, rows: int) -> None:
            seen.setdefault(path)
            progress.update(task, completed=len(seen) - 1, told=f"{path.name}: {rows:,} rows")

        report = import_files(
            given["store"],
            paths,
            imported=_now_text(),
            how=_reading(given),
            instrument=given["instrument"],
            replace=given["replace"],
            strict=given["strict"],
            tell=tell,
        )
        progress.update(task, completed=len(paths), told="published")
        snapshot = _add_snapshot(given["store"], report.instruments)
    _tell_import(report, snapshot, as_json=given["as_json"])


def _tell_import(report: "ImportReport", snapshot: Sequence[str], *, as_json: bool) -> None:
    """Print what an import did."""
    from hedgegrid.backtest.store.wording import change_lines, import_json

    if as_json:
        click.echo(json.dumps(import_json(report, snapshot), indent=2))
        return
    _tell_findings(report.findings)
    _tell_lines([*report.notes, *snapshot])
    _print_lines(change_lines(report.changes))


@store_commands.command("list")
@_store_option
@_json_option
def list_command(store: Path, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command
    """Show what a store holds."""
    from hedgegrid.backtest.store.reader import Store
    from hedgegrid.backtest.store.wording import facts_json, moment

    with _one_line():
        opened = Store(store)
        facts = opened.inventory()
        rules = {name: [one.date for one in opened.rules(name)] for name in opened.instruments()}
    if as_json:
        click.echo(json.dumps({"series": [facts_json(one) for one in facts], "rules": rules}, indent=2))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("instrument", "series", "months", "rows", "from (UTC)", "to (UTC)", "size"):
        table.add_column(column, justify="right" if column in {"months", "rows", "size"} else "left", no_wrap=True)
    for one in facts:
        size = f"{one.size_bytes / 1e6:,.1f} MB"
        span = (moment(one.first_ns), moment(one.last_ns))
        table.add_row(one.series.instrument, one.series.folder, str(len(one.months)), f"{one.rows:,}", *span, size)
    _print(table)
    for name, dates in rules.items():
        click.echo(f"{name}: rules of {', '.join(dates) or 'no day: see `hedgegrid data rules`'}")


@store_commands.command("verify")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--store", type=click.Path(path_type=Path), help="The store to verify, in place of files.")
@_instrument_option
@_kind_option
@_timeframe_option
@_columns_option
@_unit_option
@_strict_option
@_json_option
def verify_command(**given: Any) -> None:  # noqa: ANN401 - click checked every option
    """Look for gaps, duplicates, wrong order, broken bars, silence, outliers, odd funding and crossed books.

    Exit code 1 where there is an error, or with --strict a warning.
    """
    from hedgegrid.backtest.store.wording import findings_json

    paths, store = given["paths"], given["store"]
    if bool(paths) == (store is not None):
        _fail("give either files or --store to verify", EXIT_BAD_INPUT)
    with _one_line():
        findings, broken, lines = _verify_files(given) if paths else _verify_store(store)
    if given["as_json"]:
        click.echo(json.dumps({"findings": findings_json(findings), "broken": broken, "verified": lines}, indent=2))
    else:
        _tell_findings(findings)
        for line in broken:
            click.echo(f"error: {line}", err=True)
        _print_lines(lines)
    doubtful = {"error", "warning"} if given["strict"] else {"error"}
    if broken or any(finding.severity.value in doubtful for finding in findings):
        raise SystemExit(EXIT_FAILED)


def _verify_store(root: Path) -> tuple[list["Finding"], list[str], list[str]]:
    """Give findings, broken files, and a line for each series."""
    from hedgegrid.backtest.store.reader import Store
    from hedgegrid.backtest.store.verifying import verify_store
    from hedgegrid.backtest.store.wording import counts

    store = Store(root)
    with _progress() as progress:
        task = progress.add_task("verifying", total=None, told="")
        reports = verify_store(store, lambda series, rows: progress.update(task, told=f"{series.text}: {rows:,} rows"))
    findings = [finding for report in reports for finding in report.findings]
    broken = [line for report in reports for line in report.broken]
    return findings, broken, [f"{one.series.text}: {one.rows:,} rows, {counts(one.findings)}" for one in reports]


def _verify_files(given: dict[str, Any]) -> tuple[list["Finding"], list[str], list[str]]:
    """Give findings, nothing broken (that is bad input), and a line for each file."""
    from hedgegrid.backtest.store.importing import examined, files_of, instrument_for
    from hedgegrid.backtest.store.wording import counts

    findings: list[Finding] = []
    lines: list[str] = []
    for path in files_of(given["paths"]):
        report = examined(path, instrument_for(path, given["instrument"]), _reading(given))
        findings += report.findings
        notes = "".join(f"; {note}" for note in report.notes)
        held = ", ".join(series.text for series in report.series)
        lines.append(f"{path}: {held}: {report.rows:,} rows, {counts(report.findings)}{notes}")
    return findings, [], lines


@store_commands.command("rules")
@_store_option
@_instrument_option
@click.option("--exchange-info", type=click.Path(path_type=Path), help="An exchangeInfo answer to import (JSON, gz).")
@click.option("--brackets", type=click.Path(path_type=Path), help="Leverage brackets to import; they need --date.")
@click.option("--snapshot", is_flag=True, help="Import the snapshot that the package carries.")
@click.option("--set", "pairs", multiple=True, metavar="FIELD=VALUE", help="Store a figure yourself; needs --date.")
@click.option("--date", "day", type=Day(), help="The day of what is imported, where it does not tell it.")
@_json_option
def rules_command(**given: Any) -> None:  # noqa: ANN401 - click checked every option
    """Show an instrument's rules, fees and margin tiers by date; import them where files are given."""
    from hedgegrid.backtest.store.reader import Store
    from hedgegrid.backtest.store.wording import rules_lines

    with _one_line():
        store = Store(given["store"])
        wanted = [given["instrument"]] if given["instrument"] else store.instruments()
        _import_rules(given, wanted)
        every = [rules for name in wanted for rules in store.rules(name)]
    if given["as_json"]:
        click.echo(json.dumps([attrs.asdict(rules) for rules in every], indent=2))
        return
    for rules in every:
        _print_lines(rules_lines(rules))
    if not every:
        click.echo("no rules are stored", err=True)


def _import_rules(given: dict[str, Any], wanted: Sequence[str]) -> None:
    """Store the rules that the options name, for the wanted instruments."""
    from hedgegrid.backtest.store.rules import FIELDS, DatedRules, RulesBook, Told, day_of
    from hedgegrid.backtest.store.rules_sources import (
        read_json,
        rules_of_brackets,
        rules_of_exchange_info,
    )

    book, found = RulesBook(given["store"]), list[DatedRules]()
    info, brackets, pairs = given["exchange_info"], given["brackets"], given["pairs"]
    if (brackets or pairs) and given["day"] is None:
        raise Fatal("brackets and --set carry no date: give the day they are of with --date 2025-07-10")
    if info:
        every = rules_of_exchange_info(
            read_json(info), info.name, [given["instrument"]] if given["instrument"] else None
        )
        found += [rules for rules in every if rules.instrument in wanted]
    if brackets:
        every = rules_of_brackets(read_json(brackets), brackets.name, day_of(given["day"]))
        found += [rules for rules in every if rules.instrument in wanted]
    for pair in pairs:
        field, _, value = pair.partition("=")
        if field not in FIELDS or field == "tiers" or not _is_figure(value):
            raise Fatal(f"--set {pair}: write FIELD=FIGURE with one of {', '.join(FIELDS[:-1])}")
        told = {field: Told(value=value, source="the operator")}
        found += [DatedRules(instrument=name, date=day_of(given["day"]), fields=told) for name in wanted]
    for rules in found:
        book.save(rules)
    if given["snapshot"]:
        _tell_lines(_add_snapshot(given["store"], wanted, always=True))


@store_commands.command("download")
@click.option("--exchange", type=click.Choice(["binanceusdm"]), default="binanceusdm", show_default=True)
@click.option("--instrument", required=True, help="Such as BTC/USDT:USDT.")
@click.option("--kind", type=click.Choice(["bars", "trades", "funding", "mark"]), default="bars", show_default=True)
@click.option("--timeframe", type=click.Choice(list(TIMEFRAMES_NS)), default="1m", show_default=True)
@click.option("--from", "from_ns", type=Day(), required=True, help="The first day (UTC).")
@click.option("--to", "to_ns", type=Day(), help="The day to stop before (UTC); without it, now.")
@_store_option
@click.option("--rest-url", help="Another address of the exchange's REST interface, such as http://127.0.0.1:9000.")
@click.option("--key-env", help="Name of the environment variable with an API key: for margin tiers and real fees.")
@click.option("--secret-env", help="Name of the environment variable with its secret.")
@_json_option
def download_command(**given: Any) -> None:  # noqa: ANN401 - click checked every option
    """Download what a store lacks of a span, with the rules of the day. Run it again to go on where it stopped.

    \b
    hedgegrid data download --instrument BTC/USDT:USDT --from 2025-01-01 --to 2025-02-01 --store STORE
    """  # noqa: D301 - \b keeps click from rewrapping the example
    from hedgegrid.backtest.store.downloading import Wanted, download
    from hedgegrid.backtest.store.series import Kind, SeriesName, instrument_folder
    from hedgegrid.backtest.store.wording import moment
    from hedgegrid.venues.ccxtpro.history import History

    kinds = {"bars": Kind.BARS, "mark": Kind.MARK_BARS, "trades": Kind.AGG_TRADES, "funding": Kind.FUNDING}
    kind = kinds[given["kind"]]
    length_ns = TIMEFRAMES_NS[given["timeframe"]] if given["kind"] in {"bars", "mark"} else 0
    series = SeriesName(instrument=given["instrument"], kind=kind, length_ns=length_ns)
    with _one_line():
        instrument_folder(given["instrument"])
        to_ns = given["to_ns"] if given["to_ns"] is not None else _now_ns() + NS_PER_DAY
        if to_ns <= given["from_ns"]:
            raise Fatal("--to is not after --from")
        key, secret = (os.environ.get(given[name] or "", "") for name in ("key_env", "secret_env"))
        with (
            _progress() as progress,
            History(rest_url=given["rest_url"], api_key=key, api_secret=secret, tell=progress.console.print) as history,
        ):
            task = progress.add_task("downloading", total=1.0, told="")
            report = download(
                given["store"],
                history,
                Wanted(series=series, from_ns=given["from_ns"], to_ns=to_ns),
                imported=_now_text,
                tell=lambda share, rows: _advance(progress, task, share, rows),
            )
    rules = attrs.asdict(report.rules)
    if given["as_json"]:
        told = {"series": series.text, "rows": report.rows, "to": moment(report.to_ns), "rules": rules}
        click.echo(json.dumps(told, indent=2))
        return
    click.echo(f"{series.text}: {report.rows:,} new rows, up to {moment(report.to_ns)} UTC")
    click.echo(f"rules of {report.rules.date} stored")
    _tell_lines(report.rules.notes)


def _advance(progress: "Progress", task: "TaskID", share: float, rows: int) -> None:
    progress.update(task, completed=share, told=f"{rows:,} rows")


@contextmanager
def _progress() -> Iterator["Progress"]:
    """Show a progress bar on standard error while something runs; where that is no terminal, nothing."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress


def _reading(given: dict[str, Any]) -> "Reading":
    """Give how files are to be read. Fatal for a column map that is none."""
    from hedgegrid.backtest.store.series import Kind
    from hedgegrid.backtest.store.sources import Reading

    columns: dict[str, str] = {}
    for pair in filter(None, (given["columns"] or "").split(",")):
        ours, _, theirs = pair.partition("=")
        if not ours or not theirs:
            raise Fatal(f"--columns {pair}: write ours=theirs, such as ts=time,open=o")
        columns[ours.strip()] = theirs.strip()
    return Reading(
        kind=Kind(given["kind"]) if given["kind"] else None,
        length_ns=TIMEFRAMES_NS.get(given["timeframe"] or ""),
        columns=columns or None,
        time_unit=given["time_unit"],
    )


def _add_snapshot(root: Path, instruments: Sequence[str], *, always: bool = False) -> list[str]:
    """Store the package's snapshot of rules for instruments that have none yet; gives a line for each."""
    import tomli

    from hedgegrid.backtest.store.rules import RulesBook
    from hedgegrid.backtest.store.rules_sources import rules_of_snapshot
    from hedgegrid.config.params import stored_rules

    book, every = RulesBook(root), stored_rules()
    text = files("hedgegrid.config").joinpath("rules.toml").read_text(encoding="utf-8")
    taken = str(tomli.loads(text)["taken"])
    lines: list[str] = []
    for name in instruments:
        if book.all(name) and not always:
            continue
        if name not in every:
            lines.append(f"{name}: no rules are stored; import them with `hedgegrid data rules`")
            continue
        for rules in rules_of_snapshot({name: every[name]}, taken, "the snapshot that hedgegrid carries"):
            book.save(rules)
        lines.append(f"{name}: rules of {taken} stored, from the snapshot that hedgegrid carries")
    return lines


def _tell_findings(findings: Sequence["Finding"]) -> None:
    for finding in findings:
        click.echo(finding.line, err=True)


def _tell_lines(lines: Sequence[str]) -> None:
    """Print notes on standard error, the first of very many."""
    for line in lines[:_TOLD_NOTES]:
        click.echo(line, err=True)
    if len(lines) > _TOLD_NOTES:
        click.echo(f"and {len(lines) - _TOLD_NOTES} more notes (--json has them all)", err=True)


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(line)


def _print(table: "Table") -> None:
    """Print a table, as wide as it is where nobody's terminal bounds it."""
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)


def _is_figure(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def _now_ns() -> int:
    return time.time_ns()  # ambient: the command's own clock


def _now_text() -> str:
    """Give the time of an import."""
    return datetime.fromtimestamp(_now_ns() // NS_PER_S, tz=UTC).isoformat()
