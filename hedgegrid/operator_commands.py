"""The commands that ask a running account for something, and those that act for one that does not run.

A dead account is acted for by the same house that trades it: it starts, reads the exchange, does its errand under the
account's lock, and ends. Exit codes: 0 done · 1 not done, the lines say what is left, or
the exchange was not reached · 2 bad input, or no answer of a running account.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from hedgegrid.asking import LOOK_S, ask, ask_until, client_of, entries_in, open_client, reasons_in, unheard
from hedgegrid.errors import Fatal
from hedgegrid.running import EXIT_BAD_INPUT, EXIT_FAILED, at_another_server, code_of, fail, live, load_account

if TYPE_CHECKING:
    from hedgegrid.config.schema import AccountConfig
    from hedgegrid.lifecycle import Outcome
    from hedgegrid.model.order import Leg
    from hedgegrid.ops.client import ApiClient
    from hedgegrid.worlds.world import Errand, ErrandKind

POLL_S = 0.5
LATCHED_S = 20.0
"""What a running account gets to latch a kill before it counts as hung."""
CONFIG = click.option(
    "--config", type=click.Path(path_type=Path), help="The account's TOML file; without it the built-in demo's."
)
EXCHANGE = click.option(
    "--exchange", "exchange_url", help="For a dead account: another server that speaks the exchange's wire."
)
JOURNAL = click.option(
    "--journal", type=click.Path(path_type=Path), help="For a dead account: its journal, in place of journal.path."
)
WAIT = "Seconds to wait for it; for a dead account as many to reach the exchange before."
JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


@click.command()
@CONFIG
@JSON
def status(config: Path | None, as_json: bool) -> None:  # noqa: FBT001 - a flag of the command
    """Tell how a running account stands: mode and why, money, legs and their stops, orders, ages, funding."""
    told = ask(config, "/api/v1/status")
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
    told = ask(config, "/api/v1/risk")
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
    _, done = ask_until(
        config,
        "/api/v1/pause",
        {},
        lambda told: "operator" in reasons_in(told),
        dead="where the account does not run, `hedgegrid kill` keeps its next start from trading",
    )
    if not done:
        unheard("pause")
    click.echo("paused: nothing that increases a leg is sent until `hedgegrid resume`; entries that rest may fill")


@click.command()
@CONFIG
@click.option("--new-peak", is_flag=True, help="Lift a drawdown too: the equity of now is the new peak.")
def resume(config: Path | None, new_peak: bool) -> None:  # noqa: FBT001 - a flag of the command
    """Lift the latched pauses of a running account, and tell what still holds it back."""
    from hedgegrid.core.pause import Reason, is_latched
    from hedgegrid.ops.lifting import lifted_by

    lifts = {one.value for one in Reason if is_latched(one) and (new_peak or one is not Reason.DRAWDOWN)}
    told, done = ask_until(
        config,
        "/api/v1/resume",
        {"new_peak": new_peak},
        lambda told: told["mode"] != "halted" and not lifts & reasons_in(told),
        dead="where the account does not run, `hedgegrid run --resume` starts it and lifts them",
    )
    left = reasons_in(told)
    if not done and not left:
        unheard("resume")
    if not left:
        click.echo(f"resumed: {told['mode']}")
        return
    click.echo(f"still paused: {', '.join(f'{one} ({lifted_by(one)})' for one in sorted(left))}")
    if any(is_latched(Reason(one)) for one in left):
        raise SystemExit(EXIT_FAILED)


@click.command()
@click.argument("factor", type=click.FloatRange(0.0, 1.0))
@CONFIG
def throttle(factor: float, config: Path | None) -> None:
    """Scale the quantity of a running account's new entries by FACTOR, 0 to 1, over restarts too, until it is 1."""
    ppm = round(factor * 1_000_000)
    _, done = ask_until(
        config,
        "/api/v1/throttle",
        {"factor": factor},
        lambda told: round(told["throttle"] * 1e6) == ppm,
        dead="is the account running?",
    )
    if not done:
        unheard(f"throttle {factor:g}")
    click.echo(f"throttle {factor:g}: from the next decision on, over restarts too")


@click.command("cancel-entries")
@CONFIG
@click.option("--dead", is_flag=True, help="The account does not run: do it here, under its lock, and end.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(1.0),
    default=90.0,
    show_default=True,
    help="Seconds to reach the exchange.",
)
@EXCHANGE
@JOURNAL
def cancel_entries(
    config: Path | None,
    dead: bool,  # noqa: FBT001 - a flag of the command
    timeout_s: float,
    exchange_url: str | None,
    journal: Path | None,
) -> None:
    """Take every resting entry of an account away; exits and protective stops stay.

    A running grid places them again at its next bar: `pause` first to keep them away.
    """
    from hedgegrid.ops.phrases import counted

    if not dead:
        told, done = ask_until(
            config,
            "/api/v1/cancel-entries",
            {},
            lambda told: entries_in(told) == 0,
            dead="add --dead for an account that does not run",
        )
        if not told:
            unheard("cancel-entries")
        more = "; a running grid places them again at its next bar: `pause` first" if told["mode"] == "active" else ""
        left = entries_in(told)
        rests = "what rests is not known" if left is None else counted(left, "entry rests", "entries rest")
        click.echo(f"{'no entry rests' if done else rests}{more}")
        if not done and not more:
            raise SystemExit(EXIT_FAILED)
        return
    from hedgegrid.worlds.world import Errand, ErrandKind

    account = load_account(config, {**at_another_server(exchange_url), **_kept_in(journal)})
    try:
        outcome = _run_errand(account, Errand(kind=ErrandKind.CANCEL_ENTRIES, timeout_s=timeout_s), take_over=False)
    except Fatal as error:
        fail(f"{error}{_elsewhere(account, exchange_url, journal)}", code_of(error))
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
@click.option("--timeout", "timeout_s", type=click.FloatRange(1.0), default=120.0, show_default=True, help=WAIT)
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

    Of a leg that is not named the position, its take-profits and stops stay; the entries of both legs go.

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
            _flatten_running(open_client(account, control=True), leg, timeout_s if wait else None, as_json=as_json)
        except NoAnswerError as error:
            click.echo(f"{error}: acting for it under its lock", err=True)
        except Fatal as error:
            fail(str(error), EXIT_BAD_INPUT)
        else:
            return
    try:
        _flatten_dead(account, leg, timeout_s, take_over=take_over, as_json=as_json)
    except Fatal as error:
        fail(f"{error}{_elsewhere(account, exchange_url, journal)}", code_of(error))


@click.command()
@CONFIG
@click.option("--wait", is_flag=True, help="Return when it is done: FLAT as the exchange shows it, or what is left.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(1.0), default=120.0, show_default=True, help=WAIT)
@click.option("--take-over", is_flag=True, help="End the process that holds the account first, however it answers.")
@EXCHANGE
@JOURNAL
def kill(
    config: Path | None,
    wait: bool,  # noqa: FBT001 - a flag of the command
    timeout_s: float,
    take_over: bool,  # noqa: FBT001 - the same
    exchange_url: str | None,
    journal: Path | None,
) -> None:
    """Throw the kill switch: every entry goes, and what [risk.kill_switch] action says; nothing trades until `resume`.

    The word is written beside the journal first, so nothing loses it: a running account obeys within a second, with or
    without a token; for one that does not run the command acts itself, and the next start is killed too.
    """
    from hedgegrid.journal import kill_file
    from hedgegrid.journal.lock import AccountHeldError, is_held
    from hedgegrid.model.order import Leg
    from hedgegrid.worlds.world import ErrandKind

    account = load_account(config, {**at_another_server(exchange_url), **_kept_in(journal)})
    switch, path = account.risk.kill_switch, Path(account.journal.path)
    if not switch.enabled:
        fail("[risk.kill_switch] enabled is false: nothing was done; `flatten` and `pause` work", EXIT_BAD_INPUT)
    try:
        kill_file.place(path)
    except Fatal as error:
        fail(str(error), EXIT_FAILED)
    placed = f"the next start with the journal {path} is killed: {kill_file.kill_file(path)}"
    also = _elsewhere(account, exchange_url, journal)
    try:
        if not take_over and (is_held(path) or _lives_elsewhere(account)):
            _kill_running(account, path, timeout_s if wait else None)
            return
        if account.account.mode in {"sim", "paper"}:
            # Its exchange ended with it: there is nothing to be closed until it starts.
            click.echo(f"latched: no account runs here{also}; {placed}, and trades nothing until `resume`")
            return
        legs = tuple(Leg) if switch.action == "flatten" else ()
        _act_dead(account, ErrandKind.KILL, legs, timeout_s, take_over=take_over)
    except AccountHeldError as error:
        fail(f"NOT KILLED: {error}, or add --take-over{also}; {placed}", EXIT_FAILED)
    except Fatal as error:
        fail(f"NOT KILLED: {error}{also}; {placed}", code_of(error))


def _lives_elsewhere(account: "AccountConfig") -> bool:
    """Tell whether the account's interface answers though nobody holds the config's journal: it has another one.

    Raises Fatal where somebody answers and does not say who it is.
    """
    from hedgegrid.ops.client import NoAnswerError

    try:
        client_of(account, control=False).get("/api/v1/status")
    except NoAnswerError:
        return False
    return True


def _kill_running(account: "AccountConfig", path: Path, timeout_s: float | None) -> None:
    """Ask a running account, wait until the word is latched, and where asked to until it is done. Raises Fatal.

    It looks for the file beside its own journal: where that is another one, its interface alone can tell it.
    """
    from hedgegrid.journal import kill_file
    from hedgegrid.journal.lock import is_held
    from hedgegrid.ops.client import NoAnswerError

    reads_the_file = is_held(path)
    try:
        if account.ops.control_token is not None:
            client_of(account, control=True).post("/api/v1/kill", {})
    except (NoAnswerError, Fatal) as error:
        if not reads_the_file:
            raise Fatal(str(error)) from error
        click.echo(f"{error}: the file says it too", err=True)
    if not reads_the_file and account.ops.control_token is None:
        raise Fatal("the account runs with another journal, and the config has no [ops] control_token to ask it with")
    until_s = time.monotonic() + (LATCHED_S if timeout_s is None else timeout_s)
    while not (latched := _has_latched(account, path, reads_the_file)) and time.monotonic() < until_s:
        time.sleep(LOOK_S)
    if not latched:
        fail("NOT KILLED: the account does not answer: add --take-over to end it and act for it", EXIT_FAILED)
    if not reads_the_file:
        kill_file.remove(path)
    click.echo("killed: latched, nothing is added until `hedgegrid resume`")
    if timeout_s is not None and account.risk.kill_switch.action == "flatten":
        _wait_until_flat(open_client(account, control=False), until_s, as_json=False)


def _has_latched(account: "AccountConfig", path: Path, reads_the_file: bool) -> bool:  # noqa: FBT001 - whether it looks
    """Tell whether a running account has latched the kill: it takes the file away, or says so. Raises Fatal."""
    from hedgegrid.journal import kill_file
    from hedgegrid.ops.client import NoAnswerError

    if reads_the_file:
        return not kill_file.is_placed(path)
    try:
        return "kill" in reasons_in(client_of(account, control=False).get("/api/v1/status"))
    except NoAnswerError:
        return False


def _flatten_dead(account: "AccountConfig", leg: str, timeout_s: float, *, take_over: bool, as_json: bool) -> None:
    """Flatten an account that does not run. Raises Fatal where it cannot."""
    from hedgegrid.journal.lock import AccountHeldError
    from hedgegrid.model.order import Leg
    from hedgegrid.worlds.world import ErrandKind

    legs = tuple(Leg) if leg == "both" else (Leg[leg.upper()],)
    try:
        _act_dead(account, ErrandKind.FLATTEN, legs, timeout_s, take_over=take_over, as_json=as_json)
    except AccountHeldError as error:
        fail(f"{error}, or add --take-over", EXIT_BAD_INPUT)


def _elsewhere(account: "AccountConfig", exchange_url: str | None, journal: Path | None) -> str:
    """Say which of the options that a run may have had were not given; "" where all were, or none could matter."""
    options: dict[str, object] = {"--journal": journal}
    if account.account.mode not in {"sim", "paper"}:
        options["--exchange"] = exchange_url
    missing = [name for name, given in options.items() if given is None]
    return f" (an account that was run with {' or '.join(missing)} needs the same here)" if missing else ""


def _act_dead(
    account: "AccountConfig",
    kind: "ErrandKind",
    legs: "tuple[Leg, ...]",
    timeout_s: float,
    *,
    take_over: bool,
    as_json: bool = False,
) -> None:
    """Act for an account that does not run, and tell what came of it. Raises Fatal where it cannot."""
    from hedgegrid.ops.operator import flatten_state
    from hedgegrid.worlds.world import Errand

    outcome = _run_errand(account, Errand(kind=kind, legs=legs, timeout_s=timeout_s), take_over=take_over)
    told = attrs.asdict(flatten_state(outcome.view, outcome.ended_ns))
    if not legs:
        click.echo(f"killed: {outcome.extras.ended}")
    else:
        click.echo(json.dumps(told, indent=2) if as_json else _flatten_words(told))
    if outcome.failure:
        fail(outcome.failure, outcome.exit_code)


def _flatten_running(client: "ApiClient", leg: str, timeout_s: float | None, *, as_json: bool) -> None:
    """Ask a running account, and wait for its word where asked to."""
    client.post("/api/v1/flatten", {"leg": leg})
    if timeout_s is None:
        also = "" if leg == "both" else " (the entries of both legs go)"
        click.echo(f"asked for: flatten {leg}{also}; `hedgegrid status` tells how far it is")
        return
    _wait_until_flat(client, time.monotonic() + timeout_s, as_json=as_json)


def _wait_until_flat(client: "ApiClient", until_s: float, *, as_json: bool) -> None:
    """Wait for a running account's word that it is flat, and tell what came of it."""
    from hedgegrid.ops.client import NoAnswerError

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
        legs = list(told.get("legs", []))
        # A flatten pauses the account: no entry of the other leg may stay either (DESIGN 15.3).
        other = "; the other leg keeps what it holds, its entries are gone too" if len(legs) == 1 else ""
        return f"FLAT: {' and '.join(legs)}{other}{foreign}"
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
