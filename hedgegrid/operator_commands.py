"""The commands that ask a running account for something, and those that act for one that does not run.

A dead account is acted for by the same house that trades it: it starts, reads the exchange, does its errand under the
account's lock, and ends. Exit codes: 0 done · 1 not done, the lines say what is left · 2 bad input or no answer.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from hedgegrid.errors import Fatal
from hedgegrid.running import EXIT_BAD_INPUT, EXIT_FAILED, at_another_server, fail, live, load_account

if TYPE_CHECKING:
    from hedgegrid.config.schema import AccountConfig
    from hedgegrid.lifecycle import Outcome
    from hedgegrid.ops.client import ApiClient
    from hedgegrid.worlds.world import Errand

POLL_S = 0.5
CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), help="The account's TOML file; without it the built-in demo's."
)
EXCHANGE = click.option(
    "--exchange", "exchange_url", help="For a dead account: another server that speaks the exchange's wire."
)
JOURNAL = click.option(
    "--journal", type=click.Path(path_type=Path), help="For a dead account: its journal, in place of journal.path."
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


def _client(account: "AccountConfig", *, control: bool) -> "ApiClient":
    """Make the client of a config's account. Ends the command where the token cannot be had."""
    from hedgegrid.config.values import split_listen
    from hedgegrid.ops.client import ApiClient

    ops = account.ops
    if control and ops.control_token is None:
        fail("the config has no [ops] control_token: set one, and start the account with it", EXIT_BAD_INPUT)
    reference = ops.control_token if control else ops.read_token or ops.control_token
    try:
        token = None if reference is None else reference.resolve().reveal()
        return ApiClient(split_listen(ops.listen), token=token, ca_file=ops.tls_cert)
    except (Fatal, OSError) as error:
        fail(str(error), EXIT_BAD_INPUT)


def _ask(config: Path | None, path: str, body: dict[str, object] | None = None) -> Any:  # noqa: ANN401 - JSON
    """Read a route, or post to it. Ends the command where nobody answers."""
    from hedgegrid.ops.client import NoAnswerError

    client = _client(load_account(config, {}), control=body is not None)
    try:
        return client.get(path) if body is None else client.post(path, body)
    except NoAnswerError as error:
        fail(f"{error}; is the account running?", EXIT_BAD_INPUT)
    except Fatal as error:
        fail(str(error), EXIT_BAD_INPUT)


@click.command()
@CONFIG
@JSON
def status(config: Path | None, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command
    """Tell how a running account stands: mode and why, money, legs and their stops, orders, ages, funding."""
    told = _ask(config, "/api/v1/status")
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    from hedgegrid.ops.screens import status_lines

    click.echo("\n".join(status_lines(told)))
    if told["flatten"]["stage"] != "none":
        click.echo(f"  flatten    {_flatten_words(told['flatten'])}")


@click.command()
@CONFIG
@JSON
def risk(config: Path | None, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command
    """List every control of a running account: limit, present value, headroom, what it does, its last trip."""
    told = _ask(config, "/api/v1/risk")
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    from hedgegrid.ops.screens import risk_lines

    click.echo("\n".join(risk_lines(told)))


@click.command()
@CONFIG
def pause(config: Path | None) -> None:
    """Pause a running account until `resume`: nothing that increases a leg is sent.

    Entries that rest already stay and may fill; `cancel-entries` takes them away.
    """
    click.echo(f"asked for: {_ask(config, '/api/v1/pause', {})['asked']}")


@click.command()
@CONFIG
@click.option("--new-peak", is_flag=True, help="Lift a drawdown too: the equity of now is the new peak.")
def resume(config: Path | None, new_peak: bool) -> None:  # noqa: FBT001 - a flag of the command
    """Lift the latched pauses of a running account."""
    click.echo(f"asked for: {_ask(config, '/api/v1/resume', {'new_peak': new_peak})['asked']}")


@click.command()
@click.argument("factor", type=click.FloatRange(0.0, 1.0))
@CONFIG
def throttle(factor: float, config: Path | None) -> None:
    """Scale the quantity of new entries of a running account by FACTOR, 0 to 1."""
    click.echo(f"asked for: {_ask(config, '/api/v1/throttle', {'factor': factor})['asked']}")


@click.command("cancel-entries")
@CONFIG
@click.option("--dead", is_flag=True, help="The account does not run: do it here, under its lock, and end.")
@EXCHANGE
@JOURNAL
def cancel_entries(
    config: Path | None,
    dead: bool,  # noqa: FBT001 - a flag of the command
    exchange_url: str | None,
    journal: Path | None,
) -> None:
    """Take every resting entry of an account away; exits and protective stops stay.

    A running grid places them again at its next bar: `pause` first to keep them away.
    """
    if not dead:
        click.echo(f"asked for: {_ask(config, '/api/v1/cancel-entries', {})['asked']}")
        return
    from hedgegrid.worlds.world import Errand, ErrandKind

    account = load_account(config, {**at_another_server(exchange_url), **_kept_in(journal)})
    try:
        outcome = _run_errand(account, Errand(kind=ErrandKind.CANCEL_ENTRIES), take_over=False)
    except Fatal as error:
        fail(str(error), EXIT_BAD_INPUT)
    if outcome.failure:
        fail(outcome.failure, outcome.exit_code)
    click.echo("entries cancelled: none is open")


def _kept_in(journal: Path | None) -> dict[str, str]:
    """Give the setting that names the journal; none where the config's is meant."""
    return {} if journal is None else {"journal.path": str(journal)}


@click.command()
@CONFIG
@click.option(
    "--leg", type=click.Choice(["long", "short", "both"]), default="both", show_default=True, help="What to close."
)
@click.option("--wait", is_flag=True, help="Return when the exchange shows it flat, or tell what is left.")
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(1.0), default=120.0, show_default=True, help="Seconds to wait."
)
@click.option("--take-over", is_flag=True, help="End the process that holds the account first, however it answers.")
@EXCHANGE
@JOURNAL
@JSON
def flatten(
    config: Path | None,
    leg: str,
    wait: bool,  # noqa: FBT001 - a flag of the command
    timeout_s: float,
    take_over: bool,  # noqa: FBT001 - the same
    exchange_url: str | None,
    journal: Path | None,
    as_json: bool,  # noqa: FBT001 - the same
) -> None:
    """Close an account's positions at the market and take its orders away; it stays paused until `resume`.

    A running account is asked through its interface. For one that does not run the command acts itself, under the
    account's lock, and waits. FLAT is said only where the exchange was read twice and showed it.

    \b
    hedgegrid flatten --config configs/account.toml --leg both --wait
    hedgegrid flatten --config configs/account.toml --take-over
    """  # noqa: D301 - \b keeps click from rewrapping the examples
    from hedgegrid.ops.client import NoAnswerError

    account = load_account(config, {**at_another_server(exchange_url), **_kept_in(journal)})
    if account.ops.control_token is None and not take_over:
        click.echo("no [ops] control_token in the config: acting under the account's lock", err=True)
    elif not take_over:
        try:
            _flatten_running(_client(account, control=True), leg, timeout_s if wait else None, as_json=as_json)
        except NoAnswerError as error:
            click.echo(f"{error}: acting for it under its lock", err=True)
        except Fatal as error:
            fail(str(error), EXIT_BAD_INPUT)
        else:
            return
    _flatten_dead(account, leg, timeout_s, take_over=take_over, as_json=as_json)


def _flatten_dead(account: "AccountConfig", leg: str, timeout_s: float, *, take_over: bool, as_json: bool) -> None:
    """Act for an account that does not run, and tell what came of it."""
    from hedgegrid.journal.lock import AccountHeldError
    from hedgegrid.model.order import Leg
    from hedgegrid.ops.operator import flatten_state
    from hedgegrid.worlds.world import Errand, ErrandKind

    legs = tuple(Leg) if leg == "both" else (Leg[leg.upper()],)
    errand = Errand(kind=ErrandKind.FLATTEN, legs=legs, timeout_s=timeout_s)
    try:
        outcome = _run_errand(account, errand, take_over=take_over)
    except AccountHeldError as error:
        fail(f"{error}, or add --take-over", EXIT_BAD_INPUT)
    except Fatal as error:
        fail(str(error), EXIT_BAD_INPUT)
    told = attrs.asdict(flatten_state(outcome.view, outcome.ended_ns))
    click.echo(json.dumps(told, indent=2) if as_json else _flatten_words(told))
    if outcome.failure:
        fail(outcome.failure, outcome.exit_code)


def _flatten_running(client: "ApiClient", leg: str, timeout_s: float | None, *, as_json: bool) -> None:
    """Ask a running account, and wait for its word where asked to."""
    from hedgegrid.ops.client import NoAnswerError

    client.post("/api/v1/flatten", {"leg": leg})
    if timeout_s is None:
        click.echo(f"asked for: flatten {leg}; `hedgegrid status` tells how far it is")
        return
    until_s = time.monotonic() + timeout_s
    told: dict[str, Any] = {"stage": "under_way", "left": [], "foreign": []}
    while told["stage"] != "flat" and time.monotonic() < until_s:
        time.sleep(POLL_S)
        try:
            told = client.get("/api/v1/flatten")
        except NoAnswerError:
            # It restarts, perhaps: the flatten is latched and goes on.
            continue
    click.echo(json.dumps(told, indent=2) if as_json else _flatten_words(told))
    if told["stage"] != "flat":
        raise SystemExit(EXIT_FAILED)


def _flatten_words(told: dict[str, Any]) -> str:
    """Say in one line how far a flatten is."""
    foreign = f"; not ours and untouched: {', '.join(told['foreign'])}" if told["foreign"] else ""
    if told["stage"] == "flat":
        return f"FLAT: {' and '.join(told.get('legs', []))}{foreign}"
    return f"NOT FLAT: {', '.join(told['left']) or 'under way'}{foreign}"


def _run_errand(account: "AccountConfig", errand: "Errand", *, take_over: bool) -> "Outcome":
    """Let the account's house live for one errand. Raises Fatal where it cannot."""
    from hedgegrid.config.values import split_listen
    from hedgegrid.journal.lock import end_holder
    from hedgegrid.units import NS_PER_MS, NS_PER_S
    from hedgegrid.worlds.world import RunOptions

    if take_over:
        try:
            ended = end_holder(Path(account.journal.path))
        except Fatal as error:
            fail(str(error), EXIT_FAILED)
        if ended:
            click.echo(f"process {ended} was ended", err=True)
            # Its last request can be accepted until its validity has passed, and a second of clock beyond.
            time.sleep((account.venue.recv_window_ms * NS_PER_MS + NS_PER_S) / NS_PER_S)
    host, _ = split_listen(account.ops.listen)
    # The metrics' port may still be held by what was ended: any free one will do for an errand.
    mode = account.account.mode
    options = RunOptions(errand=errand, live=mode == "live", allow_production_data=mode == "paper", listen=(host, 0))
    return live(account, options, log_file=None, log_level="WARNING")
