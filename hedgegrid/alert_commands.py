"""`hedgegrid alert-test`: whether people would be told.

Exit codes: 0 every service took it · 1 one did not, its line says why · 2 bad input.
"""

from pathlib import Path

import click

from hedgegrid.errors import Fatal
from hedgegrid.running import EXIT_BAD_INPUT, EXIT_FAILED, fail, load_account


@click.command("alert-test")
@click.option(
    "--config", type=click.Path(path_type=Path), help="The account's TOML file; without it the built-in demo's."
)
@click.option("--event", default="incident", show_default=True, help="As what it is sent: its level applies.")
def alert_test(config: Path | None, event: str) -> None:
    """Send one alert to every service of [alerts] urls, and say which took it."""
    from hedgegrid.alerts import send_one
    from hedgegrid.config.values import nearest
    from hedgegrid.ops.alert_events import EVENTS

    account = load_account(config, {})
    if event not in EVENTS:
        near = nearest(event, EVENTS, likeness=0.0)
        fail(f"no event is named {event}; the nearest is {near}, all are: {', '.join(EVENTS)}", EXIT_BAD_INPUT)
    try:
        told = send_one(account, event)
    except Fatal as error:
        fail(str(error), EXIT_BAD_INPUT)
    for one in told:
        name = f"address {one.number}, {one.kind}"
        click.echo(f"NOT SENT: {name}: {one.why}" if one.why else f"sent: {name}", err=bool(one.why))
    if any(one.why for one in told):
        raise SystemExit(EXIT_FAILED)
