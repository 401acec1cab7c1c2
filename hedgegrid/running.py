"""What several commands share: loading an account, and running it to its end.

Exit codes: 0 ended as asked · 1 the run failed, the exchange was not reached, or a check found something wrong · 2 bad
input (config, files, arguments) · 3 the account was liquidated · 70 an actor, or the end, would not stop and the
process ended itself · 75 the event loop did not come back and the watchdog's thread ended the process.
"""

import asyncio
import json
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
import click
from rich.console import Console

from hedgegrid.errors import Fatal, Unreachable

if TYPE_CHECKING:
    from hedgegrid.config.schema import AccountConfig
    from hedgegrid.lifecycle import Outcome
    from hedgegrid.worlds.world import RunOptions

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong on standard error and leave."""
    click.echo(f"hedgegrid: {message}", err=True)
    raise SystemExit(code)


def code_of(error: Fatal) -> int:
    """Give the exit code of what could not begin: an exchange that was not reached is no bad input."""
    return EXIT_FAILED if isinstance(error, Unreachable) else EXIT_BAD_INPUT


class QuietConsole(Console):
    """A console that falls silent when nobody reads it any more: a bot must not die of a closed pipe."""

    def on_broken_pipe(self) -> None:
        """Write nothing from now on."""
        self.quiet = True


def say(text: str, *, err: bool = False) -> None:
    """Write a line; where nobody reads any more it is dropped, for the exit code still tells."""
    with suppress(OSError):
        click.echo(text, err=err)


def load_account(path: Path | None, overrides: dict[str, Any]) -> "AccountConfig":
    """Load a config, or the demo's, with what the command line says in place of it."""
    from hedgegrid.config.load import load, loads

    try:
        if path is None:
            text = files("hedgegrid.config").joinpath("demo.toml").read_text(encoding="utf-8")
            account = loads(text, "the built-in demo")
        else:
            account = load(path)
    except Fatal as error:
        fail(str(error), EXIT_BAD_INPUT)
    for dotted, value in overrides.items():
        if value is not None:
            section, name = dotted.split(".")
            account = attrs.evolve(account, **{section: attrs.evolve(getattr(account, section), **{name: value})})
    _refuse_short_tokens(account)
    return account


def _refuse_short_tokens(account: "AccountConfig") -> None:
    """End the command where a token of [ops] is so short that it is guessed, and that masking it would mangle a log."""
    from hedgegrid.config.secrets import TOKEN_CHARS_MIN, SecretError

    for name, reference in (("read_token", account.ops.read_token), ("control_token", account.ops.control_token)):
        try:
            token = "" if reference is None else reference.resolve().reveal()
        except SecretError:
            # Whoever needs it says so.
            continue
        if reference is not None and len(token) < TOKEN_CHARS_MIN:
            fail(
                f"[ops] {name}: {reference.reference} is too short ({len(token)} of at least {TOKEN_CHARS_MIN} "
                "characters): `openssl rand -hex 16` makes a good one",
                EXIT_BAD_INPUT,
            )


def at_another_server(origin: str | None) -> dict[str, Any]:
    """Give the settings that point the venue at the server at ``origin``; none where that is None."""
    from hedgegrid.config.values import Endpoint

    if origin is None:
        return {}
    origin = origin.rstrip("/")
    fault = Endpoint(secure="https", plain="http")(origin)
    if fault is not None:
        fail(f"--exchange {origin}: {fault}", EXIT_BAD_INPUT)
    sockets = "ws" + origin.removeprefix("http")
    return {
        "venue.rest_url": origin,
        "venue.ws_url": sockets,
        "venue.ws_api_url": f"{sockets}/ws-fapi/v1",
    }


def live(account: "AccountConfig", options: "RunOptions", *, log_file: Path | None, log_level: str) -> "Outcome":
    """Run an account to its end. Raises Fatal where it cannot begin."""
    from hedgegrid.lifecycle import Life
    from hedgegrid.ops import logs

    console = QuietConsole(stderr=True)
    tokens = (account.ops.read_token, account.ops.control_token, account.venue.api_key, account.venue.api_secret)
    secrets = [token.resolve().reveal() for token in tokens if token is not None]
    logs.configure(console=True, level=log_level, json_path=log_file, secrets=secrets)
    return asyncio.run(Life().run(account, options, console, lambda text: say(text, err=True)))


def run_account(
    account: "AccountConfig", options: "RunOptions", *, log_file: Path | None, log_level: str, as_json: bool
) -> None:
    """Run an account to its end and print the summary."""
    from hedgegrid.ops.summary import render_summary, summary_json

    try:
        outcome = live(account, options, log_file=log_file, log_level=log_level)
    except Fatal as error:
        fail(str(error), EXIT_OK if isinstance(error, Unreachable) and error.harmless else code_of(error))
    if as_json:
        say(json.dumps(summary_json(outcome.view, outcome.extras), indent=2))
    else:
        say(render_summary(outcome.view, outcome.extras))
    if outcome.failure:
        say(f"hedgegrid: {outcome.failure}", err=True)
    raise SystemExit(outcome.exit_code)
