"""The commands: thin wrappers that read arguments, call the house, and turn errors into one line and an exit code.

Exit codes: 0 ended as asked · 1 the run failed, or a check found something wrong · 2 bad input (config, files,
arguments) · 3 the account was liquidated · 70 an actor would not stop and the process ended itself.
"""

import asyncio
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from hedgegrid import __version__
from hedgegrid.alert_commands import alert_test
from hedgegrid.backtest_commands import backtest, compare
from hedgegrid.data_commands import store_commands
from hedgegrid.errors import Fatal
from hedgegrid.operator_commands import cancel_entries, flatten, kill, pause, resume, risk, status, throttle
from hedgegrid.running import EXIT_BAD_INPUT, EXIT_FAILED, at_another_server, code_of, fail, load_account, run_account
from hedgegrid.simulation_commands import simulate

if TYPE_CHECKING:
    from hedgegrid.config.schema import AccountConfig

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400, None: 1}


class Duration(click.ParamType[float]):
    """A length of time such as 30s, 5m, 12h or 3d, in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Give the seconds."""
        match = _DURATION.fullmatch(str(value))
        if match is None or float(match[1]) <= 0:
            self.fail(f"{value!r} is no length of time: write 30s, 5m, 12h or 3d", param, ctx)
        return float(match[1]) * _SECONDS[match[2]]


class Speed(click.ParamType["float | None"]):
    """How fast the market goes: 1 (real time), N times that, or max (as fast as the bot can follow)."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | None:  # noqa: ANN401
        """Give the factor, None for max."""
        if value == "max":
            return None
        try:
            factor = float(value)
        except ValueError:
            factor = 0.0
        if not 0 < factor <= 1_000_000:  # noqa: PLR2004 - beyond that "max" is meant
            self.fail(f"{value!r} is no speed: write 1, a number such as 60, or max", param, ctx)
        return factor


class Listen(click.ParamType[tuple[str, int]]):
    """An address to listen on, HOST:PORT; port 0 takes any free one."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, int]:  # noqa: ANN401
        """Give host and port."""
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65_535:  # noqa: PLR2004 - the largest port
            self.fail(f"{value!r} is no address: write 127.0.0.1:8080", param, ctx)
        return host.strip("[]"), int(port)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hedgegrid")
def commands() -> None:
    """A hedge-mode grid bot for USDT-margined perpetual futures."""


@commands.command()
@click.option(
    "--config", type=click.Path(path_type=Path), help="The account's TOML file; without it the built-in demo runs."
)
@click.option(
    "--data",
    "market_files",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Recorded market: Binance archive csv(.gz), freqtrade feather, or a raw websocket capture; a file or a "
    "folder. May be repeated; a funding file may be among them.",
)
@click.option("--allow-gaps", is_flag=True, help="Replay data with missing bars; a gap counts as one jump.")
@click.option(
    "--speed", type=Speed(), default="1", show_default=True, help="1, a factor such as 60, or max (virtual time)."
)
@click.option(
    "--duration",
    type=Duration(),
    help="Stop after this long, such as 30s or 12h: wall time, or market time at --speed max.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the synthetic market, in place of sim.seed.")
@click.option(
    "--listen", type=Listen(), help="Address of the metrics, in place of ops.listen; port 0 takes any free one."
)
@click.option("--journal", type=click.Path(path_type=Path), help="The journal's file, in place of journal.path.")
@click.option(
    "--log-file", type=click.Path(path_type=Path), help="Also write logs as JSON lines to this file (rotated)."
)
@click.option(
    "--log-level", default="INFO", show_default=True, type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"])
)
@click.option(
    "--resume",
    is_flag=True,
    help="Lift a latched pause (operator, a loss, margin, ...) at the start; the session loss counts anew from there.",
)
@click.option(
    "--new-peak",
    is_flag=True,
    help="With --resume: lift a drawdown too, and let the equity of then be the new peak.",
)
@click.option(
    "--exchange",
    "exchange_url",
    help="Origin of another server that speaks the exchange's wire, such as http://127.0.0.1:9000 (a stand-in), in "
    "place of venue.rest_url, ws_url and ws_api_url.",
)
@click.option("--live", is_flag=True, help='Trade real money: mode = "live" refuses to start without it.')
@click.option(
    "--allow-production-data",
    is_flag=True,
    help="Let paper mode watch the real market (it has no keys and cannot send an order).",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON, and nothing else on standard output.")
def run(**given: Any) -> None:  # noqa: ANN401 - click checked every option
    """Trade: the built-in demo, or the account of a config.

    \b
    hedgegrid run --duration 60s
    hedgegrid run --config configs/replay.toml --data BTCUSDT-1m.feather --speed max
    """  # noqa: D301 - \b keeps click from rewrapping the examples
    from hedgegrid.config.coverage import not_enforced
    from hedgegrid.config.values import split_listen
    from hedgegrid.worlds.world import RunOptions

    if given["new_peak"] and not given["resume"]:
        fail("--new-peak goes with --resume: it lifts a latched drawdown", EXIT_BAD_INPUT)
    journal_path = None if given["journal"] is None else str(given["journal"])
    account = load_account(
        given["config"],
        {"sim.seed": given["seed"], "journal.path": journal_path, **at_another_server(given["exchange_url"])},
    )
    options = RunOptions(
        market_files=given["market_files"],
        allow_gaps=given["allow_gaps"],
        speed=given["speed"],
        duration_s=given["duration"],
        resume=given["resume"],
        new_peak=given["new_peak"],
        live=given["live"],
        allow_production_data=given["allow_production_data"],
        listen=given["listen"] or split_listen(account.ops.listen),
    )
    idle = len(not_enforced(account))
    if given["config"] is not None and idle:
        click.echo(f"{idle} settings are not enforced in this version: `hedgegrid check` lists them", err=True)
    run_account(
        account,
        options,
        log_file=given["log_file"],
        log_level=given["log_level"],
        as_json=given["as_json"],
    )


@commands.command()
@click.option("--config", type=click.Path(path_type=Path), required=True, help="The account's TOML file.")
@click.option("--online", is_flag=True, help="Also ask the exchange whether the account is fit; nothing is changed.")
@click.option("--exchange", "exchange_url", help="With --online: another server that speaks the exchange's wire.")
def check(config: Path, online: bool, exchange_url: str | None) -> None:  # noqa: FBT001 - a flag of the command
    """Check a config: print the settings in effect, secrets masked, and warn where settings work against each other."""
    from hedgegrid.config.advice import advice, unset_secrets
    from hedgegrid.config.coverage import not_enforced
    from hedgegrid.config.params import grid_params, instrument_of
    from hedgegrid.config.render import render_effective

    account = load_account(config, at_another_server(exchange_url))
    if online:
        _check_online(account)
        return
    try:
        for grid in account.grid:
            grid_params(grid, instrument_of(account, grid.instrument), account.risk)
    except (Fatal, ValueError) as error:
        fail(str(error), EXIT_BAD_INPUT)
    click.echo(render_effective(account))
    for one in (*advice(account), *unset_secrets(account)):
        click.echo(f"warning: {one.path}: {one.message}", err=True)
    for one in not_enforced(account):
        click.echo(f"{one.path}: {one.message}", err=True)
    click.echo(f"{config}: ok", err=True)


def _check_online(account: "AccountConfig") -> None:
    """Print every line of the pre-flight; exit 1 where one failed."""
    from hedgegrid.worlds.exchange import check_online

    if account.account.mode not in {"testnet", "live"}:
        fail(f'--online is for mode = "testnet" and "live", not "{account.account.mode}"', EXIT_BAD_INPUT)
    try:
        lines = asyncio.run(check_online(account))
    except Fatal as error:
        fail(str(error), code_of(error))
    for line in lines:
        click.echo(f"{'ok  ' if line.passed else 'FAIL'} {line.name}: {line.words}")
        if not line.passed:
            click.echo(f"     {line.remedy}")
    if not all(line.passed for line in lines):
        raise SystemExit(EXIT_FAILED)


@commands.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("configs/account.toml"))
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def init(path: Path, force: bool) -> None:  # noqa: FBT001 - a flag of the command
    """Ask a few questions and write a commented config to PATH."""
    from hedgegrid.config.wizard import Question, run_wizard

    if path.exists() and not force:
        fail(f"{path} exists; give another name, or --force to overwrite it", EXIT_BAD_INPUT)

    def ask(question: Question) -> str:
        if question.problem:
            click.echo(f"  {question.problem}", err=True)
        answer: str = click.prompt(question.prompt, default=question.default, err=True)
        return answer

    try:
        text = run_wizard(ask)
    except Fatal as error:
        fail(str(error), EXIT_BAD_INPUT)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{path} cannot be written: {error.strerror}", EXIT_BAD_INPUT)
    click.echo(f"wrote {path}; next: hedgegrid check --config {path}, then hedgegrid run --config {path}")


@commands.group()
def journal() -> None:
    """Prove and export a journal."""


def _journal_command(action: Callable[[], int]) -> None:
    """Run what reads a journal; a file that cannot be read is one line."""
    try:
        code = action()
    except Fatal as error:
        fail(str(error), EXIT_BAD_INPUT)
    sys.exit(code)


@journal.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("state/demo.db"))
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(path: Path, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command
    """Replay a journal and prove that its tables follow from its messages."""
    from hedgegrid.journal.verify import verify as prove

    def action() -> int:
        report = prove(path)
        if as_json:
            told = {"title": report.title, "ok": report.ok, "checks": [attrs.asdict(check) for check in report.checks]}
            click.echo(json.dumps(told, indent=2))
        else:
            click.echo(report.text())
        return 0 if report.ok else EXIT_FAILED

    _journal_command(action)


@journal.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path("state/demo.db"))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for the files.")
@click.option("--force", is_flag=True, help="Overwrite existing files.")
def export(path: Path, out: Path, force: bool) -> None:  # noqa: FBT001 - a flag of the command
    """Write fills, orders, round trips, funding and daily PnL as CSV and Parquet."""
    from hedgegrid.journal.export import export as write

    def action() -> int:
        for written in write(path, out, force=force):
            click.echo(f"{written.path}: {written.rows} rows")
        return 0

    _journal_command(action)


for command in (alert_test, status, risk, pause, resume, throttle, cancel_entries, flatten, kill):
    commands.add_command(command)
commands.add_command(backtest)
commands.add_command(compare)
commands.add_command(store_commands)
commands.add_command(simulate)


def main() -> None:
    """Run the command line."""
    commands(prog_name="hedgegrid")
